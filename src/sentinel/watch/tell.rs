//! What the failover machine is told of Sentinels and nodes.

use std::time::Duration;

use super::{Update, Watch, is_silence};
use crate::failover::machine::{self, NodeState};
use crate::seam::HostPort;
use crate::sentinel::announced::Shown;
use crate::sentinel::client::Answer;
use crate::sentinel::topology::{Named, Node, Role, SentinelView, Topology, is_superseded};

/// What the failover machine was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) node: NodeState,
    pub(super) announced: bool,
    pub(super) down: bool,
    pub(super) superseded: bool,
    pub(super) isolated: bool,
    pub(super) down_after: Option<Duration>,
    pub(super) replica: Option<HostPort>,
}

/// What it takes for granted after a switch.
pub(super) const NOTHING_TOLD: Told = Told {
    node: NodeState::Answers,
    announced: false,
    down: false,
    superseded: false,
    isolated: false,
    down_after: None,
    replica: None,
};

impl Watch {
    /// Says what the failover machine does not know yet.
    pub(super) fn tell(&mut self, updates: &mut Vec<Update>) {
        let Some(current) = &self.current else {
            return;
        };
        let views = || {
            self.sentinels.values().filter_map(|view| match view {
                SentinelView::Named(named) => Some(named),
                _ => None,
            })
        };
        let down = |named: &Named| named.objectively_down && named.address == current.primary;
        let now = Told {
            node: self.node_state(current),
            announced: self.announcements.is_announced(),
            down: views().any(down),
            superseded: is_superseded(&self.sentinels, &self.nodes, current),
            isolated: self.is_isolated(current),
            down_after: views().filter_map(|named| named.down_after).max(),
            replica: self.furthest_replica(),
        };
        let before = std::mem::replace(&mut self.told, now.clone());
        // Who was selected for a failover that came to nothing is selected no more.
        if before.announced && !now.announced {
            self.selected.clear();
        }
        if let Some(time) = now
            .down_after
            .filter(|_| now.down_after != before.down_after)
        {
            updates.push(Update::DownAfter(time));
        }
        if now.replica != before.replica {
            updates.push(Update::Replica(now.replica));
        }
        let announced = match now.announced {
            true => machine::Event::Announced,
            false => machine::Event::CalledOff,
        };
        for (changed, event) in [
            (now.announced != before.announced, announced),
            (
                now.down != before.down,
                machine::Event::ObjectivelyDown(now.down),
            ),
            (
                now.superseded != before.superseded,
                machine::Event::Superseded(now.superseded),
            ),
            (
                now.isolated != before.isolated,
                machine::Event::Isolated(now.isolated),
            ),
            (now.node != before.node, machine::Event::Node(now.node)),
        ] {
            if changed {
                updates.push(Update::Failover(event));
            }
        }
    }

    /// Tells whether neither most Sentinels nor any replica can be reached, although there are some: with the primary, which may be
    /// none any more elsewhere, we are alone.
    fn is_isolated(&self, current: &Topology) -> bool {
        let views = self.sentinels.values();
        let silent = views.filter(|view| matches!(view, SentinelView::Unreachable));
        let is_cut_off = silent.count() * 2 > self.sentinels.len();
        let others = || {
            self.nodes
                .iter()
                .filter(|(address, _)| **address != current.primary)
        };
        is_cut_off && others().next().is_some() && others().all(|(_, node)| node.is_none())
    }

    /// Finds the replica that has most of what the primary has written, among those that answer.
    fn furthest_replica(&self) -> Option<HostPort> {
        let offset = |node: &Node| (node.role == Role::Replica).then_some(node.offset?);
        let replicas = self.nodes.iter().filter_map(|(address, node)| {
            let offset = offset(node.as_ref()?)?;
            Some((offset, address))
        });
        // Of several that are as far, the first: so that it does not change for nothing.
        let first = replicas.max_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(one.1)));
        first.map(|(_, address)| address.clone())
    }

    /// Says whether the process at the primary's address is the one that we know, and answers.
    fn node_state(&self, current: &Topology) -> NodeState {
        match self.nodes.get(&current.primary) {
            Some(Some(node)) if current.is_still(node) => NodeState::Answers,
            Some(Some(_)) => NodeState::Changed,
            Some(None) | None => match self.members.node_trouble(&current.primary) {
                Some(failure) if is_silence(failure) => NodeState::Silent,
                _ => NodeState::Answers,
            },
        }
    }

    /// Notes what a Sentinel shows of a failover of our primary.
    pub(super) fn note_announced(&mut self, from: &HostPort, answer: Option<&Answer>) {
        let current = self.current.as_ref().map(|current| &current.primary);
        let shown = match answer.map(|answer| &answer.view) {
            None => Shown::Unheard,
            Some(SentinelView::Named(named)) if named.ahead && Some(&named.address) == current => {
                Shown::Ahead
            }
            Some(SentinelView::Pending) => return,
            Some(_) => Shown::None,
        };
        self.announcements
            .shown(from, shown, self.started.elapsed());
    }
}
