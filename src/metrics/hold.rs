//! What is counted of holds and of requests that are sent again.

use metrics::{Counter, Gauge};

use super::labels::{HoldReason, Phase};
use super::{Recorder, absolute, definitions};

/// What the data thread has counted since it started, and how things stand (the last three fields).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldCounters {
    /// Holds by what began them.
    pub holds: [u64; HoldReason::COUNT],
    /// Requests that began to wait.
    pub held: u64,
    /// Requests that a lost or refusing link had, taken back to be sent again.
    pub taken_back: u64,
    /// Requests that a node refused for what it was at that moment.
    pub refused: u64,
    /// Requests that were refused here, past the bounds.
    pub shed: u64,
    /// Writes that were acknowledged here although requests were held.
    pub acknowledged: u64,
    /// Clients that went away while they waited.
    pub gave_up: u64,
    /// Requests that wait now.
    pub held_now: u64,
    /// Bytes of all that waits now.
    pub held_bytes: u64,
    /// Where the failover machine is now.
    pub phase: usize,
}

/// The data thread's handles for them.
#[derive(Debug)]
pub(super) struct HoldMetrics {
    holds: [Counter; HoldReason::COUNT],
    held: Counter,
    taken_back: Counter,
    refused: Counter,
    shed: Counter,
    acknowledged: Counter,
    gave_up: Counter,
    held_now: Gauge,
    held_bytes: Gauge,
    phase: [Gauge; Phase::COUNT],
}

impl HoldMetrics {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self {
            holds: recorder.counters(&definitions::HOLDS),
            held: recorder.counter(&definitions::REQUESTS_HELD),
            taken_back: recorder.counter(&definitions::REQUESTS_TAKEN_BACK),
            refused: recorder.counter(&definitions::REQUESTS_REFUSED),
            shed: recorder.counter(&definitions::REQUESTS_SHED),
            acknowledged: recorder.counter(&definitions::WRITES_ACKNOWLEDGED),
            gave_up: recorder.counter(&definitions::CLIENTS_GAVE_UP),
            held_now: recorder.gauge(&definitions::HELD_NOW),
            held_bytes: recorder.gauge(&definitions::HELD_BYTES),
            phase: recorder.gauges(&definitions::FAILOVER_PHASE),
        }
    }

    pub(super) fn flush(&self, counters: &HoldCounters) {
        absolute(&self.holds, &counters.holds);
        self.held.absolute(counters.held);
        self.taken_back.absolute(counters.taken_back);
        self.refused.absolute(counters.refused);
        self.shed.absolute(counters.shed);
        self.acknowledged.absolute(counters.acknowledged);
        self.gave_up.absolute(counters.gave_up);
        self.held_now.set(counters.held_now as f64);
        self.held_bytes.set(counters.held_bytes as f64);
        for (index, gauge) in self.phase.iter().enumerate() {
            gauge.set(f64::from(u8::from(index == counters.phase)));
        }
    }
}
