//! The watcher: gathers what Sentinels and nodes say, has it judged, and says what changed.
//!
//! ```text
//!  Sentinels ──ask──┐
//!  Sentinels ──hear─┤  Observation   ┌───────┐ choose() ┌──────────┐ Update ┌───────────────┐
//!  nodes ─────ask───┴───────────────►│ Watch │─────────►│ topology │───────►│ control plane │
//!                 ▲       Pace       └───┬───┘          └──────────┘        └───────────────┘
//!                 └──────────────────────┘
//! ```
//!
//! It wakes for an observation, or once a second. In peace everybody is asked each second; when anything hints at a failover,
//! and until it is over, every 50 ms. Events only hasten the questions: what is believed comes from answers, so a lost
//! subscription costs time, never correctness. Sentinels and replicas that are found are asked too.

mod members;
mod pace;
mod shown;
mod switched;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::members::Members;
pub(super) use self::pace::pace_of;
use self::pace::{FAILOVER, PEACE, URGENT_FOR};
use self::tell::{NOTHING_TOLD, Told};
use super::announced::Announcements;
use super::client::{Observation, Pace};
use super::event::Event;
use super::link::Failure;
use super::snapshot::{Snapshot, Switch};
use super::topology::{
    Continuity, Decision, Nodes, RejectReason, Rejection, Selected, SentinelView, Sentinels,
    Suspect, SwitchReason, Topology, Waiting, choose,
};
use crate::config::{self, Credentials};
use crate::failover::machine;
use crate::metrics::{RejectedPrimary, TopologyMetrics};
use crate::seam::{Dial, Entropy, HostPort};

/// How long a lineage that does not fit is looked at before it is accepted: Sentinels tell each other of a failover within
/// this time once their leader knows.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// How long the search for the first primary may take without a warning.
const FIRST_MAX: Duration = Duration::from_secs(1);

/// Observations that may wait.
const OBSERVATIONS_MAX: usize = 256;

/// Switches that the status shows.
const SWITCHES_MAX: usize = 16;

/// What the watcher reports.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// Another primary; it is confirmed.
    Switched(Switched),
    /// Something that the failover machine has to know.
    Failover(machine::Event),
    /// The primary is the same process with the same data, and calls their history by this name now.
    HistoryRenamed(String),
    /// After which time the Sentinels take a primary for down.
    DownAfter(Duration),
    /// Which replica is furthest; `None` when none answers.
    Replica(Option<HostPort>),
}

/// Another primary.
#[derive(Clone, Debug, PartialEq)]
pub struct Switched {
    /// The topology now.
    pub topology: Topology,
    /// Raised with each; 1 is the first.
    pub generation: u64,
    /// Why.
    pub reason: SwitchReason,
    /// How its data relate to the old one's.
    pub continuity: Continuity,
}

/// What the watcher is made of.
pub struct Parts {
    /// Where the Sentinels are, and how they are logged in to.
    pub sentinels: config::Sentinels,
    /// How nodes are logged in to.
    pub credentials: Credentials,
    /// How connections are opened.
    pub dial: Arc<dyn Dial>,
    /// How long a node may keep silent.
    pub silence: Duration,
    /// Jitter.
    pub entropy: Entropy,
    /// Where changes go; they wait for room.
    pub updates: mpsc::Sender<Update>,
    /// Whether requests are held: then each moment counts.
    pub holding: watch::Receiver<bool>,
    /// Where the status finds what is known.
    pub snapshot: watch::Sender<Snapshot>,
    /// What is counted.
    pub metrics: TopologyMetrics,
}

/// Watches until the receiver of updates is gone.
///
/// # Cancellation
/// Dropping the future closes every connection.
pub async fn run(parts: Parts) {
    let (seen, mut inbox) = mpsc::channel(OBSERVATIONS_MAX);
    let mut watch = Watch::new(parts, seen);
    let mut holding = watch.holding.clone();
    let mut ticks = interval(PEACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Biased: what was seen matters more than the clock, and is finite.
        let observation = tokio::select! {
            biased;
            observation = inbox.recv() => observation,
            changed = holding.changed() => {
                if changed.is_err() {
                    return;
                }
                if *holding.borrow_and_update() {
                    watch.nudge();
                }
                None
            }
            _ = ticks.tick() => None,
        };
        for update in watch.apply(observation) {
            if watch.updates.send(update).await.is_err() {
                return;
            }
        }
    }
}

/// Tells whether a failure means that nobody answered: a server that is full or refuses us lives.
pub(super) fn is_silence(failure: &Failure) -> bool {
    match failure {
        Failure::Dial { .. } | Failure::Timeout | Failure::Closed | Failure::Io { .. } => true,
        Failure::Auth { .. } | Failure::Refused { .. } | Failure::Full | Failure::Protocol => false,
    }
}

struct Watch {
    members: Members,
    /// What all of them say, for [`choose`].
    sentinels: Sentinels,
    nodes: Nodes,
    current: Option<Topology>,
    generation: u64,
    /// A node that does not fit, and since when.
    suspect: Option<(Suspect, Instant)>,
    /// The last decision that was no plain "keep", for the log and the status.
    open: Option<Open>,
    /// Since when something is open.
    unsettled: Option<Instant>,
    urgent_until: Instant,
    /// When the first sign of the switch to come was seen.
    sign: Option<Instant>,
    switches: VecDeque<Switch>,
    /// It was said that there is no primary.
    warned: bool,
    /// What the failover machine was told last.
    told: Told,
    announcements: Announcements,
    /// Nodes that were selected for promotion since the last switch.
    selected: Selected,
    started: Instant,
    holding: watch::Receiver<bool>,
    pace: watch::Sender<Pace>,
    updates: mpsc::Sender<Update>,
    snapshot: watch::Sender<Snapshot>,
    metrics: TopologyMetrics,
}

/// A decision that leaves something open.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Open {
    Wait(Waiting),
    Reject(Rejection),
    LookAgain(Suspect),
}

impl Watch {
    fn new(parts: Parts, seen: mpsc::Sender<Observation>) -> Self {
        let (pace, paces) = watch::channel(Pace {
            every: FAILOVER,
            nudge: 0,
        });
        let members = Members::new(
            parts.sentinels,
            parts.credentials,
            parts.dial,
            parts.entropy,
            paces,
            seen,
            parts.silence,
        );
        let mut this = Self {
            members,
            sentinels: Sentinels::new(),
            nodes: Nodes::new(),
            current: None,
            generation: 0,
            suspect: None,
            open: None,
            unsettled: Some(Instant::now()),
            urgent_until: Instant::now(),
            sign: None,
            switches: VecDeque::new(),
            warned: false,
            told: NOTHING_TOLD,
            announcements: Announcements::default(),
            selected: Selected::new(),
            started: Instant::now(),
            holding: parts.holding,
            pace,
            updates: parts.updates,
            snapshot: parts.snapshot,
            metrics: parts.metrics,
        };
        for address in this.members.configured() {
            this.admit_sentinel(address, None);
        }
        this
    }

    /// Takes in an observation and judges anew; returns what changed.
    fn apply(&mut self, observation: Option<Observation>) -> Vec<Update> {
        match observation {
            Some(Observation::Sentinel(from, answer)) => self.sentinel_said(from, answer),
            Some(Observation::Listening(from, up)) => self.listening(&from, up),
            Some(Observation::Heard(sentinel, event)) => self.heard(&sentinel, &event),
            Some(Observation::Node(address, node)) => self.node_said(address, node),
            None => {}
        }
        let before = self.replid();
        let switched = self.judge();
        self.keep_pace();
        self.warn_of_absence();
        self.publish();
        let mut updates = Vec::new();
        if switched.is_none() {
            updates.extend(self.renamed(before));
        }
        if let Some(switched) = switched {
            let Told {
                down_after,
                replica,
                ..
            } = std::mem::replace(&mut self.told, NOTHING_TOLD);
            self.told = Told {
                down_after,
                replica,
                ..NOTHING_TOLD
            };
            self.announcements.switched(self.started.elapsed());
            self.selected.clear();
            updates.push(Update::Switched(switched));
        }
        self.tell(&mut updates);
        updates
    }

    fn sentinel_said(&mut self, from: HostPort, answer: Result<super::client::Answer, Failure>) {
        let known = self.members.sentinel_answered(&from, answer.as_ref().err());
        if !known {
            return;
        }
        self.note_announced(&from, answer.as_ref().ok());
        let Ok(answer) = answer else {
            self.sentinels.insert(from, SentinelView::Unreachable);
            return;
        };
        if let SentinelView::Named(named) = &answer.view {
            self.members.identify(&from, named.id.clone());
            self.watch_node(named.address.clone());
        }
        // Two answers of different times say nothing; the last good one stands.
        if answer.view != SentinelView::Pending {
            self.sentinels.insert(from, answer.view);
        }
        for address in answer.replicas.into_iter().flatten() {
            self.members.note_replica(&address);
            self.watch_node(address);
        }
        for (address, id) in answer.sentinels.into_iter().flatten() {
            self.admit_sentinel(address, id);
        }
    }

    fn admit_sentinel(&mut self, address: HostPort, id: Option<String>) {
        if self.members.admit_sentinel(&address, id) {
            self.sentinels.insert(address, SentinelView::Pending);
        }
    }

    fn watch_node(&mut self, address: HostPort) {
        if self.members.watch_node(&address) {
            self.nodes.insert(address, None);
        }
    }

    fn listening(&mut self, from: &HostPort, up: Result<(), Failure>) {
        // What was published before is lost: ask.
        if self.members.listening(from, up.err()) {
            self.nudge();
        }
    }

    fn heard(&mut self, sentinel: &HostPort, event: &Event) {
        self.members.heard(sentinel, event);
        self.metrics.event();
        if event.is_urgent() {
            tracing::info!(%sentinel, ?event, "sentinel says");
            self.urgent_until = Instant::now() + URGENT_FOR;
            self.sign.get_or_insert_with(Instant::now);
            self.nudge();
        }
        let current = self.current.as_ref().map(|current| &current.primary);
        self.announcements
            .heard(sentinel, event, current, self.started.elapsed());
        match event {
            Event::SelectedReplica(address) | Event::PromotedReplica(address) => {
                self.selected.insert(address.clone());
                self.watch_node(address.clone());
            }
            Event::Replica(address) => self.watch_node(address.clone()),
            Event::Switched { to, .. } => self.watch_node(to.clone()),
            Event::Sentinel(address) => self.admit_sentinel(address.clone(), None),
            _ => {}
        }
    }

    fn node_said(&mut self, address: HostPort, node: Result<super::topology::Node, Failure>) {
        let known = self.members.node_answered(&address, node.as_ref().err());
        if known {
            self.nodes.insert(address, node.ok());
        }
    }

    /// Asks everybody at once.
    fn nudge(&mut self) {
        self.pace.send_modify(|pace| pace.nudge += 1);
    }

    fn judge(&mut self) -> Option<Switched> {
        let looked = self
            .suspect
            .as_ref()
            .filter(|(_, since)| since.elapsed() >= SECOND_LOOK)
            .map(|(suspect, _)| suspect);
        let decision = choose(
            &self.sentinels,
            &self.nodes,
            self.current.as_ref(),
            looked,
            &self.selected,
        );
        match decision {
            Decision::Keep(topology) => {
                self.settle(None);
                self.current = Some(topology);
                None
            }
            Decision::Switch {
                topology,
                reason,
                continuity,
            } => {
                self.settle(None);
                Some(self.switch(topology, reason, continuity))
            }
            Decision::LookAgain(suspect) => {
                let same = self
                    .suspect
                    .as_ref()
                    .is_some_and(|(known, _)| *known == suspect);
                let open = Open::LookAgain(suspect.clone());
                if !same {
                    self.settle(Some(open));
                    self.suspect = Some((suspect, Instant::now()));
                }
                None
            }
            Decision::Wait(waiting) => {
                self.settle(Some(Open::Wait(waiting)));
                None
            }
            Decision::Reject(rejection) => {
                self.settle(Some(Open::Reject(rejection)));
                None
            }
        }
    }

    /// Notes what is open now; each change is logged once.
    fn settle(&mut self, open: Option<Open>) {
        if !matches!(open, Some(Open::LookAgain(_))) {
            self.suspect = None;
        }
        if self.open == open {
            return;
        }
        match &open {
            // At the start this is how it has to be; later it is said by `warn_of_absence`.
            Some(Open::Wait(waiting)) if self.current.is_none() && !self.warned => {
                tracing::debug!(reason = %waiting, "waiting for a primary");
            }
            Some(Open::Wait(waiting)) if self.current.is_none() => {
                tracing::warn!(reason = %waiting, "waiting for a primary");
            }
            Some(Open::Wait(waiting)) => tracing::info!(reason = %waiting, "primary in question"),
            Some(Open::Reject(rejection)) => {
                self.metrics.rejected(match rejection.why {
                    RejectReason::LowerEpoch => RejectedPrimary::LowerEpoch,
                    RejectReason::SameEpoch => RejectedPrimary::SameEpoch,
                });
                tracing::warn!(address = %rejection.address, epoch = %rejection.epoch, reason = %rejection.why, "primary not accepted");
            }
            Some(Open::LookAgain(suspect)) => {
                tracing::warn!(address = %suspect.address, run_id = suspect.run_id, "primary has another history, looking again");
            }
            None => {}
        }
        self.open = open;
    }

    /// Says once that the search for the first primary takes long.
    fn warn_of_absence(&mut self) {
        let late = self
            .unsettled
            .is_some_and(|since| since.elapsed() >= FIRST_MAX);
        if let (None, Some(Open::Wait(reason)), true, false) =
            (&self.current, &self.open, late, self.warned)
        {
            tracing::warn!(%reason, "waiting for a primary");
            self.warned = true;
        }
    }
}
