//! Fields and touches.

use super::*;

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
