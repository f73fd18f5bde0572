//! redis-rs: a multiplexed connection, pipelines, scripts, pub/sub and pushes, in both protocols.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisResult, Script, Value, pipe};

use crate::harness::{Server, Sidecar, version};

const VERSIONS: [&str; 4] = ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"];

fn told<T: Debug>(lines: &mut Vec<String>, what: &str, result: RedisResult<T>) {
    match result {
        Ok(value) => lines.push(format!("{what}: {value:?}")),
        Err(error) => lines.push(format!("{what}: {} {:?}", error, error.code())),
    }
}

async fn connect(client: &Client) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .expect("redis-rs connects")
}

async fn story(client: Client, resp3: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut connection = connect(&client).await;
    families(&mut connection, &mut lines).await;
    pipelines(&mut connection, &mut lines).await;
    together(&connection, &mut lines).await;
    messages(&client, &mut connection, &mut lines).await;
    if resp3 {
        pushes(&client, &mut connection, &mut lines).await;
    }
    lines
}

async fn families(connection: &mut MultiplexedConnection, lines: &mut Vec<String>) {
    for line in [
        "SET s value EX 1000",
        "GET s",
        "GET none",
        "APPEND s x",
        "INCR s",
        "MSET a 1 b 2",
        "MGET a b none",
        "GETRANGE s 0 2",
        "SETBIT bits 5 1",
        "BITCOUNT bits",
        "HSET h f v g w",
        "HGETALL h",
        "HMGET h f none",
        "HINCRBY h n 3",
        "HDEL h g",
        "RPUSH l a b c",
        "LRANGE l 0 -1",
        "LPOP l 2",
        "BLPOP none 0.05",
        "LPOS l c",
        "SADD t a",
        "SMEMBERS t",
        "SISMEMBER t a",
        "ZADD z 1 a 2.5 b",
        "ZRANGE z 0 -1 WITHSCORES",
        "ZSCORE z b",
        "ZINCRBY z 1 a",
        "ZPOPMIN z",
        "XADD x 1-1 f v",
        "XRANGE x - +",
        "XREAD COUNT 1 STREAMS x 0",
        "XGROUP CREATE x g 0",
        "XREADGROUP GROUP g c STREAMS x >",
        "XPENDING x g",
        "GEOADD geo 13.361389 38.115556 palermo",
        "GEOPOS geo palermo",
        "PFADD pf a b",
        "PFCOUNT pf",
        "EXPIRE a 1000",
        "TYPE h",
        "OBJECT ENCODING l",
        "RENAME none x",
        "COPY a c",
        "DBSIZE",
        "PING",
        "ECHO hi",
        "NOSUCH x",
        "LPUSH s x",
        "CLIENT GETNAME",
        "ACL WHOAMI",
        "CONFIG GET maxmemory",
        "SELECT 99",
        "WAIT 0 0",
        "FUNCTION LIST",
        "COMMAND COUNT",
        "CLIENT NOPE",
        "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0",
    ] {
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().unwrap_or_default());
        for word in words {
            command.arg(word);
        }
        told(lines, line, command.query_async::<Value>(connection).await);
    }
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for amount in [3, 4] {
        told(
            lines,
            "script",
            script
                .key("n")
                .arg(amount)
                .invoke_async::<i64>(connection)
                .await,
        );
    }
    told(
        lines,
        "scan",
        connection.scan_match::<_, String>("h*").await.map(|_| ()),
    );
}

async fn pipelines(connection: &mut MultiplexedConnection, lines: &mut Vec<String>) {
    let mut many = pipe();
    for number in 0..300 {
        many.set(format!("p:{number}"), number)
            .ignore()
            .get(format!("p:{number}"));
    }
    told(
        lines,
        "pipeline",
        many.query_async::<Vec<i64>>(connection).await,
    );
    let mut atomic = pipe();
    atomic.atomic().set("m", 1).incr("m", 1).get("m");
    told(
        lines,
        "transaction",
        atomic.query_async::<Vec<Value>>(connection).await,
    );
    let mut failing = pipe();
    failing.atomic().set("m", 1).lpush("m", "x");
    told(
        lines,
        "failing transaction",
        failing.query_async::<Vec<Value>>(connection).await,
    );
}

/// Many tasks share the connection; each must see its own values.
async fn together(connection: &MultiplexedConnection, lines: &mut Vec<String>) {
    let tasks: Vec<_> = (0..30)
        .map(|number| {
            let mut connection = connection.clone();
            tokio::task::spawn_local(async move {
                for round in 0..50 {
                    let (key, value) = (format!("own:{number}"), format!("{number}-{round}"));
                    let _: () = connection.set(&key, &value).await.expect("SET works");
                    let seen: String = connection.get(&key).await.expect("GET works");
                    assert_eq!(seen, value);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("each task saw its own values");
    }
    lines.push("together: fine".into());
}

async fn messages(
    client: &Client,
    connection: &mut MultiplexedConnection,
    lines: &mut Vec<String>,
) {
    let mut subscriber = client
        .get_async_pubsub()
        .await
        .expect("a subscriber connects");
    told(lines, "subscribe", subscriber.subscribe("news").await);
    told(lines, "psubscribe", subscriber.psubscribe("n*").await);
    told(
        lines,
        "publish",
        connection.publish::<_, _, i64>("news", "hello").await,
    );
    let mut stream = subscriber.into_on_message();
    for _ in 0..2 {
        let message = tokio::time::timeout(Duration::from_secs(20), stream.next())
            .await
            .expect("a message in time")
            .expect("the stream goes on");
        let payload: String = message.get_payload().expect("text");
        lines.push(format!("message: {} {payload}", message.get_channel_name()));
    }
}

async fn pushes(client: &Client, connection: &mut MultiplexedConnection, lines: &mut Vec<String>) {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(100);
    let config = AsyncConnectionConfig::new()
        .set_push_sender(move |push| sender.try_send(push).map_err(|_| redis::aio::SendError));
    let mut tracking = client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .expect("redis-rs connects");
    told(
        lines,
        "tracking",
        redis::cmd("CLIENT")
            .arg("TRACKING")
            .arg("ON")
            .query_async::<Value>(&mut tracking)
            .await,
    );
    told(lines, "read", tracking.get::<_, Value>("tracked").await);
    told(
        lines,
        "write",
        connection.set::<_, _, Value>("tracked", 1).await,
    );
    loop {
        let push = tokio::time::timeout(Duration::from_secs(20), receiver.recv())
            .await
            .expect("a push in time")
            .expect("the sender lives");
        if push.kind == redis::PushKind::Invalidate {
            lines.push(format!("push: {:?}", push.data));
            return;
        }
    }
}

fn run(port: u16, resp3: bool) -> Vec<String> {
    let protocol = if resp3 { "resp3" } else { "resp2" };
    let client = Client::open(format!(
        "redis://:secret@127.0.0.1:{port}/3?protocol={protocol}"
    ))
    .expect("the URL is right");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    tokio::task::LocalSet::new().block_on(&runtime, story(client, resp3))
}

#[test]
fn redis_rs_sees_no_difference() {
    for version in VERSIONS.iter().filter_map(|name| version(name)) {
        for resp3 in [false, true] {
            let arguments = ["--requirepass", "secret"];
            let (behind, direct) = (
                Server::start_with(&version, &arguments),
                Server::start_with(&version, &arguments),
            );
            let sidecar = Sidecar::before(&behind)
                .upstream("password: secret")
                .start();
            let port = sidecar
                .address
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok())
                .expect("an address has a port");
            assert_eq!(
                run(port, resp3),
                run(direct.port, resp3),
                "{}",
                version.name
            );
        }
    }
}
