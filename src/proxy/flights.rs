//! Replies that are for the cache as well: passed on as they come, collected, kept.

use bytes::Bytes;

use crate::cache::core::{Ask, FlightId, Question};
use crate::cache::push::{self, Push};
use crate::cache::shape;
use crate::command::table::CachedRead;
use crate::failover::replay::refusal;
use crate::id::{ClientId, LinkId};
use crate::metrics::{ClearCause, Verified};
use crate::resp::value;
use crate::upstream::link::{Awaited, Check, Link, What};

use super::Proxy;
use super::replies::{HELD_BACK_MAX, ReplyError, Step};

/// Bytes of one of our own replies, or of one push, that are collected; what says more says too much.
pub(super) const COLLECTED_MAX: usize = 1024 * 1024;

/// What came of an attempt to have a frame whole.
pub(super) enum Whole {
    /// More bytes are needed.
    Starved,
    /// So many are done with; the frame goes on.
    Partly(usize),
    /// So many are done with; this is the frame, or nothing when it was too large.
    Yes(usize, Option<Bytes>),
}

impl Proxy {
    /// Passes over one frame and collects it.
    pub(super) fn collect(
        &mut self,
        index: u32,
        bytes: &[u8],
        max: usize,
    ) -> Result<Whole, ReplyError> {
        let link = &mut self.links[index as usize];
        let run = link.scanner.run(bytes, 1)?;
        if run.consumed == 0 {
            return Ok(Whole::Starved);
        }
        let seen = &bytes[..run.consumed];
        let whole = self.gather(index, seen, run.frames == 1, max);
        Ok(match run.frames {
            1 => Whole::Yes(run.consumed, whole),
            _ => Whole::Partly(run.consumed),
        })
    }

    /// Adds a part of a frame to what was collected; returns the frame with its last part, unless it was too large.
    fn gather(&mut self, index: u32, part: &[u8], last: bool, max: usize) -> Option<Bytes> {
        let link = &mut self.links[index as usize];
        link.overflown |= link.collected.len() + part.len() > max;
        if link.overflown {
            link.collected = Vec::new();
        } else if last && link.collected.is_empty() {
            return Some(Bytes::copy_from_slice(part));
        } else {
            link.collected.extend_from_slice(part);
        }
        if !last {
            return None;
        }
        let whole = std::mem::take(&mut link.collected);
        (!std::mem::take(&mut link.overflown)).then(|| whole.into())
    }

    /// The reply to a read: to its client, to all that joined, and into the flight.
    pub(super) fn pass_flight(
        &mut self,
        index: u32,
        flight: FlightId,
        as_resp2: bool,
        bytes: &[u8],
    ) -> Result<Step, ReplyError> {
        let link = &mut self.links[index as usize];
        let first = link.scanner.at_boundary();
        let mut resp2 = std::mem::take(&mut self.rewritten);
        resp2.clear();
        let before = link.scanner.clone();
        let run = link.scanner.run_whole(bytes, 1, HELD_BACK_MAX)?;
        if run.consumed == 0 {
            self.rewritten = resp2;
            return Ok(Step::Starved);
        }
        before
            .clone()
            .run_as_resp2(&bytes[..run.consumed], 1, &mut resp2)?;
        if first && let Some(cached) = &mut self.cached {
            link.joined = cached.core.arrives(flight, link.tracking);
            if link.refused > 0 {
                self.part_from_rewinding(index);
            }
        }
        let link = &mut self.links[index as usize];
        let seen = &bytes[..run.consumed];
        let leader = link.awaited.front().map(|front| front.client);
        let last = run.frames == 1;
        let joined = std::mem::take(&mut link.joined);
        let max = self
            .cached
            .as_ref()
            .map_or(0, |cached| cached.entry_bytes_max);
        if let Some(whole) = self.gather(index, seen, last, max) {
            self.keep_reply(index, flight, whole);
        } else if last {
            self.oversized += 1;
        }
        if last {
            self.links[index as usize].pop_awaited();
            self.note_replied(index, 1);
        }
        if let Some(leader) = leader {
            let out = if as_resp2 { &resp2[..] } else { seen };
            self.pass_part(leader, out, last);
        }
        for reader in &joined {
            let client = self.client(*reader).map(|client| client.protocol);
            match client {
                Some(crate::resp::Protocol::Resp2) => self.pass_part(*reader, &resp2, last),
                Some(crate::resp::Protocol::Resp3) => self.pass_part(*reader, seen, last),
                None => {}
            }
        }
        if !last {
            self.links[index as usize].joined = joined;
        }
        self.rewritten = resp2;
        Ok(Step::Consumed(run.consumed))
    }

    /// Readers whose requests are being taken back leave the flight whose reply comes next.
    #[cold]
    fn part_from_rewinding(&mut self, index: u32) {
        let (request, _) = self.front_request(index);
        let joined = std::mem::take(&mut self.links[index as usize].joined);
        let (leaving, staying): (Vec<ClientId>, Vec<ClientId>) = joined
            .into_iter()
            .partition(|id| self.client(*id).is_some_and(|client| client.rewinding));
        for reader in leaving {
            self.take_back_joined(index, reader, &request);
        }
        self.links[index as usize].joined = staying;
    }

    fn pass_part(&mut self, id: ClientId, part: &[u8], last: bool) {
        if self.client(id).is_none() {
            return;
        }
        self.write_to_client(id.index, |out| out.extend_from_slice(part));
        if last {
            self.answered(id, 1);
        }
    }

    fn keep_reply(&mut self, index: u32, flight: FlightId, reply: Bytes) {
        let Some(cached) = &mut self.cached else {
            return;
        };
        if value::is_error(&reply) {
            return;
        }
        let read = cached
            .core
            .shape_of(flight)
            .and_then(|shape| shape.first().copied());
        let Some(read) = read else {
            return;
        };
        self.links[index as usize].proven |= 1 << read;
        cached
            .core
            .replied(flight, reply.clone(), shape::exists(read, &reply));
    }

    /// The reply to an MGET.
    pub(super) fn pass_flights(
        &mut self,
        index: u32,
        as_resp2: bool,
        bytes: &[u8],
    ) -> Result<Step, ReplyError> {
        let link = &mut self.links[index as usize];
        let Some(id) = link.awaited.front().map(|front| front.client) else {
            return Err(ReplyError::Unexpected);
        };
        let first = link.scanner.at_boundary();
        let mut resp2 = std::mem::take(&mut self.rewritten);
        resp2.clear();
        let before = link.scanner.clone();
        let run = link.scanner.run_whole(bytes, 1, HELD_BACK_MAX)?;
        before
            .clone()
            .run_as_resp2(&bytes[..run.consumed], 1, &mut resp2)?;
        let (seen, last) = (&bytes[..run.consumed], run.frames == 1);
        if run.consumed > 0 {
            if first && let Some(cached) = &mut self.cached {
                for flight in flights_in_front(link).iter().flatten() {
                    cached.core.arrives(*flight, link.tracking);
                }
            }
            if let Some(whole) = self.gather(index, seen, last, COLLECTED_MAX) {
                self.keep_elements(index, &whole);
            }
            if last {
                self.links[index as usize].pop_awaited();
                self.note_replied(index, 1);
            }
            self.pass_part(id, if as_resp2 { &resp2 } else { seen }, last);
        }
        self.rewritten = resp2;
        Ok(match run.consumed {
            0 => Step::Starved,
            consumed => Step::Consumed(consumed),
        })
    }

    fn keep_elements(&mut self, index: u32, reply: &Bytes) {
        let link = &mut self.links[index as usize];
        let Some(elements) = value::elements(reply) else {
            return;
        };
        link.proven |= 1 << CachedRead::MGet as u32;
        let flights = flights_in_front(link);
        let Some(cached) = &mut self.cached else {
            return;
        };
        for (flight, element) in flights.iter().zip(elements) {
            let exists = Some(!value::is_null(element));
            if let Some(flight) = flight {
                cached
                    .core
                    .replied(*flight, Bytes::copy_from_slice(element), exists);
            }
        }
    }

    /// The reply to a GETEX with an expiry.
    pub(super) fn pass_refreshed(&mut self, index: u32, bytes: &[u8]) -> Result<Step, ReplyError> {
        let link = &mut self.links[index as usize];
        let first = link.scanner.at_boundary();
        let Some(Awaited {
            client,
            what: What::Refreshed { key, as_resp2 },
            ..
        }) = link.awaited.front_mut()
        else {
            return Err(ReplyError::Unexpected);
        };
        let (id, as_resp2) = (*client, *as_resp2);
        if first && bytes[0] != b'$' {
            *key = Box::default();
        }
        let key = key.clone();
        let before = link.replied;
        let step = self.pass_replies(index, id, 1, as_resp2, bytes)?;
        if self.links[index as usize].replied > before && !key.is_empty() {
            self.read_ahead(index, &key);
        }
        Ok(step)
    }

    /// Reads a value for the cache alone; tells whether it has begun to.
    pub(super) fn read_ahead(&mut self, index: u32, key: &[u8]) -> bool {
        let link = &self.links[index as usize];
        let question = Question {
            key,
            database: link.database,
            shape: &[CachedRead::Get as u8],
            link: link.tracking,
            now: self.boot,
            after: None,
        };
        let place = link.asked + 1;
        let id = LinkId {
            index,
            serial: link.serial,
        };
        if let Some(cached) = &mut self.cached
            && let Ask::Lead(flight) = cached.core.ask(&question, place)
        {
            let as_resp2 = false;
            self.send_ours(id, &[&b"GET"[..], key], What::Flight { flight, as_resp2 });
            self.land(id, key, flight);
            return true;
        }
        false
    }

    /// A reply to something of ours that only the cache wants.
    pub(super) fn take_ours(&mut self, index: u32, bytes: &[u8]) -> Result<Step, ReplyError> {
        let (count, reply) = match self.collect(index, bytes, COLLECTED_MAX)? {
            Whole::Starved => return Ok(Step::Starved),
            Whole::Partly(count) => return Ok(Step::Consumed(count)),
            Whole::Yes(count, reply) => (count, reply.unwrap_or_default()),
        };
        self.journal_replies(index, 1, &reply, true);
        let awaited = self.links[index as usize].pop_awaited();
        self.note_replied(index, 1);
        match awaited.map(|awaited| awaited.what) {
            Some(What::Landing(flight)) => self.landed(index, flight, &reply),
            Some(What::Tracking { sent_at }) => self.tracking_answered(index, sent_at, &reply),
            Some(What::Probe { sent_at }) => self.probe_answered(index, sent_at, &reply),
            Some(What::Fields { sent_at }) => self.fields_answered(index, sent_at, &reply),
            Some(What::Lifetime) => self.lifetime_answered(&reply),
            Some(What::Touched(touch)) if refusal(&reply).is_some() => self.keep_touch(*touch),
            Some(What::PutBack(id)) => self.acknowledged_was_written(&id, &reply),
            Some(What::Check(check)) => self.checked(*check, &reply),
            Some(What::Whether(asked)) => self.told_whether(*asked, &reply),
            Some(What::Repair(ask)) => self.repair_answered(index, ask, &reply),
            _ => {}
        }
        Ok(Step::Consumed(count))
    }

    /// PTTL is answered: the flight ends, and what it brought is kept if it may be.
    fn landed(&mut self, index: u32, flight: FlightId, reply: &[u8]) {
        let link = &self.links[index as usize];
        let (tracking, now) = (link.tracking, self.boot);
        let Some(cached) = &mut self.cached else {
            return;
        };
        let hash = cached
            .core
            .shape_of(flight)
            .and_then(|shape| shape.first())
            .is_some_and(|read| *read >= CachedRead::HGet as u8);
        let lasting = !cached.fields_may_expire
            || link
                .fields
                .lasting_at
                .is_some_and(|at| at > cached.fields_doubted_at);
        let ttl = value::integer(reply).filter(|_| !hash || lasting);
        cached.core.landed(flight, ttl, tracking, now);
    }

    /// The primary has said what the cache should have answered.
    fn checked(&mut self, check: Check, reply: &[u8]) {
        let now = self.boot;
        let Some(cached) = &mut self.cached else {
            return;
        };
        let unchanged = cached.core.holds(check.flight);
        cached.core.abandoned(check.flight);
        let expired = check.deadline.is_some_and(|deadline| now >= deadline);
        let verdict = if reply == check.reply {
            Verified::Agree
        } else if unchanged && !expired && !value::is_error(reply) {
            Verified::Stale
        } else {
            Verified::Undecided
        };
        self.counters.hits_verified[verdict.index()] += 1;
        if verdict == Verified::Stale {
            let age = check.served_at.saturating_sub(check.sent_at);
            let worst = &mut self.counters.staleness_worst_ms;
            *worst = (*worst).max(age);
            tracing::warn!(
                read_ms_ago = age,
                "the primary does not agree with what the session cache has answered"
            );
        }
    }

    /// What the server announces on a tracked link.
    pub(super) fn take_push(&mut self, frame: Option<&[u8]>) -> Result<(), ReplyError> {
        let Some(frame) = frame else {
            // More keys than are worth looking at.
            self.clear_cache(ClearCause::Flush);
            return Ok(());
        };
        match push::read(frame) {
            None => {
                self.clear_cache(ClearCause::Malformed);
                return Err(ReplyError::BadPush);
            }
            Some(Push::Everything) => self.clear_cache(ClearCause::Flush),
            Some(Push::Other) => {}
            Some(Push::Keys(keys)) => {
                let Some(cached) = &mut self.cached else {
                    return Ok(());
                };
                for key in keys.filter_map(value::body) {
                    cached.core.changed(key);
                    self.counters.cache_invalidations += 1;
                }
            }
        }
        Ok(())
    }
}

/// Returns the flights of the MGET whose reply comes next.
fn flights_in_front(link: &Link) -> Box<[Option<FlightId>]> {
    match link.awaited.front() {
        Some(Awaited {
            what: What::Flights { flights, .. },
            ..
        }) => flights.clone(),
        _ => Box::default(),
    }
}
