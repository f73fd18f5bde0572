//! What is left of keys, in short.

use super::*;
use crate::repair::key::{Content, Deadline};
use crate::repair::record::{Base, Component, FieldWrite};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn deadline(deadline: Deadline) -> String {
    deadline.map_or("@never".into(), |at| format!("@{}", at - START))
}

/// `^` and the millisecond of its dispatch, `i` if it is inherited.
fn stamped<T>(own: &Component<T>) -> String {
    let how = if own.is_inherited { "i" } else { "" };
    format!("^{}{how}", own.stamp.millis() - START)
}

fn base(own: &Component<Base<Bytes>>) -> String {
    let shown = match &own.write {
        Base::Delete => "del".into(),
        Base::Value(whole) => {
            let content = match &whole.content {
                Content::String(value) => format!("{:?}", text(value)),
                Content::Opaque(value) => format!("%{}", text(value)),
                Content::Hash(fields) => {
                    let pairs = fields.iter();
                    let pairs: Vec<String> = pairs
                        .map(|(name, value)| format!("{}={}", text(name), text(value)))
                        .collect();
                    format!("{{{}}}", pairs.join(" "))
                }
            };
            content + &deadline(whole.deadline)
        }
    };
    shown + &stamped(own)
}

fn record(record: &Record<Bytes>) -> Vec<String> {
    let mut shown: Vec<String> = record.base.iter().map(base).collect();
    for (name, own) in &record.fields {
        shown.push(match &own.write {
            FieldWrite::Set(value) => format!("{}={}{}", text(name), text(value), stamped(own)),
            FieldWrite::Remove => format!("!{}{}", text(name), stamped(own)),
        });
    }
    let touch = record.touch.iter();
    shown.extend(touch.map(|own| format!("touch{}{}", deadline(own.write.deadline), stamped(own))));
    shown
}

/// `database:key: base fields touch at risk/inherited`, by key.
pub(super) fn owns(folded: &Folded) -> String {
    let mut owns: Vec<&Own> = folded.owns.iter().collect();
    owns.sort_by_key(|own| (own.database, &own.key));
    let own = |own: &&Own| {
        let mut shown = match own.is_known {
            true => record(&own.record),
            false => vec!["blind".into()],
        };
        shown.push(format!("{}/{}", own.counts.at_risk, own.counts.inherited));
        let database = match own.database {
            0 => String::new(),
            other => format!("{other}:"),
        };
        format!("{database}{}: {}", text(&own.key), shown.join(" "))
    };
    owns.iter().map(own).collect::<Vec<_>>().join(" // ")
}
