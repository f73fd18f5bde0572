//! How long to wait before the next dial.

use std::time::Duration;

use crate::seam::Entropy;

/// The first delay is at most this.
const DELAY_MIN: Duration = Duration::from_millis(50);

/// No delay is longer, so a server that is back is found within this time.
const DELAY_MAX: Duration = Duration::from_secs(2);

/// Delays that double from 50 ms to 2 s, each cut by up to a half at random so that sidecars do not dial in step.
#[derive(Debug)]
pub struct Backoff {
    entropy: Entropy,
    ceiling: Duration,
}

impl Backoff {
    /// Begins at the shortest delay.
    pub fn new(entropy: Entropy) -> Self {
        let ceiling = DELAY_MIN;
        Self { entropy, ceiling }
    }

    /// Returns how long to wait now; the next one is about twice as long.
    pub fn next_delay(&mut self) -> Duration {
        let half = self.ceiling / 2;
        let span = half.as_micros() as u64 + 1;
        let jitter = Duration::from_micros(self.entropy.next_u64() % span);
        self.ceiling = (self.ceiling * 2).min(DELAY_MAX);
        half + jitter
    }

    /// Begins at the shortest delay again.
    pub fn reset(&mut self) {
        self.ceiling = DELAY_MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_within_their_bounds_whatever_the_seed() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(Entropy::from_seed(seed));
            for ceiling_ms in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
                let delay = backoff.next_delay();
                let ceiling = Duration::from_millis(ceiling_ms);
                assert!(
                    delay >= ceiling / 2 && delay <= ceiling,
                    "seed {seed}: {delay:?}"
                );
            }
            backoff.reset();
            assert!(backoff.next_delay() <= DELAY_MIN, "seed {seed}");
        }
    }

    #[test]
    fn two_sidecars_do_not_dial_in_step() {
        let delays = |seed| {
            let mut backoff = Backoff::new(Entropy::from_seed(seed));
            [(); 4].map(|()| backoff.next_delay())
        };
        assert_ne!(delays(1), delays(2));
        assert_eq!(delays(1), delays(1));
    }
}
