//! Libraries that give each reply half a second, or a second: less than any election takes.
//!
//! Users log in, read, renew or update, and log out while the primary is lost and another one is elected, through two sidecars of
//! one cluster at once. With `hold.writes: acknowledge` they may notice nothing, nobody waits for as long as the library would, and
//! afterwards each session is what its last answered write says. Without it something has to fail, or the test shows nothing.

mod rails;
mod redis_rs;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::harness::{
    Cluster, Plan, SWITCH_SAYS, Sidecar, Stopwatch, Turn, any_version, chaos, signal, until,
};

/// After how many ms Sentinels take the primary for down: a second or so before another one is elected.
const DOWN_AFTER_MS: u32 = 2000;

/// Sessions that each user goes through before the fault, and after it.
const LIVES: usize = 3;

/// How long whatever is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the users of one sidecar share.
#[derive(Debug)]
struct Shared {
    stops: AtomicBool,
    /// Sessions that each has gone through.
    lives: Vec<AtomicUsize>,
}

/// What users have seen. Each session that is known to be left has its value; one that was ended has none.
#[derive(Debug)]
struct Seen<S> {
    calls: usize,
    slowest: Duration,
    errors: Vec<String>,
    /// Answers that told something else than the last write.
    wrong: usize,
    left: Vec<S>,
}

/// A sidecar and its users.
#[derive(Debug)]
struct Office<S> {
    sidecar: Sidecar,
    shared: Arc<Shared>,
    users: Vec<JoinHandle<Seen<S>>>,
}

/// What came of an election.
#[derive(Debug)]
struct Outcome<S> {
    cluster: Cluster,
    /// The address of the new primary.
    elected: String,
    /// What was seen through the sidecar that acknowledges.
    seen: Seen<S>,
}

/// What happens to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Its process dies.
    Kill,
    /// It stands still, and is gone for good: nobody is told, as where its host is lost.
    Freeze,
}

/// Lets users live through an election: `open` has them come in behind each of two sidecars, of which one has these wishes of the hold.
fn live_through_an_election<S>(
    fault: Fault,
    wishes: &[&str],
    patience: Duration,
    open: impl Fn(Sidecar) -> Office<S>,
) -> (Turn, Outcome<S>) {
    let turn = Turn::take();
    let plan = Plan {
        down_after_ms: DOWN_AFTER_MS,
        passwords: None,
    };
    let cluster = Cluster::start(&any_version(), plan);
    let mut offices = [wishes, &["writes: wait"]].map(|wishes| open(sidecar(&cluster, wishes)));
    let old = offices[0].primary();
    offices.iter().for_each(Office::wait_for_lives);
    let watch = Stopwatch::start();
    fault.strike(&cluster, &offices[0].sidecar, &old);
    let elected = until("service from a new primary", PATIENCE, || {
        let [one, other] = offices.each_ref().map(Office::primary);
        (one != old && one == other).then_some(one)
    });
    let away = watch.elapsed();
    offices.iter().for_each(Office::wait_for_lives);
    let seen = offices.each_mut().map(Office::close);
    let held = offices[0].held();
    let [calm, upset] = &seen;
    eprintln!(
        "{fault:?}, away for {away:.2?}, {held} writes acknowledged: {calm}; without: {upset}"
    );
    assert!(away > patience, "the election was too short to tell");
    assert!(held > 0.0, "nothing was acknowledged");
    assert_eq!(calm.errors, [""; 0]);
    assert_eq!(calm.wrong, 0);
    assert!(calm.slowest < patience, "{:?}", calm.slowest);
    let upset = upset.errors.len() + upset.wrong;
    assert!(upset > 0, "this test can't fail");
    let [seen, _] = seen;
    let outcome = Outcome {
        cluster,
        elected,
        seen,
    };
    (turn, outcome)
}

impl Fault {
    fn strike(self, cluster: &Cluster, sidecar: &Sidecar, primary: &str) {
        match self {
            Self::Kill => chaos(sidecar.admin_port, "kill-primary", &[]),
            Self::Freeze => {
                let mut nodes = cluster.nodes.iter();
                let node = nodes.find(|node| node.address() == primary);
                signal(node.expect("it is one of the nodes").pid(), "-STOP");
            }
        }
    }
}

fn sidecar(cluster: &Cluster, wishes: &[&str]) -> Sidecar {
    let before = Sidecar::before_sentinels(&cluster.sentinel_ports());
    let wishes = wishes.iter().fold(before, |all, line| all.hold(line));
    let says = SWITCH_SAYS.iter();
    says.fold(wishes, |wishes, text| wishes.announce(text))
        .start()
}

impl<S: Send + 'static> Office<S> {
    /// Lets users in: `live` goes through sessions until [`Shared::goes_on`] says no.
    fn open(
        sidecar: Sidecar,
        users: usize,
        live: impl Fn(usize, &Shared) -> Seen<S> + Clone + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            stops: AtomicBool::new(false),
            lives: (0..users).map(|_| AtomicUsize::new(0)).collect(),
        });
        let users = (0..users).map(|number| {
            let (live, shared) = (live.clone(), Arc::clone(&shared));
            thread::spawn(move || live(number, &shared))
        });
        Self {
            sidecar,
            users: users.collect(),
            shared,
        }
    }
}

impl<S> Office<S> {
    fn primary(&self) -> String {
        self.sidecar.primary().expect("the port answers")
    }

    fn held(&self) -> f64 {
        let series = "gripfast_writes_acknowledged_held_total";
        self.sidecar.metric(series)
    }

    /// Waits until each user has gone through some sessions.
    fn wait_for_lives(&self) {
        let count = |lives: &AtomicUsize| lives.load(Ordering::Relaxed);
        let before: Vec<usize> = self.shared.lives.iter().map(count).collect();
        until("some lives of each user", PATIENCE, || {
            let ended = self.users.iter().any(JoinHandle::is_finished);
            assert!(!ended, "a user gave up: told above");
            let mut pairs = before.iter().zip(&self.shared.lives);
            pairs
                .all(|(before, now)| count(now) > before + LIVES)
                .then_some(())
        });
    }

    fn close(&mut self) -> Seen<S> {
        self.shared.stops.store(true, Ordering::Relaxed);
        let mut all = Seen::new();
        for user in self.users.drain(..) {
            let mut seen = user.join().expect("told above");
            all.calls += seen.calls;
            all.slowest = all.slowest.max(seen.slowest);
            all.errors.append(&mut seen.errors);
            all.wrong += seen.wrong;
            all.left.append(&mut seen.left);
        }
        all
    }
}

impl<S> Drop for Office<S> {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stops.load(Ordering::Relaxed)
    }

    /// A user has gone through a session.
    fn note_life(&self, number: usize) {
        self.lives[number].fetch_add(1, Ordering::Relaxed);
    }
}

impl<S> Seen<S> {
    fn new() -> Self {
        Self {
            calls: 0,
            slowest: Duration::ZERO,
            errors: Vec::new(),
            wrong: 0,
            left: Vec::new(),
        }
    }

    /// Notes a call that took so long; `None` where it has failed.
    fn note<T, E: fmt::Display>(&mut self, time: Duration, reply: Result<T, E>) -> Option<T> {
        self.slowest = self.slowest.max(time);
        self.calls += 1;
        reply
            .map_err(|error| self.errors.push(error.to_string()))
            .ok()
    }
}

impl<S> fmt::Display for Seen<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, errors, wrong) = (self.calls, self.errors.len(), self.wrong);
        let (slowest, left) = (self.slowest, self.left.len());
        write!(
            f,
            "{calls} calls, {errors} errors, {wrong} wrong, the slowest {slowest:.2?}, {left} sessions"
        )
    }
}
