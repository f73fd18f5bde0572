//! The control thread: what may take its time, so that the data thread need not.
//!
//! It finds the primary: by configuration, or by watching Sentinels and nodes ([`crate::sentinel::watch`]), and tells the data
//! thread of each change. To the primary it keeps one connection and learns from it the server's own command table, modules
//! included, which the data thread asks about commands that the static table lacks. It sends nothing that changes data,
//! and trouble of that connection is not the data path's: without the table, unknown commands take pinned links. Over another
//! one, `sampler.rs` asks how far the replicas are.
//!
//! ```text
//! dial ──ok──> tend: learn the table, then every 30 s ask for its size ──lost──> wait (jittered backoff) ──> dial
//!   └──failed──────────────────────────────────────────────────────────────────────^
//! ```
//!
//! The loop wakes when a dial ends, the connection is lost, 30 s passed since the last question, or a wait is over.

pub mod commands;
mod sampler;

use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use self::commands::parse;
use self::sampler::Sampler;
use crate::config::{Config, Hold, Source};
use crate::data_plane::{self, Handle};
use crate::failover::machine::Event;
use crate::failover::patience;
use crate::journal::samples::Inheritance;
use crate::metrics::{ControlMetrics, DialOutcome, Recorder};
use crate::seam::{Dial, Entropy, HostPort};
use crate::sentinel;
use crate::sentinel::backoff::Backoff;
use crate::sentinel::link::{Failure, Link, Patience};
use crate::sentinel::snapshot::Snapshot;
use crate::sentinel::topology::Lineage;
use crate::sentinel::watch::{Parts, Update};

/// How often the size of the server's table is asked: modules come and go rarely, and the question is cheap.
const COMMANDS_POLL: Duration = Duration::from_secs(30);

/// A connection that lived this long was a good one: the next loss is dialled without the earlier delays.
const GOOD_AFTER: Duration = Duration::from_secs(2);

/// A busy server sends its table (some 200 KB) late, a lost one never.
const PATIENCE: Patience = Patience {
    open: Duration::from_secs(3),
    reply: Duration::from_secs(5),
};

/// Changes of the topology and news of Sentinels that may wait for us.
const UPDATES_MAX: usize = 64;

/// How often histograms are tidied when nobody scrapes.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Runs the control plane of a process; see [`run_seeded`].
pub async fn run(
    config: Arc<Config>,
    data: Handle,
    dial: Arc<dyn Dial>,
    metrics: Arc<Recorder>,
    snapshot: watch::Sender<Snapshot>,
) {
    let entropy = Entropy::from_system();
    run_seeded(config, data, dial, metrics, entropy, snapshot).await;
}

/// Runs the control plane with jitter from `entropy`, for ever.
///
/// # Cancellation
/// Dropping the future closes the connection; nothing else is under way.
pub async fn run_seeded(
    config: Arc<Config>,
    data: Handle,
    dial: Arc<dyn Dial>,
    metrics: Arc<Recorder>,
    mut entropy: Entropy,
    snapshot: watch::Sender<Snapshot>,
) {
    let (target, at) = watch::channel(None);
    let sampler = Sampler {
        config: Arc::clone(&config),
        data: data.clone(),
        dial: Arc::clone(&dial),
        backoff: Backoff::new(Entropy::from_seed(entropy.next_u64())),
        at: at.clone(),
    };
    let keeper = Primary {
        config: Arc::clone(&config),
        data: data.clone(),
        dial: Arc::clone(&dial),
        metrics: metrics.control(),
        backoff: Backoff::new(Entropy::from_seed(entropy.next_u64())),
        table: Table::Unknown,
        at,
    };
    let follow = follow(&config, data, dial, &metrics, entropy, target, snapshot);
    tokio::join!(keeper.keep(), sampler.run(), follow, upkeep(&metrics));
}

/// Finds the primary, and tells the data thread and our own connection of each change.
async fn follow(
    config: &Config,
    data: Handle,
    dial: Arc<dyn Dial>,
    metrics: &Recorder,
    entropy: Entropy,
    target: watch::Sender<Option<Target>>,
    snapshot: watch::Sender<Snapshot>,
) {
    let sentinels = match &config.upstream.source {
        Source::Standalone(address) => {
            // The data thread knows it from the configuration.
            target.send_replace(Some(Target {
                address: address.clone(),
                generation: 0,
            }));
            return attend(config, address, data, dial, entropy).await;
        }
        Source::Sentinel(sentinels) => sentinels.clone(),
    };
    let (updates, mut changes) = mpsc::channel(UPDATES_MAX);
    let watcher = sentinel::watch::run(Parts {
        sentinels,
        credentials: config.upstream.credentials.clone(),
        dial,
        silence: config.hold.silence,
        entropy,
        updates,
        holding: data.holding(),
        snapshot,
        metrics: metrics.topology(),
    });
    let pass_on = async {
        while let Some(update) = changes.recv().await {
            match update {
                Update::Switched(switched) => {
                    let lineage = switched.topology.lineage;
                    let inheritance = lineage.as_ref().and_then(inheritance);
                    let run_id = lineage.map(|lineage| Arc::from(lineage.run_id));
                    let address = switched.topology.primary;
                    target.send_replace(Some(Target {
                        address: address.clone(),
                        generation: switched.generation,
                    }));
                    let primary = data_plane::Primary {
                        address,
                        generation: switched.generation,
                        run_id,
                        inheritance,
                        reason: switched.reason,
                        epoch: switched.topology.epoch.0,
                    };
                    data.primary(primary).await;
                }
                Update::Failover(event) => data.failover(event).await,
                Update::HistoryRenamed(replid) => data.history_renamed(replid.into()).await,
                Update::DownAfter(time) => {
                    note_down_after(time, &config.hold);
                    data.down_after(time).await;
                }
                Update::Replica(address) => data.replica(address).await,
            }
        }
    };
    tokio::join!(watcher, pass_on);
}

/// Says what the Sentinels' time means for applications.
fn note_down_after(time: Duration, hold: &Hold) {
    let down_after_ms = time.as_millis() as u64;
    match patience::advice(time, hold) {
        Some(advice) => tracing::info!(down_after_ms, "{advice}"),
        None => tracing::info!(
            down_after_ms,
            "applications wait for longer than a failover takes"
        ),
    }
}

/// Asks the Sentinels after which time they take the primary for down, and says what that means for applications; `None` where there
/// are none, or none answers.
pub async fn ask_down_after(
    config: &Config,
    dial: &dyn Dial,
) -> Option<(Duration, Option<String>)> {
    let Source::Sentinel(sentinels) = &config.upstream.source else {
        return None;
    };
    let time = sentinel::once::down_after(sentinels, dial).await?;
    Some((time, patience::advice(time, &config.hold)))
}

/// Reads what a primary has of the history before its own.
fn inheritance(lineage: &Lineage) -> Option<Inheritance> {
    let replid = lineage.replid2.as_deref()?.into();
    let end = lineage.second_offset.checked_sub(1)?;
    (end >= 0).then_some(Inheritance { replid, end })
}

/// Tells the data thread whether the one server answers.
async fn attend(
    config: &Config,
    address: &HostPort,
    data: Handle,
    dial: Arc<dyn Dial>,
    entropy: Entropy,
) {
    let (told, mut states) = mpsc::channel(UPDATES_MAX);
    let credentials = config.upstream.credentials.clone();
    let holding = data.holding();
    let (address, silence) = (address.clone(), config.hold.silence);
    let watcher =
        sentinel::standalone::watch(address, credentials, dial, entropy, silence, holding, told);
    let pass_on = async {
        while let Some(state) = states.recv().await {
            data.failover(Event::Node(state)).await;
        }
    };
    tokio::join!(watcher, pass_on);
}

/// Tidies the metrics for ever.
async fn upkeep(metrics: &Recorder) {
    let mut ticks = interval(METRICS_UPKEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics.upkeep();
    }
}

/// Where the primary is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    address: HostPort,
    /// Raised with each; 0 is the configured one.
    generation: u64,
}

/// The connection to the primary and what was learned over it.
struct Primary {
    config: Arc<Config>,
    data: Handle,
    dial: Arc<dyn Dial>,
    metrics: ControlMetrics,
    backoff: Backoff,
    table: Table,
    /// Where the primary is; `None` until it is found.
    at: watch::Receiver<Option<Target>>,
}

/// What is known of the server's command table; each change is logged once, so it outlives a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Unknown,
    Known,
    Refused,
}

impl Primary {
    /// Dials, tends, waits, for ever.
    async fn keep(mut self) {
        let mut down: Option<(Instant, Failure)> = None;
        let mut attempts = 0_u32;
        loop {
            attempts += 1;
            let Some(address) = self.found().await else {
                return;
            };
            let credentials = &self.config.upstream.credentials;
            let opened = Link::open(&*self.dial, &address, credentials, PATIENCE).await;
            self.metrics.dialled(outcome(opened.as_ref().err()));
            let failure = match opened {
                Ok((link, driver)) => {
                    let since = Instant::now();
                    self.link_up(&address, down.map(|(since, _)| since), attempts);
                    let mut at = self.at.clone();
                    // Not biased: each end is final, and a reply that came with the loss can be asked for again.
                    let failure = tokio::select! {
                        () = driver => Failure::Closed,
                        failure = self.tend(link) => failure,
                        _ = at.changed() => {
                            self.backoff.reset();
                            self.metrics.link_up(false);
                            (attempts, down) = (0, None);
                            continue;
                        }
                    };
                    if since.elapsed() >= GOOD_AFTER {
                        self.backoff.reset();
                    }
                    (attempts, down) = (0, None);
                    failure
                }
                Err(failure) => failure,
            };
            self.link_down(
                &address,
                down.as_ref().map(|(_, failure)| failure),
                &failure,
            );
            down = Some((down.map_or_else(Instant::now, |(since, _)| since), failure));
            // Not biased: another primary is as good a reason to dial.
            tokio::select! {
                () = sleep(self.backoff.next_delay()) => {}
                _ = self.at.changed() => self.backoff.reset(),
            }
        }
    }

    /// Waits until it is known where the primary is; `None` at the end of the process.
    async fn found(&mut self) -> Option<HostPort> {
        let found = self.at.wait_for(Option::is_some).await.ok()?;
        found.as_ref().map(|target| target.address.clone())
    }

    /// Learns the table, and again when its size changes, until the connection fails.
    ///
    /// A module replaced by one with as many commands goes unnoticed until the next connection.
    async fn tend(&mut self, mut link: Link) -> Failure {
        let mut size = None;
        let mut polls = interval(COMMANDS_POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            polls.tick().await;
            match self.learn(&mut link, size).await {
                Ok(now) => size = Some(now),
                Err(Failure::Refused { code }) => self.refused(&code),
                Err(failure) => return failure,
            }
        }
    }

    /// Fetches the table unless its size is still `size`; returns the size.
    async fn learn(&mut self, link: &mut Link, size: Option<i64>) -> Result<i64, Failure> {
        // Asked before the table: if a module comes in between, the next poll sees another size.
        let now = count(link).await?;
        if size == Some(now) {
            return Ok(now);
        }
        let learned = parse(&link.ask(&cmd("COMMAND")).await?).ok_or(Failure::Protocol)?;
        let count = learned.commands.by_name.len();
        self.metrics.server_commands(count);
        let (before, skipped) = (size.unwrap_or(0), learned.skipped);
        tracing::info!(commands = count, before, skipped, "command table learned");
        self.table = Table::Known;
        self.data.server_commands(Arc::new(learned.commands)).await;
        Ok(now)
    }

    /// Notes that the server does not show its table to us; the data thread then pins unknown commands.
    fn refused(&mut self, code: &str) {
        if self.table != Table::Refused {
            tracing::warn!(
                code,
                "server refuses COMMAND, commands unknown here take pinned links"
            );
            self.table = Table::Refused;
        }
    }

    fn link_up(&self, address: &HostPort, down_since: Option<Instant>, attempts: u32) {
        self.metrics.link_up(true);
        let down_ms = down_since.map_or(0, |since| since.elapsed().as_millis() as u64);
        tracing::info!(%address, attempts, down_ms, "control link up");
    }

    /// Logs a loss, or the first failed dial, or a failure of another kind than the one `before`.
    fn link_down(&self, address: &HostPort, before: Option<&Failure>, failure: &Failure) {
        self.metrics.link_up(false);
        if before != Some(failure) {
            tracing::warn!(%address, reason = %failure, "control link down");
        }
    }
}

/// Asks how many commands the server has.
async fn count(link: &mut Link) -> Result<i64, Failure> {
    match link.ask(cmd("COMMAND").arg("COUNT")).await? {
        Value::Int(count) => Ok(count),
        _ => Err(Failure::Protocol),
    }
}

/// Says how a dial ended, for the metric.
fn outcome(failure: Option<&Failure>) -> DialOutcome {
    match failure {
        None => DialOutcome::Ok,
        Some(Failure::Auth { .. }) => DialOutcome::Auth,
        Some(
            Failure::Dial { .. }
            | Failure::Timeout
            | Failure::Closed
            | Failure::Io { .. }
            | Failure::Refused { .. }
            | Failure::Full
            | Failure::Protocol,
        ) => DialOutcome::Failed,
    }
}

#[cfg(test)]
mod tests;
