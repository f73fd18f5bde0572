//! One world: servers that follow each other, two sidecars, and the writes of their apps.

use super::super::marks::Rules;
use super::explain::explain;
use super::scene::{Kind, Scene};
use super::state::{
    Answer, BaseOf, Core, Journal, NONE, NOWHERE, Part, Session, SmallMarks, Value,
};
use super::steps::Step;

/// Writes that a scene has at most.
pub(super) const OPS_MAX: usize = 4;

/// Between the stamps of two dispatches: marks that outrank others find room.
const STAMP_STEP: u8 = 6;

/// How far the clock of a skewed sidecar is behind: more than one dispatch, less than two.
const SKEW: u8 = 8;

/// How far the wall clock of the second sidecar's host is.
const WALL_SKEW: u8 = 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Status {
    #[default]
    Waiting,
    Flight,
    /// Its mark stands, and it has not run: where mark and write are no unit.
    Marked,
    Run,
    /// Its fields were counted, too.
    Looked,
    Acked,
    /// Given up: it may have run.
    Dropped,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Op {
    pub status: Status,
    /// Writes that were acknowledged before this one was sent, by place; those within the error of the clocks are not.
    pub before: u8,
    pub was_sent: bool,
    /// The number of its last dispatch.
    pub dispatch: u8,
    pub stamp: u8,
    /// The newest server that is known to have it.
    pub at: u8,
    /// The newest server that has it, known or not; `NONE` before it has run.
    pub truly_at: u8,
    /// It found the key.
    pub found: bool,
    /// Its fields were new, or seemed so, and all that the key had when they were counted.
    pub counted: BaseOf,
    /// Its mark outranked another one: its stamp is later than its dispatch.
    pub is_raised: bool,
    /// It carries its mark: it was sent by a sidecar that takes part in the round.
    pub is_unit: bool,
    /// Its answer is not promised to be right: it did not wait for peers, one missed the round, its primary was isolated, or
    /// somebody answered locally.
    pub is_hasty: bool,
    /// A create whose repair has left it pending; counted lost if it still is when the round closes.
    pub is_pending: bool,
    /// Counted lost: its record was not looked at, or it is pending at the end.
    pub is_lost: bool,
}

impl Op {
    pub(super) fn is_in_flight(&self) -> bool {
        matches!(
            self.status,
            Status::Flight | Status::Marked | Status::Run | Status::Looked
        )
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    #[default]
    Never,
    Open,
    Closed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub key: Session,
    pub marks: SmallMarks,
    pub round: Phase,
    pub has_reported: [bool; 2],
    /// Has compared what it has written there.
    pub has_compared: [bool; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sidecar {
    pub on: u8,
    /// What is at this server is known to be inherited.
    pub known: u8,
    /// It takes part in the round of its server.
    pub joined: bool,
    pub repaired: bool,
    pub reported: bool,
    pub holding: bool,
    /// Writes that it had sent before it took part, and that have no answer yet: they carry no mark.
    pub awaits: u8,
    /// The dispatch of the whole value or delete that it has checked in this round.
    pub checked: u8,
    /// It answered locally, and has not applied it.
    pub local: bool,
    /// It has compared all but that.
    pub compared: bool,
    /// What it will write without looking again.
    pub decided: Option<Answer>,
    pub journal: Journal,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub servers: [Server; 3],
    pub last: u8,
    pub sidecars: [Sidecar; 2],
    pub ops: [Op; OPS_MAX],
    pub dispatches: u8,
    pub failovers: u8,
    pub losses: u8,
    pub ends: u8,
    pub returns: u8,
    /// R3: a repair has overwritten what was dispatched later, and checked before.
    pub overwrote: bool,
}

impl World {
    pub(super) fn new(scene: &Scene) -> Self {
        let sidecar = Sidecar {
            on: 0,
            known: NONE,
            joined: false,
            repaired: true,
            reported: true,
            holding: false,
            awaits: 0,
            checked: 0,
            local: false,
            compared: false,
            decided: None,
            journal: Journal::default(),
        };
        let mut servers = [Server::default(); 3];
        servers[0].key = Some(scene.first());
        Self {
            servers,
            last: 0,
            sidecars: [sidecar; 2],
            ops: [Op {
                truly_at: NONE,
                ..Op::default()
            }; OPS_MAX],
            dispatches: 0,
            failovers: scene.failovers,
            losses: scene.losses,
            ends: scene.ends,
            returns: scene.returns,
            overwrote: false,
        }
    }

    pub(super) fn server(&self, sidecar: usize) -> &Server {
        &self.servers[usize::from(self.sidecars[sidecar].on)]
    }

    pub(super) fn server_mut(&mut self, sidecar: usize) -> &mut Server {
        &mut self.servers[usize::from(self.sidecars[sidecar].on)]
    }

    /// Stamps what happens now.
    fn stamp(&mut self, scene: &Scene, sidecar: usize) -> u8 {
        self.dispatches += 1;
        let skew = match scene.shell.one_clock {
            false if sidecar == 1 => WALL_SKEW,
            true if scene.skewed == Some(sidecar) => SKEW,
            _ => 0,
        };
        let stamp = 30 + STAMP_STEP * self.dispatches;
        stamp - skew
    }

    fn send(&mut self, scene: &Scene, place: usize) {
        let (owner, kind) = scene.ops[place];
        let stamp = self.stamp(scene, owner);
        let before = self.acknowledged_before(scene, owner);
        let server = self.server(owner);
        let joined = self.sidecars[owner].joined;
        let awaits = joined && server.round == Phase::Open;
        let is_alone = scene.ops.iter().all(|(other, _)| *other == owner);
        let dispatch = self.dispatches;
        let op = &mut self.ops[place];
        if !op.was_sent {
            op.before = before;
        }
        // Sent again, it may see what was sent behind it the first time.
        op.is_hasty |= op.was_sent && kind.is_relative();
        op.was_sent = true;
        op.is_unit = joined;
        op.is_raised = false;
        op.status = Status::Flight;
        op.dispatch = dispatch;
        op.stamp = stamp;
        if kind.is_relative() && awaits && scene.shell.waits_for_peers && !is_alone {
            op.is_hasty = true;
        }
    }

    fn acknowledged_before(&self, scene: &Scene, owner: usize) -> u8 {
        let mut before = 0;
        for (place, op) in self.ops.iter().enumerate() {
            if op.status != Status::Acked {
                continue;
            }
            let is_apart = scene.skewed.is_none() || self.dispatches - op.dispatch >= 2;
            if is_apart || scene.ops[place].0 == owner {
                before |= 1 << place;
            }
        }
        before
    }

    fn run<R: Rules>(&mut self, scene: &Scene, core: &mut Core, place: usize) {
        let (owner, kind) = scene.ops[place];
        let sidecar = self.sidecars[owner];
        let server = self.server(owner);
        let is_missed = server.round == Phase::Closed && server.has_reported != [true; 2];
        let is_unit = scene.shell.writes_mark && self.ops[place].is_unit;
        let marks = is_unit && server.round == Phase::Open;
        let write = place as u8 + 1;
        // Here a field is written only where the key is: what does nothing leaves no mark, but for a touch.
        let does = server.key.is_some() || !matches!(kind, Kind::Field(_));
        if marks && does && self.ops[place].status == Status::Flight {
            let dispatch = self.ops[place].stamp;
            let is_there = server.key.is_some();
            let (marks, stamp) = core.mark::<R>(server.marks, kind, write, dispatch, is_there);
            self.server_mut(owner).marks = marks;
            self.ops[place].stamp = stamp;
            self.ops[place].is_raised = stamp != dispatch;
            if !scene.shell.one_unit {
                self.ops[place].status = Status::Marked;
                return;
            }
        }
        let is_isolated =
            sidecar.on < self.last || self.sidecars.iter().any(|sidecar| sidecar.local);
        let op = &mut self.ops[place];
        op.status = Status::Run;
        op.at = sidecar.on;
        op.truly_at = match op.truly_at {
            NONE => sidecar.on,
            before => before.max(sidecar.on),
        };
        op.is_hasty |= (is_isolated || is_missed) && kind.is_relative();
        let server = self.server_mut(owner);
        let found = server.key.is_some();
        apply(&mut server.key, kind, write);
        self.ops[place].found = found;
    }

    fn look(&mut self, scene: &Scene, place: usize) {
        let key = self.server(scene.ops[place].0).key;
        let op = &mut self.ops[place];
        let is_new = |value: &Value| match scene.silent {
            _ if !scene.shell.counts_new_fields => true,
            true => value.deadline == NONE,
            false => !op.found,
        };
        let counted = key.filter(|value| value.rest == NONE).filter(is_new);
        op.status = Status::Looked;
        op.counted = match counted {
            Some(value) => BaseOf::Fields(value.deadline),
            _ => BaseOf::Nothing,
        };
    }

    fn answer(&mut self, scene: &Scene, place: usize) {
        let (owner, kind) = scene.ops[place];
        if !scene.shell.dispatch_stamps {
            self.ops[place].stamp = self.stamp(scene, owner);
        }
        let op = &mut self.ops[place];
        op.status = Status::Acked;
        let op = *op;
        let is_noted = match kind {
            Kind::Set | Kind::Create => true,
            Kind::Delete => op.found || scene.shell.empty_delete_is_record,
            Kind::Field(_) | Kind::Touch => op.found,
        };
        if is_noted {
            self.note(scene, place, op.at);
        }
    }

    fn note(&mut self, scene: &Scene, place: usize, at: u8) {
        let (owner, kind) = scene.ops[place];
        let part = Part {
            op: place as u8,
            stamp: self.ops[place].stamp,
            at,
            base: match kind {
                Kind::Set => BaseOf::Set,
                Kind::Delete => BaseOf::Delete,
                _ => self.ops[place].counted,
            },
        };
        self.sidecars[owner].journal.note(kind, part);
    }

    fn answer_locally(&mut self, scene: &Scene, place: usize) {
        self.send(scene, place);
        let op = &mut self.ops[place];
        op.status = Status::Acked;
        op.found = true;
        op.at = NOWHERE;
        self.sidecars[scene.ops[place].0].local = true;
        self.note(scene, place, NOWHERE);
    }

    pub(super) fn in_flight(&self, scene: &Scene, index: usize) -> u8 {
        let places = 0..scene.ops.len();
        let mine = places.filter(|place| scene.ops[*place].0 == index);
        mine.filter(|place| self.ops[*place].is_in_flight())
            .fold(0, |mask, place| mask | 1 << place)
    }

    pub(super) fn take<R: Rules>(&mut self, scene: &Scene, core: &mut Core, step: Step) {
        match step {
            Step::Send(place) => self.send(scene, place),
            Step::Run(place) => self.run::<R>(scene, core, place),
            Step::Look(place) => self.look(scene, place),
            Step::Answer(place) => self.answer(scene, place),
            Step::AnswerLocally(place) => self.answer_locally(scene, place),
            Step::Switch { sidecar, knows } => self.switch(scene, sidecar, knows),
            Step::Hold(index) => {
                self.returns -= 1;
                self.sidecars[index].holding = true;
            }
            Step::Return(index) => self.return_to(scene, index),
            Step::Join(index) => {
                self.sidecars[index].known = self.sidecars[index].on;
                self.join(scene, index);
            }
            Step::Compare(index) => self.compare::<R>(core, index),
            Step::Repair(index) => match self.sidecars[index].decided {
                Some(answer) => self.apply_repair(scene, index, answer),
                None => self.repair::<R>(scene, core, index),
            },
            Step::Report(index) => self.report(index),
            Step::Cut => self.cut(scene),
            Step::End => {
                self.ends -= 1;
                self.close(self.last);
            }
            Step::Lose(index) => self.lose(scene, index),
        }
    }

    pub(super) fn close(&mut self, on: u8) {
        let server = &mut self.servers[usize::from(on)];
        server.round = Phase::Closed;
        let marks = std::mem::take(&mut server.marks);
        for op in &mut self.ops {
            op.is_lost |= op.is_pending && marks.is_pending(op.stamp);
        }
    }

    /// Tells whether every write has an answer, and every sidecar has nothing left to do.
    pub(super) fn rests(&self, scene: &Scene) -> bool {
        let is_done = |op: &Op| matches!(op.status, Status::Acked | Status::Dropped);
        let rests = |sidecar: &Sidecar| {
            sidecar.on == self.last && sidecar.reported && !sidecar.holding && !sidecar.local
        };
        let server = &self.servers[usize::from(self.last)];
        self.ops[..scene.ops.len()].iter().all(is_done)
            && self.sidecars.iter().all(rests)
            && server.round != Phase::Open
    }

    /// Checks the guarantees where everything has come to rest.
    pub(super) fn check(&self, scene: &Scene) -> Result<(), String> {
        let ops = &self.ops[..scene.ops.len()];
        // A write that its sender gave up, and that was run and inherited, is one whose writer crashed: an older record may win
        // over it, which is not promised otherwise.
        let is_in_doubt = |op: &Op| op.status == Status::Dropped && op.truly_at == self.last;
        if ops.iter().any(is_in_doubt) {
            return Ok(());
        }
        if self.overwrote {
            return Err("R3: a repair has overwritten a later dispatch".into());
        }
        if !self.rests(scene) {
            return Ok(());
        }
        explain(scene, ops, self.servers[usize::from(self.last)].key)
    }
}

/// What a write does where it runs.
pub(super) fn apply(key: &mut Session, kind: Kind, write: u8) {
    match (kind, key) {
        (Kind::Set, key) => *key = Some(Value::of(write)),
        (Kind::Delete, key) => *key = None,
        (Kind::Field(name), Some(value)) => value.fields[name] = write,
        (Kind::Touch, Some(value)) => value.deadline = write,
        (Kind::Field(_) | Kind::Touch, None) => {}
        (Kind::Create, Some(value)) => value.fields = [write; 2],
        (Kind::Create, key) => *key = Some(Value::made(write, NONE)),
    }
}
