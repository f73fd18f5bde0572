//! What runs beside a scenario, until that is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::client::Client;
use super::wait::pause;

/// Stops the threads of a scenario when it is dropped: a scope waits for its threads, also where the scenario panics.
#[derive(Debug)]
pub struct Stops<'a>(pub &'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks replicas for their role until one of them has turned primary; false if it is told to stop before.
pub fn saw_promotion(replicas: &[String], stop: &AtomicBool) -> bool {
    let mut links: Vec<Option<Client>> = replicas.iter().map(|_| None).collect();
    while !stop.load(Ordering::Relaxed) {
        for (link, address) in links.iter_mut().zip(replicas) {
            if link.is_none() {
                *link = Client::try_connect(address).ok();
            }
            // A promotion kills the replica's clients, so a link may end under the question.
            let role = link.as_mut().and_then(|client| client.try_ask("ROLE"));
            match role {
                Some(role) if role.contains("master") => return true,
                Some(_) => {}
                None => *link = None,
            }
        }
        pause(Duration::from_millis(1));
    }
    false
}
