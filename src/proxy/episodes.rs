//! What each hold came to ([`crate::failover::episode`]): one line in the log, and what the admin port shows.

use tokio::time::Instant;

use crate::failover::episode::{Begin, Change, Episode, Repair, Requests, Writes};
use crate::failover::machine::Time;
use crate::metrics::{HoldReason, SessionRead, Touched};

use super::Proxy;

impl Proxy {
    /// A hold began.
    pub(super) fn begin_episode(&mut self, from: String) {
        let now = self.machine_time(self.now);
        let at = self.failover.state.since().unwrap_or(now);
        let ago = now.saturating_sub(at).as_millis() as u64;
        let by = HoldReason::ALL[self.failover.state.first() as usize].as_str();
        let counted = self.counted_requests();
        self.failover.book.begin(Begin {
            at,
            unix_ms: self.clock.wall().saturating_sub(ago),
            by,
            from,
            counted,
        });
    }

    /// Another primary was named in the place of `from`.
    pub fn note_switch(&mut self, change: Change, from: String) {
        // At the start nothing is written down, unless there is another primary before the first one was served from.
        if !self.failover.book.is_open() {
            self.begin_episode(from);
        }
        let now = self.machine_time(self.now);
        self.failover.book.switch(change, now);
    }

    /// The hold is over.
    pub(super) fn end_episode(&mut self) {
        let now = self.machine_time(self.now);
        self.failover.released += self.failover.held.total().requests as u64;
        let (counted, settles) = (self.counted_requests(), self.is_account_open());
        self.failover.book.end(counted, settles, now);
    }

    /// What became of the writes at risk is known, or it is not any more: another switch came.
    pub(super) fn tell_repair(
        &mut self,
        repair: Repair,
        repaired_at: Option<Instant>,
        is_interrupted: bool,
    ) {
        let now = self.machine_time(self.now);
        let repaired_at = repaired_at.map(|at| self.machine_time(at));
        let book = &mut self.failover.book;
        match is_interrupted {
            true => book.interrupt(repair, repaired_at, now),
            false => book.settle(repair, repaired_at, now),
        }
    }

    pub(super) fn tick_episodes(&mut self) {
        let now = self.machine_time(self.now);
        self.failover.book.tick(now);
    }

    pub(super) fn next_episode_tick(&self) -> Option<Instant> {
        let due = self.failover.book.next_tick()?;
        self.failover.started.checked_add(due)
    }

    /// Takes what is new of the episodes; what is final stands in the log.
    pub fn take_episodes(&mut self) -> Vec<Episode> {
        let written = self.failover.book.take();
        for (episode, is_final) in &written {
            if *is_final {
                log(episode);
            }
        }
        written.into_iter().map(|(episode, _)| episode).collect()
    }

    fn machine_time(&self, at: Instant) -> Time {
        at.saturating_duration_since(self.failover.started)
    }

    fn counted_requests(&self) -> Requests {
        let hold = &self.counters.hold;
        let reads = |read: SessionRead| self.counters.session_reads[read.index()];
        Requests {
            held: hold.held,
            taken_back: hold.taken_back,
            released: self.failover.released,
            shed: hold.shed,
            gave_up: hold.gave_up,
            stale_reads: reads(SessionRead::StaleHit),
            replica_reads: reads(SessionRead::Replica),
            touches: self.counters.touches[Touched::Held.index()],
            acknowledged: hold.acknowledged,
        }
    }
}

/// The names are those of the admin port's JSON; what is not known is left out.
fn log(episode: &Episode) {
    let Episode {
        number,
        generation,
        epoch,
        reason,
        requests,
        ..
    } = episode;
    let Requests {
        held,
        taken_back,
        released,
        shed,
        gave_up,
        stale_reads,
        replica_reads,
        touches,
        acknowledged,
    } = requests;
    let repair = episode.repair.as_ref();
    let writes = |count: fn(&Writes) -> u64| repair.map(|repair| count(&repair.writes));
    tracing::info!(
        number,
        outcome = episode.outcome.as_str(),
        reason,
        began_by = episode.began_by,
        from = episode.from,
        to = episode.to,
        generation,
        epoch,
        began_unix_ms = episode.began_unix_ms,
        named_after_ms = episode.named_after_ms,
        serving_after_ms = episode.serving_after_ms,
        repaired_after_ms = repair.and_then(|repair| repair.repaired_after_ms),
        settled_after_ms = episode.settled_after_ms,
        held,
        taken_back,
        released,
        shed,
        gave_up,
        stale_reads,
        replica_reads,
        touches,
        acknowledged,
        at_risk = writes(|writes| writes.at_risk),
        survived = writes(|writes| writes.survived),
        repaired = writes(|writes| writes.repaired),
        deleted_again = writes(|writes| writes.deleted_again),
        superseded = writes(|writes| writes.superseded),
        expired = writes(|writes| writes.expired),
        lost = writes(|writes| writes.lost),
        lost_late = writes(|writes| writes.lost_late),
        lost_absent = writes(|writes| writes.lost_absent),
        lost_refused = writes(|writes| writes.lost_refused),
        lost_unknown = writes(|writes| writes.lost_unknown),
        lost_unable = writes(|writes| writes.lost_unable),
        left = writes(|writes| writes.left),
        keys = repair.map(|repair| repair.keys),
        reseeded = repair.map(|repair| repair.reseeded),
        clock_error_us = repair.and_then(|repair| repair.clock_error_us),
        peers = repair.map(|repair| repair.peers),
        "failover over"
    );
}
