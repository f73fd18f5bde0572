//! From a client's bytes to links: one request at a time, by its kind.

use crate::command::table::{Access, Command, Kind};
use crate::downstream::client::Stall;
use crate::id::LinkId;
use crate::metrics::ErrorKind;
use crate::resp::request::{Parsed, parse};
use crate::resp::{Protocol, Words};
use crate::upstream::link::{Lane, Settle, What};

use super::Proxy;

/// Bytes that may wait for a link's socket before the clients that feed it are slowed down.
pub const LINK_OUTPUT_SOFT: usize = 1024 * 1024;

/// Bytes that may wait for a client before no further request of it is taken and its own link is read no further.
pub const CLIENT_OUTPUT_SOFT: usize = 1024 * 1024;

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

    /// Returns the words from this one on.
    pub(super) fn words_from(&self, index: usize) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.words.iter(self.bytes, index)
    }
}

impl Proxy {
    /// Handles what a client has sent; returns the number of bytes that are done with.
    pub fn serve(&mut self, index: u32, input: &[u8]) -> usize {
        // What was taken back of it comes first.
        if !self.clients[index as usize].rewound.is_empty() && self.failover.replaying.is_none() {
            return 0;
        }
        self.look_at_clock();
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
                // What waits for replicas is no fault of its own.
                client.reads_slowly |= client.output.writable() > CLIENT_OUTPUT_SOFT;
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
                match client.held.named && !words.is_empty() {
                    true => self.begin_upload(index, input, words),
                    false => Taken::Stalled,
                }
            }
            Parsed::Large(_) | Parsed::Irregular if self.clients[index as usize].locked => {
                self.refuse_input(index)
            }
            // Its transaction is lost: outside of it, nothing of it may be executed.
            Parsed::Large(_) if self.clients[index as usize].poisoned => {
                self.skip_refused(index, ErrorKind::Masterdown)
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
        if let Some(scope) = self.failover.gate
            && let Some(taken) = self.stop(&request, scope)
        {
            return taken;
        }
        if self.in_round
            && let Some(taken) = self.stop_for_repair(&request)
        {
            return taken;
        }
        if self.failover.replaying == Some(true) && self.is_claim(&request) {
            return self.send_claim(request);
        }
        match self.is_judged(&request) {
            true => self.dispatch_judged(request),
            false => self.dispatch_plain(request),
        }
    }

    /// Handles a request by its kind.
    #[inline]
    pub(super) fn dispatch_plain(&mut self, request: Request<'_>) -> Taken {
        let client = &self.clients[request.client as usize];
        if client.held.takes_everything() {
            return self.dispatch_held(request);
        }
        let protocol = client.protocol;
        if self.in_round
            && let Some(taken) = self.send_marked(&request)
        {
            return taken;
        }
        match request.command.kind {
            Kind::Tracked if !self.is_paused() => self.send_tracked(request),
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
            return self.no_link(&request);
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
        let found = self.take_found();
        let target = &mut self.links[link.index as usize];
        match found {
            None => target.send(
                request.bytes,
                id,
                request.command.access == Access::Write,
                as_resp2,
                &mut self.pool,
            ),
            Some(found) => {
                target.push_bytes(request.bytes, &mut self.pool);
                target.expect(id, What::Counted { found, as_resp2 });
            }
        }
        self.note_sent(&request, link);
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

    pub(super) fn begin_monitor(&mut self, request: Request<'_>) -> Taken {
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
}

/// Tells whether XREAD or XREADGROUP asks to wait.
fn names_block(request: &Request<'_>) -> bool {
    request
        .words_from(1)
        .take_while(|word| !word.eq_ignore_ascii_case(b"STREAMS"))
        .any(|word| word.eq_ignore_ascii_case(b"BLOCK"))
}
