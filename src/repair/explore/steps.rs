//! Which steps a world may take.

use super::scene::{Kind, Scene};
use super::state::Journal;
use super::world::{Phase, Status, World};

/// One step; writes by their place in the scene, sidecars by their number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Send(usize),
    /// The server of its sidecar runs it.
    Run(usize),
    /// HLEN and PTTL run behind it.
    Look(usize),
    /// Its answer arrives, is written down, and told to the app.
    Answer(usize),
    AnswerLocally(usize),
    /// A sidecar leaves for the last primary, and may know what that has inherited.
    Switch {
        sidecar: usize,
        knows: bool,
    },
    Hold(usize),
    /// The failover was called off.
    Return(usize),
    /// A sidecar learns of a round that another one has opened on its primary.
    Join(usize),
    /// All but what was answered locally.
    Compare(usize),
    Repair(usize),
    Report(usize),
    /// What the last primary runs from now on is not replicated to the next one.
    Cut,
    /// The round ends by time.
    End,
    Lose(usize),
}

/// The first of a sidecar's writes with this status, or all of them where they are no sequence.
fn next<'a>(
    world: &'a World,
    scene: &'a Scene,
    index: usize,
    is_next: impl Fn(Status) -> bool + 'a,
    in_order: bool,
) -> impl Iterator<Item = usize> + 'a {
    let places = (0..scene.ops.len())
        .filter(move |place| scene.ops[*place].0 == index)
        .filter(move |place| is_next(world.ops[*place].status));
    places.take(if in_order { 1 } else { usize::MAX })
}

impl World {
    /// Returns all steps.
    pub(super) fn steps(&self, scene: &Scene, steps: &mut Vec<Step>) {
        steps.clear();
        let is_used = |on: u8| self.sidecars.iter().any(|sidecar| sidecar.on == on);
        if self.failovers > 0 && is_used(self.last) {
            steps.push(Step::Cut);
        }
        let server = &self.servers[usize::from(self.last)];
        if self.ends > 0 && server.round == Phase::Open {
            steps.push(Step::End);
        }
        for index in 0..2 {
            self.steps_of_ops(scene, index, steps);
            self.steps_of_links(scene, index, steps);
            self.steps_of_repair(scene, index, steps);
        }
    }

    fn steps_of_ops(&self, scene: &Scene, index: usize, steps: &mut Vec<Step>) {
        let in_order = scene.shell.one_sequence;
        let is_sent = |status| matches!(status, Status::Flight | Status::Marked);
        steps.extend(next(self, scene, index, is_sent, in_order).map(Step::Run));
        let has_run = |status| matches!(status, Status::Run | Status::Looked);
        let has_run = next(self, scene, index, has_run, in_order);
        steps.extend(has_run.map(|place| match self.ops[place].status {
            Status::Run if scene.ops[place].1 == Kind::Create => Step::Look(place),
            _ => Step::Answer(place),
        }));
        let waits = |status| status == Status::Waiting;
        for place in next(self, scene, index, waits, true) {
            if self.may_send(scene, place) {
                steps.push(Step::Send(place));
            }
            if self.may_answer_locally(scene, place) {
                steps.push(Step::AnswerLocally(place));
            }
        }
    }

    fn may_send(&self, scene: &Scene, place: usize) -> bool {
        let (owner, kind) = scene.ops[place];
        let sidecar = &self.sidecars[owner];
        if sidecar.holding {
            return false;
        }
        if !kind.is_relative() || !sidecar.joined {
            return true;
        }
        let is_open = self.server(owner).round == Phase::Open;
        (sidecar.repaired || !scene.shell.waits_for_own)
            && (!is_open || scene.hasty || !scene.shell.waits_for_peers)
    }

    fn may_answer_locally(&self, scene: &Scene, place: usize) -> bool {
        let (owner, kind) = scene.ops[place];
        self.sidecars[owner].holding
            && matches!(kind, Kind::Set | Kind::Delete)
            && (!scene.shell.local_when_idle || !self.has_in_flight(scene, owner))
    }

    fn has_in_flight(&self, scene: &Scene, index: usize) -> bool {
        self.in_flight(scene, index) != 0
    }

    fn steps_of_links(&self, scene: &Scene, index: usize, steps: &mut Vec<Step>) {
        let sidecar = &self.sidecars[index];
        if sidecar.on < self.last {
            let knows = sidecar.journal.parts().any(|part| part.at == self.last);
            for knows in [false, true].into_iter().take(1 + usize::from(knows)) {
                steps.push(Step::Switch {
                    sidecar: index,
                    knows,
                });
            }
        }
        if self.losses > 0 && self.has_in_flight(scene, index) {
            steps.push(Step::Lose(index));
        }
        if self.returns > 0 && !sidecar.holding && sidecar.reported {
            steps.push(Step::Hold(index));
        }
        if sidecar.holding && sidecar.on == self.last {
            steps.push(Step::Return(index));
        }
    }

    fn steps_of_repair(&self, scene: &Scene, index: usize, steps: &mut Vec<Step>) {
        let sidecar = &self.sidecars[index];
        if sidecar.holding {
            return;
        }
        let server = self.server(index);
        if !sidecar.joined {
            if server.round == Phase::Open {
                steps.push(Step::Join(index));
            }
            return;
        }
        let is_answered = sidecar.awaits & self.in_flight(scene, index) == 0;
        // Who answered locally applies it when all others have compared what they have.
        let have_others = server.has_reported[1 - index] || server.has_compared[1 - index];
        let is_turn = !sidecar.local || !scene.shell.compares_first || {
            sidecar.compared && (have_others || server.round != Phase::Open)
        };
        if sidecar.local && !sidecar.compared && is_answered && scene.shell.compares_first {
            steps.push(Step::Compare(index));
        }
        if !sidecar.repaired && is_turn && is_answered {
            steps.push(Step::Repair(index));
        }
        let is_quiet = !scene.shell.reports_last || !self.has_in_flight(scene, index);
        if sidecar.repaired && !sidecar.reported && is_quiet {
            steps.push(Step::Report(index));
        }
    }

    /// Forgets what can't matter any more, so that more states are the same.
    pub(super) fn forget(&mut self, scene: &Scene) {
        let may_return = |world: &Self| {
            let mut sidecars = world.sidecars.iter();
            world.returns > 0 || sidecars.any(|sidecar| sidecar.holding || sidecar.local)
        };
        if self.failovers > 0 || may_return(self) || !scene.shell.returns_in_round {
            return;
        }
        let last = self.last;
        for sidecar in &mut self.sidecars {
            let is_over = sidecar.on == last && sidecar.joined && sidecar.repaired;
            if is_over && sidecar.decided.is_none() {
                sidecar.journal = Journal::default();
            }
        }
    }
}
