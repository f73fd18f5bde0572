//! What is counted of repairs.

use metrics::{Counter, Gauge};

use super::labels::{LossCause, Settled};
use super::{Recorder, absolute, definitions};

/// What the data thread has counted since it started, and how long the last repair took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairCounters {
    /// Writes that a new primary may have lacked, by what became of them.
    pub settled: [u64; Settled::COUNT],
    /// Those that are gone, by cause.
    pub lost: [u64; LossCause::COUNT],
    /// Keys that were put back from the cache.
    pub reseeded: u64,
    /// How long the last repair took, in microseconds.
    pub last_us: u64,
}

/// The data thread's handles for them.
#[derive(Debug)]
pub(super) struct RepairMetrics {
    settled: [Counter; Settled::COUNT],
    lost: [Counter; LossCause::COUNT],
    reseeded: Counter,
    last: Gauge,
}

impl RepairMetrics {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self {
            settled: recorder.counters(&definitions::WRITES_SETTLED),
            lost: recorder.counters(&definitions::WRITES_LOST),
            reseeded: recorder.counter(&definitions::KEYS_RESEEDED),
            last: recorder.gauge(&definitions::REPAIR_LAST),
        }
    }

    pub(super) fn flush(&self, counters: &RepairCounters) {
        absolute(&self.settled, &counters.settled);
        absolute(&self.lost, &counters.lost);
        self.reseeded.absolute(counters.reseeded);
        self.last.set(counters.last_us as f64 / 1e6);
    }
}
