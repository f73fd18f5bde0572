//! A watcher under test, and the world around it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::world::{A, B_FOLLOWS, B_PROMOTED, Dialler, FakeSentinel, Shared, World, at, naming};
use crate::config::{self, Credentials};
use crate::metrics::Recorder;
use crate::seam::Entropy;
use crate::sentinel::snapshot::Snapshot;
use crate::sentinel::watch::{Parts, Switched, Update, run};

/// A watcher under test.
pub(super) struct Running {
    pub(super) world: Shared,
    pub(super) updates: mpsc::Receiver<Update>,
    pub(super) snapshot: watch::Receiver<Snapshot>,
    pub(super) metrics: Recorder,
    pub(super) task: JoinHandle<()>,
    pub(super) holding: watch::Sender<bool>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn start(
    configured: &[&str],
    sentinels: &[(&'static str, FakeSentinel)],
    room: usize,
) -> Running {
    let world = World {
        sentinels: sentinels.iter().cloned().collect(),
        nodes: [("a", A), ("b", B_FOLLOWS)].into(),
        frozen: Default::default(),
        asked: Vec::new(),
        published: Some(broadcast::channel(64).0),
    };
    let world = Arc::new(Mutex::new(world));
    let (updates, inbox) = mpsc::channel(room);
    let (snapshot, seen) = watch::channel(Snapshot::default());
    let metrics = Recorder::new();
    let (holding, held) = watch::channel(false);
    let parts = Parts {
        sentinels: config::Sentinels {
            primary_name: "mymaster".into(),
            addresses: configured.iter().map(|host| at(host)).collect(),
            credentials: Credentials::default(),
        },
        credentials: Credentials::default(),
        dial: Arc::new(Dialler(Arc::clone(&world))),
        silence: Duration::from_millis(500),
        entropy: Entropy::from_seed(7),
        updates,
        holding: held,
        snapshot,
        metrics: metrics.topology(),
    };
    Running {
        world,
        updates: inbox,
        snapshot: seen,
        metrics,
        task: tokio::spawn(run(parts)),
        holding,
    }
}

pub(super) fn three() -> [(&'static str, FakeSentinel); 3] {
    ["s1", "s2", "s3"].map(|host| (host, naming("a", 5)))
}

impl Running {
    pub(super) async fn switched(&mut self, within: Duration) -> Option<Switched> {
        let next = async {
            loop {
                if let Update::Switched(switched) = self.updates.recv().await? {
                    return Some(switched);
                }
            }
        };
        timeout(within, next).await.ok()?
    }

    /// Makes all Sentinels name `b` and turns `b` into a primary.
    pub(super) fn promote_b(&self) {
        let mut world = self.world.lock().unwrap();
        for sentinel in world.sentinels.values_mut() {
            sentinel.names = Some(("b", 6));
        }
        world.nodes.insert("b", B_PROMOTED);
    }

    pub(super) fn say(&self, channel: &'static str, text: &str) {
        let world = self.world.lock().unwrap();
        let _ = world
            .published
            .as_ref()
            .unwrap()
            .send((channel, text.into()));
    }

    /// Pauses between two looks of a Sentinel at the primary's address (asked twice each).
    pub(super) fn pauses(&self, host: &str, since: Instant) -> Vec<Duration> {
        let world = self.world.lock().unwrap();
        let asked = world
            .asked
            .iter()
            .filter(|(who, when)| who == host && *when >= since);
        let mut times: Vec<Instant> = asked.map(|(_, when)| *when).collect();
        times.dedup();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    pub(super) fn shows(&self, line: &str) -> bool {
        self.metrics.render().lines().any(|shown| shown == line)
    }
}

pub(super) const MS: Duration = Duration::from_millis(1);
