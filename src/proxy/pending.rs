//! Requests that may change keys: the cache's fence hears of each when it is sent, and when it is answered or lost.
//!
//! Whatever goes over another link than a tracked one that announces counts as a change, reads as well: their answers may be newer than
//! what the cache holds, and the tracked link's next answer older. So nothing is kept of such a key from the sending to
//! the answer, and no list of readers is needed. Where a request's words do not say which keys it means, it is all.

use crate::command::keys::{Touched, touched};
use crate::command::leaves::Leaves;
use crate::command::table::{Access, Command};
use crate::downstream::client::QueuedKeys;
use crate::id::LinkId;
use crate::metrics::ClearCause;
use crate::upstream::link::{Lane, Link, Pending};

use super::Proxy;
use super::cached::Cached;
use super::requests::Request;

/// Keys of one transaction that are remembered one by one.
const QUEUED_MAX: usize = 1024;

impl Proxy {
    /// A request was queued on a link just now: its place is the link's newest.
    #[inline]
    pub(super) fn note_sent(&mut self, request: &Request<'_>, link: LinkId) {
        self.note_sent_within(request, link, Some(request.bytes.len()));
    }

    /// Like [`Proxy::note_sent`], where what was queued for the request has so many bytes; none where the journal hears of it
    /// otherwise.
    pub(super) fn note_sent_within(
        &mut self,
        request: &Request<'_>,
        link: LinkId,
        length: Option<usize>,
    ) {
        let client = &mut self.clients[request.client as usize];
        let multi = client.is_queueing();
        client.newest = self.links[link.index as usize].asked;
        let is_write = request.command.access == Access::Write && !multi;
        let may_look = is_write && request.command.leaves != Leaves::Known;
        let before = match is_write {
            true => self.known_before(request, link),
            false => None,
        };
        if is_write && let Some(length) = length {
            let replicated = self.is_replicated(&request.command, request.bytes, request.words);
            self.journal_sent(link, length, replicated);
        }
        if may_look && self.is_looked_behind(request) {
            self.note_looks(request, link);
            self.note_changes(request, link, multi);
            return self.ask_unless_shared(link);
        }
        self.note_changes(request, link, multi);
        if let Some(before) = before {
            self.foresee(before, link);
        }
    }

    /// A request may change keys of which the cache knows something.
    #[inline]
    fn note_changes(&mut self, request: &Request<'_>, link: LinkId, multi: bool) {
        let target = &self.links[link.index as usize];
        if self.cached.is_none() {
            return;
        }
        let access = request.command.access;
        // Where nothing is announced, each answer may be the first to tell of a change.
        let announced = target.lane == Lane::Tracked && target.tracking.announces;
        if announced && access != Access::Write {
            return;
        }
        self.note_fields(&request.command, request.word(0).unwrap_or_default());
        if multi {
            return self.note_queued(request);
        }
        let found = touched(&request.command, request.bytes, request.words);
        self.begin_pending(link, found, |index| request.word(index));
    }

    /// Commands that give hash fields an expiry of their own: what was known of them is void.
    pub(super) fn note_fields(&mut self, command: &Command, name: &[u8]) {
        let Some(cached) = &mut self.cached else {
            return;
        };
        if command.access == Access::Write && gives_fields_expiry(name) {
            cached.fields_doubted_at = self.boot;
        }
    }

    /// A request that is queued in a transaction will run at its EXEC.
    fn note_queued(&mut self, request: &Request<'_>) {
        let found = touched(&request.command, request.bytes, request.words);
        if found == Touched::Nothing {
            return;
        }
        let client = &mut self.clients[request.client as usize];
        let new = || Box::new(QueuedKeys::Some(Vec::new()));
        let queued = client.queued_keys.get_or_insert_with(new);
        let room = match &mut **queued {
            QueuedKeys::Some(keys) if found != Touched::Everything => {
                let names = found.words().filter_map(|index| request.word(index));
                keys.extend(names.map(Box::from));
                keys.len() <= QUEUED_MAX
            }
            QueuedKeys::Some(_) | QueuedKeys::Everything => false,
        };
        if !room {
            **queued = QueuedKeys::Everything;
        }
    }

    /// An EXEC was queued on a link just now.
    pub(super) fn note_exec(&mut self, index: u32, link: LinkId) {
        let Some(keys) = self.clients[index as usize].queued_keys.take() else {
            return;
        };
        let (Some(cached), target) = (&mut self.cached, &mut self.links[link.index as usize])
        else {
            return;
        };
        match *keys {
            QueuedKeys::Everything => {
                self.counters.cache_clears[ClearCause::Keyless.index()] += 1;
                begin_everything(cached, target);
            }
            QueuedKeys::Some(keys) => {
                let slots = keys.iter().map(|key| cached.core.write_sent(key)).collect();
                target
                    .pending
                    .push_back((target.asked, Pending::Many(slots)));
            }
        }
    }

    /// The keys of a request whose reply is the newest that is awaited of a link may change from now on.
    pub(super) fn begin_pending<'a>(
        &mut self,
        link: LinkId,
        found: Touched,
        word: impl Fn(usize) -> Option<&'a [u8]>,
    ) {
        let (Some(cached), target) = (&mut self.cached, &mut self.links[link.index as usize])
        else {
            return;
        };
        let mut slots = found
            .words()
            .filter_map(word)
            .map(|key| cached.core.write_sent(key));
        let pending = match found {
            Touched::Nothing => return,
            Touched::Everything => {
                self.counters.cache_clears[ClearCause::Keyless.index()] += 1;
                drop(slots);
                return begin_everything(cached, target);
            }
            Touched::Keys { count: 1, .. } => match slots.next() {
                Some(slot) => Pending::One(slot),
                None => return,
            },
            Touched::Keys { .. } => Pending::Many(slots.collect()),
        };
        target.pending.push_back((target.asked, pending));
    }

    /// So many replies of a link have come: what waited for them is over, before anybody hears of them.
    #[inline]
    pub(super) fn note_replied(&mut self, index: u32, count: u32) {
        let link = &mut self.links[index as usize];
        link.replied += u64::from(count);
        debug_assert!(
            link.writes
                .front()
                .is_none_or(|write| write.place > link.replied),
            "a write whose reply the journal has not seen"
        );
        while let Some((place, _)) = link.foreseen.front()
            && *place <= link.replied
        {
            link.foreseen.pop_front();
        }
        while let Some((place, _)) = link.pending.front()
            && *place <= link.replied
            && let Some((_, pending)) = link.pending.pop_front()
        {
            if let Some(cached) = &mut self.cached {
                end(cached, &pending);
            }
        }
    }

    /// A link is lost: whatever it carried may have run, or may run yet, which tracking tells.
    pub(super) fn end_all_pending(&mut self, link: &mut Link) {
        let Some(cached) = &mut self.cached else {
            return;
        };
        for (_, pending) in link.pending.drain(..) {
            end(cached, &pending);
        }
    }
}

/// HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT, HSETEX, HGETEX.
fn gives_fields_expiry(name: &[u8]) -> bool {
    let hash = matches!(name.first(), Some(b'h' | b'H')) && name.len() >= "hsetex".len();
    let names: [&[u8]; 6] = [
        b"hexpire",
        b"hpexpire",
        b"hexpireat",
        b"hpexpireat",
        b"hsetex",
        b"hgetex",
    ];
    hash && names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn begin_everything(cached: &mut Cached, target: &mut Link) {
    cached.core.write_anywhere_sent();
    target
        .pending
        .push_back((target.asked, Pending::Everything));
}

fn end(cached: &mut Cached, pending: &Pending) {
    match pending {
        Pending::One(slot) => cached.core.write_ended(*slot),
        Pending::Many(slots) => {
            for slot in slots {
                cached.core.write_ended(*slot);
            }
        }
        Pending::Everything => cached.core.write_anywhere_ended(),
    }
}
