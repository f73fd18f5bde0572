//! WAIT and WAITAOF count the client's own earlier writes, whatever link they took.

use crate::harness::{Server, Sidecar, any_version, signal, version};
use crate::wait_for_info;

/// A process that stands still until this is dropped.
struct Frozen(u32);

impl Frozen {
    fn freeze(server: &Server) -> Self {
        signal(server.pid(), "-STOP");
        Self(server.pid())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal(self.0, "-CONT");
    }
}

#[test]
fn wait_counts_writes_that_went_over_another_link() {
    let version = any_version();
    let primary = Server::start_with(&version, &["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start_with(
        &version,
        &["--replicaof", "127.0.0.1", &primary.port.to_string()],
    );
    wait_for_info(&primary, "replication", "state=online");
    let sidecar = Sidecar::start(&primary);
    let mut client = sidecar.client();
    for round in 0..20 {
        assert_eq!(client.ask(&format!("SET key {round}")), "+OK");
        assert_eq!(client.ask("WAIT 1 5000"), ":1", "round {round}");
        assert_eq!(
            replica.client().ask("GET key"),
            format!("${}\\r\\n{round}", round.to_string().len()),
            "round {round}"
        );
    }
    for (write, reply) in [
        ("SET key last", "+OK"),
        ("RPUSH list x", ":1"),
        ("SELECT 2", "+OK"),
        ("SET key there", "+OK"),
    ] {
        let frozen = Frozen::freeze(&replica);
        assert_eq!(client.ask(write), reply);
        if write.starts_with("SELECT") {
            assert_eq!(client.ask("INCR counter"), ":1");
        }
        assert_eq!(
            client.ask("WAIT 1 100"),
            ":0",
            "a frozen replica has not confirmed {write}"
        );
        drop(frozen);
        assert_eq!(client.ask("WAIT 1 10000"), ":1", "{write}");
    }
    client.send_words("MULTI");
    client.send_words("SET key in-multi");
    client.send_words("EXEC");
    client.send_words("WAIT 1 5000");
    let replies: Vec<String> = (0..4).map(|_| client.text()).collect();
    assert_eq!(replies[3], ":1");
}

#[test]
fn waitaof_counts_writes_that_went_over_another_link() {
    for version in ["redis-8.2", "valkey-9.1"]
        .iter()
        .filter_map(|name| version(name))
    {
        let server = Server::start_with(&version, &["--appendonly", "yes", "--appendfsync", "no"]);
        let sidecar = Sidecar::start(&server);
        let mut client = sidecar.client();
        assert_eq!(client.ask("SET key value"), "+OK");
        assert_eq!(
            client.ask("WAITAOF 1 0 100"),
            "*2\\r\\n:0\\r\\n:0",
            "nothing is synced yet"
        );
        assert_eq!(server.client().ask("CONFIG SET appendfsync always"), "+OK");
        assert_eq!(client.ask("SET key value2"), "+OK");
        assert_eq!(client.ask("WAITAOF 1 0 10000"), "*2\\r\\n:1\\r\\n:0");
    }
}
