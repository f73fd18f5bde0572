//! Links of a client's own: transactions, who gets a link next, and what a lost one means.

use super::redis::{Door, Redis, Say};
use super::world::{World, pass_ms, settle};

const MASTERDOWN: &str = "-MASTERDOWN gripfast: ";

#[tokio::test(start_paused = true)]
async fn a_whole_transaction_takes_the_tracked_link() {
    let world = World::start().await;
    let mut client = world.connect().await;
    client.send("MULTI\nSET a 1\nGET a\nEXEC\nGET b").await;
    assert_eq!(
        client.replies(5).await,
        [
            "+OK\r\n",
            "+QUEUED\r\n",
            "+QUEUED\r\n",
            "*2\r\n$7\r\n0:SET:a\r\n$7\r\n0:GET:a\r\n",
            "$7\r\n0:GET:b\r\n"
        ]
    );
    let tracked = world.redis.link("tracked");
    for request in ["MULTI", "SET a 1", "GET a", "EXEC", "GET b"] {
        assert_eq!(world.redis.carrier(request), tracked);
    }
}

#[tokio::test(start_paused = true)]
async fn exec_gives_the_link_back_and_the_next_client_gets_it_without_a_dial() {
    let world = World::start().await;
    let mut first = world.connect().await;
    let mut second = world.connect().await;
    let dials = world.redis.dials().len();
    let idle = world.report().await.links_pinned_idle;
    assert_eq!(first.ask("MULTI").await, "+OK\r\n");
    assert_eq!(world.report().await.links_pinned_idle, idle - 1);
    first.ask("SET a 1").await;
    first.ask("EXEC").await;
    assert_eq!(world.report().await.links_pinned_idle, idle);
    second.ask("MULTI").await;
    second.ask("SET b 1").await;
    let link = world.redis.carrier("SET a 1");
    assert_eq!(world.redis.links()[link].lane, "pinned");
    assert_eq!(world.redis.carrier("SET b 1"), link);
    assert_eq!(second.ask("DISCARD").await, "+OK\r\n");
    assert_eq!(world.report().await.links_pinned_idle, idle);
    assert_eq!(world.redis.dials().len(), dials);
}

#[tokio::test(start_paused = true)]
async fn a_multi_behind_an_exec_keeps_the_link() {
    let world = World::start().await;
    let mut client = world.connect().await;
    client.ask("MULTI").await;
    client.ask("SET a 1").await;
    client.send("EXEC\nMULTI").await;
    client.replies(2).await;
    let idle = world.report().await.links_pinned_idle;
    assert_eq!(client.ask("SET b 1").await, "+QUEUED\r\n");
    assert_eq!(client.ask("EXEC").await, "*1\r\n$7\r\n0:SET:b\r\n");
    assert_eq!(
        world.redis.carrier("SET b 1"),
        world.redis.carrier("SET a 1")
    );
    assert_eq!(world.report().await.links_pinned_idle, idle + 1);
}

#[tokio::test(start_paused = true)]
async fn a_watch_behind_an_exec_does_not_keep_the_next_multi_waiting() {
    for end in ["EXEC", "DISCARD"] {
        let world = World::start().await;
        let mut client = world.connect().await;
        let idle = world.report().await.links_pinned_idle;
        client.ask("MULTI").await;
        client.ask("SET a 1").await;
        client
            .send(&format!("{end}\nWATCH b\nMULTI\nSET b 1\nEXEC\nPING"))
            .await;
        let replies = client.replies(6).await;
        assert_eq!(
            replies[1..],
            [
                "+OK\r\n",
                "+OK\r\n",
                "+QUEUED\r\n",
                "*1\r\n$7\r\n0:SET:b\r\n",
                "+PONG\r\n"
            ],
            "{end}"
        );
        assert_eq!(world.report().await.links_pinned_idle, idle, "{end}");
        client.ask("MULTI").await;
        client.send(&format!("{end}\nWATCH b")).await;
        client.replies(2).await;
        assert_eq!(world.report().await.links_pinned_idle, idle - 1, "{end}");
        assert_eq!(client.ask("UNWATCH").await, "+OK\r\n");
        assert_eq!(world.report().await.links_pinned_idle, idle, "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_discard_that_is_refused_does_not_keep_the_next_multi_waiting() {
    let world = World::start().await;
    let mut client = world.connect().await;
    client.ask("MULTI").await;
    let refusal = "-NOPERM x\r\n";
    world.redis.script("DISCARD", Say::Bytes(refusal.into()));
    assert_eq!(client.ask("DISCARD").await, refusal);
    assert_eq!(client.ask("MULTI").await, "+OK\r\n");
    assert_eq!(client.ask("EXEC").await, "*0\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_link_of_another_database_or_protocol_is_never_handed_over() {
    let world = World::start().await;
    let mut third = world.connect().await;
    third.ask("SELECT 3").await;
    third.ask("MULTI").await;
    third.ask("SET a 1").await;
    assert_eq!(third.ask("EXEC").await, "*1\r\n$7\r\n3:SET:a\r\n");
    let mut modern = world.connect().await;
    assert!(modern.ask("HELLO 3").await.starts_with('%'));
    modern.ask("MULTI").await;
    modern.ask("SET b 1").await;
    assert_eq!(modern.ask("EXEC").await, "*1\r\n$7\r\n0:SET:b\r\n");
    let mut plain = world.connect().await;
    plain.ask("MULTI").await;
    plain.ask("SET c 1").await;
    assert_eq!(plain.ask("EXEC").await, "*1\r\n$7\r\n0:SET:c\r\n");
    let [a, b, c] = ["SET a 1", "SET b 1", "SET c 1"].map(|set| world.redis.carrier(set));
    assert!(a != b && b != c && a != c, "{a} {b} {c}");
}

#[tokio::test(start_paused = true)]
async fn the_link_of_a_client_that_leaves_in_multi_is_closed() {
    for state in ["MULTI", "WATCH a", "MULTI\nEXEC\nMULTI", "CLIENT ID"] {
        let world = World::start().await;
        let mut first = world.connect().await;
        let mut second = world.connect().await;
        // One at a time: a pipeline of MULTI to EXEC would take the tracked link.
        for line in state.lines() {
            first.ask(line).await;
        }
        let arrivals = world.redis.arrivals();
        let (link, _) = arrivals.last().unwrap();
        drop(first);
        settle().await;
        assert!(!world.redis.links()[*link].open, "{state}");
        second.ask("MULTI").await;
        second.ask("SET b 1").await;
        assert_ne!(world.redis.carrier("SET b 1"), *link, "{state}");
        assert_eq!(world.report().await.clients, 1, "{state}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_a_living_server_closes_closes_its_client() {
    let world = World::start().await;
    let mut killed = world.connect().await;
    let mut other = world.connect().await;
    killed.ask("MULTI").await;
    world.redis.hold("SET");
    killed.send("SET a 1").await;
    settle().await;
    world.redis.close(world.redis.carrier("SET a 1"));
    assert_eq!(killed.until_close().await, "");
    world.redis.release("SET");
    assert_eq!(other.ask("GET a").await, "$7\r\n0:GET:a\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_lost_with_the_server_is_refused_to_its_end_and_its_client_stays() {
    let world = World::start().await;
    let mut client = world.connect().await;
    client.ask("MULTI").await;
    client.ask("SET a 1").await;
    world.redis.die();
    settle().await;
    assert!(client.ask("SET a 2").await.starts_with(MASTERDOWN));
    world.redis.set_door(Door::Open);
    pass_ms(1_100).await;
    assert!(client.ask("SET a 3").await.starts_with(MASTERDOWN));
    let reply = client.ask("EXEC").await;
    assert!(reply.starts_with("-EXECABORT "), "{reply}");
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    assert!(!world.redis.has("SET a 3"));
}

#[tokio::test(start_paused = true)]
async fn a_large_request_of_a_lost_transaction_is_not_executed_either() {
    let world = World::start().await;
    let mut client = world.connect().await;
    client.ask("MULTI").await;
    world.redis.die();
    settle().await;
    assert!(client.ask("SET a 1").await.starts_with(MASTERDOWN));
    world.redis.set_door(Door::Open);
    pass_ms(1_100).await;
    let large = format!("SET a {}", "x".repeat(100_000));
    let sent = super::client::packet(&large);
    // It may be closed before it has sent everything.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, &sent).await;
    settle().await;
    assert!(!world.redis.has(&large), "executed outside its transaction");
    let said = client.until_close().await;
    assert!(said.starts_with(MASTERDOWN), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_exec_lost_on_its_way_is_unknown_and_ends_the_transaction() {
    let world = World::start().await;
    let mut client = world.connect().await;
    client.ask("MULTI").await;
    client.ask("SET a 1").await;
    world.redis.hold("EXEC");
    client.send("EXEC").await;
    settle().await;
    world.redis.die();
    let reply = client.reply().await;
    assert!(
        reply.starts_with("-ERR gripfast: outcome unknown: "),
        "{reply}"
    );
    world.redis.set_door(Door::Open);
    pass_ms(1_100).await;
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
}

#[tokio::test(start_paused = true)]
async fn idle_links_that_the_server_closes_trouble_nobody() {
    let world = World::with(Redis::new(), |_| {}).await;
    let mut client = world.connect().await;
    let links = world.redis.links();
    for (number, link) in links.iter().enumerate() {
        if link.lane == "pinned" {
            world.redis.close(number);
        }
    }
    settle().await;
    assert_eq!(world.report().await.links_pinned, 0);
    assert_eq!(client.ask("EVAL x 0").await, "$8\r\n0:EVAL:x\r\n");
    assert_eq!(world.report().await.links_pinned, 1);
}
