//! Clients that want to know are told when requests are held, and nobody else; and never in the middle of a frame.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::client::Client;
use super::redis::{Door, Redis, Say};
use super::world::{World, pass_ms, settle};
use crate::failover::machine::{Event, NodeState};

const ON: &str = "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip";
const UNKNOWN: &str = "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n";

/// Of the hold with that number; the deadline is 10 s.
fn failing_over(number: u32, seconds: u32) -> String {
    format!(">3\r\n$12\r\nFAILING_OVER\r\n:{number}\r\n:{seconds}\r\n")
}

fn failed_over(number: u32) -> String {
    format!(">2\r\n$11\r\nFAILED_OVER\r\n:{number}\r\n")
}

async fn start() -> World {
    World::with(Redis::new(), |config| {
        config.hold.deadline = Some(Duration::from_secs(10));
    })
    .await
}

/// A client in RESP3.
async fn modern(world: &World) -> Client {
    let mut client = world.connect().await;
    assert!(client.ask("HELLO 3").await.starts_with('%'));
    client
}

/// One that wants to know.
async fn curious(world: &World) -> Client {
    let mut client = modern(world).await;
    assert_eq!(client.ask(ON).await, "+OK\r\n");
    client
}

/// Begins the hold that reads are not part of.
async fn announce(world: &World) {
    world.handle.failover(Event::Announced).await;
    settle().await;
}

async fn call_off(world: &World) {
    world.handle.failover(Event::CalledOff).await;
    settle().await;
}

/// The number of a push, which is the first thing that this client is sent.
async fn number(client: &mut Client) -> u32 {
    let push = client.next_now().await;
    let line = push.split("\r\n").nth(3).expect("a number");
    line[1..].parse().expect("a number")
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_reply_is_told_at_once_and_again_before_it() {
    let world = start().await;
    let mut waits = curious(&world).await;
    let mut idle = curious(&world).await;
    world.redis.hold("SET");
    waits.send("SET a 1").await;
    settle().await;
    world.redis.die();
    let began = number(&mut idle).await;
    assert_eq!(waits.next_now().await, failing_over(began, 10));
    waits.is_silent().await;
    pass_ms(3_000).await;
    world.redis.release("SET");
    world.redis.set_door(Door::Open);
    assert_eq!(waits.reply().await, failed_over(began + 1));
    assert_eq!(waits.reply().await, "$7\r\n0:SET:a\r\n");
    assert_eq!(idle.reply().await, failed_over(began + 1));
    world.redis.die();
    assert_eq!(idle.next_now().await, failing_over(began + 2, 10));
}

#[tokio::test(start_paused = true)]
async fn who_asks_meanwhile_is_told_right_behind_the_answer_and_only_once() {
    let world = start().await;
    let mut first = curious(&world).await;
    announce(&world).await;
    let began = number(&mut first).await;
    pass_ms(2_500).await;
    let mut client = modern(&world).await;
    client.send(&format!("{ON}\nPING\n{ON}\nPING")).await;
    assert_eq!(client.reply().await, "+OK\r\n");
    assert_eq!(client.reply().await, failing_over(began, 8));
    assert_eq!(
        client.replies(3).await,
        ["+PONG\r\n", "+OK\r\n", "+PONG\r\n"]
    );
    call_off(&world).await;
    assert_eq!(client.next_now().await, failed_over(began + 1));
    client.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn who_has_not_asked_or_has_unasked_is_not_told() {
    let world = start().await;
    let mut clients = Vec::new();
    for (after_on, answer) in [
        ("CLIENT MAINT_NOTIFICATIONS OFF", "+OK"),
        ("RESET", "+RESET"),
        ("HELLO 2", "*"),
        // Gives it a connection to the server.
        ("SUBSCRIBE news", "$"),
        ("CLIENT TRACKING ON", "+OK"),
    ] {
        let mut client = curious(&world).await;
        let reply = client.ask(after_on).await;
        assert!(reply.starts_with(answer), "{after_on}: {reply}");
        clients.push(client);
    }
    clients.push(modern(&world).await);
    clients.push(world.connect().await);
    let mut again = curious(&world).await;
    assert_eq!(again.ask("RESET\nHELLO 3").await.as_bytes()[0], b'%');
    clients.push(again);
    let mut told = curious(&world).await;
    announce(&world).await;
    call_off(&world).await;
    assert!(told.next_now().await.contains("FAILING_OVER"));
    assert!(told.next_now().await.contains("FAILED_OVER"));
    for client in &mut clients {
        client.is_silent().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_command_is_refused_where_it_would_promise_too_much_or_is_not_understood() {
    let world = start().await;
    let mut client = world.connect().await;
    for words in [ON, "CLIENT MAINT_NOTIFICATIONS OFF"] {
        assert_eq!(client.ask(words).await, UNKNOWN, "RESP2: {words}");
    }
    let mut client = modern(&world).await;
    for (words, refusal) in [
        ("", "-ERR wrong number of arguments"),
        ("MAYBE", "-ERR syntax error"),
        ("ON moving-endpoint-type", "-ERR syntax error"),
        ("ON moving-endpoint-type elsewhere", "-ERR syntax error"),
        ("ON loudly yes", "-ERR syntax error"),
    ] {
        let reply = client
            .ask(&format!("CLIENT MAINT_NOTIFICATIONS {words}"))
            .await;
        assert!(reply.starts_with(refusal), "{words}: {reply}");
    }
    announce(&world).await;
    client.is_silent().await;
    let world = World::with(Redis::new(), |config| {
        config.hold.deadline = Some(Duration::from_secs(10));
        config.listen.maint_notifications = false;
    })
    .await;
    let mut client = modern(&world).await;
    assert_eq!(client.ask(ON).await, UNKNOWN);
    announce(&world).await;
    client.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn the_answer_comes_behind_what_was_asked_before_and_the_push_behind_it() {
    let world = start().await;
    announce(&world).await;
    let mut client = modern(&world).await;
    world.redis.hold("GET");
    client.send(&format!("GET a\n{ON}")).await;
    settle().await;
    client.is_silent().await;
    world.redis.release("GET");
    assert_eq!(client.reply().await, "$7\r\n0:GET:a\r\n");
    assert_eq!(client.reply().await, "+OK\r\n");
    assert!(client.reply().await.contains("FAILING_OVER"));
    client.is_silent().await;
}

/// Larger than what waits for its end, so that its beginning is passed on without it.
const LARGE: usize = 1_000_000;

/// A reply that is cut in the middle, and its two halves.
fn halves() -> (String, [Vec<u8>; 2]) {
    let whole = format!("${LARGE}\r\n{}\r\n", "x".repeat(LARGE));
    let (begin, end) = whole.as_bytes().split_at(LARGE / 2);
    (whole.clone(), [begin.to_vec(), end.to_vec()])
}

/// Reads until no more than a part of a large reply can be in between.
async fn read_a_part(client: &mut Client) {
    while client.input.len() < LARGE / 3 {
        let read = client.stream.read_buf(&mut client.input).await;
        assert!(read.expect("still open") > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_which_a_part_is_out_ends_before_the_push() {
    for name in ["GET", "LRANGE"] {
        let world = start().await;
        let (whole, [begin, mut end]) = halves();
        let mut reader = curious(&world).await;
        let mut other = curious(&world).await;
        world.redis.script(name, Say::Bytes(begin));
        reader.send(&format!("{name} a 0 -1")).await;
        read_a_part(&mut reader).await;
        announce(&world).await;
        assert!(other.next_now().await.contains("FAILING_OVER"), "{name}");
        // The other half comes with the answer to somebody else on that link.
        end.extend_from_slice(b"$1\r\nb\r\n");
        world.redis.script(name, Say::Bytes(end));
        other.send(&format!("{name} b 0 -1")).await;
        assert!(reader.reply().await == whole, "{name}: not whole");
        let push = reader.reply().await;
        assert!(push.contains("FAILING_OVER"), "{name}: {push}");
        assert_eq!(other.reply().await, "$1\r\nb\r\n");
        call_off(&world).await;
        assert!(reader.reply().await.contains("FAILED_OVER"));
    }
}

#[tokio::test(start_paused = true)]
async fn so_does_one_that_several_clients_wait_for() {
    let world = World::with(Redis::new(), |config| {
        config.hold.deadline = Some(Duration::from_secs(10));
        config.cache.bytes = 1 << 24;
    })
    .await;
    let (whole, [begin, mut end]) = halves();
    let mut readers = [curious(&world).await, curious(&world).await];
    let mut idle = curious(&world).await;
    world.redis.hold("PTTL");
    world.redis.hold("GET");
    for reader in &mut readers {
        reader.send("GET a").await;
        settle().await;
    }
    world.redis.script("GET", Say::Bytes(begin));
    world.redis.release("GET");
    for reader in &mut readers {
        read_a_part(reader).await;
    }
    announce(&world).await;
    assert!(idle.next_now().await.contains("FAILING_OVER"));
    end.extend_from_slice(b":100000\r\n");
    world.redis.script("PTTL", Say::Bytes(end));
    world.redis.release("PTTL");
    for reader in &mut readers {
        assert!(reader.reply().await == whole, "not whole");
        assert!(reader.reply().await.contains("FAILING_OVER"));
    }
    let arrivals = world.redis.arrivals();
    let reads = arrivals.iter().filter(|(_, words)| words == "GET a");
    assert_eq!(reads.count(), 1, "one read for both");
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_began_and_ended_within_a_reply_is_not_told_of() {
    let world = start().await;
    let (whole, [begin, mut end]) = halves();
    let mut reader = curious(&world).await;
    let mut other = modern(&world).await;
    world.redis.script("LRANGE", Say::Bytes(begin));
    reader.send("LRANGE a 0 -1").await;
    settle().await;
    announce(&world).await;
    call_off(&world).await;
    end.extend_from_slice(b"$1\r\nb\r\n");
    world.redis.script("LRANGE", Say::Bytes(end));
    other.send("LRANGE b 0 -1").await;
    assert!(reader.reply().await == whole);
    assert_eq!(other.reply().await, "$1\r\nb\r\n");
    reader.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_frozen_primary_that_answers_again_ends_what_was_told() {
    let world = start().await;
    let mut client = curious(&world).await;
    world.handle.failover(Event::Node(NodeState::Silent)).await;
    let began = number(&mut client).await;
    client.send("SET a 1").await;
    pass_ms(3_000).await;
    client.is_silent().await;
    world.handle.failover(Event::Node(NodeState::Answers)).await;
    assert_eq!(client.reply().await, failed_over(began + 1));
    assert_eq!(client.reply().await, "$7\r\n0:SET:a\r\n");
}
