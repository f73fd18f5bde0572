//! A reply that refuses a request because of what this node is at the moment (READONLY, LOADING …): it has not run, so it is
//! taken back and sent again when there is a primary.
//!
//! What the same client has in flight behind it may have run, or be refused as well. Its order is kept: what may be run
//! twice is taken back, too, whatever was answered. Behind what may not, and has run, nothing can be sent any more: then
//! the client is told that what was refused has not run, and the reply passes.

use std::collections::VecDeque;

use crate::downstream::client::Rewound;
use crate::failover::block::classify_block;
use crate::failover::machine::Event;
use crate::failover::replay::{Class, Delivery, refusal};
use crate::id::{ClientId, LinkId};
use crate::metrics::ErrorKind;
use crate::resp::Scanner;
use crate::resp::frame::Run;
use crate::upstream::link::{Lane, What};

use super::Proxy;
use super::owed::{Sent, split};
use super::replies::ReplyError;

/// What became of a reply.
pub(super) enum Taking {
    /// More of it is needed.
    Starved,
    /// It goes on to whom it is for, or to nobody.
    Passes,
}

/// Finds the first of so many frames that is a refusal; returns what stands before it.
pub(super) fn before_refusal(mut scanner: Scanner, bytes: &[u8], frames: u32) -> Option<Run> {
    let mut before = Run::default();
    while before.frames < frames {
        let rest = &bytes[before.consumed..];
        if scanner.at_boundary() && refusal(rest).is_some() {
            return Some(before);
        }
        let one = scanner.run(rest, 1).ok()?;
        before.frames += one.frames;
        before.consumed += one.consumed;
        before.resp3 |= one.resp3;
        before.errors |= one.errors;
    }
    None
}

/// Finds the error for a request that is not sent again.
pub(super) fn kind_of_refusal(may_have_run: bool) -> ErrorKind {
    match may_have_run {
        true => ErrorKind::OutcomeUnknown,
        false => ErrorKind::Masterdown,
    }
}

impl Proxy {
    /// Looks at a reply that begins here: it is the reply to a request that is taken back, or it passes.
    ///
    /// # Errors
    /// [`ReplyError::Demoted`] where the link is to be left for another one.
    #[cold]
    pub(super) fn take_back_reply(
        &mut self,
        index: u32,
        bytes: &[u8],
    ) -> Result<Taking, ReplyError> {
        let scope = refusal(bytes);
        let link = &mut self.links[index as usize];
        if scope.is_some() || bytes.starts_with(b"-EXECABORT ") {
            // What reads behind it show may lack what was acknowledged before.
            link.void_to = link.asked;
        }
        let lane = link.lane;
        let Some(front) = link.awaited.front() else {
            return Ok(Taking::Passes);
        };
        let id = front.client;
        let untouched = matches!(
            front.what,
            What::Wrapped(_) | What::Rest | What::Head { .. } | What::Barrier
        );
        let Some(client) = self.client(id).filter(|_| !untouched) else {
            return Ok(Taking::Passes);
        };
        if scope.is_none() && !client.rewinding {
            return Ok(Taking::Passes);
        }
        if !bytes.contains(&b'\n') {
            return Ok(Taking::Starved);
        }
        // A replica that has lost its primary may refuse, too: that says nothing of a primary.
        if let Some(scope) = scope
            && lane != Lane::Replica
        {
            self.counters.hold.refused += 1;
            self.failover_event(Event::Refused(scope));
        }
        self.take_back_front(index, id, scope.is_some())?;
        Ok(Taking::Passes)
    }

    /// Takes back the request whose reply comes next, if it may be; the reply is nobody's then.
    fn take_back_front(
        &mut self,
        index: u32,
        id: ClientId,
        refused: bool,
    ) -> Result<(), ReplyError> {
        let link = &mut self.links[index as usize];
        let multi = self.clients[id.index as usize].held.multi;
        if refused && multi && link.lane == Lane::Pinned {
            link.demoted = true;
            return Err(ReplyError::Demoted);
        }
        let (request, block) = self.front_request(index);
        let class = self.class_of(&request, block);
        if !refused && matches!(class, Class::Once | Class::Claim) {
            self.give_up_rewind(id);
            return Ok(());
        }
        let front = self.links[index as usize].awaited.front();
        let claim = front.is_some_and(|front| matches!(front.what, What::Claim { .. }));
        // A claim may have run before.
        let delivery = match refused && !claim {
            true => Delivery::Refused,
            false => Delivery::Unanswered,
        };
        let readers = self.disown_front(index, refused);
        self.begin_taking_back(index, id);
        match block {
            true => self.take_back_block(id, Some(&request), delivery),
            false => self.take_back_one(id, &request, delivery),
        }
        self.taken_back(id);
        for reader in readers {
            self.take_back_joined(index, reader, &request);
        }
        Ok(())
    }

    /// Takes back the request whose reply comes next, to be sent again in other words: it has not run.
    pub(super) fn take_back_as(&mut self, index: u32, id: ClientId, request: &[u8]) {
        self.disown_front(index, true);
        self.begin_taking_back(index, id);
        self.take_back_one(id, request, Delivery::Refused);
        self.taken_back(id);
    }

    /// A reader that joined a flight on a link, whose request was this, asks again.
    pub(super) fn take_back_joined(&mut self, index: u32, reader: ClientId, request: &[u8]) {
        if self.client(reader).is_some() {
            self.begin_taking_back(index, reader);
            self.take_back_one(reader, request, Delivery::Refused);
            self.taken_back(reader);
        }
    }

    /// An answer of ours has its turn while its client's requests are taken back: it is, too.
    pub(super) fn take_back_answer(&mut self, id: ClientId, answer: &[u8]) {
        self.put_back(id, Rewound::Answer(answer.into()));
        self.taken_back(id);
    }

    /// Makes the reply that comes next nobody's; returns who else waited for it in vain.
    fn disown_front(&mut self, index: u32, refused: bool) -> Vec<ClientId> {
        let link = &mut self.links[index as usize];
        let Some(front) = link.awaited.front_mut() else {
            return Vec::new();
        };
        match &mut front.what {
            What::Replies { count, .. } if *count > 1 => *count -= 1,
            // Who joined gets what was read.
            What::Flight { .. } if !refused => {
                front.client = ClientId::NOBODY;
                return Vec::new();
            }
            _ => {
                link.head.clear();
                let Some(front) = link.awaited.pop_front() else {
                    return Vec::new();
                };
                link.swallow_first(front.end);
                self.forget(&front.what);
                return self.abandon(&front.what);
            }
        }
        let answered = link.answered;
        link.swallow_first(answered);
        Vec::new()
    }

    fn begin_taking_back(&mut self, index: u32, id: ClientId) {
        let Some(client) = self.client(id).filter(|client| !client.rewinding) else {
            return;
        };
        client.begin_rewind();
        client.rewinding = true;
        self.links[index as usize].refused += 1;
    }

    /// One more request of a client was taken back: with the last, it waits for a primary.
    fn taken_back(&mut self, id: ClientId) {
        let Some(client) = self.client(id) else {
            return;
        };
        client.inflight -= 1;
        if client.inflight == 0 {
            self.end_rewind(id);
        }
    }

    /// Something has run that nobody may run again: what stands before it, and has not run, can't be sent any more.
    fn give_up_rewind(&mut self, id: ClientId) {
        let Some(client) = self.client(id) else {
            return;
        };
        let taken_back = std::mem::take(&mut client.rewound);
        client.end_rewind();
        client.rewinding = false;
        let lane = client.lane;
        self.refuse_all(id.index, taken_back);
        self.forget_rewinding(lane);
    }

    /// Answers with errors what was taken back of a client.
    pub(super) fn refuse_rewound(&mut self, index: u32) {
        let taken_back = std::mem::take(&mut self.clients[index as usize].rewound);
        self.refuse_all(index, taken_back);
    }

    fn refuse_all(&mut self, index: u32, taken_back: VecDeque<Rewound>) {
        for rewound in taken_back {
            let text = match rewound {
                Rewound::Answer(bytes) => bytes,
                Rewound::Request { may_have_run, .. } => {
                    let error = self.count_error(kind_of_refusal(may_have_run));
                    error.into_bytes().into()
                }
            };
            self.write_to_client(index, |out| out.extend_from_slice(&text));
        }
    }

    /// A client whose replies on this link were taken back is done with that.
    pub(super) fn forget_rewinding(&mut self, lane: Option<LinkId>) {
        if let Some(link) = lane.and_then(|lane| self.link(lane)) {
            link.refused = link.refused.saturating_sub(1);
        }
    }

    /// Copies the request whose reply comes next; tells whether it is a whole transaction.
    pub(super) fn front_request(&self, index: u32) -> (Vec<u8>, bool) {
        let link = &self.links[index as usize];
        let Some(front) = link.awaited.front() else {
            return (Vec::new(), false);
        };
        let bytes = link.output.between(link.answered, front.end);
        let bytes = bytes.unwrap_or_default();
        match &front.what {
            What::Replies { count, .. } => {
                let requests = split(bytes, 0);
                let place = requests.len().checked_sub(*count as usize);
                let request = place.and_then(|place| requests.get(place));
                let request = request.map_or(&b""[..], |request| request.bytes);
                (request.to_vec(), false)
            }
            what => (bytes.to_vec(), matches!(what, What::Exec { .. })),
        }
    }

    /// Reads what a request, or a whole transaction, would do a second time.
    fn class_of(&self, request: &[u8], block: bool) -> Class {
        let requests = split(request, 0);
        match (block, requests.first()) {
            (true, _) => {
                let lines: Vec<_> = requests.iter().map(Sent::line).collect();
                classify_block(&self.table, &lines, 0, false)
            }
            (false, Some(request)) => self.class_of_request(request),
            (false, None) => Class::Once,
        }
    }
}
