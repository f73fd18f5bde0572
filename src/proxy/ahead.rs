//! Reading ahead, where writes are acknowledged while requests are held (`hold.writes: acknowledge`): a session that was written
//! is read again at once, for the cache alone, so that it is at hand when trouble begins; and one that was ended, to know that it is.
//!
//! Most libraries begin a request with the read of a session that the one before has written: it would be read then anyway.
//! Between a write's reply and that of the read behind it, what the session holds is *foreseen* from our own words; so it is while
//! a request is under way that gives it a deadline, or deletes it. It is kept, or the key known to have lived, only when the link is
//! lost before the server has told ([`crate::cache::core::Foreseen`]).

use bytes::Bytes;

use crate::cache::core::Question;
use crate::cache::entry::{Kept, Millis};
use crate::command::table::CachedRead;
use crate::command::time::Time;
use crate::config::{Config, Writes};
use crate::id::LinkId;
use crate::journal::ring::Record;
use crate::repair::acknowledged::Write;
use crate::resp::{Protocol, encode, value};
use crate::upstream::link::{Ahead, Lane, Link};

use super::Proxy;
use super::owed::{Sent, split};
use super::requests::Request;

/// A read of the whole value.
const GET: &[u8] = &[CachedRead::Get as u8];

/// The server's clock, as [`crate::upstream::link::Probing`] has it.
pub(super) type ServerClock = Option<(Millis, Millis, Millis)>;

/// Sessions that were written, to be read.
#[derive(Debug, Default)]
pub(super) struct Fresh(Vec<One>);

/// One of them.
#[derive(Debug, PartialEq, Eq)]
struct One {
    key: Bytes,
    database: u32,
    /// What it holds, where that is known.
    kept: Option<Kept>,
}

/// What is known before of a key that a request is about to change.
#[derive(Debug)]
pub(super) struct Before {
    key: Bytes,
    kept: Kept,
    deletes: bool,
}

/// Tells whether sessions are read ahead.
pub(super) fn is_wanted(config: &Config) -> bool {
    config.hold.writes == Writes::Acknowledge && config.cache.bytes > 0
}

impl Fresh {
    /// Writes were answered. `foreseen` is what was known before of those under way.
    pub(super) fn note<'a>(
        &mut self,
        record: &Record<'_>,
        foreseen: impl Iterator<Item = &'a Ahead> + Clone,
        clock: ServerClock,
    ) {
        let requests = split(record.request, 0);
        if record.count == 1 && requests.len() > 1 {
            return self.note_block(record, &requests, clock);
        }
        let mut replies = record.reply;
        for request in &requests {
            let reply;
            (reply, replies) = value::first(replies).unwrap_or_default();
            let line = request.line();
            match (Write::read(&line), reply) {
                (Some(Write::Set { key, value, time }), b"+OK\r\n") => {
                    self.holds(record, key, value, time, clock);
                }
                (Some(Write::Expire(key, time)), b":1\r\n") => {
                    let mut foreseen = foreseen.clone().map(Ahead::foreseen);
                    let known = foreseen.find(|one| one.is_of(record.database, key));
                    let kept = known.and_then(|one| touched(one.kept(), time, record, clock));
                    self.put(record.database, key, kept);
                }
                (Some(Write::Delete(keys)), [b':', ..]) => {
                    keys.into_iter().for_each(|key| self.gone(record, key));
                }
                // With options that do not tell which value is there now: SET … XX GET, for one.
                (None, b"+OK\r\n") if request.name().eq_ignore_ascii_case(b"set") => {
                    self.put(record.database, line[1], None);
                }
                _ => {}
            }
        }
    }

    /// A transaction was executed. What it has not set itself is read, and nothing is foreseen of it.
    fn note_block(&mut self, record: &Record<'_>, requests: &[Sent<'_>], clock: ServerClock) {
        // Nothing was done, or not all.
        if value::is_null(record.reply) || record.reply.contains(&b'-') {
            return;
        }
        for request in requests {
            match Write::read(&request.line()) {
                Some(Write::Set { key, value, time }) => {
                    self.holds(record, key, value, time, clock);
                }
                Some(Write::Expire(key, time)) => {
                    let known = self.take(record.database, key);
                    let kept = known.and_then(|kept| touched(&kept, time, record, clock));
                    self.put(record.database, key, kept);
                }
                Some(Write::Delete(keys)) => {
                    keys.into_iter().for_each(|key| self.gone(record, key));
                }
                None => {}
            }
        }
    }

    fn holds(
        &mut self,
        record: &Record<'_>,
        key: &[u8],
        value: &[u8],
        time: Option<Time>,
        clock: ServerClock,
    ) {
        let deadline = time.map(|time| deadline(time, record.sent_at / 1_000, clock));
        let mut reply = Vec::with_capacity(value.len() + 16);
        encode::bulk(&mut reply, value);
        // Where the deadline is not known, nothing is.
        let is_known = deadline != Some(None);
        let kept = is_known.then(|| kept(record, reply.into(), deadline.flatten()));
        self.put(record.database, key, kept);
    }

    /// A key was deleted, or was not there.
    fn gone(&mut self, record: &Record<'_>, key: &[u8]) {
        let null = Bytes::from_static(Protocol::Resp3.null());
        self.put(record.database, key, Some(kept(record, null, None)));
    }

    fn put(&mut self, database: u32, key: &[u8], kept: Option<Kept>) {
        self.take(database, key);
        self.0.push(One {
            key: Bytes::copy_from_slice(key),
            database,
            kept,
        });
    }

    fn take(&mut self, database: u32, key: &[u8]) -> Option<Kept> {
        let is = |one: &One| one.database == database && one.key == key;
        let place = self.0.iter().position(is)?;
        self.0.swap_remove(place).kept
    }
}

/// What GET would have been answered behind a write.
fn kept(record: &Record<'_>, reply: Bytes, deadline: Option<Millis>) -> Kept {
    let sent_at = record.sent_at / 1_000;
    Kept {
        database: record.database,
        shape: Bytes::from_static(GET),
        reply,
        deadline,
        sent_at,
        answered_at: sent_at,
        link: 0,
    }
}

/// Returns what a key holds that was given another deadline.
fn touched(known: &Kept, time: Time, record: &Record<'_>, clock: ServerClock) -> Option<Kept> {
    let sent_at = record.sent_at / 1_000;
    Some(Kept {
        deadline: Some(deadline(time, sent_at, clock)?),
        sent_at,
        answered_at: sent_at,
        ..known.clone()
    })
}

/// Returns when a key ends, by the boot clock and never too late; `None` where the server's clock would have to be known.
fn deadline(time: Time, sent_at: Millis, clock: ServerClock) -> Option<Millis> {
    match time {
        Time::After(ttl) => Some(sent_at.saturating_add(ttl.unsigned_abs())),
        Time::At(at) => {
            let (time, asked_at, _) = clock?;
            Some(at.unsigned_abs().saturating_sub(time) + asked_at)
        }
    }
}

impl Proxy {
    /// Reads the sessions that were written just now.
    #[inline]
    pub(super) fn read_ahead_of_written(&mut self) {
        let fresh = self
            .journal
            .as_mut()
            .and_then(|journal| journal.fresh.as_mut());
        if let Some(Fresh(all)) = fresh
            && !all.is_empty()
        {
            let all = std::mem::take(all);
            if !self.is_watched() {
                all.into_iter().for_each(|one| self.read_ahead_of(one));
            }
        }
    }

    #[cold]
    fn read_ahead_of(&mut self, one: One) {
        let is_wanted = |cached: &super::cached::Cached| {
            let bytes = one.kept.as_ref().map_or(0, |kept| kept.reply.len());
            cached.is_session(&one.key) && bytes <= cached.entry_bytes_max
        };
        let tracked = self
            .registry
            .shared(Lane::Tracked, Protocol::Resp3, one.database);
        let Some(link) = tracked.filter(|_| self.cached.as_deref().is_some_and(is_wanted)) else {
            return;
        };
        self.renew_lease(link);
        let place = self.links[link.index as usize].asked + 1;
        if !self.read_ahead(link.index, &one.key) {
            return;
        }
        let (Some(cached), Some(kept)) = (&self.cached, one.kept) else {
            return;
        };
        let kept = Kept {
            link: link.serial,
            ..kept
        };
        let ahead = Ahead::Holds(cached.core.foresee(one.key, kept));
        let target = &mut self.links[link.index as usize];
        target.foreseen.push_back((place, ahead));
    }

    /// Returns what the cache knows of the key of a write that is being sent: nothing but of one that deletes it, or gives it a
    /// deadline.
    #[inline]
    pub(super) fn known_before(&mut self, request: &Request<'_>, link: LinkId) -> Option<Before> {
        let wanted = is_wanted(&self.config);
        let is_tracked = self.links[link.index as usize].lane == Lane::Tracked;
        (wanted && is_tracked).then(|| self.known_of_cached(request, link))?
    }

    #[cold]
    fn known_of_cached(&mut self, request: &Request<'_>, link: LinkId) -> Option<Before> {
        let words: Vec<&[u8]> = request.words_from(0).collect();
        let (key, time) = match Write::read(&words)? {
            Write::Delete(keys) if keys.len() == 1 => (keys[0], None),
            Write::Expire(key, time) => (key, Some(time)),
            Write::Delete(_) | Write::Set { .. } => return None,
        };
        let target = &self.links[link.index as usize];
        let question = Question {
            key,
            database: target.database,
            shape: GET,
            link: target.tracking,
            now: self.boot,
            after: None,
        };
        let clock = target.probing.clock;
        let cached = self.cached.as_mut()?;
        let mut kept = cached.core.look_up(&question, |kept| kept.to_kept())?;
        if value::is_null(&kept.reply) {
            return None;
        }
        if let Some(time) = time {
            // Whether it is given that deadline yet or not.
            let new = deadline(time, self.boot, clock)?;
            kept.deadline = Some(kept.deadline.map_or(new, |old| old.min(new)));
        }
        Some(Before {
            key: Bytes::copy_from_slice(key),
            kept,
            deletes: time.is_none(),
        })
    }

    /// Such a write was sent.
    pub(super) fn foresee(&mut self, before: Before, link: LinkId) {
        let Some(cached) = &self.cached else {
            return;
        };
        let foreseen = cached.core.foresee(before.key, before.kept);
        let ahead = match before.deletes {
            true => Ahead::Lived(foreseen),
            false => Ahead::Holds(foreseen),
        };
        let target = &mut self.links[link.index as usize];
        target.foreseen.push_back((target.asked, ahead));
    }

    /// A link is lost: takes what its replies have not told, as far as nothing may have changed.
    pub(super) fn take_foreseen(&mut self, link: &mut Link) -> Vec<Ahead> {
        let Some(cached) = &self.cached else {
            return Vec::new();
        };
        let all = link.foreseen.drain(..).map(|(_, ahead)| ahead);
        all.filter(|ahead| cached.core.is_foreseen(ahead.foreseen()))
            .collect()
    }

    /// It will not tell any more.
    pub(super) fn keep_foreseen(&mut self, all: Vec<Ahead>) {
        for ahead in all {
            match (ahead, &mut self.cached) {
                (Ahead::Holds(foreseen), Some(cached)) => cached.core.keep_foreseen(foreseen),
                (Ahead::Lived(foreseen), _) => self.stale.note_lived(&foreseen),
                (Ahead::Holds(_), None) => {}
            }
        }
    }
}
