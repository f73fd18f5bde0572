//! Reads of a replica while there is no primary: who is answered, and what is held all the same.

use std::time::Duration;

use super::client::Client;
use super::redis::{Door, Redis, Say};
use super::world::{World, pass_ms, settle};
use crate::config::Config;
use crate::failover::machine::{Event, NodeState};
use crate::journal::samples::Sample;
use crate::seam::HostPort;

fn asking(config: &mut Config) {
    config.hold.deadline = Some(Duration::from_secs(10));
    config.hold.ask_replica = true;
}

/// A sidecar that holds, as its primary does not answer, and knows a replica.
async fn holding(world: &World) {
    let address = HostPort {
        host: "replica.test".into(),
        port: 6379,
    };
    world.handle.replica(Some(address)).await;
    world.handle.failover(Event::Node(NodeState::Silent)).await;
    settle().await;
}

async fn answers_again(world: &World) {
    world.handle.failover(Event::Node(NodeState::Answers)).await;
    settle().await;
}

/// What went to the replica.
fn asked(world: &World) -> Vec<String> {
    let links = world.redis.links();
    let arrivals = world.redis.arrivals();
    let to_replica = arrivals
        .iter()
        .filter(|(link, _)| links[*link].lane == "replica");
    to_replica.map(|(_, words)| words.clone()).collect()
}

async fn start() -> (World, Client) {
    let world = World::with(Redis::new(), asking).await;
    let client = world.connect().await;
    (world, client)
}

#[tokio::test(start_paused = true)]
async fn a_read_is_answered_by_the_replica_and_a_write_waits() {
    let (world, mut reader) = start().await;
    let (mut writer, mut third) = (world.connect().await, world.connect().await);
    third.ask("HELLO 3").await;
    holding(&world).await;
    assert_eq!(reader.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    assert_eq!(reader.ask("HGET h f").await, "$8\r\n0:HGET:h\r\n");
    assert_eq!(third.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    writer.send("SET a 1").await;
    writer.is_silent().await;
    // Not a session's read, or of several keys.
    reader.send("SCAN 0").await;
    reader.is_silent().await;
    third.send("MGET a b").await;
    third.is_silent().await;
    assert_eq!(asked(&world), ["GET a", "HGET h f", "GET a"]);
    let series = "gripfast_session_reads_total{outcome=\"replica\"}";
    assert_eq!(world.count(series).await, 3.0);
    answers_again(&world).await;
    assert_eq!(writer.reply().await, "$7\r\n0:SET:a\r\n");
    assert!(
        !world
            .redis
            .links()
            .iter()
            .any(|link| link.open && link.lane == "replica")
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_replica_does_not_have_or_refuses_is_asked_of_the_primary() {
    for doubt in ["$-1\r\n", "-MASTERDOWN x\r\n", "-NOPERM x\r\n"] {
        let (world, mut client) = start().await;
        world.redis.script("GET", Say::Bytes(doubt.into()));
        holding(&world).await;
        client.send("GET a\nGET b").await;
        client.is_silent().await;
        assert_eq!(asked(&world), ["GET a"], "{doubt}");
        answers_again(&world).await;
        assert_eq!(client.reply().await, "$7\r\n0:GET:a\r\n", "{doubt}");
        assert_eq!(client.reply().await, "$7\r\n0:GET:b\r\n", "{doubt}");
    }
    let (world, mut client) = start().await;
    world.redis.script("HGETALL", Say::Bytes("*0\r\n".into()));
    holding(&world).await;
    client.send("HGETALL h").await;
    client.is_silent().await;
    answers_again(&world).await;
    assert_eq!(client.reply().await, "$11\r\n0:HGETALL:h\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_the_replica_may_lack_is_not_asked_of_it() {
    let (world, mut client) = start().await;
    for request in ["SET a 1", "SET b 1", "MULTI", "SET c 1", "EXEC"] {
        client.ask(request).await;
    }
    let sample = Sample {
        generation: 0,
        newest: 1,
        replid: "A".into(),
        offset: 100,
        acknowledged: Some(100),
        replicated: 0,
    };
    world.handle.sampled(sample).await;
    holding(&world).await;
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    for key in ["b", "c"] {
        let mut client = world.connect().await;
        client.send(&format!("GET {key}")).await;
        client.is_silent().await;
    }
    assert_eq!(asked(&world), ["GET a"]);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_answer_is_waited_for_no_longer_than_the_hold() {
    let (world, mut client) = start().await;
    world.redis.hold("GET");
    holding(&world).await;
    client.send("GET a").await;
    client.is_silent().await;
    assert_eq!(asked(&world), ["GET a"]);
    pass_ms(11_000).await;
    let reply = client.reply().await;
    assert!(reply.starts_with("-MASTERDOWN gripfast: "), "{reply}");
    world.redis.release("GET");
    answers_again(&world).await;
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
}

#[tokio::test(start_paused = true)]
async fn it_is_not_asked_where_that_is_not_allowed() {
    let unwished = |config: &mut Config| {
        asking(config);
        config.hold.ask_replica = false;
    };
    let forgetful = |config: &mut Config| {
        asking(config);
        config.journal.enabled = false;
    };
    for world in [
        World::with(Redis::new(), unwished).await,
        World::with(Redis::new(), forgetful).await,
    ] {
        let mut client = world.connect().await;
        holding(&world).await;
        client.send("GET a").await;
        client.is_silent().await;
        assert!(asked(&world).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_doubt_of_the_primary_is_none_of_the_replica_that_is_being_dialled() {
    let (world, mut client) = start().await;
    let address = HostPort {
        host: "replica.test".into(),
        port: 6379,
    };
    world.handle.replica(Some(address)).await;
    world.handle.failover(Event::Superseded(true)).await;
    world.redis.set_door(Door::Hanging);
    client.send("GET a").await;
    client.is_silent().await;
    world.handle.failover(Event::Node(NodeState::Silent)).await;
    settle().await;
    world.redis.set_door(Door::Open);
    assert_eq!(client.next_now().await, "$7\r\n0:GET:a\r\n");
    assert_eq!(asked(&world), ["GET a"]);
}
