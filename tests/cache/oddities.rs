//! What is no ordinary read or write: replies too large to keep, flushes and swaps, clients that change their own
//! connection, fields that expire, a server that forgets who read what.

use std::time::Duration;

use super::statistics::Calls;
use crate::harness::{
    Client, Server, Sidecar, Stopwatch, any_version, encode, escape, until, versions,
};
use crate::side_by_side;

/// A change by others is announced; this is much longer than that takes, and much shorter than what else would end an
/// entry, as [`patient`] has it.
const SOON: Duration = Duration::from_secs(3);

/// A sidecar whose cache ends nothing by itself for long: only an announcement can.
fn patient(server: &Server) -> Sidecar {
    Sidecar::before(server)
        .cache("ttl_s: 3600")
        .cache("max_staleness_ms: 60000")
        .start()
}

/// Reads a key until the answer is as expected; an announcement may be on its way.
fn soon(client: &mut Client, words: &str, expected: &str) {
    let mut last = String::new();
    let watch = Stopwatch::start();
    while watch.elapsed() < SOON {
        last = client.ask(words);
        if last == expected {
            return;
        }
    }
    panic!("{words}: still {last} after {SOON:?}, not {expected}");
}

/// Two clients, RESP2 and RESP3, in these databases.
fn pair(sidecar: &Sidecar, databases: [u32; 2]) -> [Client; 2] {
    let mut clients = [sidecar.client(), sidecar.client()];
    clients[1].ask("HELLO 3");
    for (client, database) in clients.iter_mut().zip(databases) {
        assert_eq!(client.ask(&format!("SELECT {database}")), "+OK");
    }
    clients
}

#[test]
fn a_reply_too_large_to_keep_passes_and_is_right() {
    let server = Server::start(&any_version());
    let sidecar = patient(&server);
    let mut calls = Calls::of(&server);
    let mut direct = server.client();
    for size in [262_144_usize - 200, 262_145, 1 << 20, 5 << 20] {
        let value: String = (0..size)
            .map(|at| char::from(b'a' + (at % 23) as u8))
            .collect();
        direct.call(&["SET", "large", &value]);
        direct.call(&["HSET", "hash", "f", &value]);
        let expected = format!("${size}\r\n{value}\r\n").into_bytes();
        let before = calls.of_commands(&["get"]);
        for client in &mut pair(&sidecar, [0, 0]) {
            let is_fresh = |reply: Vec<u8>| (reply == expected).then_some(());
            until("the large value", SOON, || {
                is_fresh(client.call(&["GET", "large"]))
            });
            until("the large field", SOON, || {
                is_fresh(client.call(&["HGET", "hash", "f"]))
            });
            assert!(client.call(&["GET", "large"]) == expected);
            assert_eq!(client.ask("STRLEN large"), format!(":{size}"));
            assert_eq!(client.ask("EXISTS large"), ":1");
        }
        if size > 262_144 {
            assert!(
                calls.of_commands(&["get"]) - before >= 4,
                "{size} bytes were kept"
            );
        }
        direct.call(&["SET", "large", "small"]);
        soon(&mut sidecar.client(), "GET large", "$5\\r\\nsmall");
    }
}

#[test]
fn flushes_and_swaps_are_seen_at_once_through_the_sidecar_and_soon_past_it() {
    let server = Server::start(&any_version());
    let sidecar = patient(&server);
    let mut direct = server.client();
    let mut others = [server.client(), server.client()];
    others[1].ask("SELECT 1");
    let mut readers = pair(&sidecar, [0, 1]);
    let mut flusher = sidecar.client();
    let nothing = ["$-1", "_"];
    let fill = |others: &mut [Client; 2], readers: &mut [Client; 2]| {
        for (database, (other, reader)) in others.iter_mut().zip(readers).enumerate() {
            assert_eq!(other.ask(&format!("SET session d{database}")), "+OK");
            assert_eq!(
                other.ask(&format!("HSET hash f h{database}")).get(..1),
                Some(":")
            );
            for _ in 0..3 {
                soon(reader, "GET session", &format!("$2\\r\\nd{database}"));
                soon(reader, "HGET hash f", &format!("$2\\r\\nh{database}"));
            }
        }
    };
    for flush in [
        "FLUSHALL",
        "FLUSHALL ASYNC",
        "FLUSHDB",
        "EVAL return{redis.call('flushall')} 0",
    ] {
        fill(&mut others, &mut readers);
        assert!(!flusher.ask(flush).starts_with('-'), "{flush}");
        assert_eq!(readers[0].ask("GET session"), nothing[0], "{flush}");
        assert_eq!(readers[0].ask("HGET hash f"), nothing[0], "{flush}");
        let second = if flush == "FLUSHDB" {
            "$2\\r\\nd1"
        } else {
            nothing[1]
        };
        assert_eq!(readers[1].ask("GET session"), second, "{flush}");
    }
    fill(&mut others, &mut readers);
    assert_eq!(flusher.ask("SWAPDB 0 1"), "+OK");
    assert_eq!(readers[0].ask("GET session"), "$2\\r\\nd1");
    assert_eq!(readers[1].ask("GET session"), "$2\\r\\nd0");
    assert_eq!(readers[0].ask("HGET hash f"), "$2\\r\\nh1");
    for flush in ["FLUSHALL", "FLUSHDB"] {
        fill(&mut others, &mut readers);
        assert_eq!(direct.ask(flush), "+OK");
        soon(&mut readers[0], "GET session", nothing[0]);
        soon(&mut readers[0], "HGET hash f", nothing[0]);
    }
}

#[test]
fn clients_that_change_their_connection_do_not_silence_the_tracked_link() {
    let server = Server::start(&any_version());
    let sidecar = patient(&server);
    let (mut direct, mut reader) = (server.client(), sidecar.client());
    let mut number = 0;
    for words in [
        "RESET",
        "HELLO 2",
        "HELLO 3",
        "CLIENT TRACKING OFF",
        "CLIENT TRACKING ON",
        "CLIENT TRACKING ON BCAST",
        "CLIENT TRACKING ON OPTIN",
        "CLIENT CACHING YES",
        "CLIENT NO-EVICT on",
        "CLIENT REPLY SKIP",
        "AUTH default x",
        "SELECT 3",
        "QUIT",
    ] {
        for protocol in ["HELLO 2", "HELLO 3"] {
            let mut odd = sidecar.client();
            odd.ask(protocol);
            soon(&mut odd, "GET session", &shown(number, protocol));
            odd.send_words(words);
            if words != "CLIENT REPLY SKIP" {
                let _ = odd.try_frame();
            }
            // What it reads afterwards is another matter; the others are still told of changes.
            let _ = odd.try_send(&encode(&["GET", "session"]));
            soon(&mut reader, "GET session", &shown(number, "HELLO 2"));
            number += 1;
            assert_eq!(direct.ask(&format!("SET session {number}")), "+OK");
            soon(&mut reader, "GET session", &shown(number, "HELLO 2"));
        }
    }
}

fn shown(number: u32, protocol: &str) -> String {
    match (number, protocol) {
        (0, "HELLO 3") => "_".into(),
        (0, _) => "$-1".into(),
        (number, _) => format!("${}\\r\\n{number}", number.to_string().len()),
    }
}

/// A server that may remember ten keys forgets the others, and says so.
#[test]
fn a_tracking_table_that_overflows_makes_no_stale_answer() {
    const KEYS: usize = 200;
    let server = Server::start_with(&any_version(), &["--tracking-table-max-keys", "10"]);
    let sidecar = patient(&server);
    let (mut direct, mut client) = (server.client(), sidecar.client());
    for round in 0..3 {
        for key in 0..KEYS {
            assert_eq!(direct.ask(&format!("SET session:{key} r{round}")), "+OK");
        }
        for key in (0..KEYS).chain(0..KEYS) {
            soon(
                &mut client,
                &format!("GET session:{key}"),
                &format!("$2\\r\\nr{round}"),
            );
        }
        if round == 0 {
            assert_eq!(direct.ask("CONFIG SET tracking-table-max-keys 5"), "+OK");
        }
    }
    let stats = direct.call(&["INFO", "stats"]);
    assert!(
        escape(&stats).contains("tracking_total_keys"),
        "the table was used"
    );
}

/// Hash fields that expire by themselves: nothing says when, so such hashes are not kept once that is known.
#[test]
fn fields_that_expire_are_not_shown_past_their_time() {
    let with_fields = versions()
        .into_iter()
        .filter(|version| version.major() >= 8);
    side_by_side(with_fields.collect(), |version| {
        let server = Server::start(&version);
        let sidecar = patient(&server);
        let [mut client, mut resp3] = pair(&sidecar, [0, 0]);
        assert_eq!(client.ask("HSET hash lasting l passing p"), ":2");
        for _ in 0..3 {
            assert_eq!(client.ask("HGET hash passing"), "$1\\r\\np");
            assert_eq!(
                resp3.ask("HMGET hash passing lasting"),
                "*2\\r\\n$1\\r\\np\\r\\n$1\\r\\nl"
            );
        }
        let asked = Stopwatch::start();
        assert_eq!(
            client.ask("HPEXPIRE hash 150 FIELDS 1 passing"),
            "*1\\r\\n:1"
        );
        let late = Duration::from_millis(150) + asked.elapsed();
        let mut shown = true;
        while shown {
            let began = asked.elapsed();
            shown = client.ask("HGET hash passing") != "$-1";
            let many = resp3.ask("HMGET hash passing lasting");
            shown |= many != "*2\\r\\n_\\r\\n$1\\r\\nl";
            assert!(
                !shown || began < late + Duration::from_millis(2),
                "{}: shown {:?} after its time",
                version.name,
                began - late
            );
        }
        assert_eq!(
            client.ask("HGETALL hash"),
            "*2\\r\\n$7\\r\\nlasting\\r\\n$1\\r\\nl"
        );
    });
}
