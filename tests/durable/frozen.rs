//! Replicas that stand still: what waits for them, for how long, and what does not.

use std::time::Duration;

use crate::harness::{Client, Stopwatch, on_each};
use crate::stage::{NEVER, Servers, freeze, sends_and_waits, thaw, until_counted, waits_for};

/// A time-out that is waited for.
const SOON: Duration = Duration::from_millis(500);

/// Less than as many writes take one after the other if each waits for what replicas say by themselves, once a second.
const WRITES: u32 = 50;
const WRITES_TAKE_AT_MOST: Duration = Duration::from_secs(25);

/// Writes, and is told after the whole time that replicas are late.
fn is_refused(client: &mut Client, request: &str) {
    let watch = Stopwatch::start();
    let told = client.ask(request);
    assert!(
        told.starts_with("-NOREPLICAS gripfast: the command was executed"),
        "{told}"
    );
    assert!(watch.elapsed() >= SOON, "{:?}", watch.elapsed());
}

#[test]
fn a_write_waits_for_frozen_replicas_until_they_go_on_or_its_time_is_over() {
    on_each(|version| {
        let servers = Servers::start(version);
        let [one, both] = [1, 2].map(|replicas| servers.before(replicas, NEVER).start());
        let [hasty_one, hasty_both] = [1, 2].map(|replicas| servers.before(replicas, SOON).start());
        for sidecar in [&both, &one] {
            let watch = Stopwatch::start();
            let mut client = sidecar.client();
            for _ in 0..WRITES {
                assert_eq!(client.ask("SET a 1"), "+OK");
            }
            assert!(watch.elapsed() < WRITES_TAKE_AT_MOST);
        }
        freeze(&servers.replicas[1..]);
        assert_eq!(one.client().ask("SET a 1"), "+OK");
        is_refused(&mut hasty_both.client(), "SET a 1");
        freeze(&servers.replicas[..1]);
        is_refused(&mut hasty_one.client(), "SET a 1");
        let mut clients = [both.client(), one.client()];
        for client in &mut clients {
            sends_and_waits(client, "SET a 2", &[]);
        }
        // Others see it all the same.
        assert_eq!(one.client().ask("GET a"), "$1\\r\\n2");
        thaw(&servers.replicas);
        for client in &mut clients {
            assert_eq!(client.text(), "+OK");
        }
        until_counted(&both, "replicated", f64::from(WRITES + 1));
        until_counted(&one, "replicated", f64::from(WRITES + 2));
        until_counted(&hasty_both, "timeout_refused", 1.0);
    });
}

#[test]
fn where_that_is_wanted_the_reply_goes_out_when_its_time_is_over() {
    on_each(|version| {
        let servers = Servers::start(version);
        let lines = waits_for(1, SOON) + ", mode: replicated, on_timeout: reply";
        let sidecar = servers.journalled().durability(&lines).start();
        freeze(&servers.replicas);
        let watch = Stopwatch::start();
        assert_eq!(sidecar.client().ask("SET a 1"), "+OK");
        assert!(watch.elapsed() >= SOON, "{:?}", watch.elapsed());
        until_counted(&sidecar, "timeout_replied", 1.0);
        until_counted(&sidecar, "replicated", 0.0);
    });
}

#[test]
fn keys_have_a_mode_of_their_own_by_their_prefix() {
    on_each(|version| {
        let servers = Servers::start(version);
        let lines = "prefixes: {\"log:\": async, \"log:auth:\": replicated}";
        let sidecar = servers.before(1, NEVER).durability(lines).start();
        freeze(&servers.replicas);
        // It would be refused, or wait for ever.
        assert_eq!(sidecar.client().ask("SET log:a 1"), "+OK");
        let mut clients = [sidecar.client(), sidecar.client()];
        for (client, key) in clients.iter_mut().zip(["a", "log:auth:a"]) {
            sends_and_waits(client, &format!("SET {key} 1"), &[]);
        }
        thaw(&servers.replicas);
        for client in &mut clients {
            assert_eq!(client.text(), "+OK");
        }
        until_counted(&sidecar, "replicated", 2.0);
    });
}

#[test]
fn nothing_is_acknowledged_on_the_word_of_a_wait_that_waits_for_nothing() {
    on_each(|version| {
        let servers = Servers::start(version);
        let mut primary = servers.primary.client();
        for (name, without) in [("push", "-spublish"), ("slow", "-spublish -wait")] {
            let user = format!("ACL SETUSER {name} on >s ~* &* +@all {without}");
            if primary.ask(&user) != "+OK" {
                // 6.2 has no SPUBLISH to be forbidden.
                assert_eq!(primary.ask(&user.replace(" -spublish", "")), "+OK");
            }
            let login = format!("username: {name}, password: s");
            let [patient, hasty] = [NEVER, SOON].map(|timeout| {
                let wishes = servers.before(2, timeout);
                wishes.upstream(&login).start()
            });
            let mut client = patient.client();
            for _ in 0..3 {
                assert_eq!(client.ask("SET a 1"), "+OK");
            }
            freeze(&servers.replicas[1..]);
            is_refused(&mut hasty.client(), "SET a 1");
            sends_and_waits(&mut client, "SET a 1", &[]);
            thaw(&servers.replicas[1..]);
            assert_eq!(client.text(), "+OK");
        }
    });
}

#[test]
fn where_the_journal_wants_it_only_what_no_reply_tells_waits() {
    on_each(|version| {
        let servers = Servers::start(version);
        let [patient, hasty] = [NEVER, SOON].map(|timeout| {
            let wishes = servers.journalled().journal("opaque: wait");
            let lines = waits_for(2, timeout) + ", on_timeout: error";
            wishes.durability(&lines).start()
        });
        freeze(&servers.replicas[1..]);
        let script = "EVAL return{redis.call('SET',KEYS[1],'1')} 1 s";
        for request in ["RPUSH l a", script] {
            is_refused(&mut hasty.client(), request);
        }
        for request in ["SET a 1", "HSET h f v", "INCR n", "DEL none"] {
            let told = patient.client().ask(request);
            assert!(!told.starts_with('-'), "{request}: {told}");
        }
        let waiting = [
            (script, &[][..], "*1\\r\\n+OK"),
            ("APPEND t x", &[], ":1"),
            ("MULTI; RPUSH q a; EXEC", &["+OK", "+QUEUED"], "*1\\r\\n:1"),
        ];
        let mut clients = waiting.map(|(requests, replies, last)| {
            let mut client = patient.client();
            sends_and_waits(&mut client, requests, replies);
            (client, last)
        });
        thaw(&servers.replicas);
        for (client, last) in &mut clients {
            assert_eq!(client.text(), *last);
        }
        until_counted(&patient, "replicated", 3.0);
        until_counted(&hasty, "timeout_refused", 2.0);
    });
}
