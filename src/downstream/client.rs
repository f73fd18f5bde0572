//! One client connection: what it sent and was not yet handled, what it is still to be sent, what it has negotiated.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

use crate::cache::core::FlightId;
use crate::failover::subscriptions::Subscriptions;
use crate::id::{ClientId, LinkId};
use crate::metrics::CloseCause;
use crate::outbox::Outbox;
use crate::reactor::Bell;
use crate::resp::{Protocol, Scanner};
use crate::seam::BoxStream;

/// Requests of one client in flight at once; fewer for one that is known not to keep up with its replies.
const INFLIGHT_MAX: u32 = 1024;
const INFLIGHT_SLOW: u32 = 32;

/// What makes a client keep the link that it owns although nothing is in flight on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Between MULTI and EXEC or DISCARD.
    pub multi: bool,
    /// Between WATCH and EXEC, DISCARD or UNWATCH, as they are sent.
    pub watch: bool,
    /// It asked who it is; its session commands still take the tracked link.
    pub identity: bool,
    /// It named itself by hand, not as a library does: whoever does that wants to see, by that name, all that the
    /// connection does.
    pub named: bool,
}

impl Held {
    /// Tells whether all commands must go over the owned link.
    pub fn takes_everything(self) -> bool {
        self.multi || self.watch || self.named
    }

    /// Tells whether the owned link must be kept.
    pub fn keeps_link(self) -> bool {
        self.takes_everything() || self.identity
    }
}

/// Why the next request of a client is not looked at yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stall {
    /// It is.
    #[default]
    None,
    /// Replies of another lane are still in flight: a client's order is kept.
    Lane,
    /// It has as many requests in flight as it may have.
    Window,
    /// A reply in flight decides how the next request is to be read.
    Settling,
    /// It asks who is there while names are on their way to the server.
    Naming,
    /// It says HELLO, and nothing is known of the server yet.
    Greeting,
    /// No pinned link is free.
    Pinned,
    /// It waited for a pinned link in vain: the next request is answered with an error.
    PinnedDenied,
    /// That link has too much to write already.
    Congested(LinkId),
    /// The client does not read its replies.
    Output,
    /// Its own link was lost; whether the server lives decides what it is told.
    Verdict,
    /// It has to wait for a primary.
    Held,
}

/// Where a client stands that asked WAIT or WAITAOF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Barrier {
    /// It did not, or its replication barrier is under way.
    #[default]
    None,
    /// The link that is to wait has written something behind all that the client wrote.
    Passed,
    /// The server did not take the barrier.
    Failed,
}

/// Keys that a transaction on its way will change or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueuedKeys {
    /// These.
    Some(Vec<Box<[u8]>>),
    /// Any, or too many to remember.
    Everything,
}

/// What a client awaited of a link that is gone or has refused it, in order: it comes before the client's input.
#[derive(Debug)]
pub enum Rewound {
    /// Looked at as if it had just come.
    Request {
        /// As an array of bulk strings; several where they are one transaction.
        bytes: Box<[u8]>,
        /// The server may have run it, and its reply was lost; to run it once more is harmless.
        may_have_run: bool,
    },
    /// An answer of ours that has its turn here.
    Answer(Box<[u8]>),
}

impl Rewound {
    /// Returns its size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Request { bytes, .. } | Self::Answer(bytes) => bytes.len(),
        }
    }

    /// Tells whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The transaction that a client is queueing on its own link, to be queued again on another one.
#[derive(Debug, Default)]
pub struct Transcript {
    /// Its requests from MULTI on, without EXEC.
    pub bytes: Vec<u8>,
    /// It grew past what is remembered.
    pub cut: bool,
    /// EXEC was sent.
    pub ended: bool,
}

/// What a client has told of itself.
#[derive(Clone, Debug, Default)]
pub struct Introduction {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub library: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: Vec<u8>,
}

/// One client connection.
pub struct Client {
    /// Which of the connections that had this place.
    pub serial: u32,
    /// The socket.
    pub stream: BoxStream,
    /// Rung when the socket, or a part of ours that this client waits for, is ready.
    pub bell: Arc<Bell>,
    /// The bell as the runtime wants it.
    pub waker: Waker,
    /// When it came.
    pub since: Instant,
    /// Requests that arrived and were not handled yet.
    pub input: Vec<u8>,
    /// The front request can't be whole before `input` has that many bytes.
    pub need: usize,
    /// Replies to be written.
    pub output: Outbox,
    /// Whether it stands on the list of those to be flushed at the end of the turn.
    pub dirty: bool,
    /// Negotiated by HELLO.
    pub protocol: Protocol,
    /// It must show credentials before anything else.
    pub locked: bool,
    /// Chosen by SELECT.
    pub database: u32,
    /// Told by CLIENT SETNAME and SETINFO.
    pub introduction: Option<Box<Introduction>>,
    /// A link was opened for it alone, as young as itself; whoever goes on trying passwords gets no second one.
    pub had_fresh_link: bool,
    /// It said HELLO or CLIENT SETINFO: a library, not a person.
    pub by_library: bool,
    /// Replies awaited, all from `lane`.
    pub inflight: u32,
    /// The link that carries what is in flight.
    pub lane: Option<LinkId>,
    /// The place in that link's queue of the newest of them.
    pub newest: u64,
    /// The last read of it that was, or joined, a flight.
    pub flight: Option<FlightId>,
    /// Keys of the transaction that it is queueing on its own link.
    pub queued_keys: Option<Box<QueuedKeys>>,
    /// Keys of that transaction whose expiry is to be asked for behind it.
    pub asked_keys: Vec<Box<[u8]>>,
    /// Its unread bytes held more than subscriptions: whatever comes back to it may be newer than what is cached.
    pub stranger: bool,
    /// The pinned link that it owns at the moment.
    pub own: Option<LinkId>,
    /// Why it keeps it.
    pub held: Held,
    /// Raised with each MULTI and WATCH: an EXEC ends those before it, not those that follow in the same pipeline.
    pub held_count: u32,
    /// What it awaited of a link that is gone or has refused it.
    pub rewound: VecDeque<Rewound>,
    /// What stands behind that while it is being taken back.
    pub later: VecDeque<Rewound>,
    /// A link has refused a request of it: what follows on that link is taken back, too, so that its order is kept.
    pub rewinding: bool,
    /// The transaction that it is queueing.
    pub transcript: Option<Box<Transcript>>,
    /// That transaction is still to be queued on its new link.
    pub restore: bool,
    /// Its link has answered a WATCH with OK, and nothing that ends it.
    pub watches: bool,
    /// What it watched was lost with a link: its next EXEC is answered as if something had changed.
    pub watch_lost: bool,
    /// Something of what it awaits may have run before, on a link that was lost.
    pub replayed: bool,
    /// Its front request was counted as one that waits for a primary.
    pub is_held_counted: bool,
    /// When it has asked a replica and got no answer of use ([`crate::proxy`] counts these times); 0 = it has not.
    pub asked_replica: u32,
    /// Since when what is in flight may wait in the server.
    pub blocked_since: Option<Instant>,
    /// The transaction (or WATCH) was lost together with its link: refused until the client ends it.
    pub poisoned: bool,
    /// It wants to know of failovers; whether it was told last that one is under way.
    pub notified: Option<bool>,
    /// Its bytes go over its own link unread, both ways, until one side closes.
    pub raw: bool,
    /// What it is subscribed to, as long as it does nothing else.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// It watches the server's commands.
    pub monitor: bool,
    /// A request that is larger than what we wait for, on its way through the own link.
    pub upload: Option<Scanner>,
    /// What is in flight may wait in the server for another client.
    pub blocking: bool,
    /// How its replication barrier went.
    pub barrier: Barrier,
    /// Why its next request is not looked at.
    pub stall: Stall,
    /// Its socket was not read although it may have more.
    pub unread: bool,
    /// The client has sent all that it will.
    pub eof: bool,
    /// To be closed once its replies are written.
    pub closing: Option<CloseCause>,
    /// It said QUIT: to be closed when what is in flight is answered.
    pub quitting: bool,
    /// A script stands in its transaction.
    pub script_queued: bool,
    /// Whether its replies once outgrew the soft bound: it then may have fewer requests in flight.
    pub reads_slowly: bool,
}

impl Client {
    /// Makes the state of a connection just taken.
    pub fn new(serial: u32, stream: BoxStream, bell: Arc<Bell>, since: Instant) -> Self {
        Self {
            serial,
            stream,
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            since,
            input: Vec::new(),
            need: 0,
            output: Outbox::default(),
            dirty: false,
            protocol: Protocol::Resp2,
            locked: false,
            database: 0,
            introduction: None,
            had_fresh_link: false,
            by_library: false,
            inflight: 0,
            lane: None,
            newest: 0,
            flight: None,
            queued_keys: None,
            asked_keys: Vec::new(),
            stranger: false,
            own: None,
            held: Held::default(),
            held_count: 0,
            rewound: VecDeque::new(),
            later: VecDeque::new(),
            rewinding: false,
            transcript: None,
            restore: false,
            watches: false,
            watch_lost: false,
            replayed: false,
            is_held_counted: false,
            asked_replica: 0,
            blocked_since: None,
            poisoned: false,
            notified: None,
            raw: false,
            subscriptions: None,
            monitor: false,
            upload: None,
            blocking: false,
            barrier: Barrier::None,
            stall: Stall::None,
            unread: false,
            eof: false,
            closing: None,
            quitting: false,
            script_queued: false,
            reads_slowly: false,
        }
    }

    /// Returns its id.
    pub fn id(&self, index: u32) -> ClientId {
        ClientId {
            index,
            serial: self.serial,
        }
    }

    /// From here on it speaks this protocol; in RESP2 there are no pushes.
    pub fn speak(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        if protocol == Protocol::Resp2 {
            self.notified = None;
        }
    }

    /// Notes a MULTI on its way.
    pub fn begin_multi(&mut self) {
        self.held.multi = true;
        self.held_count = self.held_count.wrapping_add(1);
    }

    /// Tells whether its requests are queued in a transaction; those behind an EXEC on its way are not.
    pub fn is_queueing(&self) -> bool {
        let ended = |transcript: &Transcript| transcript.ended;
        self.held.multi && !self.transcript.as_deref().is_some_and(ended)
    }

    /// Notes a WATCH on its way.
    pub fn begin_watch(&mut self) {
        self.held.watch = true;
        self.held_count = self.held_count.wrapping_add(1);
    }

    /// Notes that the server has refused a WATCH; unless another one (or a MULTI) followed, nothing more is on its way.
    pub fn refuse_watch(&mut self, held: u32) {
        if self.held_count == held {
            self.held.watch = self.watches || self.watch_lost;
        }
    }

    /// Notes that what was watched is not watched any more; the link is kept where another WATCH (or a MULTI) followed.
    pub fn end_watch(&mut self, held: u32) {
        self.watches = false;
        self.watch_lost = false;
        self.refuse_watch(held);
    }

    /// Notes that its link is gone, and with it what was watched there.
    pub fn lose_watch(&mut self) {
        self.watch_lost |= std::mem::take(&mut self.watches);
    }

    /// Notes that a transaction is over. Only a WATCH can have followed: a MULTI waits until this is known.
    pub fn end_multi(&mut self, held: u32) {
        self.held.multi = false;
        self.transcript = None;
        self.end_watch(held);
    }

    /// Notes that the server has refused to throw a transaction away; what it would execute is not known any more.
    pub fn keep_multi(&mut self) {
        self.queued_keys = Some(Box::new(QueuedKeys::Everything));
        if let Some(transcript) = &mut self.transcript {
            transcript.ended = false;
        }
    }

    /// What it queued is executed now, or never.
    pub fn forget_queued(&mut self) {
        self.script_queued = false;
        self.queued_keys = None;
        self.asked_keys.clear();
    }

    /// Its transaction and WATCH are gone, with all that is known of them.
    pub fn forget_held(&mut self) {
        self.held = Held::default();
        self.transcript = None;
        self.restore = false;
        self.watches = false;
        self.watch_lost = false;
        self.forget_queued();
    }

    /// Its transaction, or WATCH, is lost: refused until it ends it.
    pub fn poison(&mut self) {
        self.poisoned = true;
        self.forget_held();
    }

    /// What it awaits is about to be taken back, in front of what was taken back before and is not sent again yet.
    pub fn begin_rewind(&mut self) {
        if self.later.is_empty() {
            self.later = std::mem::take(&mut self.rewound);
        }
    }

    /// All that it awaited was taken back.
    pub fn end_rewind(&mut self) {
        self.rewound.append(&mut self.later);
    }

    /// Returns how many requests it may have in flight.
    pub fn window(&self) -> u32 {
        match self.reads_slowly {
            false => INFLIGHT_MAX,
            true => INFLIGHT_SLOW,
        }
    }

    /// Returns what it told of itself, to be changed.
    pub fn introduce(&mut self) -> &mut Introduction {
        self.introduction.get_or_insert_default()
    }
}
