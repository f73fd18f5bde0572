//! What the tests of replicated writes need: servers that can be frozen, and what a sidecar says of what waits.

use std::time::Duration;

use crate::harness::{Client, Server, Sidecar, Version, Wishes, signal, until};

/// How long a part of a test may take; a busy machine stalls for seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long nothing may come before it is said that somebody waits.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);

/// A time-out that no test reaches: what is acknowledged with it was not let go by the clock.
pub(crate) const NEVER: Duration = Duration::from_secs(300);

/// A primary and two replicas, and nobody who would promote one.
pub(crate) struct Servers {
    pub(crate) primary: Server,
    pub(crate) replicas: [Server; 2],
}

impl Servers {
    pub(crate) fn start(version: &Version) -> Self {
        let primary = Server::start_with(version, &["--repl-diskless-sync-delay", "0"]);
        let port = primary.port.to_string();
        let replica = || Server::start_with(version, &["--replicaof", "127.0.0.1", &port]);
        let replicas = [replica(), replica()];
        let mut asked = primary.client();
        until("two replicas", PATIENCE, || {
            let told = asked.ask("INFO replication");
            (told.matches("state=online").count() == 2).then_some(())
        });
        Self { primary, replicas }
    }

    /// Begins to describe a sidecar whose writes wait for so many replicas for so long, and are refused then.
    pub(crate) fn before(&self, replicas: usize, timeout: Duration) -> Wishes {
        self.journalled()
            .durability(&waits_for(replicas, timeout))
            .durability("mode: replicated, on_timeout: error")
    }

    /// Begins to describe a sidecar that remembers what it has acknowledged.
    pub(crate) fn journalled(&self) -> Wishes {
        Sidecar::before(&self.primary)
            .journal("enabled: true")
            .announce("control link down")
    }
}

pub(crate) fn waits_for(replicas: usize, timeout: Duration) -> String {
    format!("replicas: {replicas}, timeout_ms: {}", timeout.as_millis())
}

pub(crate) fn freeze(servers: &[Server]) {
    servers
        .iter()
        .for_each(|server| signal(server.pid(), "-STOP"));
}

pub(crate) fn thaw(servers: &[Server]) {
    servers
        .iter()
        .for_each(|server| signal(server.pid(), "-CONT"));
}

/// Sends requests whose last reply has to wait.
pub(crate) fn sends_and_waits(client: &mut Client, requests: &str, replies: &[&str]) {
    for request in requests.split("; ") {
        client.send_words(request);
    }
    for reply in replies {
        assert_eq!(client.text(), *reply, "{requests}");
    }
    assert!(client.is_silent_for(SILENCE), "{requests}");
}

/// Waits until so many writes had this outcome.
pub(crate) fn until_counted(sidecar: &Sidecar, outcome: &str, expected: f64) {
    let series = format!("gripfast_durability_waits_total{{outcome=\"{outcome}\"}}");
    until(outcome, PATIENCE, || {
        (sidecar.metric(&series) == expected).then_some(())
    });
}
