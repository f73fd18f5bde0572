//! Writes that were acknowledged while requests were held, to be put back when there is a primary: pure.
//!
//! Only a write whose reply is known and whose effect does not depend on what others do meanwhile is acknowledged: a SET, a DEL
//! of keys that live, an EXPIRE of one. What a key has come to is kept as two components with stamps of their own, a whole value
//! or a delete, and a deadline given since ([`super::record`]), so that repair joins them with what everybody else has.
//!
//! REPAIR.md, "Answers while holding": a stamp is the instant of the answer here.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::command::time::{COMMANDS, OPTIONS, Time, after, find, seconds_after};
use crate::journal::Micros;
use crate::resp::encode;

use super::fold::{Counts, Own};
use super::key::{Content, Deadline, Whole};
use super::record::{Base, Component, Record, Touch};
use super::stamp::{Clock, Moment, Stamp};

/// A key of a database.
type KeyId = (u32, Bytes);

/// A write that may be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write<'a> {
    /// The key has this value from now on.
    Set {
        /// Key name.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
        /// When it is to end.
        time: Option<Time>,
    },
    /// These keys are gone.
    Delete(Vec<&'a [u8]>),
    /// The key ends then.
    Expire(&'a [u8], Time),
}

impl<'a> Write<'a> {
    /// Reads a request's words; `None` for one that can't be acknowledged, whatever is known.
    pub fn read(words: &[&'a [u8]]) -> Option<Self> {
        let (&name, arguments) = words.split_first()?;
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let set = |key, value, time| Self::Set { key, value, time };
        match *arguments {
            [key, value] if is("set") => Some(set(key, value, None)),
            [key, value, unit, time] if is("set") => {
                Some(set(key, value, Some(find(&OPTIONS, unit)?(time)?)))
            }
            [key, time, value] if is("setex") => Some(set(key, value, Some(seconds_after(time)?))),
            [key, time, value] if is("psetex") => Some(set(key, value, Some(after(time)?))),
            [_, ..] if is("del") || is("unlink") => Some(Self::Delete(arguments.to_vec())),
            [key, time] => Some(Self::Expire(key, find(&COMMANDS, name)?(time)?)),
            _ => None,
        }
    }

    /// Returns its keys.
    pub fn keys(&self) -> &[&'a [u8]] {
        match self {
            Self::Set { key, .. } | Self::Expire(key, _) => std::slice::from_ref(key),
            Self::Delete(keys) => keys,
        }
    }

    fn bytes(&self) -> usize {
        let value = match self {
            Self::Set { value, .. } => value.len(),
            Self::Delete(_) | Self::Expire(..) => 0,
        };
        value + self.keys().iter().map(|key| key.len()).sum::<usize>()
    }
}

/// Answers writes that follow each other, by what is known of their keys: `lives` tells whether a key exists, `None` where that is
/// not known. `None` where an answer is not known: EXPIRE is not told that there is nothing.
pub fn replies<'a>(
    writes: &[Write<'a>],
    mut lives: impl FnMut(&'a [u8]) -> Option<bool>,
) -> Option<Vec<Vec<u8>>> {
    let mut since: BTreeMap<&[u8], bool> = BTreeMap::new();
    let mut replies = Vec::new();
    for write in writes {
        let mut is_known = |key: &'a [u8]| match since.get(key) {
            Some(lives) => Some(*lives),
            None => lives(key),
        };
        replies.push(match write {
            Write::Set { key, .. } => {
                since.insert(key, true);
                b"+OK\r\n".to_vec()
            }
            Write::Delete(keys) => {
                let mut names = keys.clone();
                names.sort_unstable();
                names.dedup();
                let mut gone = 0;
                for key in names {
                    gone += usize::from(is_known(key)?);
                }
                since.extend(keys.iter().map(|key| (*key, false)));
                format!(":{gone}\r\n").into_bytes()
            }
            Write::Expire(key, _) if is_known(key) == Some(true) => b":1\r\n".to_vec(),
            Write::Expire(..) => return None,
        });
    }
    Some(replies)
}

/// What a key was set to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Left {
    Value(Bytes, Option<Time>),
    Nothing,
}

/// What acknowledged writes have left of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    base: Option<(Left, Micros)>,
    touch: Option<(Time, Micros)>,
    /// The value that it was given a deadline with, as the cache had it: to be shown, not to be put back.
    seen: Option<Bytes>,
    /// How many there were.
    writes: u32,
}

impl Image {
    /// Returns when the last of them was acknowledged.
    pub fn last(&self) -> Micros {
        let base = self.base.as_ref().map(|(_, at)| *at);
        base.max(self.touch.map(|(_, at)| at)).unwrap_or_default()
    }

    fn oldest(&self) -> Option<Micros> {
        let base = self.base.as_ref().map(|(_, at)| *at);
        base.into_iter().chain(self.touch.map(|(_, at)| at)).min()
    }

    fn bytes(&self) -> usize {
        let value = match &self.base {
            Some((Left::Value(value, _), _)) => value.len(),
            _ => 0,
        };
        value + self.seen.as_ref().map_or(0, Bytes::len)
    }

    /// Tells whether the key is known to exist; `None` where these writes do not say. `now` is the time by the boot clock, `wall`
    /// in Unix milliseconds.
    fn exists(&self, now: Micros, wall: i64) -> Option<bool> {
        let (time, at) = match (&self.base, self.touch) {
            (Some((Left::Nothing, _)), _) => return Some(false),
            (_, Some((time, at))) => (time, at),
            (Some((Left::Value(_, Some(time)), at)), None) => (*time, *at),
            (Some((Left::Value(_, None), _)), None) => return Some(true),
            (None, None) => return None,
        };
        Some(match time {
            Time::After(ttl) => now.saturating_sub(at) / 1000 < ttl.unsigned_abs(),
            Time::At(deadline) => wall < deadline,
        })
    }

    /// Returns the request that leaves the key so, and its reply, for the journal; `None` while the clock is not known.
    pub fn journalled(&self, key: &[u8], clock: &Clock) -> Option<(Vec<u8>, &'static [u8])> {
        let record = self.record(clock)?;
        let mut out = Vec::new();
        let touched = record.touch.and_then(|own| own.write.deadline);
        let reply: &[u8] = match record.base.map(|own| own.write) {
            Some(Base::Value(Whole {
                content: Content::String(value),
                deadline,
            })) => {
                set(&mut out, key, &value, touched.or(deadline));
                b"+OK\r\n"
            }
            Some(_) => {
                encode::request(&mut out, &[b"DEL", key]);
                b":1\r\n"
            }
            None => {
                let at = touched?.to_string();
                encode::request(&mut out, &[b"PEXPIREAT", key, at.as_bytes()]);
                b":1\r\n"
            }
        };
        Some((out, reply))
    }

    /// Makes what repair compares with the new primary, by that one's clock; `None` while that is not known.
    pub fn record(&self, clock: &Clock) -> Option<Record<Bytes>> {
        let stamp = |at: Micros| clock.stamp(Moment(at as i64));
        let base = match &self.base {
            None => None,
            Some((left, at)) => {
                let stamp = stamp(*at)?;
                let write = match left {
                    Left::Nothing => Base::Delete,
                    Left::Value(value, time) => Base::Value(Whole {
                        content: Content::String(value.clone()),
                        deadline: time.map(|time| deadline(time, stamp)),
                    }),
                };
                Some(component(stamp, write))
            }
        };
        let touch = match self.touch {
            None => None,
            Some((time, at)) => {
                let stamp = stamp(at)?;
                let touch = Touch {
                    deadline: Some(deadline(time, stamp)),
                    only_extends: false,
                };
                Some(component(stamp, touch))
            }
        };
        Some(Record {
            base,
            touch,
            ..Record::default()
        })
    }
}

fn component<T>(stamp: Stamp, write: T) -> Component<T> {
    Component {
        stamp,
        is_inherited: false,
        write,
    }
}

/// Returns when a key ends that was given this time then, in Unix milliseconds by the server's clock.
fn deadline(time: Time, stamp: Stamp) -> i64 {
    match time {
        Time::At(at) => at,
        Time::After(ttl) => stamp.millis().saturating_add(ttl),
    }
}

/// All that was acknowledged and is not put back yet.
#[derive(Debug, Default)]
pub struct Acknowledged {
    by_key: BTreeMap<KeyId, Image>,
    bytes: usize,
}

impl Acknowledged {
    /// Tells whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Returns how many writes there are.
    pub fn writes(&self) -> u64 {
        let all = self.by_key.values();
        all.map(|image| u64::from(image.writes)).sum()
    }

    /// Returns how many writes of a key there are; `None` where there is nothing of it.
    pub fn writes_of(&self, id: &KeyId) -> Option<u32> {
        self.by_key.get(id).map(|image| image.writes)
    }

    /// Returns when the first of what is still to be put back was acknowledged.
    pub fn oldest(&self) -> Option<Micros> {
        self.by_key.values().filter_map(Image::oldest).min()
    }

    /// Tells whether there is anything of a key.
    pub fn holds(&self, database: u32, key: &[u8]) -> bool {
        !self.is_empty() && self.by_key.contains_key(&(database, key.to_vec().into()))
    }

    /// Tells whether there is room for these.
    pub fn has_room(&self, writes: &[Write<'_>], count_max: usize, bytes_max: usize) -> bool {
        let keys: usize = writes.iter().map(|write| write.keys().len()).sum();
        let bytes: usize = writes.iter().map(Write::bytes).sum();
        self.by_key.len() + keys <= count_max && self.bytes + bytes <= bytes_max
    }

    /// Adds a write that is acknowledged at this instant.
    pub fn add(&mut self, database: u32, write: &Write<'_>, at: Micros) {
        for key in write.keys() {
            let id = (database, Bytes::copy_from_slice(key));
            let old = self.remove(&id);
            let writes = old.as_ref().map_or(0, |old| old.writes) + 1;
            let base = |left| Image {
                base: Some((left, at)),
                touch: None,
                seen: None,
                writes,
            };
            let image = match *write {
                Write::Set { value, time, .. } => {
                    base(Left::Value(Bytes::copy_from_slice(value), time))
                }
                Write::Delete(_) => base(Left::Nothing),
                Write::Expire(_, time) => Image {
                    touch: Some((time, at)),
                    writes,
                    ..old.unwrap_or_default()
                },
            };
            self.bytes += id.1.len() + image.bytes();
            self.by_key.insert(id, image);
        }
    }

    /// The cache had this value of a key that was just given a deadline.
    pub fn note_seen(&mut self, database: u32, key: &[u8], value: Bytes) {
        let id = (database, Bytes::copy_from_slice(key));
        if let Some(image) = self.by_key.get_mut(&id)
            && image.base.is_none()
            && image.seen.is_none()
        {
            self.bytes += value.len();
            image.seen = Some(value);
        }
    }

    /// Takes a key out: it was put back, or another has written later.
    pub fn remove(&mut self, id: &KeyId) -> Option<Image> {
        let image = self.by_key.remove(id)?;
        self.bytes -= id.1.len() + image.bytes();
        Some(image)
    }

    /// Tells whether a key is known to exist; `None` where nothing here says.
    pub fn exists(&self, database: u32, key: &[u8], now: Micros, wall: i64) -> Option<bool> {
        if self.is_empty() {
            return None;
        }
        let image = self.by_key.get(&(database, key.to_vec().into()))?;
        image.exists(now, wall)
    }

    /// Tells whether a key was deleted last.
    pub fn is_deleted(&self, database: u32, key: &[u8]) -> bool {
        let image = self.by_key.get(&(database, key.to_vec().into()));
        image.is_some_and(|image| matches!(image.base, Some((Left::Nothing, _))))
    }

    /// Tells whether a key was given a deadline, and nothing else.
    pub fn is_touched(&self, database: u32, key: &[u8]) -> bool {
        let image = self.by_key.get(&(database, key.to_vec().into()));
        image.is_some_and(|image| image.base.is_none())
    }

    /// Returns a value that a client may be shown.
    pub fn value(&self, database: u32, key: &[u8], now: Micros, wall: i64) -> Option<&[u8]> {
        let image = self.by_key.get(&(database, key.to_vec().into()))?;
        match &image.base {
            Some((Left::Value(value, _), _)) if image.exists(now, wall)? => Some(value),
            None if image.exists(now, wall)? => image.seen.as_deref(),
            _ => None,
        }
    }

    /// Returns what is to be put back, by the new primary's clock; nothing while that is not known.
    pub fn owns(&self, clock: &Clock) -> Vec<Own> {
        let all = self.by_key.iter();
        all.filter_map(|((database, key), image)| {
            Some(Own {
                database: *database,
                key: key.clone(),
                record: image.record(clock)?,
                is_known: true,
                counts: Counts {
                    at_risk: image.writes,
                    inherited: 0,
                },
            })
        })
        .collect()
    }

    /// Returns all, each key as a request that does the same on a server where nothing can be compared.
    pub fn plain(&self, now: Micros) -> Vec<(KeyId, Vec<u8>)> {
        let all = self.by_key.iter();
        all.map(|(id, image)| (id.clone(), plain(&id.1, image, now)))
            .collect()
    }
}

/// Adds what was acknowledged while requests were held to what was known of the key before.
pub fn merge(own: &mut Own, newer: Own) {
    own.counts.at_risk += newer.counts.at_risk;
    let Record { base, touch, .. } = newer.record;
    if base.is_some() {
        own.is_known = true;
        own.record = Record {
            base,
            ..Record::default()
        };
    }
    if touch.is_some() {
        own.record.touch = touch;
    }
}

fn set(out: &mut Vec<u8>, key: &[u8], value: &[u8], deadline: Deadline) {
    match deadline {
        None => encode::request(out, &[b"SET", key, value]),
        Some(at) => {
            let at = at.to_string();
            encode::request(out, &[b"SET", key, value, b"PXAT", at.as_bytes()]);
        }
    }
}

/// What is left of a time, as EXPIRE takes it, at least 1: the command, the option of SET, and the number.
fn left(time: Time, at: Micros, now: Micros) -> (&'static str, &'static str, String) {
    match time {
        Time::At(deadline) => ("PEXPIREAT", "PXAT", deadline.to_string()),
        Time::After(ttl) => {
            let gone = (now.saturating_sub(at) / 1000) as i64;
            let left = ttl.saturating_sub(gone).max(1);
            ("PEXPIRE", "PX", left.to_string())
        }
    }
}

fn plain(key: &[u8], image: &Image, now: Micros) -> Vec<u8> {
    let mut out = Vec::new();
    let touch = image.touch.map(|(time, at)| left(time, at, now));
    match (&image.base, touch) {
        (Some((Left::Nothing, _)), _) => encode::request(&mut out, &[b"DEL", key]),
        (Some((Left::Value(value, time), at)), touch) => {
            let expiry = touch.or(time.map(|time| left(time, *at, now)));
            match expiry {
                None => encode::request(&mut out, &[b"SET", key, value]),
                Some((_, option, number)) => {
                    let words = [b"SET", key, value, option.as_bytes(), number.as_bytes()];
                    encode::request(&mut out, &words);
                }
            }
        }
        (None, Some((command, _, number))) => {
            encode::request(&mut out, &[command.as_bytes(), key, number.as_bytes()]);
        }
        (None, None) => {}
    }
    out
}

#[cfg(test)]
mod tests;
