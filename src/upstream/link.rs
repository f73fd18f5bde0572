//! One connection to Redis: what is to be written, what is awaited, in order, and for whom.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

pub use super::awaited::{
    Awaited, Check, Form, KeyAsked, Marked, Proof, RepairAsk, Settle, What, Wrapped,
};
use super::connect::{ConnectError, Established};
use super::unanswered::Unanswered;
use crate::cache::core::{Foreseen, Tracking};
use crate::cache::entry::Millis;
use crate::cache::fence::SlotId;
use crate::command::leaves::Look;
use crate::id::ClientId;
use crate::journal::Micros;
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
    /// Reads of a replica, while there is no primary.
    Replica,
    /// What is put back on a primary.
    Repair,
}

impl Lane {
    /// Returns the lane as metrics name it.
    pub fn metric(self) -> crate::metrics::Lane {
        match self {
            Self::Tracked => crate::metrics::Lane::Tracked,
            Self::General | Self::Replica | Self::Repair => crate::metrics::Lane::General,
            Self::Pinned => crate::metrics::Lane::Pinned,
        }
    }
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

/// What is known ahead of a reply.
#[derive(Debug)]
pub enum Ahead {
    /// The key will hold this.
    Holds(Foreseen),
    /// The key held this when a request that deletes it was sent.
    Lived(Foreseen),
}

impl Ahead {
    /// Returns what it is about.
    pub fn foreseen(&self) -> &Foreseen {
        match self {
            Self::Holds(foreseen) | Self::Lived(foreseen) => foreseen,
        }
    }
}

/// Requests on their way that may change data, for the journal: of one client, sent one behind the other.
#[derive(Debug)]
pub struct Write {
    /// The place of the first reply.
    pub place: u64,
    /// How many there are.
    pub count: u32,
    /// When they were sent.
    pub sent_at: Micros,
    /// Their bytes.
    pub written: Written,
    /// Whether their replies wait until replicas have them.
    pub replicated: bool,
    /// They are reads of ours that tell what writes before them left.
    pub is_look: bool,
    /// No field of a hash in the database has a deadline of its own.
    pub fields_last: bool,
}

/// A key that is to be asked about behind what was written to it.
#[derive(Debug)]
pub struct LookedAt {
    /// The key.
    pub key: Box<[u8]>,
    /// What is to be asked.
    pub look: Look,
}

/// Where the bytes of such requests are.
#[derive(Debug)]
pub enum Written {
    /// In the link's output.
    There {
        /// The place of the first.
        start: u64,
        /// The place behind the last.
        end: u64,
    },
    /// Here; empty where they are nowhere any more.
    Here(Box<[u8]>),
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
    /// What keys hold by our own words, each until the reply with this place has come.
    pub foreseen: VecDeque<(u64, Ahead)>,
    /// Requests that may change data, for the journal, in the order of their replies.
    pub writes: VecDeque<Write>,
    /// Keys that are to be asked about before it is flushed.
    pub looked: Vec<LookedAt>,
    /// Looks up to this place show a node that is no primary any more.
    pub void_to: u64,
    /// What is known of the server's tracking on it.
    pub tracking: Tracking,
    /// Its probes.
    pub probing: Probing,
    /// What is known of hash fields that expire by themselves.
    pub fields: Fields,
    /// Which commands the server has accepted on it, by [`Proof`].
    pub proven: u32,
    /// Replies that are passed with the one that follows.
    pub head: Vec<u8>,
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
    /// Clients whose replies on it are taken back, since it has refused something.
    pub refused: u32,
    /// It has refused what belongs to its owner's transaction.
    pub demoted: bool,
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
                Lane::Tracked | Lane::General | Lane::Replica => KEPT_SHARED_MAX,
                // Nothing of it is sent again as it was.
                Lane::Repair => 0,
                Lane::Pinned => KEPT_PINNED_MAX,
            }),
            answered: 0,
            newest_start: 0,
            asked: 0,
            replied: 0,
            pending: VecDeque::new(),
            foreseen: VecDeque::new(),
            writes: VecDeque::new(),
            looked: Vec::new(),
            void_to: 0,
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
            head: Vec::new(),
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
            refused: 0,
            demoted: false,
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

    /// A request that may change data was queued just now, in so many bytes: it is added to the write before it if that is the
    /// same client's and stands right in front of it.
    #[inline]
    pub fn note_write(&mut self, length: usize, sent_at: Micros, replicated: bool) {
        let end = self.output.queued();
        let start = end - length as u64;
        let newest = self.newest_start;
        if let Some(Write {
            place,
            count,
            sent_at: before,
            written:
                Written::There {
                    start: first,
                    end: last,
                },
            replicated: alike,
            is_look: false,
            fields_last: false,
        }) = self.writes.back_mut()
            && *alike == replicated
            && *last == start
            && *first >= newest
            && *before == sent_at
            && *place + u64::from(*count) == self.asked
        {
            *count += 1;
            *last = end;
            return;
        }
        self.writes.push_back(Write {
            place: self.asked,
            count: 1,
            sent_at,
            written: Written::There { start, end },
            replicated,
            is_look: false,
            fields_last: false,
        });
    }

    /// Looks at the replies that come next: how many of so many are alike, and whether they wait until replicas have what they
    /// acknowledge.
    pub fn alike(&self, count: u32) -> (u32, bool) {
        let next = self.replied + 1;
        match self.writes.front() {
            Some(write) if write.replicated && write.place == next => {
                (write.count.min(count), true)
            }
            Some(write) if write.place > next => {
                let before = u32::try_from(write.place - next).unwrap_or(u32::MAX);
                (before.min(count), false)
            }
            Some(write) => (write.count.min(count), false),
            None => (count, false),
        }
    }

    /// Returns the requests of the newest entry, if they are all still here.
    pub fn newest_requests(&self) -> Option<&[u8]> {
        self.output.between(self.newest_start, self.output.queued())
    }

    /// The newest request's bytes, which were queued one by one, end here.
    pub fn end_upload(&mut self, queued: u64) {
        if let Some(Write {
            place,
            count,
            written: Written::There { end, .. },
            ..
        }) = self.writes.back_mut()
            && *place == self.asked
            && *count == 1
        {
            *end = queued;
        }
    }

    /// Makes the next reply nobody's; the requests up to `end` are done with when it has come.
    pub fn swallow_first(&mut self, end: u64) {
        self.awaited.push_front(Awaited {
            client: ClientId::NOBODY,
            what: What::Swallow,
            end,
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

    /// Has nothing of what was written to it go out any more once it is dropped.
    pub fn abort(&mut self) {
        if let Socket::Up(stream) = &mut self.socket {
            stream.abort();
        }
    }

    /// Tells whether requests flow.
    pub fn is_up(&self) -> bool {
        matches!(self.socket, Socket::Up(_))
    }
}
