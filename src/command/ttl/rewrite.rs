//! The same request with another expiry.

use crate::resp::encode;

/// Where the expiry of a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Word 2, in the unit of the command: SETEX, PSETEX, EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT.
    Number,
    /// Behind that word, which is EX, PX, EXAT or PXAT.
    Option(usize),
    /// Nowhere yet: behind the last word.
    Behind,
    /// Word 2, in milliseconds; with ABSTTL an instant.
    Restore,
}

/// Writes the request with an expiry `ttl` seconds from when the server runs it.
pub(super) fn rewrite(words: &[&[u8]], place: Place, ttl: u64) -> Vec<u8> {
    let seconds = ttl.to_string();
    let milliseconds = (ttl * 1000).to_string();
    let (seconds, milliseconds) = (seconds.as_bytes(), milliseconds.as_bytes());
    let mut changed = words.to_vec();
    match place {
        Place::Number => {
            changed[2] = if matches!(words[0].first(), Some(b'p' | b'P')) {
                milliseconds
            } else {
                seconds
            };
            changed[0] = match words[0] {
                name if is(name, "expireat") => b"EXPIRE",
                name if is(name, "pexpireat") => b"PEXPIRE",
                name => name,
            };
            for option in changed.iter_mut().skip(3).filter(|word| is(word, "gt")) {
                *option = b"XX";
            }
        }
        Place::Option(at) => {
            // The unit may have been given more than once, and two kinds are refused.
            (changed[at], changed[at + 1]) = match words[at] {
                unit if is(unit, "ex") => (unit, seconds),
                unit if is(unit, "px") => (unit, milliseconds),
                unit if is(unit, "exat") => (&b"EX"[..], seconds),
                _ => (&b"PX"[..], milliseconds),
            };
        }
        Place::Behind => changed.extend([b"EX", seconds]),
        Place::Restore => {
            changed[2] = milliseconds;
            let mut index = 0;
            changed.retain(|word| {
                index += 1;
                index <= 4 || !is(word, "absttl")
            });
        }
    }
    encode::request_bytes(&changed)
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}
