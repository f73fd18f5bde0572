//! The data path: requests in, replies out, each client's in the order it sent them.
//!
//! ```text
//!  client bytes ─► requests.rs ─► handshake.rs ──────────────► answered here
//!                     │  one request at a time, by its kind
//!                     ├─────────► shared links (tracked, general)
//!                     └─► own.rs ─► the client's own (pinned) link
//!  link bytes ──► replies.rs ── matched with what is awaited ─► client's output
//!  lost link ───► loss.rs ───── every awaited reply gets a clear error
//! ```
//!
//! [`Proxy`] owns all of it and is driven by [`crate::data_plane`], which knows the sockets' readiness. Nothing here
//! awaits: bytes come in, state changes, bytes stand in outboxes when a function returns.
//!
//! # Order
//! What a client has in flight is all on *one* link (`Client::lane`). A request for another link waits until that is
//! answered ([`Stall::Lane`]); an answer of our own takes its turn in the link's queue ([`What::Local`]).
//!
//! # Ownership of a link
//! State that Redis keeps on a connection (MULTI, WATCH, a blocked pop) lives on a pinned link that the client owns
//! until the state is neutral again. Where that can't be told any more (subscriptions, tracking, another user, MONITOR),
//! the client gets that link for good and its bytes pass unread in both directions ([`Client::raw`]): then it simply has
//! a connection to the server. Over-estimating state costs a link; under-estimating it would cost correctness.

mod handshake;
mod loss;
mod own;
mod replies;
mod requests;
mod switch;

use std::sync::Arc;

use slab::Slab;
use tokio::time::Instant;

use crate::command::local::ServerFacts;
use crate::command::table::Table;
use crate::config::Config;
use crate::downstream::client::{Barrier, Client, Stall};
use crate::id::{ClientId, LinkId};
use crate::metrics::{CloseCause, Counters, ErrorKind};
use crate::outbox::Pool;
use crate::reactor::{Ready, Token};
use crate::resp::Words;
use crate::seam::{Dial, Entropy, HostPort};
use crate::upstream::connect::{self, Profile};
use crate::upstream::link::{Lane, Link, What};
use crate::upstream::registry::{Health, Registry};

/// Bytes that may wait for a link's socket before the clients that feed it are slowed down.
pub const LINK_OUTPUT_SOFT: usize = 1024 * 1024;

/// Bytes that may wait for a client before no further request of it is taken and its own link is read no further.
pub const CLIENT_OUTPUT_SOFT: usize = 1024 * 1024;

/// The first id that our own HELLO gives to a connection: far above any that a server gives, so that the one is never
/// taken for the other (by CLIENT KILL ID, say). Below 2^53, where JavaScript's numbers end.
const HELLO_ID_FIRST: u64 = 1 << 48;

/// All state of the data path.
pub struct Proxy {
    config: Arc<Config>,
    dial: Box<dyn Dial>,
    /// Where links are dialled to; `None` until the Sentinels have named it.
    primary: Option<HostPort>,
    ready: Arc<Ready>,
    table: Table,
    /// Client connections.
    pub clients: Slab<Client>,
    /// Links.
    pub links: Slab<Link>,
    /// Which link is for what.
    pub registry: Registry,
    /// What the server said of itself, once a link was up.
    pub facts: Option<Arc<ServerFacts>>,
    /// Databases that the server has taken in a SELECT, by number.
    known_databases: Vec<bool>,
    /// Empty buffers.
    pub pool: Pool,
    words: Words,
    /// Places of clients with something to write.
    pub dirty_clients: Vec<u32>,
    /// Places of links with something to write.
    pub dirty_links: Vec<u32>,
    /// Clients whose next request can be looked at again.
    pub resume: Vec<ClientId>,
    /// Clients that wait for a link's output to drain.
    congested: Vec<ClientId>,
    /// Scripts that are running, as far as we know.
    scripts: usize,
    /// Somebody watches the server's commands through us (MONITOR, or a slow log of everything): then nothing is answered
    /// here that the server could answer.
    observed: Observed,
    /// While a failed dial is dealt with: the server's own words for it.
    servers_words: Option<String>,
    /// Lost links whose owners' fate hangs on whether the server lives.
    verdicts: Vec<loss::Verdict>,
    /// Until when a CLIENT PAUSE that passed through here may last.
    paused_until: Option<Instant>,
    /// The time of this turn.
    pub now: Instant,
    /// Plain counts of everything.
    pub counters: Counters,
    serial: u32,
    draining: bool,
}

/// Who watches the server's commands through us.
#[derive(Debug, Default)]
struct Observed {
    /// Clients in MONITOR.
    monitors: usize,
    /// The slow log was told to take everything.
    slow_log: bool,
}

impl Proxy {
    /// Starts with no clients; the first link is dialled by [`Proxy::tick`].
    pub fn new(
        config: Arc<Config>,
        dial: Box<dyn Dial>,
        entropy: Entropy,
        ready: Arc<Ready>,
    ) -> Self {
        let primary = switch::configured(&config);
        let mut registry = Registry::new(entropy);
        if primary.is_none() {
            registry.health = switch::waiting_for_sentinels();
        }
        Self {
            config,
            dial,
            primary,
            ready,
            table: Table::default(),
            clients: Slab::new(),
            links: Slab::new(),
            registry,
            facts: None,
            known_databases: vec![true],
            pool: Pool::default(),
            words: Words::default(),
            dirty_clients: Vec::new(),
            dirty_links: Vec::new(),
            resume: Vec::new(),
            congested: Vec::new(),
            scripts: 0,
            observed: Observed::default(),
            servers_words: None,
            verdicts: Vec::new(),
            paused_until: None,
            now: Instant::now(),
            counters: Counters::default(),
            serial: 0,
            draining: false,
        }
    }

    /// Takes the server's own command table.
    pub fn learn_commands(&mut self, commands: Arc<crate::command::table::ServerCommands>) {
        self.table.learn(commands);
    }

    /// Returns the client with that id, if it is still here.
    #[inline]
    pub fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients
            .get_mut(id.index as usize)
            .filter(|client| client.serial == id.serial)
    }

    /// Returns the link with that id, if it is still here.
    #[inline]
    pub fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links
            .get_mut(id.index as usize)
            .filter(|link| link.serial == id.serial)
    }

    /// Takes a client connection; `false` when there are too many.
    pub fn admit(&mut self, stream: crate::seam::BoxStream) -> Result<u32, crate::seam::BoxStream> {
        if self.clients.len() >= self.config.listen.clients_max {
            return Err(stream);
        }
        self.serial = self.serial.wrapping_add(1);
        let entry = self.clients.vacant_entry();
        let index = entry.key() as u32;
        let bell = self.ready.bell(Token::Client(index));
        bell.ring();
        entry.insert(Client::new(self.serial, stream, bell));
        self.counters.clients_accepted += 1;
        self.warm(index);
        Ok(index)
    }

    /// Opens a link and returns its id; requests may be queued on it at once.
    fn open(&mut self, lane: Lane, profile: Profile) -> LinkId {
        self.serial = self.serial.wrapping_add(1);
        let (protocol, database) = (profile.protocol, profile.database);
        let primary = self.primary.as_ref();
        let establishing = Box::pin(connect::start(
            &*self.dial,
            primary.expect("nothing is dialled while health says that the primary is awaited"),
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
    fn shared(&mut self, lane: Lane, client: u32) -> Option<LinkId> {
        let client = &self.clients[client as usize];
        let (database, protocol) = (client.database, client.protocol);
        if let Some(link) = self.registry.shared(lane, protocol, database) {
            return Some(link);
        }
        self.open_shared(lane, protocol, database)
    }

    #[cold]
    fn open_shared(
        &mut self,
        lane: Lane,
        protocol: crate::resp::Protocol,
        database: u32,
    ) -> Option<LinkId> {
        use crate::resp::Protocol;
        if let Health::Down {
            retry_at: Some(_), ..
        } = self.registry.health
        {
            return None;
        }
        let (protocol, name) = match lane {
            Lane::Tracked => (Protocol::Resp3, "gripfast-tracked"),
            Lane::General | Lane::Pinned => (protocol, "gripfast-general"),
        };
        let link = self.open(
            lane,
            Profile {
                protocol,
                database,
                name: Some(name),
            },
        );
        self.registry.set_shared(lane, protocol, database, link);
        Some(link)
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
            self.open_shared(Lane::Tracked, crate::resp::Protocol::Resp3, 0);
        }
        if self.registry.health == Health::Starting
            && self
                .registry
                .shared(Lane::Tracked, crate::resp::Protocol::Resp3, 0)
                .is_none()
        {
            self.open_shared(Lane::Tracked, crate::resp::Protocol::Resp3, 0);
        }
        self.deny_late_waiters();
    }

    /// Tells when [`Proxy::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let retry = match &self.registry.health {
            Health::Down { retry_at, .. } => *retry_at,
            Health::Starting | Health::Up => None,
        };
        let waiter = self.registry.waiting.front().map(|(_, until)| *until);
        retry.into_iter().chain(waiter).min()
    }

    /// Notes that a client has something to write.
    #[inline]
    fn touch_client(clients: &mut Slab<Client>, dirty: &mut Vec<u32>, index: u32) {
        let client = &mut clients[index as usize];
        if !client.dirty {
            client.dirty = true;
            dirty.push(index);
        }
    }

    /// Notes that a link has something to write.
    #[inline]
    fn touch_link(&mut self, id: LinkId) {
        let link = &mut self.links[id.index as usize];
        if !link.dirty {
            link.dirty = true;
            self.dirty_links.push(id.index);
        }
    }

    /// Answers a client ourselves, in its turn.
    fn answer(&mut self, index: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let client = &mut self.clients[index as usize];
        if client.inflight == 0 {
            write(client.output.writer(&mut self.pool));
            Self::touch_client(&mut self.clients, &mut self.dirty_clients, index);
            return;
        }
        let mut bytes = Vec::new();
        write(&mut bytes);
        let id = client.id(index);
        let lane = client.lane.expect("what is in flight is on a link");
        client.inflight += 1;
        self.links[lane.index as usize].expect(id, What::Local(bytes));
    }

    /// Answers a request with an error of ours, in its turn.
    fn refuse(&mut self, index: u32, kind: ErrorKind) {
        let text = self.error_text(kind);
        self.counters.error_replies[kind.index()] += 1;
        self.answer(index, |out| out.extend_from_slice(text.as_bytes()));
    }

    /// Finds the words for an error of ours: what happened, whether the command ran, what to do.
    fn error_text(&self, kind: ErrorKind) -> String {
        let primary = self.primary_in_words();
        match kind {
            ErrorKind::Masterdown => {
                let reason = match &self.registry.health {
                    Health::Down { reason, .. } => reason.as_str(),
                    Health::Starting => "not connected yet",
                    Health::Up => "link lost",
                };
                format!(
                    "-MASTERDOWN gripfast: no link to {primary} ({reason}); \
                     the command was not executed, it is safe to retry\r\n"
                )
            }
            ErrorKind::OutcomeUnknown => format!(
                "-ERR gripfast: outcome unknown: the link to {primary} was lost \
                 after the command was sent; it may or may not have been executed\r\n"
            ),
            ErrorKind::NoPinnedLink => format!(
                "-ERR gripfast: no pinned link free: all {} (upstream.pinned_max) are in use; \
                 the command was not executed, it is safe to retry\r\n",
                self.config.upstream.pinned_max
            ),
        }
    }

    /// Closes a client once what is to be written to it is written.
    pub fn close_after_flush(&mut self, index: u32, cause: CloseCause) {
        let client = &mut self.clients[index as usize];
        client.closing.get_or_insert(cause);
        Self::touch_client(&mut self.clients, &mut self.dirty_clients, index);
    }

    /// Ends a client connection: its own link goes back or is closed, its replies in flight find nobody.
    pub fn remove_client(&mut self, index: u32, cause: CloseCause) {
        self.counters.clients_closed[cause.index()] += 1;
        let mut client = self.clients.remove(index as usize);
        self.observed.monitors -= usize::from(client.monitor);
        client.output.discard(&mut self.pool);
        self.pool.give(std::mem::take(&mut client.input));
        if let Some(own) = client.own {
            let neutral = !client.raw
                && !client.held.keeps_link()
                && client.inflight == 0
                && client.upload.is_none();
            match neutral {
                true => self.release(own),
                false => self.drop_link(own),
            }
        }
        if client.stall == Stall::Pinned {
            let gone = client.id(index);
            self.registry.waiting.retain(|(id, _)| *id != gone);
        }
    }

    /// Takes no new requests; clients are closed as soon as what they have in flight is answered.
    pub fn drain(&mut self) {
        self.draining = true;
        let indices: Vec<u32> = self.clients.iter().map(|(index, _)| index as u32).collect();
        for index in indices {
            let client = &self.clients[index as usize];
            if client.inflight == 0 || client.raw || client.blocking {
                self.close_after_flush(index, CloseCause::Drain);
            }
        }
    }

    /// Tells whether a drain is under way.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Called whenever a client's replies in flight have all come.
    fn settled(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        client.blocking = false;
        if let Some(own) = client.own
            && !client.raw
            && !client.held.keeps_link()
            && client.upload.is_none()
            && client.barrier == Barrier::None
        {
            client.own = None;
            client.lane = None;
            self.release(own);
        }
        let client = &mut self.clients[index as usize];
        if self.draining {
            self.close_after_flush(index, CloseCause::Drain);
        } else if matches!(client.stall, Stall::Lane | Stall::Settling | Stall::Window) {
            client.stall = Stall::None;
            self.resume.push(client.id(index));
        } else if client.eof {
            self.resume.push(client.id(index));
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
    fn congest(&mut self, index: u32, link: LinkId) {
        let client = &mut self.clients[index as usize];
        client.stall = Stall::Congested(link);
        self.congested.push(client.id(index));
    }
}
