//! A hundred clients ask for one session that the cache does not have: the server is asked once, and everyone is answered.
//!
//! A relay keeps the server's answer back until all have asked.

use std::time::Duration;

use super::relay::{Mode, Relay};
use super::statistics::Calls;
use crate::harness::{Client, Server, Sidecar, against_redis, any_version, encode, escape, until};

const CLIENTS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(20);

/// Larger than any read buffer, and still kept with `entry_bytes_max` as it is set here.
const SIZES: [Option<usize>; 4] = [None, Some(1000), Some(200 << 10), Some(1 << 20)];

struct Crowd {
    // Ends first: the others' end would be news to it.
    sidecar: Sidecar,
    relay: Relay,
    server: Server,
}

impl Crowd {
    fn gather() -> Self {
        let server = Server::start(&any_version());
        let relay = Relay::start(server.address());
        let sidecar = Sidecar::before(&server)
            .through(relay.port)
            .cache("entry_bytes_max: 2097152")
            .cache("max_staleness_ms: 10000")
            .start();
        Self {
            server,
            relay,
            sidecar,
        }
    }

    /// Half of them speak RESP3.
    fn clients(&self) -> Vec<Client> {
        let client = |number: usize| {
            let mut client = self.sidecar.client();
            if number % 2 == 1 {
                client.ask("HELLO 3");
            }
            client
        };
        (0..CLIENTS).map(client).collect()
    }

    /// Returns when the sidecar has seen what was sent to it before: it has gone through a turn after that.
    fn let_it_look(&self) {
        let mut client = self.sidecar.client();
        for _ in 0..2 {
            assert_eq!(client.ask("PING"), "+PONG");
        }
    }

    /// All ask for one key; with `leaves` the first of them goes before the answer comes.
    fn ask(&self, size: Option<usize>, leaves: bool) {
        let key = format!("session:{size:?}:{leaves}");
        if let Some(size) = size {
            let value = body(size);
            assert_eq!(
                self.server.client().call(&["SET", &key, &value]),
                b"+OK\r\n"
            );
        }
        let mut clients = self.clients();
        let mut calls = Calls::of(&self.server);
        self.relay.set(Mode::Hold);
        let request = encode(&["GET", &key]);
        clients[0].send(&request);
        until("the first question at the server", PATIENCE, || {
            (calls.of_commands(&["get"]) == 1).then_some(())
        });
        for (number, client) in clients.iter_mut().enumerate().skip(1) {
            client.send(&request);
            // And something behind it, which must not overtake.
            client.send(&encode(&["ECHO", &number.to_string()]));
        }
        self.let_it_look();
        let mut first = clients.remove(0);
        if leaves {
            drop(first);
            self.let_it_look();
        } else {
            first.send(&encode(&["ECHO", "0"]));
            clients.insert(0, first);
        }
        self.relay.set(Mode::Pass);
        let offset = usize::from(leaves);
        for (index, client) in clients.iter_mut().enumerate() {
            let number = index + offset;
            let reply = client.frame();
            let expected = answer(size, number % 2 == 1);
            assert!(
                reply == expected,
                "client {number}, {key}: {}",
                escape(&reply)
            );
            let text = number.to_string();
            assert_eq!(
                client.text(),
                format!("${}\\r\\n{text}", text.len()),
                "client {number}, {key}"
            );
        }
        assert_eq!(
            calls.of_commands(&["get"]),
            1,
            "{key}: questions at the server"
        );
        // And it is kept, as soon as its time to live is known.
        until("a hit", PATIENCE, || {
            let before = calls.of_commands(&["get"]);
            assert!(clients[0].call(&["GET", &key]) == answer(size, offset == 1));
            (calls.of_commands(&["get"]) == before).then_some(())
        });
    }
}

/// Text that shows when a piece of it is missing or twice there.
fn body(size: usize) -> String {
    let mut text: String = (0..size / 8 + 1)
        .map(|number| format!("{number:08}"))
        .collect();
    text.truncate(size);
    text
}

fn answer(size: Option<usize>, is_resp3: bool) -> Vec<u8> {
    match size {
        Some(size) => format!("${size}\r\n{}\r\n", body(size)).into_bytes(),
        None if is_resp3 => b"_\r\n".into(),
        None => b"$-1\r\n".into(),
    }
}

#[test]
fn a_hundred_clients_ask_for_one_missing_session_and_the_server_is_asked_once() {
    if against_redis() {
        return;
    }
    let crowd = Crowd::gather();
    for size in SIZES {
        crowd.ask(size, false);
    }
}

#[test]
fn the_first_to_ask_may_leave_before_the_answer() {
    if against_redis() {
        return;
    }
    let crowd = Crowd::gather();
    for size in SIZES {
        crowd.ask(size, true);
    }
}
