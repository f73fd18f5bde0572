//! Instants of dispatch, told by the clock of the new primary.
//!
//! A stamp is `TIME − (monotonic at TIME − monotonic at dispatch)`. Two sidecars that stamp by one server's clock differ by
//! no more than the two errors that [`Clock::error`] tells, whatever the wall clocks of their hosts show. Pure: it is fed
//! samples, and reads no clock.
//!
//! The way back ([`Clock::moment`]) is for the stamp that a mark script returns: it stands on the clock of the primary that
//! returned it, and the next primary has another one.

use std::time::Duration;

/// How far two clocks may drift from each other, in parts of a million: crystals are off by less than 50 each.
const DRIFT_PPM: i64 = 100;

/// An instant on this process's monotonic clock, in microseconds from an origin of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

/// An instant on the primary's clock, in microseconds since 1970.
///
/// Below 2^53, so that a script's numbers hold it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub i64);

impl Stamp {
    /// Returns the first stamp that outranks this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Returns the last stamp that this one outranks.
    pub fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    /// Returns the same instant in the unit of deadlines, milliseconds.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// One answer to TIME.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When TIME was sent.
    pub sent: Moment,
    /// When its answer came.
    pub answered: Moment,
    /// What it said.
    pub server: Stamp,
}

impl Sample {
    fn round_trip(&self) -> i64 {
        self.answered.0 - self.sent.0
    }

    /// Where in the round trip the server may have looked at its clock: the middle is off by half of it at most.
    fn middle(&self) -> i64 {
        self.sent.0 + self.round_trip() / 2
    }
}

/// The clock of one primary as this process knows it: the sample with the lowest round trip.
///
/// Made anew for each primary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    best: Option<Sample>,
}

impl Clock {
    /// Takes a sample; one whose answer came before it was sent says nothing.
    pub fn feed(&mut self, sample: Sample) {
        let is_better = self
            .best
            .is_none_or(|best| sample.round_trip() < best.round_trip());
        if sample.round_trip() >= 0 && is_better {
            self.best = Some(sample);
        }
    }

    /// Returns the stamp of a dispatch, `None` before the first sample.
    pub fn stamp(&self, dispatch: Moment) -> Option<Stamp> {
        let best = self.best?;
        Some(Stamp(best.server.0 + (dispatch.0 - best.middle())))
    }

    /// Returns the moment that a stamp of this primary stands for here, `None` before the first sample.
    pub fn moment(&self, stamp: Stamp) -> Option<Moment> {
        let best = self.best?;
        Some(Moment(best.middle() + (stamp.0 - best.server.0)))
    }

    /// Returns how far from the truth the stamp of a dispatch may be: half the round trip, and the drift since.
    ///
    /// A step of the server's clock is not in it: it moves all stamps that are made of later samples.
    pub fn error(&self, dispatch: Moment) -> Option<Duration> {
        let best = self.best?;
        let age = (dispatch.0 - best.middle()).abs();
        let error = (best.round_trip() + 1) / 2 + age * DRIFT_PPM / 1_000_000 + 1;
        Some(Duration::from_micros(error.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sent: i64, answered: i64, server: i64) -> Sample {
        Sample {
            sent: Moment(sent),
            answered: Moment(answered),
            server: Stamp(server),
        }
    }

    #[test]
    fn without_a_sample_there_is_no_stamp() {
        let clock = Clock::default();
        assert_eq!(clock.stamp(Moment(5)), None);
        assert_eq!(clock.moment(Stamp(5)), None);
        assert_eq!(clock.error(Moment(5)), None);
    }

    #[test]
    fn a_dispatch_before_the_sample_is_stamped_before_it() {
        let mut clock = Clock::default();
        clock.feed(sample(1000, 1200, 5_000_000));
        assert_eq!(clock.stamp(Moment(1100)), Some(Stamp(5_000_000)));
        assert_eq!(clock.stamp(Moment(100)), Some(Stamp(4_999_000)));
        assert_eq!(clock.moment(Stamp(4_999_000)), Some(Moment(100)));
    }

    #[test]
    fn the_lowest_round_trip_wins_whenever_it_came() {
        let mut clock = Clock::default();
        clock.feed(sample(0, 400, 1_000_000));
        clock.feed(sample(10_000, 10_100, 1_009_950));
        clock.feed(sample(20_000, 20_900, 1_020_800));
        clock.feed(sample(30_000, 29_000, 7));
        assert_eq!(clock.stamp(Moment(10_050)), Some(Stamp(1_009_950)));
        assert_eq!(clock.error(Moment(10_050)), Some(Duration::from_micros(51)));
    }

    /// Wherever in the round trip the server answered, and whichever way the clocks drift.
    #[test]
    fn the_error_bounds_every_place_of_the_answer_and_the_drift() {
        for round_trip in [0, 1, 7, 500, 30_001] {
            for place in [0, round_trip / 3, round_trip / 2, round_trip] {
                for (dispatch, drift) in [(-60_000_000, 90), (0, -90), (10_000_000, 90)] {
                    let truth = |moment: i64| 9_000_000_000 + moment + moment * drift / 1_000_000;
                    let mut clock = Clock::default();
                    clock.feed(sample(0, round_trip, truth(place)));
                    let stamp = clock.stamp(Moment(dispatch)).unwrap().0;
                    let error = clock.error(Moment(dispatch)).unwrap().as_micros() as i64;
                    let off = (stamp - truth(dispatch)).abs();
                    assert!(
                        off <= error,
                        "{round_trip} {place} {dispatch}: {off} > {error}"
                    );
                }
            }
        }
    }
}
