//! Transactions: those of a client, and those that a request was put into.

use super::super::exec::Outcome;
use super::*;

#[test]
fn a_block_is_judged_by_what_it_leaves() {
    for (block, warned, enforced) in [
        ("SET s:a v; EXPIRE s:a 9", "fine; fine", "fine; fine"),
        (
            "SET s:a v; EXPIREAT s:a 1700000009",
            "fine; fine",
            "fine; fine",
        ),
        ("HSET s:a f v; PEXPIRE s:a 9 NX", "fine; fine", "fine; fine"),
        (
            "SET s:a v; EXPIRE s:b 9",
            "ask 1; fine",
            "NoExpiry SET s:a v EX 100; fine",
        ),
        (
            "EXPIRE s:a 9; SET s:a v",
            "fine; ask 1",
            "fine; NoExpiry SET s:a v EX 100",
        ),
        (
            "SET s:a v; EXPIRE s:a 9 XX",
            "ask 1; fine",
            "NoExpiry SET s:a v EX 100; fine",
        ),
        (
            "SET s:a v; EXPIRE s:a x",
            "ask 1; fine",
            "NoExpiry SET s:a v EX 100; fine",
        ),
        (
            "SET s:a v; EXPIRE s:a 501",
            "fine; TooLong 1",
            "fine; TooLong EXPIRE s:a 500",
        ),
        (
            "SET s:a v; SET s:a w",
            "fine; ask 1",
            "fine; NoExpiry SET s:a w EX 100",
        ),
        (
            "SET s:a v; SET s:a w NX",
            "fine; ask 1",
            "NoExpiry SET s:a v EX 100; NoExpiry SET s:a w NX EX 100",
        ),
        ("SET s:a v; DEL x s:a", "fine; fine", "fine; fine"),
        (
            "SET s:a v; EXPIRE s:a 9; PERSIST s:a",
            "fine; fine; ask 1",
            "fine; fine; ask 1",
        ),
        (
            "INCR s:a; INCR s:a; INCR s:b",
            "fine; ask 1; ask 1",
            "fine; ask 1; ask 1",
        ),
        (
            "MSET s:a v s:b v; EXPIRE s:a 9",
            "ask 3; fine",
            "ask 3; fine",
        ),
        ("", "fine", "fine"),
    ] {
        let requests: Vec<Vec<&[u8]>> = block.split("; ").map(cut).collect();
        for (rules, expected) in [(warn(), warned), (enforce(), enforced)] {
            let verdicts = rules.judge_block(&requests, Some(WALL));
            let verdicts: Vec<String> = verdicts.iter().map(told).collect();
            assert_eq!(verdicts.join("; "), expected, "{block}");
        }
    }
}

#[test]
fn a_finding_counts_if_the_reply_says_that_something_was_written() {
    for (line, counts, counts_not) in [
        ("SET s:a v", "+OK", "$-1 _ -OOM"),
        ("SET s:a v NX GET", "$-1 _", "+OK -OOM $1\r\nx"),
        ("SET s:a v XX GET", "$1\r\nx", "$-1 _ -WRONGTYPE !5\r\nERR"),
        ("SET s:a v GET", "$-1 _ $1\r\nx", "-WRONGTYPE"),
        ("SETNX s:a v", ":1", ":0 -OOM"),
        ("EXPIRE s:a 501", ":1", ":0 -READONLY"),
        ("GETEX s:a EX 501", "$1\r\nx", "$-1 _ -WRONGTYPE"),
        ("MSETNX s:a v", ":1", ":0"),
        ("GETSET s:a v", "$-1 $1\r\nx", "-WRONGTYPE"),
    ] {
        let Verdict::Counted(found) = warn().judge(&cut(line), Context::Free, None) else {
            panic!("{line} is counted");
        };
        for (replies, expected) in [(counts, 1), (counts_not, 0)] {
            for reply in replies.split(' ') {
                let reply = format!("{reply}\r\n");
                assert_eq!(found.count(reply.as_bytes()), expected, "{line}: {reply}");
            }
        }
    }
}

#[test]
fn the_client_s_reply_is_found_in_a_transaction() {
    let answered = |reply: &'static str, given| {
        let reply = reply.as_bytes();
        Some(Outcome::Answered {
            reply,
            given,
            front: Vec::new(),
        })
    };
    let not_run = || Some(Outcome::NotRun);
    for (replies, expected) in [
        (
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:3\r\n:1\r\n",
            answered(":3\r\n", 1),
        ),
        (
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n*1\r\n$2\r\n\r\n\r\n:0\r\n",
            answered("*1\r\n$2\r\n\r\n\r\n", 0),
        ),
        (
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n:1\r\n:1\r\n",
            answered("+OK\r\n", 2),
        ),
        (
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n-WRONGTYPE x\r\n:1\r\n",
            answered("-WRONGTYPE x\r\n", 1),
        ),
        (
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n_\r\n-ERR y\r\n",
            answered("_\r\n", 0),
        ),
        (
            "+OK\r\n-OOM x\r\n+QUEUED\r\n-EXECABORT y\r\n",
            answered("-OOM x\r\n", 0),
        ),
        (
            "+OK\r\n-NOPERM x\r\n-NOPERM y\r\n-EXECABORT z\r\n",
            answered("-NOPERM x\r\n", 0),
        ),
        ("+OK\r\n+QUEUED\r\n-NOPERM y\r\n-EXECABORT z\r\n", not_run()),
        (
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n-EXECABORT because of: OOM z\r\n",
            not_run(),
        ),
        ("+OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n", not_run()),
        ("+OK\r\n+QUEUED\r\n+QUEUED\r\n_\r\n", not_run()),
        (
            "-NOPERM m\r\n:3\r\n:1\r\n-ERR EXEC without MULTI\r\n",
            answered(":3\r\n", 1),
        ),
        (
            "-NOAUTH m\r\n-NOAUTH r\r\n-NOAUTH e\r\n-NOAUTH x\r\n",
            answered("-NOAUTH r\r\n", 0),
        ),
        ("", None),
        ("+OK\r\n+QUEUED\r\n*1\r\n:3\r\n", None),
        ("+OK\r\n+QUEUED\r\n+QUEUED\r\n*1\r\n:3\r\n", None),
        ("+OK\r\n:3\r\n:1\r\n*2\r\n:3\r\n:1\r\n", None),
        ("+OK\r\n+QUEUED\r\n+QUEUED\r\n:3\r\n", None),
        ("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:3\r\n", None),
        (":5\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:3\r\n:1\r\n", None),
        ("what", None),
    ] {
        assert_eq!(exec::read(replies.as_bytes(), 0), expected, "{replies:?}");
    }
}

#[test]
fn requests_of_ours_in_front_are_told_apart() {
    let queued = "+OK\r\n+QUEUED\r\n+QUEUED\r\n";
    let replies = format!("{queued}*2\r\n*1\r\n:0\r\n+OK\r\n");
    let Some(Outcome::Answered { reply, front, .. }) = exec::read(replies.as_bytes(), 1) else {
        panic!("it was answered");
    };
    assert_eq!(
        (reply, front),
        (&b"+OK\r\n"[..], vec![&b"*1\r\n:0\r\n"[..]])
    );
    let replies = format!("{queued}-EXECABORT x\r\n");
    assert_eq!(exec::read(replies.as_bytes(), 1), Some(Outcome::NotRun));
    let replies = "+OK\r\n+QUEUED\r\n-OOM x\r\n-EXECABORT x\r\n";
    let Some(Outcome::Answered { reply, front, .. }) = exec::read(replies.as_bytes(), 1) else {
        panic!("it was refused");
    };
    assert_eq!((reply, front.len()), (&b"-OOM x\r\n"[..], 0));
}
