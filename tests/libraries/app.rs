//! The apps: how a process of each is started, and how it ends.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::harness::{Scratch, until};

use super::browser::Browser;

/// How long a start may take while the machine is busy.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Starts before giving up: another process may take the free port first.
const ATTEMPTS_MAX: usize = 3;

/// Ports of the apps: below those that Linux gives to connections and to servers that ask for any port, so that nobody
/// gets one between the look and the app's start, which may take seconds.
const PORT_MIN: u16 = 12_000;
const PORTS: u16 = 20_000;

/// Ports looked at so far.
static LOOKED_AT: AtomicU16 = AtomicU16::new(0);

/// One session library with its Redis client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Library {
    /// express-session, connect-redis, node-redis.
    NodeRedis,
    /// express-session, connect-redis, ioredis.
    Ioredis,
    /// Django's cache sessions, django-redis, redis-py.
    Django,
    /// Flask-Session, redis-py.
    Flask,
    /// tower-sessions, its Redis store, fred in RESP2.
    TowerResp2,
    /// The same in RESP3: fred then says HELLO inline.
    TowerResp3,
    /// PHP's session handler of phpredis, with locking.
    Phpredis,
    /// redis-rack, redis-store, redis-rb.
    RedisRack,
    /// Rails' cache sessions, its Redis cache store, redis-rb.
    Rails,
}

impl Library {
    /// Whether it lets one request of a session at a time through.
    pub(super) fn locks(self) -> bool {
        self == Self::Phpredis
    }

    /// Whether it creates a session by SET NX, of which a second run may not tell what the first did.
    pub(super) fn creates_with_nx(self) -> bool {
        matches!(self, Self::Django | Self::TowerResp2 | Self::TowerResp3)
    }

    /// The command that serves the app on `port`; all else comes by environment.
    fn command(self, installed: &Path, port: u16) -> Command {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libraries");
        let python = |app: &str| {
            let mut command = Command::new(installed.join("python/bin/python"));
            command.arg(sources.join(app));
            command
        };
        let node = |client: &str| {
            let mut command = Command::new("node");
            command.arg(sources.join("express/app.js"));
            command.env("NODE_PATH", installed.join("express/node_modules"));
            command.env("CLIENT", client);
            command
        };
        let tower = |resp: &str| {
            let mut command =
                Command::new(installed.join("tower-sessions/debug/tower-sessions-app"));
            command.env("RESP", resp);
            command
        };
        let puma = |app: &str| {
            let mut command = Command::new("puma");
            command.args(["--quiet", "--threads", "4:4", "--environment", "production"]);
            command.arg("--bind").arg(format!("tcp://127.0.0.1:{port}"));
            command.arg(sources.join(app));
            command
        };
        match self {
            Self::NodeRedis => node("node-redis"),
            Self::Ioredis => node("ioredis"),
            Self::Django => python("django/app.py"),
            Self::Flask => python("flask-session/app.py"),
            Self::TowerResp2 => tower("2"),
            Self::TowerResp3 => tower("3"),
            Self::Phpredis => {
                let mut command = Command::new("php");
                command.arg("-S").arg(format!("127.0.0.1:{port}"));
                command.arg(sources.join("phpredis/app.php"));
                command.env("PHP_CLI_SERVER_WORKERS", "4");
                command
            }
            Self::RedisRack => puma("redis-rack/config.ru"),
            Self::Rails => puma("rails-sessions/config.ru"),
        }
    }
}

/// A running process of an app, killed on drop.
#[derive(Debug)]
pub(super) struct App {
    /// Where it serves HTTP.
    pub(super) port: u16,
    child: Child,
    scratch: Scratch,
}

impl App {
    /// Starts one that finds Redis by `environment`, and waits until it answers.
    pub(super) fn start(library: Library, environment: &[(&str, String)]) -> Self {
        for _ in 0..ATTEMPTS_MAX {
            let mut app = Self::spawn(library, environment);
            if app.wait_until_up() {
                return app;
            }
        }
        panic!("{library:?} did not start in {ATTEMPTS_MAX} attempts");
    }

    fn spawn(library: Library, environment: &[(&str, String)]) -> Self {
        let installed = installed().expect("checked before");
        let (port, scratch) = (port(), Scratch::new());
        let log = File::create(scratch.path().join("log")).expect("the log can be made");
        let child = library
            .command(&installed, port)
            .env("PORT", port.to_string())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(scratch.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log's handle can be cloned"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{library:?} cannot be started: {error}"));
        Self {
            port,
            child,
            scratch,
        }
    }

    fn wait_until_up(&mut self) -> bool {
        until("the app's start", START_PATIENCE, || {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                eprintln!("{}", self.log());
                return Some(false);
            }
            // One that listens may still reset its first connection (Puma, once, on a busy machine): it must answer.
            match Browser::default().try_read(self.port) {
                Ok(held) => {
                    assert_eq!(held.user, None);
                    Some(true)
                }
                Err(answer) if answer.starts_with("HTTP/") => panic!("{answer}\n{}", self.log()),
                Err(_) => None,
            }
        })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// PHP's server has workers, which outlive it when it is killed.
    fn children(&self) -> Vec<String> {
        let pid = self.child.id();
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let list = list.unwrap_or_default();
        list.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let children = self.children();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !children.is_empty() {
            let _ = Command::new("kill").arg("-KILL").args(children).status();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- log of the app (last lines)");
            for line in lines.iter().skip(lines.len().saturating_sub(20)) {
                eprintln!("{line}");
            }
        }
    }
}

/// A free port that no other app of this run gets; runs side by side begin at different ones.
fn port() -> u16 {
    let first = std::process::id() as usize * 101;
    loop {
        let next = first + usize::from(LOOKED_AT.fetch_add(1, Ordering::Relaxed));
        let port = PORT_MIN + (next % usize::from(PORTS)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What `install.sh` installed; `None` and a word on stderr when it is not named.
pub(super) fn installed() -> Option<PathBuf> {
    let found = std::env::var_os("GRIPFAST_LIBRARIES").map(PathBuf::from);
    if found.is_none() {
        eprintln!("SKIPPED: GRIPFAST_LIBRARIES is not set (sh tests/setup.sh; . target/test.env)");
    }
    found
}
