//! Flights, fence and entries together: what becomes of a read, and what a write, a push or a loss does to it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;

use bytes::Bytes;
use slab::Slab;

use super::entry::{Kept, Millis, Store};
use super::fence::{Fence, Ticket};
use crate::id::ClientId;

/// The rules that the exploration takes away one by one; the data path has them all.
pub trait Rules {
    /// Nobody joins a spoiled flight.
    const JOIN_UNSPOILED_ONLY: bool = true;
    /// A write's reply spoils, as its dispatch does.
    const SPOIL_AT_REPLY: bool = true;
    /// While a write is under way, nothing that is sent is kept.
    const PENDING: bool = true;
    /// What is kept is served only while the link that brought it is the tracked one.
    const LINK: bool = true;
}

/// All rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sound;

impl Rules for Sound {}

/// A read under way whose reply may be kept, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightId(u32);

/// What a read asks, and on which link it would be sent now.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Key name.
    pub key: &'a [u8],
    /// Database.
    pub database: u32,
    /// The request without its key.
    pub shape: &'a [u8],
    /// The tracked link.
    pub link: Tracking,
    /// The time.
    pub now: Millis,
    /// The newest place in the link's queue at which the reader awaits something; none when it awaits nothing.
    pub after: Option<u64>,
}

/// What is known of the tracked link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tracking {
    /// Its serial.
    pub serial: u32,
    /// The server has agreed to announce changes of what is read on it from now on.
    pub agreed: bool,
    /// Changes made before this time, less the staleness allowed, have been announced: it may be trusted until then.
    pub lease_until: Millis,
}

impl Tracking {
    fn may_be_trusted(&self, now: Millis) -> bool {
        self.agreed && now < self.lease_until
    }
}

/// What becomes of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// It is answered with this.
    Hit(Bytes),
    /// Exactly this is being asked on the same link: that reply is the reader's, too.
    Join(FlightId),
    /// It is sent, and PTTL after it.
    Lead(FlightId),
    /// It is sent, and its reply is not kept.
    Pass,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    key: Bytes,
    database: u32,
    shape: Bytes,
}

/// A read under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flight {
    asked: Asked,
    link: u32,
    ticket: Ticket,
    sent_at: Millis,
    /// Where in the link's queue it is awaited.
    place: u64,
    joined: Vec<ClientId>,
    /// The reply, and what it says of the key's existence, if anything.
    reply: Option<(Bytes, Option<bool>)>,
}

/// The cache without clock, sockets and memory management.
#[derive(Debug)]
pub struct Core<S, H = RandomState, R = Sound> {
    store: S,
    fence: Fence<H>,
    flights: Slab<Flight>,
    /// The flight that may be joined, by what is asked.
    joinable: HashMap<Asked, FlightId>,
    /// How long a reply is served at most, in milliseconds.
    ttl: Millis,
    rules: PhantomData<R>,
}

impl<S: Store, H: BuildHasher, R: Rules> Core<S, H, R> {
    /// Makes an empty cache that serves a reply for at most `ttl` milliseconds.
    pub fn new(store: S, fence: Fence<H>, ttl: Millis) -> Self {
        Self {
            store,
            fence,
            flights: Slab::new(),
            joinable: HashMap::new(),
            ttl,
            rules: PhantomData,
        }
    }

    /// Decides what becomes of a read that would be sent as number `place` of its link's queue.
    ///
    /// The reader has nothing unanswered on another link: what it asked there might be answered after this.
    pub fn read(&mut self, question: Question<'_>, place: u64) -> Read {
        if !question.link.may_be_trusted(question.now) {
            return Read::Pass;
        }
        // What the reader still waits for may turn out newer than what is kept: it would go back in time.
        if question.after.is_none()
            && let Some(reply) = self.look_up(&question)
        {
            return Read::Hit(reply);
        }
        let Some(ticket) = self.ticket(question.key) else {
            return Read::Pass;
        };
        let asked = Asked {
            key: Bytes::copy_from_slice(question.key),
            database: question.database,
            shape: Bytes::copy_from_slice(question.shape),
        };
        if let Some(&id) = self.joinable.get(&asked)
            && let Some(flight) = self.flights.get(id.0 as usize)
        {
            let spoiled = R::JOIN_UNSPOILED_ONLY && !self.fence.holds(flight.ticket);
            if !spoiled && flight.link == question.link.serial {
                // A flight's reply that comes before one that the reader still waits for would overtake it.
                return match question.after.is_none_or(|after| after < flight.place) {
                    true => Read::Join(id),
                    false => Read::Pass,
                };
            }
        }
        let id = FlightId(self.flights.insert(Flight {
            asked: asked.clone(),
            link: question.link.serial,
            ticket,
            sent_at: question.now,
            place,
            joined: Vec::new(),
            reply: None,
        }) as u32);
        self.joinable.insert(asked, id);
        Read::Lead(id)
    }

    fn look_up(&mut self, question: &Question<'_>) -> Option<Bytes> {
        let kept = self
            .store
            .find(question.key, question.database, question.shape)?;
        let now = question.now;
        let served = (!R::LINK || kept.link == question.link.serial)
            && now < kept.sent_at + self.ttl
            && kept.deadline.is_none_or(|deadline| now < deadline);
        served.then_some(kept.reply)
    }

    fn ticket(&self, key: &[u8]) -> Option<Ticket> {
        match R::PENDING {
            true => self.fence.ticket(key),
            false => Some(self.fence.ticket_regardless(key)),
        }
    }

    /// Adds a reader to a flight that [`Core::read`] said it may join.
    pub fn join(&mut self, id: FlightId, reader: ClientId) {
        if let Some(flight) = self.flights.get_mut(id.0 as usize) {
            flight.joined.push(reader);
        }
    }

    /// The reply to a flight's read has come: returns the readers that joined. Nobody joins any more.
    ///
    /// `exists` is what the reply says of the key, if anything: a null says no, a value says yes, a missing field neither.
    /// `reply` is none where it is not to be kept (an error, or too large).
    pub fn replied(
        &mut self,
        id: FlightId,
        reply: Option<Bytes>,
        exists: Option<bool>,
    ) -> Vec<ClientId> {
        let Some(flight) = self.flights.get_mut(id.0 as usize) else {
            return Vec::new();
        };
        flight.reply = reply.map(|reply| (reply, exists));
        let joined = std::mem::take(&mut flight.joined);
        self.close(id);
        joined
    }

    /// PTTL's reply has come: the flight ends, and what it brought is kept if nothing may have changed since it was sent.
    ///
    /// `ttl` is as PTTL says it: -2 no such key, -1 no expiry; none for an error. Tells whether it was kept.
    pub fn landed(&mut self, id: FlightId, ttl: Option<i64>, link: Tracking, now: Millis) -> bool {
        let Some(flight) = self.flights.try_remove(id.0 as usize) else {
            return false;
        };
        let holds = self.fence.holds(flight.ticket)
            && flight.link == link.serial
            && link.may_be_trusted(now);
        let Some(kept) = flight.keep(ttl).filter(|_| holds) else {
            return false;
        };
        self.store.keep(&flight.asked.key, kept);
        true
    }

    /// Nobody joins a flight any more.
    fn close(&mut self, id: FlightId) {
        if let Some(flight) = self.flights.get(id.0 as usize)
            && self.joinable.get(&flight.asked) == Some(&id)
        {
            self.joinable.remove(&flight.asked);
        }
    }

    /// The flight's link was lost, or the flight was never sent: returns the readers that joined.
    pub fn abandoned(&mut self, id: FlightId) -> Vec<ClientId> {
        self.close(id);
        self.flights
            .try_remove(id.0 as usize)
            .map(|flight| flight.joined)
            .unwrap_or_default()
    }

    /// A write to the key is about to be sent.
    pub fn write_sent(&mut self, key: &[u8]) {
        self.fence.begin_write(key);
        self.changed(key);
    }

    /// A write to the key was answered, or its link was lost; called before anybody hears of it.
    pub fn write_ended(&mut self, key: &[u8]) {
        self.fence.end_write(key);
        if R::SPOIL_AT_REPLY {
            self.changed(key);
        }
    }

    /// A write that may change any key is about to be sent.
    pub fn write_anywhere_sent(&mut self) {
        self.fence.begin_write_anywhere();
        self.all_changed();
    }

    /// Such a write was answered, or its link was lost; called before anybody hears of it.
    pub fn write_anywhere_ended(&mut self) {
        self.fence.end_write_anywhere();
        self.all_changed();
    }

    /// The key may have changed: the server said so, or something newer was read of it on another link.
    pub fn changed(&mut self, key: &[u8]) {
        self.fence.spoil(key);
        self.store.remove(key);
    }

    /// Every key may have changed.
    pub fn all_changed(&mut self) {
        self.fence.spoil_all();
        self.store.clear();
    }

    /// Reads under way.
    pub fn flights(&self) -> usize {
        self.flights.len()
    }
}

impl Flight {
    /// What would be kept of it: nothing where value and PTTL do not agree about the key's existence.
    fn keep(&self, ttl: Option<i64>) -> Option<Kept> {
        let (reply, exists) = self.reply.clone()?;
        let ttl = ttl?;
        if exists.is_some_and(|exists| exists != (ttl != -2)) {
            return None;
        }
        Some(Kept {
            database: self.asked.database,
            shape: self.asked.shape.clone(),
            reply,
            // From the sending, not from the reply: never later than the server's own.
            deadline: u64::try_from(ttl).ok().map(|ttl| self.sent_at + ttl),
            sent_at: self.sent_at,
            link: self.link,
        })
    }
}

#[cfg(test)]
mod explore;
