//! The bounded pool of pinned links: who waits, how long, and who is next.

use super::client::Client;
use super::redis::{Door, Redis};
use super::world::{World, pass_ms, settle};

const EXHAUSTED: &str =
    "-ERR gripfast: no pinned link free: all 1 (upstream.pinned_max) are in use";

/// A world with one pinned link, which a client in BLPOP holds.
async fn exhausted() -> (World, Client) {
    let world = World::with(Redis::new(), |config| config.upstream.pinned_max = 1).await;
    world.redis.hold("BLPOP");
    let mut holder = world.connect().await;
    holder.send("BLPOP q 0").await;
    settle().await;
    assert!(world.redis.has("BLPOP q 0"));
    (world, holder)
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_told_after_five_seconds_which_bound_it_met() {
    let (world, _holder) = exhausted().await;
    let mut waiter = world.connect().await;
    waiter.send("EVAL x 0\nPING").await;
    pass_ms(4_900).await;
    waiter.is_silent().await;
    assert_eq!(world.report().await.pinned_waiting, 1);
    pass_ms(100).await;
    assert!(waiter.reply().await.starts_with(EXHAUSTED));
    assert_eq!(waiter.reply().await, "+PONG\r\n");
    assert_eq!(world.report().await.pinned_waiting, 0);
    assert_eq!(waiter.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    world.redis.release("BLPOP");
    settle().await;
    assert_eq!(waiter.ask("EVAL x 0").await, "$8\r\n0:EVAL:x\r\n");
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_request_is_told() {
    let (world, _holder) = exhausted().await;
    for request in [
        "EVAL x 0",
        "MULTI",
        "WATCH a",
        "BLPOP r 0",
        "CLIENT ID",
        "WAIT 0 0",
        "SUBSCRIBE news",
        "NO-SUCH-COMMAND",
        "SCRIPT KILL",
    ] {
        let mut waiter = world.connect().await;
        waiter.send(request).await;
        pass_ms(5_010).await;
        let said = waiter.next_now().await;
        assert!(said.starts_with(EXHAUSTED), "{request}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_the_order_they_came() {
    let (world, _holder) = exhausted().await;
    let mut waiters = Vec::new();
    for number in 0..3 {
        let mut waiter = world.connect().await;
        waiter.send(&format!("EVAL {number} 0")).await;
        settle().await;
        waiters.push(waiter);
    }
    drop(waiters.remove(1));
    settle().await;
    assert_eq!(
        world.report().await.pinned_waiting,
        2,
        "who left is forgotten"
    );
    world.redis.release("BLPOP");
    for (waiter, number) in waiters.iter_mut().zip([0, 2]) {
        assert_eq!(waiter.reply().await, format!("$8\r\n0:EVAL:{number}\r\n"));
    }
    let evals: Vec<String> = world
        .redis
        .arrivals()
        .into_iter()
        .map(|(_, words)| words)
        .filter(|words| words.starts_with("EVAL"))
        .collect();
    assert_eq!(evals, ["EVAL 0 0", "EVAL 2 0"]);
}

#[tokio::test(start_paused = true)]
async fn the_link_of_a_holder_that_leaves_makes_room() {
    let (world, holder) = exhausted().await;
    let mut waiter = world.connect().await;
    waiter.send("EVAL x 0").await;
    pass_ms(2_000).await;
    drop(holder);
    assert_eq!(waiter.reply().await, "$8\r\n0:EVAL:x\r\n");
    assert!(!world.redis.links()[world.redis.carrier("BLPOP q 0")].open);
}

#[tokio::test(start_paused = true)]
async fn waiters_hear_of_a_dead_server_and_are_served_when_it_is_back() {
    let (world, mut holder) = exhausted().await;
    let mut waiters = Vec::new();
    for _ in 0..3 {
        let mut waiter = world.connect().await;
        waiter.send("EVAL x 0").await;
        settle().await;
        waiters.push(waiter);
    }
    world.redis.die();
    let reply = holder.reply().await;
    assert!(
        reply.starts_with("-ERR gripfast: outcome unknown"),
        "{reply}"
    );
    pass_ms(5_100).await;
    for waiter in &mut waiters {
        let reply = waiter.next_now().await;
        assert!(reply.starts_with("-MASTERDOWN gripfast: "), "{reply}");
    }
    world.redis.set_door(Door::Open);
    pass_ms(1_100).await;
    for waiter in &mut waiters {
        assert_eq!(waiter.ask("EVAL x 0").await, "$8\r\n0:EVAL:x\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ends_while_the_server_is_gone_has_no_consequences() {
    let (world, _holder) = exhausted().await;
    let mut waiters = Vec::new();
    for _ in 0..50 {
        let mut waiter = world.connect().await;
        waiter.send("EVAL x 0").await;
        waiters.push(waiter);
    }
    settle().await;
    world.redis.set_door(Door::Refusing);
    world.redis.close(world.redis.link("tracked"));
    pass_ms(5_110).await;
    for waiter in &mut waiters {
        let reply = waiter.next_now().await;
        assert!(reply.starts_with("-MASTERDOWN gripfast: "), "{reply}");
    }
    world.redis.set_door(Door::Open);
    world.redis.release("BLPOP");
    pass_ms(1_100).await;
    for waiter in &mut waiters {
        assert_eq!(waiter.ask("EVAL x 0").await, "$8\r\n0:EVAL:x\r\n");
    }
    drop(waiters);
    settle().await;
    assert_eq!(world.report().await.clients, 1);
}

#[tokio::test(start_paused = true)]
async fn who_comes_as_a_link_comes_free_does_not_overtake_who_waits() {
    let (world, _holder) = exhausted().await;
    let mut late = world.connect().await;
    let mut waiter = world.connect().await;
    waiter.send("EVAL waiter 0").await;
    pass_ms(3_000).await;
    world.redis.hold("EVAL");
    world.redis.release("BLPOP");
    // Behind the server's task, in front of the data thread: both are seen in the same turn, the reply first.
    let late = tokio::spawn(async move {
        late.send("EVAL late 0").await;
        late
    });
    settle().await;
    assert!(
        world.redis.has("EVAL waiter 0"),
        "{:?}",
        world.redis.arrivals()
    );
    world.redis.release("EVAL");
    assert_eq!(waiter.reply().await, "$13\r\n0:EVAL:waiter\r\n");
    assert_eq!(late.await.unwrap().reply().await, "$11\r\n0:EVAL:late\r\n");
}
