//! Which links there are: shared ones by lane, database and protocol, the pool of pinned ones, and whether the primary
//! can be reached at all.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::link::Lane;
use crate::id::{ClientId, LinkId};
use crate::resp::Protocol;
use crate::seam::Entropy;

/// The first pause between two attempts to reach the primary, and the longest.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Idle pinned links that are kept; more are closed when they come back.
const IDLE_MAX: usize = 64;

/// Whether the primary can be reached, as the first tracked link (of database 0) knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The first attempt is under way.
    Starting,
    /// A link is up, or was lost a moment ago and is being dialled again.
    Up,
    /// The last attempt failed.
    Down {
        /// What it failed with.
        reason: String,
        /// When the next one starts; `None` while it is under way.
        retry_at: Option<Instant>,
        /// Attempts that failed in a row.
        attempts: u32,
    },
}

/// All links by what they are for.
#[derive(Debug)]
pub struct Registry {
    /// By database.
    tracked: Vec<Option<LinkId>>,
    /// By protocol and database.
    general: [Vec<Option<LinkId>>; 2],
    /// To a replica, by protocol and database.
    replica: [Vec<Option<LinkId>>; 2],
    /// Pinned links without an owner, the least recently used first.
    idle: Vec<LinkId>,
    /// Pinned links, idle ones included.
    pub pinned: usize,
    /// Clients that wait for one, and until when.
    pub waiting: VecDeque<(ClientId, Instant)>,
    /// Whether the primary can be reached.
    pub health: Health,
    /// Until when no other link is dialled, since one was refused although the primary can be reached; and why.
    pub refusing: Option<(Instant, String)>,
    entropy: Entropy,
}

impl Registry {
    /// Starts with no links.
    pub fn new(entropy: Entropy) -> Self {
        Self {
            tracked: Vec::new(),
            general: [Vec::new(), Vec::new()],
            replica: [Vec::new(), Vec::new()],
            idle: Vec::new(),
            pinned: 0,
            waiting: VecDeque::new(),
            health: Health::Starting,
            refusing: None,
            entropy,
        }
    }

    fn places(&mut self, lane: Lane, protocol: Protocol) -> &mut Vec<Option<LinkId>> {
        match lane {
            Lane::Tracked => &mut self.tracked,
            Lane::Replica => &mut self.replica[usize::from(protocol == Protocol::Resp3)],
            // The last two are listed nowhere.
            Lane::General | Lane::Pinned | Lane::Repair => {
                &mut self.general[usize::from(protocol == Protocol::Resp3)]
            }
        }
    }

    /// Returns the shared link for a lane, if there is one.
    #[inline]
    pub fn shared(&mut self, lane: Lane, protocol: Protocol, database: u32) -> Option<LinkId> {
        self.places(lane, protocol)
            .get(database as usize)
            .copied()
            .flatten()
    }

    /// Sets the shared link for a lane. The databases are those that the server has taken in a SELECT.
    pub fn set_shared(&mut self, lane: Lane, protocol: Protocol, database: u32, link: LinkId) {
        let places = self.places(lane, protocol);
        if places.len() <= database as usize {
            places.resize(database as usize + 1, None);
        }
        places[database as usize] = Some(link);
    }

    /// Returns the tracked links, one for each database in use at most.
    pub fn tracked(&self) -> impl Iterator<Item = LinkId> {
        self.tracked.iter().copied().flatten()
    }

    /// Returns the links to a replica, one for each protocol and database in use at most.
    pub fn replicas(&self) -> impl Iterator<Item = LinkId> {
        self.replica.iter().flatten().copied().flatten()
    }

    /// Forgets a link, wherever it stands.
    pub fn forget(&mut self, link: LinkId) {
        for place in self
            .tracked
            .iter_mut()
            .chain(self.general.iter_mut().flatten())
            .chain(self.replica.iter_mut().flatten())
        {
            if *place == Some(link) {
                *place = None;
            }
        }
        self.idle.retain(|idle| *idle != link);
    }

    /// Takes the most recently used idle pinned link that `fits`.
    pub fn take_idle(&mut self, fits: impl Fn(LinkId) -> bool) -> Option<LinkId> {
        let place = self.idle.iter().rposition(|link| fits(*link))?;
        Some(self.idle.remove(place))
    }

    /// Returns the idle pinned link that was used least recently.
    pub fn oldest_idle(&self) -> Option<LinkId> {
        self.idle.first().copied()
    }

    /// Counts the idle pinned links that fit.
    pub fn count_idle(&self, fits: impl Fn(LinkId) -> bool) -> usize {
        self.idle.iter().filter(|link| fits(**link)).count()
    }

    /// Takes a pinned link back; false when there are enough idle ones and it should be closed.
    pub fn put_idle(&mut self, link: LinkId) -> bool {
        let kept = self.idle.len() < IDLE_MAX;
        if kept {
            self.idle.push(link);
        }
        kept
    }

    /// Returns the number of idle pinned links.
    pub fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Notes that a link was refused although the primary can be reached (too many clients there, no such database).
    pub fn note_refusal(&mut self, reason: String, now: Instant) {
        self.refusing = Some((now + RETRY_MIN, reason));
    }

    /// Notes a failed attempt to reach the primary, and sets the time of the next: exponential, with full jitter above
    /// the minimum so that many sidecars do not knock in step.
    pub fn note_failure(&mut self, reason: String, now: Instant) {
        let attempts = match &self.health {
            Health::Down { attempts, .. } => attempts + 1,
            Health::Starting | Health::Up => 1,
        };
        let ceiling = RETRY_MIN
            .saturating_mul(1 << attempts.min(10))
            .min(RETRY_MAX);
        let spread = (ceiling - RETRY_MIN).as_micros() as u64;
        let pause = RETRY_MIN + Duration::from_micros(self.entropy.next_u64() % (spread + 1));
        self.health = Health::Down {
            reason,
            retry_at: Some(now + pause),
            attempts,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn retries_grow_apart_within_bounds() {
        let mut registry = Registry::new(Entropy::from_seed(7));
        let now = Instant::now();
        for attempt in 1..40 {
            registry.note_failure("refused".into(), now);
            let Health::Down {
                retry_at, attempts, ..
            } = &registry.health
            else {
                panic!("not down")
            };
            assert_eq!(*attempts, attempt);
            let pause = retry_at.unwrap() - now;
            assert!((RETRY_MIN..=RETRY_MAX).contains(&pause), "{pause:?}");
        }
    }

    #[test]
    fn a_fitting_idle_link_is_preferred_and_the_number_kept_is_bounded() {
        let link = |index| LinkId { index, serial: 0 };
        let mut registry = Registry::new(Entropy::from_seed(1));
        for index in 0..IDLE_MAX as u32 {
            assert!(registry.put_idle(link(index)));
        }
        assert!(!registry.put_idle(link(999)));
        assert_eq!(registry.take_idle(|id| id.index == 5), Some(link(5)));
        assert_eq!(registry.take_idle(|_| false), None);
        let newest = link(IDLE_MAX as u32 - 1);
        assert_eq!(registry.take_idle(|_| true), Some(newest));
        registry.forget(link(0));
        assert_eq!(registry.oldest_idle(), Some(link(1)));
        assert_eq!(registry.idle(), IDLE_MAX - 3);
    }
}
