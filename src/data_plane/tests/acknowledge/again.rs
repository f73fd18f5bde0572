//! What was acknowledged is kept until it is on a primary, whatever comes in between.

use super::*;

const LATE: &str = "*3\r\n:0\r\n:6\r\n:-1\r\n";
const NO_PERMISSION: &str = "-NOPERM this user has no permissions\r\n";
const NO_REPLICAS: &str = "-NOREPLICAS Not enough good replicas to write.\r\n";

/// Has `x` acknowledged while the primary is silent.
async fn acknowledge_x(world: &World, client: &mut Client) {
    silent(world).await;
    pass_ms(SOON_MS).await;
    assert_eq!(client.ask("SET x 1").await, OK);
}

fn say(world: &World, name: &str, bytes: &str, times: usize) {
    for _ in 0..times {
        world.redis.script(name, Say::Bytes(bytes.into()));
    }
}

fn count(world: &World, request: &str) -> usize {
    let arrivals = world.redis.arrivals();
    arrivals.iter().filter(|(_, line)| line == request).count()
}

#[tokio::test(start_paused = true)]
async fn a_second_hold_goes_back_as_far_as_what_the_first_has_left() {
    let (world, mut client) = start().await;
    // Longer than is compared before trouble began.
    pass_ms(20_000).await;
    acknowledge_x(&world, &mut client).await;
    world.redis.set_round(true, &["other"]);
    answers(&world).await;
    let first = world.redis.horizon();
    // The other one does not say for long that it has compared what it has.
    pass_ms(8_000).await;
    silent(&world).await;
    pass_ms(SOON_MS).await;
    assert_eq!(client.ask("SET y 1").await, OK);
    answers(&world).await;
    assert_eq!(count(&world, "OPEN returned"), 2);
    let second = world.redis.horizon();
    // The server's clock stands still: so much longer ago is what the first has left.
    assert!(first - second >= 8_000_000, "{}", first - second);
    world.redis.set_round(true, &["+other"]);
    pass_ms(300).await;
    assert!(world.redis.has("REPAIR x"));
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_falls_silent_again_while_it_is_joined_is_not_given_up() {
    let (world, mut client) = start().await;
    acknowledge_x(&world, &mut client).await;
    world.redis.hold("OPEN");
    answers(&world).await;
    silent(&world).await;
    pass_ms(4_000).await;
    assert!(
        !world.redis.has("SET x 1"),
        "nobody would say what became of it"
    );
    world.redis.release("OPEN");
    world.redis.set_round(true, &[]);
    world.handle.primary(primary(2)).await;
    pass_ms(20).await;
    assert!(world.redis.has("REPAIR x"));
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_takes_no_writes_for_long_gets_it_when_it_does() {
    let (world, mut client) = start().await;
    let mut other = world.connect().await;
    say(&world, "INCR", NO_REPLICAS, 10);
    say(&world, "OPEN", NO_REPLICAS, 40);
    other.send("INCR n").await;
    pass_ms(SOON_MS).await;
    assert_eq!(client.ask("SET x 1").await, OK);
    world.redis.set_round(true, &[]);
    pass_ms(9_000).await;
    assert!(!world.redis.has("SET x 1"));
    assert!(world.redis.has("REPAIR x"));
}

#[tokio::test(start_paused = true)]
async fn what_is_written_as_it_is_and_refused_is_written_again() {
    let (world, mut client) = start().await;
    acknowledge_x(&world, &mut client).await;
    say(&world, "OPEN", NO_PERMISSION, 1);
    say(&world, "SET", NO_REPLICAS, 1);
    world.handle.primary(primary(2)).await;
    pass_ms(1_000).await;
    assert_eq!(count(&world, "SET x 1"), 2);
    assert_eq!(client.ask("GET x").await, "$7\r\n0:GET:x\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_is_written_as_it_is_and_not_answered_is_put_back_on_the_next_primary() {
    let (world, mut client) = start().await;
    acknowledge_x(&world, &mut client).await;
    say(&world, "OPEN", NO_PERMISSION, 1);
    world.redis.hold("SET");
    world.handle.primary(primary(2)).await;
    pass_ms(20).await;
    assert_eq!(count(&world, "SET x 1"), 1);
    world.redis.set_round(true, &[]);
    world.handle.primary(primary(3)).await;
    pass_ms(20).await;
    assert!(world.redis.has("REPAIR x"));
}

#[tokio::test(start_paused = true)]
async fn who_comes_when_the_round_is_over_opens_another_one() {
    let (world, mut client) = start().await;
    acknowledge_x(&world, &mut client).await;
    say(&world, "REPAIR", LATE, 1);
    world.redis.hold("REPAIR");
    world.handle.primary(primary(2)).await;
    pass_ms(20).await;
    world.redis.hold("OPEN");
    world.redis.release("REPAIR");
    pass_ms(20).await;
    let shown = client.ask("GET x").await;
    assert_eq!(shown, "$1\r\n1\r\n", "as it was written");
    world.redis.set_round(true, &["other"]);
    world.redis.release("OPEN");
    pass_ms(50).await;
    client.send("GET x").await;
    client.is_silent().await;
    assert_eq!(count(&world, "CHECK"), 1, "in another round");
    assert_eq!(count(&world, "REPAIR x"), 1, "others compare first");
    world.redis.set_round(true, &["+other"]);
    pass_ms(300).await;
    assert_eq!(count(&world, "REPAIR x"), 2);
    client.reply().await;
    end_round(&world).await;
    assert_eq!(settled(&world, "repaired").await, 1.0);
    assert_eq!(settled(&world, "lost").await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_until_it_is_put_back() {
    let (world, mut client) = start().await;
    acknowledge_x(&world, &mut client).await;
    world.handle.drain().await;
    client.is_closed().await;
    pass_ms(1_000).await;
    assert!(!world.running.is_finished());
    world.redis.set_round(true, &[]);
    world.handle.primary(primary(2)).await;
    pass_ms(50).await;
    assert!(world.redis.has("REPAIR x"));
    assert!(world.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_before_runs_when_its_keys_are_put_back() {
    let (world, mut client) = start().await;
    let mut other = world.connect().await;
    client.ask("MULTI").await;
    client.ask("GET x").await;
    world.handle.failover(Event::Announced).await;
    pass_ms(SOON_MS).await;
    assert_eq!(other.ask("SET x 1").await, OK);
    client.send("EXEC").await;
    client.is_silent().await;
    world.redis.set_round(true, &["other"]);
    world.handle.failover(Event::CalledOff).await;
    pass_ms(1_000).await;
    client.is_silent().await;
    world.redis.set_round(true, &["+other"]);
    pass_ms(300).await;
    assert_eq!(client.reply().await, "*1\r\n$7\r\n0:GET:x\r\n");
    let arrived = since(&world, 0);
    let place = |wanted: &str| arrived.iter().position(|line| line == wanted);
    assert!(place("REPAIR x") < place("EXEC"), "{arrived:?}");
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_falls_silent_within_a_hold_is_left_as_well() {
    let (world, mut client) = start().await;
    world.redis.hold("SET");
    client.send("SET x 1").await;
    pass_ms(5).await;
    world.handle.failover(Event::Announced).await;
    pass_ms(SOON_MS).await;
    silent(&world).await;
    client.is_silent().await;
    pass_ms(SOON_MS).await;
    assert_eq!(client.reply().await, OK);
}
