//! One Redis node, asked what it is over a connection that is kept open.
//!
//! With credentials of data, not of Sentinels. Where an ACL forbids INFO, HELLO still tells the role; the history stays
//! unknown, and with it whether a restarted primary lost its data.

use std::sync::Arc;
use std::time::Duration;

use redis::cmd;
use tokio::sync::{mpsc, watch};

use super::backoff::Backoff;
use super::client::{Observation, Pace, optional, pause, until_due};
use super::link::{Failure, Link, Patience};
use super::reply;
use super::topology::Node;
use crate::config::Credentials;
use crate::seam::{Dial, Entropy, HostPort};

/// Longer than for Sentinels: a node may be busy with a slow command. Not longer: a frozen one must be seen to be so.
const PATIENCE: Patience = Patience {
    open: Duration::from_millis(500),
    reply: Duration::from_millis(500),
};

/// What the task of one node needs.
pub(super) struct Watched {
    pub(super) address: HostPort,
    pub(super) credentials: Credentials,
    pub(super) dial: Arc<dyn Dial>,
    pub(super) pace: watch::Receiver<Pace>,
    pub(super) seen: mpsc::Sender<Observation>,
}

impl Watched {
    /// Asks for ever, at the pace given.
    pub(super) async fn ask(mut self, entropy: Entropy) {
        let mut backoff = Backoff::new(entropy);
        loop {
            let opened = Link::open(&*self.dial, &self.address, &self.credentials, PATIENCE);
            let failure = match opened.await {
                // Not biased: either end is final.
                Ok((link, driver)) => tokio::select! {
                    () = driver => Failure::Closed,
                    failure = self.poll(link, &mut backoff) => failure,
                },
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
        loop {
            let node = match describe(&mut link).await {
                Ok(node) => node,
                Err(failure) => return failure,
            };
            backoff.reset();
            let said = Observation::Node(self.address.clone(), Ok(node));
            if self.seen.send(said).await.is_err() {
                return Failure::Closed;
            }
            until_due(&mut self.pace).await;
        }
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
