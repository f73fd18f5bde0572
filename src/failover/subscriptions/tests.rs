//! Each kind of request and answer, and a property: cut anywhere and any number of times, a client hears the same as on one
//! connection.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::resp::request::{Parsed, parse};
use crate::resp::{Protocol, Words, request_bytes};

fn sent(subscriptions: &mut Subscriptions, line: &str) -> bool {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    subscriptions.sent(&words)
}

fn frame(kind: &str, word: &str, channel: &str) -> Vec<u8> {
    format!(
        "{kind}3\r\n${}\r\n{word}\r\n${}\r\n{channel}\r\n:1\r\n",
        word.len(),
        channel.len()
    )
    .into_bytes()
}

/// Feeds `word channel` lines as frames; each is the client's.
fn received(subscriptions: &mut Subscriptions, lines: &str) {
    for line in lines.split(';') {
        let (word, channel) = line.split_once(' ').unwrap();
        assert!(subscriptions.received(&frame("*", word, channel)), "{line}");
        assert!(!subscriptions.is_lost(), "{line}");
    }
}

fn requests(lines: &[&str]) -> Vec<u8> {
    let words = |line: &&str| request_bytes(&line.split(' ').collect::<Vec<_>>());
    lines.iter().flat_map(words).collect()
}

#[test]
fn what_is_confirmed_is_set_up_again_and_its_confirmation_is_nobodys() {
    for kind in ["*", ">"] {
        let mut subscriptions = Subscriptions::default();
        assert!(sent(&mut subscriptions, "SUBSCRIBE a b"));
        assert!(sent(&mut subscriptions, "PSUBSCRIBE n.*"));
        for (word, channel) in [("subscribe", "a"), ("message", "a"), ("subscribe", "b")] {
            assert!(subscriptions.received(&frame(kind, word, channel)));
        }
        // The pattern is not confirmed yet.
        let expected = requests(&["subscribe a b", "psubscribe n.*"]);
        assert_eq!(subscriptions.restore(), expected);
        assert!(!subscriptions.received(&frame(kind, "subscribe", "a")));
        assert!(subscriptions.received(&frame(kind, "message", "a")));
        assert!(!subscriptions.received(&frame(kind, "subscribe", "b")));
        assert!(subscriptions.received(&frame(kind, "psubscribe", "n.*")));
        assert_eq!(subscriptions.restore(), expected);
        assert!(!subscriptions.is_lost());
    }
}

#[test]
fn what_was_left_is_not_set_up_again() {
    let mut subscriptions = Subscriptions::default();
    sent(&mut subscriptions, "SUBSCRIBE a b c");
    received(&mut subscriptions, "subscribe a;subscribe b;subscribe c");
    sent(&mut subscriptions, "UNSUBSCRIBE a never");
    received(&mut subscriptions, "unsubscribe a;unsubscribe never");
    let mut restored = subscriptions.clone();
    assert_eq!(restored.restore(), requests(&["subscribe b c"]));
    sent(&mut subscriptions, "UNSUBSCRIBE");
    sent(&mut subscriptions, "PING");
    received(&mut subscriptions, "unsubscribe c;unsubscribe b");
    // The PING is not answered yet.
    assert_eq!(subscriptions.restore(), requests(&["PING"]));
    assert!(subscriptions.received(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"));
    assert!(subscriptions.restore().is_empty());
    sent(&mut subscriptions, "UNSUBSCRIBE");
    assert_eq!(subscriptions.restore(), requests(&["unsubscribe"]));
    assert!(subscriptions.received(b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"));
    assert!(subscriptions.restore().is_empty());
    assert_eq!((subscriptions.count, subscriptions.bytes), (0, 0));
}

#[test]
fn of_a_request_that_is_half_confirmed_only_the_rest_is_asked_again() {
    let mut subscriptions = Subscriptions::default();
    sent(&mut subscriptions, "SUBSCRIBE a b c");
    sent(&mut subscriptions, "PSUBSCRIBE p");
    sent(&mut subscriptions, "UNSUBSCRIBE b c");
    received(&mut subscriptions, "subscribe a");
    let mut restored = subscriptions.clone();
    assert_eq!(
        restored.restore(),
        requests(&[
            "subscribe a",
            "subscribe b c",
            "psubscribe p",
            "unsubscribe b c"
        ])
    );
    received(
        &mut subscriptions,
        "subscribe b;subscribe c;psubscribe p;unsubscribe b",
    );
    assert_eq!(
        subscriptions.restore(),
        requests(&["subscribe a c", "psubscribe p", "unsubscribe c"])
    );
}

#[test]
fn unsubscribing_from_all_counts_what_was_asked_in_front_of_it() {
    let mut subscriptions = Subscriptions::default();
    for line in ["SUBSCRIBE a b", "UNSUBSCRIBE", "SUBSCRIBE c"] {
        sent(&mut subscriptions, line);
    }
    received(&mut subscriptions, "subscribe a;subscribe b;unsubscribe b");
    // One of two is confirmed.
    let expected = requests(&["subscribe a", "unsubscribe", "SUBSCRIBE c"]);
    let expected = String::from_utf8(expected).unwrap().to_lowercase();
    let restored = subscriptions.clone().restore();
    assert_eq!(String::from_utf8(restored).unwrap(), expected);
    received(&mut subscriptions, "unsubscribe a;subscribe c");
    assert_eq!(subscriptions.restore(), requests(&["subscribe c"]));
}

#[test]
fn a_refusal_answers_the_whole_request() {
    let mut subscriptions = Subscriptions::default();
    for line in ["SUBSCRIBE a b", "SSUBSCRIBE", "PING a b", "SUBSCRIBE c"] {
        sent(&mut subscriptions, line);
    }
    for error in ["-NOPERM no", "-ERR wrong", "-ERR wrong"] {
        assert!(subscriptions.received(format!("{error}\r\n").as_bytes()));
    }
    assert_eq!(subscriptions.clone().restore(), requests(&["subscribe c"]));
    received(&mut subscriptions, "subscribe c");
    // Refused what it had: the client can't be left to believe that it hears everything.
    subscriptions.restore();
    assert!(subscriptions.received(b"-NOPERM no\r\n"));
    assert!(subscriptions.is_lost());
}

#[test]
fn what_nobody_asked_for_is_no_answer() {
    let mut subscriptions = Subscriptions::default();
    sent(&mut subscriptions, "SSUBSCRIBE s t");
    received(&mut subscriptions, "ssubscribe s;ssubscribe t");
    sent(&mut subscriptions, "PING");
    // The slot went to another node.
    assert!(subscriptions.received(&frame(">", "sunsubscribe", "s")));
    assert!(subscriptions.received(b">2\r\n$10\r\ninvalidate\r\n_\r\n"));
    assert!(subscriptions.received(&frame(">", "smessage", "t")));
    assert_eq!(
        subscriptions.clone().restore(),
        requests(&["ssubscribe t", "PING"])
    );
    assert!(subscriptions.received(b"+PONG\r\n"));
    assert_eq!(subscriptions.restore(), requests(&["ssubscribe t"]));
    assert!(!subscriptions.is_lost());
    for frame in [
        &b"+OK\r\n"[..],
        &frame("*", "subscribe", "x"),
        b"-ERR\r\n",
        b"?\r\n",
    ] {
        let mut subscriptions = Subscriptions::default();
        subscriptions.received(frame);
        assert!(subscriptions.is_lost(), "{frame:?}");
    }
}

#[test]
fn a_long_message_in_parts_is_one_frame() {
    let mut subscriptions = Subscriptions::default();
    sent(&mut subscriptions, "SUBSCRIBE a");
    received(&mut subscriptions, "subscribe a");
    sent(&mut subscriptions, "PING");
    assert!(subscriptions.received(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$9\r\nab"));
    assert!(subscriptions.is_within_frame());
    assert!(subscriptions.received(b"-ERR"));
    assert!(subscriptions.received(b"cde\r\n"));
    assert!(!subscriptions.is_within_frame());
    assert_eq!(subscriptions.restore(), requests(&["subscribe a", "PING"]));
    assert!(!subscriptions.is_lost());
}

#[test]
fn other_requests_end_it() {
    for line in [
        "GET a",
        "CLIENT TRACKING ON",
        "MONITOR",
        "RESET",
        "QUIT",
        "HELLO 3",
        "",
    ] {
        assert!(!sent(&mut Subscriptions::default(), line), "{line}");
    }
    assert!(!Subscriptions::default().sent(&[]));
    for line in [
        "subscribe a",
        "PUNSUBSCRIBE",
        "sunsubscribe x",
        "PING",
        "ping hello",
    ] {
        assert!(sent(&mut Subscriptions::default(), line), "{line}");
    }
}

#[test]
fn too_many_names_or_bytes_end_it() {
    let names: Vec<String> = (0..CHANNELS_MAX).map(|number| number.to_string()).collect();
    let mut subscriptions = Subscriptions::default();
    assert!(sent(
        &mut subscriptions,
        &format!("SUBSCRIBE {}", names.join(" "))
    ));
    for name in &names {
        subscriptions.received(&frame("*", "subscribe", name));
    }
    // Confirmed and asked count the same.
    assert!(!sent(&mut subscriptions.clone(), "SUBSCRIBE x"));
    assert!(!sent(&mut subscriptions.clone(), "PING"));
    let mut pings = Subscriptions::default();
    assert!((0..CHANNELS_MAX).all(|_| sent(&mut pings, "PING")));
    assert!(!sent(&mut pings, "PING"));

    let mut subscriptions = Subscriptions::default();
    let long = "x".repeat(BYTES_MAX / 2);
    assert!(sent(&mut subscriptions, &format!("SUBSCRIBE a{long}")));
    received(&mut subscriptions, &format!("subscribe a{long}"));
    assert!(!sent(
        &mut subscriptions.clone(),
        &format!("SUBSCRIBE b{long}")
    ));
    // What is left makes room.
    sent(&mut subscriptions, &format!("UNSUBSCRIBE a{}", &long[..10]));
    received(&mut subscriptions, &format!("unsubscribe a{}", &long[..10]));
    sent(&mut subscriptions, "UNSUBSCRIBE");
    received(&mut subscriptions, &format!("unsubscribe a{long}"));
    assert!(sent(&mut subscriptions, &format!("SUBSCRIBE b{long}")));
}

/// A server's end of a connection.
#[derive(Debug, Default)]
struct Server {
    names: BTreeSet<(Kind, Vec<u8>)>,
    protocol: Protocol,
}

impl Server {
    fn frame(&self, word: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let mut out = match self.protocol {
            Protocol::Resp2 => format!("*{}\r\n", parts.len() + 1),
            Protocol::Resp3 => format!(">{}\r\n", parts.len() + 1),
        }
        .into_bytes();
        encode::bulk(&mut out, word);
        for part in parts {
            out.extend_from_slice(part);
        }
        out
    }

    /// Channels and patterns are counted together, shard channels by themselves.
    fn confirmation(&self, kind: Kind, word: &[u8], name: Option<&[u8]>) -> Vec<u8> {
        let is_shard = |kind: Kind| kind == Kind::Shard;
        let same = |other: &&(Kind, Vec<u8>)| is_shard(other.0) == is_shard(kind);
        let count = format!(":{}\r\n", self.names.iter().filter(same).count());
        let mut shown = Vec::new();
        match name {
            Some(name) => encode::bulk(&mut shown, name),
            None => shown.extend_from_slice(self.protocol.null()),
        }
        self.frame(word, &[&shown, count.as_bytes()])
    }

    fn run(&mut self, words: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let name = words[0].to_ascii_lowercase();
        for kind in Kind::ALL {
            if name == kind.subscribe() && words[1..].iter().any(|name| name == b"forbidden") {
                return vec![b"-NOPERM no\r\n".to_vec()];
            }
            if name == kind.subscribe() && words.len() > 1 {
                let mut confirm = |name: &Vec<u8>| {
                    self.names.insert((kind, name.clone()));
                    self.confirmation(kind, kind.subscribe(), Some(name))
                };
                return words[1..].iter().map(&mut confirm).collect();
            }
            if name == kind.unsubscribe() {
                let of_kind = self.names.iter().filter(|(other, _)| *other == kind);
                let names: Vec<Vec<u8>> = match words.len() {
                    1 => of_kind.map(|(_, name)| name.clone()).collect(),
                    _ => words[1..].to_vec(),
                };
                if names.is_empty() {
                    return vec![self.confirmation(kind, kind.unsubscribe(), None)];
                }
                let mut confirm = |name: &Vec<u8>| {
                    self.names.remove(&(kind, name.clone()));
                    self.confirmation(kind, kind.unsubscribe(), Some(name))
                };
                return names.iter().map(&mut confirm).collect();
            }
        }
        let is_in_mode = self.protocol == Protocol::Resp2 && !self.names.is_empty();
        vec![match (name.as_slice(), words.len()) {
            (b"ping", 1) if is_in_mode => b"*2\r\n$4\r\npong\r\n$0\r\n\r\n".to_vec(),
            (b"ping", 1) => b"+PONG\r\n".to_vec(),
            _ => b"-ERR wrong number of arguments\r\n".to_vec(),
        }]
    }

    fn publish(&self, name: &[u8]) -> Vec<Vec<u8>> {
        let mut bulk = Vec::new();
        encode::bulk(&mut bulk, name);
        let matching = self.names.iter().filter(|(_, other)| other == name);
        let frame = |(kind, _): &(Kind, Vec<u8>)| self.frame(kind.message(), &[&bulk, &bulk]);
        matching.map(frame).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The client asks.
    Send(Vec<Vec<u8>>),
    /// The server runs a request.
    Run,
    /// A frame arrives.
    Arrive,
    Publish(Vec<u8>),
    /// The link is lost.
    Cut,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = prop_oneof![
        Just(b"a".to_vec()),
        Just(b"b".to_vec()),
        Just(b"c".to_vec()),
        Just(b"forbidden".to_vec())
    ];
    let word = prop::sample::select(vec![
        "SUBSCRIBE",
        "psubscribe",
        "SSUBSCRIBE",
        "UNSUBSCRIBE",
        "UNSUBSCRIBE",
        "PUNSUBSCRIBE",
        "sunsubscribe",
        "PING",
    ]);
    let names = prop::collection::vec(name.clone(), 0..4);
    let request = (word, names).prop_map(|(word, names)| {
        let mut words = vec![word.as_bytes().to_vec()];
        words.extend(names);
        words
    });
    let step = prop_oneof![
        6 => request.prop_map(Step::Send),
        6 => Just(Step::Run),
        9 => Just(Step::Arrive),
        2 => name.prop_map(Step::Publish),
        1 => Just(Step::Cut),
    ];
    prop::collection::vec(step, 0..120)
}

fn split(mut bytes: &[u8]) -> VecDeque<Vec<Vec<u8>>> {
    let mut found = VecDeque::new();
    let mut words = Words::default();
    while !bytes.is_empty() {
        let Parsed::Whole(length) = parse(bytes, &mut words) else {
            panic!("no whole request: {bytes:?}");
        };
        let owned = |index| words.get(bytes, index).unwrap().to_vec();
        found.push_back((0..words.len()).map(owned).collect());
        bytes = &bytes[length..];
    }
    found
}

/// A client, the link that it has at the moment, and what it heard.
#[derive(Debug, Default)]
struct Play {
    subscriptions: Subscriptions,
    server: Server,
    requests: VecDeque<Vec<Vec<u8>>>,
    frames: VecDeque<Vec<u8>>,
    heard: Vec<Vec<u8>>,
}

impl Play {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Send(words) => {
                let line: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                assert!(self.subscriptions.sent(&line));
                self.requests.push_back(words.clone());
            }
            Step::Run => {
                if let Some(words) = self.requests.pop_front() {
                    self.frames.extend(self.server.run(&words));
                }
            }
            Step::Arrive => {
                if let Some(frame) = self.frames.pop_front() {
                    let passes = self.subscriptions.received(&frame);
                    let is_message = read(&frame) == Said::Apart;
                    assert!(passes || !is_message);
                    if passes && !is_message {
                        self.heard.push(frame);
                    }
                }
            }
            Step::Publish(name) => self.frames.extend(self.server.publish(name)),
            Step::Cut => {
                self.frames.clear();
                self.requests = split(&self.subscriptions.restore());
                self.server.names.clear();
            }
        }
        assert!(!self.subscriptions.is_lost(), "{step:?}: {self:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_client_hears_the_same_as_on_one_connection(steps in steps(), is_resp3: bool) {
        let protocol = if is_resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let server = || Server { protocol, ..Server::default() };
        let mut play = Play { server: server(), ..Play::default() };
        let mut other = server();
        let mut expected = Vec::new();
        for step in &steps {
            play.step(step);
            if let Step::Send(words) = step {
                expected.extend(other.run(words));
            }
        }
        while !play.requests.is_empty() || !play.frames.is_empty() {
            play.step(&Step::Run);
            play.step(&Step::Arrive);
        }
        prop_assert_eq!(&play.heard, &expected);
        prop_assert_eq!(&play.server.names, &other.names);
        prop_assert_eq!(&play.subscriptions.confirmed, &other.names);
        prop_assert!(play.subscriptions.asked.is_empty());
        prop_assert_eq!(play.subscriptions.count, other.names.len());
        let bytes = other.names.iter().map(|(_, name)| name.len()).sum::<usize>();
        prop_assert_eq!(play.subscriptions.bytes, bytes);
    }
}
