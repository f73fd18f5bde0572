//! redis-py and node-redis with time-outs of 0.5 s ride out a hold of 3 s, because they are told of it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Server, Sidecar, any_version, pause, python};

/// How long Redis is away.
const AWAY: Duration = Duration::from_secs(3);

/// What a client has seen.
#[derive(Debug)]
struct Seen {
    writes: usize,
    errors: usize,
    slowest_ms: u128,
    /// Its time-out in the end.
    time_out_ms: u64,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// The commands that start the clients; those whose library is not on this machine are left out, which is said.
fn clients(port: &str) -> Vec<(String, Command)> {
    let mut clients = Vec::new();
    if let Some(python) = python() {
        for how in ["parser", "hiredis", "asyncio"] {
            let mut command = Command::new(&python);
            command
                .arg("-B")
                .arg(script("patient.py"))
                .args([port, how]);
            clients.push((format!("redis-py, {how}"), command));
        }
    }
    match std::env::var_os("GRIPFAST_LIBRARIES") {
        Some(installed) => {
            let mut command = Command::new("node");
            command.arg(script("patient.js")).arg(port);
            let modules = Path::new(&installed).join("express/node_modules");
            command.env("NODE_PATH", modules);
            clients.push(("node-redis".to_owned(), command));
        }
        None => eprintln!("SKIPPED: node-redis, as GRIPFAST_LIBRARIES is not set"),
    }
    clients
}

/// Starts a client, which goes on until its input is closed, and waits until it has written.
fn begin(name: &str, command: &mut Command) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("text");
    assert_eq!(line, "ready\n", "{name}");
    (child, output)
}

fn end(name: &str, mut child: Child, mut output: impl Read) -> Seen {
    drop(child.stdin.take());
    let mut text = String::new();
    output.read_to_string(&mut text).expect("text");
    assert!(child.wait().expect("it ends").success(), "{name}: {text}");
    let mut figures = text.split_whitespace().map(|word| word.parse::<u64>());
    let mut next = || match figures.next() {
        Some(Ok(figure)) => figure,
        _ => panic!("{name}: {text}"),
    };
    Seen {
        writes: next() as usize,
        errors: next() as usize,
        slowest_ms: next().into(),
        time_out_ms: next(),
    }
}

/// Lets all clients live through three seconds without Redis.
fn live_through(wanted: bool) -> Vec<(String, Seen)> {
    let mut server = Server::start(&any_version());
    let sidecar = Sidecar::before(&server)
        .listen(&format!("maint_notifications: {wanted}"))
        .hold("deadline_ms: 20000")
        .announce("control link down")
        .announce("waiting for the primary")
        .start();
    let port = sidecar.address.rsplit(':').next().expect("a port");
    let running: Vec<_> = clients(port)
        .into_iter()
        .map(|(name, mut command)| {
            let (child, output) = begin(&name, &mut command);
            (name, child, output)
        })
        .collect();
    server.kill();
    pause(AWAY);
    server.start_again();
    running
        .into_iter()
        .map(|(name, child, output)| {
            let seen = end(&name, child, output);
            eprintln!("{name}, told: {wanted}: {seen:?}");
            (name, seen)
        })
        .collect()
}

#[test]
fn clients_with_short_time_outs_ride_out_a_hold() {
    if crate::harness::against_redis() {
        return;
    }
    for (name, seen) in live_through(true) {
        assert_eq!(seen.errors, 0, "{name}: {seen:?}");
        assert!(seen.slowest_ms >= 2_500, "{name} was held: {seen:?}");
        assert!(seen.writes > 10, "{name} went on: {seen:?}");
        assert_eq!(
            seen.time_out_ms, 500,
            "{name} was told of the end: {seen:?}"
        );
    }
}

#[test]
fn clients_with_short_time_outs_that_are_not_told_give_up() {
    if crate::harness::against_redis() {
        return;
    }
    for (name, seen) in live_through(false) {
        assert!(seen.errors > 0, "{name}: {seen:?}");
    }
}
