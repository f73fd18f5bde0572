//! What is asked of the server for the cache's sake: CLIENT TRACKING, TIME for the lease, INFO about fields that expire.
//!
//! A link that nobody reads from is not probed; the first read after that sends the probe in front of it.

use std::time::Duration;

use tokio::time::Instant;

use crate::cache::core::Tracking;
use crate::cache::entry::Millis;
use crate::cache::push::has_expiring_fields;
use crate::id::LinkId;
use crate::metrics::ClearCause;
use crate::repair::script::reply;
use crate::resp::Protocol;
use crate::upstream::link::{Lane, Link, What};

use super::Proxy;

/// Probes on their way at once: a link that answers late is not asked ever more.
const UNANSWERED_MAX: u32 = 4;

/// How often the server is asked whether fields expire, and how long its answer counts.
const FIELDS_EVERY: Millis = 1000;
const FIELDS_GOOD_FOR: Millis = 2000;

/// How long after a server that is busy or loading was asked for tracking it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

impl Proxy {
    /// Asks the server to announce changes of what will be read on a new link.
    pub(super) fn ask_tracking(&mut self, link: LinkId) {
        if self.cached.is_none() {
            return;
        }
        self.look_at_clock();
        let sent_at = self.boot;
        self.send_ours(
            link,
            &["CLIENT", "TRACKING", "ON"],
            What::Tracking { sent_at },
        );
    }

    /// The server has said whether it will.
    pub(super) fn tracking_answered(&mut self, index: u32, sent_at: Millis, reply: &[u8]) {
        let Some(cached) = &self.cached else {
            return;
        };
        let link = &mut self.links[index as usize];
        link.probing.due = self.now + ASK_AGAIN;
        let agreed = reply.starts_with(b"+OK");
        if !agreed && (reply.starts_with(b"-BUSY") || reply.starts_with(b"-LOADING")) {
            return;
        }
        link.probing.settled = true;
        link.tracking = match agreed {
            true => Tracking {
                serial: link.serial,
                ttl: Some(cached.ttl),
                announces: true,
                joined_for: cached.max_staleness,
                lease_until: sent_at + cached.max_staleness,
            },
            false => Tracking {
                serial: link.serial,
                ttl: Some(cached.ttl_untracked).filter(|ttl| *ttl > 0),
                announces: false,
                joined_for: cached.ttl_untracked,
                lease_until: Millis::MAX,
            },
        };
        if !agreed {
            let words = String::from_utf8_lossy(reply);
            tracing::warn!(
                server_said = words.trim_end(),
                ttl_ms = cached.ttl_untracked,
                "CLIENT TRACKING is refused: changes by others are seen late, replies are kept for cache.ttl_untracked_ms"
            );
        }
    }

    /// Probes a link whose lease is over, in front of a read whose reply may be kept then.
    #[inline]
    pub(super) fn renew_lease(&mut self, link: LinkId) {
        let target = &self.links[link.index as usize];
        let over = target.tracking.ttl.is_some() && !target.tracking.holds_lease(self.boot);
        if over && target.probing.unanswered == 0 {
            self.probe(link);
        }
    }

    /// Asks for the time: whatever the answer, what the server announced before has arrived with it.
    fn probe(&mut self, link: LinkId) {
        let sent_at = self.boot;
        self.send_ours(link, &["TIME"], What::Probe { sent_at });
        let quarter = self.quarter();
        let now = self.now;
        let target = &mut self.links[link.index as usize];
        target.probing.unanswered += 1;
        target.probing.used = false;
        target.probing.due = now + quarter;
    }

    fn quarter(&self) -> Duration {
        let staleness = self
            .cached
            .as_ref()
            .map_or(0, |cached| cached.max_staleness);
        Duration::from_millis(staleness / 4)
    }

    /// The server has answered a probe.
    pub(super) fn probe_answered(&mut self, index: u32, sent_at: Millis, reply: &[u8]) {
        let (Some(cached), now) = (&self.cached, self.boot) else {
            return;
        };
        let link = &mut self.links[index as usize];
        link.probing.unanswered -= 1;
        if link.tracking.announces {
            let until = sent_at + cached.max_staleness;
            link.tracking.lease_until = link.tracking.lease_until.max(until);
        }
        let time = reply::time(reply).and_then(|time| Millis::try_from(time.millis()).ok());
        link.probing.clock = time.map(|time| (time, sent_at, now));
    }

    /// Sends the probes that are due on links in use.
    pub(super) fn probe_links(&mut self) {
        if self.cached.is_none() {
            return;
        }
        let is_due = |id: &LinkId| {
            let link = &self.links[id.index as usize];
            wants_probe(link) && link.probing.due <= self.now
        };
        // No memory is taken where there is none, as in nearly every turn.
        let links: Vec<LinkId> = self.registry.tracked().filter(is_due).collect();
        if links.is_empty() {
            return;
        }
        self.look_at_clock();
        for link in links {
            match self.links[link.index as usize].probing.settled {
                true => self.probe(link),
                false => self.ask_tracking_again(link),
            }
        }
    }

    fn ask_tracking_again(&mut self, link: LinkId) {
        self.links[link.index as usize].probing.due = self.now + ASK_AGAIN;
        self.ask_tracking(link);
    }

    /// Tells when [`Proxy::probe_links`] has something to do next.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        self.cached.as_ref()?;
        let links = self.registry.tracked();
        let links = links.map(|id| &self.links[id.index as usize]);
        let due = links.filter(|link| wants_probe(link));
        due.map(|link| link.probing.due).min()
    }

    /// Tells whether no field of a hash in the link's database expires by itself, as far as is known; asks the server when
    /// that was too long ago.
    pub(super) fn has_lasting_fields(&mut self, link: LinkId) -> bool {
        let (Some(cached), now) = (&self.cached, self.boot) else {
            return false;
        };
        if !cached.fields_may_expire {
            return true;
        }
        let doubted_at = cached.fields_doubted_at;
        let fields = &mut self.links[link.index as usize].fields;
        let is_good = |at: Millis| at > doubted_at && now < at + FIELDS_GOOD_FOR;
        let lasting = fields.lasting_at.is_some_and(is_good);
        let asked_lately = fields
            .asked_at
            .is_some_and(|at| at > doubted_at && now < at + FIELDS_EVERY);
        if !asked_lately && !fields.unanswered {
            fields.asked_at = Some(now);
            fields.unanswered = true;
            self.send_ours(link, &["INFO", "keyspace"], What::Fields { sent_at: now });
        }
        lasting
    }

    /// The server has said whether fields expire.
    pub(super) fn fields_answered(&mut self, index: u32, sent_at: Millis, reply: &[u8]) {
        let link = &mut self.links[index as usize];
        let expire = has_expiring_fields(reply, link.database);
        let before = link.fields.lasting_at;
        link.fields.unanswered = false;
        link.fields.lasting_at = (expire == Some(false)).then_some(sent_at);
        if before.is_some() && expire != Some(false) {
            self.clear_cache(ClearCause::ExpiringFields);
        }
    }

    /// The link over which a client's sessions are read, if it is there.
    pub(super) fn tracked(&mut self, index: u32) -> Option<LinkId> {
        let database = self.clients[index as usize].database;
        self.registry
            .shared(Lane::Tracked, Protocol::Resp3, database)
    }
}

/// Tells whether a link is in use and may be asked something.
fn wants_probe(link: &Link) -> bool {
    link.is_up()
        && link.probing.used
        && link.probing.unanswered < UNANSWERED_MAX
        // Where nothing is announced there is no lease to be renewed.
        && (link.tracking.announces || !link.probing.settled)
}
