//! The pool of pinned links: taken, kept ready, given back, waited for in order.

use std::time::Duration;

use crate::downstream::client::Stall;
use crate::id::{ClientId, LinkId};
use crate::metrics::ErrorKind;
use crate::resp::Protocol;
use crate::upstream::connect::Profile;
use crate::upstream::link::{Lane, Socket};
use crate::upstream::registry::Health;

use super::Proxy;

/// A client younger than this is not given a spare link for good: the spare may be older.
const YOUNG: Duration = Duration::from_secs(1);

/// Idle pinned links that are kept ready for each protocol and database in use, and for all of them together.
const SPARE_EACH: usize = 2;
const SPARE_ALL_MAX: usize = 16;

/// How long a request waits for a pinned link. Blocking commands may keep theirs for minutes, so waiting longer than a
/// web request's patience helps nobody.
const PINNED_WAIT: Duration = Duration::from_secs(5);

impl Proxy {
    /// Gives a client a pinned link of its protocol and of this database; `None` when it has to wait, with the stall set.
    ///
    /// # Errors
    /// The kind of error to answer when there is none to be had.
    pub(super) fn acquire(
        &mut self,
        index: u32,
        database: u32,
    ) -> Result<Option<LinkId>, ErrorKind> {
        let must_wait = self.must_wait();
        let client = &mut self.clients[index as usize];
        let (id, protocol) = (client.id(index), client.protocol);
        let denied = client.stall == Stall::PinnedDenied;
        if denied {
            client.stall = Stall::None;
        }
        if must_wait {
            return Err(ErrorKind::Masterdown);
        }
        if denied {
            return Err(ErrorKind::NoPinnedLink);
        }
        let place = self
            .registry
            .waiting
            .iter()
            .position(|(waiter, _)| *waiter == id);
        let first = place.map_or(self.registry.waiting.is_empty(), |place| place == 0);
        let link = match first.then(|| self.take_spare(protocol, database)).flatten() {
            Some(link) => link,
            None if first && self.has_room() => {
                if self.is_refusing() {
                    return Err(ErrorKind::Masterdown);
                }
                self.open_pinned(protocol, database)
            }
            None => {
                // Who was woken in vain keeps its place and its time.
                if place.is_none() {
                    let until = self.now + PINNED_WAIT;
                    self.registry.waiting.push_back((id, until));
                }
                self.clients[index as usize].stall = Stall::Pinned;
                return Ok(None);
            }
        };
        self.hand_over(link, index);
        Ok(Some(link))
    }

    /// Gives a client that has just come, and is about to become another user, a link as young as itself: it is the
    /// client's for good, and CLIENT LIST and CLIENT KILL MAXAGE go by its age.
    pub(super) fn own_fresh_link(&mut self, index: u32) {
        let client = &self.clients[index as usize];
        let (protocol, database) = (client.protocol, client.database);
        let young = self.now.duration_since(client.since) < YOUNG && !client.had_fresh_link;
        let free = client.own.is_none() && client.inflight == 0;
        // To dial would show in a MONITOR.
        let unwatched = self.observed.monitors == 0;
        if young && unwatched && free && self.registry.health == Health::Up && self.has_room() {
            let link = self.open_pinned(protocol, database);
            self.hand_over(link, index);
            self.clients[index as usize].had_fresh_link = true;
        }
    }

    /// Makes a client the owner of a pinned link.
    pub(super) fn hand_over(&mut self, link: LinkId, index: u32) {
        let client = &mut self.clients[index as usize];
        client.own = Some(link);
        self.links[link.index as usize].owner = Some(client.id(index));
    }

    pub(super) fn take_spare(&mut self, protocol: Protocol, database: u32) -> Option<LinkId> {
        let links = &self.links;
        self.registry.take_idle(|id| {
            let link = &links[id.index as usize];
            link.protocol == protocol && link.database == database
        })
    }

    /// Tells whether one more pinned link may be opened; makes room by closing an idle one of another kind.
    pub(super) fn has_room(&mut self) -> bool {
        if self.registry.pinned >= self.config.upstream.pinned_max
            && let Some(idle) = self.registry.oldest_idle()
        {
            self.drop_link(idle);
        }
        self.registry.pinned < self.config.upstream.pinned_max
    }

    pub(super) fn open_pinned(&mut self, protocol: Protocol, database: u32) -> LinkId {
        self.open(
            Lane::Pinned,
            Profile {
                protocol,
                database,
                run_id: self.run_id.clone(),
                replica: false,
                name: None,
            },
        )
    }

    /// Keeps links ready for a client that has just come or told its protocol and database: so the first command that
    /// needs one finds it open, also while the server is busy, and does not come after what others send meanwhile.
    pub(super) fn warm(&mut self, index: u32) {
        if self.registry.health != Health::Up || self.draining {
            return;
        }
        let client = &self.clients[index as usize];
        let (protocol, database) = (client.protocol, client.database);
        self.shared(Lane::Tracked, index);
        self.shared(Lane::General, index);
        let links = &self.links;
        let spare = self.registry.count_idle(|id| {
            let link = &links[id.index as usize];
            link.protocol == protocol && link.database == database
        });
        for _ in spare..SPARE_EACH {
            let bounded = self.registry.idle() < SPARE_ALL_MAX
                && self.registry.pinned < self.config.upstream.pinned_max / 2;
            if !bounded {
                return;
            }
            let link = self.open_pinned(protocol, database);
            self.registry.put_idle(link);
        }
    }

    /// Takes a neutral pinned link back, for whoever waits first.
    pub(super) fn release(&mut self, id: LinkId) {
        let Some(link) = self.link(id) else { return };
        link.owner = None;
        if link.introduced || link.spent || !self.registry.put_idle(id) {
            // Its replies may be being handed out at this moment: it goes at the end of the turn.
            self.condemned.push(id);
        }
        self.wake_waiter();
    }

    /// Lets the client that has waited longest try again.
    ///
    /// It stays in front, so that nobody overtakes it, until [`Proxy::leave_queue`] finds that it waits no more.
    pub(super) fn wake_waiter(&mut self) {
        if let Some((id, _)) = self.registry.waiting.front().copied() {
            self.unstall(id, Stall::Pinned);
        }
    }

    /// Called when a client's requests have been looked at: if it was the first to wait and waits no more, the next one
    /// has its turn.
    pub fn leave_queue(&mut self, id: ClientId) {
        let first = self
            .registry
            .waiting
            .front()
            .is_some_and(|(first, _)| *first == id);
        let waits = self
            .client(id)
            .is_some_and(|client| client.stall == Stall::Pinned);
        if first && !waits {
            self.registry.waiting.pop_front();
            self.wake_waiter();
        }
    }

    /// Gives up the waiting of those whose time is over.
    pub(super) fn deny_late_waiters(&mut self) {
        while let Some((id, until)) = self.registry.waiting.front().copied()
            && until <= self.now
        {
            self.registry.waiting.pop_front();
            if let Some(client) = self.client(id)
                && client.stall == Stall::Pinned
            {
                client.stall = Stall::PinnedDenied;
                self.resume.push(id);
            }
        }
    }

    /// Closes a link that nobody awaits anything of.
    pub(super) fn drop_link(&mut self, id: LinkId) {
        if self.link(id).is_none() {
            return;
        }
        self.registry.forget(id);
        let mut link = self.links.remove(id.index as usize);
        link.output.discard(&mut self.pool);
        // A script that runs on goes on running, but nobody can say until when.
        for awaited in &link.awaited {
            self.forget(&awaited.what);
        }
        if link.lane == Lane::Pinned {
            self.registry.pinned -= 1;
            if self.registry.pinned < self.config.upstream.pinned_max {
                self.wake_waiter();
            }
        }
        drop(match link.socket {
            Socket::Up(stream) => Some(stream),
            Socket::Dialing(_) => None,
        });
    }
}
