//! redis-rs as it comes: half a second for each reply.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, Client, RedisResult, SetExpiry, SetOptions};

use crate::harness::{Cluster, Stopwatch, Value, against_redis, parse, pause};

use super::{Fault, Office, Outcome, Seen, Shared, live_through_an_election};

/// How long it waits for a reply unless told otherwise.
const TIME_OUT: Duration = Duration::from_millis(500);

/// Users of each sidecar, with a connection each.
const USERS: usize = 8;

/// Seconds that a session lives without a sign of life: so few that some renewals are not small enough to be answered by the sidecar
/// in peace.
const TTL: i64 = 20;

/// Requests of a session between log-in and log-out.
const REQUESTS: usize = 8;

/// Between two calls of a user.
const REST: Duration = Duration::from_millis(5);

/// What a session was left with; nothing where it was ended.
type Left = (String, Option<String>);

#[test]
fn half_a_second_is_enough_where_writes_are_acknowledged() {
    go_through(Fault::Kill, &["writes: acknowledge"]);
}

#[test]
fn half_a_second_is_enough_where_silence_is_noticed_soon() {
    let wishes = [
        "writes: acknowledge",
        "silence_ms: 100",
        "acknowledge_after_ms: 100",
    ];
    go_through(Fault::Freeze, &wishes);
}

fn go_through(fault: Fault, wishes: &[&str]) {
    // Redis itself does not follow a primary.
    if against_redis() {
        return;
    }
    let (_turn, outcome) = live_through_an_election(fault, wishes, TIME_OUT, |sidecar| {
        let client = Client::open(format!("redis://{}", sidecar.address)).expect("an address");
        let name = sidecar.admin_port.to_string();
        let live = move |number, shared: &Shared| live(&client, &name, number, shared);
        Office::open(sidecar, USERS, live)
    });
    let Outcome {
        cluster,
        elected,
        seen,
    } = outcome;
    check(&seen.left, &cluster, &elected);
}

/// Goes through sessions, one after the other.
fn live(client: &Client, name: &str, number: usize, shared: &Shared) -> Seen<Left> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("it starts");
    runtime.block_on(async {
        // As it comes: nothing is set.
        let connection = client.get_multiplexed_async_connection().await;
        let mut connection = connection.expect("it connects");
        let mut seen = Seen::new();
        let mut life = 0;
        while shared.goes_on() {
            let key = format!("session:{name}:{number}:{life}");
            // What is known of it is void where a call has failed.
            if let Some(left) = one_life(&mut connection, &key, life, &mut seen).await {
                seen.left.push((key, left));
            }
            shared.note_life(number);
            life += 1;
        }
        seen
    })
}

/// Logs in, goes on, and logs out every other time.
async fn one_life(
    connection: &mut MultiplexedConnection,
    key: &str,
    life: usize,
    seen: &mut Seen<Left>,
) -> Option<Option<String>> {
    let options = || SetOptions::default().with_expiration(SetExpiry::EX(TTL.unsigned_abs()));
    let mut value = format!("{key}:0");
    let set = connection.set_options::<_, _, ()>(key, &value, options());
    seen.call(set).await?;
    for request in 1..=REQUESTS {
        let found: Option<String> = seen.call(connection.get(key)).await?;
        seen.wrong += usize::from(found.as_ref() != Some(&value));
        if request % 4 == 0 {
            value = format!("{key}:{request}");
            let set = connection.set_options::<_, _, ()>(key, &value, options());
            seen.call(set).await?;
        } else {
            let lives: bool = seen.call(connection.expire(key, TTL)).await?;
            seen.wrong += usize::from(!lives);
        }
    }
    if life.is_multiple_of(2) {
        return Some(Some(value));
    }
    let gone: usize = seen.call(connection.del(key)).await?;
    seen.wrong += usize::from(gone != 1);
    let found: Option<String> = seen.call(connection.get(key)).await?;
    seen.wrong += usize::from(found.is_some());
    Some(None)
}

impl Seen<Left> {
    async fn call<T>(&mut self, call: impl Future<Output = RedisResult<T>>) -> Option<T> {
        let watch = Stopwatch::start();
        let reply = call.await;
        let reply = self.note(watch.elapsed(), reply);
        pause(REST);
        reply
    }
}

/// Looks for each session at the elected primary itself: what was put back has to be there.
fn check(left: &[Left], cluster: &Cluster, elected: &str) {
    let mut nodes = cluster.nodes.iter();
    let node = nodes.find(|node| node.address() == elected);
    let mut client = node.expect("it is one of the nodes").client();
    for (key, value) in left {
        let found = match parse(&client.call(&["GET", key])) {
            Value::Blob(_, value) => Some(String::from_utf8_lossy(&value).into_owned()),
            _ => None,
        };
        assert_eq!(&found, value, "what was answered for last");
    }
}
