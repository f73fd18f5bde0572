//! What is known of all keys: effects are folded into it, in the order in which the server ran them.

mod apply;

use std::borrow::Cow;
use std::collections::HashMap;

use super::effect::Effect;
use super::image::{Image, Moment};

/// What is known of keys before a write.
pub trait Before {
    /// Returns it for one key; what may have ended by itself since is the caller's to take off ([`Image::at`]).
    fn image(&self, database: u32, key: &[u8]) -> Cow<'_, Image>;
}

/// One database.
#[derive(Clone, Debug, Default)]
struct Database {
    keys: HashMap<Vec<u8>, Image>,
    /// Of the keys that are not listed; `None` = what is known of the whole server.
    rest: Option<Image>,
}

/// Keys by database, as far as they are known.
#[derive(Clone, Debug)]
pub struct Keyspace {
    databases: HashMap<u32, Database>,
    /// Of the keys that are listed nowhere; `None` = ask what lies below this.
    rest: Option<Image>,
}

impl Keyspace {
    /// A server that is known to be empty.
    pub fn empty() -> Self {
        Self {
            databases: HashMap::new(),
            rest: Some(Image::Absent),
        }
    }

    /// A server of which nothing is known.
    pub fn unknown() -> Self {
        Self {
            rest: Some(Image::UNKNOWN),
            ..Self::empty()
        }
    }

    /// What is to lie above another one: it knows only what it is told.
    pub(super) fn above() -> Self {
        Self {
            rest: None,
            ..Self::empty()
        }
    }

    /// Finds what is known of a key, if this is the place to ask.
    pub(super) fn find(&self, database: u32, key: &[u8]) -> Option<&Image> {
        let database = self.databases.get(&database);
        let listed = database.and_then(|database| database.keys.get(key));
        listed
            .or_else(|| database?.rest.as_ref())
            .or(self.rest.as_ref())
    }

    /// Returns the keys about which something has been learnt, in no order.
    pub fn keys(&self) -> impl Iterator<Item = (u32, &[u8], &Image)> {
        self.databases.iter().flat_map(|(&index, database)| {
            let keys = database.keys.iter();
            keys.map(move |(key, image)| (index, key.as_slice(), image))
        })
    }

    /// Writes down what is known of a key, from whatever source: a read, say.
    pub fn learn(&mut self, database: u32, key: &[u8], image: Image) {
        let database = self.databases.entry(database).or_default();
        database.keys.insert(key.to_vec(), image);
    }

    /// Forgets a key: a stranger has written it, or there is no room. Where all keys that are not listed were known to be
    /// absent, that is forgotten, too.
    pub fn forget(&mut self, database: u32, key: &[u8]) {
        let database = self.databases.entry(database).or_default();
        database.keys.remove(key);
        database.rest = Some(Image::UNKNOWN);
    }

    /// Folds an effect in; `moment` is that of its write.
    pub fn apply(&mut self, effect: &Effect, moment: Moment) {
        match effect {
            Effect::Key(effect) => {
                self.image_mut(effect.database, &effect.key)
                    .apply(effect, moment);
            }
            Effect::Flushed { database: None } => *self = Self::empty(),
            Effect::Flushed {
                database: Some(index),
            } => {
                let database = self.databases.entry(*index).or_default();
                database.keys.clear();
                database.rest = Some(Image::Absent);
            }
            Effect::Swapped(one, other) => self.swap(*one, *other),
            Effect::Anything => *self = Self::unknown(),
        }
    }

    /// Returns the place for what is known of a key.
    fn image_mut(&mut self, database: u32, key: &[u8]) -> &mut Image {
        let database = self.databases.entry(database).or_default();
        let rest = database.rest.as_ref().or(self.rest.as_ref());
        let image = database.keys.entry(key.to_vec());
        image.or_insert_with(|| rest.cloned().unwrap_or(Image::UNKNOWN))
    }

    /// What lies below this, if something does, has to be asked for the other database from now on.
    fn swap(&mut self, one: u32, other: u32) {
        let first = self.databases.remove(&one).unwrap_or_default();
        let second = self.databases.remove(&other).unwrap_or_default();
        self.databases.insert(one, second);
        self.databases.insert(other, first);
    }
}

impl Before for Keyspace {
    fn image(&self, database: u32, key: &[u8]) -> Cow<'_, Image> {
        match self.find(database, key) {
            Some(image) => Cow::Borrowed(image),
            None => Cow::Owned(Image::UNKNOWN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::image::{Deadline, Parts, Value};

    #[test]
    fn what_is_forgotten_is_not_absent() {
        let mut known = Keyspace::empty();
        known.learn(0, b"k", Image::Absent);
        known.forget(0, b"k");
        assert_eq!(*known.image(0, b"k"), Image::UNKNOWN);
        assert_eq!(*known.image(0, b"other"), Image::UNKNOWN);
        assert_eq!(*known.image(1, b"k"), Image::Absent);
    }

    #[test]
    fn what_is_learnt_is_listed() {
        let mut known = Keyspace::unknown();
        let image = Image::There(Parts {
            value: Value::String(b"v".to_vec()),
            deadline: Deadline::Never,
        });
        known.learn(2, b"k", image.clone());
        let listed: Vec<_> = known.keys().collect();
        assert_eq!(listed, [(2, &b"k"[..], &image)]);
        assert!(image.whole().is_some());
    }
}
