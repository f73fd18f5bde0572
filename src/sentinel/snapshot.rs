//! What is known of the topology at the moment, for the status page.

use std::collections::VecDeque;

use serde::Serialize;
use tokio::time::Instant;

/// Everything that the watcher knows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// What the last look came to: `settled`, or what is waited for.
    pub state: String,
    /// The primary; null until one was found.
    pub primary: Option<Primary>,
    /// Its replicas, and what else the Sentinels count as one.
    pub replicas: Vec<Replica>,
    /// Each Sentinel with what it says.
    pub sentinels: Vec<Sentinel>,
    /// The last switches, newest first.
    pub switches: VecDeque<Switch>,
}

/// The primary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Primary {
    /// Where it is.
    pub address: String,
    /// Sentinel's epoch of it.
    pub epoch: u64,
    /// Our own count of primaries.
    pub generation: u64,
    /// Whether it answers the control plane at the moment.
    pub reachable: bool,
    /// Its history; null when it does not show it.
    pub lineage: Option<Lineage>,
}

/// A node's history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lineage {
    /// Name of the process.
    pub run_id: String,
    /// Name of the history.
    pub replid: String,
    /// The history that it continues; null when none.
    pub replid2: Option<String>,
    /// First byte that is not shared with `replid2`; -1 when none.
    pub second_offset: i64,
    /// End of the stream, in bytes.
    pub offset: i64,
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replica {
    /// Where it is.
    pub address: String,
    /// `replica` or `primary`, as it says itself; null while it does not answer.
    pub role: Option<&'static str>,
    /// Why it does not answer; empty when it does.
    pub trouble: String,
    /// Whether its link to the primary is up.
    pub online: bool,
    /// Bytes behind the primary, as the primary sees it; null when not known.
    pub lag_bytes: Option<u64>,
    /// Seconds since its last acknowledgement; null when not known.
    pub lag_s: Option<u64>,
}

/// A Sentinel and what it says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sentinel {
    /// Where it is.
    pub address: String,
    /// Whether the configuration names it; the others were found.
    pub configured: bool,
    /// `named`, `unknown` (it does not know the primary's name), `unreachable` or `pending`.
    pub state: &'static str,
    /// Why it cannot be asked; empty when it can.
    pub trouble: String,
    /// Whether its events reach us; without them we poll.
    pub listening: bool,
    /// Why not; empty when they do.
    pub listening_trouble: String,
    /// `announced`: a failover that it is told to make is known here before the promotion, and loses nothing; or `may lose
    /// writes`, as its events do not reach us.
    pub planned_failovers: &'static str,
    /// The primary that it names; null when none.
    pub names: Option<String>,
    /// The epoch that it names it with.
    pub epoch: Option<u64>,
    /// Whether it distrusts its clock; its word weighs less then.
    pub tilt: bool,
    /// It gets no answer of the primary.
    pub subjectively_down: bool,
    /// A quorum gets none.
    pub objectively_down: bool,
    /// A failover is under way.
    pub failover_in_progress: bool,
    /// The last thing that it published about the primary; empty when nothing yet.
    pub last_event: String,
}

/// A change of the primary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Switch {
    /// When.
    #[serde(skip)]
    pub at: Instant,
    /// How many seconds ago; set by [`Snapshot::aged`].
    pub ago_s: f64,
    /// The old primary; null for the first.
    pub from: Option<String>,
    /// The new one.
    pub to: String,
    /// Sentinel's epoch.
    pub epoch: u64,
    /// Our own count.
    pub generation: u64,
    /// `start`, `failover`, `switchover`, `lineage_break`, `renamed`.
    pub reason: &'static str,
    /// How the data relate to those before: `first`, `same`, `heir`, `broken`, `unknown`.
    pub continuity: &'static str,
    /// Milliseconds from the first sign of it to the decision.
    pub took_ms: u64,
}

impl Snapshot {
    /// Brings the ages up to date.
    #[must_use]
    pub fn aged(mut self, now: Instant) -> Self {
        for switch in &mut self.switches {
            switch.ago_s = now.saturating_duration_since(switch.at).as_millis() as f64 / 1000.0;
        }
        self
    }
}
