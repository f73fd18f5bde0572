//! Reads that complete what is known: GET, PTTL, PEXPIRETIME, HLEN, DUMP. They write nothing.
//!
//! They may be sent behind a write to a key of which not all is known: HLEN and PTTL tell whether the known fields are all
//! there are, DUMP and PTTL tell everything.

use super::reader::Shown;
use super::strings::may_hold;
use super::{Change, Reader, Seen};
use crate::journal::image::{Deadline, Value};

pub(super) fn get(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let value = reader.shown()?;
    reader.weigh(key, |was| match (was, value) {
        (None, None) => Some(Change::NOTHING),
        (Some(parts), Some(value)) => may_hold(parts, value).then(|| seen_value(value)),
        _ => None,
    });
    Some(())
}

/// What a reply with the value has shown.
pub(super) fn seen_value(value: Shown<'_>) -> Change {
    Change::Seen(Seen {
        value: value.whole().map(|value| Value::String(value.to_vec())),
        ..Seen::default()
    })
}

pub(super) fn dump(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let payload = reader.shown()?;
    reader.weigh(key, |was| match (was, payload) {
        (None, None) => Some(Change::NOTHING),
        (Some(_), Some(payload)) => Some(Change::Seen(Seen {
            payload: payload.whole().map(<[u8]>::to_vec),
            ..Seen::default()
        })),
        _ => None,
    });
    Some(())
}

/// PTTL, PEXPIRETIME
pub(super) fn deadline(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let from = match reader.is_named("pttl") {
        true => reader.moment.at,
        false => 0,
    };
    let deadline = match reader.number()? {
        -2 => None,
        -1 => Some(Deadline::Never),
        number => Some(Deadline::At(from.saturating_add(number))),
    };
    let doubt = reader.moment.doubt;
    reader.weigh(key, |was| match (was, deadline) {
        (None, None) => Some(Change::NOTHING),
        (Some(parts), Some(deadline)) => {
            agree(parts.deadline, deadline, doubt).then_some(Change::Seen(Seen {
                deadline: Some(deadline),
                ..Seen::default()
            }))
        }
        _ => None,
    });
    Some(())
}

/// Tells whether both may be, each as exact as a moment.
fn agree(one: Deadline, other: Deadline, doubt: i64) -> bool {
    match (one, other) {
        (Deadline::At(one), Deadline::At(other)) => one.abs_diff(other) <= 2 * doubt.unsigned_abs(),
        (Deadline::Never, Deadline::At(_)) | (Deadline::At(_), Deadline::Never) => false,
        _ => true,
    }
}

pub(super) fn hlen(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let length = usize::try_from(reader.number()?).ok()?;
    reader.weigh(key, |was| match was.map(|parts| &parts.value) {
        None => (length == 0).then_some(Change::NOTHING),
        Some(Value::Unknown | Value::Hash(_)) => {
            let seen = Seen {
                length: Some(length),
                ..Seen::default()
            };
            (length > 0).then_some(Change::Seen(seen))
        }
        Some(_) => None,
    });
    Some(())
}
