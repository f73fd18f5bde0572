//! What stands behind the apps of one set-up: a Redis or a cluster with Sentinels, the sidecar in front of it, and a look
//! at Redis past the sidecar.

use std::time::Duration;

use crate::harness::{
    Client, Cluster, Plan, SWITCH_SAYS, Server, Sidecar, Turn, Value, Wishes, any_version, parse,
    until,
};

use super::app::{App, Library};

/// Holds what a URL, a query string and YAML each would want escaped; no space, as fred says HELLO inline.
const PASSWORD: &str = "p:s/w@r+d%26&?#";

/// What Sentinels want to hear where Redis wants a password.
const SENTINEL_PASSWORD: &str = "of-sentinels";

/// After how many ms Sentinels take the primary for down: never, however busy the machine. Failovers here are planned.
const DOWN_AFTER_MS: u32 = 60_000;

/// How long the sidecar may need until it serves from a new primary.
const SWITCH_PATIENCE: Duration = Duration::from_secs(60);

/// The database beside 0 that is tried.
const DATABASE: u8 = 3;

/// How the apps reach the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Unix,
}

/// How the sidecar finds the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Standalone,
    Sentinels,
}

/// One way to set a library up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) library: Library,
    pub(super) transport: Transport,
    /// With a password, which the sidecar asks for too, and database 3; else neither.
    pub(super) secured: bool,
    pub(super) source: Source,
}

/// The store of one set-up.
#[derive(Debug)]
pub(super) struct Store {
    setup: Setup,
    // Before the servers: dropped first, it has no lost link to complain about.
    sidecar: Sidecar,
    servers: Servers,
}

/// What stands behind the sidecar.
#[derive(Debug)]
enum Servers {
    One(Server),
    /// With the right to be one of the few clusters at once.
    Cluster(Cluster, Turn),
}

impl Setup {
    /// All ways to set `library` up in front of one Redis.
    pub(super) fn standalone(library: Library) -> Vec<Self> {
        let transports = [Transport::Tcp, Transport::Unix].into_iter();
        let setups = transports.flat_map(|transport| {
            [false, true].map(|secured| Self {
                library,
                transport,
                secured,
                source: Source::Standalone,
            })
        });
        setups.collect()
    }

    /// Those over TCP, in front of a primary that Sentinels name.
    pub(super) fn with_sentinels(library: Library) -> Vec<Self> {
        let setups = Self::standalone(library).into_iter();
        let setups = setups.filter(|setup| setup.transport == Transport::Tcp);
        let source = Source::Sentinels;
        setups.map(|setup| Self { source, ..setup }).collect()
    }

    /// Its name, for threads and messages.
    pub(super) fn name(&self) -> String {
        let secured = if self.secured { ", password" } else { "" };
        let (library, transport, source) = (self.library, self.transport, self.source);
        format!("{library:?} over {transport:?}, {source:?}{secured}")
    }

    fn database(&self) -> u8 {
        if self.secured { DATABASE } else { 0 }
    }
}

impl Store {
    /// Starts Redis and the sidecar.
    pub(super) fn start(setup: Setup) -> Self {
        let servers = Servers::start(setup);
        let mut wishes = servers.sidecar();
        if setup.secured {
            // As Redis itself would, the sidecar wants the library to say the password.
            wishes = wishes
                .listen("require_auth: true")
                .upstream(&format!("password: {PASSWORD:?}"));
            if setup.source == Source::Sentinels {
                wishes = wishes.upstream(&format!("sentinel_password: {SENTINEL_PASSWORD:?}"));
            }
        }
        Self {
            setup,
            sidecar: wishes.start(),
            servers,
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

    /// Has Sentinels make a replica the primary, and waits until the sidecar serves from it.
    pub(super) fn switch_over(&self) {
        let Servers::Cluster(cluster, _) = &self.servers else {
            panic!("a single server has no replica");
        };
        let before = self.status()["upstream"].clone();
        assert_eq!(before["generation"], 1, "no failover so far: {before}");
        cluster.switch_over();
        let after = until("service from a new primary", SWITCH_PATIENCE, || {
            let mut now = self.status();
            let serves = now["state"]["ready"] == true && now["upstream"]["generation"] == 2;
            serves.then(|| now["upstream"].take())
        });
        assert_ne!(after["address"], before["address"]);
        assert_eq!(after["topology"]["switches"][0]["reason"], "switchover");
    }

    /// Errors that the sidecar itself has answered.
    pub(super) fn errors(&self) -> f64 {
        let (_, metrics) = self.sidecar.admin("/metrics").expect("the port answers");
        sum(&metrics, "gripfast_error_replies_total")
    }

    fn status(&self) -> serde_json::Value {
        self.sidecar.status().expect("the port answers")
    }

    /// The keys of a database that are not the sidecar's own, asked of Redis itself.
    fn keys(client: &mut Client, database: u8) -> Vec<Vec<u8>> {
        client.ask(&format!("SELECT {database}"));
        let Value::Many(_, keys) = parse(&client.call(&["KEYS", "*"])) else {
            panic!("KEYS answers an array");
        };
        let keys = keys.into_iter().map(|key| match key {
            Value::Blob(_, key) => key,
            other => panic!("a key: {other:?}"),
        });
        keys.filter(|key| !key.starts_with(b"gripfast:")).collect()
    }

    /// Milliseconds that each key of the set-up's database has left, asked of Redis itself; -1 is a key without an end.
    pub(super) fn lifetimes(&self) -> Vec<i64> {
        let mut client = self.client();
        let keys = Self::keys(&mut client, self.setup.database());
        let lifetimes = keys.into_iter().map(|key| {
            let reply = parse(&client.call(&[b"PTTL".as_slice(), &key]));
            let Value::Line(b':', number) = reply else {
                panic!("PTTL answers a number: {reply:?}");
            };
            String::from_utf8_lossy(&number).parse().expect("a number")
        });
        // -2: it went in between.
        lifetimes.filter(|lifetime: &i64| *lifetime != -2).collect()
    }

    /// Checks what the set-up left behind, before any failover: its sessions in its database and no other, none without an end, and
    /// a sidecar that was asked and answered no error of its own.
    pub(super) fn check(&self) {
        let lifetimes = self.lifetimes();
        assert!(!lifetimes.is_empty(), "sessions were stored");
        assert!(
            lifetimes.iter().all(|lifetime| *lifetime > 0),
            "a session without an end: {lifetimes:?}"
        );
        let mut client = self.client();
        for database in (0..16).filter(|database| *database != self.setup.database()) {
            let strays = Self::keys(&mut client, database).len();
            assert_eq!(strays, 0, "all in db{}", self.setup.database());
        }
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

    /// A connection to the first primary.
    fn client(&self) -> Client {
        match &self.servers {
            Servers::One(server) => {
                let mut client = server.client();
                if self.setup.secured {
                    client.call(&["AUTH", PASSWORD]);
                }
                client
            }
            Servers::Cluster(cluster, _) => cluster.node(0),
        }
    }
}

impl Servers {
    fn start(setup: Setup) -> Self {
        let version = any_version();
        match setup.source {
            Source::Standalone if setup.secured => {
                Self::One(Server::start_with(&version, &["--requirepass", PASSWORD]))
            }
            Source::Standalone => Self::One(Server::start(&version)),
            Source::Sentinels => {
                let turn = Turn::take();
                let plan = Plan {
                    down_after_ms: DOWN_AFTER_MS,
                    passwords: setup.secured.then_some((PASSWORD, SENTINEL_PASSWORD)),
                };
                Self::Cluster(Cluster::start(&version, plan), turn)
            }
        }
    }

    /// Begins to describe the sidecar in front of them.
    fn sidecar(&self) -> Wishes {
        match self {
            Self::One(server) => Sidecar::before(server),
            Self::Cluster(cluster, _) => {
                let wishes = Sidecar::before_sentinels(&cluster.sentinel_ports());
                let says = SWITCH_SAYS.iter();
                says.fold(wishes, |wishes, text| wishes.announce(text))
            }
        }
    }
}

/// Adds up the samples of a metric over its labels, where `name` tells none.
pub(super) fn sum(metrics: &str, name: &str) -> f64 {
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
