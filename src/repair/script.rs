//! The scripts that run on the server: their text, how they are called, and what they answer ([`reply`]).
//!
//! Every key that a script touches is among its KEYS. Round and peers are in database 0, marks beside the keys that they mark:
//! a script of another database goes there and back by SELECT. TIME stands before writes, which every version replicates as
//! effects (6.2: by default).
//!
//! # What the user of the link must be allowed
//! EVALSHA, EVAL, TIME, SELECT (for databases other than 0), `~gripfast:*` (the prefix), and on the app's keys TYPE, PTTL, GET,
//! SET, DUMP, RESTORE, HGET, HGETALL, HSET, HDEL, EXISTS, UNLINK, PEXPIREAT, PERSIST: a server checks each command of a script.

pub mod reply;

use std::borrow::Cow;

use bytes::Bytes;
use sha1::{Digest as _, Sha1};

use super::key::{Content, Deadline};
use super::marks::AppWrite;
use super::record::{Base, Component, FieldWrite, Record};
use super::stamp::Stamp;
use crate::resp::encode;

/// How a script writes a deadline that never comes.
const NEVER: i64 = -1;

/// One script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Repairs one key: KEYS round, marks, key; read by [`reply::repaired`].
    Repair,
    /// Marks a write of the app: KEYS round, marks, key …; read by [`reply::marked`].
    Mark,
    /// Opens or joins the round: KEYS round, peers, marks; read by [`reply::seen`], like the others below.
    Open,
    /// Reads round and peers: KEYS round, peers.
    Look,
    /// Reports, and closes the round if nobody is missing: KEYS round, peers, marks.
    Report,
    /// Gives a heartbeat: KEYS round, peers.
    Beat,
    /// Flushes for the app: KEYS round, peers. Answers what FLUSHDB does.
    Flush,
}

impl Script {
    /// All scripts.
    pub const ALL: [Self; 7] = [
        Self::Repair,
        Self::Mark,
        Self::Open,
        Self::Look,
        Self::Report,
        Self::Beat,
        Self::Flush,
    ];

    /// Returns its text.
    pub fn body(self) -> &'static str {
        macro_rules! text {
            ($($file:literal),*) => { concat!(include_str!("script/common.lua") $(, include_str!($file))*) };
        }
        match self {
            Self::Repair => text!("script/repair.lua"),
            Self::Mark => text!("script/mark.lua"),
            Self::Open => text!("script/peers.lua", "script/open.lua"),
            Self::Look => text!("script/peers.lua", "script/look.lua"),
            Self::Report => text!("script/peers.lua", "script/report.lua"),
            Self::Beat => text!("script/peers.lua", "script/beat.lua"),
            Self::Flush => text!("script/flush.lua"),
        }
    }

    /// Returns its name on the server: 40 hexadecimal digits. Keep it: this hashes the whole text.
    pub fn sha(self) -> String {
        let digest = Sha1::digest(self.body());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A call of a script without its name: append it as EVALSHA, and as EVAL where the server does not know it.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    script: Script,
    keys: Vec<&'a [u8]>,
    arguments: Vec<Cow<'a, [u8]>>,
}

impl<'a> Call<'a> {
    fn new(script: Script, keys: Vec<&'a [u8]>) -> Self {
        Self {
            script,
            keys,
            arguments: Vec::new(),
        }
    }

    /// Returns which script it calls.
    pub fn script(&self) -> Script {
        self.script
    }

    /// Appends it as EVALSHA, with what [`Script::sha`] returned.
    pub fn by_sha(&self, out: &mut Vec<u8>, sha: &str) {
        self.write(out, b"EVALSHA", sha.as_bytes());
    }

    /// Appends it as EVAL.
    pub fn by_body(&self, out: &mut Vec<u8>) {
        self.write(out, b"EVAL", self.script.body().as_bytes());
    }

    fn write(&self, out: &mut Vec<u8>, command: &[u8], script: &[u8]) {
        let count = self.keys.len().to_string();
        let mut words: Vec<&[u8]> = vec![command, script, count.as_bytes()];
        words.extend(&self.keys);
        words.extend(self.arguments.iter().map(|argument| &argument[..]));
        encode::request(out, &words);
    }

    fn bytes(&mut self, argument: &'a [u8]) -> &mut Self {
        self.arguments.push(Cow::Borrowed(argument));
        self
    }

    fn number(&mut self, argument: i64) -> &mut Self {
        let text = argument.to_string().into_bytes();
        self.arguments.push(Cow::Owned(text));
        self
    }

    fn flag(&mut self, is_set: bool) -> &mut Self {
        self.bytes(if is_set { b"1" } else { b"0" })
    }

    fn deadline(&mut self, deadline: Deadline) -> &mut Self {
        self.number(deadline.unwrap_or(NEVER))
    }

    fn databases(mut self, databases: &[u32]) -> Self {
        for database in databases {
            self.number(i64::from(*database));
        }
        self
    }

    fn component<T>(&mut self, own: &Component<T>) -> &mut Self {
        self.number(own.stamp.0).flag(own.is_inherited)
    }

    fn base(&mut self, own: Option<&'a Component<Base<Bytes>>>) {
        let Some(own) = own else {
            self.bytes(b"-");
            return;
        };
        let Base::Value(whole) = &own.write else {
            self.bytes(b"d").component(own);
            return;
        };
        let kind: &[u8] = match whole.content {
            Content::String(_) => b"s",
            Content::Hash(_) => b"h",
            Content::Opaque(_) => b"o",
        };
        self.bytes(kind).component(own).deadline(whole.deadline);
        match &whole.content {
            Content::String(value) | Content::Opaque(value) => {
                self.bytes(value);
            }
            Content::Hash(fields) => {
                self.number(fields.len() as i64);
                for (name, value) in fields {
                    self.bytes(name).bytes(value);
                }
            }
        }
    }

    fn record(&mut self, own: &'a Record<Bytes>) {
        self.base(own.base.as_ref());
        self.number(own.fields.len() as i64);
        for (name, own) in &own.fields {
            self.bytes(name).component(own);
            match &own.write {
                FieldWrite::Set(value) => self.bytes(b"s").bytes(value),
                FieldWrite::Remove => self.bytes(b"r").bytes(b""),
            };
        }
        match &own.touch {
            Some(own) => self
                .component(own)
                .deadline(own.write.deadline)
                .flag(own.write.only_extends),
            None => self.number(0),
        };
    }
}

/// Why a round is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is another primary: one round for its replid, ever.
    Switched,
    /// A failover was called off after writes were acknowledged locally: another round on the same replid.
    Returned,
}

/// The names of the keys on the server.
#[derive(Clone, Debug)]
pub struct Names {
    peers: Vec<u8>,
    round: Vec<u8>,
    marks: Vec<u8>,
    /// In milliseconds.
    peer_timeout: i64,
}

impl Names {
    /// Names them by their prefix, `gripfast:` by default; a peer lives for `peer_timeout_ms` after the newest heartbeat.
    pub fn new(prefix: &str, peer_timeout_ms: i64) -> Self {
        let name = |word| format!("{prefix}{word}").into_bytes();
        Self {
            peers: name("peers"),
            round: name("round"),
            marks: name("marks"),
            peer_timeout: peer_timeout_ms,
        }
    }

    /// Repairs a key of a database.
    pub fn repair<'a>(
        &'a self,
        database: u32,
        key: &'a [u8],
        record: &'a Record<Bytes>,
    ) -> Call<'a> {
        let mut call = Call::new(Script::Repair, vec![&self.round, &self.marks, key]);
        call.number(i64::from(database)).record(record);
        call
    }

    /// Marks a write of the app to these keys; goes into MULTI in front of it.
    pub fn mark<'a>(
        &'a self,
        database: u32,
        keys: &[&'a [u8]],
        write: &'a AppWrite<Bytes>,
        dispatch: Stamp,
    ) -> Call<'a> {
        let mut all: Vec<&[u8]> = vec![&self.round, &self.marks];
        all.extend(keys);
        let mut call = Call::new(Script::Mark, all);
        call.number(i64::from(database)).number(dispatch.0);
        match write {
            AppWrite::Value => {
                call.bytes(b"value");
            }
            AppWrite::Delete => {
                call.bytes(b"delete");
            }
            AppWrite::Touch(deadline) => {
                call.bytes(b"touch").deadline(*deadline);
            }
            AppWrite::Fields(names) => {
                call.bytes(b"fields");
                for name in names {
                    call.bytes(name);
                }
            }
        }
        call
    }

    fn shared(&self, script: Script, has_marks: bool) -> Call<'_> {
        let mut call = Call::new(script, vec![&self.round, &self.peers]);
        if has_marks {
            call.keys.push(&self.marks);
        }
        call.number(self.peer_timeout);
        call
    }

    /// Opens the round, or joins it; marks of an earlier round go from these databases.
    pub fn open<'a>(
        &'a self,
        replid: &'a str,
        cause: Cause,
        window_ms: i64,
        horizon: Stamp,
        databases: &[u32],
    ) -> Call<'a> {
        let mut call = self.shared(Script::Open, true);
        call.bytes(replid.as_bytes()).bytes(match cause {
            Cause::Switched => b"switched",
            Cause::Returned => b"returned",
        });
        call.number(window_ms).number(horizon.0);
        call.databases(databases)
    }

    /// Reads the round and who is missing.
    pub fn look(&self) -> Call<'_> {
        self.shared(Script::Look, false)
    }

    /// Reports to the round of this number; if it closes, marks go from these databases.
    pub fn report<'a>(&'a self, id: &'a str, number: i64, databases: &[u32]) -> Call<'a> {
        self.report_as(b"reported", id, number, databases)
    }

    /// Says in the round of this number that all is compared but what was acknowledged without the primary.
    pub fn checked<'a>(&'a self, id: &'a str, number: i64, databases: &[u32]) -> Call<'a> {
        self.report_as(b"checked", id, number, databases)
    }

    fn report_as<'a>(
        &'a self,
        word: &'a [u8],
        id: &'a str,
        number: i64,
        databases: &[u32],
    ) -> Call<'a> {
        let mut call = self.shared(Script::Report, true);
        call.bytes(id.as_bytes()).number(number).bytes(word);
        call.databases(databases)
    }

    /// Gives a heartbeat, and forgets who gave none for `forget_ms`.
    pub fn beat<'a>(&'a self, id: &'a str, forget_ms: i64) -> Call<'a> {
        let mut call = self.shared(Script::Beat, false);
        call.bytes(id.as_bytes()).number(forget_ms);
        call
    }

    /// Flushes for the app; `words` are its own: FLUSHDB or FLUSHALL, and ASYNC or SYNC.
    pub fn flush<'a>(&'a self, database: u32, words: &[&'a [u8]]) -> Call<'a> {
        let mut call = Call::new(Script::Flush, vec![&self.round, &self.peers]);
        call.number(i64::from(database));
        for word in words {
            call.bytes(word);
        }
        call
    }
}
