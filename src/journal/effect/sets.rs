//! SADD, SREM, SMOVE.

use std::collections::BTreeSet;

use super::hashes::{empties, may_add, may_remove};
use super::{Change, MemberChange, Reader};
use crate::journal::image::{Parts, Value, View};

/// Returns what is known of a set; `None` if the key holds something else.
fn set(was: Option<&Parts>) -> Option<View<'_, ()>> {
    Some(match was.map(|parts| &parts.value) {
        None => View::Empty,
        Some(Value::Unknown) => View::Unknown,
        Some(Value::Set(members)) => View::Known(members),
        Some(_) => return None,
    })
}

fn members(names: &BTreeSet<&[u8]>, change: MemberChange) -> Change {
    let members = names.iter().map(|name| (name.to_vec(), change));
    Change::Members(members.collect())
}

/// Removes members; a set that they leave empty is deleted.
fn without(view: View<'_, ()>, names: &BTreeSet<&[u8]>) -> Change {
    match empties(view, names) {
        true => Change::Deleted,
        false => members(names, MemberChange::Removed),
    }
}

pub(super) fn sadd(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let names: BTreeSet<&[u8]> = reader.words_from(2)?.into_iter().collect();
    let added = reader.number()?;
    reader.weigh(key, |was| {
        may_add(set(was)?, &names, added).then(|| members(&names, MemberChange::Added))
    });
    Some(())
}

pub(super) fn srem(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let names: BTreeSet<&[u8]> = reader.words_from(2)?.into_iter().collect();
    let removed = reader.number()?;
    reader.weigh(key, |was| {
        let view = set(was)?;
        may_remove(view, &names, removed).then(|| without(view, &names))
    });
    Some(())
}

/// `SMOVE source destination member`
pub(super) fn smove(reader: &mut Reader<'_>) -> Option<()> {
    let (from, to) = (reader.word(1)?, reader.word(2)?);
    let name = BTreeSet::from([reader.word(3)?]);
    if reader.number()? == 0 {
        return Some(());
    }
    if from == to {
        reader.weigh(from, |was| {
            set(was)?;
            was.map(|_| members(&name, MemberChange::Added))
        });
        return Some(());
    }
    reader.weigh(from, |was| {
        let view = set(was)?;
        may_remove(view, &name, 1).then(|| without(view, &name))
    });
    reader.weigh(to, |was| {
        set(was)?;
        Some(members(&name, MemberChange::Added))
    });
    Some(())
}
