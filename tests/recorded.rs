//! What session libraries were recorded to send, replayed: the sidecar answers each of them as Redis does.
//!
//! The tables say set-up by set-up what a connection begins with and what each operation on a session sends, in the
//! notation of [`notation`]. Each is replayed against the sidecar and against a plain server of the same version, with a
//! password and database 3 and without; replies are compared byte for byte, and after each operation the data.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells by printing"
)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its part of the harness"
)]
mod harness;

#[path = "recorded"]
mod recorded {
    #![allow(unreachable_pub, reason = "parts of one test binary")]
    pub mod node;
    pub mod notation;
    pub mod others;
    pub mod pair;
    pub mod php;
    pub mod python;
    pub mod replay;
    pub mod scripts;
    pub mod setup;
}

use recorded::pair::Pair;
use recorded::{node, others, php, python, replay};

/// Replays all set-ups one after the other on two fresh servers, once with a password and once without.
fn every_set_up(name: &str) {
    let Some(version) = harness::version(name) else {
        return;
    };
    let tables = [node::SETUPS, python::SETUPS, php::SETUPS, others::SETUPS];
    for secured in [false, true] {
        let mut pair = Pair::start(&version, secured);
        for setup in tables.into_iter().flatten() {
            replay::run(&mut pair, setup);
        }
    }
}

#[test]
fn session_libraries_are_answered_as_redis_6_2_does() {
    every_set_up("redis-6.2");
}

#[test]
fn session_libraries_are_answered_as_redis_7_0_does() {
    every_set_up("redis-7.0");
}

#[test]
fn session_libraries_are_answered_as_redis_8_2_does() {
    every_set_up("redis-8.2");
}

#[test]
fn session_libraries_are_answered_as_valkey_9_1_does() {
    every_set_up("valkey-9.1");
}
