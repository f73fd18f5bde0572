//! Flights, fence and entries together: what becomes of a read, and what a write, a push or a loss does to it.

mod foreseen;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::marker::PhantomData;

use bytes::Bytes;
use foldhash::quality::RandomState;
use slab::Slab;

use super::entry::{Kept, Millis, Store, View};
use super::fence::{Fence, SlotId, Ticket};
use crate::id::ClientId;

pub use foreseen::Foreseen;

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
    /// Where changes are not announced, a reply drops what was kept before.
    const DROP_OLDER: bool = true;
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

/// What is known of a tracked link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tracking {
    /// Its serial.
    pub serial: u32,
    /// How long what is sent on it from now on may be served; none while the server has not said whether it announces
    /// changes, or where nothing is to be kept.
    pub ttl: Option<Millis>,
    /// Whether the server announces changes of what is read on it.
    pub announces: bool,
    /// How long a read under way may be joined: its reply may tell how things stood when it was sent.
    pub joined_for: Millis,
    /// Changes made before this time, less the staleness allowed, have been announced: what came by it is served until
    /// then.
    pub lease_until: Millis,
}

impl Tracking {
    /// Tells whether what came by the link may be served, or kept, now.
    pub fn holds_lease(&self, now: Millis) -> bool {
        self.ttl.is_some() && now < self.lease_until
    }
}

/// What becomes of a read that nothing is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
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
    rules: PhantomData<R>,
}

impl<S: Store, H: BuildHasher, R: Rules> Core<S, H, R> {
    /// Makes an empty cache.
    pub fn new(store: S, fence: Fence<H>) -> Self {
        Self {
            store,
            fence,
            flights: Slab::new(),
            joinable: HashMap::new(),
            rules: PhantomData,
        }
    }

    /// Shows the reply that is kept for a read, if it may be served now.
    ///
    /// The reader has nothing unanswered on another link: what it asked there might be answered after this. Nor is it
    /// served while it waits on this one: what it waits for may turn out newer than what is kept, so it would go back in
    /// time.
    pub fn look_up<T>(
        &mut self,
        question: &Question<'_>,
        show: impl FnOnce(View<'_>) -> T,
    ) -> Option<T> {
        let (database, shape) = (question.database, question.shape);
        self.look_up_by(question, |kept| kept.is_of(database, shape), show)
    }

    /// Shows a reply that tells when the key expires, whatever else it tells, if it may be served now.
    pub fn look_up_live<T>(
        &mut self,
        question: &Question<'_>,
        show: impl FnOnce(View<'_>) -> T,
    ) -> Option<T> {
        let database = question.database;
        let wanted = |kept: &View<'_>| kept.database == database && kept.deadline.is_some();
        self.look_up_by(question, wanted, show)
    }

    /// Shows the newest reply of the key that is `wanted` (in the right database) and may be served now.
    #[inline]
    pub fn look_up_by<T>(
        &mut self,
        question: &Question<'_>,
        wanted: impl Fn(&View<'_>) -> bool,
        show: impl FnOnce(View<'_>) -> T,
    ) -> Option<T> {
        let (link, now) = (question.link, question.now);
        let ttl = link.ttl.filter(|_| link.holds_lease(now))?;
        if question.after.is_some() {
            return None;
        }
        let may_be_served = |kept: &View<'_>| {
            (!R::LINK || kept.link == link.serial)
                && now < kept.sent_at + ttl
                && kept.deadline.is_none_or(|deadline| now < deadline)
        };
        self.store.find(
            question.key,
            |kept| wanted(kept) && may_be_served(kept),
            show,
        )
    }

    /// Decides what becomes of a read that would be sent as number `place` of its link's queue.
    ///
    /// The reader has nothing unanswered on another link.
    pub fn ask(&mut self, question: &Question<'_>, place: u64) -> Ask {
        if question.link.ttl.is_none() {
            return Ask::Pass;
        }
        let Some(ticket) = self.ticket(question.key) else {
            return Ask::Pass;
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
            let young = question.now < flight.sent_at + question.link.joined_for;
            if !spoiled && young && flight.link == question.link.serial {
                // A flight's reply that comes before one that the reader still waits for would overtake it.
                return match question.after.is_none_or(|after| after < flight.place) {
                    true => Ask::Join(id),
                    false => Ask::Pass,
                };
            }
        }
        let id = self.take_off(asked.clone(), ticket, question, place);
        self.joinable.insert(asked, id);
        Ask::Lead(id)
    }

    /// Registers a read that nobody joins, if what it brings may be kept.
    pub fn ask_alone(&mut self, question: &Question<'_>, place: u64) -> Option<FlightId> {
        question.link.ttl?;
        let ticket = self.ticket(question.key)?;
        let asked = Asked {
            key: Bytes::copy_from_slice(question.key),
            database: question.database,
            shape: Bytes::copy_from_slice(question.shape),
        };
        Some(self.take_off(asked, ticket, question, place))
    }

    fn take_off(
        &mut self,
        asked: Asked,
        ticket: Ticket,
        question: &Question<'_>,
        place: u64,
    ) -> FlightId {
        let flight = Flight {
            asked,
            link: question.link.serial,
            ticket,
            sent_at: question.now,
            place,
            joined: Vec::new(),
            reply: None,
        };
        FlightId(self.flights.insert(flight) as u32)
    }

    fn ticket(&self, key: &[u8]) -> Option<Ticket> {
        match R::PENDING {
            true => self.fence.ticket(key),
            false => Some(self.fence.ticket_regardless(key)),
        }
    }

    /// Adds a reader to a flight that [`Core::ask`] said it may join.
    pub fn join(&mut self, id: FlightId, reader: ClientId) {
        if let Some(flight) = self.flights.get_mut(id.0 as usize) {
            flight.joined.push(reader);
        }
    }

    /// The first bytes of the reply have come: returns the readers that joined. Nobody joins any more.
    ///
    /// Where changes are not announced, what was kept may be older than this reply: it is dropped.
    pub fn arrives(&mut self, id: FlightId, link: Tracking) -> Vec<ClientId> {
        self.close(id);
        let Some(flight) = self.flights.get_mut(id.0 as usize) else {
            return Vec::new();
        };
        if R::DROP_OLDER && !link.announces {
            self.store.remove(&flight.asked.key);
        }
        std::mem::take(&mut flight.joined)
    }

    /// The reply has come whole; not called for one that is not to be kept (an error, or too large).
    ///
    /// `exists` is what it says of the key, if anything: a null says no, a value says yes, a missing field neither.
    pub fn replied(&mut self, id: FlightId, reply: Bytes, exists: Option<bool>) {
        if let Some(flight) = self.flights.get_mut(id.0 as usize) {
            flight.reply = Some((reply, exists));
        }
    }

    /// Tells whether nothing may have changed since the flight's read was sent.
    pub fn holds(&self, id: FlightId) -> bool {
        let flight = self.flights.get(id.0 as usize);
        flight.is_some_and(|flight| self.fence.holds(flight.ticket))
    }

    /// Returns the request of a flight without its key.
    pub fn shape_of(&self, id: FlightId) -> Option<&[u8]> {
        let flight = self.flights.get(id.0 as usize)?;
        Some(&flight.asked.shape)
    }

    /// Tells whether the flight reads this key.
    pub fn reads(&self, id: FlightId, key: &[u8]) -> bool {
        let flight = self.flights.get(id.0 as usize);
        flight.is_some_and(|flight| flight.asked.key == key)
    }

    /// PTTL's reply has come: the flight ends, and what it brought is kept if nothing may have changed since it was sent.
    ///
    /// `ttl` is as PTTL says it: -2 no such key, -1 no expiry; none for an error. Tells whether it was kept.
    pub fn landed(&mut self, id: FlightId, ttl: Option<i64>, link: Tracking, now: Millis) -> bool {
        let Some(flight) = self.flights.try_remove(id.0 as usize) else {
            return false;
        };
        let holds =
            self.fence.holds(flight.ticket) && flight.link == link.serial && link.holds_lease(now);
        let kept = flight.keep(ttl, now).filter(|_| holds);
        let Some(kept) = kept else {
            // What was kept before may be older than what a reader has now seen.
            self.store.remove(&flight.asked.key);
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

    /// Returns the slot of a key: writes are counted by slot.
    pub fn slot(&self, key: &[u8]) -> SlotId {
        self.fence.slot(key)
    }

    /// Tells whether no write to the key is under way.
    pub fn is_at_rest(&self, key: &[u8]) -> bool {
        self.fence.ticket(key).is_some()
    }

    /// A write to the key is about to be sent; what is returned ends it.
    pub fn write_sent(&mut self, key: &[u8]) -> SlotId {
        let slot = self.fence.slot(key);
        self.fence.begin_write(slot);
        self.fence.spoil(slot);
        self.store.remove(key);
        slot
    }

    /// Such a write was answered, or its link was lost; called before anybody hears of it.
    ///
    /// Since it was sent nothing was kept of its key, so there is nothing to be removed.
    pub fn write_ended(&mut self, slot: SlotId) {
        self.fence.end_write(slot);
        if R::SPOIL_AT_REPLY {
            self.fence.spoil(slot);
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
        let slot = self.fence.slot(key);
        self.fence.spoil(slot);
        self.store.remove(key);
    }

    /// Every key may have changed.
    pub fn all_changed(&mut self) {
        self.fence.spoil_all();
        self.store.clear();
    }

    /// Where replies are kept, for what is done with all of them.
    pub fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Reads under way.
    pub fn flights(&self) -> usize {
        self.flights.len()
    }
}

impl Flight {
    /// What would be kept of it: nothing where value and PTTL do not agree about the key's existence.
    fn keep(&self, ttl: Option<i64>, now: Millis) -> Option<Kept> {
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
            answered_at: now,
            link: self.link,
        })
    }
}

#[cfg(test)]
mod explore;
