//! The loop against servers in memory, with the clock paused.

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::command::table::ServerCommands;
use crate::config::Secret;
use crate::data_plane::{Inbox, Message};
use crate::seam::{BoxStream, Dialing, HostPort};

/// How one dial goes; when the list is at its end, dials are refused.
enum Script {
    Refuse,
    Serve(Server),
}

/// A server in memory.
#[derive(Clone, Default)]
struct Server {
    /// Answers to `COMMAND COUNT`, one a question; the last one stays.
    counts: Vec<&'static str>,
    /// Answer to `AUTH`.
    auth: &'static str,
    /// Whether it closes after the first answer to `COMMAND`.
    closes: bool,
}

#[derive(Default)]
struct Dialler {
    scripts: Mutex<VecDeque<Script>>,
    dials: Mutex<Vec<Instant>>,
}

impl Dial for Dialler {
    fn dial(&self, address: &HostPort) -> Dialing {
        assert_eq!(address.to_string(), "redis.example:6379");
        self.dials.lock().unwrap().push(Instant::now());
        let script = self.scripts.lock().unwrap().pop_front();
        Box::pin(async move {
            let Some(Script::Serve(server)) = script else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            let (near, far) = duplex(64 * 1024);
            tokio::spawn(server.serve(far));
            Ok(Box::new(near) as BoxStream)
        })
    }
}

impl Server {
    /// Answers one request a read: the client sends the next only after the answer.
    async fn serve(self, mut stream: DuplexStream) {
        let mut counts = self.counts.iter().peekable();
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            let request = String::from_utf8_lossy(&buffer[..length]).to_ascii_uppercase();
            let is_count = request.contains("COUNT");
            let answer = match () {
                () if request.contains("AUTH") => self.auth,
                () if is_count && counts.len() > 1 => counts.next().unwrap(),
                () if is_count => counts.peek().unwrap(),
                () if request.contains("SETNAME") => "+OK\r\n",
                () => "*1\r\n*6\r\n$3\r\nget\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n",
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            if self.closes && answer.starts_with('*') {
                // A moment later: a loss that comes with the reply may win, and the table is asked for again.
                sleep(Duration::from_millis(5)).await;
                return;
            }
        }
    }
}

fn serves(counts: &[&'static str]) -> Server {
    Server {
        counts: counts.to_vec(),
        auth: "+OK\r\n",
        closes: false,
    }
}

/// A control plane under test.
struct Running {
    dialler: Arc<Dialler>,
    inbox: Inbox,
    metrics: Arc<Recorder>,
    task: JoinHandle<()>,
}

fn start(scripts: Vec<Script>, password: Option<&str>) -> Running {
    let dialler = Arc::new(Dialler {
        scripts: Mutex::new(scripts.into()),
        ..Dialler::default()
    });
    let (data, inbox) = Handle::channel();
    let metrics = Arc::new(Recorder::new());
    let mut config = Config::standalone(HostPort {
        host: "redis.example".into(),
        port: 6379,
    });
    config.upstream.credentials.password = password.map(|password| Secret::new(password.into()));
    let dial = Arc::clone(&dialler) as Arc<dyn Dial>;
    // The connection alone, as if the primary had just been found.
    let (target, at) = watch::channel(Some(Target {
        address: HostPort {
            host: "redis.example".into(),
            port: 6379,
        },
        generation: 1,
    }));
    let keeper = Primary {
        config: Arc::new(config),
        data,
        dial,
        metrics: metrics.control(),
        backoff: Backoff::new(Entropy::from_seed(7)),
        table: Table::Unknown,
        at,
    };
    let task = tokio::spawn(async move {
        let _stays = target;
        keeper.keep().await;
    });
    Running {
        dialler,
        inbox,
        metrics,
        task,
    }
}

impl Running {
    async fn table(&mut self, within: Duration) -> Option<Arc<ServerCommands>> {
        match timeout(within, self.inbox.recv()).await.ok()?? {
            Message::ServerCommands(commands) => Some(commands),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn dials(&self) -> Vec<Instant> {
        self.dialler.dials.lock().unwrap().clone()
    }

    fn shows(&self, line: &str) -> bool {
        self.metrics.render().lines().any(|shown| shown == line)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn refused_dials_are_repeated_with_growing_delays_up_to_two_seconds() {
    let control = start(vec![Script::Refuse], None);
    sleep(Duration::from_secs(60)).await;
    let dials = control.dials();
    let waits: Vec<Duration> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let ceilings = [50, 100, 200, 400, 800, 1600].into_iter();
    // The clock of a test steps in milliseconds, upwards.
    let step = Duration::from_millis(1);
    for (wait, ceiling) in waits.iter().zip(ceilings.chain(std::iter::repeat(2000))) {
        let ceiling = Duration::from_millis(ceiling);
        assert!(*wait >= ceiling / 2 && *wait <= ceiling + step, "{waits:?}");
    }
    assert!(waits.len() > 30, "{waits:?}");
    let failed = format!(
        "gripfast_control_dials_total{{outcome=\"failed\"}} {}",
        dials.len()
    );
    assert!(control.shows(&failed), "{}", control.metrics.render());
    assert!(control.shows("gripfast_control_link_up 0"));
}

#[tokio::test(start_paused = true)]
async fn table_is_sent_at_connect_and_again_only_when_its_size_changes() {
    let server = serves(&[":1\r\n", ":1\r\n", ":2\r\n", ":2\r\n"]);
    let mut control = start(vec![Script::Serve(server)], None);
    let table = control.table(Duration::from_secs(1)).await.unwrap();
    assert_eq!(table.by_name[&b"get"[..]].arity, 2);
    assert!(control.shows("gripfast_control_link_up 1"));
    assert!(control.shows("gripfast_server_commands 1"));
    let learned = Instant::now();
    assert!(control.table(Duration::from_secs(70)).await.is_some());
    assert_eq!(learned.elapsed().as_secs(), 60, "at the second poll");
    assert!(control.table(Duration::from_secs(300)).await.is_none());
    assert_eq!(control.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn lost_connection_is_dialled_again_and_the_table_sent_again() {
    let closes = Server {
        closes: true,
        ..serves(&[":1\r\n"])
    };
    let scripts = vec![
        Script::Serve(closes),
        Script::Refuse,
        Script::Serve(serves(&[":1\r\n"])),
    ];
    let mut control = start(scripts, None);
    assert!(control.table(Duration::from_secs(1)).await.is_some());
    let lost = Instant::now();
    assert!(control.table(Duration::from_secs(1)).await.is_some());
    assert!(
        lost.elapsed() <= Duration::from_millis(160),
        "{:?}",
        lost.elapsed()
    );
    assert_eq!(control.dials().len(), 3);
    assert!(control.shows("gripfast_control_dials_total{outcome=\"ok\"} 2"));
}

#[tokio::test(start_paused = true)]
async fn server_that_accepts_and_hangs_up_is_not_dialled_in_a_tight_loop() {
    let closes = || {
        Script::Serve(Server {
            closes: true,
            ..serves(&[":1\r\n"])
        })
    };
    let mut control = start((0..100).map(|_| closes()).collect(), None);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        control.table(Duration::from_secs(3)).await.unwrap();
    }
    assert!(control.dials().len() < 40, "{}", control.dials().len());
}

#[tokio::test(start_paused = true)]
async fn refused_command_is_tolerated_and_asked_again_later() {
    let refusal = "-NOPERM this user has no permissions to run the 'command|count' command\r\n";
    let server = serves(&[refusal, refusal, ":1\r\n"]);
    let mut control = start(vec![Script::Serve(server)], None);
    assert!(control.table(Duration::from_secs(50)).await.is_none());
    assert!(control.shows("gripfast_control_link_up 1"));
    assert!(control.table(Duration::from_secs(20)).await.is_some());
    assert_eq!(control.dials().len(), 1, "the connection was kept");
}

#[tokio::test(start_paused = true)]
async fn wrong_password_counts_as_such_and_is_tried_again() {
    let wrong = Server {
        auth: "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        ..serves(&[":1\r\n"])
    };
    let scripts = vec![Script::Serve(wrong), Script::Serve(serves(&[":1\r\n"]))];
    let mut control = start(scripts, Some("secret"));
    assert!(control.table(Duration::from_secs(1)).await.is_some());
    assert!(control.shows("gripfast_control_dials_total{outcome=\"auth\"} 1"));
    assert!(control.shows("gripfast_control_dials_total{outcome=\"ok\"} 1"));
}

#[test]
fn failure_shows_the_error_code_and_never_the_servers_text() {
    let text = "-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n";
    let error = redis::parse_redis_value(text.as_bytes()).unwrap();
    let redis::Value::ServerError(error) = error else {
        panic!("no error: {error:?}");
    };
    let failure = Failure::from(redis::RedisError::from(error));
    assert_eq!(failure.to_string(), "refused: ERR");
    assert!(!format!("{failure:?}").contains("hunter2"));
}
