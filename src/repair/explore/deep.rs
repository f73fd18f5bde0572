//! Deeper searches: minutes, in a release build.

use super::*;

#[test]
#[ignore = "minutes in release"]
fn deep_two_failovers() {
    for place in 0..variations(Scene::new(Vec::new(), 2)).len() {
        let scenes = Scene::all(2, 2).into_iter();
        holds(
            "two failovers",
            scenes.map(|scene| variations(scene).swap_remove(place).1),
        );
    }
}

#[test]
#[ignore = "minutes in release"]
fn deep_three_writes() {
    let scenes = Scene::all(3, 1).into_iter();
    let hasty = scenes.map(|scene| Scene {
        hasty: true,
        ..scene
    });
    holds("three writes", hasty);
    let scenes = Scene::all(3, 0).into_iter();
    let returns = scenes.map(|scene| Scene {
        returns: 2,
        hasty: true,
        ..scene
    });
    holds("three writes, called off", returns);
}

/// Four writes, two failovers, everything but skew at once, a million ways.
///
/// With skew it finds one that is let be: a SET that is known to be inherited, though a DEL that overlapped it ran later, leaves
/// its mark; a SET of the DEL's own sidecar within the error of the clocks is then superseded by it, and the key stays absent.
#[test]
#[ignore = "minutes in release"]
fn deep_walks() {
    let mut state: u64 = 1;
    let mut chance = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % bound
    };
    let mut core = Core::default();
    for _ in 0..1_000_000 {
        let ops = (0..4).map(|_| (chance(2), Kind::ALL[chance(5)])).collect();
        let scene = Scene {
            hasty: chance(2) == 0,
            ends: chance(2) as u8,
            losses: chance(2) as u8,
            returns: chance(3) as u8,
            ..Scene::new(ops, 1 + chance(2) as u8)
        };
        if let Some(violation) = walk::<Sound>(&scene, &mut core, &mut chance).violation {
            panic!("{scene:?}: {violation}");
        }
    }
}
