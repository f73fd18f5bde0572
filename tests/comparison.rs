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
    pub mod generator;
    pub mod runner;
    pub mod templates;
    pub mod verdict;
}

use comparison::runner;

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
