//! Whole values and deletes.

use super::*;

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
