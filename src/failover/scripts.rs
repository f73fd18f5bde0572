//! Bodies of scripts, so that an EVALSHA that a new primary does not know can be asked as EVAL.
//!
//! A server forgets its scripts when it restarts, and a replica has never had those of its primary (since 7.0 only their
//! effects are replicated). So an app that has loaded a script, and sends EVALSHA for good, would get NOSCRIPT after a
//! failover, which many libraries don't expect any more.
//!
//! # Invariant
//! Only an EVALSHA that means a body which was shown to a primary of an *earlier* generation becomes an EVAL: a primary that
//! was shown it itself, and says NOSCRIPT, was told to forget it (SCRIPT FLUSH of somebody else), or has thrown it out
//! (since 7.4 scripts that came with EVAL, past 500), and its answer is the client's. EVAL runs the body and loads it, so the
//! effect and the reply are those that EVALSHA would have had.
//!
//! # Use
//! [`Scripts::learn`] for each request of EVAL, EVALSHA, SCRIPT (and their read-only forms) that is sent, with the generation
//! of its link. An EVALSHA may be asked as EVAL when it [is refused](is_unknown) (then nothing has run), or in front,
//! where a refusal would come too late: in a transaction. What was sent as EVAL is learned like any other.
//!
//! Source: redis `src/eval.c`, `evalGenericCommand`, `evalShaCommand`, `scriptCommand`, `luaCreateFunction`.

use std::collections::{BTreeMap, HashMap};

use foldhash::quality::RandomState;
use sha1::{Digest as _, Sha1};

use crate::resp::encode;

/// Bodies that are remembered.
const SCRIPTS_MAX: usize = 256;

/// Their bytes. A longer body is not remembered at all.
const BYTES_MAX: usize = 1024 * 1024;

/// A body's name.
type Sha = [u8; 20];

/// A body.
#[derive(Debug)]
struct Script {
    body: Box<[u8]>,
    /// The latest primary that was shown it.
    generation: u64,
    /// When it was last named: a key of `Scripts::by_use`.
    used: u64,
}

/// What is remembered: the bodies that were named last.
#[derive(Debug, Default)]
pub struct Scripts {
    by_sha: HashMap<Sha, Script, RandomState>,
    /// The least recently named first.
    by_use: BTreeMap<u64, Sha>,
    bytes: usize,
    uses: u64,
}

impl Scripts {
    /// Notes a request that is sent to a primary of this generation; one of another command means nothing.
    ///
    /// Generations count primaries (or whatever has lost its scripts) and only go up.
    pub fn learn(&mut self, words: &[&[u8]], generation: u64) {
        let Some((name, arguments)) = words.split_first() else {
            return;
        };
        let is = |word: &[u8], other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        match *arguments {
            [body, _, ..] if is(name, "eval") || is(name, "eval_ro") => self.add(body, generation),
            [sha, _, ..] if is(name, "evalsha") || is(name, "evalsha_ro") => {
                // It is in use; whether this primary has it, its reply will tell.
                if let Some(sha) = read_sha(sha) {
                    self.mark_used(&sha);
                }
            }
            [load, body] if is(name, "script") && is(load, "load") => self.add(body, generation),
            [flush] if is(name, "script") && is(flush, "flush") => self.forget_all(),
            [flush, how]
                if is(name, "script")
                    && is(flush, "flush")
                    && (is(how, "async") || is(how, "sync")) =>
            {
                self.forget_all();
            }
            _ => {}
        }
    }

    /// Writes an EVALSHA or EVALSHA_RO for a primary of this generation as EVAL or EVAL_RO; `None` for another request, a
    /// body that is not known, and one that this primary was shown.
    pub fn as_eval(&mut self, words: &[&[u8]], generation: u64) -> Option<Vec<u8>> {
        let (name, arguments) = words.split_first()?;
        let eval: &[u8] = match () {
            () if name.eq_ignore_ascii_case(b"evalsha") => b"EVAL",
            () if name.eq_ignore_ascii_case(b"evalsha_ro") => b"EVAL_RO",
            () => return None,
        };
        let [sha, rest @ ..] = arguments else {
            return None;
        };
        // One that the server would refuse for its number of words.
        if rest.is_empty() {
            return None;
        }
        let sha = read_sha(sha)?;
        self.mark_used(&sha);
        let script = self.by_sha.get(&sha)?;
        if script.generation >= generation {
            return None;
        }
        let mut again: Vec<&[u8]> = vec![eval, &script.body];
        again.extend(rest);
        Some(encode::request_bytes(&again))
    }

    /// Returns how many bodies are remembered.
    pub fn len(&self) -> usize {
        self.by_sha.len()
    }

    /// Tells whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_sha.is_empty()
    }

    /// Returns the bytes of all bodies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, body: &[u8], generation: u64) {
        if body.len() > BYTES_MAX {
            return;
        }
        let sha: Sha = Sha1::digest(body).into();
        if let Some(known) = self.by_sha.get_mut(&sha) {
            known.generation = known.generation.max(generation);
            return self.mark_used(&sha);
        }
        while self.by_sha.len() >= SCRIPTS_MAX || self.bytes + body.len() > BYTES_MAX {
            self.forget_oldest();
        }
        self.uses += 1;
        self.by_use.insert(self.uses, sha);
        self.bytes += body.len();
        let script = Script {
            body: body.into(),
            generation,
            used: self.uses,
        };
        self.by_sha.insert(sha, script);
    }

    fn mark_used(&mut self, sha: &Sha) {
        let Some(script) = self.by_sha.get_mut(sha) else {
            return;
        };
        self.uses += 1;
        self.by_use.remove(&script.used);
        self.by_use.insert(self.uses, *sha);
        script.used = self.uses;
    }

    fn forget_oldest(&mut self) {
        let oldest = self.by_use.pop_first();
        if let Some(script) = oldest.and_then(|(_, sha)| self.by_sha.remove(&sha)) {
            self.bytes -= script.body.len();
        }
    }

    fn forget_all(&mut self) {
        self.by_sha.clear();
        self.by_use.clear();
        self.bytes = 0;
    }
}

/// Tells whether a reply says that the server does not know the script, and so has run nothing.
pub fn is_unknown(reply: &[u8]) -> bool {
    reply.starts_with(b"-NOSCRIPT ")
}

/// Reads forty hexadecimal digits of either case.
fn read_sha(word: &[u8]) -> Option<Sha> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut sha = Sha::default();
    if word.len() != sha.len() * 2 {
        return None;
    }
    for (byte, pair) in sha.iter_mut().zip(word.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(sha)
}

#[cfg(test)]
mod tests;
