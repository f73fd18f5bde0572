//! Session hygiene through the sidecar: the application's replies are the server's, and sessions expire.
//!
//! What is decided about a request is compared with four servers in `tests/ttl.rs`; here, that it is done on every lane.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells by printing"
)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its part of the harness"
)]
mod harness;

use std::time::Duration;

use harness::{Client, Server, Sidecar, any_version, until, versions};

const DEFAULT_S: i64 = 100;
const MAX_S: i64 = 500;

fn start(server: &Server, require: &str) -> Sidecar {
    Sidecar::before(server)
        .sessions(&format!("require_ttl: {require}"))
        .sessions(&format!("default_ttl_s: {DEFAULT_S}"))
        .sessions(&format!("max_ttl_s: {MAX_S}"))
        .sessions("prefixes: [\"s:\"]")
        .start()
}

fn ttl(server: &Server, key: &str) -> i64 {
    let reply = server.client().ask(&format!("TTL {key}"));
    reply.trim_start_matches(':').trim().parse().unwrap()
}

/// Counts by what was found.
fn findings(sidecar: &Sidecar) -> [f64; 2] {
    ["no_expiry", "too_long"].map(|finding| {
        sidecar.metric(&format!(
            "gripfast_session_ttl_findings_total{{finding=\"{finding}\"}}"
        ))
    })
}

fn wait_for(sidecar: &Sidecar, expected: [f64; 2]) {
    until(
        &format!("{expected:?} findings, not {:?}", findings(sidecar)),
        Duration::from_secs(5),
        || (findings(sidecar) == expected).then_some(()),
    );
}

/// Request, reply as the server gives it, and the expiry that its key must have afterwards (-1 = none).
const STORY: &[(&str, &str, &str, i64)] = &[
    ("SET s:a 1", "+OK", "s:a", DEFAULT_S),
    ("SET s:a 1 EX 200", "+OK", "s:a", 200),
    ("SET s:a 1 EX 900", "+OK", "s:a", MAX_S),
    ("SET x:a 1", "+OK", "x:a", -1),
    ("SETNX s:b 1", ":1", "s:b", DEFAULT_S),
    ("SETNX s:b 2", ":0", "s:b", DEFAULT_S),
    ("GETSET s:c 1", "$-1", "s:c", DEFAULT_S),
    ("HSET s:d f 1 g 2", ":2", "s:d", DEFAULT_S),
    ("EXPIRE s:d 300", ":1", "s:d", 300),
    ("HSET s:d f 2", ":0", "s:d", 300),
    (
        "INCR s:d",
        "-WRONGTYPE Operation against a key holding the wrong kind of value",
        "s:d",
        300,
    ),
    ("PERSIST s:d", ":1", "s:d", DEFAULT_S),
    ("EXPIRE s:d 9999", ":1", "s:d", MAX_S),
    ("LPUSH s:e 1", ":1", "s:e", DEFAULT_S),
    ("RENAME x:a s:f", "+OK", "s:f", DEFAULT_S),
    ("EXPIRE s:none 10", ":0", "s:none", -2),
];

#[test]
fn enforced_every_session_has_an_expiry_and_every_reply_is_the_servers() {
    for version in versions() {
        let server = Server::start(&version);
        let sidecar = start(&server, "enforce");
        let (mut resp2, mut resp3) = (sidecar.client(), sidecar.client());
        resp3.ask("HELLO 3");
        for (number, client) in [&mut resp2, &mut resp3].into_iter().enumerate() {
            server.client().ask("FLUSHALL");
            for &(request, reply, key, expected) in STORY {
                let null = if number == 1 { "_" } else { "$-1" };
                let reply = if reply == "$-1" { null } else { reply };
                assert_eq!(client.ask(request).trim_end(), reply, "{request}");
                let found = ttl(&server, key);
                let near = (expected - 5..=expected).contains(&found);
                assert!(near, "{}: {request}: {found}", version.name);
            }
        }
        // SET, SETNX, GETSET, HSET, PERSIST, LPUSH, RENAME; SET and EXPIRE.
        wait_for(&sidecar, [14.0, 4.0]);
    }
}

#[test]
fn enforced_transactions_are_changed_where_their_replies_stay() {
    let server = Server::start(&any_version());
    let sidecar = start(&server, "enforce");
    let mut client = sidecar.client();
    // All at once, over the shared link.
    let replies = whole(
        &mut client,
        "SET s:a 1\nSET s:b 1\nEXPIRE s:b 50\nHSET s:c f 1",
    );
    assert_eq!(replies, "*4\r\n+OK\r\n+OK\r\n:1\r\n:1\r\n");
    assert_eq!(ttl(&server, "s:a"), DEFAULT_S);
    assert_eq!(ttl(&server, "s:b"), 50);
    // HSET in a transaction is only counted.
    assert_eq!(ttl(&server, "s:c"), -1);
    wait_for(&sidecar, [2.0, 0.0]);
    // Bit by bit, over the client's own link.
    for (request, reply) in [
        ("MULTI", "+OK"),
        ("SET s:d 1", "+QUEUED"),
        ("HSET s:c f 2", "+QUEUED"),
        ("EXEC", "*2"),
    ] {
        assert!(client.ask(request).starts_with(reply), "{request}");
    }
    assert_eq!(ttl(&server, "s:d"), DEFAULT_S);
    wait_for(&sidecar, [4.0, 0.0]);
}

fn whole(client: &mut Client, requests: &str) -> String {
    let mut packet = harness::encode(&["MULTI"]);
    for request in requests.lines() {
        packet.extend(harness::encode(&request.split(' ').collect::<Vec<_>>()));
    }
    packet.extend(harness::encode(&["EXEC"]));
    client.send(&packet);
    for _ in 0..=requests.lines().count() {
        client.frame();
    }
    String::from_utf8(client.frame()).unwrap()
}

#[test]
fn warned_nothing_changes_but_the_count() {
    let server = Server::start(&any_version());
    let sidecar = start(&server, "warn");
    let mut client = sidecar.client();
    for (request, key, expected) in [
        ("SET s:a 1", "s:a", -1),
        ("HSET s:b f 1", "s:b", -1),
        ("EXPIRE s:b 9000", "s:b", 9000),
        ("HSET s:b f 2", "s:b", 9000),
        ("SET x:a 1", "x:a", -1),
    ] {
        client.ask(request);
        assert_eq!(ttl(&server, key), expected, "{request}");
    }
    wait_for(&sidecar, [2.0, 1.0]);
}

#[test]
fn a_user_who_may_not_give_an_expiry_is_served_and_counted() {
    let server = Server::start(&any_version());
    let admin = &mut server.client();
    assert!(
        admin
            .ask("ACL SETUSER app on >pw ~* &* +@all -expire -eval")
            .starts_with("+OK")
    );
    let sidecar = Sidecar::before(&server)
        .upstream("username: app, password: pw")
        .sessions("require_ttl: enforce")
        .announce("the server refuses MULTI, EXEC or EXPIRE")
        .start();
    let mut client = sidecar.client();
    for expected in [":1", ":0", ":0"] {
        assert_eq!(client.ask("HSET s:a f 1").trim_end(), expected);
    }
    assert_eq!(ttl(&server, "s:a"), -1);
}
