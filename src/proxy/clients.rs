//! Client connections as the data path needs them: admitted, answered, closed.

use slab::Slab;

use crate::downstream::client::{Barrier, Client, Stall};
use crate::error;
use crate::id::ClientId;
use crate::metrics::{CloseCause, ErrorKind};
use crate::reactor::Token;
use crate::seam::BoxStream;
use crate::upstream::link::What;
use crate::upstream::registry::Health;

use super::Proxy;

impl Proxy {
    /// Tells whether a client must show credentials before anything else.
    pub(super) fn requires_auth(&self) -> bool {
        self.config.listen.require_auth && self.config.upstream.credentials.password.is_some()
    }

    /// Takes a client connection; `false` when there are too many.
    pub fn admit(&mut self, stream: BoxStream) -> Result<u32, BoxStream> {
        if self.clients.len() >= self.config.listen.clients_max {
            return Err(stream);
        }
        self.serial = self.serial.wrapping_add(1);
        let locked = self.requires_auth();
        let entry = self.clients.vacant_entry();
        let index = entry.key() as u32;
        let bell = self.ready.bell(Token::Client(index));
        bell.ring();
        let mut client = Client::new(self.serial, stream, bell, self.now);
        client.locked = locked;
        entry.insert(client);
        self.counters.clients_accepted += 1;
        self.warm(index);
        Ok(index)
    }

    /// Notes that a client has something to write.
    #[inline]
    pub(super) fn touch_client(clients: &mut Slab<Client>, dirty: &mut Vec<u32>, index: u32) {
        let client = &mut clients[index as usize];
        if !client.dirty {
            client.dirty = true;
            dirty.push(index);
        }
    }

    /// Answers a client ourselves, in its turn.
    pub(super) fn answer(&mut self, index: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let client = &mut self.clients[index as usize];
        if client.inflight == 0 {
            write(client.output.writer(&mut self.pool));
            Self::touch_client(&mut self.clients, &mut self.dirty_clients, index);
            return;
        }
        let mut bytes = Vec::new();
        write(&mut bytes);
        let id = client.id(index);
        let lane = client.lane.expect("what is in flight is on a link");
        client.inflight += 1;
        let link = &mut self.links[lane.index as usize];
        client.newest = link.asked;
        link.expect(id, What::Local(bytes));
    }

    /// Answers a request with an error of ours, in its turn.
    pub(super) fn refuse(&mut self, index: u32, kind: ErrorKind) {
        let error = self.count_error(kind);
        self.answer(index, |out| out.extend_from_slice(error.as_bytes()));
    }

    /// Counts an error reply of ours, and writes it.
    pub(super) fn count_error(&mut self, kind: ErrorKind) -> String {
        self.counters.error_replies[kind.index()] += 1;
        self.error_text(kind)
    }

    /// Finds the words for an error of ours: what happened, whether the command ran, what to do.
    pub(super) fn error_text(&self, kind: ErrorKind) -> String {
        let address = self.primary.as_ref();
        match kind {
            ErrorKind::Masterdown => {
                let reason = match &self.registry.health {
                    Health::Down { reason, .. } => reason,
                    Health::Starting => "not connected yet",
                    Health::Up => match &self.registry.refusing {
                        Some((_, reason)) => reason,
                        None => "link lost",
                    },
                };
                error::masterdown(address, reason, self.waited())
            }
            ErrorKind::OutcomeUnknown => error::outcome_unknown(address, self.waited()),
            ErrorKind::NoPinnedLink => error::no_pinned_link(self.config.upstream.pinned_max),
            ErrorKind::NotReplicated => {
                let asked = &self.config.durability;
                error::not_replicated(asked.replicas, asked.timeout)
            }
        }
    }

    /// Closes a client once what is to be written to it is written.
    pub fn close_after_flush(&mut self, index: u32, cause: CloseCause) {
        let client = &mut self.clients[index as usize];
        client.closing.get_or_insert(cause);
        Self::touch_client(&mut self.clients, &mut self.dirty_clients, index);
    }

    /// Ends a client connection: its own link goes back or is closed, its replies in flight find nobody.
    pub fn remove_client(&mut self, index: u32, cause: CloseCause) {
        self.counters.clients_closed[cause.index()] += 1;
        let mut client = self.clients.remove(index as usize);
        self.observed.monitors -= usize::from(client.monitor);
        client.output.discard(&mut self.pool);
        self.pool.give(std::mem::take(&mut client.input));
        if let Some(own) = client.own {
            let neutral = !client.raw
                && !client.held.keeps_link()
                && client.inflight == 0
                && client.upload.is_none();
            match neutral {
                true => self.release(own),
                false => self.drop_link(own),
            }
        }
        let gone = client.id(index);
        self.failover.held.leave(gone);
        self.registry.waiting.retain(|(id, _)| *id != gone);
        self.wake_waiter();
    }

    /// Takes no new requests; clients are closed as soon as what they have in flight is answered.
    pub fn drain(&mut self) {
        self.draining = true;
        if self.owes_writes() {
            let writes = self.acknowledging.kept.writes();
            tracing::warn!(
                writes,
                "writes that were acknowledged while requests were held are not put back yet: they are lost unless there is a primary within shutdown.grace_s"
            );
        }
        let indices: Vec<u32> = self.clients.iter().map(|(index, _)| index as u32).collect();
        for index in indices {
            self.refuse_rewound(index);
            let client = &self.clients[index as usize];
            if client.inflight == 0 || client.raw || client.blocking {
                self.close_after_flush(index, CloseCause::Drain);
            }
        }
    }

    /// Tells whether writes were acknowledged here that no primary has.
    pub fn owes_writes(&self) -> bool {
        !self.acknowledging.kept.is_empty()
    }

    /// Tells whether anything is still dialled for.
    pub(super) fn may_dial(&self) -> bool {
        !self.draining || self.owes_writes()
    }

    /// Tells whether a drain is under way.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Called whenever a client's replies in flight have all come.
    pub(super) fn settled(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        client.blocking = false;
        if let Some(own) = client.own
            && !client.raw
            && !client.held.keeps_link()
            && client.upload.is_none()
            && client.barrier == Barrier::None
        {
            client.own = None;
            client.lane = None;
            self.release(own);
        }
        let client = &mut self.clients[index as usize];
        if self.draining {
            self.close_after_flush(index, CloseCause::Drain);
        } else if matches!(client.stall, Stall::Lane | Stall::Settling | Stall::Window) {
            client.stall = Stall::None;
            self.resume.push(client.id(index));
        } else if client.eof {
            self.resume.push(client.id(index));
        }
    }

    /// Returns the client with that id, if it is still here.
    #[inline]
    pub fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        Self::client_among(&mut self.clients, id)
    }

    /// Like [`Proxy::client`], where more of the proxy is needed meanwhile.
    #[inline]
    pub(super) fn client_among(clients: &mut Slab<Client>, id: ClientId) -> Option<&mut Client> {
        clients
            .get_mut(id.index as usize)
            .filter(|client| client.serial == id.serial)
    }
}
