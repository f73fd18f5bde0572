//! The watcher against Sentinels and nodes in memory, with the clock paused.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use futures_util::{SinkExt, StreamExt};
use redis::Value;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::codec::Framed;

use super::*;
use crate::metrics::Recorder;
use crate::resp::FrameCodec;
use crate::seam::{BoxStream, Dialing};

/// A Sentinel in memory.
#[derive(Clone, Default)]
struct FakeSentinel {
    /// The primary's host and epoch; `None` is a null answer.
    names: Option<(&'static str, u64)>,
    /// Takes connections and never answers.
    silent: bool,
    /// Does not let anyone subscribe.
    deaf: bool,
    replicas: Vec<&'static str>,
    sentinels: Vec<&'static str>,
}

/// A node in memory: role, run id, replid and replid2.
type FakeNode = (&'static str, &'static str, &'static str, &'static str);

/// All of them; a host that is in neither map refuses.
#[derive(Default)]
struct World {
    sentinels: BTreeMap<&'static str, FakeSentinel>,
    nodes: BTreeMap<&'static str, FakeNode>,
    /// When each host was asked for the primary's address.
    asked: Vec<(String, Instant)>,
    published: Option<broadcast::Sender<(&'static str, String)>>,
}

type Shared = Arc<Mutex<World>>;

struct Dialler(Shared);

impl Dial for Dialler {
    fn dial(&self, address: &HostPort) -> Dialing {
        let (world, host) = (Arc::clone(&self.0), address.host.clone());
        Box::pin(async move {
            let there = {
                let world = world.lock().unwrap();
                world.sentinels.contains_key(&*host) || world.nodes.contains_key(&*host)
            };
            if !there {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = duplex(64 * 1024);
            tokio::spawn(serve(world, host, far));
            Ok(Box::new(near) as BoxStream)
        })
    }
}

async fn serve(world: Shared, host: String, stream: DuplexStream) {
    let mut framed = Framed::new(stream, FrameCodec);
    while let Some(Ok(frame)) = framed.next().await {
        let words = words(&frame);
        let first = words[0].to_ascii_uppercase();
        if first == "SUBSCRIBE" && !world.lock().unwrap().sentinels[&*host].deaf {
            return publish(world, host, framed, &words[1..]).await;
        }
        let Some(answer) = answer(&world, &host, &words) else {
            // Killed, or silent for ever.
            let gone = !world.lock().unwrap().sentinels.contains_key(&*host);
            if gone {
                return;
            }
            return std::future::pending().await;
        };
        if framed.send(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn words(frame: &[u8]) -> Vec<String> {
    let Ok(Value::Array(items)) = redis::parse_redis_value(frame) else {
        panic!("no request: {frame:?}");
    };
    let word = |item: Value| redis::from_redis_value(item).unwrap();
    items.into_iter().map(word).collect()
}

async fn publish(
    world: Shared,
    host: String,
    mut framed: Framed<DuplexStream, FrameCodec>,
    channels: &[String],
) {
    let mut events = world
        .lock()
        .unwrap()
        .published
        .as_ref()
        .unwrap()
        .subscribe();
    for (count, channel) in (1..).zip(channels) {
        let confirmed = format!("*3\r\n{}{}:{count}\r\n", bulk("subscribe"), bulk(channel));
        framed.send(confirmed.as_bytes()).await.unwrap();
    }
    loop {
        tokio::select! {
            Ok((channel, text)) = events.recv() => {
                let message = format!("*3\r\n{}{}{}", bulk("message"), bulk(channel), bulk(&text));
                if framed.send(message.as_bytes()).await.is_err() {
                    return;
                }
            }
            request = framed.next() => {
                let Some(Ok(_ping)) = request else { return };
                if !world.lock().unwrap().sentinels.contains_key(&*host) {
                    return;
                }
                let pong = format!("*2\r\n{}{}", bulk("pong"), bulk(""));
                framed.send(pong.as_bytes()).await.unwrap();
            }
        }
    }
}

fn answer(world: &Shared, host: &str, words: &[String]) -> Option<String> {
    let mut world = world.lock().unwrap();
    let command = words[..2.min(words.len())].join(" ").to_ascii_uppercase();
    if let Some((role, run_id, replid, replid2)) = world.nodes.get(host) {
        return Some(match command.as_str() {
            "INFO REPLICATION" => bulk(&format!(
                "role:{role}\r\nmaster_replid:{replid}\r\nmaster_replid2:{replid2}\r\nmaster_repl_offset:9\r\nsecond_repl_offset:5\r\n"
            )),
            "INFO SERVER" => bulk(&format!("run_id:{run_id}\r\n")),
            _ => "+OK\r\n".into(),
        });
    }
    if command.contains("GET-MASTER") {
        world.asked.push((host.into(), Instant::now()));
    }
    let sentinel = world.sentinels.get(host)?;
    if sentinel.silent {
        return None;
    }
    let list = |hosts: &[&str]| {
        let entries = hosts
            .iter()
            .map(|host| fields(&[("ip", host), ("port", "1"), ("runid", host)]));
        format!("*{}\r\n{}", hosts.len(), entries.collect::<String>())
    };
    Some(match (command.as_str(), sentinel.names) {
        ("SENTINEL MYID", _) => bulk(host),
        ("SENTINEL GET-MASTER-ADDR-BY-NAME", None) => "*-1\r\n".into(),
        ("SENTINEL GET-MASTER-ADDR-BY-NAME", Some((primary, _))) => {
            format!("*2\r\n{}{}", bulk(primary), bulk("1"))
        }
        ("SENTINEL MASTER", None) => "-ERR No such master with that name\r\n".into(),
        ("SENTINEL MASTER", Some((primary, epoch))) => fields(&[
            ("ip", primary),
            ("port", "1"),
            ("flags", "master"),
            ("config-epoch", &epoch.to_string()),
        ]),
        ("SENTINEL REPLICAS", _) => list(&sentinel.replicas),
        ("SENTINEL SENTINELS", _) => list(&sentinel.sentinels),
        ("INFO SENTINEL", _) => bulk("sentinel_tilt:0\r\n"),
        (subscribe, _) if subscribe.starts_with("SUBSCRIBE") => "-NOPERM no\r\n".into(),
        _ => "+OK\r\n".into(),
    })
}

fn fields(pairs: &[(&str, &str)]) -> String {
    let body: String = pairs
        .iter()
        .map(|(name, value)| bulk(name) + &bulk(value))
        .collect();
    format!("*{}\r\n{body}", pairs.len() * 2)
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn at(host: &str) -> HostPort {
    HostPort {
        host: host.into(),
        port: 1,
    }
}

fn naming(primary: &'static str, epoch: u64) -> FakeSentinel {
    FakeSentinel {
        names: Some((primary, epoch)),
        ..FakeSentinel::default()
    }
}

const A: FakeNode = (
    "master",
    "a1",
    "A",
    "0000000000000000000000000000000000000000",
);
const B_FOLLOWS: FakeNode = (
    "slave",
    "b1",
    "A",
    "0000000000000000000000000000000000000000",
);
const B_PROMOTED: FakeNode = ("master", "b1", "B", "A");

/// A watcher under test.
struct Running {
    world: Shared,
    updates: mpsc::Receiver<Update>,
    snapshot: watch::Receiver<Snapshot>,
    metrics: Recorder,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn start(configured: &[&str], sentinels: &[(&'static str, FakeSentinel)], room: usize) -> Running {
    let world = World {
        sentinels: sentinels.iter().cloned().collect(),
        nodes: [("a", A), ("b", B_FOLLOWS)].into(),
        asked: Vec::new(),
        published: Some(broadcast::channel(64).0),
    };
    let world = Arc::new(Mutex::new(world));
    let (updates, inbox) = mpsc::channel(room);
    let (snapshot, seen) = watch::channel(Snapshot::default());
    let metrics = Recorder::new();
    let parts = Parts {
        sentinels: config::Sentinels {
            primary_name: "mymaster".into(),
            addresses: configured.iter().map(|host| at(host)).collect(),
            credentials: Credentials::default(),
        },
        credentials: Credentials::default(),
        dial: Arc::new(Dialler(Arc::clone(&world))),
        entropy: Entropy::from_seed(7),
        updates,
        snapshot,
        metrics: metrics.topology(),
    };
    Running {
        world,
        updates: inbox,
        snapshot: seen,
        metrics,
        task: tokio::spawn(run(parts)),
    }
}

fn three() -> [(&'static str, FakeSentinel); 3] {
    ["s1", "s2", "s3"].map(|host| (host, naming("a", 5)))
}

impl Running {
    async fn switched(&mut self, within: Duration) -> Option<Switched> {
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
    fn promote_b(&self) {
        let mut world = self.world.lock().unwrap();
        for sentinel in world.sentinels.values_mut() {
            sentinel.names = Some(("b", 6));
        }
        world.nodes.insert("b", B_PROMOTED);
    }

    fn say(&self, channel: &'static str, text: &str) {
        let world = self.world.lock().unwrap();
        let _ = world
            .published
            .as_ref()
            .unwrap()
            .send((channel, text.into()));
    }

    /// Pauses between two looks of a Sentinel at the primary's address (asked twice each).
    fn pauses(&self, host: &str, since: Instant) -> Vec<Duration> {
        let world = self.world.lock().unwrap();
        let asked = world
            .asked
            .iter()
            .filter(|(who, when)| who == host && *when >= since);
        let mut times: Vec<Instant> = asked.map(|(_, when)| *when).collect();
        times.dedup();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn shows(&self, line: &str) -> bool {
        self.metrics.render().lines().any(|shown| shown == line)
    }
}

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn slow_sentinel_holds_up_nobody() {
    let mut sentinels = three();
    sentinels[0].1.silent = true;
    let mut watcher = start(&["s1", "s2", "s3", "gone"], &sentinels, 8);
    let begun = Instant::now();
    let first = watcher.switched(Duration::from_secs(1)).await.unwrap();
    assert!(begun.elapsed() <= 5 * MS, "{:?}", begun.elapsed());
    assert_eq!((first.topology.primary, first.generation), (at("a"), 1));
    assert_eq!(first.reason, SwitchReason::Start);
    sleep(Duration::from_secs(1)).await;
    let snapshot = watcher.snapshot.borrow().clone();
    let state = |host: &str| {
        let found = snapshot
            .sentinels
            .iter()
            .find(|one| one.address == format!("{host}:1"));
        found.map(|one| (one.state, one.trouble.clone())).unwrap()
    };
    assert_eq!(state("s1"), ("unreachable", "no answer in time".into()));
    assert_eq!(
        state("gone"),
        ("unreachable", "dial failed: connection refused".into())
    );
    assert_eq!(state("s2"), ("named", String::new()));
    assert!(watcher.shows("gripfast_sentinels{state=\"named\"} 2"));
}

#[tokio::test(start_paused = true)]
async fn polls_each_second_in_peace_and_each_50_ms_after_an_urgent_event() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 8);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let peace = Instant::now();
    sleep(Duration::from_secs(10)).await;
    let pauses = watcher.pauses("s1", peace);
    assert!(pauses.len() >= 8, "{pauses:?}");
    assert!(
        pauses
            .iter()
            .all(|pause| *pause >= 990 * MS && *pause <= 1010 * MS),
        "{pauses:?}"
    );

    let urgent = Instant::now();
    watcher.say("+try-failover", "master mymaster a 1");
    sleep(Duration::from_secs(2)).await;
    let pauses = watcher.pauses("s2", urgent);
    assert!(pauses.len() >= 30, "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= 55 * MS), "{pauses:?}");
    // Nothing came of it: back to peace.
    sleep(URGENT_FOR).await;
    let peace = Instant::now();
    sleep(Duration::from_secs(5)).await;
    assert!(watcher.pauses("s1", peace).len() <= 6);
}

#[tokio::test(start_paused = true)]
async fn switch_is_seen_within_a_poll_where_events_are_refused() {
    let sentinels = three().map(|(host, sentinel)| {
        (
            host,
            FakeSentinel {
                deaf: true,
                ..sentinel
            },
        )
    });
    let mut watcher = start(&["s1", "s2", "s3"], &sentinels, 8);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(watcher.shows("gripfast_sentinel_subscriptions 0"));
    watcher.promote_b();
    let at_once = Instant::now();
    let switched = watcher.switched(Duration::from_secs(5)).await.unwrap();
    assert!(at_once.elapsed() <= 1100 * MS, "{:?}", at_once.elapsed());
    assert_eq!(
        (switched.topology.primary, switched.topology.epoch.0),
        (at("b"), 6)
    );
    assert_eq!(switched.continuity, Continuity::Heir);
    assert_eq!(switched.reason, SwitchReason::Switchover);
}

#[tokio::test(start_paused = true)]
async fn event_makes_the_switch_be_seen_at_once() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 8);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_millis(5400)).await;
    watcher.promote_b();
    watcher.say("+promoted-slave", "slave b:1 b 1 @ mymaster a 1");
    let begun = Instant::now();
    let switched = watcher.switched(Duration::from_secs(5)).await.unwrap();
    assert_eq!(switched.generation, 2);
    assert!(begun.elapsed() <= 110 * MS, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn other_sentinels_and_replicas_are_found_and_asked() {
    let mut sentinels = three();
    sentinels[0].1.sentinels = vec!["s2", "s3"];
    sentinels[0].1.replicas = vec!["b"];
    let mut watcher = start(&["s1"], &sentinels, 8);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let snapshot = watcher.snapshot.borrow().clone();
    assert_eq!(snapshot.sentinels.len(), 3);
    assert!(
        snapshot
            .sentinels
            .iter()
            .all(|one| one.state == "named" && one.listening)
    );
    assert_eq!(snapshot.replicas.len(), 1);
    assert_eq!(snapshot.replicas[0].role, Some("replica"));
}

#[tokio::test(start_paused = true)]
async fn restarted_primary_is_accepted_after_half_a_second() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 8);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    watcher
        .world
        .lock()
        .unwrap()
        .nodes
        .insert("a", ("master", "a2", "C", "0"));
    let begun = Instant::now();
    let switched = watcher.switched(Duration::from_secs(5)).await.unwrap();
    assert_eq!(switched.reason, SwitchReason::LineageBreak);
    assert!((SECOND_LOOK..=SECOND_LOOK + Duration::from_millis(1100)).contains(&begun.elapsed()));
    assert!(watcher.shows("gripfast_lineage_breaks_total 1"));
}

#[tokio::test(start_paused = true)]
async fn news_that_nobody_takes_are_dropped_and_counted_and_a_switch_is_not() {
    let mut watcher = start(&["s1"], &three()[..1], 1);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    for _ in 0..4 {
        watcher.say("+odown", "master mymaster a 1 #quorum 1/1");
    }
    watcher.say("+odown", "master other a 1 #quorum 1/1");
    sleep(Duration::from_secs(1)).await;
    assert!(
        watcher.shows("gripfast_sentinel_events_total 4"),
        "{}",
        watcher.metrics.render()
    );
    assert!(watcher.shows("gripfast_sentinel_events_dropped_total 3"));
    watcher.promote_b();
    sleep(Duration::from_secs(2)).await;
    let news = News {
        sentinel: at("s1"),
        event: Event::ObjectivelyDown,
    };
    assert_eq!(watcher.updates.recv().await, Some(Update::News(news)));
    assert_eq!(
        watcher
            .switched(Duration::from_secs(1))
            .await
            .unwrap()
            .generation,
        2
    );
}

#[tokio::test(start_paused = true)]
async fn lost_primary_is_in_doubt_until_it_is_seen_to_be_the_same() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 64);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let doubts = |watcher: &mut Running| {
        let mut doubts = Vec::new();
        while let Ok(update) = watcher.updates.try_recv() {
            match update {
                Update::Doubt(doubt) => doubts.push(doubt),
                // The data thread takes it as a confirmation too.
                Update::Switched(_) => doubts.push(false),
                Update::News(_) => {}
            }
        }
        doubts
    };
    assert!(doubts(&mut watcher).is_empty());
    // It is gone, and comes back as it was (a network that failed).
    watcher.world.lock().unwrap().nodes.remove("a");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(doubts(&mut watcher), [true]);
    watcher.world.lock().unwrap().nodes.insert("a", A);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(doubts(&mut watcher), [false]);
    // Another process: in doubt until the break is accepted, which ends the doubt.
    watcher
        .world
        .lock()
        .unwrap()
        .nodes
        .insert("a", ("master", "a2", "C", "0"));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(doubts(&mut watcher), [true, false]);
    assert!(watcher.shows("gripfast_lineage_breaks_total 1"));
    sleep(Duration::from_secs(5)).await;
    assert!(doubts(&mut watcher).is_empty());
}
