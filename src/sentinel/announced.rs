//! Whether a failover is about to promote a replica, by what Sentinels publish and show: pure.
//!
//! Only the Sentinel that leads a failover publishes it, a fraction of a second ahead; the others learn of it afterwards. So any
//! one of them is believed, and taken at its word no longer than it stands by it: the failover is called off when it says
//! so, or when, asked later, it shows none that has still to promote. What follows a promotion announces nothing.
//!
//! Source: redis `src/sentinel.c`, `sentinelFailoverStateMachine`, `sentinelFailoverStateStr`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::Event;
use crate::seam::HostPort;

/// A Sentinel's answer that comes this long after its announcement was asked for after it: no answer is waited for longer.
const ANSWERED_LATER: Duration = Duration::from_secs(1);

/// How long a Sentinel that announced and can't be asked any more is believed.
const UNHEARD_MAX: Duration = Duration::from_secs(3);

/// After a switch, what is still heard of that failover announces no other.
const AFTER_SWITCH: Duration = Duration::from_secs(1);

/// A time, since any fixed instant.
type Time = Duration;

/// What a Sentinel shows of a failover when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// One that has still to promote a replica.
    Ahead,
    /// None, or one that has promoted.
    None,
    /// It can't be asked.
    Unheard,
}

/// Failovers that were announced, by the Sentinel that did, and when.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    by: BTreeMap<HostPort, Time>,
    switched_at: Option<Time>,
}

impl Announcements {
    /// Takes in what a Sentinel published, while `primary` is the one that we know.
    pub(super) fn heard(
        &mut self,
        sentinel: &HostPort,
        event: &Event,
        primary: Option<&HostPort>,
        now: Time,
    ) {
        let late = self
            .switched_at
            .is_some_and(|at| now.saturating_sub(at) < AFTER_SWITCH);
        match event {
            // One that we have left already is no matter of ours.
            Event::TryFailover(address) if Some(address) == primary => {
                self.by.insert(sentinel.clone(), now);
            }
            Event::ElectedLeader | Event::PromotionAhead | Event::SelectedReplica(_) if !late => {
                self.by.insert(sentinel.clone(), now);
            }
            Event::FailoverAborted(_) => {
                self.by.remove(sentinel);
            }
            _ => {}
        }
    }

    /// Takes in what a Sentinel shows of the primary that we hold for it.
    pub(super) fn shown(&mut self, sentinel: &HostPort, shown: Shown, now: Time) {
        let since = self.by.get(sentinel).copied();
        match (shown, since) {
            (Shown::Ahead, _) => {
                self.by.insert(sentinel.clone(), now);
            }
            (Shown::None, Some(since)) if now.saturating_sub(since) >= ANSWERED_LATER => {
                self.by.remove(sentinel);
            }
            (Shown::Unheard, Some(since)) if now.saturating_sub(since) >= UNHEARD_MAX => {
                self.by.remove(sentinel);
            }
            _ => {}
        }
    }

    /// Another primary was accepted: what was announced has happened.
    pub(super) fn switched(&mut self, now: Time) {
        self.by.clear();
        self.switched_at = Some(now);
    }

    /// Tells whether a promotion may be ahead.
    pub(super) fn is_announced(&self) -> bool {
        !self.by.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentinel::event::Abort;

    fn at(host: &str) -> HostPort {
        HostPort {
            host: host.into(),
            port: 1,
        }
    }

    fn ms(milliseconds: u64) -> Time {
        Duration::from_millis(milliseconds)
    }

    fn replica() -> HostPort {
        at("b")
    }

    #[test]
    fn any_sentinel_announces_and_only_itself_calls_off() {
        for event in [
            Event::TryFailover(at("a")),
            Event::ElectedLeader,
            Event::PromotionAhead,
            Event::SelectedReplica(replica()),
        ] {
            let mut announced = Announcements::default();
            announced.heard(&at("s1"), &event, Some(&at("a")), ms(0));
            assert!(announced.is_announced(), "{event:?}");
            announced.heard(
                &at("s2"),
                &Event::FailoverAborted(Abort::NotElected),
                Some(&at("a")),
                ms(1),
            );
            announced.shown(&at("s2"), Shown::None, ms(5_000));
            assert!(announced.is_announced());
            announced.heard(
                &at("s1"),
                &Event::FailoverAborted(Abort::NoGoodReplica),
                Some(&at("a")),
                ms(6_000),
            );
            assert!(!announced.is_announced());
        }
    }

    #[test]
    fn an_answer_to_an_older_question_calls_nothing_off() {
        let mut announced = Announcements::default();
        announced.heard(
            &at("s1"),
            &Event::TryFailover(at("a")),
            Some(&at("a")),
            ms(1_000),
        );
        announced.shown(&at("s1"), Shown::None, ms(1_100));
        assert!(announced.is_announced());
        announced.shown(&at("s1"), Shown::Ahead, ms(1_200));
        announced.shown(&at("s1"), Shown::None, ms(2_100));
        assert!(announced.is_announced());
        announced.shown(&at("s1"), Shown::None, ms(2_200));
        assert!(!announced.is_announced());
    }

    #[test]
    fn a_sentinel_that_is_lost_is_believed_for_a_while() {
        let mut announced = Announcements::default();
        announced.heard(
            &at("s1"),
            &Event::TryFailover(at("a")),
            Some(&at("a")),
            ms(0),
        );
        announced.shown(&at("s1"), Shown::Unheard, ms(2_900));
        assert!(announced.is_announced());
        announced.shown(&at("s1"), Shown::Unheard, ms(3_000));
        assert!(!announced.is_announced());
    }

    #[test]
    fn what_is_seen_without_events_counts_too() {
        let mut announced = Announcements::default();
        announced.shown(&at("s1"), Shown::Ahead, ms(0));
        assert!(announced.is_announced());
    }

    #[test]
    fn a_failover_that_has_happened_is_not_announced_again_by_its_echo() {
        let mut announced = Announcements::default();
        announced.heard(
            &at("s1"),
            &Event::TryFailover(at("a")),
            Some(&at("a")),
            ms(0),
        );
        announced.switched(ms(500));
        assert!(!announced.is_announced());
        announced.heard(&at("s1"), &Event::PromotionAhead, Some(&at("a")), ms(510));
        announced.heard(&at("s1"), &Event::FailoverUnderWay, Some(&at("a")), ms(900));
        announced.heard(
            &at("s1"),
            &Event::PromotedReplica(replica()),
            Some(&at("a")),
            ms(1_400),
        );
        announced.heard(&at("s1"), &Event::FailoverEnded, Some(&at("a")), ms(2_400));
        assert!(!announced.is_announced());
        announced.heard(
            &at("s2"),
            &Event::TryFailover(at("a")),
            Some(&at("a")),
            ms(600),
        );
        assert!(announced.is_announced(), "the next one");
        let mut late = Announcements::default();
        late.heard(
            &at("s2"),
            &Event::TryFailover(at("old")),
            Some(&at("a")),
            ms(0),
        );
        assert!(!late.is_announced(), "of a primary that we have left");
    }
}
