//! The primary is lost while writes wait for replicas, and its writes with it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::{
    Cluster, Plan, SWITCH_SAYS, Sidecar, Version, Wishes, on_each, pause, signal, until,
};
use crate::stage::{
    NEVER, PATIENCE, SILENCE, freeze, sends_and_waits, thaw, until_counted, waits_for,
};

/// How long replicas are frozen before the primary is killed: what is acknowledged meanwhile is nowhere else.
const FROZEN: Duration = Duration::from_millis(300);

const WRITERS: usize = 8;

/// Writes that are acknowledged before.
const BEFORE: usize = 100;

/// How long a writer waits for replicas that are frozen or gone, before it is refused.
const SOON: Duration = Duration::from_secs(2);

const PLAN: Plan = Plan {
    down_after_ms: 1000,
    passwords: None,
};

fn before(cluster: &Cluster) -> Wishes {
    let wishes = Sidecar::before_sentinels(&cluster.sentinel_ports());
    // A machine that stalls leaves every Sentinel without an answer.
    let says = SWITCH_SAYS.iter().chain(&["waiting for a primary"]);
    says.fold(wishes, |wishes, text| wishes.announce(text))
}

/// Begins to describe a sidecar whose writes wait for so many replicas for so long.
fn replicated(cluster: &Cluster, replicas: usize, timeout: Duration) -> Wishes {
    before(cluster)
        .durability(&waits_for(replicas, timeout))
        .durability("mode: replicated, on_timeout: error")
}

/// Freezes the replicas; what was on its way to them in the kernel's hands does not arrive any more.
fn cut_off(cluster: &Cluster) {
    freeze(&cluster.nodes[1..]);
    let cut = cluster.node(0).ask("CLIENT KILL TYPE replica");
    assert_eq!(cut, ":2");
}

/// Waits until one of these nodes is a primary.
fn promoted(cluster: &Cluster, nodes: std::ops::Range<usize>) -> usize {
    until("the next primary", PATIENCE, || {
        // It may lose its clients at that moment.
        let role = |node: &usize| cluster.node(*node).try_ask("ROLE");
        nodes
            .clone()
            .find(|node| role(node).is_some_and(|role| role.contains("master")))
    })
}

/// Has a node follow another at once; Sentinels would see to it some seconds later.
fn follow(cluster: &Cluster, node: usize, primary: usize) {
    let address = cluster.nodes[primary].address().replace(':', " ");
    let told = cluster.node(node).ask(&format!("REPLICAOF {address}"));
    assert!(told.starts_with("+OK"), "{told}");
}

/// What all writers share.
#[derive(Default)]
struct Traffic {
    stop: AtomicBool,
    acknowledged: AtomicUsize,
}

/// Writes keys of its own until it is told to stop or gets no answer; returns those that were acknowledged.
fn write(sidecar: &Sidecar, writer: usize, traffic: &Traffic) -> Vec<String> {
    let mut client = sidecar.client();
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if traffic.stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("w{writer}:{number}");
        if client.ask(&format!("SET {key} v EX 600")) == "+OK" {
            acknowledged.push(key);
            traffic.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
    acknowledged
}

/// Freezes and cuts off the replicas under load, kills the primary, lets them go on; returns how many writes were acknowledged, and
/// how many of them the next primary lacks.
fn lose_the_primary(version: &Version, wishes: impl Fn(&Cluster) -> Wishes) -> (usize, usize) {
    let mut cluster = Cluster::start(version, PLAN);
    let sidecar = wishes(&cluster).start();
    let traffic = Traffic::default();
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let (sidecar, traffic) = (&sidecar, &traffic);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(sidecar, writer, traffic)))
            .collect();
        until("acknowledged writes", PATIENCE, || {
            (traffic.acknowledged.load(Ordering::Relaxed) >= BEFORE).then_some(())
        });
        cut_off(&cluster);
        pause(FROZEN);
        cluster.nodes[0].kill();
        // Whoever is asked while it is held is answered after the switch.
        traffic.stop.store(true, Ordering::Relaxed);
        thaw(&cluster.nodes[1..]);
        let writers = writers.into_iter();
        writers.flat_map(|writer| writer.join().unwrap()).collect()
    });
    let mut next = cluster.node(promoted(&cluster, 1..3));
    let lacks = |key: &&String| next.ask(&format!("GET {key}")) != "$1\\r\\nv";
    let lost = acknowledged.iter().filter(lacks).count();
    (acknowledged.len(), lost)
}

#[test]
fn what_was_acknowledged_survives_the_primary_and_without_it_would_not() {
    on_each(|version| {
        let (acknowledged, lost) = lose_the_primary(version, |cluster| {
            // By the waits alone: nothing is put back.
            replicated(cluster, 2, SOON).repair("enabled: false")
        });
        eprintln!("replicated: {acknowledged} acknowledged, {lost} lost");
        assert_eq!(lost, 0);
        let (acknowledged, lost) =
            lose_the_primary(version, |cluster| before(cluster).journal("enabled: false"));
        eprintln!("async: {acknowledged} acknowledged, {lost} lost");
        assert!(lost > 0, "the fault did not happen");
    });
}

#[test]
fn what_was_put_back_is_acknowledged_when_the_next_primarys_replica_has_it() {
    on_each(|version| {
        let mut cluster = Cluster::start(version, PLAN);
        let sidecar = replicated(&cluster, 1, NEVER).start();
        assert_eq!(sidecar.client().ask("SET old 1 EX 600"), "+OK");
        cut_off(&cluster);
        let (mut login, mut logout) = (sidecar.client(), sidecar.client());
        sends_and_waits(&mut login, "SET new 1 EX 600", &[]);
        sends_and_waits(&mut logout, "DEL old", &[]);
        cluster.nodes[0].kill();
        // The other one stays frozen, so nobody has what this one is given.
        thaw(&cluster.nodes[1..2]);
        promoted(&cluster, 1..2);
        let mut primary = cluster.node(1);
        until("what it lacked", PATIENCE, || {
            (primary.ask("EXISTS new") == ":1" && primary.ask("EXISTS old") == ":0").then_some(())
        });
        let mut next = sidecar.client();
        sends_and_waits(&mut next, "SET next 1 EX 600", &[]);
        for client in [&mut login, &mut logout] {
            assert!(client.is_silent_for(SILENCE));
        }
        assert!(sidecar.metric("gripfast_writes_at_risk") > 0.0);
        thaw(&cluster.nodes[2..]);
        follow(&cluster, 2, 1);
        for (client, reply) in [(&mut login, "+OK"), (&mut logout, ":1"), (&mut next, "+OK")] {
            client.read_timeout(PATIENCE);
            assert_eq!(client.text(), reply);
        }
        let mut replica = cluster.node(2);
        assert_eq!(replica.ask("EXISTS new next"), ":2");
        assert_eq!(replica.ask("EXISTS old"), ":0");
        until("nothing at risk", PATIENCE, || {
            (sidecar.metric("gripfast_writes_at_risk") == 0.0).then_some(())
        });
        assert_eq!(next.ask("SET last 1 EX 600"), "+OK");
        until_counted(&sidecar, "replicated", 5.0);
    });
}

#[test]
fn while_others_have_something_to_put_back_writes_wait_for_replicas_all_the_same() {
    on_each(|version| {
        let mut cluster = Cluster::start(version, PLAN);
        let wishes = replicated(&cluster, 1, NEVER);
        // Nobody repairs in its place, so it is waited for.
        let sidecar = wishes.repair("peer_timeout_ms: 60000").start();
        let other = before(&cluster).start();
        for node in 1..3 {
            let mut replica = cluster.node(node);
            until("two sidecars", PATIENCE, || {
                (replica.ask("ZCARD gripfast:peers") == ":2").then_some(())
            });
        }
        signal(other.pid().unwrap(), "-STOP");
        cluster.nodes[0].kill();
        let at = promoted(&cluster, 1..3);
        let replica = 3 - at;
        follow(&cluster, replica, at);
        let mut primary = cluster.node(at);
        // Held until it is found, and back when its replica has it.
        let mut client = sidecar.client();
        client.read_timeout(PATIENCE);
        assert_eq!(client.ask("SET first 1 EX 600"), "+OK");
        let marks = primary.ask("HLEN gripfast:marks");
        assert_ne!(marks, ":0", "the round is open");
        freeze(&cluster.nodes[replica..=replica]);
        sends_and_waits(&mut client, "SET a 1 EX 600", &[]);
        let mut block = sidecar.client();
        let requests = "MULTI; SET b 1 EX 600; EXEC";
        sends_and_waits(&mut block, requests, &["+OK", "+QUEUED"]);
        assert_eq!(primary.ask("EXISTS a b"), ":2");
        assert_ne!(primary.ask("HLEN gripfast:marks"), marks, "they bear marks");
        thaw(&cluster.nodes[replica..=replica]);
        assert_eq!(client.text(), "+OK");
        assert_eq!(block.text(), "*1\\r\\n+OK");
        assert_eq!(primary.ask("HEXISTS gripfast:round closed"), ":0");
        until_counted(&sidecar, "replicated", 3.0);
    });
}
