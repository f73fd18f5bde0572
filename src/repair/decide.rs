//! The decision table: what to do with one key, given one sidecar's record of it. One atomic step on the server.
//!
//! | own component, stamp t | on the new primary | action |
//! |---|---|---|
//! | any | round closed | nothing: late; of what is inherited, unchecked |
//! | any | t before a flush | nothing: superseded |
//! | any | t before the horizon | nothing: late or unchecked |
//! | any | its mark, or that of the base, ≥ t | nothing: superseded |
//! | known inherited | not disturbed | leave it, mark t: survived; a field or touch that differs stays pending |
//! | any | equal | mark t: survived |
//! | whole value | otherwise | put back with its deadline; newer fields and deadline stay, pendings are applied; mark t |
//! | DEL | otherwise | delete the key; newer fields and deadline become pending; mark t, also if it is absent |
//! | DEL | each field there is newer | only a deadline that is not newer goes; mark t |
//! | field | hash there | HSET or HDEL; mark t |
//! | field | absent, or no hash | pending |
//! | touch | key there | PEXPIREAT; mark t |
//! | touch | absent | pending |
//! | whole value | its deadline, or the newer one, has passed | what is there is older: delete it; mark t: expired |
//! | touch | it has passed | the key there is over: delete it; pending, so that nobody puts an older value back: expired |
//!
//! # Where REPAIR.md leaves it open
//! - *Expired.* Its table says "nothing". But what the new primary holds instead is an older value with a longer life: it
//!   would outlive the SET with a short TTL that replaced it, which no order of the acknowledged operations explains (R1), and
//!   without a mark another sidecar's older record would come back as well. So an expired value leaves the key absent, like a
//!   delete, but with a mark that permits a create.
//! - *Known inherited field or touch that differs.* It stays pending while nobody disturbed it: what stands there is newer, or
//!   older and about to be replaced by a SET between the two, which then must not keep what it finds (found by exploring: SET 1
//!   and HSET 3 inherited, SET 2 lost, gave a hash of 1 and 2). But once the base or it was written in this round, it is
//!   restored like any other: an older value was put back over it, and nobody will put one back again. To tell the two, each
//!   mark says whether anything was written.
//! - *HDEL on an absent key* has survived, and stays pending for whoever puts an older value back.
//! - *Fields are set before others are removed*: a removal that emptied the key would leave what is set after it pending.
//! - *A hash in which all was set after the delete* was made anew, by who did not wait for this repair: it stays. Where it has
//!   older fields it is what was deleted, and which fields would be partial nobody knows: it goes (R4), with the newer ones.
//! - *A payload* (DUMP) has no fields here. The script can look: fields on top of one of a hash are set in it, not pending.

mod parts;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::key::{Content, Deadline, Whole, is_past, is_same};
use super::marks::{Base as BaseMark, Marks, Rules, Sound};
use super::record::{Base, Component, FieldWrite, Record, Verdict, Verdicts};
use super::round::Round;
use super::stamp::Stamp;

/// What is done with the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<B: Ord = Bytes> {
    /// Make the key this, whatever is there.
    Put(Whole<B>),
    /// Delete the key.
    Delete,
    /// HSET or HDEL.
    Field(B, FieldWrite<B>),
    /// PEXPIREAT, or PERSIST.
    Deadline(Deadline),
}

/// What a repair of one key does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<B: Ord = Bytes> {
    /// In this order.
    pub actions: Vec<Action<B>>,
    /// The key after them.
    pub key: Option<Whole<B>>,
    /// The marks after them.
    pub marks: Marks<B>,
    /// For each component.
    pub verdicts: Verdicts<B>,
}

/// Decides what a record means for what stands on the server at the instant `now` of its own clock.
pub fn decide<B: Ord + Clone>(
    record: &Record<B>,
    key: Option<Whole<B>>,
    marks: Marks<B>,
    round: &Round,
    now: Stamp,
) -> Outcome<B> {
    decide_with::<Sound, B>(record, key, marks, round, now)
}

pub(super) fn decide_with<R: Rules, B: Ord + Clone>(
    record: &Record<B>,
    key: Option<Whole<B>>,
    marks: Marks<B>,
    round: &Round,
    now: Stamp,
) -> Outcome<B> {
    let mut step = Step {
        key: key.filter(|whole| !is_past(whole.deadline, now.millis())),
        marks,
        actions: Vec::new(),
        round,
        now,
    };
    let base = record.base.as_ref().map(|own| step.base::<R>(own));
    let mut fields = BTreeMap::new();
    for removes in [false, true] {
        let turn = record.fields.iter();
        let turn = turn.filter(|(_, own)| (own.write == FieldWrite::Remove) == removes);
        for (name, own) in turn {
            fields.insert(name.clone(), step.field::<R>(name, own));
        }
    }
    let touch = record.touch.as_ref().map(|own| step.touch::<R>(own));
    Outcome {
        actions: step.actions,
        key: step.key,
        marks: step.marks,
        verdicts: Verdicts {
            base,
            fields,
            touch,
        },
    }
}

/// What the first rows of the table say.
enum Judged {
    /// Nothing is to be done.
    Done(Verdict),
    /// It was inherited, and nobody disturbed it.
    Leave,
    /// Compare, and restore.
    Check,
}

/// One key under repair.
struct Step<'a, B: Ord> {
    key: Option<Whole<B>>,
    marks: Marks<B>,
    actions: Vec<Action<B>>,
    round: &'a Round,
    now: Stamp,
}

impl<B: Ord + Clone> Step<'_, B> {
    /// `mark` is the newest that covers the component.
    fn judge<R: Rules, T>(
        &self,
        own: &Component<T>,
        mark: Option<Stamp>,
        is_disturbed: bool,
    ) -> Judged {
        let late = match own.is_inherited {
            true => Verdict::Unchecked,
            false => Verdict::Late,
        };
        let mark = match R::STAMPED_APART {
            true => mark,
            false => self.marks.newest(),
        };
        if !self.round.is_open(self.now) {
            Judged::Done(late)
        } else if self
            .round
            .flushed
            .is_some_and(|flushed| own.stamp < flushed)
        {
            Judged::Done(Verdict::Superseded)
        } else if own.stamp < self.round.horizon {
            Judged::Done(late)
        } else if mark.is_some_and(|mark| mark >= own.stamp) {
            Judged::Done(Verdict::Superseded)
        } else if own.is_inherited && !is_disturbed {
            Judged::Leave
        } else {
            Judged::Check
        }
    }

    fn base<R: Rules>(&mut self, own: &Component<Base<B>>) -> Verdict {
        let mark = self.marks.base.map(|base| base.stamp);
        let is_disturbed = self.marks.is_disturbed(own.stamp);
        let judged = self.judge::<R, _>(own, mark, is_disturbed);
        let (verdict, is_changed) = match (judged, &own.write) {
            (Judged::Done(verdict), _) => return verdict,
            (Judged::Leave, _) => (Verdict::Survived, false),
            (Judged::Check, Base::Value(whole)) => self.put_back(own.stamp, whole),
            (Judged::Check, Base::Delete) => self.delete_again::<R>(own.stamp),
        };
        if is_changed || R::EVERY_CHECK_MARKS {
            self.marks.set_base(BaseMark {
                stamp: own.stamp,
                is_delete: own.write == Base::Delete,
                is_written: is_changed || is_disturbed,
            });
        }
        verdict
    }

    fn put_back(&mut self, stamp: Stamp, own: &Whole<B>) -> (Verdict, bool) {
        let deadline = match self
            .marks
            .deadline
            .as_ref()
            .filter(|slot| slot.stamp > stamp)
        {
            Some(slot) => slot.pending.unwrap_or(match &self.key {
                Some(there) => there.deadline,
                None => own.deadline,
            }),
            None => own.deadline,
        };
        if is_past(deadline, self.now.millis()) {
            let is_changed = self.end(stamp);
            return (Verdict::Expired, is_changed);
        }
        let target = self
            .with_newer_fields(stamp, &own.content)
            .map(|content| Whole { content, deadline });
        if target.is_some() {
            self.applied(stamp);
        }
        if is_same(target.as_ref(), self.key.as_ref()) {
            return (Verdict::Survived, false);
        }
        self.actions.push(match &target {
            Some(whole) => Action::Put(whole.clone()),
            None => Action::Delete,
        });
        self.key = target;
        (Verdict::Repaired, true)
    }

    /// The content with the newer fields: a pending one, or what the key on the server has there. `None` is an empty hash.
    fn with_newer_fields(&self, stamp: Stamp, content: &Content<B>) -> Option<Content<B>> {
        let Content::Hash(own) = content else {
            return Some(content.clone());
        };
        let there = self.hash();
        let mut fields = own.clone();
        for (name, slot) in &self.marks.fields {
            if slot.stamp <= stamp {
                continue;
            }
            let newer = match &slot.pending {
                Some(FieldWrite::Set(value)) => Some(value),
                Some(FieldWrite::Remove) => None,
                None => there.and_then(|there| there.get(name)),
            };
            match newer {
                Some(value) => fields.insert(name.clone(), value.clone()),
                None => fields.remove(name),
            };
        }
        (!fields.is_empty()).then_some(Content::Hash(fields))
    }

    fn hash(&self) -> Option<&BTreeMap<B, B>> {
        match self.key.as_ref().map(|whole| &whole.content) {
            Some(Content::Hash(fields)) => Some(fields),
            _ => None,
        }
    }

    /// What was pending and newer is in the key now.
    fn applied(&mut self, stamp: Stamp) {
        let fields = self.marks.fields.values_mut();
        for slot in fields.filter(|slot| slot.stamp > stamp) {
            slot.pending = None;
            slot.is_written = true;
        }
        if let Some(slot) = self
            .marks
            .deadline
            .as_mut()
            .filter(|slot| slot.stamp > stamp)
        {
            slot.pending = None;
            slot.is_written = true;
        }
    }

    fn delete_again<R: Rules>(&mut self, stamp: Stamp) -> (Verdict, bool) {
        if R::DELETE_SPARES_NEWER && self.is_newer(stamp) {
            return self.drop_deadline(stamp);
        }
        match self.end(stamp) {
            true => (Verdict::DeletedAgain, true),
            false => (Verdict::Survived, false),
        }
    }

    /// All that the hash has was set after `stamp`.
    fn is_newer(&self, stamp: Stamp) -> bool {
        let is_set_since = |name: &B| {
            let slot = self.marks.fields.get(name);
            slot.is_some_and(|slot| slot.stamp > stamp && slot.pending.is_none())
        };
        self.hash()
            .is_some_and(|fields| fields.keys().all(is_set_since))
    }

    /// The deadline of what was deleted goes with it.
    fn drop_deadline(&mut self, stamp: Stamp) -> (Verdict, bool) {
        let slot = self.marks.deadline.as_ref();
        let is_newer = slot.is_some_and(|slot| slot.stamp > stamp);
        match &mut self.key {
            Some(there) if there.deadline.is_some() && !is_newer => there.deadline = None,
            _ => return (Verdict::Survived, false),
        }
        self.actions.push(Action::Deadline(None));
        (Verdict::DeletedAgain, true)
    }

    /// Deletes the key if it is there; what is newer than `stamp` in it becomes pending.
    fn end(&mut self, stamp: Stamp) -> bool {
        let Some(there) = self.key.take() else {
            return false;
        };
        self.actions.push(Action::Delete);
        let fields = match there.content {
            Content::Hash(fields) => fields,
            _ => BTreeMap::new(),
        };
        for (name, slot) in &mut self.marks.fields {
            if slot.stamp > stamp && slot.pending.is_none() {
                slot.pending = Some(match fields.get(name) {
                    Some(value) => FieldWrite::Set(value.clone()),
                    None => FieldWrite::Remove,
                });
            }
        }
        if let Some(slot) = &mut self.marks.deadline
            && slot.stamp > stamp
        {
            slot.pending.get_or_insert(there.deadline);
        }
        true
    }
}

#[cfg(test)]
mod tests;
