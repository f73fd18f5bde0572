//! What a key holds, as far as it is known.
//!
//! Knowledge is in parts, as the repair needs it: whether the key is there, its value (all of it, or single elements), and
//! its deadline, each of them open where nobody knows. What is said of value and deadline holds *if* the key is there.
//!
//! Time takes knowledge away: [`Image::at`] says what is left of it at a moment. A key past its deadline is gone; one whose
//! deadline is not known may be.

use std::borrow::Cow;

use super::collection::{Collection, Element, Field, Held};
use crate::command::time::Time;

/// When the server ran a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the server's clock, in Unix milliseconds.
    pub at: i64,
    /// How far it may be off either way, in milliseconds. Deadlines that were counted from earlier moments may be off by as
    /// much, so it has to cover that, too.
    pub doubt: i64,
}

impl Moment {
    /// Returns the deadline that a request asks for at this moment; `None` when it has passed.
    pub(super) fn deadline(self, time: Time) -> Option<Deadline> {
        let at = match time {
            Time::After(ttl) => self.at.saturating_add(ttl),
            Time::At(at) => at,
        };
        (!self.is_past(at)).then_some(Deadline::At(at))
    }

    /// Tells whether it is sure that `deadline` has passed.
    fn is_past(self, deadline: i64) -> bool {
        deadline <= self.at.saturating_sub(self.doubt)
    }

    /// Tells what such a deadline has left of what it ends.
    fn left(self, deadline: Deadline) -> Element<()> {
        match deadline {
            Deadline::Never => Element::There(()),
            Deadline::Unknown => Element::Unknown,
            Deadline::At(at) if self.is_past(at) => Element::Absent,
            Deadline::At(at) if at > self.latest() => Element::There(()),
            Deadline::At(_) => Element::Unknown,
        }
    }

    fn latest(self) -> i64 {
        self.at.saturating_add(self.doubt)
    }
}

/// When a key or a field ends by itself, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// It may have one.
    Unknown,
    /// It has none.
    Never,
    /// By the server's clock, in Unix milliseconds; one that was asked for as a time to live is as exact as the
    /// [`Moment`] it was counted from.
    At(i64),
}

impl Deadline {
    pub(super) fn common(self, other: Self) -> Self {
        match self == other {
            true => self,
            false => Self::Unknown,
        }
    }

    /// Returns an instant before which it is not.
    pub(super) fn soonest(self) -> i64 {
        match self {
            Self::Unknown => i64::MIN,
            Self::Never => i64::MAX,
            Self::At(at) => at,
        }
    }
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of any type.
    Unknown,
    /// A string: all of it.
    String(Vec<u8>),
    /// A hash.
    Hash(Collection<Field>),
    /// A set.
    Set(Collection<()>),
    /// A sorted set; a score may be unknown.
    SortedSet(Collection<Option<f64>>),
}

impl Value {
    /// Tells whether all of it is known.
    pub fn is_known(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::String(_) => true,
            Self::Hash(fields) => fields.is_known(),
            Self::Set(members) => members.is_known(),
            Self::SortedSet(members) => members.is_known(),
        }
    }

    /// Returns what holds of both, when one of them is true.
    pub(super) fn common(self, other: Self) -> Self {
        match (self, other) {
            (Self::String(one), Self::String(other)) if one == other => Self::String(one),
            (Self::Hash(one), Self::Hash(other)) => Self::Hash(one.common(&other)),
            (Self::Set(one), Self::Set(other)) => Self::Set(one.common(&other)),
            (Self::SortedSet(one), Self::SortedSet(other)) => Self::SortedSet(one.common(&other)),
            _ => Self::Unknown,
        }
    }
}

/// A key that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// What it holds.
    pub value: Value,
    /// When it ends by itself.
    pub deadline: Deadline,
}

impl Parts {
    /// A key of which nothing is known.
    pub const UNKNOWN: Self = Self {
        value: Value::Unknown,
        deadline: Deadline::Unknown,
    };

    /// Tells whether everything is known.
    pub fn is_known(&self) -> bool {
        self.value.is_known() && self.deadline != Deadline::Unknown
    }

    /// Tells whether it may be a hash whose fields, all of them, may have ended.
    fn may_end_by_itself(&self) -> bool {
        match &self.value {
            Value::Unknown => true,
            Value::Hash(fields) => fields.is_empty() != Some(false),
            Value::String(_) | Value::Set(_) | Value::SortedSet(_) => false,
        }
    }

    fn common(self, other: Self) -> Self {
        Self {
            value: self.value.common(other.value),
            deadline: self.deadline.common(other.deadline),
        }
    }
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Image {
    /// It is not there.
    Absent,
    /// It may be there; if so, it is like that.
    Maybe(Parts),
    /// It is there.
    There(Parts),
}

impl Image {
    /// Nothing.
    pub const UNKNOWN: Self = Self::Maybe(Parts::UNKNOWN);

    /// Returns value and deadline if they are known, all of them, and it is known that the key is there.
    pub fn whole(&self) -> Option<&Parts> {
        match self {
            Self::There(parts) if parts.is_known() => Some(parts),
            _ => None,
        }
    }

    /// Returns what is known of the key if it is there.
    pub fn parts(&self) -> Option<&Parts> {
        match self {
            Self::Absent => None,
            Self::Maybe(parts) | Self::There(parts) => Some(parts),
        }
    }

    /// Returns what is left of it at a moment, which is no earlier than the last change.
    pub fn at(&self, moment: Moment) -> Cow<'_, Self> {
        let Some(parts) = self.parts() else {
            return Cow::Borrowed(self);
        };
        let left = moment.left(parts.deadline);
        if left == Element::Absent {
            return Cow::Owned(Self::Absent);
        }
        let is_in_doubt = left == Element::Unknown || parts.may_end_by_itself();
        let ages =
            matches!(&parts.value, Value::Hash(fields) if !fields.lasts_until(moment.latest()));
        if !ages && (!is_in_doubt || matches!(self, Self::Maybe(_))) {
            return Cow::Borrowed(self);
        }
        let mut aged = self.clone();
        if ages {
            aged.age_fields(moment);
        }
        Cow::Owned(if is_in_doubt { aged.in_doubt() } else { aged })
    }

    /// Takes away the fields that have ended. With the last of them the key goes, sooner or later: the server may count it
    /// as there for a while, an empty hash (Valkey 9.1 does).
    fn age_fields(&mut self, moment: Moment) {
        let (Self::Maybe(parts) | Self::There(parts)) = self else {
            return;
        };
        let Value::Hash(fields) = &mut parts.value else {
            return;
        };
        fields.age(|deadline| moment.left(deadline));
        if fields.is_empty() != Some(false) {
            *self = std::mem::replace(self, Self::Absent).in_doubt();
        }
    }

    /// Returns the same without the claim that the key is there.
    pub(super) fn in_doubt(self) -> Self {
        match self {
            Self::There(parts) => Self::Maybe(parts),
            other => other,
        }
    }

    /// Returns what holds of both, when one of them is true.
    pub(super) fn common(self, other: Self) -> Self {
        match (self, other) {
            (Self::Absent, Self::Absent) => Self::Absent,
            (Self::Absent, other) | (other, Self::Absent) => other.in_doubt(),
            (Self::There(one), Self::There(other)) => Self::There(one.common(other)),
            (Self::Maybe(one) | Self::There(one), Self::Maybe(other) | Self::There(other)) => {
                Self::Maybe(one.common(other))
            }
        }
    }
}

/// A hash, set or sorted set as it was when the request ran: what a family of commands looks its elements up in.
#[derive(Debug)]
pub(super) enum View<'a, T> {
    /// The key was not there.
    Empty,
    /// Nothing is known of it.
    Unknown,
    Known(&'a Collection<T>),
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

impl<'a, T: Held> View<'a, T> {
    pub(super) fn find(self, name: &[u8]) -> Element<&'a T> {
        match self {
            Self::Empty => Element::Absent,
            Self::Unknown => Element::Unknown,
            Self::Known(collection) => collection.find(name),
        }
    }

    /// Returns how many elements there are, with those that have ended and may be there still.
    pub(super) fn len(self) -> Option<usize> {
        match self {
            Self::Empty => Some(0),
            Self::Known(collection) if !collection.may_linger() => collection.len(),
            Self::Known(_) | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests;
