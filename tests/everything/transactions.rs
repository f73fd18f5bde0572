//! MULTI, WATCH, scripts and functions.

use std::time::Duration;

use crate::harness::{Server, Sidecar, any_version, encode, until, version};
use crate::start;

#[test]
fn watch_broken_by_another_client_aborts_exec() {
    let (_server, sidecar) = start();
    let (mut one, mut other) = (sidecar.client(), sidecar.client());
    assert_eq!(one.ask("WATCH key"), "+OK");
    assert_eq!(one.ask("GET key"), "$-1");
    assert_eq!(other.ask("SET key theirs"), "+OK");
    assert_eq!(one.ask("MULTI"), "+OK");
    assert_eq!(one.ask("SET key mine"), "+QUEUED");
    assert_eq!(one.ask("EXEC"), "*-1");
    assert_eq!(one.ask("GET key"), "$6\\r\\ntheirs");
}

#[test]
fn watch_broken_past_the_sidecar_aborts_exec() {
    let (server, sidecar) = start();
    let mut one = sidecar.client();
    assert_eq!(one.ask("WATCH key"), "+OK");
    assert_eq!(server.client().ask("SET key theirs"), "+OK");
    one.send(
        &[
            encode(&["MULTI"]),
            encode(&["SET", "key", "mine"]),
            encode(&["EXEC"]),
        ]
        .concat(),
    );
    assert_eq!(
        [one.text(), one.text(), one.text()],
        ["+OK", "+QUEUED", "*-1"]
    );
}

#[test]
fn watch_unbroken_executes_though_others_write_elsewhere() {
    let (_server, sidecar) = start();
    let (mut one, mut other) = (sidecar.client(), sidecar.client());
    for round in 0..200 {
        assert_eq!(one.ask("WATCH key"), "+OK");
        assert_eq!(other.ask("INCR elsewhere"), format!(":{}", round + 1));
        one.send(
            &[
                encode(&["MULTI"]),
                encode(&["INCR", "key"]),
                encode(&["EXEC"]),
            ]
            .concat(),
        );
        assert_eq!(
            [one.text(), one.text(), one.text()],
            [
                "+OK".into(),
                "+QUEUED".into(),
                format!("*1\\r\\n:{}", round + 1)
            ]
        );
    }
}

#[test]
fn own_write_before_watch_does_not_break_it() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    for round in 0..200 {
        let bytes = [
            encode(&["SET", "key", "v"]),
            encode(&["WATCH", "key"]),
            encode(&["MULTI"]),
            encode(&["SET", "key", "w"]),
            encode(&["EXEC"]),
        ]
        .concat();
        client.send(&bytes);
        let replies: Vec<String> = (0..5).map(|_| client.text()).collect();
        assert_eq!(
            replies,
            ["+OK", "+OK", "+OK", "+QUEUED", "*1\\r\\n+OK"],
            "round {round}"
        );
    }
}

#[test]
fn discard_forgets_what_was_queued() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    for (words, reply) in [
        ("MULTI", "+OK"),
        ("SET key x", "+QUEUED"),
        ("DISCARD", "+OK"),
        ("GET key", "$-1"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("DISCARD", "-ERR DISCARD without MULTI"),
    ] {
        assert_eq!(client.ask(words), reply, "{words}");
    }
}

#[test]
fn a_transaction_with_a_mistake_is_aborted_whole() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    client.send_words("MULTI");
    client.send_words("SET key x");
    client.send_words("NOSUCHCOMMAND");
    client.send_words("EXEC");
    let replies: Vec<String> = (0..4).map(|_| client.text()).collect();
    assert!(
        replies[2].starts_with("-ERR unknown command"),
        "{replies:?}"
    );
    assert_eq!(
        replies[3],
        "-EXECABORT Transaction discarded because of previous errors."
    );
    assert_eq!(client.ask("EXISTS key"), ":0");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_multi_executes_nothing() {
    let (_server, sidecar) = start();
    let mut other = sidecar.client();
    for _ in 0..20 {
        let mut client = sidecar.client();
        assert_eq!(client.ask("MULTI"), "+OK");
        assert_eq!(client.ask("INCR counter"), "+QUEUED");
        drop(client);
        assert_eq!(other.ask("MULTI"), "+OK");
        assert_eq!(other.ask("PING"), "+QUEUED");
        assert_eq!(other.ask("EXEC"), "*1\\r\\n+PONG");
    }
    assert_eq!(other.ask("EXISTS counter"), ":0");
}

#[test]
fn scripts_run_by_body_and_by_hash() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    let body = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
    assert_eq!(
        client.call(&["EVALSHA", "ffffffffffffffffffffffffffffffffffffffff", "0"]),
        b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
    );
    assert_eq!(client.call(&["EVAL", body, "1", "n", "5"]), b":5\r\n");
    let loaded = client.call(&["SCRIPT", "LOAD", body]);
    let hash = String::from_utf8_lossy(&loaded[5..45]).into_owned();
    assert_eq!(client.call(&["EVALSHA", &hash, "1", "n", "5"]), b":10\r\n");
    assert_eq!(
        sidecar.client().call(&["EVALSHA", &hash, "1", "n", "1"]),
        b":11\r\n"
    );
    assert_eq!(client.call(&["SCRIPT", "EXISTS", &hash]), b"*1\r\n:1\r\n");
    assert_eq!(client.ask("SCRIPT FLUSH"), "+OK");
    assert_eq!(client.call(&["SCRIPT", "EXISTS", &hash]), b"*1\r\n:0\r\n");
    assert_eq!(client.ask("GET n"), "$2\\r\\n11");
}

#[test]
fn functions_are_loaded_and_called() {
    for version in ["redis-7.0", "redis-8.2", "valkey-9.1"]
        .iter()
        .filter_map(|name| version(name))
    {
        let server = Server::start(&version);
        let sidecar = Sidecar::start(&server);
        let mut client = sidecar.client();
        let library = "#!lua name=lib\nredis.register_function('put', function(k, a) return redis.call('SET', k[1], a[1]) end)";
        assert_eq!(
            client.call(&["FUNCTION", "LOAD", library]),
            b"$3\r\nlib\r\n"
        );
        assert_eq!(sidecar.client().ask("FCALL put 1 key value"), "+OK");
        assert_eq!(client.ask("GET key"), "$5\\r\\nvalue");
        let dump = client.call(&["FUNCTION", "DUMP"]);
        assert_eq!(client.ask("FUNCTION FLUSH"), "+OK");
        assert!(
            client
                .ask("FCALL put 1 key value")
                .starts_with("-ERR Function not found")
        );
        let start = dump.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        assert_eq!(
            client.call(&[&b"FUNCTION"[..], b"RESTORE", &dump[start..dump.len() - 2]]),
            b"+OK\r\n"
        );
        assert_eq!(client.ask("FCALL put 1 key again"), "+OK");
        assert_eq!(client.ask("GET key"), "$5\\r\\nagain");
    }
}

#[test]
fn script_kill_reaches_a_busy_server() {
    let server = Server::start_with(&any_version(), &["--lua-time-limit", "50"]);
    let sidecar = Sidecar::before(&server)
        .announce("BUSY")
        .announce("answer")
        .start();
    let (mut runner, mut other) = (sidecar.client(), sidecar.client());
    other.ask("SET key value");
    runner.send(&encode(&["EVAL", "while true do end", "0"]));
    until("BUSY for another client", Duration::from_secs(20), || {
        other.ask("GET key").starts_with("-BUSY").then_some(())
    });
    let mut third = sidecar.client();
    assert!(third.ask("SET key x").starts_with("-BUSY"));
    until("the end of the script", Duration::from_secs(20), || {
        (third.ask("SCRIPT KILL") == "+OK").then_some(())
    });
    let text = runner.text();
    assert!(
        text.starts_with('-') && text.contains("killed by user"),
        "{text}"
    );
    until("service for all", Duration::from_secs(20), || {
        (other.ask("GET key") == "$5\\r\\nvalue").then_some(())
    });
    assert_eq!(runner.ask("PING"), "+PONG");
}
