//! The control thread: what may take its time, so that the data thread need not.
//!
//! In standalone mode it keeps one connection to the primary and learns from it the server's own command table, modules
//! included, which the data thread asks about commands that the static table lacks. It opens no other connection, sends
//! nothing that changes data, and its trouble is not the data path's: without the table, unknown commands take pinned
//! links.
//!
//! ```text
//! dial ──ok──> tend: learn the table, then every 30 s ask for its size ──lost──> wait (jittered backoff) ──> dial
//!   └──failed──────────────────────────────────────────────────────────────────────^
//! ```
//!
//! The loop wakes when a dial ends, the connection is lost, 30 s passed since the last question, or a wait is over.

mod backoff;
pub mod commands;
mod link;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::config::Config;
use crate::data_plane::Handle;
use crate::metrics::{ControlMetrics, DialOutcome, Recorder};
use crate::seam::{Dial, Entropy};
use backoff::Backoff;
use link::{Failure, Link};

/// How often the size of the server's table is asked: modules come and go rarely, and the question is cheap.
const COMMANDS_POLL: Duration = Duration::from_secs(30);

/// A connection that lived this long was a good one: the next loss is dialled without the earlier delays.
const GOOD_AFTER: Duration = Duration::from_secs(2);

/// How often histograms are tidied when nobody scrapes.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Runs the control plane of a process; see [`run_seeded`].
pub async fn run(config: Arc<Config>, data: Handle, dial: Arc<dyn Dial>, metrics: Arc<Recorder>) {
    run_seeded(config, data, dial, metrics, Entropy::from_system()).await;
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
    entropy: Entropy,
) {
    let primary = Primary {
        config,
        data,
        dial,
        metrics: metrics.control(),
        backoff: Backoff::new(entropy),
        table: Table::Unknown,
    };
    tokio::join!(primary.keep(), upkeep(&metrics));
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

/// The connection to the primary and what was learned over it.
struct Primary {
    config: Arc<Config>,
    data: Handle,
    dial: Arc<dyn Dial>,
    metrics: ControlMetrics,
    backoff: Backoff,
    table: Table,
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
            let opened = Link::open(&*self.dial, &self.config.upstream).await;
            self.metrics.dialled(outcome(opened.as_ref().err()));
            let failure = match opened {
                Ok((link, driver)) => {
                    let since = Instant::now();
                    self.link_up(down.map(|(since, _)| since), attempts);
                    // Not biased: either end is final, and a reply that came with the loss can be asked for again.
                    let failure = tokio::select! {
                        () = driver => Failure::Closed,
                        failure = self.tend(link) => failure,
                    };
                    if since.elapsed() >= GOOD_AFTER {
                        self.backoff.reset();
                    }
                    (attempts, down) = (0, None);
                    failure
                }
                Err(failure) => failure,
            };
            self.link_down(down.as_ref().map(|(_, failure)| failure), &failure);
            down = Some((down.map_or_else(Instant::now, |(since, _)| since), failure));
            sleep(self.backoff.next_delay()).await;
        }
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
        let now = link.command_count().await?;
        if size == Some(now) {
            return Ok(now);
        }
        let learned = link.commands().await?;
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

    fn link_up(&self, down_since: Option<Instant>, attempts: u32) {
        self.metrics.link_up(true);
        let down_ms = down_since.map_or(0, |since| since.elapsed().as_millis() as u64);
        tracing::info!(address = %self.config.upstream.address, attempts, down_ms, "control link up");
    }

    /// Logs a loss, or the first failed dial, or a failure of another kind than the one `before`.
    fn link_down(&self, before: Option<&Failure>, failure: &Failure) {
        self.metrics.link_up(false);
        if before != Some(failure) {
            tracing::warn!(address = %self.config.upstream.address, reason = %failure, "control link down");
        }
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
