use super::*;
use crate::repair::stamp::Sample;

fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

fn read(line: &str) -> Option<Write<'_>> {
    Write::read(&words(line))
}

/// Answers lines, where `live` keys are known to exist.
fn answered(lines: &[&str], live: &[&str]) -> Option<String> {
    let writes: Vec<Write<'_>> = lines.iter().map(|line| read(line).unwrap()).collect();
    // What begins with a minus sign is known not to be there.
    let lives = |key: &[u8]| {
        let is = |known: &str| live.contains(&known);
        let key = String::from_utf8_lossy(key);
        match is(&key) {
            true => Some(true),
            false => is(&format!("-{key}")).then_some(false),
        }
    };
    let replies = replies(&writes, lives)?.concat();
    Some(String::from_utf8(replies).unwrap())
}

#[test]
fn only_writes_are_read_whose_effect_is_the_same_whatever_others_do() {
    for line in [
        "SET k v",
        "set k v EX 9",
        "SET k v pxat 9000",
        "SETEX k 9 v",
        "PSETEX k 9 v",
        "DEL a b",
        "UNLINK a",
        "EXPIRE k 9",
        "PEXPIREAT k 9",
    ] {
        assert!(read(line).is_some(), "{line}");
    }
    for line in [
        "SET k",
        "SET k v NX",
        "SET k v EX 9 GET",
        "SET k v KEEPTTL",
        "SET k v EX 0",
        "SET k v EX x",
        "SETEX k -1 v",
        "SETNX k v",
        "DEL",
        "EXPIRE k 9 GT",
        "EXPIRE k -1",
        "PERSIST k",
        "HSET k f v",
        "INCR k",
        "GET k",
    ] {
        assert_eq!(read(line), None, "{line}");
    }
}

#[test]
fn a_write_is_answered_as_the_server_would_or_not_at_all() {
    let set = Some("+OK\r\n".to_owned());
    assert_eq!(answered(&["SET k v"], &[]), set);
    assert_eq!(answered(&["DEL k"], &["k"]), Some(":1\r\n".into()));
    assert_eq!(answered(&["DEL k"], &[]), None);
    assert_eq!(answered(&["DEL a b a"], &["a", "b"]), Some(":2\r\n".into()));
    assert_eq!(answered(&["DEL a b"], &["a"]), None);
    assert_eq!(answered(&["DEL a b"], &["a", "-b"]), Some(":1\r\n".into()));
    assert_eq!(answered(&["EXPIRE k 9"], &["-k"]), None);
    assert_eq!(answered(&["EXPIRE k 9"], &["k"]), Some(":1\r\n".into()));
    assert_eq!(answered(&["EXPIRE k 9"], &[]), None);
}

#[test]
fn a_write_sees_those_in_front_of_it() {
    let login = ["DEL k", "SET k v", "EXPIRE k 9"];
    let replies = Some(":1\r\n+OK\r\n:1\r\n".to_owned());
    assert_eq!(answered(&login, &["k"]), replies);
    assert_eq!(answered(&login, &[]), None, "what DEL finds is not known");
    assert!(answered(&["SET k v", "DEL k"], &[]).is_some());
    let twice = Some(":1\r\n:0\r\n".to_owned());
    assert_eq!(answered(&["DEL k", "DEL k"], &["k"]), twice);
    assert_eq!(answered(&["DEL k", "EXPIRE k 9"], &["k"]), None);
}

fn encoded(line: &str) -> Vec<u8> {
    encode::request_bytes(&words(line))
}

fn kept(lines: &[(&str, Micros)]) -> Acknowledged {
    let mut kept = Acknowledged::default();
    for (line, at) in lines {
        kept.add(0, &read(line).unwrap(), *at);
    }
    kept
}

#[test]
fn a_key_is_shown_as_it_was_written_until_it_ends() {
    const SECOND: Micros = 1_000_000;
    let value = |kept: &Acknowledged, now, wall| {
        let value = kept.value(0, b"k", now, wall);
        value.map(|value| String::from_utf8(value.to_vec()).unwrap())
    };
    let some = Some("v".to_owned());
    let set = kept(&[("SET k u", 1), ("SET k v EX 9", SECOND)]);
    assert_eq!(value(&set, 9 * SECOND, 0), some);
    assert_eq!(value(&set, 10 * SECOND, 0), None);
    assert_eq!(set.exists(0, b"k", 10 * SECOND, 0), Some(false));
    let touched = kept(&[("SET k v EX 9", 1), ("EXPIRE k 60", 2)]);
    assert_eq!(value(&touched, 10 * SECOND, 0), some);
    let until = kept(&[("SET k v PXAT 5000", 1)]);
    assert_eq!(
        (value(&until, 1, 4_999), value(&until, 1, 5_000)),
        (some, None)
    );
    let gone = kept(&[("SET k v", 1), ("DEL k", 2)]);
    assert_eq!(value(&gone, 3, 0), None);
    assert_eq!(gone.exists(0, b"k", 3, 0), Some(false));
    assert!(gone.is_deleted(0, b"k") && !set.is_deleted(0, b"k"));
    let unknown = kept(&[("EXPIRE k 9", 1)]);
    assert_eq!(value(&unknown, 3, 0), None);
    assert_eq!(unknown.exists(0, b"k", 3, 0), Some(true));
    assert_eq!(unknown.exists(1, b"k", 3, 0), None, "another database");
}

/// The server's clock is 1,000 s ahead of ours.
fn clock() -> Clock {
    let mut clock = Clock::default();
    clock.feed(Sample {
        sent: Moment(0),
        answered: Moment(0),
        server: Stamp(1_000_000_000),
    });
    clock
}

#[test]
fn what_is_put_back_has_the_stamp_of_its_answer_and_each_component_its_own() {
    let kept = kept(&[
        ("EXPIRE k 5", 1_000),
        ("SET k v EX 9", 2_000_000),
        ("EXPIRE k 60", 3_000_000),
    ]);
    assert_eq!(kept.owns(&Clock::default()), []);
    let owns = kept.owns(&clock());
    let [own] = &owns[..] else { panic!("{owns:?}") };
    assert_eq!(own.counts.at_risk, 3);
    let base = own.record.base.as_ref().unwrap();
    assert_eq!(base.stamp, Stamp(1_002_000_000));
    let whole = Whole {
        content: Content::String(Bytes::from_static(b"v")),
        deadline: Some(1_011_000),
    };
    assert_eq!(base.write, Base::Value(whole));
    let touch = own.record.touch.as_ref().unwrap();
    assert_eq!(touch.stamp, Stamp(1_003_000_000));
    assert_eq!(touch.write.deadline, Some(1_063_000));
}

#[test]
fn newer_components_replace_those_of_the_journal() {
    let own = |lines| kept(lines).owns(&clock()).swap_remove(0);
    let mut journalled = own(&[("SET k old", 1), ("EXPIRE k 9", 2)]);
    merge(&mut journalled, own(&[("DEL k", 3)]));
    assert_eq!(journalled.record, own(&[("DEL k", 3)]).record);
    assert_eq!(journalled.counts.at_risk, 3);
    let mut journalled = own(&[("SET k old", 1)]);
    merge(&mut journalled, own(&[("EXPIRE k 9", 3)]));
    assert_eq!(
        journalled.record,
        own(&[("SET k old", 1), ("EXPIRE k 9", 3)]).record
    );
}

#[test]
fn put_back_it_is_a_write_of_the_journal() {
    let text = |lines: &[(&str, Micros)]| {
        let mut kept = kept(lines);
        let image = kept.remove(&(0, Bytes::from_static(b"k"))).unwrap();
        assert!(kept.is_empty() && kept.bytes == 0);
        let (request, _) = image.journalled(b"k", &clock()).unwrap();
        let is = |line: &str| request == encoded(line);
        [
            "SET k v",
            "SET k v PXAT 1009000",
            "DEL k",
            "PEXPIREAT k 1009000",
        ]
        .into_iter()
        .find(|line| is(line))
    };
    assert_eq!(text(&[("SET k v", 0)]), Some("SET k v"));
    assert_eq!(text(&[("SET k v EX 9", 0)]), Some("SET k v PXAT 1009000"));
    let touched = [("SET k v", 0), ("EXPIRE k 9", 0)];
    assert_eq!(text(&touched), Some("SET k v PXAT 1009000"));
    assert_eq!(text(&[("DEL k", 0)]), Some("DEL k"));
    assert_eq!(text(&[("EXPIRE k 9", 0)]), Some("PEXPIREAT k 1009000"));
}

#[test]
fn there_is_room_within_the_bounds() {
    let kept = kept(&[("SET k 12345", 1), ("DEL l", 1)]);
    let room = |line: &str, count, bytes| kept.has_room(&[read(line).unwrap()], count, bytes);
    assert!(room("SET m 123", 3, 11));
    assert!(!room("SET m 123", 3, 10));
    assert!(!room("SET m 123", 2, 11));
}

#[test]
fn plainly_written_it_lives_for_what_is_left() {
    let kept = kept(&[
        ("SET a v EX 9", 1_000_000),
        ("SET b v PXAT 77", 1),
        ("DEL c", 1),
        ("EXPIRE d 2", 0),
    ]);
    let lines: Vec<Vec<u8>> = kept
        .plain(4_000_000)
        .into_iter()
        .map(|(_, request)| request)
        .collect();
    let expected = ["SET a v PX 6000", "SET b v PXAT 77", "DEL c", "PEXPIRE d 1"];
    assert_eq!(lines, expected.map(encoded));
    assert_eq!(kept.oldest(), Some(0));
}
