//! The data thread under test, and how tests reach it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::client::Client;
use super::redis::Redis;
use crate::config::{Config, Source};
use crate::data_plane::{Handle, Parts, Report, run};
use crate::metrics::Recorder;
use crate::seam::{Accept, BoxStream, Clock, Entropy, HostPort, TokioClock};

/// Bytes that the pipe of a client takes each way, where a test does not say.
const CLIENT_PIPE: usize = 64 * 1024;

/// A listener that tests knock at.
struct Door(mpsc::Receiver<BoxStream>);

impl Accept for Door {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BoxStream>> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(stream)) => Poll::Ready(Ok(stream)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn name(&self) -> String {
        "door".into()
    }
}

/// tokio's clock, with a wall clock that a test can move.
struct MovableClock {
    clock: TokioClock,
    ahead: Arc<AtomicU64>,
}

impl Clock for MovableClock {
    fn boot_micros(&self) -> u64 {
        self.clock.boot_micros()
    }

    fn wall(&self) -> u64 {
        self.clock.wall() + self.ahead.load(Ordering::Relaxed)
    }
}

/// The running data thread.
pub(super) struct World {
    pub(super) redis: Redis,
    pub(super) handle: Handle,
    pub(super) running: JoinHandle<()>,
    recorder: Recorder,
    wall_ahead: Arc<AtomicU64>,
    door: mpsc::Sender<BoxStream>,
}

impl World {
    /// Starts with a server that answers, and waits until its first link is up.
    pub(super) async fn start() -> Self {
        Self::with(Redis::new(), |_| {}).await
    }

    /// Starts with this server and a changed configuration.
    pub(super) async fn with(redis: Redis, change: impl FnOnce(&mut Config)) -> Self {
        let (door, knocks) = mpsc::channel(64);
        let world = Self::behind(Box::new(Door(knocks)), door, redis, change);
        settle().await;
        world
    }

    /// Starts behind a listener of the test's own.
    pub(super) fn behind(
        listener: Box<dyn Accept>,
        door: mpsc::Sender<BoxStream>,
        redis: Redis,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::default();
        config.upstream.source = Source::Standalone(HostPort {
            host: "redis.test".into(),
            port: 6379,
        });
        // What is about the lanes is easier to see without; what is about the cache turns it on.
        config.cache.bytes = 0;
        // What is about errors, too; what is about holds sets a deadline.
        config.hold.deadline = Some(Duration::ZERO);
        config.journal.enabled = true;
        config.repair.enabled = false;
        change(&mut config);
        let (handle, inbox) = Handle::channel();
        let recorder = Recorder::new();
        let wall_ahead = Arc::<AtomicU64>::default();
        let clock = MovableClock {
            clock: TokioClock::new(),
            ahead: Arc::clone(&wall_ahead),
        };
        let running = tokio::spawn(run(Parts {
            config: Arc::new(config),
            listeners: vec![listener],
            dial: Box::new(redis.clone()),
            entropy: Entropy::from_seed(1),
            clock: Box::new(clock),
            inbox,
            metrics: recorder.data(),
        }));
        Self {
            recorder,
            wall_ahead,
            redis,
            handle,
            running,
            door,
        }
    }

    /// Connects a client; it is admitted when this returns.
    pub(super) async fn connect(&self) -> Client {
        self.connect_over(CLIENT_PIPE).await
    }

    /// Connects a client over a pipe that takes so many bytes each way.
    pub(super) async fn connect_over(&self, bytes: usize) -> Client {
        let client = self.knock(bytes).await.expect("the listener is open");
        settle().await;
        client
    }

    /// Connects a client without waiting; `None` where nobody listens any more.
    pub(super) async fn knock(&self, bytes: usize) -> Option<Client> {
        let (near, far) = tokio::io::duplex(bytes);
        self.door.send(Box::new(far)).await.ok()?;
        Some(Client::new(near))
    }

    /// Puts the wall clock forward.
    pub(super) fn move_wall_clock(&self, milliseconds: u64) {
        self.wall_ahead.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Returns a count once it has been published.
    pub(super) async fn count(&self, series: &str) -> f64 {
        pass(Duration::from_millis(300)).await;
        let text = self.recorder.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let value = line.unwrap_or_else(|| panic!("no {series} in {text}"));
        value.trim().parse().expect("a number")
    }

    pub(super) async fn report(&self) -> Report {
        self.handle.report().await.expect("the data thread lives")
    }
}

/// Lets everybody go on until all of them wait.
pub(super) async fn settle() {
    pass(Duration::from_millis(1)).await;
}

/// Lets time pass.
pub(super) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Lets so many milliseconds pass.
pub(super) async fn pass_ms(milliseconds: u64) {
    pass(Duration::from_millis(milliseconds)).await;
}
