//! Session hygiene: session keys are written with an expiry, and with none that is too long.
//!
//! A session that never expires stays when its user is long gone. [`Rules::judge`] finds the requests that write one, so
//! that they are counted, and where it is enforced says what to send instead, so that the key has an expiry by the same
//! atomic step that wrote it. Pure: it gets the words, and the server's wall clock where somebody knows it.
//!
//! # Invariant
//! Enforced, for a session key and a request outside MULTI: a request that was executed leaves no key that it wrote without
//! expiry, and gives none an expiry longer than the longest; the client's reply is, byte for byte, the one to the request as
//! it came. What the server would refuse (a wrong number of words, an option or a number that is none) is sent as it came.
//! Inside MULTI the first two rows of the table hold, and the others are counted.
//!
//! # How
//! | request | enforced |
//! |---|---|
//! | SET, RESTORE without expiry | the same command with the default one |
//! | an expiry longer than the longest: SET, SETEX, PSETEX, GETEX, EXPIRE …, RESTORE | the same command, cut to it |
//! | GETSET, SETNX, MSET, MSETNX, PERSIST, GETEX PERSIST | a transaction: their replies differ from SET's |
//! | what keeps the expiry that is there: APPEND, INCR, HSET, SADD, SET KEEPTTL, RENAME … | a transaction |
//!
//! - The *transaction* is MULTI, the request, `EXPIRE key s NX` for each session key, EXEC: NX makes it harmless where there
//!   is an expiry. A server before 7.0 has no NX and gets a script of one line, with its key declared; scripts are fine in
//!   MULTI. [`exec::read`] finds the client's reply in what comes back.
//! - *Cut absolute times* become relative ones (`EXPIREAT` → `EXPIRE`, `EXAT` → `EX`), so that they are right by the
//!   server's clock, whatever ours shows. While its clock is unknown they are sent as they came.
//! - *GT* becomes XX in a cut request: GT holds of every key whose expiry is within the limit, and a key that was given the
//!   longest one in this very millisecond must not answer 0.
//! - An app that asks for a session without expiry (*PERSIST*) gets the default one and hears that it has none.
//! - *RENAME, COPY*: what counts is the key that they make; it has the expiry of the one they made it of. COPY into another
//!   database is let alone: EXPIRE would go to this one.
//!
//! # What differs
//! - A transaction gives an expiry to a key that it finds without, also when the request then did nothing (`SETNX` of a key
//!   that is there, an HSET that is refused for the type). That is the key's old fault, mended late.
//! - What comes later sees the expiry: `SET k v` and then `EXPIRE k 10 NX` as two requests answers 0, TTL tells it.
//! - A key with an expiry past the limit, from before the limit was there: EXPIRE with GT or LT may answer otherwise.
//! - `SET … KEEPTTL`, HSET and the like don't cut an expiry that is there.
//!
//! # What is not looked at
//! Scripts and modules; MSETEX, BITFIELD, streams and the commands that store a result (SORT … STORE, SUNIONSTORE, BITOP …),
//! which no session library sends; commands that only take away (HDEL, SREM). A TTL that overflows by the server's clock, or
//! nearly does.
//!
//! # What the server must allow
//! MULTI, EXEC and EXPIRE (before 7.0: EVAL) besides the client's own commands. A user who may not run EXEC or the one that
//! gives the expiry costs a round trip and is only counted ([`exec::Outcome::NotRun`]); without MULTI the two commands run,
//! but not as one step; without EXPIRE a cut EXPIREAT is refused.
//!
//! Source: redis `src/expire.c`, `src/t_string.c`, `src/cluster.c` (`restoreCommand`), `src/multi.c`.

pub mod exec;
mod read;
mod rewrite;

use std::collections::HashSet;
use std::time::Duration;

use crate::config::{RequireTtl, Sessions};
use crate::resp::encode;

use super::time::{Abilities, TTL_MAX, Time};
use read::Act;
use rewrite::Place;

/// What goes before the request of a [`Verdict::Transaction`].
pub const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// EXPIRE with NX for servers that have no options of EXPIRE.
const SCRIPT: &str =
    "return redis.call('PTTL',KEYS[1])==-1 and redis.call('EXPIRE',KEYS[1],ARGV[1]) or 0";

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// A session key was written, and has no expiry.
    NoExpiry,
    /// A session key was given an expiry longer than the longest.
    TooLong,
}

/// A finding that holds if the request did something, as its reply tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What was found.
    pub finding: Finding,
    keys: u32,
    proof: Proof,
}

/// The reply by which a request says that it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Ok,
    One,
    Null,
    /// Neither null nor an error.
    Value,
    NoError,
}

impl Found {
    /// Returns for how many keys it is to be counted if the request does something.
    pub fn count_if_done(&self) -> u32 {
        self.keys
    }

    /// Returns for how many keys it is to be counted, given the request's reply: none if the request did nothing.
    pub fn count(&self, reply: &[u8]) -> u32 {
        let is_error = matches!(reply.first(), Some(b'-' | b'!') | None);
        let is_null = matches!(reply, b"$-1\r\n" | b"_\r\n");
        let holds = match self.proof {
            Proof::Ok => reply == b"+OK\r\n",
            Proof::One => reply == b":1\r\n",
            Proof::Null => is_null,
            Proof::Value => !is_null && !is_error,
            Proof::NoError => !is_error,
        };
        if holds { self.keys } else { 0 }
    }
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it: there is nothing to say about it.
    Fine,
    /// Send it, and count by its reply: it is only warned, or nothing can be done.
    Counted(Found),
    /// Send it and `PTTL` of its word `key` behind it (inside MULTI: behind EXEC): -1 is a [`Finding::NoExpiry`].
    Ask {
        /// Which word of the request is the key.
        key: usize,
    },
    /// Send this in its place, and count by its reply, which is the client's.
    Replaced {
        /// One command.
        request: Vec<u8>,
        /// What is counted.
        found: Found,
    },
    /// Send [`MULTI`], the request as it came, and this; [`exec::read`] takes the replies apart. Each expiry that it says
    /// was given is a [`Finding::NoExpiry`].
    Transaction {
        /// What goes behind the request, up to EXEC.
        behind: Vec<u8>,
        /// How many replies come, with those to MULTI and EXEC: at least four.
        replies: u32,
    },
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// By itself.
    Free,
    /// Inside MULTI, or under WATCH, which a transaction of ours would end: never [`Verdict::Transaction`]. What would need
    /// one is asked about instead: one more queued command would be seen in EXEC's reply.
    Held,
}

/// What is configured, and what the server can do.
#[derive(Clone, Debug)]
pub struct Rules {
    require: RequireTtl,
    prefixes: Vec<Vec<u8>>,
    /// Seconds, at least one.
    default_ttl: u64,
    /// Likewise.
    max_ttl: Option<u64>,
    abilities: Abilities,
}

impl Rules {
    /// Makes the rules from the configuration, whose times are cut to whole seconds; the default expiry is no longer than
    /// the longest.
    pub fn new(sessions: &Sessions, abilities: Abilities) -> Self {
        let seconds = |ttl: Duration| ttl.as_secs().clamp(1, TTL_MAX as u64 / 1000);
        let max_ttl = sessions.max_ttl.map(seconds);
        Self {
            require: sessions.require_ttl,
            prefixes: sessions.prefixes.clone(),
            default_ttl: seconds(sessions.default_ttl).min(max_ttl.unwrap_or(u64::MAX)),
            max_ttl,
            abilities,
        }
    }

    /// Tells whether there is anything to judge.
    pub fn is_on(&self) -> bool {
        self.require != RequireTtl::Off
    }

    /// Judges a request. Only commands that write need to be shown.
    ///
    /// `wall` is the server's clock in Unix milliseconds; `None` = unknown. Inside MULTI a request that comes later may
    /// still give the expiry: where the whole block is at hand use [`Rules::judge_block`].
    pub fn judge(&self, words: &[&[u8]], context: Context, wall: Option<u64>) -> Verdict {
        self.resolve(words, self.read(words), context, wall, |_| true)
    }

    /// Judges a request whose value is too large to be waited for, by the words in front of it and the number of `all`
    /// words. It can't be replaced: too long an expiry of SETEX and PSETEX is only counted, SET's is not seen.
    pub fn judge_large(&self, leading: &[&[u8]], all: u64, context: Context) -> Verdict {
        if !self.is_on() {
            return Verdict::Fine;
        }
        match read::read_leading(leading, all) {
            Act::Gives { time, proof, .. }
                if self.is_session(leading[1]) && self.is_too_long(time, None) =>
            {
                counted(Finding::TooLong, 1, proof)
            }
            Act::Keeps { key } if self.is_session(leading[key]) => {
                self.give_or_ask(leading, key, context)
            }
            _ => Verdict::Fine,
        }
    }

    /// Judges the requests between MULTI and EXEC as one, with [`Context::Held`]: a verdict for each. `SET k v` is fine if
    /// `EXPIRE k s` follows, and a key is asked about once.
    pub fn judge_block(&self, requests: &[Vec<&[u8]>], wall: Option<u64>) -> Vec<Verdict> {
        // From the end: what is settled later is known when the request that leaves it open is met.
        let mut settled: HashSet<&[u8]> = HashSet::new();
        let mut asked: HashSet<&[u8]> = HashSet::new();
        let mut verdicts = Vec::with_capacity(requests.len());
        for words in requests.iter().rev() {
            let act = self.read(words);
            let settles = act.settles();
            let is_open = |key: usize| !settled.contains(words[key]);
            let verdict = match self.resolve(words, act, Context::Held, wall, is_open) {
                Verdict::Ask { key } if !asked.insert(words[key]) => Verdict::Fine,
                verdict => verdict,
            };
            verdicts.push(verdict);
            settled.extend(settles.words(words.len()).map(|key| words[key]));
        }
        verdicts.reverse();
        verdicts
    }

    fn read(&self, words: &[&[u8]]) -> Act {
        match self.is_on() {
            true => read::read(words, self.abilities),
            false => Act::Nothing,
        }
    }

    /// Turns what a request does into a verdict; keys that are not `is_open` get their expiry elsewhere.
    fn resolve(
        &self,
        words: &[&[u8]],
        act: Act,
        context: Context,
        wall: Option<u64>,
        is_open: impl Fn(usize) -> bool,
    ) -> Verdict {
        let concerns = |key: usize| self.is_session(words[key]) && is_open(key);
        let is_enforced = self.require == RequireTtl::Enforce;
        match act {
            Act::Nothing | Act::Removes => Verdict::Fine,
            Act::Gives {
                time, place, proof, ..
            } => match self.max_ttl {
                Some(max) if self.is_session(words[1]) && self.is_too_long(time, wall) => {
                    if is_enforced {
                        replaced(words, place, max, Finding::TooLong, proof)
                    } else {
                        counted(Finding::TooLong, 1, proof)
                    }
                }
                _ => Verdict::Fine,
            },
            Act::Drops {
                keys, place, proof, ..
            } => {
                let keys: Vec<usize> = keys
                    .words(words.len())
                    .filter(|&key| concerns(key))
                    .collect();
                match (keys.as_slice(), place, context) {
                    ([], ..) => Verdict::Fine,
                    (_, Some(place), _) if is_enforced => {
                        replaced(words, place, self.default_ttl, Finding::NoExpiry, proof)
                    }
                    (_, None, Context::Free) if is_enforced => self.transaction(words, &keys),
                    (&[key], _, Context::Held) => Verdict::Ask { key },
                    _ => counted(Finding::NoExpiry, keys.len() as u32, proof),
                }
            }
            Act::Keeps { key } if concerns(key) => self.give_or_ask(words, key, context),
            Act::Keeps { .. } => Verdict::Fine,
        }
    }

    fn give_or_ask(&self, words: &[&[u8]], key: usize, context: Context) -> Verdict {
        if self.require == RequireTtl::Enforce && context == Context::Free {
            self.transaction(words, &[key])
        } else {
            Verdict::Ask { key }
        }
    }

    /// Gives an expiry to each of those words that is a key without.
    fn transaction(&self, words: &[&[u8]], keys: &[usize]) -> Verdict {
        let ttl = self.default_ttl.to_string();
        let mut behind = Vec::new();
        for &key in keys {
            let (key, ttl) = (words[key], ttl.as_bytes());
            if self.abilities.expire_options {
                encode::request(&mut behind, &[b"EXPIRE", key, ttl, b"NX"]);
            } else {
                encode::request(&mut behind, &[b"EVAL", SCRIPT.as_bytes(), b"1", key, ttl]);
            }
        }
        behind.extend_from_slice(EXEC);
        Verdict::Transaction {
            behind,
            replies: keys.len() as u32 + 3,
        }
    }

    fn is_session(&self, key: &[u8]) -> bool {
        let mut prefixes = self.prefixes.iter();
        self.prefixes.is_empty() || prefixes.any(|prefix| key.starts_with(prefix))
    }

    fn is_too_long(&self, time: Time, wall: Option<u64>) -> bool {
        let Some(max) = self.max_ttl.map(|seconds| i128::from(seconds) * 1000) else {
            return false;
        };
        match (time, wall) {
            (Time::After(ttl), _) => i128::from(ttl) > max,
            (Time::At(at), Some(wall)) => i128::from(at) - i128::from(wall) > max,
            (Time::At(_), None) => false,
        }
    }
}

fn counted(finding: Finding, keys: u32, proof: Proof) -> Verdict {
    Verdict::Counted(Found {
        finding,
        keys,
        proof,
    })
}

fn replaced(words: &[&[u8]], place: Place, ttl: u64, finding: Finding, proof: Proof) -> Verdict {
    Verdict::Replaced {
        request: rewrite::rewrite(words, place, ttl),
        found: Found {
            finding,
            keys: 1,
            proof,
        },
    }
}

#[cfg(test)]
mod tests;
