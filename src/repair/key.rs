//! What stands under a key.

use std::collections::BTreeMap;

use bytes::Bytes;

/// When a key ends, by the primary's clock, in milliseconds since 1970; `None` means never.
pub type Deadline = Option<i64>;

/// Deadlines that differ by less are the same: a sidecar's is made of its own stamp, a replica's of when the write reached it.
pub const DEADLINE_TOLERANCE_MS: i64 = 1000;

/// A value without its deadline; `B` are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content<B: Ord = Bytes> {
    /// A string.
    String(B),
    /// A hash with all its fields, at least one.
    Hash(BTreeMap<B, B>),
    /// Any other type, as DUMP shows it.
    Opaque(B),
}

/// A key that exists: all that is needed to make it again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Whole<B: Ord = Bytes> {
    /// Its value.
    pub content: Content<B>,
    /// Its deadline.
    pub deadline: Deadline,
}

/// Returns whether two deadlines are the same, but for the tolerance.
pub fn is_same_deadline(one: Deadline, other: Deadline) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= DEADLINE_TOLERANCE_MS,
        (one, other) => one == other,
    }
}

/// Returns whether a deadline has come.
pub fn is_past(deadline: Deadline, now_ms: i64) -> bool {
    deadline.is_some_and(|deadline| deadline <= now_ms)
}

/// Returns whether two states of a key are the same, but for the tolerance of the deadline.
pub fn is_same<B: Ord>(one: Option<&Whole<B>>, other: Option<&Whole<B>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            one.content == other.content && is_same_deadline(one.deadline, other.deadline)
        }
        (None, None) => true,
        _ => false,
    }
}
