//! Fields and the deadline: what stands on top of a whole value.

use super::super::key::{Content, Deadline, is_past, is_same_deadline};
use super::super::marks::{Rules, Slot};
use super::super::record::{Component, FieldWrite, Touch, Verdict};
use super::super::stamp::Stamp;
use super::{Action, Judged, Step};

impl<B: Ord + Clone> Step<'_, B> {
    /// The mark that covers a field, and whether it was disturbed.
    fn covers_field(&self, name: &B) -> (Option<Stamp>, bool) {
        let slot = self.marks.fields.get(name);
        let base = self.marks.base;
        (
            base.map(|base| base.stamp).max(slot.map(|slot| slot.stamp)),
            base.is_some_and(|base| base.is_written) || slot.is_some_and(|slot| slot.is_written),
        )
    }

    pub(super) fn field<R: Rules>(&mut self, name: &B, own: &Component<FieldWrite<B>>) -> Verdict {
        let (mark, is_disturbed) = self.covers_field(name);
        let is_restored = is_disturbed && R::DISTURBED_IS_RESTORED;
        let (verdict, is_changed, pending) = match self.judge::<R, _>(own, mark, is_restored) {
            Judged::Done(verdict) => return verdict,
            Judged::Leave if self.has_field(name, &own.write) || !R::DIFFERENCE_PENDS => {
                (Verdict::Survived, false, None)
            }
            Judged::Leave => (Verdict::Survived, false, Some(own.write.clone())),
            Judged::Check => self.restore_field(name, &own.write),
        };
        if verdict != Verdict::Survived || pending.is_some() || R::EVERY_CHECK_MARKS {
            let slot = Slot {
                stamp: own.stamp,
                is_written: is_changed || is_disturbed,
                pending,
            };
            self.marks.fields.insert(name.clone(), slot);
        }
        verdict
    }

    /// Returns whether the key is as the write left it. An absent one lacks the field.
    fn has_field(&self, name: &B, own: &FieldWrite<B>) -> bool {
        match (self.hash(), own) {
            (Some(fields), FieldWrite::Set(value)) => fields.get(name) == Some(value),
            (Some(fields), FieldWrite::Remove) => !fields.contains_key(name),
            (None, FieldWrite::Set(_)) => false,
            (None, FieldWrite::Remove) => self.key.is_none(),
        }
    }

    fn restore_field(
        &mut self,
        name: &B,
        own: &FieldWrite<B>,
    ) -> (Verdict, bool, Option<FieldWrite<B>>) {
        if self.has_field(name, own) && self.key.is_some() {
            return (Verdict::Survived, false, None);
        }
        let Some(Content::Hash(fields)) = self.key.as_mut().map(|whole| &mut whole.content) else {
            let verdict = match self.has_field(name, own) {
                true => Verdict::Survived,
                false => Verdict::Pending,
            };
            return (verdict, false, Some(own.clone()));
        };
        match own {
            FieldWrite::Set(value) => fields.insert(name.clone(), value.clone()),
            FieldWrite::Remove => fields.remove(name),
        };
        if fields.is_empty() {
            self.key = None;
        }
        self.actions.push(Action::Field(name.clone(), own.clone()));
        (Verdict::Repaired, true, None)
    }

    pub(super) fn touch<R: Rules>(&mut self, own: &Component<Touch>) -> Verdict {
        let base = self.marks.base;
        let slot = self.marks.deadline.as_ref();
        let mark = base.map(|base| base.stamp).max(slot.map(|slot| slot.stamp));
        let is_disturbed =
            base.is_some_and(|base| base.is_written) || slot.is_some_and(|slot| slot.is_written);
        let is_restored = is_disturbed && R::DISTURBED_IS_RESTORED;
        let (verdict, is_changed, pending) = match self.judge::<R, _>(own, mark, is_restored) {
            Judged::Done(verdict) => return verdict,
            Judged::Leave if self.has_deadline(&own.write) || !R::DIFFERENCE_PENDS => {
                (Verdict::Survived, false, None)
            }
            Judged::Leave => (Verdict::Survived, false, Some(own.write.deadline)),
            Judged::Check => self.restore_deadline(own),
        };
        if verdict != Verdict::Survived || R::EVERY_CHECK_MARKS {
            self.marks.deadline = Some(Slot {
                stamp: own.stamp,
                is_written: is_changed || is_disturbed,
                pending,
            });
        }
        verdict
    }

    /// Returns whether the key has the deadline, or one that must not be shortened to it.
    fn has_deadline(&self, own: &Touch) -> bool {
        let Some(there) = self.key.as_ref().map(|whole| whole.deadline) else {
            return false;
        };
        let is_extension = match (there, own.deadline) {
            (Some(there), Some(own)) => there < own,
            (there, _) => there.is_some(),
        };
        is_same_deadline(there, own.deadline) || own.only_extends && !is_extension
    }

    fn restore_deadline(&mut self, own: &Component<Touch>) -> (Verdict, bool, Option<Deadline>) {
        let deadline = own.write.deadline;
        let is_over = is_past(deadline, self.now.millis());
        if self.has_deadline(&own.write) {
            return (Verdict::Survived, false, None);
        }
        let Some(there) = &mut self.key else {
            let verdict = match is_over {
                true => Verdict::Expired,
                false => Verdict::Pending,
            };
            return (verdict, false, Some(deadline));
        };
        if is_over {
            self.end(own.stamp);
            return (Verdict::Expired, true, Some(deadline));
        }
        there.deadline = deadline;
        self.actions.push(Action::Deadline(deadline));
        (Verdict::Repaired, true, None)
    }
}
