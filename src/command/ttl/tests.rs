//! Tables of verdicts, and properties over any words.

mod blocks;
mod chance;

use super::*;
use crate::command::catalog::ROWS;
use crate::resp::{Parsed, Words, parse};
use read::{Arity, KEEPING};

const WALL: u64 = 1_700_000_000_000;
const ALL: Abilities = Abilities {
    getex: true,
    expire_options: true,
};

/// Keys that begin with `s:` are sessions; 100 s by default, 500 s at most.
fn rules(require: RequireTtl, abilities: Abilities) -> Rules {
    let sessions = Sessions {
        prefixes: vec![b"s:".to_vec()],
        require_ttl: require,
        default_ttl: Duration::from_secs(100),
        max_ttl: Some(Duration::from_secs(500)),
    };
    Rules::new(&sessions, abilities)
}

fn enforce() -> Rules {
    rules(RequireTtl::Enforce, ALL)
}

fn warn() -> Rules {
    rules(RequireTtl::Warn, ALL)
}

fn cut(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

/// Requests as a line: words by blanks, requests by `; `.
fn show(mut bytes: &[u8]) -> String {
    let mut words = Words::default();
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        let Parsed::Whole(length) = parse(bytes, &mut words) else {
            panic!("no request: {}", String::from_utf8_lossy(bytes));
        };
        let all = (0..words.len()).map(|index| words.get(bytes, index).unwrap());
        let all: Vec<_> = all.map(String::from_utf8_lossy).collect();
        requests.push(all.join(" "));
        bytes = &bytes[length..];
    }
    requests.join("; ")
}

/// A verdict as a line.
fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Fine => "fine".into(),
        Verdict::Counted(found) => format!("{:?} {}", found.finding, found.keys),
        Verdict::Ask { key } => format!("ask {key}"),
        Verdict::Replaced { request, found } => format!("{:?} {}", found.finding, show(request)),
        Verdict::Transaction { behind, replies } => format!("{replies}: {}", show(behind)),
    }
}

fn judged(rules: &Rules, line: &str, context: Context) -> String {
    told(&rules.judge(&cut(line), context, Some(WALL)))
}

#[test]
fn a_write_without_expiry_gets_the_default_one() {
    for (line, warned, enforced) in [
        ("SET s:a v", "NoExpiry 1", "NoExpiry SET s:a v EX 100"),
        ("set s:a v nx", "NoExpiry 1", "NoExpiry set s:a v nx EX 100"),
        (
            "SET s:a v GET XX",
            "NoExpiry 1",
            "NoExpiry SET s:a v GET XX EX 100",
        ),
        (
            "SET s:a v IFEQ w",
            "NoExpiry 1",
            "NoExpiry SET s:a v IFEQ w EX 100",
        ),
        (
            "RESTORE s:a 0 d",
            "NoExpiry 1",
            "NoExpiry RESTORE s:a 100000 d",
        ),
        (
            "RESTORE s:a 0 d REPLACE ABSTTL FREQ 3",
            "NoExpiry 1",
            "NoExpiry RESTORE s:a 100000 d REPLACE FREQ 3",
        ),
    ] {
        assert_eq!(judged(&warn(), line, Context::Free), warned, "{line}");
        assert_eq!(judged(&warn(), line, Context::Held), "ask 1", "{line}");
        for context in [Context::Free, Context::Held] {
            assert_eq!(judged(&enforce(), line, context), enforced, "{line}");
        }
    }
}

#[test]
fn where_the_reply_would_differ_a_transaction_gives_it() {
    let one = "4: EXPIRE s:a 100 NX; EXEC";
    for (line, warned, held, enforced) in [
        ("SETNX s:a v", "NoExpiry 1", "ask 1", one),
        ("GETSET s:a v", "NoExpiry 1", "ask 1", one),
        ("PERSIST s:a", "NoExpiry 1", "ask 1", one),
        ("GETEX s:a persist", "NoExpiry 1", "ask 1", one),
        ("MSET s:a v x:a v", "NoExpiry 1", "ask 1", one),
        (
            "MSET s:a v s:b v",
            "NoExpiry 2",
            "NoExpiry 2",
            "5: EXPIRE s:a 100 NX; EXPIRE s:b 100 NX; EXEC",
        ),
        ("MSETNX x:a v s:a v", "NoExpiry 1", "ask 3", one),
        ("SET s:a v KEEPTTL", "ask 1", "ask 1", one),
        ("HSET s:a f v", "ask 1", "ask 1", one),
        ("hmset s:a f v g w", "ask 1", "ask 1", one),
        ("INCR s:a", "ask 1", "ask 1", one),
        ("APPEND s:a v", "ask 1", "ask 1", one),
        ("SADD s:a m n", "ask 1", "ask 1", one),
        ("ZADD s:a 1 m", "ask 1", "ask 1", one),
        ("RENAME x:a s:a", "ask 2", "ask 2", one),
        ("COPY s:b s:a REPLACE", "ask 2", "ask 2", one),
        ("HSETEX s:a EX 10 FIELDS 1 f v", "ask 1", "ask 1", one),
    ] {
        assert_eq!(judged(&warn(), line, Context::Free), warned, "{line}");
        assert_eq!(judged(&warn(), line, Context::Held), held, "{line}");
        assert_eq!(judged(&enforce(), line, Context::Held), held, "{line}");
        assert_eq!(judged(&enforce(), line, Context::Free), enforced, "{line}");
    }
}

#[test]
fn an_older_server_is_given_a_script() {
    let old = rules(RequireTtl::Enforce, Abilities::default());
    let expected = format!("4: EVAL {SCRIPT} 1 s:a 100; EXEC");
    assert_eq!(judged(&old, "INCR s:a", Context::Free), expected);
}

#[test]
fn too_long_an_expiry_is_cut_in_the_command_s_own_unit() {
    for (line, enforced) in [
        ("SET s:a v EX 501", "SET s:a v EX 500"),
        ("SET s:a v px 500001 NX", "SET s:a v px 500000 NX"),
        ("SET s:a v XX EXAT 1700000501", "SET s:a v XX EX 500"),
        (
            "SET s:a v PXAT 1700000500001 GET",
            "SET s:a v PX 500000 GET",
        ),
        ("SET s:a v EX 9 EX 900", "SET s:a v EX 9 EX 500"),
        ("SETEX s:a 501 v", "SETEX s:a 500 v"),
        ("psetex s:a 500001 v", "psetex s:a 500000 v"),
        ("GETEX s:a EX 99999999999", "GETEX s:a EX 500"),
        ("GETEX s:a PXAT 1800000000000", "GETEX s:a PX 500000"),
        ("EXPIRE s:a 9223000000000000", "EXPIRE s:a 500"),
        ("expire s:a 501 nx", "expire s:a 500 nx"),
        ("PEXPIRE s:a 500001 xx gt", "PEXPIRE s:a 500000 xx XX"),
        ("EXPIRE s:a 501 GT", "EXPIRE s:a 500 XX"),
        ("EXPIREAT s:a 1800000000 LT", "EXPIRE s:a 500 LT"),
        ("pexpireat s:a 1700000500001", "PEXPIRE s:a 500000"),
        ("PEXPIREAT s:a 9223372036854775807", "PEXPIRE s:a 500000"),
        ("RESTORE s:a 500001 d", "RESTORE s:a 500000 d"),
        ("RESTORE s:a 1700000500001 d ABSTTL", "RESTORE s:a 500000 d"),
    ] {
        for context in [Context::Free, Context::Held] {
            assert_eq!(judged(&warn(), line, context), "TooLong 1", "{line}");
            let enforced = format!("TooLong {enforced}");
            assert_eq!(judged(&enforce(), line, context), enforced, "{line}");
        }
    }
}

#[test]
fn what_is_as_it_should_be_or_would_be_refused_is_fine() {
    for line in [
        // Within the limit, or taken away.
        "SET s:a v EX 500",
        "SETEX s:a 500 v",
        "EXPIRE s:a 500",
        "PEXPIRE s:a 500000 GT",
        "EXPIRE s:a 0",
        "EXPIRE s:a -1",
        "EXPIREAT s:a 1700000500",
        "GETEX s:a EX 500",
        "GETEX s:a",
        "RESTORE s:a 500000 d",
        "DEL s:a",
        "GET s:a",
        "HDEL s:a f",
        // No session.
        "SET x:a v",
        "SET S:a v",
        "SET s v",
        "MSET x:a v s v",
        "RENAME s:a x:a",
        "EXPIRE x:a 99999",
        "INCR x:a",
        "PERSIST x:a",
        // Elsewhere.
        "COPY s:a s:b DB 3",
        // A wrong number of words.
        "SET s:a",
        "SET",
        "SETEX s:a 501",
        "SETNX s:a v w",
        "GETSET s:a",
        "MSET s:a",
        "MSET s:a v s:b",
        "PERSIST",
        "HSET s:a f",
        "HSET s:a f v g",
        "INCR s:a 1",
        "EXPIRE s:a",
        "RENAME s:a",
        "SADD s:a",
        "RESTORE s:a 0",
        "COPY s:b",
        // Options that are none, or don't go together.
        "SET s:a v w",
        "SET s:a v EX",
        "SET s:a v NX XX",
        "SET s:a v KEEPTTL EX 501",
        "SET s:a v EX 501 PX 9",
        "SET s:a v IFEQ",
        "SET s:a v NX IFEQ w",
        "SET s:a v PERSIST",
        "GETEX s:a KEEPTTL",
        "GETEX s:a EX 501 PERSIST",
        "GETEX s:a EX 501 PX 1",
        "EXPIRE s:a 501 NX XX",
        "EXPIRE s:a 501 GT LT",
        "EXPIRE s:a 501 EX",
        "RESTORE s:a 0 d TTL",
        "RESTORE s:a 0 d FREQ",
        // Numbers that are none.
        "SET s:a v EX 0",
        "SET s:a v EX +501",
        "SET s:a v EX 0501",
        "SET s:a v EX 9223372036854775807",
        "EXPIRE s:a 501.0",
        "EXPIRE s:a 9223372036854775807",
        "PEXPIRE s:a 9223372036854775807",
        "SETEX s:a -1 v",
        "RESTORE s:a -1 d",
    ] {
        for rules in [warn(), enforce()] {
            for context in [Context::Free, Context::Held] {
                assert_eq!(judged(&rules, line, context), "fine", "{line}");
            }
        }
    }
}

#[test]
fn what_an_older_server_refuses_is_fine() {
    let old = rules(RequireTtl::Enforce, Abilities::default());
    for line in [
        "EXPIRE s:a 501 NX",
        "GETEX s:a EX 501",
        "GETEX s:a PERSIST",
        "SET s:a v EXAT 1800000000",
    ] {
        assert_eq!(judged(&old, line, Context::Free), "fine", "{line}");
    }
}

#[test]
fn an_instant_is_let_alone_while_the_clock_is_unknown() {
    for line in ["EXPIREAT s:a 1800000000", "SET s:a v PXAT 1800000000000"] {
        let verdict = enforce().judge(&cut(line), Context::Free, None);
        assert_eq!(verdict, Verdict::Fine, "{line}");
    }
}

#[test]
fn rules_are_off_or_have_no_limit_where_nothing_is_configured() {
    let off = rules(RequireTtl::Off, ALL);
    assert!(!off.is_on() && warn().is_on());
    for line in ["SET s:a v", "EXPIRE s:a 501", "INCR s:a"] {
        assert_eq!(judged(&off, line, Context::Free), "fine");
    }
    let large = off.judge_large(&cut("SET s:a"), 3, Context::Free);
    assert_eq!(large, Verdict::Fine);
    let everything = Sessions {
        require_ttl: RequireTtl::Enforce,
        ..Sessions::default()
    };
    let rules = Rules::new(&everything, ALL);
    assert_eq!(judged(&rules, "SETEX a 99999999 v", Context::Free), "fine");
    let replaced = judged(&rules, "SET a v", Context::Free);
    assert_eq!(replaced, "NoExpiry SET a v EX 86400");
    let short = Sessions {
        max_ttl: Some(Duration::from_secs(60)),
        ..everything
    };
    let replaced = judged(&Rules::new(&short, ALL), "SET a v", Context::Free);
    assert_eq!(replaced, "NoExpiry SET a v EX 60");
}

#[test]
fn large_values_are_judged_by_the_words_in_front() {
    for (leading, all, warned, enforced) in [
        ("SET s:a", 3, "ask 1", "4: EXPIRE s:a 100 NX; EXEC"),
        ("SET s:a", 2, "fine", "fine"),
        ("SET x:a", 3, "fine", "fine"),
        ("HSET s:a f", 4, "ask 1", "4: EXPIRE s:a 100 NX; EXEC"),
        ("HSET s:a f", 5, "fine", "fine"),
        ("APPEND", 3, "fine", "fine"),
        ("RENAME s:b", 3, "fine", "fine"),
        ("SETEX s:a 501", 4, "TooLong 1", "TooLong 1"),
        ("SETEX s:a 500", 4, "fine", "fine"),
        ("SETEX s:a", 4, "fine", "fine"),
        ("RESTORE s:a 0", 4, "ask 1", "4: EXPIRE s:a 100 NX; EXEC"),
    ] {
        for (rules, expected) in [(warn(), warned), (enforce(), enforced)] {
            let verdict = rules.judge_large(&cut(leading), all, Context::Free);
            assert_eq!(told(&verdict), expected, "{leading}");
        }
        let held = enforce().judge_large(&cut(leading), all, Context::Held);
        assert_eq!(told(&held), warned, "{leading}");
    }
}

#[test]
fn commands_that_keep_an_expiry_are_in_the_catalog_with_that_key() {
    for (name, arity, key) in KEEPING {
        let row = ROWS.iter().find(|row| row.0 == *name);
        let (.., known, (first, last, _)) = row.unwrap_or_else(|| panic!("{name} is in ROWS"));
        let arity = match *arity {
            Arity::Just(number) => number as i8,
            Arity::Least(least) | Arity::Even(least) | Arity::Odd(least) => -(least as i8),
        };
        assert_eq!(arity, *known, "{name}");
        assert!([*first, *last].contains(&(*key as i8)), "{name}");
    }
}
