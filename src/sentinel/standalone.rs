//! The one server of mode standalone: whether it answers, and as what.
//!
//! Another process at its address is no other primary: who asks for one server takes what that is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::client::Observation;
use super::node::Watched;
use super::topology::Role;
use super::watch::{is_silence, pace_of};
use crate::config::Credentials;
use crate::failover::machine::NodeState;
use crate::seam::{Dial, Entropy, HostPort};

/// Observations that may wait.
const OBSERVATIONS_MAX: usize = 16;

/// Watches the server at `address` and says what becomes of it, until nobody listens any more. It is silent when it does not answer
/// for as long as `silence`.
///
/// # Cancellation
/// Dropping the future closes the connection.
pub async fn watch(
    address: HostPort,
    credentials: Credentials,
    dial: Arc<dyn Dial>,
    entropy: Entropy,
    silence: Duration,
    mut holding: watch::Receiver<bool>,
    told: mpsc::Sender<NodeState>,
) {
    let (seen, mut inbox) = mpsc::channel(OBSERVATIONS_MAX);
    let (pace, paces) = watch::channel(pace_of(false, 0));
    let watched = Watched {
        address,
        credentials,
        dial,
        pace: paces,
        seen,
        silence,
    };
    let mut state = NodeState::Answers;
    let follow = async {
        loop {
            // Biased: what was seen matters more than the pace.
            tokio::select! {
                biased;
                observation = inbox.recv() => {
                    let Some(Observation::Node(_, node)) = observation else {
                        return;
                    };
                    let now = match node {
                        Ok(node) if node.role == Role::Replica => NodeState::Changed,
                        Ok(_) => NodeState::Answers,
                        Err(failure) if is_silence(&failure) => NodeState::Silent,
                        Err(_) => NodeState::Answers,
                    };
                    if std::mem::replace(&mut state, now) != now && told.send(now).await.is_err() {
                        return;
                    }
                }
                changed = holding.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            let urgent = *holding.borrow_and_update() || state != NodeState::Answers;
            pace.send_if_modified(|pace| {
                let next = pace_of(urgent, pace.nudge + u64::from(urgent));
                let changed = pace.every != next.every;
                if changed {
                    *pace = next;
                }
                changed
            });
        }
    };
    tokio::select! {
        () = watched.ask(entropy) => {}
        () = follow => {}
    }
}
