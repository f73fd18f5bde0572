//! Promises of the command line and of the process: exit codes, sockets, signals, the throw-away Redis.

mod process;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use gripfast::config::Config;
use process::{Directory, Process, gripfast, ran, until};

/// Ports that the kernel chooses, and a Redis that is not there.
const BASE: &str = "admin: {listen: '127.0.0.1:0'}\nupstream: {mode: standalone, address: '127.0.0.1:1', pinned_max: 1}\n";

fn run(config: &Path) -> Process {
    Process::start(gripfast().arg("run").arg("-c").arg(config))
}

#[test]
fn help_and_version_end_with_0() {
    for arguments in [
        ["--help"].as_slice(),
        &["-h"],
        &["--version"],
        &["run", "--help"],
        &["help", "dev"],
    ] {
        let done = ran(gripfast().args(arguments));
        assert_eq!(
            (done.code, done.stderr.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
        assert!(!done.stdout.is_empty());
    }
}

#[test]
fn senseless_command_line_ends_with_2() {
    for arguments in [
        [].as_slice(),
        &["fly"],
        &["run", "--fast"],
        &["check", "-c"],
        &["dev", "--port", "x"],
        &["dev", "--port", "65536"],
    ] {
        let done = ran(gripfast().args(arguments));
        assert_eq!(done.code, Some(2), "{arguments:?}");
        assert!(
            done.stderr.contains("--help") || done.stderr.contains("Usage"),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn refused_configuration_ends_with_78_and_names_every_problem() {
    let directory = Directory::new("refused");
    let bad = directory.file("bad.yaml", "listen: {clients_max: 0, prot: 1}\nadmn: {}\n");
    let broken = directory.file("broken.yaml", "listen:\n  tcp: [\n");
    for command in ["run", "check"] {
        let done = ran(gripfast().arg(command).arg("-c").arg(&bad));
        assert_eq!((done.code, done.stdout.as_str()), (Some(78), ""));
        for problem in [
            "3 problems",
            "listen.clients_max: 0: must be",
            "listen.prot: 1: unknown",
            "admn: a section: unknown",
        ] {
            assert!(done.stderr.contains(problem), "{}", done.stderr);
        }
        let done = ran(gripfast().arg(command).arg("-c").arg(&broken));
        assert_eq!(done.code, Some(78));
        assert!(done.stderr.contains("line 3 column 1"), "{}", done.stderr);
        let done = ran(gripfast().arg(command).args(["-c", "/nowhere.yaml"]));
        assert_eq!(done.code, Some(78));
        assert!(done.stderr.contains("/nowhere.yaml"), "{}", done.stderr);
    }
}

#[test]
fn check_says_what_it_would_do_and_hides_secrets() {
    let directory = Directory::new("check");
    directory.file("password", "hunter2");
    let inline = directory.file("a.yaml", "upstream: {username: web, password: hunter2}");
    let file = directory.file(
        "b.yaml",
        "upstream: {username: web, password_file: password}",
    );
    for config in [inline, file] {
        let done = ran(gripfast().arg("check").arg("-c").arg(config));
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        for text in [
            "127.0.0.1:6380",
            "127.0.0.1:26379",
            "as user \"web\"",
            "<secret>",
            "clients_max: 10000",
            "no Sentinel answers now",
            "warning: ",
        ] {
            assert!(
                done.stdout.contains(text),
                "{text} is not in {}",
                done.stdout
            );
        }
        assert!(!(done.stdout + &done.stderr).contains("hunter2"));
    }
}

/// What `check` lists is a configuration again, with the same meaning.
#[test]
fn check_lists_a_configuration_that_means_the_same() {
    let directory = Directory::new("again");
    // Each key that says something else than its default, and text that YAML has to escape.
    let text = r#"
listen: {tcp: ['0.0.0.0:1', '[::1]:2'], unix: /tmp/a b.sock, unix_mode: '600', allow_open: true, clients_max: 2, output_bytes_max: 1048576, require_auth: true}
upstream: {primary_name: "it's \"é\" \\ \u2028 \U0001F600", sentinels: 'a:1', pinned_max: 3}
cache: {bytes: 0, entry_bytes_max: 1025, ttl_s: 1, ttl_untracked_ms: 1, max_staleness_ms: 201, verify_ratio: 0.000001}
touch: {coalesce: 0.290001, coalesce_max_s: 1, coalesce_unchanged_set: true}
sessions: {prefixes: ["sess:", "a'b", "\"\\", "\x01\t\n\x7f\x85", "\uFEFF\u00A0å"], require_ttl: warn, default_ttl_s: 2, max_ttl_s: 3}
hold: {requests_max: 5, bytes_max: 1048577, deadline_ms: 6, stale_grace_ms: 7, ask_replica: true, on_isolation: hold, acknowledge_after_ms: 8}
journal: {enabled: false, bytes_max: 1048578, records_max: 8, age_max_s: 9, retain_s: 10}
durability: {replicas: 2, timeout_ms: 7, on_timeout: error, prefixes: {"a: \"b": async, "å\\": async}}
admin: {listen: '[::]:3', allow_open: true}
log: {format: json, level: 'warn,gripfast[span{field="x"}]=debug'}
shutdown: {grace_s: 4}
"#;
    let list = |config: &Path| {
        let done = ran(gripfast().arg("check").arg("-c").arg(config));
        let (_, list) = done
            .stdout
            .split_once("left out):\n")
            .expect("a list")
            .to_owned();
        list.to_owned()
    };
    let first = list(&directory.file("a.yaml", text));
    assert!(
        first.contains("0.0.0.0:1") && first.contains("a b.sock"),
        "{first}"
    );
    let again = directory.file("b.yaml", &first);
    assert_eq!(list(&again), first);
    let load = |path: &Path| Config::load(path).unwrap().0;
    assert_eq!(load(&again), load(&directory.path("a.yaml")));
}

#[test]
fn address_in_use_fails_the_start_with_1_and_says_what_to_do() {
    let directory = Directory::new("in-use");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let client = format!("{BASE}listen: {{tcp: '{address}'}}\n");
    let admin = format!("listen: {{tcp: '127.0.0.1:0'}}\nadmin: {{listen: '{address}'}}\n");
    for (text, key) in [(client, "listen.tcp"), (admin, "admin.listen")] {
        let done = ran(gripfast()
            .arg("run")
            .arg("-c")
            .arg(directory.file("c.yaml", text)));
        assert_eq!(done.code, Some(1));
        let said = format!("cannot listen on {address} ({key}): another program is using it");
        assert!(done.stderr.contains(&said), "{}", done.stderr);
        assert!(!done.stderr.contains("serving"), "{}", done.stderr);
    }
}

#[test]
fn starts_without_redis_tells_systemd_and_ends_with_0_on_sigterm() {
    let directory = Directory::new("notify");
    let systemd = UnixDatagram::bind(directory.path("notify")).unwrap();
    systemd.set_read_timeout(Some(process::PATIENCE)).unwrap();
    let config = directory.file("c.yaml", format!("{BASE}listen: {{tcp: '127.0.0.1:0'}}\n"));
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = gripfast();
        command.env("NOTIFY_SOCKET", directory.path("notify"));
        let mut sidecar = Process::start(command.arg("run").arg("-c").arg(&config));
        let mut notice = [0; 64];
        let length = systemd.recv(&mut notice).expect("READY");
        assert_eq!(&notice[..length], b"READY=1\n");
        let line = sidecar.line_with("serving");
        TcpStream::connect(address_after(&line, "listen=\""))
            .expect("READY means that clients can connect");
        sidecar.signal(signal);
        let length = systemd.recv(&mut notice).expect("STOPPING");
        assert_eq!(&notice[..length], b"STOPPING=1\n");
        assert_eq!(sidecar.wait(), Some(0));
    }
}

/// The socket address that stands right behind `mark`.
fn address_after(line: &str, mark: &str) -> SocketAddr {
    let (_, rest) = line.split_once(mark).expect("mark");
    let end = rest.find(['"', ' ', ',']).unwrap_or(rest.len());
    rest[..end].parse().expect("an address")
}

#[test]
fn json_log_is_one_object_a_line() {
    let directory = Directory::new("json");
    let text = format!("{BASE}listen: {{tcp: '127.0.0.1:0'}}\nlog: {{format: json}}\n");
    let mut sidecar = run(&directory.file("c.yaml", text));
    sidecar.line_with("serving");
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.wait(), Some(0));
    let lines = sidecar.lines();
    assert!(lines.len() >= 2);
    for line in lines {
        let object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert!(
            object["level"].is_string() && object["message"].is_string(),
            "{line}"
        );
    }
}

fn unix_config(directory: &Directory, socket: &Path) -> std::path::PathBuf {
    let text = format!(
        "{BASE}listen: {{tcp: [], unix: '{}', unix_mode: '0600'}}\n",
        socket.display()
    );
    directory.file("c.yaml", text)
}

#[test]
fn stale_unix_socket_is_replaced_and_goes_with_us() {
    let directory = Directory::new("stale");
    let socket = directory.path("s");
    // A listener that is dropped leaves its file behind.
    drop(UnixListener::bind(&socket).unwrap());
    let mut sidecar = run(&unix_config(&directory, &socket));
    sidecar.line_with("serving");
    UnixStream::connect(&socket).expect("the new socket takes connections");
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.wait(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn unix_socket_in_use_is_refused_and_left_alone() {
    let directory = Directory::new("used");
    let socket = directory.path("s");
    let other = UnixListener::bind(&socket).unwrap();
    let done = ran(gripfast()
        .arg("run")
        .arg("-c")
        .arg(unix_config(&directory, &socket)));
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr.contains("another process is using it"),
        "{}",
        done.stderr
    );
    UnixStream::connect(&socket).expect("the other process still listens");
    drop(other);
}

#[test]
fn file_in_the_place_of_the_unix_socket_is_refused_and_left_alone() {
    let directory = Directory::new("file");
    let file = directory.file("s", "precious");
    let done = ran(gripfast()
        .arg("run")
        .arg("-c")
        .arg(unix_config(&directory, &file)));
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("no socket"), "{}", done.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn limit_on_open_files_is_raised_to_what_clients_need() {
    let directory = Directory::new("raised");
    let text = format!("{BASE}listen: {{tcp: '127.0.0.1:0', clients_max: 200}}\n");
    let config = directory.file("c.yaml", text);
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "ulimit -S -n 100 && exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_gripfast"),
        "run",
        "-c",
    ]);
    let mut sidecar = Process::start(shell.arg(config));
    sidecar.line_with("serving");
    let limits = fs::read_to_string(format!("/proc/{}/limits", sidecar.id())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let soft: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert!(soft >= 201, "{line}");
    assert!(!sidecar.lines().concat().contains("fewer open files"));
}

#[test]
fn limit_on_open_files_that_cannot_be_raised_is_said() {
    let directory = Directory::new("said");
    let text = format!("{BASE}listen: {{tcp: '127.0.0.1:0', clients_max: 200}}\n");
    let config = directory.file("c.yaml", text);
    // Root may raise any limit, unless it gives that right up.
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-sys_resource", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    command.args([
        "-c",
        "ulimit -n 100 && exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_gripfast"),
        "run",
        "-c",
    ]);
    let mut sidecar = Process::start(command.arg(config));
    let line = sidecar.line_with("fewer open files");
    assert!(
        line.contains("WARN") && line.contains("limit=100"),
        "{line}"
    );
    sidecar.line_with("serving");
}

/// A `gripfast dev` that has said what it started.
struct Dev {
    process: Process,
    redis: SocketAddr,
    directory: std::path::PathBuf,
}

impl Dev {
    fn start() -> Self {
        let mut process =
            Process::start(gripfast().args(["dev", "--port", "0", "--admin-port", "0"]));
        let line = process.line_with("throw-away, in ");
        let (_, directory) = line.split_once("throw-away, in ").expect("a directory");
        let dev = Self {
            redis: address_after(&line, "primary    "),
            directory: directory.into(),
            process,
        };
        assert!(dev.redis.ip().is_loopback() && dev.directory.is_dir());
        TcpStream::connect(dev.redis).expect("the throw-away Redis takes connections");
        dev
    }

    fn until_gone(&self) {
        until("Redis is gone", || TcpStream::connect(self.redis).is_err());
        until("its directory is gone", || !self.directory.exists());
    }
}

#[test]
fn dev_stack_is_gone_after_ctrl_c() {
    let mut dev = Dev::start();
    dev.process.line_with("redis-cli -p");
    dev.process.signal(Signal::INT);
    assert_eq!(dev.process.wait(), Some(0));
    assert!(TcpStream::connect(dev.redis).is_err() && !dev.directory.exists());
}

#[test]
fn dev_stack_is_gone_after_its_parent_was_killed() {
    let mut dev = Dev::start();
    dev.process.signal(Signal::KILL);
    assert_eq!(dev.process.wait(), None);
    dev.until_gone();
}

#[test]
fn dev_goes_on_when_its_primary_is_killed() {
    let mut dev = Dev::start();
    dev.process.line_with("primary reached");
    // A server that ends at once could not start; after two seconds it was killed.
    until("the primary is two seconds old", || {
        let mut redis = TcpStream::connect(dev.redis).unwrap();
        redis.write_all(b"INFO server\r\n").unwrap();
        let mut info = [0; 8192];
        let length = redis.read(&mut info).unwrap();
        let info = String::from_utf8_lossy(&info[..length]).into_owned();
        let uptime = info
            .lines()
            .find_map(|line| line.strip_prefix("uptime_in_seconds:"));
        uptime.is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|seconds| seconds >= 3))
    });
    let mut redis = TcpStream::connect(dev.redis).unwrap();
    redis.write_all(b"SHUTDOWN NOSAVE\r\n").unwrap();
    dev.process.line_with("reason=\"failover\"");
    dev.process.signal(Signal::INT);
    assert_eq!(dev.process.wait(), Some(0));
    dev.until_gone();
}

#[test]
fn dev_that_cannot_start_says_why_and_leaves_nothing() {
    let done = ran(gripfast().args(["dev", "--redis", "/nowhere/redis-server"]));
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("is not there"), "{}", done.stderr);

    let done = ran(gripfast().arg("dev").env("PATH", "/nowhere"));
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr.contains("apt-get install redis-server"),
        "{}",
        done.stderr
    );

    let done = ran(gripfast().args(["dev", "--redis", "/bin/false"]));
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr.contains("the throw-away Redis has ended"),
        "{}",
        done.stderr
    );

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let done = ran(gripfast().args(["dev", "--admin-port", "0", "--port", &port]));
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("--port 0"), "{}", done.stderr);
}
