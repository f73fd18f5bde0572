//! What is counted of the topology.

use metrics::{Counter, Gauge};

use super::Recorder;
use super::definitions;
use super::labels::{RejectedPrimary, ReplicaState, SentinelState, SwitchReason};

/// The watcher's handles.
#[derive(Clone, Debug)]
pub struct TopologyMetrics {
    sentinels: [Gauge; SentinelState::COUNT],
    listening: Gauge,
    in_tilt: Gauge,
    events: Counter,
    epoch: Gauge,
    generation: Gauge,
    settled: Gauge,
    switches: [Counter; SwitchReason::COUNT],
    lineage_breaks: Counter,
    rejected: [Counter; RejectedPrimary::COUNT],
    replicas: [Gauge; ReplicaState::COUNT],
    lag_bytes_max: Gauge,
}

/// How things stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct TopologyGauges {
    /// Sentinels, by [`SentinelState::index`].
    pub sentinels: [usize; SentinelState::COUNT],
    /// Sentinels whose events reach us.
    pub listening: usize,
    /// Sentinels in TILT.
    pub in_tilt: usize,
    /// Sentinel's epoch.
    pub epoch: u64,
    /// Primaries so far.
    pub generation: u64,
    /// Nothing is open.
    pub settled: bool,
    /// Replicas that get the stream.
    pub replicas_online: usize,
    /// Replicas that do not.
    pub replicas_offline: usize,
    /// Bytes that the slowest replica is behind.
    pub lag_bytes_max: u64,
}

impl TopologyMetrics {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self {
            sentinels: recorder.gauges(&definitions::SENTINELS),
            listening: recorder.gauge(&definitions::SENTINELS_LISTENING),
            in_tilt: recorder.gauge(&definitions::SENTINELS_IN_TILT),
            events: recorder.counter(&definitions::SENTINEL_EVENTS),
            epoch: recorder.gauge(&definitions::TOPOLOGY_EPOCH),
            generation: recorder.gauge(&definitions::TOPOLOGY_GENERATION),
            settled: recorder.gauge(&definitions::TOPOLOGY_SETTLED),
            switches: recorder.counters(&definitions::PRIMARY_SWITCHES),
            lineage_breaks: recorder.counter(&definitions::LINEAGE_BREAKS),
            rejected: recorder.counters(&definitions::PRIMARIES_REJECTED),
            replicas: recorder.gauges(&definitions::REPLICAS),
            lag_bytes_max: recorder.gauge(&definitions::REPLICA_LAG),
        }
    }

    /// Counts an event that a Sentinel published.
    pub fn event(&self) {
        self.events.increment(1);
    }

    /// Counts a change of the primary.
    pub fn switched(&self, reason: SwitchReason, broken: bool) {
        self.switches[reason.index()].increment(1);
        self.lineage_breaks.increment(u64::from(broken));
    }

    /// Counts a primary that was not accepted.
    pub fn rejected(&self, why: RejectedPrimary) {
        self.rejected[why.index()].increment(1);
    }

    /// Shows how things stand.
    pub fn show(&self, now: &TopologyGauges) {
        for (gauge, count) in self.sentinels.iter().zip(now.sentinels) {
            gauge.set(count as f64);
        }
        self.listening.set(now.listening as f64);
        self.in_tilt.set(now.in_tilt as f64);
        self.epoch.set(now.epoch as f64);
        self.generation.set(now.generation as f64);
        self.settled.set(f64::from(u8::from(now.settled)));
        self.replicas[ReplicaState::Online.index()].set(now.replicas_online as f64);
        self.replicas[ReplicaState::Offline.index()].set(now.replicas_offline as f64);
        self.lag_bytes_max.set(now.lag_bytes_max as f64);
    }
}
