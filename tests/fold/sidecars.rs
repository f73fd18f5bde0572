//! What one sidecar has of a hash that another one writes, too: taken down from a server, put back on another one.

use gripfast::command::table::Table;
use gripfast::journal::ring::Record;
use gripfast::repair::fold::{Dispatch, Fold, Own};
use gripfast::repair::script::{Cause, Names, reply};
use gripfast::repair::stamp::Stamp;

use crate::harness::{Client, Server, encode, until};
use crate::server;

/// A look behind one write: HLEN and PTTL.
const LOOKS: [&str; 2] = ["HLEN k", "PTTL k"];

/// One sidecar and what it remembers.
struct Sidecar {
    client: Client,
    fold: Fold,
    table: Table,
}

impl Sidecar {
    /// Its app has written to this server.
    fn on(server: &Server) -> Self {
        Self {
            client: server.client(),
            fold: Fold::new(),
            table: Table::default(),
        }
    }

    /// Sends requests together, and remembers each; a transaction is one, its requests between `|`.
    fn write(&mut self, lines: &[&str]) {
        // Stamps of two packets differ.
        let last = server::now(&mut self.client);
        let sent = until("the clock", std::time::Duration::from_secs(1), || {
            Some(server::now(&mut self.client)).filter(|now| *now > last)
        });
        for line in lines {
            let requests: Vec<Vec<&str>> = line
                .split(" | ")
                .map(|request| request.split(' ').collect())
                .collect();
            let replies: Vec<Vec<u8>> = requests
                .iter()
                .map(|request| self.client.call(request))
                .collect();
            let record = Record {
                sent_at: 0,
                database: 0,
                count: 1,
                request: &requests
                    .iter()
                    .flat_map(|one| encode(one))
                    .collect::<Vec<_>>(),
                reply: replies.last().unwrap(),
                whole: true,
                is_look: false,
                fields_last: false,
            };
            let dispatch = Dispatch {
                stamp: sent,
                doubt_ms: 10,
                is_inherited: false,
                is_at_risk: true,
            };
            self.fold.add(&self.table, &record, dispatch);
        }
    }

    /// Like [`Sidecar::write`], with looks behind it.
    fn write_and_look(&mut self, lines: &[&str]) {
        self.write(&[lines, &LOOKS].concat());
    }

    fn own(self) -> Own {
        self.fold.finish().owns.remove(0)
    }
}

/// Puts back what sidecars have, one after the other, on a server that holds what these requests have left. Returns
/// the fields there, by name, and the life of the key.
fn put_back(server: &Server, before: &[&str], owns: &[&Own]) -> (String, String) {
    let mut client = server.client();
    client.ask("FLUSHALL");
    for request in before {
        client.ask(request);
    }
    let names = Names::new("gripfast:", 5000);
    let open = names.open("replid", Cause::Switched, 30_000, Stamp(0), &[0]);
    server::call(&mut client, &open);
    for own in owns {
        let call = names.repair(0, &own.key, &own.record);
        let told = reply::repaired(&server::call(&mut client, &call), &own.record);
        assert!(told.is_some_and(|(is_open, _)| is_open));
    }
    (fields(&mut client), client.ask("PTTL k"))
}

fn fields(client: &mut Client) -> String {
    let flat = server::texts(&client.call(&["HGETALL", "k"]));
    let pairs = flat.chunks(2).map(|pair| {
        let text = |place: usize| String::from_utf8_lossy(&pair[place]).into_owned();
        format!("{}={}", text(0), text(1))
    });
    let mut pairs: Vec<String> = pairs.collect();
    pairs.sort();
    pairs.join(" ")
}

/// An old primary, and the new one that has got nothing of it.
fn on_two(name: &str, scene: impl FnOnce(&Server, &Server)) {
    let Some(version) = crate::harness::version(name) else {
        return;
    };
    scene(&Server::start(&version), &Server::start(&version));
}

/// Two sidecars write one session, each on a primary of its own: who set all fields of the older one has not replaced the newer.
pub(crate) fn a_hash_that_was_there_is_not_replaced(name: &str) {
    const SESSION: &str = "HSET k a 0 b 0";
    on_two(name, |old, new| {
        for write in ["HSET k a 2 b 2", "HMSET k a 2 b 2"] {
            for server in [old, new] {
                server.client().ask("DEL k");
                server.client().ask(SESSION);
                server.client().ask("EXPIRE k 100");
            }
            let mut first = Sidecar::on(new);
            first.write(&["MULTI | DEL k | HSET k a 1 b 1 c 1 | EXPIRE k 200 | EXEC"]);
            let mut second = Sidecar::on(old);
            second.write_and_look(&[write]);
            let (first, second) = (first.own(), second.own());
            for owns in [[&first, &second], [&second, &first]] {
                let (fields, life) = put_back(new, &[SESSION, "EXPIRE k 100"], &owns);
                assert_eq!(fields, "a=2 b=2 c=1", "{write}");
                assert!(life.as_str() > ":199", "{write}: {life}");
            }
        }
    });
}

/// Another sidecar removes one of our fields and sets one of its own, so that there are as many as we have set.
pub(crate) fn as_many_fields_are_not_those_fields(name: &str) {
    on_two(name, |old, new| {
        old.client().ask("FLUSHALL");
        let mut own = Sidecar::on(old);
        // Nobody knows what a script leaves, if it is not looked at.
        own.write(&["EVAL return{} 1 k"]);
        own.write_and_look(&["HSET k a 1 b 1"]);
        own.write(&["EVAL return{} 1 k"]);
        own.write(&["HSET k a 2"]);
        old.client().ask("HDEL k a");
        old.client().ask("HSET k c 3");
        own.write_and_look(&["HSET k b 2"]);
        let mut primary = old.client();
        assert_eq!(fields(&mut primary), "b=2 c=3");
        let own = own.own();
        assert!(!own.is_known, "{:?}", own.record);
        assert_eq!(put_back(new, &[], &[&own]).0, "");
    });
}

/// Logins, as libraries write them.
pub(crate) fn a_hash_that_was_made_comes_back_as_a_whole(name: &str) {
    on_two(name, |old, new| {
        let logins: [&[&[&str]]; 6] = [
            &[&["HSET k a 1 b 2"]],
            &[&["HSET k a 1 b 2"], &["EXPIRE k 100"]],
            &[&["HSET k a 1"], &["HSET k b 2"], &["EXPIRE k 100"]],
            &[&["HSET k a 0", "HSETNX k b 2", "HSET k a 1", "EXPIRE k 100"]],
            &[&["HMSET k a 1 b 2"], &["EXPIRE k 100"]],
            &[&["MULTI | HMSET k a 1 b 2 | EXPIRE k 100 | EXEC"]],
        ];
        for login in logins {
            old.client().ask("FLUSHALL");
            let mut own = Sidecar::on(old);
            for packet in login {
                own.write_and_look(packet);
            }
            let lives = login.concat().concat().contains("EXPIRE");
            let (fields, life) = put_back(new, &[], &[&own.own()]);
            assert_eq!(fields, "a=1 b=2", "{login:?}");
            assert_eq!(life != ":-1", lives, "{login:?}: {life}");
        }
    });
}
