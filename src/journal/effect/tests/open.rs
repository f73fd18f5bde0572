//! What a reply leaves open of a key is asked for.

use super::*;
use crate::command::leaves::{Look, keys_to_look_at, look};
use crate::command::written::Written;

/// What a change leaves open of a key of which nothing was known: the look that closes it.
fn left_open(effect: &KeyEffect) -> Option<Look> {
    let made = effect.was == Was::Unknown;
    match &effect.change {
        Change::Seen(_) | Change::Deleted => None,
        Change::Opaque => Some(Look::Payload),
        Change::Value { value, .. } if !value.is_known() => Some(Look::Payload),
        Change::Value {
            deadline: Some(Deadline::Unknown),
            ..
        }
        | Change::Deadline(Deadline::Unknown) => Some(Look::Deadline),
        Change::Value { deadline: None, .. } => {
            (effect.was != Was::Absent).then_some(Look::Deadline)
        }
        Change::Value { .. } | Change::Deadline(_) => None,
        Change::Fields(fields) => {
            let any = |is: fn(&FieldChange) -> bool| fields.iter().any(|(_, change)| is(change));
            let counts = |change: &FieldChange| match change {
                FieldChange::Value { deadline, .. } => deadline.is_none(),
                FieldChange::Unknown => true,
                FieldChange::Deadline(_) | FieldChange::Removed => false,
            };
            if any(counts) {
                return made.then_some(Look::Payload);
            }
            let sets = any(|change| matches!(change, FieldChange::Value { .. }));
            (made && sets).then_some(Look::Fields)
        }
        Change::Members(members) => {
            let adds = members.iter().any(|(_, how)| *how == MemberChange::Added);
            (made && adds).then_some(Look::Payload)
        }
        Change::Scores(scores) => {
            let adds = scores.iter().any(|(_, how)| *how != ScoreChange::Removed);
            (made && adds).then_some(Look::Payload)
        }
    }
}

/// Says of a request that met a server of which nothing is known which key is left open and not asked about, if one is.
fn unasked(request: &str, answer: &str) -> Option<String> {
    let words: Vec<&str> = request.split(' ').collect();
    let bytes = request_bytes(&words);
    let found = run(&mut Keyspace::unknown(), request, answer);
    let sent = words::first(&bytes)?;
    let (asked, keys) = TABLE.with(|table| {
        let command = table.find(words[0].as_bytes());
        let asked = look(&command, &bytes, &sent.words);
        (asked, keys_to_look_at(&command, &bytes, &sent.words))
    });
    let is_asked = |effect: &KeyEffect| match &keys {
        // It is counted that nobody knows.
        Written::Anything => asked == Some(Look::Payload),
        Written::Words(keys) => {
            let names = keys.iter().filter_map(|key| words.get(*key));
            asked >= left_open(effect)
                && effect.database == 0
                && names.into_iter().any(|name| name.as_bytes() == effect.key)
        }
    };
    found.iter().find_map(|effect| match effect {
        Effect::Key(effect) if left_open(effect).is_some() && !is_asked(effect) => {
            Some(format!("{request} = {answer}: {effect:?}"))
        }
        Effect::Anything if asked != Some(Look::Payload) || keys != Written::Anything => {
            Some(format!("{request} = {answer}: anything"))
        }
        _ => None,
    })
}

/// Each command that may leave something that its reply does not tell has a look that does.
#[test]
fn what_a_reply_leaves_open_is_asked_for() {
    let single = rows::ROWS
        .iter()
        .filter(|row| !row.1.starts_with("MULTI") && !row.1.starts_with("XGROUP"));
    // What was answered at more length than is remembered is not asked for.
    let is_whole = |row: &&rows::Row| !row.2.is_empty() && !row.2.contains('~');
    let faults: Vec<String> = single
        .filter(is_whole)
        .filter_map(|&(_, request, answer, ..)| unasked(request, answer))
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
