//! Every metric: name, kind, unit, label and help in one place.

use metrics::Unit;

use super::labels::{
    ClearCause, CloseCause, DialOutcome, Durable, ErrorKind, Eviction, Fate, HoldReason, Lane,
    Looked, LossCause, Phase, RejectReason, RejectedPrimary, ReplicaState, SentinelState,
    SessionRead, Settled, Side, SwitchReason, Touched, TtlFinding, Verified,
};

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Kind {
    /// Returns the word on the `# TYPE` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// A label and all the values it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: &'static [&'static str],
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Name as Prometheus sees it.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// Unit; things that are counted have `Unit::Count`.
    pub unit: Unit,
    /// The label, where there is one.
    pub label: Option<Label>,
    /// One sentence for people.
    pub help: &'static str,
}

const fn counter(name: &'static str, unit: Unit, help: &'static str) -> Definition {
    Definition {
        name,
        kind: Kind::Counter,
        unit,
        label: None,
        help,
    }
}

const fn gauge(name: &'static str, unit: Unit, help: &'static str) -> Definition {
    Definition {
        name,
        kind: Kind::Gauge,
        unit,
        label: None,
        help,
    }
}

impl Definition {
    const fn by(mut self, name: &'static str, values: &'static [&'static str]) -> Self {
        self.label = Some(Label { name, values });
        self
    }
}

/// Declares the constants and the list of them, so that none can be left out of the list.
macro_rules! definitions {
    ($($constant:ident = $definition:expr;)+) => {
        $(pub(super) const $constant: Definition = $definition;)+

        /// Every metric that a scrape shows.
        pub const ALL: &[Definition] = &[$($constant),+];
    };
}

definitions! {
    CLIENT_CONNECTIONS = gauge("gripfast_client_connections", Unit::Count, "Client connections open");
    CLIENTS_ACCEPTED = counter("gripfast_client_connections_accepted_total", Unit::Count, "Client connections accepted");
    CLIENTS_REJECTED = counter("gripfast_client_connections_rejected_total", Unit::Count, "Client connections turned away, by reason").by("reason", RejectReason::NAMES);
    CLIENTS_CLOSED = counter("gripfast_client_connections_closed_total", Unit::Count, "Client connections ended, by cause").by("cause", CloseCause::NAMES);
    REQUESTS = counter("gripfast_requests_total", Unit::Count, "Requests taken from clients, by lane").by("lane", Lane::NAMES);
    ERROR_REPLIES = counter("gripfast_error_replies_total", Unit::Count, "Errors that the sidecar itself answered, by kind").by("kind", ErrorKind::NAMES);
    SESSION_READS = counter("gripfast_session_reads_total", Unit::Count, "Reads of sessions that may be kept, by what became of them").by("outcome", SessionRead::NAMES);
    TOUCHES = counter("gripfast_touches_total", Unit::Count, "Requests that may only move a session's deadline, by what became of them").by("outcome", Touched::NAMES);
    TTL_FINDINGS = counter("gripfast_session_ttl_findings_total", Unit::Count, "Session keys written with no expiry, or with one past sessions.max_ttl_s (needs sessions.require_ttl)").by("finding", TtlFinding::NAMES);
    CACHE_ENTRIES = gauge("gripfast_cache_entries", Unit::Count, "Keys in the session cache");
    CACHE_BYTES = gauge("gripfast_cache_bytes", Unit::Bytes, "Bytes of the session cache, names and overhead counted");
    CACHE_EVICTIONS = counter("gripfast_cache_evictions_total", Unit::Count, "Keys that gave way in the session cache, by cause").by("cause", Eviction::NAMES);
    CACHE_OVERSIZED = counter("gripfast_cache_oversized_total", Unit::Count, "Replies that were too large for the session cache");
    CACHE_INVALIDATIONS = counter("gripfast_cache_invalidations_total", Unit::Count, "Keys that the server announced as changed");
    CACHE_CLEARS = counter("gripfast_cache_clears_total", Unit::Count, "How often the session cache was emptied, by cause").by("cause", ClearCause::NAMES);
    LINKS_ANNOUNCING = gauge("gripfast_cache_tracking_links", Unit::Count, "Links on which the server announces changes");
    HITS_VERIFIED = counter("gripfast_cache_verified_total", Unit::Count, "Answers of the session cache that the primary was asked about, by what it said").by("result", Verified::NAMES);
    STALENESS_WORST = gauge("gripfast_cache_staleness_worst_seconds", Unit::Seconds, "How long before it was served the most outdated of them had been read");
    FAILOVER_PHASE = gauge("gripfast_failover_phase", Unit::Count, "1 for the phase that the failover machine is in, else 0").by("phase", Phase::NAMES);
    HOLDS = counter("gripfast_holds_total", Unit::Count, "How often requests began to be held, by the first sign of trouble").by("reason", HoldReason::NAMES);
    REQUESTS_HELD = counter("gripfast_requests_held_total", Unit::Count, "Requests that began to wait for a primary");
    REQUESTS_TAKEN_BACK = counter("gripfast_requests_taken_back_total", Unit::Count, "Requests of a lost or refusing link that were taken back to be sent again");
    REQUESTS_REFUSED = counter("gripfast_requests_refused_total", Unit::Count, "Requests that a node refused for what it was at that moment (READONLY, LOADING and the like)");
    REQUESTS_SHED = counter("gripfast_requests_shed_total", Unit::Count, "Requests refused here since a bound of the hold was hit");
    WRITES_ACKNOWLEDGED = counter("gripfast_writes_acknowledged_held_total", Unit::Count, "Writes that were acknowledged here while requests were held (hold.writes: acknowledge)");
    CLIENTS_GAVE_UP = counter("gripfast_clients_gave_up_total", Unit::Count, "Clients that went away while a request of theirs was held");
    HELD_NOW = gauge("gripfast_held_requests", Unit::Count, "Requests that wait for a primary");
    HELD_BYTES = gauge("gripfast_held_bytes", Unit::Bytes, "Bytes of all that waits for a primary");
    LINKS = gauge("gripfast_links", Unit::Count, "Links to the primary open, by lane").by("lane", Lane::LINK_NAMES);
    LINK_DIALS = counter("gripfast_link_dials_total", Unit::Count, "Attempts to open a link, by outcome").by("outcome", DialOutcome::NAMES);
    LINKS_LOST = counter("gripfast_links_lost_total", Unit::Count, "Links that ended without our doing, by lane").by("lane", Lane::LINK_NAMES);
    JOURNAL_WRITES = counter("gripfast_journal_writes_total", Unit::Count, "Acknowledged writes that were remembered, a transaction counting as one");
    JOURNAL_DROPPED = counter("gripfast_journal_dropped_total", Unit::Count, "Remembered writes that were forgotten past a bound although no replica is known to have them");
    JOURNAL_MISSED = counter("gripfast_journal_missed_total", Unit::Count, "Acknowledged writes that were not remembered, as their bytes were not at hand any more");
    JOURNAL_OPAQUE = counter("gripfast_journal_opaque_total", Unit::Count, "Keys of writes whose reply does not tell what they left, by whether that was read behind them").by("outcome", Looked::NAMES);
    WRITES_AT_SWITCH = counter("gripfast_writes_at_switch_total", Unit::Count, "Remembered writes that some replica may have lacked when the primary changed, by what is known of the other primary").by("fate", Fate::NAMES);
    WRITES_SETTLED = counter("gripfast_writes_settled_total", Unit::Count, "Writes to keys that a new primary may have lacked, by what became of them").by("outcome", Settled::NAMES);
    WRITES_LOST = counter("gripfast_writes_lost_total", Unit::Count, "Those that are gone, by cause").by("cause", LossCause::NAMES);
    KEYS_RESEEDED = counter("gripfast_keys_reseeded_total", Unit::Count, "Keys that were put back from the session cache, on a primary that had lost all data");
    REPAIR_LAST = gauge("gripfast_repair_last_seconds", Unit::Seconds, "How long the last repair took, from joining the primary to the last key");
    JOURNAL_RECORDS = gauge("gripfast_journal_records", Unit::Count, "Writes that are remembered");
    JOURNAL_BYTES = gauge("gripfast_journal_bytes", Unit::Bytes, "Memory of the journal");
    JOURNAL_OLDEST = gauge("gripfast_journal_oldest_seconds", Unit::Seconds, "How old the oldest remembered write is");
    WRITES_AT_RISK = gauge("gripfast_writes_at_risk", Unit::Count, "Remembered writes that some replica may lack");
    DURABILITY_WAITS = counter("gripfast_durability_waits_total", Unit::Count, "Writes that were to be acknowledged once replicas have them, by what became of that").by("outcome", Durable::NAMES);
    DURABILITY_WAITING = gauge("gripfast_durability_waiting_writes", Unit::Count, "Writes whose replies wait for replicas");
    DURABILITY_WAIT = gauge("gripfast_durability_wait_seconds", Unit::Seconds, "How long the replies waited for replicas that went out last");
    PINNED_WAITING = gauge("gripfast_pinned_waiting_clients", Unit::Count, "Clients that wait for a pinned link");
    UPSTREAM_UP = gauge("gripfast_upstream_up", Unit::Count, "1 while a checked link to the primary is up, else 0");
    RECEIVED_BYTES = counter("gripfast_received_bytes_total", Unit::Bytes, "Bytes read from sockets, by side").by("side", Side::NAMES);
    SENT_BYTES = counter("gripfast_sent_bytes_total", Unit::Bytes, "Bytes written to sockets, by side").by("side", Side::NAMES);
    LOOP_TURNS = counter("gripfast_loop_turns_total", Unit::Count, "Turns of the data thread's loop");
    CONTROL_LINK_UP = gauge("gripfast_control_link_up", Unit::Count, "1 while the control thread's connection to the primary is up, else 0");
    CONTROL_DIALS = counter("gripfast_control_dials_total", Unit::Count, "Attempts to open the control thread's connection, by outcome").by("outcome", DialOutcome::NAMES);
    SERVER_COMMANDS = gauge("gripfast_server_commands", Unit::Count, "Commands learned from the server's COMMAND table; 0 until learned");
    SENTINELS = gauge("gripfast_sentinels", Unit::Count, "Sentinels known, by how they stand").by("state", SentinelState::NAMES);
    SENTINELS_LISTENING = gauge("gripfast_sentinel_subscriptions", Unit::Count, "Sentinels whose events reach us");
    SENTINELS_IN_TILT = gauge("gripfast_sentinels_in_tilt", Unit::Count, "Sentinels that distrust their clock at the moment");
    SENTINEL_EVENTS = counter("gripfast_sentinel_events_total", Unit::Count, "Events about the primary that Sentinels published");
    TOPOLOGY_EPOCH = gauge("gripfast_topology_epoch", Unit::Count, "Sentinel's epoch of the primary; 0 until one is found");
    TOPOLOGY_GENERATION = gauge("gripfast_topology_generation", Unit::Count, "Primaries so far; 0 until one is found");
    TOPOLOGY_SETTLED = gauge("gripfast_topology_settled", Unit::Count, "1 while Sentinels and nodes agree with what we hold for the primary, else 0");
    PRIMARY_SWITCHES = counter("gripfast_primary_switches_total", Unit::Count, "Changes of the primary, by reason").by("reason", SwitchReason::NAMES);
    LINEAGE_BREAKS = counter("gripfast_lineage_breaks_total", Unit::Count, "Changes to a primary whose data do not continue those before, restarts included");
    PRIMARIES_REJECTED = counter("gripfast_primaries_rejected_total", Unit::Count, "Primaries that Sentinels named and that were not accepted, by reason").by("reason", RejectedPrimary::NAMES);
    REPLICAS = gauge("gripfast_replicas", Unit::Count, "Replicas known, by how they stand").by("state", ReplicaState::NAMES);
    REPLICA_LAG = gauge("gripfast_replica_lag_max_bytes", Unit::Bytes, "How far the slowest replica is behind the primary");
    BUILD_INFO = gauge("gripfast_build_info", Unit::Count, "Always 1; the label says which version runs").by("version", &[env!("CARGO_PKG_VERSION")]);
    PROCESS_CPU = counter("process_cpu_seconds_total", Unit::Seconds, "CPU time used, user and system");
    PROCESS_RESIDENT = gauge("process_resident_memory_bytes", Unit::Bytes, "Memory in RAM");
    PROCESS_OPEN_FDS = gauge("process_open_fds", Unit::Count, "File descriptors open");
    PROCESS_MAX_FDS = gauge("process_max_fds", Unit::Count, "File descriptors allowed");
    PROCESS_THREADS = gauge("process_threads", Unit::Count, "Threads");
    PROCESS_START_TIME = gauge("process_start_time_seconds", Unit::Seconds, "Start of the process, in seconds since 1970");
}
