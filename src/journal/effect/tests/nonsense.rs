//! Words and replies by chance.

use proptest::prelude::*;

use super::*;

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
