mod rows;
mod show;

use proptest::prelude::*;

use super::*;
use crate::command::leaves::{Look, keys_to_look_at, look};
use crate::command::written::Written;
use crate::journal::image::Image;
use crate::journal::keyspace::Keyspace;
use crate::journal::ring::Record;
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

/// What a change leaves open of a key of which nothing was known: the look that closes it.
fn left_open(effect: &KeyEffect) -> Option<Look> {
    let made = effect.was == Was::Unknown;
    match &effect.change {
        Change::Seen(_) | Change::Deleted => None,
        Change::Opaque => Some(Look::Payload),
        Change::Value { value, .. } if !value.is_known() => Some(Look::Payload),
        Change::Value {
            deadline: Some(Deadline::Unknown),
            ..
        }
        | Change::Deadline(Deadline::Unknown) => Some(Look::Deadline),
        Change::Value { deadline: None, .. } => {
            (effect.was != Was::Absent).then_some(Look::Deadline)
        }
        Change::Value { .. } | Change::Deadline(_) => None,
        Change::Fields(fields) => {
            let any = |is: fn(&FieldChange) -> bool| fields.iter().any(|(_, change)| is(change));
            let counts = |change: &FieldChange| match change {
                FieldChange::Value { deadline, .. } => deadline.is_none(),
                FieldChange::Unknown => true,
                FieldChange::Deadline(_) | FieldChange::Removed => false,
            };
            if any(counts) {
                return made.then_some(Look::Payload);
            }
            let sets = any(|change| matches!(change, FieldChange::Value { .. }));
            (made && sets).then_some(Look::Fields)
        }
        Change::Members(members) => {
            let adds = members.iter().any(|(_, how)| *how == MemberChange::Added);
            (made && adds).then_some(Look::Payload)
        }
        Change::Scores(scores) => {
            let adds = scores.iter().any(|(_, how)| *how != ScoreChange::Removed);
            (made && adds).then_some(Look::Payload)
        }
    }
}

/// Says of a request that met a server of which nothing is known which key is left open and not asked about, if one is.
fn unasked(request: &str, answer: &str) -> Option<String> {
    let words: Vec<&str> = request.split(' ').collect();
    let bytes = request_bytes(&words);
    let found = run(&mut Keyspace::unknown(), request, answer);
    let sent = words::first(&bytes)?;
    let (asked, keys) = TABLE.with(|table| {
        let command = table.find(words[0].as_bytes());
        let asked = look(&command, &bytes, &sent.words);
        (asked, keys_to_look_at(&command, &bytes, &sent.words))
    });
    let is_asked = |effect: &KeyEffect| match &keys {
        // It is counted that nobody knows.
        Written::Anything => asked == Some(Look::Payload),
        Written::Words(keys) => {
            let names = keys.iter().filter_map(|key| words.get(*key));
            asked >= left_open(effect)
                && effect.database == 0
                && names.into_iter().any(|name| name.as_bytes() == effect.key)
        }
    };
    found.iter().find_map(|effect| match effect {
        Effect::Key(effect) if left_open(effect).is_some() && !is_asked(effect) => {
            Some(format!("{request} = {answer}: {effect:?}"))
        }
        Effect::Anything if asked != Some(Look::Payload) || keys != Written::Anything => {
            Some(format!("{request} = {answer}: anything"))
        }
        _ => None,
    })
}

/// Each command that may leave something that its reply does not tell has a look that does.
#[test]
fn what_a_reply_leaves_open_is_asked_for() {
    let single = rows::ROWS
        .iter()
        .filter(|row| !row.1.starts_with("MULTI") && !row.1.starts_with("XGROUP"));
    // What was answered at more length than is remembered is not asked for.
    let is_whole = |row: &&rows::Row| !row.2.is_empty() && !row.2.contains('~');
    let faults: Vec<String> = single
        .filter(is_whole)
        .filter_map(|&(_, request, answer, ..)| unasked(request, answer))
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
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
fn a_transaction_is_read_with_what_its_requests_left() {
    let mut known = before("-; SET k v");
    let block = "MULTI | APPEND k w | SELECT 1 | SET k x | SWAPDB 0 1 | SET k y XX | EXEC";
    let found = run(&mut known, block, "* :2 +OK +OK +OK +OK");
    assert_eq!(
        list(&found),
        "k+=\"vw\"@kept; 1:k-=\"x\"@never; swapped 0 1; 1:k+=\"y\"@never"
    );
    assert_eq!(image(&known.image(0, b"k")), "+\"x\"@never");
    assert_eq!(image(&known.image(1, b"k")), "+\"y\"@never");
}

#[test]
fn a_transaction_that_was_not_run_left_nothing() {
    let mut known = before("-");
    for answer in ["nil", "_", "*-1", "-EXECABORT Transaction discarded"] {
        assert_eq!(run(&mut known, "MULTI | SET k v | EXEC", answer), []);
    }
    assert_eq!(run(&mut known, "MULTI | EXEC", "*"), []);
}

/// Whatever else has happened, the keys that were named are not what they were.
#[test]
fn a_transaction_without_all_replies_is_read_as_far_as_they_reach() {
    let block = "MULTI | SET k v | GETDEL x | SELECT 3 | HSET h a 1 | GET k | EXEC";
    for (answer, expected) in [
        // Not as many replies as requests: something else was run.
        ("* +OK +OK", "k? opaque; x? opaque; 3:h? opaque; anything"),
        ("5 * +OK 900~a", "k?=\"v\"@never; x+ del; 3:h? opaque"),
        ("5 *", "k? opaque; x? opaque; 3:h? opaque"),
        ("", "k? opaque; x? opaque; 3:h? opaque"),
    ] {
        let found = run(&mut Keyspace::unknown(), block, answer);
        assert_eq!(list(&found), expected, "{answer}");
    }
}

/// Several requests with as many replies; one alone; a transaction.
#[test]
fn each_write_of_a_record_is_read_by_itself() {
    for (requests, replies, expected) in [
        (
            "SET k v | APPEND k w | GETDEL k",
            "+OK; :2; nil",
            "k?=\"v\"@never / k+=?@kept / k- del",
        ),
        ("SET k v", "+OK", "k?=\"v\"@never"),
        ("SET k v", "", "k? opaque"),
        (
            "MULTI | SET k v | APPEND k w | EXEC",
            "* +OK :2",
            "k?=\"v\"@never; k+=\"vw\"@kept",
        ),
        ("SET k v | SET x v", "+OK", "k?=\"v\"@never / x? opaque"),
    ] {
        let words = requests.split(" | ").map(|line| line.split(' ').collect());
        let words: Vec<Vec<&str>> = words.collect();
        let record = Record {
            sent_at: 0,
            database: 0,
            count: match words[0] == ["MULTI"] {
                true => 1,
                false => words.len() as u32,
            },
            request: &words
                .iter()
                .flat_map(|words| request_bytes(words))
                .collect::<Vec<u8>>(),
            reply: &replies.split("; ").flat_map(reply).collect::<Vec<u8>>(),
            whole: true,
            is_look: false,
            fields_last: false,
        };
        let mut found = Vec::new();
        TABLE.with(|table| {
            proven_effects(table, &record, MOMENT, |effects| found.push(list(&effects)));
            let cut = Record {
                request: &record.request[..record.request.len() - 1],
                ..record
            };
            let mut last = Vec::new();
            proven_effects(table, &cut, MOMENT, |effects| last = effects);
            assert_eq!(last, [Effect::Anything]);
        });
        assert_eq!(found.join(" / "), expected);
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

const WORDS: &[&str] = &[
    "k",
    "k",
    "h",
    "0",
    "1",
    "-1",
    "10",
    "NX",
    "XX",
    "GT",
    "EX",
    "PX",
    "GET",
    "FIELDS",
    "a",
    "",
    "KEEPTTL",
    "REPLACE",
    "9223372036854775807",
    "18446744073709551615",
    "1.5",
    "DB",
    "INCR",
];

const REPLIES: &[&str] = &[
    "+OK",
    ":0",
    ":1",
    ":-2",
    ":9223372036854775807",
    "nil",
    "_",
    "$v",
    "$1",
    "9~v",
    ",1.5",
    "*",
    "* :1",
    "* nil $v",
    "* :2 :-2",
    "*-1",
    "+QUEUED",
    "%0",
    "#t",
];

proptest! {
    /// Whatever the words and the reply, and however they fit, there is an answer, and it can be folded.
    #[test]
    fn nonsense_never_panics(
        name in proptest::sample::select(super::reader::names()),
        words in proptest::collection::vec(proptest::sample::select(WORDS), 0..8),
        answer in proptest::sample::select(REPLIES),
        setup in proptest::sample::select(&["-", "?", "-; SET k 5 EX 9", "-; HSET k a 1 b 2 => :2"][..]),
    ) {
        let mut known = before(setup);
        let request = [&[name][..], &words].concat().join(" ");
        run(&mut known, &request, answer);
        run(&mut known, &format!("MULTI | {request} | EXEC"), &format!("* {answer}"));
    }
}
