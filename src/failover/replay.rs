//! Whether a request that got no reply of its own is sent again: one table, and what it needs to know of a request.
//!
//! | | not written | refused before it ran | written, no reply |
//! |---|---|---|---|
//! | reads | again | again | again |
//! | absolute writes: SET, DEL, HSET, PEXPIREAT … | again | again | again |
//! | relative deadlines: SETEX, EXPIRE … | again, absolute | again, absolute | again, absolute |
//! | claims: SET NX, SETNX | again | again | again; **unknown** where the key is there |
//! | all else: INCR, RPUSH, EVAL … | again | again | **unknown** |
//!
//! # Invariant
//! Nothing that is not idempotent is ever sent twice, and nothing that may safely be repeated is failed. What no list here
//! names counts as not idempotent.
//!
//! A repeated DEL, HSET or SADD leaves the same state and may tell another count than the one that was lost with the link;
//! SET with GET, HSETNX, MSETNX and SETBIT would tell another *answer*, by which a client decides, so they are not repeated.
//! - *Claims* (session ids, locks): where the key is absent, nobody sees anything of a first run, and the second one tells
//!   the truth. Where it is there, it may be the first run's or somebody else's.
//! - *SET XX*, HSETEX FXX: what the first run found is there for the second one, so its answer is the same.
//! - *EXPIRE NX, GT, LT*: the second run finds the deadline that the first one has set, and answers 0 in place of 1. Who
//!   sends a condition can't tell from a 0 whether the key is absent or has such a deadline already, so it decides nothing
//!   by it; an error would tell it less.
//! - *EXPIRE k 0* and less deletes, like DEL.
//! - *LSET* is not repeated: others may have moved the list's elements meanwhile, and it would overwrite another one.

use crate::command::table::{Access, Command};
use crate::command::time::Time;
use crate::failover::machine::Scope;
use crate::resp::value;

use super::deadline::{Form, Options, RELATIVE, read_options, read_time};

/// What running a request a second time would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing: it reads.
    Read,
    /// Nothing: it leaves the same state however often it runs.
    Absolute,
    /// It would set a later deadline.
    Relative,
    /// Nothing where there is no such key; else its answer would tell nothing of the first run.
    Claim,
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
    /// Send it again with its deadline made absolute ([`super::deadline::with_absolute_deadline`]).
    AgainAbsolute,
    /// The same; where it finds the key, the outcome is unknown ([`finds_it_taken`]).
    ClaimAgain,
    /// Tell the client that its outcome is unknown.
    Unknown,
}

/// The table.
pub fn replay(class: Class, delivery: Delivery) -> Replay {
    match (class, delivery) {
        (Class::Read | Class::Absolute, _) => Replay::Again,
        (Class::Relative, _) => Replay::AgainAbsolute,
        (Class::Claim, Delivery::Unwritten | Delivery::Refused) => Replay::AgainAbsolute,
        (Class::Claim, Delivery::Unanswered) => Replay::ClaimAgain,
        (Class::Once, Delivery::Unwritten | Delivery::Refused) => Replay::Again,
        (Class::Once, Delivery::Unanswered) => Replay::Unknown,
    }
}

/// Tells whether the reply to a claim says that the key is there.
pub fn finds_it_taken(reply: &[u8]) -> bool {
    value::is_null(reply) || reply == b":0\r\n"
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
            // `NX XX` is refused.
            Some(Options {
                claims: true,
                others: 0,
                ..
            }) => Class::Claim,
            Some(Options { claims: true, .. }) => Class::Once,
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
        [_, _] if is(&"setnx") => Class::Claim,
        [_, _, _] if is(&"setex") || is(&"psetex") => Class::Relative,
        [_, options @ ..] if is(&"zadd") => match options.iter().any(|word| is_condition(word)) {
            true => Class::Once,
            false => Class::Absolute,
        },
        _ => Class::Once,
    }
}

/// Tells whether a time is over: what gets it as its deadline is deleted, at once and however often.
fn is_over(time: &[u8]) -> bool {
    match time.split_first() {
        Some((b'-', digits)) => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => time == b"0",
    }
}

/// Options of ZADD by which a second run would do or tell something else. A member of such a name only costs a replay.
fn is_condition(word: &[u8]) -> bool {
    [&b"nx"[..], b"xx", b"gt", b"lt", b"incr", b"ch"]
        .iter()
        .any(|option| word.eq_ignore_ascii_case(option))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::Table;

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
        assert_eq!(replay(Class::Claim, Unwritten), Replay::AgainAbsolute);
        assert_eq!(replay(Class::Claim, Refused), Replay::AgainAbsolute);
        assert_eq!(replay(Class::Claim, Unanswered), Replay::ClaimAgain);
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
                Class::Claim,
                "SET a 1 NX;SET a 1 EX 9 NX;SET a 1 nx px 9;SET a 1 NX PXAT 99;SETNX a 1",
            ),
            (
                Class::Once,
                "INCR a;APPEND a 1;RPUSH a 1;SET a 1 NX GET;SET a 1 NX KEEPTTL;SETNX a;SET a 1 GET;GETSET a 1;GETDEL a;\
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
