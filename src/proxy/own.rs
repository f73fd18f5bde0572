//! Requests over the client's own link, and what the server is told of the client on it.

use crate::command::table::{Access, Kind};
use crate::downstream::client::{Barrier, Stall};
use crate::error;
use crate::id::{ClientId, LinkId};
use crate::journal::BARRIER_CHANNEL;
use crate::metrics::ErrorKind;
use crate::resp::{encode, request_bytes};
use crate::upstream::link::{Lane, Settle, What};
use crate::upstream::registry::Health;

use super::Proxy;
use super::owed::Sent;
use super::requests::{Request, Taken};

/// Words of a request that may bring a script's body.
const SCRIPT_WORDS_MAX: usize = 3;

impl Proxy {
    /// Sends a request over the client's own link.
    pub(super) fn send_own(&mut self, request: Request<'_>, settle: Option<Settle>) -> Taken {
        let found = self.own_link(request.client);
        let link = match self.found_link(found, request.client, request.length) {
            Ok(link) => link,
            Err(taken) => return taken,
        };
        self.send_over(link, request, settle)
    }

    fn send_over(
        &mut self,
        link: LinkId,
        request: Request<'_>,
        mut settle: Option<Settle>,
    ) -> Taken {
        let exec = matches!(settle, Some(Settle::Exec { .. }));
        if let Some(Settle::Exec { marks, .. }) = &mut settle {
            *marks = self.queue_marks(request.client, link);
        }
        if matches!(request.command.kind, Kind::Script | Kind::Rescue) {
            self.note_script(&request);
        }
        let client = &mut self.clients[request.client as usize];
        client.inflight += 1;
        client.lane = Some(link);
        let id = client.id(request.client);
        self.counters.requests[Lane::Pinned.metric().index()] += 1;
        let write = request.command.access != Access::Read;
        let found = self.take_found();
        let target = &mut self.links[link.index as usize];
        match settle {
            None if let Some(found) = found => {
                target.push_bytes(request.bytes, &mut self.pool);
                let as_resp2 = false;
                target.expect(id, What::Counted { found, as_resp2 });
            }
            None => target.send(request.bytes, id, write, false, &mut self.pool),
            Some(settle) => {
                target.push_bytes(request.bytes, &mut self.pool);
                target.expect(id, What::Settle(settle));
            }
        }
        if !exec && self.clients[request.client as usize].held.multi {
            self.note_transcript(request.client, request.bytes);
        }
        match exec {
            true => {
                self.journal_exec_sent(request.client, link, request.bytes);
                self.note_exec(request.client, link);
                self.ask_behind_exec(request.client, link);
                self.ask_unless_shared(link);
            }
            false => self.note_sent(&request, link),
        }
        self.touch_link(link);
        Taken::Bytes(request.length)
    }

    /// Sends a request whose reply decides how the next one is to be read.
    pub(super) fn send_settling(&mut self, request: Request<'_>, settle: Settle) -> Taken {
        let may_keep_link = matches!(settle, Settle::Hello | Settle::Auth | Settle::Unknown);
        if matches!(settle, Settle::Hello | Settle::Auth) {
            self.own_fresh_link(request.client);
        }
        let found = self.own_link(request.client);
        let link = match self.found_link(found, request.client, request.length) {
            Ok(link) => link,
            Err(taken) => return taken,
        };
        if may_keep_link {
            self.introduce(request.client, link);
            let link = &mut self.links[link.index as usize];
            link.was_spent = std::mem::replace(&mut link.spent, true);
        }
        let taken = self.send_over(link, request, Some(settle));
        self.clients[request.client as usize].stall = Stall::Settling;
        taken
    }

    /// Sends a script, during which the server may answer BUSY to everyone.
    pub(super) fn send_script(&mut self, request: Request<'_>) -> Taken {
        let taken = self.send_own(request, Some(Settle::Script));
        if matches!(taken, Taken::Bytes(_)) && self.clients[request.client as usize].own.is_some() {
            self.scripts += 1;
        }
        taken
    }

    /// Sends a script that is queued in a transaction: there a refusal would come too late, so what another primary was shown
    /// is sent with its body.
    pub(super) fn send_queued_script(&mut self, request: Request<'_>) -> Taken {
        let line: Vec<&[u8]> = request.words_from(0).collect();
        let primary = self.failover.primaries;
        let again = self.failover.scripts.as_eval(&line, primary);
        match again.as_deref().and_then(|again| Sent::read(again, 0)) {
            None => self.send_own(request, None),
            Some(again) => {
                let with_body = Request {
                    bytes: again.bytes,
                    words: &again.words,
                    command: self.table.find(again.name()),
                    ..request
                };
                self.send_own(with_body, None)
            }
        }
    }

    /// Remembers the body of a script.
    fn note_script(&mut self, request: &Request<'_>) {
        let words: Vec<&[u8]> = request.words_from(0).take(SCRIPT_WORDS_MAX).collect();
        let primary = self.failover.primaries;
        self.failover.scripts.learn(&words, primary);
    }

    /// A script that the server does not know, and a server before it did, is sent again with its body; false where it is not
    /// known, or something stands behind it that must not overtake it.
    pub(super) fn send_with_body(&mut self, index: u32, id: ClientId) -> bool {
        let free = self
            .client(id)
            .is_some_and(|client| client.inflight == 1 && !client.held.multi && !client.rewinding);
        let (request, _) = self.front_request(index);
        let line = Sent::read(&request, 0).map_or_else(Vec::new, |request| request.line());
        let primary = self.failover.primaries;
        let Some(again) = self
            .failover
            .scripts
            .as_eval(&line, primary)
            .filter(|_| free)
        else {
            return false;
        };
        self.take_back_as(index, id, &again);
        true
    }

    /// Sends a command that may wait in the server.
    pub(super) fn send_blocking(&mut self, request: Request<'_>) -> Taken {
        let taken = self.send_own(request, None);
        let client = &mut self.clients[request.client as usize];
        client.blocking |= matches!(taken, Taken::Bytes(_)) && client.inflight > 0;
        if client.blocking {
            client.blocked_since = Some(self.now);
        }
        taken
    }

    /// Sends WAIT or WAITAOF once a replication barrier of the same link has been passed.
    ///
    /// They look at the offset of the connection's own last write (from 7.2 on; before, of its last command of any
    /// kind), but the client's writes went over another link. SPUBLISH writes nothing, is propagated to replicas, and
    /// unlike PUBLISH no pattern subscription sees it; 6.2 lacks it and takes any command. The append-only file takes
    /// only writes: to swap a database with itself is one that changes nothing.
    /// Source: redis `src/replication.c`, `waitCommand`; `src/pubsub.c`, `spublishCommand`; `src/db.c`,
    /// `dbSwapDatabases`.
    pub(super) fn send_wait(&mut self, request: Request<'_>) -> Taken {
        let client = &mut self.clients[request.client as usize];
        match std::mem::take(&mut client.barrier) {
            Barrier::Passed => return self.send_blocking(request),
            Barrier::Failed => {
                self.answer(request.client, |out| {
                    out.extend_from_slice(error::BARRIER_FAILED)
                });
                // The link was kept for WAIT, which is not sent.
                self.settled(request.client);
                return Taken::Bytes(request.length);
            }
            Barrier::None => {}
        }
        let found = self.own_link(request.client);
        let link = match self.found_link(found, request.client, request.length) {
            Ok(link) => link,
            Err(taken) => return taken,
        };
        let waits_for_file = request
            .word(0)
            .is_some_and(|name| name.len() == "WAITAOF".len());
        let shards = self
            .facts
            .as_ref()
            .is_some_and(|facts| facts.has_spublish());
        let barrier = match (waits_for_file, shards) {
            (true, _) => request_bytes(&["SWAPDB", "0", "0"]),
            (false, true) => request_bytes(&["SPUBLISH", BARRIER_CHANNEL, ""]),
            (false, false) => request_bytes(&["PING"]),
        };
        let client = &mut self.clients[request.client as usize];
        client.inflight += 1;
        client.lane = Some(link);
        client.stall = Stall::Settling;
        let id = client.id(request.client);
        let target = &mut self.links[link.index as usize];
        target.push_bytes(&barrier, &mut self.pool);
        target.expect(id, What::Barrier);
        self.touch_link(link);
        Taken::Stalled
    }

    /// Returns the client's own link, free for a request of it; `None` when the request has to wait, with the stall set.
    ///
    /// A link is only ever given to a client of its protocol and database: to change them in front of a request would
    /// mean to send the request before the server has agreed.
    ///
    /// # Errors
    /// The kind of error to answer when there is none to be had.
    pub(super) fn own_link(&mut self, index: u32) -> Result<Option<LinkId>, ErrorKind> {
        let client = &self.clients[index as usize];
        let database = client.database;
        // A command that must reach a busy server took a link of another database: its turn comes first.
        if let Some(own) = client.own
            && self.links[own.index as usize].database != database
        {
            self.clients[index as usize].stall = Stall::Lane;
            return Ok(None);
        }
        self.own_link_in(index, database)
    }

    /// Like [`Proxy::own_link`], in another database than the client's, unless it owns a link already.
    fn own_link_in(&mut self, index: u32, database: u32) -> Result<Option<LinkId>, ErrorKind> {
        let client = &self.clients[index as usize];
        let link = match client.own {
            Some(own) => own,
            None if client.inflight > 0 => {
                self.clients[index as usize].stall = Stall::Lane;
                return Ok(None);
            }
            None => match self.acquire(index, database)? {
                Some(link) => {
                    self.restore_transaction(index, link);
                    link
                }
                None => return Ok(None),
            },
        };
        if !self.may_send(index, link) {
            return Ok(None);
        }
        if self.clients[index as usize].held.identity {
            self.introduce(index, link);
        }
        Ok(Some(link))
    }

    /// Sends a command that must reach a busy server: it would refuse a SELECT, so the link is one of database 0, where
    /// links begin; these commands mean the same in each.
    pub(super) fn send_rescue(&mut self, request: Request<'_>) -> Taken {
        let found = self.own_link_in(request.client, 0);
        match self.found_link(found, request.client, request.length) {
            Ok(link) => self.send_over(link, request, None),
            Err(taken) => taken,
        }
    }

    /// Turns the answer to [`Proxy::own_link`] into a link, or into what became of the request without one.
    pub(super) fn found_link(
        &mut self,
        found: Result<Option<LinkId>, ErrorKind>,
        index: u32,
        length: usize,
    ) -> Result<LinkId, Taken> {
        match found {
            Ok(Some(link)) => Ok(link),
            Ok(None) => Err(Taken::Stalled),
            Err(ErrorKind::Masterdown) if self.may_wait() => {
                self.hold_client(index, length);
                Err(Taken::Stalled)
            }
            Err(kind) => {
                self.refuse(index, kind);
                Err(Taken::Bytes(length))
            }
        }
    }

    /// Gives a client that named itself a link that bears its name, if one is to spare.
    pub(super) fn give_name(&mut self, index: u32) {
        let client = &self.clients[index as usize];
        let (protocol, database) = (client.protocol, client.database);
        if client.own.is_some() || client.inflight > 0 {
            return;
        }
        let bounded = self.registry.pinned < self.config.upstream.pinned_max / 2;
        let link = match self.take_spare(protocol, database) {
            Some(link) => link,
            None if bounded && self.registry.health == Health::Up => {
                self.open_pinned(protocol, database)
            }
            None => return,
        };
        self.hand_over(link, index);
        let client = &mut self.clients[index as usize];
        client.held.identity = true;
        client.held.named = !client.by_library;
        self.introduce(index, link);
    }

    /// Repeats on the own link what the client told of itself, so that what Redis says of it is true.
    pub(super) fn introduce(&mut self, index: u32, link: LinkId) {
        let Some(told) = self.clients[index as usize].introduction.clone() else {
            return;
        };
        if std::mem::replace(&mut self.links[link.index as usize].introduced, true) {
            return;
        }
        for (words, value) in [
            (&["CLIENT", "SETNAME"][..], told.name),
            (&["CLIENT", "SETINFO", "LIB-NAME"][..], told.library),
            (&["CLIENT", "SETINFO", "LIB-VER"][..], told.library_version),
        ] {
            if !value.is_empty() {
                let mut request: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
                request.push(&value);
                self.send_ours(link, &request, What::Named);
                self.naming += 1;
            }
        }
    }

    /// Sends a command of ours, whose reply nobody gets.
    pub(super) fn send_ours<W: AsRef<[u8]>>(&mut self, link: LinkId, words: &[W], what: What) {
        let target = &mut self.links[link.index as usize];
        target.push_bytes(&encode::request_bytes(words), &mut self.pool);
        target.expect(ClientId::NOBODY, what);
        self.touch_link(link);
    }

    /// Takes what is answered, or never will be, out of the counts.
    pub(super) fn forget(&mut self, what: &What) {
        match what {
            What::Settle(Settle::Script | Settle::Exec { script: true, .. }) => {
                self.scripts = self.scripts.saturating_sub(1);
            }
            What::PutBack(id) => {
                self.acknowledging.writing.remove(&**id);
            }
            What::Looks { count, is_payload } => self.forget_looks(*count, *is_payload),
            What::Named => {
                self.naming = self.naming.saturating_sub(1);
                if self.naming == 0 {
                    for id in std::mem::take(&mut self.asking) {
                        self.unstall(id, Stall::Naming);
                    }
                }
            }
            _ => {}
        }
    }

    /// Lets a client go on that is stalled for this reason.
    pub(super) fn unstall(&mut self, id: ClientId, reason: Stall) {
        if let Some(client) = self.client(id)
            && client.stall == reason
        {
            client.stall = Stall::None;
            self.resume.push(id);
        }
    }
}
