//! WATCH when the primary is lost: only what the server has said OK to can be lost, and an error never becomes a null.

use std::time::Duration;

use super::client::Client;
use super::redis::{Door, Redis, Say};
use super::world::{World, pass_ms, settle};
use crate::config::Config;

const MASTERDOWN: &str = "-MASTERDOWN gripfast: ";
const UNKNOWN: &str = "-ERR gripfast: outcome unknown: ";
const DONE: &str = "*1\r\n$7\r\n0:SET:a\r\n";

/// How long requests are held here.
const HOLD_MS: u64 = 2_000;

fn bounded(config: &mut Config) {
    config.hold.deadline = Some(Duration::from_millis(HOLD_MS));
}

async fn start() -> World {
    World::with(Redis::new(), bounded).await
}

/// The server dies under what is in flight, and is back after a while.
async fn restart(world: &World) {
    world.redis.die();
    pass_ms(500).await;
    world.redis.set_door(Door::Open);
}

/// The server is away for longer than requests are held, and is back.
async fn outlast_the_hold(world: &World) {
    world.redis.die();
    pass_ms(HOLD_MS + 100).await;
    world.redis.set_door(Door::Open);
    pass_ms(1_100).await;
}

/// Runs a transaction of a client that watches nothing; returns what EXEC answers.
async fn plain(client: &mut Client) -> String {
    for (request, reply) in [("MULTI", "+OK\r\n"), ("SET a 1", "+QUEUED\r\n")] {
        assert_eq!(client.ask(request).await, reply);
    }
    client.ask("EXEC").await
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_was_in_flight_and_is_refused_watches_nothing() {
    let world = start().await;
    let mut client = world.connect().await;
    world.redis.hold("WATCH");
    client.send("WATCH a").await;
    settle().await;
    outlast_the_hold(&world).await;
    world.redis.release("WATCH");
    assert!(client.reply().await.starts_with(MASTERDOWN));
    assert_eq!(plain(&mut client).await, DONE);
    assert!(!world.redis.has("DISCARD"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_a_full_hold_refuses_watches_nothing() {
    let world = World::with(Redis::new(), |config| {
        bounded(config);
        config.hold.requests_max = 2;
    })
    .await;
    let mut client = world.connect().await;
    world.redis.hold("WATCH");
    client.send("WATCH a\nGET a\nGET b").await;
    settle().await;
    restart(&world).await;
    world.redis.release("WATCH");
    for reply in client.replies(3).await {
        assert!(reply.starts_with(MASTERDOWN), "{reply}");
    }
    pass_ms(1_100).await;
    assert_eq!(plain(&mut client).await, DONE);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_was_in_flight_is_made_anew_and_its_exec_runs() {
    let world = start().await;
    let mut client = world.connect().await;
    world.redis.hold("WATCH");
    client.send("WATCH a\nGET a").await;
    settle().await;
    restart(&world).await;
    world.redis.release("WATCH");
    assert_eq!(client.replies(2).await[1], "$7\r\n0:GET:a\r\n");
    assert_eq!(plain(&mut client).await, DONE);
    let watches = |(_, words): &&(usize, String)| words == "WATCH a";
    assert_eq!(world.redis.arrivals().iter().filter(watches).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_lost_watch_is_enough_for_a_null() {
    let world = start().await;
    let mut client = world.connect().await;
    client.ask("WATCH a").await;
    world.redis.hold("WATCH");
    client.send("WATCH b").await;
    settle().await;
    restart(&world).await;
    world.redis.release("WATCH");
    client.reply().await;
    assert_eq!(plain(&mut client).await, "*-1\r\n");
    assert_eq!(plain(&mut client).await, DONE);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_the_server_refuses_watches_nothing_and_keeps_no_link() {
    let world = start().await;
    let mut client = world.connect().await;
    let idle = world.report().await.links_pinned_idle;
    let denied = Say::Bytes(b"-NOPERM x\r\n".to_vec());
    world.redis.script("WATCH", denied);
    assert_eq!(client.ask("WATCH a").await, "-NOPERM x\r\n");
    assert_eq!(world.report().await.links_pinned_idle, idle);
    restart(&world).await;
    assert_eq!(plain(&mut client).await, DONE);
}

#[tokio::test(start_paused = true)]
async fn a_watch_behind_an_exec_outlives_it_and_can_be_lost() {
    let world = start().await;
    let mut client = world.connect().await;
    client.ask("WATCH a").await;
    client.ask("MULTI").await;
    client.ask("SET a 1").await;
    client.send("EXEC\nWATCH b").await;
    client.replies(2).await;
    restart(&world).await;
    assert_eq!(plain(&mut client).await, "*-1\r\n");
}

#[tokio::test(start_paused = true)]
async fn unwatch_ends_a_lost_watch_whether_there_is_a_primary_or_not() {
    for away_ms in [100, HOLD_MS + 100] {
        let world = start().await;
        let mut client = world.connect().await;
        client.ask("WATCH a").await;
        world.redis.die();
        pass_ms(away_ms).await;
        assert_eq!(client.ask("UNWATCH").await, "+OK\r\n");
        world.redis.set_door(Door::Open);
        pass_ms(1_100).await;
        assert_eq!(plain(&mut client).await, DONE);
        assert!(!world.redis.has("UNWATCH"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_whole_pipeline_watched_is_over_with_its_exec_of_unknown_fate() {
    let world = start().await;
    let mut client = world.connect().await;
    world.redis.hold("WATCH");
    client.send("WATCH a\nMULTI\nSET a 1\nEXEC").await;
    settle().await;
    restart(&world).await;
    world.redis.release("WATCH");
    let replies = client.replies(4).await;
    assert_eq!(replies[..3], ["+OK\r\n", "+OK\r\n", "+QUEUED\r\n"]);
    assert!(replies[3].starts_with(UNKNOWN), "{replies:?}");
    // Nothing of it is left, so nothing of it can be lost again.
    restart(&world).await;
    assert_eq!(plain(&mut client).await, DONE);
}
