//! Requests whose link is gone, or has refused them, are taken back: to be looked at again when there is a primary, each
//! client's in order, or to be answered with an error where a second run might do harm ([`crate::failover::replay`]).
//!
//! What is taken back stands in `Client::rewound`, in front of the client's input, and is handled like a request that has
//! just come: the cache, the lanes and the hold know no difference.

use crate::command::keys::{Touched, touched};
use crate::command::table::{Access, Kind, Touch};
use crate::downstream::client::{Barrier, Rewound};
use crate::failover::block::{block_with_absolute_deadlines, classify_block};
use crate::failover::blocking;
use crate::failover::deadline::with_absolute_deadline;
use crate::failover::replay::{Class, Delivery, Replay, classify, replay};
use crate::id::ClientId;
use crate::metrics::{CloseCause, ErrorKind};
use crate::upstream::link::{Awaited, Form, What};

use super::Proxy;
use super::owed::{Owed, Sent, split};
use super::transactions::queued_answer;

/// What requests that were taken back read, and may have changed already.
#[derive(Debug, Default)]
struct Effect {
    reads: Vec<Vec<u8>>,
    writes_whole: Vec<Vec<u8>>,
    changes: Vec<Vec<u8>>,
    changes_any: bool,
}

impl Effect {
    fn changes(&self, key: &Vec<u8>) -> bool {
        self.changes_any || self.changes.contains(key)
    }
}

impl Proxy {
    /// Takes back what clients awaited of a shared link that is lost, but for the client that got half a reply.
    pub(super) fn rewind_shared(&mut self, owed: Owed, half_sent: Option<ClientId>) {
        let mut clients = Vec::new();
        let mut start = owed.answered;
        for Awaited { client, what, end } in &owed.awaited {
            let bytes = owed.output.between(start, *end);
            if let What::Touched(touch) = what {
                self.keep_touch((**touch).clone());
            }
            for reader in self.abandon(what) {
                if self.begin_rewind(reader, half_sent, &mut clients) {
                    self.take_back(reader, bytes, 1, start, &owed);
                }
            }
            if self.begin_rewind(*client, half_sent, &mut clients) {
                self.rewind_entry(*client, what, bytes, start, &owed);
            }
            start = *end;
        }
        for client in clients {
            self.end_rewind(client);
        }
    }

    /// Begins to take back what a client awaits; false where there is no such client any more.
    fn begin_rewind(
        &mut self,
        id: ClientId,
        half_sent: Option<ClientId>,
        clients: &mut Vec<ClientId>,
    ) -> bool {
        if half_sent == Some(id) || self.client(id).is_none() {
            return false;
        }
        if !clients.contains(&id) {
            clients.push(id);
            if let Some(client) = self.client(id) {
                client.begin_rewind();
            }
        }
        true
    }

    pub(super) fn rewind_entry(
        &mut self,
        id: ClientId,
        what: &What,
        bytes: Option<&[u8]>,
        start: u64,
        owed: &Owed,
    ) {
        match what {
            What::Replies { count, .. } => self.take_back(id, bytes, *count, start, owed),
            What::Flight { .. }
            | What::Flights { .. }
            | What::Proof { .. }
            | What::Counted { .. }
            | What::Refreshed { .. }
            | What::InDoubt { .. }
            | What::Settle(_) => self.take_back(id, bytes, 1, start, owed),
            // However far it came this time.
            What::Claim { .. } => {
                self.take_back_one(id, bytes.unwrap_or_default(), Delivery::Unanswered);
            }
            What::Wrapped(wrapped) => {
                let delivery = owed.delivery(start + bytes.map_or(0, <[u8]>::len) as u64);
                match wrapped.form {
                    Form::Alone | Form::Within => {
                        self.take_back_one(id, &wrapped.request, delivery);
                    }
                    Form::Block(_) => self.take_back_block(id, Some(&wrapped.request), delivery),
                }
            }
            What::Exec { .. } => {
                let delivery = owed.delivery(start + bytes.map_or(0, <[u8]>::len) as u64);
                self.take_back_block(id, bytes, delivery);
            }
            What::Local(answer) => self.put_back(id, Rewound::Answer(answer.as_slice().into())),
            // The request that waits behind a barrier is still in the client's input.
            What::Head { .. }
            | What::Barrier
            | What::Swallow
            | What::Named
            | What::Verdict
            | What::Landing(_)
            | What::Lifetime
            | What::Looks { .. }
            | What::Touched(_)
            | What::PutBack(_)
            | What::Tracking { .. }
            | What::Probe { .. }
            | What::Fields { .. }
            | What::Check(_)
            | What::Whether(_)
            | What::Repair(_)
            | What::Rest => {}
        }
    }

    /// Takes back the last `count` requests of an entry.
    fn take_back(
        &mut self,
        id: ClientId,
        bytes: Option<&[u8]>,
        count: u32,
        start: u64,
        owed: &Owed,
    ) {
        let requests = split(bytes.unwrap_or_default(), start);
        let missing = (count as usize).saturating_sub(requests.len());
        for _ in 0..missing {
            self.put_back_error(id, ErrorKind::OutcomeUnknown);
        }
        let first = requests.len().saturating_sub(count as usize);
        for request in &requests[first..] {
            self.take_back_one(id, request.bytes, owed.delivery(request.end));
        }
    }

    /// Takes back a request by the table of what may be sent again.
    pub(super) fn take_back_one(&mut self, id: ClientId, bytes: &[u8], delivery: Delivery) {
        let Some(request) = Sent::read(bytes, 0) else {
            return self.put_back_error(id, ErrorKind::OutcomeUnknown);
        };
        let words = request.line();
        let class = self.class_of_request(&request);
        let again = match replay(class, delivery) {
            Replay::Unknown if !blocking::may_be_asked_again(request.name()) => {
                return self.put_back_error(id, ErrorKind::OutcomeUnknown);
            }
            Replay::Again | Replay::Unknown => self.with_time_left(id, &words),
            Replay::AgainAbsolute | Replay::ClaimAgain => {
                with_absolute_deadline(&words, self.wall(id))
            }
        };
        let bytes = again.as_deref().unwrap_or(bytes);
        let may_have_run = self.may_have_run(id, class, delivery);
        self.put_back_request(id, bytes, may_have_run);
    }

    /// A request that waits in the server is asked again for the rest of its time.
    fn with_time_left(&mut self, id: ClientId, words: &[&[u8]]) -> Option<Vec<u8>> {
        let now = self.now;
        let since = self.client(id)?.blocked_since?;
        blocking::with_time_left(words, now.saturating_duration_since(since))
    }

    /// Takes back a whole transaction: all of it or nothing.
    pub(super) fn take_back_block(
        &mut self,
        id: ClientId,
        bytes: Option<&[u8]>,
        delivery: Delivery,
    ) {
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
            return self.put_back_error(id, ErrorKind::OutcomeUnknown);
        };
        let wall = self.wall(id);
        let lines: Vec<_> = split(bytes, 0).iter().map(Sent::line).collect();
        let is_watched = false;
        let class = classify_block(&self.table, &lines, wall, is_watched);
        if replay(class, delivery) == Replay::Unknown {
            // The first is MULTI, the last EXEC.
            let answer = queued_answer(lines.len().saturating_sub(2));
            self.put_back(id, Rewound::Answer(answer.into()));
            return self.put_back_error(id, ErrorKind::OutcomeUnknown);
        }
        let block = block_with_absolute_deadlines(&lines, wall);
        let may_have_run = self.may_have_run(id, class, delivery);
        self.put_back_request(id, &block, may_have_run);
    }

    /// Tells whether what is put back of a client may have changed something already, this time or before.
    fn may_have_run(&mut self, id: ClientId, class: Class, delivery: Delivery) -> bool {
        let before = self.client(id).is_some_and(|client| client.replayed);
        class != Class::Read && (before || delivery == Delivery::Unanswered)
    }

    /// Reads what a request would do a second time.
    pub(super) fn class_of_request(&self, request: &Sent<'_>) -> Class {
        classify(&self.table.find(request.name()), &request.line())
    }

    /// Puts a request, or a whole transaction, back in front of its client's input.
    pub(super) fn put_back_request(&mut self, id: ClientId, bytes: &[u8], may_have_run: bool) {
        self.put_back(
            id,
            Rewound::Request {
                bytes: bytes.into(),
                may_have_run,
            },
        );
    }

    pub(super) fn put_back(&mut self, id: ClientId, rewound: Rewound) {
        if let Rewound::Request { bytes, .. } = &rewound {
            self.counters.hold.taken_back += 1;
            self.note_keys_of(bytes);
        }
        if let Some(client) = self.client(id) {
            client.rewound.push_back(rewound);
        }
    }

    /// Keys that a request, or a whole transaction, may change: no touch of them is answered while it waits.
    fn note_keys_of(&mut self, bytes: &[u8]) {
        for request in split(bytes, 0) {
            let command = self.table.find(request.name());
            let touches = command.touch == Touch::Deadline;
            let queues = matches!(command.kind, Kind::Multi | Kind::Exec);
            if command.access != Access::Read && !touches && !queues {
                let found = touched(&command, request.bytes, &request.words);
                self.note_held(found, |index| request.words.get(request.bytes, index));
            }
        }
    }

    pub(super) fn put_back_error(&mut self, id: ClientId, kind: ErrorKind) {
        let error = self.count_error(kind);
        self.put_back(id, Rewound::Answer(error.into_bytes().into()));
    }

    /// All that a client awaited is taken back: it waits for a primary, or goes on.
    pub(super) fn end_rewind(&mut self, id: ClientId) {
        self.refuse_overtaken_reads(id);
        let Some(client) = self.client(id) else {
            return;
        };
        client.end_rewind();
        // A WATCH that was taken back watches nothing until it is sent again.
        client.held.watch = client.watches || client.watch_lost;
        client.inflight = 0;
        client.replayed = false;
        let rewinding = std::mem::take(&mut client.rewinding);
        let lane = client.lane.take();
        let own = client
            .own
            .filter(|_| !client.raw && !client.held.keeps_link());
        if own.is_some() {
            client.own = None;
        }
        client.flight = None;
        client.blocking = false;
        client.blocked_since = None;
        client.barrier = Barrier::None;
        let eof = client.eof;
        if rewinding {
            self.forget_rewinding(lane);
        }
        if let Some(own) = own {
            self.release(own);
        }
        // Nobody is there any more who would want the replies.
        if eof {
            return self.close_after_flush(id.index, CloseCause::Client);
        }
        self.wait_or_go_on(id);
    }

    /// A read that stands in front of a write of the same key that may have run can't be asked again: it would tell what
    /// was written behind it, a session that was only then deleted as absent. It has changed nothing, so its sender may
    /// ask again. Where the key is written whole in front of the read, that is what it finds.
    fn refuse_overtaken_reads(&mut self, id: ClientId) {
        let Some(client) = self.client(id).filter(|client| client.rewound.len() > 1) else {
            return;
        };
        let mut rewound = std::mem::take(&mut client.rewound);
        let all: Vec<Effect> = rewound.iter().map(|one| self.effect_of(one)).collect();
        for (place, one) in rewound.iter_mut().enumerate() {
            let (before, behind) = (&all[..place], &all[place + 1..]);
            let overtaken = all[place].reads.iter().any(|key| {
                behind.iter().any(|other| other.changes(key))
                    && !before.iter().any(|other| other.writes_whole.contains(key))
            });
            if overtaken {
                let error = self.count_error(ErrorKind::Masterdown);
                *one = Rewound::Answer(error.into_bytes().into());
            }
        }
        if let Some(client) = self.client(id) {
            client.rewound = rewound;
        }
    }

    fn effect_of(&self, rewound: &Rewound) -> Effect {
        const WHOLE: [&[u8]; 5] = [b"set", b"setex", b"psetex", b"del", b"unlink"];
        let mut effect = Effect::default();
        let Rewound::Request {
            bytes,
            may_have_run,
        } = rewound
        else {
            return effect;
        };
        for request in split(bytes, 0) {
            let command = self.table.find(request.name());
            let found = touched(&command, request.bytes, &request.words);
            let keys = found
                .words()
                .filter_map(|index| request.words.get(request.bytes, index))
                .map(<[u8]>::to_vec);
            if command.access == Access::Read {
                effect.reads.extend(keys);
                continue;
            }
            let is = |known: &&[u8]| known.eq_ignore_ascii_case(request.name());
            let whole = WHOLE.iter().any(is);
            let keys: Vec<Vec<u8>> = keys.collect();
            if whole {
                effect.writes_whole.extend(keys.iter().cloned());
            }
            if *may_have_run {
                effect.changes.extend(keys);
                effect.changes_any |= found == Touched::Everything;
            }
        }
        effect
    }

    /// Unix milliseconds by the server's clock, or else by ours.
    pub(super) fn wall(&mut self, id: ClientId) -> u64 {
        self.server_wall(id.index)
    }
}
