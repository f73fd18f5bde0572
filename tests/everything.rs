//! Everything works: each promise of the issue by name, on real servers.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells by printing"
)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its part of the harness"
)]
mod harness;

#[path = "everything"]
mod everything {
    mod blocking;
    mod connection;
    mod handshake;
    mod loss;
    mod replication;
    mod server;
    mod transactions;
}

use harness::{Server, Sidecar, any_version};

/// A server and a sidecar with all defaults.
fn start() -> (Server, Sidecar) {
    let server = Server::start(&any_version());
    let sidecar = Sidecar::start(&server);
    (server, sidecar)
}

/// Waits until the server itself says `text` in the section of INFO.
fn wait_for_info(server: &Server, section: &str, text: &str) {
    let mut client = server.client();
    harness::until(
        &format!("{text} in INFO {section}"),
        std::time::Duration::from_secs(20),
        || {
            client
                .ask(&format!("INFO {section}"))
                .contains(text)
                .then_some(())
        },
    );
}
