//! Which of the keys that a request names it may write.

use super::keys::{Touched, touched};
use super::table::{Access, Command};
use crate::resp::Words;

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

/// What a request may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// These words of it, each a key of the connection's database; none where it only reads.
    Words(Vec<usize>),
    /// Any key of any database: its words do not say.
    Anything,
}

/// Tells whether a word is that name, or option, in any case.
fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

/// Tells which keys a request may write.
pub fn written(command: &Command, request: &[u8], words: &Words) -> Written {
    let word = |index: usize| words.get(request, index).unwrap_or_default();
    let name = word(0);
    if let Some((_, options)) = STORE.iter().find(|(known, _)| is(name, known)) {
        let stored = (3..words.len())
            .filter(|&index| options.iter().any(|known| is(word(index - 1), known)));
        return Written::Words(stored.collect());
    }
    if let Some((_, index)) = WRITE_ONE.iter().find(|(known, _)| is(name, known)) {
        return Written::Words(vec![*index]);
    }
    // The key that they write may be in another database.
    if ["copy", "move"].iter().any(|known| is(name, known)) {
        return Written::Anything;
    }
    // Users and modules are no keys.
    if ["acl", "module"].iter().any(|known| is(name, known)) {
        return Written::Words(Vec::new());
    }
    match (touched(command, request, words), command.access) {
        (Touched::Everything, _) => Written::Anything,
        (keys @ Touched::Keys { .. }, Access::Write) => Written::Words(keys.words().collect()),
        // `XGROUP CREATE key group id MKSTREAM`
        (keys @ Touched::Keys { .. }, Access::Neither) if is(name, "xgroup") => {
            Written::Words(keys.words().collect())
        }
        _ => Written::Words(Vec::new()),
    }
}
