//! Malformed and odd input: the same words and the same close as Redis.

use std::time::Duration;

use crate::harness::{
    Client, Random, Server, Sidecar, Version, any_version, encode, escape, pause, version,
};

/// Both sides, each with fresh servers.
struct Sides {
    /// Dropped first, so that it does not see its server go.
    sidecar: Sidecar,
    direct: Server,
    _behind: Server,
}

impl Sides {
    fn start(version: &Version) -> Self {
        let behind = Server::start(version);
        let sidecar = Sidecar::start(&behind);
        Self {
            direct: Server::start(version),
            _behind: behind,
            sidecar,
        }
    }

    /// Sends the same bytes, which end in the middle of something, and expects the same words and a close.
    fn same_close(&self, bytes: &[u8]) {
        let answers = [self.sidecar.client(), self.direct.client()].map(|mut client| {
            let _ = client.try_send(bytes);
            client.read_timeout(Duration::from_secs(5));
            client
                .rest()
                .map_or("(no close)".into(), |bytes| escape(&bytes))
        });
        assert_eq!(answers[0], answers[1], "input {}", escape(bytes));
    }

    /// Sends the same bytes to a fresh connection on each side; everything until the close must be the same. The bytes
    /// are followed by a QUIT, so that a side that does not close by itself ends too.
    fn same_answer(&self, bytes: &[u8]) {
        let answers =
            [self.sidecar.client(), self.direct.client()].map(|client| answer(client, bytes));
        let [left, right] =
            answers.map(|answer| answer.map_or("(no close)".into(), |bytes| escape(&bytes)));
        assert_eq!(left, right, "input {}", escape(bytes));
    }
}

fn answer(mut client: Client, bytes: &[u8]) -> Option<Vec<u8>> {
    let _ = client.try_send(bytes);
    let _ = client.try_send(b"QUIT\r\n");
    // Not at once: while requests are held, as on a machine that is too busy, who sends no more is taken for one that has gone.
    client.is_silent_for(Duration::from_millis(500));
    client.finish();
    client.read_timeout(Duration::from_secs(5));
    client.rest()
}

const VERSIONS: [&str; 4] = ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"];

fn on_each_version(test: impl Fn(&Sides)) {
    for version in VERSIONS.iter().filter_map(|name| version(name)) {
        test(&Sides::start(&version));
    }
}

#[test]
fn malformed_input_gets_the_words_of_redis_and_a_close() {
    let inputs: &[&[u8]] = &[
        b"*abc\r\n",
        b"*\r\n",
        b"*1.5\r\n",
        b"*1048577\r\n",
        b"*2147483648\r\n",
        b"*9223372036854775808\r\n",
        b"*-9223372036854775809\r\n",
        b"* 1\r\n",
        b"*+1\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"*1\r\n:4\r\n",
        b"*1\r\nPING\r\n",
        b"*1\r\n+PING\r\n",
        b"*1\r\n$\r\n",
        b"*1\r\n$abc\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$-2\r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$9223372036854775808\r\n",
        b"*1\r\n$ 4\r\nPING\r\n",
        b"*2\r\n$3\r\nGET\r\n*1\r\n$1\r\na\r\n",
        b"*1\r\n*1\r\n",
        b"*1\r\n_\r\n",
        b"*1\r\n\r\n",
        b"SET a \"unbalanced\r\n",
        b"SET a 'unbalanced\r\n",
        b"SET a \"x\"y\r\n",
        b"SET a 'x'y\r\n",
        b"PING\r\n*1\r\n:4\r\nPING\r\n",
        b"*1\r\n$4\r\nPING\r\n*1\r\n$-5\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$x\r\n",
        b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
        b"*1\n$4\nPING\n",
    ];
    on_each_version(|sides| {
        for input in inputs {
            sides.same_answer(input);
        }
    });
}

#[test]
fn empty_requests_are_skipped_as_redis_skips_them() {
    let inputs: &[&[u8]] = &[
        b"*0\r\nPING\r\n",
        b"*-1\r\nPING\r\n",
        b"*-5\r\n*1\r\n$4\r\nPING\r\n",
        b"\r\nPING\r\n",
        b"\n\n\nPING\n",
        b"   \r\nPING\r\n",
        b"*0\r\n*0\r\n\r\n*-1\r\n",
        b"\t\r\nPING\r\n",
    ];
    on_each_version(|sides| {
        for input in inputs {
            sides.same_answer(input);
        }
    });
}

#[test]
fn inline_commands_are_split_as_redis_splits_them() {
    let inputs: &[&[u8]] = &[
        b"PING\n",
        b"ping hello\r\n",
        b"ECHO \"a b\"\r\n",
        b"ECHO 'a b'\r\n",
        b"ECHO \"\\x41\\n\\r\\t\\a\\b\\\\\\\"\\z\"\r\n",
        b"ECHO 'it\\'s'\r\n",
        b"ECHO \"\"\r\n",
        b"ECHO ''\r\n",
        b"  ECHO   spaced   \r\n",
        b"ECHO a\x00b\r\n",
        b"\x00\r\n",
        b"PI\x00NG\r\n",
        b"ECHO \xff\xfe\r\n",
        b"SET k v\r\nGET k\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        b"ECHO \"\\xZZ\"\r\n",
        b"echo a\tb\r\n",
        b"ECHO \"multi\r\nline\"\r\n",
        b"NOSUCH thing\r\n",
        b"GET\r\n",
        b"GET / HTTP/1.1\r\nAccept: x\r\n\r\n",
        b"HELLO 4 SETNAME inline\r\nCLIENT GETNAME\r\n",
        b"ECHO a\rb\r\n",
        b"ECHO a\r\r\n",
    ];
    on_each_version(|sides| {
        for input in inputs {
            sides.same_answer(input);
        }
    });
}

#[test]
fn http_requests_are_cut_off_as_redis_does() {
    on_each_version(|sides| {
        sides.same_answer(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n");
        // The close overtakes the first line's error, or not: only what follows `Host:` is never done.
        for client in [sides.sidecar.client(), sides.direct.client()] {
            let got = answer(
                client,
                b"GET / HTTP/1.1\r\nHost: redis\r\n\r\nSET key v\r\n",
            );
            let got = escape(&got.expect("a close"));
            assert!(
                got.is_empty() || got.ends_with("for \\'get\\' command\\r\\n"),
                "{got}"
            );
        }
    });
}

#[test]
fn lines_that_are_too_long_get_the_words_of_redis() {
    let long = |byte: u8, length: usize| vec![byte; length];
    on_each_version(|sides| {
        sides.same_close(&long(b'a', 70_000));
        sides.same_close(&[&b"*"[..], &long(b'1', 70_000)].concat());
        sides.same_close(&[&b"*1\r\n$"[..], &long(b'1', 70_000)].concat());
        sides.same_answer(&[&b"ECHO "[..], &long(b'x', 60_000), b"\r\n"].concat());
    });
}

#[test]
fn requests_are_understood_however_they_are_cut() {
    on_each_version(|sides| {
        let mut bytes = encode(&["SET", "key", "value with\r\n in it"]);
        bytes.extend(b"ECHO 'inline one'\r\n");
        bytes.extend(encode(&["GET", "key"]));
        let mut client = sides.sidecar.client();
        for cut in 1..bytes.len() {
            client.send(&bytes[..cut]);
            pause(Duration::from_micros(500));
            client.send(&bytes[cut..]);
            assert_eq!(client.text(), "+OK", "cut at {cut}");
            assert_eq!(client.frame(), b"$10\r\ninline one\r\n", "cut at {cut}");
            assert_eq!(
                client.frame(),
                b"$18\r\nvalue with\r\n in it\r\n",
                "cut at {cut}"
            );
        }
    });
}

#[test]
fn random_bytes_never_stop_the_sidecar() {
    let version = crate::harness::any_version();
    let mut sides = Sides::start(&version);
    let mut random = Random::new(crate::harness::seed("random bytes"));
    let alphabet = b"*$+-:_,#!=(%~>|\r\n\r\n\r\n0123456789PINGSETGET \"'\\\x00\xff";
    for _ in 0..300 {
        let mut client = sides.sidecar.client();
        let bytes: Vec<u8> = (0..random.below(200))
            .map(|_| *random.pick(alphabet))
            .collect();
        let _ = client.try_send(&bytes);
        client.finish();
        client.read_timeout(Duration::from_secs(5));
        assert!(client.rest().is_some(), "closed after {}", escape(&bytes));
    }
    assert!(sides.sidecar.is_alive());
    assert_eq!(sides.sidecar.client().ask("PING"), "+PONG");
}

#[test]
fn the_end_of_what_a_client_sends_is_not_seen_before_the_rest_of_it() {
    let server = Server::start(&any_version());
    let sidecar = Sidecar::start(&server);
    // The unknown command is asked of the server, what stands behind it waits for that, and the end comes about then.
    for turn in 0..500 {
        let mut client = sidecar.client();
        client.send(b"GET a b\r\nNOSUCH x\r\n");
        client.send(b"QUIT\r\n");
        client.is_silent_for(Duration::from_secs(5));
        client.finish();
        let replies = client.rest().map(|bytes| escape(&bytes));
        let replies = replies.unwrap_or_default();
        assert!(replies.ends_with("+OK\\r\\n"), "{turn}: {replies}");
    }
}

#[test]
fn a_client_that_stops_sending_still_gets_its_replies() {
    on_each_version(|sides| {
        for side in [sides.sidecar.client(), sides.direct.client()] {
            let mut client = side;
            client.send(&encode(&["SET", "key", "v"]).repeat(100));
            client.finish();
            assert_eq!(client.rest(), Some(b"+OK\r\n".repeat(100)));
        }
    });
}
