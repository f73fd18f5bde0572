//! What the operator asked for: YAML as typed, checked by building.
//!
//! [`Config::load`] is the only way in. The file is read into a tree of YAML values, `config::build` takes one key after the
//! other out of it, and whatever is left is unknown; so all problems are found in one go, and a [`Config`] cannot hold a
//! bad value. Every default is in this file, or in that of its section. Nothing else in the crate names `serde_yaml`, which has no
//! maintainer any more.

mod build;
mod durability;
mod error;
mod hold;
mod parse;
mod repair;
mod section;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::durability::{Durability, DurabilityMode, OnTimeout};
pub use self::error::{Error, Problem, Warning};
pub use self::hold::{Hold, OnIsolation, Writes};
pub use self::parse::LogFilter;
pub use self::repair::Repair;
use crate::seam::HostPort;

/// A configuration that holds no bad value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where applications connect, and the bounds on them.
    pub listen: Listen,
    /// Where Redis is.
    pub upstream: Upstream,
    /// What is kept of what was read.
    pub cache: Cache,
    /// Which touches need not be sent.
    pub touch: Touch,
    /// Which keys are sessions.
    pub sessions: Sessions,
    /// What is held while there is no primary, and how long.
    pub hold: Hold,
    /// What is remembered of acknowledged writes.
    pub journal: Journal,
    /// How those that another primary lacks are put back.
    pub repair: Repair,
    /// When a write is acknowledged.
    pub durability: Durability,
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
            journal: Journal {
                enabled: false,
                ..Journal::default()
            },
            repair: Repair {
                enabled: false,
                ..Repair::default()
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
            cache: Cache::default(),
            touch: Touch::default(),
            sessions: Sessions::default(),
            hold: Hold::default(),
            journal: Journal::default(),
            durability: Durability::default(),
            repair: Repair::default(),
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
    /// Whether clients that ask for it are told of failovers (CLIENT MAINT_NOTIFICATIONS).
    pub maint_notifications: bool,
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
            maint_notifications: true,
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

/// What is remembered of acknowledged writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Whether anything is. A single server has nobody to lose writes to, so there it is only where it is asked for.
    pub enabled: bool,
    /// Bytes of memory for it.
    pub bytes_max: usize,
    /// Writes, a transaction counting as one.
    pub records_max: usize,
    /// How long a write is remembered that no replica is known to have.
    pub age_max: Duration,
    /// How long one is remembered that all replicas have.
    pub retain: Duration,
    /// What becomes of writes whose reply does not tell what they left.
    pub opaque: Opaque,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            enabled: true,
            bytes_max: 64 << 20,
            records_max: 1_000_000,
            age_max: Duration::from_secs(300),
            retain: Duration::from_secs(60),
            opaque: Opaque::Capture,
        }
    }
}

/// What becomes of writes whose reply does not tell what they left: of lists and sets, scripts, modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opaque {
    /// The server is asked for it behind the write, in the same packet.
    Capture,
    /// It stays unknown, and is counted.
    Ignore,
    /// It stays unknown, and is not counted: they are acknowledged when replicas have them.
    Wait,
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

/// What is kept of what was read, and how long it may be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Bytes of all entries, names and overhead counted; 0 = nothing is kept.
    pub bytes: u64,
    /// Bytes of one reply with its key and request; what is larger passes uncached.
    pub entry_bytes_max: usize,
    /// How long a reply is served at most, where the server announces changes.
    pub ttl: Duration,
    /// How long where it does not: too old, or the user may not use CLIENT TRACKING.
    pub ttl_untracked: Duration,
    /// How stale a reply may be at most, whatever the network does.
    pub max_staleness: Duration,
    /// Which share of the hits is also asked of the primary.
    pub verify_ratio: Ratio,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            // Ten times what large sessions hold; what is larger is no session.
            entry_bytes_max: 256 << 10,
            ttl: Duration::from_secs(10),
            ttl_untracked: Duration::from_millis(500),
            max_staleness: Duration::from_millis(2000),
            verify_ratio: Ratio::from_millionths(1000),
        }
    }
}

/// Which touches need not be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// A touch that moves the deadline by less than this share of the TTL is answered here; 0 = each is sent.
    pub coalesce: Ratio,
    /// The most by which a deadline may be behind, whatever the TTL.
    pub coalesce_max: Duration,
    /// Whether a SET of the very bytes that are cached is a touch, too.
    pub coalesce_unchanged_set: bool,
}

impl Default for Touch {
    fn default() -> Self {
        Self {
            coalesce: Ratio::from_millionths(10_000),
            coalesce_max: Duration::from_secs(30),
            coalesce_unchanged_set: false,
        }
    }
}

/// Which keys are sessions, and what is asked of their expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// What their names begin with; empty = every key is one.
    pub prefixes: Vec<Vec<u8>>,
    /// What becomes of one that is written without expiry.
    pub require_ttl: RequireTtl,
    /// The expiry that it gets when that is enforced.
    pub default_ttl: Duration,
    /// The longest expiry that is allowed; longer ones are treated as `require_ttl` says, by this one.
    pub max_ttl: Option<Duration>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            prefixes: Vec::new(),
            require_ttl: RequireTtl::Off,
            default_ttl: Duration::from_secs(86_400),
            max_ttl: None,
        }
    }
}

/// What becomes of a session key that is written without expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequireTtl {
    /// Nothing.
    #[default]
    Off,
    /// It is counted.
    Warn,
    /// It is counted, and gets one.
    Enforce,
}

/// A share from 0 to 1, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u32);

impl Ratio {
    /// Makes one; more than a million is a million.
    pub const fn from_millionths(millionths: u32) -> Self {
        if millionths > 1_000_000 {
            Self(1_000_000)
        } else {
            Self(millionths)
        }
    }

    /// Returns the millionths, 0 to 1,000,000.
    pub const fn millionths(self) -> u32 {
        self.0
    }
}
