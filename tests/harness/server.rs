//! A real Redis or Valkey, killed on drop.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::client::Client;
use super::hosts::Host;
use super::scratch::Scratch;
use super::versions::Version;
use super::wait::until;

/// Starts of a server before giving up: another process may take the free port first.
const ATTEMPTS_MAX: usize = 5;

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// What it is.
    pub version: Version,
    /// Its TCP port.
    pub port: u16,
    /// Where it runs.
    pub host: Host,
    child: Child,
    scratch: Scratch,
    arguments: Vec<String>,
}

impl Server {
    /// Starts an empty server.
    pub fn start(version: &Version) -> Self {
        Self::start_with(version, &[])
    }

    /// Starts an empty server with more arguments, such as `--requirepass x`.
    pub fn start_with(version: &Version, arguments: &[&str]) -> Self {
        Self::start_on(&Host::loopback(), version, arguments)
    }

    /// Starts an empty server on a host.
    pub fn start_on(host: &Host, version: &Version, arguments: &[&str]) -> Self {
        for _ in 0..ATTEMPTS_MAX {
            let scratch = Scratch::new();
            let port = free_port();
            let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
            let child = spawn(host, version, port, &scratch, &arguments);
            let mut server = Self {
                version: version.clone(),
                port,
                host: host.clone(),
                child,
                scratch,
                arguments,
            };
            if server.wait_until_up() {
                return server;
            }
        }
        panic!("{} did not start in {ATTEMPTS_MAX} attempts", version.name);
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host.address, self.port)
    }

    /// Process id, for signals and `/proc`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The Unix socket it listens on.
    pub fn unix(&self) -> PathBuf {
        self.scratch.path().join("redis.sock")
    }

    /// Opens a connection of the test's own, past the sidecar.
    pub fn client(&self) -> Client {
        Client::connect(&self.address())
    }

    /// Kills it at once; its port stays closed until `start_again`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, empty, on the same port.
    pub fn start_again(&mut self) {
        self.kill();
        self.child = spawn(
            &self.host,
            &self.version,
            self.port,
            &self.scratch,
            &self.arguments,
        );
        assert!(self.wait_until_up(), "{} came back", self.version.name);
    }

    fn wait_until_up(&mut self) -> bool {
        until("the server's start", Duration::from_secs(20), || {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                eprintln!("{}", self.log());
                return Some(false);
            }
            TcpStream::connect(self.address()).ok()?;
            let log = self.log();
            (log.contains("eady to accept connections")).then_some(true)
        })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            eprintln!("--- log of {} (last lines)", self.version.name);
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

fn spawn(
    host: &Host,
    version: &Version,
    port: u16,
    scratch: &Scratch,
    arguments: &[String],
) -> Child {
    let log = std::fs::File::create(scratch.path().join("log")).expect("the log can be made");
    let mut command = host.command(&version.binary);
    command.args([
        "--port",
        &port.to_string(),
        "--bind",
        &host.address,
        "--save",
        "",
        "--protected-mode",
        "no",
    ]);
    command.arg("--dir").arg(scratch.path());
    command
        .arg("--unixsocket")
        .arg(scratch.path().join("redis.sock"));
    if version.major() >= 7 {
        command.args(["--enable-debug-command", "yes"]);
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the log's handle can be cloned"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", version.binary.display()))
}

/// Returns a port that nobody listens on and that no other test of this process was given.
///
/// It lies below the ports that the kernel hands out by itself: one of those may be taken by any connection before the
/// server that is to have it binds it. The start differs by process, so that test binaries side by side rarely meet.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = std::process::id().wrapping_mul(997);
        let port = (FIRST + start.wrapping_add(step) % COUNT) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
