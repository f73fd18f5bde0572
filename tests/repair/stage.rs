//! A cluster, sidecars, session traffic, and a fault in the middle; in the end, what the elected primary has.

use std::thread;
use std::time::Duration;

use crate::harness::{
    Cluster, Host, Hosts, Plan, SWITCH_SAYS, Sidecar, Stops, Turn, Version, Wishes, chaos,
    saw_promotion, seed, until,
};

use super::actual::{elected, look, until_repaired};
use super::checker::{Verdict, judge};
use super::workload::Workload;

/// Whether the sidecar repairs: until it does, only that a fault loses writes can be shown.
pub(crate) const REPAIRS: bool = true;

/// Acknowledged writes before the fault, and after it.
const WRITES_BEFORE: usize = 8_000;
const WRITES_AFTER: usize = 2_000;

/// How often a fault that loses nothing is tried again, twice as hard each time.
const ATTEMPTS: u32 = 3;

/// How long a part of a scenario may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a scenario asks of the stage.
#[derive(Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// A host for each server and its Sentinel.
    pub(crate) on_hosts: bool,
    pub(crate) sidecars: usize,
    /// A part of the sessions comes to rest at the first; the fault has to say when others do.
    pub(crate) failovers: usize,
    pub(crate) down_after_ms: u32,
    pub(crate) sessions: usize,
    /// Bytes that are added to each value.
    pub(crate) value_bytes: usize,
    /// Sessions are written whole, or deleted; nothing is asked that builds on what is there.
    pub(crate) writes_whole: bool,
    /// Others are waited for as long as they take. If not, what depends on a write that another sidecar has still to put back is asked
    /// of counters alone: a login writes its session whole, and no SET keeps a deadline.
    pub(crate) is_patient: bool,
    /// The last sidecar runs on the host of this node; 0 is the first primary.
    pub(crate) last_beside: Option<usize>,
    /// With the journal, writes are acknowledged while requests are held, and have to be.
    pub(crate) acknowledges: bool,
    /// Counters may miss counts: what several sidecars, or an isolated primary, count at once is not promised.
    pub(crate) may_miscount: bool,
    /// What the sidecars may warn of, besides what each switch makes them say.
    pub(crate) announced: &'static [&'static str],
}

impl Scene {
    pub(crate) const fn of(name: &'static str) -> Self {
        Self {
            name,
            on_hosts: true,
            sidecars: 1,
            failovers: 1,
            down_after_ms: 1_000,
            sessions: 2_000,
            value_bytes: 0,
            writes_whole: false,
            is_patient: true,
            last_beside: None,
            acknowledges: false,
            may_miscount: false,
            announced: &[],
        }
    }
}

/// What a fault may use.
pub(crate) struct Fault<'a> {
    pub(crate) workload: &'a Workload,
    pub(crate) sidecars: &'a [Sidecar],
    /// Where the nodes are.
    pub(crate) places: &'a [Host],
    /// 1 at first, and twice as much each time that nothing was lost.
    pub(crate) harder: f64,
}

impl Fault<'_> {
    /// Runs a script of `chaos/` against this stage, to its end.
    pub(crate) fn run(&self, script: &str, arguments: &[&str]) {
        chaos(self.sidecars[0].admin_port, script, arguments);
    }

    /// Waits for so many more acknowledged writes, by how hard the fault is to be.
    pub(crate) fn acknowledge(&self, count: f64) {
        acknowledge(self.workload, (count * self.harder) as usize);
    }

    /// Seconds, for a script, by how hard the fault is to be.
    pub(crate) fn seconds(&self, seconds: f64) -> String {
        format!("{:.2}", seconds * self.harder)
    }
}

/// What is on the stage.
pub(crate) struct Stage {
    pub(crate) sidecars: Vec<Sidecar>,
    pub(crate) cluster: Cluster,
    pub(crate) places: Vec<Host>,
    // Dropped after what lives there.
    _hosts: Option<Hosts>,
    _turn: Turn,
}

/// With what a scenario is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    WithoutJournal,
    WithJournal,
}

/// Shows that the fault loses acknowledged writes, or brings back sessions, and that repair leaves nothing of that.
///
/// Both halves at once: each mostly waits.
pub(crate) fn prove(
    scene: &Scene,
    version: &Version,
    fault: impl Fn(&mut Cluster, &Fault<'_>) + Sync,
) {
    let harder = thread::scope(|scope| {
        let without = scope.spawn(|| it_damages(scene, version, &fault));
        if REPAIRS {
            it_is_repaired(scene, version, &fault);
        }
        without.join().expect("without a journal, too")
    });
    if REPAIRS && harder > 1.0 {
        // As it was, it may have had nothing to repair.
        repairs(scene, version, harder, &fault);
    }
}

/// Returns how hard the fault had to be.
fn it_damages(
    scene: &Scene,
    version: &Version,
    fault: &(impl Fn(&mut Cluster, &Fault<'_>) + Sync),
) -> f64 {
    for attempt in 0..ATTEMPTS {
        let harder = f64::from(1 << attempt);
        match play(scene, version, Half::WithoutJournal, harder, fault) {
            Some(verdict) if verdict.damaged() == 0 => {}
            _ => return harder,
        }
    }
    panic!("{}: nothing was lost, so nothing is proven", scene.name);
}

/// Plays it with the journal, and nothing may be wrong in the end.
pub(crate) fn it_is_repaired(
    scene: &Scene,
    version: &Version,
    fault: impl Fn(&mut Cluster, &Fault<'_>),
) {
    repairs(scene, version, 1.0, fault);
}

fn repairs(
    scene: &Scene,
    version: &Version,
    harder: f64,
    fault: impl Fn(&mut Cluster, &Fault<'_>),
) {
    let Some(verdict) = play(scene, version, Half::WithJournal, harder, fault) else {
        return;
    };
    let lost = match scene.may_miscount {
        true => verdict.lost - verdict.miscounted,
        false => verdict.lost,
    };
    let wrong = (lost, verdict.resurrected, verdict.wrong_ttl);
    let examples = verdict.examples.join("\n");
    assert_eq!(
        wrong,
        (0, 0, 0),
        "{} on {}: lost, resurrected, wrong TTL\n{examples}",
        scene.name,
        version.name
    );
}

/// Plays it once; `None` where there can be no hosts.
fn play(
    scene: &Scene,
    version: &Version,
    half: Half,
    harder: f64,
    fault: impl Fn(&mut Cluster, &Fault<'_>),
) -> Option<Verdict> {
    let mut stage = Stage::set(scene, version, |wishes| match half {
        Half::WithoutJournal => wishes.journal("enabled: false"),
        Half::WithJournal if scene.acknowledges => wishes.hold("writes: acknowledge"),
        Half::WithJournal => wishes,
    })?;
    let addresses: Vec<String> = stage
        .sidecars
        .iter()
        .map(|sidecar| sidecar.address.clone())
        .collect();
    let seed = seed(scene.name);
    let workload = Workload::new(&addresses, scene, seed);
    let replicas: Vec<String> = stage.cluster.nodes[1..]
        .iter()
        .map(|node| node.address())
        .collect();
    thread::scope(|scope| {
        let stops = Stops(workload.stop());
        let clients = workload.start(scope);
        acknowledge(&workload, WRITES_BEFORE);
        scope.spawn(|| match saw_promotion(&replicas, workload.stop()) {
            true if scene.failovers > 1 => workload.rest_more(),
            true => workload.rest(),
            false => {}
        });
        let fault_of = Fault {
            workload: &workload,
            sidecars: &stage.sidecars,
            places: &stage.places,
            harder,
        };
        fault(&mut stage.cluster, &fault_of);
        workload.rest();
        acknowledge(&workload, WRITES_AFTER);
        each_is_answered(&workload);
        drop(stops);
        for client in clients {
            client.join().expect("each client ends well");
        }
    });
    let verdict = stage.judge(&workload);
    let name = "gripfast_writes_acknowledged_held_total";
    let held = stage.sidecars.iter().map(|sidecar| sidecar.metric(name));
    let held: f64 = held.sum();
    let is_due = scene.acknowledges && half == Half::WithJournal;
    assert_eq!(held > 0.0, is_due, "{}: {held} while holding", scene.name);
    eprintln!(
        "{} on {}, {half:?}, {harder} times as hard: {}; {held} acknowledged while holding",
        scene.name,
        version.name,
        figures(&verdict)
    );
    assert_eq!(verdict.odd, [""; 0], "{}", scene.name);
    Some(verdict)
}

/// Waits for so many more acknowledged writes.
fn acknowledge(workload: &Workload, count: usize) {
    let before = workload.acknowledged();
    until("acknowledged writes", PATIENCE, || {
        (workload.acknowledged() >= before + count).then_some(())
    });
}

/// Waits until each client had what it sent from now on answered.
fn each_is_answered(workload: &Workload) {
    let before = workload.batches();
    until("each client's answers", PATIENCE, || {
        let now = workload.batches();
        let mut both = before.iter().zip(&now);
        both.all(|(before, now)| *now >= before + 2).then_some(())
    });
}

impl Stage {
    pub(crate) fn set(
        scene: &Scene,
        version: &Version,
        wishes: impl Fn(Wishes) -> Wishes,
    ) -> Option<Self> {
        let turn = Turn::take();
        let hosts = match scene.on_hosts {
            true => Some(Hosts::make(3)?),
            false => None,
        };
        let loopback = || vec![Host::loopback(); 3];
        let places = hosts
            .as_ref()
            .map_or_else(loopback, |hosts| hosts.all.clone());
        let plan = Plan {
            down_after_ms: scene.down_after_ms,
            passwords: None,
        };
        let cluster = Cluster::start_on(&places, version, plan);
        let sidecars = (0..scene.sidecars).map(|number| {
            let mut wanted = Sidecar::before_sentinels_at(&cluster.sentinel_addresses());
            let others = ["primary not accepted"];
            for text in SWITCH_SAYS.iter().chain(&others).chain(scene.announced) {
                wanted = wanted.announce(text);
            }
            if let Some(node) = scene.last_beside.filter(|_| number + 1 == scene.sidecars) {
                wanted = wanted.on(&places[node]);
            }
            wishes(wanted).start()
        });
        Some(Self {
            sidecars: sidecars.collect(),
            cluster,
            places,
            _hosts: hosts,
            _turn: turn,
        })
    }

    pub(crate) fn judge(&self, workload: &Workload) -> Verdict {
        let primary = elected(&self.cluster, &self.sidecars);
        let mut primary = self.cluster.nodes[primary].client();
        until_repaired(&mut primary);
        let sessions = workload.sessions();
        let found = look(&mut primary, &sessions, || workload.now());
        judge(&sessions, &found)
    }
}

/// One line of what was found.
fn figures(verdict: &Verdict) -> String {
    format!(
        "{} writes to {} sessions acknowledged; lost {} ({} miscounted), resurrected {}, wrong TTL {}; \
         misread {}, outcome unknown {}, not executed {}",
        verdict.writes,
        verdict.sessions,
        verdict.lost,
        verdict.miscounted,
        verdict.resurrected,
        verdict.wrong_ttl,
        verdict.misread,
        verdict.unknown,
        verdict.not_executed
    )
}
