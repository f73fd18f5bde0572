//! From a link's bytes to clients: each frame goes to whom it is awaited by, in order.

use crate::downstream::client::{Barrier, Stall};
use crate::id::ClientId;
use crate::metrics::{ClearCause, CloseCause};
use crate::resp::{FrameError, Scanner, value};
use crate::upstream::link::{Awaited, Lane, What};

use super::Proxy;
use super::durable::run_waiting;
use super::flights::{COLLECTED_MAX, Whole};
use super::refusal::{Taking, before_refusal};

/// Bytes of an unfinished reply that wait for its end, so that a link that is lost leaves nobody with half of it. A larger
/// one is passed as it comes.
pub(super) const HELD_BACK_MAX: usize = 256 * 1024;

/// Why a link's bytes make no sense; the link is given up.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// They are not RESP.
    #[error("malformed reply")]
    Malformed(#[from] FrameError),
    /// A push about changed keys that names none.
    #[error("an invalidation that can't be read")]
    BadPush,
    /// It refuses what belongs to a transaction on it: that is queued again on another link.
    #[error("the server takes no such request any more")]
    Demoted,
    /// A reply that nobody awaits.
    #[error("a reply that was not asked for")]
    Unexpected,
}

/// What one step of the matching did.
pub(super) enum Step {
    /// So many bytes are done with; go on.
    Consumed(usize),
    /// More bytes are needed.
    Starved,
}

impl Proxy {
    /// Hands out what a link has brought; returns the number of bytes that are done with.
    ///
    /// # Errors
    /// [`ReplyError`] when the link must be given up.
    pub fn deliver(&mut self, index: u32, bytes: &[u8]) -> Result<usize, ReplyError> {
        self.look_at_clock();
        let mut at = 0;
        self.pass_local_answers(index);
        while at < bytes.len()
            && let Step::Consumed(count) = self.step(index, &bytes[at..])?
        {
            at += count;
            self.pass_local_answers(index);
        }
        // What the server announces of a write stands behind its reply, and would spoil a read that begins before.
        self.read_ahead_of_written();
        Ok(at)
    }

    /// Answers of ours whose turn has come.
    fn pass_local_answers(&mut self, index: u32) {
        while let link = &mut self.links[index as usize]
            && link.scanner.at_boundary()
            && let Some(Awaited {
                what: What::Local(_),
                ..
            }) = link.awaited.front()
            && let Some(Awaited {
                client,
                what: What::Local(answer),
                ..
            }) = link.pop_awaited()
        {
            match self.client(client).map(|client| client.rewinding) {
                Some(false) => {
                    self.write_to_client(client.index, |out| out.extend_from_slice(&answer));
                    self.answered(client, 1);
                }
                Some(true) => self.take_back_answer(client, &answer),
                None => {}
            }
        }
    }

    #[inline]
    fn step(&mut self, index: u32, bytes: &[u8]) -> Result<Step, ReplyError> {
        let link = &mut self.links[index as usize];
        if link.in_push || (link.scanner.at_boundary() && bytes[0] == b'>') {
            return self.pass_push(index, bytes);
        }
        if link.scanner.at_boundary() && (bytes[0] == b'-' || link.refused > 0) {
            match self.take_back_reply(index, bytes)? {
                Taking::Starved => return Ok(Step::Starved),
                Taking::Passes => {}
            }
        }
        let link = &mut self.links[index as usize];
        match link.awaited.front_mut() {
            None => Err(ReplyError::Unexpected),
            Some(Awaited { client, what, .. }) => match what {
                What::Replies {
                    count, as_resp2, ..
                } => {
                    let (id, left, as_resp2) = (*client, *count, *as_resp2);
                    self.pass_replies(index, id, left, as_resp2, bytes)
                }
                What::Rest => {
                    let id = *client;
                    self.pass_rest(index, id, bytes)
                }
                What::Flight { flight, as_resp2 } => {
                    let (flight, as_resp2) = (*flight, *as_resp2);
                    self.pass_flight(index, flight, as_resp2, bytes)
                }
                What::Flights { as_resp2, .. } => {
                    let as_resp2 = *as_resp2;
                    self.pass_flights(index, as_resp2, bytes)
                }
                What::Proof {
                    proof, as_resp2, ..
                } => {
                    let (id, proof, as_resp2) = (*client, *proof, *as_resp2);
                    if link.scanner.at_boundary() && first_frame(bytes).is_some_and(is_accepted) {
                        link.proven |= proof.0;
                    }
                    self.pass_replies(index, id, 1, as_resp2, bytes)
                }
                What::Counted { found, as_resp2 } => {
                    let (id, found, as_resp2) = (*client, *found, *as_resp2);
                    if link.scanner.at_boundary() {
                        let count = found.count(line_of(bytes));
                        self.count_finding(found.finding, count);
                    }
                    self.pass_replies(index, id, 1, as_resp2, bytes)
                }
                What::Head { count } => {
                    let (id, count) = (*client, *count);
                    self.keep_head(index, id, count, bytes)
                }
                What::Refreshed { .. } => self.pass_refreshed(index, bytes),
                What::Claim { as_resp2 } => {
                    let (id, as_resp2) = (*client, *as_resp2);
                    self.pass_claim(index, id, as_resp2, bytes)
                }
                What::InDoubt { read, as_resp2 } => {
                    let (id, read, as_resp2) = (*client, *read, *as_resp2);
                    self.pass_in_doubt(index, id, read, as_resp2, bytes)
                }
                What::Exec { .. } => self.pass_exec(index, bytes),
                What::Looks { .. } => self.pass_looks(index, bytes),
                What::Wrapped(_) => self.pass_wrapped(index, bytes),
                What::Landing(_)
                | What::Lifetime
                | What::Touched(_)
                | What::PutBack(_)
                | What::Tracking { .. }
                | What::Probe { .. }
                | What::Fields { .. }
                | What::Repair(_)
                | What::Whether(_)
                | What::Check(_) => self.take_ours(index, bytes),
                What::Settle(_) => self.pass_settling(index, bytes),
                What::Swallow | What::Named | What::Verdict | What::Barrier => {
                    self.swallow(index, bytes)
                }
                What::Local(_) => unreachable!("local answers were passed before"),
            },
        }
    }

    #[inline]
    pub(super) fn pass_replies(
        &mut self,
        index: u32,
        id: ClientId,
        left: u32,
        as_resp2: bool,
        bytes: &[u8],
    ) -> Result<Step, ReplyError> {
        let (alike, waits) = self.alike(index, left);
        let link = &mut self.links[index as usize];
        let before = link.scanner.clone();
        let mut run = match waits {
            false => link.scanner.run_whole(bytes, alike, HELD_BACK_MAX)?,
            true => run_waiting(&mut link.scanner, bytes, alike)?,
        };
        if run.errors
            && let Some(front) = before_refusal(before.clone(), bytes, run.frames)
        {
            link.scanner = Scanner::default();
            run = front;
        }
        let client = Self::client_among(&mut self.clients, id);
        if let Some(client) = client
            && run.consumed > 0
        {
            if waits {
                client.output.keep_back(&mut self.pool);
            }
            let (out, seen) = (client.output.writer(&mut self.pool), &bytes[..run.consumed]);
            match as_resp2 && run.resp3 {
                true => {
                    before.clone().run_as_resp2(seen, alike, out)?;
                }
                false => out.extend_from_slice(seen),
            }
            if !client.dirty {
                client.dirty = true;
                self.dirty_clients.push(id.index);
            }
        }
        if run.frames > 0 {
            let seen = &bytes[..run.consumed];
            let acknowledged = self.journal_replies(index, run.frames, seen, before.at_boundary());
            if waits {
                self.wait_for_replicas(id, acknowledged, seen);
            }
        }
        let link = &mut self.links[index as usize];
        if run.frames == left {
            link.pop_awaited();
        } else if run.frames > 0
            && let Some(Awaited {
                what: What::Replies { count, .. },
                ..
            }) = link.awaited.front_mut()
        {
            *count -= run.frames;
        }
        if run.frames > 0 {
            self.note_replied(index, run.frames);
            self.answered(id, run.frames);
        }
        match run.consumed {
            0 => Ok(Step::Starved),
            consumed => Ok(Step::Consumed(consumed)),
        }
    }

    /// The reply to a transaction's EXEC: its elements tell what the server has taken.
    fn pass_exec(&mut self, index: u32, bytes: &[u8]) -> Result<Step, ReplyError> {
        let link = &mut self.links[index as usize];
        let Some(Awaited {
            client,
            what:
                What::Exec {
                    proof,
                    found,
                    as_resp2,
                },
            ..
        }) = link.awaited.front_mut()
        else {
            return Err(ReplyError::Unexpected);
        };
        let (id, as_resp2) = (*client, *as_resp2);
        if link.scanner.at_boundary() {
            match first_frame(bytes) {
                Some(frame) => {
                    if is_accepted(frame) {
                        link.proven |= proof.0;
                    }
                    let found = std::mem::take(found);
                    self.count_block(&found, frame);
                }
                // To be counted it has to be whole, and so nobody gets half of it.
                None if bytes.len() < HELD_BACK_MAX.max(found.len().min(1) * COLLECTED_MAX) => {
                    return Ok(Step::Starved);
                }
                None => {}
            }
            let head = std::mem::take(&mut self.links[index as usize].head);
            if self.client(id).is_some() {
                self.write_to_client(id.index, |out| out.extend_from_slice(&head));
            }
        }
        self.pass_replies(index, id, 1, as_resp2, bytes)
    }

    /// The replies to a whole transaction before that to its EXEC: kept until that has come.
    fn keep_head(
        &mut self,
        index: u32,
        id: ClientId,
        count: u32,
        bytes: &[u8],
    ) -> Result<Step, ReplyError> {
        let link = &mut self.links[index as usize];
        let run = link.scanner.run(bytes, count)?;
        if run.consumed == 0 {
            return Ok(Step::Starved);
        }
        link.head.extend_from_slice(&bytes[..run.consumed]);
        if run.frames == count {
            link.pop_awaited();
        } else if let Some(Awaited {
            what: What::Head { count },
            ..
        }) = link.awaited.front_mut()
        {
            *count -= run.frames;
        }
        if run.frames > 0 {
            self.note_replied(index, run.frames);
            self.answered(id, run.frames);
        }
        Ok(Step::Consumed(run.consumed))
    }

    /// Everything is its owner's; a subscriber's frames are looked at one by one, as some may be answers to us.
    fn pass_rest(&mut self, index: u32, id: ClientId, bytes: &[u8]) -> Result<Step, ReplyError> {
        let Some(client) = self.client(id) else {
            return Ok(Step::Consumed(bytes.len()));
        };
        if client.subscriptions.is_some() {
            let link = &mut self.links[index as usize];
            let run = link.scanner.run_whole(bytes, 1, HELD_BACK_MAX)?;
            if run.consumed == 0 {
                return Ok(Step::Starved);
            }
            self.pass_to_subscriber(id, &bytes[..run.consumed]);
            return Ok(Step::Consumed(run.consumed));
        }
        if client.stranger {
            self.clear_cache(ClearCause::OwnConnection);
        }
        self.write_to_client(id.index, |out| out.extend_from_slice(bytes));
        Ok(Step::Consumed(bytes.len()))
    }

    fn pass_to_subscriber(&mut self, id: ClientId, frame: &[u8]) {
        let Some(client) = self.client(id) else {
            return;
        };
        let Some(subscriptions) = &mut client.subscriptions else {
            return self.write_to_client(id.index, |out| out.extend_from_slice(frame));
        };
        let passes = subscriptions.received(frame);
        if subscriptions.is_lost() {
            client.subscriptions = None;
            // Refused what it had been granted before: it is not subscribed to what it believes that it is.
            if frame.starts_with(b"-") {
                self.close_after_flush(id.index, CloseCause::UpstreamLost);
            }
        }
        if passes {
            self.write_to_client(id.index, |out| out.extend_from_slice(frame));
        }
    }

    /// Pushes go to the owner of a pinned link; on a shared one they are nobody's.
    fn pass_push(&mut self, index: u32, bytes: &[u8]) -> Result<Step, ReplyError> {
        let link = &mut self.links[index as usize];
        // Set before, so that a push that breaks half-way is not taken for somebody's reply.
        link.in_push = true;
        if link.lane == Lane::Tracked {
            return self.pass_tracked_push(index, bytes);
        }
        let run = link.scanner.run_whole(bytes, 1, HELD_BACK_MAX)?;
        link.in_push = run.frames == 0 && !link.scanner.at_boundary();
        if run.consumed == 0 {
            return Ok(Step::Starved);
        }
        if let (Lane::Pinned, Some(owner)) = (link.lane, link.owner) {
            let seen = &bytes[..run.consumed];
            self.pass_to_subscriber(owner, seen);
            self.notify(owner);
        }
        Ok(Step::Consumed(run.consumed))
    }

    fn pass_tracked_push(&mut self, index: u32, bytes: &[u8]) -> Result<Step, ReplyError> {
        match self.collect(index, bytes, COLLECTED_MAX)? {
            Whole::Starved => {
                // A bare boundary is none that a push began at.
                let link = &mut self.links[index as usize];
                link.in_push = !link.scanner.at_boundary();
                Ok(Step::Starved)
            }
            Whole::Partly(count) => Ok(Step::Consumed(count)),
            Whole::Yes(count, frame) => {
                self.links[index as usize].in_push = false;
                self.take_push(frame.as_deref())?;
                Ok(Step::Consumed(count))
            }
        }
    }

    /// Replies to commands of ours: no client sees them.
    pub(super) fn swallow(&mut self, index: u32, bytes: &[u8]) -> Result<Step, ReplyError> {
        let link = &mut self.links[index as usize];
        let begins = link.scanner.at_boundary();
        let run = link.scanner.run(bytes, 1)?;
        if run.consumed == 0 {
            return Ok(Step::Starved);
        }
        if run.frames == 1 {
            let accepted = bytes[0] != b'-';
            self.journal_replies(index, 1, &bytes[..run.consumed], begins);
            let link = &mut self.links[index as usize];
            let popped = link.pop_awaited();
            self.note_replied(index, 1);
            match popped {
                Some(Awaited {
                    what: What::Verdict,
                    ..
                }) => self.server_lives(),
                Some(Awaited {
                    client,
                    what: What::Barrier,
                    ..
                }) => {
                    if let Some(client) = self.client(client) {
                        client.barrier = match accepted {
                            true => Barrier::Passed,
                            false => Barrier::Failed,
                        };
                    }
                    self.answered(client, 1);
                }
                Some(awaited) => self.forget(&awaited.what),
                None => {}
            }
        }
        Ok(Step::Consumed(run.consumed))
    }

    /// Counts replies of a client as given.
    #[inline]
    pub(super) fn answered(&mut self, id: ClientId, count: u32) {
        let holds = self.is_holding();
        let Some(client) = self.client(id) else {
            return;
        };
        client.inflight -= count;
        let unaware = client.notified == Some(!holds);
        if client.inflight == 0 {
            client.replayed = false;
            let quitting = client.quitting;
            if client.stall != Stall::None
                || client.own.is_some()
                || client.blocking
                || client.eof
                || self.is_draining()
            {
                self.settled(id.index);
            }
            if quitting {
                self.close_after_flush(id.index, CloseCause::Client);
            }
        } else if client.stall == Stall::Window && client.inflight <= client.window() / 2 {
            client.stall = Stall::None;
            self.resume.push(id);
        }
        if unaware {
            self.notify(id);
        }
    }

    /// Appends to what a client is to be sent.
    pub(super) fn write_to_client(&mut self, index: u32, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.clients[index as usize].output.writer(&mut self.pool));
        Self::touch_client(&mut self.clients, &mut self.dirty_clients, index);
    }
}

/// Returns the first line of a frame, with its end: of a simple frame all of it.
fn line_of(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == b'\n');
    end.map_or(bytes, |end| &bytes[..=end])
}

/// Returns the frame that bytes begin with, if it is whole.
pub(super) fn first_frame(bytes: &[u8]) -> Option<&[u8]> {
    let run = Scanner::default().run(bytes, 1).ok()?;
    (run.frames == 1).then(|| &bytes[..run.consumed])
}

/// Tells whether a reply shows that the server took a request, and each one in it if it is a transaction's.
fn is_accepted(frame: &[u8]) -> bool {
    let in_one = value::elements(frame).is_none_or(|mut parts| !parts.any(value::is_error));
    !value::is_error(frame) && in_one
}
