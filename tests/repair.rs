//! Promise: no acknowledged write of a session is lost by a failover, and no session that was logged out comes back.
//!
//! Each scenario runs twice: without the journal its fault loses writes, or it would prove nothing; with it none. The faults are
//! the scripts in `chaos/`. What must be there is known of each session (`repair/model.rs`), and is compared with what the
//! elected primary has in the end, asked past the sidecar.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells by printing"
)]

#[path = "repair/actual.rs"]
mod actual;
#[path = "repair/checker.rs"]
mod checker;
#[path = "repair/checker_can_fail.rs"]
mod checker_can_fail;
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its part of the harness"
)]
mod harness;
#[path = "repair/history.rs"]
mod history;
#[path = "repair/model.rs"]
mod model;
#[path = "repair/scenarios.rs"]
mod scenarios;
#[path = "repair/stage.rs"]
mod stage;
#[path = "repair/workload.rs"]
mod workload;

use harness::version;

macro_rules! scenarios {
    ($($name:ident: $scenario:ident on $server:literal;)+) => {
        $(
            #[test]
            fn $name() {
                if harness::against_redis() {
                    return;
                }
                if let Some(version) = version($server) {
                    scenarios::$scenario(&version);
                }
            }
        )+
    };
}

scenarios! {
    undisturbed_on_7_0: undisturbed on "redis-7.0";
    undisturbed_on_8_2: undisturbed on "redis-8.2";
    undisturbed_on_6_2: undisturbed on "redis-6.2";
    undisturbed_on_valkey: undisturbed on "valkey-9.1";
    host_lost_04_on_7_0: host_lost_04 on "redis-7.0";
}
