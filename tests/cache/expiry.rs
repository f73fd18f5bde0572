//! Expiry at the millisecond: a session is never served past its deadline, and never gone before.
//!
//! The test knows the server's clock to a fraction of a millisecond, by TIME before and after the run. A read that shows a
//! session though it *began* past the deadline is late; a read that does not show it though it had *ended* before is early.

use std::time::Duration;

use super::history::Nanos;
use super::workload::Arena;
use crate::harness::{Client, Random, Server, Sidecar, Version, encode, pause, seed, versions};
use crate::{run_length, side_by_side};

const RUN: Duration = Duration::from_secs(3);

/// A server takes a key for expired when its clock, in whole milliseconds, shows more than the deadline.
const WHOLE: i64 = 1_000_000;

/// The server's clock minus ours, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Offset {
    least: i64,
    most: i64,
}

impl Offset {
    /// Asks the server often and keeps the sharpest bounds.
    fn measure(arena: &Arena, client: &mut Client) -> Self {
        let mut best = Self {
            least: i64::MIN,
            most: i64::MAX,
        };
        for _ in 0..50 {
            let before = arena.now() as i64;
            let time = client.ask("TIME");
            let after = arena.now() as i64;
            let mut parts = time
                .split("\\r\\n")
                .filter(|part| !part.starts_with(['*', '$']));
            let mut number = || parts.next().unwrap().parse::<i64>().unwrap();
            let micros = number() * 1_000_000 + number();
            best.least = best.least.max(micros * 1000 - after);
            best.most = best.most.min((micros + 1) * 1000 - before);
        }
        best
    }

    /// Holds at both times, and between them.
    fn or(self, other: Self) -> Self {
        Self {
            least: self.least.min(other.least),
            most: self.most.max(other.most),
        }
    }
}

/// One read of a session.
#[derive(Clone, Copy, Debug)]
struct Look {
    begin: Nanos,
    end: Nanos,
    is_there: bool,
    is_direct: bool,
}

/// A session's life: its deadline by the server's clock in milliseconds, at least and at most, and who looked.
#[derive(Debug)]
struct Life {
    deadline: (i64, i64),
    /// From when on the deadline stands.
    since: Nanos,
    looks: Vec<Look>,
}

#[test]
fn nothing_is_served_past_its_deadline_or_gone_before() {
    side_by_side(versions(), |version| {
        let seed = seed(&format!("expiry, {}", version.name));
        let server = Server::start(&version);
        let sidecar = Sidecar::before(&server).start();
        let arena = Arena::new();
        let before = Offset::measure(&arena, &mut server.client());
        let lives = live(&arena, &server, &sidecar, seed);
        let offset = before.or(Offset::measure(&arena, &mut server.client()));
        judge(&version, &lives, offset, seed);
    });
}

fn live(arena: &Arena, server: &Server, sidecar: &Sidecar, seed: u64) -> Vec<Life> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let viewer = Viewer {
                    arena,
                    client: sidecar.client(),
                    direct: server.client(),
                    number,
                    is_hash: number % 2 == 1,
                    has_expiretime: server.version.major() >= 7,
                    random: Random::new(seed + number),
                };
                scope.spawn(move || viewer.view(number >= 2))
            })
            .collect();
        pause(run_length(RUN));
        arena.end();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a viewer looks to the end"))
            .collect()
    })
}

/// Makes one session after the other and looks at each until it is gone.
struct Viewer<'a> {
    arena: &'a Arena,
    client: Client,
    direct: Client,
    number: u64,
    is_hash: bool,
    has_expiretime: bool,
    random: Random,
}

impl Viewer<'_> {
    fn view(mut self, is_resp3: bool) -> Vec<Life> {
        if is_resp3 {
            self.client.ask("HELLO 3");
        }
        let mut lives = Vec::new();
        for serial in 0.. {
            if self.arena.is_over() {
                break;
            }
            let key = format!("session:{}:{serial}", self.number);
            let Some((since, deadline)) = self.make(&key) else {
                continue;
            };
            let mut life = Life {
                deadline,
                since,
                looks: Vec::new(),
            };
            let looks_direct = self.random.chance(50);
            loop {
                let is_direct = looks_direct && self.random.chance(20);
                let look = self.look(&key, is_direct);
                life.looks.push(look);
                if !look.is_there {
                    break;
                }
            }
            // What is gone stays gone.
            life.looks
                .extend([false, true].map(|is_direct| self.look(&key, is_direct)));
            lives.push(life);
        }
        lives
    }

    /// Writes a session; returns from when on its deadline stands, and the deadline. None when the machine was so busy that
    /// it was gone before all was said.
    fn make(&mut self, key: &str) -> Option<(Nanos, (i64, i64))> {
        let ttl = (20 + self.random.below(250)).to_string();
        let is_direct = self.random.chance(50);
        let is_moved = self.random.chance(50);
        let client = if is_direct {
            &mut self.direct
        } else {
            &mut self.client
        };
        let mut time = (server_time(client), 0);
        if self.is_hash {
            client.send(&encode(&["HSET", key, "f", "value"]));
            client.send(&encode(&["PEXPIRE", key, &ttl]));
            assert_eq!([client.text(), client.text()], [":1", ":1"]);
        } else {
            assert_eq!(client.ask(&format!("SET {key} value PX {ttl}")), "+OK");
        }
        time.1 = server_time(client);
        let mut lasts: i64 = ttl.parse().unwrap();
        if is_moved {
            self.look(key, false);
            lasts = match self.random.chance(50) {
                true => lasts + 60,
                false => lasts / 2,
            };
            time.0 = server_time(&mut self.client);
            let answer = self.client.ask(&format!("PEXPIRE {key} {lasts}"));
            if answer == ":0" {
                return None;
            }
            time.1 = server_time(&mut self.client);
        }
        let since = self.arena.now();
        if !self.has_expiretime {
            return Some((since, (time.0 + lasts, time.1 + lasts)));
        }
        let text = self.direct.ask(&format!("PEXPIRETIME {key}"));
        let at: i64 = text.trim_start_matches(':').parse().unwrap();
        (at > 0).then_some((since, (at, at)))
    }

    fn look(&mut self, key: &str, is_direct: bool) -> Look {
        let words: &[&str] = match (self.is_hash, self.random.below(4)) {
            (_, 0) => &["EXISTS", key],
            (false, 1) => &["STRLEN", key],
            (false, _) => &["GET", key],
            (true, 1) => &["HGETALL", key],
            (true, _) => &["HGET", key, "f"],
        };
        let client = if is_direct {
            &mut self.direct
        } else {
            &mut self.client
        };
        let begin = self.arena.now();
        let reply = client.call(words);
        let end = self.arena.now();
        let is_there = match reply.as_slice() {
            b":0\r\n" | b"$-1\r\n" | b"_\r\n" | b"*0\r\n" | b"%0\r\n" => false,
            b":1\r\n" | b":5\r\n" | b"$5\r\nvalue\r\n" => true,
            b"*2\r\n$1\r\nf\r\n$5\r\nvalue\r\n" | b"%1\r\n$1\r\nf\r\n$5\r\nvalue\r\n" => true,
            other => panic!("{words:?}: {}", crate::harness::escape(other)),
        };
        Look {
            begin,
            end,
            is_there,
            is_direct,
        }
    }
}

/// The server's clock in whole milliseconds.
fn server_time(client: &mut Client) -> i64 {
    let time = client.ask("TIME");
    let mut parts = time
        .split("\\r\\n")
        .filter(|part| !part.starts_with(['*', '$']));
    let mut number = || parts.next().unwrap().parse::<i64>().unwrap();
    number() * 1000 + number() / 1000
}

/// By how many nanoseconds a look showed what was past its deadline (positive), or missed what was not (negative).
fn lateness(life: &Life, look: &Look, offset: Offset) -> i64 {
    let (least, most) = (life.deadline.0 * WHOLE, life.deadline.1 * WHOLE);
    if look.is_there {
        (look.begin as i64 + offset.least - most).max(0)
    } else if look.end > life.since {
        (look.end as i64 + offset.most - least).min(0)
    } else {
        0
    }
}

fn judge(version: &Version, lives: &[Life], offset: Offset, seed: u64) {
    let (mut latest, mut earliest, mut looks) = ([0; 2], [0; 2], [0_usize; 2]);
    for life in lives {
        for look in &life.looks {
            let lateness = lateness(life, look, offset);
            let way = usize::from(look.is_direct);
            latest[way] = latest[way].max(lateness);
            earliest[way] = earliest[way].min(lateness);
            looks[way] += 1;
        }
    }
    eprintln!(
        "{}: {} sessions, {} looks through the sidecar and {} straight; past the deadline {} and {} us, before it {} and {} us",
        version.name,
        lives.len(),
        looks[0],
        looks[1],
        latest[0] / 1000,
        latest[1] / 1000,
        -earliest[0] / 1000,
        -earliest[1] / 1000,
    );
    assert!(lives.len() > 10, "hardly any session lived");
    let allowed = WHOLE.max(latest[1]);
    assert!(
        latest[0] <= allowed,
        "seed {seed}: served {} us past the deadline",
        latest[0] / 1000
    );
    assert!(
        -earliest[0] <= WHOLE.max(-earliest[1]),
        "seed {seed}: gone {} us before the deadline",
        -earliest[0] / 1000
    );
}

#[test]
fn late_and_early_looks_are_told() {
    let life = |looks: &[Look]| Life {
        deadline: (100, 100),
        since: 0,
        looks: looks.to_vec(),
    };
    let look = |begin, end, is_there| Look {
        begin,
        end,
        is_there,
        is_direct: false,
    };
    let offset = Offset {
        least: 0,
        most: 1000,
    };
    let told = |look: Look| lateness(&life(&[]), &look, offset);
    let ms = 1_000_000;
    assert_eq!(told(look(99 * ms, 200 * ms, true)), 0, "it began in time");
    assert_eq!(told(look(105 * ms, 106 * ms, true)), 5_000_000);
    assert_eq!(
        told(look(90 * ms, 101 * ms, false)),
        0,
        "it ended past the deadline"
    );
    assert_eq!(told(look(90 * ms, 95 * ms, false)), -4_999_000);
}
