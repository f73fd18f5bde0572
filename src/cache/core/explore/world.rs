//! One world: the server, two links, two clients, and the real cache between them.

use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use super::super::{Ask, Core, FlightId, Question, Rules, Tracking};
use super::one_key::OneKey;
use super::scene::{Op, Scene};
use super::server::{Answer, GENERAL, Link, Request, Seen, Server, TRACKED};
use crate::cache::entry::{Kept, Millis, Store};
use crate::cache::fence::{Fence, SlotId};
use crate::id::ClientId;

/// When the key that may expire does.
const DEADLINE: Millis = 100;

pub(super) const KEY: &[u8] = b"k";

/// Requests that a client has unanswered at most.
const PIPELINE: usize = 2;

/// One step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The client sends its next request.
    Send(usize),
    /// The server runs the next request of a link.
    Serve(usize),
    /// The next answer of a link arrives.
    Arrive(usize),
    /// A write of a lost link runs after all.
    ServeOrphan,
    /// Somebody else writes.
    ForeignWrite,
    /// The tracked link is lost.
    Lose,
    /// Another server becomes primary.
    Switch,
    /// The deadline comes.
    Expire,
    /// The server deletes what has expired.
    Reap,
    /// What was checked before is inserted now.
    InsertLate,
}

/// A request that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Waiting {
    pub(super) op: usize,
    /// The newest write that was acknowledged to anybody when it was sent.
    pub(super) floor: u8,
    pub(super) place: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) next: usize,
    pub(super) waiting: Vec<Waiting>,
    /// Which version each request saw or made, by its number.
    pub(super) outcomes: Vec<Option<u8>>,
}

/// Everything.
pub(super) struct World<R> {
    pub(super) scene: Scene,
    pub(super) now: Millis,
    pub(super) server: Server,
    pub(super) links: [Link; 2],
    pub(super) orphans: Vec<Request>,
    pub(super) serial: u32,
    pub(super) agreed: bool,
    pub(super) clients: [Client; 2],
    pub(super) acknowledged: u8,
    pub(super) place: u64,
    pub(super) core: Core<OneKey, BuildHasherDefault<DefaultHasher>, R>,
    /// Of flights, whether the fence held when the value came.
    pub(super) held_at_value: Vec<(FlightId, bool)>,
    pub(super) insert_late: Option<Kept>,
}

impl<R: Rules> Clone for World<R> {
    fn clone(&self) -> Self {
        Self {
            scene: self.scene.clone(),
            server: self.server.clone(),
            links: self.links.clone(),
            orphans: self.orphans.clone(),
            clients: self.clients.clone(),
            core: Core {
                store: self.core.store.clone(),
                fence: self.core.fence.clone(),
                flights: self.core.flights.clone(),
                joinable: self.core.joinable.clone(),
                ..self.core
            },
            held_at_value: self.held_at_value.clone(),
            insert_late: self.insert_late.clone(),
            ..*self
        }
    }
}

impl<R: Rules> Hash for World<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let scene = &self.scene;
        (scene.foreign_writes, scene.losses, scene.switches).hash(state);
        (self.now, &self.server, &self.links, &self.orphans).hash(state);
        (self.serial, self.agreed, &self.clients, self.acknowledged).hash(state);
        (&self.core.store, &self.core.fence.state(KEY)).hash(state);
        for (id, flight) in &self.core.flights {
            let joinable = self.core.joinable.get(&flight.asked);
            (id, flight, joinable).hash(state);
        }
        (&self.held_at_value, &self.insert_late).hash(state);
    }
}

impl<R: Rules> World<R> {
    pub(super) fn new(scene: &Scene) -> Self {
        let fence = Fence::with_slots(1, BuildHasherDefault::default());
        Self {
            now: 0,
            server: Server {
                version: 1,
                exists: true,
                deadline: scene.expires.then_some(DEADLINE),
                tracking: !scene.untracked,
                refuses: scene.refuses,
                remembers: false,
            },
            links: Default::default(),
            orphans: Vec::new(),
            serial: 1,
            agreed: true,
            clients: Default::default(),
            acknowledged: 1,
            place: 0,
            core: Core::new(OneKey::default(), fence),
            held_at_value: Vec::new(),
            insert_late: None,
            scene: scene.clone(),
        }
    }

    fn link(&self) -> Tracking {
        let untracked = self.scene.untracked;
        let keeps = self.agreed || untracked || !self.scene.shell.await_tracking;
        Tracking {
            serial: self.serial,
            ttl: keeps.then_some(1_000_000),
            announces: !untracked,
            joined_for: 1_000_000,
            lease_until: Millis::MAX,
        }
    }

    fn passes_are_changes(&self) -> bool {
        self.scene.untracked && self.scene.shell.passes_are_changes
    }

    pub(super) fn slot(&self) -> SlotId {
        self.core.fence.slot(KEY)
    }

    fn question<'a>(&self, shape: &'a [u8; 1], after: Option<u64>) -> Question<'a> {
        Question {
            key: KEY,
            database: 0,
            shape,
            link: self.link(),
            now: self.now,
            after,
        }
    }

    /// What may happen now.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for index in 0..self.clients.len() {
            if self.may_send(index) {
                steps.push(Step::Send(index));
            }
        }
        for (index, link) in self.links.iter().enumerate() {
            if !link.requests.is_empty() {
                steps.push(Step::Serve(index));
            }
            if !link.answers.is_empty() {
                steps.push(Step::Arrive(index));
            }
        }
        let expired = self.server.deadline.is_some_and(|at| at <= self.now);
        let more = [
            (!self.orphans.is_empty(), Step::ServeOrphan),
            (self.scene.foreign_writes > 0, Step::ForeignWrite),
            (self.scene.losses > 0, Step::Lose),
            (self.scene.switches > 0, Step::Switch),
            (self.scene.expires && self.now == 0, Step::Expire),
            (self.server.exists && expired, Step::Reap),
            (self.insert_late.is_some(), Step::InsertLate),
        ];
        steps.extend(more.iter().filter(|(may, _)| *may).map(|(_, step)| *step));
        steps
    }

    fn may_send(&self, index: usize) -> bool {
        let (client, program) = (&self.clients[index], self.scene.programs[index]);
        let Some(op) = program.get(client.next) else {
            return false;
        };
        let elsewhere = |waiting: &Waiting| program[waiting.op].lane() != op.lane();
        client.waiting.len() < PIPELINE
            && !(self.scene.shell.wait_for_lane && client.waiting.iter().any(elsewhere))
    }

    /// Takes a step; tells whether it served a read from the cache.
    ///
    /// # Errors
    /// The guarantee that it broke.
    pub(super) fn take(&mut self, step: Step) -> Result<bool, String> {
        match step {
            Step::Send(client) => return self.send(client),
            Step::Serve(link) => {
                if let Some(request) = self.links[link].requests.pop_front() {
                    self.server.serve(link, request, self.now, &mut self.links);
                }
            }
            Step::Arrive(link) => {
                if let Some(answer) = self.links[link].answers.pop_front() {
                    self.arrive(answer)?;
                }
            }
            Step::ServeOrphan => {
                if let Request::Write { exists, .. } = self.orphans.remove(0) {
                    self.server.change(exists, &mut self.links);
                }
            }
            Step::ForeignWrite => {
                self.scene.foreign_writes -= 1;
                self.server.change(true, &mut self.links);
            }
            Step::Lose => self.lose(),
            Step::Switch => self.switch(),
            Step::Expire => self.now = DEADLINE,
            Step::Reap => self.server.reap(&mut self.links),
            Step::InsertLate => {
                if let Some(kept) = self.insert_late.take() {
                    self.core.store.keep(KEY, kept);
                }
            }
        }
        Ok(false)
    }

    fn send(&mut self, index: usize) -> Result<bool, String> {
        let number = self.clients[index].next;
        let op = self.scene.programs[index][number];
        let after = self.clients[index].waiting.last().map(|last| last.place);
        self.clients[index].next += 1;
        self.clients[index].outcomes.push(None);
        self.place += 1;
        let waiting = Waiting {
            op: number,
            floor: self.acknowledged,
            place: self.place,
        };
        let (client, op_number) = (index, number);
        let get = |flight| Request::Get {
            client,
            op: op_number,
            flight,
        };
        match op {
            Op::Read { shape } => {
                let shape = [shape];
                let after = after.filter(|_| self.scene.shell.wait_for_own);
                let question = self.question(&shape, after);
                let reply = self.core.look_up(&question, |kept| kept.reply.to_vec());
                if let Some(reply) = reply {
                    return self.served(index, waiting, &reply);
                }
                match self.core.ask(&question, self.place) {
                    Ask::Join(flight) => self.core.join(flight, name(index, number)),
                    Ask::Lead(flight) => self.links[TRACKED]
                        .requests
                        .extend([get(Some(flight)), Request::Ttl(flight)]),
                    Ask::Pass => {
                        if self.passes_are_changes() {
                            self.core.write_sent(KEY);
                        }
                        self.links[TRACKED].requests.push_back(get(None));
                    }
                }
            }
            Op::GeneralRead => self.links[GENERAL].requests.push_back(get(None)),
            Op::Write | Op::Delete | Op::GeneralDelete | Op::Transaction => {
                self.core.write_sent(KEY);
                let requests = &mut self.links[op.lane()].requests;
                if op == Op::Transaction {
                    requests.push_back(Request::Queue);
                }
                requests.push_back(Request::Write {
                    client,
                    op: op_number,
                    exists: matches!(op, Op::Write | Op::Transaction),
                });
            }
        }
        self.clients[index].waiting.push(waiting);
        Ok(false)
    }

    /// A read is answered from the cache.
    fn served(&mut self, client: usize, waiting: Waiting, reply: &[u8]) -> Result<bool, String> {
        let seen = Seen::from_bytes(reply);
        let live = self.server.sees(self.now);
        if seen.version == live.version && seen.exists && !live.exists {
            return Err("expiry: served past its deadline".into());
        }
        self.answered(client, waiting, seen.version)?;
        Ok(true)
    }

    fn arrive(&mut self, answer: Answer) -> Result<(), String> {
        match answer {
            Answer::Value {
                client,
                op,
                flight,
                seen,
            } => self.value_came(client, op, flight, seen)?,
            Answer::Ttl(flight, ttl) => self.ttl_came(flight, ttl),
            Answer::Done {
                client,
                op,
                version,
            } => {
                let transaction = self.scene.programs[client][op] == Op::Transaction;
                if !transaction || self.scene.shell.spoil_at_exec {
                    self.core.write_ended(self.slot());
                }
                if let Some(waiting) = self.take_waiting(client, op) {
                    self.answered(client, waiting, version)?;
                    self.acknowledged = self.acknowledged.max(version);
                }
            }
            Answer::Queued if !self.scene.shell.spoil_at_exec => self.core.write_ended(self.slot()),
            Answer::Queued => {}
            Answer::Tracking(agreed) => self.agreed = agreed,
            Answer::Changed => self.core.changed(KEY),
        }
        Ok(())
    }

    fn value_came(
        &mut self,
        client: usize,
        op: usize,
        flight: Option<FlightId>,
        seen: Seen,
    ) -> Result<(), String> {
        let general = self.scene.programs[client][op].lane() == GENERAL;
        if general && self.scene.shell.spoil_by_other_reads {
            self.core.changed(KEY);
        }
        if flight.is_none() && !general && self.passes_are_changes() {
            self.core.write_ended(self.slot());
        }
        let mut readers = vec![(client, op)];
        if let Some(id) = flight {
            let flight = self.core.flights.get(id.0 as usize);
            let held = flight.is_some_and(|flight| self.core.fence.holds(flight.ticket));
            self.held_at_value.push((id, held));
            let joined = self.core.arrives(id, self.link());
            self.core.replied(id, seen.bytes(), Some(seen.exists));
            let place = |reader: ClientId| (reader.index as usize, reader.serial as usize);
            readers.extend(joined.into_iter().map(place));
        }
        for (client, op) in readers {
            if let Some(waiting) = self.take_waiting(client, op) {
                self.answered(client, waiting, seen.version)?;
            }
        }
        Ok(())
    }

    fn ttl_came(&mut self, id: FlightId, ttl: i64) {
        let held_at_value = self.held_at_value.contains(&(id, true));
        self.held_at_value.retain(|(other, _)| *other != id);
        let shell = &self.scene.shell;
        if shell.insert_at_once && shell.end_at_ttl {
            self.core.landed(id, Some(ttl), self.link(), self.now);
            return;
        }
        let Some(flight) = self.core.flights.try_remove(id.0 as usize) else {
            return;
        };
        let holds = match shell.end_at_ttl {
            true => self.core.fence.holds(flight.ticket),
            false => held_at_value,
        };
        let kept = flight
            .keep(Some(ttl), self.now)
            .filter(|_| holds && flight.link == self.serial);
        if !shell.insert_at_once {
            self.insert_late = kept;
        } else if let Some(kept) = kept {
            self.core.store.keep(KEY, kept);
        }
    }

    fn take_waiting(&mut self, client: usize, op: usize) -> Option<Waiting> {
        let waiting = &mut self.clients[client].waiting;
        let at = waiting.iter().position(|waiting| waiting.op == op)?;
        Some(waiting.remove(at))
    }

    /// A client hears of a version: own writes, program order, never back.
    fn answered(&mut self, index: usize, waiting: Waiting, version: u8) -> Result<(), String> {
        let writes = self.scene.programs[index][waiting.op].writes();
        if !writes && version < waiting.floor {
            let floor = waiting.floor;
            return Err(format!(
                "own writes: client {index} read {version} after {floor} was acknowledged"
            ));
        }
        let outcomes = &mut self.clients[index].outcomes;
        for (other, outcome) in outcomes.iter().enumerate() {
            let Some(seen) = *outcome else { continue };
            let in_order = match other < waiting.op {
                true => seen <= version,
                false => version <= seen,
            };
            if !in_order {
                let op = waiting.op;
                return Err(format!(
                    "order: client {index}, requests {other} and {op} saw {seen} and {version}"
                ));
            }
        }
        outcomes[waiting.op] = Some(version);
        Ok(())
    }

    /// When nothing is under way, nothing stale is left.
    ///
    /// # Errors
    /// The guarantee that is broken.
    pub(super) fn settled(&self) -> Result<(), String> {
        let idle = |link: &Link| link.requests.is_empty() && link.answers.is_empty();
        let quiet = self.links.iter().all(idle) && self.orphans.is_empty();
        // Where nothing is announced, only time ends what is stale.
        if !quiet || self.insert_late.is_some() || self.scene.untracked {
            return Ok(());
        }
        let mut world = self.clone();
        for shape in [[0], [1]] {
            let question = self.question(&shape, None);
            let Some(reply) = world.core.look_up(&question, |kept| kept.reply.to_vec()) else {
                continue;
            };
            let (kept, true_one) = (Seen::from_bytes(&reply), self.server.sees(self.now));
            if kept != true_one {
                return Err(format!("convergence: {kept:?} is kept of {true_one:?}"));
            }
        }
        Ok(())
    }
}

/// A reader, and which of its requests it is.
fn name(client: usize, op: usize) -> ClientId {
    ClientId {
        index: client as u32,
        serial: op as u32,
    }
}
