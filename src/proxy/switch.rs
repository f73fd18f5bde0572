//! Another primary: every link to the old one is closed, whatever its health, and the new one is dialled.
//!
//! Clients keep their connections: what they await is taken back ([`super::rewind`]) and waits for the first link to the new
//! primary. A client whose bytes pass unread, or that has half a large reply, is closed. A late answer of the old primary finds
//! nobody: its link is gone, and with it the entry that it would answer ([`crate::id::LinkId`]).

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, OnIsolation, Source};
use crate::failover::machine::{Event, NodeState};
use crate::resp::Protocol;
use crate::seam::HostPort;
use crate::upstream::link::Lane;
use crate::upstream::registry::Health;

use super::Proxy;

/// Longer than anyone waits, short enough for the timer: nothing is dialled until the primary is known.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is waited for while the primary is in doubt.
const DOUBT: &str = "it was lost, waiting for the Sentinels and for a look at its data";

/// Finds the primary that the configuration names, if it does.
pub(super) fn configured(config: &Config) -> Option<HostPort> {
    match &config.upstream.source {
        Source::Standalone(address) => Some(address.clone()),
        Source::Sentinel(_) => None,
    }
}

/// The state before the Sentinels have named a primary.
pub(super) fn waiting_for_sentinels() -> Health {
    awaited("waiting for the Sentinels to name it".into())
}

/// A state in which nothing is dialled.
fn awaited(reason: String) -> Health {
    Health::Down {
        reason,
        retry_at: Some(tokio::time::Instant::now() + NEVER),
        attempts: 0,
    }
}

impl Proxy {
    /// Something that the failover machine has to know.
    pub fn failover(&mut self, event: Event) {
        match event {
            Event::Node(NodeState::Answers) => self.confirm_primary(),
            Event::Node(NodeState::Silent | NodeState::Changed) => self.doubt_primary(),
            Event::Isolated(true) if self.config.hold.on_isolation == OnIsolation::Serve => {
                // A primary that died is cut off as well, but then nothing goes on.
                if !self.is_holding() {
                    tracing::warn!(
                        "the primary is cut off from Sentinels and replicas, its writes go on (hold.on_isolation)"
                    );
                }
                return;
            }
            _ => {}
        }
        self.failover_event(event);
    }

    /// Follows the primary to `address`, where the process with this run id is to answer.
    pub fn switch_primary(&mut self, address: HostPort, run_id: Option<Arc<str>>) {
        self.run_id = run_id;
        // While links fail nobody must dial the old address again.
        self.registry.health = awaited(format!("the primary has moved to {address}"));
        self.failover_event(Event::Named);
        self.fail_all_links();
        self.paused_until = None;
        self.in_doubt = false;
        self.rename_primary(address);
        self.registry.health = Health::Starting;
        if self.may_dial() {
            self.open_shared(Lane::Tracked, Protocol::Resp3, 0);
        }
    }

    /// Dials nothing until the primary is confirmed: it does not answer the control plane, and whoever answers next at its
    /// address may be a restarted process, writable and empty. Links that are up stay: they lead to the old process.
    fn doubt_primary(&mut self) {
        if std::mem::replace(&mut self.in_doubt, true) {
            return;
        }
        let dialling = |(index, link): (usize, &crate::upstream::link::Link)| {
            // A replica is no matter of that.
            (!link.is_up() && link.lane != Lane::Replica).then_some(index as u32)
        };
        let dialling: Vec<u32> = self.links.iter().filter_map(dialling).collect();
        if self.registry.health != Health::Up {
            self.registry.health = awaited(DOUBT.into());
        }
        for index in dialling {
            if self.links.contains(index as usize) {
                self.fail_link(index);
            }
        }
    }

    /// Dials again: the process at the primary's address is the known one.
    fn confirm_primary(&mut self) {
        if !std::mem::replace(&mut self.in_doubt, false) {
            return;
        }
        let probe = self.registry.shared(Lane::Tracked, Protocol::Resp3, 0);
        let is_up = probe
            .and_then(|probe| self.link(probe))
            .is_some_and(|link| link.is_up());
        self.registry.health = match is_up {
            true => Health::Up,
            false => Health::Starting,
        };
    }

    /// Tells whether nothing may be dialled at the moment.
    pub(super) fn must_wait(&mut self) -> bool {
        let waits = matches!(
            self.registry.health,
            Health::Down {
                retry_at: Some(_),
                ..
            }
        );
        if self.in_doubt && !waits {
            self.registry.health = awaited(DOUBT.into());
        }
        self.in_doubt || waits
    }

    /// Dials `address` from now on; links that are up stay, as they lead to the same process.
    pub fn rename_primary(&mut self, address: HostPort) {
        self.primary = Some(address);
    }

    /// Says where the primary is, for logs.
    pub fn address(&self) -> String {
        let unknown = || "unknown".to_owned();
        self.primary
            .as_ref()
            .map_or_else(unknown, HostPort::to_string)
    }
}
