//! What happens to the primary, and what the clients may notice of it: nothing.

use std::time::Duration;

use crate::harness::{Client, Stopwatch, Version, pause, until};

use super::stage::{Outcome, Stage};

/// What we may add to the Sentinels' own time; what the machine adds by waking threads late is not ours.
///
/// A sidecar that is not built for release reads its journal several times as slowly.
const OURS_MAX: Duration = Duration::from_millis(if cfg!(debug_assertions) { 150 } else { 50 });

/// How long a read, or read and touch, of a cached session may take during a hold.
const READ_MAX: Duration = Duration::from_millis(5);

fn unseen(outcome: &Outcome) {
    let verdict = &outcome.verdict;
    assert_eq!(verdict.errors, [""; 0]);
    assert_eq!(verdict.odd, [""; 0]);
    assert_eq!(verdict.closed, 0);
    let (published, heard) = outcome.figures.heard;
    assert!(published > 0 && heard > 0, "{:?}", outcome.figures);
}

fn nothing_lost(outcome: &Outcome) {
    assert_eq!(outcome.verdict.lost, [""; 0]);
}

fn soon(outcome: &Outcome) {
    let figures = &outcome.figures;
    let ours = figures.ours.expect("there was a promotion");
    assert!(ours <= OURS_MAX + figures.stall_max, "{figures:?}");
}

fn reads_go_on(outcome: &Outcome) {
    let figures = &outcome.figures;
    assert!(figures.reads > 20, "{figures:?}");
    assert!(
        figures.read_p99 <= READ_MAX + figures.stall_p99,
        "{figures:?}"
    );
    assert!(
        figures.touch_p99 <= READ_MAX + figures.stall_p99,
        "{figures:?}"
    );
}

pub(crate) fn kill(version: &Version) {
    let mut stage = Stage::set("kill", version, |wishes| wishes);
    let outcome = stage.play(|_, fault| fault.run("kill-primary", &[]));
    unseen(&outcome);
    nothing_lost(&outcome);
    soon(&outcome);
    reads_go_on(&outcome);
}

pub(crate) fn freeze(version: &Version) {
    let mut stage = Stage::set("freeze", version, |wishes| wishes);
    let outcome = stage.play(|_, fault| fault.run("freeze-primary", &["8"]));
    unseen(&outcome);
    nothing_lost(&outcome);
    soon(&outcome);
    reads_go_on(&outcome);
}

pub(crate) fn planned(version: &Version) {
    let mut stage = Stage::set("planned", version, |wishes| wishes);
    let outcome = stage.play(|_, fault| fault.run("planned-failover", &[]));
    unseen(&outcome);
    nothing_lost(&outcome);
    soon(&outcome);
}

pub(crate) fn coordinated(version: &Version) {
    let mut stage = Stage::set("coordinated", version, |wishes| wishes);
    let outcome = stage.play(|_, fault| fault.run("planned-failover", &["coordinated"]));
    unseen(&outcome);
    nothing_lost(&outcome);
}

pub(crate) fn failover_command(version: &Version) {
    let mut stage = Stage::set("failover-command", version, |wishes| wishes);
    let outcome = stage.play(|_, fault| fault.run("redis-failover-command", &[]));
    unseen(&outcome);
    nothing_lost(&outcome);
    soon(&outcome);
}

pub(crate) fn replica_lost(version: &Version) {
    let mut stage = Stage::set("replica-lost", version, |wishes| wishes);
    let outcome = stage.play(|_, fault| fault.run("lose-replica", &[]));
    unseen(&outcome);
    nothing_lost(&outcome);
}

/// The primary's host is gone without a word: what it had acknowledged and not replicated is gone with it, and counted.
pub(crate) fn host_lost(version: &Version) {
    let Some(mut stage) = Stage::set_on_hosts("host-lost", version, |wishes| wishes) else {
        return;
    };
    let outcome = stage.play(|_, fault| fault.run("lose-host", &["8"]));
    unseen(&outcome);
    soon(&outcome);
    reads_go_on(&outcome);
}

/// The primary is cut off from replicas and Sentinels, and the application still reaches it: what it acknowledges until the
/// Sentinels have agreed is lost, and counted.
pub(crate) fn isolated(version: &Version) {
    let Some(mut stage) = Stage::set_on_hosts("isolated", version, |wishes| wishes) else {
        return;
    };
    let outcome = stage.play(|_, fault| fault.run("isolate-primary", &["8"]));
    unseen(&outcome);
    soon(&outcome);
}

/// All of Redis is frozen for five seconds: nobody is promoted, as no replica answers either.
pub(crate) fn everything_frozen(version: &Version) {
    let mut stage = Stage::set("everything-frozen", version, |wishes| wishes);
    let outcome = stage.play(|_, fault| fault.run("freeze-everything", &["5"]));
    unseen(&outcome);
    nothing_lost(&outcome);
}

/// Under a supervisor that starts it again at once.
pub(crate) fn restarted_empty(version: &Version) {
    let mut stage = Stage::set("restarted-empty", version, |wishes| {
        wishes
            .announce("another history")
            .announce("do not continue")
    });
    let outcome = stage.play(|cluster, fault| {
        fault.run("restart-empty", &[]);
        cluster.nodes[0].start_again();
    });
    unseen(&outcome);
}

pub(crate) fn twice(version: &Version) {
    let mut stage = Stage::set("twice", version, |wishes| wishes);
    let outcome = stage.play(|cluster, fault| {
        fault.run("kill-primary", &[]);
        let patience = Duration::from_secs(30);
        let other = until("another primary", patience, || {
            let is_primary = |index: &usize| cluster.node(*index).ask("ROLE").contains("master");
            [1, 2].into_iter().find(is_primary)
        });
        cluster.nodes[0].start_again();
        // The old primary comes back as a replica, so that there is somebody to promote.
        until("two replicas", patience, || {
            let about = cluster.node(other).ask("INFO replication");
            about.contains("connected_slaves:2").then_some(())
        });
        // Sentinels refuse a second one for twice the failover-timeout, unless they are told to.
        pause(Duration::from_millis(500));
        fault.run("planned-failover", &[]);
        pause(Duration::from_secs(1));
    });
    unseen(&outcome);
}

pub(crate) fn one_sentinel_dead(version: &Version) {
    let mut stage = Stage::set("one-sentinel-dead", version, |wishes| wishes);
    let outcome = stage.play(|_, fault| {
        fault.run("lose-sentinels", &["1"]);
        fault.run("kill-primary", &[]);
    });
    unseen(&outcome);
    nothing_lost(&outcome);
    soon(&outcome);
}

/// No failover without a quorum: held until the deadline, clear errors then, and service when the primary is back.
pub(crate) fn no_quorum(version: &Version) {
    let mut stage = Stage::set("no-quorum", version, |wishes| {
        wishes
            .hold("deadline_ms: 3000")
            .announce("requests are refused")
            .announce("another history")
            .announce("do not continue")
    });
    let outcome = stage.play(|cluster, fault| {
        fault.run("lose-sentinels", &["2"]);
        fault.run("kill-primary", &[]);
        let held = fault.history.now();
        let patience = Duration::from_secs(10);
        let told = until("clear errors", patience, || {
            let events = fault.history.events();
            events.iter().rev().find_map(|event| match &event.got {
                super::history::Got::Error(error)
                    if event.until > held && error.starts_with("-MASTERDOWN") =>
                {
                    Some((event.until, error.clone()))
                }
                _ => None,
            })
        });
        assert!(told.0 - held >= Duration::from_millis(2_500), "{told:?}");
        cluster.nodes[0].start_again();
    });
    let verdict = &outcome.verdict;
    assert!(!verdict.errors.is_empty());
    let clear = |error: &String| {
        error.contains("-MASTERDOWN gripfast: ")
            || error.contains("-ERR gripfast: outcome unknown: ")
            || error.contains("-EXECABORT Transaction discarded because of: gripfast")
    };
    assert!(verdict.errors.iter().all(clear), "{:?}", verdict.errors);
    assert_eq!(verdict.odd, [""; 0]);
    assert_eq!(verdict.closed, 0);
    assert!(outcome.events.len() > 100);
}

/// A failover that Sentinels begin and call off, for want of a replica that may be promoted: the old primary serves on.
pub(crate) fn called_off(version: &Version) {
    let mut stage = Stage::set("called-off", version, |wishes| wishes);
    for replica in [1, 2] {
        let answer = stage
            .cluster
            .node(replica)
            .ask("CONFIG SET replica-priority 0");
        assert_eq!(answer, "+OK");
    }
    // They ask for it every 10 s.
    until("Sentinels that know it", Duration::from_secs(20), || {
        let knows = |sentinel| {
            let about = stage
                .cluster
                .sentinel(sentinel)
                .ask("SENTINEL REPLICAS mymaster");
            about.matches("slave-priority\\r\\n$1\\r\\n0").count() == 2
        };
        (0..3).all(knows).then_some(())
    });
    let outcome = stage.play(|_, fault| fault.run("freeze-primary", &["4"]));
    unseen(&outcome);
    nothing_lost(&outcome);
    assert_eq!(outcome.figures.election, None, "nobody was promoted");
}

/// A Sentinel begins a failover for which nobody can elect it, and the primary comes back meanwhile: service does too, though
/// the Sentinel stands by its candidacy for ten seconds.
pub(crate) fn never_elected(version: &Version) {
    let mut stage = Stage::set("never-elected", version, |wishes| wishes);
    let outcome = stage.play(|cluster, fault| {
        fault.run("lose-sentinels", &["2"]);
        let answer = cluster.sentinel(0).ask("SENTINEL SET mymaster quorum 1");
        assert_eq!(answer, "+OK");
        fault.run("freeze-primary", &["4"]);
        let about = cluster.sentinel(0).ask("SENTINEL MASTER mymaster");
        assert!(about.contains("wait_start"), "{about}");
    });
    unseen(&outcome);
    nothing_lost(&outcome);
    assert_eq!(outcome.figures.election, None, "nobody was promoted");
    let gap = outcome.figures.write_gap;
    assert!(gap < Duration::from_secs(7), "{:?}", outcome.figures);
}

/// Sessions that nobody has read through this sidecar are read from a replica while there is no primary; one that the replica
/// does not have is waited for.
pub(crate) fn replica_asked(version: &Version) {
    let mut stage = Stage::set("replica-asked", version, |wishes| {
        wishes.hold("ask_replica: true")
    });
    let mut client = stage.sidecar.client();
    for number in 0..50 {
        let request = format!("SET cold:{number} {number} EX 600");
        assert_eq!(client.ask(&request), "+OK");
    }
    until("replicas that have all", Duration::from_secs(10), || {
        (stage.sidecar.metric("gripfast_writes_at_risk") == 0.0
            && stage.sidecar.metric("gripfast_journal_writes_total") >= 50.0)
            .then_some(())
    });
    let address = stage.sidecar.address.clone();
    let outcome = stage.play(|_, fault| {
        fault.run("kill-primary", &[]);
        let (mut client, mut other) = (Client::connect(&address), Client::connect(&address));
        other.send_words("GET nobody");
        let clock = Stopwatch::start();
        for number in 0..50 {
            let reply = client.ask(&format!("GET cold:{number}"));
            assert_eq!(
                reply,
                format!("${}\\r\\n{number}", number.to_string().len())
            );
        }
        // The Sentinels have not even noticed.
        assert!(
            clock.elapsed() < Duration::from_millis(900),
            "{:?}",
            clock.elapsed()
        );
        assert_eq!(other.text(), "$-1");
        assert!(
            clock.elapsed() > Duration::from_millis(900),
            "absent by the new primary's word"
        );
    });
    unseen(&outcome);
    nothing_lost(&outcome);
    let series = "gripfast_session_reads_total{outcome=\"replica\"}";
    assert!(stage.sidecar.metric(series) >= 50.0);
}

/// All of Redis is killed and comes back empty five seconds later: what was lost is counted.
pub(crate) fn everything_killed(version: &Version) {
    let mut stage = Stage::set("everything-killed", version, |wishes| {
        wishes
            .announce("another history")
            .announce("do not continue")
    });
    let outcome = stage.play(|cluster, fault| {
        fault.run("kill-everything", &[]);
        pause(Duration::from_secs(5));
        for node in &mut cluster.nodes {
            node.start_again();
        }
    });
    unseen(&outcome);
}
