//! Another primary: every link to the old one is closed, whatever its health, and the new one is dialled.
//!
//! Clients keep their connections. What was written and not answered gets "outcome unknown", what was not written gets
//! MASTERDOWN, and a transaction ends in EXECABORT; a client whose bytes pass unread, or that has half a reply, is closed,
//! as when a link is lost. A late answer of the old primary finds nobody: its link is gone, and with it the entry that it
//! would answer ([`crate::id::LinkId`]).

use std::time::Duration;

use crate::config::{Config, Source};
use crate::id::LinkId;
use crate::resp::Protocol;
use crate::seam::HostPort;
use crate::upstream::link::Lane;
use crate::upstream::registry::Health;

use super::Proxy;

/// Longer than anyone waits, short enough for the timer: nothing is dialled until the primary is known.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);

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
    /// Follows the primary to `address`.
    pub fn switch_primary(&mut self, address: HostPort) {
        // While links fail nobody must dial the old address again.
        self.registry.health = awaited(format!("the primary has moved to {address}"));
        let id = |(index, link): (usize, &crate::upstream::link::Link)| LinkId {
            index: index as u32,
            serial: link.serial,
        };
        let old: Vec<LinkId> = self.links.iter().map(id).collect();
        for link in old {
            if self.link(link).is_some() {
                self.fail_link(link.index);
            }
        }
        self.server_is_gone();
        self.paused_until = None;
        self.rename_primary(address);
        self.registry.health = Health::Starting;
        if !self.is_draining() {
            self.open_shared(Lane::Tracked, Protocol::Resp3, 0);
        }
    }

    /// Dials `address` from now on; links that are up stay, as they lead to the same process.
    pub fn rename_primary(&mut self, address: HostPort) {
        self.primary = Some(address);
    }

    /// Says where the primary is, for logs.
    pub(super) fn address(&self) -> String {
        let unknown = || "unknown".to_owned();
        self.primary
            .as_ref()
            .map_or_else(unknown, HostPort::to_string)
    }
}
