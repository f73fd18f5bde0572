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
//! SET with GET, SET NX and SETNX would tell another *answer*, by which a client decides, so they are not repeated.

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
        (b"UNBLOCKED ", Scope::All),
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
    "setbit",
    "expireat",
    "pexpireat",
    "persist",
    "sadd",
    "srem",
    "zrem",
    "zremrangebyscore",
    "zremrangebylex",
    "lset",
    "pfadd",
    "hexpireat",
    "hpexpireat",
    "hpersist",
];

/// Commands that touch no data and only tell something.
const TELLING: &[&str] = &[
    "ping", "echo", "time", "info", "command", "role", "lastsave", "object", "pubsub", "xinfo",
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
        Access::Neither => return Class::Once,
        Access::Write => {}
    }
    if ABSOLUTE.iter().any(&is) {
        return Class::Absolute;
    }
    let deadline = |time: Option<Time>| match time {
        Some(Time::After(_)) => Class::Relative,
        Some(Time::At(_)) => Class::Absolute,
        None => Class::Once,
    };
    match arguments {
        [_, time, ..] if is(&"expire") || is(&"pexpire") => {
            deadline(find(&COMMANDS, name).and_then(|read| read(time)))
        }
        [_, _, _] if is(&"setex") || is(&"psetex") => Class::Relative,
        [_, _, options @ ..] if is(&"set") => match options {
            [] => Class::Absolute,
            [keep] if keep.eq_ignore_ascii_case(b"keepttl") => Class::Absolute,
            [unit, time] => deadline(find(&OPTIONS, unit).and_then(|read| read(time))),
            _ => Class::Once,
        },
        [_, options @ ..] if is(&"getex") => match options {
            [] => Class::Read,
            [persist] if persist.eq_ignore_ascii_case(b"persist") => Class::Absolute,
            [unit, time] => deadline(find(&OPTIONS, unit).and_then(|read| read(time))),
            _ => Class::Once,
        },
        [_, options @ ..] if is(&"zadd") => match options.iter().any(|word| is_condition(word)) {
            true => Class::Once,
            false => Class::Absolute,
        },
        _ => Class::Once,
    }
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
    let at = |time: Option<Time>| match time? {
        Time::After(milliseconds) => {
            let at = i64::try_from(wall).ok()?.checked_add(milliseconds)?;
            Some(at.to_string().into_bytes())
        }
        Time::At(_) => None,
    };
    let mut out = Vec::new();
    match *arguments {
        [key, time, ref options @ ..] if is("expire") || is("pexpire") => {
            let at = at(find(&COMMANDS, name)?(time))?;
            let mut words: Vec<&[u8]> = vec![b"PEXPIREAT", key, &at];
            words.extend(options);
            encode::request(&mut out, &words);
        }
        [key, time, value] if is("setex") || is("psetex") => {
            let unit: &[u8] = if is("setex") { b"ex" } else { b"px" };
            let at = at(find(&OPTIONS, unit)?(time))?;
            encode::request(&mut out, &[b"SET", key, value, b"PXAT", &at]);
        }
        [key, value, unit, time] if is("set") => {
            let at = at(find(&OPTIONS, unit)?(time))?;
            encode::request(&mut out, &[b"SET", key, value, b"PXAT", &at]);
        }
        [key, unit, time] if is("getex") => {
            let at = at(find(&OPTIONS, unit)?(time))?;
            encode::request(&mut out, &[b"GETEX", key, b"PXAT", &at]);
        }
        _ => return None,
    }
    Some(out)
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
                "GET a;HGETALL a;TTL a;MGET a b;TOUCH a;GETEX a;PING;INFO;EVAL_RO s 1 a",
            ),
            (
                Class::Absolute,
                "SET a 1;SET a 1 KEEPTTL;SET a 1 PXAT 99;DEL a b;HSET a f 1;EXPIREAT a 99;PERSIST a;\
                 SADD a m;ZADD a 1 m;MSET a 1 b 2;GETEX a PERSIST;GETEX a EXAT 99;UNLINK a",
            ),
            (
                Class::Relative,
                "EXPIRE a 9;PEXPIRE a 9 XX;SETEX a 9 1;PSETEX a 9 1;SET a 1 EX 9;SET a 1 PX 9;GETEX a EX 9",
            ),
            (
                Class::Once,
                "INCR a;APPEND a 1;RPUSH a 1;SET a 1 NX;SET a 1 EX 9 NX;SET a 1 GET;SETNX a 1;GETSET a 1;GETDEL a;\
                 RENAME a b;EVAL s 1 a;ZADD a INCR 1 m;HINCRBY a f 1;FLUSHALL;PUBLISH c m;CONFIG SET a b;\
                 NO.SUCH a;EXPIRE a x;SPOP a;HSETNX a f 1;CLIENT KILL a",
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
            ("-UNBLOCKED force unblock", Scope::All),
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
            "-EXECABORT Transaction discarded because of previous errors.",
            "$-1",
        ] {
            assert_eq!(refusal(reply.as_bytes()), None, "{reply}");
        }
    }
}
