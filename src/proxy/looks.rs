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
//! it. It is asked whatever the write's reply will be; behind an error it is useless, and harmless.
//!
//! - *Clients*: looks are in no client's pipeline, window or stall; their replies find nobody. A lost link takes them along.
//! - *Cache*: they are reads on the tracked link, so the server announces changes of those keys, too: to drop what is not
//!   there costs nothing but the push.
//! - *MONITOR* shows them.
//! - *Cost*: a key is asked about once however many writes to it go out in one packet. One whose DUMP was too large to be
//!   kept is left alone for a while, and so are all where the server refuses.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::cache::core::Question;
use crate::command::leaves::{Leaves, Look, keys_to_look_at, look};
use crate::command::table::{Access, Command};
use crate::command::written::Written;
use crate::config::Opaque;
use crate::id::{ClientId, LinkId};
use crate::journal::ring::LOOK_BYTES_MAX;
use crate::metrics::Looked;
use crate::resp::frame::Run;
use crate::resp::{Scanner, Words, encode, value};
use crate::upstream::link::{Lane, LookedAt, What, Write, Written as Bytes};

use super::Proxy;
use super::owed::{Sent, split};
use super::replies::{ReplyError, Step};
use super::requests::Request;

/// Keys of one transaction that are asked about behind its EXEC.
const BLOCK_KEYS_MAX: usize = 64;

/// Keys that are noted on a shared link before they are asked about in the middle of a turn.
const NOTED_MAX: usize = 1024;

/// For how long nothing is asked after the server refused it, and of a key after its DUMP was too large.
const LEFT_ALONE_FOR: std::time::Duration = std::time::Duration::from_secs(60);

/// Keys that are left alone, at most.
const LARGE_MAX: usize = 1024;

/// How the looks stand.
#[derive(Debug)]
pub(super) struct Looks {
    opaque: Opaque,
    /// Nothing is asked before that time: of DUMP, and of the others.
    from: [Option<Instant>; 2],
    /// Keys that are too large, by database, and until when.
    large: HashMap<(u32, Box<[u8]>), Instant>,
    /// What became of keys whose payload was to be asked for.
    pub(super) counts: [u64; Looked::COUNT],
}

impl Looks {
    pub(super) fn new(opaque: Opaque) -> Self {
        Self {
            opaque,
            from: [None; 2],
            large: HashMap::new(),
            counts: [0; Looked::COUNT],
        }
    }

    fn count(&mut self, outcome: Looked, count: u32) {
        self.counts[outcome.index()] += u64::from(count);
    }

    /// Tells whether such a look may be sent now; counts a payload that is not asked for.
    fn admits(&mut self, look: Look, database: u32, key: &[u8], now: Instant) -> bool {
        let is_payload = look == Look::Payload;
        let is_over = |from: &Option<Instant>| from.is_none_or(|from| from <= now);
        let wanted = !is_payload || self.opaque == Opaque::Capture;
        let admitted = wanted
            && is_over(&self.from[usize::from(!is_payload)])
            && !(is_payload && self.is_large(database, key, now));
        if is_payload && !admitted {
            self.count_unasked(1);
        }
        admitted
    }

    /// Counts keys whose payload is not asked for; where their writes wait for replicas it need not be.
    fn count_unasked(&mut self, count: u32) {
        if self.opaque != Opaque::Wait {
            self.count(Looked::Ignored, count);
        }
    }

    fn is_large(&self, database: u32, key: &[u8], now: Instant) -> bool {
        if self.large.is_empty() {
            return false;
        }
        let until = self.large.get(&(database, Box::from(key)));
        until.is_some_and(|until| *until > now)
    }

    /// A key's DUMP was too large.
    fn leave_alone(&mut self, database: u32, key: &[u8], now: Instant) {
        if self.large.len() >= LARGE_MAX {
            self.large.retain(|_, until| *until > now);
        }
        if self.large.len() < LARGE_MAX {
            self.large
                .insert((database, key.into()), now + LEFT_ALONE_FOR);
        }
    }

    /// The server refuses such looks.
    fn refused(&mut self, is_payload: bool, now: Instant) {
        let from = &mut self.from[usize::from(!is_payload)];
        let is_news = from.is_none();
        *from = Some(now + LEFT_ALONE_FOR);
        if is_news && is_payload {
            tracing::warn!(
                "the server refuses DUMP: what writes of lists, sets, scripts and their like left stays unknown"
            );
        } else if is_news {
            tracing::warn!(
                "the server refuses HLEN or PTTL: what writes left stays partly unknown"
            );
        }
    }
}

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
    pub(super) fn note_block_looks(&mut self, link: LinkId, block: &[u8]) {
        let mut found = Vec::new();
        for request in split(block, 0) {
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
            if matches!(command.leaves, Leaves::Made(_)) && self.has_lived(database, key) {
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

    /// Tells whether the cache holds a key that lives: then a write of fields has not made it.
    fn has_lived(&mut self, database: u32, key: &[u8]) -> bool {
        use crate::resp::Protocol;
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
        let serial = link.serial;
        self.touch_link(LinkId { index, serial });
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
            is_look: true,
        });
    }

    /// Replies to looks.
    pub(super) fn pass_looks(&mut self, index: u32, bytes: &[u8]) -> Result<Step, ReplyError> {
        let link = &mut self.links[index as usize];
        let Some(What::Looks { count, is_payload }) = link.awaited.front().map(|front| &front.what)
        else {
            return Err(ReplyError::Unexpected);
        };
        let (left, is_payload) = (*count, *is_payload);
        let begins = link.scanner.at_boundary();
        // Of one too large to be held back the end comes alone.
        let most = if begins { left } else { 1 };
        let run = link.scanner.run_whole(bytes, most, LOOK_BYTES_MAX)?;
        if run.consumed == 0 {
            return Ok(Step::Starved);
        }
        if run.frames == 0 {
            return Ok(Step::Consumed(run.consumed));
        }
        let seen = &bytes[..run.consumed];
        match begins {
            true => self.judge_looks(index, left, is_payload, run, seen),
            false => {
                self.leave_large_alone(index, left);
                self.forget_looks(1, is_payload);
            }
        }
        self.journal_looks(index, run.frames, seen, begins, run.errors);
        let link = &mut self.links[index as usize];
        if run.frames == left {
            link.pop_awaited();
        } else if let Some(front) = link.awaited.front_mut()
            && let What::Looks { count, .. } = &mut front.what
        {
            *count -= run.frames;
        }
        self.note_replied(index, run.frames);
        Ok(Step::Consumed(run.consumed))
    }

    /// Counts what looks have brought, and heeds refusals; `left` of the entry are to come, with these.
    fn judge_looks(&mut self, index: u32, left: u32, is_payload: bool, run: Run, bytes: &[u8]) {
        let mut failed = 0;
        if run.errors || bytes.len() > LOOK_BYTES_MAX {
            failed = self.judge_one_by_one(index, left, is_payload, bytes);
        }
        if let Some(journal) = &mut self.journal
            && is_payload
        {
            journal.looks.count(Looked::Captured, run.frames - failed);
            journal.looks.count(Looked::Ignored, failed);
        }
    }

    /// Returns how many of these replies tell nothing.
    #[cold]
    fn judge_one_by_one(
        &mut self,
        index: u32,
        left: u32,
        is_payload: bool,
        mut bytes: &[u8],
    ) -> u32 {
        let now = self.now;
        let (mut seen, mut failed) = (0, 0);
        while let Ok(run) = Scanner::default().run(bytes, 1)
            && run.frames == 1
        {
            let (frame, rest) = bytes.split_at(run.consumed);
            bytes = rest;
            let is_large = frame.len() > LOOK_BYTES_MAX;
            if is_large {
                self.leave_large_alone(index, left - seen);
            } else if let Some(journal) = &mut self.journal
                && is_refusal(frame)
            {
                journal.looks.refused(is_payload, now);
            }
            failed += u32::from(is_large || value::is_error(frame));
            seen += 1;
        }
        failed
    }

    /// The reply to a look, with which so many are to come, was too large to be kept: so may be the next one of its key.
    #[cold]
    fn leave_large_alone(&mut self, index: u32, left: u32) {
        let link = &self.links[index as usize];
        let end = link.awaited.front().map_or(0, |front| front.end);
        let requests = link.output.between(link.answered, end).unwrap_or_default();
        let requests = split(requests, 0);
        let place = requests.len().checked_sub(left as usize);
        let request = place.and_then(|place| requests.get(place));
        let key = request.and_then(|request| request.words.get(request.bytes, 1));
        let (database, now) = (link.database, self.now);
        if let (Some(key), Some(journal)) = (key, &mut self.journal) {
            journal.looks.leave_alone(database, key, now);
        }
    }

    /// Looks that will not be answered, or not to any purpose.
    pub(super) fn forget_looks(&mut self, count: u32, is_payload: bool) {
        if let Some(journal) = &mut self.journal
            && is_payload
        {
            journal.looks.count(Looked::Ignored, count);
        }
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
        self.note_block_looks(link, &request);
        self.ask_unless_shared(link);
    }

    /// Tells whether a request is to be acknowledged only when replicas have it, since what it leaves is not told by its
    /// reply, and not asked for.
    #[expect(dead_code, reason = "acknowledging later comes with it")]
    pub(super) fn waits_for_replicas(&self, request: &Request<'_>) -> bool {
        let waits = |journal: &super::journalled::Journalled| journal.looks.opaque == Opaque::Wait;
        request.command.access == Access::Write
            && self.journal.as_deref().is_some_and(waits)
            && look(&request.command, request.bytes, request.words) == Some(Look::Payload)
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

/// Tells whether an error means that the like of it will be refused, too.
fn is_refusal(error: &[u8]) -> bool {
    error.starts_with(b"-NOPERM") || error.starts_with(b"-ERR unknown command")
}
