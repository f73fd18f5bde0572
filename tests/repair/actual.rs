//! What the elected primary has, asked past the sidecars.

use std::time::Duration;

use crate::harness::{Client, Cluster, Sidecar, Value, encode, parse, until};

use super::checker::Found;
use super::history::{Session, answer};
use super::model::{Answer, Command, Content, Span};

/// How long the Sentinels may take to agree.
const PATIENCE: Duration = Duration::from_secs(40);

/// Requests in one write.
const BATCH: usize = 500;

/// Waits until two Sentinels and all sidecars name the same node, and it says that it is the primary; returns its number.
///
/// A Sentinel names the old one for seconds after a planned failover, which says so, too, until it is told.
pub(crate) fn elected(cluster: &Cluster, sidecars: &[Sidecar]) -> usize {
    until("an elected primary", PATIENCE, || {
        let mut followed = sidecars.iter().map(Sidecar::primary);
        let primary = followed.next()??;
        if followed.any(|other| other.as_ref() != Some(&primary)) {
            return None;
        }
        let (host, port) = primary.split_once(':')?;
        let named = format!("\\r\\n{host}\\r\\n${}\\r\\n{port}", port.len());
        let votes = cluster.sentinel_addresses().into_iter().filter(|sentinel| {
            let answer = ask_at(sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
            answer.is_some_and(|answer| answer.ends_with(&named))
        });
        let is_primary = ask_at(&primary, "ROLE")?.contains("master");
        let number = cluster
            .nodes
            .iter()
            .position(|node| node.address() == primary);
        (votes.count() >= 2 && is_primary).then_some(number?)
    })
}

/// Asks a server that may be gone, or lose its clients on being told to follow another.
fn ask_at(address: &str, words: &str) -> Option<String> {
    Client::try_connect(address).ok()?.try_ask(words)
}

/// Waits until all sidecars have repaired this primary: the round was opened before the first write to it.
pub(crate) fn until_repaired(primary: &mut Client) {
    until("a round that is closed", PATIENCE, || {
        let none = primary.ask("EXISTS gripfast:round") == ":0";
        let closed = primary.ask("HEXISTS gripfast:round closed") == ":1";
        (none || closed).then_some(())
    });
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
