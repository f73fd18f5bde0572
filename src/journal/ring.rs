//! The records: bytes in chunks, the oldest chunk first. Bounded by bytes, count and age.

use std::collections::VecDeque;

use super::{Micros, Seq};

/// Bytes of a chunk; a larger record gets a chunk of its own.
const CHUNK_BYTES: usize = 256 * 1024;

/// Bytes of the replies to several writes that are kept together.
pub const REPLY_BYTES_MAX: usize = 512;

/// Bytes of the reply to one write, or to a transaction's EXEC, that are kept: that of a GETDEL or a GETEX tells what was there.
pub const SINGLE_REPLY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the replies to reads behind writes that are kept: a DUMP is of use only whole.
pub const LOOK_BYTES_MAX: usize = 1024 * 1024;

/// Bytes in front of each record.
const HEADER_BYTES: usize = 24;

/// Bits below the count: whole, is a look, fields last.
const FLAG_BITS: u32 = 3;

/// Bounds of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all chunks.
    pub bytes: usize,
    /// Records.
    pub records: usize,
}

/// Acknowledged writes that were sent together, or reads of ours behind them that tell what they left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When they were sent, by the boot clock.
    pub sent_at: Micros,
    /// The database that they were sent to.
    pub database: u32,
    /// How many they are: as many requests with as many replies, or one request, or one transaction from MULTI to EXEC.
    pub count: u32,
    /// The requests as they were sent.
    pub request: &'a [u8],
    /// The replies; of one alone, how it begins; of a transaction that to EXEC.
    pub reply: &'a [u8],
    /// Whether that is all of the reply; always so for several, and for reads.
    pub whole: bool,
    /// Whether they are reads: nothing is at risk with them. They have the number of the last write before them.
    pub is_look: bool,
    /// Whether no field of a hash in this database had a deadline of its own when they were sent.
    pub fields_last: bool,
}

impl Record<'_> {
    /// Returns how many writes it stands for.
    fn writes(&self) -> u64 {
        match self.is_look {
            true => 0,
            false => u64::from(self.count),
        }
    }
}

/// Records that lie together.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    first: Seq,
    /// How many writes; there may be reads alone.
    count: u64,
    /// When its newest record was added.
    newest: Micros,
}

impl Chunk {
    fn next(&self) -> Seq {
        self.first + self.count
    }
}

/// The records.
#[derive(Debug)]
pub struct Ring {
    chunks: VecDeque<Chunk>,
    /// The number of the next record.
    next: Seq,
    bytes: usize,
    bounds: Bounds,
    /// A chunk's memory, to be used again.
    spare: Vec<u8>,
}

impl Ring {
    /// Makes an empty one.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            chunks: VecDeque::new(),
            next: 1,
            bytes: 0,
            bounds,
            spare: Vec::new(),
        }
    }

    /// Adds a record, and drops the oldest where a bound is exceeded.
    #[inline]
    pub fn add(&mut self, record: &Record<'_>, now: Micros) {
        let length = HEADER_BYTES + record.request.len() + record.reply.len();
        let chunk = match self.chunks.back_mut() {
            Some(chunk) if chunk.bytes.len() + length <= chunk.bytes.capacity() => chunk,
            _ => self.open_chunk(length),
        };
        let lengths = [record.request.len() as u32, record.reply.len() as u32];
        chunk.bytes.extend_from_slice(&lengths[0].to_le_bytes());
        chunk.bytes.extend_from_slice(&lengths[1].to_le_bytes());
        chunk.bytes.extend_from_slice(&record.sent_at.to_le_bytes());
        chunk
            .bytes
            .extend_from_slice(&record.database.to_le_bytes());
        let looks = u32::from(record.is_look) << 1 | u32::from(record.whole);
        let flags = u32::from(record.fields_last) << 2 | looks;
        let count = record.count << FLAG_BITS | flags;
        chunk.bytes.extend_from_slice(&count.to_le_bytes());
        chunk.bytes.extend_from_slice(record.request);
        chunk.bytes.extend_from_slice(record.reply);
        chunk.count += record.writes();
        chunk.newest = now;
        self.next += record.writes();
    }

    #[cold]
    fn open_chunk(&mut self, length: usize) -> &mut Chunk {
        let wanted = CHUNK_BYTES.max(length);
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.reserve_exact(wanted.saturating_sub(bytes.capacity()));
        self.bytes += bytes.capacity();
        self.chunks.push_back(Chunk {
            bytes,
            first: self.next,
            count: 0,
            newest: 0,
        });
        // What is at hand stays, however large it is.
        while self.chunks.len() > 1 && self.is_over() {
            self.drop_front();
        }
        let last = self.chunks.len() - 1;
        &mut self.chunks[last]
    }

    fn is_over(&self) -> bool {
        let records = self.next - self.oldest();
        self.bytes > self.bounds.bytes || records > self.bounds.records as u64
    }

    fn drop_front(&mut self) {
        if let Some(mut chunk) = self.chunks.pop_front() {
            self.bytes -= chunk.bytes.capacity();
            if chunk.bytes.capacity() <= CHUNK_BYTES {
                chunk.bytes.clear();
                self.spare = chunk.bytes;
            }
        }
    }

    /// Drops what is no longer wanted: what is `confirmed` (from a record to another) and older than `retain`, and whatever is
    /// older than `age_max`.
    pub fn tidy(
        &mut self,
        confirmed: impl Fn(Seq, Seq) -> bool,
        retain: Micros,
        age_max: Micros,
        now: Micros,
    ) {
        while let Some(chunk) = self.chunks.front() {
            let age = now.saturating_sub(chunk.newest);
            let done = age >= retain && confirmed(chunk.first, chunk.next() - 1);
            if !done && age < age_max {
                return;
            }
            self.drop_front();
        }
    }

    /// Returns the number of the newest record; 0 before the first.
    pub fn newest(&self) -> Seq {
        self.next - 1
    }

    /// Returns the number of the oldest record that is still here; that of the next one where there is none.
    pub fn oldest(&self) -> Seq {
        self.chunks.front().map_or(self.next, |chunk| chunk.first)
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        (self.next - self.oldest()) as usize
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of memory that they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns when the oldest records were added, to the chunk's precision; `None` where there are none.
    pub fn oldest_at(&self) -> Option<Micros> {
        self.chunks.front().map(|chunk| chunk.newest)
    }

    /// Returns the records from the one on that holds this number, oldest first, each with the number of its first write; reads
    /// with that of the last write before them.
    pub fn from(&self, seq: Seq) -> impl Iterator<Item = (Seq, Record<'_>)> {
        let chunks = self.chunks.iter().filter(move |chunk| chunk.next() > seq);
        let records = chunks.flat_map(|chunk| {
            Records(&chunk.bytes).scan(chunk.first, |next, record| {
                let first = *next - u64::from(record.is_look);
                *next += record.writes();
                Some((first, record))
            })
        });
        records.filter(move |(first, record)| first + record.writes().max(1) > seq)
    }
}

/// The records in a chunk's bytes.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (header, rest) = self.0.split_first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            u32::from_le_bytes(bytes)
        };
        let (request, rest) = rest.split_at_checked(word(0) as usize)?;
        let (reply, rest) = rest.split_at_checked(word(4) as usize)?;
        self.0 = rest;
        Some(Record {
            sent_at: u64::from(word(8)) | u64::from(word(12)) << 32,
            database: word(16),
            request,
            reply,
            count: word(20) >> FLAG_BITS,
            whole: word(20) & 1 != 0,
            is_look: word(20) & 2 != 0,
            fields_last: word(20) & 4 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDE: Bounds = Bounds {
        bytes: 64 << 20,
        records: 1_000_000,
    };

    fn record<'a>(request: &'a [u8], reply: &'a [u8]) -> Record<'a> {
        Record {
            sent_at: u64::MAX - 7,
            database: 3,
            count: 1,
            request,
            reply,
            whole: true,
            is_look: false,
            fields_last: true,
        }
    }

    fn numbers(ring: &Ring, from: Seq) -> Vec<Seq> {
        ring.from(from).map(|(number, _)| number).collect()
    }

    #[test]
    fn what_was_added_is_there_as_it_was() {
        let mut ring = Ring::new(WIDE);
        assert_eq!(
            (ring.newest(), ring.oldest(), ring.oldest_at()),
            (0, 1, None)
        );
        let large = vec![b'x'; CHUNK_BYTES + 1];
        let cut = Record {
            whole: false,
            ..record(b"d", b"*2")
        };
        let all = [
            record(b"a", b"+OK"),
            record(&large, b""),
            record(b"", b":1"),
            cut,
        ];
        for one in &all {
            ring.add(one, 9);
        }
        let found: Vec<_> = ring.from(0).collect();
        let expected: Vec<_> = (1..).zip(all).collect();
        assert!(found == expected);
        assert_eq!(numbers(&ring, 3), [3, 4]);
        assert_eq!(numbers(&ring, 5), [0; 0]);
        assert_eq!(ring.oldest_at(), Some(9));
        let three = Record {
            count: 3,
            ..record(b"xyz", b"+++")
        };
        ring.add(&three, 9);
        ring.add(&record(b"e", b"+"), 9);
        assert_eq!((ring.newest(), ring.len()), (8, 8));
        assert_eq!(numbers(&ring, 4), [4, 5, 8]);
        assert_eq!(numbers(&ring, 7), [5, 8], "the one that holds it");
        assert_eq!(ring.from(5).next(), Some((5, three)));
    }

    #[test]
    fn a_read_has_the_number_of_the_write_before_it_and_is_none_itself() {
        let look = Record {
            is_look: true,
            count: 2,
            ..record(b"look", b"::")
        };
        let mut ring = Ring::new(WIDE);
        ring.add(&look, 1);
        assert_eq!((ring.newest(), ring.len()), (0, 0));
        for one in [record(b"a", b"+"), look, record(b"b", b"+"), look] {
            ring.add(&one, 1);
        }
        let large = vec![b'x'; CHUNK_BYTES];
        // A chunk of its own.
        let dump = Record {
            count: 1,
            reply: &large,
            ..look
        };
        ring.add(&dump, 2);
        assert_eq!((ring.newest(), ring.len()), (2, 2));
        assert_eq!(numbers(&ring, 0), [0, 1, 1, 2, 2, 2]);
        assert_eq!(numbers(&ring, 2), [2, 2, 2]);
        assert_eq!(numbers(&ring, 3), [0; 0]);
        assert_eq!(ring.from(2).nth(1), Some((2, look)));
        ring.tidy(|first, last| first > last, 0, 9, 5);
        assert_eq!(numbers(&ring, 0).len(), 6, "a write is not confirmed");
        ring.tidy(|_, _| true, 0, 9, 5);
        assert!(numbers(&ring, 0).is_empty() && ring.bytes() == 0);
        ring.add(&record(b"c", b"+"), 6);
        assert_eq!(numbers(&ring, 0), [3]);
    }

    #[test]
    fn the_oldest_give_way_to_the_bounds() {
        let few = Bounds { records: 3, ..WIDE };
        let mut ring = Ring::new(few);
        let large = vec![b'x'; CHUNK_BYTES];
        for _ in 0..9 {
            ring.add(&record(&large, b""), 0);
        }
        assert_eq!((ring.len(), ring.oldest(), ring.newest()), (4, 6, 9));
        let small = Bounds {
            bytes: 3 * CHUNK_BYTES,
            ..WIDE
        };
        let mut ring = Ring::new(small);
        for _ in 0..10_000 {
            ring.add(&record(&[b'x'; 1_000], b"+OK\r\n"), 0);
            assert!(ring.bytes() <= 3 * CHUNK_BYTES);
        }
        assert!(ring.len() > 2 * CHUNK_BYTES / 1_100 && ring.newest() == 10_000);
    }

    #[test]
    fn what_is_confirmed_stays_for_a_while_and_what_is_not_until_it_is_too_old() {
        let mut ring = Ring::new(WIDE);
        let large = vec![b'x'; CHUNK_BYTES];
        for at in [10, 20, 30] {
            ring.add(&record(&large, b""), at);
        }
        ring.tidy(|_, _| true, 15, 1_000, 24);
        assert_eq!(ring.oldest(), 1);
        ring.tidy(|_, _| true, 15, 1_000, 25);
        assert_eq!(ring.oldest(), 2);
        ring.tidy(|first, _| first > 2, 15, 1_000, 900);
        assert_eq!(ring.oldest(), 2, "not confirmed");
        ring.tidy(|first, _| first > 2, 15, 1_000, 1_020);
        assert_eq!(ring.oldest(), 4, "too old, and then what is confirmed");
        assert!(ring.is_empty() && ring.bytes() == 0);
        ring.add(&record(b"a", b"+OK"), 40);
        assert_eq!(numbers(&ring, 0), [4]);
    }

    proptest! {
        /// A plain list tells the same, whatever is added.
        #[test]
        fn the_same_as_a_plain_list(
            sizes in proptest::collection::vec((0usize..100_000, 0usize..64), 1..40),
            bytes in 1usize..2_000_000,
        ) {
            let mut ring = Ring::new(Bounds { bytes, ..WIDE });
            let mut all = Vec::new();
            for (at, (request, reply)) in sizes.into_iter().enumerate() {
                let (request, reply) = (vec![at as u8; request], vec![b'r'; reply]);
                ring.add(&record(&request, &reply), at as u64);
                all.push((request, reply));
            }
            prop_assert_eq!(ring.newest() as usize, all.len());
            prop_assert_eq!(ring.from(0).count(), ring.len());
            for (number, found) in ring.from(0) {
                let (request, reply) = &all[number as usize - 1];
                prop_assert!(found == record(request, reply));
            }
        }
    }
}
