//! Sentinels and nodes in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use redis::Value;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::codec::Framed;

use crate::resp::FrameCodec;
use crate::seam::{BoxStream, Dial, Dialing, HostPort};

/// A Sentinel in memory.
#[derive(Clone, Default)]
pub(super) struct FakeSentinel {
    /// The primary's host and epoch; `None` is a null answer.
    pub(super) names: Option<(&'static str, u64)>,
    /// Takes connections and never answers.
    pub(super) silent: bool,
    /// Does not let anyone subscribe.
    pub(super) deaf: bool,
    pub(super) replicas: Vec<&'static str>,
    pub(super) sentinels: Vec<&'static str>,
}

/// A node in memory: role, run id, replid and replid2.
pub(super) type FakeNode = (&'static str, &'static str, &'static str, &'static str);

/// All of them; a host that is in neither map refuses.
#[derive(Default)]
pub(super) struct World {
    pub(super) sentinels: BTreeMap<&'static str, FakeSentinel>,
    pub(super) nodes: BTreeMap<&'static str, FakeNode>,
    /// Nodes that take connections and answer nothing.
    pub(super) frozen: BTreeSet<&'static str>,
    /// When each host was asked for the primary's address.
    pub(super) asked: Vec<(String, Instant)>,
    pub(super) published: Option<broadcast::Sender<(&'static str, String)>>,
}

pub(super) type Shared = Arc<Mutex<World>>;

pub(super) struct Dialler(pub(super) Shared);

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
        while world.lock().unwrap().frozen.contains(&*host) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
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
            "ROLE" => match *role {
                "master" => format!("*3\r\n{}:9\r\n*0\r\n", bulk("master")),
                _ => format!(
                    "*5\r\n{}{}:1\r\n{}:9\r\n",
                    bulk("slave"),
                    bulk("a"),
                    bulk("connected")
                ),
            },
            "PING" => "+PONG\r\n".into(),
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

pub(super) fn at(host: &str) -> HostPort {
    HostPort {
        host: host.into(),
        port: 1,
    }
}

pub(super) fn naming(primary: &'static str, epoch: u64) -> FakeSentinel {
    FakeSentinel {
        names: Some((primary, epoch)),
        ..FakeSentinel::default()
    }
}

pub(super) const A: FakeNode = (
    "master",
    "a1",
    "A",
    "0000000000000000000000000000000000000000",
);
pub(super) const B_FOLLOWS: FakeNode = (
    "slave",
    "b1",
    "A",
    "0000000000000000000000000000000000000000",
);
pub(super) const B_PROMOTED: FakeNode = ("master", "b1", "B", "A");
