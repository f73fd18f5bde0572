//! The hold queue: who waits, in which order, and how much that is.
//!
//! It owns no bytes: a held request stays where it is, in its client's input, so that what is held for a client that goes
//! is gone with it and can't be executed.

use std::collections::{HashMap, VecDeque};

use crate::id::ClientId;

/// What may be held at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Requests that wait in front, or were sent and are to be sent again; what stands behind them in the same
    /// connection counts by its bytes.
    pub requests: usize,
    /// Bytes of all of them.
    pub bytes: usize,
}

/// How much one client holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// See [`Bounds`].
    pub requests: usize,
    /// See [`Bounds`].
    pub bytes: usize,
}

/// Who waits.
#[derive(Debug, Default)]
pub struct Hold {
    /// In the order in which they began to wait; some may have left.
    queue: VecDeque<ClientId>,
    shares: HashMap<ClientId, Share>,
    total: Share,
}

impl Hold {
    /// Lets a client wait with this much, or says what it holds now; it keeps its place.
    pub fn enter(&mut self, client: ClientId, share: Share) {
        match self.shares.insert(client, share) {
            None => self.queue.push_back(client),
            Some(before) => {
                self.total.requests -= before.requests;
                self.total.bytes -= before.bytes;
            }
        }
        self.total.requests += share.requests;
        self.total.bytes += share.bytes;
    }

    /// A client waits no more; tells whether it did.
    pub fn leave(&mut self, client: ClientId) -> bool {
        let Some(share) = self.shares.remove(&client) else {
            return false;
        };
        self.total.requests -= share.requests;
        self.total.bytes -= share.bytes;
        // Who enters anew goes to the end: its old place must not stand for it.
        self.queue.retain(|waiting| *waiting != client);
        true
    }

    /// Takes all who wait, in order.
    pub fn take(&mut self) -> Vec<ClientId> {
        self.shares.clear();
        self.total = Share::default();
        self.queue.drain(..).collect()
    }

    /// Returns how much is held.
    pub fn total(&self) -> Share {
        self.total
    }

    /// Returns how many clients wait.
    pub fn clients(&self) -> usize {
        self.shares.len()
    }

    /// Tells whether more is held than may be.
    pub fn is_over(&self, bounds: Bounds) -> bool {
        self.total.requests > bounds.requests || self.total.bytes > bounds.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(index: u32) -> ClientId {
        ClientId { index, serial: 1 }
    }

    fn share(requests: usize, bytes: usize) -> Share {
        Share { requests, bytes }
    }

    #[test]
    fn order_is_kept_and_who_leaves_frees_its_share() {
        let mut hold = Hold::default();
        for index in 0..4 {
            hold.enter(client(index), share(1, 10));
        }
        hold.enter(client(1), share(3, 25));
        assert_eq!(hold.total(), share(6, 55));
        assert!(hold.leave(client(0)) && !hold.leave(client(0)));
        hold.enter(client(0), share(1, 1));
        assert_eq!(hold.total(), share(6, 46));
        assert_eq!(hold.clients(), 4);
        let order: Vec<u32> = hold.take().iter().map(|id| id.index).collect();
        assert_eq!(order, [1, 2, 3, 0]);
        assert_eq!((hold.total(), hold.clients()), (share(0, 0), 0));
        assert!(hold.take().is_empty());
    }

    #[test]
    fn either_bound_is_a_bound() {
        let bounds = Bounds {
            requests: 2,
            bytes: 100,
        };
        let mut hold = Hold::default();
        hold.enter(client(0), share(2, 100));
        assert!(!hold.is_over(bounds));
        hold.enter(client(1), share(1, 0));
        assert!(hold.is_over(bounds));
        hold.leave(client(1));
        hold.enter(client(1), share(0, 1));
        assert!(hold.is_over(bounds));
    }
}
