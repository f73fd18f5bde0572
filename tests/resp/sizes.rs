//! Large pipelines, replies and values, in bounded memory.

use std::time::Duration;

use crate::harness::{Server, Sidecar, any_version, encode, until};

fn start() -> (Server, Sidecar) {
    let server = Server::start(&any_version());
    let sidecar = Sidecar::start(&server);
    (server, sidecar)
}

/// Reads `count` frames while another thread sends `bytes`, as a client that does both at once does.
fn exchange(
    client: &mut crate::harness::Client,
    bytes: Vec<u8>,
    mut each: impl FnMut(usize, Vec<u8>),
    count: usize,
) {
    let mut writer = client.writer();
    let sender = std::thread::spawn(move || {
        writer
            .write_all(&bytes)
            .expect("the connection takes bytes")
    });
    for number in 0..count {
        each(number, client.frame());
    }
    sender.join().expect("the sender ends");
}

#[test]
fn a_pipeline_of_100_000_commands_is_answered_in_order() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    const COUNT: usize = 100_000;
    let mut bytes = Vec::new();
    for number in 0..COUNT {
        match number % 4 {
            0 => bytes.extend(encode(&[
                "SET",
                &format!("key:{}", number % 1000),
                &number.to_string(),
            ])),
            1 => bytes.extend(encode(&["GET", &format!("key:{}", (number - 1) % 1000)])),
            2 => bytes.extend(encode(&["ECHO", &number.to_string()])),
            _ => bytes.extend(encode(&["PING", &number.to_string()])),
        }
    }
    let bulk = |number: usize| encode(&[number.to_string()])[4..].to_vec();
    exchange(
        &mut client,
        bytes,
        |number, frame| match number % 4 {
            0 => assert_eq!(frame, b"+OK\r\n", "reply {number}"),
            1 => assert_eq!(frame, bulk(number - 1), "reply {number}"),
            _ => assert_eq!(frame, bulk(number), "reply {number}"),
        },
        COUNT,
    );
}

#[test]
fn values_of_every_size_arrive_whole_in_both_directions() {
    let (_server, sidecar) = start();
    let mut sizes = vec![
        1,
        2,
        1000,
        16_383,
        16_384,
        16_385,
        65_536,
        1 << 20,
        (1 << 20) + 1,
        16 << 20,
        64 << 20,
    ];
    if std::env::var_os("GRIPFAST_TEST_LARGE").is_some() {
        sizes.push(512 << 20);
    }
    let mut client = sidecar.client();
    for size in sizes {
        let value: Vec<u8> = (0..size).map(|at: usize| (at % 251) as u8).collect();
        let bytes = encode(&[&b"SET"[..], b"large", &value]);
        exchange(
            &mut client,
            bytes,
            |_, frame| assert_eq!(frame, b"+OK\r\n"),
            1,
        );
        let reply = client.call(&["GET", "large"]);
        let expected = &encode(&[&value])[4..];
        assert!(reply == expected, "{size} bytes came back whole");
    }
}

#[test]
fn a_large_value_is_not_kept_twice() {
    let (_server, sidecar) = start();
    const SIZE: usize = 64 << 20;
    /// Room for buffers besides one copy of the value.
    const SLACK: u64 = 24 << 20;
    let mut client = sidecar.client();
    assert_eq!(client.ask("PING"), "+PONG");
    let before = sidecar.resident_bytes();
    let bytes = encode(&[&b"SET"[..], b"large", &vec![b'x'; SIZE]]);
    exchange(
        &mut client,
        bytes,
        |_, frame| assert_eq!(frame, b"+OK\r\n"),
        1,
    );
    assert_eq!(client.call(&["GET", "large"]).len(), SIZE + 13);
    let (Some(before), Some(peak)) = (before, sidecar.peak_resident_bytes()) else {
        return;
    };
    assert!(
        peak < before + SIZE as u64 + SLACK,
        "peak {peak} for a value of {SIZE}, {before} before"
    );
    until("memory given back", Duration::from_secs(20), || {
        sidecar.resident_bytes().filter(|now| *now < before + SLACK)
    });
}

#[test]
fn deeply_nested_replies_pass() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    for depth in [1, 7, 30, 100] {
        let script = format!("return {}1{}", "{".repeat(depth), "}".repeat(depth));
        let reply = client.call(&["EVAL", &script, "0"]);
        let expected = format!("{}:1\r\n", "*1\r\n".repeat(depth));
        assert_eq!(String::from_utf8_lossy(&reply), expected, "depth {depth}");
    }
    assert_eq!(client.ask("PING"), "+PONG");
}

#[test]
fn wide_replies_pass() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    let script = "for i = 1, 50 do local t = {} for j = 1, 2000 do t[j] = (i - 1) * 2000 + j end redis.call('RPUSH', KEYS[1], unpack(t)) end return 'done'";
    client.call(&["EVAL", script, "1", "list"]);
    let reply = client.call(&["LRANGE", "list", "0", "-1"]);
    assert!(reply.starts_with(b"*100000\r\n$1\r\n1\r\n"));
    assert!(reply.ends_with(b"$6\r\n100000\r\n"));
    assert_eq!(client.ask("PING"), "+PONG");
}

#[test]
fn requests_of_many_arguments_pass() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    const COUNT: usize = 100_000;
    let mut words = vec!["DEL".to_owned()];
    words.extend((0..COUNT).map(|number| format!("k{number}")));
    exchange(
        &mut client,
        encode(&words),
        |_, frame| assert_eq!(frame, b":0\r\n"),
        1,
    );
    words[0] = "MGET".into();
    let mut seen = 0;
    exchange(
        &mut client,
        encode(&words),
        |_, frame| seen = frame.len(),
        1,
    );
    assert_eq!(seen, "*100000\r\n".len() + COUNT * "$-1\r\n".len());
}
