//! From a client's bytes to links: one request at a time, by its kind.

use crate::command::table::{Access, Command, Kind};
use crate::downstream::client::Stall;
use crate::id::LinkId;
use crate::metrics::{CloseCause, ErrorKind};
use crate::resp::request::{Parsed, parse};
use crate::resp::{Protocol, Scanner, Words};
use crate::upstream::link::{Lane, Settle, What};

use super::{CLIENT_OUTPUT_SOFT, LINK_OUTPUT_SOFT, Proxy};

/// A slow log with a threshold below this many microseconds is meant to take every command.
const SLOW_LOG_ALL: i64 = 10;

/// What became of the request at the front of a client's input.
pub(super) enum Taken {
    /// Handled; so many bytes of the input are done with.
    Bytes(usize),
    /// It stays there until the client's stall is over.
    Stalled,
}

/// A request as it is handled: its bytes as an array, its words, the input that begins with it.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    /// The client's place.
    pub client: u32,
    /// The request as an array of bulk strings.
    pub bytes: &'a [u8],
    /// Where its words lie in `bytes`.
    pub words: &'a Words,
    /// Bytes of the input that it takes (differs from `bytes` for inline requests).
    pub length: usize,
    /// What follows it in the input.
    pub rest: &'a [u8],
    /// What the tables say of it.
    pub command: Command,
}

impl<'a> Request<'a> {
    /// Returns a word.
    pub(super) fn word(&self, index: usize) -> Option<&'a [u8]> {
        self.words.get(self.bytes, index)
    }
}

impl Proxy {
    /// Handles what a client has sent; returns the number of bytes that are done with.
    pub fn serve(&mut self, index: u32, input: &[u8]) -> usize {
        let mut words = std::mem::take(&mut self.words);
        let mut at = 0;
        while at < input.len() {
            let client = &self.clients[index as usize];
            if client.stall != Stall::None && client.stall != Stall::PinnedDenied
                || client.closing.is_some()
                || client.quitting
                || self.draining
            {
                break;
            }
            let rest = &input[at..];
            let taken = if client.raw || client.upload.is_some() {
                self.stream_through(index, rest)
            } else if rest.len() < client.need {
                break;
            } else if client.output.len() > CLIENT_OUTPUT_SOFT {
                let client = &mut self.clients[index as usize];
                client.stall = Stall::Output;
                client.reads_slowly = true;
                break;
            } else {
                self.take_request(index, rest, &mut words)
            };
            match taken {
                Taken::Bytes(0) | Taken::Stalled => break,
                Taken::Bytes(count) => at += count,
            }
        }
        self.words = words;
        at
    }

    fn take_request(&mut self, index: u32, input: &[u8], words: &mut Words) -> Taken {
        match parse(input, words) {
            Parsed::Whole(length) => {
                self.clients[index as usize].need = 0;
                let (bytes, rest) = input.split_at(length);
                self.dispatch(Request {
                    client: index,
                    bytes,
                    words,
                    length,
                    rest,
                    command: self.table.find(words.get(bytes, 0).unwrap_or_default()),
                })
            }
            Parsed::Inline(length) => {
                self.clients[index as usize].need = 0;
                let bytes = words.take_rewritten();
                let taken = self.dispatch(Request {
                    client: index,
                    bytes: &bytes,
                    words,
                    length,
                    rest: &[],
                    command: self.table.find(words.get(&bytes, 0).unwrap_or_default()),
                });
                words.return_rewritten(bytes);
                taken
            }
            Parsed::Blank(length) => Taken::Bytes(length),
            Parsed::Partial(need) => {
                let client = &mut self.clients[index as usize];
                client.need = need;
                // What such a client has sent is to be seen at the server, whole or not.
                match client.held.named && words.len() > 0 {
                    true => self.begin_upload(index, input, words),
                    false => Taken::Stalled,
                }
            }
            Parsed::Large(_) | Parsed::Irregular if self.clients[index as usize].locked => {
                self.refuse_input(index)
            }
            Parsed::Large(_) => self.begin_upload(index, input, words),
            Parsed::Irregular => self.leave_to_server(index, input),
        }
    }

    #[inline]
    fn dispatch(&mut self, request: Request<'_>) -> Taken {
        let client = &self.clients[request.client as usize];
        if client.locked {
            return self.dispatch_locked(request);
        }
        if client.poisoned {
            return self.dispatch_poisoned(request);
        }
        if client.held.takes_everything() {
            return self.dispatch_held(request);
        }
        let protocol = client.protocol;
        match request.command.kind {
            Kind::Tracked if !self.is_paused() => {
                self.send_shared(request, Lane::Tracked, Protocol::Resp3)
            }
            Kind::General if !self.is_paused() => {
                self.send_shared(request, Lane::General, protocol)
            }
            Kind::Tracked | Kind::General | Kind::Pinned => self.send_own(request, None),
            Kind::Script => self.send_script(request),
            Kind::Rescue => self.send_rescue(request),
            Kind::Blocking => self.send_blocking(request),
            Kind::Wait => self.send_wait(request),
            Kind::MayBlock if names_block(&request) => self.send_blocking(request),
            Kind::MayBlock => self.send_shared(request, Lane::General, protocol),
            Kind::OwnConnection => self.go_raw(request.client, request.bytes, request.length),
            Kind::Monitor => self.begin_monitor(request),
            Kind::Config => self.configure(request),
            Kind::Unknown => self.send_settling(request, Settle::Unknown),
            Kind::Multi => self.begin_transaction(request),
            Kind::Watch => self.begin_watch(request),
            // Outside a transaction these are errors, in the server's words.
            Kind::Exec | Kind::Discard => self.send_own(request, None),
            Kind::Ping
            | Kind::Echo
            | Kind::Select
            | Kind::Hello
            | Kind::Auth
            | Kind::Client
            | Kind::Quit
            | Kind::Reset
            | Kind::Unwatch => self.answer_or_ask(request),
        }
    }

    /// Tells whether a CLIENT PAUSE that passed through here may still last.
    pub(super) fn is_paused(&mut self) -> bool {
        let Some(until) = self.paused_until else {
            return false;
        };
        if until <= self.now {
            self.paused_until = None;
        }
        self.paused_until.is_some()
    }

    /// Sends a request over the shared link of a lane.
    #[inline]
    pub(super) fn send_shared(
        &mut self,
        request: Request<'_>,
        lane: Lane,
        link_protocol: Protocol,
    ) -> Taken {
        let Some(link) = self.shared(lane, request.client) else {
            self.refuse(request.client, ErrorKind::Masterdown);
            return Taken::Bytes(request.length);
        };
        if !self.may_send(request.client, link) {
            return Taken::Stalled;
        }
        let client = &mut self.clients[request.client as usize];
        client.inflight += 1;
        client.lane = Some(link);
        let id = client.id(request.client);
        let as_resp2 = link_protocol != client.protocol;
        self.counters.requests[lane.metric().index()] += 1;
        self.links[link.index as usize].send(
            request.bytes,
            id,
            request.command.access == Access::Write,
            as_resp2,
            &mut self.pool,
        );
        self.touch_link(link);
        Taken::Bytes(request.length)
    }

    /// Tells whether a client may put a request on a link now; else it is stalled.
    #[inline]
    pub(super) fn may_send(&mut self, index: u32, link: LinkId) -> bool {
        let queued = self.links[link.index as usize].output.len();
        let client = &mut self.clients[index as usize];
        if client.inflight > 0 {
            if client.lane != Some(link) {
                client.stall = Stall::Lane;
                return false;
            }
            if client.inflight >= client.window() {
                client.stall = Stall::Window;
                return false;
            }
        }
        if queued > LINK_OUTPUT_SOFT {
            self.congest(index, link);
            return false;
        }
        true
    }

    /// `[MULTI … EXEC]` that has arrived whole and holds only session commands needs no link of its own: it is one
    /// write of one sender.
    fn begin_transaction(&mut self, request: Request<'_>) -> Taken {
        let plain = request.words.len() == 1 && !self.is_paused();
        if plain && let Some((length, count)) = self.whole_transaction(request.rest) {
            let Some(link) = self.shared(Lane::Tracked, request.client) else {
                self.refuse(request.client, ErrorKind::Masterdown);
                return Taken::Bytes(request.length);
            };
            if !self.may_send(request.client, link) {
                return Taken::Stalled;
            }
            let client = &mut self.clients[request.client as usize];
            client.inflight += count;
            client.lane = Some(link);
            let id = client.id(request.client);
            let as_resp2 = client.protocol == Protocol::Resp2;
            self.counters.requests[Lane::Tracked.metric().index()] += u64::from(count);
            let target = &mut self.links[link.index as usize];
            target.push_bytes(request.bytes, &mut self.pool);
            target.push_bytes(&request.rest[..length], &mut self.pool);
            let write = true;
            target.expect(
                id,
                What::Replies {
                    count,
                    write,
                    as_resp2,
                },
            );
            self.touch_link(link);
            return Taken::Bytes(request.length + length);
        }
        let taken = self.send_own(request, None);
        if matches!(taken, Taken::Bytes(_)) && self.clients[request.client as usize].own.is_some() {
            self.clients[request.client as usize].begin_multi();
        }
        taken
    }

    /// Looks behind MULTI for session commands up to EXEC; their bytes and, with MULTI, their number.
    fn whole_transaction(&self, mut rest: &[u8]) -> Option<(usize, u32)> {
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

    fn begin_monitor(&mut self, request: Request<'_>) -> Taken {
        let taken = self.go_raw(request.client, request.bytes, request.length);
        let client = &mut self.clients[request.client as usize];
        if client.raw && !std::mem::replace(&mut client.monitor, true) {
            self.observed.monitors += 1;
        }
        taken
    }

    /// A slow log that takes everything is meant to show everything.
    fn configure(&mut self, request: Request<'_>) -> Taken {
        let is = |index: usize, wanted: &[u8]| {
            request
                .word(index)
                .is_some_and(|word| word.eq_ignore_ascii_case(wanted))
        };
        if is(1, b"SET") && is(2, b"slowlog-log-slower-than") {
            let threshold = request
                .word(3)
                .and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
            self.observed.slow_log =
                threshold.is_some_and(|micros: i64| (0..SLOW_LOG_ALL).contains(&micros));
        }
        let protocol = self.clients[request.client as usize].protocol;
        self.send_shared(request, Lane::General, protocol)
    }

    fn begin_watch(&mut self, request: Request<'_>) -> Taken {
        let taken = self.send_own(request, None);
        let client = &mut self.clients[request.client as usize];
        if matches!(taken, Taken::Bytes(_)) && client.own.is_some() {
            client.begin_watch();
        }
        taken
    }

    /// Requests of a client in MULTI or WATCH: all over its own link.
    fn dispatch_held(&mut self, request: Request<'_>) -> Taken {
        let client = &self.clients[request.client as usize];
        let (multi, held) = (client.held.multi, client.held_count);
        let exact = request.words.len() == 1;
        match request.command.kind {
            Kind::Exec if exact && multi => {
                let script = client.script_queued;
                let taken = self.send_own(request, Some(Settle::Exec { held, script }));
                if matches!(taken, Taken::Bytes(_)) {
                    let client = &mut self.clients[request.client as usize];
                    client.script_queued = false;
                    // What follows in the same pipeline may already be outside.
                    self.scripts += usize::from(script && client.own.is_some());
                }
                taken
            }
            Kind::Discard if exact && multi => {
                let taken = self.send_own(request, Some(Settle::Discard { held }));
                if matches!(taken, Taken::Bytes(_)) {
                    self.clients[request.client as usize].script_queued = false;
                }
                taken
            }
            Kind::Unwatch if exact && !multi => {
                self.send_own(request, Some(Settle::Unwatch { held }))
            }
            Kind::Watch => self.begin_watch(request),
            Kind::Multi => {
                let taken = self.send_own(request, None);
                if matches!(taken, Taken::Bytes(_)) {
                    self.clients[request.client as usize].begin_multi();
                }
                taken
            }
            Kind::Script if multi => {
                self.clients[request.client as usize].script_queued = true;
                self.send_own(request, None)
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

    /// The transaction was lost with its link: nothing of it may run by halves.
    fn dispatch_poisoned(&mut self, request: Request<'_>) -> Taken {
        let client = &mut self.clients[request.client as usize];
        let exact = request.words.len() == 1;
        match request.command.kind {
            Kind::Exec if exact => {
                client.poisoned = false;
                self.answer(request.client, |out| {
                    out.extend_from_slice(
                        b"-EXECABORT Transaction discarded because of: gripfast: the link to the \
                          primary was lost; nothing of it was executed, it is safe to retry\r\n",
                    );
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

    /// A request longer than what we wait for: over the client's own link, as it arrives.
    fn begin_upload(&mut self, index: u32, input: &[u8], words: &Words) -> Taken {
        let kind = words
            .get(input, 0)
            .map_or(Kind::Unknown, |name| self.table.find(name).kind);
        let stateless = matches!(
            kind,
            Kind::Tracked
                | Kind::General
                | Kind::Pinned
                | Kind::Rescue
                | Kind::Script
                | Kind::Blocking
        );
        if !stateless {
            return match input.len() <= crate::resp::request::WHOLE_BYTES_MAX {
                true => Taken::Stalled,
                false => self.leave_to_server(index, input),
            };
        }
        let Some(link) = (match self.own_link(index) {
            Ok(link) => link,
            Err(taken) => return self.skip_refused(index, taken),
        }) else {
            return Taken::Stalled;
        };
        let client = &mut self.clients[index as usize];
        client.need = 0;
        client.upload = Some(Scanner::default());
        client.inflight += 1;
        client.lane = Some(link);
        client.blocking |= kind == Kind::Blocking;
        let id = client.id(index);
        let multi = client.held.multi;
        client.script_queued |= multi && kind == Kind::Script;
        let what = match kind {
            Kind::Script if !multi => {
                self.scripts += 1;
                What::Settle(Settle::Script)
            }
            _ => What::Replies {
                count: 1,
                write: true,
                as_resp2: false,
            },
        };
        self.counters.requests[Lane::Pinned.metric().index()] += 1;
        self.links[link.index as usize].expect(id, what);
        self.stream_through(index, input)
    }

    /// A large request that can't be sent is not buffered to be refused politely: the client is told and closed.
    fn skip_refused(&mut self, index: u32, kind: ErrorKind) -> Taken {
        self.refuse(index, kind);
        self.close_after_flush(index, CloseCause::UpstreamLost);
        Taken::Stalled
    }

    /// Passes bytes on over the client's own link: all of them (raw), or up to the end of a large request.
    fn stream_through(&mut self, index: u32, input: &[u8]) -> Taken {
        let client = &mut self.clients[index as usize];
        let Some(own) = client.own else {
            return Taken::Stalled;
        };
        let link = &mut self.links[own.index as usize];
        if link.output.len() > LINK_OUTPUT_SOFT {
            self.congest(index, own);
            return Taken::Stalled;
        }
        let count = match &mut client.upload {
            None => input.len(),
            Some(scanner) => match scanner.run(input, 1) {
                Ok(run) => {
                    if run.frames == 1 {
                        client.upload = None;
                    }
                    run.consumed
                }
                Err(_) => {
                    client.upload = None;
                    return self.leave_to_server(index, input);
                }
            },
        };
        if client.upload.is_none() && !client.raw {
            // The entry was queued before its bytes: it ends here.
            link.push_bytes(&input[..count], &mut self.pool);
            if let Some(last) = link.awaited.back_mut() {
                last.end = link.queued;
            }
        } else {
            link.push_bytes(&input[..count], &mut self.pool);
        }
        self.touch_link(own);
        Taken::Bytes(count)
    }
}

/// Tells whether XREAD or XREADGROUP asks to wait.
fn names_block(request: &Request<'_>) -> bool {
    (1..request.words.len())
        .filter_map(|index| request.word(index))
        .take_while(|word| !word.eq_ignore_ascii_case(b"STREAMS"))
        .any(|word| word.eq_ignore_ascii_case(b"BLOCK"))
}
