//! The sidecar itself, or a plain Redis in its place.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::chaos::signal;
use super::client::Client;
use super::hosts::Host;
use super::scratch::Scratch;
use super::server::{Server, free_port};
use super::wait::until;

/// How long a start may take.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// What a machine may give reason to say, and no test is about.
const ALWAYS_ANNOUNCED: &[&str] = &["fewer open files are allowed"];

/// Whether the plain server stands in the sidecar's place, to prove the tests' expectations.
pub fn against_redis() -> bool {
    std::env::var("GRIPFAST_TEST_AGAINST").is_ok_and(|value| value == "redis")
}

/// A running sidecar, killed on drop. Its warnings and errors fail the test unless announced.
#[derive(Debug)]
pub struct Sidecar {
    /// Host and port for applications.
    pub address: String,
    /// Port of `/metrics`, `/readyz` …
    pub admin_port: u16,
    host: Host,
    unix: PathBuf,
    child: Option<Child>,
    pub scratch: Scratch,
    announced: Vec<String>,
}

/// What a test wants of the sidecar besides the defaults.
#[derive(Debug, Default)]
pub struct Wishes {
    upstream_port: u16,
    upstream_unix: PathBuf,
    host: Option<Host>,
    listen_host: Option<String>,
    listen: String,
    upstream: String,
    cache: String,
    touch: String,
    sessions: String,
    hold: String,
    journal: String,
    durability: String,
    repair: String,
    sentinels: Option<String>,
    announced: Vec<String>,
    wait: bool,
}

impl Sidecar {
    /// Starts one in front of `server` with the defaults and waits until it is ready.
    pub fn start(server: &Server) -> Self {
        Self::before(server).start()
    }

    /// Begins to describe one in front of `server`.
    pub fn before(server: &Server) -> Wishes {
        Wishes {
            upstream_port: server.port,
            upstream_unix: server.unix(),
            wait: true,
            ..Wishes::default()
        }
    }

    /// Describes one that finds its primary through the Sentinels at these ports; the defaults but for them.
    pub fn before_sentinels(ports: &[u16]) -> Wishes {
        let addresses: Vec<String> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        Self::before_sentinels_at(&addresses)
    }

    /// Describes one that finds its primary through the Sentinels at these addresses; the defaults but for them.
    pub fn before_sentinels_at(addresses: &[String]) -> Wishes {
        let addresses: Vec<String> = addresses
            .iter()
            .map(|address| format!("\"{address}\""))
            .collect();
        Wishes {
            sentinels: Some(addresses.join(", ")),
            wait: true,
            ..Wishes::default()
        }
    }

    /// Describes one in front of a port where nothing listens yet; it is not waited for.
    pub fn before_port(port: u16) -> Wishes {
        Wishes {
            upstream_port: port,
            ..Wishes::default()
        }
    }

    /// Opens a connection to it.
    pub fn client(&self) -> Client {
        Client::connect(&self.address)
    }

    /// Opens a connection over its Unix socket.
    pub fn unix_client(&self) -> Client {
        Client::connect_unix(&self.unix)
    }

    /// The Unix socket's path.
    pub fn unix(&self) -> &Path {
        &self.unix
    }

    /// Process id; `None` when the plain server stands in its place.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Resident memory in bytes, from `/proc`; `None` when the plain server stands in its place.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }

    /// Highest resident memory since the start, in bytes.
    pub fn peak_resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }

    /// Asks the admin port; returns the status code and the body, `None` when it does not answer.
    pub fn admin(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect((self.host.address.as_str(), self.admin_port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: gripfast\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let code = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Some((code, body.to_owned()))
    }

    /// What the last holds came to, newest last.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let (_, body) = self.admin("/events").expect("the admin port answers");
        serde_json::from_str(&body).expect("an array")
    }

    /// What `/status` tells; `None` when the admin port does not answer.
    pub fn status(&self) -> Option<serde_json::Value> {
        let (_, body) = self.admin("/status")?;
        Some(serde_json::from_str(&body).expect("JSON"))
    }

    /// The address of the primary that it follows; empty until one was named.
    pub fn primary(&self) -> Option<String> {
        let status = self.status()?;
        let address = status["upstream"]["address"].as_str();
        Some(address.expect("a text").to_owned())
    }

    /// Returns a metric as last published, by its name and, where it has one, its label.
    pub fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.admin("/metrics").expect("the admin port answers");
        let value = text.lines().find_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            (name == series).then(|| value.parse().expect("a number"))
        });
        value.unwrap_or_else(|| panic!("no {series} in {text}"))
    }

    /// Announces warnings or errors that hold `text`: they do not fail the test from now on.
    pub fn announce(&mut self, text: &str) {
        self.announced.push(text.to_owned());
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        if let Some(pid) = self.pid() {
            signal(pid, "-TERM");
        }
    }

    /// Waits for its end and returns the exit code.
    pub fn wait_for_exit(&mut self, patience: Duration) -> Option<i32> {
        let child = self.child.as_mut()?;
        until("the sidecar's end", patience, || {
            child.try_wait().ok().flatten()
        })
        .code()
    }

    /// Whether the process is still there (always true for the plain server).
    pub fn is_alive(&mut self) -> bool {
        self.child
            .as_mut()
            .is_none_or(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Everything it logged so far, without colours.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.scratch.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut parts = text.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |log, part| {
            log + part.split_once('m').map_or("", |(_, rest)| rest)
        })
    }

    /// Waits until it says that it serves.
    pub fn wait_until_ready(&mut self) {
        until("the sidecar's readiness", START_PATIENCE, || {
            assert!(
                self.is_alive(),
                "the sidecar ended at its start:\n{}",
                self.log()
            );
            TcpStream::connect(&self.address).ok()?;
            (self.admin("/readyz")?.0 == 200).then_some(())
        });
    }

    fn unannounced(&self) -> Vec<String> {
        let marks = [" WARN ", " ERROR ", "\"WARN\"", "\"ERROR\"", "panicked at"];
        self.log()
            .lines()
            .filter(|line| marks.iter().any(|mark| line.contains(mark)))
            .filter(|line| !self.announced.iter().any(|text| line.contains(text)))
            .filter(|line| !ALWAYS_ANNOUNCED.iter().any(|text| line.contains(text)))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let Some(child) = self.child.as_mut() else {
            return;
        };
        let _ = child.kill();
        let _ = child.wait();
        let shows = std::env::var_os("GRIPFAST_TEST_LOGS").is_some();
        if shows || std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- log of the sidecar (last lines)");
            for line in lines.iter().skip(lines.len().saturating_sub(30)) {
                eprintln!("{line}");
            }
        } else {
            let surprises = self.unannounced();
            assert!(
                surprises.is_empty(),
                "not announced by the test:\n{}",
                surprises.join("\n")
            );
        }
    }
}

impl Wishes {
    /// Adds a line to `listen`, such as `clients_max: 10`.
    pub fn listen(mut self, line: &str) -> Self {
        let _ = write!(self.listen, ", {line}");
        self
    }

    /// Runs on this host; applications and operators of others may connect.
    pub fn on(mut self, host: &Host) -> Self {
        self.host = Some(host.clone());
        self.listen("allow_open: true").listen_host(&host.address)
    }

    /// Listens on this address instead of 127.0.0.1.
    pub fn listen_host(mut self, host: &str) -> Self {
        self.listen_host = Some(host.to_owned());
        self
    }

    /// Adds a line to `upstream`, such as `pinned_max: 3`.
    pub fn upstream(mut self, line: &str) -> Self {
        let _ = write!(self.upstream, ", {line}");
        self
    }

    /// Dials this port in the server's place: a relay of the test's own listens there.
    pub fn through(mut self, port: u16) -> Self {
        self.upstream_port = port;
        self
    }

    /// Adds a line to `cache`, such as `ttl_s: 60`.
    pub fn cache(mut self, line: &str) -> Self {
        let _ = write!(self.cache, "{line}, ");
        self
    }

    /// Adds a line to `hold`, such as `deadline_ms: 300`.
    pub fn hold(mut self, line: &str) -> Self {
        let _ = write!(self.hold, "{line}, ");
        self
    }

    /// Adds a line to `journal`, such as `enabled: false`.
    pub fn journal(mut self, line: &str) -> Self {
        let _ = write!(self.journal, "{line}, ");
        self
    }

    /// Adds a line to `sessions`, such as `require_ttl: warn`.
    pub fn sessions(mut self, line: &str) -> Self {
        let _ = write!(self.sessions, "{line}, ");
        self
    }

    /// Adds a line to `touch`, such as `coalesce: 0`.
    pub fn touch(mut self, line: &str) -> Self {
        let _ = write!(self.touch, "{line}, ");
        self
    }

    /// Adds a line to `durability`, such as `mode: replicated`.
    pub fn durability(mut self, line: &str) -> Self {
        let _ = write!(self.durability, "{line}, ");
        self
    }

    /// Adds a line to `repair`, such as `enabled: false`.
    pub fn repair(mut self, line: &str) -> Self {
        let _ = write!(self.repair, "{line}, ");
        self
    }

    /// Announces warnings or errors that hold `text`.
    pub fn announce(mut self, text: &str) -> Self {
        self.announced.push(text.to_owned());
        self
    }

    /// The sections of which a test wants something.
    fn sections(&self) -> String {
        let section = |name: &str, lines: &str| match lines.trim_end_matches(", ") {
            "" => String::new(),
            lines => format!("{name}: {{{lines}}}\n"),
        };
        section("cache", &self.cache)
            + &section("touch", &self.touch)
            + &section("sessions", &self.sessions)
            + &section("hold", &self.hold)
            + &section("journal", &self.journal)
            + &section("durability", &self.durability)
            + &section("repair", &self.repair)
    }

    /// Does not wait until it is ready.
    pub fn without_waiting(mut self) -> Self {
        self.wait = false;
        self
    }

    /// Starts it.
    pub fn start(self) -> Sidecar {
        let scratch = Scratch::new();
        if against_redis() {
            return Sidecar {
                address: format!("127.0.0.1:{}", self.upstream_port),
                admin_port: 0,
                host: Host::loopback(),
                unix: self.upstream_unix,
                child: None,
                scratch,
                announced: self.announced,
            };
        }
        let (port, admin_port) = (free_port(), free_port());
        let listen_host = self.listen_host.as_deref().unwrap_or("127.0.0.1");
        let host = self.host.clone().unwrap_or_else(Host::loopback);
        let unix = scratch.path().join("gripfast.sock");
        let config = scratch.path().join("config.yaml");
        let source = match &self.sentinels {
            Some(addresses) => format!("sentinels: [{addresses}]"),
            None => format!(
                "mode: standalone, address: \"127.0.0.1:{}\"",
                self.upstream_port
            ),
        };
        let yaml = format!(
            "listen: {{tcp: \"{listen_host}:{port}\", unix: \"{}\"{}}}\n\
             upstream: {{{source}{}}}\n\
             admin: {{listen: \"{}:{admin_port}\", allow_open: {}}}\n{}",
            unix.display(),
            self.listen,
            self.upstream,
            host.address,
            self.host.is_some(),
            self.sections()
        );
        write_private(&config, &yaml);
        let log = std::fs::File::create(scratch.path().join("log")).expect("the log can be made");
        let child = host
            .command(Path::new(env!("CARGO_BIN_EXE_gripfast")))
            .args(["run", "-c"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log's handle can be cloned"))
            .stderr(log)
            .spawn()
            .expect("the sidecar can be started");
        let mut sidecar = Sidecar {
            address: format!("{listen_host}:{port}"),
            admin_port,
            host,
            unix,
            child: Some(child),
            scratch,
            announced: self.announced,
        };
        if self.wait {
            sidecar.wait_until_ready();
        }
        sidecar
    }
}

/// Writes a file that only its owner can read: it may hold a password.
fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.create_new(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .expect("the config can be written");
}
