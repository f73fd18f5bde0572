//! Acknowledged writes whose replies wait until replicas have them (`durability.mode: replicated`).
//!
//! ```text
//!  sent ─► is it to wait? noted with the write on its link
//!  answered ─► into the journal ─► its reply into the client's output, kept back, with the ticket of this turn's group
//!  end of turn ─► the ticket is published ─► the control thread makes a barrier ─► Sample ─┐
//!  the reply, and what stands behind it, goes out ◄── replicas have the group ◄────────────┤
//!  the reply, or an error in its place, goes out  ◄── `durability.timeout_ms` are over ◄───┘ none came
//! ```
//!
//! Nothing else waits: the link goes on, requests of the same client are sent, and other clients see what was written. Which groups
//! wait, and for what, is decided in [`crate::journal::waits`].

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::shape;
use crate::command::keys::{Touched, touched};
use crate::command::table::{Access, Command};
use crate::config::{self, Config, DurabilityMode, OnTimeout, Opaque};
use crate::id::ClientId;
use crate::journal::Seq;
use crate::journal::waits::{Group, Waits};
use crate::metrics::{Durable, ErrorKind};
use crate::resp::frame::Run;
use crate::resp::{FrameError, Protocol, Scanner, Words, value};
use crate::upstream::link::Wrapped;

use super::Proxy;
use super::owed::Sent;
use super::replies::HELD_BACK_MAX;

/// A null in the place of an array, by which EXEC, and who waited for an element, say that nothing was done.
const NOTHING_DONE: &[u8] = b"*-1\r\n";

/// What waits, and which requests are to.
pub(super) struct Durability {
    asked: config::Durability,
    pub(super) waits: Waits,
    started: Instant,
}

impl Durability {
    /// Makes it; `None` where no write ever waits.
    pub(super) fn new(config: &Config, now: Instant) -> Option<Box<Self>> {
        let asked = config.durability.clone();
        let waits = asked.is_on() || config.journal.opaque == Opaque::Wait;
        let on = config.journal.enabled && waits;
        on.then(|| {
            Box::new(Self {
                waits: Waits::new(asked.timeout),
                asked,
                started: now,
            })
        })
    }

    /// Tells whether a write waits that changes these keys.
    fn holds<'a>(&self, found: Touched, word: impl Fn(usize) -> Option<&'a [u8]>) -> bool {
        let mode = match found {
            _ if self.asked.prefixes.is_empty() => self.asked.mode,
            Touched::Everything | Touched::Nothing => self.asked.strictest(),
            Touched::Keys { .. } => {
                let waits = |key| self.asked.mode_of(key) == DurabilityMode::Replicated;
                return found.words().filter_map(word).any(waits);
            }
        };
        mode == DurabilityMode::Replicated
    }
}

impl Proxy {
    /// Tells whether the reply to a request that may change data waits until replicas have what it changed: the one place that
    /// decides it.
    #[inline]
    pub(super) fn is_replicated(&self, command: &Command, bytes: &[u8], words: &Words) -> bool {
        self.durability.is_some()
            && self.is_replicated_by(command, touched(command, bytes, words), bytes, words)
    }

    /// Like [`Proxy::is_replicated`], where only some of the words are known, and these may be its keys.
    pub(super) fn is_replicated_by(
        &self,
        command: &Command,
        found: Touched,
        bytes: &[u8],
        words: &Words,
    ) -> bool {
        let word = |index| words.get(bytes, index);
        let durability = self.durability.as_ref();
        durability.is_some_and(|durability| {
            durability.holds(found, word) || self.waits_for_replicas(command, bytes, words)
        })
    }

    /// Tells whether one of these requests is to wait.
    pub(super) fn is_block_replicated(&self, block: &[Sent<'_>]) -> bool {
        self.durability.is_some()
            && block.iter().any(|request| {
                let command = self.table.find(request.name());
                command.access == Access::Write
                    && self.is_replicated(&command, request.bytes, &request.words)
            })
    }

    /// Tells whether there may be any that does.
    pub(super) fn may_be_replicated(&self) -> bool {
        self.durability.is_some()
    }

    /// Looks at the replies of a link that come next: how many of so many are alike, and whether they wait.
    #[inline]
    pub(super) fn alike(&self, index: u32, count: u32) -> (u32, bool) {
        match self.durability {
            None => (count, false),
            Some(_) => self.links[index as usize].alike(count),
        }
    }

    /// What is written to a client next waits for replicas, up to [`Proxy::wait_for_replicas`].
    pub(super) fn keep_back(&mut self, id: ClientId) {
        if let Some(client) = Self::client_among(&mut self.clients, id) {
            client.output.keep_back(&mut self.pool);
        }
    }

    /// The replies are whole that were written since [`Proxy::keep_back`], and acknowledge this.
    #[cold]
    pub(super) fn wait_for_replicas(
        &mut self,
        id: ClientId,
        acknowledged: Acknowledgement,
        seen: &[u8],
    ) {
        let now = self.now;
        let (Some(journal), Some(durability)) = (&self.journal, &mut self.durability) else {
            return;
        };
        let Some(client) = Self::client_among(&mut self.clients, id) else {
            return;
        };
        let writes = acknowledged.added + acknowledged.missed;
        if writes == 0 || seen == NOTHING_DONE {
            return client.output.keep_no_more(&mut self.pool);
        }
        let newest: Option<Seq> = (acknowledged.missed == 0).then(|| journal.ring.newest());
        let generation = journal.samples.generation();
        let since = now - durability.started;
        let ticket = durability.waits.join(id, writes, generation, newest, since);
        client.output.keep_until(ticket);
    }

    /// Writes a whole reply to a client; it waits for replicas to have what is said here, if that is something.
    pub(super) fn write_waiting(
        &mut self,
        id: ClientId,
        waiting: Acknowledgement,
        reply: &[u8],
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if waiting == Acknowledgement::default() {
            return self.write_to_client(id.index, write);
        }
        self.keep_back(id);
        self.write_to_client(id.index, write);
        self.wait_for_replicas(id, waiting, reply);
    }

    /// Gives a client its reply to a wrapped request, once replicas have what of it is `waiting` for them.
    pub(super) fn answer_wrapped(
        &mut self,
        id: ClientId,
        wrapped: &Wrapped,
        reply: &[u8],
        waiting: Acknowledgement,
    ) {
        let Some(client) = self.client(id) else {
            return;
        };
        let protocol = match wrapped.as_resp2 {
            true => Protocol::Resp2,
            false => client.protocol,
        };
        self.write_waiting(id, waiting, reply, |out| {
            shape::append(out, reply, protocol);
        });
        self.answered(id, wrapped.answers());
    }

    /// So many replicas as are wanted have all up to this ticket.
    pub(super) fn note_replicated(&mut self, generation: u64, up_to: u64) {
        if let Some(durability) = &mut self.durability {
            let done = durability.waits.replicated(generation, up_to);
            self.end_waits(done, Durable::Replicated);
        }
    }

    /// Another primary: what it has inherited, it had as a replica.
    pub(super) fn begin_waits(&mut self, generation: u64) {
        let (Some(journal), Some(durability)) = (&self.journal, &mut self.durability) else {
            return;
        };
        let samples = &journal.samples;
        durability
            .waits
            .begin(generation, |record| samples.is_known(record));
        if durability.asked.replicas == 1 {
            self.note_replicated(generation, u64::MAX);
        }
    }

    /// The primary has, as of now, all these records that an earlier primary had acknowledged: what waits for them waits for its
    /// replicas.
    pub(super) fn repaired(&mut self, records: &RangeInclusive<Seq>) {
        if let (Some(journal), Some(durability)) = (&self.journal, &mut self.durability) {
            let generation = journal.samples.generation();
            durability.waits.put_back(records, generation);
        }
    }

    /// What an earlier primary had acknowledged, and this one may lack, will not be put back.
    pub(super) fn give_up_waits(&mut self) {
        if let (Some(journal), Some(durability)) = (&self.journal, &mut self.durability) {
            durability.waits.give_up(journal.samples.generation());
        }
    }

    /// Lets go what has waited too long.
    pub(super) fn tick_waits(&mut self) {
        let now = self.now;
        if let Some(durability) = &mut self.durability {
            let outcome = match durability.asked.on_timeout {
                OnTimeout::Reply => Durable::TimeoutReplied,
                OnTimeout::Error => Durable::TimeoutRefused,
            };
            let late = durability.waits.overdue(now - durability.started);
            self.end_waits(late, outcome);
        }
    }

    /// Tells when [`Proxy::tick_waits`] has something to do next.
    pub(super) fn next_wait_due(&self) -> Option<Instant> {
        let durability = self.durability.as_ref()?;
        durability.started.checked_add(durability.waits.next_due()?)
    }

    /// Brings the figures up to date.
    pub fn count_waits(&mut self) {
        if let Some(durability) = &self.durability {
            self.counters.durability.waiting = durability.waits.writes();
        }
    }

    fn end_waits(&mut self, groups: Vec<Group>, outcome: Durable) {
        let refused = outcome == Durable::TimeoutRefused;
        let error = match refused && !groups.is_empty() {
            true => self.error_text(ErrorKind::NotReplicated),
            false => String::new(),
        };
        let mut refusals = 0;
        for group in groups {
            let waited = self.waited_since(group.since);
            let counters = &mut self.counters.durability;
            counters.waits[outcome.index()] += group.writes;
            counters.last_us = waited.as_micros() as u64;
            for id in group.who {
                let Some(client) = Self::client_among(&mut self.clients, id) else {
                    continue;
                };
                client
                    .output
                    .settle(group.ticket, &mut self.pool, &mut |replies| {
                        refused.then(|| {
                            let (text, count) = with_errors(replies, &error);
                            refusals += count;
                            text
                        })
                    });
                Self::touch_client(&mut self.clients, &mut self.dirty_clients, id.index);
            }
        }
        self.counters.error_replies[ErrorKind::NotReplicated.index()] += refusals;
    }

    fn waited_since(&self, since: Duration) -> Duration {
        let started = self
            .durability
            .as_ref()
            .map(|durability| durability.started);
        let now = started.map_or(Duration::ZERO, |started| self.now - started);
        now.saturating_sub(since)
    }
}

/// How many writes a reply acknowledges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Acknowledgement {
    /// Those that are in the journal: its newest records.
    pub(super) added: u64,
    /// Those whose bytes were not at hand any more.
    pub(super) missed: u64,
}

impl Acknowledgement {
    /// Returns what of it waits for replicas: all, or nothing.
    pub(super) fn if_waiting(self, waits: bool) -> Self {
        match waits {
            true => self,
            false => Self::default(),
        }
    }

    /// Returns what of it is acknowledged by this reply to EXEC: nothing where what was watched had changed.
    pub(super) fn by_exec(self, reply: &[u8]) -> Self {
        self.if_waiting(reply != Protocol::Resp3.null_array())
    }
}

/// Passes over replies that wait for replicas: whole ones, or a part of one that is too large to wait for its end.
#[cold]
pub(super) fn run_waiting(
    scanner: &mut Scanner,
    bytes: &[u8],
    frames_max: u32,
) -> Result<Run, FrameError> {
    let whole = scanner.run_whole(bytes, frames_max, usize::MAX)?;
    match whole.consumed {
        0 => scanner.run_whole(bytes, 1, HELD_BACK_MAX),
        _ => Ok(whole),
    }
}

/// Puts an error in the place of each reply that is none; says how many there were.
fn with_errors(mut replies: &[u8], error: &str) -> (Vec<u8>, u64) {
    let (mut out, mut count) = (Vec::new(), 0);
    while let Ok(run) = Scanner::default().run(replies, 1)
        && run.frames == 1
    {
        let (reply, rest) = replies.split_at(run.consumed);
        match value::is_error(reply) {
            true => out.extend_from_slice(reply),
            false => {
                out.extend_from_slice(error.as_bytes());
                count += 1;
            }
        }
        replies = rest;
    }
    (out, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_gives_way_to_an_error_and_errors_stay() {
        let replies = b"+OK\r\n-ERR x\r\n*2\r\n:1\r\n$1\r\na\r\n_\r\n";
        let (text, count) = with_errors(replies, "-NO\r\n");
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            (text.as_str(), count),
            ("-NO\r\n-ERR x\r\n-NO\r\n-NO\r\n", 3)
        );
    }
}
