//! Every row of the table.

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
fn a_value_is_put_back_with_its_deadline() {
    for there in [
        None,
        string(OLD),
        hash(&[(F, OWN), (G, OLD)]),
        hash_until(&[(F, OWN)], LONGER),
    ] {
        for own in [
            string(OWN),
            hash(&[(F, OWN)]),
            hash_until(&[(F, OWN)], None),
        ] {
            let expected = (Verdict::Repaired, own.clone(), written(50));
            check(&set(50, own), there.clone(), Marks::default(), expected);
        }
    }
}

#[test]
fn a_value_keeps_newer_fields_and_deadlines_and_applies_what_is_pending() {
    let record = set(50, hash(&[(F, OWN), (G, OWN)]));
    let newer = with_field(Marks::default(), F, slot(60, true, None));
    let mark = with_field(written(50), F, slot(60, true, None));
    let expected = (Verdict::Repaired, hash(&[(F, NEW), (G, OWN)]), mark);
    check(
        &record,
        hash(&[(F, NEW), (G, OLD)]),
        newer.clone(),
        expected,
    );
    // A newer HDEL.
    let mark = with_field(written(50), F, slot(60, true, None));
    check(
        &record,
        hash(&[(G, OLD)]),
        newer,
        (Verdict::Repaired, hash(&[(G, OWN)]), mark),
    );
    // Older ones are replaced.
    let older = with_field(Marks::default(), F, slot(40, true, None));
    let own = hash(&[(F, OWN), (G, OWN)]);
    check(
        &record,
        hash(&[(F, NEW)]),
        older,
        (Verdict::Repaired, own, written(50)),
    );

    let pending = with_field(
        Marks::default(),
        F,
        slot(60, false, Some(FieldWrite::Set(NEW))),
    );
    let pending = with_field(pending, G, slot(70, false, Some(FieldWrite::Remove)));
    let pending = with_deadline(pending, slot(80, false, Some(LONGER)));
    let mark = with_field(written(50), F, slot(60, true, None));
    let mark = with_field(mark, G, slot(70, true, None));
    let mark = with_deadline(mark, slot(80, true, None));
    let expected = (
        Verdict::Repaired,
        hash_until(&[(F, NEW)], LONGER),
        mark.clone(),
    );
    check(&record, None, pending, expected);
    // The deadline that is there.
    let there = hash_until(&[(F, NEW)], LONGER);
    let mut found = mark.clone();
    found.base = None;
    check(
        &record,
        there.clone(),
        found,
        (
            Verdict::Survived,
            there,
            Marks {
                base: base(50, false, false).base,
                ..mark
            },
        ),
    );
}

#[test]
fn a_delete_ends_the_key_and_makes_what_is_newer_pending() {
    let there = hash(&[(F, NEW), (G, OLD)]);
    let expected = (Verdict::DeletedAgain, None, base(50, true, true));
    check(
        &delete(50),
        there.clone(),
        Marks::default(),
        expected.clone(),
    );
    check(&delete(50), string(OLD), written(40), expected);
    let newer = with_field(written(40), F, slot(60, true, None));
    let newer = with_deadline(newer, slot(70, true, None));
    let pending = with_field(
        base(50, true, true),
        F,
        slot(60, true, Some(FieldWrite::Set(NEW))),
    );
    let pending = with_deadline(pending, slot(70, true, Some(LIVE)));
    check(
        &delete(50),
        there,
        newer,
        (Verdict::DeletedAgain, None, pending),
    );
}

#[test]
fn a_delete_leaves_a_hash_in_which_all_was_set_later() {
    let marks = |deadline| {
        let marks = with_field(deadline, F, slot(60, true, None));
        with_field(marks, G, slot(70, true, None))
    };
    let there = || hash(&[(F, NEW), (G, NEW)]);
    // The older deadline goes, a newer one stays.
    check(
        &delete(50),
        there(),
        marks(with_deadline(Marks::default(), slot(40, true, None))),
        (
            Verdict::DeletedAgain,
            hash_until(&[(F, NEW), (G, NEW)], None),
            marks(base(50, true, true)),
        ),
    );
    let newer = || slot(60, true, None);
    check(
        &delete(50),
        there(),
        marks(with_deadline(Marks::default(), newer())),
        (
            Verdict::Survived,
            there(),
            marks(with_deadline(base(50, true, false), newer())),
        ),
    );
    // What is pending is not in it.
    let pending = with_field(
        marks(Marks::default()),
        G,
        slot(70, true, Some(FieldWrite::Set(NEW))),
    );
    assert_eq!(run(&delete(50), there(), pending).key, None);
}

#[test]
fn a_field_is_set_or_removed_where_there_is_a_hash() {
    let there = hash(&[(F, OLD), (G, OLD)]);
    let mark = with_field(Marks::default(), F, slot(50, true, None));
    let expected = (Verdict::Repaired, hash(&[(F, OWN), (G, OLD)]), mark.clone());
    check(
        &field(50, FieldWrite::Set(OWN)),
        there.clone(),
        Marks::default(),
        expected,
    );
    let expected = (Verdict::Repaired, hash(&[(G, OLD)]), mark.clone());
    check(
        &field(50, FieldWrite::Remove),
        there,
        Marks::default(),
        expected,
    );
    // The last one takes the key along.
    let expected = (Verdict::Repaired, None, mark);
    let outcome = run(
        &field(50, FieldWrite::Remove),
        hash(&[(F, OLD)]),
        Marks::default(),
    );
    assert_eq!((verdict(&outcome), outcome.key, outcome.marks), expected);
}

/// Whichever name comes first.
#[test]
fn a_field_is_set_before_the_last_other_one_is_removed() {
    for (removed, left) in [(F, G), (G, F)] {
        let fields = [
            (removed, own(50, FieldWrite::Remove)),
            (left, own(60, FieldWrite::Set(OWN))),
        ];
        let record = Record {
            fields: fields.into(),
            ..Record::default()
        };
        let outcome = run(&record, hash(&[(removed, OLD)]), Marks::default());
        assert_eq!(outcome.key, hash(&[(left, OWN)]));
        let verdicts = [(removed, Verdict::Repaired), (left, Verdict::Repaired)];
        assert_eq!(outcome.verdicts.fields, BTreeMap::from(verdicts));
    }
}

#[test]
fn a_field_without_a_hash_is_pending() {
    for (key, write, expected) in [
        (None, FieldWrite::Set(OWN), Verdict::Pending),
        (None, FieldWrite::Remove, Verdict::Survived),
        (string(OLD), FieldWrite::Set(OWN), Verdict::Pending),
        (string(OLD), FieldWrite::Remove, Verdict::Pending),
    ] {
        let mark = with_field(Marks::default(), F, slot(50, false, Some(write.clone())));
        check(
            &field(50, write),
            key.clone(),
            Marks::default(),
            (expected, key, mark),
        );
    }
}

/// A hash whose two fields were counted, so that there are no others: a value of just before the older one.
fn counted() -> Record<u8> {
    let fields = [
        (F, own(50, FieldWrite::Set(OWN))),
        (G, own(60, FieldWrite::Set(OWN))),
    ];
    Record {
        fields: fields.into(),
        ..set(49, hash(&[(F, OWN), (G, OWN)]))
    }
}

#[test]
fn counted_fields_make_the_whole_key_again() {
    let whole = hash(&[(F, OWN), (G, OWN)]);
    for there in [None, hash(&[(9, OLD)]), string(OLD)] {
        let outcome = run(&counted(), there, Marks::default());
        assert_eq!(outcome.key, whole);
        assert_eq!(outcome.verdicts.base, Some(Verdict::Repaired));
        let fields = [(F, Verdict::Survived), (G, Verdict::Survived)];
        assert_eq!(outcome.verdicts.fields, BTreeMap::from(fields));
    }
    // What others wrote since comes in, or stays.
    let there = hash(&[(9, NEW), (F, OLD), (G, NEW)]);
    let marks = with_field(Marks::default(), 9, slot(55, true, None));
    let marks = with_field(marks, G, slot(70, true, None));
    let outcome = run(&counted(), there, marks);
    assert_eq!(outcome.key, hash(&[(9, NEW), (F, OWN), (G, NEW)]));
    assert_eq!(outcome.verdicts.fields[&G], Verdict::Superseded);
}

#[test]
fn counted_fields_make_no_key_that_was_deleted_later() {
    let outcome = run(&counted(), None, base(70, true, false));
    assert_eq!(outcome.key, None);
    // One that was set after the delete is not the whole of the key.
    let outcome = run(&counted(), None, base(55, true, false));
    assert_eq!(outcome.key, None);
    assert_eq!(outcome.verdicts.fields[&F], Verdict::Superseded);
    assert_eq!(outcome.verdicts.fields[&G], Verdict::Pending);
}

#[test]
fn a_touch_moves_the_deadline_of_a_key_that_is_there() {
    let mark = with_deadline(Marks::default(), slot(50, true, None));
    for deadline in [LONGER, None, Some(NOW_MS + 9)] {
        let expected = (
            Verdict::Repaired,
            hash_until(&[(F, OLD)], deadline),
            mark.clone(),
        );
        check(
            &touch(50, deadline),
            hash(&[(F, OLD)]),
            Marks::default(),
            expected,
        );
    }
    let mark = with_deadline(Marks::default(), slot(50, false, Some(LONGER)));
    check(
        &touch(50, LONGER),
        None,
        Marks::default(),
        (Verdict::Pending, None, mark),
    );
}

#[test]
fn a_touch_that_was_answered_here_never_shortens() {
    let mut record = touch(50, LIVE);
    record.touch.as_mut().unwrap().write.only_extends = true;
    let mark = with_deadline(Marks::default(), slot(50, false, None));
    for deadline in [LONGER, None] {
        let there = hash_until(&[(F, OLD)], deadline);
        let expected = (Verdict::Survived, there.clone(), mark.clone());
        check(&record, there, Marks::default(), expected);
    }
    let there = hash_until(&[(F, OLD)], Some(NOW_MS + 5));
    let mark = with_deadline(Marks::default(), slot(50, true, None));
    check(
        &record,
        there,
        Marks::default(),
        (Verdict::Repaired, hash(&[(F, OLD)]), mark),
    );
}

#[test]
fn a_value_that_has_expired_ends_what_is_older() {
    let record = set(50, hash_until(&[(F, OWN)], PAST));
    let expected = (Verdict::Expired, None, written(50));
    check(&record, hash(&[(F, OLD)]), Marks::default(), expected);
    let expected = (Verdict::Expired, None, base(50, false, false));
    check(&record, None, Marks::default(), expected);
    // It was touched since.
    let there = hash_until(&[(F, OLD)], LONGER);
    let marks = with_deadline(Marks::default(), slot(60, true, None));
    let expected = (
        Verdict::Repaired,
        hash_until(&[(F, OWN)], LONGER),
        with_deadline(written(50), slot(60, true, None)),
    );
    check(&record, there, marks, expected);
}

#[test]
fn a_touch_that_has_expired_ends_the_key_and_what_is_put_back_later() {
    let mark = with_deadline(Marks::default(), slot(50, true, Some(PAST)));
    let outcome = run(&touch(50, PAST), hash(&[(F, OLD)]), Marks::default());
    assert_eq!(
        (verdict(&outcome), &outcome.key, &outcome.marks),
        (Verdict::Expired, &None, &mark)
    );
    let outcome = run(&set(40, string(OWN)), None, mark);
    assert_eq!((verdict(&outcome), outcome.key), (Verdict::Expired, None));
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
