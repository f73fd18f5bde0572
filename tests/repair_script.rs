//! The scripts of repair do on the server what their pure functions say: each case is a server's state, marks, a round and a
//! record by chance; key, deadline, marks and verdicts are compared.
//!
//! `GRIPFAST_TEST_REPAIRS` sets how many cases are generated for each server version.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells by printing"
)]

#[path = "repair_script/cases.rs"]
mod cases;
#[path = "repair_script/costs.rs"]
mod costs;
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its part of the harness"
)]
mod harness;
#[path = "repair_script/rounds.rs"]
mod rounds;
#[path = "repair_script/server.rs"]
mod server;
#[path = "repair_script/stage.rs"]
mod stage;

use gripfast::repair::decide::decide;
use gripfast::repair::key::is_same;
use gripfast::repair::script::reply;
use harness::{Random, Version, escape, seed, version};

use cases::Maker;
use stage::{KEY, Stage};

/// Cases for each server version when nothing else is asked for.
const CASES: usize = 2500;

fn cases() -> usize {
    let asked = std::env::var("GRIPFAST_TEST_REPAIRS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

/// What a repair does to the server is what [`decide`] says.
fn repairs(version: &Version) {
    let mut random = Random::new(seed("repairs"));
    let mut stage = Stage::new(version);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..cases() {
        let maker = Maker::new(&mut random, stage.now(), &stage.payloads);
        let case = maker.case();
        let (before, after, frame) = stage.repair(&case);
        let expected = decide(
            &case.record,
            before.clone(),
            case.marks_that_count(),
            &case.round(),
            case.now,
        );
        let told = format!("{case:#?}\nbefore: {before:#?}\nreply: {}", escape(&frame));
        let (is_open, verdicts) = reply::repaired(&frame, &case.record).expect(&told);
        assert_eq!(is_open, case.round().is_open(case.now), "{told}");
        assert_eq!(verdicts, expected.verdicts, "{told}");
        assert!(
            is_same(after.key.as_ref(), expected.key.as_ref()),
            "{told}\nkey: {:#?}\nexpected: {:#?}",
            after.key,
            expected.key
        );
        if case.is_stale() && expected.marks == case.marks_that_count() {
            continue;
        }
        stage::assert_same_marks(&after.marks, &expected.marks, &told);
        let all = verdicts.base.into_iter().chain(verdicts.touch);
        for verdict in all.chain(verdicts.fields.into_values()) {
            *seen.entry(format!("{verdict:?}")).or_insert(0) += 1;
        }
    }
    eprintln!("{}: {seen:?}", version.name);
    assert_eq!(seen.len(), 8, "every verdict but Refused was met");
}

/// What a mark leaves on the server is what `Marks::write` says.
fn marks(version: &Version) {
    let mut random = Random::new(seed("marks"));
    let mut stage = Stage::new(version);
    for _ in 0..cases() / 4 {
        let mut maker = Maker::new(&mut random, stage.now(), &stage.payloads);
        let (write, dispatch) = (maker.app_write(), maker.stamp());
        let case = maker.case();
        let (before, after, frame) = stage.mark(&case, &write, dispatch);
        let told = format!("{case:#?}\n{write:?} {dispatch:?}\n{}", escape(&frame));
        let stamps = reply::marked(&frame).expect(&told);
        let untouched = case.marks_that_count();
        if !case.round().is_open(case.now) {
            assert!(stamps.is_empty(), "{told}");
            continue;
        }
        let (expected, stamp) = untouched.write(&write, dispatch, before.is_some());
        assert_eq!(stamps, [stamp], "{told}");
        stage::assert_same_marks(&after.marks, &expected, &told);
    }
}

/// A payload that the server does not take changes nothing, and says so.
fn refuses(version: &Version) {
    use bytes::Bytes;
    use gripfast::repair::key::{Content, Whole};
    use gripfast::repair::record::{Base, Component, Record, Verdict};
    let mut random = Random::new(1);
    let mut stage = Stage::new(version);
    let mut case = Maker::new(&mut random, stage.now(), &stage.payloads).open_case();
    let whole = Whole {
        content: Content::Opaque(Bytes::from_static(b"\0\x03abc\xff\xff12345678")),
        deadline: None,
    };
    case.record = Record {
        base: Some(Component {
            stamp: case.now,
            is_inherited: false,
            write: Base::Value(whole),
        }),
        ..Record::default()
    };
    let (before, after, frame) = stage.repair(&case);
    let (_, verdicts) = reply::repaired(&frame, &case.record).expect("an answer");
    assert_eq!(verdicts.base, Some(Verdict::Refused), "{KEY}");
    assert!(is_same(before.as_ref(), after.key.as_ref()));
    stage::assert_same_marks(&after.marks, &case.marks, "as they were");
}

/// Of a payload [`decide`] knows no fields. The script does what is newer to those of a hash: what others left pending, and what
/// the record has on top.
fn looks_into_a_payload(version: &Version) {
    use bytes::Bytes;
    use gripfast::repair::key::{Content, Whole};
    use gripfast::repair::marks::{Marks, Slot};
    use gripfast::repair::record::{Base, Component, FieldWrite, Record, Verdict};
    use gripfast::repair::stamp::Stamp;
    let mut random = Random::new(2);
    let mut stage = Stage::new(version);
    let mut case = Maker::new(&mut random, stage.now(), &stage.payloads).open_case();
    let stamp = |after| Stamp(case.now.0 + after);
    fn own<T>(stamp: Stamp, write: T) -> Component<T> {
        Component {
            stamp,
            is_inherited: false,
            write,
        }
    }
    let set = |value: &'static str| FieldWrite::Set(Bytes::from_static(value.as_bytes()));
    let pending = Slot {
        stamp: stamp(1),
        is_written: false,
        pending: Some(set("3")),
    };
    let whole = Whole {
        content: Content::Opaque(stage.hash.clone()),
        deadline: None,
    };
    let fields = [
        (Bytes::from_static(b"f"), own(stamp(2), FieldWrite::Remove)),
        (Bytes::from_static(b"h"), own(stamp(2), set("4"))),
    ];
    let record = Record {
        base: Some(own(stamp(0), Base::Value(whole))),
        fields: fields.into(),
        ..Record::default()
    };
    case.key = None;
    case.marks = Marks {
        fields: [(Bytes::from_static(b"g"), pending)].into(),
        ..Marks::default()
    };
    case.record = record;
    let (_, after, frame) = stage.repair(&case);
    let (_, verdicts) = reply::repaired(&frame, &case.record).expect("an answer");
    let all = verdicts
        .base
        .into_iter()
        .chain(verdicts.fields.into_values());
    assert_eq!(all.collect::<Vec<_>>(), [Verdict::Repaired; 3], "{KEY}");
    let pairs = [("g", "3"), ("h", "4")].map(|(name, value)| (name.into(), value.into()));
    let content = Content::Hash(pairs.into());
    assert_eq!(after.key.map(|whole| whole.content), Some(content));
}

fn all(name: &str) {
    let Some(version) = version(name) else { return };
    repairs(&version);
    marks(&version);
    refuses(&version);
    looks_into_a_payload(&version);
    rounds::all(&version);
}

#[test]
fn redis_6_2() {
    all("redis-6.2");
}

#[test]
fn redis_7_0() {
    all("redis-7.0");
}

#[test]
fn redis_8_2() {
    all("redis-8.2");
}

#[test]
fn valkey_9_1() {
    all("valkey-9.1");
}

#[test]
#[ignore = "a measurement"]
fn costs() {
    for version in harness::versions() {
        costs::measure(&version);
    }
}
