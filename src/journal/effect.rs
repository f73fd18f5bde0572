//! The state that one acknowledged write left, read off its request and its reply.
//!
//! # How
//! A reply proves much: `SETNX` that answered 1 found no key, `EXPIRE` that answered 0 found none or an option in its way. So
//! each family of commands answers one question: *given that the key was not there (or was there, and was like that), can
//! this be the reply, and what did the request change then?* `Reader::weigh` asks it for both, as far as what is known of
//! the key leaves both open, and keeps what the reply allows. When the reply allows neither, what was believed is wrong
//! (somebody else has written), and the question is asked again with nothing known.
//!
//! # What is not worked out
//! - Lists, streams, bitmaps, HyperLogLogs, geo sets, SPOP, SORT … STORE and their like, scripts, modules: [`Change::Opaque`]
//!   for each key that the request may write, [`Effect::Anything`] where its words don't name them.
//! - RESTORE: its deadline is known, its payload is not taken apart.
//! - An error means that nothing was done, but for scripts, which may fail half-way.
//!
//! Of a reply only the beginning may have been kept. What a string begins like is enough for most; what follows in a
//! transaction is not worked out then.
//!
//! Source: redis `src/t_string.c`, `t_hash.c`, `t_set.c`, `t_zset.c`, `expire.c`, `db.c`, `multi.c`.

mod block;
mod deadlines;
mod field_deadlines;
mod hashes;
mod keys;
mod looks;
mod numbers;
mod opaque;
mod options;
mod reader;
mod record;
mod sets;
mod sorted_sets;
mod strings;
mod words;

use super::image::{Deadline, Moment, Value};
use super::keyspace::Before;
use crate::command::table::Table;

pub use block::block_effects;
use reader::Reader;
pub use record::proven_effects;

/// An acknowledged write: what was sent, what came back, and when the server ran it.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Which commands there are.
    pub table: &'a Table,
    /// The database of the connection.
    pub database: u32,
    /// One request as it was sent; for [`block_effects`] all of them from MULTI to EXEC.
    pub request: &'a [u8],
    /// Its reply, of either protocol, without pushes; for [`block_effects`] that to EXEC.
    pub reply: &'a [u8],
    /// When the server ran it.
    pub moment: Moment,
    /// Whether no field of a hash had a deadline of its own then.
    pub fields_last: bool,
}

/// What a write left.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Something about one key.
    Key(KeyEffect),
    /// Every key of a database is gone; of all of them, if none is named.
    Flushed {
        /// Which one.
        database: Option<u32>,
    },
    /// Two databases have changed places.
    Swapped(u32, u32),
    /// Any key of any database may have changed.
    Anything,
}

/// What a write left of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEffect {
    /// Where the key is.
    pub database: u32,
    /// The key.
    pub key: Vec<u8>,
    /// Whether it was there before, by what was known of it and by the reply.
    pub was: Was,
    /// The same by the reply alone: it holds whatever strangers (other sidecars among them) have written meanwhile.
    pub proven: Was,
    /// The reply contradicts what was known of the key: somebody else has written it, and what was known is void.
    pub refutes: bool,
    /// What was done to it.
    pub change: Change,
    /// How many fields more a hash has than before, by the reply; `None` where that does not tell it, or there is no hash.
    pub growth: Option<i64>,
}

/// Whether a key was there when the request ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Was {
    /// Neither the reply nor what is known says it.
    Unknown,
    /// It was not: what the write left is all there is.
    Absent,
    /// It was.
    There,
}

/// What was done to a key.
///
/// The variants are the components that the repair stamps apart:
///
/// | change | component |
/// |---|---|
/// | `Value` | whole value; its deadline with it, unless it is kept |
/// | `Deleted` | delete |
/// | `Fields`, `Members`, `Scores` | each single element; the whole value, if the key was absent |
/// | `Deadline` | deadline (a touch) |
/// | `Seen` | none: nothing was written |
/// | `Opaque` | none that is known: what the key holds has to be asked for |
///
/// A `Value` of which not all is known has to be asked for, too ([`Value::is_known`]).
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Nothing; the reply has shown something.
    Seen(Seen),
    /// Its value was replaced by this one, of which not all may be known (APPEND to a string that is not).
    Value {
        /// What it is now.
        value: Value,
        /// The deadline that it has now; `None` = the one it had, or none if it was not there.
        deadline: Option<Deadline>,
    },
    /// It was deleted, or was not there and was to be deleted.
    Deleted,
    /// Fields of a hash, in this order.
    Fields(Vec<(Vec<u8>, FieldChange)>),
    /// Members of a set, in this order.
    Members(Vec<(Vec<u8>, MemberChange)>),
    /// Members of a sorted set, in this order.
    Scores(Vec<(Vec<u8>, ScoreChange)>),
    /// Its deadline, and nothing else.
    Deadline(Deadline),
    /// Anything at all, or nothing.
    Opaque,
}

/// What a reply has shown of a key that is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Its value.
    pub value: Option<Value>,
    /// Its deadline.
    pub deadline: Option<Deadline>,
    /// How many fields it has, with those that have just ended.
    pub length: Option<usize>,
    /// All of its value, whatever its type, as DUMP writes it.
    pub payload: Option<Vec<u8>>,
}

/// What was done to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldChange {
    /// It was set.
    Value {
        /// To this.
        value: Vec<u8>,
        /// Its deadline now; `None` = the one it had, or none if it was not there.
        deadline: Option<Deadline>,
    },
    /// Its deadline was set, and nothing else.
    Deadline(Deadline),
    /// It was removed, or was not there and was to be removed.
    Removed,
    /// Any of these, or nothing.
    Unknown,
}

/// What was done to a member of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// It is there now.
    Added,
    /// It is not there now.
    Removed,
}

/// What was done to a member of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScoreChange {
    /// It is there, with this score; `None` = with one that is not known.
    Score(Option<f64>),
    /// It is not there now.
    Removed,
    /// Either, or nothing.
    Unknown,
}

impl Effect {
    /// Says that a key may hold anything now.
    pub(super) fn opaque(database: u32, key: &[u8]) -> Self {
        Self::Key(KeyEffect {
            database,
            key: key.to_vec(),
            was: Was::Unknown,
            proven: Was::Unknown,
            refutes: false,
            change: Change::Opaque,
            growth: None,
        })
    }
}

impl Change {
    /// Nothing was done, nothing was shown.
    pub(super) const NOTHING: Self = Self::Seen(Seen {
        value: None,
        deadline: None,
        length: None,
        payload: None,
    });

    /// Replaces a value and keeps the deadline.
    pub(super) fn keeping(value: Value) -> Self {
        Self::Value {
            value,
            deadline: None,
        }
    }

    /// Replaces value and deadline; one that has passed already deletes.
    pub(super) fn value_until(value: Value, deadline: Option<Deadline>) -> Self {
        match deadline {
            Some(_) => Self::Value { value, deadline },
            None => Self::Deleted,
        }
    }

    /// Sets the deadline; one that has passed already deletes.
    pub(super) fn until(deadline: Option<Deadline>) -> Self {
        deadline.map_or(Self::Deleted, Self::Deadline)
    }

    /// Returns what holds when one of the two was done.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Seen(one), Self::Seen(other)) => Self::Seen(Seen {
                value: one
                    .value
                    .filter(|value| other.value.as_ref() == Some(value)),
                deadline: one
                    .deadline
                    .filter(|deadline| other.deadline == Some(*deadline)),
                length: one.length.filter(|length| other.length == Some(*length)),
                payload: one
                    .payload
                    .filter(|payload| other.payload.as_ref() == Some(payload)),
            }),
            (
                Self::Value { value, deadline },
                Self::Value {
                    value: other,
                    deadline: other_deadline,
                },
            ) => Self::Value {
                value: value.common(other),
                deadline: match deadline == other_deadline {
                    true => deadline,
                    false => Some(Deadline::Unknown),
                },
            },
            (Self::Fields(one), Self::Fields(other)) => {
                Self::Fields(either(one, other, FieldChange::Unknown))
            }
            (Self::Scores(one), Self::Scores(other)) => {
                Self::Scores(either(one, other, ScoreChange::Unknown))
            }
            (Self::Seen(_), Self::Scores(done)) | (Self::Scores(done), Self::Seen(_)) => {
                Self::Scores(either(done, Vec::new(), ScoreChange::Unknown))
            }
            _ => Self::Opaque,
        }
    }
}

/// Returns what holds of the elements when one of the two was done: where they differ, nothing.
fn either<C: PartialEq + Clone>(
    one: Vec<(Vec<u8>, C)>,
    other: Vec<(Vec<u8>, C)>,
    unknown: C,
) -> Vec<(Vec<u8>, C)> {
    if one == other {
        return one;
    }
    let names = one.into_iter().chain(other);
    names.map(|(name, _)| (name, unknown.clone())).collect()
}

/// Reads the effects of one request off its reply, given what was known before.
///
/// What is known must be in step: all that was run before has been folded into it.
pub fn effects(write: &Write<'_>, before: &dyn Before) -> Vec<Effect> {
    let Some(request) = words::first(write.request) else {
        return vec![Effect::Anything];
    };
    let mut reader = Reader::new(write, &request, before);
    reader.read();
    reader.found
}

#[cfg(test)]
mod tests;
