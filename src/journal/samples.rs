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
}

/// The records that were sent to one primary.
#[derive(Debug)]
struct Era {
    generation: u64,
    /// Its first record.
    first: Seq,
    /// The record behind the last confirmed one.
    unconfirmed: Seq,
    replid: Option<Arc<str>>,
    /// Newest record and offset, both rising.
    samples: VecDeque<(Seq, i64)>,
}

/// What is known of all records.
#[derive(Debug)]
pub struct Samples {
    eras: VecDeque<Era>,
}

impl Default for Samples {
    fn default() -> Self {
        let mut samples = Self {
            eras: VecDeque::new(),
        };
        samples.begin(0, 1);
        samples
    }
}

impl Samples {
    /// Another primary: the records from `next` on are sent to it.
    pub fn begin(&mut self, generation: u64, next: Seq) {
        self.eras.push_back(Era {
            generation,
            first: next,
            unconfirmed: next,
            replid: None,
            samples: VecDeque::new(),
        });
        if self.eras.len() > ERAS_MAX {
            self.eras.pop_front();
        }
    }

    /// The primary is the same process, under another address.
    pub fn rename(&mut self, generation: u64) {
        if let Some(era) = self.eras.back_mut() {
            era.generation = generation;
        }
    }

    /// Takes in a sample; one of another primary than the newest says nothing any more.
    pub fn take(&mut self, sample: Sample) {
        let Some(era) = self.eras.back_mut() else {
            return;
        };
        if era.generation != sample.generation {
            return;
        }
        // Another history at the same address: a restarted process, which may lack all that is acknowledged. Where it is
        // accepted as the primary, it begins an era.
        if *era.replid.get_or_insert_with(|| sample.replid.clone()) != sample.replid {
            return;
        }
        if era.samples.len() == SAMPLES_MAX {
            era.samples.pop_front();
        }
        if sample.newest >= era.first {
            era.samples.push_back((sample.newest, sample.offset));
        }
        if let Some(acknowledged) = sample.acknowledged {
            era.confirm(acknowledged);
        }
    }

    /// Tells whether every replica has a record.
    pub fn is_confirmed(&self, seq: Seq) -> bool {
        let mut eras = self.eras.iter().rev();
        let era = eras.find(|era| era.first <= seq);
        era.is_some_and(|era| seq < era.unconfirmed)
    }

    /// Returns how many records from `oldest` to `newest` are not confirmed.
    pub fn at_risk(&self, oldest: Seq, newest: Seq) -> u64 {
        let mut end = newest + 1;
        let mut count = 0;
        for era in self.eras.iter().rev() {
            count += end.saturating_sub(era.unconfirmed.max(oldest));
            end = era.first;
        }
        // What is older than all eras is not known to be anywhere.
        count + end.saturating_sub(oldest)
    }

    /// Returns the first record of the newest era that is not confirmed.
    pub fn unconfirmed(&self) -> Seq {
        self.eras.back().map_or(1, |era| era.unconfirmed)
    }
}

impl Era {
    fn confirm(&mut self, acknowledged: i64) {
        while let Some((newest, offset)) = self.samples.front()
            && *offset <= acknowledged
        {
            self.unconfirmed = self.unconfirmed.max(newest + 1);
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(newest: Seq, offset: i64, acknowledged: Option<i64>) -> Sample {
        Sample {
            generation: 0,
            newest,
            replid: "A".into(),
            offset,
            acknowledged,
        }
    }

    #[test]
    fn a_record_is_confirmed_once_a_later_sample_is_acknowledged() {
        let mut samples = Samples::default();
        assert_eq!(samples.at_risk(1, 0), 0);
        samples.take(sample(3, 100, Some(99)));
        assert_eq!((samples.at_risk(1, 5), samples.unconfirmed()), (5, 1));
        samples.take(sample(5, 200, Some(100)));
        assert_eq!((samples.at_risk(1, 5), samples.unconfirmed()), (2, 4));
        assert!(samples.is_confirmed(3) && !samples.is_confirmed(4));
        samples.take(sample(5, 210, None));
        assert_eq!(samples.at_risk(1, 5), 2, "without replicas nothing is");
        samples.take(sample(5, 220, Some(200)));
        assert_eq!(samples.at_risk(1, 5), 0);
        assert_eq!(samples.at_risk(1, 6), 1);
        samples.take(sample(5, 230, Some(0)));
        assert_eq!(samples.at_risk(1, 5), 0, "what is known stays known");
    }

    #[test]
    fn another_history_says_nothing_of_this_era() {
        let mut samples = Samples::default();
        samples.take(sample(3, 100, Some(0)));
        let restarted = Sample {
            replid: "B".into(),
            ..sample(5, 7, Some(1_000))
        };
        samples.take(restarted.clone());
        samples.take(restarted.clone());
        assert_eq!(samples.at_risk(1, 5), 5);
        samples.begin(1, 6);
        samples.take(Sample {
            generation: 1,
            newest: 6,
            ..restarted
        });
        assert_eq!(samples.at_risk(1, 6), 5, "its own era");
    }

    #[test]
    fn the_same_primary_under_another_address_goes_on() {
        let mut samples = Samples::default();
        samples.take(sample(3, 100, Some(0)));
        samples.rename(4);
        samples.take(Sample {
            generation: 4,
            ..sample(3, 200, Some(100))
        });
        assert_eq!(samples.at_risk(1, 3), 0);
    }

    #[test]
    fn what_another_primary_had_is_confirmed_by_no_sample_of_this_one() {
        let mut samples = Samples::default();
        samples.take(sample(4, 100, Some(50)));
        samples.begin(1, 6);
        let late = sample(9, 999, Some(999));
        samples.take(late.clone());
        assert_eq!(samples.at_risk(1, 5), 5, "of the old primary, too late");
        samples.take(Sample {
            generation: 1,
            ..sample(5, 100, Some(100))
        });
        assert_eq!(samples.at_risk(1, 5), 5, "from before it");
        samples.take(Sample {
            generation: 1,
            ..late
        });
        assert_eq!(samples.at_risk(1, 9), 5, "the old ones");
        assert!(!samples.is_confirmed(5) && samples.is_confirmed(6));
        assert_eq!(samples.at_risk(4, 10), 3, "those that are still there");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut samples = Samples::default();
        for at in 1..5_000 {
            samples.take(sample(at, at as i64, Some(0)));
        }
        assert_eq!(samples.eras[0].samples.len(), SAMPLES_MAX);
        samples.take(sample(5_000, 5_000, Some(4_999)));
        assert_eq!(samples.at_risk(1, 5_000), 1);
        for generation in 1..100 {
            samples.begin(generation, 5_000 + generation);
        }
        assert_eq!(samples.eras.len(), ERAS_MAX);
        assert_eq!(samples.at_risk(5_001, 5_099), 99);
    }
}
