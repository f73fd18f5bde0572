mod rows;
mod show;

use proptest::prelude::*;

use super::*;
use crate::resp::notation::reply;
use crate::resp::request_bytes;

/// Stamps of rows are counted in milliseconds from here, so that a deadline is told as `@` and the milliseconds from here.
const START: i64 = 1_000_000;

/// How far moments may be off.
const DOUBT_MS: i64 = 1;

/// One record, in short: the millisecond of its dispatch, `i` if the new primary has it, `c` if it was confirmed; then requests
/// between `|`, and behind `=>` their replies between `;`.
fn add(fold: &mut Fold, table: &Table, line: &str) {
    let (head, line) = line.split_once(' ').unwrap();
    let (asked, answered) = line.split_once(" =>").unwrap_or((line, " +OK"));
    let requests: Vec<Vec<&str>> = asked
        .split(" | ")
        .map(|words| words.split(' ').collect())
        .collect();
    let bytes = requests.iter().flat_map(|words| request_bytes(words));
    let replies = answered.trim().split("; ").flat_map(reply);
    let record = ring::Record {
        sent_at: 0,
        database: 0,
        count: match requests[0] == ["MULTI"] {
            true => 1,
            false => requests.len() as u32,
        },
        request: &bytes.collect::<Vec<u8>>(),
        reply: &replies.collect::<Vec<u8>>(),
        whole: true,
        is_look: false,
        fields_last: false,
    };
    let at: i64 = head.trim_end_matches(['i', 'c']).parse().unwrap();
    let dispatch = Dispatch {
        stamp: Stamp((START + at) * 1000),
        doubt_ms: DOUBT_MS,
        is_inherited: head.ends_with(['i', 'c']),
        is_at_risk: !head.ends_with('c'),
    };
    fold.add(table, &record, dispatch);
}

fn folded(lines: &str) -> Folded {
    let table = Table::default();
    let mut fold = Fold::new();
    for line in lines.split(" // ") {
        add(&mut fold, &table, line);
    }
    fold.finish()
}

#[test]
fn what_is_left_of_each_key() {
    let mut faults = Vec::new();
    for (lines, expected) in rows::ROWS {
        let found = show::owns(&folded(lines));
        if found != *expected {
            faults.push(format!("    ({lines:?}, {found:?}),"));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Whatever order the dispatches have.
#[test]
fn stamps_of_a_key_rise() {
    let found = folded("50 SET k v // 40 HSET k a 1 => :1 // 40 HSET k b 1 => :1 // 60 SET x v");
    let own = found.owns.iter().find(|own| own.key == "k").unwrap();
    let stamps = own.record.fields.values().map(|own| own.stamp.0);
    let base = (START + 50) * 1000;
    assert_eq!(own.record.base.as_ref().unwrap().stamp, Stamp(base));
    assert_eq!(stamps.collect::<Vec<_>>(), [base + 1, base + 2]);
}

#[test]
fn a_flush_takes_what_is_older_and_is_told() {
    let found = folded(
        "9 SET k v // 8i SET x v // 7 FLUSHDB // 5 SET k w // 6 MULTI | SELECT 1 | SET k v | EXEC => * +OK +OK",
    );
    let all = |at| Stamp((START + at) * 1000);
    let flush = found.flushes[&Some(0)];
    assert_eq!(flush.stamp, all(9).next(), "newer than what it took");
    let shown = show::owns(&found);
    assert_eq!(shown, r#"k: "w"@never^9 1/0 // 1:k: "v"@never^6 1/0"#);
    assert!(found.owns[0].record.base.as_ref().unwrap().stamp > flush.stamp);
    let counts = |at_risk, inherited| Counts { at_risk, inherited };
    assert_eq!((found.flushed, found.keyless), (counts(1, 1), counts(1, 0)));

    let found = folded("9 FLUSHDB // 8 FLUSHALL // 3 FLUSHDB // 2 SET k v");
    let (every, one) = (found.flushes[&None], found.flushes[&Some(0)]);
    assert_eq!(
        (every.stamp, one.stamp),
        (all(9).next(), all(9).next().next())
    );
    assert!(found.owns[0].record.base.as_ref().unwrap().stamp > one.stamp);
    assert_eq!(folded("9 FLUSHDB // 10 FLUSHALL").flushes.len(), 1);
}

/// Nobody knows what changed, as with a stranger's write; what changed places is not what it was.
#[test]
fn writes_without_keys_are_counted_apart() {
    let found = folded("1 SET k v // 2 EVAL s 0 => :1 // 3i EVAL s 0 => :1");
    assert_eq!(show::owns(&found), r#"k: "v"@never^1 1/0"#);
    assert_eq!((found.keyless.at_risk, found.keyless.inherited), (1, 1));
    let found = folded("1 SET k v // 2 SWAPDB 0 3 // 3 SET x v // 4 HSET k a 1 => :1");
    assert_eq!(show::owns(&found), r#"k: blind 2/0 // x: "v"@never^3 1/0"#);
    assert_eq!(found.keyless.at_risk, 1);
    assert_eq!(
        show::owns(&folded("1 SET k v // 2 SWAPDB 2 3")),
        r#"k: "v"@never^1 1/0"#
    );
}

const REQUESTS: &[(&str, &str)] = &[
    ("SET {k} v EX 9", "+OK"),
    ("SET {k} w KEEPTTL", "+OK"),
    ("SETNX {k} v", ":0"),
    ("DEL {k} k", ":1"),
    ("INCR {k}", ":5"),
    ("EXPIRE {k} 9", ":1"),
    ("EXPIRE {k} 9", ":0"),
    ("HSET {k} a 1", ":0"),
    ("HSET {k} a 1 b 2", ":1"),
    ("HDEL {k} a", ":1"),
    ("HEXPIRE {k} 9 FIELDS 1 a", "* :1"),
    ("LPUSH {k} v", ":1"),
    ("PTTL {k}", ":500"),
    ("PTTL {k}", ":-2"),
    ("HLEN {k}", ":1"),
    ("HLEN {k}", ":2"),
    ("DUMP {k}", "$p"),
    ("DUMP {k}", "nil"),
    ("MULTI | DEL {k} | HSET {k} a 1 | EXEC", "* :0 :1"),
    ("MULTI | SET {k} v | LPUSH x v | EXEC", "2 * +OK"),
    ("FLUSHDB", "+OK"),
    ("SWAPDB 0 1", "+OK"),
    ("EVAL s 0", ":1"),
];

fn lines() -> impl Strategy<Value = Vec<String>> {
    let head = (0i64..20, proptest::sample::select(&["", "i", "c"][..]));
    let line = (
        head,
        proptest::sample::select(REQUESTS),
        proptest::bool::ANY,
    );
    let line = line.prop_map(|((at, how), (request, reply), is_x)| {
        let request = request.replace("{k}", if is_x { "x" } else { "k" });
        format!("{at}{how} {request} => {reply}")
    });
    proptest::collection::vec(line, 1..25)
}

/// The stamps of a record, in the order in which they should be.
fn stamps(record: &Record<Bytes>) -> (Option<Stamp>, Vec<Stamp>) {
    let base = record.base.as_ref().map(|own| own.stamp);
    let touch = record.touch.iter().map(|own| own.stamp);
    let above = record.fields.values().map(|own| own.stamp).chain(touch);
    (base, above.collect())
}

proptest! {
    /// What stands on top of a base is newer, no two are alike, a blind key has nothing, and no write is counted twice.
    #[test]
    fn whatever_was_written(lines in lines()) {
        let found = folded(&lines.join(" // "));
        let mut counts = found.flushed;
        for own in &found.owns {
            let (base, above) = stamps(&own.record);
            prop_assert!(above.iter().all(|stamp| Some(*stamp) > base));
            let distinct: std::collections::BTreeSet<_> = above.iter().collect();
            // HSET of two fields is one write.
            prop_assert!(distinct.len() + 1 >= above.len());
            prop_assert!(own.is_known || own.record == Record::default());
            counts.add(own.counts);
        }
        let (mut keyed, mut keyless) = (Counts::default(), Counts::default());
        for line in &lines {
            let (head, request) = line.split_once(' ').unwrap();
            let name = request.split(' ').next().unwrap();
            let (keys, others) = match name {
                "PTTL" | "HLEN" | "DUMP" | "SETNX" => (0, 0),
                "EXPIRE" if request.ends_with(":0") => (0, 0),
                "FLUSHDB" | "SWAPDB" | "EVAL" => (0, 1),
                "DEL" if request.contains('x') => (2, 0),
                "MULTI" if request.contains("SET k v | LPUSH x") => (2, 0),
                _ => (1, 0),
            };
            let add = |counts: &mut Counts, number| match head.chars().last() {
                Some('i') => counts.inherited += number,
                Some('c') => {}
                _ => counts.at_risk += number,
            };
            add(&mut keyed, keys);
            add(&mut keyless, others);
        }
        prop_assert_eq!(counts, keyed);
        prop_assert_eq!(found.keyless, keyless);
    }
}
