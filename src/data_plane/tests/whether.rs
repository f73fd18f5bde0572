//! Keys that a write names and nobody knows: a replica is asked whether they are there, where that is allowed, and what is
//! acknowledged by its word.

use super::acknowledge::{SOON_MS, acknowledging, silent, start_with};
use super::client::Client;
use super::redis::Say;
use super::world::{World, pass_ms, settle};
use crate::seam::HostPort;

const OK: &str = "+OK\r\n";
const NONE: &str = ":0\r\n";
const ONE: &str = ":1\r\n";

/// A sidecar that acknowledges, and knows a replica.
async fn start(asks: bool) -> (World, Client) {
    let (world, client) = start_with(|config| {
        acknowledging(config);
        config.hold.ask_replica = asks;
    })
    .await;
    world.redis.script("SET", Say::Bytes(OK.into()));
    (world, client)
}

async fn hold(world: &World) {
    let address = HostPort {
        host: "replica.test".into(),
        port: 6379,
    };
    world.handle.replica(Some(address)).await;
    silent(world).await;
    pass_ms(SOON_MS).await;
}

/// The replica says so of the next key.
fn says(world: &World, name: &str, reply: &str) {
    world.redis.script(name, Say::Bytes(reply.into()));
}

fn asked(world: &World) -> Vec<String> {
    let arrivals = world.redis.arrivals().into_iter();
    let questions = arrivals.filter(|(_, words)| words.starts_with("EXISTS"));
    questions.map(|(_, words)| words).collect()
}

async fn waits(world: &World, request: &str) {
    let mut client = world.connect().await;
    client.send(request).await;
    client.is_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_knows_is_deleted_by_the_word_of_a_replica() {
    let (world, mut client) = start(true).await;
    hold(&world).await;
    says(&world, "EXISTS", NONE);
    assert_eq!(client.ask("DEL x").await, NONE);
    says(&world, "EXISTS", ONE);
    assert_eq!(client.ask("UNLINK y").await, ONE);
    says(&world, "EXISTS", NONE);
    says(&world, "EXISTS", ONE);
    assert_eq!(client.ask("DEL a v w").await, ":2\r\n");
    assert_eq!(
        asked(&world),
        ["EXISTS x", "EXISTS y", "EXISTS v", "EXISTS w"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_given_to_what_is_there_and_nobody_is_told_that_it_is_not() {
    let (world, mut client) = start(true).await;
    hold(&world).await;
    says(&world, "EXISTS", ONE);
    assert_eq!(client.ask("EXPIRE x 60").await, ONE);
    assert_eq!(
        client.ask("GET x").await,
        "$7\r\n0:GET:x\r\n",
        "by the replica"
    );
    says(&world, "EXISTS", NONE);
    waits(&world, "EXPIRE y 60").await;
    says(&world, "GET", "$-1\r\n");
    waits(&world, "GET y").await;
    // What it refuses to tell it does not know.
    says(&world, "EXISTS", "-MASTERDOWN x\r\n");
    waits(&world, "DEL z").await;
}

#[tokio::test(start_paused = true)]
async fn what_it_has_shown_is_there() {
    let (world, mut client) = start(true).await;
    hold(&world).await;
    assert_eq!(client.ask("GET x").await, "$7\r\n0:GET:x\r\n");
    assert_eq!(client.ask("DEL x").await, ONE);
    assert!(asked(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_once_and_again_when_another_one_is_furthest() {
    let (world, mut client) = start(true).await;
    hold(&world).await;
    world.redis.hold("EXISTS");
    let mut other = world.connect().await;
    client.send("DEL x").await;
    other.send("DEL x").await;
    other.is_silent().await;
    assert_eq!(asked(&world), ["EXISTS x"]);
    let another = HostPort {
        host: "another.test".into(),
        port: 6379,
    };
    world.handle.replica(Some(another)).await;
    settle().await;
    // What the first one was asked may still be answered: not with what the second one is to say.
    world.redis.release("EXISTS");
    settle().await;
    says(&world, "EXISTS", ONE);
    let mut third = world.connect().await;
    third.send("DEL x").await;
    assert_eq!(client.reply().await, ONE);
    assert_eq!(asked(&world).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn it_is_not_asked_where_it_may_lack_what_was_written_or_is_not_to_be() {
    let (world, mut client) = start(true).await;
    assert_eq!(client.ask("SET x 1 NX").await, OK);
    world.redis.script("APPEND", Say::Bytes(ONE.into()));
    client.ask("APPEND x 1").await;
    hold(&world).await;
    waits(&world, "EXPIRE x 60").await;
    assert!(asked(&world).is_empty());

    let (world, _) = start(false).await;
    hold(&world).await;
    waits(&world, "DEL y").await;
    assert!(asked(&world).is_empty());
}
