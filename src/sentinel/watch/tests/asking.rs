//! Who is asked, how often, and what hastens it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::running::{MS, start, three};
use super::world::at;
use crate::sentinel::topology::SwitchReason;
use crate::sentinel::watch::URGENT_FOR;

#[tokio::test(start_paused = true)]
async fn slow_sentinel_holds_up_nobody() {
    let mut sentinels = three();
    sentinels[0].1.silent = true;
    let mut watcher = start(&["s1", "s2", "s3", "gone"], &sentinels, 8);
    let begun = Instant::now();
    let first = watcher.switched(Duration::from_secs(1)).await.unwrap();
    assert!(begun.elapsed() <= 5 * MS, "{:?}", begun.elapsed());
    assert_eq!((first.topology.primary, first.generation), (at("a"), 1));
    assert_eq!(first.reason, SwitchReason::Start);
    sleep(Duration::from_secs(1)).await;
    let snapshot = watcher.snapshot.borrow().clone();
    let state = |host: &str| {
        let found = snapshot
            .sentinels
            .iter()
            .find(|one| one.address == format!("{host}:1"));
        found.map(|one| (one.state, one.trouble.clone())).unwrap()
    };
    assert_eq!(state("s1"), ("unreachable", "no answer in time".into()));
    assert_eq!(
        state("gone"),
        ("unreachable", "dial failed: connection refused".into())
    );
    assert_eq!(state("s2"), ("named", String::new()));
    assert!(watcher.shows("gripfast_sentinels{state=\"named\"} 2"));
}

#[tokio::test(start_paused = true)]
async fn polls_each_second_in_peace_and_each_50_ms_after_an_urgent_event() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 8);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let peace = Instant::now();
    sleep(Duration::from_secs(10)).await;
    let pauses = watcher.pauses("s1", peace);
    assert!(pauses.len() >= 8, "{pauses:?}");
    assert!(
        pauses
            .iter()
            .all(|pause| *pause >= 990 * MS && *pause <= 1010 * MS),
        "{pauses:?}"
    );

    let urgent = Instant::now();
    watcher.say("+try-failover", "master mymaster a 1");
    sleep(Duration::from_secs(2)).await;
    let pauses = watcher.pauses("s2", urgent);
    assert!(pauses.len() >= 30, "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= 55 * MS), "{pauses:?}");
    // Nothing came of it: back to peace.
    sleep(URGENT_FOR).await;
    let peace = Instant::now();
    sleep(Duration::from_secs(5)).await;
    assert!(watcher.pauses("s1", peace).len() <= 6);
}

#[tokio::test(start_paused = true)]
async fn event_makes_the_switch_be_seen_at_once() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 8);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_millis(5400)).await;
    watcher.promote_b();
    watcher.say("+promoted-slave", "slave b:1 b 1 @ mymaster a 1");
    let begun = Instant::now();
    let switched = watcher.switched(Duration::from_secs(5)).await.unwrap();
    assert_eq!(switched.generation, 2);
    assert!(begun.elapsed() <= 110 * MS, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn other_sentinels_and_replicas_are_found_and_asked() {
    let mut sentinels = three();
    sentinels[0].1.sentinels = vec!["s2", "s3"];
    sentinels[0].1.replicas = vec!["b"];
    let mut watcher = start(&["s1"], &sentinels, 8);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let snapshot = watcher.snapshot.borrow().clone();
    assert_eq!(snapshot.sentinels.len(), 3);
    assert!(
        snapshot
            .sentinels
            .iter()
            .all(|one| one.state == "named" && one.listening)
    );
    assert_eq!(snapshot.replicas.len(), 1);
    assert_eq!(snapshot.replicas[0].role, Some("replica"));
}
