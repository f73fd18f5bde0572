//! Every command that the server itself lists, with no, too many and plausible arguments, in both protocols.

use crate::harness::{Client, Value, Version, encode, escape, parse};

use super::runner::Pair;
use super::verdict::{Verdict, alike, verdict};

/// Not sent at all, each with its reason.
const EXCLUDED: &[(&str, &str)] = &[
    ("SHUTDOWN", "ends the server"),
    (
        "MONITOR",
        "an endless reply: tested by name in everything.rs",
    ),
    ("SYNC", "turns the connection into a replica's"),
    ("PSYNC", "turns the connection into a replica's"),
    ("REPLCONF", "part of a replica's handshake, answers nothing"),
    ("REPLICAOF", "turns the server into a replica"),
    ("SLAVEOF", "turns the server into a replica"),
    ("FAILOVER", "changes roles"),
    ("PFSELFTEST", "keeps the server busy for seconds"),
    (
        "DEBUG",
        "can crash or stop the server: chosen subcommands are in the generated mix",
    ),
    ("HOST:", "a trap for HTTP: closes the connection"),
    ("POST", "a trap for HTTP: closes the connection"),
    ("QUIT", "closes: tested by name in everything.rs"),
    ("RESTORE-ASKING", "a cluster's internal command"),
    ("MIGRATE", "dials other servers"),
    ("BGSAVE", "its reply depends on when the last child ended"),
    (
        "BGREWRITEAOF",
        "its reply depends on when the last child ended",
    ),
    ("SAVE", "fails while a child of the server runs"),
    (
        "CLIENT|REPLY",
        "silences the end mark: in the generated mix",
    ),
    (
        "CLIENT|KILL",
        "plausible arguments kill links: in scenarios",
    ),
    ("CLIENT|PAUSE", "delays every other test of this server"),
    ("SCRIPT|DEBUG", "forks the server"),
    ("CLUSTER|RESET", "needs a cluster"),
    ("SYNCSLOTS", "a cluster's internal command"),
    ("CLUSTER|SYNCSLOTS", "a cluster's internal command"),
];
/// More arguments than any command of fixed arity takes.
const TOO_MANY: usize = 12;

#[derive(Debug)]
struct Listed {
    name: Vec<String>,
    arity: i64,
    flags: Vec<String>,
    first_key: i64,
    last_key: i64,
    step: i64,
}

/// Runs the comparison over the server's own list.
pub fn run(version: &Version) {
    let pair = Pair::start(version);
    let listed = list(&mut pair.direct.client());
    assert!(
        listed.len() > 200,
        "COMMAND lists {} commands",
        listed.len()
    );
    let mut differences = Vec::new();
    for protocol in ["2", "3"] {
        for command in &listed {
            for request in requests(command) {
                if let Some(difference) = compare(&pair, protocol, &request) {
                    differences.push(difference);
                }
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences with {}:\n{}",
        differences.len(),
        version.name,
        differences.join("\n")
    );
    eprintln!(
        "{}: {} commands of its own list compared",
        version.name,
        listed.len()
    );
}

fn requests(command: &Listed) -> Vec<Vec<Vec<u8>>> {
    let name: Vec<Vec<u8>> = command
        .name
        .iter()
        .map(|word| word.clone().into_bytes())
        .collect();
    let mut requests = vec![name.clone()];
    let mut many = name.clone();
    many.extend(std::iter::repeat_n(b"1".to_vec(), TOO_MANY));
    if command.arity > 0 {
        requests.push(many);
    }
    let blocking = command.flags.iter().any(|flag| flag == "blocking");
    let subscribing = command.flags.iter().any(|flag| flag == "pubsub");
    if blocking || subscribing {
        return requests;
    }
    // A time to live of 1 would make later replies depend on the clock.
    let timed = name[0]
        .windows(4)
        .any(|part| part == b"EXPI" || part == b"ETEX");
    let filler = if timed { &b"4102444800"[..] } else { b"1" };
    for extra in 0..3 {
        let words = command.arity.unsigned_abs() as usize + extra;
        if command.arity > 0 && extra > 0 {
            break;
        }
        let mut plausible = name.clone();
        for at in name.len()..words {
            plausible.push(if is_key(command, at as i64, words as i64) {
                b"cmdkey".to_vec()
            } else {
                filler.to_vec()
            });
        }
        requests.push(plausible);
    }
    requests
}

fn is_key(command: &Listed, at: i64, words: i64) -> bool {
    let last = if command.last_key < 0 {
        words + command.last_key
    } else {
        command.last_key
    };
    command.first_key > 0
        && at >= command.first_key
        && at <= last
        && (at - command.first_key) % command.step.max(1) == 0
}

/// Sends one request on a fresh connection to each side; returns a description of a difference.
fn compare(pair: &Pair, protocol: &str, request: &[Vec<u8>]) -> Option<String> {
    let mark = encode(&["the-end-mark"])[4..].to_vec();
    let mut sides = pair.clients();
    // HELLO's reply is read first: Redis 8 leaves a failed AUTH behind unsent replies unanswered.
    for side in &mut sides {
        let hello = side.call(&["HELLO", protocol]);
        assert!(
            !hello.starts_with(b"-"),
            "HELLO before {}",
            escape(&request.join(&b' '))
        );
        let mut bytes = encode(request);
        bytes.extend(encode(&["ECHO", "the-end-mark"]));
        side.send(&bytes);
    }
    let [left, right] = sides.each_mut().map(|side| read_to_mark(side, &mark));
    let mut verdict = verdict(request);
    if verdict == Verdict::Bytes && request[0].eq_ignore_ascii_case(b"XINFO") {
        verdict = Verdict::Integers;
    }
    let fine = left.len() == right.len()
        && left
            .iter()
            .zip(&right)
            .all(|(left, right)| alike(verdict, left, right));
    (!fine).then(|| {
        let shown = |frames: &[Vec<u8>]| {
            frames
                .iter()
                .map(|frame| escape(frame))
                .collect::<Vec<_>>()
                .join(" ; ")
        };
        format!(
            "RESP{protocol} {}\n  sidecar: {}\n  Redis:   {}",
            escape(&request.join(&b' ')),
            shown(&left),
            shown(&right)
        )
    })
}

/// Reads until the mark's reply, which a transaction or a subscription turns into something else.
fn read_to_mark(side: &mut Client, mark: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(frame) = side.try_frame() {
        let text = String::from_utf8_lossy(&frame);
        let last =
            frame == mark || text.starts_with("+QUEUED") || text.contains("Can't execute 'echo'");
        frames.push(frame);
        if last {
            return frames;
        }
    }
    frames.push(b"-closed or silent\r\n".to_vec());
    frames
}

/// Reads COMMAND, subcommands included.
fn list(client: &mut Client) -> Vec<Listed> {
    let Value::Many(_, entries) = parse(&client.call(&["COMMAND"])) else {
        panic!("COMMAND is an array");
    };
    let mut listed = Vec::new();
    for entry in entries {
        add(&entry, &mut listed);
    }
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    listed
}

fn add(entry: &Value, listed: &mut Vec<Listed>) {
    let Value::Many(_, fields) = entry else {
        return;
    };
    let text = |value: &Value| match value {
        Value::Line(_, bytes) | Value::Blob(_, bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Value::Many(..) => String::new(),
    };
    let number = |at: usize| {
        fields
            .get(at)
            .map(text)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    let name = text(&fields[0]).to_ascii_uppercase();
    if EXCLUDED.iter().any(|(excluded, _)| *excluded == name) {
        return;
    }
    let flags = match &fields[2] {
        Value::Many(_, flags) => flags.iter().map(text).collect(),
        _ => Vec::new(),
    };
    listed.push(Listed {
        name: name.split('|').map(str::to_owned).collect(),
        arity: number(1),
        flags,
        first_key: number(3),
        last_key: number(4),
        step: number(5),
    });
    if let Some(Value::Many(_, subcommands)) = fields.get(9) {
        for subcommand in subcommands {
            add(subcommand, listed);
        }
    }
}
