//! One connection to Redis: what is to be written, what is awaited, in order, and for whom.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use tokio::time::Instant;

use super::connect::{ConnectError, Established};
use super::unanswered::Unanswered;
use crate::cache::core::{FlightId, Tracking};
use crate::cache::entry::Millis;
use crate::cache::fence::SlotId;
use crate::command::ttl::Found;
use crate::id::ClientId;
use crate::outbox::Pool;
use crate::reactor::Bell;
use crate::resp::{Protocol, Scanner};
use crate::seam::BoxStream;

/// The lane that a link serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Session reads and writes of all clients, in RESP3.
    Tracked,
    /// Other stateless commands of all clients of one protocol.
    General,
    /// Whatever the one client that owns it sends.
    Pinned,
}

impl Lane {
    /// Returns the lane as metrics name it.
    pub fn metric(self) -> crate::metrics::Lane {
        match self {
            Self::Tracked => crate::metrics::Lane::Tracked,
            Self::General => crate::metrics::Lane::General,
            Self::Pinned => crate::metrics::Lane::Pinned,
        }
    }
}

/// What a reply changes besides going to its client. Each applies only if the reply is no error, where nothing else is
/// said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settle {
    /// SELECT of a database not known yet.
    Select(u32),
    /// HELLO with credentials that are not ours, or odd words.
    Hello,
    /// AUTH with credentials that are not ours.
    Auth,
    /// UNWATCH.
    Unwatch {
        /// Which MULTI or WATCH of the client was the last before it.
        held: u32,
    },
    /// EXEC: whatever it answers, the transaction is over.
    Exec {
        /// Which MULTI or WATCH of the client was the last before it.
        held: u32,
        /// Whether a script was queued.
        script: bool,
    },
    /// DISCARD.
    Discard {
        /// Which MULTI or WATCH of the client was the last before it.
        held: u32,
    },
    /// A script: whatever it answers, it runs no more.
    Script,
    /// A command that nobody knew: unless the server does not know it either, the client gets a connection of its own.
    Unknown,
    /// CLIENT PAUSE for so many milliseconds.
    Pause(u64),
    /// CLIENT UNPAUSE.
    Unpause,
}

/// What the next bytes of a link are.
#[derive(Debug)]
pub enum What {
    /// So many replies for the client.
    Replies {
        /// Replies to come.
        count: u32,
        /// Whether the requests may have changed data.
        write: bool,
        /// Whether the client speaks RESP2 and the link RESP3.
        as_resp2: bool,
    },
    /// The reply to a read that is a flight: for the client, for whoever joined, and to be kept.
    Flight {
        /// Which.
        flight: FlightId,
        /// Whether the client speaks RESP2.
        as_resp2: bool,
    },
    /// The reply to an MGET: for the client, and to be kept key by key.
    Flights {
        /// One for each key; none where it must not be kept.
        flights: Box<[Option<FlightId>]>,
        /// Whether the client speaks RESP2.
        as_resp2: bool,
    },
    /// The reply to the PTTL of ours that ends a flight.
    Landing(FlightId),
    /// A reply for the client that is counted by what was found in its request.
    Counted {
        /// What was found.
        found: Found,
        /// Whether the client speaks RESP2.
        as_resp2: bool,
    },
    /// The reply to a GETEX: where its key exists it is read once more, for the cache, since the server does not track
    /// what a GETEX reads.
    Refreshed {
        /// The key.
        key: Box<[u8]>,
        /// Whether the client speaks RESP2.
        as_resp2: bool,
    },
    /// The replies to a request that was sent in a transaction of ours.
    Wrapped(Box<Wrapped>),
    /// The reply to a transaction's EXEC, which tells more.
    Exec {
        /// Which commands it proves to be allowed.
        proof: Proof,
        /// What is counted by which of its elements.
        found: Box<[(usize, Found)]>,
        /// Whether the client speaks RESP2.
        as_resp2: bool,
    },
    /// The reply to our PTTL of a key that should have an expiry.
    Lifetime,
    /// A reply for the client that tells whether its user may do what else could be answered here.
    Proof {
        /// What it proves.
        proof: Proof,
        /// Whether the request may have changed data.
        write: bool,
        /// Whether the client speaks RESP2.
        as_resp2: bool,
    },
    /// The reply to our CLIENT TRACKING.
    Tracking {
        /// When it was sent.
        sent_at: Millis,
    },
    /// The reply to a TIME of ours, which proves that all changes before it have been announced.
    Probe {
        /// When it was sent.
        sent_at: Millis,
    },
    /// The reply to an INFO of ours about hash fields that expire.
    Fields {
        /// When it was sent.
        sent_at: Millis,
    },
    /// The reply to a read of ours that checks an answer of the cache.
    Check(Box<Check>),
    /// A reply for the client that also changes our state.
    Settle(Settle),
    /// Nothing from the link: an answer of our own that has its turn here.
    Local(Vec<u8>),
    /// A reply to a command of ours.
    Swallow,
    /// A reply to a command of ours that told a client's name.
    Named,
    /// The reply to a replication barrier, which decides whether the client's WAIT is sent.
    Barrier,
    /// A reply to a PING of ours, which shows that the server lives although the client's own link was lost.
    Verdict,
    /// From here on everything is the owner's, uncounted.
    Rest,
}

impl What {
    /// Returns how many replies of the link it stands for.
    fn replies(&self) -> u32 {
        match self {
            Self::Replies { count, .. } => *count,
            Self::Wrapped(wrapped) => wrapped.replies,
            Self::Local(_) | Self::Rest => 0,
            _ => 1,
        }
    }
}

/// What the server has to have accepted once before the like of it is answered here: which commands and keys a user may
/// use is the server's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof(pub u32);

/// A request that was sent in a transaction of ours.
#[derive(Debug)]
pub struct Wrapped {
    /// The request as it came.
    pub request: Box<[u8]>,
    /// How many replies come.
    pub replies: u32,
    /// How many are still to come.
    pub left: u32,
    /// Those that came.
    pub came: Vec<u8>,
    /// Whether the client speaks RESP2 and the link RESP3.
    pub as_resp2: bool,
}

/// An answer of the cache that the primary is asked about.
#[derive(Debug)]
pub struct Check {
    /// The fence: whether something changed meanwhile.
    pub flight: FlightId,
    /// What was answered.
    pub reply: Bytes,
    /// When it was answered.
    pub served_at: Millis,
    /// When that had been read.
    pub sent_at: Millis,
    /// When the key expires.
    pub deadline: Option<Millis>,
}

/// Requests on their way that may change keys, or tell somebody newer things of them than the cache knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Of one key.
    One(SlotId),
    /// Of several.
    Many(Box<[SlotId]>),
    /// Of any.
    Everything,
}

/// What a tracked link's probes are at.
#[derive(Clone, Debug)]
pub struct Probing {
    /// The server has said whether it announces changes.
    pub settled: bool,
    /// Something was read by way of it, or might have been served, since the last probe was sent.
    pub used: bool,
    /// Probes that are not answered.
    pub unanswered: u32,
    /// When the next is due.
    pub due: Instant,
    /// The server's clock: Unix milliseconds, when it was asked, when it had answered.
    pub clock: Option<(Millis, Millis, Millis)>,
}

/// What is known, in the database of a tracked link, of hash fields that expire by themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields {
    /// When the server was asked last.
    pub asked_at: Option<Millis>,
    /// It has not answered that.
    pub unanswered: bool,
    /// When it was asked the last time that it said that there are none; none if it said otherwise since.
    pub lasting_at: Option<Millis>,
}

/// An entry of the queue of what is awaited.
#[derive(Debug)]
pub struct Awaited {
    /// For whom.
    pub client: ClientId,
    /// What.
    pub what: What,
    /// The link's count of queued bytes where the last of these requests ends.
    pub end: u64,
}

/// Written and unanswered bytes that a link keeps, to be sent again when it is lost.
const KEPT_SHARED_MAX: usize = 16 * 1024 * 1024;
const KEPT_PINNED_MAX: usize = 2 * 1024 * 1024;

/// Bytes of requests that share an entry: a client that never pauses must not keep them all for ever.
const MERGED_BYTES_MAX: u64 = 16 * 1024;

/// A dial and handshake under way.
pub type Establishing = Pin<Box<dyn Future<Output = Result<Established, ConnectError>> + Send>>;

/// The socket of a link, or the attempt to get one.
pub enum Socket {
    /// Requests queue up meanwhile.
    Dialing(Establishing),
    /// Requests flow.
    Up(BoxStream),
}

/// One connection to Redis.
pub struct Link {
    /// Which of the links that had this place.
    pub serial: u32,
    /// The lane that it serves.
    pub lane: Lane,
    /// Protocol that it speaks, once what is queued has been handled.
    pub protocol: Protocol,
    /// Database selected on it, once what is queued has been handled.
    pub database: u32,
    /// Its socket.
    pub socket: Socket,
    /// Rung when the socket is ready.
    pub bell: Arc<Bell>,
    /// The bell as the runtime wants it.
    pub waker: Waker,
    /// Requests to be written, and those not answered yet.
    pub output: Unanswered,
    /// Bytes of the requests that were answered.
    pub answered: u64,
    /// Where the newest entry's requests begin.
    newest_start: u64,
    /// Replies ever awaited: the place of the newest.
    pub asked: u64,
    /// Replies that have come.
    pub replied: u64,
    /// Requests that may change keys, by the place of their reply.
    pub pending: VecDeque<(u64, Pending)>,
    /// What is known of the server's tracking on it.
    pub tracking: Tracking,
    /// Its probes.
    pub probing: Probing,
    /// What is known of hash fields that expire by themselves.
    pub fields: Fields,
    /// Which commands the server has accepted on it, by [`Proof`].
    pub proven: u32,
    /// What has come of a reply that is wanted whole.
    pub collected: Vec<u8>,
    /// That was too much to be collected.
    pub overflown: bool,
    /// Who else gets the reply that is being passed on.
    pub joined: Vec<ClientId>,
    /// It can't be written any more.
    pub broken: bool,
    /// Its owner has sent all that it will: the server is to see that, too.
    pub finished: bool,
    /// Whether it stands on the list of those to be flushed at the end of the turn.
    pub dirty: bool,
    /// The unfinished line at the end of what was read.
    pub input: Vec<u8>,
    /// Where in a frame the reading stands.
    pub scanner: Scanner,
    /// What the replies to come are, in order.
    pub awaited: VecDeque<Awaited>,
    /// Whether the frame that the scanner is in is a push.
    pub in_push: bool,
    /// Whether the reply in hand, of an entry that settles something, is no error.
    pub settle_ok: bool,
    /// Whether that reply refuses a user: then nothing has changed.
    pub user_refused: bool,
    /// Who owns it (pinned).
    pub owner: Option<ClientId>,
    /// What its owner told of itself and was repeated here.
    pub introduced: bool,
    /// Something that may have left a trace was sent on it (another user's AUTH, an unknown command): not for others.
    pub spent: bool,
    /// Whether it was so before the request that settles something now.
    pub was_spent: bool,
}

impl Link {
    /// Makes a link that is being dialled.
    pub fn new(
        serial: u32,
        lane: Lane,
        protocol: Protocol,
        database: u32,
        establishing: Establishing,
        bell: Arc<Bell>,
    ) -> Self {
        Self {
            serial,
            lane,
            protocol,
            database,
            socket: Socket::Dialing(establishing),
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            output: Unanswered::new(match lane {
                Lane::Tracked | Lane::General => KEPT_SHARED_MAX,
                Lane::Pinned => KEPT_PINNED_MAX,
            }),
            answered: 0,
            newest_start: 0,
            asked: 0,
            replied: 0,
            pending: VecDeque::new(),
            tracking: Tracking {
                serial,
                ..Tracking::default()
            },
            probing: Probing {
                settled: false,
                used: false,
                unanswered: 0,
                due: Instant::now(),
                clock: None,
            },
            fields: Fields::default(),
            proven: 0,
            collected: Vec::new(),
            overflown: false,
            joined: Vec::new(),
            broken: false,
            finished: false,
            dirty: false,
            input: Vec::new(),
            scanner: Scanner::default(),
            awaited: VecDeque::new(),
            in_push: false,
            settle_ok: false,
            user_refused: false,
            owner: None,
            introduced: false,
            spent: false,
            was_spent: false,
        }
    }

    /// Queues a request for a client; consecutive ones of one kind share an entry.
    #[inline]
    pub fn send(
        &mut self,
        request: &[u8],
        client: ClientId,
        write: bool,
        as_resp2: bool,
        pool: &mut Pool,
    ) {
        self.push_bytes(request, pool);
        let queued = self.output.queued();
        if queued - self.newest_start < MERGED_BYTES_MAX
            && let Some(Awaited {
            client: last,
            what:
                What::Replies {
                    count,
                    write: last_write,
                    as_resp2: last_resp2,
                },
            end,
        }) = self.awaited.back_mut()
            && *last == client
            && *last_write == write
            && *last_resp2 == as_resp2
        {
            *count += 1;
            *end = queued;
            self.asked += 1;
            return;
        }
        self.expect(
            client,
            What::Replies {
                count: 1,
                write,
                as_resp2,
            },
        );
    }

    /// Queues bytes without an entry.
    #[inline]
    pub fn push_bytes(&mut self, bytes: &[u8], pool: &mut Pool) {
        self.output.writer(pool).extend_from_slice(bytes);
    }

    /// Adds an entry for the bytes queued last.
    pub fn expect(&mut self, client: ClientId, what: What) {
        self.asked += u64::from(what.replies());
        self.newest_start = match self.awaited.back() {
            Some(newest) => newest.end,
            None => self.answered,
        };
        self.awaited.push_back(Awaited {
            client,
            what,
            end: self.output.queued(),
        });
    }

    /// Takes the front entry: it is answered.
    #[inline]
    pub fn pop_awaited(&mut self) -> Option<Awaited> {
        let front = self.awaited.pop_front()?;
        self.answered = front.end;
        self.output.answered(front.end);
        Some(front)
    }

    /// Tells whether requests flow.
    pub fn is_up(&self) -> bool {
        matches!(self.socket, Socket::Up(_))
    }
}
