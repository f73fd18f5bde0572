//! How far the journal has come, for the control thread: plain numbers that the data thread publishes each turn.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use super::Seq;
use crate::outbox::Ticket;

/// How far the journal has come.
#[derive(Debug, Default)]
pub struct Progress {
    newest: AtomicU64,
    at_risk: AtomicU64,
    generation: AtomicU64,
    ticket: AtomicU64,
    waits: AtomicBool,
    begun: Notify,
}

/// What may be asked about at a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The newest record: all up to it were acknowledged by this primary, or one before it.
    pub newest: Seq,
    /// The newest ticket: the same goes for all that wait for it, or for one before it.
    pub ticket: Ticket,
    /// Whether anything waits.
    pub waits: bool,
}

impl Progress {
    /// Publishes the newest record and how many are not known to be at the replicas.
    #[inline]
    pub fn publish(&self, newest: Seq, at_risk: u64) {
        self.at_risk.store(at_risk, Ordering::Relaxed);
        self.newest.store(newest, Ordering::Release);
    }

    /// Publishes the newest ticket, and whether anything waits; who is to ask hears at once of a ticket that is new.
    pub fn publish_waits(&self, ticket: Ticket, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
        if self.ticket.swap(ticket, Ordering::Release) != ticket {
            self.begun.notify_one();
        }
    }

    /// Completes when there is a ticket that was not there when it last did.
    ///
    /// # Cancellation
    /// Safe: what was missed is told the next time.
    pub async fn wait_begun(&self) {
        self.begun.notified().await;
    }

    /// Another primary, before the first record is sent to it.
    pub fn begin(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }

    /// Returns what may be asked about at this primary; `None` where nothing is at risk or waits, or the data thread follows another
    /// primary.
    pub fn to_sample(&self, generation: u64) -> Option<Asked> {
        // In this order: what comes behind the generation's change is not taken for something before it.
        let newest = self.newest.load(Ordering::Acquire);
        let ticket = self.ticket.load(Ordering::Acquire);
        let follows = self.generation.load(Ordering::Acquire) == generation;
        let waits = self.waits.load(Ordering::Relaxed);
        let asks = follows && (waits || self.at_risk.load(Ordering::Relaxed) > 0);
        asks.then_some(Asked {
            newest,
            ticket,
            waits,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    fn newest(progress: &Progress, generation: u64) -> Option<Seq> {
        let asked = progress.to_sample(generation);
        asked.map(|asked| asked.newest)
    }

    #[test]
    fn only_what_is_at_risk_at_the_same_primary_is_sampled() {
        let progress = Progress::default();
        assert_eq!(progress.to_sample(0), None);
        progress.publish(7, 2);
        assert_eq!(
            (newest(&progress, 0), newest(&progress, 1)),
            (Some(7), None)
        );
        progress.begin(1);
        assert_eq!(
            (newest(&progress, 0), newest(&progress, 1)),
            (None, Some(7))
        );
        progress.publish(9, 0);
        assert_eq!(progress.to_sample(1), None);
    }

    #[test]
    fn each_new_ticket_is_told_once_and_what_waits_is_sampled() {
        let progress = Progress::default();
        let told = || {
            let cx = &mut Context::from_waker(Waker::noop());
            std::pin::pin!(progress.wait_begun()).poll(cx).is_ready()
        };
        progress.publish_waits(0, false);
        assert!(!told());
        progress.publish_waits(1, true);
        progress.publish_waits(2, true);
        assert!(told());
        assert!(!told());
        let asked = Asked {
            newest: 0,
            ticket: 2,
            waits: true,
        };
        assert_eq!(progress.to_sample(0), Some(asked));
        progress.publish_waits(2, false);
        assert!(!told());
        assert_eq!(progress.to_sample(0), None);
    }
}
