//! What a client is subscribed to, so that it can be set up again on another link.
//!
//! Kept for a client whose requests so far were all SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE, their counterparts and PING. What is
//! confirmed is subscribed to again, and the confirmations of that are nobody's; what was asked and not confirmed is asked
//! again, and confirmed to the client.
//!
//! Source: redis `src/pubsub.c`, `addReplyPubsubSubscribed`, `pubsubUnsubscribeAllChannelsInternal`.

use std::collections::{BTreeSet, VecDeque};

use crate::resp::{encode, value};

/// Channels and patterns that are remembered of one client, and their bytes.
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
}

/// A request on its way.
#[derive(Clone, Debug)]
struct Asked {
    request: Vec<u8>,
    /// Replies that are still to come.
    left: usize,
}

/// What a client is subscribed to.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    confirmed: BTreeSet<(Kind, Vec<u8>)>,
    asked: VecDeque<Asked>,
    bytes: usize,
    /// Confirmations of ours that are still to come.
    swallowed: usize,
}

impl Subscriptions {
    /// Notes a request of the client; false when it is something else, or too much to be remembered.
    pub fn sent(&mut self, words: &[&[u8]]) -> bool {
        let Some((name, arguments)) = words.split_first() else {
            return false;
        };
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let subscribes = Kind::ALL.into_iter().any(|kind| is(kind.subscribe()));
        let unsubscribes = Kind::ALL.into_iter().find(|kind| is(kind.unsubscribe()));
        let left = match (subscribes, unsubscribes, arguments.len()) {
            (false, None, _) if is(b"ping") => 1,
            (false, None, _) => return false,
            // All of a kind: one answer for each of them, one where there are none.
            (false, Some(kind), 0) => self.of(kind).max(1),
            // An error, and the connection goes on.
            (true, _, 0) => 1,
            (_, _, count) => count,
        };
        let mut request = Vec::new();
        encode::request(&mut request, words);
        self.bytes += request.len();
        self.asked.push_back(Asked { request, left });
        self.bytes <= BYTES_MAX && self.confirmed.len() + self.asked.len() <= CHANNELS_MAX
    }

    /// Counts what is subscribed to, and may be when what was asked is done.
    fn of(&self, kind: Kind) -> usize {
        self.confirmed
            .iter()
            .filter(|(other, _)| *other == kind)
            .count()
    }

    /// Takes in a whole frame of the server; false when it is the answer to a request of ours, and nobody's.
    pub fn received(&mut self, frame: &[u8]) -> bool {
        let mut parts = value::push(frame).or_else(|| value::elements(frame));
        let word = parts.as_mut().and_then(|parts| parts.next());
        let word = word.and_then(value::body).unwrap_or_default();
        let channel = parts.and_then(|mut parts| parts.next());
        let channel = channel.and_then(value::body);
        let message: [&[u8]; 3] = [b"message", b"pmessage", b"smessage"];
        if message.contains(&word) {
            return true;
        }
        for kind in Kind::ALL {
            let Some(channel) = channel else { continue };
            if word == kind.subscribe() {
                self.confirmed.insert((kind, channel.to_vec()));
            } else if word == kind.unsubscribe() {
                self.confirmed.remove(&(kind, channel.to_vec()));
            }
        }
        if self.swallowed > 0 {
            self.swallowed -= 1;
            return false;
        }
        if let Some(front) = self.asked.front_mut() {
            front.left = front.left.saturating_sub(1);
            if front.left == 0
                && let Some(done) = self.asked.pop_front()
            {
                self.bytes = self.bytes.saturating_sub(done.request.len());
            }
        }
        true
    }

    /// Writes the requests that set all of it up on another link; from now on its answers are expected there.
    pub fn restore(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.swallowed = 0;
        for kind in Kind::ALL {
            let names = self.confirmed.iter().filter(|(other, _)| *other == kind);
            let mut words: Vec<&[u8]> = vec![kind.subscribe()];
            words.extend(names.map(|(_, name)| name.as_slice()));
            if words.len() > 1 {
                self.swallowed += words.len() - 1;
                encode::request(&mut out, &words);
            }
        }
        for asked in &mut self.asked {
            out.extend_from_slice(&asked.request);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request_bytes;

    fn sent(subscriptions: &mut Subscriptions, line: &str) -> bool {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        subscriptions.sent(&words)
    }

    fn frame(kind: &str, word: &str, channel: &str) -> Vec<u8> {
        format!(
            "{kind}3\r\n${}\r\n{word}\r\n${}\r\n{channel}\r\n:1\r\n",
            word.len(),
            channel.len()
        )
        .into_bytes()
    }

    #[test]
    fn what_is_confirmed_is_set_up_again_and_its_confirmation_is_nobodys() {
        for kind in ["*", ">"] {
            let mut subscriptions = Subscriptions::default();
            assert!(sent(&mut subscriptions, "SUBSCRIBE a b"));
            assert!(sent(&mut subscriptions, "PSUBSCRIBE n.*"));
            for (word, channel) in [("subscribe", "a"), ("message", "a"), ("subscribe", "b")] {
                assert!(subscriptions.received(&frame(kind, word, channel)));
            }
            // The pattern is not confirmed yet.
            let restored = subscriptions.restore();
            let mut expected = request_bytes(&["subscribe", "a", "b"]);
            expected.extend(request_bytes(&["PSUBSCRIBE", "n.*"]));
            assert_eq!(restored, expected);
            assert!(!subscriptions.received(&frame(kind, "subscribe", "a")));
            assert!(subscriptions.received(&frame(kind, "message", "a")));
            assert!(!subscriptions.received(&frame(kind, "subscribe", "b")));
            assert!(subscriptions.received(&frame(kind, "psubscribe", "n.*")));
            let mut expected = request_bytes(&["subscribe", "a", "b"]);
            expected.extend(request_bytes(&["psubscribe", "n.*"]));
            assert_eq!(subscriptions.restore(), expected);
        }
    }

    #[test]
    fn what_was_left_is_not_set_up_again() {
        let mut subscriptions = Subscriptions::default();
        sent(&mut subscriptions, "SUBSCRIBE a b c");
        for channel in ["a", "b", "c"] {
            subscriptions.received(&frame("*", "subscribe", channel));
        }
        sent(&mut subscriptions, "UNSUBSCRIBE a");
        subscriptions.received(&frame("*", "unsubscribe", "a"));
        assert_eq!(
            subscriptions.restore(),
            request_bytes(&["subscribe", "b", "c"])
        );
        subscriptions.swallowed = 0;
        sent(&mut subscriptions, "UNSUBSCRIBE");
        sent(&mut subscriptions, "PING");
        subscriptions.received(&frame("*", "unsubscribe", "b"));
        subscriptions.received(&frame("*", "unsubscribe", "c"));
        // The PING is not answered yet.
        assert_eq!(subscriptions.restore(), request_bytes(&["PING"]));
        assert!(subscriptions.received(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"));
        assert!(subscriptions.restore().is_empty());
        sent(&mut subscriptions, "UNSUBSCRIBE");
        subscriptions.received(b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
        assert!(subscriptions.restore().is_empty());
    }

    #[test]
    fn other_requests_and_too_many_end_it() {
        let mut subscriptions = Subscriptions::default();
        for line in ["GET a", "CLIENT TRACKING ON", "MONITOR", "RESET"] {
            assert!(!sent(&mut subscriptions, line), "{line}");
        }
        let many = (0..CHANNELS_MAX + 1).map(|number| {
            let mut one = Subscriptions::default();
            std::mem::swap(&mut one, &mut subscriptions);
            let fits = sent(&mut one, &format!("SUBSCRIBE {number}"));
            std::mem::swap(&mut one, &mut subscriptions);
            fits
        });
        assert!(many.into_iter().any(|fits| !fits));
    }
}
