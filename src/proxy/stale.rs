//! What is answered while requests are held: reads of sessions that are in the cache, up to `hold.stale_grace_ms` old.
//!
//! Sound only for what came by a link that held its lease when trouble began: until then every change was announced. What
//! changed since can't be known, which is what the grace bounds. Nothing is served past its deadline, nothing of a key
//! that this sidecar has changed since, and absence is served only where it was read: a doubt is never a nil.

use std::collections::HashSet;

use crate::cache::core::{Question, Tracking};
use crate::cache::entry::{Millis, View};
use crate::cache::fence::SlotId;
use crate::cache::shape;
use crate::command::keys::Touched;
use crate::command::table::{CachedRead, Kind};
use crate::metrics::{Lane as LaneMetric, SessionRead};
use crate::resp::encode;
use crate::upstream::link::{Lane, Link};

use super::Proxy;
use super::reads::{MGET_MAX, proof};
use super::requests::{Request, Taken};
use crate::failover::machine::Scope;

/// How long before a hold a link may have been lost to belong to it.
const SAME_TROUBLE: Millis = 1000;

/// A tracked link as it was when it was last relied on.
#[derive(Clone, Copy, Debug)]
struct Last {
    tracking: Tracking,
    /// Which commands the server had accepted on it.
    proven: u32,
    at: Millis,
}

/// What may be answered while requests are held.
#[derive(Debug, Default)]
pub(super) struct Stale {
    /// By database.
    links: Vec<Option<Last>>,
    /// When the hold began, by the boot clock.
    since: Option<Millis>,
    /// Keys that requests which wait may change.
    blocked: HashSet<SlotId>,
    /// Such a request may change any.
    everything: bool,
}

impl Stale {
    fn note(&mut self, link: &Link, now: Millis) {
        if !link.tracking.holds_lease(now) {
            return;
        }
        let place = link.database as usize;
        if self.links.len() <= place {
            self.links.resize(place + 1, None);
        }
        self.links[place] = Some(Last {
            tracking: link.tracking,
            proven: link.proven,
            at: now,
        });
    }

    fn of(&self, database: u32) -> Option<&Last> {
        let since = self.since?;
        let last = self.links.get(database as usize)?.as_ref()?;
        (last.at + SAME_TROUBLE >= since).then_some(last)
    }
}

impl Proxy {
    /// A hold begins: what the links have brought may be served for a while.
    pub(super) fn note_hold_began(&mut self) {
        self.look_at_clock();
        self.stale.since = Some(self.boot);
        for link in self.registry.tracked() {
            self.stale.note(&self.links[link.index as usize], self.boot);
        }
    }

    /// A link is about to be lost.
    pub(super) fn note_link_gone(&mut self, index: u32) {
        let link = &self.links[index as usize];
        if self.cached.is_some() && link.lane == Lane::Tracked {
            self.boot = self.clock.boot();
            self.stale.note(link, self.boot);
        }
    }

    /// The hold is over: nothing stale is served any more.
    pub(super) fn note_hold_ended(&mut self) {
        self.stale = Stale::default();
    }

    /// A request that waits may change these keys.
    pub(super) fn note_held<'a>(
        &mut self,
        found: Touched,
        word: impl Fn(usize) -> Option<&'a [u8]>,
    ) {
        let Some(cached) = &self.cached else {
            return;
        };
        match found {
            Touched::Everything => self.stale.everything = true,
            found => {
                let slots = found.words().filter_map(word);
                let slots = slots.map(|key| cached.core.slot(key));
                self.stale.blocked.extend(slots);
            }
        }
    }

    /// Answers a request although requests are held, if the cache knows the answer.
    pub(super) fn answer_held(&mut self, request: &Request<'_>, scope: Scope) -> Option<Taken> {
        let client = &self.clients[request.client as usize];
        let in_order = client.inflight == 0 && !client.held.takes_everything();
        let kind = request.command.kind;
        if kind != Kind::Tracked || !in_order || self.cached.is_none() || self.is_watched() {
            return None;
        }
        match request.command.cached {
            Some(read) if scope == Scope::All => {
                let lasts = shape::has_right_length(read, request.words.len());
                (lasts && self.serve_stale(request, read)).then_some(Taken::Bytes(request.length))
            }
            None if self.may_touch(request) && scope == Scope::Writes => self.touch(request),
            _ => None,
        }
    }

    fn serve_stale(&mut self, request: &Request<'_>, read: CachedRead) -> bool {
        let client = &self.clients[request.client as usize];
        let (database, protocol) = (client.database, client.protocol);
        let Some(last) = self.stale.of(database).copied() else {
            return false;
        };
        let (Some(cached), grace) = (&mut self.cached, self.config.hold.stale_grace) else {
            return false;
        };
        let ttl = (grace.as_millis() as Millis).max(last.tracking.ttl.unwrap_or(0));
        if grace.is_zero() {
            return false;
        }
        let mut held_shape = std::mem::take(&mut cached.shape);
        let out = self.clients[request.client as usize]
            .output
            .writer(&mut self.pool);
        let before = out.len();
        let keys: &mut dyn Iterator<Item = usize> = match read {
            CachedRead::MGet => &mut (1..request.words.len()),
            _ => &mut std::iter::once(1),
        };
        let single = match read {
            CachedRead::MGet => CachedRead::Get,
            read => read,
        };
        let arguments = (2..request.words.len()).filter_map(|index| request.word(index));
        match read {
            CachedRead::MGet => {
                held_shape.clear();
                held_shape.push(CachedRead::Get as u8);
                encode::header(out, b'*', request.words.len() as i64 - 1);
            }
            read => shape::write(&mut held_shape, read, arguments),
        }
        let mut served = read != CachedRead::MGet
            || request.words.len() <= MGET_MAX && last.proven & proof(read).0 != 0;
        let mut count = 0;
        for key in keys {
            let key = request.word(key).unwrap_or_default();
            let question = Question {
                key,
                database,
                shape: &held_shape,
                link: Tracking {
                    ttl: Some(ttl),
                    lease_until: Millis::MAX,
                    ..last.tracking
                },
                now: self.boot,
                after: None,
            };
            let hit = served
                && cached.is_session(key)
                && (cached
                    .core
                    .look_up(&question, |kept| shape::append(out, kept.reply, protocol))
                    .is_some()
                    || last.proven & proof(single).0 != 0
                        && matches!(single, CachedRead::Exists | CachedRead::StrLen)
                        && {
                            let says = |kept: &View<'_>| shape::derive(single, kept);
                            let wanted =
                                |kept: &View<'_>| kept.database == database && says(kept).is_some();
                            let shown = cached.core.look_up_by(&question, wanted, |kept| {
                                out.extend_from_slice(&says(&kept).unwrap_or_default());
                            });
                            shown.is_some()
                        });
            served &= hit;
            count += 1;
        }
        if !served {
            out.truncate(before);
        }
        cached.shape = held_shape;
        if served {
            Self::touch_client(&mut self.clients, &mut self.dirty_clients, request.client);
            self.counters.requests[LaneMetric::Local.index()] += 1;
            self.counters.session_reads[SessionRead::StaleHit.index()] += count;
        }
        served
    }
}
