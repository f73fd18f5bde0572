//! Promise: with `durability.mode: replicated` no write is acknowledged before as many replicas have it as were asked for, on every
//! server version, whatever the server lets us ask; and then no failover loses it.

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

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{
    Client, Cluster, Plan, SWITCH_SAYS, Server, Sidecar, Stopwatch, Version, Wishes, against_redis,
    pause, until, versions,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// How long a write may wait here.
const TIMEOUT: Duration = Duration::from_millis(2000);

/// How long replicas are frozen before the primary is killed: what is acknowledged meanwhile is nowhere else.
const FROZEN: Duration = Duration::from_millis(300);

const WRITERS: usize = 8;

fn plan(down_after_ms: u32) -> Plan {
    Plan {
        down_after_ms,
        passwords: None,
    }
}

fn signal(servers: &[Server], signal: &str) {
    for server in servers {
        let status = Command::new("kill")
            .args([signal, &server.pid().to_string()])
            .status();
        assert!(status.expect("kill can be run").success());
    }
}

fn before(cluster: &Cluster, replicas: usize) -> Wishes {
    let milliseconds = TIMEOUT.as_millis();
    let lines = format!(
        "mode: replicated, replicas: {replicas}, timeout_ms: {milliseconds}, on_timeout: error"
    );
    let wishes = Sidecar::before_sentinels(&cluster.sentinel_ports());
    wishes
        .durability(&lines)
        .announce("sentinel cannot be asked")
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

/// Writes, and is told after the whole time that replicas are late.
fn is_refused(client: &mut Client) {
    let watch = Stopwatch::start();
    let told = client.ask("SET a 1");
    assert!(
        told.starts_with("-NOREPLICAS gripfast: the command was executed"),
        "{told}"
    );
    assert!(watch.elapsed() >= TIMEOUT, "{:?}", watch.elapsed());
}

#[test]
fn a_write_waits_for_frozen_replicas_until_they_go_on_or_its_time_is_over() {
    each_version(|version| {
        // Nobody is to be promoted for a frozen replica.
        let cluster = Cluster::start(version, plan(5000));
        let both = before(&cluster, 2).start();
        let one = before(&cluster, 1).start();
        for sidecar in [&both, &one] {
            let watch = Stopwatch::start();
            let mut client = sidecar.client();
            for _ in 0..50 {
                assert_eq!(client.ask("SET a 1"), "+OK");
            }
            // A second for each, if it were for their own acknowledgements.
            assert!(watch.elapsed() < Duration::from_secs(10));
        }
        signal(&cluster.nodes[2..], "-STOP");
        assert_eq!(one.client().ask("SET a 1"), "+OK");
        is_refused(&mut both.client());
        signal(&cluster.nodes[1..2], "-STOP");
        is_refused(&mut one.client());
        let mut clients = [both.client(), one.client()];
        for client in &mut clients {
            client.send_words("SET a 2");
            assert!(client.is_silent_for(Duration::from_millis(200)));
        }
        // Others see it all the same.
        assert_eq!(one.client().ask("GET a"), "$1\\r\\n2");
        signal(&cluster.nodes[1..], "-CONT");
        for client in &mut clients {
            assert_eq!(client.text(), "+OK");
        }
        for (outcome, expected) in [("replicated", 51.0), ("timeout_refused", 1.0)] {
            let series = format!("gripfast_durability_waits_total{{outcome=\"{outcome}\"}}");
            until(outcome, PATIENCE, || {
                (both.metric(&series) == expected).then_some(())
            });
        }
    });
}

#[test]
fn nothing_is_acknowledged_on_the_word_of_a_wait_that_waits_for_nothing() {
    each_version(|version| {
        let cluster = Cluster::start(version, plan(5000));
        let mut primary = cluster.node(0);
        for (name, without) in [("push", "-spublish"), ("slow", "-spublish -wait")] {
            let user = format!("ACL SETUSER {name} on >s ~* &* +@all {without}");
            if primary.ask(&user) != "+OK" {
                // 6.2 has no SPUBLISH to be forbidden.
                assert_eq!(primary.ask(&user.replace(" -spublish", "")), "+OK");
            }
            let login = format!("username: {name}, password: s");
            let sidecar = before(&cluster, 2).upstream(&login).start();
            let mut client = sidecar.client();
            for _ in 0..3 {
                assert_eq!(client.ask("SET a 1"), "+OK");
            }
            signal(&cluster.nodes[2..], "-STOP");
            is_refused(&mut client);
            signal(&cluster.nodes[2..], "-CONT");
            assert_eq!(client.ask("SET a 1"), "+OK");
        }
    });
}

/// Writes keys of its own until it is told to stop or gets no answer; returns those that were acknowledged.
fn write(sidecar: &Sidecar, writer: usize, stop: &AtomicBool) -> Vec<String> {
    let mut client = sidecar.client();
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("w{writer}:{number}");
        if client.ask(&format!("SET {key} v EX 600")) == "+OK" {
            acknowledged.push(key);
        }
    }
    acknowledged
}

/// Freezes and cuts off the replicas under load, kills the primary, lets them go on; returns how many writes were acknowledged, and how many of
/// them the next primary lacks.
fn lose_the_primary(version: &Version, wishes: impl Fn(&Cluster) -> Wishes) -> (usize, usize) {
    let mut cluster = Cluster::start(version, plan(1000));
    let wishes = SWITCH_SAYS
        .iter()
        .fold(wishes(&cluster), |wishes, text| wishes.announce(text));
    let sidecar = wishes.start();
    let stop = AtomicBool::new(false);
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let (sidecar, stop) = (&sidecar, &stop);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(sidecar, writer, stop)))
            .collect();
        pause(FROZEN);
        signal(&cluster.nodes[1..], "-STOP");
        // What is on its way to them in the kernel's hands arrives all the same.
        let cut = cluster.node(0).ask("CLIENT KILL TYPE replica");
        assert_eq!(cut, ":2");
        pause(FROZEN);
        cluster.nodes[0].kill();
        // Whoever is asked while it is held is answered after the switch.
        stop.store(true, Ordering::Relaxed);
        signal(&cluster.nodes[1..], "-CONT");
        let writers = writers.into_iter();
        writers.flat_map(|writer| writer.join().unwrap()).collect()
    });
    let next = until("the next primary", PATIENCE, || {
        let is_primary = |node: &usize| cluster.node(*node).ask("ROLE").contains("master");
        (1..3).find(is_primary)
    });
    let mut next = cluster.node(next);
    let lacks = |key: &&String| next.ask(&format!("GET {key}")) != "$1\\r\\nv";
    let lost = acknowledged.iter().filter(lacks).count();
    (acknowledged.len(), lost)
}

#[test]
fn what_was_acknowledged_survives_the_primary_and_without_it_would_not() {
    each_version(|version| {
        let (acknowledged, lost) = lose_the_primary(version, |cluster| before(cluster, 2));
        eprintln!("replicated: {acknowledged} acknowledged, {lost} lost");
        assert!(acknowledged >= WRITERS, "{acknowledged}");
        assert_eq!(lost, 0);
        let (acknowledged, lost) = lose_the_primary(version, |cluster| {
            Sidecar::before_sentinels(&cluster.sentinel_ports()).journal("enabled: false")
        });
        eprintln!("async: {acknowledged} acknowledged, {lost} lost");
        assert!(lost > 0, "the fault did not happen");
    });
}
