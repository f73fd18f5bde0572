//! Reads from the cache: who is served, who waits for whom, and what must not be served any more.

use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::redis::{Redis, Say};
use super::world::{World, pass, settle};
use crate::command::table::{ServerCommand, ServerCommands};
use crate::config::{Config, Ratio};

const PUSH: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n";

/// Turns the cache on, without checks by chance.
fn with_cache(config: &mut Config) {
    config.cache.bytes = 1 << 20;
    config.cache.verify_ratio = Ratio::default();
}

async fn start() -> World {
    World::with(Redis::new(), with_cache).await
}

/// Answers the next GET like this.
fn say(world: &World, bytes: &str) {
    world.redis.script("GET", Say::Bytes(bytes.into()));
}

fn arrived(world: &World, request: &str) -> usize {
    let arrivals = world.redis.arrivals();
    arrivals
        .iter()
        .filter(|(_, words)| words == request)
        .count()
}

async fn reads(world: &World, outcome: &str) -> f64 {
    world
        .count(&format!(
            "gripfast_session_reads_total{{outcome=\"{outcome}\"}}"
        ))
        .await
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_served_until_the_server_says_that_it_changed() {
    let world = start().await;
    let mut client = world.connect().await;
    say(&world, "$1\r\n1\r\n");
    assert_eq!(client.ask("GET a").await, "$1\r\n1\r\n");
    settle().await;
    for _ in 0..10 {
        assert_eq!(client.ask("GET a").await, "$1\r\n1\r\n");
    }
    assert_eq!(arrived(&world, "GET a"), 1);
    assert_eq!(arrived(&world, "PTTL a"), 1);
    // The announcement arrives with whatever comes next on that link.
    say(&world, &format!("{PUSH}$1\r\nb\r\n"));
    client.ask("GET b").await;
    say(&world, "$1\r\n2\r\n");
    assert_eq!(client.ask("GET a").await, "$1\r\n2\r\n");
    assert_eq!(arrived(&world, "GET a"), 2);
    assert_eq!(world.count("gripfast_cache_invalidations_total").await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_clients_that_ask_for_one_session_are_one_read() {
    let world = start().await;
    world.redis.hold("GET");
    let mut clients = Vec::new();
    for number in 0..100 {
        let mut client = world.connect().await;
        if number % 2 == 1 {
            client.ask("HELLO 3").await;
        }
        client.send("GET a").await;
        clients.push(client);
    }
    settle().await;
    // Who asked first leaves: the others get the answer all the same.
    drop(clients.remove(0));
    settle().await;
    say(&world, "_\r\n");
    world.redis.release("GET");
    for (number, client) in clients.iter_mut().enumerate() {
        let null = if number % 2 == 0 { "_\r\n" } else { "$-1\r\n" };
        assert_eq!(client.reply().await, null);
    }
    assert_eq!(arrived(&world, "GET a"), 1);
    assert_eq!(reads(&world, "coalesced").await, 99.0);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_comes_in_pieces_reaches_everyone_whole() {
    let world = start().await;
    world.redis.cut(3);
    world.redis.hold("HGETALL");
    let mut clients = [
        world.connect().await,
        world.connect().await,
        world.connect().await,
    ];
    clients[1].ask("HELLO 3").await;
    for client in &mut clients {
        client.send("HGETALL a").await;
    }
    settle().await;
    let long = "x".repeat(3000);
    let reply = format!("%1\r\n$1\r\nf\r\n$3000\r\n{long}\r\n");
    world
        .redis
        .script("HGETALL", Say::Bytes(reply.clone().into()));
    world.redis.release("HGETALL");
    let resp2 = reply.replacen("%1", "*2", 1);
    for (client, expected) in clients.iter_mut().zip([&resp2, &reply, &resp2]) {
        assert_eq!(&client.reply().await, expected);
    }
    assert_eq!(arrived(&world, "HGETALL a"), 1);
}

#[tokio::test(start_paused = true)]
async fn while_an_own_write_is_under_way_nothing_is_served_or_kept() {
    let world = start().await;
    let (mut writer, mut reader) = (world.connect().await, world.connect().await);
    say(&world, "$1\r\n1\r\n");
    reader.ask("GET a").await;
    world.redis.hold("SET");
    writer.send("SET a 2").await;
    settle().await;
    // It stands behind the write on the same link.
    reader.send("GET a").await;
    settle().await;
    reader.is_silent().await;
    say(&world, "$1\r\n2\r\n");
    world.redis.release("SET");
    writer.reply().await;
    assert_eq!(reader.reply().await, "$1\r\n2\r\n");
    assert_eq!(reads(&world, "passed").await, 1.0);
    say(&world, "$1\r\n2\r\n");
    reader.ask("GET a").await;
    assert_eq!(arrived(&world, "GET a"), 3, "the second one was not kept");
}

#[tokio::test(start_paused = true)]
async fn a_write_on_another_lane_and_a_read_there_count_as_changes() {
    for other in [
        "RENAME a b",
        "GETBIT a 1",
        "EVAL x 1 a",
        "EVAL x 0",
        "FLUSHALL",
        "DEBUG RELOAD",
    ] {
        let world = start().await;
        let mut client = world.connect().await;
        say(&world, "$1\r\n1\r\n");
        client.ask("GET a").await;
        settle().await;
        client.ask(other).await;
        client.ask("GET a").await;
        assert_eq!(arrived(&world, "GET a"), 2, "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_behind_an_exec_spoils_by_itself() {
    let world = start().await;
    let (mut writer, mut reader) = (world.connect().await, world.connect().await);
    writer.ask("MULTI").await;
    writer.ask("SET b 1").await;
    world.redis.hold("GET");
    reader.send("GET a").await;
    settle().await;
    writer.send("EXEC\nSET a 2").await;
    writer.replies(2).await;
    world.redis.release("GET");
    reader.reply().await;
    settle().await;
    reader.ask("GET a").await;
    assert_eq!(arrived(&world, "GET a"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_on_the_own_link_spoils_at_exec() {
    let world = start().await;
    let (mut writer, mut reader) = (world.connect().await, world.connect().await);
    writer.ask("MULTI").await;
    writer.ask("SET a 2").await;
    say(&world, "$1\r\n1\r\n");
    reader.ask("GET a").await;
    settle().await;
    reader.ask("GET a").await;
    assert_eq!(arrived(&world, "GET a"), 1, "queued is not executed");
    writer.ask("EXEC").await;
    reader.ask("GET a").await;
    assert_eq!(arrived(&world, "GET a"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_lost_is_told_to_all_readers_and_what_it_brought_is_not_served() {
    let world = start().await;
    let mut clients = [world.connect().await, world.connect().await];
    say(&world, "$1\r\n1\r\n");
    clients[0].ask("GET a").await;
    settle().await;
    world.redis.hold("GET");
    for client in &mut clients {
        client.send("GET b\nGET c").await;
    }
    settle().await;
    world.redis.close(world.redis.link("tracked"));
    for client in &mut clients {
        for _ in 0..2 {
            let reply = client.reply().await;
            assert!(reply.starts_with("-MASTERDOWN"), "{reply}");
        }
    }
    world.redis.release("GET");
    pass(Duration::from_millis(200)).await;
    say(&world, "$1\r\n2\r\n");
    assert_eq!(clients[1].ask("GET a").await, "$1\r\n2\r\n");
    assert_eq!(arrived(&world, "GET a"), 2);
}

#[tokio::test(start_paused = true)]
async fn half_a_large_reply_ends_all_that_share_it() {
    let redis = Redis::new();
    redis.set_pipe(1 << 20);
    let world = World::with(redis, with_cache).await;
    let mut clients = [
        world.connect_over(1 << 20).await,
        world.connect_over(1 << 20).await,
    ];
    world.redis.hold("GET");
    world.redis.hold("PTTL");
    for client in &mut clients {
        client.send("GET a").await;
    }
    settle().await;
    let half = format!("$1000000\r\n{}", "x".repeat(500_000));
    say(&world, &half);
    world.redis.release("GET");
    settle().await;
    world.redis.close(world.redis.link("tracked"));
    for client in &mut clients {
        assert!(client.until_close().await == half);
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_answered_probe_nothing_is_served_past_the_lease() {
    let world = start().await;
    let mut client = world.connect().await;
    say(&world, "$1\r\n1\r\n");
    client.ask("GET a").await;
    world.redis.hold("TIME");
    let mut served = 0;
    for _ in 0..40 {
        pass(Duration::from_millis(100)).await;
        client.send("GET a").await;
        match tokio::time::timeout(Duration::from_millis(5), client.reply()).await {
            Ok(_) => served += 1,
            Err(_) => break,
        }
    }
    assert!(
        (15..=20).contains(&served),
        "{served} of 100 ms each, lease 2 s"
    );
    // The server speaks again: the read that waited behind the probes is answered, and served from then on.
    world.redis.release("TIME");
    client.reply().await;
    settle().await;
    let before = arrived(&world, "GET a");
    client.ask("GET a").await;
    assert_eq!(arrived(&world, "GET a"), before);
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_is_not_probed_and_one_in_use_is() {
    let world = start().await;
    let mut client = world.connect().await;
    pass(Duration::from_secs(60)).await;
    assert_eq!(arrived(&world, "TIME"), 0);
    for _ in 0..10 {
        client.ask("GET a").await;
        pass(Duration::from_millis(500)).await;
    }
    let probes = arrived(&world, "TIME");
    assert!((8..=12).contains(&probes), "{probes} in five seconds");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_served_past_its_deadline() {
    let world = start().await;
    let mut client = world.connect().await;
    world.redis.script("PTTL", Say::Bytes(b":40\r\n".to_vec()));
    say(&world, "$1\r\n1\r\n");
    client.ask("GET a").await;
    pass(Duration::from_millis(30)).await;
    client.ask("GET a").await;
    assert_eq!(arrived(&world, "GET a"), 1);
    pass(Duration::from_millis(10)).await;
    client.ask("GET a").await;
    assert_eq!(arrived(&world, "GET a"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_the_wall_clock_empties_the_cache_and_a_correction_does_not() {
    let world = start().await;
    let mut client = world.connect().await;
    client.ask("GET a").await;
    for (jump, reads) in [(50, 1), (3_600_000, 2)] {
        pass(Duration::from_millis(300)).await;
        world.move_wall_clock(jump);
        pass(Duration::from_millis(300)).await;
        client.ask("GET a").await;
        assert_eq!(arrived(&world, "GET a"), reads, "{jump} ms");
    }
    let clears = "gripfast_cache_clears_total{cause=\"clock_jump\"}";
    assert_eq!(world.count(clears).await, 1.0);
}

/// The server says of `fields` what each INFO tells; an HGETALL comes each half second, `other` behind the third.
async fn hash_reads(fields: &[u32], other: &str) -> Vec<usize> {
    let world = start().await;
    let mut client = world.connect().await;
    for fields in fields {
        let line = format!("db0:keys=1,expires=0,avg_ttl=0,subexpiry={fields}\r\n");
        let text = format!("# Keyspace\r\n{line}");
        let info = format!("${}\r\n{text}\r\n", text.len());
        world.redis.script("INFO", Say::Bytes(info.into()));
    }
    let mut reads = Vec::new();
    for step in 0..7 {
        let hash = Say::Bytes(b"%1\r\n$1\r\nf\r\n$1\r\n1\r\n".to_vec());
        world.redis.script("HGETALL", hash);
        client.ask("HGETALL a").await;
        settle().await;
        reads.push(arrived(&world, "HGETALL a"));
        if step == 2 {
            client.ask(other).await;
        }
        pass(Duration::from_millis(500)).await;
    }
    reads
}

#[tokio::test(start_paused = true)]
async fn hashes_are_kept_only_while_no_field_expires_by_itself() {
    let (none, some) = (0, 1);
    let reads = hash_reads(&[none, none, none, none], "PING").await;
    assert_eq!(reads, [1, 1, 1, 1, 1, 1, 1]);
    // The server is asked each second, and says otherwise at the fifth read.
    let reads = hash_reads(&[none, none, some, some], "PING").await;
    assert_eq!(reads, [1, 1, 1, 1, 1, 2, 3]);
    // A command that gives fields of any hash an expiry voids what was known, until the server has said more.
    let reads = hash_reads(&[none, none, none, none], "HEXPIRE b 9 FIELDS 1 f").await;
    assert_eq!(reads, [1, 1, 1, 2, 2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_makes_no_sense_costs_the_link_and_empties_the_cache() {
    let world = start().await;
    let mut client = world.connect().await;
    say(&world, "$1\r\n1\r\n");
    client.ask("GET a").await;
    say(&world, ">2\r\n$10\r\ninvalidate\r\n$1\r\na\r\n$1\r\nb\r\n");
    let reply = client.ask("GET b").await;
    assert!(reply.starts_with("-MASTERDOWN"), "{reply}");
    let clears = "gripfast_cache_clears_total{cause=\"malformed\"}";
    assert_eq!(world.count(clears).await, 1.0);
    client.ask("GET a").await;
    assert_eq!(arrived(&world, "GET a"), 2);
}

#[tokio::test(start_paused = true)]
async fn without_tracking_replies_are_kept_for_half_a_second() {
    let redis = Redis::new();
    redis.script("CLIENT", Say::Bytes(b"-NOPERM no\r\n".to_vec()));
    let world = World::with(redis, with_cache).await;
    let mut client = world.connect().await;
    client.ask("GET a").await;
    pass(Duration::from_millis(400)).await;
    client.ask("GET a").await;
    assert_eq!(arrived(&world, "GET a"), 1);
    pass(Duration::from_millis(100)).await;
    client.ask("GET a").await;
    assert_eq!(arrived(&world, "GET a"), 2);
    assert_eq!(world.count("gripfast_cache_tracking_links").await, 0.0);
}

/// The server changes the value and says nothing: a wrong cache, which the meter must show.
#[tokio::test(start_paused = true)]
async fn the_meter_shows_a_wrong_cache() {
    let world = World::with(Redis::new(), |config| {
        with_cache(config);
        config.cache.verify_ratio = Ratio::from_millionths(1_000_000);
    })
    .await;
    let mut client = world.connect().await;
    let verified = |result: &str| format!("gripfast_cache_verified_total{{result=\"{result}\"}}");
    say(&world, "$1\r\n1\r\n");
    client.ask("GET a").await;
    say(&world, "$1\r\n1\r\n");
    client.ask("GET a").await;
    assert_eq!(world.count(&verified("agree")).await, 1.0);
    say(&world, "$1\r\n2\r\n");
    pass(Duration::from_millis(200)).await;
    assert_eq!(client.ask("GET a").await, "$1\r\n1\r\n");
    assert_eq!(world.count(&verified("stale")).await, 1.0);
    let worst = world.count("gripfast_cache_staleness_worst_seconds").await;
    assert!((0.5..0.6).contains(&worst), "{worst}");
    // Announced before the answer to the check: there is nothing to compare.
    say(&world, &format!("{PUSH}$1\r\n3\r\n"));
    client.ask("GET a").await;
    assert_eq!(world.count(&verified("undecided")).await, 1.0);
    assert_eq!(world.count(&verified("stale")).await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn many_keys_are_served_if_each_is_known() {
    let world = start().await;
    let mut client = world.connect().await;
    let reply = "*2\r\n$1\r\n1\r\n_\r\n";
    world.redis.script("MGET", Say::Bytes(reply.into()));
    // PTTL must agree that the second one is not there.
    world.redis.script("PTTL", Say::Bytes(b":-1\r\n".to_vec()));
    world.redis.script("PTTL", Say::Bytes(b":-2\r\n".to_vec()));
    let resp2 = "*2\r\n$1\r\n1\r\n$-1\r\n";
    assert_eq!(client.ask("MGET a b").await, resp2);
    assert_eq!(client.ask("MGET a b").await, resp2);
    assert_eq!(client.ask("GET a").await, "$1\r\n1\r\n");
    assert_eq!(client.ask("GET b").await, "$-1\r\n");
    assert_eq!(arrived(&world, "MGET a b"), 1);
    assert_eq!(arrived(&world, "GET a"), 0);
    client.ask("MGET a b c").await;
    assert_eq!(arrived(&world, "MGET a b c"), 1);
}

async fn touches(world: &World, client: &mut Client) -> usize {
    let before = arrived(world, "EXPIRE a 100");
    assert_eq!(client.ask("EXPIRE a 100").await, ":1\r\n");
    arrived(world, "EXPIRE a 100") - before
}

#[tokio::test(start_paused = true)]
async fn a_touch_is_sent_when_it_moves_the_deadline_by_a_window() {
    let world = start().await;
    let mut client = world.connect().await;
    for _ in 0..9 {
        world.redis.script("EXPIRE", Say::Bytes(b":1\r\n".to_vec()));
    }
    // The first shows that the server accepts it from our user.
    assert_eq!(touches(&world, &mut client).await, 1);
    client.ask("GET a").await;
    settle().await;
    assert_eq!(touches(&world, &mut client).await, 0);
    pass(Duration::from_millis(900)).await;
    assert_eq!(touches(&world, &mut client).await, 0);
    pass(Duration::from_millis(200)).await;
    assert_eq!(touches(&world, &mut client).await, 1);
    // In one packet behind the read that tells the deadline: it waits for that.
    client.ask("GET a\nEXPIRE a 100").await;
    assert_eq!(arrived(&world, "EXPIRE a 100"), 2);
}

#[tokio::test(start_paused = true)]
async fn who_reads_by_getex_is_served_once_what_it_reads_was_read_for_the_cache() {
    let world = start().await;
    let getex = (b"getex".to_vec(), ServerCommand::default());
    let by_name = [getex].into();
    world
        .handle
        .server_commands(Arc::new(ServerCommands { by_name }))
        .await;
    let mut client = world.connect().await;
    for _ in 0..2 {
        say(&world, "$1\r\n1\r\n");
        world
            .redis
            .script("GETEX", Say::Bytes(b"$1\r\n1\r\n".to_vec()));
    }
    for _ in 0..9 {
        assert_eq!(client.ask("GETEX a EX 100").await, "$1\r\n1\r\n");
        settle().await;
    }
    assert_eq!(arrived(&world, "GETEX a EX 100"), 2);
    assert_eq!(arrived(&world, "GET a"), 1);
    // What is not there is not read again.
    world.redis.script("GETEX", Say::Bytes(b"_\r\n".to_vec()));
    assert_eq!(client.ask("GETEX b EX 100").await, "$-1\r\n");
    assert_eq!(arrived(&world, "GET b"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_a_connection_of_its_own_empties_the_cache_unless_it_only_subscribes() {
    let world = start().await;
    let (mut client, mut other) = (world.connect().await, world.connect().await);
    client.ask("GET a").await;
    settle().await;
    other.ask("SUBSCRIBE news").await;
    other.ask("PING").await;
    client.ask("GET a").await;
    assert_eq!(arrived(&world, "GET a"), 1);
    other.ask("SET a 2").await;
    client.ask("GET a").await;
    assert_eq!(arrived(&world, "GET a"), 2);
}
