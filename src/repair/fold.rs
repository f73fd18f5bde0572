//! The fold: from remembered writes to what can be put back of each key.
//!
//! Records of the ring go in, in the order in which they were acknowledged; [`Record`]s of keys come out, for
//! [`decide`](super::decide). It can be fed in slices: what is known of one key is in one place, and each record is read once.
//!
//! # What counts as known
//! Only what a write's own words and reply prove, and what a look behind it has shown
//! ([`proven_effects`]). What our own earlier writes left is no proof: another sidecar may have written since. So a write that
//! keeps something which it does not show (SET … KEEPTTL the deadline, APPEND the string, HINCRBY the deadline of a field)
//! leaves its key *blind*, and so does one whose effect nobody works out (LPUSH, EVAL).
//!
//! | a look behind the newest write to the key | makes of it |
//! |---|---|
//! | `PTTL`, the value is known | a whole value |
//! | `DUMP` and `PTTL` | a whole value, as the payload |
//! | `HLEN` of as many fields as were set last, which is blind, and `PTTL` | a whole value |
//! | any that finds no key, which is blind | a delete |
//! | `HLEN` of as many fields as were set last, all new, and `PTTL` | a whole value of just before the oldest of them, or of the base's stamp; the fields stay |
//!
//! Those *set last* went out together, in one packet: of what was set before that others may have removed some, and put
//! others there. *All new*: the replies (HSET, HSETNX, HDEL) count them, so nothing was there before. Fields that were there
//! make no whole value, though they be all: that would supersede what another sidecar wrote where this one did not look, locally
//! or on the next primary (`super::explore` finds it). HMSET does not count. Its fields are taken for new where the key has no deadline, as
//! one has that was just made (explored, too), or was given one in the same packet. That mistakes a hash without a deadline, or one
//! whose fields and deadline are written anew together; else no login by HMSET and EXPIRE in one transaction would come back.
//!
//! A look counts only if it was dispatched no earlier than every write of ours to the key: one that stood behind a write on one
//! link may have run before a later write on another.
//!
//! A blind key is not put back, and its writes at risk are lost. But if the new primary has inherited the write that made it
//! blind, what was written on top can be put back.
//!
//! Deadlines of single fields come back only as part of a payload. And where HDEL took the last field and HSET made the key
//! anew, only a look tells that it has lost its deadline.
//!
//! # Stamps
//! Those of one key rise in the order of the fold, whatever order the dispatches had: one sidecar's writes to a key are one
//! sequence.

mod counted;
mod key;
mod known;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::record::Record;
use super::stamp::Stamp;
use crate::command::table::Table;
use crate::journal::{Change, Effect, KeyEffect, Moment, proven_effects, ring};
use key::Key;

/// When the writes of one record of the ring were sent, and what the new primary has of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The instant, by the new primary's clock.
    pub stamp: Stamp,
    /// How far the old primary's clock may have been off that when it ran them, in milliseconds.
    pub doubt_ms: i64,
    /// The new primary is known to have had them when it was promoted.
    pub is_inherited: bool,
    /// Not every replica was known to have them when the primary was lost.
    pub is_at_risk: bool,
}

/// Writes that were at risk when the primary was lost. A write to several keys counts for each; a transaction is one write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that the new primary may lack.
    pub at_risk: u32,
    /// Those that it turned out to have.
    pub inherited: u32,
}

impl Counts {
    fn count(&mut self, dispatch: &Dispatch) {
        match (dispatch.is_at_risk, dispatch.is_inherited) {
            (true, false) => self.at_risk += 1,
            (true, true) => self.inherited += 1,
            (false, _) => {}
        }
    }

    fn add(&mut self, other: Self) {
        self.at_risk += other.at_risk;
        self.inherited += other.inherited;
    }
}

/// What this sidecar has of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Its database.
    pub database: u32,
    /// The key.
    pub key: Bytes,
    /// What can be put back; nothing of a key that is blind.
    pub record: Record<Bytes>,
    /// Whether `record` is all that was written; if not, the writes at risk are lost.
    pub is_known: bool,
    /// Its writes.
    pub counts: Counts,
}

/// A flush of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flush {
    /// Newer than every write to the database before it.
    pub stamp: Stamp,
    /// The new primary has it.
    pub is_inherited: bool,
}

/// What all records came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// The keys, in no order.
    pub owns: Vec<Own>,
    /// The newest flush of each database; by `None`, of all of them.
    pub flushes: BTreeMap<Option<u32>, Flush>,
    /// Writes to keys that such a flush took away since: superseded.
    pub flushed: Counts,
    /// Writes without keys of their own: flushes, SWAPDB, and what may have written anything. Nobody can tell what of them is
    /// there, but for flushes.
    pub keyless: Counts,
}

/// A database.
#[derive(Debug, Default)]
struct Database {
    keys: HashMap<Bytes, Key>,
    /// The newest flush: stamps of what is written later are newer.
    flushed: Option<Stamp>,
}

/// One write on its way in.
#[derive(Clone, Copy, Debug)]
struct Step {
    dispatch: Dispatch,
    moment: Moment,
    /// Its number.
    number: u64,
}

/// What has been folded so far.
#[derive(Debug, Default)]
pub struct Fold {
    databases: BTreeMap<u32, Database>,
    writes: u64,
    flushes: BTreeMap<Option<u32>, Flush>,
    flushed: Counts,
    keyless: Counts,
}

impl Fold {
    /// Begins with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Folds the next record in.
    pub fn add(&mut self, table: &Table, record: &ring::Record<'_>, dispatch: Dispatch) {
        let moment = Moment {
            at: dispatch.stamp.millis(),
            doubt: dispatch.doubt_ms,
        };
        proven_effects(table, record, moment, |effects| {
            self.writes += 1;
            let step = Step {
                dispatch,
                moment,
                number: self.writes,
            };
            self.fold(effects, &step);
        });
    }

    /// Folds what one write left.
    fn fold(&mut self, effects: Vec<Effect>, step: &Step) {
        let is_keyless = |effect: &Effect| !matches!(effect, Effect::Key(_));
        if effects.iter().any(is_keyless) {
            self.keyless.count(&step.dispatch);
        }
        for effect in effects {
            match effect {
                Effect::Key(effect) => self.key(effect, step),
                Effect::Flushed { database } => self.flush(database, step),
                Effect::Swapped(one, other) => self.swap([one, other], step),
                // Like a stranger's write, which leaves no record either.
                Effect::Anything => {}
            }
        }
    }

    fn key(&mut self, effect: KeyEffect, step: &Step) {
        let database = match self.databases.get_mut(&effect.database) {
            Some(database) => database,
            None => self.open(effect.database),
        };
        let known = database.keys.get_mut(&effect.key[..]);
        if let Change::Seen(seen) = effect.change {
            if let Some(key) = known {
                key.look(seen, effect.was, step);
            }
            return;
        }
        let flushed = database.flushed;
        let key = match known {
            Some(key) => key,
            None => database
                .keys
                .entry(effect.key.into())
                .or_insert_with(|| Key::after(flushed)),
        };
        key.write(effect.change, effect.was, effect.growth, step);
    }

    fn open(&mut self, database: u32) -> &mut Database {
        let flushed = self.flushes.get(&None).map(|flush| flush.stamp);
        self.databases.entry(database).or_insert_with(|| Database {
            flushed,
            ..Database::default()
        })
    }

    fn flush(&mut self, database: Option<u32>, step: &Step) {
        match database {
            Some(index) => drop(self.open(index)),
            None => drop(self.flushes.split_off(&Some(0))),
        }
        let mut newest = self.flushes.get(&None).map(|flush| flush.stamp);
        let all = self.databases.iter_mut();
        let hit = all.filter(|(index, _)| database.is_none_or(|database| database == **index));
        let hit: Vec<&mut Database> = hit.map(|(_, database)| database).collect();
        for database in &hit {
            let stamps = database.keys.values().filter_map(Key::last);
            newest = newest.max(stamps.max()).max(database.flushed);
        }
        let stamp = newest.map(Stamp::next).max(Some(step.dispatch.stamp));
        let stamp = stamp.unwrap_or(step.dispatch.stamp);
        for database in hit {
            let keys = std::mem::take(&mut database.keys);
            keys.values().for_each(|key| self.flushed.add(key.counts));
            database.flushed = Some(stamp);
        }
        let flush = Flush {
            stamp,
            is_inherited: step.dispatch.is_inherited,
        };
        self.flushes.insert(database, flush);
    }

    /// Databases have changed places, with all that others have written in them.
    fn swap(&mut self, databases: [u32; 2], step: &Step) {
        let all = self.databases.iter_mut();
        let hit = all.filter(|(index, _)| databases.contains(index));
        for (_, database) in hit {
            let keys = database.keys.values_mut();
            keys.for_each(|key| key.void(step));
        }
    }

    /// Returns what it all came to.
    pub fn finish(self) -> Folded {
        let mut owns = Vec::new();
        for (database, held) in self.databases {
            let keys = held.keys.into_iter();
            owns.extend(keys.map(|(name, key)| key.finish(database, name)));
        }
        Folded {
            owns,
            flushes: self.flushes,
            flushed: self.flushed,
            keyless: self.keyless,
        }
    }
}

#[cfg(test)]
mod tests;
