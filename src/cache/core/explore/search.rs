//! Depth-first search over the worlds that one scene can become.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::super::Rules;
use super::scene::Scene;
use super::world::World;

/// States that one scene may have; more means that the scene is too large, not that it is right.
const STATES_MAX: usize = 3_000_000;

/// What a search found.
pub(super) struct Found {
    /// Distinct states seen.
    pub states: usize,
    /// Reads that were served from the cache.
    pub hits: usize,
    /// The first guarantee that broke, with the steps to it.
    pub violation: Option<String>,
}

/// Visits every state once.
pub(super) fn explore<R: Rules>(scene: &Scene) -> Found {
    let mut seen = HashSet::new();
    let mut found = Found {
        states: 0,
        hits: 0,
        violation: None,
    };
    visit(
        World::<R>::new(scene),
        &mut seen,
        &mut Vec::new(),
        &mut found,
    );
    found.states = seen.len();
    found
}

/// Two hashes of 64 bits: among millions of states, one of them would collide now and then.
fn fingerprint<R: Rules>(world: &World<R>) -> (u64, u64) {
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        world.hash(&mut hasher);
        hasher.finish()
    };
    (hash(0), hash(1))
}

fn visit<R: Rules>(
    world: World<R>,
    seen: &mut HashSet<(u64, u64)>,
    path: &mut Vec<String>,
    found: &mut Found,
) {
    if found.violation.is_some() || !seen.insert(fingerprint(&world)) {
        return;
    }
    assert!(seen.len() <= STATES_MAX, "the scene is too large");
    if let Err(broken) = world.settled() {
        found.violation = Some(format!("{broken}\n  {}", path.join("\n  ")));
        return;
    }
    for step in world.steps() {
        let mut next = world.clone();
        path.push(format!("{step:?}"));
        match next.take(step) {
            Err(broken) => found.violation = Some(format!("{broken}\n  {}", path.join("\n  "))),
            Ok(hit) => {
                found.hits += usize::from(hit);
                visit(next, seen, path, found);
            }
        }
        path.pop();
        if found.violation.is_some() {
            return;
        }
    }
}
