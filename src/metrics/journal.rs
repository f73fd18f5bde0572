//! What is counted of the journal, and of replies that wait for replicas.

use metrics::{Counter, Gauge};

use super::labels::{Durable, Fate, Looked};
use super::{Recorder, absolute, definitions};

/// What the data thread has counted since it started, and how things stand (the last four fields).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalCounters {
    /// Acknowledged writes that were added.
    pub added: u64,
    /// Those that were forgotten although no replica is known to have them.
    pub dropped: u64,
    /// Acknowledged writes that were not added, as their bytes were not at hand any more.
    pub missed: u64,
    /// Keys whose state a write's reply does not tell, by [`Looked`].
    pub opaque: [u64; Looked::COUNT],
    /// Those that were at risk when the primary changed, and that the other one has.
    pub inherited: u64,
    /// Those that the other one may lack.
    pub in_doubt: u64,
    /// How many are remembered now.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How old the oldest is, in milliseconds.
    pub oldest_ms: u64,
    /// How many of them some replica may lack.
    pub at_risk: u64,
}

/// The data thread's handles for them.
#[derive(Debug)]
pub(super) struct JournalMetrics {
    added: Counter,
    dropped: Counter,
    missed: Counter,
    opaque: [Counter; Looked::COUNT],
    switched: [Counter; Fate::COUNT],
    records: Gauge,
    bytes: Gauge,
    oldest: Gauge,
    at_risk: Gauge,
}

impl JournalMetrics {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self {
            added: recorder.counter(&definitions::JOURNAL_WRITES),
            dropped: recorder.counter(&definitions::JOURNAL_DROPPED),
            missed: recorder.counter(&definitions::JOURNAL_MISSED),
            opaque: recorder.counters(&definitions::JOURNAL_OPAQUE),
            switched: recorder.counters(&definitions::WRITES_AT_SWITCH),
            records: recorder.gauge(&definitions::JOURNAL_RECORDS),
            bytes: recorder.gauge(&definitions::JOURNAL_BYTES),
            oldest: recorder.gauge(&definitions::JOURNAL_OLDEST),
            at_risk: recorder.gauge(&definitions::WRITES_AT_RISK),
        }
    }

    pub(super) fn flush(&self, counters: &JournalCounters) {
        self.added.absolute(counters.added);
        self.dropped.absolute(counters.dropped);
        self.missed.absolute(counters.missed);
        absolute(&self.opaque, &counters.opaque);
        absolute(&self.switched, &[counters.inherited, counters.in_doubt]);
        self.records.set(counters.records as f64);
        self.bytes.set(counters.bytes as f64);
        self.oldest.set(counters.oldest_ms as f64 / 1_000.0);
        self.at_risk.set(counters.at_risk as f64);
    }
}

/// What the data thread has counted of replies that wait for replicas, and how things stand (the last two fields).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurabilityCounters {
    /// Writes by what became of that.
    pub waits: [u64; Durable::COUNT],
    /// Writes whose replies wait now.
    pub waiting: u64,
    /// How long the replies waited that went out last, in microseconds.
    pub last_us: u64,
}

/// The data thread's handles for them.
#[derive(Debug)]
pub(super) struct DurabilityMetrics {
    waits: [Counter; Durable::COUNT],
    waiting: Gauge,
    last: Gauge,
}

impl DurabilityMetrics {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self {
            waits: recorder.counters(&definitions::DURABILITY_WAITS),
            waiting: recorder.gauge(&definitions::DURABILITY_WAITING),
            last: recorder.gauge(&definitions::DURABILITY_WAIT),
        }
    }

    pub(super) fn flush(&self, counters: &DurabilityCounters) {
        absolute(&self.waits, &counters.waits);
        self.waiting.set(counters.waiting as f64);
        self.last.set(counters.last_us as f64 / 1e6);
    }
}
