//! Whom we ask: the Sentinels and nodes, their tasks, and how each connection stands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::config::{Credentials, Sentinels};
use crate::seam::{Dial, Entropy, HostPort};
use crate::sentinel::client::{Client, Observation, Pace};
use crate::sentinel::event::Event;
use crate::sentinel::link::Failure;
use crate::sentinel::node::Watched;

/// Sentinels that are asked at most, found ones included.
const SENTINELS_MAX: usize = 32;

/// Nodes that are asked at most.
const NODES_MAX: usize = 64;

/// A task that ends with this value.
struct Task(AbortHandle);

impl Task {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A Sentinel, and how its connections stand.
pub(super) struct SentinelMember {
    pub(super) configured: bool,
    pub(super) id: Option<String>,
    pub(super) trouble: Option<Failure>,
    pub(super) listening: bool,
    pub(super) listening_trouble: Option<Failure>,
    pub(super) last_event: String,
    _tasks: [Task; 2],
}

/// A node, and how its connection stands.
pub(super) struct NodeMember {
    pub(super) replica: bool,
    pub(super) trouble: Option<Failure>,
    _task: Task,
}

/// Whom we ask.
pub(super) struct Members {
    settings: Arc<Sentinels>,
    credentials: Credentials,
    dial: Arc<dyn Dial>,
    entropy: Entropy,
    paces: watch::Receiver<Pace>,
    seen: mpsc::Sender<Observation>,
    silence: Duration,
    pub(super) sentinels: BTreeMap<HostPort, SentinelMember>,
    pub(super) nodes: BTreeMap<HostPort, NodeMember>,
}

impl Members {
    pub(super) fn new(
        settings: Sentinels,
        credentials: Credentials,
        dial: Arc<dyn Dial>,
        entropy: Entropy,
        paces: watch::Receiver<Pace>,
        seen: mpsc::Sender<Observation>,
        silence: Duration,
    ) -> Self {
        Self {
            settings: Arc::new(settings),
            credentials,
            dial,
            entropy,
            paces,
            seen,
            silence,
            sentinels: BTreeMap::new(),
            nodes: BTreeMap::new(),
        }
    }

    pub(super) fn configured(&self) -> Vec<HostPort> {
        self.settings.addresses.clone()
    }

    fn next_entropy(&mut self) -> Entropy {
        Entropy::from_seed(self.entropy.next_u64())
    }

    /// Begins to ask a Sentinel; false when it is asked already, under this address or another.
    pub(super) fn admit_sentinel(&mut self, address: &HostPort, id: Option<String>) -> bool {
        let known = |member: &SentinelMember| member.id.is_some() && member.id == id;
        if self.sentinels.contains_key(address)
            || self.sentinels.len() >= SENTINELS_MAX
            || self.sentinels.values().any(known)
        {
            return false;
        }
        let client = Client {
            address: address.clone(),
            settings: Arc::clone(&self.settings),
            dial: Arc::clone(&self.dial),
            pace: self.paces.clone(),
            seen: self.seen.clone(),
        };
        let tasks = [
            Task::spawn(client.clone().ask(self.next_entropy())),
            Task::spawn(client.listen(self.next_entropy())),
        ];
        let configured = self.settings.addresses.contains(address);
        if !configured {
            tracing::info!(%address, "another sentinel found");
        }
        let member = SentinelMember {
            configured,
            id,
            trouble: None,
            listening: false,
            listening_trouble: None,
            last_event: String::new(),
            _tasks: tasks,
        };
        self.sentinels.insert(address.clone(), member);
        true
    }

    /// Begins to ask a node; false when it is asked already.
    pub(super) fn watch_node(&mut self, address: &HostPort) -> bool {
        if self.nodes.contains_key(address) || self.nodes.len() >= NODES_MAX {
            return false;
        }
        let watched = Watched {
            address: address.clone(),
            credentials: self.credentials.clone(),
            dial: Arc::clone(&self.dial),
            pace: self.paces.clone(),
            seen: self.seen.clone(),
            silence: self.silence,
        };
        let entropy = self.next_entropy();
        let member = NodeMember {
            replica: false,
            trouble: None,
            _task: Task::spawn(watched.ask(entropy)),
        };
        self.nodes.insert(address.clone(), member);
        true
    }

    /// Notes that Sentinels count a node as a replica.
    pub(super) fn note_replica(&mut self, address: &HostPort) {
        if let Some(node) = self.nodes.get_mut(address) {
            node.replica = true;
        }
    }

    /// Notes an answer or its failure; false when nobody asked.
    pub(super) fn sentinel_answered(&mut self, from: &HostPort, failure: Option<&Failure>) -> bool {
        let Some(member) = self.sentinels.get_mut(from) else {
            return false;
        };
        if member.trouble.as_ref() != failure {
            match failure {
                Some(failure) => {
                    tracing::warn!(sentinel = %from, reason = %failure, "sentinel cannot be asked");
                }
                None => tracing::info!(sentinel = %from, "sentinel answers again"),
            }
            member.trouble = failure.cloned();
        }
        true
    }

    /// Notes who a Sentinel is.
    pub(super) fn identify(&mut self, from: &HostPort, id: Option<String>) {
        if let Some(member) = self.sentinels.get_mut(from)
            && id.is_some()
        {
            member.id = id;
        }
    }

    /// Notes whether a Sentinel can be listened to; true when it newly can.
    pub(super) fn listening(&mut self, from: &HostPort, failure: Option<Failure>) -> bool {
        let Some(member) = self.sentinels.get_mut(from) else {
            return false;
        };
        // A refusal stays; that it cannot be reached is said once, by the connection that asks.
        if member.listening_trouble != failure
            && let Some(refused @ (Failure::Refused { .. } | Failure::Auth { .. })) = &failure
            && member.trouble.is_none()
        {
            tracing::warn!(sentinel = %from, reason = %refused, "no events from this sentinel, it is polled");
        }
        let began = !member.listening && failure.is_none();
        member.listening = failure.is_none();
        member.listening_trouble = failure;
        began
    }

    /// Notes what a Sentinel published last.
    pub(super) fn heard(&mut self, sentinel: &HostPort, event: &Event) {
        if let Some(member) = self.sentinels.get_mut(sentinel) {
            member.last_event = format!("{event:?}");
        }
    }

    /// Returns why a node does not answer; `None` when it does, or was not asked yet.
    pub(super) fn node_trouble(&self, address: &HostPort) -> Option<&Failure> {
        self.nodes.get(address)?.trouble.as_ref()
    }

    /// Notes a node's answer or its failure; false when nobody asked.
    pub(super) fn node_answered(&mut self, address: &HostPort, failure: Option<&Failure>) -> bool {
        let Some(member) = self.nodes.get_mut(address) else {
            return false;
        };
        if member.trouble.as_ref() != failure {
            match failure {
                Some(failure) => {
                    tracing::info!(%address, reason = %failure, "node does not answer");
                }
                None => tracing::info!(%address, "node answers again"),
            }
            member.trouble = failure.cloned();
        }
        true
    }
}
