//! How far the journal has come, for the control thread: plain numbers that the data thread publishes each turn.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Seq;

/// How far the journal has come.
#[derive(Debug, Default)]
pub struct Progress {
    newest: AtomicU64,
    at_risk: AtomicU64,
    generation: AtomicU64,
}

impl Progress {
    /// Publishes the newest record and how many are not known to be at the replicas.
    #[inline]
    pub fn publish(&self, newest: Seq, at_risk: u64) {
        self.at_risk.store(at_risk, Ordering::Relaxed);
        self.newest.store(newest, Ordering::Release);
    }

    /// Another primary, before the first record is sent to it.
    pub fn begin(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }

    /// Returns the newest record that may be asked about at this primary: all up to it were acknowledged by this primary, or
    /// one before it. `None` where nothing is at risk, or the data thread follows another primary.
    pub fn to_sample(&self, generation: u64) -> Option<Seq> {
        // In this order: a record behind the generation's change is not taken for one before it.
        let newest = self.newest.load(Ordering::Acquire);
        let follows = self.generation.load(Ordering::Acquire) == generation;
        (follows && self.at_risk.load(Ordering::Relaxed) > 0).then_some(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_at_risk_at_the_same_primary_is_sampled() {
        let progress = Progress::default();
        assert_eq!(progress.to_sample(0), None);
        progress.publish(7, 2);
        assert_eq!(
            (progress.to_sample(0), progress.to_sample(1)),
            (Some(7), None)
        );
        progress.begin(1);
        assert_eq!(
            (progress.to_sample(0), progress.to_sample(1)),
            (None, Some(7))
        );
        progress.publish(9, 0);
        assert_eq!(progress.to_sample(1), None);
    }
}
