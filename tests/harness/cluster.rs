//! A primary, two replicas and three Sentinels on free ports.

use std::fmt::Write as _;
use std::process::{Child, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::client::Client;
use super::hosts::Host;
use super::scratch::Scratch;
use super::server::{Server, free_port};
use super::versions::Version;
use super::wait::until;

/// How long a cluster may take to be complete: Sentinels find each other over a channel that they publish to every 2 s.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long a Sentinel does nothing once it distrusts its clock, in ms, where it lets itself be told (not 6.2). It does so
/// when the machine stalls for two seconds, and its own 30 s are longer than a hold lasts.
const TILT_MS: u32 = 1000;

/// What a switch makes the sidecar say, besides what it says of Sentinels.
///
/// A Sentinel on a busy machine may also answer late.
pub const SWITCH_SAYS: &[&str] = &[
    "control link down",
    "waiting for the primary",
    "sentinel cannot be asked",
];

/// What a test wants of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// After how many ms Sentinels take the primary for down.
    pub down_after_ms: u32,
    /// Passwords of the data and of the Sentinels.
    pub passwords: Option<(&'static str, &'static str)>,
}

/// The servers, killed on drop.
#[derive(Debug)]
pub struct Cluster {
    /// The first is the primary at the start.
    pub nodes: Vec<Server>,
    pub sentinels: Vec<Sentinel>,
    plan: Plan,
}

impl Cluster {
    pub fn start(version: &Version, plan: Plan) -> Self {
        let hosts: Vec<Host> = (0..3).map(|_| Host::loopback()).collect();
        Self::start_on(&hosts, version, plan)
    }

    /// Starts a server and a Sentinel on each of three hosts.
    pub fn start_on(hosts: &[Host], version: &Version, plan: Plan) -> Self {
        let mut login: Vec<&str> = vec!["--repl-diskless-sync-delay", "0"];
        if let Some((data, _)) = plan.passwords {
            login.extend(["--requirepass", data, "--masterauth", data]);
        }
        let primary = Server::start_on(&hosts[0], version, &login);
        let port = primary.port.to_string();
        let mut nodes = vec![primary];
        let address = hosts[0].address.as_str();
        for host in &hosts[1..] {
            let arguments = [login.as_slice(), &["--replicaof", address, &port]].concat();
            nodes.push(Server::start_on(host, version, &arguments));
        }
        let sentinels = hosts
            .iter()
            .map(|host| Sentinel::start(host, version, &nodes[0], plan));
        let cluster = Self {
            sentinels: sentinels.collect(),
            nodes,
            plan,
        };
        for index in 0..cluster.sentinels.len() {
            let mut sentinel = cluster.sentinel(index);
            sentinel.ask(&format!("SENTINEL DEBUG tilt-period {TILT_MS}"));
        }
        cluster.wait_until_complete();
        cluster
    }

    pub fn sentinel_ports(&self) -> Vec<u16> {
        self.sentinels
            .iter()
            .map(|sentinel| sentinel.port)
            .collect()
    }

    /// Host and port of each Sentinel.
    pub fn sentinel_addresses(&self) -> Vec<String> {
        let address = |sentinel: &Sentinel| format!("{}:{}", sentinel.host, sentinel.port);
        self.sentinels.iter().map(address).collect()
    }

    /// A connection to a node, past the sidecar.
    pub fn node(&self, index: usize) -> Client {
        let mut client = self.nodes[index].client();
        if let Some((data, _)) = self.plan.passwords {
            assert_eq!(client.ask(&format!("AUTH {data}")), "+OK");
        }
        client
    }

    /// A connection to a Sentinel.
    pub fn sentinel(&self, index: usize) -> Client {
        let mut client = Client::connect(&self.sentinel_addresses()[index]);
        if let Some((_, sentinel)) = self.plan.passwords {
            assert_eq!(client.ask(&format!("AUTH {sentinel}")), "+OK");
        }
        client
    }

    fn wait_until_complete(&self) {
        until("Sentinels that know each other", START_PATIENCE, || {
            let complete = (0..self.sentinels.len()).all(|index| {
                let about = self.sentinel(index).ask("SENTINEL MASTER mymaster");
                about.contains("num-slaves\\r\\n$1\\r\\n2")
                    && about.contains("num-other-sentinels\\r\\n$1\\r\\n2")
            });
            complete.then_some(())
        });
        self.wait_until_replicated(&[1, 2]);
    }

    /// Waits until these nodes follow a primary.
    pub fn wait_until_replicated(&self, nodes: &[usize]) {
        until("replicas that follow", START_PATIENCE, || {
            let up = |node: &usize| {
                self.node(*node)
                    .ask("INFO replication")
                    .contains("master_link_status:up")
            };
            nodes.iter().all(up).then_some(())
        });
    }

    /// Asks a Sentinel for a planned failover, again until it agrees: it may be short of news from the replicas.
    pub fn switch_over(&self) {
        until("a planned failover that begins", START_PATIENCE, || {
            let answer = self.sentinel(0).ask("SENTINEL FAILOVER mymaster");
            (answer == "+OK").then_some(())
        });
    }
}

/// A Sentinel, killed on drop.
#[derive(Debug)]
pub struct Sentinel {
    pub port: u16,
    host: String,
    child: Child,
    scratch: Scratch,
}

impl Sentinel {
    fn start(host: &Host, version: &Version, primary: &Server, plan: Plan) -> Self {
        let (port, scratch) = (free_port(), Scratch::new());
        let mut config = format!(
            "bind {}\nport {port}\nprotected-mode no\ndir {}\nsentinel monitor mymaster {} {} 2\n\
             sentinel down-after-milliseconds mymaster {}\nsentinel failover-timeout mymaster 10000\n",
            host.address,
            scratch.path().display(),
            primary.host.address,
            primary.port,
            plan.down_after_ms
        );
        if let Some((data, sentinel)) = plan.passwords {
            let _ = write!(
                config,
                "requirepass {sentinel}\nsentinel auth-pass mymaster {data}\n"
            );
        }
        let path = scratch.path().join("sentinel.conf");
        std::fs::write(&path, config).expect("the config can be written");
        let log = std::fs::File::create(scratch.path().join("log")).expect("the log can be made");
        let child = host
            .command(&version.binary)
            .arg(&path)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle can be cloned"))
            .stderr(log)
            .spawn()
            .expect("the Sentinel can be started");
        let sentinel = Self {
            port,
            host: host.address.clone(),
            child,
            scratch,
        };
        until("the Sentinel's start", START_PATIENCE, || {
            Client::try_connect(&format!("{}:{port}", host.address)).ok()
        });
        sentinel
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            eprintln!("--- log of the Sentinel at {} (last lines)", self.port);
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

/// Clusters that run at once: seven processes each, and Sentinels judge others by how soon they answer.
const TURNS: usize = 4;

static TAKEN: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// One of the clusters that may run at once, until it is dropped.
#[derive(Debug)]
pub struct Turn(());

impl Turn {
    /// Waits for a free turn.
    pub fn take() -> Self {
        let taken = TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = TAKEN
            .1
            .wait_while(taken, |taken| *taken >= TURNS)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        TAKEN.1.notify_one();
    }
}
