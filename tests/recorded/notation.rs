//! The notation of the tables, made into commands.
//!
//! `a; b` or `a → b`: b is sent when a is answered. `[a · b]`: one packet. In openings `(a|b)`: a with a password, b without.
//! Words: `k` the session's key, `old` the one before, `new` the next, `dead` one that nobody has, `k…` those of all users,
//! `k_LOCK` its lock, `p*` all keys of the app, `v` the value, `s` seconds, `ms` milliseconds, `at` Unix seconds, `n` a
//! number, `c` a cursor, `<NAME>` and `sha:NAME` a script; inside a word `<id>`, `<old>` and `<dead>` are ids. A command
//! with `each` is sent for each user's key. `inline` before a command: no array.

use std::collections::BTreeMap;

use crate::harness::encode;

use super::scripts::{SCRIPTS, body};
use super::setup::{Setup, Values};

/// One command, as written and as sent.
#[derive(Clone, Debug)]
pub struct Command {
    /// As the table has it.
    pub text: String,
    /// What is sent.
    pub words: Vec<Vec<u8>>,
}

impl Command {
    /// Its bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        match self.words.first() {
            Some(first) if first == b"inline" => {
                [self.words[1..].join(&b' '), b"\r\n".to_vec()].concat()
            }
            _ => encode(&self.words),
        }
    }
}

/// What is sent at once.
pub type Packet = Vec<Command>;
/// What needs one connection: what precedes a step, the step, and all from WATCH to EXEC.
pub type Turn = Vec<Packet>;

/// One user with a session.
#[derive(Debug)]
pub struct Browser {
    /// First letters of the ids.
    pub name: &'static str,
    /// Ids so far.
    pub session: u32,
    /// Part of the value: what the user changed.
    pub changes: u32,
}

/// Puts words in the place of the table's.
#[derive(Debug)]
pub struct Filler {
    setup: &'static Setup,
    /// The users.
    pub browsers: [Browser; 2],
    /// Seconds that a session lives.
    pub seconds: u64,
    /// Unix seconds.
    pub now: u64,
    counter: u64,
    hashes: BTreeMap<&'static str, String>,
}

impl Filler {
    /// Begins with two users who are not logged in.
    pub fn new(setup: &'static Setup, now: u64, hashes: BTreeMap<&'static str, String>) -> Self {
        let browser = |name| Browser {
            name,
            session: 1,
            changes: 0,
        };
        Self {
            setup,
            browsers: [browser("alice"), browser("bob")],
            seconds: 0,
            now,
            counter: 0,
            hashes,
        }
    }

    /// The packets of an opening.
    pub fn opening(&mut self, text: &str, secured: bool) -> Vec<Packet> {
        let mut chosen = String::new();
        for (index, part) in text.split(['(', ')']).enumerate() {
            let (with, without) = part.split_once('|').unwrap_or((part, ""));
            chosen.push_str(match (index % 2, secured) {
                (0, _) => part,
                (_, true) => with,
                (_, false) => without,
            });
        }
        self.packets(0, &chosen, false)
    }

    /// What a web request of this user sends.
    pub fn turns(&mut self, browser: usize, text: &str) -> Vec<Turn> {
        let (mut turns, mut watching) = (Vec::<Turn>::new(), false);
        for packet in self.packets(browser, text, self.setup.lower) {
            let word = |command: Option<&Command>, name: &str| {
                command.is_some_and(|command| command.text.starts_with(name))
            };
            let begins = word(packet.first(), "WATCH");
            let ends = word(packet.last(), "EXEC") || word(packet.last(), "UNWATCH");
            if !watching {
                turns.push(self.packets(browser, self.setup.before, false));
            }
            turns.last_mut().unwrap().push(packet);
            watching = begins || watching && !ends;
        }
        turns
    }

    fn packets(&mut self, browser: usize, text: &str, lower: bool) -> Vec<Packet> {
        let mut packets = Vec::new();
        for step in text.split([';', '→']).map(str::trim) {
            let named = self.setup.short.iter().find(|(name, _)| *name == step);
            let step = named.map_or(step, |(_, step)| *step);
            let commands = step.trim_matches(['[', ']']).split('·').map(str::trim);
            let packet: Packet = commands
                .filter(|text| !text.is_empty())
                .flat_map(|text| self.commands(browser, text, lower))
                .collect();
            if !packet.is_empty() {
                packets.push(packet);
            }
        }
        packets
    }

    fn commands(&mut self, browser: usize, text: &str, lower: bool) -> Vec<Command> {
        if text.ends_with(" each") {
            let text = text.replace(" each", " k");
            let users = 0..self.browsers.len();
            return users
                .flat_map(|browser| self.commands(browser, &text, lower))
                .collect();
        }
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            words.extend(self.words(browser, word));
        }
        if lower {
            words[0].make_ascii_lowercase();
        }
        let text = text.to_owned();
        vec![Command { text, words }]
    }

    fn words(&mut self, browser: usize, word: &str) -> Vec<Vec<u8>> {
        if word == "k…" {
            let users = 0..self.browsers.len();
            return users
                .filter_map(|browser| self.key(browser, "k"))
                .map(String::into_bytes)
                .collect();
        }
        let text = match word {
            "v" => return vec![self.value(browser)],
            "n" => {
                self.counter += 1;
                self.counter.to_string()
            }
            "s" => self.seconds.to_string(),
            "ms" => (self.seconds * 1000).to_string(),
            "at" => (self.now + self.seconds).to_string(),
            "p*" => self.setup.key.replace("<id>", "*"),
            "p''" => self.setup.key.replace("<id>", ""),
            "\"\"" => String::new(),
            _ => self.named(browser, word),
        };
        vec![text.into_bytes()]
    }

    /// Keys, locks, scripts, and all other words, which are sent as they are.
    fn named(&self, browser: usize, word: &str) -> String {
        if let Some(key) = self.key(browser, word) {
            return key;
        }
        if let Some(key) = word
            .strip_suffix("_LOCK")
            .and_then(|word| self.key(browser, word))
        {
            return key + "_LOCK";
        }
        if let Some((head, tail)) = word.rsplit_once(':') {
            if head == "sha" {
                return self.hashes[tail].clone();
            }
            if let Some(key) = self.key(browser, tail) {
                return format!("{head}:{key}");
            }
        }
        if SCRIPTS.iter().any(|(name, _)| word == format!("<{name}>")) {
            return body(word.trim_matches(['<', '>'])).to_owned();
        }
        let mut text = word.to_owned();
        for (mark, key) in [("<id>", "k"), ("<old>", "old"), ("<dead>", "dead")] {
            text = text.replace(mark, &self.id(browser, key).unwrap_or_default());
        }
        text
    }

    fn key(&self, browser: usize, word: &str) -> Option<String> {
        let id = self.id(browser, word)?;
        Some(self.setup.key.replace("<id>", &id))
    }

    fn id(&self, browser: usize, word: &str) -> Option<String> {
        let Browser { name, session, .. } = self.browsers[browser];
        let id = match word {
            "k" => format!("{name}{session}"),
            "old" => format!("{name}{}", session - 1),
            "new" => format!("{name}{}", session + 1),
            "dead" => "nobody".to_owned(),
            _ => return None,
        };
        Some(format!("{id:x<22}"))
    }

    fn value(&mut self, browser: usize) -> Vec<u8> {
        self.counter += u64::from(self.setup.stamped);
        let stamp = if self.setup.stamped { self.counter } else { 0 };
        let Browser { name, changes, .. } = self.browsers[browser];
        let text = format!(r#"{{"user":"{name} é","changes":{changes},"stamp":{stamp}}}"#);
        match self.setup.values {
            Values::Text => text.into_bytes(),
            Values::Binary => [
                &b"\x80\x04\x95\0\r\n\xff\xfe"[..],
                text.as_bytes(),
                b"\r\n$-1\r\n+OK\0",
            ]
            .concat(),
        }
    }
}
