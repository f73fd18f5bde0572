//! Requests wait for a primary: what waits, in which order, within which bounds, and what is sent again.

use std::time::Duration;

use super::redis::{Door, Redis, Say};
use super::world::{World, pass_ms, settle};
use crate::config::{Config, OnIsolation};
use crate::data_plane::Primary;
use crate::failover::machine::{Event, NodeState};
use crate::seam::HostPort;
use crate::sentinel::topology::SwitchReason;

const UNKNOWN: &str = "-ERR gripfast: outcome unknown: ";
const MASTERDOWN: &str = "-MASTERDOWN gripfast: ";

/// Longer than the server is away in these tests, but for those about the bounds.
fn patient(config: &mut Config) {
    config.hold.deadline = Some(Duration::from_secs(10));
}

async fn start() -> World {
    World::with(Redis::new(), patient).await
}

/// The server dies under what is in flight, and is back after a while.
async fn restart(world: &World) {
    world.redis.die();
    pass_ms(500).await;
    world.redis.set_door(Door::Open);
}

#[tokio::test(start_paused = true)]
async fn what_was_in_flight_is_sent_again_in_order_and_only_what_may_be() {
    let world = start().await;
    let mut client = world.connect().await;
    world.redis.hold("SET");
    client
        .send("SET a 1\nGET a\nEXPIRE a 60\nINCR n\nDEL b\nPING\nSETEX a 60 2")
        .await;
    settle().await;
    restart(&world).await;
    world.redis.release("SET");
    let replies = client.replies(7).await;
    assert_eq!(replies[0], "$7\r\n0:SET:a\r\n");
    assert_eq!(replies[1], "$7\r\n0:GET:a\r\n");
    assert!(replies[2].contains("PEXPIREAT"), "{replies:?}");
    assert!(replies[3].starts_with(UNKNOWN), "{replies:?}");
    assert_eq!(replies[4], "$7\r\n0:DEL:b\r\n");
    assert_eq!(replies[5], "+PONG\r\n");
    assert_eq!(replies[6], "$7\r\n0:SET:a\r\n", "with PXAT");
    let incr = |(_, words): &&(usize, String)| words == "INCR n";
    assert_eq!(world.redis.arrivals().iter().filter(incr).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_never_left_is_sent_whatever_it_is() {
    let redis = Redis::new();
    redis.set_pipe(128);
    let world = World::with(redis, patient).await;
    let mut first = world.connect().await;
    let mut second = world.connect().await;
    let tracked = world.redis.link("tracked");
    world.redis.with_link(tracked, |link| link.frozen = true);
    let large = format!("SET first {}", "x".repeat(4_000));
    first.send(&large).await;
    settle().await;
    second.send("INCR second").await;
    settle().await;
    restart(&world).await;
    assert_eq!(first.reply().await, "$11\r\n0:SET:first\r\n");
    assert_eq!(second.reply().await, "$13\r\n0:INCR:second\r\n");
    world.redis.carrier("INCR second");
}

#[tokio::test(start_paused = true)]
async fn new_requests_wait_in_the_order_in_which_they_came() {
    let world = start().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(world.connect().await);
    }
    world.redis.die();
    settle().await;
    for (number, client) in clients.iter_mut().enumerate() {
        client
            .send(&format!("INCR n{number}\nPING\nINCR m{number}"))
            .await;
        settle().await;
        client.is_silent().await;
    }
    world.redis.set_door(Door::Open);
    for (number, client) in clients.iter_mut().enumerate() {
        let expected = [
            format!("$9\r\n0:INCR:n{number}\r\n"),
            "+PONG\r\n".to_owned(),
            format!("$9\r\n0:INCR:m{number}\r\n"),
        ];
        assert_eq!(client.replies(3).await, expected);
    }
    let arrivals = world.redis.arrivals();
    let firsts: Vec<&str> = arrivals
        .iter()
        .filter_map(|(_, words)| words.strip_prefix("INCR n"))
        .collect();
    assert_eq!(firsts, ["0", "1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_leaves_nothing_to_be_executed() {
    let world = start().await;
    let mut gone = world.connect().await;
    let mut stays = world.connect().await;
    world.redis.hold("SET");
    gone.send("SET sent 1").await;
    settle().await;
    world.redis.die();
    settle().await;
    gone.send("INCR held").await;
    stays.send("INCR kept").await;
    settle().await;
    drop(gone);
    settle().await;
    assert_eq!(world.count("gripfast_clients_gave_up_total").await, 1.0);
    assert_eq!(world.count("gripfast_held_requests").await, 1.0);
    world.redis.release("SET");
    world.redis.set_door(Door::Open);
    assert_eq!(stays.reply().await, "$11\r\n0:INCR:kept\r\n");
    assert!(!world.redis.has("INCR held"));
    world.redis.carrier("SET sent 1");
    assert_eq!(world.count("gripfast_held_requests").await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn past_the_deadline_everybody_is_told_at_once_what_may_have_run_until_there_is_a_primary() {
    let world = World::with(Redis::new(), |config| {
        config.hold.deadline = Some(Duration::from_millis(2_000));
    })
    .await;
    let mut client = world.connect().await;
    let mut late = world.connect().await;
    world.redis.hold("SET");
    client.send("SET a 1\nGET a\nINCR n").await;
    settle().await;
    world.redis.die();
    pass_ms(1_900).await;
    client.is_silent().await;
    pass_ms(100).await;
    let replies = client.replies(3).await;
    for (reply, prefix) in replies.iter().zip([UNKNOWN, MASTERDOWN, UNKNOWN]) {
        assert!(reply.starts_with(prefix), "{replies:?}");
    }
    assert!(replies[1].contains("waited 2.0 s: there is no link to the primary"));
    assert!(late.ask("SET b 1").await.starts_with(MASTERDOWN));
    world.redis.release("SET");
    world.redis.set_door(Door::Open);
    pass_ms(1_100).await;
    assert_eq!(late.ask("SET b 1").await, "$7\r\n0:SET:b\r\n");
    world.redis.carrier("INCR n");
}

#[tokio::test(start_paused = true)]
async fn a_full_hold_refuses_everything_until_there_is_a_primary() {
    for (bound, requests, bytes) in [("requests", 3, 1 << 30), ("bytes", 100, 1 << 20)] {
        let world = World::with(Redis::new(), |config| {
            patient(config);
            config.hold.requests_max = requests;
            config.hold.bytes_max = bytes;
        })
        .await;
        world.redis.die();
        settle().await;
        let mut clients = Vec::new();
        let value = if bound == "bytes" {
            "x".repeat(60_000)
        } else {
            "1".into()
        };
        for number in 0..30 {
            let mut client = world.connect().await;
            client.send(&format!("SET k{number} {value}")).await;
            settle().await;
            clients.push(client);
        }
        for client in &mut clients {
            let reply = client.reply().await;
            assert!(reply.starts_with(MASTERDOWN), "{bound}: {reply}");
        }
        world.redis.set_door(Door::Open);
        pass_ms(1_100).await;
        assert_eq!(clients[0].ask("GET a").await, "$7\r\n0:GET:a\r\n");
        assert!(!world.redis.has("SET k0 1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_goes_on_on_another_link() {
    let world = start().await;
    let mut client = world.connect().await;
    client.ask("MULTI").await;
    client.ask("SET a 1").await;
    world.redis.die();
    settle().await;
    client.send("INCR n").await;
    settle().await;
    client.is_silent().await;
    world.redis.set_door(Door::Open);
    assert_eq!(client.reply().await, "+QUEUED\r\n");
    assert_eq!(
        client.ask("EXEC").await,
        "*2\r\n$7\r\n0:SET:a\r\n$8\r\n0:INCR:n\r\n"
    );
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_reset_has_thrown_away_is_not_queued_again() {
    let world = start().await;
    let mut client = world.connect().await;
    for lines in ["WATCH w", "MULTI", "INCR old", "RESET", "MULTI", "INCR new"] {
        client.ask(lines).await;
    }
    restart(&world).await;
    assert_eq!(client.ask("EXEC").await, "*1\r\n$10\r\n0:INCR:new\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_script_in_a_transaction_goes_with_its_body_to_a_primary_that_was_not_shown_it() {
    let world = start().await;
    let mut client = world.connect().await;
    // The name of the script `s`.
    let by_sha = "EVALSHA a0f1490a20d0211c997b44bc357e1972deab8ae3 0";
    client.ask("EVAL s 0").await;
    for request in ["MULTI", by_sha] {
        client.ask(request).await;
    }
    assert!(world.redis.has(by_sha), "it was shown to this one");
    restart(&world).await;
    // What was queued is queued again, and so is what comes.
    client.ask(by_sha).await;
    client.ask("EXEC").await;
    let arrivals = world.redis.arrivals();
    let count = |wanted: &str| arrivals.iter().filter(|(_, words)| words == wanted).count();
    assert_eq!((count("EVAL s 0"), count(by_sha)), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn what_may_have_run_is_never_said_not_to_have_whatever_refuses_it_later() {
    let world = start().await;
    let (mut client, mut other) = (world.connect().await, world.connect().await);
    world.redis.hold("SET");
    client.send("SET a 1").await;
    settle().await;
    restart(&world).await;
    for _ in 0..100 {
        let loading = Say::Bytes("-LOADING x\r\n".into());
        world.redis.script("SET", loading.clone());
        world.redis.script("DEL", loading);
    }
    world.redis.release("SET");
    settle().await;
    other.send("DEL b").await;
    pass_ms(12_000).await;
    let reply = client.reply().await;
    assert!(reply.starts_with(UNKNOWN), "{reply}");
    let reply = other.reply().await;
    assert!(reply.starts_with(MASTERDOWN), "{reply}");
}

/// A claim is on its way when the server dies; then it is answered with these, one after the other.
async fn claim(request: &str, name: &str, answers: &[&str]) -> (World, String) {
    let world = start().await;
    let mut client = world.connect().await;
    world.redis.hold(name);
    client.send(request).await;
    settle().await;
    restart(&world).await;
    for answer in answers {
        world.redis.script(name, Say::Bytes((*answer).into()));
    }
    world.redis.release(name);
    let reply = client.reply().await;
    assert_eq!(client.ask("PING").await, "+PONG\r\n");
    (world, reply)
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_made_again_and_unknown_only_where_the_key_is_there() {
    let (world, reply) = claim("SET a 1 NX EX 60", "SET", &["+OK\r\n"]).await;
    assert_eq!(reply, "+OK\r\n");
    let arrivals = world.redis.arrivals();
    let (_, again) = arrivals
        .iter()
        .rfind(|(_, words)| words.starts_with("SET"))
        .unwrap();
    assert!(again.starts_with("SET a 1 NX PXAT "), "{again}");
    for (request, name, taken) in [
        ("SET a 1 NX", "SET", "$-1\r\n"),
        ("SET a 1 NX", "SET", "_\r\n"),
        ("SETNX a 1", "SETNX", ":0\r\n"),
    ] {
        let (_, reply) = claim(request, name, &[taken]).await;
        assert!(reply.starts_with(UNKNOWN), "{request}: {reply}");
    }
    let (_, reply) = claim("SETNX a 1", "SETNX", &[":1\r\n"]).await;
    assert_eq!(reply, ":1\r\n");
    // Refused in between, it may still have run before.
    let (_, reply) = claim("SET a 1 NX", "SET", &["-LOADING x\r\n", "$-1\r\n"]).await;
    assert!(reply.starts_with(UNKNOWN), "{reply}");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_not_sent_gets_the_servers_own_answer() {
    let world = start().await;
    let mut client = world.connect().await;
    world.redis.die();
    settle().await;
    client.send("SET a 1 NX").await;
    pass_ms(500).await;
    world.redis.script("SET", Say::Bytes("$-1\r\n".into()));
    world.redis.set_door(Door::Open);
    assert_eq!(client.reply().await, "$-1\r\n");
}

#[tokio::test(start_paused = true)]
async fn an_exec_on_its_way_is_sent_again_if_all_of_it_may_be() {
    let world = start().await;
    for (queued, again) in [("SET a 1", true), ("INCR n", false)] {
        let mut client = world.connect().await;
        client.ask("MULTI").await;
        client.ask(queued).await;
        world.redis.hold("EXEC");
        client.send("EXEC\nGET b").await;
        settle().await;
        restart(&world).await;
        world.redis.release("EXEC");
        let reply = client.reply().await;
        assert_eq!(reply.starts_with("*1\r\n"), again, "{queued}: {reply}");
        assert_eq!(reply.starts_with(UNKNOWN), !again, "{queued}: {reply}");
        assert_eq!(client.reply().await, "$7\r\n0:GET:b\r\n");
        assert_eq!(client.ask("MULTI\nEXEC").await, "*0\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_transaction_is_sent_again_whole_or_unknown_as_one() {
    let world = start().await;
    for (queued, again) in [("SET a 1\nEXPIRE a 60", true), ("SET a 1\nINCR n", false)] {
        let mut client = world.connect().await;
        world.redis.hold("EXEC");
        client.send(&format!("MULTI\n{queued}\nEXEC\nGET b")).await;
        settle().await;
        restart(&world).await;
        world.redis.release("EXEC");
        let replies = client.replies(5).await;
        assert_eq!(replies[..3], ["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n"]);
        assert_eq!(replies[3].starts_with("*2\r\n"), again, "{replies:?}");
        assert_eq!(replies[3].starts_with(UNKNOWN), !again, "{replies:?}");
        assert_eq!(replies[4], "$7\r\n0:GET:b\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_was_lost_makes_its_exec_a_null_and_nothing_is_executed() {
    let world = start().await;
    for (hello, null) in [("HELLO 2", "*-1\r\n"), ("HELLO 3", "_\r\n")] {
        let mut client = world.connect().await;
        client.ask(hello).await;
        client.ask("WATCH a").await;
        client.ask("GET a").await;
        restart(&world).await;
        assert_eq!(client.ask("MULTI").await, "+OK\r\n");
        assert_eq!(client.ask("SET a 9").await, "+QUEUED\r\n");
        assert_eq!(client.ask("EXEC").await, null);
        assert!(world.redis.has("DISCARD"));
        // And it is over.
        assert_eq!(
            client.ask("MULTI\nSET a 1\nEXEC").await,
            "*1\r\n$7\r\n0:SET:a\r\n"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_node_refuses_is_tried_again_and_the_order_is_kept() {
    let world = start().await;
    let mut client = world.connect().await;
    for error in ["READONLY You", "LOADING x", "MASTERDOWN x", "NOREPLICAS x"] {
        world
            .redis
            .script("SET", Say::Bytes(format!("-{error}\r\n").into_bytes()));
        client.send("SET a 1\nGET a\nDEL b\nPING").await;
        assert_eq!(
            client.replies(4).await,
            [
                "$7\r\n0:SET:a\r\n",
                "$7\r\n0:GET:a\r\n",
                "$7\r\n0:DEL:b\r\n",
                "+PONG\r\n"
            ],
            "{error}"
        );
    }
    // Sent again behind what was refused: its first answer was older.
    let gets = |(_, words): &&(usize, String)| words == "GET a";
    assert_eq!(world.redis.arrivals().iter().filter(gets).count(), 8);
}

#[tokio::test(start_paused = true)]
async fn behind_what_was_executed_and_may_not_be_again_nothing_is_sent_late() {
    let world = start().await;
    let mut client = world.connect().await;
    world
        .redis
        .script("SET", Say::Bytes(b"-NOREPLICAS x\r\n".to_vec()));
    client.send("SET a 1\nGET a\nINCR n\nGET b").await;
    let replies = client.replies(4).await;
    assert!(replies[0].starts_with(MASTERDOWN), "{replies:?}");
    assert!(replies[1].starts_with(MASTERDOWN), "{replies:?}");
    assert_eq!(replies[2], "$8\r\n0:INCR:n\r\n");
    assert_eq!(replies[3], "$7\r\n0:GET:b\r\n");
    world.redis.carrier("INCR n");
    world.redis.carrier("SET a 1");
}

#[tokio::test(start_paused = true)]
async fn a_refused_transaction_is_queued_again() {
    let world = start().await;
    let mut client = world.connect().await;
    client.ask("MULTI").await;
    world
        .redis
        .script("INCR", Say::Bytes(b"-READONLY You\r\n".to_vec()));
    assert_eq!(client.ask("INCR n").await, "+QUEUED\r\n");
    assert_eq!(client.ask("EXEC").await, "*1\r\n$8\r\n0:INCR:n\r\n");
}

#[tokio::test(start_paused = true)]
async fn an_announced_failover_holds_writes_and_lets_reads_go_on() {
    let world = start().await;
    let mut reading = world.connect().await;
    let mut writing = world.connect().await;
    world.handle.failover(Event::Announced).await;
    settle().await;
    assert!(*world.handle.holding().borrow());
    writing.send("INCR n\nGET a").await;
    settle().await;
    writing.is_silent().await;
    assert_eq!(reading.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    assert_eq!(reading.ask("MGET a b\nPING").await, "+PONG\r\n");
    world.handle.failover(Event::CalledOff).await;
    assert_eq!(writing.reply().await, "$8\r\n0:INCR:n\r\n");
    assert_eq!(writing.reply().await, "$7\r\n0:GET:a\r\n");
    settle().await;
    assert!(!*world.handle.holding().borrow());
}

#[tokio::test(start_paused = true)]
async fn a_silent_primary_is_waited_for_and_nothing_is_closed_or_sent_twice() {
    let world = start().await;
    let mut client = world.connect().await;
    world.redis.hold("INCR");
    client.send("INCR n").await;
    settle().await;
    world.handle.failover(Event::Node(NodeState::Silent)).await;
    let mut other = world.connect().await;
    other.send("GET a").await;
    pass_ms(3_000).await;
    other.is_silent().await;
    world.redis.release("INCR");
    assert_eq!(client.reply().await, "$8\r\n0:INCR:n\r\n");
    world.handle.failover(Event::Node(NodeState::Answers)).await;
    assert_eq!(other.reply().await, "$7\r\n0:GET:a\r\n");
    world.redis.carrier("INCR n");
}

#[tokio::test(start_paused = true)]
async fn a_switch_takes_everything_along_in_one_turn() {
    let world = start().await;
    let mut client = world.connect().await;
    let mut transaction = world.connect().await;
    transaction.ask("MULTI\nSET t 1").await;
    world.redis.hold("SET");
    client.send("SET a 1\nGET a").await;
    settle().await;
    let old = world.redis.links().len();
    world.redis.release("SET");
    let address = HostPort {
        host: "other.test".into(),
        port: 6379,
    };
    world
        .handle
        .primary(Primary {
            inheritance: None,
            address,
            generation: 1,
            run_id: None,
            reason: SwitchReason::Switchover,
        })
        .await;
    assert_eq!(client.reply().await, "$7\r\n0:SET:a\r\n");
    assert_eq!(client.reply().await, "$7\r\n0:GET:a\r\n");
    assert_eq!(transaction.ask("EXEC").await, "*1\r\n$7\r\n0:SET:t\r\n");
    settle().await;
    let links = world.redis.links();
    assert!(links[..old].iter().all(|link| !link.open));
}

#[tokio::test(start_paused = true)]
async fn a_large_request_on_its_way_is_sent_again_from_its_first_byte() {
    let redis = Redis::new();
    redis.set_pipe(1 << 20);
    let world = World::with(redis, patient).await;
    let mut client = world.connect_over(1 << 20).await;
    let value = "x".repeat(300_000);
    let bytes = super::client::packet(&format!("SET a {value}\nGET a"));
    client.send_bytes(&bytes[..200_000]).await;
    settle().await;
    restart(&world).await;
    client.send_bytes(&bytes[200_000..]).await;
    assert_eq!(client.reply().await, "$7\r\n0:SET:a\r\n");
    assert_eq!(client.reply().await, "$7\r\n0:GET:a\r\n");
    world.redis.carrier(&format!("SET a {value}"));
}

#[tokio::test(start_paused = true)]
async fn a_script_that_the_new_primary_lacks_is_sent_with_its_body() {
    const SHA: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let world = start().await;
    let mut client = world.connect().await;
    let noscript = || Say::Bytes(b"-NOSCRIPT No matching script.\r\n".to_vec());
    // "return 1" has a blank: as the test's client splits at blanks, its bytes are given here.
    let load = crate::resp::request_bytes(&["SCRIPT", "LOAD", "return 1"]);
    client.send_bytes(&load).await;
    client.reply().await;
    world.redis.script("EVALSHA", noscript());
    let reply = client.ask(&format!("EVALSHA {SHA} 0")).await;
    assert!(reply.starts_with("-NOSCRIPT"), "rightly: {reply}");
    restart(&world).await;
    world.redis.script("EVALSHA", noscript());
    let reply = client.ask(&format!("EVALSHA {SHA} 0")).await;
    assert_eq!(reply, "$15\r\n0:EVAL:return 1\r\n");
    world.redis.script("EVALSHA", noscript());
    let reply = client
        .ask("EVALSHA ffffffffffffffffffffffffffffffffffffffff 0")
        .await;
    assert!(reply.starts_with("-NOSCRIPT"), "unknown: {reply}");
}

#[tokio::test(start_paused = true)]
async fn a_blocked_pop_waits_on_at_the_next_primary_for_the_rest_of_its_time() {
    let world = start().await;
    let mut client = world.connect().await;
    let mut moving = world.connect().await;
    world.redis.hold("BLPOP");
    world.redis.hold("BLMOVE");
    client.send("BLPOP q 10").await;
    moving.send("BLMOVE a b LEFT LEFT 10").await;
    pass_ms(2_000).await;
    restart(&world).await;
    world.redis.release("BLPOP");
    assert_eq!(client.reply().await, "$9\r\n0:BLPOP:q\r\n");
    let arrivals = world.redis.arrivals();
    let asked: Vec<&str> = arrivals
        .iter()
        .filter_map(|(_, words)| words.strip_prefix("BLPOP q "))
        .collect();
    assert!(asked.len() == 2 && asked[0] == "10", "{asked:?}");
    let left: f64 = asked[1].parse().unwrap();
    assert!((7.0..8.1).contains(&left), "{left}");
    assert!(moving.reply().await.starts_with(UNKNOWN));
}

#[tokio::test(start_paused = true)]
async fn writes_to_a_primary_that_is_cut_off_wait_only_where_that_is_wanted() {
    for (wish, waits) in [(OnIsolation::Serve, false), (OnIsolation::Hold, true)] {
        let world = World::with(Redis::new(), |config| {
            patient(config);
            config.hold.on_isolation = wish;
        })
        .await;
        let mut client = world.connect().await;
        world.handle.failover(Event::Isolated(true)).await;
        assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
        client.send("SET a 1").await;
        settle().await;
        assert_eq!(world.redis.has("SET a 1"), !waits);
        world.handle.failover(Event::Isolated(false)).await;
        assert_eq!(client.reply().await, "$7\r\n0:SET:a\r\n");
    }
}
