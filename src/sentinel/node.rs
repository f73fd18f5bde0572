//! One Redis node, asked what it is over a connection that is kept open.
//!
//! With credentials of data, not of Sentinels. Where an ACL forbids INFO, HELLO still tells the role; the history stays
//! unknown, and with it whether a restarted primary lost its data.

use std::sync::Arc;
use std::time::Duration;

use redis::cmd;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::client::{Observation, Pace, optional, pause, until_due_within};
use super::link::{Failure, Link, Patience};
use super::reply;
use super::topology::Node;
use crate::config::Credentials;
use crate::seam::{Dial, Entropy, HostPort};

/// How long a connection may take to be opened.
const OPEN_PATIENCE: Duration = Duration::from_millis(500);

/// How often a node is asked in full.
const DESCRIBE_EVERY: Duration = Duration::from_secs(1);

/// How often it is asked for its role while the primary may change: a promotion is seen within this.
const ROLE_EVERY: Duration = Duration::from_millis(20);

/// What the task of one node needs.
pub(super) struct Watched {
    pub(super) address: HostPort,
    pub(super) credentials: Credentials,
    pub(super) dial: Arc<dyn Dial>,
    pub(super) pace: watch::Receiver<Pace>,
    pub(super) seen: mpsc::Sender<Observation>,
    /// How long it may keep silent. It is pinged more often than that.
    pub(super) silence: Duration,
}

impl Watched {
    /// Asks for ever, at the pace given.
    pub(super) async fn ask(mut self, entropy: Entropy) {
        let mut backoff = Backoff::new(entropy);
        let patience = Patience {
            open: OPEN_PATIENCE,
            reply: self.silence,
        };
        loop {
            let opened = Link::open(&*self.dial, &self.address, &self.credentials, patience);
            let failure = match opened.await {
                // Not biased: either end is final.
                Ok((link, driver)) => {
                    let since = Instant::now();
                    let failure = tokio::select! {
                        () = driver => Failure::Closed,
                        failure = self.poll(link, &mut backoff) => failure,
                    };
                    // Somebody closed the connection, or a promotion did, which kills a replica's clients: the next dial
                    // tells which, and nobody is alarmed before. Not so where that goes on and on.
                    let reset = matches!(failure, Failure::Closed | Failure::Io { .. });
                    if reset && since.elapsed() >= DESCRIBE_EVERY {
                        continue;
                    }
                    failure
                }
                Err(failure) => failure,
            };
            let lost = Observation::Node(self.address.clone(), Err(failure));
            if self.seen.send(lost).await.is_err() {
                return;
            }
            pause(&mut self.pace, &mut backoff).await;
        }
    }

    async fn poll(&mut self, mut link: Link, backoff: &mut Backoff) -> Failure {
        let mut described: Option<Instant> = None;
        let mut role: Option<Vec<String>> = None;
        loop {
            let urgent = self.pace.borrow().every < DESCRIBE_EVERY;
            let due = described.is_none_or(|at| at.elapsed() >= DESCRIBE_EVERY);
            let glance = match due {
                true => Ok(None),
                false => glance(&mut link, urgent).await,
            };
            let changed = match glance {
                Ok(Some(seen)) if role.as_ref() != Some(&seen) => {
                    role = Some(seen);
                    true
                }
                Ok(_) => false,
                Err(failure) => return failure,
            };
            if due || changed {
                let node = match describe(&mut link).await {
                    Ok(node) => node,
                    Err(failure) => return failure,
                };
                described = Some(Instant::now());
                backoff.reset();
                let said = Observation::Node(self.address.clone(), Ok(node));
                if self.seen.send(said).await.is_err() {
                    return Failure::Closed;
                }
            }
            let every = match self.pace.borrow().every < DESCRIBE_EVERY {
                true => ROLE_EVERY,
                false => self.silence * 2 / 5,
            };
            until_due_within(&mut self.pace, every).await;
        }
    }
}

/// Asks for a sign of life, and for the role where that may change; `None` when the role is not told.
async fn glance(link: &mut Link, urgent: bool) -> Result<Option<Vec<String>>, Failure> {
    let question = cmd(if urgent { "ROLE" } else { "PING" });
    match link.ask(&question).await {
        Ok(reply) if urgent => Ok(reply::role_words(&reply)),
        Ok(_) => Ok(None),
        // It is loading, or may not be asked that: it lives.
        Err(Failure::Refused { code }) if urgent && matches!(&*code, "NOPERM" | "ERR") => {
            let hello = optional(link.ask(&cmd("HELLO")).await)?;
            let node = hello.and_then(|hello| reply::node_of_hello(&hello));
            Ok(node.map(|node| vec![format!("{:?}", node.role)]))
        }
        Err(Failure::Refused { .. }) => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn describe(link: &mut Link) -> Result<Node, Failure> {
    let (mut replication, mut server) = (cmd("INFO"), cmd("INFO"));
    replication.arg("replication");
    server.arg("server");
    let mut second = link.clone();
    let (replication, server) = tokio::join!(link.ask(&replication), second.ask(&server));
    match (optional(replication)?, optional(server)?) {
        (Some(replication), Some(server)) => {
            let fields = reply::info(&replication).zip(reply::info(&server));
            fields
                .and_then(|(replication, server)| reply::node(&replication, &server))
                .ok_or(Failure::Protocol)
        }
        _ => reply::node_of_hello(&link.ask(&cmd("HELLO")).await?).ok_or(Failure::Protocol),
    }
}
