//! Where kept replies live: moka, bounded in bytes.
//!
//! Keyed by key name; the value is the short list of replies of that key, one for each database and shape. It says what is
//! there, never whether it may be served: deadline, link and lease are the caller's to check at every hit, and moka's own
//! expiry only gives memory back.
//!
//! # Invariant
//! After [`Store::remove`] or [`Store::clear`] nothing that was kept before is found, and an older reply is never found
//! once a newer one of the same key, database and shape was offered, kept or not. Whatever else is missing costs a fill.
//!
//! # Who drives moka
//! moka evicts when it works off its logs of reads and writes. It does that itself every 64 operations, which bounds
//! nothing when entries may be large, so [`Store::keep`] makes it do so after each 64th part of the bound in bytes. Without
//! traffic nobody would: that is what [`MokaStore::tick`] is for. With the data thread as the only caller, no thread of
//! moka's and no lock that anybody waits for, both happen between two requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use crate::cache::entry::{Kept, Store, View};
use crate::cache::front::Front;

/// What a key costs beside its name: moka's bucket, key, value, bookkeeping and queue nodes, and the allocator's share.
///
/// Growth of a process (glibc's allocator, 50,000 to 200,000 keys) less names, shapes and replies, with what is counted in
/// brackets: 555 to 581 bytes a key with one reply (624), 825 with two (800), 1,124 with four (1,152), 1,729 with eight
/// (1,856). The two figures are rounded up for one reply, which is the usual number.
const KEY_OVERHEAD_BYTES: usize = 448;

/// What a reply costs beside its bytes: [`Kept`] in its list, and the block of its bytes with the count of its users.
const REPLY_OVERHEAD_BYTES: usize = 176;

/// Replies kept for one key: libraries use two or three shapes; a client that asks for ever new fields must not make the
/// list long, since it is searched and copied whole.
const REPLIES_MAX: usize = 16;

/// The part of the bound, as a divisor, that may be kept before moka must work off its logs.
const PENDING_SHARE: u64 = 64;

/// The part of the bound, as a divisor, that the hottest replies get.
const FRONT_SHARE: u64 = 4;

/// How much may be kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all entries, with names and overhead.
    pub bytes: u64,
    /// Bytes of one reply with its key and shape; what is larger is not kept.
    pub entry_bytes_max: usize,
    /// When memory of what was not kept again is given back.
    pub ttl: Duration,
}

/// What a store holds and has lost; the counts only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Keys, also those cleared, as of the last time that moka worked off its logs.
    pub entries: u64,
    /// Bytes of them as they count towards the bound, as of the same time.
    pub bytes: u64,
    /// Keys evicted, or not admitted, because the bound was hit.
    pub evicted_for_size: u64,
    /// Keys evicted because their time to live was over.
    pub evicted_expired: u64,
    /// Replies not kept because they are larger than `entry_bytes_max`.
    pub oversized: u64,
}

/// The replies of one key.
#[derive(Clone)]
struct Replies {
    /// How often the store had been cleared when they were kept.
    cleared: u64,
    /// Oldest first; at least one.
    list: Arc<[Kept]>,
}

/// What moka's listener counts; atomics only because moka wants to share it between threads.
#[derive(Default)]
struct Evictions {
    for_size: AtomicU64,
    expired: AtomicU64,
}

/// Keeps replies in moka.
pub struct MokaStore {
    cache: Cache<Box<[u8]>, Replies>,
    front: Front<foldhash::quality::RandomState>,
    limits: Limits,
    /// How often everything was dropped. moka's own `invalidate_all` spares what was kept in the same tick of its clock,
    /// and works off all entries at once: 2 ms of the data thread for 2,000 keys, 21 ms for 10,000. What is dead stays
    /// in the figures and in memory, within the bound, until its time to live is over.
    cleared: u64,
    /// Bytes kept since moka last worked off its logs.
    pending_bytes: u64,
    evictions: Arc<Evictions>,
    oversized: u64,
}

impl MokaStore {
    /// Makes an empty store.
    pub fn new(limits: Limits) -> Self {
        let front_bytes = limits.bytes / FRONT_SHARE;
        let evictions = Arc::new(Evictions::default());
        let counted = Arc::clone(&evictions);
        let cache = Cache::<Box<[u8]>, Replies>::builder()
            .max_capacity(limits.bytes - front_bytes)
            .weigher(|key, replies| weight(key, &replies.list))
            .time_to_live(limits.ttl)
            .eviction_listener(move |_, _, cause| counted.count(cause))
            .build();
        Self {
            cache,
            front: Front::new(front_bytes as usize, Default::default()),
            limits,
            cleared: 0,
            pending_bytes: 0,
            evictions,
            oversized: 0,
        }
    }

    /// Tells whether a reply is small enough to be kept.
    pub fn fits(&self, key: &[u8], kept: &Kept) -> bool {
        key.len() + kept.shape.len() + kept.reply.len() <= self.limits.entry_bytes_max
    }

    /// Returns all replies that are kept, with their keys.
    pub fn all(&self) -> impl Iterator<Item = (Bytes, Kept)> {
        let alive = self
            .cache
            .iter()
            .filter(|(_, replies)| replies.cleared == self.cleared);
        alive.flat_map(|(key, replies)| {
            let key = Bytes::copy_from_slice(&key);
            let list: Vec<Kept> = replies.list.to_vec();
            list.into_iter().map(move |kept| (key.clone(), kept))
        })
    }

    /// Gives back the memory of what has expired or was removed; to be called some times a second, for when there are no
    /// requests that do it.
    pub fn tick(&mut self) {
        self.pending_bytes = 0;
        self.cache.run_pending_tasks();
    }

    /// Tells what it holds and has lost.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            entries: self.cache.entry_count(),
            bytes: self.cache.weighted_size() + self.front.bytes() as u64,
            evicted_for_size: self.evictions.for_size.load(Ordering::Relaxed),
            evicted_expired: self.evictions.expired.load(Ordering::Relaxed),
            oversized: self.oversized,
        }
    }

    /// Everything of a key that was not cleared.
    fn replies(&self, key: &[u8]) -> Option<Arc<[Kept]>> {
        let replies = self.cache.get(key)?;
        (replies.cleared == self.cleared).then_some(replies.list)
    }

    /// Puts a key's list in place of the one before.
    fn put(&mut self, key: &[u8], list: Arc<[Kept]>) {
        self.pending_bytes += u64::from(weight(key, &list));
        let cleared = self.cleared;
        self.cache.insert(key.into(), Replies { cleared, list });
        if self.pending_bytes > self.limits.bytes / PENDING_SHARE {
            self.tick();
        }
    }
}

impl Store for MokaStore {
    #[inline]
    fn find<T>(
        &mut self,
        key: &[u8],
        wanted: impl Fn(&View<'_>) -> bool,
        show: impl FnOnce(View<'_>) -> T,
    ) -> Option<T> {
        if let Some(view) = self.front.find(key, &wanted) {
            return Some(show(view));
        }
        let replies = self.replies(key)?;
        let view = replies.iter().rev().map(Kept::view).find(wanted)?;
        self.front.keep(key, &view);
        Some(show(view))
    }

    fn keep(&mut self, key: &[u8], kept: Kept) {
        self.front.remove(key);
        let fits = self.fits(key, &kept);
        let before = self.replies(key);
        let others = before.iter().flat_map(|replies| replies.iter());
        let others = others.filter(|other| !other.view().is_of(kept.database, &kept.shape));
        if fits {
            // One more than the others; of too many the oldest goes.
            let surplus = (others.clone().count() + 1).saturating_sub(REPLIES_MAX);
            let list = others.skip(surplus).cloned();
            let list: Vec<Kept> = list.chain([own(&kept)]).collect();
            self.put(key, list.into());
            return;
        }
        self.oversized += 1;
        // The reply that it would have replaced is older than what a client has now seen.
        let list: Vec<Kept> = others.cloned().collect();
        let had = before.map_or(0, |replies| replies.len());
        if list.is_empty() {
            self.remove(key);
        } else if list.len() < had {
            self.put(key, list.into());
        }
    }

    fn remove(&mut self, key: &[u8]) {
        self.front.remove(key);
        self.cache.invalidate(key);
    }

    fn clear(&mut self) {
        self.front.clear();
        self.cleared += 1;
    }
}

impl Evictions {
    fn count(&self, cause: RemovalCause) {
        let counter = match cause {
            RemovalCause::Size => &self.for_size,
            RemovalCause::Expired => &self.expired,
            RemovalCause::Explicit | RemovalCause::Replaced => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Copies shape and reply into one block of their own: as slices of a link's read buffer they would keep all of it.
fn own(kept: &Kept) -> Kept {
    let mut block = Vec::with_capacity(kept.shape.len() + kept.reply.len());
    block.extend_from_slice(&kept.shape);
    block.extend_from_slice(&kept.reply);
    let mut reply = Bytes::from(block);
    let shape = reply.split_to(kept.shape.len());
    Kept {
        shape,
        reply,
        ..*kept
    }
}

/// Bytes of an entry as they count towards the bound.
fn weight(key: &[u8], list: &[Kept]) -> u32 {
    let replies = list
        .iter()
        .map(|kept| kept.shape.len() + kept.reply.len() + REPLY_OVERHEAD_BYTES);
    let bytes = KEY_OVERHEAD_BYTES + key.len() + replies.sum::<usize>();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
