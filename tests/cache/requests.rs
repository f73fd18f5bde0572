//! What the clients of a history may ask, in words, and how its replies are read.

use super::history::{Key, NEVER, Nanos, Read, Seen, Step, What, Write, field_name, value_of};
use crate::harness::{Random, Value, encode, parse};

const GET_BY_SCRIPT: &str = "return redis.call('get', KEYS[1])";
const SET_BY_SCRIPT: &str = "return redis.call('set', KEYS[1], ARGV[1])";
/// Declares nothing.
const SET_SOMETHING: &str = "return redis.call('set', ARGV[1], ARGV[2])";

/// A request, or a transaction in one packet.
#[derive(Clone, Debug)]
pub struct Request {
    pub bytes: Vec<u8>,
    pub shape: Shape,
}

/// What becomes of the replies.
#[derive(Clone, Debug)]
pub enum Shape {
    Read(Read),
    /// MGET.
    Reads(Vec<Read>),
    Write(Write),
    WriteUndeclared(Write),
    /// Reads and writes between MULTI and EXEC.
    Transaction(Vec<Shape>),
    /// Its part of a transaction is told by another.
    Other,
}

impl Request {
    fn new(words: &[&str], shape: Shape) -> Self {
        Self {
            bytes: encode(words),
            shape,
        }
    }

    pub fn read(read: Read) -> Self {
        let name = read.key().name();
        let field;
        let words: &[&str] = match read {
            Read::Get(_) => &["GET", &name],
            Read::GetOfMany(_) => &["MGET", &name],
            Read::Field(_, number) => {
                field = field_name(number);
                &["HGET", &name, &field]
            }
            Read::Fields(_) => &["HGETALL", &name],
            Read::Exists(_) => &["EXISTS", &name],
            Read::Length(_) => &["STRLEN", &name],
            Read::Range(_) => &["GETRANGE", &name, "0", "-1"],
            Read::Script(_) => &["EVAL", GET_BY_SCRIPT, "1", &name],
        };
        match read {
            Read::GetOfMany(_) => Self::new(words, Shape::Reads(vec![read])),
            read => Self::new(words, Shape::Read(read)),
        }
    }

    pub fn read_many(keys: &[Key]) -> Self {
        let names: Vec<String> = keys.iter().map(|key| key.name()).collect();
        let words: Vec<&str> = ["MGET"]
            .into_iter()
            .chain(names.iter().map(String::as_str))
            .collect();
        let reads = keys.iter().map(|key| Read::GetOfMany(*key)).collect();
        Self::new(&words, Shape::Reads(reads))
    }

    /// A write in one of its plain forms.
    pub fn write(write: Write, random: &mut Random) -> Self {
        let (name, value, field);
        let words: &[&str] = match write {
            Write::Set(key, version) => {
                (name, value) = (key.name(), value_of(version));
                match random.below(4) {
                    0 => &["SETEX", &name, "1800", &value],
                    1 => &["SET", &name, &value, "EX", "1800"],
                    2 => &["PSETEX", &name, "1800000", &value],
                    _ => &["SET", &name, &value],
                }
            }
            Write::SetField(key, number, version) => {
                (name, value, field) = (key.name(), value_of(version), field_name(number));
                &["HSET", &name, &field, &value]
            }
            Write::Delete(key) => {
                name = key.name();
                &[["DEL", "UNLINK"][random.below(2)], &name]
            }
            Write::Expire(key) => {
                name = key.name();
                &["EXPIRE", &name, "-1"]
            }
            Write::Rename(from, to) => {
                (name, value) = (from.name(), to.name());
                &["RENAME", &name, &value]
            }
            Write::Flush(_) => &["FLUSHDB"],
            Write::Again(key, version, ttl) => {
                (name, value, field) = (key.name(), value_of(version), ttl.to_string());
                &["SET", &name, &value, "PX", &field]
            }
        };
        Self::new(words, Shape::Write(write))
    }

    /// SET by a script: one that declares its key, one that declares nothing, one that declares another key.
    pub fn script(key: Key, version: u64, decoy: Key, random: &mut Random) -> Self {
        let (name, value, decoy) = (key.name(), value_of(version), decoy.name());
        let write = Write::Set(key, version);
        match random.below(3) {
            0 => Self::new(
                &["EVAL", SET_BY_SCRIPT, "1", &name, &value],
                Shape::Write(write),
            ),
            1 => Self::new(
                &["EVAL", SET_SOMETHING, "0", &name, &value],
                Shape::Write(write),
            ),
            _ => Self::new(
                &["EVAL", SET_SOMETHING, "1", &decoy, &name, &value],
                Shape::WriteUndeclared(write),
            ),
        }
    }

    /// The same value again in a transaction, as axum_session saves it.
    pub fn again_in_transaction(key: Key, version: u64, ttl: u64) -> Self {
        let (name, value, ttl_word) = (key.name(), value_of(version), ttl.to_string());
        let set = Self::new(&["SET", &name, &value], Shape::Other);
        let write = Shape::Write(Write::Again(key, version, ttl));
        Self::transaction(vec![set, Self::new(&["PEXPIRE", &name, &ttl_word], write)])
    }

    /// A refresh of the time to live, which tells whether the key exists, or the value, too.
    pub fn touch(key: Key, random: &mut Random) -> Self {
        let name = key.name();
        match random.below(4) {
            0 => Self::new(&["TOUCH", &name], Shape::Read(Read::Exists(key))),
            1 => Self::new(&["GETEX", &name, "EX", "1800"], Shape::Read(Read::Get(key))),
            _ => Self::new(&["EXPIRE", &name, "1800"], Shape::Read(Read::Exists(key))),
        }
    }

    pub fn transaction(parts: Vec<Self>) -> Self {
        let mut bytes = encode(&["MULTI"]);
        parts
            .iter()
            .for_each(|part| bytes.extend_from_slice(&part.bytes));
        bytes.extend(encode(&["EXEC"]));
        let shapes = parts.into_iter().map(|part| part.shape).collect();
        Self {
            bytes,
            shape: Shape::Transaction(shapes),
        }
    }

    /// How many replies come.
    pub fn replies(&self) -> usize {
        match &self.shape {
            Shape::Transaction(parts) => parts.len() + 2,
            _ => 1,
        }
    }
}

impl Shape {
    /// The writes in it.
    pub fn writes(&self) -> Vec<Write> {
        match self {
            Self::Write(write) | Self::WriteUndeclared(write) => vec![*write],
            Self::Transaction(parts) => parts.iter().flat_map(Self::writes).collect(),
            Self::Read(_) | Self::Reads(_) | Self::Other => Vec::new(),
        }
    }

    /// Reads the last reply to it into steps.
    pub fn steps(&self, reply: &[u8], is_resp3: bool, begin: Nanos, end: Nanos) -> Vec<Step> {
        let mut steps = Vec::new();
        self.understand(&parse(reply), is_resp3, &mut |what, is_open| {
            let end = if is_open { NEVER } else { end };
            steps.push(Step { begin, end, what });
        });
        steps
    }

    fn understand(&self, reply: &Value, is_resp3: bool, note: &mut dyn FnMut(What, bool)) {
        let error = error_of(reply);
        match (self, reply) {
            (Self::Read(read), reply) => {
                note(What::Read(*read, Seen::of(*read, reply, is_resp3)), false);
            }
            (Self::Reads(reads), Value::Many(b'*', values)) => {
                assert_eq!(reads.len(), values.len(), "one value a key");
                for (read, value) in reads.iter().zip(values) {
                    note(What::Read(*read, Seen::of(*read, value, is_resp3)), false);
                }
            }
            (Self::Reads(_), _) => assert!(error.is_some(), "MGET: {reply:?}"),
            (Self::Write(write), _) => note(What::Write(*write), is_open(error)),
            (Self::WriteUndeclared(write), _) => {
                note(What::WriteUndeclared(*write), is_open(error));
            }
            (Self::Transaction(parts), Value::Many(b'*', values)) => {
                assert_eq!(parts.len(), values.len(), "one reply a command");
                for (part, value) in parts.iter().zip(values) {
                    part.understand(value, is_resp3, note);
                }
            }
            (Self::Transaction(parts), _) => {
                assert!(error.is_some(), "EXEC: {reply:?}");
                for write in parts.iter().flat_map(Self::writes) {
                    note(What::Write(write), true);
                }
            }
            (Self::Other, _) => {}
        }
    }
}

fn error_of(reply: &Value) -> Option<String> {
    match reply {
        Value::Line(b'-', words) => Some(String::from_utf8_lossy(words).into_owned()),
        _ => None,
    }
}

/// Whether a write's outcome is open: an error that is not the server's word for a key of another type, or for none.
fn is_open(error: Option<String>) -> bool {
    error.is_some_and(|error| !error.contains("WRONGTYPE") && !error.contains("no such key"))
}
