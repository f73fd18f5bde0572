//! What happens to links and primaries: switches, failovers that are called off, losses.

use super::scene::Scene;
use super::state::{NONE, NOWHERE, SmallMarks};
use super::world::{Phase, Server, Sidecar, Status, World, apply};

impl World {
    pub(super) fn switch(&mut self, scene: &Scene, index: usize, knows: bool) {
        for (place, (owner, _)) in scene.ops.iter().enumerate() {
            let op = &mut self.ops[place];
            let is_lost = match op.status {
                Status::Flight | Status::Marked => true,
                Status::Run | Status::Looked => scene.shell.reports_last,
                _ => false,
            };
            if *owner == index && is_lost {
                op.status = Status::Waiting;
            }
        }
        let last = self.last;
        let sidecar = &mut self.sidecars[index];
        sidecar.on = last;
        sidecar.known = if knows { last } else { NONE };
        sidecar.holding = false;
        sidecar.local = false;
        if knows && !scene.shell.checks_inherited {
            sidecar.journal.retain(|part| part.at != last);
        }
        if self.server(index).round == Phase::Never {
            self.open(index);
        }
        self.join(scene, index);
        for server in 0..last {
            if self.sidecars.iter().all(|sidecar| sidecar.on != server) {
                self.servers[usize::from(server)] = Server::default();
            }
        }
    }

    pub(super) fn open(&mut self, index: usize) {
        let on = self.sidecars[index].on;
        let server = self.server_mut(index);
        server.round = Phase::Open;
        server.has_reported = [false; 2];
        server.has_compared = [false; 2];
        server.marks = SmallMarks::default();
        for sidecar in &mut self.sidecars {
            sidecar.joined &= sidecar.on != on;
        }
    }

    pub(super) fn join(&mut self, scene: &Scene, index: usize) {
        let awaits = self.in_flight(scene, index);
        let sidecar = &mut self.sidecars[index];
        sidecar.joined = true;
        sidecar.awaits = if scene.shell.reports_last { awaits } else { 0 };
        sidecar.repaired = false;
        sidecar.reported = false;
        sidecar.compared = false;
        sidecar.checked = 0;
    }

    pub(super) fn return_to(&mut self, scene: &Scene, index: usize) {
        let sidecar = &mut self.sidecars[index];
        sidecar.holding = false;
        if !sidecar.local {
            return;
        }
        if !scene.shell.returns_in_round {
            let journal = sidecar.journal;
            sidecar.local = false;
            for part in journal.parts().filter(|part| part.at == NOWHERE) {
                let kind = scene.ops[usize::from(part.op)].1;
                apply(&mut self.server_mut(index).key, kind, part.op + 1);
            }
            self.located(index, NOWHERE);
            return;
        }
        sidecar.known = sidecar.on;
        if self.server(index).round != Phase::Open {
            self.open(index);
        }
        self.join(scene, index);
    }

    /// What was at `from` is at the server that the sidecar is on.
    fn located(&mut self, index: usize, from: u8) {
        let sidecar = &mut self.sidecars[index];
        let parts = sidecar.journal.parts_mut();
        for part in parts.filter(|part| part.at == from) {
            part.at = sidecar.on;
        }
    }

    /// The last primary is replaced by what a replica has of it at this instant.
    pub(super) fn cut(&mut self, scene: &Scene) {
        self.failovers -= 1;
        let last = self.last;
        // What was inherited from an earlier primary says nothing while its own round is not repaired: another sidecar may
        // have overwritten it there.
        let knows = |sidecar: &Sidecar| {
            sidecar.on == last && sidecar.repaired || !scene.shell.knows_one_back
        };
        self.last += 1;
        let key = self.servers[usize::from(last)].key;
        self.servers[usize::from(self.last)] = Server {
            key,
            ..Server::default()
        };
        for sidecar in self.sidecars.iter_mut().filter(|sidecar| knows(sidecar)) {
            let parts = sidecar.journal.parts_mut();
            parts
                .filter(|part| part.at == last)
                .for_each(|part| part.at += 1);
        }
        for (op, (owner, _)) in self.ops.iter_mut().zip(&scene.ops) {
            let has_run = matches!(op.status, Status::Run | Status::Looked);
            let is_there = has_run && op.at == last;
            op.at += u8::from(is_there && knows(&self.sidecars[*owner]));
            op.truly_at += u8::from(op.truly_at == last);
        }
    }

    pub(super) fn lose(&mut self, scene: &Scene, index: usize) {
        self.losses -= 1;
        for (place, (owner, _)) in scene.ops.iter().enumerate() {
            let op = &mut self.ops[place];
            if *owner == index && op.is_in_flight() {
                op.status = Status::Dropped;
            }
        }
    }
}
