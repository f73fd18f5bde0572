use super::*;

fn sample(newest: Seq, offset: i64, acknowledged: Option<i64>) -> Sample {
    Sample {
        generation: 0,
        newest,
        replid: "A".into(),
        offset,
        acknowledged,
        replicated: 0,
    }
}

#[test]
fn a_record_is_confirmed_once_a_later_sample_is_acknowledged() {
    let mut samples = Samples::default();
    assert_eq!(samples.at_risk(1, 0), 0);
    samples.take(sample(3, 100, Some(99)));
    assert_eq!((samples.at_risk(1, 5), samples.eras[0].unconfirmed), (5, 1));
    samples.take(sample(5, 200, Some(100)));
    assert_eq!((samples.at_risk(1, 5), samples.eras[0].unconfirmed), (2, 4));
    assert_eq!((samples.at_risk(3, 3), samples.at_risk(4, 4)), (0, 1));
    samples.take(sample(5, 210, None));
    assert_eq!(samples.at_risk(1, 5), 2, "without replicas nothing is");
    samples.take(sample(5, 220, Some(200)));
    assert_eq!(samples.at_risk(1, 5), 0);
    assert_eq!(samples.at_risk(1, 6), 1);
    samples.take(sample(5, 230, Some(0)));
    assert_eq!(samples.at_risk(1, 5), 0, "what is known stays known");
}

#[test]
fn a_history_under_another_name_is_the_same() {
    let mut samples = Samples::default();
    samples.take(sample(3, 100, None));
    let renamed = Sample {
        replid: "B".into(),
        ..sample(5, 200, Some(150))
    };
    samples.take(renamed.clone());
    assert_eq!(samples.at_risk(1, 5), 5, "it was not said that it is");
    samples.rename_history("B".into());
    samples.take(renamed);
    assert_eq!(samples.at_risk(1, 5), 2);
    let inheritance = Inheritance {
        replid: "B".into(),
        end: 200,
    };
    let fate = samples.begin(1, 6, 1, Some(&inheritance));
    assert_eq!((fate.inherited, fate.in_doubt), (2, 0));
}

#[test]
fn another_history_says_nothing_of_this_era() {
    let mut samples = Samples::default();
    samples.take(sample(3, 100, Some(0)));
    let restarted = Sample {
        replid: "B".into(),
        ..sample(5, 7, Some(1_000))
    };
    assert!(!samples.take(restarted.clone()));
    assert!(!samples.take(restarted.clone()));
    assert_eq!(samples.at_risk(1, 5), 5);
    samples.begin(1, 6, 1, None);
    samples.take(Sample {
        generation: 1,
        newest: 6,
        ..restarted
    });
    assert_eq!(samples.at_risk(1, 6), 5, "its own era");
}

#[test]
fn what_was_put_back_is_at_risk_until_replicas_of_the_new_primary_have_it() {
    let mut samples = Samples::default();
    samples.take(sample(4, 100, Some(50)));
    samples.begin(1, 6, 1, Some(&inheritance("A", 120)));
    assert!(samples.is_inherited(1, 4) && !samples.is_inherited(4, 5));
    samples.take(of(1, "B", 7, 130));
    samples.repaired(3);
    let acknowledged = |newest, offset| Sample {
        acknowledged: Some(offset),
        ..of(1, "B", newest, offset)
    };
    assert_eq!(samples.at_risk(1, 7), 7);
    samples.take(acknowledged(7, 140));
    assert_eq!((samples.at_risk(1, 2), samples.at_risk(3, 7)), (0, 0));
    // The next one is known to have what was put back.
    samples.take(of(1, "B", 9, 200));
    samples.begin(2, 10, 1, Some(&inheritance("B", 150)));
    assert!(samples.is_inherited(3, 7) && !samples.is_inherited(3, 8));
    assert!(!samples.is_inherited(2, 3), "of the one before");
}

#[test]
fn nothing_is_known_to_be_inherited_of_one_that_lacked_something() {
    let mut samples = Samples::default();
    samples.begin(1, 1, 1, None);
    samples.take(of(1, "B", 5, 100));
    samples.begin(2, 6, 1, Some(&inheritance("B", 100)));
    assert!(!samples.is_inherited(1, 5));
}

#[test]
fn the_same_primary_under_another_address_goes_on() {
    let mut samples = Samples::default();
    samples.take(sample(3, 100, Some(0)));
    samples.rename(4);
    samples.take(Sample {
        generation: 4,
        ..sample(3, 200, Some(100))
    });
    assert_eq!(samples.at_risk(1, 3), 0);
}

#[test]
fn what_another_primary_had_is_confirmed_by_no_sample_of_this_one() {
    let mut samples = Samples::default();
    samples.take(sample(4, 100, Some(50)));
    samples.begin(1, 6, 1, None);
    let late = sample(9, 999, Some(999));
    assert!(!samples.take(late.clone()));
    assert_eq!(samples.at_risk(1, 5), 5, "of the old primary, too late");
    samples.take(Sample {
        generation: 1,
        ..sample(5, 100, Some(100))
    });
    assert_eq!(samples.at_risk(1, 5), 5, "from before it");
    samples.take(Sample {
        generation: 1,
        ..late
    });
    assert_eq!(samples.at_risk(1, 9), 5, "the old ones");
    assert_eq!((samples.at_risk(5, 5), samples.at_risk(6, 6)), (1, 0));
    assert_eq!(samples.at_risk(4, 10), 3, "those that are still there");
}

fn inheritance(replid: &str, end: i64) -> Inheritance {
    Inheritance {
        replid: replid.into(),
        end,
    }
}

fn of(generation: u64, replid: &str, newest: Seq, offset: i64) -> Sample {
    Sample {
        generation,
        replid: replid.into(),
        ..sample(newest, offset, None)
    }
}

#[test]
fn what_another_primary_has_inherited_is_known_by_its_offset() {
    let fate = |inherited, in_doubt| Fate {
        inherited,
        in_doubt,
    };
    for (heir, expected) in [
        (Some(inheritance("A", 250)), fate(3, 3)),
        (Some(inheritance("A", 199)), fate(0, 6)),
        (Some(inheritance("A", 9_999)), fate(5, 1)),
        (Some(inheritance("X", 9_999)), fate(0, 6)),
        (None, fate(0, 6)),
    ] {
        let mut samples = Samples::default();
        samples.take(sample(2, 100, Some(100)));
        samples.take(sample(5, 200, Some(100)));
        samples.take(sample(7, 300, Some(100)));
        let became = samples.begin(1, 9, 1, heir.as_ref());
        assert_eq!(became, expected, "{heir:?}");
        let known = (1..=8).filter(|record| samples.is_known(*record)).count();
        // Two were confirmed before.
        assert_eq!(known as u64, 2 + expected.inherited, "{heir:?}");
        assert_eq!(samples.at_risk(1, 8), 6);
        let follows = |acknowledged| Sample {
            acknowledged: Some(acknowledged),
            ..of(1, "B", 8, 301)
        };
        if expected.inherited > 0 {
            samples.take(follows(100));
            assert_eq!(samples.at_risk(1, 8), 6, "who has not even that");
        }
        samples.take(follows(10_000));
        assert_eq!(samples.at_risk(1, 8), expected.in_doubt, "{heir:?}");
    }
}

#[test]
fn what_was_inherited_twice_is_followed_back() {
    for end in [650, 550, 450, 350, 250] {
        let mut samples = Samples::default();
        samples.take(of(0, "A", 3, 300));
        samples.take(of(0, "A", 5, 400));
        // 400 and what follows were lost.
        let fate = samples.begin(1, 7, 1, Some(&inheritance("A", 390)));
        assert_eq!((fate.inherited, fate.in_doubt), (3, 3));
        samples.take(of(1, "B", 9, 500));
        samples.take(of(1, "B", 11, 600));
        let fate = samples.begin(2, 13, 1, Some(&inheritance("B", end)));
        let still = match end {
            // Records 4 to 6 were lost already, and 12 was never sampled.
            600.. => 3 + 1,
            500.. => 3 + 3,
            300.. => 3 + 6,
            _ => 6 + 6,
        };
        assert_eq!(fate.in_doubt, still, "{end}");
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut samples = Samples::default();
    for at in 1..5_000 {
        samples.take(sample(at, at as i64, Some(0)));
    }
    assert_eq!(samples.eras[0].samples.len(), SAMPLES_MAX);
    for _ in 0..SAMPLES_MAX {
        samples.take(sample(4_999, 4_999, Some(0)));
    }
    assert_eq!(samples.eras[0].samples.front(), Some(&(3_976, 3_976)));
    samples.take(sample(5_000, 5_000, Some(4_999)));
    assert_eq!(samples.at_risk(1, 5_000), 1);
    for generation in 1..100 {
        samples.begin(generation, 5_000 + generation, 1, None);
    }
    assert_eq!(samples.eras.len(), ERAS_MAX);
    assert_eq!(samples.at_risk(5_001, 5_099), 99);
}
