//! The failover machine: whether requests are held, which, since when and why: pure.
//!
//! ```text
//!                  a sign of trouble                 another primary is named
//!  ┌─────────┐ ─────────────────────► ┌─────────┐ ─────────────────────────► ┌────────────┐
//!  │ Serving │                        │ Holding │                            │ Connecting │
//!  └─────────┘ ◄───────────────────── └─────────┘ ◄───────────────────────── └────────────┘
//!     ▲   ▲        all signs gone          │            another sign              │   │
//!     │   │                                │ the deadline, or too much is held    │   │
//!     │   │          all signs gone        ▼                                      │   │
//!     │   └─────────────────────────  ┌──────────┐ ◄──────────────────────────────┘   │
//!     │                               │ Shedding │                                    │
//!     │                               └──────────┘                                    │
//!     └───────────────────────────────────────────────────────────────────────────────┘
//!                             its link is up and checked, and joined
//! ```
//!
//! What is known is a set of [`Sign`]s; each event adds or takes away some, and the state follows from the set: none =
//! Serving. So an event that comes twice, late or out of order does no harm. What a sign stops is its [`Scope`]: a failover that
//! is only announced stops writes, and reads go on against the old primary; a primary that does not answer stops
//! everything that it would have to answer.
//!
//! # Invariants
//! - A hold is never longer than the deadline, counted from its start; what is refused again right after a release
//!   continues the hold before.
//! - Shedding ends in Serving only.
//! - Links to the old primary are left in the very step that names another one.

use std::time::Duration;

/// A time, since any fixed instant.
pub type Time = Duration;

/// A hold that begins again this soon after the end of one, for a refusal, is the same hold.
const SAME_HOLD: Duration = Duration::from_secs(1);

/// Pauses before what a node has refused is tried there again: the first, and the longest.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_millis(400);

/// Why the primary can't be relied on at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Sign {
    /// No primary was named yet.
    Unnamed,
    /// A Sentinel begins a failover: the promotion is a fraction of a second away.
    Announced,
    /// A quorum of Sentinels gets no answer of the primary.
    ObjectivelyDown,
    /// The primary does not answer a ping.
    Silent,
    /// Who answers at its address is a replica now, or another process.
    Changed,
    /// The Sentinels' majority names another primary, which is not confirmed yet.
    Superseded,
    /// There is no link to it.
    Unlinked,
    /// It is not known yet what it lacks, and what others put back on it.
    Unjoined,
    /// Writes were acknowledged meanwhile, here or by another sidecar, and are to be put back.
    Unsettled,
    /// Neither the Sentinels' majority nor any replica can be reached: elsewhere another one may be the primary.
    Isolated,
    /// It takes no writes (READONLY, NOREPLICAS).
    RefusesWrites,
    /// It takes nothing (LOADING, MASTERDOWN …).
    RefusesAll,
}

impl Sign {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Unnamed,
        Self::Announced,
        Self::ObjectivelyDown,
        Self::Silent,
        Self::Changed,
        Self::Superseded,
        Self::Unlinked,
        Self::Unjoined,
        Self::Unsettled,
        Self::Isolated,
        Self::RefusesWrites,
        Self::RefusesAll,
    ];

    /// Returns what it stops.
    pub fn scope(self) -> Scope {
        match self {
            Self::Announced
            | Self::ObjectivelyDown
            | Self::Unsettled
            | Self::Isolated
            | Self::RefusesWrites => Scope::Writes,
            Self::Unnamed
            | Self::Silent
            | Self::Changed
            | Self::Superseded
            | Self::Unlinked
            | Self::Unjoined
            | Self::RefusesAll => Scope::All,
        }
    }

    /// Says what is waited for, in an error or a log line.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unnamed => "no primary is known yet",
            Self::Announced => "a failover was announced",
            Self::ObjectivelyDown => "the Sentinels agree that the primary is down",
            Self::Silent => "the primary does not answer",
            Self::Changed => "the primary was demoted or restarted",
            Self::Superseded => "the Sentinels name another primary, which is not confirmed yet",
            Self::Unlinked => "there is no link to the primary",
            Self::Unjoined => "the sidecars are about to agree on what the primary lacks",
            Self::Unsettled => "writes that were acknowledged meanwhile are about to be put back",
            Self::Isolated => "the primary is cut off from Sentinels and replicas",
            Self::RefusesWrites => "the primary takes no writes",
            Self::RefusesAll => "the primary takes no commands",
        }
    }
}

/// What a hold stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All but reads.
    Writes,
    /// Everything that the primary would have to answer.
    All,
}

/// A set of signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Signs(u16);

impl Signs {
    /// Makes a set.
    pub fn of(signs: &[Sign]) -> Self {
        let bits = signs.iter().map(|sign| 1 << (*sign as u8));
        Self(bits.fold(0, |all, bit: u16| all | bit))
    }

    fn with(self, sign: Sign) -> Self {
        Self(self.0 | 1 << (sign as u8))
    }

    fn without(self, signs: &[Sign]) -> Self {
        Self(self.0 & !Self::of(signs).0)
    }

    /// Tells whether a sign is in it.
    pub fn has(self, sign: Sign) -> bool {
        self.0 & 1 << (sign as u8) != 0
    }

    /// Tells whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Tells whether there are none but these.
    fn is_within(self, signs: &[Sign]) -> bool {
        self.without(signs).is_empty()
    }

    /// Returns those that are in it.
    pub fn iter(self) -> impl Iterator<Item = Sign> {
        Sign::ALL.into_iter().filter(move |sign| self.has(*sign))
    }

    /// Returns what they stop together; `None` when there are none.
    pub fn scope(self) -> Option<Scope> {
        self.iter().map(Sign::scope).max()
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A Sentinel begins a failover, or is in the middle of one, before the promotion.
    Announced,
    /// None is under way any more, and the primary is the same.
    CalledOff,
    /// Whether a quorum of Sentinels gets no answer of the primary.
    ObjectivelyDown(bool),
    /// What the primary's ping link says.
    Node(NodeState),
    /// Whether the Sentinels' majority names, at a higher epoch, a primary that is not confirmed yet.
    Superseded(bool),
    /// Another primary is named and confirmed.
    Named,
    /// The first link is up and checked.
    LinkUp,
    /// The first link was lost, or could not be opened.
    LinkLost,
    /// Whether neither the Sentinels' majority nor any replica can be reached.
    Isolated(bool),
    /// It is known what other sidecars put back on the primary, or that it can't be known.
    Joined,
    /// A write was acknowledged without the primary, here or by another sidecar.
    Unsettled,
    /// A reply said that this node takes no such request now.
    Refused(Scope),
    /// What is held has reached its bounds.
    Full,
    /// Time has passed.
    Tick,
}

/// What is known of the node at the primary's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// It is the primary, and answers.
    Answers,
    /// It does not answer in time.
    Silent,
    /// It is a replica, or another process than the one known.
    Changed,
}

/// Where the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Requests flow.
    Serving,
    /// Requests wait for a primary to be named, or for the known one.
    Holding,
    /// A primary was named; its first link is being opened.
    Connecting,
    /// A bound was hit: requests are refused at once.
    Shedding,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Serving,
        Self::Holding,
        Self::Connecting,
        Self::Shedding,
    ];

    /// Returns the word for logs and the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Holding => "holding",
            Self::Connecting => "connecting",
            Self::Shedding => "shedding",
        }
    }

    /// The legal moves, written once.
    pub fn may_become(self, next: Self) -> bool {
        use Phase::{Connecting, Holding, Serving, Shedding};
        match (self, next) {
            (from, to) if from == to => true,
            // A refusal right after a hold that had used up its time.
            (Serving, Holding | Connecting | Shedding) => true,
            (Holding, Serving | Connecting | Shedding) => true,
            (Connecting, Serving | Holding | Shedding) => true,
            (Shedding, Serving) => true,
            _ => false,
        }
    }
}

/// All that the machine knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    phase: Phase,
    signs: Signs,
    /// What began the hold.
    first: Sign,
    /// When the hold began; while Serving, the last one.
    since: Time,
    /// While Serving: when the last hold ended.
    ended: Option<Time>,
    /// A primary was named since the hold began.
    named: bool,
    /// Another primary is joined before it is served from.
    joins: bool,
    /// When what was refused is tried again, and how often it was.
    retry_at: Option<Time>,
    retries: u32,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// A hold began.
    pub began: bool,
    /// Leave the links to the old primary, whatever their health, and dial the new one.
    pub leave: bool,
    /// What is held may go on, or be looked at again: less is held than before, or everything is refused now.
    pub release: bool,
    /// The hold is over.
    pub ended: bool,
}

impl State {
    /// Starts without a link; in Sentinel mode without a primary. Where it `joins`, each primary is joined before it is served
    /// from.
    pub fn new(named: bool, joins: bool, now: Time) -> Self {
        let first = match named {
            true => Sign::Unlinked,
            false => Sign::Unnamed,
        };
        Self {
            phase: match named {
                true => Phase::Connecting,
                false => Phase::Holding,
            },
            signs: match joins {
                true => Signs::of(&[first, Sign::Unlinked, Sign::Unjoined]),
                false => Signs::of(&[first, Sign::Unlinked]),
            },
            first,
            since: now,
            ended: None,
            named,
            joins,
            retry_at: None,
            retries: 0,
        }
    }

    /// Returns where the machine is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns what is known to be wrong.
    pub fn signs(&self) -> Signs {
        self.signs
    }

    /// Returns what is stopped; `None` while Serving.
    pub fn scope(&self) -> Option<Scope> {
        self.signs.scope()
    }

    /// Returns what began the hold.
    pub fn first(&self) -> Sign {
        self.first
    }

    /// Returns since when requests are held; `None` while Serving.
    pub fn since(&self) -> Option<Time> {
        (self.phase != Phase::Serving).then_some(self.since)
    }

    /// Returns when [`Event::Tick`] has something to do next.
    pub fn next_tick(&self, deadline: Duration) -> Option<Time> {
        let over = match self.phase {
            Phase::Holding | Phase::Connecting => self.since.checked_add(deadline),
            Phase::Serving | Phase::Shedding => None,
        };
        over.into_iter().chain(self.retry_at).min()
    }

    /// Takes in an event. `deadline` is how long a hold may last.
    pub fn step(self, event: Event, now: Time, deadline: Duration) -> (Self, Effects) {
        let mut next = self.learn(event, now);
        let began = self.phase == Phase::Serving && !next.signs.is_empty();
        if began {
            next.begin(event, now);
        }
        let over = now.saturating_sub(next.since) >= deadline;
        next.phase = match self.phase {
            _ if next.signs.is_empty() => Phase::Serving,
            Phase::Shedding => Phase::Shedding,
            _ if over || event == Event::Full => Phase::Shedding,
            _ if next.named && next.signs.is_within(&[Sign::Unlinked, Sign::Unjoined]) => {
                Phase::Connecting
            }
            _ => Phase::Holding,
        };
        let ended = self.phase != Phase::Serving && next.phase == Phase::Serving;
        if ended {
            next.ended = Some(now);
            next.retry_at = None;
        }
        let sheds = next.phase == Phase::Shedding && self.phase != Phase::Shedding;
        let effects = Effects {
            began,
            leave: event == Event::Named,
            release: ended || sheds || next.scope() < self.scope(),
            ended,
        };
        (next, effects)
    }

    /// What the event says of the signs.
    fn learn(mut self, event: Event, now: Time) -> Self {
        use Sign::*;
        let (add, take): (Option<Sign>, &[Sign]) = match event {
            Event::Announced => (Some(Announced), &[]),
            Event::CalledOff => (None, &[Announced]),
            Event::ObjectivelyDown(true) => (Some(ObjectivelyDown), &[]),
            Event::ObjectivelyDown(false) => (None, &[ObjectivelyDown]),
            Event::Node(NodeState::Answers) => (None, &[Silent, Changed]),
            Event::Node(NodeState::Silent) => (Some(Silent), &[Changed]),
            Event::Node(NodeState::Changed) => (Some(Changed), &[Silent]),
            Event::Superseded(true) => (Some(Superseded), &[]),
            Event::Superseded(false) => (None, &[Superseded]),
            Event::Named => (Some(Unlinked), &Sign::ALL),
            Event::LinkUp => (None, &[Unlinked]),
            Event::LinkLost => (Some(Unlinked), &[]),
            Event::Joined => (None, &[Unjoined, Unsettled]),
            Event::Unsettled => (Some(Unsettled), &[]),
            Event::Isolated(true) => (Some(Isolated), &[]),
            Event::Isolated(false) => (None, &[Isolated]),
            Event::Refused(Scope::Writes) => (Some(RefusesWrites), &[]),
            Event::Refused(Scope::All) => (Some(RefusesAll), &[]),
            Event::Tick if self.retry_at.is_some_and(|at| at <= now) => {
                (None, &[RefusesWrites, RefusesAll])
            }
            Event::Tick | Event::Full => (None, &[]),
        };
        self.signs = self.signs.without(take);
        if let Some(sign) = add {
            self.signs = self.signs.with(sign);
        }
        if event == Event::Named {
            self.named = true;
            if self.joins {
                self.signs = self.signs.with(Unjoined);
            }
        }
        let refused = self.signs.has(RefusesWrites) || self.signs.has(RefusesAll);
        self.retry_at = match (refused, self.retry_at) {
            (false, _) => None,
            (true, Some(at)) => Some(at),
            (true, None) => {
                let pause = RETRY_MIN.saturating_mul(1 << self.retries.min(8));
                self.retries = self.retries.saturating_add(1);
                now.checked_add(pause.min(RETRY_MAX))
            }
        };
        self
    }

    /// A hold begins, or the one before goes on: what was let go to see whether it is taken now was refused again.
    fn begin(&mut self, event: Event, now: Time) {
        let goes_on = matches!(event, Event::Refused(_))
            && self
                .ended
                .is_some_and(|ended| now.saturating_sub(ended) < SAME_HOLD);
        if !goes_on {
            self.since = now;
            self.retries = u32::from(matches!(event, Event::Refused(_)));
            self.named = event == Event::Named;
        }
        self.first = self.signs.iter().next().unwrap_or(Sign::Unlinked);
    }
}

#[cfg(test)]
mod tests;
