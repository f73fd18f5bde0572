//! Clients as session libraries are: log-ins, reads, updates, touches and log-outs over strings and hashes, in both protocols;
//! and one each with transactions, a counter, a subscription and a queue.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use crate::harness::{Client, Random, Value, escape, parse, pause};

use super::history::{Asked, Got, History};

/// Clients that live a session's life.
pub(crate) const USERS: usize = 8;

/// Sessions that each of them has.
const SESSIONS: usize = 4;

/// Sessions that are only read, and touched, while everything else happens.
pub(crate) const QUIET: usize = 20;

/// Between two requests of a client: thousands a second of all together.
const REST: Duration = Duration::from_millis(2);

/// Longer than any hold of these scenarios.
const PATIENCE: Duration = Duration::from_secs(40);

/// Client numbers of those that are no users.
pub(crate) const READER: usize = 100;
pub(crate) const COUNTER: usize = 102;
pub(crate) const TRANSACTIONS: usize = 103;
const PUSHER: usize = 104;
const POPPER: usize = 105;
pub(crate) const PUBLISHER: usize = 106;
pub(crate) const SUBSCRIBER: usize = 107;

/// Several: the touch that was under way at the fault may have to wait, and its client says nothing more.
pub(crate) const TOUCHERS: [usize; 3] = [108, 109, 110];

/// A connection that reads what comes.
struct Session {
    client: Client,
    resp3: bool,
}

impl Session {
    fn open(address: &str, resp3: bool) -> Self {
        let mut client = Client::connect(address);
        client.read_timeout(PATIENCE);
        if resp3 {
            client.ask("HELLO 3");
        }
        Self { client, resp3 }
    }

    fn ask(&mut self, words: &[&str]) -> Option<Value> {
        let bytes = crate::harness::encode(words);
        self.client.try_send(&bytes).ok()?;
        self.next()
    }

    fn next(&mut self) -> Option<Value> {
        self.client.try_frame().map(|frame| parse(&frame))
    }

    /// Asks what is answered with one of these lines, or a number.
    fn done(&mut self, words: &[&str], fits: impl Fn(&Value) -> bool) -> Got {
        match self.ask(words) {
            None => Got::Closed,
            Some(reply) => match error(&reply) {
                Some(error) => Got::Error(error),
                None if fits(&reply) => Got::Done,
                None => Got::Odd(format!("{reply:?}")),
            },
        }
    }

    fn number(&mut self, words: &[&str]) -> Got {
        match self.ask(words) {
            None => Got::Closed,
            Some(Value::Line(b':', digits)) => Got::Number(text(&digits).parse().unwrap_or(-1)),
            Some(reply) => match error(&reply) {
                Some(error) => Got::Error(error),
                None => Got::Odd(format!("{reply:?}")),
            },
        }
    }

    /// Reads a session: a string, or the field `data` of a hash.
    fn read(&mut self, words: &[&str]) -> Got {
        let Some(reply) = self.ask(words) else {
            return Got::Closed;
        };
        if let Some(error) = error(&reply) {
            return Got::Error(error);
        }
        match reply {
            Value::Blob(b'$', value) => Got::Value(Some(text(&value))),
            Value::Line(b'$', _) if !self.resp3 => Got::Value(None),
            Value::Line(b'_', _) if self.resp3 => Got::Value(None),
            Value::Many(kind, fields) if kind == if self.resp3 { b'%' } else { b'*' } => {
                match fields.as_slice() {
                    [] => Got::Value(None),
                    [Value::Blob(_, field), Value::Blob(_, value)] if field == b"data" => {
                        Got::Value(Some(text(value)))
                    }
                    odd => Got::Odd(format!("{odd:?}")),
                }
            }
            odd => Got::Odd(format!("{odd:?}")),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn error(reply: &Value) -> Option<String> {
    match reply {
        Value::Line(b'-', line) => Some(format!("-{}", escape(line))),
        _ => None,
    }
}

fn is_ok(reply: &Value) -> bool {
    *reply == Value::Line(b'+', b"OK".to_vec())
}

fn is_count(reply: &Value) -> bool {
    matches!(reply, Value::Line(b':', digits) if digits == b"0" || digits == b"1")
}

/// The clients, until told to stop.
pub(crate) struct Workload<'a> {
    pub(crate) address: &'a str,
    pub(crate) history: &'a History,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) seed: u64,
}

impl<'a> Workload<'a> {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Starts all of them.
    pub(crate) fn start<'scope>(
        &'a self,
        scope: &'scope Scope<'scope, '_>,
    ) -> Vec<ScopedJoinHandle<'scope, ()>>
    where
        'a: 'scope,
    {
        let mut clients = Vec::new();
        for number in 0..USERS {
            clients.push(scope.spawn(move || self.user(number)));
        }
        clients.push(scope.spawn(|| self.quiet(READER, false)));
        for toucher in TOUCHERS {
            clients.push(scope.spawn(move || self.quiet(toucher, true)));
        }
        clients.push(scope.spawn(|| self.counter()));
        clients.push(scope.spawn(|| self.transactions()));
        clients.push(scope.spawn(|| self.pusher()));
        clients.push(scope.spawn(|| self.popper()));
        clients.push(scope.spawn(|| self.publisher()));
        clients.push(scope.spawn(|| self.subscriber()));
        clients
    }

    /// Writes the sessions that will only be read.
    pub(crate) fn prepare(&self) {
        let mut session = Session::open(self.address, false);
        for client in TOUCHERS.into_iter().chain([READER]) {
            for number in 0..QUIET {
                let key = format!("quiet:{client}:{number}");
                let value = format!("{key}=still");
                let words = ["SET", &key, &value, "EX", "600"];
                let asked = Asked::Write {
                    key: key.clone(),
                    value: value.clone(),
                };
                self.history
                    .note(client, asked, || session.done(&words, is_ok));
            }
        }
    }

    /// Half of them in RESP3, half of their sessions hashes.
    fn user(&self, number: usize) {
        let mut random = Random::new(self.seed + number as u64);
        let mut session = Session::open(self.address, number.is_multiple_of(2));
        let mut written = 0;
        while self.goes_on() {
            let which = random.below(SESSIONS);
            let hash = which.is_multiple_of(2);
            let key = format!("session:{number}:{which}");
            written += 1;
            let value = format!("{key}={written}");
            match random.below(10) {
                0..=2 => self.write(&mut session, number, (key, value), hash),
                3..=6 => self.read(&mut session, number, key, hash),
                7 | 8 => self.touch(&mut session, number, key, random.below(3)),
                _ => {
                    let words = ["DEL", &key];
                    let asked = Asked::Logout { key: key.clone() };
                    self.history
                        .note(number, asked, || session.done(&words, is_count));
                }
            }
            pause(REST);
        }
        // What was acknowledged is still there.
        for which in 0..SESSIONS {
            let hash = which.is_multiple_of(2);
            let key = format!("session:{number}:{which}");
            self.read(&mut session, number, key, hash);
        }
    }

    fn write(
        &self,
        session: &mut Session,
        number: usize,
        (key, value): (String, String),
        hash: bool,
    ) {
        let asked = Asked::Write {
            key: key.clone(),
            value: value.clone(),
        };
        self.history.note(number, asked, || match hash {
            true => session.done(&["HSET", &key, "data", &value], is_count),
            false => session.done(&["SET", &key, &value, "EX", "600"], is_ok),
        });
        if hash {
            let words = ["EXPIRE", &key, "600"];
            let asked = Asked::Touch { key: key.clone() };
            self.history
                .note(number, asked, || session.done(&words, is_count));
        }
    }

    fn read(&self, session: &mut Session, number: usize, key: String, hash: bool) {
        let command = if hash { "HGETALL" } else { "GET" };
        let asked = Asked::Read { key: key.clone() };
        self.history
            .note(number, asked, || session.read(&[command, &key]));
    }

    fn touch(&self, session: &mut Session, number: usize, key: String, how: usize) {
        let words: &[&str] = match how {
            0 => &["EXPIRE", &key, "600"],
            1 => &["PEXPIRE", &key, "700000"],
            _ => &["EXPIREAT", &key, "4000000000"],
        };
        let asked = Asked::Touch { key: key.clone() };
        self.history
            .note(number, asked, || session.done(words, is_count));
    }

    /// Reads sessions that nobody changes, and touches them.
    fn quiet(&self, client: usize, touches: bool) {
        let mut session = Session::open(self.address, touches);
        let mut turn = 0;
        while self.goes_on() {
            let key = format!("quiet:{client}:{}", turn % QUIET);
            turn += 1;
            self.read(&mut session, client, key.clone(), false);
            if touches {
                self.touch(&mut session, client, key, 0);
            }
            pause(REST);
        }
    }

    fn counter(&self) {
        let mut session = Session::open(self.address, false);
        while self.goes_on() {
            let key = "counter".to_owned();
            self.history.note(COUNTER, Asked::Count { key }, || {
                session.number(&["INCR", "counter"])
            });
            pause(REST);
        }
    }

    /// MULTI, queued over several packets, with and without WATCH; an EXEC may answer a null after WATCH.
    fn transactions(&self) {
        let mut session = Session::open(self.address, false);
        let key = "session:multi".to_owned();
        let (mut written, mut watched) = (0, false);
        while self.goes_on() {
            written += 1;
            let value = format!("{key}={written}");
            let watches = written % 3 == 0;
            let (name, text) = (key.clone(), value.clone());
            // A WATCH outlasts an attempt that ended in an error.
            let asked = match watches || watched {
                true => Asked::WriteWatched {
                    key: name,
                    value: text,
                },
                false => Asked::Write {
                    key: name,
                    value: text,
                },
            };
            self.history.note(TRANSACTIONS, asked, || {
                transaction(&mut session, &key, &value, watches, &mut watched)
            });
            self.read(&mut session, TRANSACTIONS, key.clone(), false);
            pause(REST);
        }
    }

    fn pusher(&self) {
        let mut session = Session::open(self.address, false);
        let mut pushed = 0;
        while self.goes_on() {
            pushed += 1;
            let value = format!("element {pushed}");
            let asked = Asked::Push {
                value: value.clone(),
            };
            self.history.note(PUSHER, asked, || {
                session.number(&["RPUSH", "queue", &value])
            });
            pause(REST * 5);
        }
    }

    fn popper(&self) {
        let mut session = Session::open(self.address, false);
        while self.goes_on() {
            self.history.note(POPPER, Asked::Pop, || {
                match session.ask(&["BLPOP", "queue", "1"]) {
                    None => Got::Closed,
                    Some(Value::Many(b'*', parts)) => match parts.as_slice() {
                        [_, Value::Blob(_, value)] => Got::Value(Some(text(value))),
                        odd => Got::Odd(format!("{odd:?}")),
                    },
                    Some(Value::Line(b'*', _)) => Got::Value(None),
                    Some(reply) => match error(&reply) {
                        Some(error) => Got::Error(error),
                        None => Got::Odd(format!("{reply:?}")),
                    },
                }
            });
        }
    }

    fn publisher(&self) {
        let mut session = Session::open(self.address, false);
        let mut published = 0;
        while self.goes_on() {
            published += 1;
            let value = published.to_string();
            let asked = Asked::Publish {
                value: value.clone(),
            };
            self.history.note(PUBLISHER, asked, || {
                session.number(&["PUBLISH", "news", &value])
            });
            pause(REST * 10);
        }
    }

    /// Takes messages as they come; notes each as read.
    fn subscriber(&self) {
        let mut session = Session::open(self.address, false);
        session.ask(&["SUBSCRIBE", "news"]);
        session.client.read_timeout(REST * 50);
        let mut last = VecDeque::from([0_u64]);
        while self.goes_on() {
            if session.client.is_silent_for(REST * 50) {
                continue;
            }
            let key = "news".to_owned();
            self.history
                .note(SUBSCRIBER, Asked::Publish { value: key }, || {
                    let Some(Value::Many(_, parts)) = session.next() else {
                        return Got::Closed;
                    };
                    let Some(Value::Blob(_, number)) = parts.last() else {
                        return Got::Odd(format!("{parts:?}"));
                    };
                    let number: u64 = text(number).parse().unwrap_or(0);
                    let before = last.pop_front().unwrap_or(0);
                    last.push_back(number);
                    match number > before {
                        true => Got::Number(number as i64),
                        false => Got::Odd(format!("message {number} after {before}")),
                    }
                });
        }
    }
}

/// Runs one transaction; `Value(None)` where EXEC answered a null.
///
/// A WATCH lasts until an EXEC is answered, also where an error ended the attempt before.
fn transaction(
    session: &mut Session,
    key: &str,
    value: &str,
    watches: bool,
    watched: &mut bool,
) -> Got {
    if watches {
        match session.done(&["WATCH", key], is_ok) {
            Got::Done => *watched = true,
            other => return other,
        }
    }
    match session.done(&["MULTI"], is_ok) {
        Got::Done => {}
        other => return other,
    }
    let queued = |reply: &Value| *reply == Value::Line(b'+', b"QUEUED".to_vec());
    for words in [&["SET", key, value][..], &["EXPIRE", key, "600"]] {
        match session.done(words, queued) {
            Got::Done => {}
            other => return other,
        }
    }
    let may_be_null = std::mem::take(watched);
    match session.ask(&["EXEC"]) {
        None => Got::Closed,
        Some(Value::Many(b'*', parts)) if parts.len() == 2 && is_ok(&parts[0]) => Got::Done,
        Some(Value::Line(b'*', _)) if may_be_null => Got::Value(None),
        Some(reply) => match error(&reply) {
            Some(error) => Got::Error(error),
            None => Got::Odd(format!("{reply:?}")),
        },
    }
}
