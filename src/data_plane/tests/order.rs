//! A client's order across lanes.

use super::redis::Redis;
use super::world::{World, settle};
use crate::config::Opaque;

#[tokio::test(start_paused = true)]
async fn the_next_lane_is_not_asked_before_the_last_one_has_answered() {
    // Reads of ours have tests of their own.
    let quiet = |config: &mut crate::config::Config| config.journal.opaque = Opaque::Ignore;
    let world = World::with(Redis::new(), quiet).await;
    let mut client = world.connect().await;
    let lanes = [
        "SET a 1",
        "SCAN 0",
        "EVAL x 0",
        "GET a",
        "BLPOP q 0",
        "SET a 2",
    ];
    for request in lanes {
        world.redis.hold(request.split(' ').next().unwrap_or(""));
    }
    client.send(&lanes.join("\n")).await;
    for (done, request) in lanes.iter().enumerate() {
        settle().await;
        let arrived: Vec<String> = world
            .redis
            .arrivals()
            .into_iter()
            .map(|(_, words)| words)
            .collect();
        assert_eq!(arrived, lanes[..=done]);
        client.is_silent().await;
        let name = request.split(' ').next().unwrap_or("");
        world.redis.release(name);
        let reply = client.reply().await;
        assert!(reply.contains(name), "{reply}");
        if name == "SET" {
            world.redis.hold(name);
        }
        if done + 1 == lanes.len() {
            world.redis.release("SET");
        }
    }
    let on = |request: &str| {
        world.redis.links()[world.redis.carrier(request)]
            .lane
            .clone()
    };
    assert_eq!(on("SET a 1"), "tracked");
    assert_eq!(on("SCAN 0"), "general");
    assert_eq!(on("EVAL x 0"), "pinned");
    assert_eq!(on("BLPOP q 0"), "pinned");
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_lane_are_not_held_up_by_each_other() {
    let world = World::start().await;
    let mut client = world.connect().await;
    world.redis.hold("SET");
    client.send("SET a 1\nGET a\nDEL a").await;
    settle().await;
    assert_eq!(world.redis.arrivals().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn our_own_answers_take_their_turn() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let mut other = world.connect().await;
    world.redis.hold("SET");
    client
        .send("SET a 1\nPING\nECHO one\nGET a\nPING two\nUNWATCH\nSCAN 0\nECHO three")
        .await;
    settle().await;
    client.is_silent().await;
    assert_eq!(other.ask("PING").await, "+PONG\r\n", "nobody else waits");
    world.redis.release("SET");
    assert_eq!(
        client.replies(8).await,
        [
            "$7\r\n0:SET:a\r\n",
            "+PONG\r\n",
            "$3\r\none\r\n",
            "$7\r\n0:GET:a\r\n",
            "$3\r\ntwo\r\n",
            "+OK\r\n",
            "$8\r\n0:SCAN:0\r\n",
            "$5\r\nthree\r\n",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_database_chosen_in_a_pipeline_holds_for_what_follows() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let mut other = world.connect().await;
    client
        .send("SET a 1\nSELECT 3\nGET a\nSCAN 0\nSELECT 99\nGET a\nSELECT 0\nGET a")
        .await;
    let replies = client.replies(8).await;
    assert_eq!(
        [
            &replies[0],
            &replies[2],
            &replies[3],
            &replies[5],
            &replies[7]
        ],
        [
            "$7\r\n0:SET:a\r\n",
            "$7\r\n3:GET:a\r\n",
            "$8\r\n3:SCAN:0\r\n",
            "$7\r\n3:GET:a\r\n",
            "$7\r\n0:GET:a\r\n"
        ]
    );
    assert!(replies[4].starts_with("-ERR DB index"), "{replies:?}");
    assert_eq!(other.ask("GET a").await, "$7\r\n0:GET:a\r\n");
}
