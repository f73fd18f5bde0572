//! A server that says what is not RESP, or what nobody asked for.

use super::redis::Say;
use super::world::{World, settle};

#[tokio::test(start_paused = true)]
async fn a_malformed_reply_costs_its_link_and_nobody_else() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let mut scanning = world.connect().await;
    world.redis.hold("SCAN");
    scanning.send("SCAN 0").await;
    settle().await;
    let tracked = world.redis.link("tracked");
    world.redis.script("GET", Say::Bytes(b"?what\r\n".to_vec()));
    client.send("GET a\nSET a 1").await;
    let reply = client.reply().await;
    assert!(reply.starts_with("-MASTERDOWN gripfast: "), "{reply}");
    let reply = client.reply().await;
    assert!(
        reply.starts_with("-ERR gripfast: outcome unknown: "),
        "{reply}"
    );
    settle().await;
    assert!(!world.redis.links()[tracked].open);
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    world.redis.release("SCAN");
    assert_eq!(scanning.reply().await, "$8\r\n0:SCAN:0\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_came_whole_before_a_malformed_reply_is_not_answered_twice() {
    // In RESP3 the tracked link's replies pass as they are; in RESP2 some are rewritten on the way.
    for greeting in ["HELLO 2", "HELLO 3"] {
        let world = World::start().await;
        let mut client = world.connect().await;
        client.ask(greeting).await;
        let replies = b"_\r\n%1\r\n+a\r\n_\r\n?what\r\n".to_vec();
        world.redis.script("GET", Say::Bytes(replies));
        world.redis.hold("GET");
        client.send("GET a\nHGETALL h\nGET b").await;
        settle().await;
        world.redis.release("GET");
        for _ in 0..3 {
            let reply = client.reply().await;
            assert!(reply.contains("gripfast: "), "{greeting}: {reply}");
        }
        client.is_silent().await;
        assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_nobody_asked_for_costs_its_link() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let tracked = world.redis.link("tracked");
    let two = b"$7\r\n0:GET:a\r\n$5\r\nextra\r\n".to_vec();
    world.redis.script("GET", Say::Bytes(two));
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    settle().await;
    assert!(!world.redis.links()[tracked].open);
    assert_eq!(client.ask("GET b").await, "$7\r\n0:GET:b\r\n");
}

#[tokio::test(start_paused = true)]
async fn pushes_between_replies_are_no_replies() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let push =
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n$7\r\n0:GET:a\r\n>1\r\n+x\r\n".to_vec();
    world.redis.script("GET", Say::Bytes(push));
    client.send("GET a\nGET b\nGET c").await;
    assert_eq!(
        client.replies(3).await,
        [
            "$7\r\n0:GET:a\r\n",
            "$7\r\n0:GET:b\r\n",
            "$7\r\n0:GET:c\r\n"
        ]
    );
}
