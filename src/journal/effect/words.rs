//! Requests out of the bytes that were kept.

use std::borrow::Cow;

use crate::resp::{Parsed, Words, parse};

/// A request with its words.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// As an array.
    pub bytes: Cow<'a, [u8]>,
    pub words: Words,
}

impl Request<'_> {
    pub(super) fn word(&self, index: usize) -> Option<&[u8]> {
        self.words.get(&self.bytes, index)
    }
}

/// Returns the request at the front; `None` when it is none that the server would have run.
pub(super) fn first(input: &[u8]) -> Option<Request<'_>> {
    take(input)?.0
}

/// Returns all requests; `None` when something in between is none.
pub(super) fn all(mut input: &[u8]) -> Option<Vec<Request<'_>>> {
    let mut requests = Vec::new();
    while !input.is_empty() {
        let (request, rest) = take(input)?;
        requests.extend(request);
        input = rest;
    }
    Some(requests)
}

/// Takes what stands at the front: a request, or nothing.
pub(super) fn take(input: &[u8]) -> Option<(Option<Request<'_>>, &[u8])> {
    let mut words = Words::default();
    match parse(input, &mut words) {
        Parsed::Whole(end) => {
            let (bytes, rest) = input.split_at(end);
            let bytes = Cow::Borrowed(bytes);
            Some((Some(Request { bytes, words }), rest))
        }
        Parsed::Inline(end) => {
            let bytes = Cow::Owned(words.take_rewritten());
            Some((Some(Request { bytes, words }), &input[end..]))
        }
        Parsed::Blank(end) => Some((None, &input[end..])),
        Parsed::Partial(_) | Parsed::Large(_) | Parsed::Irregular => None,
    }
}
