//! What became of acknowledged writes that another primary may have lacked: one line in the log, and the metrics.

use tokio::time::Instant;

use crate::failover::machine::Event;
use crate::metrics::RepairCounters;
use crate::proxy::Proxy;
use crate::repair::tally::{Cause, Outcome, Tally};

use super::Arrival;

/// What is counted of the present repair.
#[derive(Debug)]
pub(in crate::proxy) struct Account {
    pub(in crate::proxy) tally: Tally,
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
            keys: 0,
            reseeded: 0,
            joined_at: now,
            repaired_at: None,
        }
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
            let tally = &mut repairing.account.tally;
            tally.add(Outcome::Lost(Cause::Unable), lost);
        }
        let waiting = repairing.abandon();
        self.give_up_waits();
        self.in_round = false;
        self.let_go(waiting);
        self.end_account();
        self.failover_event(Event::Joined);
        self.write_acknowledged();
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
        let account = std::mem::replace(&mut repairing.account, Account::new(now));
        if repairing.arrival == Arrival::First {
            return;
        }
        let tally = &account.tally;
        if repairing.arrival.is_return() && *tally == Tally::default() {
            return;
        }
        repairing.total.merge(tally);
        repairing.reseeded += account.reseeded;
        let took = account.repaired_at.map(|at| at - account.joined_at);
        repairing.last = took.unwrap_or_default();
        let Tally {
            survived,
            repaired,
            deleted_again,
            superseded,
            expired,
            lost: causes,
        } = *tally;
        let (at_risk, lost) = (tally.at_risk(), tally.lost());
        let [late, absent, refused, unknown, unable] = causes;
        tracing::info!(
            at_risk,
            survived,
            repaired,
            deleted_again,
            superseded,
            expired,
            lost,
            late,
            absent,
            refused,
            unknown,
            unable,
            reseeded = account.reseeded,
            keys = account.keys,
            repair_ms = took.map(|took| took.as_millis() as u64),
            round_ms = (now - account.joined_at).as_millis() as u64,
            "writes settled after the switch"
        );
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
