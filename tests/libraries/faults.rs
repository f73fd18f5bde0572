//! What may happen to a primary, with web apps on four session libraries in front of it: nobody who is logged in notices
//! more of it than later answers.
//!
//! One cluster; each library has two processes of its app and a sidecar, as on a server of its own. The faults are the
//! scripts of `chaos/`, one after the other. There are users before the cluster is whole again after the fault before: an
//! old primary that comes back, and takes itself for the primary for some ten seconds, is part of the show.
//!
//! A SET NX that was in flight when the primary was lost is made again; where it then finds its key, nobody knows by whom that
//! was set: "outcome unknown". phpredis takes its lock by one, and tries again by itself. Django and tower-sessions create a session by one,
//! and the log-in fails. These are counted, on both sides, and have to be the same number; nothing else may fail.

use std::thread;
use std::time::Duration;

use crate::harness::{
    Cluster, Plan, SWITCH_SAYS, Sidecar, Turn, against_redis, any_version, chaos, until,
};

use super::app::{App, Library, installed};
use super::crowd::{Crowd, Seen};
use super::life::LONG_TTL;
use super::store::sum;

/// Which libraries.
const LIBRARIES: [Library; 4] = [
    Library::NodeRedis,
    Library::Django,
    Library::Phpredis,
    Library::TowerResp2,
];

/// After how many ms Sentinels take the primary for down.
const DOWN_AFTER_MS: u32 = 1500;

/// How long a failover may take, and how long the cluster may need to be whole again.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    /// For longer than Sentinels on a busy machine need to elect another primary.
    Freeze,
    Planned,
}

/// A library with all that it has for itself.
#[derive(Debug)]
struct Server {
    library: Library,
    apps: [App; 2],
    sidecar: Sidecar,
}

/// What a sidecar has counted.
#[derive(Clone, Copy, Debug)]
struct Counts {
    failovers: f64,
    switchovers: f64,
    /// Requests that began to wait for a primary, or that a lost one had not answered.
    met: f64,
    unknown: f64,
    errors: f64,
}

#[test]
fn nobody_who_is_logged_in_notices_a_kill_a_freeze_or_a_planned_failover() {
    // Redis itself does not follow a primary.
    if installed().is_none() || against_redis() {
        return;
    }
    let _turn = Turn::take();
    let plan = Plan {
        down_after_ms: DOWN_AFTER_MS,
        passwords: None,
    };
    let mut cluster = Cluster::start(&any_version(), plan);
    let servers = of_each(LIBRARIES, |library| Server::start(library, &cluster));
    for fault in [Fault::Kill, Fault::Freeze, Fault::Planned] {
        go_through(fault, &mut cluster, &servers);
    }
}

/// Has users at each server go on through a fault.
fn go_through(fault: Fault, cluster: &mut Cluster, servers: &[Server]) {
    let before: Vec<Counts> = servers.iter().map(Server::counts).collect();
    let primary = servers[0].primary();
    let crowds = of_each(servers, Server::crowd);
    wait_until_whole(cluster, &primary);
    all_go_on(&crowds);
    fault.strike(servers[0].sidecar.admin_port);
    // A freeze outlasts its failover. Where Sentinels split their votes there is none, and the primary comes back.
    if fault != Fault::Freeze {
        until("service from a new primary", PATIENCE, || {
            let moved = |server: &Server| server.primary() != primary;
            servers.iter().all(moved).then_some(())
        });
    }
    if fault == Fault::Kill {
        let mut nodes = cluster.nodes.iter_mut();
        let killed = nodes.find(|node| node.address() == primary);
        killed.expect("it is one of the nodes").start_again();
    }
    all_go_on(&crowds);
    let seen = of_each(crowds, Crowd::disperse);
    for ((server, seen), before) in servers.iter().zip(seen).zip(before) {
        let spent = server.counts().since(before);
        eprintln!("{fault:?}, {:?}: {seen}, {spent:?}", server.library);
        fault.check(server.library, &seen, spent);
    }
}

/// Does the same with each at the same time.
fn of_each<T: Send, R: Send>(
    all: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    thread::scope(|scope| {
        let work = &work;
        let all = all.into_iter();
        let threads: Vec<_> = all.map(|one| scope.spawn(move || work(one))).collect();
        let threads = threads.into_iter();
        let results = threads.map(|thread| thread.join().expect("told above"));
        results.collect()
    })
}

fn all_go_on(crowds: &[Crowd]) {
    crowds.iter().for_each(Crowd::wait_for_a_round);
}

/// Waits until the primary at this address has all replicas.
fn wait_until_whole(cluster: &Cluster, primary: &str) {
    let mut nodes = cluster.nodes.iter();
    let primary = nodes.find(|node| node.address() == primary);
    let mut client = primary.expect("it is one of the nodes").client();
    until("both replicas", PATIENCE, || {
        let about = client.ask("INFO replication");
        (about.matches("state=online").count() == 2).then_some(())
    });
}

impl Fault {
    fn strike(self, admin_port: u16) {
        match self {
            Self::Kill => chaos(admin_port, "kill-primary", &[]),
            Self::Freeze => chaos(admin_port, "freeze-primary", &["7"]),
            Self::Planned => chaos(admin_port, "planned-failover", &[]),
        }
    }

    /// Checks that it happened, in front of the users, and what it cost.
    fn check(self, library: Library, seen: &Seen, spent: Counts) {
        match self {
            Self::Kill => assert!(spent.failovers > 0.0, "there was none"),
            Self::Planned => assert!(spent.switchovers > 0.0, "there was none"),
            Self::Freeze => {}
        }
        assert!(spent.met > 0.0, "nobody was there");
        assert!(spent.errors == spent.unknown, "errors of another kind");
        if self == Self::Planned || !(library.creates_with_nx() || library.locks()) {
            assert!(spent.unknown == 0.0, "nothing that may not run twice");
        }
        let failed = seen.failed.len();
        match library.creates_with_nx() {
            true => assert!(failed as f64 == spent.unknown, "{:?}", seen.failed),
            false => assert_eq!(seen.failed, [""; 0]),
        }
        let is_error_page = |answer: &String| answer.split(' ').nth(1) == Some("500");
        assert!(seen.failed.iter().all(is_error_page), "{:?}", seen.failed);
    }
}

impl Server {
    fn start(library: Library, cluster: &Cluster) -> Self {
        let wishes = Sidecar::before_sentinels(&cluster.sentinel_ports());
        let says = SWITCH_SAYS.iter();
        let wishes = says.fold(wishes, |wishes, text| wishes.announce(text));
        // Where all start at once, a node may not answer at first.
        let sidecar = wishes.announce("waiting for a primary").start();
        let (_, port) = sidecar.address.rsplit_once(':').expect("host:port");
        let environment = [
            ("SESSION_TTL", LONG_TTL.to_string()),
            ("REDIS_PORT", port.to_owned()),
        ];
        Self {
            library,
            apps: [(); 2].map(|()| App::start(library, &environment)),
            sidecar,
        }
    }

    fn crowd(&self) -> Crowd {
        let two = [self.apps[0].port, self.apps[1].port];
        Crowd::gather(two, &format!("{:?}", self.library))
    }

    /// The address of the primary that is served from.
    fn primary(&self) -> String {
        self.sidecar.primary().expect("the port answers")
    }

    fn counts(&self) -> Counts {
        let (_, metrics) = self.sidecar.admin("/metrics").expect("the port answers");
        let count = |name| sum(&metrics, name);
        let unknown = count("gripfast_error_replies_total{kind=\"outcome_unknown\"}");
        Counts {
            failovers: count("gripfast_primary_switches_total{reason=\"failover\"}"),
            switchovers: count("gripfast_primary_switches_total{reason=\"switchover\"}"),
            met: count("gripfast_requests_held_total")
                + count("gripfast_requests_taken_back_total")
                + unknown,
            unknown,
            errors: count("gripfast_error_replies_total"),
        }
    }
}

impl Counts {
    fn since(self, before: Self) -> Self {
        Self {
            failovers: self.failovers - before.failovers,
            switchovers: self.switchovers - before.switchovers,
            met: self.met - before.met,
            unknown: self.unknown - before.unknown,
            errors: self.errors - before.errors,
        }
    }
}
