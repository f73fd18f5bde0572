//! What a lost link and a switch of primary do to a world.

use super::super::{FlightId, Rules};
use super::server::{Answer, GENERAL, Request, TRACKED};
use super::world::{Waiting, World};

impl<R: Rules> World<R> {
    pub(super) fn lose(&mut self) {
        self.scene.losses -= 1;
        self.server.tracking = false;
        let lost = std::mem::take(&mut self.links[TRACKED])
            .requests
            .into_iter();
        self.orphans
            .extend(lost.filter(|request| matches!(request, Request::Write { .. })));
        self.give_up(TRACKED, &[]);
        self.end_flights(&[]);
        self.dial();
    }

    /// The new primary has all that the old one had; what is under way to the old one is lost.
    pub(super) fn switch(&mut self) {
        self.scene.switches -= 1;
        self.server.tracking = false;
        for lane in [TRACKED, GENERAL] {
            self.links[lane].requests.clear();
            if self.scene.shell.drop_old_answers {
                self.links[lane].answers.clear();
            }
            let coming: Vec<Answer> = self.links[lane].answers.iter().cloned().collect();
            self.give_up(lane, &coming);
            if lane == TRACKED {
                self.end_flights(&coming);
            }
        }
        self.dial();
    }

    /// Whoever waits on a link hears of its loss, but for what still comes.
    fn give_up(&mut self, lane: usize, coming: &[Answer]) {
        for index in 0..self.clients.len() {
            let program = self.scene.programs[index];
            let comes = |number: usize| {
                coming.iter().any(|answer| match answer {
                    Answer::Value { client, op, .. } | Answer::Done { client, op, .. } => {
                        (*client, *op) == (index, number)
                    }
                    _ => false,
                })
            };
            let gone = |waiting: &Waiting| program[waiting.op].lane() == lane && !comes(waiting.op);
            let (lost, left): (Vec<Waiting>, _) =
                self.clients[index].waiting.drain(..).partition(gone);
            self.clients[index].waiting = left;
            for _ in lost.iter().filter(|waiting| program[waiting.op].writes()) {
                self.core.write_ended(self.slot());
            }
        }
    }

    fn end_flights(&mut self, coming: &[Answer]) {
        let ids: Vec<usize> = self.core.flights.iter().map(|(id, _)| id).collect();
        for id in ids.into_iter().map(|id| FlightId(id as u32)) {
            let comes = |answer: &Answer| matches!(answer, Answer::Ttl(of, _) if *of == id);
            if !coming.iter().any(comes) {
                self.core.abandoned(id);
                self.held_at_value.retain(|(other, _)| *other != id);
            }
        }
    }

    fn dial(&mut self) {
        self.serial += 1;
        self.agreed = false;
        self.server.remembers = false;
        self.links[TRACKED].requests.push_back(Request::Track);
    }
}
