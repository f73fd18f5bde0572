//! Every metric of the sidecar: name, unit, help, labels.
//!
//! The data thread counts in [`Counters`], plain numbers of its own, and hands them over a few times a second with
//! [`DataMetrics::flush`]: a request costs one addition, no atomic and no look-up. The recorder is a value, not a global,
//! so tests can have several. All series exist from the start, with zero, so that a rate has a first point.
//!
//! Names begin with `gripfast_`, but for the `process_` family, which Prometheus defines and every dashboard knows.
//! A metric is added in `definitions.rs`, counted here, and listed in the README; `tests/metrics.rs` compares.

mod definitions;
mod hold;
mod journal;
mod labels;
mod process;
mod repair;
mod topology;

use std::fmt::Write;

use metrics::{Counter, Gauge, Key, KeyName, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use definitions::{ALL, Definition, Kind, Label};
pub use hold::HoldCounters;
pub use journal::{DurabilityCounters, JournalCounters};
pub use labels::{
    ClearCause, CloseCause, DialOutcome, Durable, ErrorKind, Eviction, Fate, HoldReason, Lane,
    Looked, LossCause, Phase, RejectReason, RejectedPrimary, ReplicaState, SentinelState,
    SessionRead, Settled, Side, SwitchReason, Touched, TtlFinding, Verified,
};
pub use process::Process;
pub use repair::RepairCounters;
pub use topology::{TopologyGauges, TopologyMetrics};

/// Which content type [`Recorder::render`] has.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the registry wants to know of a caller; it does not use it.
const METADATA: Metadata<'static> = Metadata::new("gripfast", Level::INFO, None);

/// What the data thread has counted since it started, and how things stand (the last seven fields).
///
/// Arrays are indexed by [`Lane::index`] and its like: `counters.requests[Lane::Tracked.index()] += 1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Client connections accepted.
    pub clients_accepted: u64,
    /// Client connections turned away.
    pub clients_rejected: [u64; RejectReason::COUNT],
    /// Client connections ended.
    pub clients_closed: [u64; CloseCause::COUNT],
    /// Requests taken.
    pub requests: [u64; Lane::COUNT],
    /// Errors that we answered ourselves.
    pub error_replies: [u64; ErrorKind::COUNT],
    /// Dials by outcome.
    pub link_dials: [u64; DialOutcome::COUNT],
    /// Links lost; [`Lane::Local`] stays 0.
    pub links_lost: [u64; Lane::COUNT],
    /// Bytes read.
    pub received_bytes: [u64; Side::COUNT],
    /// Bytes written.
    pub sent_bytes: [u64; Side::COUNT],
    /// Reads of sessions, by what became of them.
    pub session_reads: [u64; SessionRead::COUNT],
    /// Touches of sessions, by what became of them.
    pub touches: [u64; Touched::COUNT],
    /// Session keys found without expiry, or with too long a one.
    pub ttl_findings: [u64; TtlFinding::COUNT],
    /// Keys that the server announced as changed.
    pub cache_invalidations: u64,
    /// How often the cache was emptied.
    pub cache_clears: [u64; ClearCause::COUNT],
    /// Entries that gave way.
    pub cache_evictions: [u64; Eviction::COUNT],
    /// Replies that were too large to be kept.
    pub cache_oversized: u64,
    /// Hits that the primary was asked about.
    pub hits_verified: [u64; Verified::COUNT],
    /// How long before it was served the most outdated of them had been read, in milliseconds.
    pub staleness_worst_ms: u64,
    /// Holds, and requests that are sent again.
    pub hold: HoldCounters,
    /// The journal.
    pub journal: JournalCounters,
    /// Replies that wait for replicas.
    pub durability: DurabilityCounters,
    /// What was put back.
    pub repair: RepairCounters,
    /// Turns of the loop.
    pub loop_turns: u64,
    /// Client connections open now.
    pub clients_open: u64,
    /// Links open now; [`Lane::Local`] stays 0.
    pub links_open: [u64; Lane::COUNT],
    /// Clients that wait for a pinned link now.
    pub pinned_waiting: u64,
    /// Keys in the cache now.
    pub cache_entries: u64,
    /// Bytes of the cache now.
    pub cache_bytes: u64,
    /// Tracked links open now on which the server announces changes.
    pub links_announcing: u64,
    /// Whether a checked link to the primary is up now.
    pub upstream_up: bool,
}

/// Keeps all metrics of one process and writes them out.
pub struct Recorder {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Recorder {
    /// Makes a recorder that has described every metric and counted nothing.
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        for definition in ALL {
            let name = KeyName::from_const_str(definition.name);
            let unit = Some(definition.unit);
            match definition.kind {
                Kind::Counter => recorder.describe_counter(name, unit, definition.help.into()),
                Kind::Gauge => recorder.describe_gauge(name, unit, definition.help.into()),
            }
        }
        let handle = recorder.handle();
        let this = Self { recorder, handle };
        let [build_info] = this.gauges(&definitions::BUILD_INFO);
        build_info.set(1.0);
        this
    }

    /// Makes the handles that the data thread counts with.
    pub fn data(&self) -> DataMetrics {
        DataMetrics {
            clients_accepted: self.counter(&definitions::CLIENTS_ACCEPTED),
            clients_rejected: self.counters(&definitions::CLIENTS_REJECTED),
            clients_closed: self.counters(&definitions::CLIENTS_CLOSED),
            requests: self.counters(&definitions::REQUESTS),
            error_replies: self.counters(&definitions::ERROR_REPLIES),
            link_dials: self.counters(&definitions::LINK_DIALS),
            links_lost: self.counters(&definitions::LINKS_LOST),
            received_bytes: self.counters(&definitions::RECEIVED_BYTES),
            sent_bytes: self.counters(&definitions::SENT_BYTES),
            session_reads: self.counters(&definitions::SESSION_READS),
            touches: self.counters(&definitions::TOUCHES),
            ttl_findings: self.counters(&definitions::TTL_FINDINGS),
            cache_invalidations: self.counter(&definitions::CACHE_INVALIDATIONS),
            cache_clears: self.counters(&definitions::CACHE_CLEARS),
            cache_evictions: self.counters(&definitions::CACHE_EVICTIONS),
            cache_oversized: self.counter(&definitions::CACHE_OVERSIZED),
            hits_verified: self.counters(&definitions::HITS_VERIFIED),
            staleness_worst: self.gauge(&definitions::STALENESS_WORST),
            cache_entries: self.gauge(&definitions::CACHE_ENTRIES),
            cache_bytes: self.gauge(&definitions::CACHE_BYTES),
            links_announcing: self.gauge(&definitions::LINKS_ANNOUNCING),
            hold: hold::HoldMetrics::new(self),
            journal: journal::JournalMetrics::new(self),
            durability: journal::DurabilityMetrics::new(self),
            repair: repair::RepairMetrics::new(self),
            loop_turns: self.counter(&definitions::LOOP_TURNS),
            clients_open: self.gauge(&definitions::CLIENT_CONNECTIONS),
            links_open: self.gauges(&definitions::LINKS),
            pinned_waiting: self.gauge(&definitions::PINNED_WAITING),
            upstream_up: self.gauge(&definitions::UPSTREAM_UP),
        }
    }

    /// Makes the handles that the control thread counts with.
    pub fn control(&self) -> ControlMetrics {
        ControlMetrics {
            link_up: self.gauge(&definitions::CONTROL_LINK_UP),
            dials: self.counters(&definitions::CONTROL_DIALS),
            server_commands: self.gauge(&definitions::SERVER_COMMANDS),
        }
    }

    /// Makes the handles that the watcher of the topology counts with.
    pub fn topology(&self) -> TopologyMetrics {
        TopologyMetrics::new(self)
    }

    /// Writes everything in the text format of Prometheus.
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        if let Some(process) = Process::read() {
            render_process(&mut text, &process);
        }
        text
    }

    /// Keeps histograms from growing while nobody scrapes; to be called every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    fn counter(&self, definition: &Definition) -> Counter {
        self.recorder
            .register_counter(&Key::from_static_name(definition.name), &METADATA)
    }

    fn gauge(&self, definition: &Definition) -> Gauge {
        self.recorder
            .register_gauge(&Key::from_static_name(definition.name), &METADATA)
    }

    fn counters<const N: usize>(&self, definition: &Definition) -> [Counter; N] {
        keys(definition).map(|key| self.recorder.register_counter(&key, &METADATA))
    }

    fn gauges<const N: usize>(&self, definition: &Definition) -> [Gauge; N] {
        keys(definition).map(|key| self.recorder.register_gauge(&key, &METADATA))
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

/// The data thread's handles.
#[derive(Debug)]
pub struct DataMetrics {
    clients_accepted: Counter,
    clients_rejected: [Counter; RejectReason::COUNT],
    clients_closed: [Counter; CloseCause::COUNT],
    requests: [Counter; Lane::COUNT],
    error_replies: [Counter; ErrorKind::COUNT],
    link_dials: [Counter; DialOutcome::COUNT],
    links_lost: [Counter; Lane::LINKS.len()],
    received_bytes: [Counter; Side::COUNT],
    sent_bytes: [Counter; Side::COUNT],
    session_reads: [Counter; SessionRead::COUNT],
    touches: [Counter; Touched::COUNT],
    ttl_findings: [Counter; TtlFinding::COUNT],
    cache_invalidations: Counter,
    cache_clears: [Counter; ClearCause::COUNT],
    cache_evictions: [Counter; Eviction::COUNT],
    cache_oversized: Counter,
    hits_verified: [Counter; Verified::COUNT],
    staleness_worst: Gauge,
    cache_entries: Gauge,
    cache_bytes: Gauge,
    links_announcing: Gauge,
    hold: hold::HoldMetrics,
    journal: journal::JournalMetrics,
    durability: journal::DurabilityMetrics,
    repair: repair::RepairMetrics,
    loop_turns: Counter,
    clients_open: Gauge,
    links_open: [Gauge; Lane::LINKS.len()],
    pinned_waiting: Gauge,
    upstream_up: Gauge,
}

impl DataMetrics {
    /// Publishes the counts: about thirty atomic stores, for every 100 ms or so.
    pub fn flush(&mut self, counters: &Counters) {
        self.clients_accepted.absolute(counters.clients_accepted);
        absolute(&self.clients_rejected, &counters.clients_rejected);
        absolute(&self.clients_closed, &counters.clients_closed);
        absolute(&self.requests, &counters.requests);
        absolute(&self.error_replies, &counters.error_replies);
        absolute(&self.link_dials, &counters.link_dials);
        absolute(&self.links_lost, &counters.links_lost);
        absolute(&self.received_bytes, &counters.received_bytes);
        absolute(&self.sent_bytes, &counters.sent_bytes);
        self.flush_cache(counters);
        self.hold.flush(&counters.hold);
        self.journal.flush(&counters.journal);
        self.durability.flush(&counters.durability);
        self.repair.flush(&counters.repair);
        self.loop_turns.absolute(counters.loop_turns);
        self.clients_open.set(counters.clients_open as f64);
        for (gauge, links) in self.links_open.iter().zip(counters.links_open) {
            gauge.set(links as f64);
        }
        self.pinned_waiting.set(counters.pinned_waiting as f64);
        self.upstream_up
            .set(f64::from(u8::from(counters.upstream_up)));
    }
}

impl DataMetrics {
    fn flush_cache(&mut self, counters: &Counters) {
        absolute(&self.session_reads, &counters.session_reads);
        absolute(&self.touches, &counters.touches);
        absolute(&self.ttl_findings, &counters.ttl_findings);
        self.cache_invalidations
            .absolute(counters.cache_invalidations);
        absolute(&self.cache_clears, &counters.cache_clears);
        absolute(&self.cache_evictions, &counters.cache_evictions);
        self.cache_oversized.absolute(counters.cache_oversized);
        absolute(&self.hits_verified, &counters.hits_verified);
        let worst = counters.staleness_worst_ms as f64 / 1000.0;
        self.staleness_worst.set(worst);
        self.cache_entries.set(counters.cache_entries as f64);
        self.cache_bytes.set(counters.cache_bytes as f64);
        self.links_announcing.set(counters.links_announcing as f64);
    }
}

/// The control thread's handles.
#[derive(Clone, Debug)]
pub struct ControlMetrics {
    link_up: Gauge,
    dials: [Counter; DialOutcome::COUNT],
    server_commands: Gauge,
}

impl ControlMetrics {
    /// Notes how a dial of the control connection ended.
    pub fn dialled(&self, outcome: DialOutcome) {
        self.dials[outcome.index()].increment(1);
    }

    /// Notes whether the control connection is up.
    pub fn link_up(&self, up: bool) {
        self.link_up.set(f64::from(u8::from(up)));
    }

    /// Notes how many commands the server's table has.
    pub fn server_commands(&self, commands: usize) {
        self.server_commands.set(commands as f64);
    }
}

/// Publishes counts by label; counts past the handles (links of the local lane) are 0 by contract.
fn absolute(counters: &[Counter], values: &[u64]) {
    for (counter, value) in counters.iter().zip(values) {
        counter.absolute(*value);
    }
}

/// Makes the keys of a labelled metric, one a value.
fn keys<const N: usize>(definition: &Definition) -> [Key; N] {
    let label = definition.label.expect("called for labelled metrics only");
    assert_eq!(label.values.len(), N, "{}", definition.name);
    std::array::from_fn(|index| {
        let label = metrics::Label::from_static_parts(label.name, label.values[index]);
        Key::from_parts(definition.name, vec![label])
    })
}

/// Adds the `process_` family to a scrape.
fn render_process(text: &mut String, process: &Process) {
    let samples = [
        (definitions::PROCESS_CPU, process.cpu_seconds),
        (definitions::PROCESS_RESIDENT, process.resident_bytes as f64),
        (definitions::PROCESS_OPEN_FDS, process.fds_open as f64),
        (definitions::PROCESS_MAX_FDS, process.fds_max as f64),
        (definitions::PROCESS_THREADS, process.threads as f64),
        (definitions::PROCESS_START_TIME, process.start_time_seconds),
    ];
    for (
        Definition {
            name, kind, help, ..
        },
        value,
    ) in samples
    {
        let kind = kind.as_str();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n"
        );
    }
}
