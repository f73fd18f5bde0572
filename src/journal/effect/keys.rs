//! What concerns whole keys: DEL, RENAME, COPY, MOVE, RESTORE, GETDEL; and whole databases.

use std::collections::BTreeSet;

use super::numbers::integer;
use super::strings::{may_hold, may_match};
use super::{Change, Effect, Reader};
use crate::command::time::{after, at};
use crate::journal::image::{Deadline, Image, Parts, Value};

/// DEL, UNLINK: a tombstone for each key, also if it was not there.
pub(super) fn del(reader: &mut Reader<'_>) -> Option<()> {
    let keys = reader.words_from(1)?;
    let distinct: BTreeSet<&[u8]> = keys.iter().copied().collect();
    let deleted = usize::try_from(reader.number()?).ok()?;
    for key in &distinct {
        reader.weigh(key, |was| {
            let can_be = match was {
                None => deleted < distinct.len(),
                Some(_) => deleted > 0,
            };
            can_be.then_some(Change::Deleted)
        });
    }
    Some(())
}

/// Of Valkey: `DELIFEQ key value`
pub(super) fn delifeq(reader: &mut Reader<'_>) -> Option<()> {
    let (key, value) = (reader.word(1)?, reader.word(2)?);
    let is_done = reader.number()? == 1;
    reader.weigh(key, |was| match is_done {
        true => may_match(was?, |held| held == value).then_some(Change::Deleted),
        false => Some(Change::NOTHING),
    });
    Some(())
}

pub(super) fn getdel(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let old = reader.shown()?;
    reader.weigh(key, |was| {
        let can_be = match (was, old) {
            (None, None) => true,
            (Some(parts), Some(old)) => may_hold(parts, old),
            _ => false,
        };
        can_be.then_some(Change::Deleted)
    });
    Some(())
}

/// RENAME, RENAMENX
pub(super) fn rename(reader: &mut Reader<'_>) -> Option<()> {
    let (from, to) = (reader.word(1)?, reader.word(2)?);
    let is_nx = reader.is_named("renamenx");
    let is_done = match is_nx {
        true => reader.number()? == 1,
        false => reader.is_ok().then_some(true)?,
    };
    let database = reader.database;
    if from == to || !is_done {
        // Without a source there is an error.
        reader.weigh(from, |was| was.map(|_| Change::NOTHING));
        if from != to {
            reader.weigh(to, |was| was.map(|_| Change::NOTHING));
        }
        return Some(());
    }
    let parts = there(reader, from);
    reader.weigh(from, |was| was.map(|_| Change::Deleted));
    put(reader, database, to, parts, is_nx);
    Some(())
}

/// `COPY source destination [DB n] [REPLACE]`
pub(super) fn copy(reader: &mut Reader<'_>) -> Option<()> {
    let (from, to) = (reader.word(1)?, reader.word(2)?);
    let (mut database, mut replaces) = (reader.database, false);
    let options = reader.words_from(3)?;
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.to_ascii_uppercase().as_slice() {
            b"REPLACE" => replaces = true,
            b"DB" => database = index(options.next()?)?,
            _ => return None,
        }
    }
    if reader.number()? == 0 {
        return Some(());
    }
    let parts = there(reader, from);
    reader.weigh(from, |was| was.map(|_| Change::NOTHING));
    put(reader, database, to, parts, !replaces);
    Some(())
}

/// `MOVE key database`
pub(super) fn r#move(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let database = index(reader.word(2)?)?;
    if reader.number()? == 0 {
        return Some(());
    }
    let parts = there(reader, key);
    reader.weigh(key, |was| was.map(|_| Change::Deleted));
    put(reader, database, key, parts, true);
    Some(())
}

/// Reads the number of a database.
fn index(word: &[u8]) -> Option<u32> {
    u32::try_from(integer(word)?).ok()
}

/// Returns what is known of a key that the reply shows to have been there.
fn there(reader: &Reader<'_>, key: &[u8]) -> Parts {
    match reader.image(reader.database, key) {
        Image::Absent => Parts::UNKNOWN,
        Image::Maybe(parts) | Image::There(parts) => parts,
    }
}

/// Says that a key is now what another one was.
fn put(reader: &mut Reader<'_>, database: u32, key: &[u8], parts: Parts, was_absent: bool) {
    reader.weigh_in(database, key, |was| {
        (was.is_none() || !was_absent).then(|| Change::Value {
            value: parts.value.clone(),
            deadline: Some(parts.deadline),
        })
    });
}

/// `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME s] [FREQ n]`
pub(super) fn restore(reader: &mut Reader<'_>) -> Option<()> {
    let (key, ttl) = (reader.word(1)?, reader.word(2)?);
    if !reader.is_ok() {
        return None;
    }
    let (mut replaces, mut is_absolute) = (false, false);
    let options = reader.words_from(4)?;
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.to_ascii_uppercase().as_slice() {
            b"REPLACE" => replaces = true,
            b"ABSTTL" => is_absolute = true,
            b"IDLETIME" | b"FREQ" => drop(options.next()),
            _ => return None,
        }
    }
    let deadline = match (ttl, is_absolute) {
        (b"0", _) => Some(Deadline::Never),
        (ttl, true) => reader.moment.deadline(at(ttl)?),
        (ttl, false) => reader.moment.deadline(after(ttl)?),
    };
    reader.weigh(key, |was| {
        (was.is_none() || replaces).then(|| Change::value_until(Value::Unknown, deadline))
    });
    Some(())
}

pub(super) fn flushall(reader: &mut Reader<'_>) -> Option<()> {
    flushed(reader, None)
}

pub(super) fn flushdb(reader: &mut Reader<'_>) -> Option<()> {
    flushed(reader, Some(reader.database))
}

fn flushed(reader: &mut Reader<'_>, database: Option<u32>) -> Option<()> {
    if !reader.is_ok() {
        return None;
    }
    reader.found.push(Effect::Flushed { database });
    Some(())
}

pub(super) fn swapdb(reader: &mut Reader<'_>) -> Option<()> {
    let (one, other) = (index(reader.word(1)?)?, index(reader.word(2)?)?);
    if !reader.is_ok() {
        return None;
    }
    reader.found.push(Effect::Swapped(one, other));
    Some(())
}
