//! Which records replicas have, by samples of the replication stream: pure.
//!
//! A sample says how far the primary's stream had come when every record up to some number had been acknowledged. Once each
//! replica has acknowledged that offset, it has those records: they are *confirmed*. An offset means something within one
//! history only, so a record is confirmed only by samples of the primary that it was sent to: each primary begins an
//! *era*.
//!
//! Source: redis `src/replication.c`: an acknowledged write stands in the stream before the INFO that is asked after it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Seq;
use crate::outbox::Ticket;

/// Samples of an era that are remembered; in between, what is told by an older one is told a little later.
const SAMPLES_MAX: usize = 1024;

/// Eras that are remembered.
const ERAS_MAX: usize = 8;

/// What the control thread has learned of the primary's replication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Which primary was asked: the number of its era.
    pub generation: u64,
    /// The newest record when it was asked.
    pub newest: Seq,
    /// Name of its history.
    pub replid: Arc<str>,
    /// How far its stream had come when it answered.
    pub offset: i64,
    /// What all of its replicas have acknowledged; `None` where it has none.
    pub acknowledged: Option<i64>,
    /// As many replicas as are wanted have all that waits for a ticket up to this one; 0 where none is known.
    pub replicated: Ticket,
}

/// What another primary has of the history before it, as it says itself.
///
/// Source: redis `src/replication.c`, `shiftReplicationId`: `master_replid2` and `second_repl_offset`, which is the first byte
/// that is not shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inheritance {
    /// Name of that history.
    pub replid: Arc<str>,
    /// The last byte of it that it has.
    pub end: i64,
}

/// What a change of the primary means for the records before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Some replica may have lacked them, and the other primary is known to have them.
    pub inherited: u64,
    /// The other primary may lack them.
    pub in_doubt: u64,
}

/// The records that were sent to one primary.
#[derive(Debug)]
struct Era {
    generation: u64,
    /// Its first record.
    first: Seq,
    /// The record behind the last confirmed one.
    unconfirmed: Seq,
    /// The record behind the last one that the newest primary is known to have inherited.
    uninherited: Seq,
    /// Where its part of the stream begins.
    begins: i64,
    replid: Option<Arc<str>>,
    /// Newest record and offset, both rising.
    samples: VecDeque<(Seq, i64)>,
}

/// What is known of all records.
#[derive(Debug)]
pub struct Samples {
    eras: VecDeque<Era>,
    /// The newest primary has all that was put back on it; so had the first, which nobody came before.
    is_settled: bool,
    /// The one before it had.
    was_settled: bool,
}

impl Default for Samples {
    fn default() -> Self {
        let mut samples = Self {
            eras: VecDeque::new(),
            is_settled: true,
            was_settled: true,
        };
        samples.push(0, 1, 0);
        samples
    }
}

impl Samples {
    /// Another primary: the records from `next` on are sent to it. Says what became of those from `oldest` to there.
    pub fn begin(
        &mut self,
        generation: u64,
        next: Seq,
        oldest: Seq,
        inheritance: Option<&Inheritance>,
    ) -> Fate {
        self.inherit(inheritance);
        let at_risk = self.at_risk(oldest, next - 1);
        let in_doubt = self.in_doubt(oldest, next - 1);
        let begins = inheritance.map_or(0, |inheritance| inheritance.end);
        self.push(generation, next, begins);
        self.was_settled = std::mem::replace(&mut self.is_settled, false);
        Fate {
            inherited: at_risk - in_doubt,
            in_doubt,
        }
    }

    fn push(&mut self, generation: u64, next: Seq, begins: i64) {
        self.eras.push_back(Era {
            generation,
            first: next,
            unconfirmed: next,
            uninherited: next,
            begins,
            replid: None,
            samples: VecDeque::new(),
        });
        if self.eras.len() > ERAS_MAX {
            self.eras.pop_front();
        }
    }

    /// Follows the chain of histories back: what the other primary has of the newest one, that one had of the one before,
    /// and so on, as far as its own part reaches.
    fn inherit(&mut self, inheritance: Option<&Inheritance>) {
        let newest = self.eras.back().and_then(|era| era.replid.clone());
        let end = inheritance
            .filter(|inheritance| Some(&inheritance.replid) == newest.as_ref())
            .map(|inheritance| inheritance.end);
        for (back, era) in self.eras.iter_mut().rev().enumerate() {
            let had = match back {
                0 => Seq::MAX,
                _ => era.uninherited,
            };
            let has = end.map_or(era.first, |end| era.acknowledged_by(end));
            era.uninherited = has.min(had);
        }
    }

    /// What the newest primary lacked of the records from `first` on was put back on it: all of them are in its stream now, and
    /// only later samples say where.
    pub fn repaired(&mut self, first: Seq) {
        self.is_settled = true;
        let Some(mut newest) = self.eras.pop_back() else {
            return;
        };
        newest.first = newest.first.min(first);
        while self
            .eras
            .back()
            .is_some_and(|era| era.first >= newest.first)
        {
            self.eras.pop_back();
        }
        newest.unconfirmed = newest.first;
        newest.uninherited = newest.first;
        newest.samples.clear();
        self.eras.push_back(newest);
    }

    /// Tells whether the newest primary is known to have had these records when it became one: they stood in the stream of the
    /// one before it, which had all that was put back on it. Of a primary before that, what it had may have been overwritten
    /// by others on the one in between.
    pub fn is_inherited(&self, first: Seq, last: Seq) -> bool {
        let before = self
            .eras
            .len()
            .checked_sub(2)
            .and_then(|at| self.eras.get(at));
        let has = |era: &Era| first >= era.first && last < era.uninherited;
        self.was_settled && before.is_some_and(has)
    }

    /// The primary is the same process, under another address.
    pub fn rename(&mut self, generation: u64) {
        if let Some(era) = self.eras.back_mut() {
            era.generation = generation;
        }
    }

    /// The primary calls its history by another name now; its stream goes on, so what was sampled holds.
    pub fn rename_history(&mut self, replid: Arc<str>) {
        if let Some(era) = self.eras.back_mut() {
            era.replid = Some(replid);
        }
    }

    /// Takes in a sample; false for one of another primary than the newest, which says nothing any more.
    pub fn take(&mut self, sample: Sample) -> bool {
        let Some(era) = self.eras.back_mut() else {
            return false;
        };
        if era.generation != sample.generation {
            return false;
        }
        // Another history at the same address: a restarted process, which may lack all that is acknowledged. Where it is
        // accepted as the primary, it begins an era.
        if *era.replid.get_or_insert_with(|| sample.replid.clone()) != sample.replid {
            return false;
        }
        let point = (sample.newest, sample.offset);
        // One that tells only who waits no more repeats the one before.
        if sample.newest >= era.first && era.samples.back() != Some(&point) {
            if era.samples.len() == SAMPLES_MAX {
                era.samples.pop_front();
            }
            era.samples.push_back(point);
        }
        if let Some(acknowledged) = sample.acknowledged {
            era.unconfirmed = era.unconfirmed.max(era.acknowledged_by(acknowledged));
            // Who follows this primary has what it inherited, too.
            let follow = acknowledged >= era.begins;
            for era in self.eras.iter_mut().filter(|_| follow) {
                era.unconfirmed = era.unconfirmed.max(era.uninherited);
            }
        }
        true
    }

    /// Returns the number of the newest primary.
    pub fn generation(&self) -> u64 {
        self.eras.back().map_or(0, |era| era.generation)
    }

    /// Tells whether the newest primary is known to have a record that an earlier one has acknowledged.
    pub fn is_known(&self, record: Seq) -> bool {
        let known = |era: &Era| era.unconfirmed.max(era.uninherited);
        self.not_known(record, record, known) == 0
    }

    /// Returns how many records from `oldest` to `newest` are not confirmed.
    pub fn at_risk(&self, oldest: Seq, newest: Seq) -> u64 {
        self.not_known(oldest, newest, |era| era.unconfirmed)
    }

    /// Returns how many of them the newest primary is not known to have inherited, either.
    pub fn in_doubt(&self, oldest: Seq, newest: Seq) -> u64 {
        self.not_known(oldest, newest, |era| era.unconfirmed.max(era.uninherited))
    }

    /// Returns how many records from `oldest` to `newest` are not among those that are `known` of each era: up to there.
    fn not_known(&self, oldest: Seq, newest: Seq, known: impl Fn(&Era) -> Seq) -> u64 {
        let mut end = newest + 1;
        let mut count = 0;
        for era in self.eras.iter().rev() {
            count += end.saturating_sub(known(era).max(oldest));
            end = end.min(era.first);
        }
        // What is older than all eras is not known to be anywhere.
        count + end.saturating_sub(oldest)
    }
}

impl Era {
    /// Returns the record behind the last one that stands in the stream before this offset.
    fn acknowledged_by(&self, offset: i64) -> Seq {
        let mut samples = self.samples.iter().rev();
        let last = samples.find(|(_, at)| *at <= offset);
        last.map_or(self.first, |(newest, _)| newest + 1)
    }
}

#[cfg(test)]
mod tests;
