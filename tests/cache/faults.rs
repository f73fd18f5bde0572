//! Links that are killed, messages that make no sense, users who may not do what a cache needs: answers stay right, and the
//! bound on what changes unseen stays, too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::checker::{check, show};
use super::history::{Program, Way, Write};
use super::monitor::Monitor;
use super::relay::{Mode, Relay};
use super::statistics::Calls;
use super::workload::{Arena, Mix, Player, play};
use crate::harness::{
    Client, Random, Server, Sidecar, against_redis, any_version, encode, pause, seed, until,
};
use crate::{run_length, side_by_side};

const RUN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

/// Writes that can be recognised although their outcome is open.
const PLAIN: Mix = Mix {
    writes: 5,
    is_rich: false,
    rest_max: 200,
};
const RICH: Mix = Mix {
    writes: 5,
    is_rich: true,
    rest_max: 200,
};

/// Puts a load on a sidecar: four clients of it, and two past it. Returns what they did and saw, and the server's order of
/// the writes.
fn load(
    server: &Server,
    sidecar: &Sidecar,
    mix: Mix,
    seed: u64,
    meanwhile: impl Fn(),
) -> (Vec<Program>, Vec<Write>) {
    let monitor = Monitor::start(server);
    let arena = Arena::new();
    let foreign = Mix {
        writes: 50,
        rest_max: 50_000,
        ..mix
    };
    let (through, past) = (|| sidecar.client(), || server.client());
    let mut players: Vec<Player<'_>> = (0..4)
        .map(|place| Player::at(place, &arena, &through, Way::Sidecar(0), mix))
        .collect();
    players.extend([0, 2].map(|place| Player::at(place, &arena, &past, Way::Server, foreign)));
    let mut random = Random::new(seed);
    let players = players
        .into_iter()
        .map(|player| player.seeded(&mut random))
        .collect();
    let programs = play(players, &arena, meanwhile);
    (programs, monitor.end(server))
}

/// Insists on a right history; returns how stale the stalest answer was.
fn proven(what: &str, seed: u64, programs: &[Program], order: &[Write]) -> Duration {
    let findings = check(programs, order);
    assert!(
        findings.faults.is_empty(),
        "{what}, seed {seed}: {}",
        show(&findings.faults)
    );
    let stalest = Duration::from_nanos(findings.stalest.0);
    eprintln!(
        "{what}: {} reads, {} writes, the stalest {stalest:?}",
        findings.staleness.len(),
        order.len()
    );
    assert!(
        findings.staleness.len() > 100,
        "{what}: hardly any read was answered"
    );
    stalest
}

#[test]
fn killing_each_link_under_load_makes_no_wrong_answer() {
    if against_redis() {
        return;
    }
    let seed = seed("killed links");
    let server = Server::start(&any_version());
    let sidecar = Sidecar::before(&server).announce("").start();
    let killed = AtomicUsize::new(0);
    let (programs, order) = load(&server, &sidecar, PLAIN, seed, || {
        let mut killer = server.client();
        for round in 0..10 {
            pause(run_length(RUN) / 10);
            for id in our_links(&mut killer) {
                // One lane and then another, so that not everything is lost each time.
                if (id + round) % 2 == 0 && killer.ask(&format!("CLIENT KILL ID {id}")) == ":1" {
                    killed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    let killed = killed.load(Ordering::Relaxed);
    assert!(killed >= 5, "{killed} links were killed");
    let stalest = proven(&format!("{killed} killed links"), seed, &programs, &order);
    assert!(
        stalest < Duration::from_secs(2),
        "seed {seed}: {stalest:?} out of date"
    );
}

/// The ids of the sidecar's links, whatever they are for.
fn our_links(client: &mut Client) -> Vec<u64> {
    let list = client.call(&["CLIENT", "LIST"]);
    let list = String::from_utf8_lossy(&list);
    let ours = list.lines().filter(|line| line.contains("name=gripfast-"));
    let id = |line: &str| line.split("id=").nth(1)?.split(' ').next()?.parse().ok();
    ours.filter_map(id).collect()
}

/// What a server never says: the link is of no use any more, and what it filled neither.
#[test]
fn a_message_that_makes_no_sense_ends_what_its_link_filled() {
    if against_redis() {
        return;
    }
    let messages: Vec<&[u8]> = vec![
        b">2\r\n$10\r\ninvalidate\r\n:5\r\n",
        b">2\r\n$10\r\ninvalidate\r\n$7\r\nsession\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n:7\r\n",
        b">1\r\n$10\r\ninvalidate\r\n",
        b">3\r\n$10\r\ninvalidate\r\n_\r\n_\r\n",
        b">x\r\n",
        b">2\r\n$-5\r\n",
        b"?what\r\n",
        b"+OK\r\n",
        b"$5\r\nextra\r\n",
    ];
    side_by_side(messages, |message| {
        let server = Server::start(&any_version());
        let relay = Relay::start(server.address());
        let sidecar = Sidecar::before(&server)
            .through(relay.port)
            .cache("max_staleness_ms: 60000")
            .cache("ttl_s: 3600")
            .announce("")
            .start();
        let (mut direct, mut client) = (server.client(), sidecar.client());
        let shown = String::from_utf8_lossy(message).replace("\r\n", " ");
        for key in ["session", "other"] {
            assert_eq!(direct.ask(&format!("SET {key} old")), "+OK");
            for _ in 0..3 {
                assert_eq!(client.ask(&format!("GET {key}")), "$3\\r\\nold");
            }
        }
        // Both are changed; of neither change will there be a word that can be understood.
        relay.set(Mode::Replace(message.to_vec()));
        for key in ["session", "other"] {
            assert_eq!(direct.ask(&format!("SET {key} new")), "+OK");
        }
        for key in ["session", "other"] {
            until(
                &format!("{key}'s new value after {shown}"),
                PATIENCE,
                || (client.ask(&format!("GET {key}")) == "$3\\r\\nnew").then_some(()),
            );
        }
        relay.set(Mode::Pass);
        // And all goes on: changes are announced again.
        for number in 10..15 {
            assert_eq!(direct.ask(&format!("SET session {number}")), "+OK");
            until(&format!("a change after {shown}"), PATIENCE, || {
                (client.ask("GET session") == format!("$2\\r\\n{number}")).then_some(())
            });
        }
    });
}

/// Users who may not do what a cache needs, and how stale answers may be for them.
#[test]
fn a_user_without_a_permission_gets_right_answers() {
    if against_redis() {
        return;
    }
    const UNTRACKED: Duration = Duration::from_millis(300);
    const TRACKED: Duration = Duration::from_millis(2000);
    let denied = vec![
        ("-client|tracking", UNTRACKED),
        ("-client", UNTRACKED),
        ("-pttl", TRACKED),
        ("-time", TRACKED),
        ("-info", TRACKED),
        ("-pttl -time -client -info", UNTRACKED),
    ];
    side_by_side(denied, |(denied, bound)| {
        let seed = seed(&format!("a user with {denied}"));
        let server = Server::start(&any_version());
        let rule = format!("ACL SETUSER app on >pw ~* &* +@all {denied}");
        assert_eq!(server.client().ask(&rule), "+OK");
        let sidecar = Sidecar::before(&server)
            .upstream("username: app, password: pw")
            .cache(&format!("ttl_untracked_ms: {}", UNTRACKED.as_millis()))
            .announce("")
            .start();
        let (programs, order) = load(&server, &sidecar, RICH, seed, || pause(run_length(RUN)));
        let stalest = proven(&format!("a user with {denied}"), seed, &programs, &order);
        assert!(
            stalest < bound,
            "{denied}, seed {seed}: {stalest:?} out of date"
        );
        expires_in_time(&sidecar, denied);
    });
}

/// Where changes are not announced, what is kept may be old; but a client that was shown something newer, by a read that
/// went to the server, is not shown the old again.
struct Unannounced {
    sidecar: Sidecar,
    relay: Relay,
    direct: Client,
    server: Server,
}

impl Unannounced {
    fn start() -> Self {
        let server = Server::start(&any_version());
        let relay = Relay::start(server.address());
        let mut direct = server.client();
        assert_eq!(
            direct.ask("ACL SETUSER app on >pw ~* &* +@all -client|tracking"),
            "+OK"
        );
        let sidecar = Sidecar::before(&server)
            .through(relay.port)
            .upstream("username: app, password: pw")
            .cache("ttl_untracked_ms: 60000")
            .announce("CLIENT TRACKING is refused")
            .start();
        Self {
            sidecar,
            relay,
            direct,
            server,
        }
    }
}

#[test]
fn a_client_never_goes_back_where_nothing_is_announced() {
    if against_redis() {
        return;
    }
    let mut scene = Unannounced::start();
    let mut client = scene.sidecar.client();
    let show = |version: &str| format!("${}\\r\\n{version}", version.len());
    for (number, between) in [
        "HGET hash b",
        "HMGET hash a b",
        "HGETALL hash",
        "EXISTS hash",
    ]
    .iter()
    .enumerate()
    {
        let (old, new) = (format!("old{number}"), format!("new{number}"));
        // A write through the sidecar, so that nothing is kept of the round before.
        assert!(
            client
                .ask(&format!("HSET hash a {old} b {old}"))
                .starts_with(':')
        );
        for _ in 0..3 {
            assert_eq!(client.ask("HGET hash a"), show(&old));
        }
        assert_eq!(
            scene.direct.ask(&format!("HSET hash a {new} b {new}")),
            ":0"
        );
        let shown = client.ask(between);
        let after = client.ask("HGET hash a");
        if shown.contains(&new) {
            assert_eq!(
                after,
                show(&new),
                "{between} showed {shown}, then it went back"
            );
        }
    }
}

/// The first EXISTS of a link is sent to learn whether the user may ask it.
#[test]
fn a_client_that_was_told_of_a_key_finds_it_where_nothing_is_announced() {
    if against_redis() {
        return;
    }
    for question in [
        "EXISTS session",
        "STRLEN session",
        "MGET session other",
        "TOUCH session",
    ] {
        let mut scene = Unannounced::start();
        let mut client = scene.sidecar.client();
        for _ in 0..3 {
            assert_eq!(client.ask("GET session"), "$-1");
        }
        assert_eq!(scene.direct.ask("SET session value"), "+OK");
        let told = client.ask(question);
        let found = client.ask("GET session");
        assert!(
            found == "$5\\r\\nvalue" || told == ":0" || told.contains("$-1\\r\\n$-1"),
            "{question}: {told}, then {found}"
        );
    }
}

/// A read that may not join one that is under way, as it stands behind another in its client's packet, brings what is
/// newer than what the other brings.
#[test]
fn a_read_that_passes_another_ends_what_that_brought_where_nothing_is_announced() {
    if against_redis() {
        return;
    }
    let mut scene = Unannounced::start();
    let (mut first, mut second) = (scene.sidecar.client(), scene.sidecar.client());
    assert_eq!(scene.direct.ask("SET session old"), "+OK");
    let mut calls = Calls::of(&scene.server);
    let mut at_server = |count: u64| {
        until("questions at the server", PATIENCE, || {
            (calls.of_commands(&["get"]) == count).then_some(())
        });
    };
    scene.relay.set(Mode::Hold);
    first.send_words("GET session");
    at_server(1);
    assert_eq!(scene.direct.ask("SET session new"), "+OK");
    second.send(&[encode(&["GET", "other"]), encode(&["GET", "session"])].concat());
    at_server(3);
    scene.relay.set(Mode::Pass);
    assert_eq!(first.text(), "$3\\r\\nold");
    assert_eq!([second.text(), second.text()], ["$-1", "$3\\r\\nnew"]);
    assert_eq!(second.ask("GET session"), "$3\\r\\nnew", "it went back");
}

/// A session that is read all the time is gone when its time is over.
fn expires_in_time(sidecar: &Sidecar, denied: &str) {
    let arena = Arena::new();
    let mut client = sidecar.client();
    assert_eq!(client.ask("SET session:short value PX 150"), "+OK");
    let set_at = arena.now();
    loop {
        let began = arena.now();
        if client.ask("GET session:short") == "$-1" {
            return;
        }
        let late = began.saturating_sub(set_at + 151_000_000);
        assert!(
            late < 2_000_000,
            "{denied}: served {late} ns past the deadline"
        );
    }
}
