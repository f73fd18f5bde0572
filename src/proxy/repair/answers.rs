//! What the primary answers over the link on which it is joined and repaired.

use std::time::Duration;

use bytes::Bytes;

use crate::failover::machine::Event;
use crate::failover::replay::refusal;
use crate::id::LinkId;
use crate::proxy::Proxy;
use crate::repair::script::Call;
use crate::repair::script::reply::{self, Seen};
use crate::repair::stamp::{Moment, Sample, Stamp};
use crate::repair::tally::{Cause, Outcome, outcome};
use crate::resp::{encode, value};
use crate::upstream::link::RepairAsk;

use super::{Arrival, KeyId, Repairing, Stage};

/// Keys whose repair is on its way at once: a request whose key is next waits for no more than these.
const WINDOW: usize = 256;

/// Bytes of them that wait for the socket.
const OUTPUT_SOFT: usize = 256 * 1024;

/// How often the clock is asked for at least, and where its answers take long: the one that took the least time counts.
const CLOCK_SAMPLES: u32 = 3;
const CLOCK_SAMPLES_MAX: u32 = 10;

/// How far off the clock may be for no more to be asked.
const CLOCK_ERROR: Duration = Duration::from_millis(1);

/// Longer than any repair.
const LONG: Duration = Duration::from_secs(3600);

impl Proxy {
    /// Takes in an answer.
    pub(in crate::proxy) fn repair_answered(&mut self, index: u32, ask: RepairAsk, reply: &[u8]) {
        let link = self.link_at(index);
        if !self.is_repair_link(link) {
            return;
        }
        match ask {
            RepairAsk::Time { sent_at } => self.clock_answered(link, sent_at, reply),
            RepairAsk::Lineage => self.lineage_answered(link, reply),
            RepairAsk::Loaded => {}
            RepairAsk::Round => self.round_answered(reply),
            RepairAsk::Key(id) => self.key_answered(*id, reply),
            RepairAsk::Exists(id) => self.existence_answered(&id, reply),
        }
    }

    fn is_repair_link(&self, link: LinkId) -> bool {
        let repairing = self.repairing.as_ref();
        repairing.is_some_and(|repairing| repairing.link == Some(link))
    }

    /// The clock is asked until it is known well: two sidecars' stamps are to differ by less than what lies between a logout and
    /// the login behind it.
    fn clock_answered(&mut self, link: LinkId, sent_at: u64, reply: &[u8]) {
        let answered = Moment(self.boot_micros as i64);
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        if let Some(server) = reply::time(reply) {
            repairing.clock.feed(Sample {
                sent: Moment(sent_at as i64),
                answered,
                server,
            });
        }
        repairing.clock_asked += 1;
        let is_known = repairing
            .clock
            .error(answered)
            .is_some_and(|error| error <= CLOCK_ERROR);
        let is_enough = match is_known {
            true => repairing.clock_asked >= CLOCK_SAMPLES,
            false => repairing.clock_asked >= CLOCK_SAMPLES_MAX,
        };
        match is_enough {
            true => self.ask_lineage(link),
            false => self.ask_clock(link),
        }
    }

    /// Whose history the primary has is known: its round is opened, or joined.
    fn lineage_answered(&mut self, link: LinkId, reply: &[u8]) {
        let Some(history) = history_in(reply, self.run_id.as_deref()) else {
            return self.give_up_repair("INFO is refused");
        };
        if let Some(repairing) = &mut self.repairing {
            repairing.take_history(history);
        }
        self.ask_round(link, |proxy, out| proxy.write_opening(out));
    }

    /// The server has said what round and peers are.
    fn round_answered(&mut self, reply: &[u8]) {
        let next_look = self.now + self.pause_to_look();
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        repairing.is_asking = false;
        let Some(seen) = reply::seen(reply) else {
            return self.round_refused(reply);
        };
        repairing.due.look = next_look;
        match repairing.stage {
            Stage::Joining { .. } => self.joined(&seen),
            Stage::Repairing => {
                self.see_peers(&seen);
                self.put_back_when_checked(&seen);
                self.go_on_repairing();
            }
            Stage::Reported => {
                self.see_peers(&seen);
                if !seen.is_open || seen.number != self.round_number() {
                    self.end_round();
                }
            }
            // Another sidecar has something to put back here.
            Stage::Idle if seen.is_open && seen.number != repairing.round => {
                self.join_another_round();
            }
            Stage::Off | Stage::Draining(..) | Stage::Folding(..) | Stage::Idle | Stage::Unable => {
            }
        }
    }

    fn round_number(&self) -> i64 {
        self.repairing.as_ref().map_or(0, |it| it.round)
    }

    /// The server does not take our scripts: for the moment, or at all.
    fn round_refused(&mut self, reply: &[u8]) {
        let is_joining = self
            .repairing
            .as_ref()
            .is_some_and(|it| matches!(it.stage, Stage::Joining { .. }));
        if let Some(scope) = refusal(reply) {
            self.leave_repair_link();
            let repairing = self.repairing.as_ref();
            // Writes are held for it already: it is the primary that they wait for now.
            if is_joining && repairing.is_some_and(|it| it.arrival.is_return()) {
                self.failover_event(Event::Refused(scope));
            }
            return;
        }
        if is_joining {
            let words = String::from_utf8_lossy(reply);
            self.give_up_repair(words.trim_end());
        }
    }

    fn joined(&mut self, seen: &Seen) {
        let (now, at) = (self.now, Moment(self.boot_micros as i64));
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        let is_past = repairing.take_round(seen);
        let needs_another = !repairing.reopens
            && match repairing.arrival {
                Arrival::First => false,
                Arrival::Switched { .. } => is_past,
                Arrival::Returned { .. } => !seen.is_open && !self.acknowledging.kept.is_empty(),
            };
        if needs_another {
            return self.open_again();
        }
        let missing = seen.missing.iter().filter(|id| **id != repairing.id);
        repairing.account.peers = missing.count() as u64;
        repairing.account.clock_error = repairing.clock.error(at);
        repairing.account.joined_at = now;
        // Own keys first; then others are waited for.
        repairing.peers_until = repairing.misses_others(seen).then(|| now + LONG);
        tracing::debug!(
            round = seen.number,
            is_open = seen.is_open,
            missing = seen.missing.len(),
            "repair round joined"
        );
        match (repairing.arrival, seen.is_open) {
            (Arrival::Switched { .. }, true) => self.begin_fold(seen.horizon),
            (Arrival::Returned { .. }, true) => self.begin_draining(seen.horizon),
            // Too late: others go on without marks.
            (_, false) | (Arrival::First, _) => self.begin_fold(Stamp(i64::MAX)),
        }
    }

    fn see_peers(&mut self, seen: &Seen) {
        let repairing = self.repairing.as_ref();
        if !repairing.is_some_and(|it| it.misses_others(seen)) {
            self.stop_waiting_for_peers();
        }
    }

    /// Sends the next keys; reports when all are repaired.
    pub(in crate::proxy) fn go_on_repairing(&mut self) {
        self.send_keys();
        let now = self.now;
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        if !matches!(repairing.stage, Stage::Repairing) {
            return;
        }
        if repairing.waits_to_put_back() && !repairing.has_checked {
            // Others are waited for from here on, by what depends on them.
            if repairing.peers_until.is_some() {
                repairing.peers_until = Some(repairing.wait_for_peers(now));
            }
            return self.ask_what_is_due();
        }
        if !repairing.works.is_empty() {
            return;
        }
        repairing.stage = Stage::Reported;
        repairing.account.repaired_at = Some(now);
        if repairing.peers_until.is_some() {
            repairing.peers_until = Some(repairing.wait_for_peers(now));
        }
        repairing.due.report = now;
        let (from, arrival) = (repairing.from, repairing.arrival);
        if let Some(journal) = &mut self.journal
            && matches!(arrival, Arrival::Switched { .. })
        {
            journal.samples.repaired(from);
            self.confirm_repaired();
        }
        self.ask_what_is_due();
    }

    fn send_keys(&mut self) {
        while let Some(repairing) = &mut self.repairing
            && let Some(link) = repairing.link
            && repairing.unanswered < WINDOW
            && self.links[link.index as usize].output.len() < OUTPUT_SOFT
            && let Some(id) = repairing.order.pop_front()
        {
            let Some(work) = repairing.works.get_mut(&id) else {
                continue;
            };
            // Somebody who waits for it has put it here.
            if work.is_deferred {
                continue;
            }
            if std::mem::replace(&mut work.is_sent, true) {
                continue;
            }
            repairing.unanswered += 1;
            let is_loaded = std::mem::replace(&mut repairing.is_loaded, true);
            let mut request = Vec::new();
            let call = repairing.names.repair(id.0, &id.1, &work.own.record);
            write_call(
                &call,
                is_loaded.then_some(&repairing.repair_sha[..]),
                &mut request,
            );
            self.select_repair(link, id.0);
            let ask = RepairAsk::Key(Box::new(id));
            self.ask_repair(link, ask, |out| out.extend_from_slice(&request));
        }
    }

    fn key_answered(&mut self, id: KeyId, reply: &[u8]) {
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        repairing.unanswered = repairing.unanswered.saturating_sub(1);
        let Some(work) = repairing.works.get_mut(&id) else {
            return;
        };
        if reply.starts_with(b"-NOSCRIPT") {
            repairing.is_loaded = false;
            work.is_sent = false;
            repairing.order.push_front(id);
            return self.send_keys();
        }
        if refusal(reply).is_some() {
            return self.leave_repair_link();
        }
        let Some(mut work) = repairing.works.remove(&id) else {
            return;
        };
        let counts = work.own.counts;
        let writes = u64::from(counts.at_risk);
        let account = &mut repairing.account;
        account
            .tally
            .add(Outcome::Survived, u64::from(counts.inherited));
        let verdicts = reply::repaired(reply, &work.own.record).map(|(_, verdicts)| verdicts);
        let refused = Some(Outcome::Lost(Cause::Refused));
        let outcome = verdicts.map_or(refused, |verdicts| outcome(&work.own.record, &verdicts));
        let kept = self.acknowledging.kept.writes_of(&id);
        if outcome == Some(Outcome::Lost(Cause::Late))
            && work.later.is_none()
            && let Some(kept) = kept
        {
            // What was acknowledged before the hold is late for good.
            account.at_risk -= u64::from(kept);
            account
                .tally
                .add(Outcome::Lost(Cause::Late), writes - u64::from(kept));
            self.put_back_later();
            self.let_go(work.waiting);
            return self.go_on_repairing();
        }
        match outcome {
            Some(outcome) => account.tally.add(outcome, writes),
            None => {
                repairing.pending.insert(id.clone(), writes);
            }
        }
        match work.later.take() {
            Some(later) => repairing.defer(id, later, work.waiting),
            None => {
                self.acknowledged_was_put_back(&id, outcome);
                self.let_go(work.waiting);
            }
        }
        self.go_on_repairing();
    }

    fn end_round(&mut self) {
        self.settle_round();
        self.put_back_what_was_late();
    }

    /// The round is over: what waits for somebody to put its key back is lost where nobody has.
    fn settle_round(&mut self) {
        let now = self.now;
        self.in_round = false;
        self.stop_waiting_for_peers();
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        repairing.stage = Stage::Idle;
        repairing.due.beat = now;
        let pending: Vec<KeyId> = repairing.pending.keys().cloned().collect();
        let Some(link) = repairing.link else {
            return self.end_account();
        };
        for id in pending {
            self.select_repair(link, id.0);
            let key = id.1.clone();
            self.ask_repair(link, RepairAsk::Exists(Box::new(id)), |out| {
                encode::request(out, &[&b"EXISTS"[..], &key]);
            });
        }
        self.end_account_if_settled();
    }

    fn existence_answered(&mut self, id: &(u32, Bytes), reply: &[u8]) {
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        let Some(writes) = repairing.pending.remove(id) else {
            return;
        };
        let outcome = match value::integer(reply) {
            Some(1) => Outcome::Repaired,
            _ => Outcome::Lost(Cause::Absent),
        };
        repairing.account.tally.add(outcome, writes);
        self.end_account_if_settled();
    }

    fn end_account_if_settled(&mut self) {
        let is_settled = self
            .repairing
            .as_ref()
            .is_some_and(|it| it.pending.is_empty());
        if is_settled {
            self.end_account();
        }
    }
}

impl Repairing {
    /// Tells whether others have something to put back in the open round.
    fn misses_others(&self, seen: &Seen) -> bool {
        seen.is_open && seen.missing.iter().any(|id| *id != self.id)
    }
}

fn write_call(call: &Call<'_>, sha: Option<&str>, out: &mut Vec<u8>) {
    match sha {
        Some(sha) => call.by_sha(out, sha),
        None => call.by_body(out),
    }
}

/// Reads the name of the primary's history off INFO. One that continues none, as of a process that was restarted empty, gets
/// another name when the first replica comes, and sidecars that come before and after are to meet in one round: there it is
/// the name of the process.
///
/// Source: redis `src/server.c`, `genRedisInfoString`; `src/replication.c`, `syncCommand`.
fn history_in(info: &[u8], run_id: Option<&str>) -> Option<String> {
    let text = String::from_utf8_lossy(info);
    let shown = |name: &str| {
        let mut lines = text.lines();
        let shown = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(shown.trim_end().to_owned())
    };
    let continues =
        shown("master_replid2").is_none_or(|replid| !replid.trim_matches('0').is_empty());
    let replid = shown("master_replid")?;
    Some(match run_id {
        Some(run_id) if !continues => run_id.to_owned(),
        _ => replid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_is_read_off_info_and_not_the_one_before() {
        let info = b"=60\r\ntxt:# Replication\r\nmaster_replid:abc\r\nmaster_replid2:def\r\n\r\n";
        assert_eq!(history_in(info, Some("run")).as_deref(), Some("abc"));
        assert_eq!(history_in(b"-NOPERM x\r\n", Some("run")), None);
    }

    #[test]
    fn a_history_that_continues_none_goes_by_its_process() {
        let info = b"$9\r\nmaster_replid:abc\r\nmaster_replid2:0000000000000000000000000000000000000000\r\n\r\n";
        assert_eq!(history_in(info, Some("run")).as_deref(), Some("run"));
        assert_eq!(history_in(info, None).as_deref(), Some("abc"));
    }
}
