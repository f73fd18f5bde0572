//! Commands about single fields and their own deadlines: HEXPIRE and its like, HPERSIST, HSETEX, HGETEX, HGETDEL.
//!
//! Most of them answer with an array, one element for each field.

use std::collections::BTreeSet;

use super::deadlines::deadline;
use super::hashes::{hash, without};
use super::options::{Condition, Options};
use super::reader::string;
use super::strings::of_read;
use super::{FieldChange, Reader};
use crate::command::time::{COMMANDS, find};
use crate::journal::collection::{Element, Field};
use crate::journal::image::{Deadline, View};
use crate::resp::value;

type Changes = Vec<(Vec<u8>, FieldChange)>;

/// Splits `… FIELDS n field …`, with `width` words for each field, into what stands around it and the fields.
fn split<'a>(words: &[&'a [u8]], width: usize) -> Option<[Vec<&'a [u8]>; 2]> {
    let is_fields = |word: &&[u8]| word.eq_ignore_ascii_case(b"FIELDS");
    let at = words.iter().position(is_fields)?;
    let count: usize = std::str::from_utf8(words.get(at + 1)?).ok()?.parse().ok()?;
    let (fields, behind) = words
        .get(at + 2..)?
        .split_at_checked(count.checked_mul(width)?)?;
    Some([[&words[..at], behind].concat(), fields.to_vec()])
}

/// Returns the answers, one for each of so many fields; a null or an empty array means that there is no key.
fn answers(reply: &[u8], fields: usize) -> Option<Vec<&[u8]>> {
    if value::is_null(reply) {
        return Some(vec![reply; fields]);
    }
    let answers: Vec<&[u8]> = value::elements(reply)?.collect();
    (answers.len() == fields).then_some(answers)
}

/// Says what was done, field by field: `read` answers for one field as it was, and its own part of the reply; `None` if
/// that can't be.
fn weigh_fields<'a>(
    reader: &mut Reader<'a>,
    names: &[&'a [u8]],
    read: impl Fn(Element<&Field>, &'a [u8]) -> Option<Option<FieldChange>>,
) -> Option<()> {
    let key = reader.word(1)?;
    let answers = answers(reader.reply, names.len())?;
    reader.weigh(key, |was| {
        let view = hash(was)?;
        let mut changes: Changes = Vec::new();
        let mut asked: BTreeSet<&[u8]> = BTreeSet::new();
        for (name, answer) in names.iter().zip(&answers) {
            // The same field once more: what it was is no longer what it is.
            let element = match asked.insert(name) {
                true => view.find(name),
                false => Element::Unknown,
            };
            if let Some(change) = read(element, answer)? {
                changes.push((name.to_vec(), change));
            }
        }
        Some(without(view, changes))
    });
    Some(())
}

/// What a deadline does to a field.
fn until(deadline: Option<Deadline>) -> FieldChange {
    deadline.map_or(FieldChange::Removed, FieldChange::Deadline)
}

/// HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT: `key time [NX | XX | GT | LT] FIELDS n field …`
pub(super) fn hexpire(reader: &mut Reader<'_>) -> Option<()> {
    let read = find(&COMMANDS, reader.word(0)?.get(1..)?)?;
    let deadline = deadline(read, reader.word(2)?, reader.moment)?;
    let [_, names] = split(&reader.words_from(3)?, 1)?;
    weigh_fields(reader, &names, |was, answer| {
        match (value::integer(answer)?, was) {
            (-2, Element::Absent | Element::Unknown) => Some(None),
            (0, Element::There(_) | Element::Unknown) => Some(None),
            (1, Element::There(_) | Element::Unknown) => Some(Some(until(deadline))),
            // The time had passed.
            (2, Element::There(_) | Element::Unknown) => Some(Some(FieldChange::Removed)),
            _ => None,
        }
    })
}

/// `HPERSIST key FIELDS n field …`
pub(super) fn hpersist(reader: &mut Reader<'_>) -> Option<()> {
    let [_, names] = split(&reader.words_from(2)?, 1)?;
    weigh_fields(reader, &names, |was, answer| {
        match (value::integer(answer)?, was) {
            (-2, Element::Absent | Element::Unknown) => Some(None),
            (-1, Element::There(_) | Element::Unknown) => Some(None),
            (1, Element::There(_) | Element::Unknown) => {
                Some(Some(FieldChange::Deadline(Deadline::Never)))
            }
            _ => None,
        }
    })
}

/// Tells whether a field may have held what was answered: a value, or nothing.
fn may_hold(was: Element<&Field>, answer: Option<&[u8]>) -> bool {
    match (was, answer) {
        (Element::Unknown, _) | (Element::Absent, None) => true,
        (Element::There(field), Some(answer)) => {
            field.value.as_deref().is_none_or(|value| value == answer)
        }
        _ => false,
    }
}

/// `HGETEX key [EX … | PERSIST] FIELDS n field …`
pub(super) fn hgetex(reader: &mut Reader<'_>) -> Option<()> {
    let [options, names] = split(&reader.words_from(2)?, 1)?;
    let left = of_read(Options::read(&options)?.wish, reader);
    weigh_fields(reader, &names, |was, answer| {
        let answer = string(answer)?;
        if !may_hold(was, answer) {
            return None;
        }
        Some(match (answer, left) {
            (None, _) | (_, Some(None)) => None,
            (Some(_), Some(Some(deadline))) => Some(FieldChange::Deadline(deadline)),
            (Some(_), None) => Some(FieldChange::Removed),
        })
    })
}

/// `HGETDEL key FIELDS n field …`
pub(super) fn hgetdel(reader: &mut Reader<'_>) -> Option<()> {
    let [_, names] = split(&reader.words_from(2)?, 1)?;
    weigh_fields(reader, &names, |was, answer| {
        may_hold(was, string(answer)?).then_some(Some(FieldChange::Removed))
    })
}

/// `HSETEX key [NX | XX] [FNX | FXX] [EX … | KEEPTTL] FIELDS n field value …`
pub(super) fn hsetex(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    if reader.number()? != 1 {
        // One of its conditions did not hold: the server may not have looked at its time.
        return Some(());
    }
    let [options, pairs] = split(&reader.words_from(2)?, 2)?;
    let options = Options::read(&options)?;
    let deadline = options.wish.of_set(reader.moment);
    let change = |value: &[u8]| match deadline {
        Some(deadline) => FieldChange::Value {
            value: value.to_vec(),
            deadline,
        },
        None => FieldChange::Removed,
    };
    reader.weigh(key, |was| {
        let view = hash(was)?;
        let of_key = match options.condition {
            Condition::Absent => was.is_none(),
            Condition::There => was.is_some(),
            _ => true,
        };
        let mut pairs = pairs.chunks_exact(2);
        if !of_key
            || !pairs
                .clone()
                .all(|pair| may_set(options.of_fields, view, pair[0]))
        {
            return None;
        }
        let changes: Changes = pairs
            .by_ref()
            .map(|pair| (pair[0].to_vec(), change(pair[1])))
            .collect();
        Some(without(view, changes))
    });
    Some(())
}

/// Tells whether a condition may have held of a field.
fn may_set(condition: Condition<'_>, view: View<'_, Field>, name: &[u8]) -> bool {
    let fails = matches!(
        (condition, view.find(name)),
        (Condition::Absent, Element::There(_)) | (Condition::There, Element::Absent)
    );
    !fails
}
