//! Cases by chance: few stamps, fields and values, so that they meet.

use std::collections::BTreeMap;

use bytes::Bytes;
use gripfast::repair::key::{Content, Deadline, Whole};
use gripfast::repair::marks::{AppWrite, Base as BaseMark, Marks, Slot};
use gripfast::repair::record::{Base, Component, FieldWrite, Record, Touch};
use gripfast::repair::round::Round;
use gripfast::repair::stamp::Stamp;

use crate::harness::Random;

const SECOND: i64 = 1_000_000;

const FIELDS: [&str; 3] = ["f", "g", "1"];

/// What stands on the server, and who comes with what.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) database: u32,
    pub(crate) now: Stamp,
    /// `None`: there is no round at all.
    pub(crate) hash: Option<Round>,
    pub(crate) flushes_all: bool,
    pub(crate) number: i64,
    pub(crate) marks: Marks<Bytes>,
    /// The marks are of this round.
    pub(crate) marks_number: i64,
    /// The key as it is to be made.
    pub(crate) key: Option<Whole<Bytes>>,
    pub(crate) record: Record<Bytes>,
}

impl Case {
    pub(crate) fn round(&self) -> Round {
        self.hash.unwrap_or(Round {
            horizon: Stamp(0),
            until: Stamp(0),
            is_closed: false,
            flushed: None,
        })
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.hash.is_none() || self.marks_number != self.number
    }

    pub(crate) fn marks_that_count(&self) -> Marks<Bytes> {
        match self.is_stale() {
            true => Marks::default(),
            false => self.marks.clone(),
        }
    }
}

/// Makes cases.
pub(crate) struct Maker<'a> {
    random: &'a mut Random,
    now: Stamp,
    payloads: &'a [Bytes],
}

impl<'a> Maker<'a> {
    pub(crate) fn new(random: &'a mut Random, now: Stamp, payloads: &'a [Bytes]) -> Self {
        Self {
            random,
            now,
            payloads,
        }
    }

    pub(crate) fn case(mut self) -> Case {
        let hash = (!self.random.chance(3)).then(|| self.round());
        let number = 1 + self.random.below(200) as i64;
        Case {
            database: if self.random.chance(20) { 3 } else { 0 },
            now: self.now,
            hash,
            flushes_all: self.random.chance(50),
            number,
            marks: self.marks(),
            marks_number: number - i64::from(self.random.chance(5)),
            key: match self.random.chance(35) {
                true => None,
                false => Some(self.whole(false)),
            },
            record: self.record(),
        }
    }

    /// One in which the round is open and everything is looked at.
    pub(crate) fn open_case(self) -> Case {
        let now = self.now;
        let mut case = self.case();
        case.hash = Some(Round {
            horizon: Stamp(0),
            until: Stamp(now.0 + 30 * SECOND),
            is_closed: false,
            flushed: None,
        });
        case.marks = Marks::default();
        case
    }

    fn round(&mut self) -> Round {
        let until = if self.random.chance(4) { -1 } else { 30 };
        let horizon = if self.random.chance(20) { 6 } else { 30 };
        let is_flushed = self.random.chance(10);
        Round {
            horizon: Stamp(self.now.0 - horizon * SECOND),
            until: Stamp(self.now.0 + until * SECOND),
            is_closed: self.random.chance(4),
            flushed: is_flushed.then(|| self.stamp()),
        }
    }

    pub(crate) fn stamp(&mut self) -> Stamp {
        Stamp(self.now.0 - (1 + self.random.below(10) as i64) * SECOND)
    }

    fn deadline(&mut self, may_be_past: bool) -> Deadline {
        let now = self.now.millis();
        match self.random.below(8) {
            0..3 => None,
            3 if may_be_past => Some(now - 5_000),
            4 => Some(now + 2_000_000),
            5 => Some(now + 900_000),
            _ => Some(now + 1_000_000),
        }
    }

    fn value(&mut self) -> Bytes {
        let values = [&b"a"[..], b"b", b"", b"\0\xff\r\n", b"12"];
        let place = self.random.below(values.len() + 3) % values.len();
        Bytes::from_static(values[place])
    }

    fn name(&mut self) -> Bytes {
        Bytes::from_static(self.random.pick(&FIELDS).as_bytes())
    }

    fn whole(&mut self, may_be_past: bool) -> Whole<Bytes> {
        let content = match self.random.below(8) {
            0..2 => Content::String(self.value()),
            2 => Content::Opaque(self.random.pick(self.payloads).clone()),
            _ => {
                let mut fields = BTreeMap::from([(self.name(), self.value())]);
                for _ in 0..self.random.below(3) {
                    fields.insert(self.name(), self.value());
                }
                Content::Hash(fields)
            }
        };
        Whole {
            content,
            deadline: self.deadline(may_be_past),
        }
    }

    fn field_write(&mut self) -> FieldWrite<Bytes> {
        match self.random.chance(25) {
            true => FieldWrite::Remove,
            false => FieldWrite::Set(self.value()),
        }
    }

    fn slot<W>(&mut self, pending: impl FnOnce(&mut Self) -> W) -> Slot<W> {
        Slot {
            stamp: self.stamp(),
            is_written: self.random.chance(50),
            pending: match self.random.chance(40) {
                true => Some(pending(self)),
                false => None,
            },
        }
    }

    fn marks(&mut self) -> Marks<Bytes> {
        let mut marks = Marks::default();
        if self.random.chance(40) {
            marks.base = Some(BaseMark {
                stamp: self.stamp(),
                is_delete: self.random.chance(40),
                is_written: self.random.chance(50),
            });
        }
        for _ in 0..self.random.below(3) {
            let slot = self.slot(Self::field_write);
            marks.fields.insert(self.name(), slot);
        }
        if self.random.chance(30) {
            marks.deadline = Some(self.slot(|maker| maker.deadline(true)));
        }
        marks
    }

    fn component<T>(&mut self, write: T) -> Component<T> {
        Component {
            stamp: self.stamp(),
            is_inherited: self.random.chance(30),
            write,
        }
    }

    fn record(&mut self) -> Record<Bytes> {
        let mut record = Record::default();
        if self.random.chance(50) {
            let base = match self.random.chance(35) {
                true => Base::Delete,
                false => Base::Value(self.whole(true)),
            };
            record.base = Some(self.component(base));
        }
        for _ in 0..self.random.below(4) {
            let write = self.field_write();
            let own = self.component(write);
            record.fields.insert(self.name(), own);
        }
        if self.random.chance(25) {
            self.count_fields(&mut record);
        }
        if self.random.chance(40) {
            let touch = Touch {
                deadline: self.deadline(true),
                only_extends: self.random.chance(30),
            };
            record.touch = Some(self.component(touch));
        }
        record
    }

    /// Makes the fields that are set the whole value of just before the oldest of them, as where HLEN counted as many.
    fn count_fields(&mut self, record: &mut Record<Bytes>) {
        let fields = record.fields.iter();
        let set = fields.filter_map(|(name, own)| match &own.write {
            FieldWrite::Set(value) => Some((name.clone(), value.clone(), own.stamp)),
            FieldWrite::Remove => None,
        });
        let set: Vec<_> = set.collect();
        let Some(oldest) = set.iter().map(|(.., stamp)| *stamp).min() else {
            return;
        };
        record.fields.retain(|_, own| own.stamp >= oldest);
        let fields = set.into_iter().map(|(name, value, _)| (name, value));
        let whole = Whole {
            content: Content::Hash(fields.collect()),
            deadline: self.deadline(true),
        };
        let base = self.component(Base::Value(whole));
        record.base = Some(Component {
            stamp: oldest.previous(),
            ..base
        });
    }

    pub(crate) fn app_write(&mut self) -> AppWrite<Bytes> {
        match self.random.below(4) {
            0 => AppWrite::Value,
            1 => AppWrite::Delete,
            2 => AppWrite::Touch(self.deadline(false)),
            _ => AppWrite::Fields((0..=self.random.below(2)).map(|_| self.name()).collect()),
        }
    }
}
