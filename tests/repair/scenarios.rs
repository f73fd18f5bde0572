//! What happens to the primary; the writes that it has acknowledged stay.

use crate::harness::Version;

use super::stage::{Scene, it_is_repaired, prove};

/// Nothing happens: what the checker says of other runs is not of its own making, nor of the traffic's.
pub(crate) fn undisturbed(version: &Version) {
    for sidecars in [1, 3] {
        let scene = Scene {
            on_hosts: false,
            sidecars,
            ..Scene::of("undisturbed")
        };
        it_is_repaired(&scene, version, |_, _| {});
    }
}

/// The primary's host is gone without a word, and replication to the others ended `cut` seconds before.
pub(crate) fn host_lost(version: &Version, name: &'static str, cut: f64, down_after_ms: u32) {
    let scene = Scene {
        down_after_ms,
        ..Scene::of(name)
    };
    prove(&scene, version, |_, fault| {
        let lost = down_after_ms / 1000 + 3;
        fault.run("lose-host", &[&lost.to_string(), &fault.seconds(cut)]);
    });
}

pub(crate) fn host_lost_04(version: &Version) {
    host_lost(version, "host lost, cut 0.4 s", 0.4, 1000);
}
