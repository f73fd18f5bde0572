//! Replies that wait for replicas: which do, for how long, in which order, and what becomes of them when links, the primary or the
//! data thread come to their end.

mod output;
mod repaired;
mod switch;
mod which;

use std::time::Duration;

use super::redis::{Redis, Say};
use super::world::{World, pass_ms, settle};
use crate::config::{Config, DurabilityMode, OnTimeout};
use crate::journal::samples::Sample;
use crate::outbox::Ticket;

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

/// Returns the newest ticket that may be asked about at that primary.
fn newest(world: &World, generation: u64) -> Ticket {
    let asked = world.handle.journal().to_sample(generation);
    asked.expect("something waits").ticket
}

/// Replicas of the first primary have all that may be asked about now.
async fn replicate(world: &World) {
    replicate_at(world, 0).await;
}

/// Replicas of that primary have all that may be asked about now.
async fn replicate_at(world: &World, generation: u64) {
    let ticket = newest(world, generation);
    world.handle.sampled(sample(generation, ticket)).await;
}

fn waits(outcome: &str) -> String {
    format!("gripfast_durability_waits_total{{outcome=\"{outcome}\"}}")
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
