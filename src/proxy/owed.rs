//! What a lost link still owed, and the requests in its output, read.

use crate::failover::replay::Delivery;
use crate::resp::Words;
use crate::resp::request::{Parsed, parse};
use crate::upstream::link::{Awaited, Link, What};
use crate::upstream::unanswered::Unanswered;

/// What a lost link still owed, with the requests.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) awaited: Vec<Awaited>,
    pub(super) output: Unanswered,
    /// Bytes of the requests answered before.
    pub(super) answered: u64,
    /// The first of them was refused, and with it the transaction that it belongs to.
    pub(super) refused: bool,
}

impl Owed {
    /// Takes it from a link that is no more.
    pub(super) fn of(link: &mut Link) -> Self {
        Self {
            awaited: std::mem::take(&mut link.awaited).into(),
            output: std::mem::replace(&mut link.output, Unanswered::new(0)),
            answered: link.answered,
            refused: false,
        }
    }

    /// Returns how far the first entry of a kind came; `None` where there is none.
    pub(super) fn find(&self, is: impl Fn(&What) -> bool) -> Option<Delivery> {
        let found = self.awaited.iter().find(|awaited| is(&awaited.what))?;
        Some(self.delivery(found.end))
    }

    /// Returns how far a request came whose last byte stands before this place.
    pub(super) fn delivery(&self, end: u64) -> Delivery {
        match end > self.output.written() {
            true => Delivery::Unwritten,
            false => Delivery::Unanswered,
        }
    }
}

/// A whole request, with its words.
#[derive(Debug)]
pub(super) struct Sent<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) words: Words,
    /// The place behind it.
    pub(super) end: u64,
}

impl<'a> Sent<'a> {
    /// Reads the request in front of bytes that stand at this place; `None` where there is no whole one.
    pub(super) fn read(bytes: &'a [u8], place: u64) -> Option<Self> {
        let mut words = Words::default();
        let Parsed::Whole(length) = parse(bytes, &mut words) else {
            return None;
        };
        Some(Self {
            bytes: &bytes[..length],
            words,
            end: place + length as u64,
        })
    }

    /// Returns its command's name.
    pub(super) fn name(&self) -> &'a [u8] {
        self.words.get(self.bytes, 0).unwrap_or_default()
    }

    /// Returns its words.
    pub(super) fn line(&self) -> Vec<&'a [u8]> {
        self.words.iter(self.bytes, 0).collect()
    }
}

/// Splits bytes into requests; what can't be read is left out, with what follows.
pub(super) fn split(mut bytes: &[u8], mut place: u64) -> Vec<Sent<'_>> {
    let mut found = Vec::new();
    while let Some(request) = Sent::read(bytes, place) {
        bytes = &bytes[request.bytes.len()..];
        place = request.end;
        found.push(request);
    }
    found
}
