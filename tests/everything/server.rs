//! SCAN, KEYS, and what asks about the server or sets it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::harness::{Client, Value, encode, parse, until, version};
use crate::start;

fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::Many(_, values) => values.iter().flat_map(strings).collect(),
        Value::Blob(_, bytes) | Value::Line(_, bytes) => {
            vec![String::from_utf8_lossy(bytes).into_owned()]
        }
    }
}

/// Walks a cursor to its end and returns what it found.
fn walk(client: &mut Client, command: &str, options: &str) -> Vec<String> {
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        client.send_words(format!("{command} {cursor} {options}").trim());
        let reply = strings(&parse(&client.frame()));
        found.extend_from_slice(&reply[1..]);
        cursor.clone_from(&reply[0]);
        if cursor == "0" {
            return found;
        }
    }
}

#[test]
fn the_scan_family_sees_every_element() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    const COUNT: usize = 3000;
    for number in 0..COUNT {
        client.send_words(&format!("SET session:{number} x"));
        client.send_words(&format!("SADD set m{number}"));
        client.send_words(&format!("HSET hash f{number} v"));
        client.send_words(&format!("ZADD zset {number} m{number}"));
    }
    for _ in 0..COUNT * 4 {
        assert!(!client.frame().starts_with(b"-"));
    }
    for protocol in ["HELLO 2", "HELLO 3"] {
        client.ask(protocol);
        let sessions: BTreeSet<String> = walk(&mut client, "SCAN", "MATCH session:* COUNT 100")
            .into_iter()
            .collect();
        assert_eq!(sessions.len(), COUNT);
        assert_eq!(
            walk(&mut client, "SCAN", "TYPE hash")
                .into_iter()
                .collect::<BTreeSet<_>>()
                .len(),
            1
        );
        assert_eq!(
            walk(&mut client, "SSCAN set", "")
                .into_iter()
                .collect::<BTreeSet<_>>()
                .len(),
            COUNT
        );
        assert_eq!(
            walk(&mut client, "HSCAN hash", "COUNT 50")
                .into_iter()
                .collect::<BTreeSet<_>>()
                .len(),
            COUNT + 1
        );
        assert_eq!(walk(&mut client, "ZSCAN zset", "").len(), COUNT * 2);
        client.send_words("KEYS session:*");
        assert_eq!(strings(&parse(&client.frame())).len(), COUNT);
        assert_eq!(client.ask("DBSIZE"), format!(":{}", COUNT + 3));
    }
}

#[test]
fn questions_about_the_server_are_answered_by_redis() {
    let (server, sidecar) = start();
    let (mut client, mut direct) = (sidecar.client(), server.client());
    client.ask("SET key some-value");
    for words in [
        "OBJECT ENCODING key",
        "OBJECT REFCOUNT key",
        "OBJECT FREQ key",
        "OBJECT HELP",
        "MEMORY USAGE key",
        "CONFIG GET maxmemory",
        "CONFIG GET port",
        "COMMAND COUNT",
        "COMMAND GETKEYS SET a b",
        "COMMAND INFO get",
        "DEBUG DIGEST-VALUE key",
        "ROLE",
        "LASTSAVE",
        "DBSIZE",
        "ACL WHOAMI",
        "ACL USERS",
        "MODULE LIST",
        "SLOWLOG LEN",
        "PUBSUB CHANNELS",
        "LATENCY LATEST",
        "DUMP key",
        "TYPE key",
        "CLUSTER INFO",
        "READONLY",
        "FT.SEARCH a b",
        "JSON.SET a $ 1",
    ] {
        assert_eq!(client.ask(words), direct.ask(words), "{words}");
    }
    let line = |text: String, name: &str| {
        text.split("\\r\\n")
            .find(|line| line.starts_with(name))
            .map(str::to_owned)
    };
    for field in ["redis_version", "run_id", "tcp_port", "process_id"] {
        assert_eq!(
            line(client.ask("INFO"), field),
            line(direct.ask("INFO"), field),
            "INFO {field}"
        );
    }
    assert!(
        client.ask("INFO persistence").contains("loading:0"),
        "what ioredis waits for"
    );
}

#[test]
fn settings_reach_redis() {
    let (server, sidecar) = start();
    let mut client = sidecar.client();
    assert_eq!(client.ask("CONFIG SET maxmemory 123456789"), "+OK");
    assert_eq!(
        server.client().ask("CONFIG GET maxmemory"),
        "*2\\r\\n$9\\r\\nmaxmemory\\r\\n$9\\r\\n123456789"
    );
    assert_eq!(client.ask("CONFIG SET maxmemory 0"), "+OK");
    assert_eq!(client.ask("CONFIG RESETSTAT"), "+OK");
    assert_eq!(client.ask("ACL SETUSER someone on >pw ~* +@all"), "+OK");
    assert_eq!(sidecar.client().ask("AUTH someone pw"), "+OK");
    assert_eq!(client.ask("ACL DELUSER someone"), ":1");
    assert_eq!(client.ask("DEBUG SET-ACTIVE-EXPIRE 1"), "+OK");
}

/// The pool checks of everyone tell of a server that sleeps, as without the sidecar.
#[test]
fn nothing_is_answered_for_a_server_that_is_made_to_sleep() {
    const GLANCE: Duration = Duration::from_millis(100);
    let (server, sidecar) = start();
    let (mut one, mut other) = (sidecar.client(), sidecar.client());
    assert_eq!(other.ask("PING"), "+PONG");
    one.send(&encode(&["DEBUG", "SLEEP", "2"]));
    let mut direct = server.client();
    until("a server that sleeps", Duration::from_secs(20), || {
        direct.send(&encode(&["PING"]));
        let sleeps = direct.is_silent_for(GLANCE);
        if !sleeps {
            assert_eq!(direct.text(), "+PONG");
        }
        sleeps.then_some(())
    });
    other.send(&encode(&["PING"]));
    assert!(other.is_silent_for(GLANCE), "answered while it sleeps");
    assert_eq!(one.text(), "+OK");
    assert_eq!(other.text(), "+PONG");
}

/// Who tries passwords costs no connection each.
#[test]
fn a_refused_user_leaves_the_link_as_it_was() {
    let (server, sidecar) = start();
    let (mut client, mut direct) = (sidecar.client(), server.client());
    assert_eq!(direct.ask("ACL SETUSER someone on >pw ~* +@all"), "+OK");
    let opened = |direct: &mut Client| {
        let stats = direct.ask("INFO stats");
        let (_, rest) = stats.split_once("total_connections_received:").unwrap();
        rest.split_once('\\').unwrap().0.parse::<u32>().unwrap()
    };
    assert!(client.ask("AUTH someone wrong").starts_with("-WRONGPASS"));
    let before = opened(&mut direct);
    for _ in 0..20 {
        assert!(client.ask("AUTH someone wrong").starts_with("-WRONGPASS"));
        assert!(
            client
                .ask("HELLO 2 AUTH someone wrong")
                .starts_with("-WRONGPASS")
        );
    }
    assert_eq!(client.ask("ACL WHOAMI"), "$7\\r\\ndefault");
    assert_eq!(opened(&mut direct), before);
}

#[test]
fn flushes_and_swaps_reach_every_connection() {
    let (_server, sidecar) = start();
    let (mut one, mut other) = (sidecar.client(), sidecar.client());
    other.ask("SELECT 1");
    for _ in 0..50 {
        assert_eq!(one.ask("SET key zero"), "+OK");
        assert_eq!(other.ask("SET key one"), "+OK");
        assert_eq!(one.ask("GET key"), "$4\\r\\nzero");
        assert_eq!(other.ask("SWAPDB 0 1"), "+OK");
        assert_eq!(one.ask("GET key"), "$3\\r\\none");
        assert_eq!(other.ask("GET key"), "$4\\r\\nzero");
        assert_eq!(other.ask("FLUSHDB"), "+OK");
        assert_eq!(other.ask("GET key"), "$-1");
        assert_eq!(one.ask("GET key"), "$3\\r\\none");
        assert_eq!(other.ask("FLUSHALL"), "+OK");
        assert_eq!(one.ask("GET key"), "$-1");
    }
}

#[test]
fn keys_that_expire_are_gone() {
    for version in ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"]
        .iter()
        .filter_map(|name| version(name))
    {
        let server = crate::harness::Server::start(&version);
        let sidecar = crate::harness::Sidecar::start(&server);
        let mut client = sidecar.client();
        assert_eq!(client.ask("SET key value PX 60"), "+OK");
        assert_eq!(client.ask("GET key"), "$5\\r\\nvalue");
        let watch = crate::harness::Stopwatch::start();
        crate::harness::until("expiry", std::time::Duration::from_secs(5), || {
            (client.ask("GET key") == "$-1").then_some(())
        });
        assert!(
            watch.elapsed() < std::time::Duration::from_millis(500),
            "gone at its time: {:?}",
            watch.elapsed()
        );
        assert_eq!(client.ask("EXISTS key"), ":0");
    }
}
