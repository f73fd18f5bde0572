//! `hold.writes: acknowledge`: while requests are held, writes whose reply is known are acknowledged here, and put back when there
//! is a primary ([`crate::repair::acknowledged`]).
//!
//! What was asked of a primary that keeps silent is taken back then, and a request that may not run twice gets its error: whoever
//! wishes for this would not have waited for much longer.
//!
//! From then on the sign [`Sign::Unsettled`](crate::failover::machine::Sign::Unsettled) keeps the hold up until they are about to
//! be put back: on another primary with all that it lacks; on the same one, where the failover was called off, in a round of its
//! own (`repair/returned.rs`). Meanwhile a key that was written so is shown as it was written, or not at all. That it is absent is
//! told only of one that was deleted so: whoever was told of the DEL was told that.

use std::collections::HashSet;
use std::time::Duration;

use crate::command::keys::{Touched, touched};
use crate::command::table::{Access, CachedRead, Kind};
use crate::command::ttl::{Context, Found, Verdict};
use crate::config::Writes;
use crate::failover::machine::{Event, Scope, Sign};
use crate::metrics::Lane as LaneMetric;
use crate::repair::acknowledged::{Acknowledged, Write, replies};
use crate::resp::encode;
use crate::upstream::registry::Health;

use super::Proxy;
use super::owed::{Sent, split};
use super::repair::KeyId;
use super::requests::{Request, Taken};
use super::transactions::queued_answer;

/// How long after a write was acknowledged those that wait are looked at again: it may have told what they wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is acknowledged while requests are held.
#[derive(Debug, Default)]
pub(super) struct Acknowledging {
    /// Writes that no server has.
    pub(super) kept: Acknowledged,
    /// Keys of which they are on their way as they are, where nothing can be compared.
    pub(super) writing: HashSet<KeyId>,
    /// When those that wait are looked at next.
    due: Option<tokio::time::Instant>,
}

impl Proxy {
    /// A hold began, or its primary has fallen silent: those that wait, and what that one was asked, are looked at once that has
    /// lasted for long enough.
    pub(super) fn note_acknowledging_from(&mut self) {
        let hold = &self.config.hold;
        if hold.writes == Writes::Acknowledge {
            self.acknowledging.due = self.now.checked_add(hold.acknowledge_after);
        }
    }

    /// Looks at those that wait again at this instant, or before.
    pub(super) fn look_again_from(&mut self, due: tokio::time::Instant) {
        self.acknowledging.due.get_or_insert(due);
    }

    /// Tells when [`Proxy::tick_acknowledging`] has something to do next.
    pub(super) fn next_acknowledging_tick(&self) -> Option<tokio::time::Instant> {
        self.acknowledging.due.filter(|_| self.may_wait())
    }

    /// Looks again at those that wait.
    pub(super) fn tick_acknowledging(&mut self) {
        let is_due = |due: &mut tokio::time::Instant| *due <= self.now;
        if self.acknowledging.due.take_if(is_due).is_none() || !self.may_wait() {
            return;
        }
        // What a primary that keeps silent has been asked is taken back, to be acknowledged where that may be.
        let is_silent = self.failover.state.signs().has(Sign::Silent);
        if is_silent && self.registry.health == Health::Up && self.acknowledges() {
            self.leave_shared_links();
        }
        self.look_again_at_held();
    }

    /// Tells whether writes are acknowledged by now.
    fn acknowledges(&self) -> bool {
        let hold = &self.config.hold;
        if hold.writes != Writes::Acknowledge || !self.may_wait() || self.is_watched() {
            return false;
        }
        let now = self.now - self.failover.started;
        let since = self.failover.state.since().unwrap_or(now);
        let can_repair = self
            .repairing
            .as_ref()
            .is_some_and(|repairing| repairing.can_put_back());
        now.saturating_sub(since) >= hold.acknowledge_after && can_repair
    }

    /// Answers a read of a key that was written while requests are held, or lets it wait; `None` for all others.
    pub(super) fn stop_acknowledged(&mut self, request: &Request<'_>) -> Option<Taken> {
        if self.acknowledging.kept.is_empty() || request.command.access != Access::Read {
            return None;
        }
        let client = &self.clients[request.client as usize];
        let (database, multi) = (client.database, client.held.multi);
        let in_order = client.inflight == 0 && !client.held.takes_everything();
        let found = touched(&request.command, request.bytes, request.words);
        // What looks at all keys would not see those that are written here alone.
        if matches!(found, Touched::Nothing | Touched::Everything) && !multi {
            return Some(self.no_primary(request));
        }
        let mut keys = found.words().filter_map(|index| request.word(index));
        if multi || !keys.any(|key| self.acknowledging.kept.holds(database, key)) {
            return None;
        }
        if in_order && self.show_acknowledged(request, database) {
            return Some(Taken::Bytes(request.length));
        }
        // A replica may know the value of one that was only given a deadline.
        let key = request.word(1).unwrap_or_default();
        let is_of_one = request.words.len() == 2 && request.command.cached.is_some();
        let kept = &self.acknowledging.kept;
        if is_of_one && self.failover.gate == Some(Scope::All) && kept.is_touched(database, key) {
            return None;
        }
        Some(self.no_primary(request))
    }

    fn show_acknowledged(&mut self, request: &Request<'_>, database: u32) -> bool {
        let (Some(read), 2) = (request.command.cached, request.words.len()) else {
            return false;
        };
        let key = request.word(1).unwrap_or_default();
        let (now, wall) = (self.boot_micros, self.server_wall(request.client) as i64);
        let protocol = self.clients[request.client as usize].protocol;
        let kept = &self.acknowledging.kept;
        let value = kept.value(database, key, now, wall);
        if value.is_none() && !kept.is_deleted(database, key) {
            return false;
        }
        let mut reply = Vec::new();
        match (read, value) {
            (CachedRead::Get, Some(value)) => encode::bulk(&mut reply, value),
            (CachedRead::Get, None) => reply.extend_from_slice(protocol.null()),
            (CachedRead::Exists, value) => {
                encode::header(&mut reply, b':', i64::from(value.is_some()));
            }
            (CachedRead::StrLen, value) => {
                encode::header(&mut reply, b':', value.map_or(0, <[u8]>::len) as i64);
            }
            _ => return false,
        }
        self.answer_here(request.client, 1, &reply);
        true
    }

    /// Acknowledges a write, or a whole transaction of writes, that waits for a primary; `None` where it has to wait.
    pub(super) fn acknowledge(&mut self, request: &Request<'_>) -> Option<Taken> {
        let client = &self.clients[request.client as usize];
        let in_order = client.inflight == 0 && !client.held.takes_everything();
        if !in_order || !self.acknowledges() {
            return None;
        }
        match request.command.kind {
            Kind::Multi if request.words.len() == 1 => self.acknowledge_block(request),
            Kind::Tracked if request.command.access == Access::Write => {
                let (replaced, found) = self.judged_alone(request)?;
                let bytes = replaced.as_deref().unwrap_or(request.bytes);
                let replies = self.acknowledge_all(request.client, bytes)?;
                if let Some(found) = found {
                    self.count_finding(found.finding, found.count_if_done());
                }
                self.answer_here(request.client, 1, &replies.concat());
                Some(Taken::Bytes(request.length))
            }
            _ => None,
        }
    }

    fn acknowledge_block(&mut self, request: &Request<'_>) -> Option<Taken> {
        let (length, count) = self.whole_transaction(request.rest)?;
        let block = &request.rest[..length];
        let judged = self.judge_block(request.client, block);
        let judged = judged.as_ref();
        if judged.is_some_and(|judged| !judged.asked.is_empty()) {
            return None;
        }
        let bytes = judged.map_or(block, |judged| &judged.bytes);
        let queued = split(bytes, 0);
        let (exec, _) = queued.split_last()?;
        let writes = &bytes[..bytes.len() - exec.bytes.len()];
        let replies = self.acknowledge_all(request.client, writes)?;
        for (_, found) in judged.map_or(&[][..], |judged| &judged.found) {
            self.count_finding(found.finding, found.count_if_done());
        }
        let mut out = queued_answer(replies.len());
        encode::header(&mut out, b'*', replies.len() as i64);
        out.extend(replies.concat());
        self.answer_here(request.client, count, &out);
        Some(Taken::Bytes(request.length + length))
    }

    /// What hygiene makes of a request: another one in its place, and what is counted of it. `None` where the server has to be
    /// asked.
    fn judged_alone(&mut self, request: &Request<'_>) -> Option<(Option<Vec<u8>>, Option<Found>)> {
        let wall = self.server_wall(request.client);
        let Some(hygiene) = &self.hygiene else {
            return Some((None, None));
        };
        let words: Vec<&[u8]> = request.words_from(0).collect();
        match hygiene.rules.judge(&words, Context::Free, Some(wall)) {
            Verdict::Fine => Some((None, None)),
            Verdict::Counted(found) => Some((None, Some(found))),
            Verdict::Replaced { request, found } => Some((Some(request), Some(found))),
            Verdict::Ask { .. } | Verdict::Transaction { .. } => None,
        }
    }

    /// Acknowledges all of these requests, or none; returns the replies.
    fn acknowledge_all(&mut self, client: u32, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        let database = self.clients[client as usize].database;
        let requests = split(bytes, 0);
        // No replica has what is acknowledged here.
        if self.is_block_replicated(&requests) {
            return None;
        }
        let lines: Vec<Vec<&[u8]>> = requests.iter().map(Sent::line).collect();
        let writes: Option<Vec<Write<'_>>> = lines.iter().map(|line| Write::read(line)).collect();
        let writes = writes.filter(|writes| !writes.is_empty())?;
        let limits = &self.config.hold;
        let kept = &self.acknowledging.kept;
        let mut keys = writes.iter().flat_map(Write::keys);
        if !kept.has_room(&writes, limits.requests_max, limits.bytes_max)
            || !keys.all(|key| self.is_idle(database, key))
        {
            return None;
        }
        let wall = self.server_wall(client) as i64;
        let replies = replies(&writes, |key| self.lives(database, key, wall))?;
        self.look_at_clock();
        for write in &writes {
            self.keep_acknowledged(database, write);
        }
        self.counters.hold.acknowledged += writes.len() as u64;
        self.look_again_from(self.now + LOOK_AGAIN);
        self.failover_event(Event::Unsettled);
        Some(replies)
    }

    /// Tells whether no write of ours to a key is under way, nor the repair of one.
    fn is_idle(&self, database: u32, key: &[u8]) -> bool {
        let is_at_rest = |cached: &super::cached::Cached| cached.core.is_at_rest(key);
        let is_repaired = |repairing: &super::repair::Repairing| !repairing.has_work(database, key);
        self.cached.as_deref().is_some_and(is_at_rest)
            && self.repairing.as_deref().is_some_and(is_repaired)
    }

    /// Tells whether a key exists; `None` where that is not known, or where it has ended by itself since requests are held.
    fn lives(&mut self, database: u32, key: &[u8], wall: i64) -> Option<bool> {
        let kept = &self.acknowledging.kept;
        match kept.exists(database, key, self.boot_micros, wall) {
            Some(false) if kept.is_deleted(database, key) => Some(false),
            Some(exists) => exists.then_some(true),
            None => self
                .was_there(database, key)
                .or_else(|| self.replica.whether.is_there(database, key)),
        }
    }

    fn keep_acknowledged(&mut self, database: u32, write: &Write<'_>) {
        let seen = match write {
            Write::Expire(key, _) => self.cached_value(database, key),
            Write::Set { .. } | Write::Delete(_) => None,
        };
        let kept = &mut self.acknowledging.kept;
        kept.add(database, write, self.boot_micros);
        if let (Some(value), [key]) = (seen, write.keys()) {
            kept.note_seen(database, key, value);
        }
        for key in write.keys() {
            self.stale.forget_touch(database, key);
            if let Some(cached) = &mut self.cached {
                cached.core.changed(key);
            }
        }
    }

    fn answer_here(&mut self, client: u32, requests: u32, reply: &[u8]) {
        self.clients[client as usize].is_held_counted = false;
        self.counters.requests[LaneMetric::Local.index()] += u64::from(requests);
        self.answer(client, |out| out.extend_from_slice(reply));
    }
}
