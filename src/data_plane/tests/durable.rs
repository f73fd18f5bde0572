//! Replies that wait for replicas: which do, for how long, in which order, and what becomes of them when links, the primary or the
//! data thread come to their end.

use std::time::Duration;

use super::client::Client;
use super::redis::{Door, Redis, Say};
use super::world::{World, pass_ms, settle};
use crate::config::{Config, DurabilityMode, OnTimeout, Opaque, Ratio, Sentinels, Source};
use crate::data_plane::Primary;
use crate::journal::samples::{Inheritance, Sample};
use crate::outbox::Ticket;
use crate::resp::request_bytes;
use crate::seam::HostPort;
use crate::sentinel::topology::SwitchReason;

/// How long a reply may wait here, in milliseconds.
const TIMEOUT_MS: u64 = 1000;

const SET_A: &str = "$7\r\n0:SET:a\r\n";

const NOREPLICAS: &str = "-NOREPLICAS gripfast: the command was executed, but after 1000 ms ";

fn replicated(config: &mut Config) {
    config.durability.mode = DurabilityMode::Replicated;
    config.durability.timeout = Duration::from_millis(TIMEOUT_MS);
}

async fn start() -> World {
    World::with(Redis::new(), replicated).await
}

async fn start_strict() -> World {
    let strict = |config: &mut Config| {
        replicated(config);
        config.durability.on_timeout = OnTimeout::Error;
    };
    World::with(Redis::new(), strict).await
}

/// What the control thread would be told of a primary whose replicas have everything up to a ticket.
fn sample(generation: u64, replicated: Ticket) -> Sample {
    Sample {
        generation,
        newest: 0,
        replid: format!("history {generation}").into(),
        offset: 100,
        acknowledged: Some(0),
        replicated,
    }
}

/// Returns the newest ticket; replicas have all up to there now.
async fn replicate(world: &World) -> Ticket {
    let asked = world.handle.journal().to_sample(0);
    let ticket = asked.expect("something waits").ticket;
    world.handle.sampled(sample(0, ticket)).await;
    ticket
}

fn waits(outcome: &str) -> String {
    format!("gripfast_durability_waits_total{{outcome=\"{outcome}\"}}")
}

/// Follows another primary, which has the first history up to this offset.
async fn fail_over(world: &World, end: i64) {
    let primary = Primary {
        address: HostPort {
            host: "other.test".into(),
            port: 6379,
        },
        generation: 1,
        run_id: None,
        inheritance: Some(Inheritance {
            replid: "history 0".into(),
            end,
        }),
        reason: SwitchReason::Failover,
    };
    world.handle.primary(primary).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_and_what_follows_it_wait_for_replicas_and_nobody_else_does() {
    let world = start().await;
    let (mut writer, mut reader) = (world.connect().await, world.connect().await);
    writer.send("GET x\nSET a 1\nGET a\nPING\nSCAN 0").await;
    assert_eq!(writer.next_now().await, "$7\r\n0:GET:x\r\n");
    writer.is_silent().await;
    assert_eq!(reader.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    assert!(world.redis.has("SCAN 0"), "its requests are sent");
    replicate(&world).await;
    let expected = [
        SET_A,
        "$7\r\n0:GET:a\r\n",
        "+PONG\r\n",
        "$8\r\n0:SCAN:0\r\n",
    ];
    for reply in expected {
        assert_eq!(writer.next_now().await, reply);
    }
    assert_eq!(writer.ask("GET b").await, "$7\r\n0:GET:b\r\n");
    assert_eq!(world.count(&waits("replicated")).await, 1.0);
    assert_eq!(world.count("gripfast_durability_waiting_writes").await, 0.0);
    assert!(world.count("gripfast_durability_wait_seconds").await > 0.0);
}

#[tokio::test(start_paused = true)]
async fn one_barrier_is_enough_for_all_who_wait_and_covers_nobody_who_came_later() {
    let world = start().await;
    let (mut first, mut second) = (world.connect().await, world.connect().await);
    let mut late = world.connect().await;
    assert_eq!(world.handle.journal().to_sample(0), None);
    first.send("SET a 1\nSET b 1").await;
    second.send("SET a 1").await;
    settle().await;
    let asked = world.handle.journal().to_sample(0).unwrap();
    late.send("SET a 1").await;
    settle().await;
    assert_eq!(world.count("gripfast_durability_waiting_writes").await, 4.0);
    world.handle.sampled(sample(0, asked.ticket)).await;
    assert_eq!(first.next_now().await, SET_A);
    assert_eq!(first.next_now().await, "$7\r\n0:SET:b\r\n");
    assert_eq!(second.next_now().await, SET_A);
    late.is_silent().await;
    replicate(&world).await;
    assert_eq!(late.next_now().await, SET_A);
    let tickets = world.handle.journal();
    assert!(tickets.to_sample(0).is_some_and(|asked| !asked.waits));
}

#[tokio::test(start_paused = true)]
async fn when_replicas_are_late_the_reply_goes_out_and_is_counted() {
    let world = start().await;
    let mut client = world.connect().await;
    client.send("SET a 1\nGET a").await;
    pass_ms(TIMEOUT_MS - 10).await;
    client.is_silent().await;
    pass_ms(10).await;
    assert_eq!(client.next_now().await, SET_A);
    assert_eq!(client.next_now().await, "$7\r\n0:GET:a\r\n");
    assert_eq!(world.count(&waits("timeout_replied")).await, 1.0);
    assert_eq!(world.count(&waits("timeout_refused")).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn or_an_error_stands_in_place_of_each_reply_that_was_none() {
    let world = start_strict().await;
    let mut client = world.connect().await;
    world.redis.script("SET", Say::Bytes("+OK\r\n".into()));
    world.redis.script("SET", Say::Bytes("-OOM x\r\n".into()));
    client.send("SET a 1\nSET b 1\nSET c 1\nGET a").await;
    client.is_silent().await;
    let replies = client.replies(4).await;
    assert!(replies[0].starts_with(NOREPLICAS), "{replies:?}");
    assert_eq!(replies[1], "-OOM x\r\n");
    assert!(replies[2].starts_with(NOREPLICAS), "{replies:?}");
    assert_eq!(replies[3], "$7\r\n0:GET:a\r\n");
    assert_eq!(world.count(&waits("timeout_refused")).await, 2.0);
    let errors = "gripfast_error_replies_total{kind=\"not_replicated\"}";
    assert_eq!(world.count(errors).await, 2.0);
}

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
    let late = world.handle.journal().to_sample(0).unwrap().ticket;
    fail_over(&world, 150).await;
    assert_eq!(safe.next_now().await, SET_A);
    doubted.is_silent().await;
    // Too late: whom the old primary has reached does not help where it has gone.
    world.handle.sampled(sample(0, late)).await;
    // It covers what this primary has acknowledged, and nothing of the other one.
    doubted.send("SET b 1").await;
    settle().await;
    world.handle.sampled(sample(1, late + 1)).await;
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
    let ticket = world.handle.journal().to_sample(0).unwrap().ticket;
    fail_over(&world, 150).await;
    client.is_silent().await;
    world.handle.sampled(sample(1, ticket)).await;
    assert_eq!(client.next_now().await, SET_A);
}

#[tokio::test(start_paused = true)]
async fn another_history_at_the_same_address_acknowledges_nothing() {
    let world = start().await;
    let mut client = world.connect().await;
    world.handle.sampled(sample(0, 0)).await;
    client.send("SET a 1").await;
    settle().await;
    let ticket = world.handle.journal().to_sample(0).unwrap().ticket;
    let restarted = Sample {
        replid: "restarted".into(),
        ..sample(0, ticket)
    };
    world.handle.sampled(restarted).await;
    client.is_silent().await;
    world.handle.sampled(sample(0, ticket)).await;
    assert_eq!(client.next_now().await, SET_A);
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_go_what_waits_when_replicas_have_it_or_its_time_is_over() {
    let world = start_strict().await;
    let (mut client, mut late) = (world.connect().await, world.connect().await);
    client.send("SET a 1\nGET a").await;
    settle().await;
    let ticket = world.handle.journal().to_sample(0).unwrap().ticket;
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

fn repaired(config: &mut Config) {
    replicated(config);
    config.upstream.source = Source::Sentinel(Sentinels::default());
    config.hold.deadline = Some(Duration::from_secs(10));
    config.repair.enabled = true;
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
    let primary = Primary {
        address: HostPort {
            host: format!("p{generation}.test"),
            port: 6379,
        },
        generation,
        run_id: None,
        inheritance: None,
        reason: match generation {
            1 => SwitchReason::Start,
            _ => SwitchReason::Failover,
        },
    };
    world.handle.primary(primary).await;
    pass_ms(20).await;
}

/// Replicas of that primary have all that may be asked about now.
async fn replicate_at(world: &World, generation: u64) {
    let asked = world.handle.journal().to_sample(generation);
    let ticket = asked.expect("something waits").ticket;
    world.handle.sampled(sample(generation, ticket)).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_put_back_waits_for_the_replicas_of_the_primary_that_has_it_now() {
    let (world, mut client) = start_doubted("+OK\r\n").await;
    world.redis.hold("REPAIR");
    follow(&world, 2).await;
    replicate_at(&world, 2).await;
    client.is_silent().await;
    let before = world.handle.journal().to_sample(2).unwrap().ticket;
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
