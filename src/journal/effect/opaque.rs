//! What is not worked out: which keys a request may have written.

use super::Effect;
use crate::command::table::{Command, Kind};
use crate::command::written::{Written, written};
use crate::resp::{Words, value};

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
    match written(command, request, words) {
        Written::Words(keys) => keys.into_iter().map(opaque).collect(),
        Written::Anything => vec![Effect::Anything],
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
