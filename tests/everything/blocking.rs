//! Blocking commands, pub/sub, MONITOR: what waits for something.

use std::time::Duration;

use crate::harness::{Server, Sidecar, any_version, until, version};
use crate::{start, wait_for_info};

#[test]
fn blocked_pop_is_served_by_another_client() {
    let (server, sidecar) = start();
    let mut blocked = sidecar.client();
    blocked.send_words("BLPOP queue 0");
    wait_for_info(&server, "clients", "blocked_clients:1");
    assert_eq!(sidecar.client().ask("RPUSH queue job"), ":1");
    assert_eq!(blocked.text(), "*2\\r\\n$5\\r\\nqueue\\r\\n$3\\r\\njob");
}

#[test]
fn blocked_pop_is_cancelled_when_its_client_leaves() {
    let (server, sidecar) = start();
    for round in 0..10 {
        let mut blocked = sidecar.client();
        blocked.send_words(if round % 2 == 0 {
            "BLPOP queue 0"
        } else {
            "BLMOVE queue other LEFT LEFT 0"
        });
        wait_for_info(&server, "clients", "blocked_clients:1");
        drop(blocked);
        wait_for_info(&server, "clients", "blocked_clients:0");
        let mut client = sidecar.client();
        assert_eq!(client.ask("RPUSH queue job"), ":1");
        assert_eq!(
            client.ask("LLEN queue"),
            ":1",
            "the element is not lost to a client that left"
        );
        assert_eq!(client.ask("DEL queue"), ":1");
    }
}

#[test]
fn commands_behind_a_blocked_pop_wait_for_it() {
    let (server, sidecar) = start();
    let mut blocked = sidecar.client();
    blocked.send_words("BLPOP queue 0");
    blocked.send_words("SET after done");
    blocked.send_words("GET after");
    wait_for_info(&server, "clients", "blocked_clients:1");
    let mut other = sidecar.client();
    assert_eq!(other.ask("EXISTS after"), ":0");
    assert_eq!(other.ask("RPUSH queue job"), ":1");
    assert_eq!(
        [blocked.text(), blocked.text(), blocked.text()],
        [
            "*2\\r\\n$5\\r\\nqueue\\r\\n$3\\r\\njob",
            "+OK",
            "$4\\r\\ndone"
        ]
    );
}

#[test]
fn every_blocking_command_times_out_by_itself() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    client.ask("XGROUP CREATE stream group $ MKSTREAM");
    for (words, reply) in [
        ("BLPOP none 0.02", "*-1"),
        ("BRPOP none 0.02", "*-1"),
        ("BRPOPLPUSH none other 0.02", "*-1"),
        ("BLMOVE none other LEFT LEFT 0.02", "*-1"),
        ("BZPOPMIN none 0.02", "*-1"),
        ("BZPOPMAX none 0.02", "*-1"),
        ("XREAD BLOCK 20 STREAMS stream $", "*-1"),
        ("XREADGROUP GROUP group me BLOCK 20 STREAMS stream >", "*-1"),
    ] {
        assert_eq!(client.ask(words), reply, "{words}");
    }
}

#[test]
fn many_blocked_clients_delay_nobody() {
    let (server, sidecar) = start();
    let mut blocked: Vec<_> = (0..20).map(|_| sidecar.client()).collect();
    for (number, client) in blocked.iter_mut().enumerate() {
        client.send_words(&format!("BLPOP queue:{number} 0"));
    }
    wait_for_info(&server, "clients", "blocked_clients:20");
    let mut other = sidecar.client();
    for (number, client) in blocked.iter_mut().enumerate() {
        assert_eq!(other.ask(&format!("RPUSH queue:{number} {number}")), ":1");
        assert!(client.text().ends_with(&format!("\\r\\n{number}")));
    }
}

#[test]
fn pinned_links_that_ran_out_are_waited_for() {
    let server = Server::start(&any_version());
    let sidecar = Sidecar::before(&server)
        .upstream("pinned_max: 2")
        .announce("pinned")
        .start();
    let mut holders = [sidecar.client(), sidecar.client()];
    for (number, holder) in holders.iter_mut().enumerate() {
        holder.send_words(&format!("BLPOP queue:{number} 0"));
    }
    wait_for_info(&server, "clients", "blocked_clients:2");
    let (mut third, mut plain) = (sidecar.client(), sidecar.client());
    third.send_words("BLPOP ready 0");
    assert_eq!(plain.ask("RPUSH ready x"), ":1");
    assert_eq!(plain.ask("RPUSH queue:0 x"), ":1");
    assert!(holders[0].text().starts_with("*2"));
    assert_eq!(third.text(), "*2\\r\\n$5\\r\\nready\\r\\n$1\\r\\nx");
}

#[test]
fn pinned_links_that_stay_away_are_a_clear_error_in_the_end() {
    if crate::harness::against_redis() {
        return;
    }
    let server = Server::start(&any_version());
    let sidecar = Sidecar::before(&server)
        .upstream("pinned_max: 1")
        .announce("pinned")
        .start();
    let mut holder = sidecar.client();
    holder.send_words("BLPOP queue 0");
    wait_for_info(&server, "clients", "blocked_clients:1");
    let mut third = sidecar.client();
    third.read_timeout(Duration::from_secs(60));
    let reply = third.ask("BLPOP ready 0");
    assert!(
        reply.starts_with('-') && reply.contains("gripfast"),
        "{reply}"
    );
    assert_eq!(third.ask("SET key value"), "+OK");
}

#[test]
fn messages_reach_subscribers_of_every_kind() {
    for version in ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"]
        .iter()
        .filter_map(|name| version(name))
    {
        let server = Server::start(&version);
        let sidecar = Sidecar::start(&server);
        let mut publisher = sidecar.client();
        let mut channel = sidecar.client();
        assert_eq!(
            channel.ask("SUBSCRIBE news"),
            "*3\\r\\n$9\\r\\nsubscribe\\r\\n$4\\r\\nnews\\r\\n:1"
        );
        let mut pattern = sidecar.client();
        assert_eq!(
            pattern.ask("PSUBSCRIBE n*"),
            "*3\\r\\n$10\\r\\npsubscribe\\r\\n$2\\r\\nn*\\r\\n:1"
        );
        assert_eq!(publisher.ask("PUBLISH news hello"), ":2");
        assert_eq!(
            channel.text(),
            "*3\\r\\n$7\\r\\nmessage\\r\\n$4\\r\\nnews\\r\\n$5\\r\\nhello"
        );
        assert_eq!(
            pattern.text(),
            "*4\\r\\n$8\\r\\npmessage\\r\\n$2\\r\\nn*\\r\\n$4\\r\\nnews\\r\\n$5\\r\\nhello"
        );
        if version.major() >= 7 {
            let mut shard = sidecar.client();
            assert_eq!(
                shard.ask("SSUBSCRIBE orders"),
                "*3\\r\\n$10\\r\\nssubscribe\\r\\n$6\\r\\norders\\r\\n:1"
            );
            assert_eq!(publisher.ask("SPUBLISH orders x"), ":1");
            assert_eq!(
                shard.text(),
                "*3\\r\\n$8\\r\\nsmessage\\r\\n$6\\r\\norders\\r\\n$1\\r\\nx"
            );
        }
        drop((channel, pattern));
        until(
            "subscriptions end with their clients",
            Duration::from_secs(20),
            || (publisher.ask("PUBLISH news x") == ":0").then_some(()),
        );
    }
}

#[test]
fn resp3_subscribers_go_on_with_commands() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    client.ask("HELLO 3");
    assert_eq!(
        client.ask("SUBSCRIBE news"),
        ">3\\r\\n$9\\r\\nsubscribe\\r\\n$4\\r\\nnews\\r\\n:1"
    );
    assert_eq!(client.ask("SET key value"), "+OK");
    assert_eq!(client.ask("GET key"), "$5\\r\\nvalue");
    assert_eq!(sidecar.client().ask("PUBLISH news x"), ":1");
    assert_eq!(
        client.text(),
        ">3\\r\\n$7\\r\\nmessage\\r\\n$4\\r\\nnews\\r\\n$1\\r\\nx"
    );
}

#[test]
fn a_thousand_messages_arrive_in_order() {
    let (_server, sidecar) = start();
    let mut subscriber = sidecar.client();
    subscriber.ask("SUBSCRIBE news");
    let mut publisher = sidecar.client();
    for number in 0..1000 {
        publisher.send_words(&format!("PUBLISH news {number}"));
    }
    for number in 0..1000 {
        assert_eq!(publisher.text(), ":1");
        assert!(subscriber.text().ends_with(&format!("\\r\\n{number}")));
    }
}

#[test]
fn keyspace_notifications_arrive() {
    let (_server, sidecar) = start();
    let (mut subscriber, mut client) = (sidecar.client(), sidecar.client());
    assert_eq!(client.ask("CONFIG SET notify-keyspace-events KEA"), "+OK");
    subscriber.ask("SUBSCRIBE __keyevent@0__:expired");
    assert_eq!(client.ask("SET key value PX 30"), "+OK");
    assert!(subscriber.text().ends_with("expired\\r\\n$3\\r\\nkey"));
    assert_eq!(
        client.ask("GET key"),
        "$-1",
        "announced as expired, so it is gone"
    );
}

#[test]
fn monitor_shows_commands() {
    let (_server, sidecar) = start();
    let mut monitor = sidecar.client();
    assert_eq!(monitor.ask("MONITOR"), "+OK");
    let mut client = sidecar.client();
    client.ask("SET watched-key value");
    until("the command in MONITOR", Duration::from_secs(10), || {
        let line = monitor.text();
        (line.contains("watched-key") && line.to_ascii_uppercase().contains("SET")).then_some(())
    });
    drop(monitor);
    assert_eq!(client.ask("PING"), "+PONG");
}

#[test]
fn monitor_ends_with_reset() {
    let (_server, sidecar) = start();
    let mut monitor = sidecar.client();
    assert_eq!(monitor.ask("MONITOR"), "+OK");
    monitor.send_words("RESET");
    until("+RESET", Duration::from_secs(10), || {
        (monitor.text() == "+RESET").then_some(())
    });
    assert_eq!(monitor.ask("PING"), "+PONG");
    assert_eq!(sidecar.client().ask("SET key value"), "+OK");
    assert!(monitor.is_silent_for(Duration::from_millis(100)));
}

#[test]
fn tracking_pushes_reach_resp3_clients() {
    let (server, sidecar) = start();
    let mut client = sidecar.client();
    client.ask("HELLO 3");
    assert_eq!(client.ask("CLIENT TRACKING ON"), "+OK");
    assert_eq!(client.ask("GET key"), "_");
    assert_eq!(sidecar.client().ask("SET key 1"), "+OK");
    assert_eq!(
        client.text(),
        ">2\\r\\n$10\\r\\ninvalidate\\r\\n*1\\r\\n$3\\r\\nkey"
    );
    assert_eq!(client.ask("GET key"), "$1\\r\\n1");
    assert_eq!(server.client().ask("SET key 2"), "+OK");
    assert_eq!(
        client.text(),
        ">2\\r\\n$10\\r\\ninvalidate\\r\\n*1\\r\\n$3\\r\\nkey"
    );
    assert_eq!(client.ask("CLIENT TRACKING OFF"), "+OK");
    assert_eq!(client.ask("GET key"), "$1\\r\\n2");
    assert_eq!(server.client().ask("SET key 3"), "+OK");
    assert!(client.is_silent_for(Duration::from_millis(100)));
    assert_eq!(client.ask("GET key"), "$1\\r\\n3");
}
