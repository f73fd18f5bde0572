//! Touches that were answered while requests were held, to be applied when there is a primary: a deadline for each key, the
//! latest that was asked for.
//!
//! A touch is only ever applied where it extends: it creates nothing, shortens nothing, and gives no deadline to a key that
//! has none. So it does no harm if the session was logged out, or touched by somebody else, meanwhile.

use std::collections::BTreeMap;

use crate::resp::encode;

/// What extends a deadline on servers whose PEXPIREAT has no GT (before 7.0).
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
    /// Adds a touch; false when there is no room for it, and it was not added.
    pub fn add(&mut self, touch: Touch, count_max: usize, bytes_max: usize) -> bool {
        let Touch { database, key, at } = touch;
        let length = key.len();
        if let Some(known) = self.by_key.get_mut(&(database, key.clone())) {
            *known = (*known).max(at);
            return true;
        }
        if self.by_key.len() >= count_max || self.bytes + length > bytes_max {
            return false;
        }
        self.bytes += length;
        self.by_key.insert((database, key), at);
        true
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
        assert!(touches.add(touch("a", 7), 2, 100));
        assert!(touches.add(touch("b", 1), 2, 100));
        assert!(!touches.add(touch("c", 1), 2, 100), "too many");
        assert!(!touches.add(touch("c", 1), 9, 2), "too large");
        assert!(touches.add(touch("b", 3), 2, 100), "known");
        assert_eq!(touches.take(), [touch("a", 9), touch("b", 3)]);
        assert!(touches.is_empty() && touches.add(touch("c", 1), 1, 1));
    }

    #[test]
    fn it_only_ever_extends() {
        let request = touch("a", 9).request(true);
        assert_eq!(request, request_bytes(&["PEXPIREAT", "a", "9", "GT"]));
        let request = String::from_utf8(touch("a", 9).request(false)).unwrap();
        assert!(request.contains("left >= 0 and at + left < tonumber(ARGV[1])"));
    }
}
