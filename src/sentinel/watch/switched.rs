//! Another primary is believed in, or the same one calls its history by another name.

use std::time::Duration;

use tokio::time::Instant;

use super::{SWITCHES_MAX, Switched, Update, Watch};
use crate::metrics::SwitchReason as Counted;
use crate::sentinel::snapshot::Switch;
use crate::sentinel::topology::{Continuity, SwitchReason, Topology};

impl Watch {
    /// Follows another primary.
    pub(super) fn switch(
        &mut self,
        topology: Topology,
        reason: SwitchReason,
        continuity: Continuity,
    ) -> Switched {
        self.generation += 1;
        let from = self
            .current
            .as_ref()
            .map(|current| current.primary.to_string());
        let took = self
            .sign
            .take()
            .map_or(Duration::ZERO, |sign| sign.elapsed());
        let generation = self.generation;
        tracing::info!(
            from, to = %topology.primary, reason = reason.as_str(), continuity = continuity.as_str(),
            epoch = topology.epoch.0, generation, elapsed_ms = took.as_millis() as u64,
            "primary switched"
        );
        let broken = continuity == Continuity::Broken || reason == SwitchReason::LineageBreak;
        if broken {
            tracing::error!(address = %topology.primary, "its data do not continue those before: writes may be lost");
        }
        self.metrics.switched(counted(reason), broken);
        self.switches.push_front(Switch {
            at: Instant::now(),
            ago_s: 0.0,
            from,
            to: topology.primary.to_string(),
            epoch: topology.epoch.0,
            generation,
            reason: reason.as_str(),
            continuity: continuity.as_str(),
            took_ms: took.as_millis() as u64,
        });
        self.switches.truncate(SWITCHES_MAX);
        self.current = Some(topology.clone());
        Switched {
            topology,
            generation,
            reason,
            continuity,
        }
    }

    /// Returns what the primary calls its history.
    pub(super) fn replid(&self) -> Option<String> {
        let lineage = self.current.as_ref()?.lineage.as_ref()?;
        Some(lineage.replid.clone())
    }

    /// Says that the primary calls its history otherwise than before, and is the same.
    pub(super) fn renamed(&self, before: Option<String>) -> Option<Update> {
        let now = self.replid()?;
        if before? == now {
            return None;
        }
        tracing::info!("the primary has renamed its history");
        Some(Update::HistoryRenamed(now))
    }
}

fn counted(reason: SwitchReason) -> Counted {
    match reason {
        SwitchReason::Start => Counted::Start,
        SwitchReason::Failover => Counted::Failover,
        SwitchReason::Switchover => Counted::Switchover,
        SwitchReason::LineageBreak => Counted::LineageBreak,
        SwitchReason::Renamed => Counted::Renamed,
    }
}
