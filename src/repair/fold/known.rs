//! What of a change is known well enough to be put back.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::key::{Content, Deadline, is_past};
use super::super::record::{Base, FieldWrite};
use crate::journal::{self, Collection, Field, FieldChange, Moment, Value, Was};

/// Tells whether HSET on top of it has made the key anew.
pub(super) fn leaves_no_hash(base: &Base<Bytes>, moment: Moment) -> bool {
    match base {
        Base::Delete => true,
        Base::Value(whole) => {
            is_over(whole.deadline, moment) || matches!(whole.content, Content::String(_))
        }
    }
}

/// Tells whether it is sure that a deadline has passed.
pub(super) fn is_over(deadline: Deadline, moment: Moment) -> bool {
    is_past(deadline, moment.at - moment.doubt)
}

pub(super) fn known(deadline: journal::Deadline) -> Option<Deadline> {
    match deadline {
        journal::Deadline::Unknown => None,
        journal::Deadline::Never => Some(None),
        journal::Deadline::At(at) => Some(Some(at)),
    }
}

/// Returns a value that is known, and can be put back by its parts.
pub(super) fn content(value: Value) -> Option<Content<Bytes>> {
    match value {
        Value::String(string) => Some(Content::String(string.into())),
        Value::Hash(fields) => hash(&fields),
        Value::Set(_) | Value::SortedSet(_) | Value::Unknown => None,
    }
}

/// Returns the fields if they are all, and none has a deadline of its own.
fn hash(fields: &Collection<Field>) -> Option<Content<Bytes>> {
    let lasts = |field: &Field| field.deadline == journal::Deadline::Never;
    let pairs = fields.there().map(|(name, field)| {
        let value = field.value.as_ref().filter(|_| lasts(field))?;
        let name = Bytes::copy_from_slice(name);
        Some((name, Bytes::copy_from_slice(value)))
    });
    let is_hash = fields.is_whole() && fields.is_empty() == Some(false);
    let pairs: BTreeMap<Bytes, Bytes> = pairs.collect::<Option<_>>().filter(|_| is_hash)?;
    Some(Content::Hash(pairs))
}

/// Returns what was done to a field if that is all known, and left it without a deadline of its own.
pub(super) fn plain(
    name: Vec<u8>,
    done: FieldChange,
    was: Was,
) -> Option<(Bytes, FieldWrite<Bytes>)> {
    let write = match (done, was) {
        (
            FieldChange::Value {
                value,
                deadline: Some(journal::Deadline::Never),
            },
            _,
        )
        | (
            FieldChange::Value {
                value,
                deadline: None,
            },
            Was::Absent,
        ) => FieldWrite::Set(value.into()),
        (FieldChange::Removed, _) => FieldWrite::Remove,
        _ => return None,
    };
    Some((name.into(), write))
}
