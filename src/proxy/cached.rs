//! The session cache as the data path holds it: the core with what is configured.

use std::time::Duration;

use tokio::time::Instant;

use crate::cache::core::Core;
use crate::cache::entry::Millis;
use crate::cache::fence::Fence;
use crate::cache::store::{Limits, MokaStore};
use crate::cache::touch::{self, Window};
use crate::config::Config;
use crate::metrics::ClearCause;
use crate::seam::Entropy;

use super::Proxy;

/// A jump of the wall clock against the boot clock that is taken for one; what NTP corrects in a second is far less.
const CLOCK_JUMP: Millis = 100;

/// How often the store gives back memory without being used, and the clocks are compared.
const UPKEEP_EVERY: Duration = Duration::from_millis(250);

/// The session cache.
pub(super) struct Cached {
    /// Flights, fence and entries.
    pub(super) core: Core<MokaStore>,
    /// Which touches are answered.
    pub(super) touches: touch::Rules,
    /// What the names of sessions begin with; empty = all are sessions.
    prefixes: Vec<Vec<u8>>,
    /// How long a reply is served where changes are announced, and where they are not.
    pub(super) ttl: Millis,
    pub(super) ttl_untracked: Millis,
    /// How long an answered probe is good for.
    pub(super) max_staleness: Millis,
    /// Bytes of one reply that is kept.
    pub(super) entry_bytes_max: usize,
    /// Which share of the hits is checked.
    verify_millionths: u32,
    entropy: Entropy,
    /// The server's hashes may have fields with an expiry of their own; true until it is known that they can't.
    pub(super) fields_may_expire: bool,
    /// A command that gives fields an expiry passed here at that time: what was known of them before is void.
    pub(super) fields_doubted_at: Millis,
    /// Where shapes are written.
    pub(super) shape: Vec<u8>,
    /// How far the wall clock is ahead of the boot clock.
    wall_ahead: Option<i64>,
    upkeep_at: Instant,
}

impl Cached {
    /// Makes an empty cache; `None` when none is wanted.
    pub(super) fn new(config: &Config, entropy: Entropy) -> Option<Box<Self>> {
        let wanted = &config.cache;
        if wanted.bytes == 0 {
            return None;
        }
        let store = MokaStore::new(Limits {
            bytes: wanted.bytes,
            entry_bytes_max: wanted.entry_bytes_max,
            ttl: wanted.ttl,
        });
        let window = Window::from_millionths(
            config.touch.coalesce.millionths(),
            milliseconds(config.touch.coalesce_max),
        );
        Some(Box::new(Self {
            core: Core::new(store, Fence::default()),
            touches: touch::Rules {
                window,
                unchanged_set: config.touch.coalesce_unchanged_set,
                ..touch::Rules::default()
            },
            prefixes: config.sessions.prefixes.clone(),
            ttl: milliseconds(wanted.ttl),
            ttl_untracked: milliseconds(wanted.ttl_untracked),
            max_staleness: milliseconds(wanted.max_staleness),
            entry_bytes_max: wanted.entry_bytes_max,
            verify_millionths: wanted.verify_ratio.millionths(),
            entropy,
            fields_may_expire: true,
            fields_doubted_at: 0,
            shape: Vec::new(),
            wall_ahead: None,
            upkeep_at: Instant::now(),
        }))
    }

    /// Tells whether a key is a session.
    #[inline]
    pub(super) fn is_session(&self, key: &[u8]) -> bool {
        let begins = |prefix: &Vec<u8>| key.starts_with(prefix);
        self.prefixes.is_empty() || self.prefixes.iter().any(begins)
    }

    /// Decides by chance whether a hit is to be checked.
    #[inline]
    pub(super) fn draws_check(&mut self) -> bool {
        self.verify_millionths > 0
            && self.entropy.next_u64() % 1_000_000 < u64::from(self.verify_millionths)
    }
}

/// Cuts a duration to milliseconds.
fn milliseconds(duration: Duration) -> Millis {
    duration.as_millis() as Millis
}

impl Proxy {
    /// Looks at the clock; called wherever bytes arrive, so that what is done with them goes by the time of now.
    #[inline]
    pub(super) fn look_at_clock(&mut self) {
        self.boot_micros = self.clock.boot_micros();
        self.boot = self.boot_micros / 1_000;
    }

    /// Every key may have changed.
    pub(super) fn clear_cache(&mut self, cause: ClearCause) {
        if let Some(cached) = &mut self.cached {
            cached.core.all_changed();
            self.counters.cache_clears[cause.index()] += 1;
        }
    }

    /// Gives back memory and compares the clocks, some times a second.
    pub(super) fn keep_cache_up(&mut self) {
        let Some(cached) = &mut self.cached else {
            return;
        };
        if self.now < cached.upkeep_at {
            return;
        }
        cached.upkeep_at = self.now + UPKEEP_EVERY;
        cached.core.store().tick();
        let ahead = self.clock.wall().cast_signed() - self.clock.boot().cast_signed();
        let before = cached.wall_ahead.replace(ahead);
        let jump = before.map_or(0, |before| ahead.abs_diff(before));
        // What the server's deadlines mean is no longer sure: it may have the same clock, or have jumped as well.
        if jump > CLOCK_JUMP {
            tracing::warn!(
                milliseconds = jump,
                "the wall clock jumped, the session cache is emptied"
            );
            self.clear_cache(ClearCause::ClockJump);
        }
    }

    /// Brings the figures of the cache up to date.
    pub fn count_cache(&mut self) {
        let tracked = self.registry.tracked();
        let announcing = tracked.filter(|id| self.links[id.index as usize].tracking.announces);
        self.counters.links_announcing = announcing.count() as u64;
        let Some(cached) = &mut self.cached else {
            return;
        };
        let statistics = cached.core.store().statistics();
        let counters = &mut self.counters;
        counters.cache_entries = statistics.entries;
        counters.cache_bytes = statistics.bytes;
        counters.cache_evictions = [statistics.evicted_for_size, statistics.evicted_expired];
        counters.cache_oversized = statistics.oversized + self.oversized;
    }
}
