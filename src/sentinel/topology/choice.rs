//! The choice itself.

use super::Epoch;
use super::{
    Continuity, Decision, Lineage, Named, Node, Nodes, RejectReason, Rejection, Role, Selected,
    SentinelView, Sentinels, Suspect, SwitchReason, Topology, Waiting,
};
use crate::seam::HostPort;

/// Decides which node is the primary. `looked` is a suspect of an earlier, long enough past look.
pub fn choose(
    sentinels: &Sentinels,
    nodes: &Nodes,
    current: Option<&Topology>,
    looked: Option<&Suspect>,
    selected: &Selected,
) -> Decision {
    let votes = votes(sentinels);
    let named = majority(&votes, nodes, current);
    let newer = |current: &Topology| {
        named
            .as_ref()
            .is_some_and(|(_, epoch)| *epoch > current.epoch)
    };
    if let Some(current) = current.filter(|current| !newer(current))
        && let Some(early) = early_heir(nodes, current, selected)
    {
        return early;
    }
    if votes.is_empty() {
        let knows_nothing = |view: &SentinelView| *view == SentinelView::Unknown;
        return Decision::Wait(match sentinels.values().any(knows_nothing) {
            true => Waiting::NameUnknown,
            false => Waiting::NoSentinel,
        });
    }
    let Some((address, epoch)) = named else {
        return Decision::Wait(Waiting::Disagreement);
    };
    let candidate = Candidate {
        votes: &votes,
        address,
        epoch,
        looked,
    };
    let Some(current) = current else {
        return candidate.first(nodes);
    };
    if candidate.epoch < current.epoch {
        return match candidate.address == current.primary {
            true => Decision::Keep(current.clone()),
            false => candidate.rejected(RejectReason::LowerEpoch),
        };
    }
    match candidate.address == current.primary {
        true => candidate.at_known_address(nodes, current),
        false => candidate.elsewhere(nodes, current),
    }
}

/// Tells whether the majority names, at a higher epoch, another address than the one that is believed in.
pub fn is_superseded(sentinels: &Sentinels, nodes: &Nodes, current: &Topology) -> bool {
    let votes = votes(sentinels);
    majority(&votes, nodes, Some(current))
        .is_some_and(|(address, epoch)| epoch > current.epoch && address != current.primary)
}

/// Finds the node that was selected for promotion, or handed over to, and continues the history that we know.
fn early_heir(nodes: &Nodes, current: &Topology, selected: &Selected) -> Option<Decision> {
    let known = nodes.get(&current.primary).and_then(Option::as_ref);
    let same_process = |node: &&Node| {
        let before = current.lineage.as_ref().map(|lineage| &lineage.run_id);
        before.is_some() && node.lineage.as_ref().map(|lineage| &lineage.run_id) == before
    };
    let handed_to = known
        .filter(same_process)
        .filter(|node| node.role == Role::Replica)
        .and_then(|node| node.follows.as_ref());
    let promised = selected.iter().chain(handed_to);
    let (address, node) = promised
        .filter(|address| **address != current.primary)
        .filter_map(|address| Some((address, nodes.get(address)?.as_ref()?)))
        .find(|(_, node)| {
            let continuity = Continuity::of(current.lineage.as_ref(), node.lineage.as_ref());
            node.role == Role::Primary && continuity == Continuity::Heir
        })?;
    Some(Decision::Switch {
        topology: Topology {
            primary: address.clone(),
            epoch: current.epoch,
            lineage: node.lineage.clone(),
            early: true,
        },
        reason: match known {
            Some(_) => SwitchReason::Switchover,
            None => SwitchReason::Failover,
        },
        continuity: Continuity::Heir,
    })
}

/// What the majority names, on its way through the checks.
struct Candidate<'a> {
    votes: &'a [&'a Named],
    address: HostPort,
    epoch: Epoch,
    looked: Option<&'a Suspect>,
}

impl Candidate<'_> {
    fn first(self, nodes: &Nodes) -> Decision {
        match self.primary(nodes) {
            Ok(node) => {
                let lineage = node.lineage.clone();
                self.switch(lineage, SwitchReason::Start, Continuity::First)
            }
            Err(waiting) => Decision::Wait(waiting),
        }
    }

    fn at_known_address(self, nodes: &Nodes, current: &Topology) -> Decision {
        let node = match self.primary(nodes) {
            Ok(node) => node,
            // It is the data path's business to say that the primary does not answer.
            Err(Waiting::NodeSilent(_)) => return Decision::Keep(current.clone()),
            Err(waiting) => return Decision::Wait(waiting),
        };
        if current.is_still(node) {
            return Decision::Keep(Topology {
                primary: self.address,
                epoch: self.epoch,
                lineage: node.lineage.clone().or_else(|| current.lineage.clone()),
                early: current.early && self.epoch == current.epoch,
            });
        }
        let reason = match self.epoch > current.epoch {
            true => SwitchReason::Failover,
            false => SwitchReason::LineageBreak,
        };
        let continuity = Continuity::of(current.lineage.as_ref(), node.lineage.as_ref());
        self.after_second_look(node, reason, continuity)
    }

    fn elsewhere(self, nodes: &Nodes, current: &Topology) -> Decision {
        // The Sentinels have not seen yet what we have.
        let serves = |node: &Node| node.role == Role::Primary;
        let early = current.early && self.epoch == current.epoch;
        if early && matches!(nodes.get(&current.primary), Some(Some(node)) if serves(node)) {
            return Decision::Keep(current.clone());
        }
        let node = match self.primary(nodes) {
            Ok(node) => node,
            Err(waiting) => return Decision::Wait(waiting),
        };
        let (before, now) = (current.lineage.as_ref(), node.lineage.as_ref());
        let continuity = Continuity::of(before, now);
        if let (Some(before), Some(now)) = (before, now)
            && before.run_id == now.run_id
            && continuity == Continuity::Same
        {
            let lineage = node.lineage.clone();
            return self.switch(lineage, SwitchReason::Renamed, continuity);
        }
        let reason = match nodes.get(&current.primary) {
            Some(Some(_)) => SwitchReason::Switchover,
            Some(None) | None => SwitchReason::Failover,
        };
        let continues = matches!(continuity, Continuity::Same | Continuity::Heir);
        // One that was accepted early and is no primary any more was given up by the Sentinels, too.
        // So was one that died before they saw it, once none of them is in a failover any more.
        let given_up = early
            && match nodes.get(&current.primary) {
                Some(Some(_)) => true,
                Some(None) | None => !self.votes.iter().any(|vote| vote.failover),
            };
        if self.epoch == current.epoch && !continues && !given_up {
            return self.rejected(RejectReason::SameEpoch);
        }
        match continuity {
            Continuity::Broken => self.after_second_look(node, reason, continuity),
            Continuity::First | Continuity::Same | Continuity::Heir | Continuity::Unknown => {
                let lineage = node.lineage.clone();
                self.switch(lineage, reason, continuity)
            }
        }
    }

    /// Accepts a broken lineage if it was seen before and no Sentinel knows better.
    fn after_second_look(
        self,
        node: &Node,
        reason: SwitchReason,
        continuity: Continuity,
    ) -> Decision {
        let newer = |vote: &&Named| vote.epoch > self.epoch && vote.address != self.address;
        if self.votes.iter().any(newer) {
            return Decision::Wait(Waiting::Disagreement);
        }
        let Some(lineage) = node.lineage.clone() else {
            return self.switch(None, reason, continuity);
        };
        let suspect = Suspect {
            address: self.address.clone(),
            run_id: lineage.run_id.clone(),
            replid: lineage.replid.clone(),
        };
        match self.looked == Some(&suspect) {
            true => self.switch(Some(lineage), reason, continuity),
            false => Decision::LookAgain(suspect),
        }
    }

    fn primary<'n>(&self, nodes: &'n Nodes) -> Result<&'n Node, Waiting> {
        match nodes.get(&self.address) {
            None | Some(None) => Err(Waiting::NodeSilent(self.address.clone())),
            Some(Some(node)) if node.role == Role::Replica => {
                Err(Waiting::NotPrimary(self.address.clone()))
            }
            Some(Some(node)) => Ok(node),
        }
    }

    fn switch(
        self,
        lineage: Option<Lineage>,
        reason: SwitchReason,
        continuity: Continuity,
    ) -> Decision {
        Decision::Switch {
            topology: Topology {
                primary: self.address,
                epoch: self.epoch,
                lineage,
                early: false,
            },
            reason,
            continuity,
        }
    }

    fn rejected(self, why: RejectReason) -> Decision {
        Decision::Reject(Rejection {
            address: self.address,
            epoch: self.epoch,
            why,
        })
    }
}

/// Gathers what is named, once for each Sentinel.
fn votes(sentinels: &Sentinels) -> Vec<&Named> {
    let mut votes: Vec<&Named> = Vec::new();
    for view in sentinels.values() {
        let SentinelView::Named(named) = view else {
            continue;
        };
        let twice = |vote: &&Named| vote.id.is_some() && vote.id == named.id;
        match votes.iter_mut().find(|vote| twice(vote)) {
            // Of two answers of one Sentinel the newer counts.
            Some(vote) if vote.epoch < named.epoch => *vote = named,
            Some(_) => {}
            None => votes.push(named),
        }
    }
    votes
}

/// Finds the address that more than half of the weight names, and the highest epoch that more than half vouches for.
///
/// Reports of one address, or of one run id, are of one node: Sentinels may know it by different names.
fn majority(
    votes: &[&Named],
    nodes: &Nodes,
    current: Option<&Topology>,
) -> Option<(HostPort, Epoch)> {
    let total: u64 = votes.iter().map(|vote| vote.weight()).sum();
    let is_majority = |weight: u64| weight * 2 > total;
    let group = groups(votes)
        .into_iter()
        .find(|group| is_majority(group.iter().map(|vote| vote.weight()).sum()))?;

    let mut by_epoch = group.clone();
    by_epoch.sort_by_key(|vote| std::cmp::Reverse(vote.epoch));
    let mut weight = 0;
    let epoch = by_epoch.iter().find_map(|vote| {
        weight += vote.weight();
        is_majority(weight).then_some(vote.epoch)
    })?;

    let rank = |address: &HostPort| {
        let weight: u64 = group
            .iter()
            .filter(|vote| vote.address == *address)
            .map(|vote| vote.weight())
            .sum();
        let is_current = current.is_some_and(|current| current.primary == *address);
        let is_primary =
            matches!(nodes.get(address), Some(Some(node)) if node.role == Role::Primary);
        (
            weight,
            is_current,
            is_primary,
            std::cmp::Reverse(address.clone()),
        )
    };
    let address = group
        .iter()
        .map(|vote| &vote.address)
        .max_by_key(|address| rank(address))?;
    Some((address.clone(), epoch))
}

fn groups<'a>(votes: &[&'a Named]) -> Vec<Vec<&'a Named>> {
    let mut groups: Vec<Vec<&Named>> = Vec::new();
    for vote in votes {
        let same = |other: &&Named| {
            other.address == vote.address || (vote.run_id.is_some() && other.run_id == vote.run_id)
        };
        let (mut joined, others): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(same));
        let mut group = vec![*vote];
        for mut one in joined.drain(..) {
            group.append(&mut one);
        }
        groups = others;
        groups.push(group);
    }
    groups
}
