//! What stands behind the apps of one set-up: a Redis, the sidecar in front of it, and a look at Redis past the sidecar.

use crate::harness::{Client, Server, Sidecar, Value, any_version, parse};

use super::app::{App, Library};

/// Holds what a URL, a query string and YAML each would want escaped; no space, as fred says HELLO inline.
const PASSWORD: &str = "p:s/w@r+d%26&?#";

/// The database beside 0 that is tried.
const DATABASE: u8 = 3;

/// How the apps reach the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Unix,
}

/// One way to set a library up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) library: Library,
    pub(super) transport: Transport,
    /// With a password, which the sidecar asks for too, and database 3; else neither.
    pub(super) secured: bool,
}

/// The store of one set-up.
#[derive(Debug)]
pub(super) struct Store {
    setup: Setup,
    // Before the server: dropped first, it has no lost link to complain about.
    sidecar: Sidecar,
    server: Server,
}

impl Setup {
    /// All ways to set `library` up.
    pub(super) fn all(library: Library) -> Vec<Self> {
        let transports = [Transport::Tcp, Transport::Unix].into_iter();
        let setups = transports.flat_map(|transport| {
            [false, true].map(|secured| Self {
                library,
                transport,
                secured,
            })
        });
        setups.collect()
    }

    /// Its name, for threads and messages.
    pub(super) fn name(&self) -> String {
        let secured = if self.secured { ", password" } else { "" };
        format!("{:?} over {:?}{secured}", self.library, self.transport)
    }

    fn database(&self) -> u8 {
        if self.secured { DATABASE } else { 0 }
    }
}

impl Store {
    /// Starts Redis and the sidecar.
    pub(super) fn start(setup: Setup) -> Self {
        let version = any_version();
        let (server, wishes);
        if setup.secured {
            server = Server::start_with(&version, &["--requirepass", PASSWORD]);
            // As Redis itself would, the sidecar wants the library to say the password.
            wishes = Sidecar::before(&server)
                .listen("require_auth: true")
                .upstream(&format!("password: {PASSWORD:?}"));
        } else {
            server = Server::start(&version);
            wishes = Sidecar::before(&server);
        }
        Self {
            setup,
            sidecar: wishes.start(),
            server,
        }
    }

    /// Starts a process of the app whose sessions live `ttl` seconds. It knows of the sidecar and nothing else.
    pub(super) fn app(&self, ttl: u32) -> App {
        let mut environment = vec![("SESSION_TTL", ttl.to_string())];
        match self.setup.transport {
            Transport::Tcp => {
                let (_, port) = self.sidecar.address.rsplit_once(':').expect("host:port");
                environment.push(("REDIS_PORT", port.to_owned()));
            }
            Transport::Unix => {
                let path = self.sidecar.unix().display();
                environment.push(("REDIS_UNIX", path.to_string()));
            }
        }
        if self.setup.secured {
            environment.push(("REDIS_PASSWORD", PASSWORD.to_owned()));
            environment.push(("REDIS_DATABASE", DATABASE.to_string()));
        }
        App::start(self.setup.library, &environment)
    }

    /// Milliseconds that each key of the set-up's database has left, asked of Redis itself; -1 is a key without an end.
    pub(super) fn lifetimes(&self) -> Vec<i64> {
        let mut client = self.client();
        client.ask(&format!("SELECT {}", self.setup.database()));
        let Value::Many(_, keys) = parse(&client.call(&["KEYS", "*"])) else {
            panic!("KEYS answers an array");
        };
        let keys = keys.into_iter().map(|key| match key {
            Value::Blob(_, key) => key,
            other => panic!("a key: {other:?}"),
        });
        let lifetimes = keys.map(|key| {
            let reply = parse(&client.call(&[b"PTTL".as_slice(), &key]));
            let Value::Line(b':', number) = reply else {
                panic!("PTTL answers a number: {reply:?}");
            };
            String::from_utf8_lossy(&number).parse().expect("a number")
        });
        // -2: it went in between.
        lifetimes.filter(|lifetime: &i64| *lifetime != -2).collect()
    }

    /// Checks what the set-up left behind: its sessions in its database and no other, none without an end, and
    /// a sidecar that was asked and answered no error of its own.
    pub(super) fn check(&self) {
        let lifetimes = self.lifetimes();
        assert!(!lifetimes.is_empty(), "sessions were stored");
        assert!(
            lifetimes.iter().all(|lifetime| *lifetime > 0),
            "a session without an end: {lifetimes:?}"
        );
        let keyspace = self.client().ask("INFO keyspace");
        let databases: Vec<_> = keyspace.match_indices("keys=").collect();
        let own = format!("db{}:", self.setup.database());
        assert!(
            databases.len() == 1 && keyspace.contains(&own),
            "all in {own} {keyspace}"
        );
        // The plain server in the sidecar's place has no admin port.
        let Some((_, metrics)) = self.sidecar.admin("/metrics") else {
            assert!(self.sidecar.pid().is_none(), "the admin port answers");
            return;
        };
        assert!(sum(&metrics, "gripfast_requests_total") > 0.0, "{metrics}");
        for name in [
            "gripfast_error_replies_total",
            "gripfast_client_connections_rejected_total",
            "gripfast_links_lost_total",
        ] {
            assert!(sum(&metrics, name) == 0.0, "{name}: {metrics}");
        }
    }

    fn client(&self) -> Client {
        let mut client = self.server.client();
        if self.setup.secured {
            client.call(&["AUTH", PASSWORD]);
        }
        client
    }
}

/// Adds up the samples of a metric over its labels.
fn sum(metrics: &str, name: &str) -> f64 {
    let samples = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with(['{', ' ']).then_some(rest)
    });
    samples
        .map(|rest| {
            let number = rest.rsplit(' ').next().expect("a sample has a value");
            number.parse::<f64>().expect("a number")
        })
        .sum()
}
