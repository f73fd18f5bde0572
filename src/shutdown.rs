//! The signals that end the process: the first begins the drain, a second one ends it at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, caught from the moment this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to catch them, within a tokio runtime; from now on they do not kill the process by themselves.
    ///
    /// # Errors
    /// Whatever the system reports.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one and names it.
    ///
    /// # Cancellation
    /// Safe: a signal that came meanwhile is seen by the next call.
    pub async fn next(&mut self) -> &'static str {
        // Not biased: either begins the same drain.
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
