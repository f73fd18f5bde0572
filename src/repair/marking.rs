//! Which marks a write of the app takes while a round is open, and what it has to wait for: by its words.

use bytes::Bytes;

use super::marks::AppWrite;
use crate::command::time::{COMMANDS, OPTIONS, Time, find};
use crate::resp::value;

/// A mark that a write takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The key.
    pub key: Bytes,
    /// What is done to it.
    pub write: AppWrite<Bytes>,
}

/// When a write is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In one unit with it.
    Together,
    /// Behind its reply, if that says that it did something: a mark of a write that did nothing would stand for a value that
    /// nobody wrote.
    AtReply,
}

/// Commands that replace a whole value, or end a key, whatever is there.
const ABSOLUTE: [&str; 6] = ["set", "setex", "psetex", "del", "unlink", "mset"];

/// Commands that end their keys.
const DELETES: [&str; 3] = ["del", "unlink", "getdel"];

/// Commands of one field, and those of fields with values, from the third word on.
const ONE_FIELD: [&str; 3] = ["hincrby", "hincrbyfloat", "hsetnx"];
const FIELD_PAIRS: [&str; 2] = ["hset", "hmset"];

/// Commands that do something only where their reply says so, whatever their options.
const CONDITIONAL: [&str; 3] = ["setnx", "msetnx", "hsetnx"];

/// Options of SET that make it conditional.
const CONDITIONS: [&str; 6] = ["nx", "xx", "ifeq", "ifne", "ifdeq", "ifdne"];

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

fn is_one_of(word: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| is(word, name))
}

/// Tells whether a write leaves, and answers, the same whatever other sidecars have still to put back: it need not wait
/// for them.
pub fn is_absolute(line: &[&[u8]]) -> bool {
    let Some((name, arguments)) = line.split_first() else {
        return false;
    };
    // DEL tells how many keys there were, which nobody relies on where a session ends.
    is_one_of(name, &ABSOLUTE) && (!is(name, "set") || !depends(arguments.get(2..)))
}

/// Tells whether options of a SET make it look at what is there.
fn depends(options: Option<&[&[u8]]>) -> bool {
    let mut options = options.unwrap_or_default().iter();
    options.any(|option| is_one_of(option, &CONDITIONS) || is_one_of(option, &["get", "keepttl"]))
}

/// Returns the marks that a write to these keys takes, and when; `now_ms` is the server's clock.
pub fn marks<'a>(
    line: &[&'a [u8]],
    keys: impl Iterator<Item = &'a [u8]>,
    now_ms: i64,
) -> (Vec<Mark>, When) {
    let when = match is_conditional(line) {
        true => When::AtReply,
        false => When::Together,
    };
    if let Some((key, gone)) = renamed(line) {
        let value = mark(key, AppWrite::Value);
        return (gone.into_iter().chain([value]).collect(), when);
    }
    let write = write_of(line, now_ms);
    let all = keys.filter_map(|key| Some(mark(key, write.clone()?)));
    (all.collect(), when)
}

fn mark(key: &[u8], write: AppWrite<Bytes>) -> Mark {
    Mark {
        key: Bytes::copy_from_slice(key),
        write,
    }
}

/// RENAME and COPY: the key that is written, and the one that goes.
fn renamed<'a>(line: &[&'a [u8]]) -> Option<(&'a [u8], Option<Mark>)> {
    let &[name, from, to, ..] = line else {
        return None;
    };
    if is_one_of(name, &["rename", "renamenx"]) {
        return Some((to, Some(mark(from, AppWrite::Delete))));
    }
    is(name, "copy").then_some((to, None))
}

/// Returns what a request does to each of its keys; `None` where it only reads.
fn write_of(line: &[&[u8]], now_ms: i64) -> Option<AppWrite<Bytes>> {
    let (name, arguments) = line.split_first()?;
    let fields = |names: &mut dyn Iterator<Item = &&[u8]>| {
        AppWrite::Fields(names.map(|name| Bytes::copy_from_slice(name)).collect())
    };
    let behind_key = arguments.get(1..).unwrap_or_default();
    if is_one_of(name, &DELETES) {
        return Some(AppWrite::Delete);
    }
    if is_one_of(name, &FIELD_PAIRS) {
        return Some(fields(&mut behind_key.iter().step_by(2)));
    }
    if is_one_of(name, &ONE_FIELD) {
        return Some(fields(&mut behind_key.iter().take(1)));
    }
    if is(name, "hdel") {
        return Some(fields(&mut behind_key.iter()));
    }
    if is(name, "persist") {
        return Some(AppWrite::Touch(None));
    }
    if is(name, "getex") {
        return refreshed(behind_key, now_ms).map(AppWrite::Touch);
    }
    if let Some(read) = find(&COMMANDS, name) {
        let deadline = behind_key.first().and_then(|time| read(time));
        // One that has passed ends the key.
        return Some(match deadline.map(|time| until(time, now_ms)) {
            Some(at) if at > now_ms => AppWrite::Touch(Some(at)),
            _ => AppWrite::Delete,
        });
    }
    Some(AppWrite::Value)
}

fn until(time: Time, now_ms: i64) -> i64 {
    match time {
        Time::After(milliseconds) => now_ms.saturating_add(milliseconds),
        Time::At(at) => at,
    }
}

/// The deadline that GETEX gives; `None` where it gives none.
fn refreshed(options: &[&[u8]], now_ms: i64) -> Option<Option<i64>> {
    match options {
        [option] if is(option, "persist") => Some(None),
        [option, time] => Some(Some(until(find(&OPTIONS, option)?(time)?, now_ms))),
        _ => None,
    }
}

fn is_conditional(line: &[&[u8]]) -> bool {
    let Some((name, arguments)) = line.split_first() else {
        return false;
    };
    let has_condition = |from: usize, names: &[&str]| {
        let options = arguments.get(from..).unwrap_or_default();
        options.iter().any(|option| is_one_of(option, names))
    };
    is_one_of(name, &CONDITIONAL)
        || is(name, "renamenx")
        || is(name, "set") && has_condition(2, &CONDITIONS)
        || find(&COMMANDS, name).is_some() && has_condition(2, &["nx", "xx", "gt", "lt"])
}

/// Tells whether the reply to a conditional write says that it did something.
pub fn took_effect(line: &[&[u8]], reply: &[u8]) -> bool {
    let Some((name, arguments)) = line.split_first() else {
        return false;
    };
    if value::is_error(reply) {
        return false;
    }
    let has = |names: &[&str]| arguments.iter().skip(2).any(|word| is_one_of(word, names));
    match is(name, "set") {
        // With GET the reply is what was there.
        true if has(&["get"]) && has(&["nx"]) => value::is_null(reply),
        true => !value::is_null(reply),
        false => value::integer(reply).is_some_and(|count| count > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn line(text: &str) -> Vec<&[u8]> {
        text.split(' ').map(str::as_bytes).collect()
    }

    fn shown(text: &str, keys: &[&str]) -> (String, When) {
        let line = line(text);
        let keys = keys.iter().map(|key| key.as_bytes());
        let (marks, when) = marks(&line, keys, NOW);
        let one = |mark: &Mark| {
            let key = String::from_utf8_lossy(&mark.key).into_owned();
            match &mark.write {
                AppWrite::Value => format!("{key}=value"),
                AppWrite::Delete => format!("{key}=delete"),
                AppWrite::Touch(deadline) => format!("{key}=touch {deadline:?}"),
                AppWrite::Fields(names) => {
                    let names: Vec<_> = names.iter().map(|n| String::from_utf8_lossy(n)).collect();
                    format!("{key}=fields {}", names.join(","))
                }
            }
        };
        let all: Vec<String> = marks.iter().map(one).collect();
        (all.join(" "), when)
    }

    #[test]
    fn each_command_marks_what_it_leaves() {
        for (text, keys, expected) in [
            ("SET k v EX 5", &["k"][..], "k=value"),
            ("MSET a 1 b 2", &["a", "b"], "a=value b=value"),
            ("INCR k", &["k"], "k=value"),
            ("SADD k m", &["k"], "k=value"),
            ("DEL a b", &["a", "b"], "a=delete b=delete"),
            ("getdel k", &["k"], "k=delete"),
            ("HSET k f 1 g 2", &["k"], "k=fields f,g"),
            ("HINCRBY k f 1", &["k"], "k=fields f"),
            ("HDEL k f g", &["k"], "k=fields f,g"),
            ("EXPIRE k 5", &["k"], "k=touch Some(1005000)"),
            ("PEXPIREAT k 2000000", &["k"], "k=touch Some(2000000)"),
            ("EXPIRE k -1", &["k"], "k=delete"),
            ("EXPIREAT k 999", &["k"], "k=delete"),
            ("PERSIST k", &["k"], "k=touch None"),
            ("GETEX k EX 5", &["k"], "k=touch Some(1005000)"),
            ("GETEX k PERSIST", &["k"], "k=touch None"),
            ("GETEX k", &["k"], ""),
            ("RENAME a b", &["a", "b"], "a=delete b=value"),
            ("COPY a b", &["b"], "b=value"),
            ("EVAL s 1 k", &["k"], "k=value"),
        ] {
            let expected = (expected.to_owned(), When::Together);
            assert_eq!(shown(text, keys), expected, "{text}");
        }
    }

    #[test]
    fn what_may_do_nothing_is_marked_when_it_is_known() {
        for (text, marks, does, does_not) in [
            ("SET k v NX EX 5", "k=value", "+OK\r\n", "$-1\r\n"),
            ("SET k v XX", "k=value", "+OK\r\n", "_\r\n"),
            ("SET k v NX GET", "k=value", "_\r\n", "$1\r\nx\r\n"),
            ("SETNX k v", "k=value", ":1\r\n", ":0\r\n"),
            ("HSETNX k f v", "k=fields f", ":1\r\n", ":0\r\n"),
            ("EXPIRE k 5 GT", "k=touch Some(1005000)", ":1\r\n", ":0\r\n"),
        ] {
            let expected = (marks.to_owned(), When::AtReply);
            assert_eq!(shown(text, &["k"]), expected, "{text}");
            assert!(took_effect(&line(text), does.as_bytes()), "{text}");
            assert!(!took_effect(&line(text), does_not.as_bytes()), "{text}");
            assert!(!took_effect(&line(text), b"-ERR x\r\n"), "{text}");
        }
    }

    #[test]
    fn only_what_looks_at_nothing_need_not_wait_for_others() {
        for text in [
            "SET k v",
            "set k v PX 5",
            "SETEX k 5 v",
            "DEL a b",
            "MSET a 1",
        ] {
            assert!(is_absolute(&line(text)), "{text}");
        }
        for text in [
            "SET k v NX",
            "SET k v KEEPTTL",
            "SET k v EX 5 GET",
            "GETDEL k",
            "HSET k f v",
            "EXPIRE k 5",
            "INCR k",
            "EVAL s 1 k",
        ] {
            assert!(!is_absolute(&line(text)), "{text}");
        }
    }
}
