//! The hottest replies in front of moka: a small dense table of tags, and one block for each reply.
//!
//! moka's `get` follows half a dozen pointers and writes a log of reads; with 10,000 busy keys that is 0.4 µs a hit, most of
//! it memory that is waited for. Here the tags of a key's bucket lie in one line of a table that stays in the processor's
//! cache, and what they lead to is one block in which everything lies in a row: what decides, the key, the request, the
//! reply. What is here is in the bound: a part of it, whatever moka does with its own copy.
//!
//! Which replies may be served is the caller's to say at every find, as in the store behind.

use std::hash::{BuildHasher, RandomState};

use super::entry::{Millis, View};

/// Replies that may lie in one bucket.
const WAYS: usize = 4;

/// Buckets at most; a power of two. With four ways they have room for the sessions that are busy at one time.
const BUCKETS_MAX: usize = 4096;

/// A block that is larger is left to moka: the pointers matter less then.
const BLOCK_BYTES_MAX: usize = 4096;

/// What a way costs beside the block: its places in the tables, and the allocator's share.
const WAY_BYTES: usize = 40;

/// Bytes in front of the key: database, link, two lengths (4 each), three times (8 each).
const HEAD_BYTES: usize = 40;

/// Stands for no deadline.
const NEVER: Millis = Millis::MAX;

/// No reply has this tag.
const NO_TAG: u32 = 0;

/// The ways of one bucket.
type Blocks = [Option<Box<[u8]>>; WAYS];

/// The replies that are found most.
pub struct Front<H = RandomState> {
    hasher: H,
    tags: Box<[[u32; WAYS]]>,
    /// Which were found since somebody looked for a place the last time.
    used: Box<[[bool; WAYS]]>,
    /// A block without a tag is dead: it keeps its way until another reply wants it.
    blocks: Box<[Blocks]>,
    /// Bytes of blocks, dead ones as well, and how many there may be.
    bytes: usize,
    bytes_max: usize,
}

impl<H: BuildHasher> Front<H> {
    /// Makes an empty one that takes at most `bytes_max`, of which its tables are a part.
    pub fn new(bytes_max: usize, hasher: H) -> Self {
        // Blocks get at least half of it.
        let buckets = match bytes_max / (2 * WAYS * WAY_BYTES) {
            0 => 0,
            room => (1 << room.ilog2()).min(BUCKETS_MAX),
        };
        Self {
            hasher,
            tags: vec![[NO_TAG; WAYS]; buckets].into(),
            used: vec![[false; WAYS]; buckets].into(),
            blocks: (0..buckets).map(|_| Default::default()).collect(),
            bytes: 0,
            bytes_max: bytes_max - buckets * WAYS * WAY_BYTES,
        }
    }

    /// Finds the tag of a key, and its bucket.
    #[inline]
    fn place(&self, key: &[u8]) -> Option<(u32, usize)> {
        let hash = self.hasher.hash_one(key);
        let mask = self.tags.len().checked_sub(1)?;
        Some(((hash >> 32) as u32 | 1, hash as usize & mask))
    }

    /// Returns a reply of a key that is `wanted`.
    #[inline]
    pub fn find(&mut self, key: &[u8], wanted: impl Fn(&View<'_>) -> bool) -> Option<View<'_>> {
        let (tag, place) = self.place(key)?;
        for way in 0..WAYS {
            if self.tags[place][way] != tag {
                continue;
            }
            let found = self.blocks[place][way].as_deref().and_then(read);
            if let Some((name, view)) = found
                && name == key
                && wanted(&view)
            {
                self.used[place][way] = true;
                return Some(view);
            }
        }
        None
    }

    /// Takes a copy of a reply that was just found behind, if there is room.
    pub fn keep(&mut self, key: &[u8], view: &View<'_>) {
        let bytes = HEAD_BYTES + key.len() + view.shape.len() + view.reply.len();
        let Some((tag, place)) = self.place(key).filter(|_| bytes <= BLOCK_BYTES_MAX) else {
            return;
        };
        let is_same = |block: &Option<Box<[u8]>>| {
            let found = block.as_deref().and_then(read);
            found.is_some_and(|(name, old)| name == key && old.is_of(view.database, view.shape))
        };
        let same = self.blocks[place].iter().position(is_same);
        let way = same.unwrap_or_else(|| self.victim(place));
        self.drop_block(place, way);
        if self.bytes + bytes > self.bytes_max {
            return;
        }
        self.bytes += bytes;
        self.tags[place][way] = tag;
        self.used[place][way] = false;
        self.blocks[place][way] = Some(write(bytes, key, view));
    }

    /// Chooses a way: a free or dead one, else one that was not found lately.
    fn victim(&mut self, place: usize) -> usize {
        let free = self.tags[place].iter().position(|tag| *tag == NO_TAG);
        let unused = || self.used[place].iter().position(|used| !used);
        if let Some(way) = free.or_else(unused) {
            return way;
        }
        self.used[place] = [false; WAYS];
        0
    }

    fn drop_block(&mut self, place: usize, way: usize) {
        let block = self.blocks[place][way].take();
        self.bytes -= block.map_or(0, |block| block.len());
        self.tags[place][way] = NO_TAG;
    }

    /// Drops everything of a key.
    #[inline]
    pub fn remove(&mut self, key: &[u8]) {
        let Some((tag, place)) = self.place(key) else {
            return;
        };
        for way in 0..WAYS {
            // Another key of the same tag goes, too: that costs a look at moka.
            if self.tags[place][way] == tag {
                self.drop_block(place, way);
            }
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.tags.fill([NO_TAG; WAYS]);
    }

    /// Returns the bytes that it takes, its tables included.
    pub fn bytes(&self) -> usize {
        self.bytes + self.tags.len() * WAYS * WAY_BYTES
    }
}

/// Lays everything about a reply into one block.
fn write(bytes: usize, key: &[u8], view: &View<'_>) -> Box<[u8]> {
    let mut block = Vec::with_capacity(bytes);
    for number in [
        view.database,
        view.link,
        key.len() as u32,
        view.shape.len() as u32,
    ] {
        block.extend_from_slice(&number.to_le_bytes());
    }
    for time in [
        view.sent_at,
        view.answered_at,
        view.deadline.unwrap_or(NEVER),
    ] {
        block.extend_from_slice(&time.to_le_bytes());
    }
    block.extend_from_slice(key);
    block.extend_from_slice(view.shape);
    block.extend_from_slice(view.reply);
    block.into()
}

/// Reads a block: its key, and the reply.
#[inline]
fn read(block: &[u8]) -> Option<(&[u8], View<'_>)> {
    let (head, rest) = block.split_first_chunk::<HEAD_BYTES>()?;
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let time = |at: usize| u64::from(number(at)) | u64::from(number(at + 4)) << 32;
    let (key, rest) = rest.split_at_checked(number(8) as usize)?;
    let (shape, reply) = rest.split_at_checked(number(12) as usize)?;
    let view = View {
        database: number(0),
        link: number(4),
        sent_at: time(16),
        answered_at: time(24),
        deadline: Some(time(32)).filter(|deadline| *deadline != NEVER),
        shape,
        reply,
    };
    Some((key, view))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As long as any reply here.
    const REPLY: &[u8] = &[b'x'; 5000];

    fn kept(shape: &'static str, length: usize) -> View<'static> {
        View {
            database: 3,
            shape: shape.as_bytes(),
            reply: &REPLY[..length],
            deadline: length.is_multiple_of(2).then_some(1 << 40),
            sent_at: (1 << 39) + 1,
            answered_at: 1 << 39,
            link: 7,
        }
    }

    fn front(bytes: usize) -> Front {
        Front::new(bytes, RandomState::new())
    }

    fn length(front: &mut Front, key: &[u8], shape: &str) -> Option<usize> {
        let found = front.find(key, |view| view.shape == shape.as_bytes())?;
        Some(found.reply.len())
    }

    #[test]
    fn replies_are_found_by_key_and_shape_until_removed() {
        let mut front = front(1 << 20);
        front.keep(b"a", &kept("get", 5));
        front.keep(b"a", &kept("type", 6));
        front.keep(b"b", &kept("get", 7));
        assert_eq!(front.find(b"a", |_| true), Some(kept("get", 5)));
        let of_type = |view: &View<'_>| view.shape == b"type";
        assert_eq!(front.find(b"a", of_type), Some(kept("type", 6)));
        front.keep(b"a", &kept("get", 8));
        assert_eq!(length(&mut front, b"a", "get"), Some(8));
        front.remove(b"a");
        assert_eq!(length(&mut front, b"a", "get"), None);
        assert_eq!(length(&mut front, b"a", "type"), None);
        assert_eq!(length(&mut front, b"b", "get"), Some(7));
        front.clear();
        assert_eq!(length(&mut front, b"b", "get"), None);
        front.keep(b"b", &kept("get", 9));
        assert_eq!(length(&mut front, b"b", "get"), Some(9));
        assert_eq!(front.bytes, HEAD_BYTES + 1 + 3 + 9);
    }

    #[test]
    fn it_stays_within_its_bytes_and_never_keeps_what_was_replaced() {
        let mut front = front(64 << 10);
        for number in 0..2000_u32 {
            let key = number.to_le_bytes();
            front.keep(&key, &kept("get", 100 + number as usize % 900));
            let blocks = front.blocks.iter().flatten().flatten();
            let sum: usize = blocks.map(|block| block.len()).sum();
            assert_eq!(front.bytes, sum);
            assert!(sum <= front.bytes_max);
        }
        assert!(front.bytes > front.bytes_max / 2, "it is used");
        // A newer reply that has no room takes the older one away.
        let found = (0..2000_u32)
            .rev()
            .find(|number| length(&mut front, &number.to_le_bytes(), "get").is_some());
        let key = found.unwrap().to_le_bytes();
        front.bytes_max = front.bytes;
        front.keep(&key, &kept("get", 4000));
        assert_eq!(length(&mut front, &key, "get"), None);
    }

    #[test]
    fn what_is_too_large_or_has_no_table_is_left_alone() {
        let mut small = front(100);
        small.keep(b"a", &kept("get", 5));
        small.remove(b"a");
        small.clear();
        assert_eq!(length(&mut small, b"a", "get"), None);
        let mut front = front(1 << 20);
        front.keep(b"a", &kept("get", BLOCK_BYTES_MAX));
        assert_eq!(length(&mut front, b"a", "get"), None);
    }
}
