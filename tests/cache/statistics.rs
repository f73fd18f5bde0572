//! What reached the server, by its own count; what the sidecar counted.

use std::collections::BTreeMap;

use crate::harness::{Client, Server, Sidecar};

/// Calls by command; a subcommand stands as `client|setname`. Questions of this counter's own are not counted.
#[derive(Debug)]
pub struct Calls {
    client: Client,
    before: BTreeMap<String, u64>,
}

impl Calls {
    /// Begins to count.
    pub fn of(server: &Server) -> Self {
        let mut client = server.client();
        let before = calls(&mut client);
        Self { client, before }
    }

    /// Returns the calls since the counter began, without those that were not called.
    pub fn so_far(&mut self) -> BTreeMap<String, u64> {
        let mut all = calls(&mut self.client);
        for (name, count) in &self.before {
            *all.entry(name.clone()).or_default() -= count;
        }
        // INFO counts itself when it is done: this one asked once before.
        *all.entry("info".into()).or_default() -= 1;
        *self.before.entry("info".into()).or_default() += 1;
        all.retain(|_, count| *count > 0);
        all
    }

    /// Returns how often these commands were called since the counter began.
    pub fn of_commands(&mut self, names: &[&str]) -> u64 {
        let all = self.so_far();
        names.iter().filter_map(|name| all.get(*name)).sum()
    }
}

fn calls(client: &mut Client) -> BTreeMap<String, u64> {
    let reply = client.call(&["INFO", "commandstats"]);
    let text = String::from_utf8_lossy(&reply);
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let (count, _) = rest.split_once(',')?;
        Some((name.to_ascii_lowercase(), count.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// A metric of the sidecar by its label, as last published; empty for the plain server.
pub fn counts(sidecar: &Sidecar, name: &str) -> BTreeMap<String, u64> {
    let scrape = sidecar
        .admin("/metrics")
        .map(|(_, body)| body)
        .unwrap_or_default();
    let series = |line: &str| {
        let (labels, value) = line.strip_prefix(name)?.split_once(' ')?;
        let label = labels.split('"').nth(1).unwrap_or("");
        Some((label.to_owned(), value.trim().parse().ok()?))
    };
    scrape.lines().filter_map(series).collect()
}
