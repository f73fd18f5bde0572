//! What happens to the primary; the writes that it has acknowledged stay.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use crate::harness::{Cluster, Version, Wishes, chaos, pause, saw_promotion, signal, until};

use super::actual::elected;
use super::stage::{Fault, REPAIRS, Scene, Stage, it_is_repaired, prove};
use super::workload::Workload;

/// How long replication and elections may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a primary makes the sidecar say whose data do not continue those before.
const LINEAGE_SAYS: &[&str] = &["another history", "do not continue"];

/// Nothing happens: what the checker says of other runs is not of its own making, nor of the traffic's.
pub(crate) fn undisturbed(version: &Version) {
    for sidecars in [1, 3] {
        let scene = Scene {
            on_hosts: false,
            sidecars,
            ..Scene::of("undisturbed")
        };
        it_is_repaired(&scene, version, |_, _| {});
    }
}

/// The primary's host is gone without a word, and replication to the others had ended before.
fn lose_host(scene: &Scene, version: &Version, cut: f64) {
    let lost = scene.down_after_ms / 1000 + 3;
    prove(scene, version, |_, fault| {
        fault.run("lose-host", &[&lost.to_string(), &fault.seconds(cut)]);
    });
}

pub(crate) fn host_lost_after_100_ms(version: &Version) {
    lose_host(&Scene::of("host lost, cut 0.1 s"), version, 0.1);
}

pub(crate) fn host_lost_after_400_ms(version: &Version) {
    lose_host(&Scene::of("host lost, cut 0.4 s"), version, 0.4);
}

/// Longer than the Sentinels of the others would wait.
pub(crate) fn host_lost_after_2_s(version: &Version) {
    let scene = Scene {
        down_after_ms: 3_000,
        ..Scene::of("host lost, cut 2 s")
    };
    lose_host(&scene, version, 2.0);
}

/// With the Sentinels' own default.
pub(crate) fn host_lost_and_noticed_after_30_s(version: &Version) {
    let scene = Scene {
        down_after_ms: 30_000,
        ..Scene::of("host lost, down-after 30 s")
    };
    lose_host(&scene, version, 0.4);
}

pub(crate) fn two_sidecars(version: &Version) {
    let scene = Scene {
        sidecars: 2,
        may_miscount: true,
        ..Scene::of("host lost, two sidecars")
    };
    lose_host(&scene, version, 0.4);
}

pub(crate) fn four_sidecars(version: &Version) {
    let scene = Scene {
        sidecars: 4,
        may_miscount: true,
        ..Scene::of("host lost, four sidecars")
    };
    lose_host(&scene, version, 0.4);
}

/// One sidecar stands still from before the host is lost until the other has served for a while.
pub(crate) fn one_sidecar_frozen(version: &Version) {
    let scene = Scene {
        sidecars: 2,
        may_miscount: true,
        is_patient: false,
        ..Scene::of("host lost, one sidecar of two frozen")
    };
    prove(&scene, version, |cluster, fault| {
        let cut = fault.seconds(0.8);
        thread::scope(|scope| {
            scope.spawn(|| fault.run("lose-host", &["4", &cut]));
            until_cut_off(cluster, 0);
            // It takes part in what is lost.
            fault.acknowledge(500.0);
            freeze_sidecar(fault, Duration::from_millis(3_000));
        });
    });
}

/// One sidecar hears of the new primary while the other already repairs it.
pub(crate) fn one_sidecar_slow(version: &Version) {
    let scene = Scene {
        sidecars: 2,
        may_miscount: true,
        is_patient: false,
        ..Scene::of("host lost, one sidecar of two slow")
    };
    prove(&scene, version, |cluster, fault| {
        let cut = fault.seconds(0.4);
        let replicas = addresses(cluster, &[1, 2]);
        thread::scope(|scope| {
            scope.spawn(|| fault.run("lose-host", &["4", &cut]));
            assert!(saw_promotion(&replicas, &AtomicBool::new(false)));
            freeze_sidecar(fault, Duration::from_millis(800));
        });
    });
}

fn freeze_sidecar(fault: &Fault<'_>, time: Duration) {
    let pid = fault.sidecars[1].pid().expect("a sidecar runs");
    signal(pid, "-STOP");
    pause(time);
    signal(pid, "-CONT");
}

/// The sidecar holds writes before the failover begins, and the replicas are up to date: nothing is to be repaired.
pub(crate) fn planned(version: &Version) {
    let scene = Scene {
        on_hosts: false,
        ..Scene::of("planned failover")
    };
    it_is_repaired(&scene, version, |cluster, fault| {
        let replicas = addresses(cluster, &[1, 2]);
        fault.run("planned-failover", &[]);
        assert!(saw_promotion(&replicas, &AtomicBool::new(false)));
    });
}

/// A planned failover to a replica that lacks what the primary last acknowledged.
pub(crate) fn planned_while_replicas_lag(version: &Version) {
    let scene = Scene {
        down_after_ms: 5_000,
        ..Scene::of("planned failover, replicas lag")
    };
    prove(&scene, version, |cluster, fault| {
        let replicas = addresses(cluster, &[1, 2]);
        thread::scope(|scope| {
            scope.spawn(|| fault.run("isolate-primary", &["3"]));
            until_cut_off(cluster, 0);
            fault.acknowledge(500.0);
            until("a planned failover that begins", PATIENCE, || {
                let answer = cluster.sentinel(1).ask("SENTINEL FAILOVER mymaster");
                (answer == "+OK").then_some(())
            });
            assert!(saw_promotion(&replicas, &AtomicBool::new(false)));
        });
    });
}

fn isolate(version: &Version, name: &'static str, seconds: f64) {
    prove(&Scene::of(name), version, |_, fault| {
        fault.run("isolate-primary", &[&fault.seconds(seconds)]);
    });
}

/// The old primary and one sidecar are alone; the other sidecar goes on with the new one, and the same sessions. Only what is
/// written whole: whoever builds on what is there, builds on what the others don't have.
pub(crate) fn isolated_with_a_sidecar(version: &Version) {
    let scene = Scene {
        sidecars: 2,
        last_beside: Some(0),
        writes_whole: true,
        announced: &["its writes go on (hold.on_isolation)"],
        ..Scene::of("isolated with one sidecar of two")
    };
    prove(&scene, version, |_, fault| {
        fault.run("isolate-primary", &["4"]);
    });
}

/// The old primary serves on alone, and comes back while the new one is still being repaired, or soon after.
pub(crate) fn isolated_for_5_s(version: &Version) {
    isolate(version, "isolated for 5 s", 5.0);
}

pub(crate) fn isolated_for_12_s(version: &Version) {
    isolate(version, "isolated for 12 s", 12.0);
}

/// Writes are acknowledged while there is no primary, and put back on the next one with what that lacks.
pub(crate) fn acknowledged_while_holding(version: &Version) {
    let scene = Scene {
        sidecars: 2,
        writes_whole: true,
        down_after_ms: 3_000,
        acknowledges: true,
        ..Scene::of("host lost, writes acknowledged meanwhile")
    };
    lose_host(&scene, version, 0.4);
}

/// The primary stands still for less than the Sentinels wait, and goes on: it gets what both sidecars have acknowledged.
pub(crate) fn acknowledged_and_called_off(version: &Version) {
    let scene = Scene {
        on_hosts: false,
        sidecars: 2,
        writes_whole: true,
        down_after_ms: 15_000,
        acknowledges: true,
        ..Scene::of("primary frozen for 2 s, writes acknowledged meanwhile")
    };
    it_is_repaired(&scene, version, |_, fault| {
        fault.run("freeze-primary", &["2"]);
        fault.acknowledge(2_000.0);
    });
}

/// One sidecar can't reach the primary for a while, and acknowledges; the other goes on writing the same sessions to it.
pub(crate) fn acknowledged_by_one_alone(version: &Version) {
    let scene = Scene {
        sidecars: 2,
        writes_whole: true,
        down_after_ms: 15_000,
        last_beside: Some(1),
        acknowledges: true,
        ..Scene::of("one sidecar cut off for 2 s, writes acknowledged meanwhile")
    };
    it_is_repaired(&scene, version, |_, fault| {
        let route = |verb: &str| {
            let mut command = fault.places[1].command(Path::new("ip"));
            command.args(["route", verb, "blackhole", &fault.places[0].address]);
            assert!(command.status().expect("ip can be run").success());
        };
        route("add");
        pause(Duration::from_secs(2));
        route("del");
        fault.acknowledge(2_000.0);
    });
}

/// Under a supervisor that starts it again at once: the replicas copy its emptiness.
pub(crate) fn restarted_empty(version: &Version) {
    let scene = Scene {
        on_hosts: false,
        announced: LINEAGE_SAYS,
        ..Scene::of("restarted empty")
    };
    prove(&scene, version, |cluster, fault| {
        fault.run("restart-empty", &[]);
        cluster.nodes[0].start_again();
    });
}

pub(crate) fn three_in_a_row(version: &Version) {
    let scene = Scene {
        failovers: 3,
        ..Scene::of("three hosts lost in a row")
    };
    prove(&scene, version, |cluster, fault| {
        for turn in 0..3 {
            let old = elected(cluster, fault.sidecars);
            until("two replicas", PATIENCE, || {
                // Whom Sentinels change is reset.
                let about = cluster.node(old).try_ask("INFO replication")?;
                (about.matches("state=online").count() == 2).then_some(())
            });
            let others: Vec<usize> = (0..3).filter(|node| *node != old).collect();
            let others = addresses(cluster, &others);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let never = AtomicBool::new(false);
                    // The stage itself sees to the first.
                    if saw_promotion(&others, &never) && turn > 0 {
                        fault.workload.rest_more();
                    }
                });
                fault.run("lose-host", &["4", &fault.seconds(0.3)]);
            });
        }
    });
}

/// The new primary is killed while it is being repaired. The third never followed it: its history forks from the first's.
pub(crate) fn killed_during_repair(version: &Version) {
    let scene = Scene {
        failovers: 2,
        announced: LINEAGE_SAYS,
        ..Scene::of("killed during repair")
    };
    prove(&scene, version, |cluster, fault| {
        for sentinel in 0..3 {
            let request = "SENTINEL SET mymaster failover-timeout 2000";
            assert_eq!(cluster.sentinel(sentinel).ask(request), "+OK");
        }
        let cut = fault.seconds(0.4);
        let replicas = addresses(cluster, &[1, 2]);
        thread::scope(|scope| {
            scope.spawn(|| fault.run("lose-host", &["14", &cut]));
            assert!(saw_promotion(&replicas, &AtomicBool::new(false)));
            let is_primary = |node: &usize| cluster.node(*node).ask("ROLE").contains("master");
            let second = [1, 2].into_iter().find(is_primary).expect("it was seen");
            pause(Duration::from_millis(30));
            signal(cluster.nodes[second].pid(), "-KILL");
            let third = addresses(cluster, &[3 - second]);
            assert!(saw_promotion(&third, &AtomicBool::new(false)));
            fault.workload.rest_more();
        });
    });
}

/// Processes die, and replicas had stood still.
pub(crate) fn replicas_frozen(version: &Version) {
    let scene = Scene {
        on_hosts: false,
        // Longer than they are frozen: who is down is not promoted.
        down_after_ms: 3_000,
        // More than fits into the buffers of the kernel.
        value_bytes: 2_000,
        ..Scene::of("killed, replicas frozen before")
    };
    prove(&scene, version, |_, fault| {
        fault.run("kill-primary", &[&fault.seconds(1.4)]);
    });
}

/// The replica that was not promoted has to copy everything.
pub(crate) fn small_backlog(version: &Version) {
    let scene = Scene::of("host lost, backlog of 16 KiB");
    prove(&scene, version, |cluster, fault| {
        for node in 0..3 {
            let request = "CONFIG SET repl-backlog-size 16384";
            assert_eq!(cluster.node(node).ask(request), "+OK");
        }
        fault.run("lose-host", &["4", &fault.seconds(0.4)]);
    });
}

fn addresses(cluster: &Cluster, nodes: &[usize]) -> Vec<String> {
    let address = |node: &usize| cluster.nodes[*node].address();
    nodes.iter().map(address).collect()
}

/// Waits until no replica of a node hears it.
fn until_cut_off(cluster: &Cluster, primary: usize) {
    let mut client = cluster.node(primary);
    until("replicas that are cut off", PATIENCE, || {
        client.ask("SET canary sings EX 60");
        (client.ask("WAIT 1 150") == ":0").then_some(())
    });
}

/// More writes than the journal may hold: what it had to forget is lost, and counted exactly.
pub(crate) fn journal_full(version: &Version) {
    const WRITES: usize = 500;
    let scene = Scene {
        down_after_ms: 3_000,
        sessions: WRITES,
        // It forgets a quarter of a MiB at a time.
        value_bytes: 4_000,
        ..Scene::of("host lost, journal full")
    };
    let bound = |wishes: Wishes| wishes.journal("records_max: 200");
    let Some(stage) = Stage::set(&scene, version, bound) else {
        return;
    };
    let sidecar = &stage.sidecars[0];
    let workload = Workload::new(std::slice::from_ref(&sidecar.address), &scene, 0);
    let forgotten = || sidecar.metric("gripfast_journal_dropped_total") as usize;
    thread::scope(|scope| {
        scope.spawn(|| chaos(sidecar.admin_port, "lose-host", &["5", "1.5"]));
        until_cut_off(&stage.cluster, 0);
        workload.each_once();
        until("what was forgotten", PATIENCE, || {
            let remembered = sidecar.metric("gripfast_writes_at_risk") as usize;
            (forgotten() > 0 && forgotten() + remembered == WRITES).then_some(())
        });
    });
    let counted = forgotten();
    // It has gone over to the new primary.
    assert_eq!(sidecar.client().ask("SET probe 1 EX 60"), "+OK");
    let verdict = stage.judge(&workload);
    assert_eq!(forgotten(), counted, "the failover adds none");
    assert_eq!(verdict.writes, WRITES);
    assert_eq!((verdict.resurrected, verdict.wrong_ttl), (0, 0));
    let lost = if REPAIRS { counted } else { WRITES };
    assert_eq!(verdict.lost, lost, "{}", verdict.examples.join("\n"));
}
