//! The scripts of the repair, as far as the data path can tell: called by name or body, known here as OPEN, LOOK, REPORT, CHECK,
//! BEAT, `MARK key …`, `REPAIR key`, FLUSH.

use std::fmt::Write;

use crate::repair::script::Script;

/// What OPEN and the like tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
    pub(super) is_open: bool,
    /// Of the one that is open, or was last.
    pub(super) number: i64,
    /// Who has not reported.
    pub(super) missing: Vec<String>,
    /// From when on it was wished to compare, the last time that it was opened or joined.
    pub(super) horizon: i64,
}

/// Returns what of a request is listed as arrived: its short form may say more.
pub(super) fn shown(request: &[String]) -> &[String] {
    match request[0].as_str() {
        "REPAIR" => &request[..2],
        "OPEN" if request[1] == "returned" => &request[..2],
        "OPEN" => &request[..1],
        _ => request,
    }
}

/// Gives a call of one of our scripts its short form; every other request stays as it is.
pub(super) fn short(request: Vec<String>) -> Vec<String> {
    let is_call = matches!(request[0].as_str(), "EVAL" | "EVALSHA");
    let is = |script: &Script| request[1] == script.body() || request[1] == script.sha();
    let Some(script) = Script::ALL.into_iter().find(|script| is_call && is(script)) else {
        return request;
    };
    let name = format!("{script:?}").to_uppercase();
    let count: usize = request[2].parse().expect("a number of keys");
    let (keys, arguments) = request[3..].split_at(count);
    match script {
        Script::Mark => [vec![name], keys[2..].to_vec()].concat(),
        Script::Open => [vec![name], arguments[2..5].to_vec()].concat(),
        Script::Report if arguments[3] == "checked" => vec!["CHECK".into()],
        Script::Repair => [vec![name, keys[2].clone()], arguments.to_vec()].concat(),
        _ => vec![name],
    }
}

/// Answers a call in its short form; `None` for every other request.
pub(super) fn answer(words: &[String], round: &Round) -> Option<String> {
    let Round {
        is_open,
        number,
        missing,
        ..
    } = round;
    Some(match words[0].as_str() {
        "OPEN" | "LOOK" | "CHECK" | "REPORT" | "BEAT" => {
            let mut reply = format!(
                "*{}\r\n:1000000000\r\n:{number}\r\n:{}\r\n:1\r\n:9000000000\r\n:0\r\n$1\r\nR\r\n",
                7 + missing.len(),
                u8::from(*is_open)
            );
            for id in missing {
                write!(reply, "${}\r\n{id}\r\n", id.len()).expect("a string");
            }
            reply
        }
        "MARK" if words.len() == 1 || !is_open => "*1\r\n:0\r\n".into(),
        "MARK" => "*2\r\n:1\r\n:1000000000\r\n".into(),
        "REPAIR" => {
            let base = if words[3] == "-" { -1 } else { 1 };
            let touch = if words.last().is_some_and(|word| word == "0") {
                -1
            } else {
                1
            };
            format!("*3\r\n:1\r\n:{base}\r\n:{touch}\r\n")
        }
        "FLUSH" => "+OK\r\n".into(),
        "INFO" if words[1] == "replication" => {
            let text = "# Replication\r\nmaster_replid:R\r\n";
            format!("${}\r\n{text}\r\n", text.len())
        }
        _ => return None,
    })
}
