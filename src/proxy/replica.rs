//! Reads that a replica answers while there is no primary, where that is allowed (`hold.ask_replica`).
//!
//! A replica has what the primary had sent it: not every write that was acknowledged, and maybe not what a client was told
//! before. So it is not asked about a key that this sidecar has written and that the journal does not know to be on all
//! replicas; what it does not have proves nothing, and is asked of the next primary; and a read that it could not answer is
//! not asked of it again. What others have written last it may lack: that is the price of the answer, and the operator's
//! to pay.

use std::collections::HashSet;

use crate::cache::shape;
use crate::command::keys::{Touched, touched};
use crate::command::table::{CachedRead, Kind};
use crate::config::Writes;
use crate::downstream::client::Stall;
use crate::failover::machine::Scope;
use crate::id::{ClientId, LinkId};
use crate::journal::Seq;
use crate::journal::ring::Record;
use crate::metrics::SessionRead;
use crate::resp::value;
use crate::seam::HostPort;
use crate::upstream::connect::Profile;
use crate::upstream::link::{Lane, What};

use super::Proxy;
use super::owed::{Sent, split};
use super::replies::{HELD_BACK_MAX, ReplyError, Step, first_frame};
use super::requests::{Request, Taken};
use super::whether::Whether;

/// The replica that is asked, and what it may lack.
#[derive(Debug)]
pub(super) struct Replica {
    /// The one that is furthest; `None` where there is none.
    address: Option<HostPort>,
    lacks: Option<Lacks>,
    /// What it has said of keys that writes name.
    pub(super) whether: Whether,
    /// Raised with each hold, and where another replica is asked: nobody asks in vain twice in a time.
    pub(super) time: u32,
}

impl Default for Replica {
    fn default() -> Self {
        Self {
            address: None,
            lacks: None,
            whether: Whether::default(),
            time: 1,
        }
    }
}

/// Keys that this sidecar has written and that not all replicas are known to have.
#[derive(Debug, Default)]
struct Lacks {
    keys: HashSet<Box<[u8]>>,
    everything: bool,
    /// The newest record that was looked at.
    newest: Seq,
}

impl Proxy {
    /// Another replica is furthest.
    pub fn learn_replica(&mut self, address: Option<HostPort>) {
        self.leave_replica();
        self.replica.address = address;
    }

    /// Requests are not held any more, or not held any longer: what a replica has not answered is not waited for.
    pub(super) fn leave_replica(&mut self) {
        self.replica.lacks = None;
        self.replica.whether = Whether::default();
        self.replica.time += 1;
        let links: Vec<LinkId> = self.registry.replicas().collect();
        for link in links {
            if self.link(link).is_some() {
                self.fail_link(link.index);
            }
        }
    }

    /// Asks a replica what a request wants to know; `None` where that is not allowed, or can't be right.
    pub(super) fn ask_replica(&mut self, request: &Request<'_>, scope: Scope) -> Option<Taken> {
        let length = request.words.len();
        let single = |read: &CachedRead| shape::is_of_one_key(*read, length);
        let read = request.command.cached.filter(single)?;
        let client = &self.clients[request.client as usize];
        let allowed = self.config.hold.ask_replica
            && scope == Scope::All
            && !self.failover.sheds
            && client.asked_replica != self.replica.time;
        let in_order = client.inflight == 0 && !client.held.takes_everything();
        let sessions = self.cached.as_ref();
        let key = request.word(1)?;
        let is_session = sessions.is_none_or(|cached| cached.is_session(key));
        if !allowed || !in_order || !is_session || request.command.kind != Kind::Tracked {
            return None;
        }
        if self.is_watched() || self.may_lack(key) {
            return None;
        }
        let link = self.replica_link(request.client)?;
        if !self.may_send(request.client, link) {
            return Some(Taken::Stalled);
        }
        Some(self.send_in_doubt(request, link, read, false))
    }

    /// Asks a server that may lack something.
    pub(super) fn send_in_doubt(
        &mut self,
        request: &Request<'_>,
        link: LinkId,
        read: CachedRead,
        as_resp2: bool,
    ) -> Taken {
        self.count_sent(request.client, link);
        let client = &mut self.clients[request.client as usize];
        // What stands behind it waits: it may have to be asked again.
        client.stall = Stall::Lane;
        client.asked_replica = self.replica.time;
        let id = client.id(request.client);
        let target = &mut self.links[link.index as usize];
        self.counters.requests[target.lane.metric().index()] += 1;
        target.push_bytes(request.bytes, &mut self.pool);
        let read = read as u8;
        target.expect(id, What::InDoubt { read, as_resp2 });
        self.touch_link(link);
        Taken::Bytes(request.length)
    }

    pub(super) fn replica_link(&mut self, client: u32) -> Option<LinkId> {
        let client = &self.clients[client as usize];
        let (database, protocol) = (client.database, client.protocol);
        if let Some(link) = self.registry.shared(Lane::Replica, protocol, database) {
            return Some(link);
        }
        let address = self.replica.address.clone()?;
        let profile = Profile {
            protocol,
            database,
            run_id: None,
            replica: true,
            name: Some("gripfast-replica"),
        };
        let link = self.open_to(&address, Lane::Replica, profile);
        self.registry
            .set_shared(Lane::Replica, protocol, database, link);
        Some(link)
    }

    /// Tells whether a replica may lack a write of this key that was acknowledged here.
    pub(super) fn may_lack(&mut self, key: &[u8]) -> bool {
        let Some(journal) = &self.journal else {
            return true;
        };
        let newest = journal.ring.newest();
        let known = self.replica.lacks.as_ref();
        if known.is_none_or(|lacks| lacks.newest != newest) {
            self.replica.lacks = Some(self.lacks(newest));
        }
        let known = self.replica.lacks.as_ref();
        known.is_none_or(|lacks| lacks.everything || lacks.keys.contains(key))
    }

    /// Lists the keys of what is at risk.
    fn lacks(&self, newest: Seq) -> Lacks {
        let mut lacks = Lacks {
            newest,
            ..Lacks::default()
        };
        let Some(journal) = &self.journal else {
            return lacks;
        };
        let at_risk = |number: Seq, record: &Record<'_>| {
            let last = number + u64::from(record.count) - 1;
            journal.samples.at_risk(number, last) > 0
        };
        let records = journal.ring.from(0);
        let writes = records.filter(|(_, record)| !record.is_look);
        for (_, record) in writes.filter(|(number, record)| at_risk(*number, record)) {
            for request in split(record.request, 0) {
                let command = self.table.find(request.name());
                let found = touched(&command, request.bytes, &request.words);
                lacks.everything |= found == Touched::Everything;
                let names = found.words();
                let names = names.filter_map(|index| request.words.get(request.bytes, index));
                lacks.keys.extend(names.map(Box::from));
            }
        }
        lacks
    }

    /// The replica has shown the key of the read in front: it is there.
    fn note_there(&mut self, index: u32) {
        let database = self.links[index as usize].database;
        let (request, _) = self.front_request(index);
        let request = Sent::read(&request, 0);
        let key = request.and_then(|request| request.words.get(request.bytes, 1));
        if let Some(key) = key.filter(|_| self.config.hold.writes == Writes::Acknowledge) {
            self.replica.whether.note(database, key, true);
        }
    }

    /// The reply of a server that may lack something: it goes to the client, unless it says that there is no such key, or
    /// nothing of use.
    pub(super) fn pass_in_doubt(
        &mut self,
        index: u32,
        id: ClientId,
        read: u8,
        as_resp2: bool,
        bytes: &[u8],
    ) -> Result<Step, ReplyError> {
        let link = &self.links[index as usize];
        if !link.scanner.at_boundary() {
            return self.pass_replies(index, id, 1, as_resp2, bytes);
        }
        let frame = first_frame(bytes);
        if frame.is_none() && bytes.len() < HELD_BACK_MAX {
            return Ok(Step::Starved);
        }
        // What is larger is something, at any rate.
        let tells = frame.is_none_or(|frame| {
            !value::is_error(frame) && shape::exists(read, frame) == Some(true)
        });
        if !tells && self.client(id).is_some() {
            let (request, _) = self.front_request(index);
            self.take_back_as(index, id, &request);
            return self.swallow(index, bytes);
        }
        let kind = match self.links[index as usize].lane {
            Lane::Replica => {
                self.note_there(index);
                SessionRead::Replica
            }
            Lane::Tracked | Lane::General | Lane::Pinned | Lane::Repair => SessionRead::Passed,
        };
        if let Some(client) = self.client(id) {
            client.asked_replica = 0;
        }
        self.counters.session_reads[kind.index()] += 1;
        self.pass_replies(index, id, 1, as_resp2, bytes)
    }
}
