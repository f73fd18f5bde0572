//! Which keys a request names: where the fixed positions of the table do not say, by the request's own words.

use super::catalog::CHANGES_ANYTHING;
use super::table::{Access, Command, Kind};
use crate::resp::Words;

/// What a request may read or change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// No key, or none by name (SCAN, DBSIZE).
    Nothing,
    /// The keys among its words: `first`, then every `step`-th, `count` of them.
    Keys {
        /// Word of the first key.
        first: usize,
        /// How many.
        count: usize,
        /// Words from one to the next, at least 1.
        step: usize,
    },
    /// Any key: its words do not say.
    Everything,
}

impl Touched {
    /// Returns the words that are keys.
    pub fn words(self) -> impl Iterator<Item = usize> {
        let (first, count, step) = match self {
            Self::Keys { first, count, step } => (first, count, step),
            Self::Nothing | Self::Everything => (0, 0, 1),
        };
        (0..count).map(move |index| first + index * step)
    }
}

/// Tells which keys a request names, whatever it does to them.
///
/// A request that the server will refuse (too few words, a number of keys that is none) names at most what it seems to.
pub fn touched(command: &Command, request: &[u8], words: &Words) -> Touched {
    let word = |index: usize| words.get(request, index).unwrap_or_default();
    let named = |wanted: &[&str]| {
        let name = word(0);
        wanted
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
    };
    let count_at = |index: usize, step: usize| match number(word(index)) {
        Some(0) if command.access == Access::Write => Touched::Everything,
        Some(count) if index + count * step < words.len() => Touched::Keys {
            first: index + 1,
            count,
            step,
        },
        _ => unknown(command),
    };
    // What passes most has no exceptions.
    if command.kind == Kind::Tracked {
        return fixed(command, words.len());
    }
    if command.keys.first > 0 {
        // A second key may stand anywhere behind.
        if words.len() > 3 && named(&["sort", "georadius", "georadiusbymember", "migrate"]) {
            return Touched::Everything;
        }
        // `destination numkeys key …`: the number is taken for a key, too, which costs a fill of that name at most.
        if named(&["zunionstore", "zinterstore", "zdiffstore"]) {
            let sources = number(word(2)).unwrap_or(0);
            return Touched::Keys {
                first: 1,
                count: (sources + 2).min(words.len().saturating_sub(1)),
                step: 1,
            };
        }
        return fixed(command, words.len());
    }
    // `OBJECT ENCODING key`, `XGROUP CREATE key …`
    if named(&["object", "xgroup", "xinfo", "memory"]) && words.len() > 2 {
        return Touched::Keys {
            first: 2,
            count: 1,
            step: 1,
        };
    }
    if named(&[
        "eval",
        "evalsha",
        "fcall",
        "eval_ro",
        "evalsha_ro",
        "fcall_ro",
        "blmpop",
        "bzmpop",
    ]) {
        return count_at(2, 1);
    }
    if named(&[
        "lmpop",
        "zmpop",
        "sintercard",
        "zdiff",
        "zinter",
        "zintercard",
        "zunion",
    ]) {
        return count_at(1, 1);
    }
    if named(&["msetex"]) {
        return count_at(1, 2);
    }
    // Redis 6.2: `STRALGO LCS KEYS a b …`, or STRINGS.
    if named(&["stralgo"]) && word(2).eq_ignore_ascii_case(b"KEYS") && words.len() > 4 {
        return Touched::Keys {
            first: 3,
            count: 2,
            step: 1,
        };
    }
    if named(&["xread", "xreadgroup"]) {
        return streams(words.len(), |index| {
            word(index).eq_ignore_ascii_case(b"STREAMS")
        });
    }
    if named(CHANGES_ANYTHING) {
        return Touched::Everything;
    }
    unknown(command)
}

/// What is said of a command without known keys: a read of none by name, or a write of any.
fn unknown(command: &Command) -> Touched {
    match command.access {
        Access::Write => Touched::Everything,
        Access::Read | Access::Neither => Touched::Nothing,
    }
}

/// The positions of the table, within the words that there are.
fn fixed(command: &Command, words: usize) -> Touched {
    let keys = command.keys;
    let (first, step) = (keys.first as usize, keys.step.max(1) as usize);
    let last = match keys.last {
        last if last >= 0 => last as usize,
        last => words.saturating_sub(last.unsigned_abs() as usize),
    };
    let last = last.min(words.saturating_sub(1));
    match last >= first {
        true => Touched::Keys {
            first,
            count: (last - first) / step + 1,
            step,
        },
        false => Touched::Nothing,
    }
}

/// `… STREAMS key … id …`, as many ids as keys.
fn streams(words: usize, is_streams: impl Fn(usize) -> bool) -> Touched {
    let Some(at) = (1..words).find(|&index| is_streams(index)) else {
        return Touched::Nothing;
    };
    Touched::Keys {
        first: at + 1,
        count: (words - at - 1) / 2,
        step: 1,
    }
}

/// Reads the digits in front, as C's `atoi` does, by which some servers find keys.
fn number(word: &[u8]) -> Option<usize> {
    let word = word.trim_ascii_start();
    let word = word.strip_prefix(b"+").unwrap_or(word);
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(word.get(..digits)?).ok()?;
    text.parse::<u32>().ok().map(|number| number as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::with_line;

    fn keys(line: &str) -> Option<Vec<String>> {
        with_line(line, |command, request, words| {
            let text = |index| String::from_utf8_lossy(words.get(request, index).unwrap()).into();
            match touched(command, request, words) {
                Touched::Everything => None,
                found => Some(found.words().map(text).collect()),
            }
        })
    }

    #[test]
    fn keys_are_found_where_the_words_say() {
        for (line, expected) in [
            ("GET a", "a"),
            ("get", ""),
            ("MSET a 1 b 2", "a b"),
            ("DEL a b c", "a b c"),
            ("BLPOP a b 0", "a b"),
            ("RENAME a b", "a b"),
            ("EVAL s 2 a b c", "a b"),
            ("EVAL_RO s 0 c", ""),
            ("FCALL f 1 a", "a"),
            ("LMPOP 2 a b LEFT", "a b"),
            ("BZMPOP 0 1 a MIN", "a"),
            ("MSETEX 2 a 1 b 2 EX 9", "a b"),
            ("XREADGROUP GROUP g c COUNT 1 STREAMS a b > >", "a b"),
            ("XREAD STREAMS a 0", "a"),
            ("ZUNION 2 a b WITHSCORES", "a b"),
            ("SORT a", "a"),
            ("SCAN 0", ""),
            ("PING", ""),
        ] {
            assert_eq!(
                keys(line).map(|found| found.join(" ")).as_deref(),
                Some(expected),
                "{line}"
            );
        }
    }

    #[test]
    fn what_the_words_do_not_say_may_be_any_key() {
        for line in [
            "FLUSHALL",
            "SWAPDB 0 1",
            "EVAL s 0",
            "EVAL s x a",
            "EVAL s 5 a",
            "SORT a BY b STORE c",
            "MIGRATE h 1 \"\" 0 9 KEYS a b",
            "NO.SUCH.COMMAND a",
        ] {
            assert_eq!(keys(line), None, "{line}");
        }
    }
}
