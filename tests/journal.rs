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

use harness::{Cluster, Plan, Sidecar, Wishes, on_each, pause, signal, until};

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

#[test]
fn writes_are_at_risk_while_replicas_are_frozen_and_no_longer() {
    on_each(|version| {
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
    on_each(|version| {
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
        let blind = as_user("blind")
            .announce("server refuses INFO")
            .announce("can't be put back")
            .start();
        writes(&blind, 20);
        pause(Duration::from_secs(2));
        wait_for(&blind, 20.0, 20.0);
    });
}

/// Requests, each with its reply in RESP2, whose replies do not tell what they leave; and how many keys have a payload to be
/// asked for.
const STORY: &[(&[&str], &str)] = &[
    (&["HSET", "h", "f", "v"], ":1"),
    (&["INCR", "n"], ":1"),
    (&["SET", "n", "2", "KEEPTTL"], "+OK"),
    (&["APPEND", "s", "ab"], ":2"),
    (&["SADD", "t", "x", "y"], ":2"),
    (&["ZADD", "z", "1", "x"], ":1"),
    (&["RPUSH", "l", "a", "b"], ":2"),
    (&["HSET", "l", "f", "v"], "-WRONGTYPE"),
    (&["BLPOP", "l", "1"], "*2"),
    (
        &[
            "EVAL",
            "return redis.call('APPEND', KEYS[1], ARGV[1])",
            "1",
            "s",
            "c",
        ],
        ":3",
    ),
    (&["MULTI"], "+OK"),
    (&["RPUSH", "l", "c"], "+QUEUED"),
    (&["INCR", "n"], "+QUEUED"),
    (&["EXEC"], "*2"),
    (&["COPY", "s", "copy"], ":1"),
    (&["DEL", "h", "n", "s", "t", "z", "l", "copy"], ":7"),
];

/// Keys that are left in the dark by their replies alone.
const PAYLOADS: f64 = 8.0;

/// Acknowledged, and no error.
const WRITES: f64 = 12.0;

fn tell(sidecar: &Sidecar, protocol: &str) {
    let mut client = sidecar.client();
    client.ask(&format!("HELLO {protocol}"));
    for (request, expected) in STORY {
        let reply = client.call(request);
        let reply = String::from_utf8_lossy(&reply);
        assert!(reply.starts_with(expected), "{request:?}: {reply}");
    }
}

fn wait_for_opaque(sidecar: &Sidecar, outcome: &str, count: f64) {
    let series = format!("gripfast_journal_opaque_total{{outcome=\"{outcome}\"}}");
    let seen = || (sidecar.metric(&series) == count).then_some(());
    until(&format!("{count} {outcome}"), PATIENCE, seen);
}

#[test]
fn what_replies_do_not_tell_is_asked_and_no_client_notices() {
    on_each(|version| {
        let cluster = Cluster::start(version, PLAN);
        let sidecar = before(&cluster).start();
        tell(&sidecar, "2");
        wait_for_opaque(&sidecar, "captured", PAYLOADS);
        tell(&sidecar, "3");
        wait_for_opaque(&sidecar, "captured", 2.0 * PAYLOADS);
        wait_for_opaque(&sidecar, "ignored", 0.0);
        wait_for(&sidecar, 2.0 * WRITES, 0.0);
    });
}

#[test]
fn without_the_right_to_ask_it_is_said_once_and_counted() {
    on_each(|version| {
        let cluster = Cluster::start(version, PLAN);
        let rights = "ACL SETUSER mute on >s ~* &* +@all -dump -hlen";
        assert_eq!(cluster.node(0).ask(rights), "+OK");
        let sidecar = before(&cluster)
            .upstream("username: mute, password: s")
            .announce("server refuses DUMP")
            .announce("server refuses HLEN or PTTL")
            .start();
        tell(&sidecar, "3");
        wait_for_opaque(&sidecar, "ignored", PAYLOADS);
        tell(&sidecar, "2");
        wait_for_opaque(&sidecar, "ignored", 2.0 * PAYLOADS);
        wait_for_opaque(&sidecar, "captured", 0.0);
        let log = sidecar.log();
        assert_eq!(log.matches("server refuses DUMP").count(), 1, "{log}");
        wait_for(&sidecar, 2.0 * WRITES, 0.0);
    });
}
