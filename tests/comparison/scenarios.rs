//! What several clients do to each other, step by step on both sides.

use std::time::Duration;

use crate::harness::{Client, Version, encode, escape, until};

use super::runner::Pair;
use super::verdict::{alike, verdict};

/// Clients A, B, C … on each side.
struct Stage {
    pair: Pair,
    clients: Vec<[Client; 2]>,
    story: Vec<String>,
}

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

/// A scenario: its name, and the steps.
type Scenario = (&'static str, fn(&mut Stage));

const SCENARIOS: &[Scenario] = &[
    ("blocked pops are served in order", blocked_pops),
    ("a stream wakes its readers", stream_readers),
    ("messages are delivered", messages),
    ("a watched key is changed by another client", watched),
    ("a blocked client is unblocked by id", unblocked),
    ("a client is killed by id", killed),
    ("invalidations reach a tracking client", tracked),
    (
        "invalidations reach another connection by REDIRECT",
        redirected,
    ),
    ("keyspace notifications arrive", notified),
    ("a transaction is invisible until EXEC", invisible),
    ("SWAPDB and FLUSHALL reach everyone", swapped),
];

/// Runs all scenarios in both protocols.
pub fn run(version: &Version) {
    for protocol in ["2", "3"] {
        for (name, scenario) in SCENARIOS {
            eprintln!("{} RESP{protocol}: {name}", version.name);
            let pair = Pair::start(version);
            let clients = (0..3).map(|_| pair.clients()).collect();
            let mut stage = Stage {
                pair,
                clients,
                story: vec![format!("{name}, RESP{protocol}")],
            };
            for client in 0..3 {
                stage.ask(client, &format!("HELLO {protocol}"));
            }
            scenario(&mut stage);
        }
    }
}

impl Stage {
    fn send(&mut self, client: usize, words: &str) {
        self.story
            .push(format!("{} says {words}", ["A", "B", "C"][client]));
        for side in &mut self.clients[client] {
            side.send_words(words);
        }
    }

    /// The client sends and both sides answer alike.
    fn ask(&mut self, client: usize, words: &str) {
        self.send(client, words);
        self.expect_for(client, words);
    }

    /// Something arrives, the same on both sides.
    fn expect(&mut self, client: usize) {
        self.expect_for(client, "");
    }

    fn expect_for(&mut self, client: usize, words: &str) {
        let command: Vec<Vec<u8>> = words
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        let [left, right] = self.clients[client].each_mut().map(Client::try_frame);
        let (Some(left), Some(right)) = (&left, &right) else {
            panic!(
                "{}\nsidecar: {left:?}, Redis: {right:?}",
                self.story.join("\n")
            );
        };
        assert!(
            alike(verdict(&command), left, right),
            "{}\nsidecar: {}\nRedis:   {}",
            self.story.join("\n"),
            escape(left),
            escape(right)
        );
        self.story.push(format!(
            "   {} hears {}",
            ["A", "B", "C"][client],
            escape(right)
        ));
    }

    /// Sends a command that holds an id, another one on each side.
    fn ask_with_id(&mut self, client: usize, before: &str, ids: [String; 2], after: &str) {
        self.story.push(format!(
            "{} says {before} <id> {after}",
            ["A", "B", "C"][client]
        ));
        for (side, id) in self.clients[client].iter_mut().zip(ids) {
            let line = format!("{before} {id} {after}");
            side.send(&encode(&line.split_whitespace().collect::<Vec<_>>()));
        }
        self.expect(client);
    }

    fn ids(&mut self, client: usize) -> [String; 2] {
        self.clients[client]
            .each_mut()
            .map(|side| side.ask("CLIENT ID").trim_start_matches(':').to_owned())
    }

    /// Waits until so many clients are blocked at both servers.
    fn wait_blocked(&mut self, count: usize) {
        for server in [&self.pair.behind, &self.pair.direct] {
            let mut client = server.client();
            until("blocked clients", Duration::from_secs(10), || {
                client
                    .ask("INFO clients")
                    .contains(&format!("blocked_clients:{count}\\r"))
                    .then_some(())
            });
        }
    }

    fn expect_closed(&mut self, client: usize) {
        for side in &mut self.clients[client] {
            assert_eq!(
                side.rest().as_deref(),
                Some(&b""[..]),
                "{}\nclosed",
                self.story.join("\n")
            );
        }
    }
}

fn blocked_pops(stage: &mut Stage) {
    stage.send(A, "BLPOP list other 0");
    stage.wait_blocked(1);
    stage.send(B, "BRPOP list 0");
    stage.wait_blocked(2);
    stage.ask(C, "RPUSH list one two three");
    stage.expect(A);
    stage.expect(B);
    stage.ask(C, "LRANGE list 0 -1");
    stage.ask(C, "DEL list");
    stage.send(A, "BLMOVE list target LEFT RIGHT 0");
    stage.wait_blocked(1);
    stage.send(B, "BZPOPMIN zset 0");
    stage.wait_blocked(2);
    stage.ask(C, "LPUSH list x");
    stage.expect(A);
    stage.ask(C, "ZADD zset 1 m");
    stage.expect(B);
    stage.send(A, "BLPOP list 0");
    stage.wait_blocked(1);
    stage.ask(C, "SET list not-a-list");
    stage.ask(C, "DEL list");
    stage.ask(C, "RPUSH list finally");
    stage.expect(A);
}

fn stream_readers(stage: &mut Stage) {
    stage.ask(C, "XGROUP CREATE stream group $ MKSTREAM");
    stage.send(A, "XREAD BLOCK 0 STREAMS stream $");
    stage.wait_blocked(1);
    stage.send(
        B,
        "XREADGROUP GROUP group consumer BLOCK 0 STREAMS stream >",
    );
    stage.wait_blocked(2);
    stage.ask(C, "XADD stream 5-1 field value");
    stage.expect(A);
    stage.expect(B);
    if stage.pair.direct.version.major() < 7 {
        return;
    }
    stage.send(
        B,
        "XREADGROUP GROUP group consumer BLOCK 0 STREAMS stream >",
    );
    stage.wait_blocked(1);
    stage.ask(C, "DEL stream");
    stage.expect(B);
}

fn messages(stage: &mut Stage) {
    stage.ask(A, "SUBSCRIBE news");
    stage.ask(B, "PSUBSCRIBE n*");
    stage.ask(B, "SUBSCRIBE news");
    stage.ask(C, "PUBLISH news hello");
    stage.expect(A);
    stage.expect(B);
    stage.expect(B);
    stage.ask(C, "PUBSUB NUMSUB news");
    stage.ask(C, "PUBSUB NUMPAT");
    stage.ask(A, "UNSUBSCRIBE news");
    stage.ask(C, "PUBLISH news again");
    stage.expect(B);
    stage.expect(B);
    stage.ask(A, "GET key");
    stage.ask(A, "PING");
}

fn watched(stage: &mut Stage) {
    stage.ask(A, "WATCH key");
    stage.ask(A, "GET key");
    stage.ask(B, "SET key changed");
    stage.ask(A, "MULTI");
    stage.ask(A, "SET key mine");
    stage.ask(A, "EXEC");
    stage.ask(A, "WATCH key");
    stage.ask(A, "UNWATCH");
    stage.ask(B, "SET key again");
    stage.ask(A, "MULTI");
    stage.ask(A, "SET key mine");
    stage.ask(A, "EXEC");
    stage.ask(A, "GET key");
    stage.ask(A, "WATCH key");
    stage.ask(A, "SELECT 3");
    stage.ask(B, "APPEND key x");
    stage.ask(A, "MULTI");
    stage.ask(A, "EXEC");
}

fn unblocked(stage: &mut Stage) {
    let ids = stage.ids(A);
    stage.send(A, "BLPOP never 0");
    stage.wait_blocked(1);
    stage.ask_with_id(B, "CLIENT UNBLOCK", ids.clone(), "");
    stage.expect(A);
    stage.send(A, "BLPOP never 0");
    stage.wait_blocked(1);
    stage.ask_with_id(B, "CLIENT UNBLOCK", ids.clone(), "ERROR");
    stage.expect(A);
    stage.ask_with_id(B, "CLIENT UNBLOCK", ids, "");
    stage.ask(A, "PING");
}

fn killed(stage: &mut Stage) {
    let ids = stage.ids(A);
    stage.ask_with_id(B, "CLIENT KILL ID", ids.clone(), "");
    stage.expect_closed(A);
    stage.ask_with_id(B, "CLIENT KILL ID", ids, "");
    stage.ask(B, "PING");
    let ids = stage.ids(C);
    stage.send(C, "BLPOP never 0");
    stage.wait_blocked(1);
    stage.ask_with_id(B, "CLIENT KILL ID", ids, "");
    stage.expect_closed(C);
}

fn tracked(stage: &mut Stage) {
    if stage.story[0].ends_with('2') {
        return;
    }
    stage.ask(B, "MSET key 1 other 2");
    stage.ask(A, "CLIENT TRACKING ON");
    stage.ask(A, "GET key");
    stage.ask(B, "SET key 2");
    stage.expect(A);
    stage.ask(B, "SET key 3");
    stage.ask(A, "MGET key other");
    stage.ask(B, "FLUSHALL");
    stage.expect(A);
    stage.ask(A, "CLIENT TRACKING OFF");
    stage.ask(A, "CLIENT TRACKING ON BCAST PREFIX us");
    stage.ask(B, "SET user:1 x");
    stage.expect(A);
    stage.ask(A, "CLIENT TRACKINGINFO");
    stage.ask(A, "CLIENT TRACKING OFF");
    stage.ask(A, "CLIENT TRACKING ON OPTIN");
    stage.ask(A, "CLIENT CACHING YES");
    stage.ask(A, "GET user:1");
    stage.ask(A, "GET other");
    stage.ask(B, "SET other y");
    stage.ask(B, "SET user:1 y");
    stage.expect(A);
}

fn redirected(stage: &mut Stage) {
    let ids = stage.ids(C);
    stage.ask(C, "SUBSCRIBE __redis__:invalidate");
    stage.ask_with_id(A, "CLIENT TRACKING ON REDIRECT", ids, "");
    stage.ask(A, "GET key");
    stage.ask(B, "SET key 1");
    stage.expect(C);
}

fn notified(stage: &mut Stage) {
    stage.ask(B, "CONFIG SET notify-keyspace-events KEA");
    stage.ask(A, "PSUBSCRIBE __key*__:*");
    stage.ask(B, "SET key value EX 1000");
    for _ in 0..4 {
        stage.expect(A);
    }
    stage.ask(B, "DEL key");
    stage.expect(A);
    stage.expect(A);
    stage.ask(B, "PSETEX short 30 x");
    for _ in 0..6 {
        stage.expect(A);
    }
}

fn invisible(stage: &mut Stage) {
    stage.ask(A, "MULTI");
    stage.ask(A, "SET key in-multi");
    stage.ask(A, "INCR counter");
    stage.ask(B, "GET key");
    stage.ask(B, "INCR counter");
    stage.ask(A, "EXEC");
    stage.ask(B, "GET key");
    stage.ask(B, "GET counter");
}

fn swapped(stage: &mut Stage) {
    stage.ask(A, "SET key zero");
    stage.ask(B, "SELECT 1");
    stage.ask(B, "SET key one");
    stage.ask(A, "GET key");
    stage.ask(C, "SWAPDB 0 1");
    stage.ask(A, "GET key");
    stage.ask(B, "GET key");
    stage.ask(C, "FLUSHALL");
    stage.ask(A, "GET key");
    stage.ask(B, "DBSIZE");
}
