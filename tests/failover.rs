//! Promise: an app notices nothing of a failover but later replies to writes: no error, no closed connection, no read that goes
//! back, and reads of live sessions go on. What is past the bounds gets clear errors.
//!
//! The faults are the scripts in `chaos/`, run against this stage as a person runs them against `gripfast dev`.

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

#[path = "failover/checker.rs"]
mod checker;
#[path = "failover/figures.rs"]
mod figures;
#[path = "failover/history.rs"]
mod history;
#[path = "failover/scenarios.rs"]
mod scenarios;
#[path = "failover/stage.rs"]
mod stage;
#[path = "failover/workload.rs"]
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

scenarios! {
    kill_on_7_0: kill on "redis-7.0";
    kill_on_8_2: kill on "redis-8.2";
    kill_on_valkey: kill on "valkey-9.1";
    freeze_on_7_0: freeze on "redis-7.0";
    planned_on_7_0: planned on "redis-7.0";
    planned_on_8_2: planned on "redis-8.2";
    planned_on_valkey: planned on "valkey-9.1";
    coordinated_on_valkey: coordinated on "valkey-9.1";
    failover_command_on_7_0: failover_command on "redis-7.0";
    failover_command_on_8_2: failover_command on "redis-8.2";
    replica_lost_on_7_0: replica_lost on "redis-7.0";
    everything_frozen_on_7_0: everything_frozen on "redis-7.0";
    restarted_empty_on_7_0: restarted_empty on "redis-7.0";
    twice_on_7_0: twice on "redis-7.0";
    one_sentinel_dead_on_7_0: one_sentinel_dead on "redis-7.0";
    host_lost_on_7_0: host_lost on "redis-7.0";
    isolated_on_7_0: isolated on "redis-7.0";
    everything_killed_on_7_0: everything_killed on "redis-7.0";
    called_off_on_7_0: called_off on "redis-7.0";
    replica_asked_on_7_0: replica_asked on "redis-7.0";
    replica_asked_on_valkey: replica_asked on "valkey-9.1";
    never_elected_on_7_0: never_elected on "redis-7.0";
    no_quorum_on_7_0: no_quorum on "redis-7.0";
}
