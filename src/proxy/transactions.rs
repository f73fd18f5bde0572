//! MULTI and WATCH: whole transactions over the tracked link, all others over the client's own.

use crate::cache::touch::WORDS_MAX;
use crate::command::keys::touched;
use crate::command::table::{Access, Kind};
use crate::downstream::client::Stall;
use crate::error;
use crate::id::LinkId;
use crate::metrics::ErrorKind;
use crate::resp::request::{Parsed, parse};
use crate::resp::{Protocol, Words};
use crate::upstream::link::{Lane, Proof, Settle, What};

use super::Proxy;
use super::owed::split;
use super::requests::{Request, Taken};
use super::touches::proof;

/// Bytes of one transaction that are remembered, to be queued again on another link.
const TRANSCRIPT_BYTES_MAX: usize = 1024 * 1024;

/// What the server answers to MULTI and to so many requests behind it.
pub(super) fn queued_answer(requests: usize) -> Vec<u8> {
    let mut answer = b"+OK\r\n".to_vec();
    answer.extend(b"+QUEUED\r\n".repeat(requests));
    answer
}

impl Proxy {
    /// `[MULTI … EXEC]` that has arrived whole and holds only session commands needs no link of its own: it is one
    /// write of one sender.
    pub(super) fn begin_transaction(&mut self, request: Request<'_>) -> Taken {
        let plain = request.words.len() == 1 && !self.is_paused();
        if plain && let Some((length, count)) = self.whole_transaction(request.rest) {
            let Some(link) = self.shared(Lane::Tracked, request.client) else {
                return self.no_link(&request);
            };
            let judged = self.judge_block(request.client, &request.rest[..length]);
            let judged = judged.as_ref();
            let block = judged.map_or(&request.rest[..length], |judged| &judged.bytes);
            let may_touch = self.is_pair(request.client, link, block);
            if may_touch == Some(true) {
                return Taken::Bytes(request.length + length);
            }
            if !self.may_send(request.client, link) {
                return Taken::Stalled;
            }
            let found = judged.map_or(&[][..], |judged| &judged.found);
            if self.in_round && self.send_marked_block(&request, link, block, found) {
                for key in judged.map_or(&[][..], |judged| &judged.asked) {
                    self.ask_ttl(link, key);
                }
                return Taken::Bytes(request.length + length);
            }
            let client = &mut self.clients[request.client as usize];
            client.inflight += count;
            client.lane = Some(link);
            let id = client.id(request.client);
            let as_resp2 = client.protocol == Protocol::Resp2;
            self.counters.requests[Lane::Tracked.metric().index()] += u64::from(count);
            let target = &mut self.links[link.index as usize];
            // In front of its bytes: they are EXEC's, and stay until that is answered.
            target.expect(id, What::Head { count: count - 1 });
            target.push_bytes(request.bytes, &mut self.pool);
            target.push_bytes(block, &mut self.pool);
            // If each command in it is accepted, the like of them may be answered here.
            let proof = Proof(match may_touch {
                Some(_) => self.proofs_of(block),
                None => 0,
            });
            let target = &mut self.links[link.index as usize];
            let found = found.into();
            target.expect(
                id,
                What::Exec {
                    proof,
                    found,
                    as_resp2,
                },
            );
            if self.journal.is_some() {
                let requests = split(block, 0);
                if self.holds_writes(&requests) {
                    let replicated = self.is_block_replicated(&requests);
                    let length = request.bytes.len() + block.len();
                    self.journal_sent(link, length, replicated);
                    self.note_block_looks(link, &requests);
                }
            }
            self.note_block(request.client, link, block);
            for key in judged.map_or(&[][..], |judged| &judged.asked) {
                self.ask_ttl(link, key);
            }
            self.touch_link(link);
            return Taken::Bytes(request.length + length);
        }
        self.open_multi(request)
    }

    /// Sends a MULTI over the client's own link.
    fn open_multi(&mut self, request: Request<'_>) -> Taken {
        let client = &mut self.clients[request.client as usize];
        let nested = client.transcript.is_some();
        // One transaction at a time is remembered.
        if client
            .transcript
            .as_ref()
            .is_some_and(|transcript| transcript.ended)
        {
            client.stall = Stall::Lane;
            return Taken::Stalled;
        }
        let taken = self.send_own(request, None);
        let client = &mut self.clients[request.client as usize];
        if matches!(taken, Taken::Bytes(_)) && client.own.is_some() {
            client.begin_multi();
            if !nested {
                client.transcript = Some(Box::default());
                self.note_transcript(request.client, request.bytes);
            }
        }
        taken
    }

    /// A request of a client's transaction was sent: it may have to be queued again on another link.
    pub(super) fn note_transcript(&mut self, index: u32, request: &[u8]) {
        let Some(transcript) = &mut self.clients[index as usize].transcript else {
            return;
        };
        if transcript.ended || transcript.cut {
            return;
        }
        if transcript.bytes.len() + request.len() > TRANSCRIPT_BYTES_MAX {
            transcript.cut = true;
            transcript.bytes = Vec::new();
        } else {
            transcript.bytes.extend_from_slice(request);
        }
    }

    fn end_transcript(&mut self, index: u32) {
        if let Some(transcript) = &mut self.clients[index as usize].transcript {
            transcript.ended = true;
        }
    }

    /// EXEC of a client whose WATCH was lost with a link: somebody may have changed what it watched, so nothing is executed
    /// and it gets a null, as from the server itself.
    fn send_void(&mut self, request: Request<'_>, held: u32) -> Taken {
        const DISCARD: &[u8] = b"*1\r\n$7\r\nDISCARD\r\n";
        let found = self.own_link(request.client);
        let link = match self.found_link(found, request.client, request.length) {
            Ok(link) => link,
            Err(taken) => return taken,
        };
        self.end_transcript(request.client);
        let client = &mut self.clients[request.client as usize];
        client.forget_queued();
        client.inflight += 1;
        client.lane = Some(link);
        let id = client.id(request.client);
        self.counters.requests[Lane::Pinned.metric().index()] += 1;
        let target = &mut self.links[link.index as usize];
        target.push_bytes(DISCARD, &mut self.pool);
        target.expect(id, What::Settle(Settle::Voided { held }));
        self.touch_link(link);
        Taken::Bytes(request.length)
    }

    /// Looks behind MULTI for session commands up to EXEC; their bytes and, with MULTI, their number.
    pub(super) fn whole_transaction(&self, mut rest: &[u8]) -> Option<(usize, u32)> {
        let mut words = Words::default();
        let (mut length, mut count) = (0, 1);
        loop {
            let Parsed::Whole(bytes) = parse(rest, &mut words) else {
                return None;
            };
            let kind = self.table.find(words.get(rest, 0)?).kind;
            length += bytes;
            count += 1;
            rest = &rest[bytes..];
            match kind {
                Kind::Exec if words.len() == 1 => return Some((length, count)),
                Kind::Tracked => {}
                _ => return None,
            }
        }
    }

    /// Answers a transaction that only moves a deadline (true); tells that it might have been one (false), or none.
    fn is_pair(&mut self, client: u32, link: LinkId, block: &[u8]) -> Option<bool> {
        let cached = self.cached.as_ref()?;
        // To be told that replicas have it, somebody has to ask them.
        let replicated = self.may_be_replicated() && self.is_block_replicated(&split(block, 0));
        if !cached.touches.unchanged_set || self.is_watched() || replicated {
            return None;
        }
        let mut lines = Vec::new();
        let mut words = Words::default();
        let mut rest = block;
        while let Parsed::Whole(bytes) = parse(rest, &mut words) {
            let line = words.iter(rest, 0).take(WORDS_MAX + 1);
            lines.push(line.collect::<Vec<_>>());
            rest = &rest[bytes..];
            if lines.len() > 3 {
                return None;
            }
        }
        match lines.as_slice() {
            [set, expire, _exec] => Some(self.touch_pair(client, link, set, expire)),
            _ => None,
        }
    }

    /// The keys of a whole transaction, which has just been queued on a link, may change from now to its last reply.
    pub(super) fn note_block(&mut self, index: u32, link: LinkId, block: &[u8]) {
        self.clients[index as usize].newest = self.links[link.index as usize].asked;
        let mut words = Words::default();
        let mut rest = block;
        while self.cached.is_some()
            && let Parsed::Whole(bytes) = parse(rest, &mut words)
        {
            let command = self.table.find(words.get(rest, 0).unwrap_or_default());
            let announced = self.links[link.index as usize].tracking.announces;
            if command.access == Access::Write || !announced {
                self.note_fields(&command, words.get(rest, 0).unwrap_or_default());
                let found = touched(&command, rest, &words);
                self.begin_pending(link, found, |word| words.get(rest, word));
            }
            rest = &rest[bytes..];
        }
    }

    fn proofs_of(&self, block: &[u8]) -> u32 {
        let mut words = Words::default();
        let (mut rest, mut proofs) = (block, 0);
        while let Parsed::Whole(bytes) = parse(rest, &mut words) {
            proofs |= proof(words.get(rest, 0).unwrap_or_default()).0;
            rest = &rest[bytes..];
        }
        proofs
    }

    pub(super) fn begin_watch(&mut self, request: Request<'_>) -> Taken {
        let client = &self.clients[request.client as usize];
        let held = client.held_count.wrapping_add(1);
        let taken = self.send_own(request, Some(Settle::Watch { held }));
        let client = &mut self.clients[request.client as usize];
        if matches!(taken, Taken::Bytes(_)) && client.own.is_some() {
            client.begin_watch();
        }
        taken
    }

    /// Requests of a client in MULTI or WATCH: all over its own link.
    pub(super) fn dispatch_held(&mut self, request: Request<'_>) -> Taken {
        let client = &self.clients[request.client as usize];
        let (multi, held) = (client.held.multi, client.held_count);
        let exact = request.words.len() == 1;
        match request.command.kind {
            Kind::Exec if exact && multi && client.watch_lost => self.send_void(request, held),
            Kind::Exec if exact && multi => {
                let script = client.script_queued;
                let taken = self.send_own(
                    request,
                    Some(Settle::Exec {
                        held,
                        script,
                        marks: 0,
                    }),
                );
                if matches!(taken, Taken::Bytes(_)) {
                    let client = &mut self.clients[request.client as usize];
                    client.script_queued = false;
                    // What follows in the same pipeline may already be outside.
                    self.scripts += usize::from(script && client.own.is_some());
                    self.end_transcript(request.client);
                }
                taken
            }
            Kind::Discard if exact && multi => {
                let taken = self.send_own(request, Some(Settle::Discard { held }));
                if matches!(taken, Taken::Bytes(_)) {
                    self.clients[request.client as usize].forget_queued();
                    self.end_transcript(request.client);
                }
                taken
            }
            Kind::Unwatch if exact && !multi && self.lost_its_watch(request.client) => {
                self.clients[request.client as usize].end_watch(held);
                self.answer_or_ask(request)
            }
            Kind::Unwatch if exact && !multi => {
                self.send_own(request, Some(Settle::Unwatch { held }))
            }
            Kind::Watch => self.begin_watch(request),
            Kind::Multi => self.open_multi(request),
            Kind::Script if multi => {
                self.clients[request.client as usize].script_queued = true;
                self.send_queued_script(request)
            }
            Kind::Script => self.send_script(request),
            Kind::Wait if !multi => self.send_wait(request),
            Kind::Blocking | Kind::MayBlock if !multi => self.send_blocking(request),
            Kind::Tracked
            | Kind::General
            | Kind::Pinned
            | Kind::Rescue
            | Kind::Blocking
            | Kind::MayBlock
            | Kind::Wait
            | Kind::Config
            | Kind::Exec
            | Kind::Discard
            | Kind::Unwatch
            | Kind::Ping
            | Kind::Echo => self.send_own(request, None),
            Kind::Unknown if !multi => self.send_settling(request, Settle::Unknown),
            Kind::Unknown => self.send_own(request, None),
            Kind::Quit | Kind::Reset => self.answer_or_ask(request),
            Kind::Select | Kind::Hello | Kind::Auth | Kind::Client
                if !multi && !self.clients[request.client as usize].held.watch =>
            {
                self.answer_or_ask(request)
            }
            Kind::Monitor if !multi => self.begin_monitor(request),
            // An EXEC on its way may end all this: how these are meant is known when it is answered.
            Kind::Monitor
            | Kind::Select
            | Kind::Hello
            | Kind::Auth
            | Kind::Client
            | Kind::OwnConnection
                if client.inflight > 0 =>
            {
                self.clients[request.client as usize].stall = Stall::Lane;
                Taken::Stalled
            }
            // Queued or not, these change the connection: from here on the server alone knows its state.
            Kind::Monitor
            | Kind::Select
            | Kind::Hello
            | Kind::Auth
            | Kind::Client
            | Kind::OwnConnection => self.go_raw(request.client, request.bytes, request.length),
        }
    }

    /// Tells whether all that a client watches was lost with a link, and nothing more of it is on its way.
    pub(super) fn lost_its_watch(&self, index: u32) -> bool {
        let client = &self.clients[index as usize];
        client.watch_lost && client.own.is_none() && client.inflight == 0
    }

    /// The transaction was lost with its link: nothing of it may run by halves.
    pub(super) fn dispatch_poisoned(&mut self, request: Request<'_>) -> Taken {
        let client = &mut self.clients[request.client as usize];
        let exact = request.words.len() == 1;
        match request.command.kind {
            Kind::Exec if exact => {
                client.poisoned = false;
                self.answer(request.client, |out| {
                    out.extend_from_slice(error::TRANSACTION_LOST);
                });
            }
            Kind::Discard | Kind::Unwatch if exact => {
                client.poisoned = false;
                self.answer(request.client, |out| out.extend_from_slice(b"+OK\r\n"));
            }
            Kind::Quit | Kind::Reset => return self.answer_or_ask(request),
            _ => self.refuse(request.client, ErrorKind::Masterdown),
        }
        Taken::Bytes(request.length)
    }
}
