//! Which replies wait, and which do not.

use std::time::Duration;

use super::{NOREPLICAS, SET_A, replicate, start, start_strict, waits};
use crate::config::{Config, DurabilityMode, Opaque, Ratio};
use crate::data_plane::tests::redis::{Redis, Say};
use crate::data_plane::tests::world::{World, settle};
use crate::resp::request_bytes;

#[tokio::test(start_paused = true)]
async fn what_writes_nothing_waits_for_nobody() {
    let world = start().await;
    let mut client = world.connect().await;
    world.redis.script("SET", Say::Bytes("-OOM x\r\n".into()));
    assert_eq!(client.ask("SET a 1").await, "-OOM x\r\n");
    world.redis.script("EXEC", Say::Bytes("*-1\r\n".into()));
    for request in ["WATCH a", "MULTI", "SET a 1"] {
        client.send(request).await;
        client.next_now().await;
    }
    client.send("EXEC").await;
    assert_eq!(client.next_now().await, "*-1\r\n");
    world.redis.script("BLPOP", Say::Bytes("*-1\r\n".into()));
    client.send("BLPOP q 1").await;
    assert_eq!(client.next_now().await, "*-1\r\n");
    client.ask("HELLO 3").await;
    world.redis.script("EXEC", Say::Bytes("_\r\n".into()));
    for request in ["WATCH a", "MULTI", "SET a 1"] {
        client.send(request).await;
        client.next_now().await;
    }
    client.send("EXEC").await;
    assert_eq!(client.next_now().await, "_\r\n");
    // A null may also be the value that was there before.
    world.redis.script("GETSET", Say::Bytes("_\r\n".into()));
    client.send("GETSET a 1").await;
    client.is_silent().await;
    replicate(&world).await;
    assert_eq!(client.next_now().await, "_\r\n");
}

#[tokio::test(start_paused = true)]
async fn transactions_scripts_and_blocking_writes_wait_at_their_end() {
    let world = start_strict().await;
    let mut client = world.connect().await;
    client.send("MULTI\nSET a 1\nGET a\nEXEC").await;
    let mut replies = client.replies(3).await;
    assert_eq!(replies, ["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n"]);
    client.is_silent().await;
    replicate(&world).await;
    let block = "*2\r\n$7\r\n0:SET:a\r\n$7\r\n0:GET:a\r\n";
    assert_eq!(client.next_now().await, block);
    for request in ["MULTI", "SET a 1", "GET a"] {
        client.ask(request).await;
    }
    for request in ["EXEC", "EVAL s 1 k", "BLPOP q 0"] {
        client.send(request).await;
        client.is_silent().await;
        replicate(&world).await;
        replies.push(client.next_now().await);
    }
    let expected = [block, "$8\r\n0:EVAL:s\r\n", "$9\r\n0:BLPOP:q\r\n"];
    assert_eq!(replies[3..6], expected);
    client.send("MULTI\nGET a\nEXEC").await;
    assert_eq!(client.replies(3).await[2], "*1\r\n$7\r\n0:GET:a\r\n");
    client.send("MULTI\nSET a 1\nEXEC").await;
    let refused = client.replies(3).await;
    assert_eq!(refused[..2], ["+OK\r\n", "+QUEUED\r\n"]);
    assert!(refused[2].starts_with(NOREPLICAS), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_have_a_mode_of_their_own_by_what_their_names_begin_with() {
    let prefixes = |config: &mut Config| {
        config.durability.prefixes = vec![(b"auth:".to_vec(), DurabilityMode::Replicated)];
    };
    let world = World::with(Redis::new(), prefixes).await;
    let mut client = world.connect().await;
    for request in ["SET a 1", "DEL a b", "MULTI\nSET a 1\nEXEC", "EVAL s 1 k"] {
        client.send(request).await;
        for _ in request.lines() {
            client.next_now().await;
        }
    }
    for request in [
        "SET auth:a 1",
        "DEL a auth:b",
        "EVAL s 1 auth:k",
        "FLUSHALL",
    ] {
        client.send(request).await;
        client.is_silent().await;
        replicate(&world).await;
        client.next_now().await;
    }
    client.send("MULTI\nSET a 1\nSET auth:a 1\nEXEC").await;
    client.replies(3).await;
    client.is_silent().await;
    replicate(&world).await;
    client.next_now().await;
    // What stands in front of it does not wait, what follows does.
    client.send("SET a 1\nSET b 1\nSET auth:c 1\nSET d 1").await;
    assert_eq!(client.next_now().await, SET_A);
    assert_eq!(client.next_now().await, "$7\r\n0:SET:b\r\n");
    client.is_silent().await;
    replicate(&world).await;
    assert_eq!(client.next_now().await, "$12\r\n0:SET:auth:c\r\n");
    assert_eq!(client.next_now().await, "$7\r\n0:SET:d\r\n");
}

#[tokio::test(start_paused = true)]
async fn no_write_is_answered_here_on_the_strength_of_what_replicas_may_lack() {
    for (mode, sent) in [(DurabilityMode::Async, 1), (DurabilityMode::Replicated, 2)] {
        let world = World::with(Redis::new(), |config| {
            config.cache.bytes = 1 << 20;
            config.touch.coalesce = Ratio::from_millionths(900_000);
            config.touch.coalesce_max = Duration::from_secs(3600);
            config.touch.coalesce_unchanged_set = true;
            config.durability.mode = mode;
        })
        .await;
        let mut client = world.connect().await;
        // What this server says to GET is what SET brings: the very bytes that are cached.
        let save = "SET s 0:GET:s PX 100000";
        for request in ["GET s", save, "GET s", save] {
            client.send(request).await;
            settle().await;
            if mode == DurabilityMode::Replicated && request == save {
                replicate(&world).await;
            }
            client.next_now().await;
        }
        let arrived = world.redis.arrivals();
        let saves = arrived.iter().filter(|(_, words)| words == save);
        assert_eq!(saves.count(), sent, "{mode:?} {arrived:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_it_is_asked_for_only_what_no_reply_tells_waits() {
    let world = World::with(Redis::new(), |config| config.journal.opaque = Opaque::Wait).await;
    let mut client = world.connect().await;
    assert_eq!(client.ask("SET a 1").await, SET_A);
    for request in ["APPEND a x", "EVAL s 1 k", "MULTI\nRPUSH l x\nEXEC"] {
        client.send(request).await;
        if request.starts_with("MULTI") {
            client.replies(2).await;
        }
        client.is_silent().await;
        replicate(&world).await;
        client.next_now().await;
    }
    assert_eq!(world.count(&waits("replicated")).await, 3.0);
}

#[tokio::test(start_paused = true)]
async fn a_large_request_waits_like_any_other() {
    let world = start().await;
    let mut client = world.connect().await;
    // The second one is too large to be remembered.
    for length in [300_000, 3_000_000] {
        let value = "x".repeat(length);
        let request = request_bytes(&["SET", "a", &value]);
        client.send_bytes(&request).await;
        client.is_silent().await;
        replicate(&world).await;
        assert_eq!(client.next_now().await, SET_A);
    }
}
