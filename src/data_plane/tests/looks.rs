//! Looks behind writes: what is asked, where it stands, and that nobody notices.

use std::time::Duration;

use super::redis::{Door, Redis, Say};
use super::world::{World, pass, pass_ms, settle};
use crate::config::{Config, Opaque};

/// What has arrived, without what the data thread asks for itself.
fn arrived(world: &World) -> Vec<String> {
    let arrivals = world.redis.arrivals().into_iter();
    let ours = |words: &String| words.starts_with("CLIENT") || words.starts_with("TIME");
    let requests = arrivals.map(|(_, words)| words);
    requests.filter(|words| !ours(words)).collect()
}

fn is_look(words: &str) -> bool {
    ["DUMP ", "HLEN ", "PTTL "]
        .iter()
        .any(|name| words.starts_with(name))
}

fn looks(world: &World) -> Vec<String> {
    let mut all = arrived(world);
    all.retain(|words| is_look(words));
    all
}

/// All that is remembered, in order, looks with a question mark.
async fn journalled(world: &World) -> Vec<String> {
    let all = world.handle.journalled().await.into_iter();
    let line = |(is_look, request, reply): (bool, String, String)| {
        let mark = if is_look { "? " } else { "" };
        format!("{mark}{request} = {}", reply.trim_end())
    };
    all.map(line).collect()
}

async fn outcome(world: &World, outcome: &str) -> f64 {
    let series = format!("gripfast_journal_opaque_total{{outcome=\"{outcome}\"}}");
    world.count(&series).await
}

async fn with(change: impl FnOnce(&mut Config)) -> World {
    World::with(Redis::new(), change).await
}

/// A reply of so many bytes and some.
fn large(bytes: usize) -> Say {
    Say::Bytes(format!("${bytes}\r\n{}\r\n", "x".repeat(bytes)).into())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_where_the_reply_tells_all() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let known = [
        "SET a 1",
        "SET a 1 EX 9 NX",
        "SETEX a 9 1",
        "DEL a",
        "EXPIRE a 9",
        "GETDEL a",
        "HDEL a f",
        "MSET a 1 b 2",
        "FLUSHALL",
        "GET a",
        "SORT a",
        "MULTI\nSET a 1\nEXPIRE a 9\nEXEC",
    ];
    for request in known {
        client.ask(request).await;
    }
    settle().await;
    assert_eq!(looks(&world), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_look_stands_behind_its_write_on_the_same_link_and_is_journalled_with_its_reply() {
    let world = World::start().await;
    let mut client = world.connect().await;
    for (write, expected) in [
        ("HSET h f v", &["HLEN h", "PTTL h"][..]),
        ("INCR n", &["PTTL n"]),
        ("SET k v KEEPTTL", &["PTTL k"]),
        ("APPEND s v", &["DUMP s", "PTTL s"]),
        ("RPUSH l v", &["DUMP l", "PTTL l"]),
        ("RENAME x y", &["DUMP y", "PTTL y"]),
        ("EVAL s 2 p q v", &["DUMP p", "DUMP q", "PTTL p", "PTTL q"]),
        ("BLPOP b c 0", &["DUMP b", "DUMP c", "PTTL b", "PTTL c"]),
    ] {
        let before = arrived(&world).len();
        let reply = client.ask(write).await;
        assert!(reply.contains(write.split(' ').next().unwrap()), "{reply}");
        client.is_silent().await;
        let all: Vec<String> = arrived(&world).split_off(before);
        assert_eq!(all[0], write);
        assert_eq!(all[1..], *expected);
        for look in expected {
            assert_eq!(world.redis.carrier(look), world.redis.carrier(write));
        }
    }
    let found = journalled(&world).await;
    let first = [
        "HSET h f v = $8\r\n0:HSET:h",
        "? HLEN h = $8\r\n0:HLEN:h",
        "? PTTL h = :100000",
        "INCR n = $8\r\n0:INCR:n",
        "? PTTL n = :100000",
    ];
    assert_eq!(found[..5], first);
    let payload = ["? DUMP s = $8\r\n0:DUMP:s", "? PTTL s = :100000"];
    assert!(found.windows(2).any(|two| two == payload), "{found:?}");
    assert_eq!(outcome(&world, "captured").await, 7.0);
    assert_eq!(outcome(&world, "ignored").await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_asked_about_once_however_many_writes_go_out_together() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let mut lines = vec!["INCR k"];
    lines.extend(["HSET k f v"; 5]);
    lines.extend(["APPEND k v", "INCR n", "HSET k f v", "GET k"]);
    client.send(&lines.join("\n")).await;
    for line in &lines {
        let name = line.split(' ').next().unwrap();
        let reply = client.reply().await;
        assert!(reply.contains(&format!(":{name}:")), "{reply}");
    }
    client.is_silent().await;
    let all = arrived(&world);
    assert_eq!(all[..lines.len()], lines);
    assert_eq!(all[lines.len()..], ["DUMP k", "PTTL k", "PTTL n"]);
}

#[tokio::test(start_paused = true)]
async fn looks_are_neither_writes_nor_at_risk() {
    let world = World::start().await;
    let mut client = world.connect().await;
    for request in ["HSET h f v", "APPEND s v", "SET a 1"] {
        client.ask(request).await;
    }
    settle().await;
    assert_eq!(journalled(&world).await.len(), 7);
    assert_eq!(world.handle.journal().to_sample(0).unwrap().newest, 3);
    for series in [
        "gripfast_journal_writes_total",
        "gripfast_journal_records",
        "gripfast_writes_at_risk",
    ] {
        assert_eq!(world.count(series).await, 3.0, "{series}");
    }
}

#[tokio::test(start_paused = true)]
async fn replies_reach_their_clients_and_the_journal_however_they_are_cut() {
    for seed in 0..20 {
        let redis = Redis::new();
        redis.cut(seed);
        for _ in 0..5 {
            redis.script("DUMP", large(3_000));
            redis.script("PTTL", Say::Bytes(":-1\r\n".into()));
        }
        let world = World::with(redis, |_| {}).await;
        let (mut one, mut other) = (world.connect().await, world.connect().await);
        let lines = |who: &str| -> Vec<String> {
            let line = |at: usize| match at % 4 {
                0 => format!("GET {who}{at}"),
                1 => format!("HSET {who}{at} f x"),
                2 => format!("APPEND {who}{at} x"),
                _ => format!("SET {who}{at} x"),
            };
            (0..24).map(line).collect()
        };
        one.send(&lines("a").join("\n")).await;
        other.send(&lines("b").join("\n")).await;
        for (client, who) in [(&mut one, "a"), (&mut other, "b")] {
            for line in lines(who) {
                let words: Vec<&str> = line.split(' ').collect();
                let reply = client.reply().await;
                let expected = format!("0:{}:{}", words[0], words[1]);
                assert!(reply.contains(&expected), "seed {seed}: {reply}");
            }
            client.is_silent().await;
        }
        let found = journalled(&world).await;
        let dumps = found.iter().filter(|line| line.starts_with("? DUMP"));
        assert_eq!(dumps.clone().count(), 12, "seed {seed}");
        assert_eq!(
            dumps
                .filter(|line| line.contains(&"x".repeat(3_000)))
                .count(),
            5
        );
        let deadlines = found.iter().filter(|line| line.starts_with("? PTTL"));
        assert_eq!(deadlines.count(), 24);
        assert_eq!(outcome(&world, "captured").await, 12.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_looked_behind_whether_it_comes_whole_or_word_by_word() {
    let world = World::start().await;
    let mut client = world.connect().await;
    client
        .send("MULTI\nHSET a f 1\nAPPEND b x\nAPPEND a x\nEXPIRE a 9\nEXEC")
        .await;
    client.replies(6).await;
    settle().await;
    assert_eq!(
        arrived(&world)[6..],
        ["DUMP a", "DUMP b", "PTTL a", "PTTL b"]
    );
    let before = arrived(&world).len();
    for request in ["MULTI", "RPUSH c x", "HSET d f x"] {
        client.ask(request).await;
    }
    // Behind EXEC in the same packet, and again a transaction.
    client.send("EXEC\nINCR e").await;
    let exec = client.reply().await;
    assert!(exec.starts_with("*2\r\n"), "{exec}");
    client.reply().await;
    client.is_silent().await;
    let expected = [
        "MULTI",
        "RPUSH c x",
        "HSET d f x",
        "EXEC",
        "DUMP c",
        "PTTL c",
        "HLEN d",
        "PTTL d",
        "INCR e",
        "PTTL e",
    ];
    let mut all = arrived(&world).split_off(before);
    all.sort_by_key(|words| expected.iter().position(|other| other == words));
    assert_eq!(all, expected);
    let order: Vec<String> = arrived(&world).split_off(before);
    assert_eq!(order[..8], expected[..8]);
    // What is thrown away leaves nothing.
    let before = looks(&world).len();
    client.ask("MULTI\nRPUSH c x\nDISCARD").await;
    settle().await;
    assert_eq!(looks(&world).len(), before);
}

#[tokio::test(start_paused = true)]
async fn behind_one_transaction_a_bounded_number_of_keys_is_asked_about() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let mut lines = vec!["MULTI".to_owned()];
    lines.extend((0..10).map(|at| format!("INCR n{at}")));
    lines.extend((0..70).map(|at| format!("APPEND k{at} x")));
    lines.push("EXEC".into());
    client.send(&lines.join("\n")).await;
    client.replies(lines.len()).await;
    settle().await;
    let dumps = looks(&world);
    let dumps = dumps.iter().filter(|words| words.starts_with("DUMP"));
    assert_eq!(dumps.count(), 64);
    assert_eq!(outcome(&world, "captured").await, 64.0);
    assert_eq!(outcome(&world, "ignored").await, 6.0);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_lost_between_write_and_look_takes_only_the_look_along() {
    let world = World::with(Redis::new(), |config| config.hold.deadline = None).await;
    let mut client = world.connect().await;
    world.redis.hold("DUMP");
    let reply = client.ask("APPEND a x").await;
    assert!(reply.contains("0:APPEND:a"), "{reply}");
    world.redis.die();
    pass_ms(10).await;
    client.is_silent().await;
    world.redis.release("DUMP");
    world.redis.set_door(Door::Open);
    let reply = client.ask("GET a").await;
    assert!(reply.contains("0:GET:a"), "{reply}");
    settle().await;
    assert_eq!(journalled(&world).await, ["APPEND a x = $10\r\n0:APPEND:a"]);
    assert_eq!(looks(&world), ["DUMP a", "PTTL a"]);
    assert_eq!(outcome(&world, "ignored").await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_again_is_looked_behind_again() {
    let world = World::with(Redis::new(), |config| config.hold.deadline = None).await;
    let mut client = world.connect().await;
    world.redis.hold("HSET");
    client.send("HSET a f x").await;
    settle().await;
    world.redis.die();
    pass_ms(10).await;
    world.redis.release("HSET");
    world.redis.set_door(Door::Open);
    client.reply().await;
    client.is_silent().await;
    let expected = [
        "HSET a f x = $8\r\n0:HSET:a",
        "? HLEN a = $8\r\n0:HLEN:a",
        "? PTTL a = :100000",
    ];
    assert_eq!(journalled(&world).await, expected);
}

#[tokio::test(start_paused = true)]
async fn half_a_look_closes_nobody() {
    let world = World::with(Redis::new(), |config| config.hold.deadline = None).await;
    let mut client = world.connect().await;
    client.ask("WATCH w").await;
    let own = world.redis.carrier("WATCH w");
    world.redis.script("DUMP", large(3_000_000));
    world
        .redis
        .with_link(own, |link| link.bytes_left = Some(2_000_000));
    // By that it would be shown that only this link was closed.
    world.redis.hold("PING");
    client.ask("APPEND a x").await;
    pass_ms(10).await;
    world.redis.die();
    pass_ms(10).await;
    world.redis.release("PING");
    world.redis.set_door(Door::Open);
    let reply = client.ask("GET a").await;
    assert!(reply.contains("0:GET:a"), "{reply}");
}

#[tokio::test(start_paused = true)]
async fn what_the_server_refuses_is_not_asked_for_a_while() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let refusal = "-NOPERM this user has no permissions to run the 'dump' command\r\n";
    world.redis.script("DUMP", Say::Bytes(refusal.into()));
    client.ask("APPEND a x\nHSET h f v").await;
    client.is_silent().await;
    for _ in 0..3 {
        client.ask("APPEND a x").await;
        client.ask("INCR n").await;
    }
    settle().await;
    let dumps = |world: &World| {
        let all = looks(world);
        all.iter().filter(|words| words.starts_with("DUMP")).count()
    };
    assert_eq!(dumps(&world), 1);
    assert_eq!(world.redis.carrier("HLEN h"), world.redis.link("tracked"));
    let deadlines = looks(&world)
        .iter()
        .filter(|words| *words == "PTTL n")
        .count();
    assert_eq!(deadlines, 3, "that is not refused");
    assert_eq!(outcome(&world, "ignored").await, 4.0);
    pass(Duration::from_secs(61)).await;
    client.ask("APPEND a x").await;
    settle().await;
    assert_eq!(dumps(&world), 2);
    assert_eq!(outcome(&world, "captured").await, 1.0);
    // An error that says nothing of the next one changes nothing.
    let error = Say::Bytes("-WRONGTYPE no hash\r\n".into());
    world.redis.script("HLEN", error);
    let before = looks(&world).len();
    client.ask("HSET a f v").await;
    client.ask("HSET b f v").await;
    settle().await;
    assert_eq!(looks(&world).len(), before + 4);
}

#[tokio::test(start_paused = true)]
async fn a_payload_too_large_is_passed_over_and_left_alone_for_a_while() {
    let world = World::start().await;
    let mut client = world.connect().await;
    world.redis.script("DUMP", large(1 << 20));
    client.ask("APPEND a x").await;
    // Behind it everything is as usual.
    client.ask("APPEND b x\nGET b").await;
    for _ in 0..3 {
        client.ask("APPEND a x").await;
    }
    client.is_silent().await;
    let expected = ["DUMP a", "PTTL a", "DUMP b", "PTTL b"];
    assert_eq!(looks(&world), expected);
    let found = journalled(&world).await;
    let payloads = found.iter().filter(|line| line.starts_with("? DUMP"));
    assert_eq!(payloads.collect::<Vec<_>>(), ["? DUMP b = $8\r\n0:DUMP:b"]);
    assert_eq!(outcome(&world, "ignored").await, 4.0);
    pass(Duration::from_secs(61)).await;
    world.redis.script("DUMP", large((1 << 20) - 100));
    client.ask("APPEND a x").await;
    settle().await;
    assert_eq!(outcome(&world, "captured").await, 2.0);
    let found = journalled(&world).await;
    let payloads = found.iter().filter(|line| line.len() > (1 << 20) - 200);
    assert_eq!(payloads.count(), 1, "whole");
}

#[tokio::test(start_paused = true)]
async fn payloads_are_asked_for_only_where_that_is_wanted() {
    for (opaque, ignored) in [(Opaque::Ignore, 3.0), (Opaque::Wait, 0.0)] {
        let world = with(|config| config.journal.opaque = opaque).await;
        let mut client = world.connect().await;
        for request in [
            "APPEND a x",
            "EVAL s 1 k",
            "EVAL s 0",
            "HSET h f v",
            "INCR n",
        ] {
            client.send(request).await;
            client.reply().await;
        }
        settle().await;
        assert_eq!(looks(&world), ["HLEN h", "PTTL h", "PTTL n"]);
        assert_eq!(outcome(&world, "ignored").await, ignored, "{opaque:?}");
    }
    let world = with(|config| config.journal.enabled = false).await;
    let mut client = world.connect().await;
    client
        .ask("APPEND a x\nHSET h f v\nMULTI\nINCR n\nEXEC")
        .await;
    settle().await;
    assert_eq!(looks(&world), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_on_a_connection_of_the_clients_own() {
    let world = World::start().await;
    let mut client = world.connect().await;
    client.ask("MONITOR").await;
    client.ask("APPEND a x").await;
    client.is_silent().await;
    assert!(world.redis.has("APPEND a x"));
    assert_eq!(looks(&world), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_cache_knows_to_live_was_not_made_by_a_write_of_fields() {
    let world = with(|config| config.cache.bytes = 1 << 20).await;
    let mut client = world.connect().await;
    client.ask("GET h").await;
    settle().await;
    let before = looks(&world).len();
    client.ask("HSET h f v").await;
    settle().await;
    assert_eq!(looks(&world).len(), before);
    // Now the cache does not know it any more.
    client.ask("HSET h f v").await;
    settle().await;
    assert_eq!(looks(&world)[before..], ["HLEN h", "PTTL h"]);
}

#[tokio::test(start_paused = true)]
async fn a_large_request_is_looked_behind_too() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let value = "x".repeat(300_000);
    client.ask(&format!("SET a {value}")).await;
    client.ask(&format!("RPUSH b {value}")).await;
    settle().await;
    assert_eq!(looks(&world), ["DUMP b", "PTTL b"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_demoted_primary_shows_is_not_remembered() {
    let world = World::start().await;
    let mut client = world.connect().await;
    client.ask("APPEND a x").await;
    settle().await;
    let before = journalled(&world).await;
    assert_eq!(before.len(), 3);
    let refusal = "-READONLY You can't write against a read only replica.\r\n";
    world.redis.script("APPEND", Say::Bytes(refusal.into()));
    client.send("INCR n\nAPPEND a x").await;
    client.replies(2).await;
    settle().await;
    assert_eq!(looks(&world).len(), 5);
    let after = journalled(&world).await;
    assert_eq!(after[3..], ["INCR n = $8\r\n0:INCR:n"]);
    assert_eq!(outcome(&world, "captured").await, 1.0);
    assert_eq!(outcome(&world, "ignored").await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn what_a_demoted_primary_shows_behind_a_transaction_is_not_remembered() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    world.redis.script("EXEC", Say::Bytes(aborted.into()));
    client.send("MULTI\nAPPEND a x\nEXEC").await;
    client.replies(3).await;
    settle().await;
    assert_eq!(looks(&world).len(), 2);
    assert_eq!(journalled(&world).await, [""; 0]);
}
