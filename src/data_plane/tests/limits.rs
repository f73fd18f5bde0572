//! Bounds: how many clients, how much for a slow one, and that a large or broken-off request costs nobody else.

use std::io;
use std::task::{Context, Poll};

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::client::packet;
use super::redis::{Redis, Say};
use super::world::{World, pass_ms, settle};
use crate::seam::{Accept, BoxStream};

fn bulk_of(bytes: usize) -> Say {
    let body = "v".repeat(bytes);
    Say::Bytes(format!("${bytes}\r\n{body}\r\n").into_bytes())
}

#[tokio::test(start_paused = true)]
async fn one_client_too_many_is_told_and_room_is_made_by_leaving() {
    let world = World::with(Redis::new(), |config| config.listen.clients_max = 2).await;
    let first = world.connect().await;
    let mut second = world.connect().await;
    let mut third = world.connect().await;
    assert_eq!(
        third.until_close().await,
        "-ERR max number of clients reached\r\n"
    );
    assert_eq!(second.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    drop(first);
    settle().await;
    let mut fourth = world.connect().await;
    assert_eq!(fourth.ask("GET a").await, "$7\r\n0:GET:a\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_closed_at_its_bound_and_nobody_else() {
    let bound = |config: &mut crate::config::Config| config.listen.output_bytes_max = 100_000;
    let world = World::with(Redis::new(), bound).await;
    let mut slow = world.connect_over(1_000).await;
    let mut quick = world.connect_over(1_000).await;
    world.redis.script("GET", bulk_of(90_000));
    slow.send("GET a").await;
    pass_ms(1_000).await;
    assert_eq!(world.report().await.clients, 2, "within its bound");
    world.redis.script("GET", bulk_of(90_000));
    slow.send("GET a").await;
    quick.send("GET b").await;
    settle().await;
    assert_eq!(world.report().await.clients, 1);
    assert_eq!(quick.reply().await, "$7\r\n0:GET:b\r\n");
    world.redis.script("GET", bulk_of(90_000));
    assert_eq!(quick.ask("GET b").await.len(), 90_010);
}

#[tokio::test(start_paused = true)]
async fn a_large_request_that_stalls_half_way_holds_up_nobody() {
    let world = World::start().await;
    let mut slow = world.connect().await;
    let mut quick = world.connect().await;
    let large = packet(&format!("SET large {}", "x".repeat(200_000)));
    slow.send("GET a").await;
    slow.send_bytes(&large[..150_000]).await;
    assert_eq!(slow.reply().await, "$7\r\n0:GET:a\r\n");
    settle().await;
    for request in ["SET b 1", "SCAN 0", "EVAL x 0", "MULTI", "DISCARD"] {
        let reply = quick.ask(request).await;
        assert!(!reply.starts_with('-'), "{request}: {reply}");
    }
    slow.is_silent().await;
    slow.send_bytes(&large[150_000..]).await;
    assert_eq!(slow.reply().await, "$11\r\n0:SET:large\r\n");
    assert_eq!(slow.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    let report = world.report().await;
    assert_eq!(report.links_pinned_idle, report.links_pinned);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_within_a_large_request_leaves_nothing_behind() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let large = packet(&format!("SET large {}", "x".repeat(200_000)));
    client.send_bytes(&large[..150_000]).await;
    settle().await;
    assert!(world.report().await.links_pinned > 0);
    drop(client);
    settle().await;
    let report = world.report().await;
    assert_eq!(report.clients, 0);
    assert_eq!(report.links_pinned_idle, report.links_pinned);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_before_its_blocking_command_is_sent_is_not_waited_for() {
    for blocking in ["BLPOP q 0", "WAIT 1 0"] {
        let world = World::start().await;
        let mut client = world.connect().await;
        world.redis.hold("SET");
        world.redis.hold(blocking.split(' ').next().unwrap_or(""));
        client.send(&format!("SET a 1\n{blocking}")).await;
        settle().await;
        client.finish().await;
        settle().await;
        world.redis.release("SET");
        assert_eq!(client.until_close().await, "$7\r\n0:SET:a\r\n");
        let report = world.report().await;
        assert_eq!(report.clients, 0, "{blocking}");
        assert_eq!(report.links_pinned_idle, report.links_pinned, "{blocking}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_sent_all_still_gets_every_reply() {
    let world = World::start().await;
    let mut client = world.connect().await;
    world.redis.hold("SET");
    client
        .send("SET a 1\nSCAN 0\nPING\nSELECT 1\nMULTI\nGET a\nEXEC\nEVAL x 0\nGET a")
        .await;
    client.finish().await;
    pass_ms(10).await;
    client.is_silent().await;
    world.redis.release("SET");
    assert_eq!(
        client.until_close().await,
        "$7\r\n0:SET:a\r\n$8\r\n0:SCAN:0\r\n+PONG\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$7\r\n1:GET:a\r\n\
         $8\r\n1:EVAL:x\r\n$7\r\n1:GET:a\r\n"
    );
    assert_eq!(world.report().await.clients, 0);
}

#[tokio::test(start_paused = true)]
async fn a_deep_pipeline_is_answered_in_full_through_small_pipes() {
    let redis = Redis::new();
    redis.set_pipe(500);
    let world = World::with(redis, |_| {}).await;
    let client = world.connect_over(500).await;
    let (mut reading, mut writing) = tokio::io::split(client.stream);
    let count = 5_000;
    let writer = tokio::spawn(async move {
        for number in 0..count {
            writing.write_all(&packet(&format!("GET {number}"))).await?;
        }
        writing.shutdown().await
    });
    let mut seen = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut reading, &mut seen)
        .await
        .unwrap();
    writer.await.unwrap().unwrap();
    let bodies: Vec<&str> = seen.lines().skip(1).step_by(2).collect();
    assert_eq!(bodies.len(), count);
    assert!(
        bodies
            .iter()
            .enumerate()
            .all(|(number, body)| *body == format!("0:GET:{number}"))
    );
}

/// A listener out of descriptors, which counts how often it is asked.
struct Exhausted(usize);

impl Accept for Exhausted {
    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<BoxStream>> {
        self.0 += 1;
        assert!(self.0 < 100, "asked without a pause");
        match self.0 {
            1..10 => Poll::Ready(Err(io::ErrorKind::OutOfMemory.into())),
            _ => Poll::Pending,
        }
    }

    fn name(&self) -> String {
        "exhausted".into()
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_fails_is_asked_again_after_a_pause() {
    let (door, _) = mpsc::channel(1);
    let listener = Box::new(Exhausted(0));
    let world = World::behind(listener, door, Redis::new(), |_| {});
    pass_ms(2_000).await;
    assert!(!world.running.is_finished());
}
