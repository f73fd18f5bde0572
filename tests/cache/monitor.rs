//! The server's own order of its writes, by MONITOR.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::history::{Key, Write, version_of};
use crate::harness::{Client, Server};

/// What ends the record: asked for straight at the server when everything else is done.
const END: &str = "the end of the record";

/// A record under way.
#[derive(Debug)]
pub struct Monitor {
    recorder: JoinHandle<Vec<String>>,
    ended: Arc<AtomicBool>,
}

impl Monitor {
    pub fn start(server: &Server) -> Self {
        let mut client = server.client();
        assert_eq!(client.ask("MONITOR"), "+OK");
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let recorder = std::thread::spawn(move || record(&mut client, &stop));
        Self { recorder, ended }
    }

    /// Ends the record and returns the writes in their order. Nothing is under way any more.
    pub fn end(self, server: &Server) -> Vec<Write> {
        self.ended.store(true, Ordering::SeqCst);
        server.client().call(&["ECHO", END]);
        let lines = self.recorder.join().expect("the record is whole");
        let mut again = Again::default();
        lines
            .iter()
            .filter_map(|line| again.sort_out(write_of(line)?))
            .collect()
    }
}

fn record(client: &mut Client, ended: &AtomicBool) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let Some(frame) = client.try_frame() else {
            assert!(!ended.load(Ordering::SeqCst), "the record's end is missing");
            continue;
        };
        let line = String::from_utf8(frame).expect("the test's own words are plain");
        if line.contains(END) {
            return lines;
        }
        lines.push(line);
    }
}

/// Tells a version that is written once more from a new one: the transaction `SET key version`, `PEXPIRE key ttl` stands
/// as two lines, of which the second has what makes it unique.
#[derive(Debug, Default)]
struct Again {
    seen: HashSet<Write>,
    last: HashMap<Key, u64>,
}

impl Again {
    fn sort_out(&mut self, line: Line) -> Option<Write> {
        match line {
            Line::Write(Write::Set(key, version)) => {
                self.last.insert(key, version);
                self.seen
                    .insert(Write::Set(key, version))
                    .then_some(Write::Set(key, version))
            }
            Line::Write(write) => Some(write),
            Line::Lasting(key, ttl) => Some(Write::Again(key, *self.last.get(&key)?, ttl)),
        }
    }
}

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Write(Write),
    /// A time to live that is given by [`Write::Again`] alone.
    Lasting(Key, u64),
}

/// Understands a line such as `+1764109000.123456 [0 127.0.0.1:5000] "set" "session:1" "v0000001"`.
fn write_of(line: &str) -> Option<Line> {
    let (_, rest) = line.split_once(" [")?;
    let (source, command) = rest.split_once("] ")?;
    let database = source.split(' ').next()?.parse().ok()?;
    let command = command.trim_end().strip_prefix('"')?.strip_suffix('"')?;
    let words: Vec<&str> = command.split("\" \"").collect();
    let key = |at: usize| Key::from_name(database, words.get(at)?);
    let version = |at: usize| version_of(words.get(at)?);
    let name = words[0].to_ascii_lowercase();
    let number = |at: usize| words.get(at)?.parse().ok();
    let write = match name.as_str() {
        "set" if words.get(3) == Some(&"PX") => Write::Again(key(1)?, version(2)?, number(4)?),
        "set" => Write::Set(key(1)?, version(2)?),
        "setex" | "psetex" => Write::Set(key(1)?, version(3)?),
        "hset" => {
            let field = words.get(2)?.strip_prefix('f')?.parse().ok()?;
            Write::SetField(key(1)?, field, version(3)?)
        }
        "del" | "unlink" => Write::Delete(key(1)?),
        "expire" if words.get(2)?.starts_with('-') => Write::Expire(key(1)?),
        "pexpire" => return Some(Line::Lasting(key(1)?, number(2)?)),
        "rename" => Write::Rename(key(1)?, key(2)?),
        "flushdb" => Write::Flush(database),
        _ => return None,
    };
    Some(Line::Write(write))
}

#[test]
fn lines_are_understood() {
    let key = |number| Key {
        database: 5,
        number,
    };
    let line = |line: &str| Again::default().sort_out(write_of(line)?);
    let write = |command: &str| line(&format!("+1.2 [5 127.0.0.1:9] {command}\r\n"));
    assert_eq!(
        write(r#""SET" "session:1" "v0000007xxxxxxx" "EX" "9""#),
        Some(Write::Set(key(1), 7))
    );
    assert_eq!(
        write(r#""setex" "session:1" "9" "v0000050""#),
        Some(Write::Set(key(1), 50))
    );
    assert_eq!(
        write(r#""hset" "session:2" "f1" "v0000001x""#),
        Some(Write::SetField(key(2), 1, 1))
    );
    assert_eq!(
        write(r#""rename" "session:1" "session:2""#),
        Some(Write::Rename(key(1), key(2)))
    );
    assert_eq!(
        write(r#""expire" "session:1" "-1""#),
        Some(Write::Expire(key(1)))
    );
    assert_eq!(write(r#""expire" "session:1" "100""#), None);
    assert_eq!(write(r#""get" "session:1""#), None);
    assert_eq!(
        line("+1.2 [5 lua] \"del\" \"session:1\"\r\n"),
        Some(Write::Delete(key(1)))
    );
    assert_eq!(
        line("+1.2 [5 unix:/x/redis.sock] \"flushdb\"\r\n"),
        Some(Write::Flush(5))
    );
    assert_eq!(line("+OK\r\n"), None);
    let again = Write::Again(key(1), 7, 1_800_001);
    assert_eq!(
        write(r#""SET" "session:1" "v0000007xxxxxxx" "PX" "1800001""#),
        Some(again)
    );
    let mut all = Again::default();
    let mut next = |command: &str| all.sort_out(write_of(&format!("+1.2 [5 x] {command}\r\n"))?);
    let set = r#""SET" "session:1" "v0000007xxxxxxx""#;
    assert_eq!(next(set), Some(Write::Set(key(1), 7)));
    assert_eq!(next(set), None);
    assert_eq!(next(r#""pexpire" "session:1" "1800001""#), Some(again));
}
