//! What the status and the metrics show of the watcher.

use super::{Open, Watch};
use crate::metrics::TopologyGauges;
use crate::sentinel::link::Failure;
use crate::sentinel::snapshot::{Lineage, Primary, Replica, Sentinel, Snapshot};
use crate::sentinel::topology::{Named, Node, Role, SentinelView};

/// The state while Sentinels and nodes agree with what we hold for the primary.
const SETTLED: &str = "settled";

impl Watch {
    /// Publishes what is known now.
    pub(super) fn publish(&self) {
        let snapshot = self.shown();
        self.metrics.show(&gauges(&snapshot));
        self.snapshot.send_replace(snapshot);
    }

    fn shown(&self) -> Snapshot {
        let state = match &self.open {
            None => SETTLED.into(),
            Some(Open::Wait(waiting)) => waiting.to_string(),
            Some(Open::Reject(rejection)) => rejection.to_string(),
            Some(Open::LookAgain(suspect)) => {
                format!("{} has another history, looking again", suspect.address)
            }
        };
        Snapshot {
            state,
            primary: self.shown_primary(),
            replicas: self.shown_replicas(),
            sentinels: self.shown_sentinels(),
            switches: self.switches.clone(),
        }
    }

    fn primary_node(&self) -> Option<&Node> {
        let current = self.current.as_ref()?;
        self.nodes.get(&current.primary)?.as_ref()
    }

    fn shown_primary(&self) -> Option<Primary> {
        let current = self.current.as_ref()?;
        Some(Primary {
            address: current.primary.to_string(),
            epoch: current.epoch.0,
            generation: self.generation,
            reachable: self.primary_node().is_some(),
            lineage: current.lineage.as_ref().map(|lineage| Lineage {
                run_id: lineage.run_id.clone(),
                replid: lineage.replid.clone(),
                replid2: lineage.replid2.clone(),
                second_offset: lineage.second_offset,
                offset: lineage.offset,
            }),
        })
    }

    fn shown_replicas(&self) -> Vec<Replica> {
        let primary = self.primary_node();
        let end = primary.and_then(|primary| primary.offset);
        let current = self.current.as_ref().map(|current| &current.primary);
        let mut shown = Vec::new();
        for (address, member) in &self.members.nodes {
            if Some(address) == current || !member.replica {
                continue;
            }
            let node = self.nodes.get(address).and_then(Option::as_ref);
            let attached = primary
                .and_then(|primary| primary.replicas.iter().find(|one| one.address == *address));
            let lag = end
                .zip(attached)
                .map(|(end, attached)| end - attached.offset);
            shown.push(Replica {
                address: address.to_string(),
                role: node.map(|node| match node.role {
                    Role::Primary => "primary",
                    Role::Replica => "replica",
                }),
                trouble: text(member.trouble.as_ref()),
                online: attached.is_some_and(|attached| attached.online)
                    && node.is_some_and(|node| node.link_up),
                lag_bytes: lag.map(|lag| lag.max(0) as u64),
                lag_s: attached.map(|attached| attached.lag_s),
            });
        }
        shown
    }

    fn shown_sentinels(&self) -> Vec<Sentinel> {
        let members = self.members.sentinels.iter();
        let shown = members.map(|(address, member)| {
            let view = self.sentinels.get(address);
            let named: Option<&Named> = match view {
                Some(SentinelView::Named(named)) => Some(named),
                _ => None,
            };
            Sentinel {
                address: address.to_string(),
                configured: member.configured,
                state: match view {
                    Some(SentinelView::Named(_)) => "named",
                    Some(SentinelView::Unknown) => "unknown",
                    Some(SentinelView::Unreachable) => "unreachable",
                    Some(SentinelView::Pending) | None => "pending",
                },
                trouble: text(member.trouble.as_ref()),
                listening: member.listening,
                listening_trouble: text(member.listening_trouble.as_ref()),
                planned_failovers: match member.listening {
                    true => "announced",
                    false => "may lose writes",
                },
                names: named.map(|named| named.address.to_string()),
                epoch: named.map(|named| named.epoch.0),
                tilt: named.is_some_and(|named| named.tilt),
                subjectively_down: named.is_some_and(|named| named.subjectively_down),
                objectively_down: named.is_some_and(|named| named.objectively_down),
                failover_in_progress: named.is_some_and(|named| named.failover),
                last_event: member.last_event.clone(),
            }
        });
        shown.collect()
    }
}

fn text(failure: Option<&Failure>) -> String {
    failure.map(ToString::to_string).unwrap_or_default()
}

fn gauges(snapshot: &Snapshot) -> TopologyGauges {
    let (sentinels, replicas) = (&snapshot.sentinels, &snapshot.replicas);
    let count = |state: &str| sentinels.iter().filter(|one| one.state == state).count();
    let primary = snapshot.primary.as_ref();
    TopologyGauges {
        sentinels: [
            count("named"),
            count("unknown"),
            count("unreachable"),
            count("pending"),
        ],
        listening: sentinels.iter().filter(|one| one.listening).count(),
        in_tilt: sentinels.iter().filter(|one| one.tilt).count(),
        epoch: primary.map_or(0, |primary| primary.epoch),
        generation: primary.map_or(0, |primary| primary.generation),
        settled: snapshot.state == SETTLED,
        replicas_online: replicas.iter().filter(|one| one.online).count(),
        replicas_offline: replicas.iter().filter(|one| !one.online).count(),
        lag_bytes_max: replicas
            .iter()
            .filter_map(|one| one.lag_bytes)
            .max()
            .unwrap_or(0),
    }
}
