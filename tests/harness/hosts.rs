//! Hosts that can be lost: network namespaces with addresses of their own, made by `chaos/hosts`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where a server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The address that it listens on.
    pub address: String,
    namespace: Option<String>,
}

impl Host {
    /// This machine's loopback.
    pub fn loopback() -> Self {
        Self {
            address: "127.0.0.1".into(),
            namespace: None,
        }
    }

    /// A program, to be run there.
    pub fn command(&self, program: &Path) -> Command {
        match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                // It becomes the program: the process id is the program's.
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
        }
    }
}

/// Hosts on a network of their own, removed on drop.
#[derive(Debug)]
pub struct Hosts {
    name: String,
    pub all: Vec<Host>,
}

impl Hosts {
    /// Makes so many; `None`, and says so, where this machine does not let us.
    pub fn make(count: usize) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{number}", std::process::id() % 10_000);
        let count = count.to_string();
        let output = Command::new(script())
            .args(["up", &name, &count])
            .output()
            .expect("chaos/hosts can be started");
        if !output.status.success() {
            eprintln!(
                "SKIPPED: no network namespaces here: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
            return None;
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let host = |line: &str| {
            let (namespace, address) = line.split_once(' ')?;
            Some(Host {
                address: address.to_owned(),
                namespace: Some(namespace.to_owned()),
            })
        };
        let all: Vec<Host> = text.lines().filter_map(host).collect();
        Some(Self { name, all })
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = Command::new(script()).args(["down", &self.name]).status();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("chaos/hosts")
}
