//! The life of a round on the server.

use gripfast::repair::marks::AppWrite;
use gripfast::repair::record::Record;
use gripfast::repair::script::reply::{Seen, marked, repaired, seen};
use gripfast::repair::script::{Call, Cause, Names};
use gripfast::repair::stamp::Stamp;

use crate::harness::{Client, Server, Version};

const WINDOW_MS: i64 = 30_000;

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
    opened_joined_and_closed(&mut one);
    returned_to(&mut one);
    flushed(&mut one);
    ended_by_time(&mut one);
}

fn never_opened(one: &mut Sidecar<'_>) {
    let names = one.names;
    let seen = one.see(&names.beat("a", 3_600_000));
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
    one.see(&names.beat("b", 3_600_000));
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
    let left: i64 = one.client.ask("PTTL x:marks")[1..].parse().unwrap();
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

fn ended_by_time(one: &mut Sidecar<'_>) {
    let names = one.names;
    one.client.ask("HSET x:round until 1000");
    assert!(!one.see(&names.look()).is_open);
    assert_eq!(one.mark(0, "k"), []);
    let reported = one.see(&names.report("a", 3, &[0]));
    assert!(!reported.is_open);
    assert!(one.client.ask("HGET x:round closed").starts_with('$'));
}
