//! The document at `/status`, and whether we are ready: pure functions of what is known.

use serde::Serialize;

use crate::config::{Config, Source};
use crate::data_plane::Report;
use crate::metrics::Process;
use crate::sentinel::snapshot::Snapshot;

/// The document at `/status`. Fields are added, never renamed: people script against it.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Our version.
    pub version: &'static str,
    /// Seconds since the admin port was opened.
    pub uptime_s: u64,
    /// Process id.
    pub pid: u32,
    /// As `/readyz` says.
    pub state: Ready,
    /// The Redis side.
    pub upstream: Upstream,
    /// The application's side; null when the data thread does not answer.
    pub clients: Option<Clients>,
    /// Links by lane; null when the data thread does not answer.
    pub links: Option<Links>,
    /// Requests sent or queued, not yet answered; null when the data thread does not answer.
    pub inflight: Option<usize>,
    /// Bounds from the configuration.
    pub limits: Limits,
    /// What the kernel says of the process; null where it does not.
    pub process: Option<Process>,
}

/// Whether clients are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// Whether they are.
    pub ready: bool,
    /// Why not, one line; empty when ready.
    pub reason: String,
}

/// The Redis side.
#[derive(Debug, Serialize)]
pub struct Upstream {
    /// How the primary is found: `standalone` or `sentinel`.
    pub mode: &'static str,
    /// The primary; empty until the Sentinels have named one.
    pub address: String,
    /// Whether a checked link is up.
    pub ready: bool,
    /// Why not; empty when it is.
    pub trouble: String,
    /// The primary's version; empty until known.
    pub server_version: String,
    /// Which primary the data thread follows, counted from 1; 0 until one was named, and in mode standalone.
    pub generation: u64,
    /// What Sentinels and nodes say; null in mode standalone.
    pub topology: Option<Snapshot>,
}

/// The application's side.
#[derive(Debug, Serialize)]
pub struct Clients {
    /// Connections open.
    pub open: usize,
    /// Clients that wait for a pinned link.
    pub pinned_waiting: usize,
}

/// Links, by lane.
#[derive(Debug, Serialize)]
pub struct Links {
    /// Shared, for session commands.
    pub tracked: SharedLinks,
    /// Shared, for the rest.
    pub general: SharedLinks,
    /// Owned by one client for a while.
    pub pinned: PinnedLinks,
}

/// The links of a shared lane.
#[derive(Debug, Serialize)]
pub struct SharedLinks {
    /// Open or being dialled.
    pub open: usize,
}

/// The links of the pinned lane.
#[derive(Debug, Serialize)]
pub struct PinnedLinks {
    /// Open or being dialled.
    pub open: usize,
    /// Open and owned by nobody.
    pub idle: usize,
}

/// Bounds from the configuration.
#[derive(Debug, Serialize)]
pub struct Limits {
    /// Client connections at once.
    pub clients_max: usize,
    /// Bytes of replies that one client may leave unread.
    pub output_bytes_max: usize,
    /// Pinned links at once.
    pub pinned_max: usize,
    /// Seconds that a drain may take.
    pub shutdown_grace_s: u64,
}

impl Ready {
    /// Judges a report; `Err` carries why there is none.
    pub fn judge(report: Result<&Report, &str>) -> Self {
        let reason = match report {
            Err(trouble) => trouble.to_owned(),
            Ok(report) if report.draining => "draining".to_owned(),
            Ok(report) if report.upstream_ready => String::new(),
            Ok(report) if report.upstream_trouble.is_empty() => {
                "no link to the primary yet".to_owned()
            }
            Ok(report) => format!("no link to the primary: {}", report.upstream_trouble),
        };
        Self {
            ready: reason.is_empty(),
            reason: one_line(&reason),
        }
    }
}

impl Status {
    /// Puts the document together; `report` is an error text when the data thread did not answer.
    pub fn new(
        config: &Config,
        report: Result<&Report, &str>,
        process: Option<Process>,
        uptime_s: u64,
        topology: Snapshot,
    ) -> Self {
        let state = Ready::judge(report);
        let report = report.ok();
        let (mode, address, topology) = match &config.upstream.source {
            Source::Standalone(address) => ("standalone", address.to_string(), None),
            Source::Sentinel(_) => {
                let primary = topology.primary.as_ref();
                let address = primary.map_or_else(String::new, |primary| primary.address.clone());
                ("sentinel", address, Some(topology))
            }
        };
        let upstream = Upstream {
            mode,
            address,
            ready: report.is_some_and(|report| report.upstream_ready),
            trouble: report.map_or_else(String::new, |report| one_line(&report.upstream_trouble)),
            server_version: report.map_or_else(String::new, |report| report.server_version.clone()),
            generation: report.map_or(0, |report| report.generation),
            topology,
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s,
            pid: std::process::id(),
            state,
            upstream,
            clients: report.map(Clients::of),
            links: report.map(Links::of),
            inflight: report.map(|report| report.requests_inflight),
            limits: Limits::of(config),
            process,
        }
    }
}

impl Clients {
    fn of(report: &Report) -> Self {
        Self {
            open: report.clients,
            pinned_waiting: report.pinned_waiting,
        }
    }
}

impl Links {
    fn of(report: &Report) -> Self {
        Self {
            tracked: SharedLinks {
                open: report.links_tracked,
            },
            general: SharedLinks {
                open: report.links_general,
            },
            pinned: PinnedLinks {
                open: report.links_pinned,
                idle: report.links_pinned_idle,
            },
        }
    }
}

impl Limits {
    fn of(config: &Config) -> Self {
        Self {
            clients_max: config.listen.clients_max,
            output_bytes_max: config.listen.output_bytes_max,
            pinned_max: config.upstream.pinned_max,
            shutdown_grace_s: config.shutdown_grace.as_secs(),
        }
    }
}

/// Replaces line breaks and other control characters: an error text may come from the server.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_the_first_thing_that_is_missing() {
        let up = Report {
            upstream_ready: true,
            ..Report::default()
        };
        let cases = [
            (Ok(up.clone()), ""),
            (
                Ok(Report {
                    draining: true,
                    ..up
                }),
                "draining",
            ),
            (Ok(Report::default()), "no link to the primary yet"),
            (
                Ok(Report {
                    upstream_trouble: "refused\r\nx".into(),
                    ..Report::default()
                }),
                "no link to the primary: refused  x",
            ),
            (
                Err("the data thread has ended"),
                "the data thread has ended",
            ),
        ];
        for (report, reason) in cases {
            let ready = Ready::judge(report.as_ref().map_err(|trouble| *trouble));
            assert_eq!(ready.reason, reason);
            assert_eq!(ready.ready, reason.is_empty(), "{report:?}");
        }
    }
}
