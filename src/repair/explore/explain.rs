//! Whether the final value is explained by what was acknowledged.

use super::scene::{Kind, Scene};
use super::state::{NONE, Session, Value};
use super::world::{Op, Status, apply};

/// Looks for an order of the writes that respects real time, gives every answer that was promised, and ends in `found`.
pub(super) fn explain(scene: &Scene, ops: &[Op], found: Session) -> Result<(), String> {
    if is_explained(scene, ops, 0, Some(scene.first()), found) {
        return Ok(());
    }
    let is_made = scene.ops.iter().any(|(_, kind)| *kind == Kind::Create);
    let is_partial = |value: Value| {
        value.fields.contains(&NONE) || !is_made && (value.rest == NONE || value.deadline == NONE)
    };
    let broken = match found {
        Some(value) if is_partial(value) => "R4: it is partial",
        Some(_) if is_logout(scene, ops) => "R2: a logout is undone",
        _ => "R1: no order explains it",
    };
    Err(format!("{broken}: {found:?} after {:?}", scene.ops))
}

/// A delete was acknowledged, and nothing that creates was sent after it or is older and unanswered.
fn is_logout(scene: &Scene, ops: &[Op]) -> bool {
    (0..ops.len()).any(|delete| {
        let is_before = |place: usize| ops[delete].before & 1 << place != 0;
        scene.ops[delete].1 == Kind::Delete
            && ops[delete].status == Status::Acked
            && !ops[delete].is_lost
            && (0..ops.len()).all(|place| !scene.ops[place].1.creates() || is_before(place))
    })
}

fn is_explained(scene: &Scene, ops: &[Op], placed: u8, key: Session, found: Session) -> bool {
    let is_placed = |place: usize| placed & 1 << place != 0;
    let rest = || (0..ops.len()).filter(|place| !is_placed(*place));
    if key == found && rest().all(|place| is_optional(scene, ops, place)) {
        return true;
    }
    for place in rest() {
        let awaits = |other: usize| {
            ops[place].before & 1 << other != 0
                && !is_placed(other)
                && !is_optional(scene, ops, other)
        };
        // Nobody looked at a late one: what is older may have won over it.
        if !ops[place].is_lost && (0..ops.len()).any(awaits) {
            continue;
        }
        let op = &ops[place];
        let is_promised = op.status == Status::Acked && !op.is_lost;
        if is_promised && tells(scene, ops, place) && op.found != key.is_some() {
            continue;
        }
        let mut next = key;
        apply(&mut next, scene.ops[place].1, place as u8 + 1);
        // An optional one that is left out is never placed; so those before it may come later.
        let is_next = |next| is_explained(scene, ops, placed | 1 << place, next, found);
        if is_next(next) {
            return true;
        }
    }
    false
}

/// Its answer says whether the key was there, and is promised to be right: it waited for peers, its primary was not isolated,
/// no write of another sidecar overlapped it, and no SET or create overlapped a DEL of the other sidecar: the failover may resolve the
/// two the other way than the old primary did.
fn tells(scene: &Scene, ops: &[Op], place: usize) -> bool {
    let (owner, kind) = scene.ops[place];
    let places = 0..ops.len();
    let is_foreign = |other: usize| scene.ops[other].0 != owner && overlap(ops, place, other);
    let is_either = |one: usize, other: usize| {
        scene.ops[one].1.creates()
            && scene.ops[other].1 == Kind::Delete
            && scene.ops[one].0 != scene.ops[other].0
            && overlap(ops, one, other)
    };
    kind.is_relative()
        && !ops[place].is_hasty
        && !places.clone().any(is_foreign)
        && !places
            .clone()
            .any(|one| places.clone().any(|other| is_either(one, other)))
}

/// Neither was acknowledged before the other was sent.
fn overlap(ops: &[Op], one: usize, other: usize) -> bool {
    ops[one].before & 1 << other == 0 && ops[other].before & 1 << one == 0
}

/// It may have had no effect: unanswered, counted lost, or it found no key and may have been wrong. Or it is a create that
/// found what another sidecar had deleted, and left fields of that.
fn is_optional(scene: &Scene, ops: &[Op], place: usize) -> bool {
    let op = &ops[place];
    let kind = scene.ops[place].1;
    let has_missed = kind.is_relative() && !kind.creates() && !op.found;
    let is_astray = kind == Kind::Create && op.found && op.is_hasty && !scene.lean;
    op.status == Status::Dropped
        || op.is_lost
        || is_astray
        || has_missed && !tells(scene, ops, place)
}
