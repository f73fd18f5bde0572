//! Touches: requests that only move the deadline of a cached session, answered here where that moves it by little.

use bytes::Bytes;

use crate::cache::entry::{Millis, View};
use crate::cache::touch::{Candidate, Clock, Decision, Live, WORDS_MAX, Wall};
use crate::command::table::{CachedRead, Touch};
use crate::downstream::client::Stall;
use crate::id::LinkId;
use crate::metrics::{Lane as LaneMetric, Touched};
use crate::resp::Protocol;
use crate::upstream::link::{Lane, Link, Proof, What};

use super::Proxy;
use super::cached::Cached;
use super::requests::{Request, Taken};

/// The words of a request that may be a touch, and one more.
pub(super) type Line<'a> = ([&'a [u8]; WORDS_MAX + 1], usize);

/// The bits of [`Proof`] above those of the reads, by the command's name.
pub(super) fn proof(name: &[u8]) -> Proof {
    const FIRST: u32 = 16;
    let names: [&[u8]; 9] = [
        b"expire",
        b"pexpire",
        b"expireat",
        b"pexpireat",
        b"touch",
        b"getex",
        b"set",
        b"setex",
        b"psetex",
    ];
    let place = names
        .iter()
        .position(|known| known.eq_ignore_ascii_case(name));
    Proof(place.map_or(0, |place| 1 << (FIRST + place as u32)))
}

/// Tells whether a request is `GETEX key unit time`.
fn is_refresh(request: &Request<'_>) -> bool {
    let name = request.word(0).unwrap_or_default();
    request.words.len() == 4 && name.eq_ignore_ascii_case(b"getex")
}

/// What a kept reply tells of its key.
pub(super) struct Known {
    deadline: Option<Millis>,
    sent_at: Millis,
    answered_at: Millis,
    value: Option<Vec<u8>>,
}

impl Known {
    /// Takes what decides, and the value where that is wanted.
    pub(super) fn of(kept: View<'_>, value: bool) -> Self {
        Self {
            deadline: kept.deadline,
            sent_at: kept.sent_at,
            answered_at: kept.answered_at,
            value: value.then(|| kept.reply.to_vec()),
        }
    }

    pub(super) fn live(&self) -> Live<'_> {
        Live {
            deadline: self.deadline,
            sent_at: self.sent_at,
            answered_at: self.answered_at,
            value: self.value.as_deref(),
        }
    }
}

/// Takes the words of a request, if it has so few.
pub(super) fn line<'a>(request: &Request<'a>) -> Option<Line<'a>> {
    let count = request.words.len();
    let mut words: [&[u8]; WORDS_MAX + 1] = [b""; WORDS_MAX + 1];
    for (index, word) in words.iter_mut().enumerate().take(count) {
        *word = request.word(index)?;
    }
    (count <= WORDS_MAX).then_some((words, count))
}

impl Proxy {
    /// Tells whether a request is to be looked at as a touch.
    #[inline]
    pub(super) fn may_touch(&self, request: &Request<'_>) -> bool {
        let saves = |cached: &Cached| cached.touches.unchanged_set;
        match request.command.touch {
            Touch::No => false,
            Touch::Deadline => !self.has_found(),
            // What is cached need not be at the replicas yet.
            Touch::Save => {
                self.cached.as_deref().is_some_and(saves)
                    && !self.has_found()
                    && !self.is_replicated(&request.command, request.bytes, request.words)
            }
        }
    }

    /// Answers a touch, or lets it wait for the reply that decides about it; `None` when it is to be sent.
    pub(super) fn touch(&mut self, request: &Request<'_>) -> Option<Taken> {
        let link = self.tracked(request.client)?;
        let cached = self.cached.as_ref()?;
        let (words, count) = line(request)?;
        let candidate = cached.touches.read(&words[..count])?;
        if !cached.is_session(candidate.key) {
            return None;
        }
        let client = &mut self.clients[request.client as usize];
        // Pipelined behind the very read that tells the deadline: to send it would spoil that read, each time anew.
        let reads_same =
            |flight| cached.core.reads(flight, candidate.key) && cached.core.holds(flight);
        if client.inflight > 0 && client.lane == Some(link) && client.flight.is_some_and(reads_same)
        {
            client.stall = Stall::Lane;
            return Some(Taken::Stalled);
        }
        let target = &mut self.links[link.index as usize];
        target.probing.used = true;
        if target.proven & proof(words[0]).0 == 0 {
            return None;
        }
        let reply = self.decide_touch(request.client, link, &candidate)?;
        self.counters.requests[LaneMetric::Local.index()] += 1;
        self.counters.touches[Touched::Answered.index()] += 1;
        self.answer(request.client, |out| out.extend_from_slice(&reply));
        Some(Taken::Bytes(request.length))
    }

    fn decide_touch(
        &mut self,
        client: u32,
        link: LinkId,
        candidate: &Candidate<'_>,
    ) -> Option<Bytes> {
        let known = self.known(client, link, candidate.key, candidate.wants_value())?;
        let clock = self.clock_of(link);
        let cached = self.cached.as_ref()?;
        match cached.touches.decide(candidate, &known.live(), &clock) {
            Decision::Answer(reply) => Some(reply),
            Decision::Send => None,
        }
    }

    /// What the cache knows of a key and may serve now.
    fn known(&mut self, client: u32, link: LinkId, key: &[u8], value: bool) -> Option<Known> {
        let shape = [CachedRead::Get as u8];
        let question = self.question(client, link, key, &shape);
        let cached = self.cached.as_mut()?;
        match value {
            true => cached.core.look_up(&question, |kept| Known::of(kept, true)),
            false => cached
                .core
                .look_up_live(&question, |kept| Known::of(kept, false)),
        }
    }

    fn clock_of(&self, link: LinkId) -> Clock {
        let now = self.boot;
        let wall = self.links[link.index as usize].probing.clock;
        Clock {
            now,
            wall: wall.map(|(time, sent_at, answered_at)| {
                Wall::from_time(time, sent_at, answered_at, now)
            }),
        }
    }

    /// Sends what may be a touch; the first of its name shows whether our user may do it at all.
    pub(super) fn send_touch(&mut self, request: Request<'_>) -> Taken {
        self.counters.touches[Touched::Sent.index()] += 1;
        let proof = proof(request.word(0).unwrap_or_default());
        let link = self.tracked(request.client);
        let proven = |link: &Link| link.proven & proof.0 != 0;
        match link {
            Some(link) if !proven(&self.links[link.index as usize]) => {
                match self.may_send(request.client, link) {
                    true => self.send_proof(request, link, proof),
                    false => Taken::Stalled,
                }
            }
            Some(link) if is_refresh(&request) => self.send_refresh(request, link),
            _ => self.send_shared(request, Lane::Tracked, Protocol::Resp3),
        }
    }

    /// Sends a GETEX that gives an expiry: its reader will do so again, so what it reads is worth to be kept.
    fn send_refresh(&mut self, request: Request<'_>, link: LinkId) -> Taken {
        if !self.may_send(request.client, link) {
            return Taken::Stalled;
        }
        self.renew_lease(link);
        let as_resp2 = self.count_sent(request.client, link);
        self.counters.requests[LaneMetric::Tracked.index()] += 1;
        let id = self.clients[request.client as usize].id(request.client);
        let target = &mut self.links[link.index as usize];
        target.push_bytes(request.bytes, &mut self.pool);
        let key = request.word(1).unwrap_or_default().into();
        target.expect(id, What::Refreshed { key, as_resp2 });
        self.note_sent(&request, link);
        self.touch_link(link);
        Taken::Bytes(request.length)
    }

    /// Answers `MULTI, SET key value, EXPIRE key time, EXEC` of the very bytes that are cached; false when it is to be sent.
    pub(super) fn touch_pair(
        &mut self,
        client: u32,
        link: LinkId,
        set: &[&[u8]],
        expire: &[&[u8]],
    ) -> bool {
        let proven = self.links[link.index as usize].proven;
        let is_proven = |name: &[u8]| proven & proof(name).0 != 0;
        let session = |key: &[u8]| {
            self.cached
                .as_ref()
                .is_some_and(|cached| cached.is_session(key))
        };
        let (&[name, key, _], &[expire_name, ..]) = (set, expire) else {
            return false;
        };
        if !is_proven(name) || !is_proven(expire_name) || !session(key) {
            return false;
        }
        let Some(known) = self.known(client, link, key, true) else {
            return false;
        };
        let clock = self.clock_of(link);
        let Some(cached) = &self.cached else {
            return false;
        };
        let Decision::Answer(reply) =
            cached
                .touches
                .decide_pair(set, expire, &known.live(), &clock)
        else {
            return false;
        };
        self.counters.requests[LaneMetric::Local.index()] += 4;
        self.counters.touches[Touched::Answered.index()] += 1;
        self.answer(client, |out| {
            out.extend_from_slice(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n");
            out.extend_from_slice(&reply);
        });
        true
    }
}
