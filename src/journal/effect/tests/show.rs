//! Effects and images in short.

use crate::journal::collection::{Collection, Field, Held};
use crate::journal::effect::{
    Change, Effect, FieldChange, KeyEffect, MemberChange, ScoreChange, Seen, Was,
};
use crate::journal::image::{Deadline, Image, Parts, Value};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn deadline(deadline: Deadline) -> String {
    match deadline {
        Deadline::Unknown => "@?".into(),
        Deadline::Never => "@never".into(),
        Deadline::At(at) => format!("@{at}"),
    }
}

fn new_deadline(new: Option<Deadline>) -> String {
    new.map_or("@kept".into(), deadline)
}

fn elements<T: Held>(held: &Collection<T>, show: impl Fn(&str, &T) -> String) -> String {
    let there = held.there().map(|(name, held)| show(&text(name), held));
    let gone = held.not_there().map(|name| format!("!{}", text(name)));
    let mut shown: Vec<String> = there.chain(gone).collect();
    if !held.is_whole() {
        shown.push("..".into());
    }
    format!("{{{}}}", shown.join(" "))
}

fn field(name: &str, field: &Field) -> String {
    let value = field.value.as_deref().map_or("?".into(), text);
    let until = match field.deadline {
        Deadline::Never => String::new(),
        other => deadline(other),
    };
    format!("{name}={value}{until}")
}

fn value(value: &Value) -> String {
    match value {
        Value::Unknown => "?".into(),
        Value::String(string) => format!("{:?}", text(string)),
        Value::Hash(held) => elements(held, field),
        Value::Set(held) => format!("set{}", elements(held, |name, ()| name.into())),
        Value::SortedSet(held) => {
            let shown = |name: &str, score: &Option<f64>| {
                let score = score.map_or("?".into(), |score| score.to_string());
                format!("{name}={score}")
            };
            format!("zset{}", elements(held, shown))
        }
    }
}

fn parts(parts: &Parts) -> String {
    format!("{}{}", value(&parts.value), deadline(parts.deadline))
}

/// `-` absent, `+…` there, `?…` maybe; a hash is `{field=value@deadline !absent ..}`, with `..` where it is not whole.
pub(super) fn image(image: &Image) -> String {
    match image {
        Image::Absent => "-".into(),
        Image::Maybe(found) if *found == Parts::UNKNOWN => "?".into(),
        Image::Maybe(found) => format!("?{}", parts(found)),
        Image::There(found) => format!("+{}", parts(found)),
    }
}

fn seen(seen: &Seen) -> String {
    let shown = [
        seen.value.as_ref().map(value),
        seen.deadline.map(deadline),
        seen.length.map(|length| format!("#{length}")),
        seen.payload
            .as_deref()
            .map(|payload| format!("%{}", text(payload))),
    ];
    let shown: String = shown.into_iter().flatten().collect();
    format!(" seen{shown}")
}

fn changes<C>(changes: &[(Vec<u8>, C)], show: impl Fn(&C) -> String) -> String {
    let shown: Vec<String> = changes
        .iter()
        .map(|(name, change)| format!("{}{}", text(name), show(change)))
        .collect();
    shown.join(" ")
}

fn change(change: &Change) -> String {
    match change {
        Change::Seen(shown) => seen(shown),
        Change::Value {
            value: new,
            deadline,
        } => format!("={}{}", value(new), new_deadline(*deadline)),
        Change::Deleted => " del".into(),
        Change::Deadline(new) => deadline(*new),
        Change::Opaque => " opaque".into(),
        Change::Fields(fields) => format!(
            ".{}",
            changes(fields, |change| match change {
                FieldChange::Value { value, deadline } =>
                    format!("={}{}", text(value), new_deadline(*deadline)),
                FieldChange::Deadline(new) => deadline(*new),
                FieldChange::Removed => " del".into(),
                FieldChange::Unknown => "?".into(),
            })
        ),
        Change::Members(members) => format!(
            ".{}",
            changes(members, |change| match change {
                MemberChange::Added => " add".into(),
                MemberChange::Removed => " del".into(),
            })
        ),
        Change::Scores(scores) => format!(
            ".{}",
            changes(scores, |change| match change {
                ScoreChange::Score(Some(score)) => format!("={score}"),
                ScoreChange::Score(None) => "=?".into(),
                ScoreChange::Removed => " del".into(),
                ScoreChange::Unknown => "?".into(),
            })
        ),
    }
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Key(KeyEffect {
            database,
            key,
            was,
            refutes,
            change: done,
            ..
        }) => {
            let database = match database {
                0 => String::new(),
                other => format!("{other}:"),
            };
            let was = match was {
                Was::Unknown => "?",
                Was::Absent => "-",
                Was::There => "+",
            };
            let refutes = if *refutes { "!" } else { "" };
            format!("{database}{}{refutes}{was}{}", text(key), change(done))
        }
        Effect::Flushed { database } => format!("flushed {database:?}"),
        Effect::Swapped(one, other) => format!("swapped {one} {other}"),
        Effect::Anything => "anything".into(),
    }
}

/// `key`, `!` if it refutes what was known, `-` `+` `?` whether the key was there, and what was done.
pub(super) fn list(effects: &[Effect]) -> String {
    let shown: Vec<String> = effects.iter().map(effect).collect();
    shown.join("; ")
}
