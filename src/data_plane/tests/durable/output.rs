//! What waits is output: cut anywhere, bounded, let go at the end.

use std::time::Duration;

use super::{
    NOREPLICAS, SET_A, TIMEOUT_MS, newest, replicate, replicated, sample, start, start_strict,
};
use crate::config::{Config, DurabilityMode, OnTimeout};
use crate::data_plane::tests::redis::{Redis, Say};
use crate::data_plane::tests::world::{World, settle};

#[tokio::test(start_paused = true)]
async fn however_replies_are_cut_each_waits_or_gives_way_in_its_place() {
    for seed in 0..30 {
        let redis = Redis::new();
        redis.cut(seed);
        let some = |config: &mut Config| {
            config.durability.prefixes = vec![(b"w".to_vec(), DurabilityMode::Replicated)];
            config.durability.on_timeout = OnTimeout::Error;
            config.durability.timeout = Duration::from_millis(TIMEOUT_MS);
        };
        let world = World::with(redis, some).await;
        let mut client = world.connect().await;
        let line = |at: u64| match (at * 7 + seed) % 5 {
            0 | 1 => format!("SET w{at} x"),
            2 => format!("GET w{at}"),
            _ => format!("SET r{at} x"),
        };
        let lines: Vec<String> = (0..40).map(line).collect();
        client.send(&lines.join("\n")).await;
        let replies = client.replies(40).await;
        for (line, reply) in lines.iter().zip(replies) {
            let words: Vec<&str> = line.split(' ').collect();
            let expected = match line.starts_with("SET w") {
                true => NOREPLICAS.to_owned(),
                false => format!("0:{}:{}", words[0], words[1]),
            };
            assert!(reply.contains(&expected), "seed {seed}, {line}: {reply}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_larger_than_all_that_may_wait_is_read_to_its_end_and_waits_like_any_other() {
    let redis = Redis::new();
    redis.set_pipe(1 << 20);
    let world = World::with(redis, replicated).await;
    let mut client = world.connect().await;
    let value = "x".repeat(5_000_000);
    let reply = format!("${}\r\n{value}\r\n", value.len());
    world.redis.script("EVAL", Say::Bytes(reply.clone().into()));
    client.send("EVAL s 1 k\nPING").await;
    client.is_silent().await;
    replicate(&world).await;
    assert_eq!(client.reply().await, reply);
    assert_eq!(client.reply().await, "+PONG\r\n");
    // Half of such a reply closes the client, as ever, once what stands in front of it is out.
    let half = format!("${}\r\n{}", value.len(), &value[..2_000_000]);
    world.redis.script("GETDEL", Say::Last(half.into()));
    client.send("SET a 1\nGETDEL k").await;
    client.is_silent().await;
    replicate(&world).await;
    assert_eq!(client.until_close().await, SET_A);
}

#[tokio::test(start_paused = true)]
async fn what_waits_counts_as_output_that_is_not_read_yet() {
    let redis = Redis::new();
    redis.set_pipe(4 << 20);
    let world = World::with(redis, |config| {
        replicated(config);
        config.durability.timeout = Duration::from_secs(100);
    })
    .await;
    let mut client = world.connect_over(8 << 20).await;
    let large = format!("${}\r\n{}\r\n", 700_000, "x".repeat(700_000));
    for _ in 0..4 {
        world.redis.script("GET", Say::Bytes(large.clone().into()));
    }
    client.send("SET a 1\nGET 1\nGET 2").await;
    settle().await;
    client.send("GET 3\nSET last 1").await;
    settle().await;
    assert!(world.redis.has("GET 2") && !world.redis.has("GET 3"));
    replicate(&world).await;
    client.replies(3).await;
    settle().await;
    assert!(world.redis.has("SET last 1"), "it goes on");
    assert_eq!(client.reply().await, large);
    client.is_silent().await;
    replicate(&world).await;
    assert_eq!(client.reply().await, "$10\r\n0:SET:last\r\n");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_more_than_a_client_may_leave_unread_is_closed() {
    let world = World::with(Redis::new(), |config| {
        replicated(config);
        config.listen.output_bytes_max = 1 << 20;
    })
    .await;
    let mut client = world.connect().await;
    let large = format!("${}\r\n{}\r\n", 700_000, "x".repeat(700_000));
    for _ in 0..2 {
        world.redis.script("GET", Say::Bytes(large.clone().into()));
    }
    client.send("SET a 1\nGET 1\nGET 2").await;
    assert_eq!(client.until_close().await, "");
    let closed = "gripfast_client_connections_closed_total{cause=\"output_limit\"}";
    assert_eq!(world.count(closed).await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_go_what_waits_when_replicas_have_it_or_its_time_is_over() {
    let world = start_strict().await;
    let (mut client, mut late) = (world.connect().await, world.connect().await);
    client.send("SET a 1\nGET a").await;
    settle().await;
    let ticket = newest(&world, 0);
    late.send("SET a 1").await;
    settle().await;
    world.handle.drain().await;
    client.is_silent().await;
    assert!(!world.running.is_finished());
    world.handle.sampled(sample(0, ticket)).await;
    let expected = format!("{SET_A}$7\r\n0:GET:a\r\n");
    assert_eq!(client.until_close().await, expected);
    let told = late.until_close().await;
    assert!(told.starts_with(NOREPLICAS), "{told}");
    settle().await;
    assert!(world.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn who_quits_or_sends_no_more_gets_what_waits_and_who_is_gone_is_forgotten() {
    let world = start().await;
    let (mut quits, mut ends) = (world.connect().await, world.connect().await);
    quits.send("SET a 1\nQUIT").await;
    ends.send("SET a 1").await;
    ends.finish().await;
    let mut gone = world.connect().await;
    gone.send("SET a 1").await;
    settle().await;
    drop(gone);
    quits.is_silent().await;
    ends.is_silent().await;
    replicate(&world).await;
    assert_eq!(quits.until_close().await, format!("{SET_A}+OK\r\n"));
    assert_eq!(ends.until_close().await, SET_A);
    settle().await;
    assert_eq!(world.report().await.clients, 0);
}
