//! A cluster, a sidecar, clients, and a fault in the middle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::harness::{
    Client, Cluster, Host, Hosts, Plan, SWITCH_SAYS, Sidecar, Stops, Version, Wishes, chaos, pause,
    saw_promotion, seed, until,
};

use super::checker::{Verdict, judge};
use super::figures::{Figures, Times};
use super::history::{Event, History, Stalls};
use super::workload::Workload;

/// How long the clients run before the fault, and after everything is well again.
const BEFORE: Duration = Duration::from_millis(1_500);
const AFTER: Duration = Duration::from_millis(1_500);

/// How long a scenario may last.
const PATIENCE: Duration = Duration::from_secs(60);

/// Down-after-milliseconds of the Sentinels.
pub(crate) const DOWN_AFTER_MS: u32 = 1000;

/// Held by the scenario that runs.
static ALONE: Mutex<()> = Mutex::new(());

/// What is on the stage.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) sidecar: Sidecar,
    name: String,
    // Dropped after what lives there.
    _hosts: Option<Hosts>,
    _turn: MutexGuard<'static, ()>,
}

/// What came of a scenario.
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) figures: Figures,
    pub(crate) events: Vec<Event>,
}

/// What a fault may use.
pub(crate) struct Fault<'a> {
    pub(crate) admin: u16,
    pub(crate) history: &'a History,
}

impl Fault<'_> {
    /// Runs a script of `chaos/` against this stage, to its end.
    pub(crate) fn run(&self, script: &str, arguments: &[&str]) {
        chaos(self.admin, script, arguments);
    }
}

impl Stage {
    pub(crate) fn set(
        name: &str,
        version: &Version,
        wishes: impl FnOnce(Wishes) -> Wishes,
    ) -> Self {
        let places = [Host::loopback(), Host::loopback(), Host::loopback()];
        Self::set_on(name, version, &places, None, wishes)
    }

    /// Like [`Stage::set`], with a host for each server and its Sentinel; `None` where there can be none.
    pub(crate) fn set_on_hosts(
        name: &str,
        version: &Version,
        wishes: impl FnOnce(Wishes) -> Wishes,
    ) -> Option<Self> {
        let hosts = Hosts::make(3)?;
        let places = hosts.all.clone();
        Some(Self::set_on(name, version, &places, Some(hosts), wishes))
    }

    fn set_on(
        name: &str,
        version: &Version,
        places: &[Host],
        hosts: Option<Hosts>,
        wishes: impl FnOnce(Wishes) -> Wishes,
    ) -> Self {
        // Times are asserted: one at a time.
        let turn = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = Plan {
            down_after_ms: DOWN_AFTER_MS,
            passwords: None,
        };
        let cluster = Cluster::start_on(places, version, plan);
        let mut wanted = Sidecar::before_sentinels_at(&cluster.sentinel_addresses());
        // Sentinels may begin another failover by themselves, and are killed in the middle of it at the end.
        for text in SWITCH_SAYS.iter().chain(&["primary not accepted"]) {
            wanted = wanted.announce(text);
        }
        let sidecar = wishes(wanted).start();
        Self {
            cluster,
            sidecar,
            name: name.to_owned(),
            _hosts: hosts,
            _turn: turn,
        }
    }

    /// Runs the clients and, among them, the fault, until writes are acknowledged again.
    pub(crate) fn play(&mut self, fault: impl FnOnce(&mut Cluster, &Fault<'_>)) -> Outcome {
        let history = History::new();
        let stop = AtomicBool::new(false);
        let stalls = Stalls::default();
        let workload = Workload {
            address: &self.sidecar.address,
            history: &history,
            stop: &stop,
            seed: seed(&self.name),
        };
        workload.prepare();
        let replicas: Vec<String> = self.cluster.nodes[1..]
            .iter()
            .map(|node| node.address())
            .collect();
        let admin = self.sidecar.admin_port;
        let mut fault_at = Duration::ZERO;
        let promotion = thread::scope(|scope| {
            // Where a wait below is in vain, too: the scope waits for its threads.
            let stops = Stops(&stop);
            let clients = workload.start(scope);
            pause(BEFORE);
            let metronome = scope.spawn(|| beat(&history, &stalls, &stop));
            let promoted = scope.spawn(|| saw_promotion(&replicas, &stop).then(|| history.now()));
            fault_at = history.now();
            fault(
                &mut self.cluster,
                &Fault {
                    admin,
                    history: &history,
                },
            );
            let struck = history.now();
            until("writes that are acknowledged again", PATIENCE, || {
                let mut probe = Client::try_connect(&self.sidecar.address).ok()?;
                (probe.ask("SET probe 1 EX 60") == "+OK").then_some(())
            });
            // Each client has to be through, too.
            until("each client's next reply", PATIENCE, || {
                let events = history.events();
                let through = |client: usize| {
                    events
                        .iter()
                        .rev()
                        .find(|event| event.client == client)
                        .is_some_and(|event| event.until > struck)
                };
                (0..super::workload::USERS).all(through).then_some(())
            });
            pause(AFTER);
            drop(stops);
            for client in clients {
                client.join().expect("each client ends well");
            }
            metronome.join().expect("the metronome ends well");
            promoted.join().expect("the watcher ends well")
        });
        let events = history.events();
        let verdict = judge(&events);
        let times = Times {
            fault: fault_at,
            promotion,
        };
        let stalls = stalls.lock().expect("no panic inside").clone();
        let server = &self.cluster.nodes[0].version.name;
        let figures = Figures::of(&self.name, server, &events, &verdict, times, &stalls);
        figures.publish();
        Outcome {
            verdict,
            figures,
            events,
        }
    }
}

/// Sleeps for a millisecond, again and again, and notes how much longer that took.
fn beat(history: &History, stalls: &Stalls, stop: &AtomicBool) {
    const BEAT: Duration = Duration::from_millis(1);
    while !stop.load(Ordering::Relaxed) {
        let from = history.now();
        pause(BEAT);
        let until = history.now();
        let late = (until - from).saturating_sub(BEAT);
        stalls.lock().expect("no panic inside").push((until, late));
    }
}
