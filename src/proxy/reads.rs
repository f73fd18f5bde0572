//! Reads that the cache may answer, and what becomes of those that it does not.

use bytes::Bytes;

use crate::cache::core::{Ask, FlightId, Question};
use crate::cache::entry::{Millis, View};
use crate::cache::shape;
use crate::command::table::CachedRead;
use crate::downstream::client::Stall;
use crate::id::{ClientId, LinkId};
use crate::metrics::{Lane as LaneMetric, SessionRead, Verified};
use crate::resp::{Protocol, encode};
use crate::upstream::link::{Check, Lane, Proof, What};

use super::Proxy;
use super::cached::Cached;
use super::requests::{Request, Taken};

/// Keys of one MGET that are looked up and kept; a longer one passes.
pub(super) const MGET_MAX: usize = 64;

/// Replies that a link may owe before hits are no more checked on it.
const CHECKS_MAX: usize = 1024;

/// What the check of a hit has to know.
struct Served {
    reply: Bytes,
    sent_at: Millis,
    deadline: Option<Millis>,
}

impl Served {
    fn of(kept: View<'_>) -> Self {
        Self {
            reply: Bytes::copy_from_slice(kept.reply),
            sent_at: kept.sent_at,
            deadline: kept.deadline,
        }
    }
}

/// What must have been accepted by the server once before it is answered from the reply to another command.
pub(super) fn proof(read: CachedRead) -> Proof {
    Proof(1 << (read as u32))
}

impl Proxy {
    /// Handles a command of the tracked lane: answered from the cache, or sent.
    #[inline]
    pub(super) fn send_tracked(&mut self, request: Request<'_>) -> Taken {
        // Whoever watches the server's commands through us wants to see them all.
        if self.cached.is_none() || self.is_watched() {
            return self.send_shared(request, Lane::Tracked, Protocol::Resp3);
        }
        match request.command.cached {
            Some(read) if shape::has_right_length(read, request.words.len()) => match read {
                CachedRead::MGet => self.read_many(request),
                _ => self.read_one(request, read),
            },
            None if self.may_touch(&request) => match self.touch(&request) {
                Some(taken) => taken,
                None => self.send_touch(request),
            },
            _ => self.send_shared(request, Lane::Tracked, Protocol::Resp3),
        }
    }

    /// Finds the tracked link for a read that may be answered without it; a client that awaits something of another link
    /// waits for that.
    ///
    /// # Errors
    /// What became of the request instead.
    fn link_to_read(&mut self, request: &Request<'_>) -> Result<LinkId, Taken> {
        let Some(link) = self.shared(Lane::Tracked, request.client) else {
            return Err(self.no_link(request));
        };
        let client = &mut self.clients[request.client as usize];
        if client.inflight > 0 && client.lane != Some(link) {
            client.stall = Stall::Lane;
            return Err(Taken::Stalled);
        }
        self.links[link.index as usize].probing.used = true;
        Ok(link)
    }

    fn read_one(&mut self, request: Request<'_>, read: CachedRead) -> Taken {
        let link = match self.link_to_read(&request) {
            Ok(link) => link,
            Err(taken) => return taken,
        };
        let key = request.word(1).unwrap_or_default();
        let Some(cached) = self.cached.as_mut().filter(|cached| cached.is_session(key)) else {
            return self.send_shared(request, Lane::Tracked, Protocol::Resp3);
        };
        let mut shape = std::mem::take(&mut cached.shape);
        let arguments = request.words_from(2);
        shape::write(&mut shape, read, arguments);
        let lasting = !read.is_of_hash() || self.has_lasting_fields(link);
        let taken = match lasting && self.serve_kept(&request, link, read, &shape) {
            true => Taken::Bytes(request.length),
            false => self.ask_server(request, link, read, &shape),
        };
        if let Some(cached) = &mut self.cached {
            cached.shape = shape;
        }
        taken
    }

    /// What a client asks, as the core wants it.
    #[inline]
    pub(super) fn question<'a>(
        &self,
        client: u32,
        link: LinkId,
        key: &'a [u8],
        shape: &'a [u8],
    ) -> Question<'a> {
        let client = &self.clients[client as usize];
        Question {
            key,
            database: client.database,
            shape,
            link: self.links[link.index as usize].tracking,
            now: self.boot,
            after: (client.inflight > 0).then_some(client.newest),
        }
    }

    /// Answers a read from the cache, if that has the answer.
    #[inline]
    fn serve_kept(
        &mut self,
        request: &Request<'_>,
        link: LinkId,
        read: CachedRead,
        shape: &[u8],
    ) -> bool {
        let key = request.word(1).unwrap_or_default();
        let question = self.question(request.client, link, key, shape);
        let proven = self.links[link.index as usize].proven & proof(read).0 != 0;
        let Some(cached) = &mut self.cached else {
            return false;
        };
        let checks = cached.draws_check();
        let client = &mut self.clients[request.client as usize];
        let (output, protocol, pool) = (&mut client.output, client.protocol, &mut self.pool);
        let mut hit = cached.core.look_up(&question, |kept| {
            shape::append(output.writer(pool), kept.reply, protocol);
            checks.then(|| Served::of(kept))
        });
        if hit.is_none() && proven && matches!(read, CachedRead::Exists | CachedRead::StrLen) {
            let says = |kept: &View<'_>| shape::derive(read, kept);
            let wanted =
                |kept: &View<'_>| kept.database == question.database && says(kept).is_some();
            hit = cached.core.look_up_by(&question, wanted, |kept| {
                let reply = says(&kept).unwrap_or_default();
                output.writer(pool).extend_from_slice(&reply);
                checks.then(|| Served {
                    reply,
                    ..Served::of(kept)
                })
            });
        }
        let Some(served) = hit else {
            return false;
        };
        Self::touch_client(&mut self.clients, &mut self.dirty_clients, request.client);
        self.counters.requests[LaneMetric::Local.index()] += 1;
        self.counters.session_reads[SessionRead::Hit.index()] += 1;
        if let Some(served) = served {
            self.check(request, link, &question, served);
        }
        true
    }

    /// Asks the primary what the cache has answered, off the client's path.
    fn check(
        &mut self,
        request: &Request<'_>,
        link: LinkId,
        question: &Question<'_>,
        served: Served,
    ) {
        let Some(cached) = &mut self.cached else {
            return;
        };
        let target = &mut self.links[link.index as usize];
        let keeps_up = target.awaited.len() < CHECKS_MAX;
        let flight = keeps_up.then(|| cached.core.ask_alone(question, 0));
        let Some(flight) = flight.flatten() else {
            self.counters.hits_verified[Verified::Undecided.index()] += 1;
            return;
        };
        target.push_bytes(request.bytes, &mut self.pool);
        let check = Check {
            flight,
            reply: served.reply,
            served_at: question.now,
            sent_at: served.sent_at,
            deadline: served.deadline,
        };
        target.expect(ClientId::NOBODY, What::Check(Box::new(check)));
        self.touch_link(link);
    }

    /// Sends a read, or lets its client wait for one that is under way.
    fn ask_server(
        &mut self,
        request: Request<'_>,
        link: LinkId,
        read: CachedRead,
        shape: &[u8],
    ) -> Taken {
        if !self.may_send(request.client, link) {
            return Taken::Stalled;
        }
        self.renew_lease(link);
        let key = request.word(1).unwrap_or_default();
        let question = self.question(request.client, link, key, shape);
        let target = &self.links[link.index as usize];
        let unproven = target.proven & proof(read).0 == 0;
        let place = target.asked + 1;
        let ask = match &mut self.cached {
            Some(cached) => cached.core.ask(&question, place),
            None => Ask::Pass,
        };
        let outcome = match ask {
            Ask::Join(flight) => {
                self.join(request.client, link, flight);
                SessionRead::Coalesced
            }
            Ask::Lead(flight) => {
                self.lead(&request, link, flight);
                SessionRead::Miss
            }
            Ask::Pass => {
                self.counters.session_reads[SessionRead::Passed.index()] += 1;
                return match unproven {
                    true => self.send_proof(request, link, proof(read)),
                    false => self.send_shared(request, Lane::Tracked, Protocol::Resp3),
                };
            }
        };
        self.counters.session_reads[outcome.index()] += 1;
        self.counters.requests[LaneMetric::Tracked.index()] += 1;
        Taken::Bytes(request.length)
    }

    fn join(&mut self, index: u32, link: LinkId, flight: FlightId) {
        let client = &mut self.clients[index as usize];
        client.inflight += 1;
        client.lane = Some(link);
        client.newest = self.links[link.index as usize].asked;
        client.flight = Some(flight);
        let id = client.id(index);
        if let Some(cached) = &mut self.cached {
            cached.core.join(flight, id);
        }
    }

    fn lead(&mut self, request: &Request<'_>, link: LinkId, flight: FlightId) {
        let as_resp2 = self.count_sent(request.client, link);
        let client = &mut self.clients[request.client as usize];
        client.flight = Some(flight);
        let id = client.id(request.client);
        let target = &mut self.links[link.index as usize];
        target.push_bytes(request.bytes, &mut self.pool);
        target.expect(id, What::Flight { flight, as_resp2 });
        client.newest = target.asked;
        self.land(link, request.word(1).unwrap_or_default(), flight);
    }

    /// Asks how long a key will live: with the answer the flight ends.
    pub(super) fn land(&mut self, link: LinkId, key: &[u8], flight: FlightId) {
        let target = &mut self.links[link.index as usize];
        let out = target.output.writer(&mut self.pool);
        encode::request(out, &[&b"PTTL"[..], key]);
        target.expect(ClientId::NOBODY, What::Landing(flight));
        self.touch_link(link);
    }

    /// Counts a request as sent; tells whether its replies have to be rewritten.
    pub(super) fn count_sent(&mut self, index: u32, link: LinkId) -> bool {
        let client = &mut self.clients[index as usize];
        client.inflight += 1;
        client.lane = Some(link);
        client.protocol == Protocol::Resp2
    }

    /// Sends a request whose reply shows whether the server accepts the like of it from our user.
    pub(super) fn send_proof(&mut self, request: Request<'_>, link: LinkId, proof: Proof) -> Taken {
        use crate::command::table::Access;
        let as_resp2 = self.count_sent(request.client, link);
        self.counters.requests[LaneMetric::Tracked.index()] += 1;
        let id = self.clients[request.client as usize].id(request.client);
        let write = request.command.access == Access::Write;
        let target = &mut self.links[link.index as usize];
        target.push_bytes(request.bytes, &mut self.pool);
        target.expect(
            id,
            What::Proof {
                proof,
                write,
                as_resp2,
            },
        );
        self.note_sent(&request, link);
        self.touch_link(link);
        Taken::Bytes(request.length)
    }

    /// MGET: answered here if each key is known, else sent whole, and kept key by key.
    fn read_many(&mut self, request: Request<'_>) -> Taken {
        let link = match self.link_to_read(&request) {
            Ok(link) => link,
            Err(taken) => return taken,
        };
        let keys = || request.words_from(1);
        let shape = [CachedRead::Get as u8];
        let count = request.words.len() - 1;
        let ours = |cached: &Cached| count <= MGET_MAX && keys().all(|key| cached.is_session(key));
        if !self.cached.as_deref().is_some_and(ours) {
            return self.send_shared(request, Lane::Tracked, Protocol::Resp3);
        }
        let proven = self.links[link.index as usize].proven & proof(CachedRead::MGet).0 != 0;
        if proven && self.serve_many(request.client, link, count, keys(), &shape) {
            return Taken::Bytes(request.length);
        }
        if !self.may_send(request.client, link) {
            return Taken::Stalled;
        }
        self.renew_lease(link);
        self.lead_many(&request, link, keys(), &shape);
        Taken::Bytes(request.length)
    }

    fn serve_many<'a>(
        &mut self,
        index: u32,
        link: LinkId,
        count: usize,
        keys: impl Iterator<Item = &'a [u8]>,
        shape: &[u8],
    ) -> bool {
        let template = self.question(index, link, &[], shape);
        let Some(cached) = &mut self.cached else {
            return false;
        };
        let client = &mut self.clients[index as usize];
        let protocol = client.protocol;
        let out = client.output.writer(&mut self.pool);
        let before = out.len();
        encode::header(out, b'*', count as i64);
        for key in keys {
            let question = Question { key, ..template };
            let hit = cached
                .core
                .look_up(&question, |kept| shape::append(out, kept.reply, protocol));
            if hit.is_none() {
                out.truncate(before);
                return false;
            }
        }
        Self::touch_client(&mut self.clients, &mut self.dirty_clients, index);
        self.counters.requests[LaneMetric::Local.index()] += 1;
        self.counters.session_reads[SessionRead::Hit.index()] += count as u64;
        true
    }

    fn lead_many<'a>(
        &mut self,
        request: &Request<'_>,
        link: LinkId,
        keys: impl Iterator<Item = &'a [u8]> + Clone,
        shape: &[u8],
    ) {
        let template = self.question(request.client, link, &[], shape);
        let place = self.links[link.index as usize].asked + 1;
        let flights: Box<[Option<FlightId>]> = match &mut self.cached {
            Some(cached) => keys
                .clone()
                .map(|key| cached.core.ask_alone(&Question { key, ..template }, place))
                .collect(),
            None => Box::default(),
        };
        self.counters.session_reads[SessionRead::Miss.index()] += flights.len() as u64;
        self.counters.requests[LaneMetric::Tracked.index()] += 1;
        let as_resp2 = self.count_sent(request.client, link);
        let client = &mut self.clients[request.client as usize];
        let id = client.id(request.client);
        let target = &mut self.links[link.index as usize];
        target.push_bytes(request.bytes, &mut self.pool);
        let landings: Vec<_> = keys.zip(flights.iter().copied()).collect();
        target.expect(id, What::Flights { flights, as_resp2 });
        client.newest = target.asked;
        for (key, flight) in landings {
            if let Some(flight) = flight {
                self.land(link, key, flight);
            }
        }
        self.touch_link(link);
    }
}
