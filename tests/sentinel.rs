//! Promise: the primary is found through Sentinels and followed, whatever happens to either, on every server version.
//!
//! Each version comes with its own `--sentinel`. An application keeps its connection, sees clear errors, and never nil for
//! a key that exists.

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
    Client, Cluster, Plan, SWITCH_SAYS, Sidecar, Stopwatch, Version, against_redis, pause, until,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

const PLAN: Plan = Plan {
    // A machine so busy that a Sentinel misses answers for this long starts failovers of its own.
    down_after_ms: 2000,
    passwords: None,
};

/// The topology part of `/status`.
fn topology(sidecar: &Sidecar) -> Value {
    let status = sidecar.status().expect("the admin port answers");
    status["upstream"]["topology"].clone()
}

fn generation(sidecar: &Sidecar) -> u64 {
    topology(sidecar)["primary"]["generation"]
        .as_u64()
        .unwrap_or(0)
}

fn wait_for_generation(sidecar: &Sidecar, generation: u64) -> Value {
    until("the switch", PATIENCE, || {
        let now = topology(sidecar);
        let there = now["primary"]["generation"].as_u64() >= Some(generation);
        there.then_some(now)
    })
}

/// Asks for a key that exists until it is read; every answer until then must be a clear error.
fn read_until_there(client: &mut Client, key: &str) {
    until("a read that is answered", PATIENCE, || {
        let answer = client.ask(&format!("GET {key}"));
        if answer.starts_with("-MASTERDOWN gripfast") {
            return None;
        }
        assert_eq!(answer, "$5\\r\\nhello", "not nil, no other error");
        Some(())
    });
}

fn write_replicated(client: &mut Client, key: &str) {
    assert_eq!(client.ask(&format!("SET {key} hello")), "+OK");
    assert_eq!(client.ask("WAIT 2 5000"), ":2");
}

fn discovery_and_planned_failover_with_two_passwords(version: &Version) {
    let plan = Plan {
        passwords: Some(("of-data", "of-sentinels")),
        ..PLAN
    };
    let cluster = Cluster::start(version, plan);
    let mut wishes = Sidecar::before_sentinels(&cluster.sentinel_ports()[..1])
        .upstream("password: of-data, sentinel_password: of-sentinels");
    for text in SWITCH_SAYS {
        wishes = wishes.announce(text);
    }
    let sidecar = wishes.start();
    let found = until("everybody", PATIENCE, || {
        let now = topology(&sidecar);
        let all = |list: &Value, count: usize, field: &str, value: Value| {
            let list = list.as_array().expect("a list");
            list.len() == count && list.iter().all(|one| one[field] == value)
        };
        let complete = all(&now["sentinels"], 3, "state", "named".into())
            && all(&now["sentinels"], 3, "listening", true.into())
            && all(&now["replicas"], 2, "online", true.into());
        complete.then_some(now)
    });
    assert_eq!(
        found["primary"]["address"],
        cluster.nodes[0].address().as_str()
    );
    assert_eq!(found["switches"][0]["reason"], "start");

    let mut client = sidecar.client();
    write_replicated(&mut client, "session:1");
    assert_eq!(cluster.sentinel(1).ask("SENTINEL FAILOVER mymaster"), "+OK");
    let now = wait_for_generation(&sidecar, 2);
    assert_eq!(now["switches"][0]["reason"], "switchover");
    assert_eq!(now["switches"][0]["continuity"], "heir");
    assert_ne!(now["primary"]["address"], found["primary"]["address"]);
    // It was accepted before the Sentinels agreed; their epoch follows.
    until("a higher epoch", PATIENCE, || {
        let now = topology(&sidecar);
        let epoch = |topology: &Value| topology["primary"]["epoch"].as_u64();
        (epoch(&now) > epoch(&found)).then_some(())
    });
    assert_eq!(
        now["primary"]["lineage"]["replid2"],
        found["primary"]["lineage"]["replid"]
    );
    read_until_there(&mut client, "session:1");
    assert_eq!(client.ask("SET session:2 x"), "+OK");
    let (_, metrics) = sidecar.admin("/metrics").unwrap();
    assert!(metrics.contains("gripfast_primary_switches_total{reason=\"switchover\"} 1"));
    assert!(
        metrics.contains("gripfast_lineage_breaks_total 0"),
        "{metrics}"
    );
}

fn kill_is_followed_and_the_restarted_old_primary_is_not_gone_back_to(version: &Version) {
    let mut cluster = Cluster::start(version, PLAN);
    let mut wishes = Sidecar::before_sentinels(&cluster.sentinel_ports());
    for text in SWITCH_SAYS {
        wishes = wishes.announce(text);
    }
    let sidecar = wishes.start();
    let (mut client, mut other) = (sidecar.client(), sidecar.client());
    write_replicated(&mut client, "session:1");
    assert_eq!(other.ask("MULTI"), "+OK");
    assert_eq!(other.ask("SET session:3 x"), "+QUEUED");
    cluster.nodes[0].kill();
    read_until_there(&mut client, "session:1");
    let now = wait_for_generation(&sidecar, 2);
    assert_eq!(now["switches"][0]["reason"], "failover");
    assert_eq!(now["switches"][0]["continuity"], "heir");
    let answer = other.ask("EXEC");
    assert_eq!(answer, "*1\\r\\n+OK", "queued again at the new primary");

    // It is empty, calls itself a primary and takes writes, for some ten seconds.
    cluster.nodes[0].start_again();
    let back = Stopwatch::start();
    let mut demoted = false;
    while !demoted && back.elapsed() < PATIENCE {
        assert_eq!(client.ask("GET session:1"), "$5\\r\\nhello");
        assert_eq!(generation(&sidecar), 2);
        // The demotion kills clients, so this one may get no answer.
        let mut direct = cluster.node(0);
        direct.send_words("INFO replication");
        let answer = direct.try_frame().unwrap_or_default();
        demoted = String::from_utf8_lossy(&answer).contains("role:slave");
        pause(Duration::from_millis(100));
    }
    assert!(demoted, "Sentinels made the old primary a replica");
}

fn lost_sentinels_are_shown_and_the_rest_is_enough(version: &Version) {
    let mut cluster = Cluster::start(version, PLAN);
    let mut wishes = Sidecar::before_sentinels(&cluster.sentinel_ports());
    for text in SWITCH_SAYS {
        wishes = wishes.announce(text);
    }
    let sidecar = wishes.start();
    let mut client = sidecar.client();
    write_replicated(&mut client, "session:1");
    cluster.sentinels[0].kill();
    until("a Sentinel that is shown as lost", PATIENCE, || {
        let sentinels = topology(&sidecar)["sentinels"].clone();
        let lost = sentinels
            .as_array()?
            .iter()
            .filter(|one| one["state"] == "unreachable");
        let lost: Vec<&Value> = lost.collect();
        (lost.len() == 1 && lost[0]["trouble"] != "").then_some(())
    });
    cluster.nodes[0].kill();
    let now = wait_for_generation(&sidecar, 2);
    assert_eq!(now["switches"][0]["reason"], "failover");
    read_until_there(&mut client, "session:1");
    // Without any Sentinel the primary that is known goes on being served.
    for sentinel in &mut cluster.sentinels {
        sentinel.kill();
    }
    until("no Sentinel", PATIENCE, || {
        (topology(&sidecar)["state"] == "no Sentinel answers").then_some(())
    });
    read_until_there(&mut client, "session:1");
    assert_eq!(generation(&sidecar), 2);
}

fn restart_at_the_same_address_is_a_lineage_break(version: &Version) {
    // So long that Sentinels do not notice.
    let plan = Plan {
        down_after_ms: 60_000,
        ..PLAN
    };
    let mut cluster = Cluster::start(version, plan);
    let mut wishes = Sidecar::before_sentinels(&cluster.sentinel_ports());
    for text in SWITCH_SAYS {
        wishes = wishes.announce(text);
    }
    // What the break loses stays lost, to be seen: tests/repair.rs shows how it comes back.
    let wishes = wishes
        .journal("enabled: false")
        .announce("another history")
        .announce("do not continue");
    let sidecar = wishes.start();
    let address = topology(&sidecar)["primary"]["address"].clone();
    let mut client = sidecar.client();
    assert_eq!(client.ask("SET session:1 hello"), "+OK");
    cluster.nodes[0].start_again();
    // It is back and empty. That it is gives no answer until the lineage break was accepted, and counted.
    until("the break, before the first answer", PATIENCE, || {
        let answer = client.ask("GET session:1");
        if answer.starts_with("-MASTERDOWN gripfast") {
            return None;
        }
        assert_eq!(answer, "$-1");
        assert_eq!(generation(&sidecar), 2, "accepted before it was served");
        Some(())
    });
    let now = wait_for_generation(&sidecar, 2);
    assert_eq!(now["switches"][0]["reason"], "lineage_break");
    assert_eq!(now["primary"]["address"], address);
    let (_, metrics) = sidecar.admin("/metrics").unwrap();
    assert!(
        metrics.contains("gripfast_lineage_breaks_total 1"),
        "{metrics}"
    );
}

#[test]
fn unknown_name_is_waited_for_with_a_clear_error() {
    if against_redis() {
        return;
    }
    let cluster = Cluster::start(&harness::any_version(), PLAN);
    let sidecar = Sidecar::before_sentinels(&cluster.sentinel_ports())
        .upstream("primary_name: other")
        .hold("deadline_ms: 500")
        .announce("waiting for a primary")
        .announce("requests are refused")
        .without_waiting()
        .start();
    until("the Sentinels' answer", PATIENCE, || {
        let (_, body) = sidecar.admin("/status")?;
        body.contains("do not know a primary of that name")
            .then_some(())
    });
    let mut client = until("a listener", PATIENCE, || {
        Client::try_connect(&sidecar.address).ok()
    });
    let answer = client.ask("GET a");
    assert!(
        answer.starts_with("-MASTERDOWN gripfast") && answer.contains("Sentinels"),
        "{answer}"
    );
    assert_eq!(sidecar.admin("/readyz").unwrap().0, 503);
}

#[test]
fn the_log_and_check_say_whose_time_outs_are_shorter_than_a_failover() {
    if against_redis() {
        return;
    }
    let plan = Plan {
        down_after_ms: 3_000,
        ..PLAN
    };
    let cluster = Cluster::start(&harness::any_version(), plan);
    let sidecar = Sidecar::before_sentinels(&cluster.sentinel_ports()).start();
    let advice =
        "a failover takes about 4 s, and these wait for less by default: redis-rs from 1.0 (0.5 s)";
    until("advice in the log", PATIENCE, || {
        sidecar.log().contains(advice).then_some(())
    });
    let config = sidecar.scratch.path().join("check.yaml");
    let addresses = cluster.sentinel_addresses().join(", ");
    std::fs::write(&config, format!("upstream: {{sentinels: [{addresses}]}}")).unwrap();
    let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_gripfast"));
    let output = check.arg("check").arg("-c").arg(config).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("which the Sentinels begin after 3 s"),
        "{text}"
    );
    assert!(text.contains(advice), "{text}");
}

macro_rules! matrix {
    ($($module:ident = $name:literal;)+) => {
        $(mod $module {
            fn on(test: fn(&super::Version)) {
                if super::against_redis() {
                    return;
                }
                if let Some(version) = super::harness::version($name) {
                    let _turn = super::harness::Turn::take();
                    test(&version);
                }
            }

            #[test]
            fn discovery_and_planned_failover_with_two_passwords() {
                on(super::discovery_and_planned_failover_with_two_passwords);
            }

            #[test]
            fn kill_is_followed_and_the_restarted_old_primary_is_not_gone_back_to() {
                on(super::kill_is_followed_and_the_restarted_old_primary_is_not_gone_back_to);
            }

            #[test]
            fn lost_sentinels_are_shown_and_the_rest_is_enough() {
                on(super::lost_sentinels_are_shown_and_the_rest_is_enough);
            }

            #[test]
            fn restart_at_the_same_address_is_a_lineage_break() {
                on(super::restart_at_the_same_address_is_a_lineage_break);
            }
        })+
    };
}

matrix! {
    redis_6_2 = "redis-6.2";
    redis_7_0 = "redis-7.0";
    redis_8_2 = "redis-8.2";
    valkey_9_1 = "valkey-9.1";
}
