//! redis-rs as it comes, which gives each reply half a second: less than any election takes.
//!
//! Users log in (SET), read (GET), renew (EXPIRE) or update (SET) and log out (DEL) while the primary is killed and another one is
//! elected, through two sidecars of one cluster at once: with `hold.writes: acknowledge` they may notice nothing, nobody's call may
//! take as long as that, and each session is afterwards what its last answered write says; without it, calls have to fail, or
//! the test shows nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, Client, RedisResult, SetExpiry, SetOptions};

use crate::harness::{
    Cluster, Plan, SWITCH_SAYS, Sidecar, Stopwatch, Turn, Value, against_redis, any_version, chaos,
    parse, pause, until,
};

/// How long redis-rs waits for a reply unless told otherwise.
const TIME_OUT: Duration = Duration::from_millis(500);

/// After how many ms Sentinels take the primary for down: an election takes about a second more.
const DOWN_AFTER_MS: u32 = 2000;

/// Users of each sidecar, with a connection each.
const USERS: usize = 8;

/// Seconds that a session lives without a sign of life: so few that some renewals are not small enough to be answered by the sidecar
/// in peace.
const TTL: i64 = 20;

/// Requests of a session between log-in and log-out.
const REQUESTS: usize = 8;

/// Between two calls of a user.
const REST: Duration = Duration::from_millis(5);

/// Sessions that each user goes through before the fault, and after it.
const LIVES: usize = 3;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the users of one sidecar share.
#[derive(Debug, Default)]
struct Shared {
    stops: AtomicBool,
    /// Sessions that each has gone through.
    lives: [AtomicUsize; USERS],
}

/// What a user has seen.
#[derive(Debug, Default)]
struct Seen {
    calls: usize,
    slowest: Duration,
    errors: Vec<String>,
    /// Reads that told something else than the last write.
    wrong: usize,
    /// What each session was left with; nothing where it was ended. Not those of which a call has failed.
    left: BTreeMap<String, Option<String>>,
}

/// A sidecar and its users.
#[derive(Debug)]
struct Office {
    sidecar: Sidecar,
    shared: Arc<Shared>,
    users: Vec<JoinHandle<Seen>>,
}

#[test]
fn half_a_second_is_enough_where_writes_are_acknowledged() {
    // Redis itself does not follow a primary.
    if against_redis() {
        return;
    }
    let _turn = Turn::take();
    let plan = Plan {
        down_after_ms: DOWN_AFTER_MS,
        passwords: None,
    };
    let cluster = Cluster::start(&any_version(), plan);
    let mut acknowledging = Office::open(&cluster, "acknowledge");
    let mut waiting = Office::open(&cluster, "wait");
    let old = acknowledging.primary();
    acknowledging.wait_for_lives();
    let watch = Stopwatch::start();
    chaos(acknowledging.sidecar.admin_port, "kill-primary", &[]);
    let elected = until("service from a new primary", PATIENCE, || {
        let now = [acknowledging.primary(), waiting.primary()];
        (now[0] != old && now[0] == now[1]).then(|| now[0].clone())
    });
    let away = watch.elapsed();
    acknowledging.wait_for_lives();
    let (calm, upset) = (acknowledging.close(), waiting.close());
    let held = acknowledging.held();
    eprintln!(
        "away for {away:.2?}, {held} writes acknowledged meanwhile: {calm}; without: {upset}"
    );
    assert!(away > TIME_OUT * 2, "the election was too short to tell");
    assert!(held > 0.0);
    assert_eq!(calm.errors, [""; 0]);
    assert_eq!(calm.wrong, 0);
    assert!(calm.slowest < TIME_OUT, "{:?}", calm.slowest);
    assert!(!upset.errors.is_empty(), "this test can't fail");
    calm.check(&cluster, &elected);
}

impl Office {
    fn open(cluster: &Cluster, writes: &str) -> Self {
        let wishes = Sidecar::before_sentinels(&cluster.sentinel_ports());
        let wishes = wishes.hold(&format!("writes: {writes}"));
        let says = SWITCH_SAYS.iter();
        let sidecar = says
            .fold(wishes, |wishes, text| wishes.announce(text))
            .start();
        let shared = Arc::new(Shared::default());
        let users = (0..USERS).map(|number| {
            let client = Client::open(format!("redis://{}", sidecar.address)).expect("an address");
            let (name, shared) = (format!("{writes}:{number}"), Arc::clone(&shared));
            thread::spawn(move || live(&client, &name, number, &shared))
        });
        Self {
            users: users.collect(),
            shared,
            sidecar,
        }
    }

    fn primary(&self) -> String {
        self.sidecar.primary().expect("the port answers")
    }

    /// Waits until each user has gone through some sessions.
    fn wait_for_lives(&self) {
        let lives = || {
            self.shared
                .lives
                .iter()
                .map(|count| count.load(Ordering::Relaxed))
        };
        let before: Vec<usize> = lives().collect();
        until("some lives of each user", PATIENCE, || {
            let ended = self.users.iter().any(JoinHandle::is_finished);
            assert!(!ended, "a user gave up: told above");
            let mut pairs = before.iter().zip(lives());
            pairs
                .all(|(before, now)| now > before + LIVES)
                .then_some(())
        });
    }

    fn close(&mut self) -> Seen {
        self.shared.stops.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
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

    fn held(&self) -> f64 {
        self.sidecar
            .metric("gripfast_writes_acknowledged_held_total")
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::Relaxed);
    }
}

/// Goes through sessions, one after the other, until told to stop.
fn live(client: &Client, name: &str, number: usize, shared: &Shared) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("it starts");
    runtime.block_on(async {
        // As it comes: nothing is set.
        let connection = client.get_multiplexed_async_connection().await;
        let mut connection = connection.expect("it connects");
        let mut seen = Seen::default();
        for life in 0.. {
            if shared.stops.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("session:{name}:{life}");
            // What is known of it is void where a call has failed.
            if let Some(left) = one_life(&mut connection, &key, life, &mut seen).await {
                seen.left.insert(key, left);
            }
            shared.lives[number].fetch_add(1, Ordering::Relaxed);
        }
        seen
    })
}

/// Logs in, does something, and logs out every other time.
async fn one_life(
    connection: &mut MultiplexedConnection,
    key: &str,
    life: usize,
    seen: &mut Seen,
) -> Option<Option<String>> {
    let options = || SetOptions::default().with_expiration(SetExpiry::EX(TTL.unsigned_abs()));
    let mut value = format!("{key}:0");
    let set = connection.set_options::<_, _, ()>(key, &value, options());
    seen.call(set).await?;
    for request in 1..=REQUESTS {
        let found: Option<String> = seen.call(connection.get(key)).await?;
        seen.wrong += usize::from(found.as_ref() != Some(&value));
        if request % 4 == 0 {
            value = format!("{key}:{request}");
            let set = connection.set_options::<_, _, ()>(key, &value, options());
            seen.call(set).await?;
        } else {
            let lives: bool = seen.call(connection.expire(key, TTL)).await?;
            seen.wrong += usize::from(!lives);
        }
    }
    if life.is_multiple_of(2) {
        return Some(Some(value));
    }
    let gone: usize = seen.call(connection.del(key)).await?;
    seen.wrong += usize::from(gone != 1);
    Some(None)
}

impl Seen {
    async fn call<T>(&mut self, call: impl Future<Output = RedisResult<T>>) -> Option<T> {
        let watch = Stopwatch::start();
        let reply = call.await;
        self.slowest = self.slowest.max(watch.elapsed());
        self.calls += 1;
        pause(REST);
        match reply {
            Ok(reply) => Some(reply),
            Err(error) => {
                self.errors.push(error.to_string());
                None
            }
        }
    }

    /// Looks for each session at the elected primary itself: what was put back has to be there.
    fn check(&self, cluster: &Cluster, elected: &str) {
        let mut nodes = cluster.nodes.iter();
        let node = nodes.find(|node| node.address() == elected);
        let mut client = node.expect("it is one of the nodes").client();
        for (key, left) in &self.left {
            let found = match parse(&client.call(&["GET", key])) {
                Value::Blob(_, value) => Some(String::from_utf8_lossy(&value).into_owned()),
                _ => None,
            };
            assert_eq!(&found, left, "what was answered for last");
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (calls, errors) = (self.calls, self.errors.len());
        let (slowest, sessions) = (self.slowest, self.left.len());
        write!(
            f,
            "{calls} calls, {errors} errors, the slowest {slowest:.2?}, {sessions} sessions"
        )
    }
}
