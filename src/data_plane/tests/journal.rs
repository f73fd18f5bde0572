//! Every acknowledged write is remembered, whichever way it went, as it was sent; nothing else is.

use super::redis::{Door, Redis, Say};
use super::world::{World, pass_ms, settle};
use crate::data_plane::Primary;
use crate::journal::samples::{Inheritance, Sample};
use crate::resp::request_bytes;
use crate::seam::HostPort;
use crate::sentinel::topology::SwitchReason;

/// What is remembered, a line each: request, and how the reply begins.
async fn remembered(world: &World) -> Vec<String> {
    let all = world.handle.remembered().await;
    let line = |(request, reply): (String, String)| format!("{request} = {}", reply.trim_end());
    all.into_iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn a_write_is_remembered_with_its_reply_and_a_read_is_not() {
    let world = World::start().await;
    let mut client = world.connect().await;
    world.redis.script("SET", Say::Bytes("+OK\r\n".into()));
    for request in ["SET a 1", "GET a", "INCR n", "SCAN 0", "RPUSH l x", "PING"] {
        client.ask(request).await;
    }
    let expected = [
        "SET a 1 = +OK",
        "INCR n = $8\r\n0:INCR:n",
        "RPUSH l x = $9\r\n0:RPUSH:l",
    ];
    assert_eq!(remembered(&world).await, expected);
    let mut client = world.connect().await;
    client.ask("HELLO 3").await;
    client.ask("DEL a").await;
    assert_eq!(remembered(&world).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn pipelined_writes_each_have_their_own_reply_however_it_is_cut() {
    for seed in 0..20 {
        let redis = Redis::new();
        redis.cut(seed);
        let world = World::with(redis, |_| {}).await;
        let mut client = world.connect().await;
        let lines: Vec<String> = (0..50)
            .map(|at| match at % 3 {
                0 => format!("GET r{at}"),
                1 => format!("SET w{at} x"),
                _ => format!("HSET w{at} f x"),
            })
            .collect();
        client.send(&lines.join("\n")).await;
        client.replies(50).await;
        let writes = lines.iter().filter(|line| !line.starts_with("GET"));
        let reply = |line: &String| {
            let words: Vec<&str> = line.split(' ').collect();
            let text = format!("0:{}:{}", words[0], words[1]);
            format!("{line} = ${}\r\n{text}", text.len())
        };
        let expected: Vec<String> = writes.map(reply).collect();
        assert_eq!(remembered(&world).await, expected, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_error_answers_is_not_remembered() {
    let world = World::start().await;
    let mut client = world.connect().await;
    world.redis.script("SET", Say::Bytes("-OOM x\r\n".into()));
    client.send("SET a 1\nSET b 1").await;
    client.replies(2).await;
    assert_eq!(remembered(&world).await, ["SET b 1 = $7\r\n0:SET:b"]);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_remembered_as_one_whether_it_comes_whole_or_word_by_word() {
    let world = World::start().await;
    let mut client = world.connect().await;
    client.send("MULTI\nSET a 1\nEXPIRE a 9\nEXEC").await;
    client.replies(4).await;
    for request in ["MULTI", "SET b 1", "GET b", "EXEC"] {
        client.ask(request).await;
    }
    for requests in ["MULTI\nGET a\nEXEC", "MULTI\nSET c 1\nDISCARD"] {
        client.ask(requests).await;
    }
    let found = world.handle.remembered().await;
    let requests: Vec<&str> = found.iter().map(|(request, _)| request.as_str()).collect();
    let expected = [
        "MULTI; SET a 1; EXPIRE a 9; EXEC",
        "MULTI; SET b 1; GET b; EXEC",
    ];
    assert_eq!(requests, expected);
    assert!(found.iter().all(|(_, reply)| reply.starts_with("*2\r\n")));
}

#[tokio::test(start_paused = true)]
async fn what_stands_behind_an_exec_is_remembered_by_itself() {
    let world = World::start().await;
    let mut client = world.connect().await;
    client.ask("MULTI").await;
    client.ask("SET a 1").await;
    client.send("EXEC\nSET b 1").await;
    client.replies(2).await;
    let found = world.handle.remembered().await;
    let requests: Vec<&str> = found.iter().map(|(request, _)| request.as_str()).collect();
    assert_eq!(requests, ["MULTI; SET a 1; EXEC", "SET b 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_large_value_and_a_script_are_remembered() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let value = "x".repeat(300_000);
    client
        .send_bytes(&request_bytes(&["SET", "large", &value]))
        .await;
    client.reply().await;
    client.ask("EVAL s 1 k").await;
    let huge = "x".repeat(3_000_000);
    client
        .send_bytes(&request_bytes(&["SET", "huge", &huge]))
        .await;
    client.reply().await;
    let found = world.handle.remembered().await;
    assert_eq!(found[0].0, format!("SET large {value}"));
    assert_eq!(found[1].0, "EVAL s 1 k");
    assert_eq!(found.len(), 2);
    assert_eq!(world.count("gripfast_journal_missed_total").await, 1.0);
    assert_eq!(world.count("gripfast_journal_writes_total").await, 2.0);
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_with_its_link_is_remembered_once_it_has_run() {
    let world = World::with(Redis::new(), |config| config.hold.deadline = None).await;
    let mut client = world.connect().await;
    world.redis.hold("SET");
    client.send("SET a 1").await;
    settle().await;
    world.redis.die();
    pass_ms(10).await;
    assert!(remembered(&world).await.is_empty());
    world.redis.release("SET");
    world.redis.set_door(Door::Open);
    client.reply().await;
    assert_eq!(remembered(&world).await, ["SET a 1 = $7\r\n0:SET:a"]);
}

#[tokio::test(start_paused = true)]
async fn writes_are_at_risk_until_replicas_have_them_and_then_kept_for_a_while() {
    let world = World::start().await;
    let mut client = world.connect().await;
    assert_eq!(world.handle.journal().to_sample(0), None);
    client.ask("SET a 1").await;
    client.ask("SET b 1").await;
    assert_eq!(world.handle.journal().to_sample(0).unwrap().newest, 2);
    assert_eq!(world.count("gripfast_writes_at_risk").await, 2.0);
    let sample = Sample {
        generation: 0,
        newest: 1,
        replid: "A".into(),
        offset: 100,
        acknowledged: Some(100),
        replicated: 0,
    };
    world.handle.sampled(sample).await;
    assert_eq!(world.count("gripfast_writes_at_risk").await, 1.0);
    assert_eq!(world.count("gripfast_journal_records").await, 2.0);
    pass_ms(400_000).await;
    assert_eq!(world.count("gripfast_journal_records").await, 0.0);
    assert_eq!(world.count("gripfast_journal_dropped_total").await, 1.0);
    assert_eq!(world.count("gripfast_writes_at_risk").await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn at_a_switch_it_is_said_what_the_other_primary_has() {
    let world = World::start().await;
    let mut client = world.connect().await;
    for number in 0..5 {
        client.ask(&format!("SET k{number} 1")).await;
    }
    let sample = Sample {
        generation: 0,
        newest: 3,
        replid: "A".into(),
        offset: 100,
        acknowledged: Some(50),
        replicated: 0,
    };
    world.handle.sampled(sample.clone()).await;
    let primary = Primary {
        address: HostPort {
            host: "other.test".into(),
            port: 6379,
        },
        generation: 1,
        run_id: None,
        epoch: 1,
        inheritance: Some(Inheritance {
            replid: "A".into(),
            end: 120,
        }),
        reason: SwitchReason::Failover,
    };
    world.handle.primary(primary).await;
    let at_switch = |fate: &str| format!("gripfast_writes_at_switch_total{{fate=\"{fate}\"}}");
    assert_eq!(world.count(&at_switch("inherited")).await, 3.0);
    assert_eq!(world.count(&at_switch("in_doubt")).await, 2.0);
    client.ask("SET k6 1").await;
    assert_eq!(world.count("gripfast_writes_at_risk").await, 6.0);
    let followed = Sample {
        generation: 1,
        newest: 6,
        replid: "B".into(),
        offset: 150,
        acknowledged: Some(150),
        replicated: 0,
    };
    world.handle.sampled(followed).await;
    assert_eq!(world.count("gripfast_writes_at_risk").await, 2.0);
}
