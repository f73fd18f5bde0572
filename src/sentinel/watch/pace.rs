//! How often everybody is asked.

use std::time::Duration;

use tokio::time::Instant;

use super::Watch;
use crate::sentinel::client::Pace;
use crate::sentinel::topology::SentinelView;

/// Pause between two questions in peace.
pub(super) const PEACE: Duration = Duration::from_secs(1);

/// Pause between two questions while the primary may change.
pub(super) const FAILOVER: Duration = Duration::from_millis(50);

/// How long one urgent event keeps the pace high: a failover of a healthy cluster is over by then.
pub(super) const URGENT_FOR: Duration = Duration::from_secs(10);

/// How long an open question keeps the pace high: Sentinel's own time-out of a failover. After it, something is broken
/// for good, and everybody is asked each second as in peace.
pub(super) const UNSETTLED_MAX: Duration = Duration::from_secs(180);

/// Returns the pace of peace, or that of a failover.
pub(in crate::sentinel) fn pace_of(urgent: bool, nudge: u64) -> Pace {
    let every = match urgent {
        true => FAILOVER,
        false => PEACE,
    };
    Pace { every, nudge }
}

impl Watch {
    /// Chooses how often everybody is asked.
    pub(super) fn keep_pace(&mut self) {
        let now = Instant::now();
        let troubled = |view: &SentinelView| {
            matches!(view, SentinelView::Named(named)
                if named.subjectively_down || named.objectively_down || named.failover)
        };
        let primary_silent = match &self.current {
            None => true,
            Some(current) => !matches!(self.nodes.get(&current.primary), Some(Some(_))),
        };
        let unsettled =
            self.open.is_some() || primary_silent || self.sentinels.values().any(troubled);
        self.unsettled = match (unsettled, self.unsettled) {
            (false, _) => None,
            (true, since) => since.or(Some(now)),
        };
        if let Some(since) = self.unsettled {
            self.sign.get_or_insert(since);
        } else if now >= self.urgent_until {
            self.sign = None;
        }
        let open_question = self
            .unsettled
            .is_some_and(|since| now - since < UNSETTLED_MAX);
        let urgent = open_question || now < self.urgent_until || *self.holding.borrow();
        self.pace.send_if_modified(|pace| {
            let next = pace_of(urgent, pace.nudge);
            let changed = pace.every != next.every;
            pace.every = next.every;
            changed
        });
    }
}
