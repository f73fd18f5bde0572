//! Sessions that were written are read again at once, where writes are acknowledged while requests are held; and what is known of
//! them when the primary is lost before it has told.

use super::acknowledge::{SOON_MS, acknowledging, silent, start, start_with};
use super::client::Client;
use super::redis::{Door, Say};
use super::repair::{primary, since};
use super::world::{World, pass_ms};
use crate::config::Writes;

const OK: &str = "+OK\r\n";
const ONE: &str = ":1\r\n";
const NOTHING: &str = "$-1\r\n";

/// What is cached of `a` at the start.
const V: &str = "$1\r\nv\r\n";

/// Has the primary answer the next such request so.
fn say(world: &World, name: &str, reply: &str) {
    world.redis.script(name, Say::Bytes(reply.into()));
}

/// The primary is silent for as long as it takes until writes are acknowledged.
async fn be_silent(world: &World) {
    silent(world).await;
    pass_ms(SOON_MS).await;
}

async fn waits(world: &World, request: &str) {
    let mut client = world.connect().await;
    client.send(request).await;
    client.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_written_is_read_again_at_once() {
    let (world, mut client) = start().await;
    for (write, reply) in [
        ("SET a 2", OK),
        ("SET a 3 EX 60", OK),
        ("SET a 4 XX", OK),
        ("SETEX a 60 5", OK),
        ("EXPIRE a 60", ONE),
        ("DEL a", ONE),
    ] {
        let name = write.split(' ').next().unwrap();
        // The announcement of one's own write stands behind its reply.
        let push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n";
        say(&world, name, &format!("{reply}{push}"));
        let count = world.redis.arrivals().len();
        assert_eq!(client.ask(write).await, reply);
        pass_ms(20).await;
        assert_eq!(since(&world, count), [write, "GET a", "PTTL a"]);
        assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
        assert_eq!(since(&world, count).len(), 3, "from the cache");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_set_in_a_transaction_is_read_again_as_well() {
    let (world, mut client) = start().await;
    let count = world.redis.arrivals().len();
    say(&world, "EXEC", "*2\r\n+OK\r\n:1\r\n");
    client
        .ask("MULTI\nSET x 1\nEXPIRE x 60\nSET gone 1\nDEL gone\nEXEC")
        .await;
    pass_ms(20).await;
    let arrived = since(&world, count);
    let reads = ["GET x", "PTTL x", "GET gone", "PTTL gone"];
    assert_eq!(&arrived[arrived.len() - 4..], reads);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_ahead_of_what_was_not_written_or_where_nothing_is_acknowledged() {
    let (world, mut client) = start().await;
    let count = world.redis.arrivals().len();
    say(&world, "SET", "-OOM no\r\n");
    client.ask("SET x 1").await;
    say(&world, "SET", "$-1\r\n");
    client.ask("SET x 1 NX").await;
    say(&world, "EXPIRE", ":0\r\n");
    client.ask("EXPIRE x 60").await;
    say(&world, "EXEC", "*-1\r\n");
    client.ask("MULTI\nSET x 1\nEXEC").await;
    pass_ms(20).await;
    assert!(!since(&world, count).contains(&"GET x".to_owned()));

    let (world, mut client) = start_with(|config| {
        acknowledging(config);
        config.hold.writes = Writes::Wait;
    })
    .await;
    let count = world.redis.arrivals().len();
    say(&world, "SET", OK);
    client.ask("SET x 1").await;
    pass_ms(20).await;
    assert_eq!(since(&world, count), ["SET x 1"]);
}

#[tokio::test(start_paused = true)]
async fn of_a_primary_that_falls_silent_behind_a_write_it_is_known_what_the_write_left() {
    let (world, mut client) = start().await;
    let mut other = world.connect().await;
    // The server has to have accepted it once.
    client.ask("STRLEN other").await;
    world.redis.hold("GET");
    say(&world, "SET", OK);
    assert_eq!(client.ask("SET x 345").await, OK);
    // Who asks meanwhile waits for the read that is under way.
    other.send("GET x").await;
    other.is_silent().await;
    be_silent(&world).await;
    assert_eq!(other.reply().await, "$3\r\n345\r\n");
    assert_eq!(client.ask("GET x").await, "$3\r\n345\r\n");
    assert_eq!(client.ask("STRLEN x").await, ":3\r\n");
    assert_eq!(client.ask("GET a").await, V);
    assert_eq!(client.ask("DEL x").await, ONE);
    assert_eq!(client.ask("GET x").await, NOTHING);
}

#[tokio::test(start_paused = true)]
async fn who_has_just_been_logged_out_is() {
    let (world, mut client) = start().await;
    world.redis.hold("GET");
    say(&world, "DEL", ONE);
    assert_eq!(client.ask("DEL a").await, ONE);
    be_silent(&world).await;
    assert_eq!(client.ask("GET a").await, NOTHING);
    assert_eq!(client.ask("DEL a").await, ":0\r\n");
    waits(&world, "EXPIRE a 60").await;
}

#[tokio::test(start_paused = true)]
async fn it_is_not_shown_past_its_deadline() {
    let (world, mut client) = start().await;
    world.redis.hold("GET");
    say(&world, "SET", OK);
    assert_eq!(client.ask("SET x 1 PX 700").await, OK);
    be_silent(&world).await;
    assert_eq!(client.ask("GET x").await, "$1\r\n1\r\n");
    pass_ms(700).await;
    waits(&world, "GET x").await;
    waits(&world, "DEL x").await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_primary_leaves_the_same_known() {
    let (world, mut client) = start().await;
    world.redis.hold("GET");
    say(&world, "SETEX", OK);
    assert_eq!(client.ask("SETEX x 60 1").await, OK);
    world.redis.set_door(Door::Refusing);
    world.redis.die();
    pass_ms(20).await;
    assert_eq!(client.ask("GET x").await, "$1\r\n1\r\n");
    assert_eq!(client.ask("GET a").await, V);
}

#[tokio::test(start_paused = true)]
async fn what_the_next_write_has_made_of_it_is_not_known() {
    let (world, mut client) = start().await;
    let mut other = world.connect().await;
    world.redis.hold("GET");
    say(&world, "SET", OK);
    assert_eq!(client.ask("SET x 1").await, OK);
    other.send("APPEND x 2").await;
    pass_ms(5).await;
    be_silent(&world).await;
    waits(&world, "GET x").await;
}

async fn under_way(request: &str) -> (World, Client, Client) {
    let (world, mut client) = start().await;
    let other = world.connect().await;
    world.redis.hold(request.split(' ').next().unwrap());
    client.send(request).await;
    pass_ms(5).await;
    be_silent(&world).await;
    (world, client, other)
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_being_given_leaves_the_value_known() {
    for request in ["EXPIRE a 60", "PEXPIRE a 60000"] {
        let (world, mut client, mut other) = under_way(request).await;
        assert_eq!(client.reply().await, ONE);
        assert_eq!(other.ask("GET a").await, V);
        assert_eq!(other.ask("EXISTS a").await, ONE);
        waits(&world, "TTL a").await;
        assert_eq!(other.ask("DEL a").await, ONE);
    }
    // It may be over by now.
    let (world, _, _) = under_way("PEXPIRE a 100").await;
    waits(&world, "GET a").await;
}

#[tokio::test(start_paused = true)]
async fn who_is_being_logged_out_is() {
    for request in ["DEL a", "UNLINK a"] {
        let (world, mut client, mut other) = under_way(request).await;
        assert_eq!(client.reply().await, ONE);
        assert_eq!(other.ask("GET a").await, NOTHING);
        // And knows of it only this time.
        world.handle.primary(primary(2)).await;
        pass_ms(20).await;
        be_silent(&world).await;
        waits(&world, "DEL a").await;
    }
    let (_, mut client, _) = under_way("DEL unknown").await;
    client.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_given_while_holding_leaves_the_value_shown() {
    let (world, mut client) = start().await;
    be_silent(&world).await;
    // It shortens, so it is no touch.
    assert_eq!(client.ask("EXPIRE a 1").await, ONE);
    assert_eq!(client.ask("GET a").await, V);
    pass_ms(1_000).await;
    waits(&world, "GET a").await;
}
