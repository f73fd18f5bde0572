//! Fields that HLEN has counted: are they those that were set last, and were they new?

use bytes::Bytes;

use super::super::key::{Content, Deadline};
use super::super::record::{Component, FieldWrite, Record};
use super::super::stamp::Stamp;

/// How many fields more a hash had behind each write of the newest packet, where its reply tells it; since the last one that was
/// no write of fields.
#[derive(Debug, Default)]
pub(super) struct Growths(Vec<(Stamp, Option<i64>)>);

impl Growths {
    /// Nothing is known of what the hash had before.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn add(&mut self, stamp: Stamp, growth: Option<i64>) {
        self.0.push((stamp, growth));
    }

    /// Tells whether there was no field at some time, no later than `from`: as many came since as there are now. `None` if
    /// replies do not tell.
    fn are_new(&self, from: Stamp, length: usize) -> Option<bool> {
        let length = i64::try_from(length).ok()?;
        let mut grown = 0;
        for (stamp, growth) in self.0.iter().rev() {
            grown += (*growth)?;
            if *stamp <= from && grown == length {
                return Some(true);
            }
        }
        Some(false)
    }
}

/// As many fields were set together as HLEN has counted behind them: they are all there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    /// When the oldest of them was set.
    pub(super) from: Stamp,
    /// They were new, and there were no others before; `None` if their replies do not tell.
    are_new: Option<bool>,
}

impl Counted {
    /// Tells from when on so many fields were set, if those are the ones that went out in the newest packet: they are there, and
    /// if there are no others, older ones of ours are gone. Of fields that were set before that others may have been removed.
    pub(super) fn find(
        record: &Record<Bytes>,
        packet: Stamp,
        growths: &Growths,
        length: usize,
    ) -> Option<Self> {
        let stamps = set_in(record).map(|(.., own)| own.stamp);
        let newest: Vec<Stamp> = stamps.filter(|stamp| *stamp >= packet).collect();
        let oldest = newest.iter().min().copied();
        let from = oldest.filter(|_| newest.len() == length)?;
        let are_new = growths.are_new(from, length);
        Some(Self { from, are_new })
    }

    /// Tells whether they have made the key, which has this deadline. Where their replies do not tell, one without a deadline
    /// was just made; and one that was given in the same packet hides which it had before.
    pub(super) fn have_made(&self, record: &Record<Bytes>, deadline: Deadline) -> bool {
        let touch = record.touch.as_ref();
        let touch = touch.filter(|touch| touch.stamp > self.from);
        self.are_new.unwrap_or(match touch {
            Some(touch) => touch.write.deadline.is_some(),
            None => deadline.is_none(),
        })
    }
}

/// Returns the fields that were set.
pub(super) fn set_in(
    record: &Record<Bytes>,
) -> impl Iterator<Item = (&Bytes, &Bytes, &Component<FieldWrite<Bytes>>)> {
    let fields = record.fields.iter();
    fields.filter_map(|(name, own)| match &own.write {
        FieldWrite::Set(value) => Some((name, value, own)),
        FieldWrite::Remove => None,
    })
}

/// Returns a hash of those that were set from then on.
pub(super) fn set_since(record: &Record<Bytes>, from: Stamp) -> Content<Bytes> {
    let fields = set_in(record).filter(|(.., own)| own.stamp >= from);
    let pairs = fields.map(|(name, value, _)| (name.clone(), value.clone()));
    Content::Hash(pairs.collect())
}
