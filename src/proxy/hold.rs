//! The failover machine in the data path: what it is told, which requests it stops, who waits and goes on.
//!
//! While requests are held, the front request of a client that needs the primary stalls it (`Stall::Held`) and stays in
//! its input: so its order is kept, and with the client everything of it is gone. Whatever can be answered here still is:
//! handshakes, cached sessions (`stale.rs`), their touches.

use std::time::Duration;

use crate::command::keys::touched;
use crate::command::table::{Access, Kind, Touch};
use crate::config::Hold as Limits;
use crate::downstream::client::{Rewound, Stall};
use crate::error::Waited;
use crate::failover::episode::Book;
use crate::failover::hold::{Bounds, Hold, Share};
use crate::failover::machine::{Effects, Event, Phase, Scope, Sign, Signs, State, Time};
use crate::failover::scripts::Scripts;
use crate::id::ClientId;
use crate::metrics::{ClearCause, CloseCause, ErrorKind};
use crate::upstream::registry::Health;

use super::Proxy;
use super::refusal::kind_of_refusal;
use super::requests::{Request, Taken};

/// The machine with all that it decides about.
pub(super) struct Failover {
    pub(super) state: State,
    /// What is stopped; none while requests flow.
    pub(super) gate: Option<Scope>,
    /// Nothing waits: what is stopped is refused.
    pub(super) sheds: bool,
    pub(super) held: Hold,
    limits: Limits,
    /// After which time the Sentinels take a primary for down, where that is known.
    down_after: Option<Duration>,
    pub(super) started: tokio::time::Instant,
    /// Another primary was named since requests were last served: what was kept before is not of it.
    switched: bool,
    /// Links to a primary that does not answer are left at the next opportunity.
    leaves: bool,
    /// Bodies of scripts that passed.
    pub(super) scripts: Scripts,
    /// How often a link to a primary came up: it may be another one each time.
    pub(super) primaries: u64,
    /// What each hold came to.
    pub(super) book: Book,
    /// Requests that waited at the end of a hold, of all holds.
    pub(super) released: u64,
    /// The request in hand was taken back from a link, and may have run there.
    pub(super) replaying: Option<bool>,
}

impl Failover {
    /// Starts with no link.
    pub(super) fn new(limits: Limits, named: bool, joins: bool, now: tokio::time::Instant) -> Self {
        let state = State::new(named, joins, Time::ZERO);
        Self {
            gate: state.scope(),
            sheds: false,
            state,
            held: Hold::default(),
            limits,
            down_after: None,
            started: now,
            switched: false,
            leaves: false,
            scripts: Scripts::default(),
            primaries: 0,
            book: Book::default(),
            released: 0,
            replaying: None,
        }
    }

    /// Returns how long a hold may last.
    pub(super) fn deadline(&self) -> Duration {
        let election = self.down_after.map(|time| time + Limits::MARGIN);
        self.limits
            .deadline
            .or(election)
            .unwrap_or(Limits::DEADLINE)
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            requests: self.limits.requests_max,
            bytes: self.limits.bytes_max,
        }
    }
}

impl Proxy {
    /// Tells the failover machine what happened, and does what it says.
    pub(super) fn failover_event(&mut self, event: Event) {
        let now = self.now - self.failover.started;
        let deadline = self.failover.deadline();
        let before = self.failover.state;
        let (state, effects) = before.step(event, now, deadline);
        if state == before && effects == Effects::default() {
            return;
        }
        self.failover.state = state;
        self.failover.gate = state.scope();
        self.failover.sheds = state.phase() == Phase::Shedding;
        self.failover.switched |= event == Event::Named;
        self.log_phase(before, event);
        if effects.began {
            self.counters.hold.holds[state.first() as usize] += 1;
            self.begin_episode(self.address());
            self.note_hold_began();
            self.notify_hold(true);
        }
        let falls_silent = state.signs().has(Sign::Silent) && !before.signs().has(Sign::Silent);
        if effects.began || falls_silent {
            self.note_acknowledging_from();
        }
        // What waits in a link to a primary that does not answer is not waited for any longer, either.
        let sheds = self.failover.sheds && before.phase() != Phase::Shedding;
        self.failover.leaves |= sheds && state.signs().has(Sign::Silent);
        if effects.ended {
            self.end_hold();
        }
        if effects.ended || sheds {
            self.leave_replica();
        }
        if effects.release {
            self.release_held();
        }
        if state.signs() == Signs::of(&[Sign::Unsettled]) {
            self.return_to_primary();
        }
    }

    fn log_phase(&self, before: State, event: Event) {
        let state = self.failover.state;
        if before.phase() == state.phase() {
            return;
        }
        let (from, to) = (before.phase().as_str(), state.phase().as_str());
        let now = self.now - self.failover.started;
        let since = before.since().unwrap_or(now);
        let elapsed_ms = now.saturating_sub(since).as_millis() as u64;
        let signs: Vec<&str> = state.signs().iter().map(|sign| sign.reason()).collect();
        let held = self.failover.held.clients();
        let reason = signs.join(", ");
        match state.phase() {
            Phase::Shedding => {
                tracing::warn!(
                    from,
                    to,
                    ?event,
                    reason,
                    held,
                    elapsed_ms,
                    "requests are refused"
                );
            }
            Phase::Serving | Phase::Holding | Phase::Connecting => {
                tracing::info!(from, to, ?event, reason, held, elapsed_ms, "failover phase");
            }
        }
    }

    /// There is a primary: what was kept of another one is of no use.
    fn end_hold(&mut self) {
        if std::mem::take(&mut self.failover.switched) {
            self.clear_cache(ClearCause::Switch);
        }
        self.end_episode();
        self.write_acknowledged();
        self.note_hold_ended();
        self.notify_hold(false);
    }

    /// Lets everybody go on who waits, in order.
    fn release_held(&mut self) {
        // The list of those to be looked at is taken from its end.
        for id in self.failover.held.take().into_iter().rev() {
            self.unstall(id, Stall::Held);
            self.end_waiting(id);
        }
    }

    /// Looks at those again who wait: some may go on by now. Who goes on waiting is counted once.
    pub(super) fn look_again_at_held(&mut self) {
        for id in self.failover.held.take().into_iter().rev() {
            self.unstall(id, Stall::Held);
        }
    }

    /// What a client sends next, and has to wait, is counted anew.
    pub(super) fn end_waiting(&mut self, id: ClientId) {
        if let Some(client) = self.client(id) {
            client.is_held_counted = false;
        }
    }

    /// Tells whether requests wait for a primary at the moment, rather than being refused.
    pub(super) fn may_wait(&self) -> bool {
        self.failover.gate.is_some() && !self.failover.sheds
    }

    /// Stops a request that may not be sent now; `None` when it may.
    #[cold]
    pub(super) fn stop(&mut self, request: &Request<'_>, scope: Scope) -> Option<Taken> {
        if let Some(taken) = self.stop_acknowledged(request) {
            return Some(taken);
        }
        if self.passes(request, scope) {
            return None;
        }
        if let Some(taken) = self.answer_held(request, scope) {
            return Some(taken);
        }
        if let Some(taken) = self.ask_replica(request, scope) {
            return Some(taken);
        }
        if let Some(taken) = self.acknowledge(request) {
            return Some(taken);
        }
        self.ask_whether_there(request, scope);
        Some(self.no_primary(request))
    }

    /// Tells whether a request goes on although requests are held.
    fn passes(&self, request: &Request<'_>, scope: Scope) -> bool {
        let client = &self.clients[request.client as usize];
        let multi = client.held.multi;
        match request.command.kind {
            Kind::Ping
            | Kind::Echo
            | Kind::Select
            | Kind::Hello
            | Kind::Auth
            | Kind::Client
            | Kind::Quit
            | Kind::Reset => !multi || scope == Scope::Writes,
            Kind::Unwatch => {
                !client.held.watch || self.lost_its_watch(request.client) || scope == Scope::Writes
            }
            Kind::Exec => false,
            Kind::OwnConnection | Kind::Monitor | Kind::Config | Kind::Rescue => {
                scope == Scope::Writes
            }
            // Queued only.
            _ if multi => scope == Scope::Writes,
            Kind::Multi | Kind::Watch => false,
            _ => scope == Scope::Writes && request.command.access == Access::Read,
        }
    }

    /// There is no link for a request: it waits for one, or is refused.
    pub(super) fn no_link(&mut self, request: &Request<'_>) -> Taken {
        match self.failover.gate {
            None => {
                self.refuse(request.client, ErrorKind::Masterdown);
                Taken::Bytes(request.length)
            }
            Some(_) => self.no_primary(request),
        }
    }

    /// There is no primary for a request: it waits for one, or is refused.
    pub(super) fn no_primary(&mut self, request: &Request<'_>) -> Taken {
        if self.failover.sheds {
            let may_have_run = self.failover.replaying == Some(true);
            let kind = kind_of_refusal(may_have_run);
            self.counters.hold.shed += 1;
            let client = &mut self.clients[request.client as usize];
            // A transaction that lacks a command must not be executed.
            if client.is_queueing() {
                client.poison();
                client.poisoned = !may_have_run;
            }
            let ends = matches!(request.command.kind, Kind::Exec | Kind::Discard);
            if client.poisoned && ends && request.words.len() == 1 {
                return self.dispatch_poisoned(*request);
            }
            self.refuse(request.client, kind);
            return Taken::Bytes(request.length);
        }
        self.note_held_keys(request);
        self.hold_client(request.client, request.length);
        Taken::Stalled
    }

    /// Lets a client wait with its front request, which has that many bytes.
    pub(super) fn hold_client(&mut self, index: u32, bytes: usize) {
        let client = &mut self.clients[index as usize];
        client.stall = Stall::Held;
        let is_counted = std::mem::replace(&mut client.is_held_counted, true);
        self.counters.hold.held += u64::from(!is_counted);
        self.enter_hold(index, bytes);
    }

    fn enter_hold(&mut self, index: u32, bytes: usize) {
        let client = &self.clients[index as usize];
        let rewound: usize = client.rewound.iter().map(Rewound::len).sum();
        let share = Share {
            requests: 1 + client.rewound.len(),
            bytes: bytes + client.input.len() + rewound,
        };
        let id = client.id(index);
        self.failover.held.enter(id, share);
        if self.failover.held.is_over(self.failover.bounds()) {
            self.failover_event(Event::Full);
        }
    }

    /// More has come from a client that waits.
    pub fn note_input(&mut self, index: u32) {
        if self.clients[index as usize].stall == Stall::Held {
            self.enter_hold(index, 0);
        }
    }

    /// What a client awaited was taken back: it is looked at again at the end of the turn, and waits, goes on, or is answered
    /// here.
    pub(super) fn wait_or_go_on(&mut self, id: ClientId) {
        if let Some(client) = self.client(id) {
            client.stall = Stall::Held;
            self.unstall(id, Stall::Held);
        }
    }

    /// A client that waits is gone: nothing of it will be executed.
    pub fn give_up(&mut self, index: u32) {
        self.counters.hold.gave_up += 1;
        self.remove_client(index, CloseCause::Client);
    }

    /// Looks at what was taken back of a client; its input is next when nothing of that is left.
    pub fn serve_rewound(&mut self, index: u32) {
        while let Some(client) = self.clients.get_mut(index as usize)
            && matches!(client.stall, Stall::None | Stall::PinnedDenied)
            && client.closing.is_none()
            && let Some(rewound) = client.rewound.pop_front()
        {
            match rewound {
                Rewound::Answer(bytes) => self.answer(index, |out| out.extend_from_slice(&bytes)),
                Rewound::Request {
                    bytes,
                    may_have_run,
                } => {
                    self.failover.replaying = Some(may_have_run);
                    self.clients[index as usize].replayed |= may_have_run;
                    let done = self.serve(index, &bytes);
                    self.failover.replaying = None;
                    if done < bytes.len() {
                        let bytes = bytes[done..].into();
                        let rest = Rewound::Request {
                            bytes,
                            may_have_run,
                        };
                        self.clients[index as usize].rewound.push_front(rest);
                        return;
                    }
                }
            }
        }
    }

    /// Keys of a request that waits: no touch of them is answered meanwhile.
    fn note_held_keys(&mut self, request: &Request<'_>) {
        if request.command.access == Access::Read || request.command.touch == Touch::Deadline {
            return;
        }
        let found = touched(&request.command, request.bytes, request.words);
        self.note_held(found, |index| request.word(index));
    }

    /// What was waited for and how long, for an error.
    pub(super) fn waited(&self) -> Option<Waited> {
        let state = self.failover.state;
        let since = state.since()?;
        let now = self.now - self.failover.started;
        Some(Waited {
            reason: state
                .signs()
                .iter()
                .next()
                .unwrap_or(state.first())
                .reason(),
            time: now.saturating_sub(since),
        })
    }

    /// Returns how long requests may still be held; zero where none are.
    pub(super) fn hold_left(&self) -> Duration {
        let now = self.now - self.failover.started;
        let since = self.failover.state.since();
        let end = since.map_or(Duration::ZERO, |since| {
            since.saturating_add(self.failover.deadline())
        });
        end.saturating_sub(now)
    }

    /// After so long the Sentinels take a primary for down.
    pub fn learn_down_after(&mut self, time: Duration) {
        self.failover.down_after = Some(time);
    }

    /// Brings the figures of the hold up to date.
    pub fn count_hold(&mut self) {
        let total = self.failover.held.total();
        let hold = &mut self.counters.hold;
        hold.held_now = total.requests as u64;
        hold.held_bytes = total.bytes as u64;
        hold.phase = self.failover.state.phase() as usize;
    }

    /// Tells whether requests are held or refused.
    pub fn is_holding(&self) -> bool {
        self.failover.gate.is_some()
    }

    /// Does what is due by now.
    pub(super) fn tick_failover(&mut self) {
        if std::mem::take(&mut self.failover.leaves) {
            self.registry.health = Health::Starting;
            self.fail_all_links();
        }
        let deadline = self.failover.deadline();
        let now = self.now - self.failover.started;
        let due = self.failover.state.next_tick(deadline);
        if due.is_some_and(|due| due <= now) {
            self.failover_event(Event::Tick);
        }
    }

    /// Tells when [`Proxy::tick_failover`] has something to do next.
    pub(super) fn next_failover_tick(&self) -> Option<tokio::time::Instant> {
        if self.failover.leaves {
            return Some(self.now);
        }
        let due = self.failover.state.next_tick(self.failover.deadline())?;
        self.failover.started.checked_add(due)
    }
}
