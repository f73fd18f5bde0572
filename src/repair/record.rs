//! What a sidecar knows of one key that it wrote to.
//!
//! Effects of writes are components here, whatever the commands were called: GETDEL is a delete, RENAME a delete and a whole
//! value of two keys, INCR a whole value, HDEL the removal of a field. An EXPIRE into the past is a delete.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::key::{Deadline, Whole};
use super::stamp::Stamp;

/// A part of a record with its own stamp.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Component<T> {
    /// When it was dispatched, or what the mark script returned for it.
    pub stamp: Stamp,
    /// Whether the new primary is known to have had it when it was promoted.
    pub is_inherited: bool,
    /// What was written.
    pub write: T,
}

/// What a write left of the whole key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Base<B: Ord = Bytes> {
    /// This value, with this deadline.
    Value(Whole<B>),
    /// Nothing.
    Delete,
}

/// What a write left of one field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FieldWrite<B = Bytes> {
    /// This value.
    Set(B),
    /// Nothing.
    Remove,
}

/// What a write left of the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Touch {
    /// The new deadline.
    pub deadline: Deadline,
    /// It was answered here while holding, as a pure extension: never shorten with it.
    pub only_extends: bool,
}

/// A sidecar's own record of one key: the newest write to each component.
///
/// Its journal drops fields and touches that are older than the base when the base comes; what is given here all the same is
/// found superseded by the base's mark.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record<B: Ord = Bytes> {
    /// The newest whole value or delete.
    pub base: Option<Component<Base<B>>>,
    /// Single fields written since.
    pub fields: BTreeMap<B, Component<FieldWrite<B>>>,
    /// The newest deadline given since.
    pub touch: Option<Component<Touch>>,
}

impl<B: Ord> Default for Record<B> {
    fn default() -> Self {
        Self {
            base: None,
            fields: BTreeMap::new(),
            touch: None,
        }
    }
}

/// What became of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The new primary has it.
    Survived,
    /// It was put back.
    Repaired,
    /// The key was there again, and was deleted.
    DeletedAgain,
    /// A newer write is known.
    Superseded,
    /// There is no key to apply it to; lost, unless somebody puts the key back before the round closes.
    Pending,
    /// Its time was over.
    Expired,
    /// The round was closed, or it is older than the horizon: nobody looked. Counted lost.
    Late,
    /// The same for what was inherited: nobody looked whether it was undone, and nothing is counted.
    Unchecked,
    /// The server did not take the payload (a DUMP of a newer version): lost, nothing was changed. Told by the script alone.
    Refused,
}

impl Verdict {
    /// Every verdict, at the place of its number in a script's reply.
    pub const ALL: [Self; 9] = [
        Self::Survived,
        Self::Repaired,
        Self::DeletedAgain,
        Self::Superseded,
        Self::Pending,
        Self::Expired,
        Self::Late,
        Self::Unchecked,
        Self::Refused,
    ];

    /// Returns whether an acknowledged write is lost by this; of [`Pending`](Self::Pending) once the round is closed and the
    /// key was not put back.
    pub fn is_loss(self, is_closed: bool) -> bool {
        match self {
            Self::Late | Self::Refused => true,
            Self::Pending => is_closed,
            Self::Survived
            | Self::Repaired
            | Self::DeletedAgain
            | Self::Superseded
            | Self::Expired
            | Self::Unchecked => false,
        }
    }
}

/// What became of each component of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts<B: Ord = Bytes> {
    /// Of the whole value or delete.
    pub base: Option<Verdict>,
    /// Of single fields.
    pub fields: BTreeMap<B, Verdict>,
    /// Of the deadline.
    pub touch: Option<Verdict>,
}
