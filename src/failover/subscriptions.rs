//! What a client is subscribed to, so that it can be set up again on another link.
//!
//! Kept for a client whose requests so far were all SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE, their counterparts and PING. What is
//! confirmed is subscribed to again, and the confirmations of that are nobody's; what was asked and not confirmed is asked
//! again, and confirmed to the client.
//!
//! # How the server answers
//! - A confirmation for each name, in the order of the names; one error in place of all of them where the request is
//!   refused (a wrong number of words, no right to one of the channels).
//! - UNSUBSCRIBE without names: a confirmation for each name that is left at that moment, in no order, or one with a null.
//!   How many that are is known when everything before it is answered.
//! - Messages come in between, and are no answers.
//! - A node of a cluster takes a shard channel away by itself (`sunsubscribe` that nobody asked for).
//!
//! # Invariant
//! A client sees each confirmation that it asked for exactly once, with the count that it would have on one connection:
//! what is confirmed is set up again in front of what is not.
//!
//! Source: redis `src/pubsub.c`, `addReplyPubsubSubscribed`, `pubsubUnsubscribeAllChannelsInternal`; `src/server.c`,
//! `processCommand` (`ACLCheckAllPerm` comes before the command runs); `src/networking.c`, `pingCommand`.

use std::collections::{BTreeSet, VecDeque};

use crate::resp::{Scanner, encode, value};

/// Names, and requests, that are remembered of one client, and the bytes of all of them.
const CHANNELS_MAX: usize = 10_000;
const BYTES_MAX: usize = 1024 * 1024;

/// What a channel name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Channel,
    Pattern,
    Shard,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];

    fn subscribe(self) -> &'static [u8] {
        match self {
            Self::Channel => b"subscribe",
            Self::Pattern => b"psubscribe",
            Self::Shard => b"ssubscribe",
        }
    }

    fn unsubscribe(self) -> &'static [u8] {
        match self {
            Self::Channel => b"unsubscribe",
            Self::Pattern => b"punsubscribe",
            Self::Shard => b"sunsubscribe",
        }
    }

    fn message(self) -> &'static [u8] {
        match self {
            Self::Channel => b"message",
            Self::Pattern => b"pmessage",
            Self::Shard => b"smessage",
        }
    }
}

/// A request on its way, as far as it is not answered.
#[derive(Clone, Debug)]
enum Asked {
    /// Names that are still to be confirmed, one at least.
    Subscribe(Kind, VecDeque<Vec<u8>>),
    Unsubscribe(Kind, VecDeque<Vec<u8>>),
    /// Of all names of a kind.
    UnsubscribeAll(Kind),
    /// A request with one answer: PING, or what will be refused.
    One(Vec<u8>),
}

impl Asked {
    fn names(&self) -> Option<&VecDeque<Vec<u8>>> {
        match self {
            Self::Subscribe(_, names) | Self::Unsubscribe(_, names) => Some(names),
            Self::UnsubscribeAll(_) | Self::One(_) => None,
        }
    }

    /// Returns what it counts: names, or itself, and bytes.
    fn size(&self) -> (usize, usize) {
        match (self, self.names()) {
            (_, Some(names)) => (names.len(), names.iter().map(Vec::len).sum()),
            (Self::One(request), None) => (1, request.len()),
            _ => (1, 0),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let name = match self {
            Self::One(request) => return out.extend_from_slice(request),
            Self::Subscribe(kind, _) => kind.subscribe(),
            Self::Unsubscribe(kind, _) | Self::UnsubscribeAll(kind) => kind.unsubscribe(),
        };
        let names = self.names().into_iter().flatten();
        let words: Vec<&[u8]> = std::iter::once(name)
            .chain(names.map(Vec::as_slice))
            .collect();
        encode::request(out, &words);
    }
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said<'a> {
    Subscribed(Kind, &'a [u8]),
    /// `None`: there was nothing to unsubscribe from.
    Unsubscribed(Kind, Option<&'a [u8]>),
    /// A message, or a push about something else.
    Apart,
    Error,
    /// Any other answer.
    Answer,
}

/// What a client is subscribed to.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    confirmed: BTreeSet<(Kind, Vec<u8>)>,
    asked: VecDeque<Asked>,
    /// Names and requests in both, and their bytes.
    count: usize,
    bytes: usize,
    /// Confirmations of ours that are still to come.
    swallowed: usize,
    /// Where the server's frames end.
    scanner: Scanner,
    lost: bool,
}

impl Subscriptions {
    /// Notes a whole request of the client; false when it is something else, or too much to be remembered: then nothing here
    /// is of any more use.
    pub fn sent(&mut self, words: &[&[u8]]) -> bool {
        let Some((name, names)) = words.split_first() else {
            return false;
        };
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let to_subscribe = Kind::ALL.into_iter().find(|kind| is(kind.subscribe()));
        let to_unsubscribe = Kind::ALL.into_iter().find(|kind| is(kind.unsubscribe()));
        let owned = || names.iter().map(|name| name.to_vec()).collect();
        let asked = match (to_subscribe, to_unsubscribe) {
            (Some(kind), _) if !names.is_empty() => Asked::Subscribe(kind, owned()),
            (_, Some(kind)) if !names.is_empty() => Asked::Unsubscribe(kind, owned()),
            (_, Some(kind)) => Asked::UnsubscribeAll(kind),
            // SUBSCRIBE without names is refused.
            (Some(_), _) => Asked::One(encode::request_bytes(words)),
            _ if is(b"ping") => Asked::One(encode::request_bytes(words)),
            _ => return false,
        };
        let (count, bytes) = asked.size();
        self.count += count;
        self.bytes += bytes;
        self.asked.push_back(asked);
        self.count <= CHANNELS_MAX && self.bytes <= BYTES_MAX && !self.lost
    }

    /// Takes in a frame of the server, or the part of a long one that has come, with nothing of the next; false when it is
    /// the answer to a request of ours, and nobody's.
    pub fn received(&mut self, part: &[u8]) -> bool {
        let begins = self.scanner.at_boundary();
        let run = self.scanner.run(part, 1);
        self.lost |= run.is_err();
        // What is longer than what is held back is a message, or an answer to a PING: its beginning told.
        if !begins {
            return true;
        }
        match read(part) {
            Said::Apart => true,
            Said::Subscribed(kind, name) => self.subscribed(kind, name),
            Said::Unsubscribed(kind, name) => self.unsubscribed(kind, name),
            Said::Error if self.swallowed > 0 => {
                // The client is not subscribed to what it believes that it is.
                self.lost = true;
                true
            }
            Said::Error | Said::Answer => {
                self.answered();
                true
            }
        }
    }

    /// Tells whether the client can't be set up again, or was not: the server has refused what it had granted before, or has
    /// said what can't be understood. The client is to be closed.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Tells whether the client has got only part of a frame: it can't be moved to another link, only closed.
    pub fn is_within_frame(&self) -> bool {
        !self.scanner.at_boundary()
    }

    /// Writes the requests that set all of it up on another link; from now on its answers are expected there.
    pub fn restore(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.swallowed = self.confirmed.len();
        self.scanner = Scanner::default();
        for kind in Kind::ALL {
            let names = self.confirmed.iter().filter(|(other, _)| *other == kind);
            let mut words: Vec<&[u8]> = vec![kind.subscribe()];
            words.extend(names.map(|(_, name)| name.as_slice()));
            if words.len() > 1 {
                encode::request(&mut out, &words);
            }
        }
        for asked in &self.asked {
            asked.write(&mut out);
        }
        out
    }

    fn subscribed(&mut self, kind: Kind, name: &[u8]) -> bool {
        if self.swallowed > 0 {
            self.swallowed -= 1;
            return false;
        }
        match self.asked.front_mut() {
            Some(Asked::Subscribe(asked, names)) if *asked == kind => {
                self.lost |= names.pop_front().as_deref() != Some(name);
                if names.is_empty() {
                    self.asked.pop_front();
                }
                // Counted with the request; here it takes its place, unless it has one already.
                if !self.confirmed.insert((kind, name.to_vec())) {
                    self.forget(1, name.len());
                }
            }
            _ => self.lost = true,
        }
        true
    }

    fn unsubscribed(&mut self, kind: Kind, name: Option<&[u8]>) -> bool {
        if let Some(name) = name
            && self.confirmed.remove(&(kind, name.to_vec()))
        {
            self.forget(1, name.len());
            // While what we have set up is confirmed, nobody has asked for this.
            if self.swallowed > 0 {
                return true;
            }
        }
        let front = self.asked.front_mut();
        match (front, name) {
            (Some(Asked::Unsubscribe(asked, names)), Some(name))
                if *asked == kind && names.front().is_some_and(|front| front == name) =>
            {
                names.pop_front();
                if names.is_empty() {
                    self.asked.pop_front();
                }
                self.forget(1, name.len());
            }
            (Some(Asked::UnsubscribeAll(asked)), _) if *asked == kind => {
                let is_done = !self.confirmed.iter().any(|(other, _)| *other == kind);
                if is_done {
                    self.answered();
                }
            }
            // The server has taken it away by itself.
            _ => {}
        }
        true
    }

    /// The request in front was answered, or refused as a whole.
    fn answered(&mut self) {
        match self.asked.pop_front() {
            Some(asked) => {
                let (count, bytes) = asked.size();
                self.forget(count, bytes);
            }
            None => self.lost = true,
        }
    }

    fn forget(&mut self, count: usize, bytes: usize) {
        self.count -= count;
        self.bytes -= bytes;
    }
}

/// Reads a frame, or its beginning.
fn read(frame: &[u8]) -> Said<'_> {
    if value::is_error(frame) {
        return Said::Error;
    }
    let push = value::push(frame);
    let otherwise = match push.is_some() {
        true => Said::Apart,
        false => Said::Answer,
    };
    let Some(mut parts) = push.or_else(|| value::elements(frame)) else {
        return Said::Answer;
    };
    let Some(word) = parts.next().and_then(value::body) else {
        return otherwise;
    };
    let name = parts.next().and_then(value::body);
    for kind in Kind::ALL {
        match name {
            _ if word == kind.message() => return Said::Apart,
            Some(name) if word == kind.subscribe() => return Said::Subscribed(kind, name),
            _ if word == kind.unsubscribe() => return Said::Unsubscribed(kind, name),
            _ => {}
        }
    }
    otherwise
}

#[cfg(test)]
mod tests;
