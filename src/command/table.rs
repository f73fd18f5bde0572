//! The static command table, and the server's own.

use std::collections::HashMap;

/// What the server's `COMMAND` says of commands that the static table lacks.
#[derive(Clone, Debug, Default)]
pub struct ServerCommands {
    /// By lower-case name.
    pub by_name: HashMap<Vec<u8>, ServerCommand>,
}

/// One command as the server describes it (COMMAND's first seven fields).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerCommand {
    /// Exact number of words, or the least number when negative.
    pub arity: i64,
    /// Flags, lower case: `write`, `readonly`, `blocking`, `noscript`, `movablekeys`, `pubsub` …
    pub flags: Vec<String>,
    /// Position of the first key; 0 = no key or unknown.
    pub first_key: i64,
    /// Position of the last key; negative counts from the end.
    pub last_key: i64,
    /// Steps between keys.
    pub key_step: i64,
}
