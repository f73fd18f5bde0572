//! Many clients, slow clients, clients that do not read, all the ways to connect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{
    Client, Server, Sidecar, Stopwatch, against_redis, any_version, encode, pause, until,
};

#[test]
fn a_slow_sender_never_delays_other_clients() {
    let server = Server::start(&any_version());
    let sidecar = Sidecar::start(&server);
    let stop = Arc::new(AtomicBool::new(false));
    let slow: Vec<_> = (0..5)
        .map(|number| {
            let (mut client, stop) = (sidecar.client(), stop.clone());
            std::thread::spawn(move || {
                let bytes = encode(&["SET", &format!("slow:{number}"), "value"]);
                let mut rounds = 0;
                while !stop.load(Ordering::Relaxed) || rounds == 0 {
                    for byte in &bytes {
                        client.send(&[*byte]);
                        pause(Duration::from_millis(2));
                    }
                    assert_eq!(client.text(), "+OK");
                    rounds += 1;
                }
            })
        })
        .collect();
    let mut half = sidecar.client();
    half.send(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$1000000\r\nbegun");
    let mut fast = sidecar.client();
    let mut slowest = Duration::ZERO;
    for number in 0..2000 {
        let watch = Stopwatch::start();
        assert_eq!(fast.ask(&format!("SET fast {number}")), "+OK");
        slowest = slowest.max(watch.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    for thread in slow {
        thread.join().expect("the slow client is served too");
    }
    assert!(
        slowest < Duration::from_millis(500),
        "slowest reply took {slowest:?}"
    );
}

#[test]
fn a_client_that_does_not_read_is_closed_at_the_bound_and_others_go_on() {
    if against_redis() {
        return;
    }
    let server = Server::start(&any_version());
    let sidecar = Sidecar::before(&server)
        .listen("output_bytes_max: 4194304")
        .announce("does not read its replies")
        .start();
    let mut other = sidecar.client();
    assert_eq!(
        other.call(&[&b"SET"[..], b"large", &vec![b'x'; 1 << 20]]),
        b"+OK\r\n"
    );
    let before = sidecar.resident_bytes().expect("a sidecar runs");
    let mut deaf = sidecar.client();
    let request = encode(&["GET", "large"]);
    until(
        "the close of the client that does not read",
        Duration::from_secs(30),
        || deaf.try_send(&request.repeat(10)).err(),
    );
    assert_eq!(other.ask("PING"), "+PONG");
    let peak = sidecar.peak_resident_bytes().expect("a sidecar runs");
    assert!(peak < before + (64 << 20), "peak {peak}, {before} before");
    until("the close is counted", Duration::from_secs(10), || {
        let closed = "gripfast_client_connections_closed_total{cause=\"output_limit\"}";
        (sidecar.metric(closed) > 0.0).then_some(())
    });
}

#[test]
fn clients_beyond_the_bound_are_refused_in_the_words_of_redis() {
    let clients_max = 20;
    let server = Server::start_with(
        &any_version(),
        if against_redis() {
            &["--maxclients", "20"]
        } else {
            &[]
        },
    );
    let sidecar = Sidecar::before(&server)
        .listen(&format!("clients_max: {clients_max}"))
        .announce("client")
        .start();
    let mut held: Vec<Client> = until("room for all", Duration::from_secs(10), || {
        let mut held: Vec<Client> = (0..clients_max).map(|_| sidecar.client()).collect();
        held.iter_mut()
            .all(|client| {
                client.send_words("PING");
                client
                    .try_frame()
                    .is_some_and(|frame| frame == b"+PONG\r\n")
            })
            .then_some(held)
    });
    let mut refused = sidecar.client();
    assert_eq!(
        refused.rest().as_deref(),
        Some(&b"-ERR max number of clients reached\r\n"[..])
    );
    held.pop();
    until("a place for another", Duration::from_secs(10), || {
        let mut client = sidecar.client();
        client.try_send(b"PING\r\n").ok()?;
        client.try_frame().filter(|frame| frame == b"+PONG\r\n")
    });
}

#[test]
fn the_unix_socket_serves_like_tcp() {
    let server = Server::start(&any_version());
    let sidecar = Sidecar::start(&server);
    let mut client = sidecar.unix_client();
    assert_eq!(client.ask("SET key over-unix"), "+OK");
    assert_eq!(sidecar.client().ask("GET key"), "$9\\r\\nover-unix");
    let large = vec![b'x'; 4 << 20];
    assert_eq!(client.call(&[&b"SET"[..], b"large", &large]), b"+OK\r\n");
    assert_eq!(client.call(&["GET", "large"]).len(), large.len() + 12);
    assert_eq!(client.ask("BLPOP none 0.01"), "*-1");
}

#[test]
fn an_ipv6_listener_serves_like_any() {
    if against_redis() || std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let server = Server::start(&any_version());
    let sidecar = Sidecar::before(&server).listen_host("[::1]").start();
    assert_eq!(sidecar.client().ask("SET key v6"), "+OK");
}

#[test]
fn a_connection_per_request_works_for_thousands() {
    let server = Server::start_with(&any_version(), &["--requirepass", "secret"]);
    let sidecar = Sidecar::before(&server)
        .upstream("password: secret")
        .start();
    for number in 0..3000 {
        let mut client = sidecar.client();
        client.send(&encode(&["AUTH", "secret"]));
        assert_eq!(client.text(), "+OK", "AUTH of connection {number}");
        assert_eq!(client.ask("SELECT 3"), "+OK");
        assert_eq!(client.ask(&format!("SET key {number}")), "+OK");
        assert_eq!(
            client.ask("STRLEN key"),
            format!(":{}", number.to_string().len())
        );
    }
}

#[test]
fn every_reply_goes_to_the_client_that_asked() {
    let requests: usize = std::env::var("GRIPFAST_TEST_REQUESTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    const CLIENTS: usize = 50;
    const PIPELINE: usize = 50;
    let server = Server::start(&any_version());
    let sidecar = Sidecar::start(&server);
    let rounds = requests / CLIENTS / PIPELINE;
    let threads: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let mut client = if number % 5 == 0 {
                sidecar.unix_client()
            } else {
                sidecar.client()
            };
            std::thread::spawn(move || own_replies_only(&mut client, number, rounds, PIPELINE))
        })
        .collect();
    for thread in threads {
        thread.join().expect("the client saw only its own replies");
    }
}

/// Writes and reads values that only this client uses, by several lanes, and checks each reply.
fn own_replies_only(client: &mut Client, number: usize, rounds: usize, pipeline: usize) {
    use std::fmt::Write as _;
    client.ask(if number.is_multiple_of(2) {
        "HELLO 3"
    } else {
        "HELLO 2"
    });
    let (mut bytes, mut expected) = (String::new(), String::new());
    for round in 0..rounds {
        bytes.clear();
        expected.clear();
        for step in 0..pipeline / 2 {
            let value = format!("{number}-{round}-{step}");
            let key = format!("own:{number}:{}", step % 7);
            let (key_length, length) = (key.len(), value.len());
            match step % 4 {
                3 => {
                    let _ = write!(
                        bytes,
                        "*3\r\n$6\r\nGETSET\r\n${key_length}\r\n{key}\r\n${length}\r\n{value}\r\n"
                    );
                    let _ = write!(bytes, "*2\r\n$4\r\nECHO\r\n${length}\r\n{value}\r\n");
                }
                _ => {
                    let _ = write!(
                        bytes,
                        "*3\r\n$3\r\nSET\r\n${key_length}\r\n{key}\r\n${length}\r\n{value}\r\n"
                    );
                    let _ = write!(bytes, "*2\r\n$3\r\nGET\r\n${key_length}\r\n{key}\r\n");
                }
            }
            let _ = write!(
                expected,
                "{}${length}\r\n{value}\r\n",
                if step % 4 == 3 { "?" } else { "+OK\r\n" }
            );
        }
        client.send(bytes.as_bytes());
        let mut rest = expected.as_bytes();
        while !rest.is_empty() {
            let frame = client.frame();
            if rest[0] == b'?' {
                let own = frame == b"$-1\r\n"
                    || frame == b"_\r\n"
                    || String::from_utf8_lossy(&frame).contains(&format!("\n{number}-"));
                assert!(
                    own,
                    "another client's value: {}",
                    crate::harness::escape(&frame)
                );
                rest = &rest[1..];
            } else {
                let (mine, after) = rest.split_at(frame.len().min(rest.len()));
                assert_eq!(
                    crate::harness::escape(&frame),
                    crate::harness::escape(mine),
                    "client {number}, round {round}"
                );
                rest = after;
            }
        }
    }
}
