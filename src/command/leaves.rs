//! What a write's words and its reply leave open of the keys that it wrote, and which reads behind it tell that.
//!
//! A command that is not listed may leave anything: so do those that come with newer servers, modules and scripts.

use super::table::{Access, Command, KeyPositions, Kind};
use super::written::{Written, written};
use crate::resp::Words;

/// What is asked of a key behind a write: of two, the greater tells all that the other does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// `PTTL`: it keeps a deadline that the reply does not tell.
    Deadline,
    /// `HLEN`, `PTTL`: whether the fields that were written are all that there are, and so have made the key.
    Fields,
    /// `DUMP`, `PTTL`: everything.
    Payload,
}

/// How much of what a command leaves is told by its words and its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// All that it has changed; or it changes nothing.
    Known,
    /// That depends on its options: SET, MSETEX.
    Options,
    /// All but whether it has made the key, and with what: that has to be asked for unless the key is known to have been
    /// there. HINCRBY keeps the deadline of a field, which only a payload tells.
    Made(Look),
    /// Not all; so much has to be asked for.
    Open(Look),
}

/// Commands that write, and do not leave just anything.
#[rustfmt::skip]
const ROWS: &[(&str, Leaves)] = &[
    ("decr", Leaves::Open(Look::Deadline)),
    ("decrby", Leaves::Open(Look::Deadline)),
    ("del", Leaves::Known),
    ("delifeq", Leaves::Known),
    ("expire", Leaves::Known),
    ("expireat", Leaves::Known),
    ("flushall", Leaves::Known),
    ("flushdb", Leaves::Known),
    ("getdel", Leaves::Known),
    ("getex", Leaves::Known),
    ("getset", Leaves::Known),
    ("hdel", Leaves::Known),
    ("hgetdel", Leaves::Known),
    ("hincrby", Leaves::Made(Look::Payload)),
    ("hincrbyfloat", Leaves::Made(Look::Payload)),
    ("hmset", Leaves::Made(Look::Fields)),
    ("hset", Leaves::Made(Look::Fields)),
    ("hsetnx", Leaves::Made(Look::Fields)),
    ("incr", Leaves::Open(Look::Deadline)),
    ("incrby", Leaves::Open(Look::Deadline)),
    ("incrbyfloat", Leaves::Open(Look::Deadline)),
    ("mset", Leaves::Known),
    ("msetex", Leaves::Options),
    ("msetnx", Leaves::Known),
    ("persist", Leaves::Known),
    ("pexpire", Leaves::Known),
    ("pexpireat", Leaves::Known),
    ("psetex", Leaves::Known),
    ("set", Leaves::Options),
    ("setex", Leaves::Known),
    ("setnx", Leaves::Known),
    ("swapdb", Leaves::Known),
    ("unlink", Leaves::Known),
];

/// Finds what is known of a command by its name, in lower case.
pub(super) fn leaves(name: &str, access: Access) -> Leaves {
    let row = ROWS.iter().find(|(known, _)| *known == name);
    row.map_or(unlisted(access), |row| row.1)
}

/// What is said of a command of which nothing else is known.
pub(super) const fn unlisted(access: Access) -> Leaves {
    match access {
        Access::Write => Leaves::Open(Look::Payload),
        Access::Read | Access::Neither => Leaves::Known,
    }
}

/// Tells what has to be asked behind a request; `None` where its reply tells everything.
#[inline]
pub fn look(command: &Command, request: &[u8], words: &Words) -> Option<Look> {
    match command.leaves {
        Leaves::Known => None,
        Leaves::Made(look) | Leaves::Open(look) => Some(look),
        // `SET key value`
        Leaves::Options if words.len() <= 3 => None,
        Leaves::Options => look_by_options(command, request, words),
    }
}

/// Reads the options of SET and MSETEX. One that is not known may do anything.
fn look_by_options(command: &Command, request: &[u8], words: &Words) -> Option<Look> {
    const ALONE: [&[u8]; 3] = [b"NX", b"XX", b"GET"];
    const WITH_WORD: [&[u8]; 5] = [b"EX", b"PX", b"EXAT", b"PXAT", b"IFEQ"];
    let is_one =
        |word: &[u8], known: &[&[u8]]| known.iter().any(|known| word.eq_ignore_ascii_case(known));
    let first = match command.keys.first {
        // `MSETEX numkeys key value …`
        0 => 2 + 2 * count(words.get(request, 1).unwrap_or_default())?,
        _ => 3,
    };
    let mut options = words.iter(request, first.min(words.len()));
    let mut keeps = None;
    while let Some(option) = options.next() {
        if is_one(option, &WITH_WORD) {
            options.next();
        } else if option.eq_ignore_ascii_case(b"KEEPTTL") {
            keeps = Some(Look::Deadline);
        } else if !is_one(option, &ALONE) {
            return Some(Look::Payload);
        }
    }
    keeps
}

/// Reads a number of keys; what is none is an error at the server.
fn count(word: &[u8]) -> Option<usize> {
    let count: u32 = std::str::from_utf8(word).ok()?.parse().ok()?;
    Some(count as usize)
}

/// Tells which keys are to be asked about, whatever there is to ask: those that the request may write, but for those that it
/// surely deletes; [`Written::Anything`] also where one lies in another database, which the link can't ask about.
pub fn keys_to_look_at(command: &Command, request: &[u8], words: &Words) -> Written {
    // What passes most has no exceptions.
    let KeyPositions { first, last, .. } = command.keys;
    if command.kind == Kind::Tracked && (first, last) == (1, 1) {
        return Written::Words(vec![1]);
    }
    let word = |index: usize| words.get(request, index).unwrap_or_default();
    let named = |name: &[u8]| word(0).eq_ignore_ascii_case(name);
    if named(b"rename") || named(b"renamenx") {
        return Written::Words(vec![2]);
    }
    // `COPY source destination [DB n] [REPLACE]`
    let here = words.len() == 3 || words.len() == 4 && word(3).eq_ignore_ascii_case(b"REPLACE");
    if named(b"copy") && here {
        return Written::Words(vec![2]);
    }
    written(command, request, words)
}

#[cfg(test)]
mod tests;
