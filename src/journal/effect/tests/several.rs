//! Transactions, and records of several writes.

use super::*;
use crate::journal::ring::Record;

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
