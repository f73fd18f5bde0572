//! Bodies of scripts, to be sent again where a new primary does not know them.
//!
//! EVALSHA names a script by its SHA1; a primary that was just promoted may never have seen it and says NOSCRIPT, which most
//! libraries take for an error. Where the body passed here before, to a primary *before* this one, the request is sent
//! again as EVAL. A server that has forgotten what it was given itself (SCRIPT FLUSH) says NOSCRIPT rightly.

use std::collections::HashMap;

use bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::resp::encode;

/// Scripts that are remembered, and their bytes.
const COUNT_MAX: usize = 256;
const BYTES_MAX: usize = 1024 * 1024;

/// A script.
#[derive(Clone, Debug)]
struct Script {
    body: Bytes,
    /// Which primary was given it last, by our own count.
    primary: u64,
    /// When it was used last, by a count of uses.
    used: u64,
}

/// What is remembered.
#[derive(Debug, Default)]
pub struct Scripts {
    by_sha: HashMap<[u8; 40], Script>,
    bytes: usize,
    uses: u64,
}

impl Scripts {
    /// Looks at a request on its way to the primary number `primary`: EVAL and SCRIPT LOAD bring a body, SCRIPT FLUSH takes
    /// all of them away.
    pub fn note(&mut self, words: &[&[u8]], primary: u64) {
        let is = |word: &[u8], other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        match *words {
            [name, body, ..] if is(name, "eval") || is(name, "eval_ro") => {
                self.remember(body, primary);
            }
            [name, word, body] if is(name, "script") && is(word, "load") => {
                self.remember(body, primary);
            }
            [name, word, ..] if is(name, "script") && is(word, "flush") => {
                self.by_sha.clear();
                self.bytes = 0;
            }
            _ => {}
        }
    }

    fn remember(&mut self, body: &[u8], primary: u64) {
        if body.len() > BYTES_MAX {
            return;
        }
        self.uses += 1;
        let used = self.uses;
        let sha = sha_of(body);
        if let Some(known) = self.by_sha.get_mut(&sha) {
            (known.primary, known.used) = (primary, used);
            return;
        }
        while self.by_sha.len() >= COUNT_MAX || self.bytes + body.len() > BYTES_MAX {
            self.forget_oldest();
        }
        self.bytes += body.len();
        let body = Bytes::copy_from_slice(body);
        let script = Script {
            body,
            primary,
            used,
        };
        self.by_sha.insert(sha, script);
    }

    fn forget_oldest(&mut self) {
        let oldest = self.by_sha.iter().min_by_key(|(_, script)| script.used);
        let Some(sha) = oldest.map(|(sha, _)| *sha) else {
            return;
        };
        if let Some(script) = self.by_sha.remove(&sha) {
            self.bytes -= script.body.len();
        }
    }

    /// Writes an EVALSHA that primary number `primary` answered with NOSCRIPT as an EVAL; `None` where the body is not known,
    /// or was given to that very primary.
    pub fn as_eval(&mut self, words: &[&[u8]], primary: u64) -> Option<Vec<u8>> {
        let (&name, arguments) = words.split_first()?;
        let (&sha, rest) = arguments.split_first()?;
        let eval: &[u8] = match name {
            name if name.eq_ignore_ascii_case(b"evalsha") => b"EVAL",
            name if name.eq_ignore_ascii_case(b"evalsha_ro") => b"EVAL_RO",
            _ => return None,
        };
        let sha: [u8; 40] = sha.to_ascii_lowercase().try_into().ok()?;
        let script = self
            .by_sha
            .get(&sha)
            .filter(|script| script.primary < primary)?;
        let mut again: Vec<&[u8]> = vec![eval, &script.body];
        again.extend(rest);
        let mut out = Vec::new();
        encode::request(&mut out, &again);
        Some(out)
    }
}

fn sha_of(body: &[u8]) -> [u8; 40] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; 40];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(Sha1::digest(body)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request_bytes;

    /// SHA1 of "return 1".
    const SHA: &[u8] = b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db";

    fn known(scripts: &mut Scripts, primary: u64) -> Option<Vec<u8>> {
        scripts.as_eval(&[b"EVALSHA", SHA, b"1", b"k", b"a"], primary)
    }

    #[test]
    fn a_body_that_an_earlier_primary_was_given_is_sent_again() {
        for words in [
            &[&b"EVAL"[..], b"return 1", b"0"][..],
            &[b"script", b"LOAD", b"return 1"],
        ] {
            let mut scripts = Scripts::default();
            assert_eq!(known(&mut scripts, 1), None);
            scripts.note(words, 1);
            assert_eq!(known(&mut scripts, 1), None, "it was given it itself");
            let expected = request_bytes(&["EVAL", "return 1", "1", "k", "a"]);
            assert_eq!(known(&mut scripts, 2), Some(expected));
            let upper = SHA.to_ascii_uppercase();
            let read_only = scripts.as_eval(&[b"evalsha_ro", &upper, b"0"], 2);
            assert_eq!(
                read_only,
                Some(request_bytes(&["EVAL_RO", "return 1", "0"]))
            );
            scripts.note(words, 2);
            assert_eq!(known(&mut scripts, 2), None);
            scripts.note(&[b"SCRIPT", b"FLUSH"], 2);
            assert_eq!(known(&mut scripts, 3), None);
        }
    }

    #[test]
    fn the_least_recently_used_gives_way() {
        let mut scripts = Scripts::default();
        scripts.note(&[b"EVAL", b"return 1", b"0"], 1);
        for number in 0..COUNT_MAX - 1 {
            scripts.note(
                &[b"EVAL", format!("return {number} + 2").as_bytes(), b"0"],
                1,
            );
        }
        assert!(known(&mut scripts, 2).is_some());
        scripts.note(&[b"EVAL", b"return 'one more'", b"0"], 1);
        assert!(known(&mut scripts, 2).is_none());
        assert_eq!(scripts.by_sha.len(), COUNT_MAX);
        scripts.note(&[b"EVAL", &vec![b'x'; BYTES_MAX - 5], b"0"], 1);
        assert_eq!(scripts.by_sha.len(), 1);
        scripts.note(&[b"EVAL", &vec![b'x'; BYTES_MAX + 1], b"0"], 1);
        assert_eq!(scripts.by_sha.len(), 1);
        assert!(scripts.bytes <= BYTES_MAX);
    }
}
