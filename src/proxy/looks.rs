//! Looks behind writes: what a write left is not always told by its reply ([`crate::command::leaves`]), so reads of ours
//! stand behind it on the same link, and are journalled with their replies.
//!
//! ```text
//!  write ─► its keys are noted on the link ─► the link is about to be flushed: DUMP, HLEN, PTTL, each key once
//!                                             (on a link of a client's own: at once, before a MULTI of it may follow)
//!  replies ─► nobody; into the journal, behind the writes
//! ```
//!
//! A look sees the key some microseconds after the write: what it shows has then been left by that write, or by one behind
//! it. It is asked whatever the write's reply will be; behind an error it is useless, and harmless. Behind a refusal (READONLY and
//! the like) it is dropped: a primary that was demoted may show what is older than what it has acknowledged.
//!
//! - *Clients*: looks are in no client's pipeline, window or stall; their replies find nobody. A lost link takes them along.
//! - *Cache*: they are reads on the tracked link, so the server announces changes of those keys, too: to drop what is not
//!   there costs nothing but the push.
//! - *MONITOR* shows them.
//! - *Cost*: a key is asked about once however many writes to it go out in one packet. One whose DUMP was too large to be
//!   kept is left alone for a while, and so are all where the server refuses.

mod admitted;
mod replies;

use crate::cache::core::Question;
use crate::command::leaves::{Leaves, Look, keys_to_look_at, look};
use crate::command::table::{Access, Command};
use crate::command::written::Written;
use crate::config::Opaque;
use crate::id::{ClientId, LinkId};
use crate::resp::{Protocol, Words, encode};
use crate::upstream::link::{Lane, LookedAt, What, Write, Written as Bytes};

use super::Proxy;
use super::owed::{Sent, split};
use super::requests::Request;

pub(super) use admitted::Looks;

/// Keys of one transaction that are asked about behind its EXEC.
const BLOCK_KEYS_MAX: usize = 64;

/// Keys that are noted on a shared link before they are asked about in the middle of a turn.
const NOTED_MAX: usize = 1024;

impl Proxy {
    /// Tells whether something may have to be asked behind a request that writes.
    #[inline]
    pub(super) fn is_looked_behind(&self, request: &Request<'_>) -> bool {
        self.journal.is_some() && look(&request.command, request.bytes, request.words).is_some()
    }

    /// A request that writes was queued on a link just now: notes which of its keys are to be asked about. The cache still
    /// knows what it knew before.
    #[cold]
    pub(super) fn note_looks(&mut self, request: &Request<'_>, link: LinkId) {
        let Request { bytes, words, .. } = *request;
        let mut found = Vec::new();
        self.find_looks(&request.command, bytes, words, link, &mut found);
        self.links[link.index as usize].looked.append(&mut found);
    }

    /// Like [`Proxy::note_looks`], of a whole transaction.
    #[cold]
    pub(super) fn note_block_looks(&mut self, link: LinkId, block: &[Sent<'_>]) {
        let mut found = Vec::new();
        for request in block {
            let command = self.table.find(request.name());
            self.find_looks(&command, request.bytes, &request.words, link, &mut found);
        }
        merge(&mut found);
        // What is needed most comes first.
        found.sort_by_key(|one| std::cmp::Reverse(one.look));
        let beyond = found.split_off(found.len().min(BLOCK_KEYS_MAX));
        let payloads = beyond.iter().filter(|one| one.look == Look::Payload);
        if let Some(journal) = &mut self.journal {
            journal.looks.count_unasked(payloads.count() as u32);
        }
        self.links[link.index as usize].looked.append(&mut found);
    }

    /// Finds which keys of a request are to be asked about behind it.
    fn find_looks(
        &mut self,
        command: &Command,
        request: &[u8],
        words: &Words,
        link: LinkId,
        found: &mut Vec<LookedAt>,
    ) {
        if command.access != Access::Write || self.journal.is_none() {
            return;
        }
        let Some(look) = look(command, request, words) else {
            return;
        };
        let is_count = command.leaves == Leaves::Made(Look::Payload);
        let may_expire = is_count && self.fields_may_expire(link);
        if is_count
            && !may_expire
            && let Some(write) = self.links[link.index as usize].writes.back_mut()
        {
            write.fields_last = true;
        }
        // HINCRBY keeps the deadline of a field, where there is such a thing.
        let (look, is_made) = match command.leaves {
            Leaves::Made(Look::Payload) if may_expire => (look, false),
            Leaves::Made(_) => (Look::Fields, true),
            _ => (look, false),
        };
        let database = self.links[link.index as usize].database;
        let keys = match keys_to_look_at(command, request, words) {
            Written::Words(keys) => keys,
            Written::Anything => {
                if let Some(journal) = &mut self.journal {
                    journal.looks.count_unasked(1);
                }
                return;
            }
        };
        for key in keys.into_iter().filter_map(|key| words.get(request, key)) {
            if is_made && self.has_lived(database, key) {
                continue;
            }
            let now = self.now;
            if let Some(journal) = &mut self.journal
                && journal.looks.admits(look, database, key, now)
            {
                let key = key.into();
                found.push(LookedAt { key, look });
            }
        }
    }

    /// Tells whether fields of hashes may have deadlines of their own in the database of a link.
    pub(super) fn fields_may_expire(&mut self, link: LinkId) -> bool {
        if !self.table.fields_may_expire() {
            return false;
        }
        let database = self.links[link.index as usize].database;
        let tracked = self
            .registry
            .shared(Lane::Tracked, Protocol::Resp3, database);
        !tracked.is_some_and(|tracked| self.has_lasting_fields(tracked))
    }

    /// Tells whether the cache holds a key that lives: then a write of fields has not made it.
    fn has_lived(&mut self, database: u32, key: &[u8]) -> bool {
        let tracked = self
            .registry
            .shared(Lane::Tracked, Protocol::Resp3, database);
        let (Some(cached), Some(link)) = (&mut self.cached, tracked) else {
            return false;
        };
        let question = Question {
            key,
            database,
            shape: &[],
            link: self.links[link.index as usize].tracking,
            now: self.boot,
            after: None,
        };
        cached.core.look_up_live(&question, |_| ()).is_some()
    }

    /// The requests of a turn stand on a link: on a shared one nothing is asked before it is flushed, since more may follow.
    #[inline]
    pub(super) fn ask_unless_shared(&mut self, link: LinkId) {
        let target = &self.links[link.index as usize];
        let is_shared = matches!(target.lane, Lane::Tracked | Lane::General);
        if !is_shared || target.looked.len() >= NOTED_MAX {
            self.ask_looks(link.index);
        }
    }

    /// Asks about the keys that were noted on a link.
    #[inline]
    pub fn ask_looks(&mut self, index: u32) {
        if !self.links[index as usize].looked.is_empty() {
            self.send_looks(index);
        }
    }

    fn send_looks(&mut self, index: u32) {
        let mut all = std::mem::take(&mut self.links[index as usize].looked);
        merge(&mut all);
        let link = &mut self.links[index as usize];
        let start = link.output.queued();
        let out = link.output.writer(&mut self.pool);
        let mut payloads = 0;
        for one in all.iter().filter(|one| one.look == Look::Payload) {
            encode::request(out, &[&b"DUMP"[..], &one.key]);
            payloads += 1;
        }
        self.expect_looks(index, start, payloads, true);
        let link = &mut self.links[index as usize];
        let start = link.output.queued();
        let out = link.output.writer(&mut self.pool);
        let mut others = 0;
        for one in &all {
            if one.look == Look::Fields {
                encode::request(out, &[&b"HLEN"[..], &one.key]);
                others += 1;
            }
            encode::request(out, &[&b"PTTL"[..], &one.key]);
            others += 1;
        }
        self.expect_looks(index, start, others, false);
        all.clear();
        let link = &mut self.links[index as usize];
        // Its memory serves again.
        link.looked = all;
        self.touch_link(self.link_at(index));
    }

    /// Looks were queued on a link just now, from this place on.
    fn expect_looks(&mut self, index: u32, start: u64, count: u32, is_payload: bool) {
        if count == 0 {
            return;
        }
        let sent_at = self.boot_micros;
        let link = &mut self.links[index as usize];
        link.expect(ClientId::NOBODY, What::Looks { count, is_payload });
        link.writes.push_back(Write {
            place: link.asked - u64::from(count) + 1,
            count,
            sent_at,
            written: Bytes::There {
                start,
                end: link.output.queued(),
            },
            replicated: false,
            is_look: true,
            fields_last: false,
        });
    }

    /// A large request that writes has passed: asks about its keys, if it is still at hand.
    pub(super) fn look_behind_upload(&mut self, link: LinkId) {
        if self.journal.is_none() {
            return;
        }
        let request = self.links[link.index as usize].newest_requests();
        let Some(request) = request.and_then(|bytes| Sent::read(bytes, 0)) else {
            return;
        };
        let command = self.table.find(request.name());
        if command.access != Access::Write
            || look(&command, request.bytes, &request.words).is_none()
        {
            return;
        }
        let request = request.bytes.to_vec();
        self.note_block_looks(link, &split(&request, 0));
        self.ask_unless_shared(link);
    }

    /// Tells whether a request is to be acknowledged only when replicas have it, since what it leaves is not told by its
    /// reply, and not asked for.
    pub(super) fn waits_for_replicas(
        &self,
        command: &Command,
        bytes: &[u8],
        words: &Words,
    ) -> bool {
        let journal = self.journal.as_deref();
        command.access == Access::Write
            && journal.is_some_and(|journal| journal.looks.opaque == Opaque::Wait)
            && look(command, bytes, words) == Some(Look::Payload)
    }
}

/// Keeps one look of each key, that which tells most.
fn merge(all: &mut Vec<LookedAt>) {
    if all.len() < 2 {
        return;
    }
    all.sort_by(|one, other| (&one.key, other.look).cmp(&(&other.key, one.look)));
    all.dedup_by(|next, kept| next.key == kept.key);
}
