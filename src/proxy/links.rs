//! Links as the data path needs them: opened, found, looked after.

use std::sync::Arc;

use tokio::time::Instant;

use crate::command::facts::ServerFacts;
use crate::downstream::client::Stall;
use crate::id::LinkId;
use crate::reactor::Token;
use crate::resp::Protocol;
use crate::seam::HostPort;
use crate::upstream::connect::{self, Profile};
use crate::upstream::link::{Lane, Link};
use crate::upstream::registry::Health;

use super::{LINK_OUTPUT_SOFT, Proxy};

impl Proxy {
    /// Opens a link to the primary and returns its id; requests may be queued on it at once.
    pub(super) fn open(&mut self, lane: Lane, profile: Profile) -> LinkId {
        let primary = self.primary.clone();
        let known = "nothing is dialled while health says that the primary is awaited";
        self.open_to(&primary.expect(known), lane, profile)
    }

    /// Opens a link to a server.
    pub(super) fn open_to(&mut self, address: &HostPort, lane: Lane, profile: Profile) -> LinkId {
        self.serial = self.serial.wrapping_add(1);
        let (protocol, database) = (profile.protocol, profile.database);
        let establishing = Box::pin(connect::start(
            &*self.dial,
            address,
            &self.config.upstream.credentials,
            profile,
        ));
        let entry = self.links.vacant_entry();
        let index = entry.key() as u32;
        let bell = self.ready.bell(Token::Link(index));
        bell.ring();
        entry.insert(Link::new(
            self.serial,
            lane,
            protocol,
            database,
            establishing,
            bell,
        ));
        if lane == Lane::Pinned {
            self.registry.pinned += 1;
        }
        LinkId {
            index,
            serial: self.serial,
        }
    }

    /// Returns the link of a shared lane, dialling it if need be; `None` while the primary can't be reached.
    #[inline]
    pub(super) fn shared(&mut self, lane: Lane, client: u32) -> Option<LinkId> {
        let client = &self.clients[client as usize];
        let (database, protocol) = (client.database, client.protocol);
        if let Some(link) = self.registry.shared(lane, protocol, database) {
            return Some(link);
        }
        self.open_shared(lane, protocol, database)
    }

    #[cold]
    pub(super) fn open_shared(
        &mut self,
        lane: Lane,
        protocol: crate::resp::Protocol,
        database: u32,
    ) -> Option<LinkId> {
        use crate::resp::Protocol;
        let probe = lane == Lane::Tracked && database == 0;
        if self.must_wait() || !probe && self.is_refusing() {
            return None;
        }
        let (protocol, name) = match lane {
            Lane::Tracked => (Protocol::Resp3, "gripfast-tracked"),
            Lane::General | Lane::Pinned | Lane::Replica | Lane::Repair => {
                (protocol, "gripfast-general")
            }
        };
        let link = self.open(
            lane,
            Profile {
                protocol,
                database,
                run_id: self.run_id.clone(),
                replica: false,
                name: Some(name),
            },
        );
        self.registry.set_shared(lane, protocol, database, link);
        if lane == Lane::Tracked {
            self.ask_tracking(link);
        }
        Some(link)
    }

    /// Tells whether the server refused a link a moment ago: not each request is worth a dial.
    pub(super) fn is_refusing(&mut self) -> bool {
        let over = |until: &Instant| *until <= self.now;
        if self
            .registry
            .refusing
            .as_ref()
            .is_some_and(|(until, _)| over(until))
        {
            self.registry.refusing = None;
        }
        self.registry.refusing.is_some()
    }

    /// Dials the primary again when its time has come; times out what has waited too long.
    pub fn tick(&mut self) {
        if let Health::Down {
            retry_at: Some(at), ..
        } = &self.registry.health
            && *at <= self.now
        {
            if let Health::Down { retry_at, .. } = &mut self.registry.health {
                *retry_at = None;
            }
            self.open_shared(Lane::Tracked, Protocol::Resp3, 0);
        }
        if self.registry.health == Health::Starting
            && self
                .registry
                .shared(Lane::Tracked, Protocol::Resp3, 0)
                .is_none()
        {
            self.open_shared(Lane::Tracked, Protocol::Resp3, 0);
        }
        self.tick_failover();
        self.tick_waits();
        self.tick_acknowledging();
        self.tick_repair();
        self.tick_episodes();
        self.deny_late_waiters();
        self.probe_links();
        self.keep_cache_up();
        for link in std::mem::take(&mut self.condemned) {
            self.drop_link(link);
        }
    }

    /// Tells when [`Proxy::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let retry = match &self.registry.health {
            Health::Down { retry_at, .. } => *retry_at,
            Health::Starting | Health::Up => None,
        };
        let waiter = self.registry.waiting.front().map(|(_, until)| *until);
        retry
            .into_iter()
            .chain(waiter)
            .chain(self.next_probe())
            .chain(self.next_failover_tick())
            .chain(self.next_wait_due())
            .chain(self.next_acknowledging_tick())
            .chain(self.next_repair_tick())
            .chain(self.next_episode_tick())
            .min()
    }

    /// Returns the tracked link of a database, opened where there is none; `None` where none can be opened now.
    pub(super) fn tracked_in(&mut self, database: u32) -> Option<LinkId> {
        self.registry
            .shared(Lane::Tracked, Protocol::Resp3, database)
            .or_else(|| self.open_shared(Lane::Tracked, Protocol::Resp3, database))
    }

    /// Notes that a link has something to write.
    #[inline]
    pub(super) fn touch_link(&mut self, id: LinkId) {
        let link = &mut self.links[id.index as usize];
        if !link.dirty {
            link.dirty = true;
            self.dirty_links.push(id.index);
        }
    }

    /// Lets the clients go on that waited for a link to take what was queued, or for a link that is gone.
    pub fn uncongest(&mut self) {
        let mut waiting = std::mem::take(&mut self.congested);
        waiting.retain(|id| {
            let Some(client) = self.client(*id) else {
                return false;
            };
            let Stall::Congested(link) = client.stall else {
                return false;
            };
            if self
                .link(link)
                .is_some_and(|link| link.output.len() > LINK_OUTPUT_SOFT / 2)
            {
                return true;
            }
            if let Some(client) = self.client(*id) {
                client.stall = Stall::None;
            }
            self.resume.push(*id);
            false
        });
        self.congested.append(&mut waiting);
    }

    /// Stalls a client until a link has less to write.
    pub(super) fn congest(&mut self, index: u32, link: LinkId) {
        let client = &mut self.clients[index as usize];
        client.stall = Stall::Congested(link);
        self.congested.push(client.id(index));
    }

    /// Returns the id of the link that is at a place now.
    pub(super) fn link_at(&self, index: u32) -> LinkId {
        let serial = self.links[index as usize].serial;
        LinkId { index, serial }
    }

    /// Returns the link with that id, if it is still here.
    #[inline]
    pub fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links
            .get_mut(id.index as usize)
            .filter(|link| link.serial == id.serial)
    }

    /// A link is up: what the server said of itself is the newest truth.
    pub fn greeted(&mut self, index: u32, facts: Option<ServerFacts>) {
        let link = &self.links[index as usize];
        let (lane, database) = (link.lane, link.database);
        if let Some(facts) = facts
            && self.facts.as_deref() != Some(&facts)
        {
            tracing::info!(server = %facts.server, version = %facts.version, "server greeted");
            self.facts = Some(Arc::new(facts));
            self.end_greeting();
        }
        if lane == Lane::Tracked && database == 0 {
            self.became_reachable();
        }
        self.touch_link(self.link_at(index));
    }
}
