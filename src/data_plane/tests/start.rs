//! The first link: dialled at start, tried again, waited for.

use std::time::Duration;

use tokio::time::Instant;

use super::redis::{Door, Redis};
use super::world::{World, pass_ms, settle};

#[tokio::test(start_paused = true)]
async fn the_tracked_link_is_dialled_before_anybody_asks() {
    let world = World::start().await;
    let lanes: Vec<String> = world
        .redis
        .links()
        .into_iter()
        .map(|link| link.lane)
        .collect();
    assert_eq!(lanes, ["tracked"]);
    let report = world.report().await;
    assert!(report.upstream_ready, "{report:?}");
    assert_eq!(report.server_version, "7.2.4");
}

#[tokio::test(start_paused = true)]
async fn while_the_server_refuses_every_lane_says_so_and_then_serves_by_itself() {
    let world = World::with(Redis::new().door(Door::Refusing), |_| {}).await;
    let mut client = world.connect().await;
    for request in [
        "GET a",
        "SET a 1",
        "SCAN 0",
        "EVAL x 0",
        "BLPOP q 0",
        "MULTI",
        "HELLO 3",
        "WAIT 0 0",
        "CLIENT ID",
        "NO-SUCH-COMMAND",
        "SUBSCRIBE news",
    ] {
        let reply = client.ask(request).await;
        assert!(
            reply.starts_with("-MASTERDOWN gripfast: "),
            "{request}: {reply}"
        );
        assert!(reply.contains("refused"), "{request}: {reply}");
    }
    assert_eq!(client.ask("PING").await, "+PONG\r\n");
    assert!(!world.report().await.upstream_ready);
    world.redis.set_door(Door::Open);
    pass_ms(1_100).await;
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    assert!(world.report().await.upstream_ready);
}

#[tokio::test(start_paused = true)]
async fn retries_are_spread_and_never_more_than_a_second_apart() {
    let world = World::with(Redis::new().door(Door::Refusing), |_| {}).await;
    pass_ms(60_000).await;
    let dials: Vec<Instant> = world.redis.dials();
    let pauses: Vec<Duration> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let bounds = Duration::from_millis(50)..=Duration::from_millis(1_002);
    assert!(
        pauses.iter().all(|pause| bounds.contains(pause)),
        "{pauses:?}"
    );
    assert!(pauses[0] <= Duration::from_millis(102), "{pauses:?}");
    let late = &pauses[10..];
    assert!(late.len() > 50, "{pauses:?}");
    let longest = late.iter().max().unwrap();
    let shortest = late.iter().min().unwrap();
    assert!(*longest > Duration::from_millis(800), "{pauses:?}");
    assert!(*shortest < Duration::from_millis(300), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_a_first_dial_that_hangs_and_are_answered_after_it() {
    let world = World::with(Redis::new().door(Door::Hanging), |config| {
        config.hold.deadline = Some(Duration::from_secs(10));
    })
    .await;
    let mut shared = world.connect().await;
    let mut pinned = world.connect().await;
    let mut greeting = world.connect().await;
    shared.send("SET a 1\nGET a\nSCAN 0").await;
    pinned.send("MULTI\nEVAL x 0\nEXEC").await;
    greeting.send("HELLO 3").await;
    pass_ms(1_000).await;
    for client in [&mut shared, &mut pinned, &mut greeting] {
        client.is_silent().await;
    }
    world.redis.set_door(Door::Open);
    assert_eq!(
        shared.replies(3).await,
        [
            "$7\r\n0:SET:a\r\n",
            "$7\r\n0:GET:a\r\n",
            "$8\r\n0:SCAN:0\r\n"
        ]
    );
    assert_eq!(
        pinned.replies(3).await,
        ["+OK\r\n", "+QUEUED\r\n", "*1\r\n$8\r\n0:EVAL:x\r\n"]
    );
    assert!(greeting.reply().await.starts_with("%7\r\n"));
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_hangs_is_given_up_after_three_seconds_and_told_at_the_deadline() {
    let world = World::with(Redis::new().door(Door::Hanging), |config| {
        config.hold.deadline = Some(Duration::from_millis(3_500));
    })
    .await;
    let mut client = world.connect().await;
    client.send("SET a 1\nGET a").await;
    pass_ms(3_400).await;
    client.is_silent().await;
    pass_ms(95).await;
    for reply in client.replies(2).await {
        assert!(
            reply.starts_with("-MASTERDOWN gripfast: ") && reply.contains("no answer within 3 s"),
            "{reply}"
        );
        assert!(reply.contains("waited 3.5 s"), "{reply}");
    }
    world.redis.set_door(Door::Open);
    pass_ms(1_100).await;
    settle().await;
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
}
