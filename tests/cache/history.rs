//! What clients did and saw, and when; what the server makes of a write, and what it answers to a read.

use std::collections::BTreeMap;

use crate::harness::{Value, escape};

/// Nanoseconds since the start of the test, by a clock that all its threads share.
pub type Nanos = u64;

/// The end of a step that was never answered, or answered with an error that leaves its outcome open.
pub const NEVER: Nanos = Nanos::MAX;

/// A key: few, so that they are fought for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub database: u32,
    pub number: u8,
}

impl Key {
    pub fn name(self) -> String {
        format!("session:{}", self.number)
    }

    /// Reads a name back.
    pub fn from_name(database: u32, name: &str) -> Option<Self> {
        let number = name.strip_prefix("session:")?.parse().ok()?;
        Some(Self { database, number })
    }
}

/// The bytes that a version is written as: each length from 8 to 57, so that STRLEN tells something, too.
pub fn value_of(version: u64) -> String {
    let padding = (version % 50) as usize;
    format!("v{version:07}{}", "x".repeat(padding))
}

/// Reads the version back.
pub fn version_of(value: &str) -> Option<u64> {
    let version = value
        .strip_prefix('v')?
        .trim_end_matches('x')
        .parse()
        .ok()?;
    (value_of(version) == value).then_some(version)
}

/// A change of the data. Those with a version are unique in a history; of the others no two equal ones are ever under way
/// at once, so the n-th that began is the n-th that the server ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Write {
    Set(Key, u64),
    /// A field and its version.
    SetField(Key, u8, u64),
    Delete(Key),
    /// A negative time to live, which deletes; a positive one changes nothing that is read here.
    Expire(Key),
    Rename(Key, Key),
    Flush(u32),
    /// The version that the key had when it was last read, again, with a time to live of so many milliseconds, which no
    /// other write has. A cache may take it for a touch; then it never reaches the server.
    Again(Key, u64, u64),
}

impl Write {
    /// Tells whether it may change this key.
    pub fn concerns(self, key: Key) -> bool {
        match self {
            Self::Set(at, _)
            | Self::SetField(at, _, _)
            | Self::Delete(at)
            | Self::Expire(at)
            | Self::Again(at, _, _) => at == key,
            Self::Rename(from, to) => from == key || to == key,
            Self::Flush(database) => database == key.database,
        }
    }

    /// Tells whether no other write is equal to it.
    pub fn is_unique(self) -> bool {
        matches!(self, Self::Set(..) | Self::SetField(..) | Self::Again(..))
    }
}

/// A question about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    Get(Key),
    /// One of several keys of an MGET.
    GetOfMany(Key),
    Field(Key, u8),
    Fields(Key),
    /// EXISTS, and the touches EXPIRE and TOUCH, which tell the same.
    Exists(Key),
    Length(Key),
    /// Not cached: GETRANGE of all.
    Range(Key),
    /// Not cached: GET by a script that declares the key.
    Script(Key),
}

impl Read {
    pub fn key(self) -> Key {
        match self {
            Self::Get(key)
            | Self::GetOfMany(key)
            | Self::Field(key, _)
            | Self::Fields(key)
            | Self::Exists(key)
            | Self::Length(key)
            | Self::Range(key)
            | Self::Script(key) => key,
        }
    }

    /// What a server whose key is in `state` answers.
    pub fn answer(self, state: &State) -> Seen {
        let text = |version: u64| Seen::Text(value_of(version));
        match (self, state) {
            (Self::Exists(_), state) => Seen::Number(i64::from(*state != State::Absent)),
            (Self::Length(_), State::Absent) => Seen::Number(0),
            (Self::Range(_), State::Absent) => Seen::Text(String::new()),
            (Self::Fields(_), State::Absent) => Seen::Fields(BTreeMap::new()),
            (_, State::Absent) | (Self::GetOfMany(_), State::Hash(_)) => Seen::Nothing,
            (Self::Length(_), State::Text(version)) => {
                Seen::Number(value_of(*version).len() as i64)
            }
            (Self::Fields(_), State::Hash(fields)) => {
                let pair = |(field, version): (&u8, &u64)| (field_name(*field), value_of(*version));
                Seen::Fields(fields.iter().map(pair).collect())
            }
            (Self::Field(_, field), State::Hash(fields)) => {
                fields.get(&field).map_or(Seen::Nothing, |it| text(*it))
            }
            (Self::Fields(_) | Self::Field(..), State::Text(_)) | (_, State::Hash(_)) => {
                Seen::WrongType
            }
            (_, State::Text(version)) => text(*version),
        }
    }
}

pub fn field_name(field: u8) -> String {
    format!("f{field}")
}

/// What a key holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Absent,
    Text(u64),
    Hash(BTreeMap<u8, u64>),
}

/// What a client was answered, the protocols' forms put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Nothing,
    Number(i64),
    Text(String),
    Fields(BTreeMap<String, String>),
    WrongType,
    /// The read failed: nothing was seen.
    Error(String),
}

impl Seen {
    /// Understands a reply, and insists on the protocol's own form of it.
    pub fn of(read: Read, value: &Value, is_resp3: bool) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match value {
            Value::Line(b'_', _) if is_resp3 => Self::Nothing,
            Value::Line(b'$', _) if !is_resp3 => Self::Nothing,
            Value::Line(b':', number) => Self::Number(text(number).parse().unwrap()),
            Value::Line(b'-', words) if text(words).contains("WRONGTYPE") => Self::WrongType,
            Value::Line(b'-', words) => Self::Error(text(words)),
            Value::Blob(b'$', bytes) => Self::Text(text(bytes)),
            Value::Many(kind, parts) if matches!(read, Read::Fields(_)) => {
                assert_eq!(*kind, if is_resp3 { b'%' } else { b'*' }, "a map's form");
                Self::Fields(
                    parts
                        .chunks(2)
                        .map(|pair| (word(&pair[0]), word(&pair[1])))
                        .collect(),
                )
            }
            other => panic!("{read:?} was answered with {other:?} (RESP3: {is_resp3})"),
        }
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::Blob(_, bytes) => escape(bytes),
        other => panic!("no bulk string: {other:?}"),
    }
}

/// Which way a client went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    Sidecar(u8),
    /// Straight to the server.
    Server,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Read(Read, Seen),
    Write(Write),
    /// By a script that declares another key than the one that it writes: as foreign as one past the sidecar.
    WriteUndeclared(Write),
}

/// One command of a client. Its place in the client's list is its place in the client's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Before the packet was sent that held it.
    pub begin: Nanos,
    /// After its reply was read; [`NEVER`] for a write whose outcome is open.
    pub end: Nanos,
    pub what: What,
}

/// What one connection did, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub name: String,
    pub way: Way,
    pub steps: Vec<Step>,
}

/// The data as the server has it, by applying its writes in its order.
#[derive(Clone, Debug, Default)]
pub struct Model(BTreeMap<Key, State>);

impl Model {
    /// Applies a write and returns each key that it changed, with its new state.
    pub fn apply(&mut self, write: Write) -> Vec<(Key, State)> {
        let mut changes = Vec::new();
        match write {
            Write::Set(key, version) | Write::Again(key, version, _) => {
                changes.push((key, State::Text(version)));
            }
            Write::SetField(key, field, version) => match self.0.get(&key) {
                Some(State::Text(_)) => {}
                Some(State::Hash(fields)) => {
                    let mut fields = fields.clone();
                    fields.insert(field, version);
                    changes.push((key, State::Hash(fields)));
                }
                _ => changes.push((key, State::Hash([(field, version)].into()))),
            },
            Write::Delete(key) | Write::Expire(key) => changes.push((key, State::Absent)),
            Write::Rename(from, to) => {
                let state = self.0.get(&from).cloned().unwrap_or_default();
                if state != State::Absent && from != to {
                    changes.extend([(to, state), (from, State::Absent)]);
                }
            }
            Write::Flush(database) => {
                let of_it = self.0.keys().filter(|key| key.database == database);
                changes.extend(of_it.map(|key| (*key, State::Absent)));
            }
        }
        changes.retain(|(key, state)| self.0.get(key).unwrap_or(&State::Absent) != state);
        for (key, state) in &changes {
            self.0.insert(*key, state.clone());
        }
        changes
    }
}
