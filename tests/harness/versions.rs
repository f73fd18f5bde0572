//! Which servers there are to test against.

use std::path::PathBuf;
use std::process::Command;

/// One server binary.
#[derive(Clone, Debug)]
pub struct Version {
    /// `redis-7.0`, `valkey-9.1` …
    pub name: String,
    /// The server binary.
    pub binary: PathBuf,
}

impl Version {
    /// Major version as Redis counts it.
    pub fn major(&self) -> u32 {
        self.name
            .rsplit('-')
            .next()
            .and_then(|number| number.split('.').next())
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    }
}

/// All the versions there are: `GRIPFAST_SERVERS`, else the `redis-server` on PATH.
pub fn versions() -> Vec<Version> {
    if let Ok(list) = std::env::var("GRIPFAST_SERVERS") {
        return list
            .split(',')
            .filter_map(|entry| entry.split_once('='))
            .map(|(name, path)| Version {
                name: name.trim().into(),
                binary: path.trim().into(),
            })
            .collect();
    }
    let Ok(output) = Command::new("redis-server").arg("--version").output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split("v=").nth(1).unwrap_or("0.0");
    let mut parts = number.split('.');
    let (major, minor) = (parts.next().unwrap_or("0"), parts.next().unwrap_or("0"));
    eprintln!("GRIPFAST_SERVERS is not set: only redis-server on PATH ({major}.{minor}) is used");
    vec![Version {
        name: format!("redis-{major}.{minor}"),
        binary: "redis-server".into(),
    }]
}

/// The version of that name, or `None` and a word on stderr: then the test has nothing to run on.
pub fn version(name: &str) -> Option<Version> {
    let found = versions().into_iter().find(|version| version.name == name);
    if found.is_none() {
        eprintln!("SKIPPED: no {name} in GRIPFAST_SERVERS");
    }
    found
}

/// Runs a scenario on a version, if that is here; not against a plain server in the sidecar's place.
pub fn on(version: &str, scenario: impl FnOnce(&Version)) {
    if !super::against_redis()
        && let Some(version) = self::version(version)
    {
        scenario(&version);
    }
}

/// Runs a scenario on each version there is; not against a plain server in the sidecar's place.
pub fn on_each(scenario: impl Fn(&Version)) {
    if super::against_redis() {
        return;
    }
    for version in versions() {
        eprintln!("on {}", version.name);
        scenario(&version);
    }
}

/// Any version, 7.0 before all, for promises that do not depend on it.
pub fn any_version() -> Version {
    let versions = versions();
    versions
        .iter()
        .find(|version| version.name == "redis-7.0")
        .or_else(|| versions.first())
        .cloned()
        .expect("a redis-server in GRIPFAST_SERVERS or on PATH")
}

/// A Python with redis-py, from `GRIPFAST_PYTHON`; without it a word on stderr.
pub fn python() -> Option<PathBuf> {
    let found = std::env::var_os("GRIPFAST_PYTHON").map(PathBuf::from);
    if found.is_none() {
        eprintln!("SKIPPED: GRIPFAST_PYTHON is not set (a python with redis-py)");
    }
    found
}
