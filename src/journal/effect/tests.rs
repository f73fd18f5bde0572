mod nonsense;
mod open;
mod rows;
mod several;
mod show;

use super::*;
use crate::journal::image::Image;
use crate::journal::keyspace::Keyspace;
use crate::resp::notation::reply;
use crate::resp::request_bytes;
use show::{image, list};

/// When all requests run.
const MOMENT: Moment = Moment {
    at: 1_000_000,
    doubt: 10,
};

thread_local! {
    /// It takes longer to make than a request to read.
    static TABLE: Table = Table::default();
}

/// Runs one request, folds its effects in and returns them.
fn run(known: &mut Keyspace, request: &str, answer: &str) -> Vec<Effect> {
    let requests: Vec<Vec<&str>> = request
        .split(" | ")
        .map(|request| request.split(' ').collect())
        .collect();
    let bytes: Vec<u8> = requests
        .iter()
        .flat_map(|words| request_bytes(words))
        .collect();
    let found = TABLE.with(|table| {
        let write = Write {
            table,
            database: 0,
            request: &bytes,
            reply: &reply(answer),
            moment: MOMENT,
            fields_last: false,
        };
        match requests[0] == ["MULTI"] {
            true => block_effects(&write, known),
            false => effects(&write, known),
        }
    });
    for effect in &found {
        known.apply(effect, MOMENT);
    }
    found
}

/// Makes what is known before: `-` nothing is there, `?` nothing is known, then requests that were answered.
fn before(setup: &str) -> Keyspace {
    let mut parts = setup.split("; ");
    let mut known = match parts.next() {
        Some("-") => Keyspace::empty(),
        _ => Keyspace::unknown(),
    };
    for part in parts {
        let (request, answer) = part.split_once(" => ").unwrap_or((part, "+OK"));
        run(&mut known, request, answer);
    }
    known
}

#[test]
fn every_command_by_reply_and_by_what_was_known() {
    let mut faults = Vec::new();
    for &(setup, request, answer, expected, left) in rows::ROWS {
        let mut known = before(setup);
        let found = list(&run(&mut known, request, answer));
        let now = image(&known.image(0, b"k"));
        if found != expected || now != left {
            faults.push(format!(
                "    ({setup:?}, {request:?}, {answer:?}, {found:?}, {now:?}),"
            ));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// From where nothing is known the same is said as from the truth, or less.
#[test]
fn what_is_said_of_an_unknown_key_holds_of_each_that_it_may_be() {
    for (setup, request, answer, ..) in rows::ROWS {
        let (mut truth, mut unknown) = (before(setup), Keyspace::unknown());
        let refutes = list(&run(&mut truth, request, answer)).contains('!');
        // A deadline that was counted down is less exact than one that is known.
        if refutes || request.starts_with("PTTL") {
            continue;
        }
        run(&mut unknown, request, answer);
        let said = unknown.image(0, b"k").into_owned();
        let truth = truth.image(0, b"k").into_owned();
        // What both have in common is all that was said, once more.
        assert_eq!(
            image(&said.clone().common(truth)),
            image(&said),
            "{setup}; {request}"
        );
    }
}

/// What strangers may have undone is told from what the reply itself proves.
#[test]
fn a_reply_proves_more_or_less_by_itself() {
    for (setup, request, answer, was, proven) in [
        ("-", "HSET k a 1", ":1", Was::Absent, Was::Unknown),
        (
            "-; HSET k a 1 => :1",
            "HSET k a 2",
            ":0",
            Was::There,
            Was::There,
        ),
        ("-", "SET k v NX", "+OK", Was::Absent, Was::Absent),
        ("-; SET k v", "SET k w", "+OK", Was::There, Was::Unknown),
        ("?", "EXPIRE k 9", ":0", Was::Absent, Was::Absent),
        ("-; SET k v", "DEL k", ":0", Was::Absent, Was::Absent),
    ] {
        let found = run(&mut before(setup), request, answer);
        let [Effect::Key(effect)] = found.as_slice() else {
            panic!("{request}: {found:?}");
        };
        assert_eq!(
            (effect.was, effect.proven),
            (was, proven),
            "{setup}; {request}"
        );
    }
}

/// Where the reply counts: of HMSET it does not, and of HINCRBY only that there was another number before.
#[test]
fn a_reply_tells_by_how_much_a_hash_has_grown() {
    for (request, answer, growth) in [
        ("HSET k a 1 b 2", ":2", Some(2)),
        ("HSET k a 1 b 2", ":0", Some(0)),
        ("HSETNX k a 1", ":1", Some(1)),
        ("HSETNX k a 1", ":0", Some(0)),
        ("HDEL k a b", ":1", Some(-1)),
        ("HMSET k a 1", "+OK", None),
        ("HINCRBY k a 2", ":2", None),
        ("HINCRBY k a 2", ":5", Some(0)),
        ("SET k v", "+OK", None),
        ("SADD k a", ":1", None),
    ] {
        let found = run(&mut Keyspace::unknown(), request, answer);
        let [Effect::Key(effect)] = found.as_slice() else {
            panic!("{request}: {found:?}");
        };
        assert_eq!(effect.growth, growth, "{request} = {answer}");
    }
}

#[test]
fn an_error_left_nothing() {
    let mut known = before("-; SET k v; HSET h a 1 => :1");
    for request in [
        "SET k x",
        "HSET k a 1",
        "FLUSHALL",
        "DEL k",
        "ZADD h 1 a",
        "LPUSH k a",
        "RENAME x k",
    ] {
        assert_eq!(run(&mut known, request, "-WRONGTYPE no"), [], "{request}");
    }
    assert_eq!(
        run(&mut known, "NO.SUCH k", "-ERR unknown command 'NO.SUCH'"),
        []
    );
    assert_eq!(
        run(&mut known, "MULTI | SET k x | EXEC", "-EXECABORT no"),
        []
    );
}

#[test]
fn reads_left_nothing() {
    let mut known = Keyspace::empty();
    for (request, answer) in [
        ("GETRANGE k 0 1", "$v"),
        ("HGETALL k", "*"),
        ("PING", "+PONG"),
        ("SORT k", "*"),
        ("SORT k BY nosort GET #", "*"),
        ("BLPOP k 1", "nil"),
        ("EVAL_RO s 1 k", ":1"),
        (
            "EVALSHA f 1 k",
            "-NOSCRIPT No matching script. Please use EVAL.",
        ),
        ("CONFIG SET a b", "+OK"),
        ("ACL WHOAMI", "$default"),
    ] {
        assert_eq!(run(&mut known, request, answer), [], "{request}");
    }
}

#[test]
fn a_request_that_is_none_may_have_done_anything() {
    let table = Table::default();
    let known = Keyspace::empty();
    for request in [&b""[..], b"*1\r\n$3\r\nSE", b"*1\r\n+SET\r\n"] {
        let write = Write {
            table: &table,
            database: 0,
            request,
            reply: b"+OK\r\n",
            moment: MOMENT,
            fields_last: false,
        };
        assert_eq!(effects(&write, &known), [Effect::Anything]);
    }
}

#[test]
fn a_flush_is_an_effect_of_its_own() {
    let mut known = before("?; SET k v");
    assert_eq!(
        run(&mut known, "FLUSHDB ASYNC", "+OK"),
        [Effect::Flushed { database: Some(0) }]
    );
    assert_eq!(*known.image(0, b"other"), Image::Absent);
    assert_eq!(*known.image(1, b"other"), Image::UNKNOWN);
    assert_eq!(
        run(&mut known, "FLUSHALL", "+OK"),
        [Effect::Flushed { database: None }]
    );
    assert_eq!(*known.image(1, b"other"), Image::Absent);
}

#[test]
fn databases_change_places() {
    let mut known = before("-; SET k v");
    assert_eq!(
        run(&mut known, "SWAPDB 0 1", "+OK"),
        [Effect::Swapped(0, 1)]
    );
    assert_eq!(*known.image(0, b"k"), Image::Absent);
    assert_eq!(image(&known.image(1, b"k")), "+\"v\"@never");
}

#[test]
fn a_key_may_go_to_another_database() {
    for (request, from) in [("MOVE k 1", "-"), ("COPY k k DB 1", "+\"v\"@never")] {
        let mut known = before("-; SET k v");
        run(&mut known, request, ":1");
        assert_eq!(image(&known.image(0, b"k")), from, "{request}");
        assert_eq!(image(&known.image(1, b"k")), "+\"v\"@never", "{request}");
    }
}

#[test]
fn an_inline_request_is_read_too() {
    let table = Table::default();
    let write = Write {
        table: &table,
        database: 3,
        request: b"set k 'a b'\r\n",
        reply: b"+OK\r\n",
        moment: MOMENT,
        fields_last: false,
    };
    assert_eq!(
        list(&effects(&write, &Keyspace::unknown())),
        "3:k?=\"a b\"@never"
    );
}

/// Each is folded by itself, whatever else the key holds.
#[test]
fn many_records_of_one_large_key() {
    let mut known = Keyspace::empty();
    for index in 0..10_000 {
        run(&mut known, &format!("HSET k field{index} v"), ":1");
    }
    for index in 0..10_000 {
        run(&mut known, &format!("HDEL k field{index}"), ":1");
    }
    assert_eq!(*known.image(0, b"k"), Image::Absent);
}
