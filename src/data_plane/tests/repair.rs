//! Another primary: what it lacks is put back, and who waits for what meanwhile.

use std::time::Duration;

use super::client::Client;
use super::redis::{Redis, Say};
use super::world::{World, pass_ms, settle};
use crate::config::{Config, Sentinels, Source};
use crate::data_plane::Primary;
use crate::seam::HostPort;
use crate::sentinel::topology::SwitchReason;

pub(super) fn repairing(config: &mut Config) {
    config.upstream.source = Source::Sentinel(Sentinels::default());
    config.hold.deadline = Some(Duration::from_secs(10));
    config.repair.enabled = true;
}

pub(super) fn primary(generation: u64) -> Primary {
    Primary {
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
    }
}

/// A sidecar that serves from its first primary.
async fn start() -> (World, Client) {
    let world = World::with(Redis::new(), repairing).await;
    world.handle.primary(primary(1)).await;
    pass_ms(20).await;
    let client = world.connect().await;
    (world, client)
}

/// Another primary, in whose round others have not reported.
async fn switch(world: &World, missing: &[&str]) {
    world.redis.set_round(true, missing);
    world.handle.primary(primary(2)).await;
    pass_ms(20).await;
}

/// The others have reported; it is looked at four times a second.
pub(super) async fn end_round(world: &World) {
    world.redis.set_round(false, &[]);
    pass_ms(500).await;
}

/// What arrived since so many requests, without what is no matter here.
pub(super) fn since(world: &World, count: usize) -> Vec<String> {
    const PLAIN: [&str; 5] = ["TIME", "INFO replication", "MARK", "CLIENT", "LOOK"];
    let arrivals = world.redis.arrivals().split_off(count);
    let lines = arrivals.into_iter().map(|(_, line)| line);
    lines
        .filter(|line| !PLAIN.iter().any(|plain| line == plain) && !line.starts_with("CLIENT"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_primary_is_joined_before_anything_is_served_from_it() {
    let world = World::with(Redis::new(), repairing).await;
    world.redis.hold("BEAT");
    world.handle.primary(primary(1)).await;
    let mut client = world.connect().await;
    client.send("GET a").await;
    client.is_silent().await;
    world.redis.release("BEAT");
    assert_eq!(client.reply().await, "$7\r\n0:GET:a\r\n");
    pass_ms(2_500).await;
    let first = ["BEAT", "REPORT", "GET a"];
    let arrived = since(&world, 0);
    assert_eq!(arrived[..3], first);
    assert_eq!(arrived[3..], ["BEAT", "BEAT", "BEAT"], "each second");
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_is_compared_and_only_its_keys_wait() {
    let (world, mut client) = start().await;
    let mut other = world.connect().await;
    world.redis.script("SET", Say::Bytes("+OK\r\n".into()));
    client.ask("SET a 1").await;
    world.redis.hold("REPAIR");
    let count = world.redis.arrivals().len();
    switch(&world, &[]).await;
    other.ask("GET b").await;
    client.send("GET a\nGET b").await;
    client.is_silent().await;
    world.redis.release("REPAIR");
    assert_eq!(
        client.replies(2).await,
        ["$7\r\n0:GET:a\r\n", "$7\r\n0:GET:b\r\n"]
    );
    let arrived = since(&world, count);
    assert_eq!(arrived[..3], ["OPEN", "REPAIR a", "GET b"]);
    assert!(arrived.contains(&"REPORT".to_owned()), "{arrived:?}");
    end_round(&world).await;
    let outcome = |name: &str| format!("gripfast_writes_settled_total{{outcome=\"{name}\"}}");
    assert_eq!(world.count(&outcome("repaired")).await, 1.0);
    assert_eq!(world.count(&outcome("lost")).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_somebody_waits_for_is_repaired_next() {
    let (world, mut client) = start().await;
    for number in 0..600 {
        world.redis.script("SET", Say::Bytes("+OK\r\n".into()));
        client.ask(&format!("SET k{number} 1")).await;
    }
    world.redis.hold("REPAIR");
    let count = world.redis.arrivals().len();
    switch(&world, &[]).await;
    let is_repair = |line: &String| line.starts_with("REPAIR");
    let first: Vec<String> = since(&world, count).into_iter().filter(is_repair).collect();
    assert_eq!(first.len(), 256, "a window of them");
    let later = (0..600).map(|number| format!("REPAIR k{number}"));
    let mut later = later.filter(|line| !first.contains(line));
    let later = later.next_back().expect("one that is not on its way");
    let key = later.strip_prefix("REPAIR ").unwrap_or_default();
    client.send(&format!("GET {key}")).await;
    client.is_silent().await;
    world.redis.release("REPAIR");
    client.reply().await;
    pass_ms(50).await;
    let all: Vec<String> = since(&world, count).into_iter().filter(is_repair).collect();
    assert_eq!((all.len(), &all[256]), (600, &later));
}

#[tokio::test(start_paused = true)]
async fn while_others_repair_writes_take_marks_and_what_depends_on_them_waits() {
    let (world, mut client) = start().await;
    let (mut relative, mut block) = (world.connect().await, world.connect().await);
    switch(&world, &["other"]).await;
    let count = world.redis.arrivals().len();
    world.redis.script("DEL", Say::Bytes("+QUEUED\r\n".into()));
    assert_eq!(client.ask("SET a 1").await, "$7\r\n0:SET:a\r\n");
    relative.send("HSET h f 1").await;
    relative.is_silent().await;
    block.send("MULTI\nSET b 1\nSET c 2\nEXEC").await;
    let replies = block.replies(4).await;
    assert_eq!(replies[..3], ["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n"]);
    assert_eq!(replies[3], "*2\r\n$7\r\n0:SET:b\r\n$7\r\n0:SET:c\r\n");
    let arrived: Vec<String> = since(&world, count)
        .into_iter()
        .filter(|line| line != "REPORT")
        .collect();
    let expected = [
        "MULTI", "MARK a", "SET a 1", "EXEC", "MULTI", "MARK b", "MARK c", "SET b 1", "SET c 2",
        "EXEC",
    ];
    assert_eq!(arrived, expected);
    world.redis.set_round(false, &[]);
    assert_eq!(relative.reply().await, "$8\r\n0:HSET:h\r\n");
    assert!(!world.redis.has("MARK h"), "the round is over");
    let found = world.handle.remembered().await;
    let requests: Vec<&str> = found.iter().map(|(request, _)| request.as_str()).collect();
    assert_eq!(
        requests,
        ["SET a 1", "MULTI; SET b 1; SET c 2; EXEC", "HSET h f 1"]
    );
}

#[tokio::test(start_paused = true)]
async fn others_are_not_waited_for_for_ever() {
    let (world, mut client) = start().await;
    switch(&world, &["other"]).await;
    client.send("HSET h f 1").await;
    client.is_silent().await;
    pass_ms(250).await;
    assert_eq!(client.reply().await, "$8\r\n0:HSET:h\r\n");
    assert!(world.redis.has("MARK h"), "the round is open still");
}

#[tokio::test(start_paused = true)]
async fn absence_is_not_believed_before_others_have_reported() {
    let (world, mut client) = start().await;
    switch(&world, &["other"]).await;
    assert_eq!(
        client.ask("GET a").await,
        "$7\r\n0:GET:a\r\n",
        "it is there"
    );
    world.redis.script("GET", Say::Bytes("_\r\n".into()));
    client.send("GET b\nGET c").await;
    client.is_silent().await;
    let asked = world.redis.arrivals();
    let asked = asked.iter().filter(|(_, line)| line == "GET b").count();
    assert_eq!(asked, 1);
    world.redis.set_round(false, &[]);
    assert_eq!(
        client.replies(2).await,
        ["$7\r\n0:GET:b\r\n", "$7\r\n0:GET:c\r\n"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_conditional_write_is_marked_when_it_has_done_something() {
    let (world, mut client) = start().await;
    switch(&world, &["other"]).await;
    pass_ms(300).await;
    world.redis.script("SETNX", Say::Bytes(":0\r\n".into()));
    world.redis.script("SETNX", Say::Bytes(":1\r\n".into()));
    assert_eq!(client.ask("SETNX a 1").await, ":0\r\n");
    assert_eq!(client.ask("SETNX b 1").await, ":1\r\n");
    settle().await;
    assert!(!world.redis.has("MARK a") && world.redis.has("MARK b"));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_comes_word_by_word_is_marked_in_front_of_its_exec() {
    let (world, mut client) = start().await;
    switch(&world, &["other"]).await;
    pass_ms(300).await;
    let count = world.redis.arrivals().len();
    for request in ["MULTI", "SET a 1", "GET a"] {
        client.ask(request).await;
    }
    assert_eq!(
        client.ask("EXEC").await,
        "*2\r\n$7\r\n0:SET:a\r\n$7\r\n0:GET:a\r\n"
    );
    let arrived: Vec<String> = since(&world, count)
        .into_iter()
        .filter(|line| line != "REPORT")
        .collect();
    assert_eq!(arrived, ["MULTI", "SET a 1", "GET a", "MARK a", "EXEC"]);
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_flush_goes_by_a_script_that_writes_it_down() {
    let (world, mut client) = start().await;
    switch(&world, &["other"]).await;
    pass_ms(300).await;
    assert_eq!(client.ask("FLUSHDB").await, "+OK\r\n");
    assert!(world.redis.has("FLUSH") && !world.redis.has("FLUSHDB"));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_lost_in_the_middle_is_opened_again_and_nothing_is_left_out() {
    let (world, mut client) = start().await;
    for number in 0..10 {
        world.redis.script("SET", Say::Bytes("+OK\r\n".into()));
        client.ask(&format!("SET k{number} 1")).await;
    }
    world.redis.hold("REPAIR");
    switch(&world, &[]).await;
    client.send("GET k3").await;
    client.is_silent().await;
    world.redis.close(world.redis.link("repair"));
    pass_ms(10).await;
    world.redis.release("REPAIR");
    pass_ms(200).await;
    assert_eq!(client.reply().await, "$8\r\n0:GET:k3\r\n");
    let outcome = "gripfast_writes_settled_total{outcome=\"repaired\"}";
    end_round(&world).await;
    assert_eq!(world.count(outcome).await, 10.0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_know_the_script_is_shown_it() {
    let (world, mut client) = start().await;
    world.redis.script("SET", Say::Bytes("+OK\r\n".into()));
    client.ask("SET a 1").await;
    world.redis.script(
        "REPAIR",
        Say::Bytes("-NOSCRIPT No matching script.\r\n".into()),
    );
    let count = world.redis.arrivals().len();
    switch(&world, &[]).await;
    let repairs = since(&world, count);
    assert_eq!(repairs.iter().filter(|line| *line == "REPAIR a").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_permission_requests_go_on_and_the_loss_is_counted() {
    let (world, mut client) = start().await;
    world.redis.script("SET", Say::Bytes("+OK\r\n".into()));
    client.ask("SET a 1").await;
    world
        .redis
        .script("OPEN", Say::Bytes("-NOPERM x\r\n".into()));
    switch(&world, &[]).await;
    assert_eq!(client.ask("SET b 1").await, "$7\r\n0:SET:b\r\n");
    assert!(!world.redis.has("MARK b"));
    let lost = "gripfast_writes_lost_total{cause=\"unable\"}";
    assert_eq!(world.count(lost).await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_the_round_has_lost_what_was_in_doubt() {
    let (world, mut client) = start().await;
    world.redis.script("SET", Say::Bytes("+OK\r\n".into()));
    client.ask("SET a 1").await;
    world.redis.set_round(false, &[]);
    world.handle.primary(primary(2)).await;
    pass_ms(20).await;
    assert!(!world.redis.has("REPAIR a"));
    let lost = "gripfast_writes_lost_total{cause=\"late\"}";
    assert_eq!(world.count(lost).await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_is_lost_while_it_is_repaired_is_no_matter_of_the_next() {
    let (world, mut client) = start().await;
    world.redis.script("SET", Say::Bytes("+OK\r\n".into()));
    client.ask("SET a 1").await;
    world.redis.hold("REPAIR");
    switch(&world, &[]).await;
    client.send("GET a").await;
    client.is_silent().await;
    world.handle.primary(primary(3)).await;
    pass_ms(20).await;
    world.redis.release("REPAIR");
    assert_eq!(client.reply().await, "$7\r\n0:GET:a\r\n");
    end_round(&world).await;
    let outcome = "gripfast_writes_settled_total{outcome=\"repaired\"}";
    assert_eq!(world.count(outcome).await, 1.0, "counted once");
}
