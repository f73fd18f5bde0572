//! What running a whole transaction, MULTI … EXEC, a second time would do.
//!
//! All of it is repeated or nothing, so it is of the class of its strongest command. That is not enough: each command may be
//! harmless a second time and the transaction not, when one *looks* at a key and a later one *changes* it. `GET k · DEL k` is
//! GETDEL, and a second run would tell that there is nothing. Such a transaction runs once.
//!
//! What looks: reads, GETEX and HGETEX, and what does something only where the key is (SET XX, EXPIRE, PERSIST). What
//! changes: every write that is no deadline to come. A read and the touch behind it may be repeated; so may a look behind
//! the change, which finds the same both times.

use crate::command::table::{Access, Command, Kind, Table};
use crate::command::time::{COMMANDS, Time, find};
use crate::resp::encode;

use super::deadline::with_absolute_deadline;
use super::replay::{Class, classify};

/// The keys that a command looks at or changes; `None`: its words don't plainly say.
type Keys<'a> = Option<Vec<&'a [u8]>>;

fn keys_of<'a>(command: &Command, words: &[&'a [u8]]) -> Keys<'a> {
    let place = |place: i8| match usize::try_from(place) {
        Ok(place) => Some(place),
        Err(_) => words.len().checked_sub(usize::from(place.unsigned_abs())),
    };
    let first = place(command.keys.first).filter(|first| *first > 0)?;
    let step = usize::try_from(command.keys.step)
        .ok()
        .filter(|step| *step > 0)?;
    let keys = words.get(first..=place(command.keys.last)?)?;
    Some(keys.iter().copied().step_by(step).collect())
}

fn may_meet(one: &Keys<'_>, other: &Keys<'_>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.iter().any(|key| other.contains(key)),
        _ => true,
    }
}

/// Reads what running a transaction's requests, each with all of its words, a second time would do. MULTI and EXEC may be
/// among them. `wall` is the server's clock in Unix milliseconds; `is_watched`: a WATCH came before it.
pub fn classify_block(
    table: &Table,
    requests: &[Vec<&[u8]>],
    wall: u64,
    is_watched: bool,
) -> Class {
    if is_watched {
        return Class::Once;
    }
    let mut class = Class::Read;
    let mut looked: Vec<Keys<'_>> = Vec::new();
    for words in requests {
        let Some(name) = words.first() else {
            return Class::Once;
        };
        let command = table.find(name);
        if matches!(command.kind, Kind::Multi | Kind::Exec) {
            continue;
        }
        let of_one = classify(&command, words);
        let keys = keys_of(&command, words);
        let is_deadline = is_deadline_to_come(words, wall);
        if of_one != Class::Read && !is_deadline && looked.iter().any(|seen| may_meet(seen, &keys))
        {
            return Class::Once;
        }
        if command.access != Access::Neither && looks(of_one, words) {
            looked.push(keys);
        }
        class = stronger(class, of_one);
    }
    class
}

/// Writes a transaction's requests with the deadlines that they ask for as they were at `wall`, milliseconds since 1970 by
/// the server's clock.
pub fn block_with_absolute_deadlines(requests: &[Vec<&[u8]>], wall: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for words in requests {
        match with_absolute_deadline(words, wall) {
            Some(again) => out.extend_from_slice(&again),
            None => encode::request(&mut out, words),
        }
    }
    out
}

/// Returns the class of which a second run does more. A claim's answer stands deep in EXEC's, so it may not be repeated there.
pub fn stronger(one: Class, other: Class) -> Class {
    use Class::{Absolute, Claim, Once, Read, Relative};
    match (one, other) {
        (Once | Claim, _) | (_, Once | Claim) => Once,
        (Relative, _) | (_, Relative) => Relative,
        (Absolute, _) | (_, Absolute) => Absolute,
        (Read, Read) => Read,
    }
}

/// Tells whether a command does nothing but give a key that is there a deadline that has not come.
fn is_deadline_to_come(words: &[&[u8]], wall: u64) -> bool {
    let Some(time) = words.get(2) else {
        return false;
    };
    match find(&COMMANDS, words[0]).and_then(|read| read(time)) {
        Some(Time::After(_)) => true,
        Some(Time::At(at)) => u64::try_from(at).is_ok_and(|at| at > wall),
        None => false,
    }
}

/// Tells whether what a command tells, or does, depends on what is there.
fn looks(class: Class, words: &[&[u8]]) -> bool {
    const LOOK: [&[u8]; 6] = [
        b"getex",
        b"hgetex",
        b"expire",
        b"pexpire",
        b"expireat",
        b"pexpireat",
    ];
    const OF_FIELDS: [&[u8]; 6] = [
        b"persist",
        b"hexpire",
        b"hpexpire",
        b"hexpireat",
        b"hpexpireat",
        b"hpersist",
    ];
    let is = |other: &&[u8]| words[0].eq_ignore_ascii_case(other);
    let has_condition = |from: usize| {
        let options = words.iter().skip(from);
        let mut options = options.take_while(|word| !word.eq_ignore_ascii_case(b"fields"));
        options.any(|word| word.eq_ignore_ascii_case(b"xx") || word.eq_ignore_ascii_case(b"fxx"))
    };
    class == Class::Read
        || LOOK.iter().chain(&OF_FIELDS).any(is)
        || is(&&b"set"[..]) && has_condition(3)
        || is(&&b"hsetex"[..]) && has_condition(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request_bytes;

    const WALL: u64 = 1_700_000_000_000;

    fn requests(lines: &str) -> Vec<Vec<&[u8]>> {
        lines
            .split(';')
            .map(|line| line.trim().split(' ').map(str::as_bytes).collect())
            .collect()
    }

    fn class(lines: &str) -> Class {
        classify_block(&Table::default(), &requests(lines), WALL, false)
    }

    #[test]
    fn the_strongest_command_decides() {
        for (expected, blocks) in [
            (
                Class::Read,
                &[
                    "MULTI; GET a; HGETALL b; EXEC",
                    "MULTI; EXEC",
                    "PING; GET a",
                ][..],
            ),
            (
                Class::Absolute,
                &[
                    // axum_session, delete_pattern, Spring.
                    "MULTI; SET k v; EXPIREAT k 1700003600; EXEC",
                    "MULTI; DEL a; DEL b; EXEC",
                    "HSET k f v; PEXPIREAT k 1700003600000; SADD i k",
                ],
            ),
            (
                Class::Relative,
                &[
                    // pyramid_session_redis.
                    "MULTI; SETEX k 1200 v; EXEC",
                    "HSET k f v; EXPIRE k 60; SADD i k; EXPIRE i 360",
                    "SET k v; EXPIRE k 60; GET k; TTL k",
                ],
            ),
            (
                Class::Once,
                &[
                    "MULTI; SET k v; INCR n; EXEC",
                    "PUBLISH c m; SET k v",
                    "SET k v; EVAL s 0",
                    "RENAME a b; EXPIRE b 60",
                ],
            ),
        ] {
            for block in blocks {
                assert_eq!(class(block), expected, "{block}");
            }
        }
        assert_eq!(
            classify_block(&Table::default(), &[vec![]], WALL, false),
            Class::Once
        );
    }

    #[test]
    fn a_look_in_front_of_a_change_is_not_repeated() {
        for block in [
            "GET k; DEL k",
            "MULTI; GET k; PING; SET k v; EXEC",
            "HGETALL k; HDEL k f",
            "EXISTS k; SETEX k 60 v",
            "GETEX k EX 60; DEL k",
            "HGETEX k FIELDS 1 f; HDEL k f",
            "GET k; EXPIRE k 0",
            "GET k; EXPIREAT k 1700000000",
            "TTL k; UNLINK k",
            "MGET a b; DEL c a",
            "GET a; MSET a 1 b 2",
            "KEYS *; DEL a",
            "EVAL_RO s 1 a; DEL a",
            "EXPIRE k 60; HSET k f v",
            "PERSIST k; SET k v",
            "SET k v XX; DEL k",
            "HSETEX k FXX FIELDS 1 f v; HSET k f w",
        ] {
            assert_eq!(class(block), Class::Once, "{block}");
        }
        for block in [
            // Another key, a touch, a look behind it, nothing that is looked at.
            "GET a; DEL b",
            "MGET a b; DEL c d",
            "GET 1; MSET a 1 b 1",
            "HGETALL k; EXPIRE k 60",
            "GET k; PEXPIREAT k 1700000000001",
            "DEL k; GET k",
            "SET k v; GET k; EXPIRE k 60; TTL k",
            "PING; DEL k",
            "TIME; SET k v",
            "SET k xx; DEL k",
            "HSETEX k FIELDS 1 xx v; HSET k f w",
            "SET k v XX; EXPIRE k 60",
        ] {
            assert!(
                matches!(class(block), Class::Absolute | Class::Relative),
                "{block}"
            );
        }
    }

    #[test]
    fn what_was_watched_is_not_repeated() {
        for block in ["GET k", "SET k v", ""] {
            let found = classify_block(&Table::default(), &requests(block), WALL, true);
            assert_eq!(found, Class::Once);
        }
    }

    #[test]
    fn deadlines_are_written_as_they_were() {
        let block = requests("MULTI; SET k v EX 9; HSET h f 1; pexpire h 9 XX; EXPIREAT k 5; EXEC");
        let expected: Vec<u8> = [
            &["MULTI"][..],
            &["SET", "k", "v", "PXAT", "10000"],
            &["HSET", "h", "f", "1"],
            &["PEXPIREAT", "h", "1009", "XX"],
            &["EXPIREAT", "k", "5"],
            &["EXEC"],
        ]
        .iter()
        .flat_map(|words| request_bytes(words))
        .collect();
        assert_eq!(block_with_absolute_deadlines(&block, 1000), expected);
        assert!(block_with_absolute_deadlines(&[], 1000).is_empty());
    }

    #[test]
    fn the_stronger_of_two() {
        use Class::{Absolute, Once, Read, Relative};
        let order = [Read, Absolute, Relative, Once];
        for (index, one) in order.into_iter().enumerate() {
            for (other_index, other) in order.into_iter().enumerate() {
                assert_eq!(stronger(one, other), order[index.max(other_index)]);
            }
        }
    }
}
