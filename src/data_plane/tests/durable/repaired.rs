//! What waits while another primary is repaired.

use super::{NOREPLICAS, TIMEOUT_MS, newest, replicate_at, replicated, sample, waits};
use crate::config::{Config, OnTimeout};
use crate::data_plane::tests::client::Client;
use crate::data_plane::tests::redis::{Redis, Say};
use crate::data_plane::tests::repair::{primary, repairing};
use crate::data_plane::tests::world::{World, pass_ms};

fn repaired(config: &mut Config) {
    replicated(config);
    repairing(config);
}

/// A sidecar that puts back what another primary lacks, with a client whose write is on the first primary alone, and its ticket.
async fn start_doubted(reply: &'static str) -> (World, Client) {
    let world = World::with(Redis::new(), repaired).await;
    follow(&world, 1).await;
    let mut client = world.connect().await;
    world.redis.script("SET", Say::Bytes(reply.into()));
    client.send("SET a 1").await;
    client.is_silent().await;
    world.redis.set_round(true, &[]);
    (world, client)
}

/// Follows another primary, which has inherited nothing.
async fn follow(world: &World, generation: u64) {
    world.handle.primary(primary(generation)).await;
    pass_ms(20).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_put_back_waits_for_the_replicas_of_the_primary_that_has_it_now() {
    let (world, mut client) = start_doubted("+OK\r\n").await;
    world.redis.hold("REPAIR");
    follow(&world, 2).await;
    replicate_at(&world, 2).await;
    client.is_silent().await;
    let before = newest(&world, 2);
    world.redis.release("REPAIR");
    pass_ms(20).await;
    world.handle.sampled(sample(2, before)).await;
    client.is_silent().await;
    replicate_at(&world, 2).await;
    assert_eq!(client.next_now().await, "+OK\r\n");
    assert_eq!(world.count(&waits("replicated")).await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_put_back_waits_for_its_time_out() {
    for (script, answer) in [
        ("OPEN", "-NOPERM x\r\n"),
        ("REPAIR", "-ERR x\r\n"),
        ("REPAIR", "*3\r\n:1\r\n:4\r\n:-1\r\n"),
    ] {
        let (world, mut client) = start_doubted("+OK\r\n").await;
        world.redis.script(script, Say::Bytes(answer.into()));
        follow(&world, 2).await;
        replicate_at(&world, 2).await;
        client.is_silent().await;
        pass_ms(TIMEOUT_MS).await;
        assert_eq!(client.next_now().await, "+OK\r\n", "{answer}");
        assert_eq!(world.count(&waits("timeout_replied")).await, 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn writes_that_take_marks_wait_like_any_other() {
    let world = World::with(Redis::new(), repaired).await;
    follow(&world, 1).await;
    let mut client = world.connect().await;
    world.redis.set_round(true, &["other"]);
    follow(&world, 2).await;
    pass_ms(300).await;
    world.redis.script("SETNX", Say::Bytes(":1\r\n".into()));
    for (request, queued) in [
        ("SET a 1", 0),
        ("SETNX b 1", 0),
        ("MULTI\nSET a 1\nSET c 1\nEXEC", 3),
        ("FLUSHDB", 0),
    ] {
        client.send(request).await;
        client.replies(queued).await;
        client.is_silent().await;
        replicate_at(&world, 2).await;
        client.next_now().await;
    }
    for request in ["MULTI", "SET a 1"] {
        client.ask(request).await;
    }
    client.send("EXEC").await;
    client.is_silent().await;
    replicate_at(&world, 2).await;
    assert_eq!(client.next_now().await, "*1\r\n$7\r\n0:SET:a\r\n");
    assert!(world.redis.has("MARK a") && world.redis.has("FLUSH"));
    assert_eq!(world.count(&waits("timeout_replied")).await, 0.0);
    // An error leaves nothing that replicas could have.
    world.redis.script("SETNX", Say::Bytes("-ERR x\r\n".into()));
    assert_eq!(client.ask("SETNX b 1").await, "-ERR x\r\n");
}

#[tokio::test(start_paused = true)]
async fn of_a_transaction_that_takes_marks_the_last_reply_waits_and_is_in_its_clients_protocol() {
    let strict = |config: &mut Config| {
        repaired(config);
        config.durability.on_timeout = OnTimeout::Error;
    };
    let world = World::with(Redis::new(), strict).await;
    follow(&world, 1).await;
    let mut client = world.connect().await;
    world.redis.set_round(true, &["other"]);
    follow(&world, 2).await;
    pass_ms(300).await;
    let exec = "*3\r\n*2\r\n:1\r\n:1000000000\r\n+OK\r\n_\r\n";
    for in_time in [true, false] {
        world.redis.script("EXEC", Say::Bytes(exec.into()));
        client.send("MULTI\nSET a 1\nGET x\nEXEC").await;
        let head = client.replies(3).await;
        assert_eq!(head, ["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n"]);
        client.is_silent().await;
        if in_time {
            replicate_at(&world, 2).await;
            assert_eq!(client.next_now().await, "*2\r\n+OK\r\n$-1\r\n");
        } else {
            pass_ms(TIMEOUT_MS).await;
            assert!(client.next_now().await.starts_with(NOREPLICAS));
        }
    }
}
