//! What a failover restores, against real servers: subscriptions that are set up on another connection, scripts that a
//! server has never seen, and requests that are sent twice.
//!
//! `GRIPFAST_TEST_RESTORED` sets how many clients are played for each server version and protocol.
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

use gripfast::command::table::Table;
use gripfast::failover::blocking::with_time_left;
use gripfast::failover::deadline::with_absolute_deadline;
use gripfast::failover::replay::{Class, classify};
use gripfast::failover::scripts::{Scripts, is_unknown};
use gripfast::failover::subscriptions::Subscriptions;
use gripfast::failover::touches::Touch;
use harness::{
    Client, Random, Server, Stopwatch, Value, Version, encode, escape, parse, seed, versions,
};

/// Clients for each version and protocol when nothing else is asked for.
const CLIENTS: usize = 60;

const NAMES: [&str; 4] = ["a1", "a2", "a*", "forbidden"];

const WORDS: [&str; 9] = [
    "SUBSCRIBE",
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "SSUBSCRIBE",
    "UNSUBSCRIBE",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "PING",
];

/// Ends what a client is asked to read.
const MARK: &str = "mark";

fn connect(server: &Server, is_resp3: bool) -> Client {
    let mut client = server.client();
    if is_resp3 {
        client.ask("HELLO 3");
    }
    client
}

/// Reads up to the answer to a PING of ours.
fn until_mark(client: &mut Client) -> Vec<Vec<u8>> {
    client.send_words(&format!("PING {MARK}"));
    let mut frames = Vec::new();
    loop {
        let frame = client.frame();
        match parse(&frame) {
            Value::Blob(_, body) if body == MARK.as_bytes() => return frames,
            Value::Many(_, parts) if parts.last() == Some(&Value::Blob(b'$', MARK.into())) => {
                return frames;
            }
            _ => frames.push(frame),
        }
    }
}

/// What a frame says but for the name, and the name: UNSUBSCRIBE without names tells them in no order.
fn said(frame: &[u8]) -> (String, String) {
    let show = |value: &Value| match value {
        Value::Line(_, line) => escape(line.split(|byte| *byte == b' ').next().unwrap()),
        Value::Blob(_, body) => escape(body),
        Value::Many(..) => panic!("no such frame: {}", escape(frame)),
    };
    match parse(frame) {
        Value::Many(kind, parts) if parts.len() == 3 => (
            format!("{} {} {}", kind as char, show(&parts[0]), show(&parts[2])),
            show(&parts[1]),
        ),
        Value::Many(kind, parts) => {
            let shown: Vec<String> = parts.iter().map(show).collect();
            (
                format!("{} {}", kind as char, shown.join(" ")),
                String::new(),
            )
        }
        other => (show(&other), String::new()),
    }
}

fn told(frames: &[Vec<u8>]) -> (Vec<String>, Vec<String>) {
    let (words, mut names): (Vec<_>, Vec<_>) = frames.iter().map(|frame| said(frame)).unzip();
    names.sort();
    (words, names)
}

/// A client whose link is cut now and then.
struct Moved<'a> {
    server: &'a Server,
    is_resp3: bool,
    subscriptions: Subscriptions,
    link: Client,
    heard: Vec<Vec<u8>>,
}

impl Moved<'_> {
    fn read_until(&mut self, count: usize) {
        while self.heard.len() < count {
            let frame = self.link.frame();
            if self.subscriptions.received(&frame) {
                self.heard.push(frame);
            }
        }
        assert!(!self.subscriptions.is_lost());
    }

    fn cut(&mut self) {
        self.link = connect(self.server, self.is_resp3);
        self.link.send(&self.subscriptions.restore());
    }
}

fn request(random: &mut Random) -> Vec<&'static str> {
    let mut words = vec![*random.pick(&WORDS)];
    let count = if words == ["PING"] {
        0
    } else {
        random.below(4)
    };
    // A forbidden name refuses all: seldom.
    let of = if random.chance(10) {
        NAMES.len()
    } else {
        NAMES.len() - 1
    };
    words.extend((0..count).map(|_| NAMES[random.below(of)]));
    words
}

fn play(server: &Server, is_resp3: bool, random: &mut Random) {
    let mut other = connect(server, is_resp3);
    let mut expected = Vec::new();
    let mut moved = Moved {
        server,
        is_resp3,
        subscriptions: Subscriptions::default(),
        link: connect(server, is_resp3),
        heard: Vec::new(),
    };
    for _ in 0..random.below(12) + 1 {
        let words = request(random);
        let bytes: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        assert!(moved.subscriptions.sent(&bytes));
        moved.link.send(&encode(&words));
        other.send(&encode(&words));
        expected.extend(until_mark(&mut other));
        if random.chance(60) {
            let heard = moved.heard.len();
            moved.read_until(heard + random.below(expected.len() - heard + 1));
        }
        if random.chance(30) {
            moved.cut();
        }
    }
    moved.read_until(expected.len());
    assert_eq!(told(&moved.heard), told(&expected));

    let mut publisher = server.client();
    for name in ["a1", "a2", "b"] {
        publisher.ask(&format!("PUBLISH {name} hello"));
        publisher.ask(&format!("SPUBLISH {name} hello"));
    }
    let mut messages = until_mark(&mut other);
    let mut found = until_mark(&mut moved.link);
    // Confirmations of a cut just before the end may still stand in front.
    found.retain(|frame| moved.subscriptions.received(frame));
    messages.sort();
    found.sort();
    assert_eq!(found, messages);
}

#[test]
fn a_subscriber_that_is_moved_hears_what_it_would_have_heard() {
    let count = std::env::var("GRIPFAST_TEST_RESTORED");
    let count = count.map_or(CLIENTS, |text| text.parse().unwrap());
    let mut random = Random::new(seed("restored subscriptions"));
    for version in versions() {
        let server = Server::start(&version);
        let rules = "ACL SETUSER default resetchannels &a1 &a2 &b &a*";
        assert_eq!(server.client().ask(rules), "+OK");
        for is_resp3 in [false, true] {
            for _ in 0..count {
                play(&server, is_resp3, &mut random);
            }
        }
    }
}

#[test]
fn a_script_that_a_server_has_never_seen_runs_there() {
    const SCRIPTS: [&str; 3] = [
        "if redis.call(\"get\",KEYS[1]) == ARGV[1] then return redis.call(\"del\",KEYS[1]) else return 0 end",
        "local v = redis.call('GET', KEYS[1]) return {v, redis.call('TTL', KEYS[1]), ARGV[1]}",
        "return redis.error_reply('MINE no')",
    ];
    for version in versions() {
        let (old, new) = (Server::start(&version), Server::start(&version));
        let (mut before, mut after) = (old.client(), new.client());
        let mut scripts = Scripts::default();
        for (index, body) in SCRIPTS.iter().enumerate() {
            let load = ["SCRIPT", "LOAD", body];
            let sha = match parse(&before.call(&load)) {
                Value::Blob(_, sha) => String::from_utf8(sha).unwrap(),
                other => panic!("{other:?}"),
            };
            scripts.learn(&load.map(str::as_bytes), 1);
            let has_read_only = version.major() >= 7 && index > 0;
            for name in ["EVALSHA", "EVALSHA_RO"] {
                if name == "EVALSHA_RO" && !has_read_only {
                    continue;
                }
                after.ask("SCRIPT FLUSH");
                before.ask("SET k x EX 100");
                after.ask("SET k x EX 100");
                let asked = [name, &sha.to_uppercase(), "1", "k", "x"];
                assert!(is_unknown(&after.call(&asked)));
                let again = scripts.as_eval(&asked.map(str::as_bytes), 2).unwrap();
                after.send(&again);
                let expected = before.call(&asked);
                let reply = after.frame();
                assert_eq!(kind_of_error(&reply), kind_of_error(&expected));
                // Now it is known there.
                before.ask("SET k x EX 100");
                after.ask("SET k x EX 100");
                assert_eq!(after.call(&asked), before.call(&asked), "{}", version.name);
            }
        }
    }
}

/// An error of a script names its function, which EVAL and EVALSHA do alike; versions add their own words.
fn kind_of_error(reply: &[u8]) -> String {
    match reply.first() {
        Some(b'-') => escape(reply.split(|byte| *byte == b' ').next().unwrap()),
        _ => escape(reply),
    }
}

/// Requests that may be sent twice, each against a string, a hash, a set, a sorted set and a string without deadline.
const TWICE: &str = "SET s v;SET s v XX;SET s v KEEPTTL;SET s v EX 90;SET s v XX PX 90000;SET none v PX 90000;SET none v XX EX 9;\
    SETEX s 90 v;PSETEX none 90000 v;GETEX s EX 90;GETEX s PERSIST;GETEX p PX 90000;MSET s v none w;SETRANGE s 1 xy;\
    EXPIRE s 90;EXPIRE s 90 XX;EXPIRE s 90 NX;EXPIRE p 90 NX;EXPIRE s 200 GT;EXPIRE s 20 GT;EXPIRE s 20 LT;EXPIRE p 20 LT;\
    EXPIRE s 200 LT;PEXPIRE s 90000 XX;EXPIRE none 90;EXPIRE s 0;EXPIRE s -1;PEXPIRE s -1000;EXPIREAT s 1;PERSIST s;\
    DEL s none;UNLINK h;HSET h f 2 n 3;HMSET h f 2;HDEL h f;SADD t a c;SREM t a;ZADD z 5 a;ZREM z a;\
    ZREMRANGEBYSCORE z 0 1;PFADD none a;\
    HEXPIRE h 90 FIELDS 1 f;HPEXPIRE h 90000 NX FIELDS 2 f g;HEXPIRE h 0 FIELDS 1 f;HPERSIST h FIELDS 1 g;\
    HEXPIRE h 900 GT FIELDS 1 g;HEXPIREAT h 1 FIELDS 1 f;\
    HSETEX h EX 90 FIELDS 1 f v;HSETEX h FXX PX 90000 FIELDS 1 f v;HSETEX h FXX FIELDS 1 none v;HSETEX h KEEPTTL FIELDS 1 g v;\
    HSETEX none PX 90000 FIELDS 1 f v;HGETEX h EX 90 FIELDS 1 f;HGETEX h PERSIST FIELDS 1 g;HGETEX h PX 90000 FIELDS 2 f g";

/// Those of them that may tell something else the second time: counts, and conditions that the first run has settled.
const TELLS_ANOTHER: [&str; 14] = [
    "PERSIST",
    "DEL",
    "UNLINK",
    "HSET",
    "HDEL",
    "SADD",
    "SREM",
    "ZADD",
    "ZREM",
    "ZREMRANGEBYSCORE",
    "PFADD",
    "HPERSIST",
    "HEXPIREAT",
    "EXPIREAT",
];

fn tells_another(line: &str) -> bool {
    let name = line.split(' ').next().unwrap();
    let words = [" NX", " GT", " LT", " 0", " -1"];
    TELLS_ANOTHER.contains(&name)
        || name.contains("EXPIRE") && words.iter().any(|word| line.contains(word))
}

/// How long a deadline may differ from another, in milliseconds: a TTL counts from when it runs.
const APART_MAX: i64 = 2_000;

/// What the server has: replies, with deadlines apart.
fn state(client: &mut Client, version: &Version) -> (Vec<String>, Vec<i64>) {
    let mut values = Vec::new();
    let reads = [
        "GET s",
        "GET p",
        "GET none",
        "TYPE none",
        "HMGET h f g n none",
        "HLEN h",
        "HGET none f",
    ];
    let others = ["SMISMEMBER t a b c", "SCARD t", "ZRANGE z 0 -1 WITHSCORES"];
    values.extend(reads.iter().chain(&others).map(|read| client.ask(read)));
    let mut deadlines = Vec::new();
    for key in ["s", "p", "none", "h", "t", "z"] {
        deadlines.push(client.ask(&format!("PTTL {key}")));
    }
    if version.major() >= 8 {
        for field in ["f", "g"] {
            let told = client.ask(&format!("HPTTL h FIELDS 1 {field}"));
            deadlines.push(told.rsplit("\\n").next().unwrap().to_owned());
        }
    }
    let number = |text: &String| text.trim_start_matches(':').parse().unwrap_or(i64::MIN);
    (values, deadlines.iter().map(number).collect())
}

fn prepare(client: &mut Client, version: &Version) {
    client.ask("FLUSHALL");
    for line in [
        "SET s old EX 100",
        "SET p old",
        "HSET h f 1 g 2",
        "EXPIRE h 100",
        "SADD t a b",
        "ZADD z 1 a 2 b",
    ] {
        client.ask(line);
    }
    if version.major() >= 8 {
        client.ask("HEXPIRE h 100 FIELDS 1 g");
    }
}

fn wall(client: &mut Client) -> u64 {
    let Value::Many(_, parts) = parse(&client.call(&["TIME"])) else {
        panic!("TIME");
    };
    let number = |value: &Value| match value {
        Value::Blob(_, text) => String::from_utf8_lossy(text).parse::<u64>().unwrap(),
        other => panic!("{other:?}"),
    };
    number(&parts[0]) * 1000 + number(&parts[1]) / 1000
}

#[test]
fn what_may_be_sent_twice_leaves_what_it_leaves_once() {
    let table = Table::default();
    for version in versions() {
        let server = Server::start(&version);
        let mut client = server.client();
        let mut ran = 0;
        for line in TWICE.split(';').map(str::trim) {
            prepare(&mut client, &version);
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let class = classify(&table.find(words[0]), &words);
            assert!(matches!(class, Class::Absolute | Class::Relative), "{line}");
            let at = wall(&mut client);
            let again = with_absolute_deadline(&words, at);
            assert_eq!(again.is_some(), class == Class::Relative, "{line}");
            let once = client.ask(line);
            if once.starts_with('-') {
                assert!(
                    version.major() < 8 || version.name.starts_with("valkey"),
                    "{line}: {once}"
                );
                continue;
            }
            ran += 1;
            let expected = state(&mut client, &version);
            client.send(&again.unwrap_or_else(|| encode(&words)));
            let twice = client.text();
            assert!(
                tells_another(line) || once == twice,
                "{line}: {once} and {twice}"
            );
            let found = state(&mut client, &version);
            assert_eq!(found.0, expected.0, "{} {line}", version.name);
            for (one, other) in expected.1.iter().zip(&found.1) {
                let is_near = (one - other).abs() < APART_MAX && (*one < 0) == (*other < 0);
                assert!(is_near, "{} {line}: {expected:?} {found:?}", version.name);
            }
        }
        eprintln!("{}: {ran} requests", version.name);
        assert!(ran > 30);
    }
}

#[test]
fn what_waits_is_asked_again_for_the_rest_of_its_time() {
    const LINES: [(&str, u32); 9] = [
        ("BLPOP none 30", 0),
        ("BRPOP none none 30.5", 0),
        ("BZPOPMIN none 30", 0),
        ("BZPOPMAX none 30", 0),
        ("BLMPOP 30 1 none LEFT", 7),
        ("BZMPOP 30 2 none none MIN COUNT 2", 7),
        ("XREAD COUNT 1 BLOCK 30000 STREAMS x $", 0),
        (
            "XREADGROUP GROUP block streams COUNT 1 BLOCK 30000 STREAMS x >",
            0,
        ),
        (
            "XREADGROUP GROUP block streams BLOCK 0 NOACK BLOCK 30000 STREAMS x >",
            0,
        ),
    ];
    for version in versions() {
        let server = Server::start(&version);
        let mut client = server.client();
        client.ask("XGROUP CREATE x block $ MKSTREAM");
        for (line, since) in LINES {
            if version.major() < since {
                continue;
            }
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            for waited in [29_990, 30_490, 60_000] {
                let watch = Stopwatch::start();
                client.send(&with_time_left(&words, Duration::from_millis(waited)).unwrap());
                let reply = client.text();
                assert!(["$-1", "*-1"].contains(&reply.as_str()), "{line}: {reply}");
                assert!(watch.elapsed() < Duration::from_secs(5), "{line}");
            }
        }
    }
}

#[test]
fn a_touch_that_is_applied_later_only_extends() {
    const FAR: i64 = 100_000;
    for version in versions() {
        let server = Server::start(&version);
        let mut client = server.client();
        for has_gt in [false, true] {
            if has_gt && version.major() < 7 {
                continue;
            }
            // What the key has, by how much from now it is touched, whether it is extended.
            for (left, by, is_extended) in [
                (Some(FAR), 2 * FAR, true),
                (Some(FAR), FAR + 5_000, true),
                (Some(FAR), FAR - 5_000, false),
                (Some(FAR), -5_000, false),
                (None, FAR, false),
            ] {
                let case = format!("{} {has_gt} {left:?} {by}", version.name);
                let now = wall(&mut client) as i64;
                client.ask("SET k v");
                let old = left.map(|left| now + left);
                if let Some(old) = old {
                    client.ask(&format!("PEXPIREAT k {old}"));
                }
                let touch = Touch {
                    database: 0,
                    key: (*b"k").into(),
                    at: now + by,
                };
                client.send(&touch.request(has_gt));
                assert_eq!(
                    client.text(),
                    format!(":{}", u8::from(is_extended)),
                    "{case}"
                );
                let expected = if is_extended { Some(touch.at) } else { old };
                let told: i64 = client
                    .ask("PTTL k")
                    .trim_start_matches(':')
                    .parse()
                    .unwrap();
                let since = wall(&mut client) as i64;
                match expected {
                    None => assert_eq!(told, -1, "{case}"),
                    // PTTL was told between the two looks at the clock.
                    Some(at) => assert!((at - since..=at - now).contains(&told), "{case}: {told}"),
                }
            }
            client.ask("DEL k");
            let at = wall(&mut client) as i64 + FAR;
            let touch = Touch {
                database: 0,
                key: (*b"k").into(),
                at,
            };
            client.send(&touch.request(has_gt));
            assert_eq!(
                (client.text(), client.ask("EXISTS k")),
                (":0".into(), ":0".into())
            );
            client.ask("SADD k m");
            client.ask("PEXPIRE k 5000");
            client.send(&touch.request(has_gt));
            assert_eq!(client.text(), ":1", "any type");
        }
    }
}
