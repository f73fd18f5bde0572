//! Claims (SET NX, SETNX) that may have run on a link that was lost, sent once more: where they find no such key, they hold, and
//! the answer is true; where they find it, nobody can tell whether the first run has set it, or somebody else.

use crate::failover::replay::{Class, classify, finds_it_taken};
use crate::id::ClientId;
use crate::metrics::ErrorKind;
use crate::resp::Protocol;
use crate::upstream::link::What;

use super::Proxy;
use super::replies::{ReplyError, Step, first_frame};
use super::requests::{Request, Taken};

impl Proxy {
    /// Tells whether a request, which is not queued in a transaction, is a claim.
    #[cold]
    pub(super) fn is_claim(&self, request: &Request<'_>) -> bool {
        let words: Vec<&[u8]> = request.words_from(0).collect();
        let queues = self.clients[request.client as usize].is_queueing();
        !queues && classify(&request.command, &words) == Class::Claim
    }

    /// Sends a claim that may have run before.
    pub(super) fn send_claim(&mut self, request: Request<'_>) -> Taken {
        let link = match self.link_for(&request) {
            Ok(link) => link,
            Err(taken) => return taken,
        };
        self.count_sent(request.client, link);
        let client = &self.clients[request.client as usize];
        let id = client.id(request.client);
        let target = &mut self.links[link.index as usize];
        let as_resp2 = target.protocol == Protocol::Resp3 && client.protocol == Protocol::Resp2;
        self.counters.requests[target.lane.metric().index()] += 1;
        target.push_bytes(request.bytes, &mut self.pool);
        target.expect(id, What::Claim { as_resp2 });
        self.note_sent(&request, link);
        self.touch_link(link);
        Taken::Bytes(request.length)
    }

    /// The reply to a claim that may have run before.
    pub(super) fn pass_claim(
        &mut self,
        index: u32,
        id: ClientId,
        as_resp2: bool,
        bytes: &[u8],
    ) -> Result<Step, ReplyError> {
        let Some(frame) = first_frame(bytes) else {
            return Ok(Step::Starved);
        };
        if !finds_it_taken(frame) {
            return self.pass_replies(index, id, 1, as_resp2, bytes);
        }
        let step = self.swallow(index, bytes)?;
        if self.client(id).is_some() {
            self.tell_failure(id, ErrorKind::OutcomeUnknown, 1);
        }
        Ok(step)
    }
}
