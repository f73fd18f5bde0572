//! A link that is half dead: what the server says on the tracked link is lost, or comes late. Reads may wait or fail
//! meanwhile; none is staler than `cache.max_staleness_ms`.

use std::time::Duration;

use super::checker::{check, show};
use super::history::{Key, Nanos, Program, Read, Seen, Step, Way, What, Write, value_of};
use super::relay::{Mode, Relay};
use super::statistics::Calls;
use super::workload::Arena;
use crate::harness::{
    Client, Random, Server, Sidecar, against_redis, any_version, encode, pause, seed, signal, until,
};
use crate::side_by_side;

const MAX_STALENESS: Duration = Duration::from_millis(600);

const PATIENCE: Duration = Duration::from_secs(20);

/// How long a reader waits before it gives up and dials again.
const READER_PATIENCE: Duration = Duration::from_millis(250);

/// How long everything is well at first, how long the fault lasts, and how long it is over before the end.
const WELL: Duration = Duration::from_millis(500);
const FAULT: Duration = Duration::from_millis(2000);

/// The keys that one writer renews in turn, straight at the server, at this pace.
const KEYS: u8 = 3;
const PACE: Duration = Duration::from_millis(15);

fn key(number: u64) -> Key {
    Key {
        database: 0,
        number: (number % u64::from(KEYS)) as u8,
    }
}

#[test]
fn a_half_dead_tracking_link_never_makes_a_stale_answer() {
    if against_redis() {
        return;
    }
    let faults = vec![
        ("drops", Fault::Link(Mode::Drop)),
        (
            "is ten seconds late",
            Fault::Link(Mode::Delay(Duration::from_secs(10))),
        ),
        (
            "is 0.4 s late",
            Fault::Link(Mode::Delay(Duration::from_millis(400))),
        ),
        ("is not read, as the sidecar is frozen", Fault::Freeze),
    ];
    side_by_side(faults, |(name, fault)| {
        let seed = seed(&format!("a link that {name}"));
        let server = Server::start(&any_version());
        let relay = Relay::start(server.address());
        let sidecar = Sidecar::before(&server)
            .through(relay.port)
            .cache(&format!("max_staleness_ms: {}", MAX_STALENESS.as_millis()))
            .announce("")
            .start();
        let programs = play(&server, &sidecar, &relay, &fault, seed);
        let order: Vec<Write> = programs[0].steps.iter().filter_map(write).collect();
        let findings = check(&programs, &order);
        assert!(
            findings.faults.is_empty(),
            "seed {seed}: {}",
            show(&findings.faults)
        );
        let stalest = findings
            .staleness
            .iter()
            .max()
            .copied()
            .map_or(Duration::ZERO, Duration::from_nanos);
        eprintln!(
            "a link that {name}: {} reads, the stalest {stalest:?}",
            findings.staleness.len()
        );
        assert!(
            stalest < MAX_STALENESS,
            "seed {seed}: {stalest:?} out of date: {}",
            findings.stalest.1
        );
    });
}

/// What happens to what the server says.
#[derive(Debug)]
enum Fault {
    Link(Mode),
    /// The sidecar's own process stands still; what comes for it is kept by the kernel.
    Freeze,
}

impl Fault {
    fn begin(&self, relay: &Relay, sidecar: &Sidecar) {
        match self {
            Self::Link(mode) => relay.set(mode.clone()),
            Self::Freeze => signal(pid(sidecar), "-STOP"),
        }
    }

    fn end(&self, relay: &Relay, sidecar: &Sidecar) {
        match self {
            Self::Link(_) => {
                assert!(relay.withheld() > 0, "there was a fault");
                relay.set(Mode::Pass);
            }
            Self::Freeze => signal(pid(sidecar), "-CONT"),
        }
    }
}

fn pid(sidecar: &Sidecar) -> u32 {
    sidecar.pid().expect("a sidecar runs")
}

fn write(step: &Step) -> Option<Write> {
    match step.what {
        What::Write(write) => Some(write),
        _ => None,
    }
}

/// Lets readers and a writer run through the fault and past it; the writer's program comes first.
fn play(
    server: &Server,
    sidecar: &Sidecar,
    relay: &Relay,
    fault: &Fault,
    seed: u64,
) -> Vec<Program> {
    let arena = Arena::new();
    let mut calls = Calls::of(server);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_on(&arena, server.client()));
        let readers = [false, true].map(|is_resp3| {
            let (arena, address) = (&arena, &sidecar.address);
            let random = Random::new(seed + u64::from(is_resp3));
            scope.spawn(move || read_on(arena, address, is_resp3, random))
        });
        pause(WELL);
        let before_fault = calls.of_commands(&["get"]);
        fault.begin(relay, sidecar);
        pause(FAULT);
        let healed_at = arena.now();
        fault.end(relay, sidecar);
        until("service after the fault", PATIENCE, || {
            serves_again(sidecar, server).then_some(())
        });
        pause(WELL);
        arena.end();
        let mut programs = vec![writer.join().expect("the writer writes")];
        for reader in readers {
            programs.extend(reader.join().expect("a reader reads or gives up"));
        }
        tell(&programs, before_fault, healed_at, fault);
        programs
    })
}

/// A fresh client reads what is at the server now, or what was there a moment ago and is being renewed.
fn serves_again(sidecar: &Sidecar, server: &Server) -> bool {
    let mut client = sidecar.client();
    client.read_timeout(READER_PATIENCE);
    let before = server.client().ask("GET session:0");
    client.send_words("GET session:0");
    let Some(frame) = client.try_frame() else {
        return false;
    };
    let after = server.client().ask("GET session:0");
    let shown = crate::harness::escape(&frame);
    shown.starts_with(&before) || shown.starts_with(&after)
}

fn write_on(arena: &Arena, mut client: Client) -> Program {
    let mut steps = Vec::new();
    for version in 1.. {
        if arena.is_over() {
            break;
        }
        let begin = arena.now();
        let reply = client.call(&["SET", &key(version).name(), &value_of(version)]);
        assert_eq!(reply, b"+OK\r\n");
        let what = What::Write(Write::Set(key(version), version));
        steps.push(Step {
            begin,
            end: arena.now(),
            what,
        });
        pause(PACE);
    }
    Program {
        name: "writer".into(),
        way: Way::Server,
        steps,
    }
}

/// Reads until the load is over; each connection that ends or is given up is a program of its own.
fn read_on(arena: &Arena, address: &str, is_resp3: bool, mut random: Random) -> Vec<Program> {
    let mut programs = Vec::new();
    while !arena.is_over() {
        let mut steps = Vec::new();
        let Ok(mut client) = Client::try_connect(address) else {
            continue;
        };
        client.read_timeout(READER_PATIENCE);
        if is_resp3 && (client.try_send(b"HELLO 3\r\n").is_err() || client.try_frame().is_none()) {
            continue;
        }
        while !arena.is_over() {
            let read = Read::Get(key(random.next()));
            let begin = arena.now();
            if client
                .try_send(&encode(&["GET", &read.key().name()]))
                .is_err()
            {
                break;
            }
            let Some(frame) = client.try_frame() else {
                break;
            };
            let seen = Seen::of(read, &crate::harness::parse(&frame), is_resp3);
            steps.push(Step {
                begin,
                end: arena.now(),
                what: What::Read(read, seen),
            });
        }
        let protocol = if is_resp3 { 3 } else { 2 };
        programs.push(Program {
            name: format!("reader, RESP{protocol}"),
            way: Way::Sidecar(0),
            steps,
        });
    }
    programs
}

/// Prints what was answered before, in and after the fault; before it, the cache must have been worth something.
fn tell(programs: &[Program], upstream_before: u64, healed_at: Nanos, fault: &Fault) {
    let fault_at = healed_at.saturating_sub(FAULT.as_nanos() as Nanos);
    let reads = programs[1..].iter().flat_map(|program| &program.steps);
    let answered = reads.filter(
        |step| matches!(&step.what, What::Read(_, seen) if !matches!(seen, Seen::Error(_))),
    );
    let mut counts = [0; 3];
    for step in answered {
        counts[usize::from(step.end >= fault_at) + usize::from(step.end >= healed_at)] += 1;
    }
    eprintln!(
        "{fault:?}: {counts:?} answers before, in, after; {upstream_before} reads upstream before"
    );
    assert!(counts[0] > 0 && counts[2] > 0, "service before and after");
    assert!(
        counts[0] as u64 > upstream_before,
        "there were hardly any hits to be stale"
    );
}

/// A read that is under way may answer others who ask the same, but only while its answer is young enough for them: the
/// link may hold it back for long.
#[test]
fn a_read_does_not_join_one_that_was_sent_too_long_ago() {
    if against_redis() {
        return;
    }
    const BOUND: Duration = Duration::from_millis(400);
    let denied = vec!["", "-client|tracking"];
    side_by_side(denied, |denied| {
        let server = Server::start(&any_version());
        let relay = Relay::start(server.address());
        let mut direct = server.client();
        assert_eq!(
            direct.ask(format!("ACL SETUSER app on >pw ~* &* +@all {denied}").trim()),
            "+OK"
        );
        let sidecar = Sidecar::before(&server)
            .through(relay.port)
            .upstream("username: app, password: pw")
            .cache(&format!(
                "max_staleness_ms: {0}, ttl_untracked_ms: {0}",
                BOUND.as_millis()
            ))
            .announce("")
            .start();
        let (mut first, mut second) = (sidecar.client(), sidecar.client());
        assert_eq!(direct.ask("SET session old"), "+OK");
        let mut calls = Calls::of(&server);
        let mut asked = || calls.of_commands(&["get"]);
        until("a hit: the cache is at work", PATIENCE, || {
            let before = asked();
            assert_eq!(first.ask("GET other"), "$-1");
            (asked() == before).then_some(())
        });
        let before = asked();
        relay.set(Mode::Hold);
        first.send_words("GET session");
        until("the question at the server", PATIENCE, || {
            (asked() > before).then_some(())
        });
        assert_eq!(direct.ask("SET session new"), "+OK");
        pause(BOUND * 2);
        second.send_words("GET session");
        // Two turns of the sidecar's, so that it has seen it.
        let mut other = sidecar.client();
        assert_eq!([other.ask("PING"), other.ask("PING")], ["+PONG", "+PONG"]);
        relay.set(Mode::Pass);
        assert_eq!(
            first.text(),
            "$3\\r\\nold",
            "it was there when this was asked"
        );
        assert_eq!(
            second.text(),
            "$3\\r\\nnew",
            "{denied}: it asked {:?} after the change",
            BOUND * 2
        );
    });
}
