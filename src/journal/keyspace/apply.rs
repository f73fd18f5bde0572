//! One effect, folded into what is known of its key.

use std::borrow::Cow;

use crate::journal::collection::{Collection, Element, Field, Held};
use crate::journal::effect::{Change, FieldChange, KeyEffect, MemberChange, ScoreChange, Was};
use crate::journal::image::{Deadline, Image, Moment, Parts, Value};

impl Image {
    /// Folds in what a write left of this key; `moment` is that of the write.
    pub fn apply(&mut self, effect: &KeyEffect, moment: Moment) {
        let aged = match self.at(moment) {
            _ if effect.refutes => Some(Self::UNKNOWN),
            Cow::Owned(aged) => Some(aged),
            Cow::Borrowed(_) => None,
        };
        let before = aged.unwrap_or_else(|| std::mem::replace(self, Self::Absent));
        let parts = match before {
            Self::Absent => Parts::UNKNOWN,
            Self::Maybe(parts) | Self::There(parts) => parts,
        };
        *self = match effect.was {
            Was::Absent => absent(&effect.change),
            Was::There => there(parts, &effect.change),
            Was::Unknown => absent(&effect.change).common(there(parts, &effect.change)),
        };
    }
}

/// What a change left of a key that was not there.
fn absent(change: &Change) -> Image {
    match change {
        Change::Seen(_) | Change::Deleted | Change::Deadline(_) => Image::Absent,
        Change::Value { value, deadline } => Image::There(Parts {
            value: value.clone(),
            deadline: deadline.unwrap_or(Deadline::Never),
        }),
        Change::Fields(changes) => of_changes(changes, field, Value::Hash),
        Change::Members(changes) => of_changes(changes, member, Value::Set),
        Change::Scores(changes) => of_changes(changes, score, Value::SortedSet),
        Change::Opaque => Image::UNKNOWN,
    }
}

/// What a change left of a key that was there, and was like that.
fn there(mut parts: Parts, change: &Change) -> Image {
    match change {
        Change::Seen(seen) => {
            parts.value = seen.value.clone().unwrap_or(parts.value);
            // What was counted down is less exact than what was known.
            if !matches!(parts.deadline, Deadline::At(_)) {
                parts.deadline = seen.deadline.unwrap_or(parts.deadline);
            }
            if let (Value::Hash(fields), Some(length)) = (&mut parts.value, seen.length) {
                fields.learn_length(length);
            }
        }
        Change::Value { value, deadline } => {
            parts.value = value.clone();
            parts.deadline = deadline.unwrap_or(parts.deadline);
        }
        Change::Deadline(deadline) => parts.deadline = *deadline,
        Change::Fields(changes) => {
            let held = match parts.value {
                Value::Hash(held) => held,
                _ => Collection::unknown(),
            };
            return folded(held, changes, field, Value::Hash, parts.deadline);
        }
        Change::Members(changes) => {
            let held = match parts.value {
                Value::Set(held) => held,
                _ => Collection::unknown(),
            };
            return folded(held, changes, member, Value::Set, parts.deadline);
        }
        Change::Scores(changes) => {
            let held = match parts.value {
                Value::SortedSet(held) => held,
                _ => Collection::unknown(),
            };
            return folded(held, changes, score, Value::SortedSet, parts.deadline);
        }
        Change::Deleted => return Image::Absent,
        Change::Opaque => return Image::UNKNOWN,
    }
    Image::There(parts)
}

/// What a change makes of one element.
type Step<T, C> = fn(Element<&T>, &C) -> Element<T>;

/// What changes leave of a key that was not there.
fn of_changes<T: Held, C>(
    changes: &[(Vec<u8>, C)],
    step: Step<T, C>,
    make: fn(Collection<T>) -> Value,
) -> Image {
    folded(Collection::empty(), changes, step, make, Deadline::Never)
}

/// Changes elements in turn. The last one that goes takes the key with it.
fn folded<T: Held, C>(
    mut held: Collection<T>,
    changes: &[(Vec<u8>, C)],
    step: Step<T, C>,
    make: fn(Collection<T>) -> Value,
    deadline: Deadline,
) -> Image {
    for (name, change) in changes {
        let element = step(held.find(name), change);
        held.set(name, element);
    }
    let is_empty = held
        .is_empty()
        .filter(|&empty| !empty || !held.may_linger());
    let parts = Parts {
        value: make(held),
        deadline,
    };
    match is_empty {
        Some(true) => Image::Absent,
        Some(false) => Image::There(parts),
        None => Image::Maybe(parts),
    }
}

fn field(was: Element<&Field>, change: &FieldChange) -> Element<Field> {
    let (old, had) = match was {
        Element::There(field) => (field.value.clone(), field.deadline),
        Element::Absent => (None, Deadline::Never),
        Element::Unknown => (None, Deadline::Unknown),
    };
    match change {
        FieldChange::Value { value, deadline } => Element::There(Field {
            value: Some(value.clone()),
            deadline: deadline.unwrap_or(had),
        }),
        FieldChange::Deadline(deadline) => Element::There(Field {
            value: old,
            deadline: *deadline,
        }),
        FieldChange::Removed => Element::Absent,
        FieldChange::Unknown => Element::Unknown,
    }
}

fn member(_: Element<&()>, change: &MemberChange) -> Element<()> {
    match change {
        MemberChange::Added => Element::There(()),
        MemberChange::Removed => Element::Absent,
    }
}

fn score(_: Element<&Option<f64>>, change: &ScoreChange) -> Element<Option<f64>> {
    match change {
        ScoreChange::Score(score) => Element::There(*score),
        ScoreChange::Removed => Element::Absent,
        ScoreChange::Unknown => Element::Unknown,
    }
}
