//! Promise: the control plane logs one line a state change, however often it tries, and no secret.
//!
//! A file of its own: a subscriber of one thread misses lines when tests of other threads reach them first.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gripfast::config::{Config, Secret};
use gripfast::control_plane;
use gripfast::data_plane::Handle;
use gripfast::metrics::Recorder;
use gripfast::seam::{BoxStream, Dial, Dialing, Entropy, HostPort};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

const PASSWORD: &str = "hunter2";

/// Refuses three dials, then reaches a server that refuses COMMAND.
#[derive(Default)]
struct Dialler {
    dials: AtomicUsize,
}

impl Dial for Dialler {
    fn dial(&self, _address: &HostPort) -> Dialing {
        let refuses = self.dials.fetch_add(1, Ordering::Relaxed) < 3;
        Box::pin(async move {
            if refuses {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = duplex(4096);
            tokio::spawn(serve(far));
            Ok(Box::new(near) as BoxStream)
        })
    }
}

async fn serve(mut stream: DuplexStream) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let request = String::from_utf8_lossy(&buffer[..length]);
        // What is asked at once is answered at once.
        let mut answers = String::new();
        for command in request.split('*').skip(1) {
            answers += match () {
                () if command.contains("COMMAND") => "-NOPERM this user has no permissions\r\n",
                () if command.contains("INFO") => "$11\r\nrole:master\r\n",
                () => "+OK\r\n",
            };
        }
        stream
            .write_all(answers.as_bytes())
            .await
            .expect("the client waits");
    }
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no panic under the lock")
            .extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn log_has_one_line_a_state_change_and_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .init();
    let dialler = Arc::new(Dialler::default());
    let mut config = Config::standalone(HostPort {
        host: "redis.example".into(),
        port: 6379,
    });
    config.upstream.credentials.password = Some(Secret::new(PASSWORD.into()));
    // The other end stays here, so that the data thread seems to live.
    let (data, _inbox) = Handle::channel();
    let running = control_plane::run_seeded(
        Arc::new(config),
        data,
        Arc::clone(&dialler) as Arc<dyn Dial>,
        Arc::new(Recorder::new()),
        Entropy::from_seed(7),
        gripfast::admin::topology().0,
    );
    // Ten polls of a server that refuses each time.
    assert!(timeout(Duration::from_secs(300), running).await.is_err());
    // Two connections: one that asks for the table, one that watches.
    assert_eq!(dialler.dials.load(Ordering::Relaxed), 5);
    let bytes = log.0.lock().expect("no panic under the lock").clone();
    let text = String::from_utf8(bytes).expect("a log is text");
    let lines = |with: &str| text.lines().filter(|line| line.contains(with)).count();
    assert_eq!(lines("control link down"), 1, "{text}");
    assert_eq!(lines("control link up"), 1, "{text}");
    assert_eq!(lines("server refuses COMMAND"), 1, "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
}
