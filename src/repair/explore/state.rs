//! Small copies of the core's types: one key with two fields, stamps and values of one byte, for millions of states.

use std::collections::BTreeMap;
use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::super::decide::decide_with;
use super::super::key::{Content, Deadline, Whole};
use super::super::marks::{AppWrite, Base as BaseMark, Marks, Rules, Slot};
use super::super::record::{Base, Component, FieldWrite, Record, Touch, Verdict};
use super::super::round::Round;
use super::super::stamp::Stamp;
use super::scene::Kind;

/// No field, nothing pending.
pub(super) const NONE: u8 = 255;

/// No server has it: it was answered locally.
pub(super) const NOWHERE: u8 = 254;

/// The removal of a field is pending.
const REMOVAL: u8 = 254;

/// When everything happens, and how far the deadlines are apart, in milliseconds.
const NOW: Stamp = Stamp(1_000_000);
const DEADLINE_STEP: i64 = 1_000_000;

/// The key, if it is there.
pub(super) type Session = Option<Value>;

/// Fields and a deadline: numbers of the writes that they are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Value {
    pub fields: [u8; 2],
    /// A third field, which only a whole value has.
    pub rest: u8,
    /// `NONE`: never.
    pub deadline: u8,
}

impl SmallMarks {
    /// A field of this stamp is pending.
    pub(super) fn is_pending(&self, stamp: u8) -> bool {
        let mut fields = self.fields.iter().flatten();
        fields.any(|slot| slot.stamp == stamp && slot.pending != NONE)
    }
}

impl Value {
    pub(super) fn of(write: u8) -> Self {
        Self {
            fields: [write; 2],
            rest: write,
            deadline: write,
        }
    }

    /// What HSET of both fields makes.
    pub(super) fn made(write: u8, deadline: u8) -> Self {
        Self {
            rest: NONE,
            deadline,
            ..Self::of(write)
        }
    }
}

/// A mark that stands apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SmallSlot {
    stamp: u8,
    is_written: bool,
    pending: u8,
}

/// All marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct SmallMarks {
    base: Option<(u8, bool, bool)>,
    fields: [Option<SmallSlot>; 2],
    deadline: Option<SmallSlot>,
}

/// A component of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Part {
    /// The write's place in the scene.
    pub op: u8,
    pub stamp: u8,
    /// The newest server that has it.
    pub at: u8,
    pub base: BaseOf,
}

/// What a write is as a base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum BaseOf {
    /// It is none.
    #[default]
    Nothing,
    Set,
    Delete,
    /// Its fields were counted, and are all: with this deadline.
    Fields(u8),
}

impl Part {
    /// The key that it leaves.
    pub(super) fn whole(&self) -> Session {
        match self.base {
            BaseOf::Nothing | BaseOf::Delete => None,
            BaseOf::Set => Some(Value::of(self.op + 1)),
            BaseOf::Fields(deadline) => Some(Value::made(self.op + 1, deadline)),
        }
    }
}

/// What a sidecar has written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Journal {
    pub base: Option<Part>,
    pub fields: [Option<Part>; 2],
    pub touch: Option<Part>,
}

impl Journal {
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        let fields = self.fields.iter().flatten();
        self.base.iter().chain(fields).chain(&self.touch)
    }

    pub(super) fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        let fields = self.fields.iter_mut().flatten();
        let base = self.base.iter_mut();
        base.chain(fields).chain(&mut self.touch)
    }

    /// Takes an acknowledged write down.
    pub(super) fn note(&mut self, kind: Kind, part: Part) {
        let newer = |old: &Option<Part>| old.is_none_or(|old| old.stamp <= part.stamp);
        match kind {
            Kind::Set | Kind::Delete if newer(&self.base) => {
                let keep = |old: Option<Part>| old.filter(|old| old.stamp > part.stamp);
                *self = Self {
                    base: Some(part),
                    fields: self.fields.map(keep),
                    touch: keep(self.touch),
                };
            }
            Kind::Field(place) if newer(&self.base) && newer(&self.fields[place]) => {
                self.fields[place] = Some(part);
            }
            Kind::Touch if newer(&self.base) && newer(&self.touch) => self.touch = Some(part),
            Kind::Create if newer(&self.base) => self.note_create(part),
            _ => {}
        }
    }

    fn note_create(&mut self, part: Part) {
        if part.base != BaseOf::Nothing {
            let before = self.base.map_or(0, |base| base.stamp);
            let stamp = before.max(part.stamp - 1);
            self.base = Some(Part { stamp, ..part });
            self.touch = self.touch.filter(|touch| touch.stamp > stamp);
        }
        for field in &mut self.fields {
            if field.is_none_or(|old| old.stamp <= part.stamp) {
                *field = Some(part);
            }
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Part) -> bool) {
        let keep = |part: Option<Part>| part.filter(&keep);
        self.base = keep(self.base);
        self.fields = self.fields.map(keep);
        self.touch = keep(self.touch);
    }
}

/// What a repair is given.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub journal: Journal,
    /// What is at this server is known to be inherited; `NONE`: nothing is known.
    pub known: u8,
    pub key: Session,
    pub marks: SmallMarks,
    pub is_closed: bool,
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Answer {
    pub key: Session,
    pub marks: SmallMarks,
    /// Nobody looked: it came too late.
    pub is_late: bool,
    /// These fields have no key to be in.
    pub pends: [bool; 2],
}

type Marked = (SmallMarks, u8);

/// The core, asked for small things, with what it has answered before.
#[derive(Default)]
pub(super) struct Core {
    repairs: HashMap<Question, Answer, FixedState>,
    marks: HashMap<(SmallMarks, Kind, u8, u8, bool), Marked, FixedState>,
}

impl Core {
    pub(super) fn repair<R: Rules>(&mut self, question: Question) -> Answer {
        *self
            .repairs
            .entry(question)
            .or_insert_with(|| repair::<R>(&question))
    }

    /// Marks a write; returns its stamp.
    pub(super) fn mark<R: Rules>(
        &mut self,
        marks: SmallMarks,
        kind: Kind,
        write: u8,
        dispatch: u8,
        is_there: bool,
    ) -> Marked {
        let question = (marks, kind, write, dispatch, is_there);
        *self.marks.entry(question).or_insert_with(|| {
            let write = match kind {
                Kind::Set => AppWrite::Value,
                Kind::Delete => AppWrite::Delete,
                Kind::Field(place) => AppWrite::Fields(vec![place as u8]),
                Kind::Touch => AppWrite::Touch(deadline(write)),
                Kind::Create => AppWrite::Fields(vec![0, 1]),
            };
            let dispatch = Stamp(i64::from(dispatch));
            let (marks, stamp) = large(&marks).write_with::<R>(&write, dispatch, is_there);
            (small(&marks), stamp.0 as u8)
        })
    }
}

fn repair<R: Rules>(question: &Question) -> Answer {
    let round = Round {
        horizon: Stamp(0),
        until: Stamp(NOW.0 + 1),
        is_closed: question.is_closed,
        flushed: None,
    };
    let own = record(&question.journal, question.known);
    let key = question.key.map(whole);
    let outcome = decide_with::<R, u8>(&own, key, large(&question.marks), &round, NOW);
    let verdicts = outcome.verdicts;
    let mut all = verdicts.base.into_iter().chain(verdicts.touch);
    let is_late = |verdict: Verdict| matches!(verdict, Verdict::Late | Verdict::Unchecked);
    Answer {
        key: outcome.key.map(|whole| value(&whole)),
        marks: small(&outcome.marks),
        pends: [0, 1].map(|name| verdicts.fields.get(&name) == Some(&Verdict::Pending)),
        is_late: all.any(is_late) || verdicts.fields.into_values().any(is_late),
    }
}

fn deadline(write: u8) -> Deadline {
    Some(NOW.millis() + DEADLINE_STEP * (1 + i64::from(write)))
}

fn write_of(deadline: Deadline) -> u8 {
    deadline.map_or(NONE, |deadline| {
        ((deadline - NOW.millis()) / DEADLINE_STEP - 1) as u8
    })
}

fn whole(value: Value) -> Whole<u8> {
    let [first, second] = value.fields;
    let fields = (0u8..)
        .zip([first, second, value.rest])
        .filter(|(_, value)| *value != NONE);
    Whole {
        content: Content::Hash(fields.collect()),
        deadline: (value.deadline != NONE)
            .then(|| deadline(value.deadline))
            .flatten(),
    }
}

fn value(whole: &Whole<u8>) -> Value {
    let Content::Hash(fields) = &whole.content else {
        unreachable!("there are hashes only")
    };
    let field = |name| fields.get(&name).copied().unwrap_or(NONE);
    Value {
        fields: [0, 1].map(field),
        rest: field(2),
        deadline: write_of(whole.deadline),
    }
}

fn record(journal: &Journal, known: u8) -> Record<u8> {
    fn component<T>(part: Part, known: u8, write: T) -> Component<T> {
        Component {
            stamp: Stamp(i64::from(part.stamp)),
            is_inherited: part.at == known,
            write,
        }
    }
    let fields = (0u8..).zip(journal.fields);
    let fields = fields.filter_map(|(name, part)| {
        let part = part?;
        Some((name, component(part, known, FieldWrite::Set(part.op + 1))))
    });
    Record {
        base: journal.base.map(|part| {
            let write = part
                .whole()
                .map_or(Base::Delete, |value| Base::Value(whole(value)));
            component(part, known, write)
        }),
        fields: fields.collect(),
        touch: journal.touch.map(|part| {
            let touch = Touch {
                deadline: deadline(part.op + 1),
                only_extends: false,
            };
            component(part, known, touch)
        }),
    }
}

fn large(marks: &SmallMarks) -> Marks<u8> {
    fn slot<W>(slot: SmallSlot, pending: impl Fn(u8) -> W) -> Slot<W> {
        Slot {
            stamp: Stamp(i64::from(slot.stamp)),
            is_written: slot.is_written,
            pending: (slot.pending != NONE).then(|| pending(slot.pending)),
        }
    }
    let field = |value| match value {
        REMOVAL => FieldWrite::Remove,
        value => FieldWrite::Set(value),
    };
    let fields = (0u8..).zip(marks.fields);
    let fields: BTreeMap<_, _> = fields
        .filter_map(|(name, found)| Some((name, slot(found?, field))))
        .collect();
    Marks {
        base: marks.base.map(|(stamp, is_delete, is_written)| BaseMark {
            stamp: Stamp(i64::from(stamp)),
            is_delete,
            is_written,
        }),
        fields,
        deadline: marks.deadline.map(|found| slot(found, deadline)),
    }
}

fn small(marks: &Marks<u8>) -> SmallMarks {
    fn slot<W: Clone>(slot: &Slot<W>, pending: impl Fn(W) -> u8) -> SmallSlot {
        SmallSlot {
            stamp: slot.stamp.0 as u8,
            is_written: slot.is_written,
            pending: slot.pending.clone().map_or(NONE, pending),
        }
    }
    let field = |write| match write {
        FieldWrite::Set(value) => value,
        FieldWrite::Remove => REMOVAL,
    };
    SmallMarks {
        base: marks
            .base
            .map(|base| (base.stamp.0 as u8, base.is_delete, base.is_written)),
        fields: [0, 1].map(|name| marks.fields.get(&name).map(|found| slot(found, field))),
        deadline: marks.deadline.as_ref().map(|found| slot(found, write_of)),
    }
}
