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
#[path = "repair/alone.rs"]
mod alone;
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

macro_rules! scenarios {
    ($($name:ident: $scenario:ident on $server:literal;)+) => {
        $(
            #[test]
            fn $name() {
                harness::on($server, scenarios::$scenario);
            }
        )+
    };
}

// One version each, in turn.
scenarios! {
    undisturbed_on_7_0: undisturbed on "redis-7.0";
    undisturbed_on_8_2: undisturbed on "redis-8.2";
    undisturbed_on_6_2: undisturbed on "redis-6.2";
    undisturbed_on_valkey: undisturbed on "valkey-9.1";
    host_lost_and_noticed_after_30_s: host_lost_and_noticed_after_30_s on "redis-8.2";
    host_lost_after_100_ms: host_lost_after_100_ms on "redis-6.2";
    host_lost_after_400_ms: host_lost_after_400_ms on "redis-7.0";
    host_lost_after_2_s: host_lost_after_2_s on "valkey-9.1";
    planned: planned on "redis-7.0";
    planned_while_replicas_lag: planned_while_replicas_lag on "redis-6.2";
    isolated_with_a_sidecar: isolated_with_a_sidecar on "valkey-9.1";
    isolated_for_5_s: isolated_for_5_s on "redis-8.2";
    isolated_for_12_s: isolated_for_12_s on "redis-6.2";
    acknowledged_while_holding: acknowledged_while_holding on "redis-8.2";
    acknowledged_and_called_off: acknowledged_and_called_off on "redis-7.0";
    acknowledged_by_one_alone: acknowledged_by_one_alone on "valkey-9.1";
    restarted_empty: restarted_empty on "valkey-9.1";
    three_in_a_row: three_in_a_row on "redis-7.0";
    killed_during_repair: killed_during_repair on "redis-8.2";
    two_sidecars: two_sidecars on "redis-6.2";
    four_sidecars: four_sidecars on "valkey-9.1";
    one_sidecar_frozen: one_sidecar_frozen on "redis-7.0";
    one_sidecar_slow: one_sidecar_slow on "redis-8.2";
    replicas_frozen: replicas_frozen on "redis-6.2";
    journal_full: journal_full on "redis-7.0";
    small_backlog: small_backlog on "valkey-9.1";
}

#[test]
fn ten_thousand_sessions_come_back() {
    harness::on("redis-7.0", alone::ten_thousand_sessions);
}

#[test]
fn without_permission_it_says_so_and_counts() {
    harness::on("redis-8.2", alone::without_permission);
}
