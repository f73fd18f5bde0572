use super::*;
use crate::command::catalog;
use crate::command::table::Table;
use crate::command::with_line;

fn asked(line: &str) -> Option<Look> {
    with_line(line, look)
}

fn keys(line: &str) -> Option<Vec<String>> {
    with_line(line, |command, request, words| {
        match keys_to_look_at(command, request, words) {
            Written::Anything => None,
            Written::Words(found) => Some(
                found
                    .into_iter()
                    .map(|key| String::from_utf8_lossy(words.get(request, key).unwrap()).into())
                    .collect(),
            ),
        }
    })
}

/// What is not worked out by the journal leaves a payload; and nothing is listed that the table lacks.
#[test]
fn every_command_of_the_table_is_of_its_class() {
    let listed: Vec<&str> = ROWS.iter().map(|(name, _)| *name).collect();
    for (name, _, access, ..) in catalog::ROWS {
        let found = leaves(name, *access);
        match (listed.contains(name), access) {
            (true, access) => assert_eq!(*access, Access::Write, "{name}"),
            (false, Access::Write) => {
                assert_eq!(found, Leaves::Open(Look::Payload), "{name}");
            }
            (false, _) => assert_eq!(found, Leaves::Known, "{name}"),
        }
        assert_eq!(Table::default().find(name.as_bytes()).leaves, found);
    }
    for name in listed {
        assert!(catalog::ROWS.iter().any(|row| row.0 == name), "{name}");
    }
    assert_eq!(
        Table::default().find(b"no.such.command").leaves,
        Leaves::Open(Look::Payload)
    );
}

#[test]
fn options_decide_what_is_left_open() {
    for (line, expected) in [
        ("SET k v", None),
        ("SET k KEEPTTL", None),
        ("set k v ex 10 nx get", None),
        ("SET k v IFEQ KEEPTTL", None),
        ("SET k v EX KEEPTTL", None),
        ("SET k v KEEPTTL", Some(Look::Deadline)),
        ("SET k v XX keepttl", Some(Look::Deadline)),
        ("SET k v KEEPTTL NEWOPTION", Some(Look::Payload)),
        ("SET k v IFNE x", Some(Look::Payload)),
        ("MSETEX 2 KEEPTTL 1 b 2", None),
        ("MSETEX 1 a 1 EX 9", None),
        ("MSETEX 2 a 1 b 2 NX KEEPTTL", Some(Look::Deadline)),
        ("MSETEX x a 1 KEEPTTL", None),
        ("MSETEX 99999999 a 1 KEEPTTL", None),
        ("HSET k f v", Some(Look::Fields)),
        ("INCR k", Some(Look::Deadline)),
        ("APPEND k v", Some(Look::Payload)),
        ("EVAL s 1 k", Some(Look::Payload)),
        ("GET k", None),
        ("XINFO STREAM k", None),
    ] {
        assert_eq!(asked(line), expected, "{line}");
    }
}

#[test]
fn keys_are_those_that_are_written_and_stay() {
    for (line, expected) in [
        ("HSET k f v", "k"),
        ("LMOVE a b LEFT LEFT", "a b"),
        ("SMOVE a b m", "a b"),
        ("RENAME a b", "b"),
        ("renamenx a b", "b"),
        ("COPY a b", "b"),
        ("COPY a b REPLACE", "b"),
        ("SUNIONSTORE d a b", "d"),
        ("BITOP AND d a b", "d"),
        ("SORT a", ""),
        ("SORT a LIMIT 0 1 STORE d", "d"),
        ("GEORADIUS a 1 2 3 m STOREDIST d", "d"),
        ("BLPOP a b 0", "a b"),
        ("EVAL s 2 a b c", "a b"),
        ("XREADGROUP GROUP g c STREAMS a b > >", "a b"),
        ("MSETEX 2 a 1 b 2 KEEPTTL", "a b"),
    ] {
        assert_eq!(
            keys(line).map(|found| found.join(" ")).as_deref(),
            Some(expected),
            "{line}"
        );
    }
    for line in [
        "COPY a b DB 1",
        "MOVE a 1",
        "EVAL s 0",
        "MIGRATE h 1 \"\" 0 9 KEYS a",
        "no.such.command a",
    ] {
        assert_eq!(keys(line), None, "{line}");
    }
}

#[test]
fn the_greater_look_tells_more() {
    assert!(Look::Payload > Look::Fields && Look::Fields > Look::Deadline);
}
