//! What the elected primary has, asked past the sidecars.

use std::time::Duration;

use crate::harness::{Client, Cluster, Value, encode, parse, until};

use super::checker::Found;
use super::history::{Session, answer};
use super::model::{Answer, Command, Content, Span};

/// How long the Sentinels may take to agree.
const PATIENCE: Duration = Duration::from_secs(40);

/// Requests in one write.
const BATCH: usize = 500;

/// Waits until two Sentinels name the same node and it says that it is the primary; returns its number.
pub(crate) fn elected(cluster: &Cluster) -> usize {
    let addresses = cluster.sentinel_addresses();
    until("an elected primary", PATIENCE, || {
        let named = addresses.iter().filter_map(|address| {
            let mut sentinel = Client::try_connect(address).ok()?;
            let answer = sentinel.ask("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
            cluster.nodes.iter().position(|node| {
                answer.contains(&format!("\\n{}\\r", node.host.address))
                    && answer.ends_with(&format!("\\n{}", node.port))
            })
        });
        let named: Vec<usize> = named.collect();
        let node = named.iter().copied().find(|node| {
            let votes = named.iter().filter(|other| *other == node).count();
            votes >= 2
        })?;
        let role = cluster.nodes[node].client().ask("ROLE");
        role.contains("master").then_some(node)
    })
}

/// Reads what is there of each session.
pub(crate) fn look(
    client: &mut Client,
    sessions: &[Session],
    now: impl Fn() -> Duration,
) -> Vec<Found> {
    let mut found = Vec::new();
    for batch in sessions.chunks(BATCH) {
        let types = ask(client, batch.iter().map(|session| ["TYPE", &session.key]));
        let reads: Vec<Command> = types.iter().map(read_of).collect();
        let each = batch.iter().zip(&reads);
        let values: Vec<[&str; 2]> = each
            .map(|(session, read)| match read {
                Command::ReadFields => ["HGETALL", session.key.as_str()],
                _ => ["GET", session.key.as_str()],
            })
            .collect();
        let contents = ask(client, values.into_iter());
        let from = now();
        let ttls = ask(client, batch.iter().map(|session| ["PTTL", &session.key]));
        let when = Span { from, until: now() };
        for ((read, content), ttl) in reads.iter().zip(&contents).zip(&ttls) {
            found.push(Found {
                content: content_of(answer(read, Some(content))),
                deadline: deadline(ttl, when),
                when,
            });
        }
    }
    found
}

fn ask<'a>(client: &mut Client, requests: impl Iterator<Item = [&'a str; 2]>) -> Vec<Value> {
    let requests: Vec<Vec<u8>> = requests.map(|words| encode(&words)).collect();
    client.send(&requests.concat());
    requests.iter().map(|_| parse(&client.frame())).collect()
}

fn read_of(kind: &Value) -> Command {
    match kind {
        Value::Line(b'+', name) if name == b"hash" => Command::ReadFields,
        _ => Command::Read,
    }
}

fn content_of(answer: Answer) -> Content {
    match answer {
        Answer::Nothing => Content::Absent,
        Answer::Text(text) => Content::Text(text),
        Answer::Fields(fields) => Content::Fields(fields),
        other => panic!("no content: {other:?}"),
    }
}

/// Expired in between is as good as without: absent either way.
fn deadline(ttl: &Value, when: Span) -> Option<Span> {
    let Value::Line(b':', digits) = ttl else {
        panic!("no TTL: {ttl:?}");
    };
    let left: u64 = String::from_utf8_lossy(digits).parse().ok()?;
    Some(when.later(Duration::from_millis(left)))
}
