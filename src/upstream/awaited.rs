//! What the next bytes of a link are, and for whom.

use bytes::Bytes;

use crate::cache::core::FlightId;
use crate::cache::entry::Millis;
use crate::command::ttl::Found;
use crate::failover::touches::Touch;
use crate::id::ClientId;
use crate::journal::Micros;
use crate::repair::marking::{Mark, When};

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
    /// WATCH.
    Watch {
        /// Which MULTI or WATCH of the client it is.
        held: u32,
    },
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
        /// How many marks of ours stand in front of it, and at the end of its reply.
        marks: u32,
    },
    /// DISCARD of ours in the place of an EXEC: what the client watched was lost, so it gets a null.
    Voided {
        /// Which MULTI or WATCH of the client was the last before it.
        held: u32,
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

/// A key that a replica was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAsked {
    /// Its database.
    pub database: u32,
    /// The key.
    pub key: Bytes,
    /// In which time, as the data path counts them.
    pub time: u32,
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
    /// The reply to a read of a server that may lack what was written: for the client, unless it says that there is nothing.
    InDoubt {
        /// Which kind of read.
        read: u8,
        /// Whether the client speaks RESP2 and the link RESP3.
        as_resp2: bool,
    },
    /// The reply to a claim (SET NX) that may have run before, on a link that was lost.
    Claim {
        /// Whether the client speaks RESP2 and the link RESP3.
        as_resp2: bool,
    },
    /// The replies to a request that was sent in a transaction of ours.
    Wrapped(Box<Wrapped>),
    /// The replies to a whole transaction before that to its EXEC: they are passed with it, so that they can still be
    /// taken back.
    Head {
        /// Replies to come.
        count: u32,
    },
    /// The reply to a transaction's EXEC, which tells more. Its requests are the whole transaction.
    Exec {
        /// Which commands it proves to be allowed.
        proof: Proof,
        /// What is counted by which of its elements.
        found: Box<[(usize, Found)]>,
        /// Whether the client speaks RESP2.
        as_resp2: bool,
    },
    /// The reply to a touch that was answered before, while requests were held.
    Touched(Box<Touch>),
    /// The reply of a replica to our question whether a key is there.
    Whether(Box<KeyAsked>),
    /// The reply to a write that was acknowledged before, while requests were held, and is of this key of a database.
    PutBack(Box<(u32, Bytes)>),
    /// The reply to our PTTL of a key that should have an expiry.
    Lifetime,
    /// The replies to reads of ours that tell what writes before them left.
    Looks {
        /// Replies to come.
        count: u32,
        /// Whether they are DUMPs, and not HLEN and PTTL.
        is_payload: bool,
    },
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
    /// The reply to a question of the repair.
    Repair(RepairAsk),
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
    pub(super) fn replies(&self) -> u32 {
        match self {
            Self::Replies { count, .. } | Self::Head { count } | Self::Looks { count, .. } => {
                *count
            }
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

/// A request that was sent in a transaction of ours, or that is more to us than its reply.
#[derive(Debug)]
pub struct Wrapped {
    /// The request as it came; of a transaction all of them, from MULTI to EXEC.
    pub request: Box<[u8]>,
    /// How it was sent.
    pub form: Form,
    /// How many replies come.
    pub replies: u32,
    /// How many are still to come.
    pub left: u32,
    /// Those that came.
    pub came: Vec<u8>,
    /// Whether the client speaks RESP2 and the link RESP3.
    pub as_resp2: bool,
    /// What is counted of the replies to which of its requests.
    pub found: Box<[(usize, Found)]>,
    /// What it marks, while a round of repair is open.
    pub marked: Option<Box<Marked>>,
}

/// How a wrapped request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By itself.
    Alone,
    /// Between a MULTI and an EXEC of ours.
    Within,
    /// It is a transaction, with so many requests between MULTI and EXEC.
    Block(u32),
}

impl Wrapped {
    /// Returns how many replies its client gets.
    pub fn answers(&self) -> u32 {
        match self.form {
            Form::Alone | Form::Within => 1,
            Form::Block(queued) => queued + 2,
        }
    }

    /// Returns how many requests of ours stand in front of its own.
    pub fn front(&self) -> usize {
        let marked = self
            .marked
            .as_ref()
            .filter(|marked| marked.when == When::Together);
        match self.form {
            Form::Alone => 0,
            Form::Within | Form::Block(_) => marked.map_or(0, |marked| marked.marks.len()),
        }
    }
}

/// A write and its marks.
#[derive(Debug)]
pub struct Marked {
    /// Its marks.
    pub marks: Vec<Mark>,
    /// When they are made.
    pub when: When,
    /// When it was sent.
    pub sent_at: Micros,
}

/// What is asked of a primary that is joined or repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairAsk {
    /// The time.
    Time {
        /// When it was asked, by the boot clock.
        sent_at: Micros,
    },
    /// Whose history it has.
    Lineage,
    /// Something whose answer says nothing.
    Loaded,
    /// How round and peers are.
    Round,
    /// The repair of a key of a database.
    Key(Box<(u32, Bytes)>),
    /// Whether a key of a database is there.
    Exists(Box<(u32, Bytes)>),
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
