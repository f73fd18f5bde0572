//! What becomes of what waits where links or the primary are lost.

use super::{SET_A, TIMEOUT_MS, newest, replicate, replicated, sample, start, waits};
use crate::data_plane::Primary;
use crate::data_plane::tests::redis::{Door, Redis};
use crate::data_plane::tests::repair::primary;
use crate::data_plane::tests::world::{World, pass_ms, settle};
use crate::journal::samples::{Inheritance, Sample};

/// Follows another primary, which has the first history up to this offset.
async fn fail_over(world: &World, end: i64) {
    let inherited = Inheritance {
        replid: "history 0".into(),
        end,
    };
    let primary = Primary {
        inheritance: Some(inherited),
        ..primary(2)
    };
    world.handle.primary(primary).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_takes_nothing_back_that_was_acknowledged() {
    let world = World::with(Redis::new(), |config| {
        replicated(config);
        config.hold.deadline = None;
    })
    .await;
    let mut client = world.connect().await;
    world.redis.hold("GET");
    client.send("SET a 1\nGET a").await;
    settle().await;
    world.redis.die();
    pass_ms(10).await;
    client.is_silent().await;
    replicate(&world).await;
    assert_eq!(client.next_now().await, SET_A);
    world.redis.release("GET");
    world.redis.set_door(Door::Open);
    assert_eq!(client.reply().await, "$7\r\n0:GET:a\r\n");
    let sets = world.redis.arrivals();
    let sets = sets.iter().filter(|(_, words)| words == "SET a 1");
    assert_eq!(sets.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_another_primary_inherited_is_acknowledged_and_what_is_in_doubt_waits() {
    let world = start().await;
    let (mut safe, mut doubted) = (world.connect().await, world.connect().await);
    safe.send("SET a 1").await;
    settle().await;
    let known = Sample {
        newest: 1,
        ..sample(0, 0)
    };
    world.handle.sampled(known).await;
    doubted.send("SET a 1").await;
    settle().await;
    let late = newest(&world, 0);
    fail_over(&world, 150).await;
    assert_eq!(safe.next_now().await, SET_A);
    doubted.is_silent().await;
    // Too late: whom the old primary has reached does not help where it has gone.
    world.handle.sampled(sample(0, late)).await;
    // It covers what this primary has acknowledged, and nothing of the other one.
    doubted.send("SET b 1").await;
    settle().await;
    world.handle.sampled(sample(2, late + 1)).await;
    doubted.is_silent().await;
    pass_ms(TIMEOUT_MS).await;
    assert_eq!(doubted.next_now().await, SET_A);
    assert_eq!(doubted.next_now().await, "$7\r\n0:SET:b\r\n");
    assert_eq!(world.count(&waits("replicated")).await, 2.0);
    assert_eq!(world.count(&waits("timeout_replied")).await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn where_more_than_one_is_to_have_it_what_was_inherited_waits_for_the_new_ones_replicas() {
    let world = World::with(Redis::new(), |config| {
        replicated(config);
        config.durability.replicas = 2;
    })
    .await;
    let mut client = world.connect().await;
    client.send("SET a 1").await;
    settle().await;
    let known = Sample {
        newest: 1,
        ..sample(0, 0)
    };
    world.handle.sampled(known).await;
    let ticket = newest(&world, 0);
    fail_over(&world, 150).await;
    client.is_silent().await;
    world.handle.sampled(sample(2, ticket)).await;
    assert_eq!(client.next_now().await, SET_A);
}

#[tokio::test(start_paused = true)]
async fn another_history_at_the_same_address_acknowledges_nothing() {
    let world = start().await;
    let mut client = world.connect().await;
    world.handle.sampled(sample(0, 0)).await;
    client.send("SET a 1").await;
    settle().await;
    let ticket = newest(&world, 0);
    let restarted = Sample {
        replid: "restarted".into(),
        ..sample(0, ticket)
    };
    world.handle.sampled(restarted).await;
    client.is_silent().await;
    world.handle.sampled(sample(0, ticket)).await;
    assert_eq!(client.next_now().await, SET_A);
}
