//! Every row of the table.

mod pieces;
mod whole;

use std::collections::BTreeMap;

use super::super::marks::Slot;
use super::super::record::Touch;
use super::*;

/// In microseconds and milliseconds.
const NOW: Stamp = Stamp(1_000_000_000);
const NOW_MS: i64 = 1_000_000;

const OPEN: Round = Round {
    horizon: Stamp(10),
    until: Stamp(2_000_000_000),
    is_closed: false,
    flushed: None,
};

const LIVE: Deadline = Some(NOW_MS + 500_000);
const LONGER: Deadline = Some(NOW_MS + 900_000);
const PAST: Deadline = Some(NOW_MS - 1);

/// Fields and values.
const F: u8 = 1;
const G: u8 = 2;
const OLD: u8 = 10;
const OWN: u8 = 11;
const NEW: u8 = 12;

type Key = Option<Whole<u8>>;

fn own<T>(stamp: i64, write: T) -> Component<T> {
    Component {
        stamp: Stamp(stamp),
        is_inherited: false,
        write,
    }
}

fn inherited<T>(stamp: i64, write: T) -> Component<T> {
    Component {
        is_inherited: true,
        ..own(stamp, write)
    }
}

fn string(value: u8) -> Key {
    Some(Whole {
        content: Content::String(value),
        deadline: LIVE,
    })
}

fn hash(fields: &[(u8, u8)]) -> Key {
    hash_until(fields, LIVE)
}

fn hash_until(fields: &[(u8, u8)], deadline: Deadline) -> Key {
    Some(Whole {
        content: Content::Hash(fields.iter().copied().collect()),
        deadline,
    })
}

fn set(stamp: i64, key: Key) -> Record<u8> {
    Record {
        base: Some(own(stamp, Base::Value(key.unwrap()))),
        ..Record::default()
    }
}

fn delete(stamp: i64) -> Record<u8> {
    Record {
        base: Some(own(stamp, Base::Delete)),
        ..Record::default()
    }
}

fn field(stamp: i64, write: FieldWrite<u8>) -> Record<u8> {
    Record {
        fields: BTreeMap::from([(F, own(stamp, write))]),
        ..Record::default()
    }
}

fn touch(stamp: i64, deadline: Deadline) -> Record<u8> {
    let write = Touch {
        deadline,
        only_extends: false,
    };
    Record {
        touch: Some(own(stamp, write)),
        ..Record::default()
    }
}

/// The same record, known inherited.
fn known(mut record: Record<u8>) -> Record<u8> {
    record.base = record.base.map(|base| inherited(base.stamp.0, base.write));
    record.touch = record
        .touch
        .map(|touch| inherited(touch.stamp.0, touch.write));
    for own in record.fields.values_mut() {
        own.is_inherited = true;
    }
    record
}

fn base(stamp: i64, is_delete: bool, is_written: bool) -> Marks<u8> {
    Marks {
        base: Some(BaseMark {
            stamp: Stamp(stamp),
            is_delete,
            is_written,
        }),
        ..Marks::default()
    }
}

fn written(stamp: i64) -> Marks<u8> {
    base(stamp, false, true)
}

fn with_field(mut marks: Marks<u8>, name: u8, slot: Slot<FieldWrite<u8>>) -> Marks<u8> {
    marks.fields.insert(name, slot);
    marks
}

fn slot<W>(stamp: i64, is_written: bool, pending: Option<W>) -> Slot<W> {
    Slot {
        stamp: Stamp(stamp),
        is_written,
        pending,
    }
}

fn with_deadline(mut marks: Marks<u8>, slot: Slot<Deadline>) -> Marks<u8> {
    marks.deadline = Some(slot);
    marks
}

fn run(record: &Record<u8>, key: Key, marks: Marks<u8>) -> Outcome<u8> {
    decide(record, key, marks, &OPEN, NOW)
}

/// The one verdict of a record of one component.
fn verdict(outcome: &Outcome<u8>) -> Verdict {
    let verdicts = &outcome.verdicts;
    let fields = verdicts.fields.values().copied();
    let mut all = fields.chain(verdicts.base).chain(verdicts.touch);
    let verdict = all.next().unwrap();
    assert_eq!(all.next(), None);
    verdict
}

fn check(record: &Record<u8>, key: Key, marks: Marks<u8>, expected: (Verdict, Key, Marks<u8>)) {
    let outcome = run(record, key.clone(), marks);
    assert_eq!(verdict(&outcome), expected.0);
    assert_eq!(outcome.key, expected.1);
    assert_eq!(outcome.marks, expected.2);
    assert_eq!(outcome.actions.is_empty(), outcome.key == key);
    // It is idempotent: nothing is done twice.
    let again = run(record, outcome.key.clone(), outcome.marks.clone());
    assert_eq!((&again.key, &again.marks), (&outcome.key, &outcome.marks));
}

fn each() -> [Record<u8>; 4] {
    [
        set(50, string(OWN)),
        delete(50),
        field(50, FieldWrite::Set(OWN)),
        touch(50, LONGER),
    ]
}

#[test]
fn a_closed_round_a_flush_and_the_horizon_leave_everything() {
    let closed = Round {
        is_closed: true,
        ..OPEN
    };
    let over = Round { until: NOW, ..OPEN };
    let flushed = Round {
        flushed: Some(Stamp(51)),
        ..OPEN
    };
    let later = Round {
        horizon: Stamp(51),
        ..OPEN
    };
    let flushed_later = Round {
        flushed: Some(Stamp(51)),
        ..later
    };
    for (round, lost, kept) in [
        (closed, Verdict::Late, Verdict::Unchecked),
        (over, Verdict::Late, Verdict::Unchecked),
        (later, Verdict::Late, Verdict::Unchecked),
        (flushed, Verdict::Superseded, Verdict::Superseded),
        (flushed_later, Verdict::Superseded, Verdict::Superseded),
    ] {
        for record in each() {
            for (record, expected) in [(record.clone(), lost), (known(record), kept)] {
                let key = hash(&[(F, OLD)]);
                let outcome = decide(&record, key.clone(), written(40), &round, NOW);
                assert_eq!(verdict(&outcome), expected);
                assert_eq!((outcome.key, outcome.marks), (key, written(40)));
                assert!(outcome.actions.is_empty());
            }
        }
    }
}

#[test]
fn a_mark_of_the_same_instant_or_later_supersedes() {
    let key = hash(&[(F, OLD)]);
    for stamp in [50, 60] {
        for record in each() {
            for is_delete in [false, true] {
                let marks = base(stamp, is_delete, true);
                let expected = (Verdict::Superseded, key.clone(), marks.clone());
                check(&record, key.clone(), marks, expected);
            }
        }
        let marks = with_field(Marks::default(), F, slot(stamp, true, None));
        let expected = (Verdict::Superseded, key.clone(), marks.clone());
        check(&field(50, FieldWrite::Remove), key.clone(), marks, expected);
        let marks = with_deadline(Marks::default(), slot(stamp, true, None));
        let expected = (Verdict::Superseded, key.clone(), marks.clone());
        check(&touch(50, LONGER), key.clone(), marks, expected);
    }
}

#[test]
fn what_is_equal_survived_and_leaves_a_mark() {
    let key = hash(&[(F, OWN)]);
    let found = base(50, false, false);
    check(
        &set(50, key.clone()),
        key.clone(),
        Marks::default(),
        (Verdict::Survived, key.clone(), found),
    );
    check(
        &delete(50),
        None,
        Marks::default(),
        (Verdict::Survived, None, base(50, true, false)),
    );
    let mark = with_field(Marks::default(), F, slot(50, false, None));
    let record = field(50, FieldWrite::Set(OWN));
    check(
        &record,
        key.clone(),
        Marks::default(),
        (Verdict::Survived, key.clone(), mark.clone()),
    );
    let record = field(50, FieldWrite::Remove);
    let other = hash(&[(G, OLD)]);
    check(
        &record,
        other.clone(),
        Marks::default(),
        (Verdict::Survived, other, mark),
    );
    let mark = with_deadline(Marks::default(), slot(50, false, None));
    let near = LIVE.map(|deadline| deadline + 1000);
    check(
        &touch(50, near),
        key.clone(),
        Marks::default(),
        (Verdict::Survived, key, mark),
    );
}

#[test]
fn what_was_inherited_is_left_while_nobody_disturbed_it() {
    let there = hash(&[(F, OLD)]);
    for key in [there.clone(), None] {
        let found = base(40, false, false);
        let newer = |marks| with_field(marks, G, slot(60, true, None));
        for marks in [Marks::default(), found, newer(Marks::default())] {
            for record in each().map(known) {
                let outcome = run(&record, key.clone(), marks.clone());
                assert_eq!(verdict(&outcome), Verdict::Survived);
                assert_eq!(outcome.key, key);
                let stamps = [outcome.marks.base.map(|base| base.stamp)];
                let fields = outcome.marks.fields.values().map(|slot| slot.stamp);
                let deadline = outcome.marks.deadline.iter().map(|slot| slot.stamp);
                let mut all = stamps.into_iter().flatten().chain(fields).chain(deadline);
                assert!(all.any(|stamp| stamp == Stamp(50)), "it leaves a mark");
            }
        }
    }
}

#[test]
fn what_was_inherited_and_differs_stays_pending() {
    let pending = Some(FieldWrite::Set(OWN));
    let record = known(field(50, FieldWrite::Set(OWN)));
    for key in [hash(&[(F, OLD)]), None] {
        let mark = with_field(Marks::default(), F, slot(50, false, pending.clone()));
        let expected = (Verdict::Survived, key.clone(), mark);
        check(&record, key.clone(), Marks::default(), expected);
        let mark = with_deadline(Marks::default(), slot(50, false, Some(LONGER)));
        let expected = (Verdict::Survived, key.clone(), mark);
        check(&known(touch(50, LONGER)), key, Marks::default(), expected);
    }
    let equal = hash_until(&[(F, OWN)], LONGER);
    let mark = with_field(Marks::default(), F, slot(50, false, None));
    let expected = (Verdict::Survived, equal.clone(), mark);
    check(&record, equal.clone(), Marks::default(), expected);
    let mark = with_deadline(Marks::default(), slot(50, false, None));
    let expected = (Verdict::Survived, equal.clone(), mark);
    check(&known(touch(50, LONGER)), equal, Marks::default(), expected);
    // Whoever puts an older value back applies it.
    let marks = with_field(Marks::default(), F, slot(50, false, pending));
    let mark = with_field(written(40), F, slot(50, true, None));
    let both = hash(&[(F, OWN), (G, OLD)]);
    let record = set(40, hash(&[(F, OLD), (G, OLD)]));
    let expected = (Verdict::Repaired, both, mark);
    check(&record, hash(&[(F, NEW)]), marks, expected);
}

#[test]
fn what_was_inherited_is_restored_where_something_older_was_written_in_this_round() {
    let there = hash(&[(F, OLD)]);
    let own = string(OWN);
    let expected = (Verdict::Repaired, own.clone(), written(50));
    check(
        &known(set(50, own.clone())),
        there.clone(),
        written(40),
        expected.clone(),
    );
    let marks = with_field(Marks::default(), F, slot(40, true, None));
    check(
        &known(set(50, own.clone())),
        there.clone(),
        marks,
        expected.clone(),
    );
    let marks = with_deadline(Marks::default(), slot(40, true, None));
    check(&known(set(50, own)), there.clone(), marks, expected);
    let record = known(field(50, FieldWrite::Set(OWN)));
    let mark = with_field(written(40), F, slot(50, true, None));
    check(
        &record,
        there.clone(),
        written(40),
        (Verdict::Repaired, hash(&[(F, OWN)]), mark),
    );
    let mark = with_deadline(written(40), slot(50, true, None));
    let longer = hash_until(&[(F, OLD)], LONGER);
    check(
        &known(touch(50, LONGER)),
        there,
        written(40),
        (Verdict::Repaired, longer, mark),
    );
}

#[test]
fn losses_are_what_was_late_refused_or_still_pending_at_the_close() {
    for verdict in Verdict::ALL {
        let is_late = matches!(verdict, Verdict::Late | Verdict::Refused);
        assert_eq!(verdict.is_loss(false), is_late);
        assert_eq!(
            verdict.is_loss(true),
            is_late || verdict == Verdict::Pending
        );
    }
}
