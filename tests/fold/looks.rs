//! Which looks go behind a write, as the data path sends them: by the command alone, before its reply is known.

use gripfast::command::table::{Access, Table};

/// Keys of all kinds.
pub(crate) const KEYS: [&str; 8] = ["s0", "s1", "h0", "h1", "t0", "t1", "z0", "z1"];

pub(crate) type Words = Vec<Vec<u8>>;

/// What they leave is plain from their words.
const ABSOLUTE: &[&str] = &[
    "SET",
    "SETEX",
    "PSETEX",
    "SETNX",
    "GETSET",
    "GETDEL",
    "GETEX",
    "MSET",
    "MSETNX",
    "MSETEX",
    "DEL",
    "UNLINK",
    "DELIFEQ",
    "EXPIRE",
    "PEXPIRE",
    "EXPIREAT",
    "PEXPIREAT",
    "PERSIST",
    "HDEL",
    "MOVE",
    "FLUSHDB",
    "FLUSHALL",
    "SWAPDB",
];

/// Their reply tells the value, and nothing the deadline.
const COUNTERS: &[&str] = &["INCR", "DECR", "INCRBY", "DECRBY", "INCRBYFLOAT"];

const OF_HASHES: &[&str] = &["HSET", "HMSET", "HSETNX"];

fn name(request: &Words) -> &str {
    std::str::from_utf8(&request[0]).unwrap()
}

/// Returns the keys that a request names.
pub(crate) fn keys(request: &Words) -> impl Iterator<Item = &Vec<u8>> {
    let is_key = |word: &&Vec<u8>| KEYS.iter().any(|key| key.as_bytes() == word.as_slice());
    request[1..].iter().filter(is_key)
}

/// Returns the looks that complete what a write leaves.
pub(crate) fn behind(table: &Table, request: &Words) -> Vec<Words> {
    let name = name(request);
    let keeps = request.iter().any(|word| word == b"KEEPTTL");
    let names: &[&str] = match name {
        _ if table.find(&request[0]).access != Access::Write => &[],
        _ if COUNTERS.contains(&name) => &["PTTL"],
        "SET" if keeps => &["PTTL"],
        _ if OF_HASHES.contains(&name) => &["HLEN", "PTTL"],
        _ if ABSOLUTE.contains(&name) => &[],
        _ => &["DUMP", "PTTL"],
    };
    let looks = keys(request).flat_map(|key| {
        let look = |name: &&str| vec![name.as_bytes().to_vec(), key.clone()];
        names.iter().map(look)
    });
    looks.collect()
}
