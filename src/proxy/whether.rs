//! Whether the key of a write is there, asked of a replica (`hold.ask_replica`): so that the write can be acknowledged while requests
//! are held (`hold.writes: acknowledge`).
//!
//! Libraries delete keys that nobody knows: the session that a visitor does not have yet when he logs in, or the one that an older
//! release would have written. What such a request does is known, what it answers is not. A replica may lack what others
//! wrote last, and so may the answer; what it does to the key is right all the same, as it is put back with the instant of its
//! answer. So a DEL is answered by what the replica says, and EXPIRE by that the key is there: that it is not would log somebody out.
//!
//! A key is asked about once a time ([`super::replica`]), and not where this sidecar may have written what the replica lacks. Its client waits
//! like any other meanwhile.

use std::collections::HashMap;

use bytes::Bytes;

use crate::command::table::Kind;
use crate::config::Writes;
use crate::failover::machine::Scope;
use crate::repair::acknowledged::Write;
use crate::resp::value;
use crate::upstream::link::{KeyAsked, What};

use super::Proxy;
use super::requests::{LINK_OUTPUT_SOFT, Request};

/// Keys of one request that are asked about.
const KEYS_MAX: usize = 8;

/// What a replica has said of keys.
#[derive(Debug, Default)]
pub(super) struct Whether {
    /// `None` = not answered yet, or with an error.
    said: HashMap<(u32, Bytes), Option<bool>>,
}

impl Whether {
    /// Returns whether a key is there; `None` where that is not known.
    pub(super) fn is_there(&self, database: u32, key: &[u8]) -> Option<bool> {
        if self.said.is_empty() {
            return None;
        }
        let id = (database, Bytes::copy_from_slice(key));
        self.said.get(&id).copied().flatten()
    }

    /// It was said by its reply to a read.
    pub(super) fn note(&mut self, database: u32, key: &[u8], is_there: bool) {
        let id = (database, Bytes::copy_from_slice(key));
        self.said.insert(id, Some(is_there));
    }

    fn is_new(&self, id: &(u32, Bytes)) -> bool {
        !self.said.contains_key(id)
    }
}

impl Proxy {
    /// A write waits: asks a replica about keys of which nothing is known.
    pub(super) fn ask_whether_there(&mut self, request: &Request<'_>, scope: Scope) {
        let hold = &self.config.hold;
        let is_wanted = hold.writes == Writes::Acknowledge && hold.ask_replica;
        let has_room = self.replica.whether.said.len() < hold.requests_max;
        let client = &self.clients[request.client as usize];
        let is_plain = request.command.kind == Kind::Tracked && !client.held.takes_everything();
        if !is_wanted || !has_room || !is_plain || scope != Scope::All || !self.may_wait() {
            return;
        }
        let words: Vec<&[u8]> = request.words_from(0).collect();
        let write = match Write::read(&words) {
            Some(write @ (Write::Delete(_) | Write::Expire(..))) => write,
            Some(Write::Set { .. }) | None => return,
        };
        let database = client.database;
        for key in write.keys().iter().take(KEYS_MAX) {
            self.ask_whether(request.client, database, key);
        }
    }

    fn ask_whether(&mut self, client: u32, database: u32, key: &[u8]) {
        let id = (database, Bytes::copy_from_slice(key));
        let is_session = |cached: &super::cached::Cached| cached.is_session(key);
        let kept = &self.acknowledging.kept;
        if !self.replica.whether.is_new(&id)
            || !self.cached.as_deref().is_some_and(is_session)
            || kept.holds(database, key)
            || self.was_there(database, key).is_some()
            || self.is_watched()
            || self.may_lack(key)
        {
            return;
        }
        let Some(link) = self.replica_link(client) else {
            return;
        };
        if self.links[link.index as usize].output.len() > LINK_OUTPUT_SOFT {
            return;
        }
        let asked = KeyAsked {
            database,
            key: id.1.clone(),
            time: self.replica.time,
        };
        self.replica.whether.said.insert(id, None);
        self.send_ours(link, &[&b"EXISTS"[..], key], What::Whether(Box::new(asked)));
    }

    /// The replica has said whether a key is there.
    pub(super) fn told_whether(&mut self, asked: KeyAsked, reply: &[u8]) {
        let KeyAsked {
            database,
            key,
            time,
        } = asked;
        if let Some(count) = value::integer(reply)
            && time == self.replica.time
        {
            self.replica.whether.note(database, &key, count > 0);
            // Once for all that it has said in this turn.
            self.look_again_from(self.now);
        }
    }
}
