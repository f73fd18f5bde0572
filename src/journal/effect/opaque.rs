//! What is not worked out: which keys a request may have written.

use super::Effect;
use crate::command::keys::{Touched, touched};
use crate::command::table::{Access, Command, Kind};
use crate::resp::{Words, value};

/// Commands that read all of their keys but this one (counted as a word), and write only that.
const WRITE_ONE: &[(&str, usize)] = &[
    ("bitop", 2),
    ("geosearchstore", 1),
    ("pfmerge", 1),
    ("sdiffstore", 1),
    ("sinterstore", 1),
    ("sunionstore", 1),
    ("zdiffstore", 1),
    ("zinterstore", 1),
    ("zrangestore", 1),
    ("zunionstore", 1),
];

/// Commands that only read, but for the key behind these options.
const STORE: &[(&str, &[&str])] = &[
    ("sort", &["store"]),
    ("georadius", &["store", "storedist"]),
    ("georadiusbymember", &["store", "storedist"]),
];

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

/// Says that the keys which a request may write may hold anything now.
pub(super) fn effects(
    command: &Command,
    request: &[u8],
    words: &Words,
    database: u32,
    reply: &[u8],
) -> Vec<Effect> {
    if left_nothing(command, reply) {
        return Vec::new();
    }
    let opaque = |index: usize| {
        let key = words.get(request, index).unwrap_or_default();
        Effect::opaque(database, key)
    };
    let name = words.get(request, 0).unwrap_or_default();
    if let Some((_, options)) = STORE.iter().find(|(known, _)| is(name, known)) {
        let behind = 3..words.len();
        let stored = behind.filter(|&index| {
            let option = words.get(request, index - 1).unwrap_or_default();
            options.iter().any(|known| is(option, known))
        });
        return stored.map(opaque).collect();
    }
    if let Some((_, index)) = WRITE_ONE.iter().find(|(known, _)| is(name, known)) {
        return vec![opaque(*index)];
    }
    // The key that they write may be in another database.
    if ["copy", "move"].iter().any(|known| is(name, known)) {
        return vec![Effect::Anything];
    }
    // Users and modules are no keys.
    if ["acl", "module"].iter().any(|known| is(name, known)) {
        return Vec::new();
    }
    match (touched(command, request, words), command.access) {
        (Touched::Everything, _) => vec![Effect::Anything],
        (keys @ Touched::Keys { .. }, Access::Write) => keys.words().map(opaque).collect(),
        // `XGROUP CREATE key group id MKSTREAM`
        (keys @ Touched::Keys { .. }, Access::Neither) if is(name, "xgroup") => {
            keys.words().map(opaque).collect()
        }
        _ => Vec::new(),
    }
}

/// Tells whether the reply shows that nothing was done. A script that failed may have written before; the server's own
/// words for one that it does not have, or for a command that it does not have, mean that nothing was run.
fn left_nothing(command: &Command, reply: &[u8]) -> bool {
    match command.kind {
        Kind::Script | Kind::Unknown => {
            reply.starts_with(b"-NOSCRIPT No matching script.")
                || reply.starts_with(b"-ERR unknown command")
        }
        Kind::Blocking => value::is_error(reply) || value::is_null(reply),
        _ => value::is_error(reply),
    }
}
