//! Which command is which: the static table, and what the server's own `COMMAND` adds to it.
//!
//! There is no list of supported commands. What neither table knows takes a link of the client's own, where the server
//! answers as it likes.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use super::catalog::{CACHED, ROWS, TOUCHES};
use super::leaves::{Leaves, Look, leaves, unlisted};

/// What a command does to keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// It may change data: after a lost link its outcome is unknown.
    Write,
    /// It reads data; to ask again is harmless.
    Read,
    /// It touches no data.
    Neither,
}

/// How the data path treats a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Session reads and writes: the tracked link, shared by clients of both protocols.
    Tracked,
    /// Other commands that leave nothing on the connection: a shared link by database and protocol.
    General,
    /// Leaves nothing on the connection but must not stand in front of others: a pinned link for its time.
    Pinned,
    /// As `Pinned`, whatever the database; must reach a server that is busy with a script.
    Rescue,
    /// As `Pinned`; runs a script, or makes the server sleep or load (`DEBUG`): meanwhile the server may answer BUSY or
    /// LOADING to everyone, so nothing is answered without it.
    Script,
    /// As `Pinned`; waits in the server for another client.
    Blocking,
    /// `XREAD`, `XREADGROUP`: as `Blocking` with the word BLOCK, as `General` without.
    MayBlock,
    /// `WAIT`, `WAITAOF`: as `Blocking`, behind a replication barrier.
    Wait,
    /// Subscriptions, MONITOR, replication: from here on the client has a connection to the server of its own.
    OwnConnection,
    /// `MONITOR`: as `OwnConnection`; while it lasts nothing is answered without the server.
    Monitor,
    /// `CONFIG`: as `General`; may turn on the server's log of all commands.
    Config,
    /// Known neither to the static table nor to the server.
    Unknown,
    /// `PING`.
    Ping,
    /// `ECHO`.
    Echo,
    /// `SELECT`.
    Select,
    /// `HELLO`.
    Hello,
    /// `AUTH`.
    Auth,
    /// `CLIENT` and its subcommands.
    Client,
    /// `QUIT`.
    Quit,
    /// `RESET`.
    Reset,
    /// `MULTI`.
    Multi,
    /// `EXEC`.
    Exec,
    /// `DISCARD`.
    Discard,
    /// `WATCH`.
    Watch,
    /// `UNWATCH`.
    Unwatch,
}

/// Where a command's keys stand among its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyPositions {
    /// The first key; 0 = none, or not at a fixed place.
    pub first: i8,
    /// The last key; negative counts from the end.
    pub last: i8,
    /// Words from one key to the next.
    pub step: i8,
}

/// A read of one key (of several, for `MGet`) whose reply may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CachedRead {
    /// `GET`
    Get,
    /// `MGET`, as so many `GET`
    MGet,
    /// `GETRANGE`
    GetRange,
    /// `STRLEN`
    StrLen,
    /// `EXISTS` of one key
    Exists,
    /// `TYPE`
    Type,
    /// `HGET`
    HGet,
    /// `HMGET`
    HMGet,
    /// `HGETALL`
    HGetAll,
    /// `HKEYS`
    HKeys,
    /// `HVALS`
    HVals,
    /// `HLEN`
    HLen,
    /// `HEXISTS`
    HExists,
    /// `HSTRLEN`
    HStrLen,
}

impl CachedRead {
    /// Tells whether it reads a hash, whose fields may expire by themselves.
    pub fn is_of_hash(self) -> bool {
        self as u8 >= Self::HGet as u8
    }
}

/// Whether a command may do nothing but move a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// It may not.
    No,
    /// `EXPIRE`, `TOUCH`, `GETEX` and their like.
    Deadline,
    /// `SET`, `SETEX`, `PSETEX` of the value that is there.
    Save,
}

/// One command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// How it is treated.
    pub kind: Kind,
    /// What it does to keys.
    pub access: Access,
    /// Exact number of words, or the least number when negative.
    pub arity: i8,
    /// Where its keys stand.
    pub keys: KeyPositions,
    /// Whether, and as what, its reply may be kept.
    pub cached: Option<CachedRead>,
    /// Whether it may be a touch: a request that only moves a deadline.
    pub touch: Touch,
    /// How much of what it leaves its reply tells.
    pub leaves: Leaves,
}

const UNKNOWN: Command = Command {
    kind: Kind::Unknown,
    access: Access::Write,
    arity: 0,
    keys: KeyPositions {
        first: 0,
        last: 0,
        step: 0,
    },
    cached: None,
    touch: Touch::No,
    leaves: Leaves::Open(Look::Payload),
};

/// Longest command name of the static table, with room to grow.
const NAME_BYTES_MAX: usize = 32;

/// Slots of the hash table: a power of two, about four times the number of commands.
const SLOTS: usize = 1024;

/// The command table: static rows by name, and the server's.
#[derive(Debug)]
pub struct Table {
    slots: Vec<Option<(&'static str, Command)>>,
    /// Where the last one was found: clients repeat themselves, most of all in pipelines.
    last: Cell<usize>,
    server: Option<Arc<ServerCommands>>,
}

impl Default for Table {
    fn default() -> Self {
        let mut table = Self {
            slots: vec![None; SLOTS],
            last: Cell::new(0),
            server: None,
        };
        for &(name, kind, access, arity, (first, last, step)) in ROWS {
            let mut slot = hash(name.as_bytes());
            while table.slots[slot].is_some() {
                slot = (slot + 1) % SLOTS;
            }
            let keys = KeyPositions { first, last, step };
            table.slots[slot] = Some((
                name,
                Command {
                    kind,
                    access,
                    arity,
                    keys,
                    cached: cached(name),
                    touch: touch(name),
                    leaves: leaves(name, access),
                },
            ));
        }
        table
    }
}

impl Table {
    /// Looks a command up by its name in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Command {
        match &self.slots[self.last.get()] {
            Some((known, command)) if known.as_bytes().eq_ignore_ascii_case(name) => *command,
            _ => self.look_up(name),
        }
    }

    fn look_up(&self, name: &[u8]) -> Command {
        if name.len() > NAME_BYTES_MAX {
            return self.find_at_server(name);
        }
        let mut buffer = [0u8; NAME_BYTES_MAX];
        let lower = &mut buffer[..name.len()];
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let mut slot = hash(lower);
        while let Some((known, command)) = &self.slots[slot] {
            if known.as_bytes() == lower {
                self.last.set(slot);
                return *command;
            }
            slot = (slot + 1) % SLOTS;
        }
        self.find_at_server(lower)
    }

    /// Takes the server's own table; it decides what the static one does not know.
    pub fn learn(&mut self, server: Arc<ServerCommands>) {
        self.server = Some(server);
    }

    /// Tells whether fields of a hash may have a deadline of their own, as far as is known of the server.
    pub fn fields_may_expire(&self) -> bool {
        let server = self.server.as_ref();
        server.is_none_or(|server| server.by_name.contains_key(&b"hexpire"[..]))
    }

    fn find_at_server(&self, name: &[u8]) -> Command {
        let Some(server) = &self.server else {
            return UNKNOWN;
        };
        server
            .by_name
            .get(&name.to_ascii_lowercase())
            .map_or(UNKNOWN, ServerCommand::as_command)
    }
}

/// Finds as what the reply of a command may be kept.
fn cached(name: &str) -> Option<CachedRead> {
    let row = CACHED.iter().find(|(known, _)| *known == name)?;
    Some(row.1)
}

/// Finds whether a command may be a touch.
fn touch(name: &str) -> Touch {
    let row = TOUCHES.iter().find(|(known, _)| *known == name);
    row.map_or(Touch::No, |row| row.1)
}

/// FNV-1a over the name, folded to a slot.
#[inline]
fn hash(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811C_9DC5;
    for &byte in name {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    (hash ^ (hash >> 15)) as usize % SLOTS
}

/// What the server's `COMMAND` says, by command.
#[derive(Clone, Debug, Default)]
pub struct ServerCommands {
    /// By lower-case name.
    pub by_name: HashMap<Vec<u8>, ServerCommand>,
}

/// One command as the server describes it (the first six fields of COMMAND's rows).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerCommand {
    /// Exact number of words, or the least number when negative.
    pub arity: i64,
    /// Flags, lower case: `write`, `readonly`, `blocking`, `noscript`, `movablekeys`, `pubsub` …
    pub flags: Vec<String>,
    /// Position of the first key; 0 = no key or unknown.
    pub first_key: i64,
    /// Position of the last key; negative counts from the end.
    pub last_key: i64,
    /// Steps between keys.
    pub key_step: i64,
}

impl ServerCommand {
    /// A command with keys that says it reads or writes and never blocks may share a link; anything else may not.
    fn as_command(&self) -> Command {
        let has = |wanted: &str| self.flags.iter().any(|flag| flag == wanted);
        let access = match (has("write"), has("readonly")) {
            (true, _) => Access::Write,
            (false, true) => Access::Read,
            (false, false) => Access::Neither,
        };
        // A module may block a client without the flag (a search in a thread of its own): only the server's own
        // commands are known not to, and those carry no `module` flag.
        let shares = access != Access::Neither
            && self.first_key > 0
            && !has("blocking")
            && !has("module")
            && !has("pubsub");
        let position = |value: i64| i8::try_from(value).unwrap_or(0);
        Command {
            kind: match shares {
                true => Kind::General,
                false => Kind::Pinned,
            },
            access,
            arity: position(self.arity),
            keys: KeyPositions {
                first: position(self.first_key),
                last: position(self.last_key),
                step: position(self.key_step),
            },
            cached: None,
            touch: Touch::No,
            leaves: unlisted(access),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_in_any_case() {
        let table = Table::default();
        for (name, kind, ..) in ROWS {
            assert_eq!(table.find(name.as_bytes()).kind, *kind, "{name}");
            assert_eq!(table.find(name.to_uppercase().as_bytes()).kind, *kind);
        }
        assert_eq!(table.find(b"get").kind, table.find(b"GeT").kind);
        assert_eq!(table.find(b"no-such-command").kind, Kind::Unknown);
        assert_eq!(table.find(b"").kind, Kind::Unknown);
        assert_eq!(table.find(&[b'x'; 5000]).kind, Kind::Unknown);
    }

    #[test]
    fn the_server_decides_what_the_table_lacks() {
        let row = |flags: &[&str]| ServerCommand {
            arity: 2,
            flags: flags.iter().map(|flag| flag.to_string()).collect(),
            first_key: 1,
            last_key: 1,
            key_step: 1,
        };
        let by_name = HashMap::from([
            (b"new.read".to_vec(), row(&["readonly"])),
            (b"new.block".to_vec(), row(&["write", "blocking"])),
            (b"mod.read".to_vec(), row(&["readonly", "module"])),
            (b"get".to_vec(), row(&["write", "blocking"])),
        ]);
        let mut table = Table::default();
        table.learn(Arc::new(ServerCommands { by_name }));
        assert_eq!(table.find(b"NEW.READ").kind, Kind::General);
        assert_eq!(table.find(b"new.block").kind, Kind::Pinned);
        assert_eq!(table.find(b"mod.read").kind, Kind::Pinned);
        assert_eq!(table.find(b"get").kind, Kind::Tracked);
    }
}
