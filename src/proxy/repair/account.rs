//! What became of acknowledged writes that another primary may have lacked: a part of the episode's line in the log, and the
//! metrics.

use std::time::Duration;

use tokio::time::Instant;

use crate::failover::episode::{Repair, Writes};
use crate::failover::machine::Event;
use crate::metrics::RepairCounters;
use crate::proxy::Proxy;
use crate::repair::tally::{Cause, Outcome, Tally};

use super::{Arrival, Repairing, Stage};

/// What is counted of the present repair.
#[derive(Debug)]
pub(in crate::proxy) struct Account {
    pub(in crate::proxy) tally: Tally,
    /// Writes that are looked at, whatever becomes of them.
    pub(in crate::proxy) at_risk: u64,
    /// Other sidecars that had still to report when the primary was joined.
    pub(in crate::proxy) peers: u64,
    /// How far off its clock may have been then.
    pub(in crate::proxy) clock_error: Option<Duration>,
    /// Keys that were compared.
    pub(in crate::proxy) keys: u64,
    /// Keys that were put back from the cache.
    pub(in crate::proxy) reseeded: u64,
    pub(in crate::proxy) joined_at: Instant,
    pub(in crate::proxy) repaired_at: Option<Instant>,
}

impl Account {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tally: Tally::default(),
            at_risk: 0,
            peers: 0,
            clock_error: None,
            keys: 0,
            reseeded: 0,
            joined_at: now,
            repaired_at: None,
        }
    }

    /// Counts writes of which it is known what became of them.
    pub(super) fn add(&mut self, outcome: Outcome, writes: u64) {
        self.at_risk += writes;
        self.tally.add(outcome, writes);
    }

    /// Says what became of writes, `left` of which were not compared any more.
    fn told(&self, left: u64) -> Repair {
        let Tally {
            survived,
            repaired,
            deleted_again,
            superseded,
            expired,
            lost: causes,
        } = self.tally;
        let [
            lost_late,
            lost_absent,
            lost_refused,
            lost_unknown,
            lost_unable,
        ] = causes;
        debug_assert_eq!(self.at_risk, self.tally.at_risk() + left, "{self:?}");
        Repair {
            writes: Writes {
                at_risk: self.at_risk,
                survived,
                repaired,
                deleted_again,
                superseded,
                expired,
                lost: self.tally.lost(),
                lost_late,
                lost_absent,
                lost_refused,
                lost_unknown,
                lost_unable,
                left,
            },
            keys: self.keys,
            reseeded: self.reseeded,
            clock_error_us: self.clock_error.map(|error| error.as_micros() as u64),
            peers: self.peers,
            repaired_after_ms: None,
        }
    }
}

impl Repairing {
    /// Returns how many writes are still to be compared, or wait for somebody to put their key back.
    fn left(&self) -> u64 {
        let works = self.works.values();
        let owns = works.flat_map(|work| work.later.iter().chain([&work.own]));
        let works: u64 = owns
            .map(|own| own.counts)
            .map(|counts| u64::from(counts.at_risk) + u64::from(counts.inherited))
            .sum();
        works + self.pending.values().sum::<u64>()
    }
}

impl Proxy {
    /// Repair is not possible on this primary: requests go on, and what it lacks is lost.
    pub(in crate::proxy) fn give_up_repair(&mut self, why: &str) {
        let (Some(journal), Some(repairing)) = (&self.journal, &mut self.repairing) else {
            return;
        };
        if !std::mem::replace(&mut repairing.is_said, true) {
            tracing::warn!(
                why,
                "writes that a new primary lacks can't be put back: repair.prefix says which keys it needs"
            );
        }
        if let Arrival::Switched { .. } = repairing.arrival {
            let (oldest, newest) = (journal.ring.oldest(), journal.ring.newest());
            let lost = journal.samples.in_doubt(oldest, newest);
            let account = &mut repairing.account;
            // If a part of the journal was read, what of it is not compared is left.
            if matches!(repairing.stage, Stage::Joining { .. }) {
                account.add(Outcome::Lost(Cause::Unable), lost);
            }
        }
        self.end_account();
        let waiting = self
            .repairing
            .as_mut()
            .map_or_else(Vec::new, |it| it.abandon());
        self.give_up_waits();
        self.in_round = false;
        self.let_go(waiting);
        self.failover_event(Event::Joined);
        self.apply_touches();
    }

    /// All own keys are repaired: who waits for replicas to have such a write waits for this primary's. Not where one of the writes
    /// is lost, or depends on others: whose it is is not known here.
    pub(super) fn confirm_repaired(&mut self) {
        let (Some(journal), Some(repairing)) = (&self.journal, &self.repairing) else {
            return;
        };
        if repairing.pending.is_empty() && repairing.account.tally.lost() == 0 {
            let records = repairing.from..=journal.ring.newest();
            self.repaired(&records);
        }
    }

    /// What became of all that was at risk is known: it is written down, once.
    pub(in crate::proxy) fn end_account(&mut self) {
        // What waited for somebody to put its key back may be there now; what is not never will be.
        self.confirm_repaired();
        self.give_up_waits();
        let now = self.now;
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        let left = repairing.left();
        repairing.pending.clear();
        let account = std::mem::replace(&mut repairing.account, Account::new(now));
        if repairing.arrival == Arrival::First {
            return;
        }
        repairing.total.merge(&account.tally);
        repairing.reseeded += account.reseeded;
        let took = account.repaired_at.map(|at| at - account.joined_at);
        repairing.last = took.unwrap_or_default();
        self.tell_repair(account.told(left), account.repaired_at, false);
    }

    /// Another switch comes first: what was put back is at risk again, and counted when that one's account is closed.
    pub(super) fn interrupt_account(&mut self) {
        if let Some(repairing) = &self.repairing
            && self.is_account_open()
        {
            let account = &repairing.account;
            let (told, repaired_at) = (account.told(repairing.left()), account.repaired_at);
            self.tell_repair(told, repaired_at, true);
        }
    }

    /// Tells whether it is still to be said what became of the writes at risk.
    pub(in crate::proxy) fn is_account_open(&self) -> bool {
        self.repairing.as_ref().is_some_and(|repairing| {
            let is_over = matches!(repairing.stage, Stage::Off | Stage::Unable)
                || matches!(repairing.stage, Stage::Idle) && repairing.pending.is_empty();
            repairing.arrival != Arrival::First && !is_over
        })
    }

    /// Brings the figures of the repair up to date.
    pub fn count_repair(&mut self) {
        let Some(repairing) = &self.repairing else {
            return;
        };
        let total = &repairing.total;
        self.counters.repair = RepairCounters {
            settled: [
                total.survived,
                total.repaired,
                total.deleted_again,
                total.superseded,
                total.expired,
                total.lost(),
            ],
            lost: total.lost,
            reseeded: repairing.reseeded,
            last_us: repairing.last.as_micros() as u64,
        };
    }
}
