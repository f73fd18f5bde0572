//! What the operator asked for: YAML as typed, checked by building.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::seam::HostPort;

/// A configuration that holds no bad value.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where applications connect, and the bounds on them.
    pub listen: Listen,
    /// Where Redis is.
    pub upstream: Upstream,
    /// Where operators and Prometheus look.
    pub admin: Admin,
    /// How long a drain may take (`shutdown.grace_s`).
    pub shutdown_grace: Duration,
}

/// Where applications connect, and the bounds on them.
#[derive(Clone, Debug)]
pub struct Listen {
    /// TCP addresses, IPv4 or IPv6.
    pub tcp: Vec<SocketAddr>,
    /// Path of the Unix socket.
    pub unix: Option<PathBuf>,
    /// Client connections held at once.
    pub clients_max: usize,
    /// Bytes of replies that one client may leave unread before it is closed.
    pub output_bytes_max: usize,
}

/// Where Redis is.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The primary's address (`standalone` mode).
    pub address: HostPort,
    /// What our links say to AUTH.
    pub credentials: Credentials,
    /// Pinned links open at once.
    pub pinned_max: usize,
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
#[derive(Clone, Debug)]
pub struct Admin {
    /// Address of `/metrics`, `/status`, `/healthz`, `/readyz`.
    pub listen: SocketAddr,
}
