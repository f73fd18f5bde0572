//! All worlds that one scene can become, or some of them by chance.

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::quality::FixedState;

use super::super::marks::Rules;
use super::scene::Scene;
use super::state::Core;
use super::steps::Step;
use super::world::World;

/// What a search found.
#[derive(Default)]
pub(super) struct Found {
    /// Distinct states seen.
    pub states: usize,
    /// The first guarantee that broke, with the steps to it.
    pub violation: Option<String>,
}

/// Visits every state once, the shortest ways first. States are told apart by 64 bits: among ten million, two collide once in
/// three hundred thousand runs.
pub(super) fn explore<R: Rules>(scene: &Scene, core: &mut Core) -> Found {
    let hasher = FixedState::default();
    let mut seen = HashSet::with_hasher(foldhash::fast::FixedState::default());
    let mut states = vec![(World::new(scene), 0, Step::Cut)];
    let mut steps = Vec::new();
    let mut at = 0;
    while at < states.len() {
        let world = states[at].0;
        if let Err(broken) = world.check(scene) {
            return Found {
                states: states.len(),
                violation: Some(format!("{broken}\n  {}", told(&states, at))),
            };
        }
        world.steps(scene, &mut steps);
        if steps.is_empty() && !world.rests(scene) {
            return Found {
                states: states.len(),
                violation: Some(format!("nothing goes on\n  {}", told(&states, at))),
            };
        }
        for &step in &steps {
            let mut next = world;
            next.take::<R>(scene, core, step);
            next.forget(scene);
            if seen.insert(hasher.hash_one(next)) {
                states.push((next, at, step));
            }
        }
        at += 1;
    }
    Found {
        states: states.len(),
        violation: None,
    }
}

fn told(states: &[(World, usize, Step)], mut at: usize) -> String {
    let mut steps = Vec::new();
    while at != 0 {
        steps.push(format!("{:?}", states[at].2));
        at = states[at].1;
    }
    steps.reverse();
    steps.join("\n  ")
}

/// Goes one way to its end, by chance; returns the steps it took.
pub(super) fn walk<R: Rules>(
    scene: &Scene,
    core: &mut Core,
    mut chance: impl FnMut(usize) -> usize,
) -> Found {
    let mut world = World::new(scene);
    let (mut path, mut steps) = (Vec::new(), Vec::new());
    loop {
        let violation = world.check(scene).err();
        world.steps(scene, &mut steps);
        if violation.is_some() || steps.is_empty() {
            let told = |broken| format!("{broken}\n  {path:?}");
            return Found {
                states: path.len(),
                violation: violation.map(told),
            };
        }
        let step = steps[chance(steps.len())];
        path.push(step);
        world.take::<R>(scene, core, step);
    }
}
