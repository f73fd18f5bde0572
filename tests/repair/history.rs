//! What was asked of each session, and answered.

use crate::harness::{Value, escape};

use super::model::{Answer, Command, Span};

/// One request and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) command: Command,
    pub(crate) answer: Answer,
    /// From when it was sent until it was answered.
    pub(crate) when: Span,
    /// Through which sidecar.
    pub(crate) sidecar: usize,
}

/// A session: one key, and all that was ever asked of it, one request after the other.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) key: String,
    pub(crate) entries: Vec<Entry>,
}

/// Reads an answer; a closed connection is none.
pub(crate) fn answer(command: &Command, reply: Option<&Value>) -> Answer {
    match reply {
        None => Answer::Unknown,
        Some(Value::Line(b'-', line)) => failure(&escape(line)),
        Some(reply) => success(command, reply),
    }
}

fn failure(line: &str) -> Answer {
    if line.contains("outcome unknown") {
        Answer::Unknown
    } else if line.starts_with("MASTERDOWN gripfast: ")
        || line.contains("nothing of it was executed")
    {
        Answer::NotExecuted
    } else {
        Answer::Odd(line.to_owned())
    }
}

fn success(command: &Command, reply: &Value) -> Answer {
    let odd = || Answer::Odd(format!("{reply:?}"));
    match reply {
        Value::Line(b'+', line) if line == b"OK" => Answer::Done,
        Value::Line(b':', digits) => match text(digits).parse() {
            Ok(number) => Answer::Number(number),
            Err(_) => odd(),
        },
        // A null, or an empty one of a length that says so.
        Value::Line(b'$' | b'_', _) => Answer::Nothing,
        Value::Blob(b'$', bytes) => Answer::Text(text(bytes)),
        Value::Many(b'*' | b'%', parts) => match command {
            Command::ReadFields => fields(parts).unwrap_or_else(odd),
            Command::Block(commands) if commands.len() == parts.len() => {
                let each = commands.iter().zip(parts);
                Answer::Many(each.map(|(one, part)| answer(one, Some(part))).collect())
            }
            _ => odd(),
        },
        _ => odd(),
    }
}

/// Fields and values in turn; an empty hash is an absent one.
fn fields(parts: &[Value]) -> Option<Answer> {
    if parts.is_empty() {
        return Some(Answer::Nothing);
    }
    let pair = |pair: &[Value]| match pair {
        [Value::Blob(_, field), Value::Blob(_, value)] => Some((text(field), text(value))),
        _ => None,
    };
    let pairs: Option<_> = parts.chunks(2).map(pair).collect();
    pairs.map(Answer::Fields)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
