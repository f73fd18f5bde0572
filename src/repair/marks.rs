//! The marks of one key: what this round knows of the newest writes to its components.
//!
//! A whole value and a delete replace everything, so that one [`Base`] mark stands for both, and drops all older ones. Fields
//! and the deadline have marks of their own, and those that stand are newer than the base.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::key::Deadline;
use super::record::FieldWrite;
use super::stamp::Stamp;

/// Rules that the exploration takes away one by one; each must then be missed.
pub(super) trait Rules {
    /// Rule 2: every check leaves a mark, also when equal.
    const EVERY_CHECK_MARKS: bool = true;
    /// A value, each field, a delete and a deadline are stamped apart: false lets the newest mark stand for all.
    const STAMPED_APART: bool = true;
    /// A known inherited field or touch that differs stays pending.
    const DIFFERENCE_PENDS: bool = true;
    /// A known inherited field or touch is restored where it was disturbed: false leaves it pending.
    const DISTURBED_IS_RESTORED: bool = true;
    /// A delete leaves a hash in which all was set later.
    const DELETE_SPARES_NEWER: bool = true;
    /// A mark of a write outranks those that it replaces.
    const MARK_OUTRANKS: bool = true;
}

/// All rules.
pub(super) struct Sound;
impl Rules for Sound {}

/// The mark of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    /// Of the whole value or delete.
    pub stamp: Stamp,
    /// It was a delete.
    pub is_delete: bool,
    /// Disturbed: it was written in this round, or something older was; else it was found so.
    pub is_written: bool,
}

/// The mark of a field or of the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot<W> {
    /// Of the write.
    pub stamp: Stamp,
    /// Disturbed: it was written in this round, or something older was; else it was found so.
    pub is_written: bool,
    /// The write, if there was no key to apply it to.
    pub pending: Option<W>,
}

/// All marks of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Marks<B: Ord = Bytes> {
    /// Of the whole value or delete.
    pub base: Option<Base>,
    /// Of single fields.
    pub fields: BTreeMap<B, Slot<FieldWrite<B>>>,
    /// Of the deadline.
    pub deadline: Option<Slot<Deadline>>,
}

impl<B: Ord> Default for Marks<B> {
    fn default() -> Self {
        Self {
            base: None,
            fields: BTreeMap::new(),
            deadline: None,
        }
    }
}

/// A write of the app, as far as marks go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AppWrite<B = Bytes> {
    /// SET and all that replaces or changes the value as a whole (INCR, APPEND, a script's declared key).
    Value,
    /// DEL and all that ends the key, also if it is not there.
    Delete,
    /// HSET or HDEL of these fields.
    Fields(Vec<B>),
    /// EXPIRE: the deadline that it gives.
    Touch(Deadline),
}

impl<B: Ord + Clone> Marks<B> {
    /// Returns the marks after a write of the app and the stamp that it has now: the dispatch, or more if it executes after
    /// something that was dispatched later. Call it in a round that is open; `is_there` says whether the key exists.
    pub fn write(self, write: &AppWrite<B>, dispatch: Stamp, is_there: bool) -> (Self, Stamp) {
        self.write_with::<Sound>(write, dispatch, is_there)
    }

    pub(super) fn write_with<R: Rules>(
        mut self,
        write: &AppWrite<B>,
        dispatch: Stamp,
        is_there: bool,
    ) -> (Self, Stamp) {
        let stamp = match self.replaced(write) {
            Some(replaced) if R::MARK_OUTRANKS => dispatch.max(replaced.next()),
            _ => dispatch,
        };
        match write {
            AppWrite::Value | AppWrite::Delete => {
                let base = Base {
                    stamp,
                    is_delete: matches!(write, AppWrite::Delete),
                    is_written: true,
                };
                self = Self {
                    base: Some(base),
                    ..Self::default()
                };
            }
            AppWrite::Fields(names) => {
                for name in names {
                    self.fields.insert(name.clone(), Slot::written(stamp));
                }
            }
            AppWrite::Touch(deadline) => {
                self.deadline = Some(Slot {
                    pending: (!is_there).then_some(*deadline),
                    ..Slot::written(stamp)
                });
            }
        }
        (self, stamp)
    }

    /// Returns the highest mark that a write replaces, or must outrank to have an effect: that of the base, for a field.
    fn replaced(&self, write: &AppWrite<B>) -> Option<Stamp> {
        let base = self.base.map(|base| base.stamp);
        match write {
            AppWrite::Value | AppWrite::Delete => self.newest(),
            AppWrite::Fields(names) => {
                let fields = names.iter().filter_map(|name| self.fields.get(name));
                fields.map(|slot| slot.stamp).max().max(base)
            }
            AppWrite::Touch(_) => self.deadline.as_ref().map(|slot| slot.stamp).max(base),
        }
    }

    /// Returns the newest of all marks.
    pub fn newest(&self) -> Option<Stamp> {
        let base = self.base.map(|base| base.stamp);
        let fields = self.fields.values().map(|slot| slot.stamp).max();
        let deadline = self.deadline.as_ref().map(|slot| slot.stamp);
        base.max(fields).max(deadline)
    }

    /// Returns whether the base, or anything dispatched before `stamp`, was written in this round.
    pub(super) fn is_disturbed(&self, stamp: Stamp) -> bool {
        let fields = self.fields.values();
        self.base.is_some_and(|base| base.is_written)
            || fields
                .filter(|slot| slot.is_written)
                .any(|slot| slot.stamp < stamp)
            || self
                .deadline
                .as_ref()
                .is_some_and(|slot| slot.is_written && slot.stamp < stamp)
    }

    /// Gives the base a mark, and drops those of what it replaces.
    pub(super) fn set_base(&mut self, base: Base) {
        self.fields.retain(|_, slot| slot.stamp > base.stamp);
        self.deadline = self.deadline.take().filter(|slot| slot.stamp > base.stamp);
        self.base = Some(base);
    }
}

impl<W> Slot<W> {
    /// Returns the mark of a write that was applied.
    pub(super) fn written(stamp: Stamp) -> Self {
        Self {
            stamp,
            is_written: true,
            pending: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: u8 = 7;

    fn marks() -> Marks<u8> {
        Marks {
            base: Some(Base {
                stamp: Stamp(10),
                is_delete: false,
                is_written: false,
            }),
            fields: BTreeMap::from([(NAME, Slot::written(Stamp(20)))]),
            deadline: Some(Slot {
                stamp: Stamp(30),
                is_written: true,
                pending: Some(Some(99)),
            }),
        }
    }

    #[test]
    fn a_set_and_a_delete_replace_all_marks() {
        for (write, is_delete) in [(AppWrite::Value, false), (AppWrite::Delete, true)] {
            for (dispatch, expected) in [(5, 31), (30, 31), (31, 31), (50, 50)] {
                let (after, stamp) = marks().write(&write, Stamp(dispatch), true);
                assert_eq!(stamp, Stamp(expected));
                let base = Base {
                    stamp,
                    is_delete,
                    is_written: true,
                };
                let only = Marks {
                    base: Some(base),
                    ..Marks::default()
                };
                assert_eq!(after, only);
            }
        }
    }

    #[test]
    fn a_field_outranks_its_own_mark_and_the_base_and_leaves_the_others() {
        for (name, dispatch, expected) in [(NAME, 5, 21), (NAME, 40, 40), (8, 5, 11), (8, 15, 15)] {
            let (after, stamp) =
                marks().write(&AppWrite::Fields(vec![name]), Stamp(dispatch), true);
            assert_eq!(stamp, Stamp(expected));
            let mut expected = marks();
            expected.fields.insert(name, Slot::written(stamp));
            assert_eq!(after, expected);
        }
        let (after, stamp) = marks().write(&AppWrite::Fields(vec![8, NAME]), Stamp(5), true);
        assert_eq!((stamp, after.fields[&8].stamp), (Stamp(21), Stamp(21)));
    }

    #[test]
    fn a_touch_of_an_absent_key_is_pending() {
        for (is_there, pending) in [(true, None), (false, Some(Some(500)))] {
            let (after, stamp) = marks().write(&AppWrite::Touch(Some(500)), Stamp(5), is_there);
            assert_eq!(stamp, Stamp(31));
            let slot = Slot {
                stamp,
                is_written: true,
                pending,
            };
            assert_eq!(after.deadline, Some(slot));
            assert_eq!((after.base, after.fields), (marks().base, marks().fields));
        }
    }

    #[test]
    fn what_nothing_outranks_keeps_its_dispatch() {
        for write in [
            AppWrite::Value,
            AppWrite::Delete,
            AppWrite::Fields(vec![NAME]),
            AppWrite::Touch(None),
        ] {
            let (_, stamp) = Marks::default().write(&write, Stamp(5), true);
            assert_eq!(stamp, Stamp(5));
        }
    }
}
