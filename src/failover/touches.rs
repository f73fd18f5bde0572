//! Touches that were answered while requests were held, to be applied when there is a primary: a deadline for each key, the
//! latest that was asked for.
//!
//! A touch is only ever applied where it extends: it creates nothing, shortens nothing, and gives no deadline to a key that
//! has none. So it does no harm if the session was logged out, or touched by somebody else, meanwhile. A touch to an earlier
//! deadline than one that was answered before is none: it waits, and shortens what that one has extended. And what was
//! written after a touch has the deadline that its writer wanted, so that the touch is [forgotten](Touches::forget).
//!
//! Source: redis `src/expire.c`, `expireGenericCommand` (GT: a key without deadline counts as infinitely late).

use std::collections::BTreeMap;

use crate::resp::encode;

/// What extends a deadline on servers whose PEXPIREAT has no GT (before 7.0). They replicate the effect, so TIME may stand
/// before a write.
const SCRIPT: &[u8] = b"local left = redis.call('PTTL', KEYS[1]) \
    local now = redis.call('TIME') \
    local at = now[1] * 1000 + math.floor(now[2] / 1000) \
    if left >= 0 and at + left < tonumber(ARGV[1]) then return redis.call('PEXPIREAT', KEYS[1], ARGV[1]) end \
    return 0";

/// A touch to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Database.
    pub database: u32,
    /// Key name.
    pub key: Box<[u8]>,
    /// The deadline asked for, in milliseconds since 1970 by the server's clock.
    pub at: i64,
}

impl Touch {
    /// Writes the request that applies it; `has_gt` says whether the server's PEXPIREAT can be told to extend only.
    pub fn request(&self, has_gt: bool) -> Vec<u8> {
        let at = self.at.to_string();
        let mut out = Vec::new();
        match has_gt {
            true => encode::request(
                &mut out,
                &[&b"PEXPIREAT"[..], &self.key, at.as_bytes(), b"GT"],
            ),
            false => encode::request(
                &mut out,
                &[&b"EVAL"[..], SCRIPT, b"1", &self.key, at.as_bytes()],
            ),
        }
        out
    }
}

/// The touches that are still to be applied.
#[derive(Debug, Default)]
pub struct Touches {
    by_key: BTreeMap<(u32, Box<[u8]>), i64>,
    bytes: usize,
}

impl Touches {
    /// Adds a touch; false when it was not added: there is no room for it, or a later deadline was answered for its key, and
    /// stays.
    pub fn add(&mut self, touch: Touch, count_max: usize, bytes_max: usize) -> bool {
        let Touch { database, key, at } = touch;
        let length = key.len();
        if let Some(known) = self.by_key.get_mut(&(database, key.clone())) {
            let is_later = *known <= at;
            *known = (*known).max(at);
            return is_later;
        }
        if self.by_key.len() >= count_max || self.bytes + length > bytes_max {
            return false;
        }
        self.bytes += length;
        self.by_key.insert((database, key), at);
        true
    }

    /// A write of the key is sent: what was touched before is its writer's now.
    pub fn forget(&mut self, database: u32, key: &[u8]) {
        // Hardly ever is there anything.
        if !self.by_key.is_empty() && self.by_key.remove(&(database, key.into())).is_some() {
            self.bytes -= key.len();
        }
    }

    /// Takes all of them.
    pub fn take(&mut self) -> Vec<Touch> {
        self.bytes = 0;
        std::mem::take(&mut self.by_key)
            .into_iter()
            .map(|((database, key), at)| Touch { database, key, at })
            .collect()
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::resp::request_bytes;

    fn touch(key: &str, at: i64) -> Touch {
        Touch {
            database: 0,
            key: key.as_bytes().into(),
            at,
        }
    }

    #[test]
    fn the_latest_deadline_of_each_key_is_kept_within_bounds() {
        let mut touches = Touches::default();
        assert!(touches.add(touch("a", 5), 2, 100));
        assert!(touches.add(touch("a", 9), 2, 100));
        assert!(touches.add(touch("a", 9), 2, 100), "the same again");
        assert!(!touches.add(touch("a", 7), 2, 100), "it would shorten");
        assert!(touches.add(touch("b", 1), 2, 100));
        assert!(!touches.add(touch("c", 1), 2, 100), "too many");
        assert!(!touches.add(touch("c", 1), 9, 2), "too large");
        assert!(touches.add(touch("b", 3), 2, 100), "known");
        assert_eq!(touches.take(), [touch("a", 9), touch("b", 3)]);
        assert!(touches.is_empty() && touches.add(touch("c", 1), 1, 1));
    }

    #[test]
    fn what_was_written_since_is_not_touched() {
        let mut touches = Touches::default();
        touches.forget(0, b"a");
        touches.add(touch("a", 5), 1, 1);
        touches.forget(1, b"a");
        touches.forget(0, b"b");
        assert_eq!(touches.len(), 1);
        touches.forget(0, b"a");
        assert!(touches.is_empty());
        assert!(touches.add(touch("b", 5), 1, 1), "there is room again");
        let other = Touch {
            database: 1,
            ..touch("b", 1)
        };
        assert!(touches.add(other.clone(), 2, 2), "another database");
        assert_eq!(touches.take(), [touch("b", 5), other]);
    }

    #[test]
    fn it_only_ever_extends() {
        let request = touch("a", 9).request(true);
        assert_eq!(request, request_bytes(&["PEXPIREAT", "a", "9", "GT"]));
        let request = touch("a", 9).request(false);
        let script = std::str::from_utf8(SCRIPT).unwrap();
        assert_eq!(request, request_bytes(&["EVAL", script, "1", "a", "9"]));
    }

    proptest! {
        /// A plain map with sums tells the same.
        #[test]
        fn the_same_as_a_plain_map(
            steps in proptest::collection::vec((0u8..12, 0u32..2, "[ab]{0,3}", 0i64..50), 0..80),
            count_max in 0usize..6,
            bytes_max in 0usize..12,
        ) {
            let mut touches = Touches::default();
            let mut map: HashMap<(u32, String), i64> = HashMap::new();
            for (kind, database, key, at) in steps {
                let id = (database, key.clone());
                match kind {
                    0 => {
                        let mut expected: Vec<_> = map.drain().collect();
                        expected.sort();
                        let shown = |touch: Touch| {
                            let key = String::from_utf8(touch.key.into()).unwrap();
                            ((touch.database, key), touch.at)
                        };
                        let taken: Vec<_> = touches.take().into_iter().map(shown).collect();
                        prop_assert_eq!(taken, expected);
                    }
                    1 | 2 => {
                        touches.forget(database, key.as_bytes());
                        map.remove(&id);
                    }
                    _ => {
                        let bytes: usize = map.keys().map(|(_, key)| key.len()).sum();
                        let fits = map.len() < count_max && bytes + key.len() <= bytes_max;
                        let known = map.get(&id).copied();
                        let expected = known.map_or(fits, |known| known <= at);
                        let new = Touch { database, ..touch(&key, at) };
                        prop_assert_eq!(touches.add(new, count_max, bytes_max), expected);
                        if expected {
                            map.insert(id, at);
                        }
                    }
                }
                prop_assert_eq!(touches.len(), map.len());
                prop_assert_eq!(touches.bytes, map.keys().map(|(_, key)| key.len()).sum::<usize>());
            }
        }
    }
}
