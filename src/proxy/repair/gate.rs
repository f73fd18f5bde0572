//! Which requests wait while a primary is repaired: those for a key that is not repaired yet, and those whose outcome, or answer,
//! depends on what other sidecars have still to put back.
//!
//! That is a matter of milliseconds: a key that somebody waits for is repaired next, and others are waited for as long as
//! `repair.peer_wait_ms` at most. SET and DEL go at once. A read goes at once, too, but if it finds nothing it is asked again:
//! nobody is told that a session is gone which another sidecar is about to put back.

use bytes::Bytes;

use crate::cache::shape;
use crate::command::keys::{Touched, touched};
use crate::command::table::{Access, Kind};
use crate::downstream::client::QueuedKeys;
use crate::repair::marking::is_absolute;
use crate::resp::Protocol;
use crate::upstream::link::Lane;

use crate::proxy::Proxy;
use crate::proxy::owed::split;
use crate::proxy::requests::{Request, Taken};

/// What a request waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    /// Its key.
    Key(Bytes),
    /// What other sidecars have to put back, or all that this one has.
    Others,
}

impl Proxy {
    /// Stops a request that has to wait for a repair; `None` when it may go on.
    #[cold]
    pub(in crate::proxy) fn stop_for_repair(&mut self, request: &Request<'_>) -> Option<Taken> {
        let reason = match request.command.kind {
            Kind::Multi => self.reason_of_block(request),
            Kind::Exec => self.reason_of_exec(request.client),
            _ => self.reason_to_wait(request),
        };
        match reason {
            None => None,
            Some(Reason::Others) if request.command.access == Access::Read => {
                Some(self.ask_in_doubt(request))
            }
            Some(reason) => Some(self.wait_for_repair(request, reason)),
        }
    }

    fn waits_for_others(&self) -> bool {
        let repairing = self.repairing.as_ref();
        repairing.is_some_and(|repairing| repairing.peers_until.is_some())
    }

    fn has_works(&self) -> bool {
        let repairing = self.repairing.as_ref();
        repairing.is_some_and(|repairing| !repairing.works.is_empty())
    }

    /// Finds a key among these that is still to be repaired.
    fn unrepaired<'a>(
        &self,
        client: u32,
        mut keys: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Reason> {
        let repairing = self.repairing.as_ref()?;
        let database = self.clients[client as usize].database;
        let found = keys.find(|key| repairing.has_work(database, key))?;
        Some(Reason::Key(Bytes::copy_from_slice(found)))
    }

    fn reason_to_wait(&self, request: &Request<'_>) -> Option<Reason> {
        let found = touched(&request.command, request.bytes, request.words);
        let (access, client) = (request.command.access, request.client);
        let keys = found.words().filter_map(|index| request.word(index));
        if let Some(reason) = self.unrepaired(client, keys) {
            return Some(reason);
        }
        // What is queued runs at its EXEC.
        let queues = self.clients[client as usize].is_queueing();
        match found {
            _ if access == Access::Neither || queues => None,
            Touched::Nothing => None,
            Touched::Everything if access == Access::Read => None,
            Touched::Everything => {
                (self.waits_for_others() || self.has_works()).then_some(Reason::Others)
            }
            Touched::Keys { .. } => {
                let line: Vec<&[u8]> = request.words_from(0).collect();
                let depends = access == Access::Read || !is_absolute(&line);
                (depends && self.waits_for_others()).then_some(Reason::Others)
            }
        }
    }

    /// Looks at what a client has queued, maybe before it was known what is to be repaired.
    fn reason_of_exec(&self, client: u32) -> Option<Reason> {
        let queued = self.clients[client as usize].queued_keys.as_deref();
        let reason = match queued {
            Some(QueuedKeys::Some(keys)) => {
                self.unrepaired(client, keys.iter().map(|key| &key[..]))
            }
            Some(QueuedKeys::Everything) => self.has_works().then_some(Reason::Others),
            None => None,
        };
        reason.or_else(|| self.waits_for_others().then_some(Reason::Others))
    }

    /// Looks at a whole transaction that has arrived.
    fn reason_of_block(&self, request: &Request<'_>) -> Option<Reason> {
        let (length, _) = self.whole_transaction(request.rest)?;
        let others = self.waits_for_others();
        let mut depends = false;
        for one in split(&request.rest[..length], 0) {
            let command = self.table.find(one.name());
            let found = touched(&command, one.bytes, &one.words);
            let keys = found
                .words()
                .filter_map(|index| one.words.get(one.bytes, index));
            if let Some(reason) = self.unrepaired(request.client, keys) {
                return Some(reason);
            }
            depends |= found != Touched::Nothing && !is_absolute(&one.line());
        }
        (depends && others).then_some(Reason::Others)
    }

    fn wait_for_repair(&mut self, request: &Request<'_>, reason: Reason) -> Taken {
        let client = &self.clients[request.client as usize];
        let (id, database) = (client.id(request.client), client.database);
        if let Some(repairing) = &mut self.repairing {
            match reason {
                Reason::Others => repairing.waiting_for_peers.push(id),
                Reason::Key(key) => {
                    let key = (database, key);
                    if let Some(work) = repairing.works.get_mut(&key) {
                        work.waiting.push(id);
                        repairing.order.push_front(key);
                    }
                }
            }
        }
        self.hold_client(request.client, request.length);
        // The key that is waited for is sent before the others.
        self.go_on_repairing();
        Taken::Stalled
    }

    /// Asks what a request wants to know, and asks again later if there is nothing.
    fn ask_in_doubt(&mut self, request: &Request<'_>) -> Taken {
        let client = &self.clients[request.client as usize];
        let in_order = client.inflight == 0 && !client.held.takes_everything();
        let was_asked = client.asked_replica == self.replica.time;
        let single = request
            .command
            .cached
            .filter(|read| shape::is_of_one_key(*read, request.words.len()));
        let (Some(read), true, false) = (single, in_order, was_asked || self.is_paused()) else {
            return self.wait_for_repair(request, Reason::Others);
        };
        let Some(link) = self.shared(Lane::Tracked, request.client) else {
            return self.no_link(request);
        };
        if !self.may_send(request.client, link) {
            return Taken::Stalled;
        }
        let as_resp2 = self.clients[request.client as usize].protocol == Protocol::Resp2;
        let taken = self.send_in_doubt(request, link, read, as_resp2);
        self.note_sent(request, link);
        taken
    }
}
