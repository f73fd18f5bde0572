//! WAIT and WAITAOF: a replication barrier goes first.

use super::redis::Say;
use super::world::{World, settle};

#[tokio::test(start_paused = true)]
async fn the_barrier_passes_first_and_on_the_same_link() {
    let world = World::start().await;
    let mut client = world.connect().await;
    world.redis.hold("SET");
    world.redis.hold("SPUBLISH");
    client.send("SET a 1\nWAIT 1 100\nGET a").await;
    let arrived = || -> Vec<String> {
        let arrivals = world.redis.arrivals();
        arrivals.into_iter().map(|(_, words)| words).collect()
    };
    settle().await;
    assert_eq!(arrived(), ["SET a 1"]);
    world.redis.release("SET");
    settle().await;
    let barrier = "SPUBLISH gripfast:barrier ";
    assert_eq!(arrived(), ["SET a 1", barrier]);
    world.redis.release("SPUBLISH");
    settle().await;
    assert_eq!(arrived(), ["SET a 1", barrier, "WAIT 1 100", "GET a"]);
    assert_eq!(
        world.redis.carrier(barrier),
        world.redis.carrier("WAIT 1 100")
    );
    assert_eq!(
        client.replies(3).await,
        [
            "$7\r\n0:SET:a\r\n",
            "$8\r\n0:WAIT:1\r\n",
            "$7\r\n0:GET:a\r\n"
        ]
    );
    let report = world.report().await;
    assert_eq!(report.links_pinned_idle, report.links_pinned);
}

#[tokio::test(start_paused = true)]
async fn waitaof_waits_behind_a_write_that_changes_nothing() {
    let world = World::start().await;
    let mut client = world.connect().await;
    assert_eq!(
        client.ask("WAITAOF 1 0 100").await,
        "$11\r\n0:WAITAOF:1\r\n"
    );
    assert!(world.redis.has("SWAPDB 0 0"));
}

#[tokio::test(start_paused = true)]
async fn a_barrier_that_is_refused_is_a_clear_error_and_costs_no_link() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let refusal = b"-NOPERM this user has no permissions\r\n".to_vec();
    world.redis.script("SPUBLISH", Say::Bytes(refusal));
    client.send("WAIT 1 100").await;
    let reply = client.reply().await;
    assert!(
        reply.starts_with("-ERR gripfast: the server refused the replication barrier"),
        "{reply}"
    );
    assert!(!world.redis.has("WAIT 1 100"));
    let report = world.report().await;
    assert_eq!(report.links_pinned_idle, report.links_pinned);
    assert_eq!(client.ask("WAIT 1 100").await, "$8\r\n0:WAIT:1\r\n");
}
