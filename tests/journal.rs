//! Promise: how many acknowledged writes some replica may lack is known at every moment, on every server version, whatever the
//! server lets us ask.

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

use std::time::Duration;

use harness::{
    Cluster, Plan, Sidecar, Version, Wishes, against_redis, pause, signal, until, versions,
};

const PATIENCE: Duration = Duration::from_secs(20);

const PLAN: Plan = Plan {
    // Replicas are frozen here: nobody is to be promoted for that.
    down_after_ms: 5000,
    passwords: None,
};

/// Waits until so many writes have been remembered, and so many of them are at risk.
fn wait_for(sidecar: &Sidecar, writes: f64, at_risk: f64) {
    let what = format!("{at_risk} of {writes} writes at risk");
    until(&what, PATIENCE, || {
        // What is at risk is as new as the count at least.
        let seen = sidecar.metric("gripfast_journal_writes_total");
        let now = sidecar.metric("gripfast_writes_at_risk");
        ((seen, now) == (writes, at_risk)).then_some(())
    });
}

fn writes(sidecar: &Sidecar, count: usize) {
    let mut client = sidecar.client();
    for number in 0..count {
        assert_eq!(client.ask(&format!("SET k{number} v EX 60")), "+OK");
    }
}

/// A sidecar on a machine that may be so busy that a Sentinel answers late.
fn before(cluster: &Cluster) -> Wishes {
    Sidecar::before_sentinels(&cluster.sentinel_ports()).announce("sentinel cannot be asked")
}

fn each_version(test: impl Fn(&Version)) {
    if against_redis() {
        return;
    }
    for version in versions() {
        eprintln!("on {}", version.name);
        test(&version);
    }
}

#[test]
fn writes_are_at_risk_while_replicas_are_frozen_and_no_longer() {
    each_version(|version| {
        let cluster = Cluster::start(version, PLAN);
        let sidecar = before(&cluster).start();
        writes(&sidecar, 50);
        wait_for(&sidecar, 50.0, 0.0);
        signal(cluster.nodes[2].pid(), "-STOP");
        writes(&sidecar, 30);
        // One replica has them, but it may be the other one that is promoted.
        wait_for(&sidecar, 80.0, 30.0);
        pause(Duration::from_millis(500));
        assert_eq!(sidecar.metric("gripfast_writes_at_risk"), 30.0);
        signal(cluster.nodes[2].pid(), "-CONT");
        wait_for(&sidecar, 80.0, 0.0);
        assert_eq!(sidecar.metric("gripfast_journal_records"), 80.0);
        assert_eq!(sidecar.metric("gripfast_journal_missed_total"), 0.0);
    });
}

#[test]
fn without_spublish_and_wait_it_takes_a_second_and_without_info_all_is_at_risk() {
    each_version(|version| {
        let cluster = Cluster::start(version, PLAN);
        let mut primary = cluster.node(0);
        let users = [
            "ACL SETUSER slow on >s ~* &* +@all -spublish -wait",
            "ACL SETUSER blind on >s ~* &* +@all -info",
        ];
        for user in users {
            if primary.ask(user) != "+OK" {
                // 6.2 has no SPUBLISH to be forbidden.
                assert_eq!(primary.ask(&user.replace(" -spublish", "")), "+OK");
            }
        }
        let as_user = |name: &str| {
            let login = format!("username: {name}, password: s");
            before(&cluster).upstream(&login)
        };
        let slow = as_user("slow").start();
        writes(&slow, 20);
        wait_for(&slow, 20.0, 0.0);
        let blind = as_user("blind").announce("server refuses INFO").start();
        writes(&blind, 20);
        pause(Duration::from_secs(2));
        wait_for(&blind, 20.0, 20.0);
    });
}
