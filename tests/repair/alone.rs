//! One sidecar, replicas that stand still, a primary that is killed: how fast what is lost comes back, and what is said where it may
//! not.

use std::fmt::Write as _;
use std::time::Duration;

use crate::harness::{
    Client, Cluster, Plan, SWITCH_SAYS, Sidecar, Turn, Version, Wishes, encode, signal, until,
};

const PATIENCE: Duration = Duration::from_secs(40);

/// The replicas are frozen for less than that.
const DOWN_AFTER_MS: u32 = 3_000;

/// Kills the primary of writes that no replica has; returns the cluster and what the sidecar has then.
fn lose(
    version: &Version,
    wishes: impl FnOnce(&Cluster, Wishes) -> Wishes,
    write: impl FnOnce(&mut Client),
) -> (Cluster, Sidecar) {
    let plan = Plan {
        down_after_ms: DOWN_AFTER_MS,
        passwords: None,
    };
    let mut cluster = Cluster::start(version, plan);
    let mut wanted = Sidecar::before_sentinels(&cluster.sentinel_ports());
    for text in SWITCH_SAYS {
        wanted = wanted.announce(text);
    }
    let sidecar = wishes(&cluster, wanted).start();
    let mut client = sidecar.client();
    client.read_timeout(PATIENCE);
    let replicas: Vec<u32> = cluster.nodes[1..].iter().map(|node| node.pid()).collect();
    replicas.iter().for_each(|pid| signal(*pid, "-STOP"));
    write(&mut client);
    cluster.nodes[0].kill();
    replicas.iter().for_each(|pid| signal(*pid, "-CONT"));
    until("a write to another primary", PATIENCE, || {
        let mut probe = Client::try_connect(&sidecar.address).ok()?;
        (probe.try_ask("SET probe 1 EX 60")? == "+OK").then_some(())
    });
    (cluster, sidecar)
}

fn settled(sidecar: &Sidecar, outcome: &str) -> f64 {
    sidecar.metric(&format!(
        "gripfast_writes_settled_total{{outcome=\"{outcome}\"}}"
    ))
}

/// Ten thousand sessions of a kilobyte; the time is told, not judged: this may be a debug build on a busy machine.
pub(crate) fn ten_thousand_sessions(version: &Version) {
    let _turn = Turn::take();
    const COUNT: usize = 10_000;
    let value = "x".repeat(1_024);
    let (_cluster, sidecar) = lose(
        version,
        |_, wishes| wishes,
        |client| {
            for batch in 0..COUNT / 100 {
                let numbers = batch * 100..batch * 100 + 100;
                let requests = numbers
                    .map(|number| encode(&["SET", &format!("k{number}"), &value, "EX", "600"]));
                client.send(&requests.flatten().collect::<Vec<u8>>());
                (0..100).for_each(|_| assert_eq!(client.frame(), b"+OK\r\n"));
            }
        },
    );
    let mut client = sidecar.client();
    for number in 0..COUNT {
        let found = client.ask(&format!("STRLEN k{number}"));
        assert_eq!(found, ":1024", "of session {number}");
    }
    until("the account of it", PATIENCE, || {
        let all = settled(&sidecar, "repaired") + settled(&sidecar, "survived");
        (all == COUNT as f64).then_some(())
    });
    assert_eq!(settled(&sidecar, "lost"), 0.0);
    let mut told = String::new();
    let repaired = settled(&sidecar, "repaired");
    let seconds = sidecar.metric("gripfast_repair_last_seconds");
    let _ = write!(told, "{repaired} sessions of 1 KiB put back in {seconds} s");
    eprintln!("{told} on {}", version.name);
    assert!(repaired > 0.0, "nothing was lost, so nothing is proven");
}

/// A user who may not touch our keys: said at the start, requests go on after the switch, and the loss is counted.
pub(crate) fn without_permission(version: &Version) {
    let _turn = Turn::take();
    let (_cluster, sidecar) = lose(
        version,
        |cluster, wishes| {
            for node in 0..3 {
                let user = "ACL SETUSER app on >s ~k* ~probe &* +@all";
                assert_eq!(cluster.node(node).ask(user), "+OK");
            }
            wishes
                .upstream("username: app, password: s")
                .announce("can't be put back")
        },
        |client| {
            for number in 0..100 {
                assert_eq!(client.ask(&format!("SET k{number} v EX 600")), "+OK");
            }
        },
    );
    let lost = until("the account of it", PATIENCE, || {
        let lost = sidecar.metric("gripfast_writes_lost_total{cause=\"unable\"}");
        (lost > 0.0).then_some(lost)
    });
    assert!(lost <= 100.0);
    assert_eq!(settled(&sidecar, "repaired"), 0.0);
}
