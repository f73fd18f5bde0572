//! What belongs to one connection: database, name, protocol, identity, its end.

use std::time::Duration;

use crate::harness::{encode, until, version};
use crate::start;

#[test]
fn select_in_the_middle_of_a_pipeline() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    let mut bytes = Vec::new();
    for database in 0..16 {
        bytes.extend(encode(&["SELECT", &database.to_string()]));
        bytes.extend(encode(&["SET", "key", &format!("in-{database:02}")]));
    }
    for database in (0..16).rev() {
        bytes.extend(encode(&["SELECT", &database.to_string()]));
        bytes.extend(encode(&["GET", "key"]));
        bytes.extend(encode(&["DBSIZE"]));
        bytes.extend(encode(&["RPUSH", "list", "x"]));
    }
    bytes.extend(encode(&["SELECT", "16"]));
    bytes.extend(encode(&["GET", "key"]));
    client.send(&bytes);
    for _ in 0..32 {
        assert_eq!(client.text(), "+OK");
    }
    for database in (0..16).rev() {
        assert_eq!(client.text(), "+OK");
        assert_eq!(client.text(), format!("$5\\r\\nin-{database:02}"));
        assert_eq!(client.text(), ":1");
        assert_eq!(client.text(), ":1");
    }
    assert_eq!(client.text(), "-ERR DB index is out of range");
    assert_eq!(client.text(), "$5\\r\\nin-00");
}

#[test]
fn program_order_holds_across_all_kinds_of_commands() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    for round in 0..300 {
        let value = round.to_string();
        let steps: [&[&str]; 8] = [
            &["SET", "key", &value],
            &["EVAL", "return redis.call('GET', KEYS[1])", "1", "key"],
            &["APPEND", "key", "-a"],
            &["GET", "key"],
            &["MSET", "key", &value, "other", &value],
            &["GET", "key"],
            &["DEL", "key", "other"],
            &["GET", "key"],
        ];
        client.send(
            &steps
                .iter()
                .flat_map(|step| encode(step))
                .collect::<Vec<u8>>(),
        );
        let bulk = |text: &str| format!("${}\\r\\n{text}", text.len());
        let appended = format!("{value}-a");
        let expected = [
            "+OK".to_owned(),
            bulk(&value),
            format!(":{}", appended.len()),
            bulk(&appended),
            "+OK".into(),
            bulk(&value),
            ":2".into(),
            "$-1".into(),
        ];
        let replies: Vec<String> = (0..8).map(|_| client.text()).collect();
        assert_eq!(replies, expected, "round {round}");
    }
}

#[test]
fn own_writes_are_seen_on_every_other_connection() {
    let (_server, sidecar) = start();
    let (mut writer, mut reader) = (sidecar.client(), sidecar.client());
    for round in 0..2000 {
        assert_eq!(writer.ask(&format!("SET key {round}")), "+OK");
        let bulk = format!("${}\\r\\n{round}", round.to_string().len());
        assert_eq!(reader.ask("GET key"), bulk);
        if round % 7 == 0 {
            assert_eq!(writer.ask("DEL key"), ":1");
            assert_eq!(reader.ask("EXISTS key"), ":0");
            assert_eq!(reader.ask("GET key"), "$-1");
        }
    }
}

#[test]
fn client_list_shows_named_client() {
    let (_server, sidecar) = start();
    let (mut named, mut other) = (sidecar.client(), sidecar.client());
    assert_eq!(named.ask("CLIENT SETNAME alice"), "+OK");
    assert_eq!(named.ask("CLIENT GETNAME"), "$5\\r\\nalice");
    let id = named.ask("CLIENT ID");
    let id = id.trim_start_matches(':');
    assert!(named.ask("CLIENT LIST").contains(" name=alice "));
    let info = named.ask("CLIENT INFO");
    assert!(
        info.contains(&format!("id={id} ")) && info.contains(" name=alice "),
        "{info}"
    );
    let listed = other.ask(&format!("CLIENT LIST ID {id}"));
    assert!(listed.contains(" name=alice "), "{listed}");
    assert_eq!(named.ask("SET key value"), "+OK");
    assert_eq!(
        named.ask("CLIENT ID"),
        format!(":{id}"),
        "an id is for life"
    );
    assert_eq!(other.ask("CLIENT GETNAME"), "$-1");
}

#[test]
fn client_kill_closes_the_client() {
    let (server, sidecar) = start();
    let (mut victim, mut other) = (sidecar.client(), sidecar.client());
    let id = victim.ask("CLIENT ID");
    assert_eq!(victim.ask("SET key value"), "+OK");
    assert_eq!(
        other.ask(&format!("CLIENT KILL ID {}", id.trim_start_matches(':'))),
        ":1"
    );
    assert_eq!(victim.rest().as_deref(), Some(&b""[..]));
    assert_eq!(other.ask("GET key"), "$5\\r\\nvalue");
    let mut blocked = sidecar.client();
    blocked.send_words("BLPOP queue 0");
    crate::wait_for_info(&server, "clients", "blocked_clients:1");
    let list = server.client().ask("CLIENT LIST");
    let line = list
        .split("\\n")
        .find(|line| line.contains("cmd=blpop"))
        .expect("the link is listed");
    let id = line
        .split("id=")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .expect("it has an id");
    assert_eq!(server.client().ask(&format!("CLIENT KILL ID {id}")), ":1");
    assert_eq!(
        blocked.rest().as_deref(),
        Some(&b""[..]),
        "its link was killed on a healthy node"
    );
    assert_eq!(other.ask("PING"), "+PONG");
}

#[test]
fn client_reply_off_and_skip_are_obeyed() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    client.send_words("CLIENT REPLY OFF");
    client.send_words("SET key quiet");
    client.send_words("GET key");
    client.send_words("CLIENT REPLY ON");
    assert_eq!(client.text(), "+OK");
    client.send_words("CLIENT REPLY SKIP");
    client.send_words("SET key skipped");
    client.send_words("GET key");
    assert_eq!(client.text(), "$7\\r\\nskipped");
}

#[test]
fn client_pause_holds_writes_and_unpause_releases_them() {
    let (_server, sidecar) = start();
    let (mut pauser, mut writer) = (sidecar.client(), sidecar.client());
    assert_eq!(pauser.ask("CLIENT PAUSE 60000 WRITE"), "+OK");
    assert_eq!(writer.ask("GET key"), "$-1");
    writer.send_words("SET key value");
    assert!(writer.is_silent_for(Duration::from_millis(100)));
    assert_eq!(pauser.ask("CLIENT UNPAUSE"), "+OK");
    assert_eq!(writer.text(), "+OK");
}

#[test]
fn maint_notifications_are_refused_as_redis_refuses_them_in_resp2_or_if_not_wanted() {
    for version in ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"]
        .iter()
        .filter_map(|name| version(name))
    {
        let server = crate::harness::Server::start(&version);
        let wanted = crate::harness::Sidecar::start(&server);
        let unwanted = crate::harness::Sidecar::before(&server)
            .listen("maint_notifications: false")
            .start();
        for words in [
            "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip",
            "client maint_notifications on",
            "CLIENT MAINT_NOTIFICATIONS",
        ] {
            for (sidecar, hello) in [(&wanted, "HELLO 2"), (&unwanted, "HELLO 3")] {
                let (mut client, mut direct) = (sidecar.client(), server.client());
                client.ask(hello);
                direct.ask(hello);
                assert_eq!(client.ask(words), direct.ask(words), "{}", version.name);
            }
        }
    }
}

#[test]
fn quit_answers_and_closes() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    client.send(
        &[
            encode(&["SET", "key", "value"]),
            encode(&["QUIT"]),
            encode(&["SET", "key", "ignored"]),
        ]
        .concat(),
    );
    assert_eq!(client.rest().as_deref(), Some(&b"+OK\r\n+OK\r\n"[..]));
    assert_eq!(sidecar.client().ask("GET key"), "$5\\r\\nvalue");
}

#[test]
fn reset_forgets_everything() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    client.ask("HELLO 3 SETNAME someone");
    client.ask("SELECT 5");
    client.ask("SET key in-5");
    client.ask("WATCH key");
    client.ask("MULTI");
    client.ask("SET key queued");
    assert_eq!(client.ask("RESET"), "+RESET");
    assert_eq!(client.ask("GET key"), "$-1", "database 0, RESP2");
    assert_eq!(client.ask("CLIENT GETNAME"), "$-1");
    assert_eq!(client.ask("EXEC"), "-ERR EXEC without MULTI");
    client.ask("SUBSCRIBE news");
    assert_eq!(client.ask("RESET"), "+RESET");
    assert_eq!(client.ask("SET key value"), "+OK");
    until("no subscriber is left", Duration::from_secs(10), || {
        (client.ask("PUBLISH news x") == ":0").then_some(())
    });
}

#[test]
fn protocol_changes_in_the_middle_of_a_pipeline() {
    let (_server, sidecar) = start();
    let mut client = sidecar.client();
    client.ask("HSET hash field value");
    for (words, reply) in [
        ("HELLO 3", "%7"),
        ("HGETALL hash", "%1"),
        ("GET none", "_"),
        ("HELLO 2", "*14"),
        ("HGETALL hash", "*2"),
        ("GET none", "$-1"),
    ] {
        client.send_words(words);
        assert!(client.text().starts_with(reply), "{words}");
    }
    client.send(
        &[
            encode(&["HELLO", "3"]),
            encode(&["GET", "none"]),
            encode(&["HELLO", "2"]),
            encode(&["GET", "none"]),
            encode(&["HELLO", "3"]),
            encode(&["HGETALL", "hash"]),
        ]
        .concat(),
    );
    let kinds: Vec<u8> = (0..6).map(|_| client.frame()[0]).collect();
    assert_eq!(kinds, b"%_*$%%");
}
