//! SET and its like.

use super::numbers::integer;
use super::options::{Condition, Options, Wish};
use super::reader::Shown;
use super::{Change, Reader, Seen};
use crate::command::time::{after, seconds_after};
use crate::journal::image::{Deadline, Parts, Value};

/// Tells whether a key may hold the string that was answered.
pub(super) fn may_hold(parts: &Parts, string: Shown<'_>) -> bool {
    may_match(parts, |held| string.may_be(held))
}

/// Tells whether a key may hold a string like that.
pub(super) fn may_match(parts: &Parts, is_it: impl Fn(&[u8]) -> bool) -> bool {
    match &parts.value {
        Value::Unknown => true,
        Value::String(held) => is_it(held),
        _ => false,
    }
}

fn whole(string: &[u8]) -> Value {
    Value::String(string.to_vec())
}

/// What a SET with such options did, if the reply can be.
enum Outcome {
    Set,
    NotSet,
}

pub(super) fn set(reader: &mut Reader<'_>) -> Option<()> {
    let (key, new) = (reader.word(1)?, reader.word(2)?);
    let options = Options::read(&reader.words_from(3)?)?;
    let old = reader.shown();
    let is_ok = reader.is_ok();
    if !is_ok && old.is_none() {
        return None;
    }
    let deadline = options.wish.of_set(reader.moment);
    let outcome = |was: Option<&Parts>| match options.gets {
        true => outcome_by_old(options.condition, was, old?),
        false => outcome_by_ok(options.condition, was, is_ok),
    };
    reader.weigh(key, |was| {
        Some(match outcome(was)? {
            Outcome::Set => match deadline {
                Some(deadline) => Change::Value {
                    value: whole(new),
                    deadline,
                },
                None => Change::Deleted,
            },
            Outcome::NotSet => Change::Seen(Seen {
                value: old.flatten().and_then(Shown::whole).map(whole),
                ..Seen::default()
            }),
        })
    });
    Some(())
}

/// By OK or null.
fn outcome_by_ok(condition: Condition<'_>, was: Option<&Parts>, is_ok: bool) -> Option<Outcome> {
    let can_be = match (condition, was) {
        (Condition::Always, _) => is_ok,
        (Condition::Absent, was) => is_ok == was.is_none(),
        (Condition::There, was) => is_ok == was.is_some(),
        (Condition::Equal(_), None) => !is_ok,
        (Condition::Equal(wanted), Some(parts)) => {
            !is_ok || may_match(parts, |held| held == wanted)
        }
    };
    can_be.then_some(match is_ok {
        true => Outcome::Set,
        false => Outcome::NotSet,
    })
}

/// By the value that was there, which GET asks for.
fn outcome_by_old(
    condition: Condition<'_>,
    was: Option<&Parts>,
    old: Option<Shown<'_>>,
) -> Option<Outcome> {
    let can_be = match (was, old) {
        (None, None) => true,
        (Some(parts), Some(old)) => may_hold(parts, old),
        _ => false,
    };
    let is_set = match condition {
        Condition::Always => true,
        Condition::Absent => old.is_none(),
        Condition::There => old.is_some(),
        Condition::Equal(wanted) => match old.filter(|old| old.may_be(wanted)) {
            Some(old) => old.whole().map(|_| true)?,
            None => false,
        },
    };
    can_be.then_some(match is_set {
        true => Outcome::Set,
        false => Outcome::NotSet,
    })
}

/// SETEX, PSETEX
pub(super) fn setex(reader: &mut Reader<'_>) -> Option<()> {
    let (key, new) = (reader.word(1)?, reader.word(3)?);
    let unit = match reader.is_named("setex") {
        true => seconds_after,
        false => after,
    };
    let deadline = reader.moment.deadline(unit(reader.word(2)?)?);
    if !reader.is_ok() {
        return None;
    }
    reader.weigh(key, |_| Some(Change::value_until(whole(new), deadline)));
    Some(())
}

pub(super) fn setnx(reader: &mut Reader<'_>) -> Option<()> {
    let (key, new) = (reader.word(1)?, reader.word(2)?);
    let is_set = reader.number()? == 1;
    reader.weigh(key, |was| match (was, is_set) {
        (None, true) => Some(fresh(new)),
        (Some(_), false) => Some(Change::NOTHING),
        _ => None,
    });
    Some(())
}

pub(super) fn getset(reader: &mut Reader<'_>) -> Option<()> {
    let (key, new) = (reader.word(1)?, reader.word(2)?);
    let old = reader.shown()?;
    reader.weigh(key, |was| {
        outcome_by_old(Condition::Always, was, old)?;
        Some(fresh(new))
    });
    Some(())
}

/// A value without deadline.
fn fresh(string: &[u8]) -> Change {
    Change::value_until(whole(string), Some(Deadline::Never))
}

pub(super) fn mset(reader: &mut Reader<'_>) -> Option<()> {
    let pairs = reader.words_from(1)?;
    if !reader.is_ok() {
        return None;
    }
    for pair in pairs.chunks_exact(2) {
        reader.weigh(pair[0], |_| Some(fresh(pair[1])));
    }
    Some(())
}

pub(super) fn msetnx(reader: &mut Reader<'_>) -> Option<()> {
    let pairs = reader.words_from(1)?;
    if reader.number()? == 0 {
        return Some(());
    }
    for pair in pairs.chunks_exact(2) {
        reader.weigh(pair[0], |was| was.is_none().then(|| fresh(pair[1])));
    }
    Some(())
}

/// `MSETEX numkeys key value … [NX | XX] [EX … | KEEPTTL]`
pub(super) fn msetex(reader: &mut Reader<'_>) -> Option<()> {
    if reader.number()? == 0 {
        return Some(());
    }
    let count: usize = std::str::from_utf8(reader.word(1)?).ok()?.parse().ok()?;
    let behind = reader.words_from(2)?;
    let (pairs, options) = behind.split_at_checked(count.checked_mul(2)?)?;
    let options = Options::read(options)?;
    let deadline = options.wish.of_set(reader.moment);
    for pair in pairs.chunks_exact(2) {
        reader.weigh(pair[0], |was| {
            outcome_by_ok(options.condition, was, true)?;
            Some(match deadline {
                Some(deadline) => Change::Value {
                    value: whole(pair[1]),
                    deadline,
                },
                None => Change::Deleted,
            })
        });
    }
    Some(())
}

pub(super) fn append(reader: &mut Reader<'_>) -> Option<()> {
    let (key, tail) = (reader.word(1)?, reader.word(2)?);
    let length = usize::try_from(reader.number()?).ok()?;
    reader.weigh(key, |was| {
        let head: &[u8] = match was.map(|parts| &parts.value) {
            None => b"",
            Some(Value::String(head)) => head,
            // What it was appended to is unknown, but for the empty string.
            Some(Value::Unknown) if length > tail.len() => {
                return Some(Change::keeping(Value::Unknown));
            }
            Some(Value::Unknown) => b"",
            Some(_) => return None,
        };
        let new = [head, tail].concat();
        (new.len() == length).then(|| Change::keeping(Value::String(new)))
    });
    Some(())
}

pub(super) fn setrange(reader: &mut Reader<'_>) -> Option<()> {
    let (key, patch) = (reader.word(1)?, reader.word(3)?);
    let offset = usize::try_from(integer(reader.word(2)?)?).ok()?;
    let length = usize::try_from(reader.number()?).ok()?;
    let end = offset.checked_add(patch.len())?;
    reader.weigh(key, |was| {
        let mut new = match was.map(|parts| &parts.value) {
            None => Vec::new(),
            Some(Value::String(old)) => old.clone(),
            // All of it was overwritten.
            Some(Value::Unknown) if offset == 0 && patch.len() == length => Vec::new(),
            Some(Value::Unknown) if patch.is_empty() => return Some(Change::NOTHING),
            Some(Value::Unknown) if end <= length => {
                return Some(Change::keeping(Value::Unknown));
            }
            Some(_) => return None,
        };
        if patch.is_empty() {
            return (new.len() == length).then_some(Change::NOTHING);
        }
        if new.len().max(end) != length {
            return None;
        }
        new.resize(length, 0);
        new[offset..end].copy_from_slice(patch);
        Some(Change::keeping(Value::String(new)))
    });
    Some(())
}

/// Tells the deadline that GETEX leaves: `Some(None)` = as it was, `None` = it has passed, and the key is gone.
pub(super) fn of_read(wish: Wish, reader: &Reader<'_>) -> Option<Option<Deadline>> {
    match wish {
        Wish::None | Wish::Keep => Some(None),
        Wish::Persist => Some(Some(Deadline::Never)),
        Wish::At(time) => reader.moment.deadline(time).map(Some),
    }
}
