//! The life of a round on the server.

use gripfast::repair::marks::AppWrite;
use gripfast::repair::record::Record;
use gripfast::repair::script::reply::{Seen, marked, repaired, seen};
use gripfast::repair::script::{Call, Cause, Names};
use gripfast::repair::stamp::Stamp;

use crate::harness::{Client, Server, Version};

const WINDOW_MS: i64 = 30_000;

/// After so long without a heartbeat a sidecar is forgotten; its keys outlive that.
const FORGET_MS: i64 = 3_600_000;

struct Sidecar<'a> {
    client: Client,
    names: &'a Names,
}

impl Sidecar<'_> {
    fn call(&mut self, call: &Call<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        call.by_body(&mut bytes);
        self.client.send(&bytes);
        self.client.frame()
    }

    fn see(&mut self, call: &Call<'_>) -> Seen {
        let frame = self.call(call);
        seen(&frame).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&frame)))
    }

    fn open(&mut self, replid: &str, cause: Cause, horizon: i64) -> Seen {
        let names = self.names;
        self.see(&names.open(replid, cause, WINDOW_MS, Stamp(horizon), &[0, 2]))
    }

    /// How long a key lives on, in milliseconds; below zero: for ever, or it is not there.
    fn left(&mut self, key: &str) -> i64 {
        self.client.ask(&format!("PTTL {key}"))[1..]
            .parse()
            .unwrap()
    }

    /// All that was written for the sidecars themselves ends some day.
    fn nothing_is_for_ever(&mut self) {
        for database in [0, 2] {
            self.client.ask(&format!("SELECT {database}"));
            let keys = self.client.ask("KEYS x:*");
            for key in keys
                .split_whitespace()
                .filter(|word| word.starts_with("x:"))
            {
                let least = if key == "x:marks" { 0 } else { FORGET_MS };
                let left = self.left(key);
                assert!(left > least, "{key} of database {database}: {left}");
            }
        }
        self.client.ask("SELECT 0");
    }

    fn mark(&mut self, database: u32, key: &str) -> Vec<Stamp> {
        self.client.ask(&format!("SELECT {database}"));
        let names = self.names;
        let write = AppWrite::Value;
        let frame = self.call(&names.mark(database, &[key.as_bytes()], &write, Stamp(5)));
        self.client.ask("SELECT 0");
        marked(&frame).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&frame)))
    }
}

pub(crate) fn all(version: &Version) {
    let names = Names::new("x:", 5000);
    let server = Server::start(version);
    let mut one = Sidecar {
        client: server.client(),
        names: &names,
    };
    never_opened(&mut one);
    one.nothing_is_for_ever();
    opened_joined_and_closed(&mut one);
    one.nothing_is_for_ever();
    returned_to(&mut one);
    one.nothing_is_for_ever();
    flushed(&mut one);
    one.nothing_is_for_ever();
    outlived(&mut one);
    marks_of_an_earlier_round(&mut one);
    ended_by_time(&mut one);
}

fn never_opened(one: &mut Sidecar<'_>) {
    let names = one.names;
    let seen = one.see(&names.beat("a", FORGET_MS));
    assert_eq!(
        (seen.is_open, seen.number, &seen.replid[..]),
        (false, 0, "")
    );
    assert_eq!(seen.missing, ["a"]);
    assert_eq!(one.mark(0, "k"), []);
    let record = Record::default();
    let frame = one.call(&names.repair(0, b"k", &record));
    assert!(!repaired(&frame, &record).unwrap().0);
}

fn opened_joined_and_closed(one: &mut Sidecar<'_>) {
    let names = one.names;
    one.see(&names.beat("b", FORGET_MS));
    // One that died long before the others' last heartbeat is not waited for.
    one.client.ask("ZADD x:peers 5 c");
    let opened = one.open("r1", Cause::Switched, 77);
    assert!(opened.is_open);
    assert_eq!((opened.number, opened.horizon), (1, Stamp(77)));
    assert_eq!(opened.until.0 - opened.opened.0, WINDOW_MS * 1000);
    assert_eq!(opened.missing, ["a", "b"]);
    // The window and the horizon of the opener hold for all.
    let joined = one.open("r1", Cause::Switched, 78);
    assert_eq!(
        Seen {
            now: opened.now,
            ..joined
        },
        opened
    );

    assert_eq!(one.mark(0, "k"), [Stamp(5)]);
    assert_eq!(one.mark(0, "k"), [Stamp(6)]);
    assert_eq!(one.mark(2, "k"), [Stamp(5)], "a database of its own");
    // Rounded up to a millisecond.
    let left = one.left("x:marks");
    assert!(
        (0..=WINDOW_MS + 1).contains(&left),
        "marks end with the round: {left}"
    );

    // Reported to another round.
    assert_eq!(one.see(&names.report("a", 9, &[0, 2])).missing, ["a", "b"]);
    assert_eq!(one.see(&names.report("a", 1, &[0, 2])).missing, ["b"]);
    assert_eq!(one.see(&names.report("a", 1, &[0, 2])).missing, ["b"]);
    let closed = one.see(&names.report("b", 1, &[0, 2]));
    assert!(!closed.is_open && closed.missing.is_empty());
    assert_eq!(one.client.ask("EXISTS x:marks"), ":0");
    one.client.ask("SELECT 2");
    assert_eq!(one.client.ask("EXISTS x:marks"), ":0");
    one.client.ask("SELECT 0");
    assert_eq!(one.mark(0, "k"), []);
    // One that was frozen does not open it again.
    assert!(!one.open("r1", Cause::Switched, 78).is_open);
}

fn returned_to(one: &mut Sidecar<'_>) {
    let opened = one.open("r1", Cause::Returned, 90);
    assert!(opened.is_open);
    assert_eq!((opened.number, opened.missing.len()), (2, 2));
    let joined = one.open("r1", Cause::Returned, 91);
    assert_eq!((joined.number, joined.horizon), (2, Stamp(90)));
    // Another primary while it is open.
    let opened = one.open("r2", Cause::Switched, 92);
    assert_eq!((opened.number, opened.is_open), (3, true));
}

fn flushed(one: &mut Sidecar<'_>) {
    let names = one.names;
    for (database, words) in [
        (2, &[&b"FLUSHDB"[..]][..]),
        (0, &[b"FLUSHDB", b"ASYNC"]),
        (0, &[b"FLUSHALL"]),
    ] {
        one.mark(database, "k");
        one.client.ask(&format!("SELECT {database}"));
        one.client.ask("SET k v");
        assert_eq!(one.call(&names.flush(database, words)), b"+OK\r\n");
        one.client.ask("SELECT 0");
        one.nothing_is_for_ever();
        one.client.ask(&format!("SELECT {database}"));
        assert_eq!(one.client.ask("EXISTS k x:marks"), ":0");
        one.client.ask("SELECT 0");
        let after = one.see(&names.look());
        assert_eq!(
            (after.number, after.is_open),
            (3, true),
            "the round is kept"
        );
        assert_eq!(after.missing.len(), 2, "and the peers are");
    }
    let flushes = one
        .client
        .ask("HMGET x:round flushed:0 flushed:2 flushed:*");
    assert!(!flushes.contains("$-1"), "{flushes}");
}

/// A heartbeat keeps what would end soon, what an earlier version left for ever, and brings nothing back.
fn outlived(one: &mut Sidecar<'_>) {
    let names = one.names;
    for expiry in ["PEXPIRE x:{} 60000", "PERSIST x:{}"] {
        for key in ["peers", "round"] {
            assert_eq!(one.client.ask(&expiry.replace("{}", key)), ":1");
        }
        one.see(&names.beat("a", FORGET_MS));
        one.nothing_is_for_ever();
    }
    one.client.ask("RENAME x:round saved");
    one.see(&names.beat("a", FORGET_MS));
    assert_eq!(one.client.ask("EXISTS x:round"), ":0");
    one.client.ask("RENAME saved x:round");
}

/// They may stand in a database of which the opener knew nothing, and end with their own round.
fn marks_of_an_earlier_round(one: &mut Sidecar<'_>) {
    one.mark(0, "earlier");
    one.client.ask("PEXPIRE x:marks 5000");
    one.mark(0, "later");
    let left = one.left("x:marks");
    assert!(left > 6_000, "{left}");
}

fn ended_by_time(one: &mut Sidecar<'_>) {
    let names = one.names;
    one.client.ask("HSET x:round until 1000");
    assert!(!one.see(&names.look()).is_open);
    assert_eq!(one.mark(0, "k"), []);
    let reported = one.see(&names.report("a", 3, &[0]));
    assert!(!reported.is_open);
    assert!(one.client.ask("HGET x:round closed").starts_with('$'));
}
