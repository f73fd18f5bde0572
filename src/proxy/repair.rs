//! Repair in the data path ([`crate::repair`]): what another primary lacks is put back on it, over a link of its own.
//!
//! ```text
//!  named ──► Joining ────────► Folding ─────► Repairing ─────► Reported ──────► Idle
//!            TIME, INFO,       the journal,   repair.lua,      the others:      beat.lua
//!            open.lua          in slices      a key each       look.lua         each second
//!            └── requests are held ──┘        └─ writes carry marks ──┘
//! ```
//!
//! The first primary is joined too: a round may be open on it, and other sidecars are to know of this one before it writes.
//! Where the server does not let us, or the link can't be opened, nothing is put back, and what is lost by that is counted.
//!
//! `link.rs` and `answers.rs` have what is asked over the link and answered, `folding.rs` what is to be compared, `gate.rs` which requests wait,
//! `marked.rs` how writes are marked, `account.rs` what is counted.

mod account;
mod answers;
mod folding;
mod gate;
mod link;
pub(super) mod marked;
mod reseed;
mod returned;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::config::{Config, Hold};
use crate::failover::machine::Sign;
use crate::id::{ClientId, LinkId};
use crate::journal::{Micros, Seq};
use crate::repair::fold::{Fold, Own};
use crate::repair::script::{Names, Script};
use crate::repair::stamp::{Clock, Moment, Stamp};
use crate::repair::tally::Tally;
use crate::seam::Entropy;
use crate::upstream::registry::Health;

use super::Proxy;
use account::Account;

/// How long after the primary was reached it may take to join it: then requests go on without repair.
const JOIN_PATIENCE: Duration = Duration::from_secs(3);

/// How long a link that was lost, or could not be opened, is not opened again.
pub(super) const RETRY: Duration = Duration::from_millis(100);

/// How often others are asked for: while something waits for them, and then.
const LOOK_SOON: Duration = Duration::from_millis(10);
const LOOK_LATER: Duration = Duration::from_millis(250);

/// How often it is looked whether what is on its way has been answered.
const DRAIN_LOOK: Duration = Duration::from_millis(1);

/// How often a report is given again, so that a round ends although a sidecar has died, and how often a heartbeat.
const REPORT_EVERY: Duration = Duration::from_secs(1);
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Rounds that are remembered.
const PAST_MAX: usize = 8;

/// A sidecar without a heartbeat for so long is forgotten. What is on the server outlives that (`KEEP_MS` of the scripts).
pub(super) const FORGET_MS: i64 = 600_000;

/// A key of a database.
pub(super) type KeyId = (u32, Bytes);

/// How a primary was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is the first: nothing is put back.
    First,
    /// It is another one.
    Switched {
        /// When trouble began, by the boot clock.
        trouble_at: Micros,
        /// It has lost what those before it had.
        lost_all: bool,
    },
    /// It is the same one, and writes were acknowledged without it.
    Returned {
        /// When trouble began, by the boot clock.
        trouble_at: Micros,
        /// They were acknowledged here, and a round is to be opened for them; else by another sidecar, which has opened it.
        opens: bool,
    },
}

impl Arrival {
    /// Tells whether the primary is the one before.
    pub(super) fn is_return(self) -> bool {
        matches!(self, Self::Returned { .. })
    }
}

/// How far the repair of the present primary is.
#[derive(Debug)]
pub(super) enum Stage {
    /// There is no primary.
    Off,
    /// Clock, history and round are asked for.
    Joining {
        /// Until when, once the primary was reached.
        until: Option<Instant>,
    },
    /// What is on its way to the primary is waited for, until then: it goes without marks.
    Draining(Stamp, Instant),
    /// The journal is read.
    Folding(Box<Fold>, Seq),
    /// Keys are repaired.
    Repairing,
    /// All own keys are; others have some to do.
    Reported,
    /// The round is over.
    Idle,
    /// It is not possible here.
    Unable,
}

/// A key that is to be repaired.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) own: Own,
    /// What was acknowledged without the primary, to be put back when all others have compared what they have.
    pub(super) later: Option<Own>,
    /// That is what `own` is.
    pub(super) is_deferred: bool,
    pub(super) is_sent: bool,
    /// Who waits for it.
    pub(super) waiting: Vec<ClientId>,
}

/// When something is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// To look who has reported.
    pub(super) look: Instant,
    /// To report once more.
    pub(super) report: Instant,
    /// The next heartbeat.
    pub(super) beat: Instant,
    /// To open the link.
    pub(super) dial: Instant,
}

/// The repair as the data path holds it.
pub(super) struct Repairing {
    pub(super) names: Names,
    /// This sidecar among the others.
    pub(super) id: String,
    /// Names of scripts on the server.
    pub(super) repair_sha: String,
    pub(super) mark_sha: String,
    window: Option<Duration>,
    recheck: Duration,
    peer_wait: Duration,
    pub(super) stage: Stage,
    pub(super) arrival: Arrival,
    /// The link, and what is known of it.
    pub(super) link: Option<LinkId>,
    pub(super) selected: u32,
    pub(super) is_loaded: bool,
    pub(super) is_asking: bool,
    pub(super) due: Due,
    /// The primary's clock, and how often it was asked over this link.
    pub(super) clock: Clock,
    pub(super) clock_asked: u32,
    /// Name of the primary's history, as its round bears it.
    pub(super) history: String,
    /// Number of the round.
    pub(super) round: i64,
    /// Rounds that this sidecar has seen, by the history that they were for, the newest last.
    past: VecDeque<(String, i64)>,
    /// That of this history is one of them: it is a matter of before, and another one is opened.
    reopens: bool,
    /// Until when others are waited for; `None` where they have reported.
    pub(super) peers_until: Option<Instant>,
    pub(super) works: HashMap<KeyId, Work>,
    /// Keys that are not sent yet; some may have been.
    pub(super) order: VecDeque<KeyId>,
    pub(super) unanswered: usize,
    /// Keys that wait until others have compared what they have, and whether they were told that this sidecar has.
    pub(super) deferred: usize,
    pub(super) has_checked: bool,
    /// A primary was joined: there is something to compare the next one with.
    has_joined: bool,
    /// Something that was acknowledged came too late for this round: it needs another one, when this one is over.
    pub(super) is_late: bool,
    /// Keys with something that waits for somebody to put them back, and the writes that they stand for.
    pub(super) pending: HashMap<KeyId, u64>,
    pub(super) waiting_for_peers: Vec<ClientId>,
    /// The first record that is compared.
    pub(super) from: Seq,
    pub(super) account: Account,
    /// Of all repairs.
    total: Tally,
    reseeded: u64,
    /// How long the last one took.
    last: Duration,
    /// It was said that the server does not let us.
    pub(super) is_said: bool,
}

impl Repairing {
    /// Makes it, where it is wanted.
    pub(super) fn new(config: &Config, entropy: &mut Entropy, now: Instant) -> Option<Box<Self>> {
        let wanted = &config.repair;
        let timeout = wanted.peer_timeout.as_millis() as i64;
        wanted.enabled.then(|| {
            Box::new(Self {
                names: Names::new(&wanted.prefix, timeout),
                id: format!("{:016x}", entropy.next_u64()),
                repair_sha: Script::Repair.sha(),
                mark_sha: Script::Mark.sha(),
                window: wanted.window,
                recheck: wanted.recheck,
                peer_wait: wanted.peer_wait,
                stage: Stage::Off,
                arrival: Arrival::First,
                link: None,
                selected: 0,
                is_loaded: false,
                is_asking: false,
                due: Due {
                    look: now,
                    report: now,
                    beat: now,
                    dial: now,
                },
                clock: Clock::default(),
                clock_asked: 0,
                history: String::new(),
                round: 0,
                past: VecDeque::new(),
                reopens: false,
                peers_until: None,
                works: HashMap::new(),
                order: VecDeque::new(),
                unanswered: 0,
                deferred: 0,
                has_checked: false,
                has_joined: false,
                is_late: false,
                pending: HashMap::new(),
                waiting_for_peers: Vec::new(),
                from: 0,
                account: Account::new(now),
                total: Tally::default(),
                reseeded: 0,
                last: Duration::ZERO,
                is_said: false,
            })
        })
    }

    /// Tells whether what is acknowledged without a primary can be put back later, as far as that is known.
    pub(super) fn can_put_back(&self) -> bool {
        self.has_joined && !matches!(self.stage, Stage::Off | Stage::Unable)
    }

    /// Tells whether a key is still to be repaired.
    pub(super) fn has_work(&self, database: u32, key: &[u8]) -> bool {
        let id = || (database, Bytes::copy_from_slice(key));
        !self.works.is_empty() && self.works.contains_key(&id())
    }

    /// Returns how long a round lasts, in milliseconds.
    pub(super) fn window_ms(&self, hold: Duration) -> i64 {
        let least = crate::config::Repair::WINDOW;
        let usual = least.max(hold + Hold::MARGIN);
        self.window.unwrap_or(usual).as_millis() as i64
    }

    /// Returns the stamp of an instant of the boot clock.
    pub(super) fn stamp(&self, at: Micros) -> Option<Stamp> {
        self.clock.stamp(Moment(at as i64))
    }

    /// Forgets all that was to be done on the primary before.
    fn begin(&mut self, arrival: Arrival, now: Instant) -> Vec<ClientId> {
        let waiting = self.forget_works();
        self.stage = Stage::Joining { until: None };
        self.arrival = arrival;
        self.link = None;
        self.due.dial = now;
        self.clock = Clock::default();
        if !arrival.is_return() {
            self.history.clear();
        }
        self.round = 0;
        self.reopens = false;
        self.is_late = false;
        self.account = Account::new(now);
        waiting
    }
}

impl Proxy {
    /// Another primary is named: it is to be joined, and what it lacks to be put back.
    pub fn begin_repair(&mut self, arrival: Arrival) {
        let now = self.now;
        self.interrupt_account();
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        let waiting = repairing.begin(arrival, now);
        self.in_round = false;
        self.let_go(waiting);
    }

    /// Returns when trouble began, by the boot clock: what was written shortly before may be missing.
    pub fn trouble_at(&self) -> Micros {
        let now = self.now - self.failover.started;
        let since = self.failover.state.since();
        let ago = since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let held_from = self.boot_micros.saturating_sub(ago.as_micros() as Micros);
        // An isolated primary goes on acknowledging what no replica gets.
        let unconfirmed = self
            .journal
            .as_ref()
            .and_then(|journal| journal.oldest_at_risk());
        // What was acknowledged in an earlier hold may not be put back yet.
        let acknowledged = self.acknowledging.kept.oldest();
        let all = unconfirmed.into_iter().chain(acknowledged);
        all.fold(held_from, Micros::min)
    }

    /// Lets clients be looked at again that waited for a key, or for others.
    pub(super) fn let_go(&mut self, waiting: Vec<ClientId>) {
        for id in waiting {
            self.failover.held.leave(id);
            self.unstall(id, crate::downstream::client::Stall::Held);
            self.end_waiting(id);
        }
    }

    /// Does what is due by now.
    pub(super) fn tick_repair(&mut self) {
        let (now, is_reached) = (self.now, self.is_reached());
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        match &mut repairing.stage {
            Stage::Off | Stage::Unable => return,
            Stage::Joining { until } if is_reached => {
                let until = *until.get_or_insert(now + JOIN_PATIENCE);
                if until <= now {
                    return self.give_up_repair("the primary does not answer in time");
                }
            }
            // Whoever waits for it then waits for more than that.
            Stage::Joining { until } => *until = None,
            Stage::Draining(horizon, until) => {
                let (horizon, until) = (*horizon, *until);
                return self.drain_for_round(horizon, until);
            }
            Stage::Folding(..) => return self.fold(),
            _ => {}
        }
        if repairing.peers_until.is_some_and(|until| until <= now) {
            self.stop_waiting_for_peers();
        }
        self.keep_repair_link();
        self.ask_what_is_due();
    }

    /// Tells whether the primary should answer what it is asked. One that is returned to is to take writes as well.
    fn is_reached(&self) -> bool {
        let arrival = self.repairing.as_ref().map(|it| it.arrival);
        let is_return = arrival.is_some_and(Arrival::is_return);
        let mut signs = self.failover.state.signs().iter();
        let is_no_matter = |sign: Sign| match sign {
            Sign::Announced | Sign::ObjectivelyDown | Sign::Isolated => true,
            Sign::Unjoined | Sign::Unsettled => true,
            Sign::RefusesWrites | Sign::RefusesAll => !is_return,
            Sign::Unnamed | Sign::Silent | Sign::Changed | Sign::Superseded | Sign::Unlinked => {
                false
            }
        };
        self.registry.health == Health::Up && signs.all(is_no_matter)
    }

    /// Tells when [`Proxy::tick_repair`] has something to do next.
    pub(super) fn next_repair_tick(&self) -> Option<Instant> {
        let repairing = self.repairing.as_ref()?;
        let due = &repairing.due;
        let link = match repairing.link {
            None if self.registry.health == Health::Up => Some(due.dial),
            _ => None,
        };
        let stage = match &repairing.stage {
            Stage::Off | Stage::Unable => return None,
            Stage::Joining { until } => *until,
            Stage::Draining(_, until) => Some((*until).min(self.now + DRAIN_LOOK)),
            Stage::Folding(..) => Some(self.now),
            Stage::Repairing if repairing.waits_to_put_back() => {
                let until = repairing.peers_until.unwrap_or(due.look);
                Some(until.min(due.look))
            }
            Stage::Repairing => repairing.peers_until,
            Stage::Reported => {
                let next = due.look.min(due.report);
                Some(repairing.peers_until.map_or(next, |until| until.min(next)))
            }
            Stage::Idle => Some(due.beat),
        };
        // What is due on a link that is not up waits for that.
        let is_up = repairing.link.is_some() && !repairing.is_asking;
        let stage = match repairing.stage {
            Stage::Repairing | Stage::Reported | Stage::Idle if !is_up => repairing.peers_until,
            _ => stage,
        };
        link.into_iter().chain(stage).min()
    }

    /// Others have reported, or were waited for long enough.
    pub(super) fn stop_waiting_for_peers(&mut self) {
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        repairing.peers_until = None;
        let waiting = std::mem::take(&mut repairing.waiting_for_peers);
        self.let_go(waiting);
    }

    /// The pause to the next look.
    pub(super) fn pause_to_look(&self) -> Duration {
        let waits = self
            .repairing
            .as_ref()
            .is_some_and(|repairing| repairing.peers_until.is_some());
        match waits {
            true => LOOK_SOON,
            false => LOOK_LATER,
        }
    }
}

/// What is asked of the server now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Check,
    Report,
    Look,
    Beat,
}

impl Repairing {
    /// Returns what is due, and puts it off.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Wanted> {
        let is_waiting = self.waits_to_put_back();
        let due = &mut self.due;
        match self.stage {
            Stage::Repairing if is_waiting && !std::mem::replace(&mut self.has_checked, true) => {
                Some(Wanted::Check)
            }
            Stage::Repairing if is_waiting && due.look <= now => Some(Wanted::Look),
            Stage::Reported if due.report <= now => {
                due.report = now + REPORT_EVERY;
                Some(Wanted::Report)
            }
            Stage::Reported if due.look <= now => Some(Wanted::Look),
            Stage::Idle if due.beat <= now => {
                due.beat = now + BEAT_EVERY;
                Some(Wanted::Beat)
            }
            _ => None,
        }
    }

    /// Returns until when others are waited for from now on.
    pub(super) fn wait_for_peers(&self, now: Instant) -> Instant {
        now + self.peer_wait
    }

    /// Nothing more is done on this primary; returns who waited for something.
    fn abandon(&mut self) -> Vec<ClientId> {
        self.stage = Stage::Unable;
        self.forget_works()
    }

    /// Forgets what was to be put back, by whomever; returns who waited for it.
    fn forget_works(&mut self) -> Vec<ClientId> {
        self.peers_until = None;
        self.order.clear();
        self.pending.clear();
        self.deferred = 0;
        self.has_checked = false;
        let mut waiting = std::mem::take(&mut self.waiting_for_peers);
        waiting.extend(self.works.drain().flat_map(|(_, work)| work.waiting));
        waiting
    }
}
