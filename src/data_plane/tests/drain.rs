//! A drain: what is in flight is answered, nothing new is taken, everybody goes.

use super::redis::Redis;
use super::world::{World, pass_ms, settle};

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_answered_and_everybody_is_closed() {
    let world = World::start().await;
    let mut idle = world.connect().await;
    let mut busy = world.connect().await;
    let mut scripting = world.connect().await;
    let mut blocked = world.connect().await;
    let mut subscribed = world.connect().await;
    for name in ["GET", "EVAL", "BLPOP"] {
        world.redis.hold(name);
    }
    busy.send("GET a\nGET b\nSCAN 0").await;
    scripting.send("EVAL x 0").await;
    blocked.send("BLPOP q 0").await;
    subscribed.ask("SUBSCRIBE news").await;
    settle().await;
    world.handle.drain().await;
    idle.is_closed().await;
    blocked.is_closed().await;
    subscribed.is_closed().await;
    assert!(world.knock(1024).await.is_none(), "nobody new");
    let report = world.report().await;
    assert_eq!((report.draining, report.clients), (true, 2));
    busy.send("GET late").await;
    pass_ms(500).await;
    assert!(!world.running.is_finished());
    world.redis.release("GET");
    assert_eq!(
        busy.until_close().await,
        "$7\r\n0:GET:a\r\n$7\r\n0:GET:b\r\n",
        "what was not sent yet is not sent any more"
    );
    world.redis.release("EVAL");
    assert_eq!(scripting.until_close().await, "$8\r\n0:EVAL:x\r\n");
    settle().await;
    assert!(world.running.is_finished());
    assert!(!world.redis.has("SCAN 0") && !world.redis.has("GET late"));
    assert!(world.redis.links().iter().all(|link| !link.open));
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_nobody_ends_at_once() {
    let world = World::start().await;
    world.handle.drain().await;
    settle().await;
    assert!(world.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_during_the_drain_does_not_hold_it_up() {
    let world = World::start().await;
    let mut reading = world.connect().await;
    let mut committing = world.connect().await;
    world.redis.hold("GET");
    world.redis.hold("EXEC");
    committing.ask("MULTI").await;
    committing.ask("SET a 1").await;
    committing.send("EXEC").await;
    reading.send("GET a").await;
    settle().await;
    world.handle.drain().await;
    settle().await;
    world.redis.die();
    let said = reading.until_close().await;
    assert!(said.starts_with("-MASTERDOWN gripfast: "), "{said}");
    let said = committing.until_close().await;
    assert!(said.starts_with("-ERR gripfast: outcome unknown"), "{said}");
    settle().await;
    assert!(world.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_pinned_link_is_not_waited_for() {
    let world = World::with(Redis::new(), |config| config.upstream.pinned_max = 1).await;
    let mut holder = world.connect().await;
    let mut waiter = world.connect().await;
    world.redis.hold("EVAL");
    holder.send("EVAL x 0").await;
    settle().await;
    waiter.send("EVAL y 0").await;
    settle().await;
    world.handle.drain().await;
    waiter.is_closed().await;
    world.redis.release("EVAL");
    assert_eq!(holder.until_close().await, "$8\r\n0:EVAL:x\r\n");
    settle().await;
    assert!(world.running.is_finished());
}
