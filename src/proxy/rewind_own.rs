//! What a client awaited of its own link is taken back when that is lost, and the transaction that it was queueing there is
//! queued again on the next one.
//!
//! - *In MULTI:* what the server has answered with QUEUED is remembered (`Client::transcript`) and sent in front on the
//!   next link; the client hears nothing of it.
//! - *EXEC sent and not answered:* as the table of what may be sent again says of all its commands together.
//! - *After WATCH:* somebody may have changed what was watched meanwhile, so the next EXEC gets a null, as it would from the
//!   server ([`Proxy::send_void`](super::transactions)). A WATCH that was not answered yet is made anew: until then the
//!   client has been told of nothing that it could rely on.

use crate::command::table::Kind;
use crate::downstream::client::{Rewound, Transcript};
use crate::failover::block::{block_with_absolute_deadlines, classify_block};
use crate::failover::deadline::with_absolute_deadline;
use crate::failover::replay::{Delivery, Replay, replay};
use crate::id::{ClientId, LinkId};
use crate::metrics::{CloseCause, ErrorKind};
use crate::upstream::link::{Awaited, Settle, What};

use super::Proxy;
use super::owed::{Owed, Sent, split};

const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// How far the taking back has come.
struct Progress {
    /// The next request is one of the transaction.
    in_multi: bool,
    /// EXEC is on its way, and nobody may run it again.
    unknown: bool,
    /// EXEC is on its way.
    exec_sent: bool,
    /// What follows stands behind that EXEC.
    is_over: bool,
    /// Bytes of the transaction's requests that the server has not answered.
    unanswered: usize,
}

impl Proxy {
    /// Takes back what a client awaited of its own link, which is lost.
    pub(super) fn rewind_own(&mut self, id: ClientId, mut owed: Owed) {
        let wall = self.wall(id);
        if self.client(id).is_some_and(|client| client.raw) {
            return self.wait_or_go_on(id);
        }
        if !self.take_back_upload(id, &mut owed) {
            return;
        }
        let owed = &owed;
        let Some(client) = self.client(id) else {
            return;
        };
        client.begin_rewind();
        client.own = None;
        client.lose_watch();
        let watched = client.held.watch;
        let transcript = client.transcript.take().map(|transcript| *transcript);
        let exec = owed.find(|what| matches!(what, What::Settle(Settle::Exec { .. })));
        let mut progress = Progress {
            in_multi: transcript.is_some() && !self.has_multi(owed),
            unknown: exec == Some(Delivery::Unanswered)
                && !owed.refused
                && self.must_run_once(transcript.as_ref(), wall, watched),
            exec_sent: exec == Some(Delivery::Unanswered) && !owed.refused,
            is_over: false,
            unanswered: 0,
        };
        let mut start = owed.answered;
        for Awaited { what, end, .. } in &owed.awaited {
            let bytes = owed.output.between(start, *end);
            self.rewind_own_entry(id, what, bytes, start, owed, &mut progress);
            start = *end;
        }
        self.keep_transcript(id, transcript, &progress, wall);
        self.end_rewind(id);
    }

    /// The part of a large request that was passed on comes before what is still to come of it; false when it is not at
    /// hand any more, and the client closed.
    fn take_back_upload(&mut self, id: ClientId, owed: &mut Owed) -> bool {
        if self.client(id).is_none_or(|client| client.upload.is_none()) {
            return true;
        }
        owed.awaited.pop();
        let start = owed.awaited.last().map_or(owed.answered, |last| last.end);
        let part = owed.output.between(start, owed.output.queued());
        let part = part.map(<[u8]>::to_vec);
        let Some(client) = self.client(id) else {
            return false;
        };
        match part {
            Some(mut part) => {
                client.upload = None;
                client.need = 0;
                part.append(&mut client.input);
                client.input = part;
                true
            }
            None => {
                self.close_after_flush(id.index, CloseCause::UpstreamLost);
                false
            }
        }
    }

    /// Tells whether a transaction may not be run a second time.
    fn must_run_once(&self, transcript: Option<&Transcript>, wall: u64, is_watched: bool) -> bool {
        let Some(transcript) = transcript.filter(|transcript| !transcript.cut) else {
            return true;
        };
        let requests = split(&transcript.bytes, 0);
        let lines: Vec<_> = requests.iter().map(Sent::line).collect();
        let class = classify_block(&self.table, &lines, wall, is_watched);
        replay(class, Delivery::Unanswered) == Replay::Unknown
    }

    /// Tells whether the MULTI of the transaction is not answered yet.
    fn has_multi(&self, owed: &Owed) -> bool {
        let mut start = owed.answered;
        owed.awaited.iter().any(|awaited| {
            let bytes = owed.output.between(start, awaited.end);
            let requests = split(bytes.unwrap_or_default(), start);
            start = awaited.end;
            requests
                .iter()
                .any(|request| self.table.find(request.name()).kind == Kind::Multi)
        })
    }

    fn rewind_own_entry(
        &mut self,
        id: ClientId,
        what: &What,
        bytes: Option<&[u8]>,
        start: u64,
        owed: &Owed,
        progress: &mut Progress,
    ) {
        let count = match what {
            What::Replies { count, .. } => *count as usize,
            What::Settle(Settle::Voided { .. }) => {
                progress.in_multi = false;
                return self.put_back_queued(id, EXEC);
            }
            What::Counted { .. } | What::Settle(_) => 1,
            _ => return self.rewind_entry(id, what, bytes, start, owed),
        };
        let requests = split(bytes.unwrap_or_default(), start);
        for _ in requests.len()..count {
            self.put_back_error(id, ErrorKind::OutcomeUnknown);
        }
        for request in &requests[requests.len().saturating_sub(count)..] {
            self.rewind_own_request(id, request, owed, progress);
        }
    }

    fn rewind_own_request(
        &mut self,
        id: ClientId,
        request: &Sent<'_>,
        owed: &Owed,
        progress: &mut Progress,
    ) {
        let kind = self.table.find(request.name()).kind;
        match kind {
            Kind::Multi => progress.in_multi = true,
            Kind::Exec if progress.in_multi => {
                progress.in_multi = false;
                progress.is_over = true;
                return match progress.unknown {
                    true => self.put_back_error(id, ErrorKind::OutcomeUnknown),
                    false => self.put_back_request(id, request.bytes, progress.exec_sent),
                };
            }
            Kind::Discard if progress.in_multi => {
                progress.in_multi = false;
                return self.put_back_queued(id, request.bytes);
            }
            _ if progress.in_multi => {}
            // It ends with that EXEC, whose fate is unknown: nothing is to be watched any more.
            Kind::Watch if progress.unknown && !progress.is_over => {
                return self.put_back(id, Rewound::Answer(b"+OK\r\n"[..].into()));
            }
            _ => return self.take_back_one(id, request.bytes, owed.delivery(request.end)),
        }
        progress.unanswered += request.bytes.len();
        match (progress.unknown, kind) {
            // EXEC has run them or it has not, but the server had queued them.
            (true, Kind::Multi) => self.put_back(id, Rewound::Answer(b"+OK\r\n"[..].into())),
            (true, _) => self.put_back(id, Rewound::Answer(b"+QUEUED\r\n"[..].into())),
            (false, _) => {
                let wall = self.wall(id);
                let again = with_absolute_deadline(&request.line(), wall);
                self.put_back_queued(id, again.as_deref().unwrap_or(request.bytes));
            }
        }
    }

    /// Nothing of a transaction runs before its EXEC does.
    fn put_back_queued(&mut self, id: ClientId, request: &[u8]) {
        let may_have_run = false;
        self.put_back_request(id, request, may_have_run);
    }

    /// Keeps of a transaction what the server had queued, to be queued again.
    fn keep_transcript(
        &mut self,
        id: ClientId,
        transcript: Option<Transcript>,
        progress: &Progress,
        wall: u64,
    ) {
        let Some(transcript) = transcript else {
            return;
        };
        let length = transcript.bytes.len().saturating_sub(progress.unanswered);
        // Of one that was cut this is a part, and not used.
        let requests = split(&transcript.bytes[..length], 0);
        let lines: Vec<_> = requests.iter().map(Sent::line).collect();
        let bytes = block_with_absolute_deadlines(&lines, wall);
        let Some(client) = self.client(id) else {
            return;
        };
        if progress.unknown || bytes.is_empty() && !transcript.cut {
            // It is over, or begins anew with a MULTI that was taken back.
            client.held.multi = false;
            client.held.watch &= !progress.unknown;
            client.watch_lost &= !progress.unknown;
        } else if transcript.cut {
            client.poison();
        } else {
            client.restore = true;
            client.transcript = Some(Box::new(Transcript {
                bytes,
                ..Transcript::default()
            }));
        }
    }

    /// Queues on a client's new link what the server had queued on the old one.
    pub(super) fn restore_transaction(&mut self, index: u32, link: LinkId) {
        let client = &mut self.clients[index as usize];
        if !std::mem::take(&mut client.restore) {
            return;
        }
        let bytes = match &client.transcript {
            Some(transcript) => transcript.bytes.clone(),
            None => return,
        };
        let primary = self.failover.primaries;
        for request in split(&bytes, 0) {
            // It may not know what the one before was shown.
            let scripts = &mut self.failover.scripts;
            let with_body = scripts.as_eval(&request.line(), primary);
            let target = &mut self.links[link.index as usize];
            target.push_bytes(
                with_body.as_deref().unwrap_or(request.bytes),
                &mut self.pool,
            );
            target.expect(ClientId::NOBODY, What::Swallow);
        }
        self.touch_link(link);
    }
}
