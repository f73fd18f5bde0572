//! HSET and its like.

use std::collections::BTreeSet;

use super::numbers::{follows, integer};
use super::{Change, FieldChange, Reader};
use crate::journal::collection::{Element, Field, Held};
use crate::journal::image::{Deadline, Parts, Value, View};

/// Returns what is known of a hash; `None` if the key holds something else.
pub(super) fn hash(was: Option<&Parts>) -> Option<View<'_, Field>> {
    Some(match was.map(|parts| &parts.value) {
        None => View::Empty,
        Some(Value::Unknown) => View::Unknown,
        Some(Value::Hash(fields)) => View::Known(fields),
        Some(_) => return None,
    })
}

/// Counts those of `names` that are there for sure, and those that may be.
pub(super) fn counts<T: Held>(view: View<'_, T>, names: &BTreeSet<&[u8]>) -> (usize, usize) {
    let (mut sure, mut possible) = (0, 0);
    for name in names {
        match view.find(name) {
            Element::There(_) => (sure, possible) = (sure + 1, possible + 1),
            Element::Unknown => possible += 1,
            Element::Absent => {}
        }
    }
    (sure, possible)
}

/// Tells whether `added` of `names` may not have been there.
pub(super) fn may_add<T: Held>(view: View<'_, T>, names: &BTreeSet<&[u8]>, added: i64) -> bool {
    let (sure, possible) = counts(view, names);
    let added = usize::try_from(added).ok();
    added.is_some_and(|added| (names.len() - possible..=names.len() - sure).contains(&added))
}

/// Tells whether `removed` of `names` may have been there.
pub(super) fn may_remove<T: Held>(
    view: View<'_, T>,
    names: &BTreeSet<&[u8]>,
    removed: i64,
) -> bool {
    let (sure, possible) = counts(view, names);
    let removed = usize::try_from(removed).ok();
    removed.is_some_and(|removed| (sure..=possible).contains(&removed))
}

/// Tells whether nothing is left without those of `names`: that deletes the key.
pub(super) fn empties<T: Held>(view: View<'_, T>, names: &BTreeSet<&[u8]>) -> bool {
    let (sure, _) = counts(view, names);
    sure > 0 && view.len() == Some(sure)
}

/// Sets a field without deadline.
fn set(name: &[u8], value: &[u8]) -> (Vec<u8>, FieldChange) {
    let change = FieldChange::Value {
        value: value.to_vec(),
        deadline: Some(Deadline::Never),
    };
    (name.to_vec(), change)
}

/// Sets a field that keeps its deadline, where the server knows of such.
fn counted(name: &[u8], value: Vec<u8>, may_expire: bool) -> Change {
    let change = FieldChange::Value {
        value,
        deadline: (!may_expire).then_some(Deadline::Never),
    };
    Change::Fields(vec![(name.to_vec(), change)])
}

/// HSET, HMSET
pub(super) fn hset(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let pairs = reader.words_from(2)?;
    let pairs = pairs.chunks_exact(2);
    let names: BTreeSet<&[u8]> = pairs.clone().map(|pair| pair[0]).collect();
    let added = match reader.is_named("hmset") {
        true => reader.is_ok().then_some(None)?,
        false => Some(reader.number()?),
    };
    reader.growth = added;
    reader.weigh(key, |was| {
        let view = hash(was)?;
        let can_be = added.is_none_or(|added| may_add(view, &names, added));
        can_be.then(|| Change::Fields(pairs.clone().map(|pair| set(pair[0], pair[1])).collect()))
    });
    Some(())
}

pub(super) fn hsetnx(reader: &mut Reader<'_>) -> Option<()> {
    let (key, name, value) = (reader.word(1)?, reader.word(2)?, reader.word(3)?);
    let is_set = reader.number()? == 1;
    reader.growth = Some(i64::from(is_set));
    reader.weigh(key, |was| match (hash(was)?.find(name), is_set) {
        (Element::Absent | Element::Unknown, true) => Some(Change::Fields(vec![set(name, value)])),
        (Element::There(_) | Element::Unknown, false) => Some(Change::NOTHING),
        _ => None,
    });
    Some(())
}

pub(super) fn hincrby(reader: &mut Reader<'_>) -> Option<()> {
    let (key, name) = (reader.word(1)?, reader.word(2)?);
    let step = integer(reader.word(3)?);
    let new = reader.number()?;
    // What was added to another number was there; else there was nothing, or 0.
    reader.growth = (Some(new) != step).then_some(0);
    let may_expire = reader.fields_may_expire;
    reader.weigh(key, |was| {
        let old = match hash(was)?.find(name) {
            Element::Absent => Some(0),
            Element::There(field) => match &field.value {
                Some(value) => Some(integer(value)?),
                None => None,
            },
            Element::Unknown => None,
        };
        follows(old, step, new).then(|| counted(name, new.to_string().into_bytes(), may_expire))
    });
    Some(())
}

pub(super) fn hincrbyfloat(reader: &mut Reader<'_>) -> Option<()> {
    let (key, name) = (reader.word(1)?, reader.word(2)?);
    let new = reader.string()??;
    let may_expire = reader.fields_may_expire;
    reader.weigh(key, |was| {
        hash(was)?;
        Some(counted(name, new.to_vec(), may_expire))
    });
    Some(())
}

pub(super) fn hdel(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let names: BTreeSet<&[u8]> = reader.words_from(2)?.into_iter().collect();
    let removed = reader.number()?;
    reader.growth = Some(-removed);
    reader.weigh(key, |was| {
        let view = hash(was)?;
        may_remove(view, &names, removed).then(|| {
            without(
                view,
                names
                    .iter()
                    .map(|name| (name.to_vec(), FieldChange::Removed))
                    .collect(),
            )
        })
    });
    Some(())
}

/// Changes fields; a hash that they leave empty is deleted.
pub(super) fn without(view: View<'_, Field>, changes: Vec<(Vec<u8>, FieldChange)>) -> Change {
    let removed = |change: &FieldChange| matches!(change, FieldChange::Removed);
    if changes.is_empty() {
        return Change::NOTHING;
    }
    let all_removed = changes.iter().all(|(_, change)| removed(change));
    let names = changes.iter().map(|(name, _)| name.as_slice()).collect();
    match all_removed && empties(view, &names) {
        true => Change::Deleted,
        false => Change::Fields(changes),
    }
}
