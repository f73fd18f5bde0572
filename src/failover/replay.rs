//! Whether a request that got no reply of its own is sent again: one table, and what it needs to know of a request.
//!
//! | | not written | refused before it ran | written, no reply |
//! |---|---|---|---|
//! | reads | again | again | again |
//! | absolute writes: SET, DEL, HSET, PEXPIREAT … | again | again | again |
//! | relative deadlines: SETEX, EXPIRE … | again, absolute | again, absolute | again, absolute |
//! | all else: INCR, SET NX, RPUSH, EVAL … | again | again | **unknown** |
//!
//! # Invariant
//! Nothing that is not idempotent is ever sent twice, and nothing that may safely be repeated is failed. What no list here
//! names counts as not idempotent.
//!
//! A repeated DEL, HSET or SADD leaves the same state and may tell another count than the one that was lost with the link;
//! SET with GET, SET NX, SETNX and SETBIT would tell another *answer*, by which a client decides, so they are not repeated.
//! - *SET XX*, HSETEX FXX: what the first run found is there for the second one, so its answer is the same.
//! - *EXPIRE NX, GT, LT*: the second run finds the deadline that the first one has set, and answers 0 in place of 1. Who
//!   sends a condition can't tell from a 0 whether the key is absent or has such a deadline already, so it decides nothing
//!   by it; an error would tell it less.
//! - *EXPIRE k 0* and less deletes, like DEL.
//! - *LSET* is not repeated: others may have moved the list's elements meanwhile, and it would overwrite another one.

use crate::command::table::{Access, Command};
use crate::command::time::{COMMANDS, OPTIONS, Time, find};
use crate::failover::machine::Scope;
use crate::resp::encode;

/// What running a request a second time would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing: it reads.
    Read,
    /// Nothing: it leaves the same state however often it runs.
    Absolute,
    /// It would set a later deadline.
    Relative,
    /// More, or nobody knows.
    Once,
}

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Not all of it was written to the socket, or nothing: the server can't have run it.
    Unwritten,
    /// The server refused it before it ran ([`refusal`]).
    Refused,
    /// It was written, and the link was lost before the reply.
    Unanswered,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replay {
    /// Send it again as it came.
    Again,
    /// Send it again with its deadline made absolute ([`with_absolute_deadline`]).
    AgainAbsolute,
    /// Tell the client that its outcome is unknown.
    Unknown,
}

/// The table.
pub fn replay(class: Class, delivery: Delivery) -> Replay {
    match (class, delivery) {
        (Class::Read | Class::Absolute, _) => Replay::Again,
        (Class::Relative, _) => Replay::AgainAbsolute,
        (Class::Once, Delivery::Unwritten | Delivery::Refused) => Replay::Again,
        (Class::Once, Delivery::Unanswered) => Replay::Unknown,
    }
}

/// Reads whether an error says that this node takes no such request now, and that it has not run: it would succeed at the
/// primary, or in a moment. Returns what the node refuses.
///
/// Source: redis `src/server.c`, `processCommand` and `rejectCommand` (which makes it an EXECABORT where EXEC is refused);
/// `src/blocked.c`, `disconnectAllBlockedClients`, for `-UNBLOCKED`; valkey `src/server.c` for `-REDIRECT`.
pub fn refusal(reply: &[u8]) -> Option<Scope> {
    const WORDS: [(&[u8], Scope); 6] = [
        // A primary that was demoted; it may tell old things, too.
        (b"READONLY ", Scope::All),
        (b"NOREPLICAS ", Scope::Writes),
        (b"LOADING ", Scope::All),
        (b"MASTERDOWN ", Scope::All),
        (b"REDIRECT ", Scope::All),
        // Not what CLIENT UNBLOCK or a stream that is gone brings about.
        (b"UNBLOCKED force unblock ", Scope::All),
    ];
    const ABORTED: &[u8] = b"EXECABORT Transaction discarded because of: ";
    let error = reply.strip_prefix(b"-")?;
    let error = error.strip_prefix(ABORTED).unwrap_or(error);
    let found = WORDS.iter().find(|(word, _)| error.starts_with(word))?;
    Some(found.1)
}

/// Writes that leave the same state however often they run, whatever their arguments.
const ABSOLUTE: &[&str] = &[
    "del",
    "unlink",
    "hset",
    "hmset",
    "hdel",
    "mset",
    "setrange",
    "expireat",
    "pexpireat",
    "persist",
    "sadd",
    "srem",
    "zrem",
    "zremrangebyscore",
    "zremrangebylex",
    "pfadd",
    "hexpireat",
    "hpexpireat",
    "hpersist",
];

/// Tells whether a subcommand of CLIENT only tells something, or says the same about the connection each time.
fn tells(word: &&[u8]) -> bool {
    const WORDS: [&str; 8] = [
        "id", "info", "list", "getname", "setname", "setinfo", "no-evict", "no-touch",
    ];
    WORDS
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// Commands that touch no data and only tell something, or say the same about the connection each time.
const TELLING: &[&str] = &[
    "watch", "unwatch", "discard", "select", "hello", "auth", "ping", "echo", "time", "info",
    "command", "role", "lastsave", "object", "pubsub", "xinfo",
];

/// Reads what a request would do a second time. `words` are all of its words.
pub fn classify(command: &Command, words: &[&[u8]]) -> Class {
    let Some((&name, arguments)) = words.split_first() else {
        return Class::Once;
    };
    let is = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
    match command.access {
        Access::Read => return Class::Read,
        Access::Neither if TELLING.iter().any(&is) => return Class::Read,
        Access::Neither if is(&"client") && arguments.first().is_some_and(tells) => {
            return Class::Read;
        }
        Access::Neither => return Class::Once,
        Access::Write => {}
    }
    if ABSOLUTE.iter().any(&is) {
        return Class::Absolute;
    }
    let class = |time: Time| match time {
        Time::After(_) => Class::Relative,
        Time::At(_) => Class::Absolute,
    };
    if let Some(form) = Form::of(name) {
        return match read_options(form, words) {
            None => Class::Once,
            Some(Options {
                time: Some(time), ..
            }) => class(time.asked),
            Some(Options { others: 0, .. }) if form.reads() => Class::Read,
            Some(_) => Class::Absolute,
        };
    }
    match arguments {
        [_, time, ..] if RELATIVE.iter().any(|(relative, _)| is(relative)) => {
            match read_time(name, time) {
                Some(time) => class(time),
                None if is_over(time) => Class::Absolute,
                None => Class::Once,
            }
        }
        [_, _, _] if is(&"setex") || is(&"psetex") => Class::Relative,
        [_, options @ ..] if is(&"zadd") => match options.iter().any(|word| is_condition(word)) {
            true => Class::Once,
            false => Class::Absolute,
        },
        _ => Class::Once,
    }
}

/// Commands that set a deadline some time from now, and those that set one.
const RELATIVE: [(&str, &[u8]); 4] = [
    ("expire", b"PEXPIREAT"),
    ("pexpire", b"PEXPIREAT"),
    ("hexpire", b"HPEXPIREAT"),
    ("hpexpire", b"HPEXPIREAT"),
];

/// Reads the time of one of [`RELATIVE`].
fn read_time(name: &[u8], time: &[u8]) -> Option<Time> {
    let is_of_fields = matches!(name.first(), Some(b'h' | b'H'));
    let name = if is_of_fields { &name[1..] } else { name };
    find(&COMMANDS, name)?(time)
}

/// Tells whether a time is over: what gets it as its deadline is deleted, at once and however often.
fn is_over(time: &[u8]) -> bool {
    match time.split_first() {
        Some((b'-', digits)) => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => time == b"0",
    }
}

/// Commands whose deadline is one of their options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Set,
    GetEx,
    HSetEx,
    HGetEx,
}

impl Form {
    fn of(name: &[u8]) -> Option<Self> {
        const NAMES: [(&str, Form); 4] = [
            ("set", Form::Set),
            ("getex", Form::GetEx),
            ("hsetex", Form::HSetEx),
            ("hgetex", Form::HGetEx),
        ];
        let is = |(known, _): &&(&str, Form)| name.eq_ignore_ascii_case(known.as_bytes());
        NAMES.iter().find(is).map(|(_, form)| *form)
    }

    /// Without options it only reads.
    fn reads(self) -> bool {
        matches!(self, Self::GetEx | Self::HGetEx)
    }

    /// Its first option.
    fn start(self) -> usize {
        match self {
            Self::Set => 3,
            Self::GetEx | Self::HSetEx | Self::HGetEx => 2,
        }
    }

    /// Its options without a value that are as good a second time.
    fn plain(self) -> &'static [&'static str] {
        match self {
            Self::Set => &["keepttl", "xx"],
            Self::HSetEx => &["keepttl", "xx", "fxx"],
            Self::GetEx | Self::HGetEx => &["persist"],
        }
    }

    /// Fields follow its options.
    fn has_fields(self) -> bool {
        matches!(self, Self::HSetEx | Self::HGetEx)
    }
}

#[derive(Clone, Copy, Debug)]
struct Options {
    time: Option<AskedTime>,
    /// How many others there are.
    others: usize,
}

#[derive(Clone, Copy, Debug)]
struct AskedTime {
    /// The word of its unit.
    unit: usize,
    asked: Time,
}

/// Reads a request's options; `None` where one of them makes a second run another thing, or is not understood.
fn read_options(form: Form, words: &[&[u8]]) -> Option<Options> {
    let mut options = Options {
        time: None,
        others: 0,
    };
    let mut at = form.start();
    if words.len() < at {
        return None;
    }
    while let Some(&word) = words.get(at) {
        if form.has_fields() && word.eq_ignore_ascii_case(b"fields") {
            return Some(options);
        }
        if let Some(read) = find(&OPTIONS, word) {
            let asked = read(words.get(at + 1)?)?;
            let before = options.time.replace(AskedTime { unit: at, asked });
            if before.is_some() {
                return None;
            }
            at += 1;
        } else {
            let mut plain = form.plain().iter();
            plain.find(|known| word.eq_ignore_ascii_case(known.as_bytes()))?;
            options.others += 1;
        }
        at += 1;
    }
    (!form.has_fields()).then_some(options)
}

/// Options of ZADD by which a second run would do or tell something else. A member of such a name only costs a replay.
fn is_condition(word: &[u8]) -> bool {
    [&b"nx"[..], b"xx", b"gt", b"lt", b"incr", b"ch"]
        .iter()
        .any(|option| word.eq_ignore_ascii_case(option))
}

/// Writes a request of [`Class::Relative`] with the deadline that it asked for when it came, `wall` milliseconds since 1970
/// by the server's clock; `None` for any other.
pub fn with_absolute_deadline(words: &[&[u8]], wall: u64) -> Option<Vec<u8>> {
    let (&name, arguments) = words.split_first()?;
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let at = |time: Time| match time {
        Time::After(milliseconds) => {
            let at = i64::try_from(wall).ok()?.checked_add(milliseconds)?;
            Some(at.to_string().into_bytes())
        }
        Time::At(_) => None,
    };
    if let Some(form) = Form::of(name) {
        let time = read_options(form, words)?.time?;
        let at = at(time.asked)?;
        let mut words = words.to_vec();
        words[time.unit] = b"PXAT";
        words[time.unit + 1] = &at;
        return Some(encode::request_bytes(&words));
    }
    match *arguments {
        [key, time, value] if is("setex") || is("psetex") => {
            let unit: &[u8] = if is("setex") { b"ex" } else { b"px" };
            let at = at(find(&OPTIONS, unit)?(time)?)?;
            Some(encode::request_bytes(&[b"SET", key, value, b"PXAT", &at]))
        }
        [key, time, ref options @ ..] => {
            let (_, absolute) = RELATIVE.iter().find(|(relative, _)| is(relative))?;
            let at = at(read_time(name, time)?)?;
            let mut words: Vec<&[u8]> = vec![absolute, key, &at];
            words.extend(options);
            Some(encode::request_bytes(&words))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::Table;
    use crate::resp::request_bytes;

    fn class(line: &str) -> Class {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        classify(&Table::default().find(words[0]), &words)
    }

    #[test]
    fn each_row_of_the_table() {
        use Delivery::*;
        for delivery in [Unwritten, Refused, Unanswered] {
            assert_eq!(replay(Class::Read, delivery), Replay::Again);
            assert_eq!(replay(Class::Absolute, delivery), Replay::Again);
            assert_eq!(replay(Class::Relative, delivery), Replay::AgainAbsolute);
        }
        assert_eq!(replay(Class::Once, Unwritten), Replay::Again);
        assert_eq!(replay(Class::Once, Refused), Replay::Again);
        assert_eq!(replay(Class::Once, Unanswered), Replay::Unknown);
    }

    #[test]
    fn requests_by_what_a_second_run_would_do() {
        for (expected, lines) in [
            (
                Class::Read,
                "GET a;HGETALL a;TTL a;MGET a b;TOUCH a;GETEX a;PING;INFO;EVAL_RO s 1 a;HGETEX a FIELDS 1 f;\
                 EXISTS a;SCAN 0;KEYS *;ZRANGE a 0 1;XREAD STREAMS a 0",
            ),
            (
                Class::Absolute,
                "SET a 1;SET a 1 KEEPTTL;SET a 1 PXAT 99;DEL a b;HSET a f 1;EXPIREAT a 99;PERSIST a;\
                 SADD a m;ZADD a 1 m;MSET a 1 b 2;GETEX a PERSIST;GETEX a EXAT 99;UNLINK a;SET a 1 XX;\
                 SET a 1 EXAT 99 XX;SET a 1 xx keepttl;EXPIREAT a 99 NX;EXPIRE a 0;EXPIRE a -1;PEXPIRE a -9 GT;\
                 HGETEX a PERSIST FIELDS 1 f;HGETEX a PXAT 99 FIELDS 1 f;HSETEX a FIELDS 1 f v;HSETEX a FXX FIELDS 1 f v;\
                 HSETEX a FXX EXAT 99 FIELDS 1 f v;HSETEX a KEEPTTL FIELDS 1 f nx;HEXPIREAT a 99 FIELDS 1 f;\
                 HPEXPIREAT a 99 GT FIELDS 1 f;HPERSIST a FIELDS 1 f;HEXPIRE a 0 FIELDS 1 f;HDEL a f;SREM a m;\
                 HMSET a f 1;ZREM a m;SETRANGE a 0 x;PEXPIREAT a -1",
            ),
            (
                Class::Relative,
                "EXPIRE a 9;PEXPIRE a 9 XX;SETEX a 9 1;PSETEX a 9 1;SET a 1 EX 9;SET a 1 PX 9;GETEX a EX 9;EXPIRE a 9 NX;\
                 EXPIRE a 9 GT;EXPIRE a 9 LT;SET a 1 XX EX 9;SET a 1 px 9 xx;HGETEX a EX 9 FIELDS 1 f;\
                 HSETEX a PX 9 FXX FIELDS 2 f v g w;HEXPIRE a 9 FIELDS 1 f;hpexpire a 9 LT FIELDS 1 f",
            ),
            (
                Class::Once,
                "INCR a;APPEND a 1;RPUSH a 1;SET a 1 NX;SET a 1 EX 9 NX;SET a 1 GET;SETNX a 1;GETSET a 1;GETDEL a;\
                 RENAME a b;EVAL s 1 a;ZADD a INCR 1 m;HINCRBY a f 1;FLUSHALL;PUBLISH c m;CONFIG SET a b;\
                 NO.SUCH a;EXPIRE a x;SPOP a;HSETNX a f 1;CLIENT KILL a;EXPIRE a -;EXPIRE a;EXPIRE;EXPIRE a 1.5;SET a;SET;\
                 SET a 1 GET XX;SET a 1 XX NX;SET a 1 IFEQ 2;SET a 1 EX;SET a 1 EX x;SET a 1 EX 9 PX 9;SET a 1 EX 0;\
                 SET a 1 PERSIST;SETBIT a 1 1;LSET a 0 x;GETEX a KEEPTTL;GETEX a EX;GETEX;HGETEX a EX 9;HGETEX a f;\
                 HSETEX a FNX FIELDS 1 f v;HSETEX a NX FIELDS 1 f v;HSETEX a EX 9 FNX FIELDS 1 f v;\
                 HGETDEL a FIELDS 1 f;HEXPIRE a x FIELDS 1 f;HINCRBY a f 1;MSETNX a 1;DELIFEQ a 1;RESTORE a 0 x;\
                 COPY a b;ZADD a NX 1 m;ZINCRBY a 1 m;LPUSH a x;LTRIM a 0 1;XADD a * f v;FLUSHDB;EVALSHA s 1 a;\
                 FCALL f 1 a;SORT a STORE b;SPUBLISH c m;SCRIPT FLUSH;WAIT 1 0;BLPOP a 0;XREADGROUP GROUP g c STREAMS a >",
            ),
        ] {
            for line in lines.split(';') {
                assert_eq!(class(line), expected, "{line}");
            }
        }
    }

    #[test]
    fn relative_deadlines_become_absolute_and_nothing_else_is_written_anew() {
        for (line, expected) in [
            ("EXPIRE a 9", "PEXPIREAT a 10000"),
            ("pexpire a 9 GT", "PEXPIREAT a 1009 GT"),
            ("SETEX a 9 v", "SET a v PXAT 10000"),
            ("PSETEX a 9 v", "SET a v PXAT 1009"),
            ("SET a v EX 9", "SET a v PXAT 10000"),
            ("SET a v px 9", "SET a v PXAT 1009"),
            ("GETEX a EX 9", "GETEX a PXAT 10000"),
            ("SET a v XX EX 9", "SET a v XX PXAT 10000"),
            ("SET a v PX 9 xx", "SET a v PXAT 1009 xx"),
            ("EXPIRE a 9 NX", "PEXPIREAT a 10000 NX"),
            ("HEXPIRE a 9 FIELDS 1 f", "HPEXPIREAT a 10000 FIELDS 1 f"),
            (
                "hpexpire a 9 GT FIELDS 1 f",
                "HPEXPIREAT a 1009 GT FIELDS 1 f",
            ),
            (
                "HGETEX a EX 9 FIELDS 1 px",
                "HGETEX a PXAT 10000 FIELDS 1 px",
            ),
            (
                "HSETEX a FXX PX 9 FIELDS 1 ex 7",
                "HSETEX a FXX PXAT 1009 FIELDS 1 ex 7",
            ),
        ] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let expected: Vec<&str> = expected.split(' ').collect();
            assert_eq!(class(line), Class::Relative, "{line}");
            assert_eq!(
                with_absolute_deadline(&words, 1000),
                Some(request_bytes(&expected)),
                "{line}"
            );
        }
        for line in [
            "SET a v",
            "SET a v PXAT 9",
            "EXPIRE a 9223372036854775807",
            "EXPIRE a -1",
            "EXPIRE a",
            "EXPIREAT a 9",
            "SET a v EX 9 NX",
            "SET a v GET EX 9",
            "SETEX a x v",
            "HGETEX a FIELDS 2 ex 9",
            "HSETEX a FNX EX 9 FIELDS 1 f v",
            "HEXPIREAT a 9 FIELDS 1 f",
            "PERSIST a",
            "GET a",
        ] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_eq!(with_absolute_deadline(&words, 1000), None, "{line}");
        }
    }

    #[test]
    fn refusals_of_a_node_are_told_from_other_errors() {
        for (reply, scope) in [
            ("-READONLY You can't write", Scope::All),
            ("-LOADING Redis is", Scope::All),
            ("-MASTERDOWN Link", Scope::All),
            ("-NOREPLICAS Not", Scope::Writes),
            ("-REDIRECT h:1", Scope::All),
            (
                "-UNBLOCKED force unblock from blocking operation, instance state changed",
                Scope::All,
            ),
            (
                "-EXECABORT Transaction discarded because of: READONLY You",
                Scope::All,
            ),
        ] {
            assert_eq!(refusal(reply.as_bytes()), Some(scope), "{reply}");
        }
        for reply in [
            "-ERR x",
            "-WRONGTYPE x",
            "+READONLY ",
            "-OOM x",
            "-BUSY x",
            "-UNBLOCKED client unblocked via CLIENT UNBLOCK",
            "-UNBLOCKED the stream key no longer exists",
            "-EXECABORT Transaction discarded because of previous errors.",
            "$-1",
        ] {
            assert_eq!(refusal(reply.as_bytes()), None, "{reply}");
        }
    }
}
