//! The journal is read from the horizon on, in slices: which keys are to be compared with what the new primary has.

use bytes::Bytes;

use crate::failover::machine::Event;
use crate::failover::touches::Touch;
use crate::journal::Micros;
use crate::proxy::Proxy;
use crate::repair::fold::{Counts, Dispatch, Fold, Folded, Own};
use crate::repair::record::{Component, Record, Touch as TouchWrite};
use crate::repair::stamp::{Moment, Stamp};
use crate::repair::tally::{Cause, Outcome};

use super::{Arrival, Repairing, Stage, Work};

/// Records that are folded in one turn of the data thread.
const FOLDED_A_TURN: usize = 2_000;

impl Repairing {
    /// Returns the first instant that is compared.
    pub(in crate::proxy) fn horizon(&self) -> Stamp {
        match self.arrival {
            Arrival::Switched {
                trouble_at,
                lost_all: false,
            }
            | Arrival::Returned { trouble_at, .. } => {
                let from = trouble_at.saturating_sub(self.recheck.as_micros() as Micros);
                self.stamp(from).unwrap_or(Stamp(0))
            }
            _ => Stamp(0),
        }
    }

    /// Adds a key to be repaired.
    pub(in crate::proxy) fn add_work(&mut self, own: Own) {
        let id = (own.database, own.key.clone());
        self.order.push_back(id.clone());
        self.works.insert(id, Work::new(own));
    }

    /// Takes what the journal came to: keys to be repaired, and writes whose fate is known.
    fn take_folded(&mut self, folded: Folded) {
        let Folded {
            owns,
            flushes: _,
            flushed,
            keyless,
        } = folded;
        if self.arrival.is_return() {
            // Nothing of it is at risk: it is compared for the sake of others.
            let known = owns
                .into_iter()
                .filter(|own| own.record != Record::default());
            known.for_each(|own| {
                self.add_work(Own {
                    counts: Counts::default(),
                    ..own
                });
            });
            return;
        }
        let tally = &mut self.account.tally;
        for counts in [flushed, keyless] {
            tally.add(Outcome::Survived, u64::from(counts.inherited));
        }
        tally.add(Outcome::Superseded, u64::from(flushed.at_risk));
        tally.add(Outcome::Lost(Cause::Unknown), u64::from(keyless.at_risk));
        for own in owns {
            if !own.is_known {
                let Counts { at_risk, inherited } = own.counts;
                let tally = &mut self.account.tally;
                tally.add(Outcome::Lost(Cause::Unknown), u64::from(at_risk));
                tally.add(Outcome::Survived, u64::from(inherited));
            }
            if own.record != Record::default() {
                self.add_work(own);
            }
        }
    }

    /// A touch that was answered while requests were held is part of the record of its key.
    pub(in crate::proxy) fn add_touch(&mut self, touch: Touch, at: Micros) {
        let Some(stamp) = self.stamp(at) else {
            return;
        };
        let id = (touch.database, Bytes::copy_from_slice(&touch.key));
        let component = Component {
            stamp,
            is_inherited: false,
            write: TouchWrite {
                deadline: Some(touch.at),
                only_extends: true,
            },
        };
        if let Some(work) = self.works.get_mut(&id) {
            let record = &mut work.own.record;
            let is_newer = record.touch.as_ref().is_none_or(|old| old.stamp < stamp);
            if is_newer {
                record.touch = Some(component);
                work.own.counts.at_risk += 1;
            }
            return;
        }
        self.add_work(Own {
            database: id.0,
            key: id.1,
            record: Record {
                touch: Some(component),
                ..Record::default()
            },
            is_known: true,
            counts: Counts {
                at_risk: 1,
                inherited: 0,
            },
        });
    }
}

impl Proxy {
    /// The round is known: the journal is read from the horizon on.
    pub(in crate::proxy) fn begin_fold(&mut self, horizon: Stamp) {
        let (Some(journal), Some(repairing)) = (&self.journal, &mut self.repairing) else {
            return;
        };
        let (mut from, mut late, mut survived) = (journal.ring.newest() + 1, 0, 0);
        let writes = journal.ring.from(0).filter(|(_, record)| !record.is_look);
        for (seq, record) in writes {
            let at = repairing.stamp(record.sent_at);
            if at.is_some_and(|at| at >= horizon) {
                from = seq;
                break;
            }
            let last = seq + u64::from(record.count) - 1;
            let at_risk = journal.samples.at_risk(seq, last);
            let in_doubt = journal.samples.in_doubt(seq, last);
            (late, survived) = (late + in_doubt, survived + at_risk - in_doubt);
        }
        repairing.from = from;
        if repairing.arrival.is_return() {
            (late, survived) = (0, 0);
        }
        let tally = &mut repairing.account.tally;
        tally.add(Outcome::Lost(Cause::Late), late);
        tally.add(Outcome::Survived, survived);
        repairing.stage = Stage::Folding(Box::new(Fold::new()), from);
    }

    fn count_works(&mut self) {
        if let Some(repairing) = &mut self.repairing {
            repairing.account.keys = repairing.works.len() as u64;
        }
    }

    /// Reads some more of the journal.
    pub(super) fn fold(&mut self) {
        let (Some(journal), Some(repairing)) = (&self.journal, &mut self.repairing) else {
            return;
        };
        let (clock, is_return) = (repairing.clock, repairing.arrival.is_return());
        let Stage::Folding(fold, next) = &mut repairing.stage else {
            return;
        };
        let mut is_done = true;
        for (count, (seq, record)) in journal.ring.from(*next).enumerate() {
            // What was read behind a write has its number, and is folded with it.
            if count >= FOLDED_A_TURN && !record.is_look {
                (*next, is_done) = (seq, false);
                break;
            }
            let sent = Moment(record.sent_at as i64);
            let (Some(stamp), Some(doubt)) = (clock.stamp(sent), clock.error(sent)) else {
                continue;
            };
            let last = seq + u64::from(record.count) - 1;
            let dispatch = Dispatch {
                stamp,
                doubt_ms: doubt.as_millis() as i64 + 1,
                is_inherited: !record.is_look
                    && (is_return || journal.samples.is_inherited(seq, last)),
                is_at_risk: !record.is_look && journal.samples.at_risk(seq, last) > 0,
            };
            fold.add(&self.table, &record, dispatch);
        }
        if is_done {
            self.begin_repairing();
        }
    }

    /// All is known that is to be compared: requests go on, but for those of keys that are not compared yet.
    fn begin_repairing(&mut self) {
        self.look_at_clock();
        let touches = self.stale.take_touches();
        let (now, at) = (self.now, self.boot_micros);
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        let Stage::Folding(fold, _) = std::mem::replace(&mut repairing.stage, Stage::Repairing)
        else {
            return;
        };
        repairing.take_folded(fold.finish());
        for touch in touches {
            repairing.add_touch(touch, at);
        }
        repairing.due.look = now;
        repairing.has_joined = true;
        self.add_acknowledged();
        self.count_works();
        self.in_round = true;
        self.reseed();
        self.failover_event(Event::Joined);
        self.go_on_repairing();
    }
}
