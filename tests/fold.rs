//! Acknowledged writes that a new primary lacks come back as they were: requests by chance are run on one server and remembered,
//! another one gets only the first of them (a replica that was cut off), and what is remembered is folded and repaired there.
//! Then both must hold the same, but for keys of which nobody could know what they held: those are told, and counted.
//!
//! Three runs:
//! - *Plain*: nothing ends by itself, and every look is sent.
//! - *Rough*: deadlines pass meanwhile, looks are missing, and others write unseen, to both servers before the cut.
//! - *Doubt*: as plain, but of the newest writes that the second server has nobody knows that.
//!
//! And some sequences that are written down, in which another sidecar writes between (`fold/sidecars.rs`).
//!
//! `GRIPFAST_TEST_FOLDS` sets how many sequences each run has for each server version.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells by printing"
)]

#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "effects/actual.rs"]
mod actual;
#[path = "effects/commands.rs"]
mod commands;
#[path = "fold/costs.rs"]
mod costs;
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its part of the harness"
)]
mod harness;
#[path = "fold/looks.rs"]
mod looks;
#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "repair_script/server.rs"]
mod server;
#[path = "fold/sidecars.rs"]
mod sidecars;
#[path = "fold/stage.rs"]
mod stage;

use commands::Mix;
use harness::{Random, Server};
use stage::{Run, Stage};

/// Sequences of each run when nothing else is asked for.
const SEQUENCES: usize = 40;

fn sequences() -> usize {
    let asked = std::env::var("GRIPFAST_TEST_FOLDS").ok();
    asked
        .and_then(|text| text.parse().ok())
        .unwrap_or(SEQUENCES)
}

const PLAIN: Run = Run {
    mix: Mix::Plain,
    has_strangers: false,
    look_percent: 100,
    is_in_doubt: false,
    spoil: |_| (),
};

const ROUGH: Run = Run {
    mix: Mix::Rough,
    has_strangers: true,
    look_percent: 70,
    ..PLAIN
};

const DOUBT: Run = Run {
    is_in_doubt: true,
    ..PLAIN
};

fn on(name: &str) {
    let Some(version) = harness::version(name) else {
        return;
    };
    let servers = [Server::start(&version), Server::start(&version)];
    let seed = harness::seed(name);
    for (what, run) in [("plain", PLAIN), ("rough", ROUGH), ("doubt", DOUBT)] {
        let mut stage = Stage::new(&servers, Random::new(seed));
        if let Err(fault) = stage.run(run, sequences()) {
            panic!("{name}, {what}\n{fault}");
        }
        eprintln!("{name}, {what}: {:?}", stage.tally);
        let tally = &stage.tally;
        assert!(
            tally.same > 2 * (tally.blind + tally.lost),
            "hardly any came back"
        );
        assert!(
            tally.repaired * 5 > tally.same,
            "hardly any was to be repaired"
        );
    }
}

#[test]
fn what_redis_6_2_lacks_comes_back() {
    on("redis-6.2");
}

#[test]
fn what_redis_7_0_lacks_comes_back() {
    on("redis-7.0");
}

#[test]
fn what_redis_8_2_lacks_comes_back() {
    on("redis-8.2");
}

#[test]
fn what_valkey_9_1_lacks_comes_back() {
    on("valkey-9.1");
}

const VERSIONS: [&str; 4] = ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"];

#[test]
fn a_hash_that_was_there_is_not_replaced() {
    VERSIONS
        .into_iter()
        .for_each(sidecars::a_hash_that_was_there_is_not_replaced);
}

#[test]
fn as_many_fields_are_not_those_fields() {
    VERSIONS
        .into_iter()
        .for_each(sidecars::as_many_fields_are_not_those_fields);
}

#[test]
fn a_hash_that_was_made_comes_back_as_a_whole() {
    VERSIONS
        .into_iter()
        .for_each(sidecars::a_hash_that_was_made_comes_back_as_a_whole);
}

#[test]
fn this_test_can_fail() {
    let version = harness::any_version();
    let servers = [Server::start(&version), Server::start(&version)];
    let seed = harness::seed("can_fail");
    for (what, spoil) in stage::SPOILS {
        let run = Run {
            spoil: *spoil,
            ..PLAIN
        };
        let mut stage = Stage::new(&servers, Random::new(seed));
        assert!(stage.run(run, 60).is_err(), "not noticed: {what}");
    }
}

#[test]
#[ignore = "a measurement, in release"]
fn costs() {
    costs::measure();
}
