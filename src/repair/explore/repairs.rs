//! What a sidecar compares and puts back, and when it says so.

use super::super::marks::Rules;
use super::scene::{Kind, Scene};
use super::state::{Answer, Core, Journal, NOWHERE, Part, Question, Session};
use super::world::{Op, Phase, Status, World};

impl World {
    /// Who answered locally compares what it has written to the server, which leaves marks.
    pub(super) fn compare<R: Rules>(&mut self, core: &mut Core, index: usize) {
        let sidecar = self.sidecars[index];
        let mut journal = sidecar.journal;
        journal.retain(|part| part.at != NOWHERE);
        let server = self.server(index);
        let answer = core.repair::<R>(Question {
            journal,
            known: sidecar.known,
            key: server.key,
            marks: server.marks,
            is_closed: server.round != Phase::Open,
        });
        let server = self.server_mut(index);
        server.key = answer.key;
        if server.round == Phase::Open {
            server.marks = answer.marks;
        }
        server.has_compared[index] = true;
        self.sidecars[index].compared = true;
    }

    pub(super) fn repair<R: Rules>(&mut self, scene: &Scene, core: &mut Core, index: usize) {
        let sidecar = self.sidecars[index];
        let server = self.server(index);
        let answer = core.repair::<R>(Question {
            journal: sidecar.journal,
            known: sidecar.known,
            key: server.key,
            marks: server.marks,
            is_closed: server.round != Phase::Open && scene.shell.server_tells,
        });
        match scene.shell.one_step {
            true => self.apply_repair(scene, index, answer),
            false => self.sidecars[index].decided = Some(answer),
        }
    }

    pub(super) fn apply_repair(&mut self, scene: &Scene, index: usize, answer: Answer) {
        let base = self.sidecars[index].journal.base;
        let op = base.map(|base| self.ops[usize::from(base.op)]);
        let op = op.filter(|op| !op.is_raised);
        let checked = op.map_or(0, |op| op.dispatch);
        let peer = self.sidecars[1 - index];
        let is_beside = peer.on == self.sidecars[index].on && op.is_some();
        let is_peer_newer = is_beside && peer.checked > checked;
        let fields = self.sidecars[index].journal.fields;
        for (part, _) in fields.iter().zip(answer.pends).filter(|(_, pends)| *pends) {
            let Some(part) = part else { continue };
            let place = usize::from(part.op);
            self.ops[place].is_pending |= scene.ops[place].1 == Kind::Create;
        }
        let server = self.server_mut(index);
        let writes = base.is_some_and(|base| holds(answer.key, &base) && !holds(server.key, &base));
        server.key = answer.key;
        if server.round == Phase::Open {
            server.marks = answer.marks;
        }
        if answer.is_late {
            // Those that newer ones have replaced in the record, too.
            let own = |(_, (owner, _)): &(&mut Op, &(usize, Kind))| *owner == index;
            for (op, _) in self.ops.iter_mut().zip(&scene.ops).filter(own) {
                op.is_lost |= op.status == Status::Acked;
            }
        }
        self.overwrote |= writes && is_peer_newer && scene.skewed.is_none();
        let sidecar = &mut self.sidecars[index];
        sidecar.decided = None;
        sidecar.checked = checked;
        sidecar.repaired = true;
        sidecar.local = false;
        let on = sidecar.on;
        match scene.shell.repair_is_record {
            _ if answer.is_late => {}
            true => sidecar.journal.parts_mut().for_each(|part| part.at = on),
            false => sidecar.journal = Journal::default(),
        }
    }

    pub(super) fn report(&mut self, index: usize) {
        self.sidecars[index].reported = true;
        let server = self.server_mut(index);
        server.has_reported[index] = true;
        if server.round == Phase::Open && server.has_reported == [true; 2] {
            self.close(self.sidecars[index].on);
        }
    }
}

/// The key shows this whole value or delete.
fn holds(key: Session, base: &Part) -> bool {
    match (key, base.whole()) {
        (Some(value), Some(own)) => value.rest == own.rest && value.deadline == own.deadline,
        (key, own) => key.is_none() && own.is_none(),
    }
}
