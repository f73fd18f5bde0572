//! Counters: what they hold is their reply, and they keep their deadline.

use super::{Change, Reader};
use crate::journal::image::{Parts, Value};

/// Reads a number as the server does (no sign but the minus, no blank, no leading zero).
pub(super) fn integer(word: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(word).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == word).then_some(number)
}

pub(super) fn incr(reader: &mut Reader<'_>) -> Option<()> {
    count(reader, Some(1))
}

pub(super) fn decr(reader: &mut Reader<'_>) -> Option<()> {
    count(reader, Some(-1))
}

pub(super) fn incrby(reader: &mut Reader<'_>) -> Option<()> {
    let step = integer(reader.word(2)?);
    count(reader, step)
}

pub(super) fn decrby(reader: &mut Reader<'_>) -> Option<()> {
    let step = integer(reader.word(2)?).and_then(i64::checked_neg);
    count(reader, step)
}

/// `step` is `None` where it is not known.
fn count(reader: &mut Reader<'_>, step: Option<i64>) -> Option<()> {
    let key = reader.word(1)?;
    let new = reader.number()?;
    reader.weigh(key, |was| {
        let old = match was.map(|parts| &parts.value) {
            None => Some(0),
            Some(Value::String(old)) => Some(integer(old)?),
            Some(Value::Unknown) => None,
            Some(_) => return None,
        };
        follows(old, step, new)
            .then(|| Change::keeping(Value::String(new.to_string().into_bytes())))
    });
    Some(())
}

/// Tells whether `new` may be the sum.
pub(super) fn follows(old: Option<i64>, step: Option<i64>, new: i64) -> bool {
    match (old, step) {
        (Some(old), Some(step)) => old.checked_add(step) == Some(new),
        _ => true,
    }
}

pub(super) fn incrbyfloat(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let new = reader.string()??;
    let is_number = |parts: &Parts| matches!(parts.value, Value::String(_) | Value::Unknown);
    reader.weigh(key, |was| {
        was.is_none_or(is_number)
            .then(|| Change::keeping(Value::String(new.to_vec())))
    });
    Some(())
}
