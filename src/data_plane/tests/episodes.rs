//! What is told of a failover: once it is served from, once more when all is settled, and of a hold that came to nothing.

use std::time::Duration;

use super::client::Client;
use super::redis::{Door, Redis, Say};
use super::repair::{self, repairing};
use super::world::{World, pass_ms, settle};
use crate::data_plane::Primary;
use crate::failover::episode::{Episode, Outcome};
use crate::failover::machine::Event;
use crate::sentinel::topology::SwitchReason;

fn primary(generation: u64, reason: SwitchReason) -> Primary {
    Primary {
        epoch: 40 + generation,
        reason,
        ..repair::primary(generation)
    }
}

/// A sidecar that serves from its first primary, and a client with so many acknowledged writes.
async fn start(writes: usize) -> (World, Client) {
    let world = World::with(Redis::new(), repairing).await;
    let first = primary(1, SwitchReason::Start);
    world.handle.primary(first).await;
    pass_ms(20).await;
    let mut client = world.connect().await;
    for number in 0..writes {
        world.redis.script("SET", Say::Bytes("+OK\r\n".into()));
        client.ask(&format!("SET k{number} 1")).await;
    }
    (world, client)
}

fn told(world: &World) -> Vec<Episode> {
    world.handle.episodes().borrow().iter().cloned().collect()
}

/// The one episode that there is.
fn only(world: &World) -> Episode {
    let mut told = told(world);
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_failover_is_told_with_all_its_figures() {
    let (world, mut client) = start(3).await;
    assert_eq!(told(&world).len(), 0, "the start is none");
    world.redis.die();
    pass_ms(100).await;
    client.send("SET k3 1").await;
    pass_ms(400).await;
    world.redis.set_door(Door::Open);
    world.redis.set_round(true, &["other"]);
    let second = primary(2, SwitchReason::Failover);
    world.handle.primary(second).await;
    pass_ms(100).await;
    let open = only(&world);
    assert_eq!(open.outcome, Outcome::Switched);
    assert_eq!(open.reason, Some("failover"));
    assert_eq!(open.began_by, "unlinked");
    assert_eq!((open.generation, open.epoch), (Some(2), Some(42)));
    assert_eq!(open.from, "p1.test:6379");
    assert_eq!(open.to.as_deref(), Some("p2.test:6379"));
    assert_eq!(open.named_after_ms, Some(500));
    assert!((500..600).contains(&open.serving_after_ms), "{open:?}");
    assert_eq!((open.settled_after_ms, open.repair), (None, None));
    assert_eq!(open.requests.held, 1);
    assert_eq!((open.requests.released, open.requests.shed), (1, 0));
    assert_eq!(client.reply().await, "$8\r\n0:SET:k3\r\n");

    world.redis.set_round(false, &[]);
    pass_ms(500).await;
    let settled = only(&world);
    let repair = settled.repair.expect("it is known now");
    assert_eq!((repair.keys, repair.peers), (3, 1));
    assert!(repair.clock_error_us.is_some());
    assert!(repair.repaired_after_ms.is_some() && settled.settled_after_ms.is_some());
    let writes = repair.writes;
    assert_eq!((writes.at_risk, writes.repaired, writes.left), (3, 3, 0));
    assert_eq!(settled.requests, open.requests);
    let counted = "gripfast_writes_settled_total{outcome=\"repaired\"}";
    assert_eq!(world.count(counted).await, 3.0);
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_came_to_nothing_is_told_as_called_off() {
    let (world, mut client) = start(1).await;
    world.handle.failover(Event::Announced).await;
    client.send("SET k0 2").await;
    pass_ms(300).await;
    world.handle.failover(Event::CalledOff).await;
    client.reply().await;
    let episode = only(&world);
    assert_eq!(episode.outcome, Outcome::CalledOff);
    assert_eq!((episode.reason, episode.to), (None, None));
    assert_eq!(episode.began_by, "announced");
    assert_eq!(episode.serving_after_ms, 300);
    assert_eq!((episode.requests.held, episode.requests.released), (1, 1));
    assert_eq!(episode.repair, None);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_refuses_again_and_again_is_one_hold() {
    let (world, mut client) = start(0).await;
    for _ in 0..3 {
        let loading = Say::Bytes("-LOADING x\r\n".into());
        world.redis.script("GET", loading);
    }
    assert_eq!(client.ask("GET a").await, "$7\r\n0:GET:a\r\n");
    pass_ms(2_000).await;
    let episode = only(&world);
    assert_eq!(episode.began_by, "refuses_all");
    assert_eq!(episode.requests.taken_back, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_shed_is_counted_and_a_lineage_break_is_named() {
    let world = World::with(Redis::new(), |config| {
        repairing(config);
        config.hold.deadline = Some(Duration::from_secs(1));
    })
    .await;
    let first = primary(1, SwitchReason::Start);
    world.handle.primary(first).await;
    pass_ms(20).await;
    let mut client = world.connect().await;
    world.redis.die();
    client.send("SET a 1").await;
    pass_ms(1_100).await;
    client.reply().await;
    client.ask("SET a 1").await;
    world.redis.set_door(Door::Open);
    let again = primary(2, SwitchReason::LineageBreak);
    world.handle.primary(again).await;
    pass_ms(100).await;
    let episode = only(&world);
    assert_eq!(episode.reason, Some("lineage_break"));
    assert_eq!((episode.requests.shed, episode.requests.released), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_switch_in_the_middle_of_a_repair_leaves_writes_to_the_next() {
    let (world, _client) = start(4).await;
    world.redis.hold("REPAIR");
    world.redis.set_round(true, &[]);
    let second = primary(2, SwitchReason::Failover);
    world.handle.primary(second).await;
    pass_ms(20).await;
    let third = primary(3, SwitchReason::Switchover);
    world.handle.primary(third).await;
    pass_ms(20).await;
    world.redis.release("REPAIR");
    pass_ms(100).await;
    world.redis.set_round(false, &[]);
    pass_ms(500).await;
    let told = told(&world);
    let outcomes: Vec<_> = told.iter().map(|episode| episode.outcome).collect();
    assert_eq!(outcomes, [Outcome::Interrupted, Outcome::Switched]);
    let writes: Vec<_> = told.iter().filter_map(|one| one.repair).collect();
    let first = writes[0].writes;
    assert_eq!((first.at_risk, first.left, first.repaired), (4, 4, 0));
    let second = writes[1].writes;
    assert_eq!((second.at_risk, second.left, second.repaired), (4, 0, 4));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_put_back_that_is_told_too() {
    let (world, mut client) = start(2).await;
    let refused = Say::Bytes("-NOPERM x\r\n".into());
    world.redis.script("OPEN", refused);
    let second = primary(2, SwitchReason::Failover);
    world.handle.primary(second).await;
    pass_ms(20).await;
    client.ask("GET a").await;
    settle().await;
    let episode = only(&world);
    let writes = episode.repair.expect("nothing is awaited").writes;
    assert_eq!((writes.at_risk, writes.lost, writes.lost_unable), (2, 2, 2));
    assert_eq!(episode.settled_after_ms, Some(episode.serving_after_ms));
}
