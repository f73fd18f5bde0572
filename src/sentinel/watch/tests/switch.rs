//! What is told of a primary that changes, restarts or is in doubt.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::running::{MS, Running, start, three};
use super::world::{A, FakeSentinel, at};
use crate::failover::machine;
use crate::sentinel::topology::{Continuity, SwitchReason};
use crate::sentinel::watch::{SECOND_LOOK, Update};

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

/// Returns what the failover machine is told until nothing more comes.
fn told(watcher: &mut Running) -> Vec<machine::Event> {
    let mut told = Vec::new();
    while let Ok(update) = watcher.updates.try_recv() {
        match update {
            Update::Failover(event) => told.push(event),
            Update::Switched(_) => told.push(machine::Event::Named),
            Update::DownAfter(_) | Update::Replica(_) => {}
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_failover_is_announced_at_once_and_called_off_when_no_sentinel_stands_by_it() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 64);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    told(&mut watcher);
    watcher.say("+try-failover", "master mymaster a 1");
    sleep(5 * MS).await;
    assert_eq!(told(&mut watcher), [machine::Event::Announced]);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(told(&mut watcher), [machine::Event::CalledOff]);
    watcher.say("+try-failover", "master mymaster a 1");
    sleep(5 * MS).await;
    watcher.say("-failover-abort-no-good-slave", "master mymaster a 1");
    sleep(5 * MS).await;
    assert_eq!(
        told(&mut watcher),
        [machine::Event::Announced, machine::Event::CalledOff]
    );
}

#[tokio::test(start_paused = true)]
async fn a_selected_heir_is_accepted_within_two_looks_and_not_announced_again() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 64);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    told(&mut watcher);
    watcher.say("+try-failover", "master mymaster a 1");
    watcher.say("+selected-slave", "slave b b 1 @ mymaster a 1");
    sleep(100 * MS).await;
    // Selected is not promoted.
    assert_eq!(told(&mut watcher), [machine::Event::Announced]);
    watcher
        .world
        .lock()
        .unwrap()
        .nodes
        .insert("b", super::world::B_PROMOTED);
    let promoted = Instant::now();
    let switched = watcher.switched(Duration::from_secs(1)).await.unwrap();
    assert!(promoted.elapsed() <= 40 * MS, "{:?}", promoted.elapsed());
    assert!(switched.topology.early);
    assert_eq!(switched.topology.primary, at("b"));
    watcher.say("+promoted-slave", "slave b b 1 @ mymaster a 1");
    watcher.say("+failover-state-reconf-slaves", "master mymaster a 1");
    watcher.promote_b();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(told(&mut watcher), []);
    assert!(watcher.shows("gripfast_topology_epoch 6"));
    assert!(watcher.shows("gripfast_topology_generation 2"));
    assert!(watcher.shows("gripfast_primaries_rejected_total{reason=\"same_epoch\"} 0"));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_primary_is_silent_within_two_pings_and_answers_at_once() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 64);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    told(&mut watcher);
    watcher.world.lock().unwrap().frozen.insert("a");
    let frozen = Instant::now();
    while told(&mut watcher) != [machine::Event::Node(machine::NodeState::Silent)] {
        assert!(frozen.elapsed() < Duration::from_secs(2));
        sleep(10 * MS).await;
    }
    assert!(frozen.elapsed() <= 720 * MS, "{:?}", frozen.elapsed());
    sleep(Duration::from_secs(5)).await;
    watcher.world.lock().unwrap().frozen.remove("a");
    sleep(700 * MS).await;
    assert_eq!(
        told(&mut watcher),
        [machine::Event::Node(machine::NodeState::Answers)]
    );
}

#[tokio::test(start_paused = true)]
async fn who_sees_neither_the_majority_nor_a_replica_is_alone_with_the_primary() {
    let sentinels = three().map(|(host, sentinel)| {
        let replicas = vec!["b"];
        (
            host,
            FakeSentinel {
                replicas,
                ..sentinel
            },
        )
    });
    let mut watcher = start(&["s1", "s2", "s3"], &sentinels, 64);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    told(&mut watcher);
    let silence = |hosts: &[&'static str], is_silent: bool| {
        let mut world = watcher.world.lock().unwrap();
        for host in hosts {
            match (world.sentinels.get_mut(host), is_silent) {
                (Some(sentinel), silent) => sentinel.silent = silent,
                (None, true) => drop(world.frozen.insert(host)),
                (None, false) => drop(world.frozen.remove(host)),
            }
        }
    };
    silence(&["s1", "s2"], true);
    sleep(Duration::from_secs(8)).await;
    silence(&["b"], true);
    sleep(Duration::from_secs(8)).await;
    silence(&["s1", "s2", "b"], false);
    sleep(Duration::from_secs(8)).await;
    let isolated = [true, false].map(machine::Event::Isolated);
    assert_eq!(told(&mut watcher), isolated);
}

#[tokio::test(start_paused = true)]
async fn while_requests_are_held_everybody_is_asked_often() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 64);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(15)).await;
    let calm = Instant::now();
    sleep(Duration::from_secs(3)).await;
    assert!(
        watcher
            .pauses("s1", calm)
            .iter()
            .all(|pause| *pause >= 900 * MS)
    );
    watcher.holding.send_replace(true);
    let held = Instant::now();
    sleep(Duration::from_secs(3)).await;
    let pauses = watcher.pauses("s1", held);
    assert!(pauses.len() > 40 && pauses.iter().all(|pause| *pause <= 60 * MS));
}

#[tokio::test(start_paused = true)]
async fn another_primary_that_is_named_and_not_confirmed_supersedes_the_old_one() {
    let mut watcher = start(&["s1", "s2", "s3"], &three(), 64);
    watcher.switched(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    told(&mut watcher);
    for sentinel in watcher.world.lock().unwrap().sentinels.values_mut() {
        sentinel.names = Some(("b", 6));
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(told(&mut watcher), [machine::Event::Superseded(true)]);
    watcher.promote_b();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(told(&mut watcher), [machine::Event::Named]);
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
                // The data thread takes it as a confirmation too.
                Update::Switched(_) => doubts.push(false),
                Update::Failover(_) | Update::DownAfter(_) | Update::Replica(_) => {}
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
