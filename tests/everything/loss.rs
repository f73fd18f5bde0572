//! Redis that is not there: never nil, always a clear error, and service as soon as it is back.

use std::time::Duration;

use crate::harness::{Client, Server, Sidecar, against_redis, any_version, free_port, until};
use crate::wait_for_info;

const PATIENCE: Duration = Duration::from_secs(30);

/// These are about what is told when waiting was in vain.
const SOON: &str = "deadline_ms: 300";

/// What a command gets while Redis is away.
fn is_masterdown(reply: &str) -> bool {
    reply.starts_with("-MASTERDOWN gripfast:")
}

#[test]
fn redis_absent_at_the_start_is_waited_for() {
    if against_redis() {
        return;
    }
    let mut server = Server::start(&any_version());
    server.kill();
    let sidecar = Sidecar::before(&server)
        .hold(SOON)
        .announce("")
        .without_waiting()
        .start();
    let mut client = until("a connection", PATIENCE, || {
        Client::try_connect(&sidecar.address).ok()
    });
    assert_eq!(
        client.ask("PING"),
        "+PONG",
        "answered without Redis, as its answer is known"
    );
    for words in [
        "GET key",
        "SET key value",
        "INCR n",
        "EVAL x 0",
        "KEYS *",
        "BLPOP queue 1",
        "INFO",
        "NOSUCHCOMMAND",
    ] {
        let reply = client.ask(words);
        assert!(is_masterdown(&reply), "{words}: {reply}");
    }
    let (code, _) = until("the admin port", PATIENCE, || sidecar.admin("/readyz"));
    assert_ne!(code, 200, "not ready while Redis is away");
    assert!(
        sidecar.log().contains("127.0.0.1"),
        "it says what it waits for:\n{}",
        sidecar.log()
    );
    server.start_again();
    until("service", PATIENCE, || {
        (client.ask("SET key value") == "+OK").then_some(())
    });
    assert_eq!(client.ask("GET key"), "$5\\r\\nvalue");
    until("readiness", PATIENCE, || {
        sidecar.admin("/readyz").filter(|(code, _)| *code == 200)
    });
}

#[test]
fn redis_lost_and_back() {
    if against_redis() {
        return;
    }
    let mut server = Server::start(&any_version());
    let sidecar = Sidecar::before(&server).hold(SOON).announce("").start();
    let mut plain = sidecar.client();
    assert_eq!(plain.ask("SET key value"), "+OK");
    let mut resp3 = sidecar.client();
    resp3.ask("HELLO 3");
    assert_eq!(resp3.ask("GET key"), "$5\\r\\nvalue");
    let mut elsewhere = sidecar.client();
    elsewhere.ask("SELECT 4");
    let mut in_multi = sidecar.client();
    assert_eq!(
        [in_multi.ask("MULTI"), in_multi.ask("SET key queued")],
        ["+OK", "+QUEUED"]
    );
    let mut watching = sidecar.client();
    assert_eq!(watching.ask("WATCH key"), "+OK");
    let mut subscribed = sidecar.client();
    subscribed.ask("SUBSCRIBE news");
    let mut blocked = sidecar.client();
    blocked.send_words("BLPOP queue 0");
    wait_for_info(&server, "clients", "blocked_clients:1");
    server.kill();

    until("the news of the loss", PATIENCE, || {
        is_masterdown(&plain.ask("GET key")).then_some(())
    });
    for client in [&mut plain, &mut resp3, &mut elsewhere] {
        for words in [
            "GET key",
            "GET none",
            "SET key x",
            "HGETALL h",
            "EXISTS key",
            "EVAL x 0",
            "MULTI",
        ] {
            let reply = client.ask(words);
            assert!(is_masterdown(&reply), "{words}: {reply}");
        }
        assert_eq!(client.ask("PING"), "+PONG");
    }
    // A state that died with the link may end its client, or be an error; it is never taken for done.
    for (client, words) in [
        (&mut in_multi, "EXEC"),
        (&mut watching, "MULTI"),
        (&mut subscribed, "PING"),
    ] {
        let _ = client.try_send(format!("{words}\r\n").as_bytes());
        if let Some(frame) = client.try_frame() {
            assert!(
                frame.starts_with(b"-"),
                "{words}: {}",
                crate::harness::escape(&frame)
            );
        }
    }
    if let Some(frame) = blocked.try_frame() {
        assert!(
            frame.starts_with(b"-"),
            "{}",
            crate::harness::escape(&frame)
        );
    }

    server.start_again();
    until("service", PATIENCE, || {
        (plain.ask("SET key again") == "+OK").then_some(())
    });
    assert_eq!(plain.ask("GET key"), "$5\\r\\nagain");
    until("service in RESP3", PATIENCE, || {
        (resp3.ask("GET none") == "_").then_some(())
    });
    until("service in database 4", PATIENCE, || {
        (elsewhere.ask("SET key four") == "+OK").then_some(())
    });
    assert_eq!(elsewhere.ask("DBSIZE"), ":1");
    assert_eq!(server.client().ask("DBSIZE"), ":1");
    let mut fresh = sidecar.client();
    assert_eq!(
        [fresh.ask("MULTI"), fresh.ask("INCR n"), fresh.ask("EXEC")],
        ["+OK", "+QUEUED", "*1\\r\\n:1"]
    );
    let mut waiting = sidecar.client();
    waiting.send_words("BLPOP queue 0");
    wait_for_info(&server, "clients", "blocked_clients:1");
    assert_eq!(fresh.ask("RPUSH queue x"), ":1");
    assert!(waiting.text().starts_with("*2"));
}

#[test]
fn requests_under_way_at_the_loss_get_an_error_each_and_in_order() {
    if against_redis() {
        return;
    }
    let mut server = Server::start(&any_version());
    let sidecar = Sidecar::before(&server).hold(SOON).announce("").start();
    let mut client = sidecar.client();
    client.ask("SET key value");
    let mut bytes = Vec::new();
    const COUNT: usize = 20_000;
    for number in 0..COUNT {
        bytes.extend(crate::harness::encode(&["SET", "key", &number.to_string()]));
        bytes.extend(crate::harness::encode(&["PING", &number.to_string()]));
    }
    let mut writer = client.writer();
    let sender = std::thread::spawn(move || writer.write_all(&bytes));
    let (mut done, mut failed) = (0, 0);
    for number in 0..COUNT {
        if number == COUNT / 10 {
            server.kill();
        }
        match client.frame()[0] {
            b'+' => done += 1,
            b'-' => failed += 1,
            other => panic!("SET was answered with {:?}", other as char),
        }
        let expected = format!("${}\\r\\n{number}", number.to_string().len());
        assert_eq!(client.text(), expected, "the PING behind SET {number}");
    }
    sender
        .join()
        .expect("the sender ends")
        .expect("the connection stays open");
    assert!(
        failed > 0,
        "the loss happened while requests were under way ({done} done)"
    );
}

#[test]
fn one_refused_port_is_no_reason_to_end() {
    if against_redis() {
        return;
    }
    let mut sidecar = Sidecar::before_port(free_port())
        .hold(SOON)
        .announce("")
        .start();
    until("MASTERDOWN", PATIENCE, || {
        let mut client = Client::try_connect(&sidecar.address).ok()?;
        client.send_words("GET key");
        let reply = client.try_frame()?;
        reply.starts_with(b"-MASTERDOWN gripfast:").then_some(())
    });
    assert!(sidecar.is_alive());
}
