//! `hold.writes: acknowledge`: what is acknowledged while requests are held, what is shown of it, and how it is put back.

mod again;

use std::time::Duration;

use super::client::Client;
use super::redis::{Redis, Say};
use super::repair::{end_round, primary, repairing, since};
use super::world::{World, pass_ms};
use crate::config::{Config, DurabilityMode, Writes};
use crate::failover::machine::{Event, NodeState};

const OK: &str = "+OK\r\n";
const ONE: &str = ":1\r\n";

/// Longer than writes wait before they are acknowledged.
pub(super) const SOON_MS: u64 = 300;

pub(super) fn acknowledging(config: &mut Config) {
    repairing(config);
    config.cache.bytes = 1 << 20;
    config.hold.writes = Writes::Acknowledge;
    config.hold.acknowledge_after = Duration::from_millis(250);
}

/// A sidecar that serves from its first primary, where `a` is cached.
pub(super) async fn start_with(change: impl FnOnce(&mut Config)) -> (World, Client) {
    let world = World::with(Redis::new(), change).await;
    world.handle.primary(primary(1)).await;
    pass_ms(20).await;
    let mut client = world.connect().await;
    world.redis.script("GET", Say::Bytes("$1\r\nv\r\n".into()));
    assert_eq!(client.ask("GET a").await, "$1\r\nv\r\n");
    pass_ms(20).await;
    (world, client)
}

pub(super) async fn start() -> (World, Client) {
    start_with(acknowledging).await
}

pub(super) async fn silent(world: &World) {
    world.handle.failover(Event::Node(NodeState::Silent)).await;
}

async fn answers(world: &World) {
    world.handle.failover(Event::Node(NodeState::Answers)).await;
    pass_ms(20).await;
}

async fn acknowledged(world: &World) -> f64 {
    world.count("gripfast_writes_acknowledged_held_total").await
}

async fn settled(world: &World, outcome: &str) -> f64 {
    let series = format!("gripfast_writes_settled_total{{outcome=\"{outcome}\"}}");
    world.count(&series).await
}

#[tokio::test(start_paused = true)]
async fn writes_wait_for_a_while_and_are_then_acknowledged() {
    let (world, mut client) = start().await;
    let mut late = world.connect().await;
    silent(&world).await;
    client.send("SETEX x 60 1\nDEL a").await;
    client.is_silent().await;
    pass_ms(SOON_MS).await;
    assert_eq!(client.replies(2).await, [OK, ONE]);
    assert_eq!(late.ask("SET y 1").await, OK, "at once from then on");
    assert_eq!(late.ask("EXPIRE y 60").await, ONE);
    assert_eq!(acknowledged(&world).await, 4.0);
    assert!(!world.redis.has("SET y 1"));
}

#[tokio::test(start_paused = true)]
async fn what_is_to_wait_for_replicas_is_not_acknowledged_here() {
    let (world, mut client) = start_with(|config| {
        acknowledging(config);
        config.durability.prefixes = vec![(b"auth:".to_vec(), DurabilityMode::Replicated)];
    })
    .await;
    silent(&world).await;
    pass_ms(SOON_MS).await;
    assert_eq!(client.ask("SET x 1").await, OK);
    for request in ["SET auth:x 1", "MULTI\nSET x 2\nSET auth:x 1\nEXEC"] {
        let mut waits = world.connect().await;
        waits.send(request).await;
        waits.is_silent().await;
    }
    assert_eq!(acknowledged(&world).await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_is_shown_and_only_what_was_deleted_is_absent() {
    let (world, mut client) = start().await;
    silent(&world).await;
    pass_ms(SOON_MS).await;
    client.ask("SET x 12\nSET y 1").await;
    let shown = client.ask("GET x").await;
    assert_eq!(shown, "$2\r\n12\r\n");
    assert_eq!(client.ask("EXISTS x").await, ONE);
    assert_eq!(client.ask("STRLEN x").await, ":2\r\n");
    client.ask("SET x 3").await;
    assert_eq!(client.ask("GET x").await, "$1\r\n3\r\n");
    for waits in ["MGET x y", "TTL x", "HGETALL x"] {
        let mut other = world.connect().await;
        other.send(waits).await;
        other.is_silent().await;
    }
    assert_eq!(client.ask("DEL x").await, ONE);
    assert_eq!(client.ask("GET x").await, "$-1\r\n");
    for request in ["EXISTS x", "STRLEN x", "DEL x"] {
        assert_eq!(client.ask(request).await, ":0\r\n");
    }
    client.ask("SET short 1 PX 50").await;
    pass_ms(60).await;
    for waits in ["EXPIRE x 9", "GET short", "DEL short"] {
        let mut other = world.connect().await;
        other.send(waits).await;
        other.is_silent().await;
    }
    assert_eq!(client.ask("SET x 4\nGET x").await, "$1\r\n4\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_would_pass_the_hold_does_not_see_what_was_before() {
    let (world, mut client) = start().await;
    world.handle.failover(Event::Announced).await;
    pass_ms(SOON_MS).await;
    assert_eq!(client.ask("GET other").await, "$11\r\n0:GET:other\r\n");
    client.ask("SET a 2\nSET other 2").await;
    assert_eq!(client.ask("GET a").await, "$1\r\n2\r\n");
    assert_eq!(client.ask("GET other").await, "$1\r\n2\r\n");
    for waits in ["KEYS *", "SORT other BY nosort"] {
        let mut other = world.connect().await;
        other.send(waits).await;
        other.is_silent().await;
    }
    client.send("STRLEN a\nTTL a").await;
    assert_eq!(client.reply().await, ONE);
    client.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_acknowledged_whole_or_waits() {
    let (world, mut client) = start().await;
    silent(&world).await;
    pass_ms(SOON_MS).await;
    client
        .send("MULTI\nDEL a\nSET a 2\nEXPIRE a 60\nEXEC")
        .await;
    let queued = "+QUEUED\r\n";
    assert_eq!(client.replies(4).await, [OK, queued, queued, queued]);
    assert_eq!(client.reply().await, "*3\r\n:1\r\n+OK\r\n:1\r\n");
    for waits in [
        "MULTI\nSET b 1\nINCR n\nEXEC",
        "MULTI\nSET b 1\nDEL unknown\nEXEC",
        "MULTI\nEXEC",
        "MULTI",
    ] {
        let mut other = world.connect().await;
        other.send(waits).await;
        other.is_silent().await;
    }
    let mut other = world.connect().await;
    other.send("GET b").await;
    other.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn what_depends_on_what_is_not_known_waits() {
    let (world, _) = start().await;
    silent(&world).await;
    pass_ms(SOON_MS).await;
    for waits in [
        "DEL unknown",
        "EXPIRE unknown 60",
        "SET x 1 NX",
        "SET x 1 KEEPTTL",
        "INCR x",
        "HSET h f v",
        "MSET x 1 y 2",
        "FLUSHALL",
    ] {
        let mut other = world.connect().await;
        other.send(waits).await;
        other.is_silent().await;
    }
    assert_eq!(acknowledged(&world).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_key_with_a_write_under_way_waits_for_it() {
    let (world, mut client) = start().await;
    let mut other = world.connect().await;
    world.redis.hold("INCR");
    other.send("INCR x").await;
    pass_ms(5).await;
    world.handle.failover(Event::Announced).await;
    pass_ms(SOON_MS).await;
    client.send("SET x 1").await;
    client.is_silent().await;
    world.redis.release("INCR");
    other.reply().await;
    let mut third = world.connect().await;
    // Somebody else's makes those that wait be looked at again.
    assert_eq!(third.ask("SET y 1").await, OK);
    pass_ms(150).await;
    assert_eq!(client.reply().await, OK);
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_primary_was_asked_is_taken_back_and_acknowledged_where_that_may_be() {
    let (world, mut client) = start().await;
    let mut other = world.connect().await;
    let mut subscriber = world.connect().await;
    subscriber.ask("SUBSCRIBE c").await;
    world.redis.hold("SET");
    client.send("SET x 1 EX 60\nGET x").await;
    pass_ms(5).await;
    other.send("INCR n").await;
    pass_ms(5).await;
    silent(&world).await;
    client.is_silent().await;
    pass_ms(SOON_MS).await;
    assert_eq!(client.replies(2).await, [OK, "$1\r\n1\r\n"]);
    let reply = other.reply().await;
    assert!(
        reply.starts_with("-ERR gripfast: outcome unknown"),
        "{reply}"
    );
    subscriber.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_unless_it_is_wished_for_or_past_the_deadline_or_the_bounds() {
    let (world, mut client) = start_with(|config| {
        acknowledging(config);
        config.hold.writes = Writes::Wait;
    })
    .await;
    silent(&world).await;
    client.send("SET x 1").await;
    pass_ms(SOON_MS).await;
    client.is_silent().await;

    let (world, mut client) = start_with(|config| {
        acknowledging(config);
        config.hold.bytes_max = 6;
    })
    .await;
    let mut other = world.connect().await;
    silent(&world).await;
    pass_ms(SOON_MS).await;
    assert_eq!(client.ask("SET x 12345").await, OK);
    other.send("SET y 1").await;
    let reply = other.reply().await;
    assert!(reply.starts_with('-'), "{reply}: too much is held");

    let (world, mut client) = start_with(|config| {
        acknowledging(config);
        config.hold.deadline = Some(Duration::from_millis(1_000));
    })
    .await;
    silent(&world).await;
    pass_ms(SOON_MS).await;
    assert_eq!(client.ask("SET x 1").await, OK);
    pass_ms(1_000).await;
    let reply = client.ask("SET x 2").await;
    assert!(reply.starts_with("-MASTERDOWN"), "{reply}");
    assert_eq!(client.ask("GET x").await, "$1\r\n1\r\n");
}

#[tokio::test(start_paused = true)]
async fn another_primary_gets_it_with_all_that_it_lacks() {
    let (world, mut client) = start().await;
    world.redis.script("SET", Say::Bytes(OK.into()));
    client.ask("SET old 1").await;
    silent(&world).await;
    pass_ms(SOON_MS).await;
    client.ask("SET x 1\nSET old 2\nDEL a").await;
    let count = world.redis.arrivals().len();
    world.redis.set_round(true, &[]);
    world.handle.primary(primary(2)).await;
    pass_ms(20).await;
    let arrived = since(&world, count);
    let mut repaired = arrived[1..4].to_vec();
    repaired.sort();
    assert_eq!(repaired, ["REPAIR a", "REPAIR old", "REPAIR x"]);
    assert_eq!((&arrived[0][..], &arrived[4][..]), ("OPEN", "REPORT"));
    assert_eq!(client.ask("GET x").await, "$7\r\n0:GET:x\r\n");
    end_round(&world).await;
    assert_eq!(settled(&world, "repaired").await, 4.0);
    // Until its replicas have them they are at risk like any other.
    let journalled = world.handle.journalled().await;
    for request in ["SET x 1", "SET old 2", "DEL a"] {
        let is = |(_, line, _): &(bool, String, String)| line == request;
        assert!(journalled.iter().any(is), "{request}: {journalled:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn called_off_it_is_put_back_when_others_have_compared_what_they_have() {
    let (world, mut client) = start().await;
    world.redis.script("SET", Say::Bytes(OK.into()));
    client.ask("SET old 1").await;
    silent(&world).await;
    pass_ms(SOON_MS).await;
    client.ask("SET x 1").await;
    world.redis.set_round(true, &["other"]);
    let count = world.redis.arrivals().len();
    answers(&world).await;
    let arrived = since(&world, count);
    assert_eq!(arrived, ["OPEN returned", "REPAIR old", "CHECK"]);
    // Requests go on, but for those of its key.
    let mut other = world.connect().await;
    assert_eq!(other.ask("SET y 1").await, "$7\r\n0:SET:y\r\n");
    client.send("GET x").await;
    client.is_silent().await;

    let count = world.redis.arrivals().len();
    world.redis.set_round(true, &["+other"]);
    pass_ms(300).await;
    let arrived = since(&world, count);
    assert_eq!(arrived[0], "REPAIR x");
    assert!(arrived.contains(&"REPORT".to_owned()), "{arrived:?}");
    assert_eq!(client.reply().await, "$7\r\n0:GET:x\r\n");
    end_round(&world).await;
    assert_eq!(settled(&world, "repaired").await, 1.0);
    assert_eq!(settled(&world, "survived").await, 0.0, "nothing else was");
}

#[tokio::test(start_paused = true)]
async fn with_nothing_acknowledged_a_failover_that_is_called_off_is_no_round() {
    let (world, mut client) = start().await;
    silent(&world).await;
    pass_ms(SOON_MS).await;
    client.send("INCR n").await;
    client.is_silent().await;
    let count = world.redis.arrivals().len();
    answers(&world).await;
    client.reply().await;
    assert_eq!(since(&world, count), ["INCR n", "PTTL n"]);
}

#[tokio::test(start_paused = true)]
async fn the_round_of_another_sidecar_is_joined_for_its_sake() {
    let (world, mut client) = start().await;
    world.redis.script("SET", Say::Bytes(OK.into()));
    client.ask("SET mine 1").await;
    world.redis.hold("INCR");
    client.send("INCR under:way").await;
    pass_ms(5).await;
    let count = world.redis.arrivals().len();
    world.redis.set_round(true, &["+other"]);
    // It is found by the next heartbeat.
    pass_ms(1_100).await;
    assert_eq!(since(&world, count).last().unwrap(), "BEAT");
    // What goes without a mark is waited for, so that it is compared.
    let mut other = world.connect().await;
    other.send("SET later 1").await;
    other.is_silent().await;
    world.redis.release("INCR");
    client.reply().await;
    pass_ms(20).await;
    let arrived = since(&world, count);
    let place = |name: &str| {
        let found = arrived.iter().position(|line| line.starts_with(name));
        found.unwrap_or_else(|| panic!("no {name} in {arrived:?}"))
    };
    assert!(place("REPAIR mine") < place("REPORT"), "{arrived:?}");
    assert!(!arrived.iter().any(|line| line.starts_with("OPEN")));
    assert!(world.redis.has("MARK later"));
    other.reply().await;
    end_round(&world).await;
    assert_eq!(
        settled(&world, "survived").await,
        0.0,
        "nothing was at risk"
    );
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_compared_it_is_written_as_it_is() {
    let (world, mut client) = start().await;
    silent(&world).await;
    pass_ms(SOON_MS).await;
    client.ask("SETEX x 60 1\nDEL a").await;
    let refused = "-NOPERM this user has no permissions\r\n";
    world.redis.script("OPEN", Say::Bytes(refused.into()));
    world.handle.primary(primary(2)).await;
    pass_ms(20).await;
    let is_there = |start: &str| {
        let arrivals = world.redis.arrivals();
        arrivals.iter().any(|(_, line)| line.starts_with(start))
    };
    for request in ["SET x 1 PX ", "DEL a"] {
        assert!(is_there(request), "{request}: {:?}", world.redis.arrivals());
    }
}
