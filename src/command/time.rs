//! Deadlines as requests ask for them: commands, options and numbers, and what the server knows of them.
//!
//! Reads less than the server does, never more: what it would refuse is `None`, and so are zero and less.
//!
//! Source: redis `src/expire.c`, `expireGenericCommand`; `src/t_string.c`, `getExpireMillisecondsOrReply`; `src/util.c`,
//! `string2ll`.

use super::table::ServerCommands;

/// Longest TTL that is looked at, in milliseconds. The server refuses one that overflows when its wall clock is added:
/// what is left for that clock lasts until the year 2248. Instants it takes up to the last one that it can count.
pub(crate) const TTL_MAX: i64 = i64::MAX - (1 << 43);

/// What the server can do: a form that it would refuse is its own to refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// GETEX, and SET with EXAT and PXAT: since 6.2.
    pub getex: bool,
    /// Options of EXPIRE: since 7.0; before, a wrong number of arguments.
    pub expire_options: bool,
}

impl Abilities {
    /// Reads them off the server's COMMAND.
    pub fn of(server: &ServerCommands) -> Self {
        let expire = server.by_name.get(&b"expire"[..]);
        Self {
            getex: server.by_name.contains_key(&b"getex"[..]),
            expire_options: expire.is_some_and(|command| command.arity < 0),
        }
    }
}

/// A deadline as a request asks for it, in milliseconds, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// So long from now.
    After(i64),
    /// Then, since 1970.
    At(i64),
}

/// How a number is read as a time.
pub(crate) type Reader = fn(&[u8]) -> Option<Time>;

/// Commands that do nothing but set a deadline.
pub(crate) const COMMANDS: [(&str, Reader); 4] = [
    ("expire", seconds_after),
    ("pexpire", after),
    ("expireat", seconds_at),
    ("pexpireat", at),
];

/// Options of SET and GETEX that set one.
pub(crate) const OPTIONS: [(&str, Reader); 4] = [
    ("ex", seconds_after),
    ("px", after),
    ("exat", seconds_at),
    ("pxat", at),
];

/// Finds how the number of a command or option, in any case, is read.
pub(crate) fn find(readers: &[(&str, Reader)], name: &[u8]) -> Option<Reader> {
    let mut readers = readers.iter();
    let (_, reader) = readers.find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))?;
    Some(*reader)
}

pub(crate) fn after(word: &[u8]) -> Option<Time> {
    positive(word, 1, TTL_MAX).map(Time::After)
}

pub(crate) fn seconds_after(word: &[u8]) -> Option<Time> {
    positive(word, 1000, TTL_MAX).map(Time::After)
}

pub(crate) fn at(word: &[u8]) -> Option<Time> {
    positive(word, 1, i64::MAX).map(Time::At)
}

fn seconds_at(word: &[u8]) -> Option<Time> {
    positive(word, 1000, i64::MAX).map(Time::At)
}

/// Reads a positive number as strictly as `string2ll` (no sign, no blank, no leading zero) and returns it times `unit`;
/// `None` also past `max`.
pub(crate) fn positive(word: &[u8], unit: i64, max: i64) -> Option<i64> {
    if !matches!(word.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut value: i64 = 0;
    for &digit in word {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value
            .checked_mul(10)?
            .checked_add(i64::from(digit - b'0'))?;
    }
    value.checked_mul(unit).filter(|&value| value <= max)
}
