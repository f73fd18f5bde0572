//! What a failover came to, as people are told of it: one [`Episode`] for each hold, kept up to date by the [`Book`]. Pure.
//!
//! ```text
//!  a hold begins ──► open ──┬─ another primary is named ─► it is served from ─► settling ─► settled
//!                           │                                                      └─ another switch ─► interrupted
//!                           └─ the hold ends ──► called off; goes on where it begins anew for a refusal, for a second
//! ```
//!
//! The waiting at the start, before the first primary was served from, is none: nothing failed.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use super::machine::{SAME_HOLD, Time};

/// Episodes that are remembered.
pub const EPISODES_MAX: usize = 64;

/// What became of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Another primary was named, and served from.
    Switched,
    /// The primary stayed the same.
    CalledOff,
    /// Another primary was named, and one more before all was put back: that one takes up what is left.
    Interrupted,
}

impl Outcome {
    /// Returns the word for logs and the admin port.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Switched => "switched",
            Self::CalledOff => "called_off",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What was done with requests meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// They began to wait.
    pub held: u64,
    /// A lost or refusing link had them; they were taken back to be sent again.
    pub taken_back: u64,
    /// They still waited at the end, and went on.
    pub released: u64,
    /// They were refused, past the bounds.
    pub shed: u64,
    /// Clients that went away while they waited.
    pub gave_up: u64,
    /// Reads answered from the cache.
    pub stale_reads: u64,
    /// Reads answered by a replica.
    pub replica_reads: u64,
    /// Touches answered, to be applied afterwards.
    pub touches: u64,
    /// Writes that were acknowledged meanwhile, to be put back.
    pub acknowledged: u64,
}

impl Requests {
    fn since(self, before: Self) -> Self {
        Self {
            // Who waited before may have been answered.
            held: self.held.saturating_sub(before.held),
            taken_back: self.taken_back - before.taken_back,
            released: self.released - before.released,
            shed: self.shed - before.shed,
            gave_up: self.gave_up - before.gave_up,
            stale_reads: self.stale_reads - before.stale_reads,
            replica_reads: self.replica_reads - before.replica_reads,
            touches: self.touches - before.touches,
            acknowledged: self.acknowledged - before.acknowledged,
        }
    }
}

/// What became of acknowledged writes that the other primary may have lacked: at risk = survived + repaired + deleted again +
/// superseded + expired + lost + left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Writes {
    /// All of them.
    pub at_risk: u64,
    /// The primary had them.
    pub survived: u64,
    /// They were put back.
    pub repaired: u64,
    /// Their keys were there again, and were deleted.
    pub deleted_again: u64,
    /// Somebody wrote later.
    pub superseded: u64,
    /// Their time was over.
    pub expired: u64,
    /// They are gone, for the causes below.
    pub lost: u64,
    /// The round was over, or they are older than what is compared.
    pub lost_late: u64,
    /// There was no key to apply them to.
    pub lost_absent: u64,
    /// The server did not take them.
    pub lost_refused: u64,
    /// What they left was not known.
    pub lost_unknown: u64,
    /// Nothing could be put back there.
    pub lost_unable: u64,
    /// It is not known: another switch came, or the link was lost, before they were compared.
    pub left: u64,
}

/// How the other primary was repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// The writes.
    #[serde(flatten)]
    pub writes: Writes,
    /// Keys that were compared.
    pub keys: u64,
    /// Keys put back from the cache.
    pub reseeded: u64,
    /// How far the other primary's clock may have been off when it was joined, in microseconds.
    pub clock_error_us: Option<u64>,
    /// Other sidecars that had still to report when it was joined.
    pub peers: u64,
    /// When all own keys were compared, in milliseconds after the begin of the hold.
    pub repaired_after_ms: Option<u64>,
}

/// One hold and what came of it. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Episode {
    /// 1 is the first since this process started.
    pub number: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Why another primary was named: failover, switchover, `lineage_break`.
    pub reason: Option<&'static str>,
    /// The first sign of trouble, as `gripfast_holds_total` has it.
    pub began_by: &'static str,
    /// Where the primary was.
    pub from: String,
    /// Where it is now.
    pub to: Option<String>,
    /// Our own count of primaries.
    pub generation: Option<u64>,
    /// The Sentinels' configuration epoch when it was named; the one before where it was accepted before their majority named it.
    pub epoch: Option<u64>,
    /// When the hold began, since 1970, by this machine's wall clock.
    pub began_unix_ms: u64,
    /// After the begin: the other primary was named.
    pub named_after_ms: Option<u64>,
    /// After the begin: requests went on.
    pub serving_after_ms: u64,
    /// After the begin: the round was over, and what became of all writes known; none while it is open.
    pub settled_after_ms: Option<u64>,
    /// What was done with requests meanwhile.
    #[serde(flatten)]
    pub requests: Requests,
    /// What was put back; none where nothing was to be, or it is not known yet.
    #[serde(flatten)]
    pub repair: Option<Repair>,
}

/// What is known where a hold begins.
#[derive(Clone, Debug)]
pub struct Begin {
    /// When, by the machine's time.
    pub at: Time,
    /// When, since 1970.
    pub unix_ms: u64,
    /// The first sign of trouble.
    pub by: &'static str,
    /// Where the primary is.
    pub from: String,
    /// All that was counted until then.
    pub counted: Requests,
}

/// What is known of another primary.
#[derive(Clone, Debug)]
pub struct Change {
    /// Why.
    pub reason: &'static str,
    /// Where it is.
    pub to: String,
    /// Our own count.
    pub generation: u64,
    /// The Sentinels' count.
    pub epoch: u64,
}

#[derive(Debug)]
struct Entry {
    episode: Episode,
    begin: Time,
    counted: Requests,
    /// The hold is over: since then it may go on.
    over: Option<Time>,
}

impl Entry {
    fn after(&self, now: Time) -> u64 {
        now.saturating_sub(self.begin).as_millis() as u64
    }
}

/// Writes episodes.
#[derive(Debug, Default)]
pub struct Book {
    /// A hold lasts, or was called off a moment ago.
    open: Option<Entry>,
    /// The primary, another one or the one before, is served from, and repaired.
    settling: Option<Entry>,
    begun: u64,
    /// With whether it is final.
    written: Vec<(Episode, bool)>,
}

impl Book {
    /// Tells whether a hold is written down at the moment.
    pub fn is_open(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.over.is_none())
    }

    /// A hold begins, or the one before goes on.
    pub fn begin(&mut self, begin: Begin) {
        if let Some(open) = &mut self.open
            && open.begin == begin.at
        {
            open.over = None;
            return;
        }
        self.close();
        self.begun += 1;
        self.open = Some(Entry {
            episode: Episode {
                number: self.begun,
                outcome: Outcome::CalledOff,
                reason: None,
                began_by: begin.by,
                from: begin.from,
                to: None,
                generation: None,
                epoch: None,
                began_unix_ms: begin.unix_ms,
                named_after_ms: None,
                serving_after_ms: 0,
                settled_after_ms: None,
                requests: Requests::default(),
                repair: None,
            },
            begin: begin.at,
            counted: begin.counted,
            over: None,
        });
    }

    /// Another primary was named; where it is the second one in a hold, the first is not heard of any more.
    pub fn switch(&mut self, change: Change, now: Time) {
        let Some(open) = &mut self.open else {
            return;
        };
        let after = open.after(now);
        let episode = &mut open.episode;
        episode.outcome = Outcome::Switched;
        episode.reason = Some(change.reason);
        episode.to = Some(change.to);
        episode.generation = Some(change.generation);
        episode.epoch = Some(change.epoch);
        episode.named_after_ms = Some(after);
        episode.repair = None;
    }

    /// The hold is over. `settles`: what becomes of the writes at risk will be told.
    pub fn end(&mut self, counted: Requests, settles: bool, now: Time) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        let after = open.after(now);
        open.episode.serving_after_ms = after;
        open.episode.requests = counted.since(open.counted);
        // What was acknowledged without the primary is put back on it.
        let settles = settles && self.settling.is_none();
        if open.episode.outcome == Outcome::CalledOff && !settles {
            open.episode.settled_after_ms = Some(after);
            open.over = Some(now);
            self.written.push((open.episode.clone(), false));
            self.open = Some(open);
        } else if settles && open.episode.repair.is_none() {
            self.written.push((open.episode.clone(), false));
            self.settling = Some(open);
        } else {
            open.episode.settled_after_ms = Some(after);
            self.written.push((open.episode, true));
        }
    }

    /// What became of the writes at risk is known.
    pub fn settle(&mut self, repair: Repair, repaired_at: Option<Time>, now: Time) {
        if let Some(entry) = self.settling.take() {
            self.settled(entry, repair, repaired_at, now);
        } else if let Some(open) = &mut self.open {
            let repaired_after_ms = repaired_at.map(|at| open.after(at));
            open.episode.repair = Some(Repair {
                repaired_after_ms,
                ..repair
            });
        }
    }

    /// Another switch came before that.
    pub fn interrupt(&mut self, repair: Repair, repaired_at: Option<Time>, now: Time) {
        if let Some(mut entry) = self.settling.take() {
            entry.episode.outcome = Outcome::Interrupted;
            self.settled(entry, repair, repaired_at, now);
        }
    }

    fn settled(&mut self, mut entry: Entry, repair: Repair, repaired_at: Option<Time>, now: Time) {
        entry.episode.settled_after_ms = Some(entry.after(now));
        let repaired_after_ms = repaired_at.map(|at| entry.after(at));
        entry.episode.repair = Some(Repair {
            repaired_after_ms,
            ..repair
        });
        self.written.push((entry.episode, true));
    }

    /// Closes what can't go on any more.
    pub fn tick(&mut self, now: Time) {
        if self.next_tick().is_some_and(|due| due <= now) {
            self.close();
        }
    }

    /// Returns when [`Book::tick`] has something to do.
    pub fn next_tick(&self) -> Option<Time> {
        let over = self.open.as_ref()?.over?;
        over.checked_add(SAME_HOLD)
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.written.push((open.episode, true));
        }
    }

    /// Takes what is new, and of each whether it is final; one of the same number replaces the one before.
    pub fn take(&mut self) -> Vec<(Episode, bool)> {
        std::mem::take(&mut self.written)
    }
}

/// The last episodes, newest last.
#[derive(Clone, Debug, Default)]
pub struct Episodes(VecDeque<Arc<Episode>>);

impl Episodes {
    /// Adds one, or brings it up to date.
    pub fn put(&mut self, episode: Episode) {
        let mut known = self.0.iter_mut().rev();
        if let Some(known) = known.find(|known| known.number == episode.number) {
            *known = Arc::new(episode);
            return;
        }
        if self.0.len() == EPISODES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Arc::new(episode));
    }

    /// Returns them.
    pub fn iter(&self) -> impl Iterator<Item = &Episode> {
        self.0.iter().map(|episode| &**episode)
    }
}

#[cfg(test)]
mod tests;
