//! What is told of a primary that changes, restarts or is in doubt.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::running::{MS, Running, start, three};
use super::world::{A, FakeSentinel, at};
use crate::failover::machine;
use crate::sentinel::event::Event;
use crate::sentinel::topology::{Continuity, SwitchReason};
use crate::sentinel::watch::{News, SECOND_LOOK, Update};

#[tokio::test(start_paused = true)]
async fn switch_is_seen_within_a_poll_where_events_are_refused() {
    let sentinels = three().map(|(host, sentinel)| {
        (
            host,
            FakeSentinel {
                deaf: true,
                ..sentinel
            },
        )
    });
    let mut watcher = start(&["s1", "s2", "s3"], &sentinels, 8);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(watcher.shows("gripfast_sentinel_subscriptions 0"));
    watcher.promote_b();
    let at_once = Instant::now();
    let switched = watcher.switched(Duration::from_secs(5)).await.unwrap();
    assert!(at_once.elapsed() <= 1100 * MS, "{:?}", at_once.elapsed());
    assert_eq!(
        (switched.topology.primary, switched.topology.epoch.0),
        (at("b"), 6)
    );
    assert_eq!(switched.continuity, Continuity::Heir);
    assert_eq!(switched.reason, SwitchReason::Switchover);
}

#[tokio::test(start_paused = true)]
async fn restarted_primary_is_accepted_after_half_a_second() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 8);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    watcher
        .world
        .lock()
        .unwrap()
        .nodes
        .insert("a", ("master", "a2", "C", "0"));
    let begun = Instant::now();
    let switched = watcher.switched(Duration::from_secs(5)).await.unwrap();
    assert_eq!(switched.reason, SwitchReason::LineageBreak);
    assert!((SECOND_LOOK..=SECOND_LOOK + Duration::from_millis(1100)).contains(&begun.elapsed()));
    assert!(watcher.shows("gripfast_lineage_breaks_total 1"));
}

#[tokio::test(start_paused = true)]
async fn news_that_nobody_takes_are_dropped_and_counted_and_a_switch_is_not() {
    let mut watcher = start(&["s1"], &three()[..1], 1);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    for _ in 0..4 {
        watcher.say("+odown", "master mymaster a 1 #quorum 1/1");
    }
    watcher.say("+odown", "master other a 1 #quorum 1/1");
    sleep(Duration::from_secs(1)).await;
    assert!(
        watcher.shows("gripfast_sentinel_events_total 4"),
        "{}",
        watcher.metrics.render()
    );
    assert!(watcher.shows("gripfast_sentinel_events_dropped_total 3"));
    watcher.promote_b();
    sleep(Duration::from_secs(2)).await;
    let news = News {
        sentinel: at("s1"),
        event: Event::ObjectivelyDown,
    };
    assert_eq!(watcher.updates.recv().await, Some(Update::News(news)));
    assert_eq!(
        watcher
            .switched(Duration::from_secs(1))
            .await
            .unwrap()
            .generation,
        2
    );
}

#[tokio::test(start_paused = true)]
async fn lost_primary_is_in_doubt_until_it_is_seen_to_be_the_same() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 64);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let doubts = |watcher: &mut Running| {
        let mut doubts = Vec::new();
        while let Ok(update) = watcher.updates.try_recv() {
            match update {
                Update::Failover(machine::Event::Node(state)) => {
                    doubts.push(state != machine::NodeState::Answers)
                }
                Update::Failover(_) => {}
                // The data thread takes it as a confirmation too.
                Update::Switched(_) => doubts.push(false),
                Update::News(_) => {}
            }
        }
        doubts
    };
    assert!(doubts(&mut watcher).is_empty());
    // It is gone, and comes back as it was (a network that failed).
    watcher.world.lock().unwrap().nodes.remove("a");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(doubts(&mut watcher), [true]);
    watcher.world.lock().unwrap().nodes.insert("a", A);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(doubts(&mut watcher), [false]);
    // Another process: in doubt until the break is accepted, which ends the doubt.
    watcher
        .world
        .lock()
        .unwrap()
        .nodes
        .insert("a", ("master", "a2", "C", "0"));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(doubts(&mut watcher), [true, false]);
    assert!(watcher.shows("gripfast_lineage_breaks_total 1"));
    sleep(Duration::from_secs(5)).await;
    assert!(doubts(&mut watcher).is_empty());
}
