//! The client's own link: taken from the pool, brought into the client's state, given back.

use std::time::Duration;

use crate::command::table::Access;
use crate::downstream::client::{Barrier, Stall};
use crate::error;
use crate::id::{ClientId, LinkId};
use crate::metrics::ErrorKind;
use crate::resp::{Protocol, encode, request_bytes};
use crate::upstream::connect::Profile;
use crate::upstream::link::{Lane, Settle, Socket, What};
use crate::upstream::registry::Health;

use super::Proxy;
use super::requests::{Request, Taken};

/// How long a request waits for a pinned link. Blocking commands may keep theirs for minutes, so waiting longer than a
/// web request's patience helps nobody.
const PINNED_WAIT: Duration = Duration::from_secs(5);

/// A client younger than this is not given a spare link for good: the spare may be older.
const YOUNG: Duration = Duration::from_secs(1);

/// Idle pinned links that are kept ready for each protocol and database in use, and for all of them together.
const SPARE_EACH: usize = 2;
const SPARE_ALL_MAX: usize = 16;

/// The channel of the replication barrier; nobody subscribes to it.
const BARRIER_CHANNEL: &str = "gripfast:barrier";

impl Proxy {
    /// Sends a request over the client's own link.
    pub(super) fn send_own(&mut self, request: Request<'_>, settle: Option<Settle>) -> Taken {
        let link = match self.own_link(request.client) {
            Ok(Some(link)) => link,
            Ok(None) => return Taken::Stalled,
            Err(kind) => {
                self.refuse(request.client, kind);
                return Taken::Bytes(request.length);
            }
        };
        self.send_over(link, request, settle)
    }

    fn send_over(&mut self, link: LinkId, request: Request<'_>, settle: Option<Settle>) -> Taken {
        let client = &mut self.clients[request.client as usize];
        client.inflight += 1;
        client.lane = Some(link);
        let id = client.id(request.client);
        self.counters.requests[Lane::Pinned.metric().index()] += 1;
        let write = request.command.access != Access::Read;
        let target = &mut self.links[link.index as usize];
        match settle {
            None => target.send(request.bytes, id, write, false, &mut self.pool),
            Some(settle) => {
                target.push_bytes(request.bytes, &mut self.pool);
                target.expect(id, What::Settle(settle));
            }
        }
        self.touch_link(link);
        Taken::Bytes(request.length)
    }

    /// Sends a request whose reply decides how the next one is to be read.
    pub(super) fn send_settling(&mut self, request: Request<'_>, settle: Settle) -> Taken {
        let may_keep_link = matches!(settle, Settle::Hello | Settle::Auth | Settle::Unknown);
        if matches!(settle, Settle::Hello | Settle::Auth) {
            self.own_fresh_link(request.client);
        }
        let taken = match self.own_link(request.client) {
            Ok(Some(link)) => {
                if may_keep_link {
                    self.introduce(request.client, link);
                    self.links[link.index as usize].spent = true;
                }
                self.send_over(link, request, Some(settle))
            }
            Ok(None) => Taken::Stalled,
            Err(kind) => {
                self.refuse(request.client, kind);
                return Taken::Bytes(request.length);
            }
        };
        let client = &mut self.clients[request.client as usize];
        if matches!(taken, Taken::Bytes(_)) && client.inflight > 0 {
            client.stall = Stall::Settling;
        }
        taken
    }

    /// Sends a script, during which the server may answer BUSY to everyone.
    pub(super) fn send_script(&mut self, request: Request<'_>) -> Taken {
        let taken = self.send_own(request, Some(Settle::Script));
        if matches!(taken, Taken::Bytes(_)) && self.clients[request.client as usize].own.is_some() {
            self.scripts += 1;
        }
        taken
    }

    /// Sends a command that may wait in the server.
    pub(super) fn send_blocking(&mut self, request: Request<'_>) -> Taken {
        let taken = self.send_own(request, None);
        let client = &mut self.clients[request.client as usize];
        client.blocking |= matches!(taken, Taken::Bytes(_)) && client.inflight > 0;
        taken
    }

    /// Sends WAIT or WAITAOF once a replication barrier of the same link has been passed.
    ///
    /// They look at the offset of the connection's own last write (from 7.2 on; before, of its last command of any
    /// kind), but the client's writes went over another link. SPUBLISH writes nothing, is propagated to replicas, and
    /// unlike PUBLISH no pattern subscription sees it; 6.2 lacks it and takes any command. The append-only file takes
    /// only writes: to swap a database with itself is one that changes nothing.
    /// Source: redis `src/replication.c`, `waitCommand`; `src/pubsub.c`, `spublishCommand`; `src/db.c`,
    /// `dbSwapDatabases`.
    pub(super) fn send_wait(&mut self, request: Request<'_>) -> Taken {
        let client = &mut self.clients[request.client as usize];
        match std::mem::take(&mut client.barrier) {
            Barrier::Passed => return self.send_blocking(request),
            Barrier::Failed => {
                self.answer(request.client, |out| {
                    out.extend_from_slice(error::BARRIER_FAILED)
                });
                // The link was kept for WAIT, which is not sent.
                self.settled(request.client);
                return Taken::Bytes(request.length);
            }
            Barrier::None => {}
        }
        let link = match self.own_link(request.client) {
            Ok(Some(link)) => link,
            Ok(None) => return Taken::Stalled,
            Err(kind) => {
                self.refuse(request.client, kind);
                return Taken::Bytes(request.length);
            }
        };
        let waits_for_file = request
            .word(0)
            .is_some_and(|name| name.len() == "WAITAOF".len());
        let shards = self
            .facts
            .as_ref()
            .is_some_and(|facts| facts.has_spublish());
        let barrier = match (waits_for_file, shards) {
            (true, _) => request_bytes(&["SWAPDB", "0", "0"]),
            (false, true) => request_bytes(&["SPUBLISH", BARRIER_CHANNEL, ""]),
            (false, false) => request_bytes(&["PING"]),
        };
        let client = &mut self.clients[request.client as usize];
        client.inflight += 1;
        client.lane = Some(link);
        client.stall = Stall::Settling;
        let id = client.id(request.client);
        let target = &mut self.links[link.index as usize];
        target.push_bytes(&barrier, &mut self.pool);
        target.expect(id, What::Barrier);
        self.touch_link(link);
        Taken::Stalled
    }

    /// Returns the client's own link, free for a request of it; `None` when the request has to wait, with the stall set.
    ///
    /// A link is only ever given to a client of its protocol and database: to change them in front of a request would
    /// mean to send the request before the server has agreed.
    ///
    /// # Errors
    /// The kind of error to answer when there is none to be had.
    pub(super) fn own_link(&mut self, index: u32) -> Result<Option<LinkId>, ErrorKind> {
        let client = &self.clients[index as usize];
        let database = client.database;
        // A command that must reach a busy server took a link of another database: its turn comes first.
        if let Some(own) = client.own
            && self.links[own.index as usize].database != database
        {
            self.clients[index as usize].stall = Stall::Lane;
            return Ok(None);
        }
        self.own_link_in(index, database)
    }

    /// Like [`Proxy::own_link`], in another database than the client's, unless it owns a link already.
    fn own_link_in(&mut self, index: u32, database: u32) -> Result<Option<LinkId>, ErrorKind> {
        let client = &self.clients[index as usize];
        let link = match client.own {
            Some(own) => own,
            None if client.inflight > 0 => {
                self.clients[index as usize].stall = Stall::Lane;
                return Ok(None);
            }
            None => match self.acquire(index, database)? {
                Some(link) => link,
                None => return Ok(None),
            },
        };
        if !self.may_send(index, link) {
            return Ok(None);
        }
        if self.clients[index as usize].held.identity {
            self.introduce(index, link);
        }
        Ok(Some(link))
    }

    /// Sends a command that must reach a busy server: it would refuse a SELECT, so the link is one of database 0, where
    /// links begin; these commands mean the same in each.
    pub(super) fn send_rescue(&mut self, request: Request<'_>) -> Taken {
        match self.own_link_in(request.client, 0) {
            Ok(Some(link)) => self.send_over(link, request, None),
            Ok(None) => Taken::Stalled,
            Err(kind) => {
                self.refuse(request.client, kind);
                Taken::Bytes(request.length)
            }
        }
    }

    fn acquire(&mut self, index: u32, database: u32) -> Result<Option<LinkId>, ErrorKind> {
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
        self.links[link.index as usize].owner = Some(id);
        self.clients[index as usize].own = Some(link);
        Ok(Some(link))
    }

    /// Gives a client that has just come, and is about to become another user, a link as young as itself: it is the
    /// client's for good, and CLIENT LIST and CLIENT KILL MAXAGE go by its age.
    fn own_fresh_link(&mut self, index: u32) {
        let client = &self.clients[index as usize];
        let (protocol, database, id) = (client.protocol, client.database, client.id(index));
        let young = self.now.duration_since(client.since) < YOUNG;
        let free = client.own.is_none() && client.inflight == 0;
        // To dial would show in a MONITOR.
        let unwatched = self.observed.monitors == 0;
        if young && unwatched && free && self.registry.health == Health::Up && self.has_room() {
            let link = self.open_pinned(protocol, database);
            self.links[link.index as usize].owner = Some(id);
            self.clients[index as usize].own = Some(link);
        }
    }

    fn take_spare(&mut self, protocol: Protocol, database: u32) -> Option<LinkId> {
        let links = &self.links;
        self.registry.take_idle(|id| {
            let link = &links[id.index as usize];
            link.protocol == protocol && link.database == database
        })
    }

    /// Tells whether one more pinned link may be opened; makes room by closing an idle one of another kind.
    fn has_room(&mut self) -> bool {
        if self.registry.pinned >= self.config.upstream.pinned_max
            && let Some(idle) = self.registry.oldest_idle()
        {
            self.drop_link(idle);
        }
        self.registry.pinned < self.config.upstream.pinned_max
    }

    fn open_pinned(&mut self, protocol: Protocol, database: u32) -> LinkId {
        self.open(
            Lane::Pinned,
            Profile {
                protocol,
                database,
                run_id: self.run_id.clone(),
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

    /// Gives a client that named itself a link that bears its name, if one is to spare.
    pub(super) fn give_name(&mut self, index: u32) {
        let client = &self.clients[index as usize];
        let (protocol, database, id) = (client.protocol, client.database, client.id(index));
        if client.own.is_some() || client.inflight > 0 {
            return;
        }
        let bounded = self.registry.pinned < self.config.upstream.pinned_max / 2;
        let link = match self.take_spare(protocol, database) {
            Some(link) => link,
            None if bounded && self.registry.health == Health::Up => {
                self.open_pinned(protocol, database)
            }
            None => return,
        };
        self.links[link.index as usize].owner = Some(id);
        let client = &mut self.clients[index as usize];
        client.own = Some(link);
        client.held.identity = true;
        client.held.named = !client.by_library;
        self.introduce(index, link);
    }

    /// Repeats on the own link what the client told of itself, so that what Redis says of it is true.
    pub(super) fn introduce(&mut self, index: u32, link: LinkId) {
        let Some(told) = self.clients[index as usize].introduction.clone() else {
            return;
        };
        if std::mem::replace(&mut self.links[link.index as usize].introduced, true) {
            return;
        }
        for (words, value) in [
            (&["CLIENT", "SETNAME"][..], told.name),
            (&["CLIENT", "SETINFO", "LIB-NAME"][..], told.library),
            (&["CLIENT", "SETINFO", "LIB-VER"][..], told.library_version),
        ] {
            if !value.is_empty() {
                let mut request: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
                request.push(&value);
                self.send_ours(link, &request, What::Named);
                self.naming += 1;
            }
        }
    }

    /// Sends a command of ours, whose reply nobody gets.
    pub(super) fn send_ours<W: AsRef<[u8]>>(&mut self, link: LinkId, words: &[W], what: What) {
        let target = &mut self.links[link.index as usize];
        target.push_bytes(&encode::request_bytes(words), &mut self.pool);
        target.expect(ClientId::NOBODY, what);
        self.touch_link(link);
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

    /// Takes what is answered, or never will be, out of the counts.
    pub(super) fn forget(&mut self, what: &What) {
        match what {
            What::Settle(Settle::Script | Settle::Exec { script: true, .. }) => {
                self.scripts = self.scripts.saturating_sub(1);
            }
            What::Named => {
                self.naming = self.naming.saturating_sub(1);
                if self.naming == 0 {
                    for id in std::mem::take(&mut self.asking) {
                        self.unstall(id, Stall::Naming);
                    }
                }
            }
            _ => {}
        }
    }

    /// Lets a client go on that is stalled for this reason.
    pub(super) fn unstall(&mut self, id: ClientId, reason: Stall) {
        if let Some(client) = self.client(id)
            && client.stall == reason
        {
            client.stall = Stall::None;
            self.resume.push(id);
        }
    }
}
