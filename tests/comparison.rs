//! Reply for reply, the sidecar is Redis: a large generated mix of commands goes to both, and the bytes are compared.
//!
//! `GRIPFAST_TEST_COMMANDS` sets how many commands are generated for each server version.
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

#[path = "comparison"]
mod comparison {
    #![allow(unreachable_pub, reason = "parts of one test binary")]
    pub mod derived;
    pub mod generator;
    pub mod keys;
    pub mod runner;
    pub mod scenarios;
    pub mod templates;
    mod units;
    pub mod verdict;
    mod words;
}

use comparison::{derived, keys, runner, scenarios};

/// Commands for each server version when nothing else is asked for.
const COMMANDS: usize = 20_000;

fn generated_mix(name: &str) {
    let commands = std::env::var("GRIPFAST_TEST_COMMANDS")
        .ok()
        .and_then(|text| text.parse().ok());
    if let Some(version) = harness::version(name) {
        runner::run(&version, commands.unwrap_or(COMMANDS));
    }
}

#[test]
fn generated_mix_is_answered_as_redis_6_2_does() {
    generated_mix("redis-6.2");
}

#[test]
fn generated_mix_is_answered_as_redis_7_0_does() {
    generated_mix("redis-7.0");
}

#[test]
fn generated_mix_is_answered_as_redis_8_2_does() {
    generated_mix("redis-8.2");
}

#[test]
fn generated_mix_is_answered_as_valkey_9_1_does() {
    generated_mix("valkey-9.1");
}

#[test]
fn every_listed_command_is_answered_as_redis_6_2_does() {
    if let Some(version) = harness::version("redis-6.2") {
        derived::run(&version);
    }
}

#[test]
fn clients_meet_each_other_as_at_redis_6_2() {
    if let Some(version) = harness::version("redis-6.2") {
        scenarios::run(&version);
    }
}

#[test]
fn every_listed_command_is_answered_as_redis_7_0_does() {
    if let Some(version) = harness::version("redis-7.0") {
        derived::run(&version);
    }
}

#[test]
fn clients_meet_each_other_as_at_redis_7_0() {
    if let Some(version) = harness::version("redis-7.0") {
        scenarios::run(&version);
    }
}

#[test]
fn every_listed_command_is_answered_as_redis_8_2_does() {
    if let Some(version) = harness::version("redis-8.2") {
        derived::run(&version);
    }
}

#[test]
fn clients_meet_each_other_as_at_redis_8_2() {
    if let Some(version) = harness::version("redis-8.2") {
        scenarios::run(&version);
    }
}

#[test]
fn every_listed_command_is_answered_as_valkey_9_1_does() {
    if let Some(version) = harness::version("valkey-9.1") {
        derived::run(&version);
    }
}

#[test]
fn clients_meet_each_other_as_at_valkey_9_1() {
    if let Some(version) = harness::version("valkey-9.1") {
        scenarios::run(&version);
    }
}

#[test]
fn keys_are_found_where_every_server_finds_them() {
    for name in ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"] {
        if let Some(version) = harness::version(name) {
            keys::run(&version);
        }
    }
}
