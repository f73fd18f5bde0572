//! What the cases are made of: nodes, what Sentinels say, and a decision in one line.

use crate::seam::HostPort;
use crate::sentinel::topology::{
    Decision, Epoch, Lineage, Named, Node, Nodes, Role, Selected, SentinelView, Sentinels,
    Topology, choose,
};

pub(super) fn at(host: &str) -> HostPort {
    HostPort {
        host: host.into(),
        port: 6379,
    }
}

/// A history of the process `host` that continues `replid2`.
pub(super) fn lineage(run_id: &str, replid: &str, replid2: Option<&str>) -> Lineage {
    Lineage {
        run_id: run_id.into(),
        replid: replid.into(),
        replid2: replid2.map(str::to_owned),
        second_offset: if replid2.is_some() { 100 } else { -1 },
        offset: 1000,
    }
}

pub(super) fn node(role: Role, lineage: Option<Lineage>) -> Option<Node> {
    Some(Node {
        role,
        lineage,
        follows: None,
        link_up: true,
        offset: Some(1000),
        replicas: Vec::new(),
    })
}

pub(super) fn named(host: &str, epoch: u64) -> Named {
    Named {
        address: at(host),
        epoch: Epoch(epoch),
        run_id: None,
        id: None,
        tilt: false,
        subjectively_down: false,
        objectively_down: false,
        failover: false,
        ahead: false,
        down_after: None,
    }
}

pub(super) fn says(host: &str, epoch: u64) -> SentinelView {
    SentinelView::Named(named(host, epoch))
}

pub(super) fn tilted(host: &str, epoch: u64) -> SentinelView {
    SentinelView::Named(Named {
        tilt: true,
        ..named(host, epoch)
    })
}

pub(super) fn sentinels(views: &[SentinelView]) -> Sentinels {
    let names = (0..).map(|index| at(&format!("sentinel-{index}")));
    names.zip(views.iter().cloned()).collect()
}

/// Primary `a` with history A (process a1) and its replica `b` (process b1), as they were before.
pub(super) fn current() -> Topology {
    Topology {
        primary: at("a"),
        epoch: Epoch(5),
        lineage: Some(lineage("a1", "A", Some("0"))),
        early: false,
    }
}

pub(super) fn healthy_a() -> Option<Node> {
    node(Role::Primary, Some(lineage("a1", "A", Some("0"))))
}

pub(super) fn promoted_b() -> Option<Node> {
    node(Role::Primary, Some(lineage("b1", "B", Some("A"))))
}

pub(super) fn nodes(list: &[(&str, Option<Node>)]) -> Nodes {
    list.iter()
        .map(|(host, node)| (at(host), node.clone()))
        .collect()
}

/// A decision in one line: `switch b 6 failover heir`.
pub(super) fn line(decision: &Decision) -> String {
    match decision {
        Decision::Keep(topology) => format!("keep {} {}", topology.primary.host, topology.epoch),
        Decision::Switch {
            topology,
            reason,
            continuity,
        } => format!(
            "switch {} {} {} {}",
            topology.primary.host,
            topology.epoch,
            reason.as_str(),
            continuity.as_str()
        ),
        Decision::LookAgain(suspect) => {
            format!(
                "look {} {} {}",
                suspect.address.host, suspect.run_id, suspect.replid
            )
        }
        Decision::Wait(waiting) => format!("wait: {waiting}"),
        Decision::Reject(rejection) => format!("reject: {rejection}"),
    }
}

pub(super) fn chosen(
    views: &[SentinelView],
    list: &[(&str, Option<Node>)],
    current: Option<&Topology>,
) -> String {
    line(&choose(
        &sentinels(views),
        &nodes(list),
        current,
        None,
        &Selected::new(),
    ))
}
