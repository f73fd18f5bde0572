//! What a request does to the expiry of its keys.
//!
//! Reads no more than the server takes: what it would refuse is [`Act::Nothing`].

use super::Proof;
use super::rewrite::Place;
use crate::command::time::{Abilities, COMMANDS, OPTIONS, Time, after, at, find, seconds_after};

/// Which words of a request are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    first: usize,
    step: usize,
}

impl Keys {
    const NONE: Self = Self::of(usize::MAX, 1);
    const ONE: Self = Self::of(1, usize::MAX);
    const ALL: Self = Self::of(1, 1);
    /// Each with its value behind.
    const PAIRS: Self = Self::of(1, 2);

    const fn of(first: usize, step: usize) -> Self {
        Self { first, step }
    }

    /// Returns them for a request of that many words.
    pub(super) fn words(self, count: usize) -> impl Iterator<Item = usize> {
        (self.first..count).step_by(self.step)
    }
}

/// What a request does, if the server runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing of interest.
    Nothing,
    /// Word 1 gets an expiry.
    Gives {
        time: Time,
        /// Where the time stands.
        place: Place,
        proof: Proof,
        /// Whatever the key was, it is not there without expiry afterwards.
        is_certain: bool,
    },
    /// Keys are there afterwards and have no expiry.
    Drops {
        keys: Keys,
        /// Where one can be put in, with the same reply.
        place: Option<Place>,
        proof: Proof,
        /// Whatever the keys were, what comes before no longer matters.
        is_certain: bool,
    },
    /// A key is written and keeps the expiry that it has, or that of the key it is made of.
    Keeps { key: usize },
    /// All words but the first are keys that are gone afterwards.
    Removes,
}

impl Act {
    /// Returns the keys for which it no longer matters who left them without expiry before.
    pub(super) fn settles(self) -> Keys {
        match self {
            Self::Gives {
                is_certain: true, ..
            } => Keys::ONE,
            Self::Drops {
                keys,
                is_certain: true,
                ..
            } => keys,
            Self::Removes => Keys::ALL,
            _ => Keys::NONE,
        }
    }
}

/// Number of words of a command.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arity {
    Just(u64),
    Least(u64),
    /// An even number, at least that.
    Even(u64),
    /// An odd number, at least that.
    Odd(u64),
}

impl Arity {
    fn takes(self, count: u64) -> bool {
        match self {
            Self::Just(number) => count == number,
            Self::Least(least) => count >= least,
            Self::Even(least) => count >= least && count.is_multiple_of(2),
            Self::Odd(least) => count >= least && !count.is_multiple_of(2),
        }
    }
}

/// Commands that write a key and leave its expiry as it is, and which word that key is.
#[rustfmt::skip]
pub(super) const KEEPING: &[(&str, Arity, usize)] = &[
    ("append", Arity::Just(3), 1),
    ("copy", Arity::Least(3), 2),
    ("decr", Arity::Just(2), 1),
    ("decrby", Arity::Just(3), 1),
    ("geoadd", Arity::Least(5), 1),
    ("hincrby", Arity::Just(4), 1),
    ("hincrbyfloat", Arity::Just(4), 1),
    ("hmset", Arity::Even(4), 1),
    ("hset", Arity::Even(4), 1),
    ("hsetex", Arity::Least(6), 1),
    ("hsetnx", Arity::Just(4), 1),
    ("incr", Arity::Just(2), 1),
    ("incrby", Arity::Just(3), 1),
    ("incrbyfloat", Arity::Just(3), 1),
    ("linsert", Arity::Just(5), 1),
    ("lmove", Arity::Just(5), 2),
    ("lpush", Arity::Least(3), 1),
    ("lpushx", Arity::Least(3), 1),
    ("lset", Arity::Just(4), 1),
    ("pfadd", Arity::Least(2), 1),
    ("rename", Arity::Just(3), 2),
    ("renamenx", Arity::Just(3), 2),
    ("rpoplpush", Arity::Just(3), 2),
    ("rpush", Arity::Least(3), 1),
    ("rpushx", Arity::Least(3), 1),
    ("sadd", Arity::Least(3), 1),
    ("setbit", Arity::Just(4), 1),
    ("setrange", Arity::Just(4), 1),
    ("smove", Arity::Just(4), 2),
    ("zadd", Arity::Least(4), 1),
    ("zincrby", Arity::Just(4), 1),
];

/// Reads a whole request.
pub(super) fn read(words: &[&[u8]], abilities: Abilities) -> Act {
    let act = match *words {
        [name, _, _, ref options @ ..] if is(name, "set") => read_set(options, abilities),
        [name, _, time, _] if is(name, "setex") => setting(seconds_after(time)),
        [name, _, time, _] if is(name, "psetex") => setting(after(time)),
        [name, _, _] if is(name, "setnx") => Some(dropping(Proof::One)),
        [name, _, _] if is(name, "getset") => Some(dropping(Proof::NoError)),
        [name, _, ref options @ ..] if is(name, "getex") => read_getex(options, abilities),
        [name, _] if is(name, "persist") => Some(persisting(Proof::One)),
        [name, _, time, _, ref options @ ..] if is(name, "restore") => read_restore(time, options),
        [name, _, time, ref options @ ..] if find(&COMMANDS, name).is_some() => {
            read_expire(name, time, options, abilities)
        }
        [name, _, ..] if is(name, "del") || is(name, "unlink") => Some(Act::Removes),
        [name, ..] if is(name, "mset") => read_mset(words, Proof::Ok, true),
        [name, ..] if is(name, "msetnx") => read_mset(words, Proof::One, false),
        [name, ..] => read_keeping(name, words, words.len() as u64),
        [] => None,
    };
    act.unwrap_or(Act::Nothing)
}

/// Reads a request of which only the `leading` of `all` words are known: SET and RESTORE may or may not give an expiry.
pub(super) fn read_leading(leading: &[&[u8]], all: u64) -> Act {
    let keeps = Some(Act::Keeps { key: 1 });
    let act = match *leading {
        [name, _, ..] if is(name, "set") && all >= 3 => keeps,
        [name, _, ..] if is(name, "restore") && all >= 4 => keeps,
        [name, _, ..] if (is(name, "setnx") || is(name, "getset")) && all == 3 => keeps,
        [name, _, time, ..] if is(name, "setex") && all == 4 => setting(seconds_after(time)),
        [name, _, time, ..] if is(name, "psetex") && all == 4 => setting(after(time)),
        [name, ..] if !is(name, "copy") => read_keeping(name, leading, all),
        _ => None,
    };
    act.unwrap_or(Act::Nothing)
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

fn setting(time: Option<Time>) -> Option<Act> {
    Some(Act::Gives {
        time: time?,
        place: Place::Number,
        proof: Proof::Ok,
        is_certain: true,
    })
}

fn dropping(proof: Proof) -> Act {
    Act::Drops {
        keys: Keys::ONE,
        place: None,
        proof,
        is_certain: false,
    }
}

/// What PERSIST leaves is looked at when it is done: no matter who gave the key no expiry.
fn persisting(proof: Proof) -> Act {
    Act::Drops {
        keys: Keys::ONE,
        place: None,
        proof,
        is_certain: true,
    }
}

fn read_keeping(name: &[u8], words: &[&[u8]], all: u64) -> Option<Act> {
    let mut commands = KEEPING.iter();
    let &(command, arity, key) = commands.find(|(command, ..)| is(name, command))?;
    let options = words.get(3..).unwrap_or_default();
    // EXPIRE would look for the copy here.
    let is_elsewhere = command == "copy" && options.iter().any(|word| is(word, "db"));
    (arity.takes(all) && key < words.len() && !is_elsewhere).then_some(Act::Keeps { key })
}

fn read_mset(words: &[&[u8]], proof: Proof, is_certain: bool) -> Option<Act> {
    Arity::Odd(3)
        .takes(words.len() as u64)
        .then_some(Act::Drops {
            keys: Keys::PAIRS,
            place: None,
            proof,
            is_certain,
        })
}

/// Options of SET, behind key and value. Those that a version does not know it refuses with or without one more.
fn read_set(options: &[&[u8]], abilities: Abilities) -> Option<Act> {
    let (mut nx, mut xx, mut compares, mut get, mut keeps) = (false, false, false, false, false);
    let mut expiry = Expiry::default();
    let mut rest = options;
    while let [option, tail @ ..] = rest {
        let at = 3 + options.len() - rest.len();
        let compares_here = ["ifeq", "ifne", "ifdeq", "ifdne"]
            .iter()
            .any(|name| is(option, name));
        rest = tail;
        if let Some(read) = find(&OPTIONS, option) {
            let (time, tail) = tail.split_first()?;
            expiry.set(option, read(time)?, at, abilities)?;
            rest = tail;
        } else if compares_here {
            rest = tail.split_first()?.1;
            compares = true;
        } else {
            match option {
                _ if is(option, "nx") => nx = true,
                _ if is(option, "xx") => xx = true,
                _ if is(option, "get") => get = true,
                _ if is(option, "keepttl") => keeps = true,
                _ => return None,
            }
        }
    }
    let conditions = u8::from(nx) + u8::from(xx) + u8::from(compares);
    if conditions > 1 || (keeps && expiry.found.is_some()) {
        return None;
    }
    let proof = match (get, nx, xx) {
        (false, ..) => Proof::Ok,
        (true, true, _) => Proof::Null,
        (true, _, true) => Proof::Value,
        (true, ..) => Proof::NoError,
    };
    // With GET it may be refused for the type of what is there.
    let is_certain = conditions == 0 && !get;
    Some(match expiry.found {
        Some((time, at)) => Act::Gives {
            time,
            place: Place::Option(at),
            proof,
            is_certain,
        },
        None if keeps => Act::Keeps { key: 1 },
        None => Act::Drops {
            keys: Keys::ONE,
            place: Some(Place::Behind),
            proof,
            is_certain,
        },
    })
}

/// The expiry among the options of SET or GETEX: one kind, the last of its kind.
#[derive(Default)]
struct Expiry<'a> {
    unit: Option<&'a [u8]>,
    /// With the word of its unit.
    found: Option<(Time, usize)>,
}

impl<'a> Expiry<'a> {
    fn set(&mut self, unit: &'a [u8], time: Time, at: usize, abilities: Abilities) -> Option<()> {
        let is_other = |known: &[u8]| !known.eq_ignore_ascii_case(unit);
        let is_unknown = matches!(time, Time::At(_)) && !abilities.getex;
        if self.unit.is_some_and(is_other) || is_unknown {
            return None;
        }
        (self.unit, self.found) = (Some(unit), Some((time, at)));
        Some(())
    }
}

fn read_getex(options: &[&[u8]], abilities: Abilities) -> Option<Act> {
    if !abilities.getex {
        return None;
    }
    match options {
        [] => None,
        [option] if is(option, "persist") => Some(persisting(Proof::Value)),
        _ if options.len().is_multiple_of(2) => {
            let mut expiry = Expiry::default();
            for (index, pair) in options.chunks_exact(2).enumerate() {
                let read = find(&OPTIONS, pair[0])?;
                expiry.set(pair[0], read(pair[1])?, 2 + index * 2, abilities)?;
            }
            let (time, at) = expiry.found?;
            Some(Act::Gives {
                time,
                place: Place::Option(at),
                proof: Proof::Value,
                is_certain: false,
            })
        }
        _ => None,
    }
}

fn read_expire(name: &[u8], time: &[u8], options: &[&[u8]], abilities: Abilities) -> Option<Act> {
    if !options.is_empty() && !abilities.expire_options {
        return None;
    }
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for option in options {
        match option {
            _ if is(option, "nx") => nx = true,
            _ if is(option, "xx") => xx = true,
            _ if is(option, "gt") => gt = true,
            _ if is(option, "lt") => lt = true,
            _ => return None,
        }
    }
    if (nx && (xx || gt || lt)) || (gt && lt) {
        return None;
    }
    Some(Act::Gives {
        time: find(&COMMANDS, name)?(time)?,
        place: Place::Number,
        proof: Proof::One,
        is_certain: !xx && !gt,
    })
}

/// `RESTORE key ttl value`: 0 = no expiry, with ABSTTL too.
fn read_restore(time: &[u8], options: &[&[u8]]) -> Option<Act> {
    let (mut is_absolute, mut rest) = (false, options);
    while let [option, tail @ ..] = rest {
        let takes_word = is(option, "idletime") || is(option, "freq");
        is_absolute |= is(option, "absttl");
        rest = match tail {
            [_, tail @ ..] if takes_word => tail,
            _ if is(option, "absttl") || is(option, "replace") => tail,
            _ => return None,
        };
    }
    let (place, proof, is_certain) = (Place::Restore, Proof::Ok, false);
    if time == b"0" {
        return Some(Act::Drops {
            keys: Keys::ONE,
            place: Some(place),
            proof,
            is_certain,
        });
    }
    Some(Act::Gives {
        time: if is_absolute { at(time)? } else { after(time)? },
        place,
        proof,
        is_certain,
    })
}
