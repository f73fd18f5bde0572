//! What the operator asked for: YAML as typed, checked by building.
//!
//! [`Config::load`] is the only way in. The file is read into a tree of YAML values, `config::build` takes one key after the
//! other out of it, and whatever is left is unknown; so all problems are found in one go, and a [`Config`] cannot hold a
//! bad value. Every default is in this file. Nothing else in the crate names `serde_yaml`, which has no maintainer any more.

mod build;
mod error;
mod parse;
mod section;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::error::{Error, Problem, Warning};
pub use self::parse::LogFilter;
use crate::seam::HostPort;

/// A configuration that holds no bad value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where applications connect, and the bounds on them.
    pub listen: Listen,
    /// Where Redis is.
    pub upstream: Upstream,
    /// Where operators and Prometheus look.
    pub admin: Admin,
    /// What is logged, and how.
    pub log: Log,
    /// How long a drain may take (`shutdown.grace_s`).
    pub shutdown_grace: Duration,
}

impl Config {
    /// The defaults, in front of the one server at `address`.
    pub fn standalone(address: HostPort) -> Self {
        Self {
            upstream: Upstream {
                source: Source::Standalone(address),
                ..Upstream::default()
            },
            ..Self::default()
        }
    }

    /// Reads and checks the file at `path`, and the password file that it names.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::Yaml`] with line and column, or [`Error::Problems`] with all of them at once.
    pub fn load(path: &Path) -> Result<(Self, Vec<Warning>), Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
            path: path.into(),
            source,
        })?;
        let value = serde_yaml::from_str(&text).map_err(|source| Error::Yaml {
            path: path.into(),
            source: error::Syntax::from(source),
        })?;
        build::config(value, path).map_err(|problems| Error::Problems {
            path: path.into(),
            problems,
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            upstream: Upstream::default(),
            admin: Admin::default(),
            log: Log::default(),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// Where applications connect, and the bounds on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// TCP addresses, IPv4 or IPv6; port 0 lets the kernel choose one.
    pub tcp: Vec<SocketAddr>,
    /// Path of the Unix socket.
    pub unix: Option<PathBuf>,
    /// Permission bits of the Unix socket, 0 to 0o777.
    pub unix_mode: u32,
    /// Client connections held at once.
    pub clients_max: usize,
    /// Bytes of replies that one client may leave unread before it is closed.
    pub output_bytes_max: usize,
    /// Whether clients must show credentials, where our links do.
    pub require_auth: bool,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            tcp: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 6380))],
            unix: None,
            unix_mode: 0o660,
            clients_max: 10_000,
            // One reply may be 512 MiB (Redis's proto-max-bulk-len), and a second one may stand behind it.
            output_bytes_max: 1 << 30,
            require_auth: false,
        }
    }
}

/// Where Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// How the primary is found.
    pub source: Source,
    /// What our links to the primary and the replicas say to AUTH.
    pub credentials: Credentials,
    /// Pinned links open at once.
    pub pinned_max: usize,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            source: Source::Sentinel(Sentinels::default()),
            credentials: Credentials::default(),
            pinned_max: 1024,
        }
    }
}

/// How the primary is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is the server at this address.
    Standalone(HostPort),
    /// Sentinels name it.
    Sentinel(Sentinels),
}

impl std::fmt::Display for Source {
    /// Says it in a few words, for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Standalone(address) => write!(f, "{address}"),
            Self::Sentinel(sentinels) => {
                write!(
                    f,
                    "{} of {} Sentinels",
                    sentinels.primary_name,
                    sentinels.addresses.len()
                )
            }
        }
    }
}

/// The Sentinels that are asked first; they name the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentinels {
    /// The name that they know the primary by.
    pub primary_name: String,
    /// Where they are: one at least.
    pub addresses: Vec<HostPort>,
    /// What we say to their AUTH.
    pub credentials: Credentials,
}

impl Default for Sentinels {
    fn default() -> Self {
        // Sentinel's own port, and the next two for those who run three on one machine.
        let addresses = [26_379, 26_380, 26_381].map(|port| HostPort {
            host: "127.0.0.1".into(),
            port,
        });
        Self {
            primary_name: "mymaster".into(),
            addresses: addresses.into(),
            credentials: Credentials::default(),
        }
    }
}

/// What a link says to AUTH; without a password it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// ACL user; `None` means `default`.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
}

/// A value that no log line, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// Shows the secret to the one who has to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

/// Where operators and Prometheus look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Address of `/metrics`, `/status`, `/healthz`, `/readyz`.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9380)),
        }
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines are written.
    pub level: LogFilter,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}
