//! Requests by chance: every command whose effects are worked out, with all of its options.

use crate::harness::Random;

/// Which requests a run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Those of which everything can be known, with deadlines far away or long ago.
    Plain,
    /// With deadlines that pass while the run lasts, and requests whose effects are not worked out.
    Rough,
}

/// Placeholders: `{s}` a key for strings, `{h}` hashes, `{t}` sets, `{z}` sorted sets, `{k}` any; `{v}` a value, `{i}` an
/// integer, `{d}` a decimal, `{f}` a field, `{m}` a member, `{sec}` `{ms}` times to live, `{sat}` `{msat}` instants;
/// `{time}` an option that sets a deadline, `{nxxx}` nothing, NX or XX.
const STRINGS: &[&str] = &[
    "SET {s} {v}",
    "SET {s} {v} {time}",
    "SET {s} {v} {nxxx} {time}",
    "SET {s} {v} KEEPTTL",
    "SET {s} {v} {nxxx} KEEPTTL GET",
    "SET {s} {v} GET {time}",
    "SET {s} {v} IFEQ {v} {time}",
    "SET {s} {v} IFEQ {v} GET",
    "SETEX {s} {sec} {v}",
    "PSETEX {s} {ms} {v}",
    "SETNX {s} {v}",
    "GETSET {s} {v}",
    "GETDEL {s}",
    "GETEX {s}",
    "GETEX {s} {time}",
    "GETEX {s} PERSIST",
    "MSET {s} {v} {s} {v}",
    "MSETNX {s} {v} {s} {v}",
    "MSETEX 2 {s} {v} {s} {v} {nxxx} {time}",
    "APPEND {s} {v}",
    "APPEND {s} 1",
    "SETRANGE {s} {i} {v}",
    "SETRANGE {s} 0 {v}",
    "INCR {s}",
    "DECR {s}",
    "INCRBY {s} {i}",
    "DECRBY {s} {i}",
    "INCRBYFLOAT {s} {d}",
    "DELIFEQ {s} {v}",
];

const HASHES: &[&str] = &[
    "HSET {h} {f} {v}",
    "HSET {h} {f} {v} {f} {v}",
    "HMSET {h} {f} {v} {f} {v}",
    "HSETNX {h} {f} {v}",
    "HINCRBY {h} {f} {i}",
    "HINCRBYFLOAT {h} {f} {d}",
    "HDEL {h} {f}",
    "HDEL {h} {f} {f} {f}",
    "HDEL {h} a b c d",
    "HEXPIRE {h} {sec} FIELDS 1 {f}",
    "HEXPIRE {h} {sec} {nxxx} FIELDS 2 {f} {f}",
    "HPEXPIRE {h} {ms} GT FIELDS 1 {f}",
    "HPEXPIRE {h} {ms} LT FIELDS 2 {f} {f}",
    "HEXPIREAT {h} {sat} FIELDS 1 {f}",
    "HPEXPIREAT {h} {msat} FIELDS 2 {f} {f}",
    "HPEXPIREAT {h} {msat} FIELDS 4 a b c d",
    "HPERSIST {h} FIELDS 2 {f} {f}",
    "HSETEX {h} {time} FIELDS 1 {f} {v}",
    "HSETEX {h} FNX {time} FIELDS 2 {f} {v} {f} {v}",
    "HSETEX {h} FXX KEEPTTL FIELDS 1 {f} {v}",
    "HSETEX {h} {nxxx} {time} FIELDS 1 {f} {v}",
    "HSETEX {h} FIELDS 2 {f} {v} {f} {v}",
    "HGETEX {h} {time} FIELDS 2 {f} {f}",
    "HGETEX {h} PERSIST FIELDS 1 {f}",
    "HGETEX {h} FIELDS 1 {f}",
    "HGETDEL {h} FIELDS 2 {f} {f}",
    "HGETDEL {h} FIELDS 4 a b c d",
];

const SETS: &[&str] = &[
    "SADD {t} {m}",
    "SADD {t} {m} {m} {m}",
    "SREM {t} {m}",
    "SREM {t} {m} {m}",
    "SREM {t} a b c d",
    "SMOVE {t} {t} {m}",
];

const SORTED_SETS: &[&str] = &[
    "ZADD {z} {d} {m}",
    "ZADD {z} {d} {m} {d} {m}",
    "ZADD {z} {nxxx} {d} {m} {d} {m}",
    "ZADD {z} {nxxx} CH {d} {m} {d} {m}",
    "ZADD {z} GT {d} {m} {d} {m}",
    "ZADD {z} XX LT CH {d} {m}",
    "ZADD {z} LT {d} {m} {d} {m}",
    "ZADD {z} INCR {d} {m}",
    "ZADD {z} {nxxx} INCR {d} {m}",
    "ZADD {z} GT INCR {d} {m}",
    "ZADD {z} inf {m}",
    "ZINCRBY {z} {d} {m}",
    "ZREM {z} {m}",
    "ZREM {z} {m} {m}",
    "ZREM {z} a b c d",
];

const ANY: &[&str] = &[
    "DEL {k}",
    "DEL {k} {k} {k}",
    "UNLINK {k}",
    "EXPIRE {k} {sec}",
    "EXPIRE {k} {sec} {nxxx}",
    "PEXPIRE {k} {ms} GT",
    "PEXPIRE {k} {ms} LT",
    "EXPIRE {k} {sec} XX LT",
    "EXPIREAT {k} {sat}",
    "EXPIREAT {k} {sat} {nxxx}",
    "PEXPIREAT {k} {msat}",
    "PEXPIREAT {k} {msat} GT",
    "PERSIST {k}",
    "RENAME {k} {k}",
    "RENAMENX {k} {k}",
    "COPY {k} {k}",
    "COPY {k} {k} REPLACE",
    "COPY {k} {k} DB 1",
    "COPY {k} {k} DB 1 REPLACE",
    "MOVE {k} 1",
    "SELECT {db}",
    "GET {k}",
    "GET {s}",
    "HLEN {h}",
    "HLEN {h}",
    "DUMP {k}",
    "PTTL {k}",
    "PEXPIRETIME {k}",
    "HGETALL {k}",
];

/// Rare in a run of plain requests.
const FLUSHES: &[&str] = &[
    "FLUSHDB",
    "FLUSHALL",
    "FLUSHALL ASYNC",
    "SWAPDB 0 1",
    "SWAPDB 1 0",
];

/// Effects that are not worked out, or only in part.
const OPAQUE: &[&str] = &[
    "RESTORE {k} {ms} {dump}",
    "RESTORE {k} {ms} {dump} REPLACE",
    "RESTORE {k} {msat} {dump} ABSTTL REPLACE",
    "RESTORE {k} 0 {dump}",
    "LPUSH {k} {v}",
    "SETBIT {k} 3 1",
    "SPOP {t}",
    "SUNIONSTORE {t} {t} {t}",
    "ZUNIONSTORE {z} 2 {z} {t}",
    "SORT {t} ALPHA STORE {k}",
    "EVAL return(redis.call('set',KEYS[1],ARGV[1])) 1 {k} {v}",
    "EVAL redis.call('del',KEYS[1]);error('x') 1 {k}",
    "PFADD {k} {v}",
];

/// What requests are made with.
pub(crate) struct Maker<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) mix: Mix,
    /// The server's clock in Unix milliseconds.
    pub(crate) wall: i64,
    /// A payload for RESTORE.
    pub(crate) dump: &'a [u8],
}

impl Maker<'_> {
    /// Makes one request.
    pub(crate) fn request(&mut self) -> Vec<Vec<u8>> {
        let form = match self.random.below(100) {
            0..30 => self.random.pick(STRINGS),
            30..55 => self.random.pick(HASHES),
            55..62 => self.random.pick(SETS),
            62..73 => self.random.pick(SORTED_SETS),
            73..74 => self.random.pick(FLUSHES),
            74..80 if self.mix == Mix::Rough => self.random.pick(OPAQUE),
            _ => self.random.pick(ANY),
        };
        let words = form.split(' ').flat_map(|word| self.words(word));
        words.collect()
    }

    /// Fills a word in; some are several, or none.
    fn words(&mut self, word: &str) -> Vec<Vec<u8>> {
        let text = match word {
            "{time}" => return self.time_option(),
            "{nxxx}" => match *self.random.pick(&["", "NX", "XX"]) {
                "" => return Vec::new(),
                option => option.to_owned(),
            },
            "{dump}" => return vec![self.dump.to_vec()],
            "{s}" | "{h}" | "{t}" | "{z}" | "{k}" => self.key(&word[1..2]),
            "{v}" => self
                .random
                .pick(&["x", "12", "", "-7", "abc", "3.5"])
                .to_string(),
            "{i}" => self.random.pick(&["1", "7", "-3", "0", "12"]).to_string(),
            "{d}" => self
                .random
                .pick(&["1", "-2.5", "0.1", "3e2", "0", "7", "12345.678"])
                .to_string(),
            "{f}" | "{m}" => self.random.pick(&["a", "b", "c", "d"]).to_string(),
            "{db}" => self.random.pick(&["0", "0", "1"]).to_string(),
            "{sec}" => (self.ttl() / 1000).to_string(),
            "{ms}" => self.ttl().to_string(),
            "{sat}" => ((self.wall + self.ttl()) / 1000).to_string(),
            "{msat}" => (self.wall + self.ttl()).to_string(),
            other => other.to_owned(),
        };
        vec![text.into_bytes()]
    }

    fn key(&mut self, kind: &str) -> String {
        let kind = match self.random.chance(5) || kind == "k" {
            true => *self.random.pick(&["s", "h", "t", "z"]),
            false => kind,
        };
        format!("{kind}{}", self.random.below(2))
    }

    /// Far away; long ago; and, in a rough run, soon.
    fn ttl(&mut self) -> i64 {
        let far = *self.random.pick(&[100_000, 250_000, 3_000_000]);
        match self.random.below(10) {
            0 => -50_000,
            1..4 if self.mix == Mix::Rough => 1 + self.random.below(40) as i64,
            _ => far + self.random.below(1000) as i64,
        }
    }

    fn time_option(&mut self) -> Vec<Vec<u8>> {
        let form = *self
            .random
            .pick(&["EX {sec}", "PX {ms}", "EXAT {sat}", "PXAT {msat}"]);
        let words = form.split(' ').flat_map(|word| self.words(word));
        words.collect()
    }
}
