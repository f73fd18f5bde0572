//! Writes while a round of repair is open: each goes with its mark, in one unit, so that nobody puts something older back over
//! it ([`crate::repair`]).
//!
//! ```text
//!  the app sends        the server gets
//!  SET k v          ─►  MULTI · EVALSHA mark k · SET k v · EXEC
//!  MULTI … EXEC     ─►  MULTI · EVALSHA mark … · … · EXEC; where it comes word by word the marks stand before EXEC
//!  SETNX k v        ─►  SETNX k v, and if that did something EVALSHA mark k
//!  FLUSHDB          ─►  EVAL flush, which writes down when that was
//! ```
//!
//! The app gets the reply to its own request. The mark's reply is the stamp that the write has now: with that it stands in the
//! journal.
//!
//! Not marked: what waits in the server (BLPOP and its like), what is too large to be held here, and clients whose bytes pass
//! unread.

use crate::command::keys::{Touched, touched};
use crate::command::table::{Access, Kind};
use crate::command::ttl::{Found, MULTI};
use crate::downstream::client::Stall;
use crate::id::{ClientId, LinkId};
use crate::journal::Micros;
use crate::repair::marking::{Mark, When, marks, took_effect};
use crate::repair::script::reply;
use crate::repair::stamp::Stamp;
use crate::resp::{encode, value};
use crate::upstream::link::{Awaited, Form, Marked, Settle, What, Wrapped};

use crate::proxy::Proxy;
use crate::proxy::durable::Acknowledgement;
use crate::proxy::flights::Whole;
use crate::proxy::owed::{Sent, split};
use crate::proxy::replies::{ReplyError, Step};
use crate::proxy::requests::{Request, Taken};

/// A transaction of ours around a request.
pub(in crate::proxy) struct Unit<'a> {
    /// Marks of what it writes.
    pub(in crate::proxy) marks: Vec<Mark>,
    /// When they are made.
    pub(in crate::proxy) when: When,
    /// What gives its keys an expiry, with EXEC; or nothing.
    pub(in crate::proxy) behind: &'a [u8],
    /// How many replies there are but for those to marks: that to MULTI, that to the request, those behind it.
    pub(in crate::proxy) replies: u32,
    /// What is counted of its reply.
    pub(in crate::proxy) found: Option<Found>,
}

impl Proxy {
    /// Sends a write with its mark; `None` for what takes none.
    #[cold]
    pub(in crate::proxy) fn send_marked(&mut self, request: &Request<'_>) -> Option<Taken> {
        let client = &self.clients[request.client as usize];
        let is_single = matches!(
            request.command.kind,
            Kind::Tracked | Kind::General | Kind::Pinned | Kind::Script
        );
        if request.command.access != Access::Write || client.is_queueing() || !is_single {
            return None;
        }
        if is_flush(request) {
            return Some(self.send_flush(request));
        }
        let (marks, when) = self.marks_of(request)?;
        let unit = Unit {
            marks,
            when,
            behind: b"",
            replies: 3,
            found: self.take_found(),
        };
        if request.command.kind == Kind::Script {
            return Some(self.send_marked_script(request, unit));
        }
        Some(self.send_unit(request, unit))
    }

    /// Returns the marks that a request takes; `None` for none.
    pub(in crate::proxy) fn marks_of(&self, request: &Request<'_>) -> Option<(Vec<Mark>, When)> {
        if !self.in_round {
            return None;
        }
        let now_ms = self.server_now()?.millis();
        let line: Vec<&[u8]> = request.words_from(0).collect();
        let found = touched(&request.command, request.bytes, request.words);
        let keys = found.words().filter_map(|index| request.word(index));
        let (marks, when) = marks(&line, keys, now_ms);
        (!marks.is_empty()).then_some((marks, when))
    }

    /// A script that this server was not shown goes with its body: in a transaction a refusal would come too late.
    fn send_marked_script(&mut self, request: &Request<'_>, unit: Unit<'_>) -> Taken {
        let line: Vec<&[u8]> = request.words_from(0).collect();
        let primary = self.failover.primaries;
        let with_body = self.failover.scripts.as_eval(&line, primary);
        match with_body.as_deref().and_then(|again| Sent::read(again, 0)) {
            None => self.send_unit(request, unit),
            Some(again) => {
                let with_body = Request {
                    bytes: again.bytes,
                    words: &again.words,
                    ..*request
                };
                self.send_unit(&with_body, unit)
            }
        }
    }

    /// Sends a request within a transaction of ours; its client waits, since it may have to be sent again.
    pub(in crate::proxy) fn send_unit(&mut self, request: &Request<'_>, unit: Unit<'_>) -> Taken {
        let link = match self.link_for(request) {
            Ok(link) => link,
            Err(taken) => return taken,
        };
        let together = unit.when == When::Together && !unit.marks.is_empty();
        let form = match together || !unit.behind.is_empty() {
            true => Form::Within,
            false => Form::Alone,
        };
        let mut bytes = Vec::new();
        let mut replies = 1;
        if form == Form::Within {
            bytes.extend_from_slice(MULTI);
            replies = unit.replies;
        }
        if together {
            bytes.extend_from_slice(&self.mark_calls(link, &unit.marks));
            replies += unit.marks.len() as u32;
        }
        bytes.extend_from_slice(request.bytes);
        bytes.extend_from_slice(unit.behind);
        if form == Form::Within && unit.behind.is_empty() {
            encode::request(&mut bytes, &["EXEC"]);
        }
        let is_marked = !unit.marks.is_empty();
        let wrapped = Wrapped {
            request: request.bytes.into(),
            form,
            replies,
            left: replies,
            came: Vec::new(),
            as_resp2: self.speaks_less(request.client, link),
            found: unit.found.map(|found| (0, found)).into_iter().collect(),
            marked: is_marked.then(|| self.marked(unit.marks, unit.when)),
        };
        let journalled = (!is_marked).then_some(bytes.len());
        self.push_wrapped(request.client, link, &bytes, wrapped);
        self.note_sent_within(request, link, journalled);
        Taken::Bytes(request.length)
    }

    fn marked(&self, marks: Vec<Mark>, when: When) -> Box<Marked> {
        Box::new(Marked {
            marks,
            when,
            sent_at: self.boot_micros,
        })
    }

    /// Tells whether a client speaks RESP2 and the link RESP3.
    fn speaks_less(&self, client: u32, link: LinkId) -> bool {
        self.links[link.index as usize].protocol != self.clients[client as usize].protocol
    }

    /// Queues a wrapped request on a link.
    fn push_wrapped(&mut self, index: u32, link: LinkId, bytes: &[u8], wrapped: Wrapped) {
        let client = &mut self.clients[index as usize];
        client.inflight += wrapped.answers();
        client.lane = Some(link);
        client.stall = Stall::Settling;
        let id = client.id(index);
        let target = &mut self.links[link.index as usize];
        self.counters.requests[target.lane.metric().index()] += u64::from(wrapped.answers());
        target.push_bytes(bytes, &mut self.pool);
        target.expect(id, What::Wrapped(Box::new(wrapped)));
        self.touch_link(link);
    }

    /// Writes the calls that mark these keys.
    fn mark_calls(&self, link: LinkId, marks: &[Mark]) -> Vec<u8> {
        let mut out = Vec::new();
        let Some(repairing) = &self.repairing else {
            return out;
        };
        let database = self.links[link.index as usize].database;
        let dispatch = self.server_now().unwrap_or(Stamp(0));
        for Mark { key, write } in marks {
            let call = repairing.names.mark(database, &[key], write, dispatch);
            call.by_sha(&mut out, &repairing.mark_sha);
        }
        out
    }

    /// Sends a whole transaction with the marks of all that it writes; false where it writes nothing.
    pub(in crate::proxy) fn send_marked_block(
        &mut self,
        request: &Request<'_>,
        link: LinkId,
        block: &[u8],
        found: &[(usize, Found)],
    ) -> bool {
        let requests = split(block, 0);
        let all = self.marks_of_all(&requests);
        if all.is_empty() {
            return false;
        }
        let front = self.mark_calls(link, &all);
        let bytes = [request.bytes, &front, block].concat();
        let queued = requests.len() as u32 - 1;
        let replies = queued + all.len() as u32 + 2;
        let wrapped = Wrapped {
            request: [request.bytes, block].concat().into(),
            form: Form::Block(queued),
            replies,
            left: replies,
            came: Vec::new(),
            as_resp2: self.speaks_less(request.client, link),
            found: found.into(),
            marked: Some(self.marked(all, When::Together)),
        };
        self.push_wrapped(request.client, link, &bytes, wrapped);
        self.note_block_looks(link, &requests);
        self.note_block(request.client, link, block);
        true
    }

    /// Queues the marks of a client's transaction behind it, as its EXEC is about to be sent; returns how many.
    pub(in crate::proxy) fn queue_marks(&mut self, client: u32, link: LinkId) -> u32 {
        let Some(transcript) = self.clients[client as usize].transcript.take() else {
            return 0;
        };
        let all = match self.in_round && !transcript.cut {
            true => self.marks_of_all(&split(&transcript.bytes, 0)),
            false => Vec::new(),
        };
        self.clients[client as usize].transcript = Some(transcript);
        self.queue_mark_calls(link, &all);
        all.len() as u32
    }

    /// Queues the calls that mark these keys on a link; nobody waits for their replies.
    fn queue_mark_calls(&mut self, link: LinkId, marks: &[Mark]) {
        let calls = self.mark_calls(link, marks);
        let target = &mut self.links[link.index as usize];
        for call in split(&calls, 0) {
            target.push_bytes(call.bytes, &mut self.pool);
            target.expect(ClientId::NOBODY, What::Swallow);
        }
    }

    /// The reply to the EXEC of such a transaction: its client gets it without what our marks answered.
    pub(in crate::proxy) fn pass_marked_exec(
        &mut self,
        index: u32,
        bytes: &[u8],
    ) -> Result<Step, ReplyError> {
        let (count, frame) = match self.collect(index, bytes, usize::MAX)? {
            Whole::Starved => return Ok(Step::Starved),
            Whole::Partly(count) => return Ok(Step::Consumed(count)),
            Whole::Yes(count, frame) => (count, frame.unwrap_or_default()),
        };
        let link = &mut self.links[index as usize];
        let Some(Awaited {
            client: id,
            what: What::Settle(settle @ Settle::Exec { marks, .. }),
            ..
        }) = link.pop_awaited()
        else {
            return Err(ReplyError::Unexpected);
        };
        let place = link.replied + 1;
        let (ours, reply) = match without_back(&frame, marks as usize) {
            Some((ours, reply)) => (ours, reply),
            None => (Vec::new(), frame.to_vec()),
        };
        let latest = self.latest_of(&ours);
        let link = &mut self.links[index as usize];
        if let Some(write) = link.writes.front_mut().filter(|write| write.place == place) {
            write.sent_at = write.sent_at.max(latest);
        }
        let (_, waits) = self.alike(index, 1);
        let acknowledged = self.journal_replies(index, 1, &reply, true);
        let acknowledged = acknowledged.if_waiting(waits).by_exec(&reply);
        self.note_replied(index, 1);
        if self.client(id).is_some() {
            self.write_waiting(id, acknowledged, &reply, |out| {
                out.extend_from_slice(&reply);
            });
        }
        let link = self.link_at(index);
        self.settle(link, id, settle, !value::is_error(&reply));
        self.answered(id, 1);
        Ok(Step::Consumed(count))
    }

    /// Returns when the latest of these writes counts as sent, by the boot clock.
    fn latest_of(&mut self, answers: &[&[u8]]) -> Micros {
        let mut latest = 0;
        for answer in answers {
            let Some(stamps) = reply::marked(answer) else {
                self.reload_mark_script();
                continue;
            };
            let repairing = self.repairing.as_ref();
            let moments = stamps
                .iter()
                .filter_map(|stamp| repairing?.clock.moment(*stamp));
            let moment = moments.map(|moment| moment.0.max(0) as Micros).max();
            latest = latest.max(moment.unwrap_or(0));
        }
        latest
    }

    /// Returns the time by the primary's clock, where that is known.
    fn server_now(&self) -> Option<Stamp> {
        self.repairing.as_ref()?.stamp(self.boot_micros)
    }

    /// Returns the marks that requests take which are executed together.
    fn marks_of_all(&self, requests: &[Sent<'_>]) -> Vec<Mark> {
        let Some(now_ms) = self.server_now().map(Stamp::millis) else {
            return Vec::new();
        };
        let mut all = Vec::new();
        for one in requests {
            let command = self.table.find(one.name());
            if command.access == Access::Write {
                let found = touched(&command, one.bytes, &one.words);
                let keys = found
                    .words()
                    .filter_map(|index| one.words.get(one.bytes, index));
                all.extend(marks(&one.line(), keys, now_ms).0);
            }
        }
        all
    }

    /// Flushes by a script that writes down when that was: nothing that was written before comes back.
    fn send_flush(&mut self, request: &Request<'_>) -> Taken {
        let link = match self.link_for(request) {
            Ok(link) => link,
            Err(taken) => return taken,
        };
        let Some(repairing) = &self.repairing else {
            return Taken::Stalled;
        };
        let words: Vec<Vec<u8>> = request
            .words_from(0)
            .map(<[u8]>::to_ascii_uppercase)
            .collect();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let database = self.links[link.index as usize].database;
        let mut bytes = Vec::new();
        repairing.names.flush(database, &words).by_body(&mut bytes);
        let wrapped = Wrapped {
            request: request.bytes.into(),
            form: Form::Alone,
            replies: 1,
            left: 1,
            came: Vec::new(),
            as_resp2: self.speaks_less(request.client, link),
            found: Box::default(),
            marked: Some(self.marked(Vec::new(), When::Together)),
        };
        self.push_wrapped(request.client, link, &bytes, wrapped);
        self.note_sent_within(request, link, None);
        Taken::Bytes(request.length)
    }

    /// A write that went with its marks is answered with this: it stands in the journal with its stamp. Returns what of it waits
    /// for replicas.
    pub(in crate::proxy) fn note_marked(
        &mut self,
        link: LinkId,
        wrapped: &Wrapped,
        marked: &Marked,
        answers: &[&[u8]],
        reply: &[u8],
    ) -> Acknowledgement {
        let sent_at = marked.sent_at.max(self.latest_of(answers));
        let acknowledged = self.journal_answered(link, sent_at, &wrapped.request, reply);
        if marked.when == When::AtReply
            && let Some(request) = Sent::read(&wrapped.request, 0)
            && took_effect(&request.line(), reply)
        {
            self.queue_mark_calls(link, &marked.marks);
            self.touch_link(link);
        }
        let waits =
            self.may_be_replicated() && self.is_block_replicated(&split(&wrapped.request, 0));
        acknowledged.if_waiting(waits)
    }
}

/// Tells whether a request flushes a database, or all.
fn is_flush(request: &Request<'_>) -> bool {
    let name = request.word(0).unwrap_or_default();
    let found = touched(&request.command, request.bytes, request.words);
    let names = [&b"flushdb"[..], b"flushall"];
    found == Touched::Everything && names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Takes our elements from the end of an EXEC's reply: returns them, and the reply without them.
fn without_back(exec: &[u8], count: usize) -> Option<(Vec<&[u8]>, Vec<u8>)> {
    let all: Vec<&[u8]> = value::elements(exec)?.collect();
    let own = all.len().checked_sub(count)?;
    let mut reply = Vec::new();
    encode::header(&mut reply, b'*', own as i64);
    all[..own]
        .iter()
        .for_each(|element| reply.extend_from_slice(element));
    Some((all[own..].to_vec(), reply))
}

/// Takes our elements from the front of an EXEC's reply: returns them, and the reply without them.
pub(in crate::proxy) fn without_front(exec: &[u8], count: usize) -> Option<(Vec<&[u8]>, Vec<u8>)> {
    let mut elements = value::elements(exec)?;
    let ours: Vec<&[u8]> = elements.by_ref().take(count).collect();
    let rest: Vec<&[u8]> = elements.collect();
    let mut reply = Vec::new();
    encode::header(&mut reply, b'*', rest.len() as i64);
    for element in rest {
        reply.extend_from_slice(element);
    }
    (ours.len() == count).then_some((ours, reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_elements_are_taken_away() {
        let exec = b"*3\r\n*1\r\n:0\r\n+OK\r\n$1\r\nx\r\n";
        let (ours, reply) = without_front(exec, 1).unwrap();
        assert_eq!(ours, [&b"*1\r\n:0\r\n"[..]]);
        assert_eq!(reply, b"*2\r\n+OK\r\n$1\r\nx\r\n");
        assert_eq!(without_front(exec, 4), None);
        assert_eq!(without_front(b"-EXECABORT x\r\n", 1), None);
        let (ours, reply) = without_back(exec, 1).unwrap();
        assert_eq!(
            (ours, &reply[..]),
            (vec![&b"$1\r\nx\r\n"[..]], &b"*2\r\n*1\r\n:0\r\n+OK\r\n"[..])
        );
        assert_eq!(without_back(exec, 4), None);
        assert_eq!(without_back(b"_\r\n", 1), None);
    }
}
