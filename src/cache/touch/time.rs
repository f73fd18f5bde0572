//! Deadlines as requests ask for them: commands, options and numbers.
//!
//! Reads less than the server does, never more: what it would refuse is `None`, and so are zero and less.

/// Longest TTL and latest instant that is looked at, in milliseconds: 8,900 years. Far below what overflows anywhere in
/// the server, whose error we would have to repeat otherwise.
pub(super) const TIME_MAX: i64 = 1 << 48;

/// A deadline as a request asks for it, in milliseconds from 1 to [`TIME_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    After(i64),
    At(i64),
}

/// How a number is read as a time.
pub(super) type Reader = fn(&[u8]) -> Option<Time>;

/// Commands that do nothing but set a deadline.
pub(super) const COMMANDS: [(&str, Reader); 4] = [
    ("expire", seconds_after),
    ("pexpire", after),
    ("expireat", seconds_at),
    ("pexpireat", at),
];

/// Options of SET and GETEX that set one.
pub(super) const OPTIONS: [(&str, Reader); 4] = [
    ("ex", seconds_after),
    ("px", after),
    ("exat", seconds_at),
    ("pxat", at),
];

/// Finds how the number of a command or option, in any case, is read.
pub(super) fn find(readers: &[(&str, Reader)], name: &[u8]) -> Option<Reader> {
    let mut readers = readers.iter();
    let (_, reader) = readers.find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))?;
    Some(*reader)
}

pub(super) fn after(word: &[u8]) -> Option<Time> {
    positive(word, 1).map(Time::After)
}

pub(super) fn seconds_after(word: &[u8]) -> Option<Time> {
    positive(word, 1000).map(Time::After)
}

fn at(word: &[u8]) -> Option<Time> {
    positive(word, 1).map(Time::At)
}

fn seconds_at(word: &[u8]) -> Option<Time> {
    positive(word, 1000).map(Time::At)
}

/// Reads a positive number as strictly as `string2ll` (no sign, no blank, no leading zero) and returns it times `unit`;
/// `None` also past [`TIME_MAX`].
pub(super) fn positive(word: &[u8], unit: i64) -> Option<i64> {
    if !matches!(word.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut value: i64 = 0;
    for &digit in word {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
        if value > TIME_MAX {
            return None;
        }
    }
    Some(value * unit).filter(|&value| value <= TIME_MAX)
}
