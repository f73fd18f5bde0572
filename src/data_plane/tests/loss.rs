//! A link is lost under requests: who is told what, and who is closed.

use std::time::Duration;

use super::client::Client;
use super::redis::{Door, Redis, Say};
use super::world::{World, pass_ms, settle};
use crate::config::Config;
use crate::failover::machine::{Event, NodeState};

const UNKNOWN: &str = "-ERR gripfast: outcome unknown: ";
const MASTERDOWN: &str = "-MASTERDOWN gripfast: ";

async fn expect(client: &mut Client, prefixes: &[&str]) {
    for prefix in prefixes {
        let reply = client.reply().await;
        assert!(reply.starts_with(prefix), "{prefix}: {reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_written_write_is_unknown_a_read_is_masterdown_and_service_goes_on() {
    let world = World::start().await;
    let mut client = world.connect().await;
    world.redis.hold("SET");
    client.send("SET a 1\nGET a\nDEL a\nMGET a b").await;
    settle().await;
    let lost = world.redis.carrier("MGET a b");
    world.redis.close(lost);
    expect(&mut client, &[UNKNOWN, MASTERDOWN, UNKNOWN, MASTERDOWN]).await;
    world.redis.release("SET");
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    assert_ne!(world.redis.carrier("MGET a b"), world.redis.link("tracked"));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_never_written_is_masterdown() {
    let redis = Redis::new();
    redis.set_pipe(128);
    let world = World::with(redis, |_| {}).await;
    let mut first = world.connect().await;
    let mut second = world.connect().await;
    let tracked = world.redis.link("tracked");
    world.redis.with_link(tracked, |link| link.frozen = true);
    first
        .send(&format!("SET first {}", "x".repeat(4_000)))
        .await;
    settle().await;
    second.send("SET second 1\nGET second").await;
    settle().await;
    world.redis.close(tracked);
    // Half a request can't run.
    expect(&mut first, &[MASTERDOWN]).await;
    expect(&mut second, &[MASTERDOWN, MASTERDOWN]).await;
    assert!(!world.redis.has("SET second 1"));
}

#[tokio::test(start_paused = true)]
async fn half_a_small_reply_is_no_reply() {
    let world = World::start().await;
    let mut cut = world.connect().await;
    world.redis.hold("GET");
    cut.send("SET a 1\nGET a\nSET a 2").await;
    settle().await;
    world
        .redis
        .script("GET", Say::Last(b"$100\r\nhalf".to_vec()));
    world.redis.release("GET");
    assert_eq!(cut.reply().await, "$7\r\n0:SET:a\r\n");
    expect(&mut cut, &[MASTERDOWN, UNKNOWN]).await;
    assert_eq!(cut.ask("GET a").await, "$7\r\n0:GET:a\r\n");
}

#[tokio::test(start_paused = true)]
async fn half_a_large_reply_closes_its_client_without_another_byte_and_nobody_else() {
    let redis = Redis::new();
    redis.set_pipe(1 << 20);
    let world = World::with(redis, |_| {}).await;
    let mut cut = world.connect_over(1 << 20).await;
    let mut behind = world.connect().await;
    world.redis.hold("GET");
    cut.send("SET a 1\nGET a\nSET a 2").await;
    settle().await;
    behind.send("SET b 1\nGET b").await;
    settle().await;
    let half = format!("$1000000\r\n{}", "x".repeat(500_000));
    world
        .redis
        .script("GET", Say::Last(half.clone().into_bytes()));
    world.redis.release("GET");
    assert!(
        cut.until_close().await == format!("$7\r\n0:SET:a\r\n{half}"),
        "an error text must not pass for the rest of a value"
    );
    expect(&mut behind, &[UNKNOWN, MASTERDOWN]).await;
    assert_eq!(behind.ask("GET b").await, "$7\r\n0:GET:b\r\n");
}

#[tokio::test(start_paused = true)]
async fn the_start_of_a_line_is_not_half_a_reply() {
    let world = World::start().await;
    let mut client = world.connect().await;
    world.redis.script("GET", Say::Last(b"$10".to_vec()));
    client.send("GET a").await;
    expect(&mut client, &[MASTERDOWN]).await;
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_lost_general_link_touches_nobody_on_the_tracked_one() {
    let world = World::start().await;
    let mut scanning = world.connect().await;
    let mut reading = world.connect().await;
    world.redis.hold("SCAN");
    world.redis.hold("GET");
    scanning.send("SCAN 0").await;
    reading.send("GET a").await;
    settle().await;
    world.redis.close(world.redis.link("general"));
    settle().await;
    world.redis.release("SCAN");
    assert_eq!(scanning.reply().await, "$8\r\n0:SCAN:0\r\n", "asked again");
    reading.is_silent().await;
    world.redis.release("GET");
    assert_eq!(reading.reply().await, "$7\r\n0:GET:a\r\n");
}

#[tokio::test(start_paused = true)]
async fn every_client_hears_of_a_server_that_dies_and_stays() {
    let world = World::start().await;
    let mut clients = Vec::new();
    for request in ["SET a 1", "GET a", "FLUSHALL", "KEYS *", "EVAL x 0"] {
        world.redis.hold(request.split(' ').next().unwrap_or(""));
        clients.push((request, world.connect().await));
    }
    for (request, client) in &mut clients {
        client.send(request).await;
        settle().await;
    }
    world.redis.die();
    for (request, client) in &mut clients {
        let reply = client.reply().await;
        let expected = match *request {
            "GET a" | "KEYS *" => MASTERDOWN,
            _ => UNKNOWN,
        };
        assert!(reply.starts_with(expected), "{request}: {reply}");
        world.redis.release(request.split(' ').next().unwrap_or(""));
    }
    world.redis.set_door(Door::Open);
    pass_ms(1_100).await;
    for (request, client) in &mut clients {
        let reply = client.ask(request).await;
        assert!(reply.starts_with('$'), "{request}: {reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_refused_behind_an_exec_is_not_in_a_transaction_any_more() {
    let hold = |config: &mut Config| config.hold.deadline = Some(Duration::from_secs(1));
    let world = World::with(Redis::new(), hold).await;
    let mut client = world.connect().await;
    client.ask("MULTI").await;
    client.ask("INCR n").await;
    world.redis.hold("EXEC");
    client.send("EXEC").await;
    settle().await;
    world.handle.failover(Event::Node(NodeState::Silent)).await;
    settle().await;
    client.send("INCR m").await;
    pass_ms(1_500).await;
    assert!(client.reply().await.starts_with(UNKNOWN));
    assert!(client.reply().await.starts_with(MASTERDOWN));
    world.handle.failover(Event::Node(NodeState::Answers)).await;
    settle().await;
    assert_eq!(client.ask("INCR m").await, "$8\r\n0:INCR:m\r\n");
}
