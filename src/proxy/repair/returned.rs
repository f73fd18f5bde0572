//! Writes that were acknowledged while requests were held (`acknowledge.rs`): put back on another primary with all that it
//! lacks, and on the same one in a round of its own, where the failover was called off.
//!
//! On the same primary nothing is missing, but other sidecars have gone on writing to it without marks. So each of them
//! compares what it has, which leaves marks, and says so (*checked*); then only what was acknowledged meanwhile is put back.
//! It is found by the beat of the others that there is such a round.

use std::time::Duration;

use tokio::time::Instant;

use crate::failover::machine::{Event, Sign, Signs};
use crate::failover::replay::refusal;
use crate::id::ClientId;
use crate::proxy::Proxy;
use crate::repair::acknowledged::merge;
use crate::repair::fold::Own;
use crate::repair::script::reply::Seen;
use crate::repair::stamp::Stamp;
use crate::repair::tally::Outcome;
use crate::upstream::link::What;

use super::{Arrival, KeyId, PAST_MAX, Repairing, Stage, Work};

/// How long what is on its way to the primary is waited for.
const DRAIN_MAX: Duration = Duration::from_secs(1);

impl Repairing {
    /// Tells whether all that is left is to wait until others have compared what they have.
    pub(in crate::proxy) fn waits_to_put_back(&self) -> bool {
        self.deferred > 0 && self.deferred == self.works.len()
    }

    /// The primary's history has this name. If it is another than before, it is another primary, whoever thinks otherwise.
    pub(super) fn take_history(&mut self, history: String) {
        if let Arrival::Returned { trouble_at, .. } = self.arrival
            && self.history != history
        {
            self.arrival = Arrival::Switched {
                trouble_at,
                lost_all: true,
            };
        }
        self.history = history;
    }

    /// Takes in which round there is; tells whether it was over when this sidecar left the primary for another one, to come back
    /// now: then it says nothing of what was written since.
    pub(super) fn take_round(&mut self, seen: &Seen) -> bool {
        let shown = (self.history.clone(), seen.number);
        self.round = seen.number;
        if self.past.contains(&shown) {
            return !seen.is_open;
        }
        self.past.push_back(shown);
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
        false
    }

    fn is_returning(&self) -> bool {
        let begins = matches!(
            self.stage,
            Stage::Joining { .. } | Stage::Draining(..) | Stage::Folding(..)
        );
        self.arrival.is_return() && begins
    }

    /// Adds what was acknowledged of a key.
    fn add_acknowledged(&mut self, own: Own) {
        let id = (own.database, own.key.clone());
        self.account.at_risk += u64::from(own.counts.at_risk);
        match (self.arrival.is_return(), self.works.get_mut(&id)) {
            (false, None) => self.add_work(own),
            (false, Some(work)) => merge(&mut work.own, own),
            (true, Some(work)) => work.later = Some(own),
            (true, None) => self.defer(id, own, Vec::new()),
        }
    }

    /// What was written before is compared: what was acknowledged later is next.
    pub(super) fn defer(&mut self, id: KeyId, later: Own, waiting: Vec<ClientId>) {
        self.deferred += 1;
        let work = Work {
            is_deferred: true,
            waiting,
            ..Work::new(later)
        };
        self.works.insert(id, work);
    }

    fn put_back_deferred(&mut self) {
        self.deferred = 0;
        for (id, work) in &mut self.works {
            if std::mem::take(&mut work.is_deferred) {
                self.order.push_back(id.clone());
            }
        }
    }
}

impl Proxy {
    /// The failover was called off, and writes were acknowledged meanwhile.
    pub(in crate::proxy) fn return_to_primary(&mut self) {
        let is_returning = |it: &Repairing| it.is_returning() || it.is_late;
        let is_under_way = self.repairing.as_deref().is_none_or(is_returning);
        if self.acknowledging.kept.is_empty() || is_under_way {
            return;
        }
        let trouble_at = self.trouble_at();
        self.leave_repair_link();
        self.begin_repair(Arrival::Returned {
            trouble_at,
            opens: true,
        });
    }

    /// The round that there is is over: what is to be put back needs another one.
    pub(super) fn open_again(&mut self) {
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        repairing.reopens = true;
        if let Some(link) = repairing.link {
            self.ask_round(link, |proxy, out| proxy.write_opening(out));
        }
    }

    /// Another sidecar has returned to the primary: what this one has written is compared, for its sake.
    pub(super) fn join_another_round(&mut self) {
        let trouble_at = self.boot_micros;
        self.leave_repair_link();
        self.begin_repair(Arrival::Returned {
            trouble_at,
            opens: false,
        });
        self.failover_event(Event::Unsettled);
    }

    /// The round is known: writes that are on their way without marks are waited for, so that what is compared has them.
    pub(super) fn begin_draining(&mut self, horizon: Stamp) {
        let until = self.now + DRAIN_MAX;
        if let Some(repairing) = &mut self.repairing {
            repairing.stage = Stage::Draining(horizon, until);
        }
        self.drain_for_round(horizon, until);
    }

    pub(super) fn drain_for_round(&mut self, horizon: Stamp, until: Instant) {
        let is_quiet = self.links.iter().all(|(_, link)| link.writes.is_empty());
        if is_quiet || until <= self.now {
            self.begin_fold(horizon);
        }
    }

    /// What was acknowledged while requests were held is part of what is put back.
    pub(super) fn add_acknowledged(&mut self) {
        if let Some(repairing) = &mut self.repairing {
            for own in self.acknowledging.kept.owns(&repairing.clock) {
                repairing.add_acknowledged(own);
            }
        }
    }

    /// All others that live have compared what they have, or the round is over.
    pub(super) fn put_back_when_checked(&mut self, seen: &Seen) {
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        let is_own = |id: &String| *id == repairing.id;
        if repairing.has_checked && (!seen.is_open || seen.unchecked.iter().all(is_own)) {
            repairing.put_back_deferred();
        }
    }

    /// What was acknowledged of a key is on the primary, or somebody has written later: there it is a write like any other.
    pub(super) fn acknowledged_was_put_back(&mut self, id: &KeyId, outcome: Option<Outcome>) {
        let Some(image) = self.acknowledging.kept.remove(id) else {
            return;
        };
        let is_there = matches!(
            outcome,
            Some(Outcome::Survived | Outcome::Repaired | Outcome::DeletedAgain)
        );
        let Some(repairing) = self.repairing.as_ref().filter(|_| is_there) else {
            return;
        };
        if let Some((request, reply)) = image.journalled(&id.1, &repairing.clock) {
            self.journal_add(id.0, image.last(), false, [&request, reply]);
        }
    }

    /// Where nothing can be compared, what was acknowledged is written as it is, before anything else is sent; it is kept until
    /// that is answered.
    pub(in crate::proxy) fn write_acknowledged(&mut self) {
        let stage = self.repairing.as_ref().map(|repairing| &repairing.stage);
        if self.acknowledging.kept.is_empty() || !matches!(stage, Some(Stage::Unable)) {
            return;
        }
        for (id, request) in self.acknowledging.kept.plain(self.boot_micros) {
            if self.acknowledging.writing.contains(&id) {
                continue;
            }
            let Some(link) = self.tracked_in(id.0) else {
                continue;
            };
            self.acknowledging.writing.insert(id.clone());
            let key = id.1.clone();
            self.send_write_of_ours(link, &key, &request, What::PutBack(Box::new(id)));
            self.journal_sent_as(link, &request, false);
        }
    }

    /// The primary has answered such a write.
    pub(in crate::proxy) fn acknowledged_was_written(&mut self, id: &KeyId, reply: &[u8]) {
        self.acknowledging.writing.remove(id);
        match refusal(reply) {
            Some(scope) => self.failover_event(Event::Refused(scope)),
            None => {
                self.acknowledging.kept.remove(id);
            }
        }
    }

    /// What was acknowledged came too late for this round: until there is another one, writes wait, and it is shown as it was
    /// written.
    pub(super) fn put_back_later(&mut self) {
        if let Some(repairing) = &mut self.repairing {
            repairing.is_late = true;
        }
        self.failover_event(Event::Unsettled);
    }

    /// The round is over: another one is opened for what came too late for it.
    pub(super) fn put_back_what_was_late(&mut self) {
        let repairing = self.repairing.as_mut();
        let was_late = repairing.is_some_and(|it| std::mem::take(&mut it.is_late));
        if was_late && self.failover.state.signs() == Signs::of(&[Sign::Unsettled]) {
            self.return_to_primary();
        }
    }
}

impl Work {
    pub(super) fn new(own: Own) -> Self {
        Self {
            own,
            later: None,
            is_deferred: false,
            is_sent: false,
            waiting: Vec::new(),
        }
    }
}
