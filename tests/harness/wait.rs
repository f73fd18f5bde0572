//! Waiting for conditions, and the one place where a test sleeps.
#![expect(clippy::disallowed_types, reason = "real processes run on real time")]

use std::time::Duration;

/// How long the poller rests between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Measures real time.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts to measure.
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Returns the time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Polls `condition` until it gives a value; panics with `what` after `patience`.
pub fn until<T>(what: &str, patience: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            watch.elapsed() < patience,
            "waited {patience:?} in vain for: {what}"
        );
        pause(POLL_INTERVAL);
    }
}

/// Lets time pass: between two polls, between two bytes of a slow sender; never "long enough for something".
#[expect(
    clippy::disallowed_methods,
    reason = "the poller's own pause; a slow sender's rhythm"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
