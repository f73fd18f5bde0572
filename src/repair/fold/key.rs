//! What is known of one key, write by write.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::key::{Content, Deadline, Whole, is_same_deadline};
use super::super::record::{Base, Component, FieldWrite, Record, Touch};
use super::super::stamp::Stamp;
use super::counted::{Counted, Growths, set_in, set_since};
use super::known::{content, is_over, known, leaves_no_hash, plain};
use super::{Counts, Own, Step};
use crate::journal::{self, Change, FieldChange, Moment, Seen, Value, Was};

/// A key whose newest write left something that is not known.
#[derive(Debug)]
struct Blind {
    /// Of the newest write that a look would have to show.
    stamp: Stamp,
    is_inherited: bool,
    /// The new primary has what is not known: what comes on top can be put back.
    is_there: bool,
    /// What is known so far.
    content: Option<Content<Bytes>>,
    /// The same.
    deadline: Option<Deadline>,
}

/// One key.
#[derive(Debug, Default)]
pub(super) struct Key {
    /// Fields and touches are newer than the base, and than what the key is blind for.
    record: Record<Bytes>,
    blind: Option<Blind>,
    /// The newest stamp that was given.
    last: Option<Stamp>,
    /// The latest dispatch of a write.
    sent: Option<Stamp>,
    /// The stamp of the first of the newest writes that were dispatched together.
    packet_from: Option<Stamp>,
    /// Of those.
    growths: Growths,
    /// What HLEN has counted behind them, if it is what they have set.
    counted_fields: Option<Counted>,
    /// The deadline that a write has given, with that write's number.
    given: Option<(u64, Deadline)>,
    /// Its writes.
    pub(super) counts: Counts,
    /// The number of the newest write that was counted.
    counted: u64,
}

impl Key {
    /// One that was last flushed then.
    pub(super) fn after(flushed: Option<Stamp>) -> Self {
        Self {
            last: flushed,
            ..Self::default()
        }
    }

    pub(super) fn last(&self) -> Option<Stamp> {
        self.last
    }

    /// Folds in what a write has changed.
    pub(super) fn write(&mut self, change: Change, was: Was, growth: Option<i64>, step: &Step) {
        if self.counted != step.number {
            self.counted = step.number;
            self.counts.count(&step.dispatch);
        }
        self.stamp(step);
        match change {
            Change::Value { value, deadline } => self.value(value, deadline, was, step),
            Change::Deleted => self.base(Base::Delete, step),
            Change::Fields(changes) => {
                self.fields(changes, was, step);
                let stamp = self.component((), step).stamp;
                self.growths.add(stamp, growth);
            }
            Change::Deadline(deadline) => match known(deadline) {
                Some(deadline) => self.touch(deadline, step),
                None => self.lose(None, None, step),
            },
            Change::Members(_) | Change::Scores(_) | Change::Opaque => self.lose(None, None, step),
            Change::Seen(_) => {}
        }
    }

    /// Its value may be anything now, by no write to it.
    pub(super) fn void(&mut self, step: &Step) {
        self.stamp(step);
        self.lose(None, None, step);
    }

    fn stamp(&mut self, step: &Step) {
        let dispatch = step.dispatch.stamp;
        let after = self.last.map_or(dispatch, Stamp::next);
        self.last = Some(dispatch.max(after));
        if self.sent != Some(dispatch) {
            self.packet_from = self.last;
            self.growths.clear();
        }
        self.sent = self.sent.max(Some(dispatch));
        self.counted_fields = None;
    }

    /// Makes a component of the write at hand.
    fn component<T>(&self, write: T, step: &Step) -> Component<T> {
        Component {
            stamp: self.last.unwrap_or(step.dispatch.stamp),
            is_inherited: step.dispatch.is_inherited,
            write,
        }
    }

    fn value(&mut self, value: Value, deadline: Option<journal::Deadline>, was: Was, step: &Step) {
        let kept = self.given.filter(|(number, _)| *number == step.number);
        let deadline = match (deadline, was) {
            (Some(deadline), _) => known(deadline),
            (None, Was::Absent) => Some(None),
            // The same transaction has given it before.
            (None, _) => kept.map(|(_, deadline)| deadline),
        };
        match (content(value), deadline) {
            (Some(content), Some(deadline)) => {
                self.base(Base::Value(Whole { content, deadline }), step);
                self.given = Some((step.number, deadline));
            }
            (content, deadline) => self.lose(content, deadline, step),
        }
    }

    fn base(&mut self, write: Base<Bytes>, step: &Step) {
        self.growths.clear();
        self.blind = None;
        self.given = None;
        self.record = Record {
            base: Some(self.component(write, step)),
            ..Record::default()
        };
    }

    /// Of what the write has left only that much is known.
    fn lose(&mut self, content: Option<Content<Bytes>>, deadline: Option<Deadline>, step: &Step) {
        let written = self.component((), step);
        self.growths.clear();
        let was_there = self.blind.as_ref().is_none_or(|blind| blind.is_there);
        self.blind = Some(Blind {
            stamp: written.stamp,
            is_inherited: written.is_inherited,
            is_there: written.is_inherited && was_there,
            content,
            deadline,
        });
        self.record = Record::default();
        self.given = None;
    }

    /// The deadline was set. With the value it makes a whole, also where the value is older: nothing has kept it apart from this
    /// touch, which is put on top of it anyway. So a value whose first deadline has passed meanwhile is not taken for ended.
    fn touch(&mut self, deadline: Deadline, step: &Step) {
        self.given = Some((step.number, deadline));
        let touch = Touch {
            deadline,
            only_extends: false,
        };
        self.record.touch = Some(self.component(touch, step));
        if let Some(blind) = &mut self.blind {
            blind.deadline = Some(deadline);
            return self.see();
        }
        if let Some(Base::Value(whole)) = self.record.base.as_mut().map(|base| &mut base.write)
            && !is_over(whole.deadline, step.moment)
        {
            whole.deadline = deadline;
        }
    }

    fn fields(&mut self, changes: Vec<(Vec<u8>, FieldChange)>, was: Was, step: &Step) {
        let changes = changes.into_iter();
        let fields: Option<Vec<_>> = changes.map(|(name, done)| plain(name, done, was)).collect();
        let Some(fields) = fields else {
            return self.lose(None, None, step);
        };
        let sets = fields
            .iter()
            .any(|(_, write)| matches!(write, FieldWrite::Set(_)));
        if sets && was == Was::Absent {
            return self.make(fields, step);
        }
        if self.end_touch(step.moment) || sets && self.is_emptied() {
            // The key may have been made anew, without a deadline.
            self.lose(None, None, step);
        }
        for (name, write) in fields {
            let component = self.component(write, step);
            self.record.fields.insert(name, component);
        }
        let written = self.component((), step);
        if let Some(blind) = &mut self.blind {
            *blind = Blind {
                stamp: written.stamp,
                is_inherited: blind.is_inherited && written.is_inherited,
                is_there: blind.is_there,
                content: None,
                deadline: None,
            };
        }
    }

    /// A hash was made of these fields.
    fn make(&mut self, fields: Vec<(Bytes, FieldWrite<Bytes>)>, step: &Step) {
        let mut made = BTreeMap::new();
        for (name, write) in fields {
            match write {
                FieldWrite::Set(value) => made.insert(name, value),
                FieldWrite::Remove => made.remove(&name),
            };
        }
        if made.is_empty() {
            return self.base(Base::Delete, step);
        }
        let whole = Whole {
            content: Content::Hash(made),
            deadline: None,
        };
        self.base(Base::Value(whole), step);
        self.given = Some((step.number, None));
    }

    /// Takes a touch away whose deadline has passed. Tells whether nothing else says that the key has ended with it, and may have
    /// been made anew: a base of ours does.
    fn end_touch(&mut self, moment: Moment) -> bool {
        let over = |own: &mut Component<Touch>| is_over(own.write.deadline, moment);
        let ended = self.record.touch.take_if(over).is_some();
        ended && !matches!(&self.record.base, Some(base) if leaves_no_hash(&base.write, moment))
    }

    /// Tells whether all fields that are known have been removed, and there were no others.
    fn is_emptied(&self) -> bool {
        let record = &self.record;
        let removed = |name: &Bytes| {
            let own = record.fields.get(name);
            own.is_some_and(|own| own.write == FieldWrite::Remove)
        };
        let had = match record.base.as_ref().map(|base| &base.write) {
            Some(Base::Value(Whole {
                content: Content::Hash(fields),
                ..
            })) => fields.keys().all(removed),
            _ => false,
        };
        had && set_in(record).next().is_none()
    }

    /// Takes in what a reply has shown.
    pub(super) fn look(&mut self, seen: Seen, was: Was, step: &Step) {
        // One dispatched before a write may have run before it.
        if Some(step.dispatch.stamp) < self.sent {
            return;
        }
        match was {
            Was::Unknown => {}
            Was::Absent => self.see_absent(),
            Was::There => self.see_there(seen),
        }
    }

    fn see_absent(&mut self) {
        self.counted_fields = None;
        if let Some(blind) = self.blind.take() {
            self.record = Record {
                base: Some(blind.component(Base::Delete)),
                ..Record::default()
            };
        }
    }

    fn see_there(&mut self, seen: Seen) {
        let deadline = seen.deadline.and_then(known);
        let length = seen.length.zip(self.packet_from);
        let counted = length.and_then(|(length, packet)| {
            Counted::find(&self.record, packet, &self.growths, length)
        });
        let Some(blind) = &mut self.blind else {
            if length.is_some() {
                self.counted_fields = counted;
            }
            if let Some(deadline) = deadline {
                self.see_deadline(deadline);
            }
            return;
        };
        if blind.content.is_none()
            && let Some(counted) = counted
        {
            blind.content = Some(set_since(&self.record, counted.from));
        }
        if blind.content.is_none() {
            let payload = seen.payload.map(|payload| Content::Opaque(payload.into()));
            blind.content = seen.value.and_then(content).or(payload);
        }
        if blind.deadline.is_none() {
            blind.deadline = deadline;
        }
        self.see();
    }

    /// Ends the blindness, if everything is known by now. A touch since stays; fields are in the value that was seen.
    fn see(&mut self) {
        match self.blind.take() {
            Some(Blind {
                content: Some(content),
                deadline: Some(deadline),
                stamp,
                is_inherited,
                ..
            }) => {
                let touch = self.record.touch.take();
                self.record = Record {
                    base: Some(Component {
                        stamp,
                        is_inherited,
                        write: Base::Value(Whole { content, deadline }),
                    }),
                    touch: touch.filter(|touch| touch.stamp > stamp),
                    ..Record::default()
                };
            }
            blind => self.blind = blind,
        }
    }

    /// What PTTL tells. Behind HLEN: the fields are all there are and were new, and this is their deadline.
    ///
    /// So whatever was there before the oldest of them is gone: that is a whole value of then, and what others wrote since
    /// stays. Where there is a base of ours, it has its stamp.
    fn see_deadline(&mut self, deadline: Deadline) {
        let counted = self.counted_fields.take();
        let made = counted.filter(|counted| counted.have_made(&self.record, deadline));
        self.see_touch(deadline);
        let Some(Counted { from: oldest, .. }) = made else {
            return;
        };
        self.record.fields.retain(|_, own| own.stamp >= oldest);
        let is_inherited = set_in(&self.record).all(|(.., own)| own.is_inherited);
        let content = set_since(&self.record, oldest);
        let before = self.record.base.as_ref().map(|base| base.stamp);
        self.record.base = Some(Component {
            stamp: oldest.previous().max(before.unwrap_or(oldest.previous())),
            is_inherited,
            write: Base::Value(Whole { content, deadline }),
        });
    }

    /// The key has this deadline. What was removed before may have been its last field: then it was made anew, without the deadline
    /// that it had. And if it has another one than our touch gave, that is what became of the touch.
    fn see_touch(&mut self, deadline: Deadline) {
        let removed = self.record.fields.values();
        let removed = removed.filter(|own| own.write == FieldWrite::Remove);
        let ended = removed.max_by_key(|own| own.stamp);
        let write = Touch {
            deadline,
            only_extends: false,
        };
        let touched = self.record.touch.as_ref().map(|touch| touch.stamp);
        match (ended, &mut self.record.touch) {
            (Some(ended), touch) if Some(ended.stamp) > touched => {
                *touch = Some(Component {
                    stamp: ended.stamp,
                    is_inherited: ended.is_inherited,
                    write,
                });
            }
            (_, Some(touch)) if !is_same_deadline(touch.write.deadline, deadline) => {
                touch.write = write;
            }
            _ => {}
        }
    }

    /// Returns what can be put back.
    pub(super) fn finish(self, database: u32, key: Bytes) -> Own {
        let is_known = self.blind.is_none_or(|blind| blind.is_there);
        Own {
            database,
            key,
            record: match is_known {
                true => self.record,
                false => Record::default(),
            },
            is_known,
            counts: self.counts,
        }
    }
}

impl Blind {
    fn component<T>(&self, write: T) -> Component<T> {
        Component {
            stamp: self.stamp,
            is_inherited: self.is_inherited,
            write,
        }
    }
}
