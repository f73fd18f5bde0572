//! What is answered while requests are held: reads of sessions that are in the cache, up to `hold.stale_grace_ms` old.
//!
//! Sound only for what came by a link that held its lease when trouble began: until then every change was announced. What
//! changed since can't be known, which is what the grace bounds. Nothing is served past its deadline, nothing of a key
//! that this sidecar has changed since, and absence is served only where it was read: a doubt is never a nil.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;

use crate::cache::core::{Foreseen, Question, Tracking};
use crate::cache::entry::{Millis, View};
use crate::cache::fence::SlotId;
use crate::cache::shape;
use crate::cache::touch::{Clock, Wall};
use crate::command::keys;
use crate::command::table::{CachedRead, Kind};
use crate::failover::machine::Scope;
use crate::failover::touches::{Touch, Touches};
use crate::id::{ClientId, LinkId};
use crate::metrics::{Lane as LaneMetric, SessionRead, Touched};
use crate::resp::{encode, value};
use crate::upstream::link::{Lane, Link, Pending, What};

use super::Proxy;
use super::reads::{MGET_MAX, proof};
use super::requests::{Request, Taken};
use super::touches::{self, Known, line};

/// By how much longer than the longest hold a session has to live for a touch of it to be answered.
const MARGIN: Duration = Duration::from_secs(1);

/// How long before a hold a link may have been lost to belong to it.
const SAME_TROUBLE: Millis = 1000;

/// A tracked link as it was when it was last relied on.
#[derive(Clone, Copy, Debug)]
struct Last {
    tracking: Tracking,
    /// Which commands the server had accepted on it.
    proven: u32,
    /// The server's clock, as [`crate::upstream::link::Probing`] has it.
    wall: Option<(Millis, Millis, Millis)>,
    at: Millis,
}

impl Last {
    /// Asks for what came by the link, however old it is.
    fn question<'a>(
        &self,
        database: u32,
        key: &'a [u8],
        shape: &'a [u8],
        now: Millis,
    ) -> Question<'a> {
        Question {
            key,
            database,
            shape,
            link: self.within(Millis::MAX / 2),
            now,
            after: None,
        }
    }

    /// What came by it may be served at that age.
    fn within(&self, age: Millis) -> Tracking {
        Tracking {
            ttl: Some(age),
            lease_until: Millis::MAX,
            ..self.tracking
        }
    }

    fn clock(&self, now: Millis) -> Clock {
        Clock {
            now,
            wall: self.wall.map(|(time, sent_at, answered_at)| {
                Wall::from_time(time, sent_at, answered_at, now)
            }),
        }
    }
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
    /// Keys that lived when a request that deletes them was sent, which was not answered; with their deadlines.
    lived: HashMap<(u32, Bytes), Option<Millis>>,
    /// Touches that were answered, to be applied when there is a primary.
    touches: Touches,
}

impl Stale {
    /// Tells whether a reply came by a link that was relied on when the hold began.
    pub(super) fn is_of(&self, database: u32, link: u32) -> bool {
        self.of(database)
            .is_some_and(|last| last.tracking.serial == link)
    }

    /// Takes the touches that were answered, to be applied otherwise.
    pub(super) fn take_touches(&mut self) -> Vec<Touch> {
        self.touches.take()
    }

    /// A write of the key is acknowledged: what was touched before is its writer's now.
    pub(super) fn forget_touch(&mut self, database: u32, key: &[u8]) {
        self.touches.forget(database, key);
    }

    /// A request that deletes a key was under way on a link that is lost.
    pub(super) fn note_lived(&mut self, foreseen: &Foreseen) {
        let kept = foreseen.kept();
        if self.is_of(kept.database, kept.link) {
            let id = (kept.database, foreseen.key().clone());
            self.lived.insert(id, kept.deadline);
        }
    }

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
            wall: link.probing.clock,
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
        self.stale.blocked.clear();
        self.stale.everything = false;
        self.stale.lived.clear();
        for link in self.registry.tracked() {
            self.stale.note(&self.links[link.index as usize], self.boot);
        }
    }

    /// A link is about to be lost.
    pub(super) fn note_link_gone(&mut self, index: u32) {
        let link = &self.links[index as usize];
        if self.cached.is_some() && link.lane == Lane::Tracked {
            self.look_at_clock();
            let link = &self.links[index as usize];
            self.stale.note(link, self.boot);
        }
    }

    /// The hold is over: nothing stale is served any more.
    pub(super) fn note_hold_ended(&mut self) {
        self.apply_touches();
        self.stale = Stale {
            touches: std::mem::take(&mut self.stale.touches),
            ..Stale::default()
        };
    }

    /// A request that waits may change these keys.
    pub(super) fn note_held<'a>(
        &mut self,
        found: keys::Touched,
        word: impl Fn(usize) -> Option<&'a [u8]>,
    ) {
        let Some(cached) = &self.cached else {
            return;
        };
        match found {
            keys::Touched::Everything => self.stale.everything = true,
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
            None if self.may_touch(request) => {
                let usual = match scope {
                    Scope::Writes => self.touch(request),
                    Scope::All => None,
                };
                usual.or_else(|| self.touch_held(request))
            }
            _ => None,
        }
    }

    /// Answers a touch of a live session, to be applied when there is a primary.
    fn touch_held(&mut self, request: &Request<'_>) -> Option<Taken> {
        let database = self.clients[request.client as usize].database;
        let last = *self.stale.of(database)?;
        let (words, count) = line(request)?;
        let cached = self.cached.as_mut()?;
        let candidate = cached.touches.read(&words[..count])?;
        let key = candidate.key;
        let may = cached.is_session(key)
            && last.proven & touches::proof(words[0]).0 != 0
            && !self.stale.everything
            && !self.stale.blocked.contains(&cached.core.slot(key))
            && cached.core.is_at_rest(key);
        if !may {
            return None;
        }
        let question = last.question(database, key, &[CachedRead::Get as u8], self.boot);
        let known = match candidate.wants_value() {
            true => cached.core.look_up(&question, |kept| Known::of(kept, true)),
            false => cached
                .core
                .look_up_live(&question, |kept| Known::of(kept, false)),
        }?;
        let at_least = self.failover.deadline() + MARGIN;
        let decided = cached.touches.decide_held(
            &candidate,
            &known.live(),
            &last.clock(self.boot),
            at_least.as_millis() as Millis,
        );
        let (reply, at) = decided?;
        if let Some(at) = at {
            let touch = Touch {
                database,
                key: key.into(),
                at,
            };
            let limits = &self.config.hold;
            let touches = &mut self.stale.touches;
            if !touches.add(touch, limits.requests_max, limits.bytes_max) {
                return None;
            }
        }
        self.counters.requests[LaneMetric::Local.index()] += 1;
        self.counters.touches[Touched::Held.index()] += 1;
        self.answer(request.client, |out| out.extend_from_slice(&reply));
        Some(Taken::Bytes(request.length))
    }

    /// Tells whether a key was there, by what came from a link that was relied on when the hold began; `None` where that is not known.
    pub(super) fn was_there(&mut self, database: u32, key: &[u8]) -> Option<bool> {
        let last = *self.stale.of(database)?;
        let id = (database, Bytes::copy_from_slice(key));
        if let Some(deadline) = self.stale.lived.get(&id) {
            let lives = deadline.is_none_or(|deadline| self.boot < deadline);
            return lives.then_some(true);
        }
        let cached = self
            .cached
            .as_mut()
            .filter(|cached| cached.is_session(key))?;
        let question = last.question(database, key, &[], self.boot);
        let says = |kept: &View<'_>| match kept.deadline {
            Some(_) => Some(true),
            None => shape::exists(*kept.shape.first()?, kept.reply),
        };
        let tells = |kept: &View<'_>| kept.database == database && says(kept).is_some();
        cached
            .core
            .look_up_by(&question, tells, |kept| says(&kept))?
    }

    /// Returns the value that is cached of a key, as it is shown meanwhile.
    pub(super) fn cached_value(&mut self, database: u32, key: &[u8]) -> Option<Bytes> {
        let last = *self.stale.of(database)?;
        let grace = self.grace(&last)?;
        let cached = self.cached.as_mut()?;
        let question = Question {
            link: last.within(grace),
            ..last.question(database, key, &[CachedRead::Get as u8], self.boot)
        };
        let value = |kept: View<'_>| value::body(kept.reply).map(Bytes::copy_from_slice);
        cached.core.look_up(&question, value)?
    }

    /// Applies the touches that were answered meanwhile, before anything else is sent.
    pub(super) fn apply_touches(&mut self) {
        let has_gt = self
            .cached
            .as_ref()
            .is_some_and(|cached| cached.touches.abilities.expire_options);
        for touch in self.stale.touches.take() {
            let Some(link) = self.tracked_in(touch.database) else {
                self.keep_touch(touch);
                continue;
            };
            let (request, effect) = (touch.request(has_gt), touch.request(true));
            let key = touch.key.clone();
            self.send_write_of_ours(link, &key, &request, What::Touched(Box::new(touch)));
            self.journal_sent_as(link, &effect, false);
        }
    }

    /// Sends a write that no client awaits the reply of.
    pub(super) fn send_write_of_ours(
        &mut self,
        link: LinkId,
        key: &[u8],
        request: &[u8],
        what: What,
    ) {
        let target = &mut self.links[link.index as usize];
        target.push_bytes(request, &mut self.pool);
        target.expect(ClientId::NOBODY, what);
        let asked = target.asked;
        if let Some(cached) = &mut self.cached {
            let slot = cached.core.write_sent(key);
            target.pending.push_back((asked, Pending::One(slot)));
        }
        self.touch_link(link);
    }

    /// A touch could not be applied: its link was lost, or refused it. It is applied after the next hold.
    pub(super) fn keep_touch(&mut self, touch: Touch) {
        let limits = &self.config.hold;
        self.stale
            .touches
            .add(touch, limits.requests_max, limits.bytes_max);
    }

    /// Returns how old a reply may be that is served; `None` where none is.
    fn grace(&self, last: &Last) -> Option<Millis> {
        let grace = self.config.hold.stale_grace.as_millis() as Millis;
        (grace > 0).then(|| grace.max(last.tracking.ttl.unwrap_or(0)))
    }

    fn serve_stale(&mut self, request: &Request<'_>, read: CachedRead) -> bool {
        let client = &self.clients[request.client as usize];
        let (database, protocol) = (client.database, client.protocol);
        let Some(last) = self.stale.of(database).copied() else {
            return false;
        };
        let (Some(grace), Some(cached)) = (self.grace(&last), &mut self.cached) else {
            return false;
        };
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
        let arguments = request.words_from(2);
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
                link: last.within(grace),
                ..last.question(database, key, &held_shape, self.boot)
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
