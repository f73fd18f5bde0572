//! Sessions of the cache, put back on a primary that has lost all data: it was restarted empty, or an empty replica was promoted.
//!
//! What the cache may serve when trouble began was on the primary then: had it been changed, deleted or flushed, the server had
//! announced that. So its absence is explained by the loss alone, but for its own deadline. It is put back as of when it was
//! read, so that whatever anybody has written since wins.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::cache::entry::{Kept, Millis};
use crate::command::table::CachedRead;
use crate::repair::fold::{Counts, Own};
use crate::repair::key::{Content, Whole};
use crate::repair::record::{Base, Component, Record};
use crate::repair::stamp::Moment;
use crate::resp::value;

use super::{Arrival, Repairing};
use crate::proxy::Proxy;

impl Proxy {
    /// Adds cached sessions to what is put back, where the primary has lost all data.
    pub(in crate::proxy) fn reseed(&mut self) {
        let (Some(repairing), Some(cached)) = (&mut self.repairing, &mut self.cached) else {
            return;
        };
        let has_lost = matches!(repairing.arrival, Arrival::Switched { lost_all: true, .. });
        if !has_lost || !self.config.repair.reseed_from_cache {
            return;
        }
        let kept: Vec<(Bytes, Kept)> = cached.core.store().all().collect();
        for (key, kept) in kept {
            let is_good = self.stale.is_of(kept.database, kept.link) && cached.is_session(&key);
            if is_good && let Some(own) = repairing.of_kept(key, &kept) {
                repairing.account.reseeded += 1;
                repairing.add_work(own);
            }
        }
    }
}

impl Repairing {
    /// Returns what is to be put back of a reply; `None` where that is not all of its key, or the key is known better.
    fn of_kept(&self, key: Bytes, kept: &Kept) -> Option<Own> {
        if self.works.contains_key(&(kept.database, key.clone())) {
            return None;
        }
        let content = content(kept)?;
        let moment = |at: Millis| Moment(at as i64 * 1_000);
        let deadline = match kept.deadline {
            None => None,
            Some(at) => Some(self.clock.stamp(moment(at))?.millis()),
        };
        let component = Component {
            stamp: self.clock.stamp(moment(kept.sent_at))?,
            is_inherited: false,
            write: Base::Value(Whole { content, deadline }),
        };
        let record = Record {
            base: Some(component),
            ..Record::default()
        };
        Some(Own {
            database: kept.database,
            key,
            record,
            is_known: true,
            counts: Counts::default(),
        })
    }
}

/// Reads the whole value off a reply to GET or HGETALL.
fn content(kept: &Kept) -> Option<Content<Bytes>> {
    let shape = &kept.shape[..];
    if shape == [CachedRead::Get as u8] {
        let body = value::body(&kept.reply)?;
        return Some(Content::String(Bytes::copy_from_slice(body)));
    }
    if shape != [CachedRead::HGetAll as u8] {
        return None;
    }
    let parts = value::map(&kept.reply)?.map(|part| value::body(part).map(Bytes::copy_from_slice));
    let parts: Vec<Bytes> = parts.collect::<Option<_>>()?;
    let pairs = parts.chunks_exact(2);
    let fields: BTreeMap<Bytes, Bytes> = pairs
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect();
    (!fields.is_empty()).then_some(Content::Hash(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(read: CachedRead, reply: &'static [u8]) -> Kept {
        Kept {
            database: 0,
            shape: Bytes::copy_from_slice(&[read as u8]),
            reply: Bytes::from_static(reply),
            deadline: None,
            sent_at: 0,
            answered_at: 0,
            link: 1,
        }
    }

    #[test]
    fn only_whole_values_are_put_back() {
        let string = content(&kept(CachedRead::Get, b"$1\r\nv\r\n"));
        assert_eq!(string, Some(Content::String(Bytes::from_static(b"v"))));
        let hash = content(&kept(CachedRead::HGetAll, b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n"));
        let field = (Bytes::from_static(b"f"), Bytes::from_static(b"v"));
        assert_eq!(hash, Some(Content::Hash(BTreeMap::from([field]))));
        for nothing in [
            kept(CachedRead::Get, b"_\r\n"),
            kept(CachedRead::HGetAll, b"%0\r\n"),
            kept(CachedRead::StrLen, b":1\r\n"),
            kept(CachedRead::HGet, b"$1\r\nv\r\n"),
        ] {
            assert_eq!(content(&nothing), None);
        }
    }
}
