//! The sidecar with its server, and a plain server of the same version: the same is sent to both, and compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Client, Server, Sidecar, Value, Version, encode, escape, parse};

use super::notation::Command;
use super::scripts::SCRIPTS;

/// Milliseconds by which times to live may differ.
const TTL_MS: i64 = 2000;
/// The databases that libraries are told to use: without a password and with one.
const DATABASES: [&str; 2] = ["0", "3"];

/// A connection to each side: the sidecar's first.
pub type Sides = [Client; 2];

/// Both sides.
#[derive(Debug)]
pub struct Pair {
    /// Dropped before its server, so that it does not see it go.
    sidecar: Sidecar,
    behind: Server,
    direct: Server,
    /// Whether there is a password.
    pub secured: bool,
    /// Past the sidecar, to see what the servers hold.
    watchers: [Client; 2],
}

impl Pair {
    /// Starts both; the password is `pw`.
    pub fn start(version: &Version, secured: bool) -> Self {
        let arguments: &[&str] = if secured {
            &["--requirepass", "pw"]
        } else {
            &[]
        };
        let [behind, direct] = [0, 1].map(|_| Server::start_with(version, arguments));
        // With it the sidecar knows a command that Redis does not.
        let wishes = Sidecar::before(&behind).listen("maint_notifications: false");
        let sidecar = match secured {
            true => wishes.upstream("password: pw").listen("require_auth: true"),
            false => wishes,
        }
        .start();
        let mut watchers = [behind.client(), direct.client()];
        if secured {
            for watcher in &mut watchers {
                assert_eq!(watcher.ask("AUTH pw"), "+OK");
            }
        }
        Self {
            sidecar,
            behind,
            direct,
            secured,
            watchers,
        }
    }

    /// The version and whether there is a password, for messages.
    pub fn name(&self) -> String {
        let password = if self.secured { "a" } else { "no" };
        format!("{}, {password} password", self.behind.version.name)
    }

    /// Opens a connection to each side.
    pub fn connect(&self) -> Sides {
        [self.sidecar.client(), self.direct.client()]
    }

    /// Forgets all keys and scripts, through the sidecar too; returns the hashes of the scripts.
    pub fn begin(&mut self) -> BTreeMap<&'static str, String> {
        let mut hashes = BTreeMap::new();
        for (name, body) in SCRIPTS {
            match parse(&self.watchers[1].call(&["SCRIPT", "LOAD", body])) {
                Value::Blob(_, hash) => hashes.insert(*name, String::from_utf8(hash).unwrap()),
                other => panic!("a hash, not {other:?}"),
            };
        }
        for mut client in self.connect() {
            if self.secured {
                assert_eq!(client.ask("AUTH pw"), "+OK");
            }
            assert_eq!(client.ask("FLUSHALL"), "+OK");
            assert_eq!(client.ask("SCRIPT FLUSH"), "+OK");
        }
        hashes
    }

    /// The plain server's Unix seconds.
    pub fn now(&mut self) -> u64 {
        match parse(&self.watchers[1].call(&["TIME"])) {
            Value::Many(_, parts) => match &parts[0] {
                Value::Blob(_, text) => String::from_utf8_lossy(text).parse().unwrap(),
                other => panic!("seconds, not {other:?}"),
            },
            other => panic!("a time, not {other:?}"),
        }
    }

    /// Compares keys, types, values and times to live; returns how many keys there are.
    pub fn compare_data(&mut self, context: &str) -> usize {
        let [through, direct] = self.watchers.each_mut().map(data);
        let values = |data: &BTreeMap<String, (String, i64)>| -> Vec<(String, String)> {
            data.iter()
                .map(|(key, (value, _))| (key.clone(), value.clone()))
                .collect()
        };
        assert_eq!(values(&through), values(&direct), "{context}: data");
        for (key, (_, ttl)) in &through {
            let right = direct[key].1;
            assert!(
                (*ttl < 0) == (right < 0) && (ttl - right).abs() < TTL_MS,
                "{context}: {key} lives {ttl} ms, with Redis {right} ms"
            );
        }
        through.len()
    }
}

/// Everything that a server holds: database and key, type and value, milliseconds to live.
fn data(client: &mut Client) -> BTreeMap<String, (String, i64)> {
    let mut data = BTreeMap::new();
    for database in DATABASES {
        assert_eq!(client.ask(&format!("SELECT {database}")), "+OK");
        for key in blobs(parse(&client.call(&["KEYS", "*"]))) {
            let mut ask = |words: &[&[u8]]| {
                let frame = client.call(words);
                escape(frame.strip_suffix(b"\r\n").unwrap_or(&frame))
            };
            let kind = ask(&[b"TYPE", &key]);
            let value = match kind.as_str() {
                "+string" => ask(&[b"GET", &key]),
                _ => ask(&[b"DEBUG", b"DIGEST-VALUE", &key]),
            };
            let ttl = ask(&[b"PTTL", &key]);
            data.insert(
                format!("{database} {}", escape(&key)),
                (format!("{kind} {value}"), ttl[1..].parse().unwrap()),
            );
        }
    }
    data
}

/// Sends one packet to both sides and compares the replies; returns them.
pub fn exchange(context: &str, sides: &mut Sides, packet: &[Command]) -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = packet.iter().flat_map(Command::bytes).collect();
    for side in sides.iter_mut() {
        side.send(&bytes);
    }
    let mut replies = Vec::new();
    for command in packet {
        let [through, direct] = sides.each_mut().map(reply);
        let text = &command.text;
        assert_eq!(
            comparable(text, &through),
            comparable(text, &direct),
            "{context}: {text}"
        );
        let as_recorded = is_recorded_error(text, &direct);
        assert!(as_recorded, "{context}: {text}: {}", escape(&direct));
        replies.push(direct);
    }
    replies
}

/// Scans both sides to the end and compares what was found: the order is each server's own.
pub fn scan(context: &str, sides: &mut Sides, command: &Command) {
    let [through, direct] = sides.each_mut().map(|client| {
        let (mut words, mut found) = (command.words.clone(), BTreeSet::new());
        words[1] = b"0".to_vec();
        loop {
            client.send(&encode(&words));
            let Value::Many(_, parts) = parse(&reply(client)) else {
                panic!("{context}: {}", command.text);
            };
            let [cursor, keys] = <[Value; 2]>::try_from(parts).expect("a cursor and keys");
            found.extend(blobs(keys).iter().map(|key| escape(key)));
            match cursor {
                Value::Blob(_, cursor) if cursor == b"0" => return found,
                Value::Blob(_, cursor) => words[1] = cursor,
                other => panic!("a cursor, not {other:?}"),
            }
        }
    });
    assert_eq!(through, direct, "{context}: {}", command.text);
}

fn blobs(value: Value) -> Vec<Vec<u8>> {
    let Value::Many(_, values) = value else {
        panic!("an array, not {value:?}");
    };
    let bytes = values.into_iter().map(|value| match value {
        Value::Blob(_, bytes) => bytes,
        other => panic!("a string, not {other:?}"),
    });
    bytes.collect()
}

/// The next reply; pushes of tracking come when they come.
fn reply(client: &mut Client) -> Vec<u8> {
    loop {
        let frame = client.frame();
        if frame[0] != b'>' {
            return frame;
        }
    }
}

/// A reply without what differs by its nature: ids, times, statistics, the order of a hash table.
fn comparable(text: &str, frame: &[u8]) -> String {
    let text = text.to_ascii_uppercase();
    let words: Vec<&str> = text.trim_start_matches("INLINE ").split(' ').collect();
    match (words[0], parse(frame)) {
        ("HELLO", Value::Many(kind, mut values)) => {
            let id = values.remove(7);
            let is_number = matches!(id, Value::Line(b':', _));
            format!("{kind} {values:?}, the id is a number: {is_number}")
        }
        ("KEYS" | "SMEMBERS", Value::Many(kind, mut values)) => {
            values.sort();
            format!("{kind} {values:?}")
        }
        ("INFO", Value::Blob(kind, text)) => {
            let text = String::from_utf8_lossy(&text).into_owned();
            let told = text
                .lines()
                .filter(|line| line.starts_with("loading:") || line.starts_with("redis_version:"));
            format!("{kind} {:?}", told.collect::<Vec<_>>())
        }
        ("TTL" | "PTTL", Value::Line(b':', _)) => ":".to_owned(),
        ("CLIENT", Value::Line(b':', _)) if words[1] == "ID" => ":".to_owned(),
        _ => escape(frame),
    }
}

/// Whether a reply is no error, or one that libraries meet and go on: any other means a mistake in a table.
fn is_recorded_error(text: &str, frame: &[u8]) -> bool {
    let error = String::from_utf8_lossy(frame).to_ascii_lowercase();
    !error.starts_with('-')
        || text.starts_with("EVALSHA") && error.starts_with("-noscript")
        || text.to_ascii_uppercase().starts_with("CLIENT") && error.contains("unknown subcommand")
}
