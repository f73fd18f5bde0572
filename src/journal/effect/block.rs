//! MULTI … EXEC: the requests, with the elements of EXEC's reply, as far as they were kept.

use std::borrow::Cow;
use std::collections::HashMap;

use super::words::{Request, all};
use super::{Effect, Reader, Write};
use crate::command::table::{Kind, Table};
use crate::journal::image::{Image, Moment};
use crate::journal::keyspace::{Before, Keyspace};
use crate::resp::value::{self, Elements};

/// Reads the effects of a transaction: `write.request` holds all of its requests, MULTI and EXEC may be among them, and
/// `write.reply` is that to EXEC. Each request is read with what those in front of it left.
pub fn block_effects(write: &Write<'_>, before: &dyn Before) -> Vec<Effect> {
    // EXECABORT, or a watched key was changed: nothing has run.
    if value::is_error(write.reply) || value::is_null(write.reply) {
        return Vec::new();
    }
    let Some(requests) = all(write.request) else {
        return vec![Effect::Anything];
    };
    let requests = queued(write.table, requests);
    match value::elements(write.reply) {
        Some(replies) if replies.left() == requests.len() => run(write, &requests, replies, before),
        None if write.reply.is_empty() => run(write, &requests, Elements::default(), before),
        _ => {
            let mut found = run(write, &requests, Elements::default(), before);
            found.push(Effect::Anything);
            found
        }
    }
}

/// Leaves out what is answered at once, and has no element in EXEC's reply.
fn queued<'a>(table: &Table, requests: Vec<Request<'a>>) -> Vec<Request<'a>> {
    let is_queued = |request: &Request<'_>| {
        let command = table.find(request.word(0).unwrap_or_default());
        !matches!(
            command.kind,
            Kind::Multi | Kind::Exec | Kind::Discard | Kind::Watch | Kind::Quit | Kind::Reset
        )
    };
    requests.into_iter().filter(is_queued).collect()
}

/// Requests without a reply of their own may have done anything to the keys that they name.
fn run(
    write: &Write<'_>,
    requests: &[Request<'_>],
    mut replies: Elements<'_>,
    before: &dyn Before,
) -> Vec<Effect> {
    let mut database = write.database;
    let mut inside = Inside {
        before,
        left: Keyspace::above(),
        swapped: HashMap::new(),
    };
    let mut found = Vec::new();
    for request in requests {
        let reply = match replies.next() {
            Some(reply) => reply,
            None => std::mem::take(&mut replies).rest(),
        };
        let one = Write {
            database,
            reply,
            ..*write
        };
        let mut reader = Reader::new(&one, request, &inside);
        reader.read();
        let effects = reader.found;
        for effect in &effects {
            inside.apply(effect, write.moment);
        }
        found.extend(effects);
        if let Some(selected) = selected(write.table, request, reply) {
            database = selected;
        }
    }
    found
}

/// Returns the database that a request has switched to, and one without a reply most likely.
fn selected(table: &Table, request: &Request<'_>, reply: &[u8]) -> Option<u32> {
    let is_select = table.find(request.word(0)?).kind == Kind::Select;
    let index = std::str::from_utf8(request.word(1)?).ok()?;
    (is_select && matches!(reply, b"" | b"+OK\r\n")).then(|| index.parse().ok())?
}

/// What is known inside a transaction: what was known before it, and above that what its requests have left.
struct Inside<'a> {
    before: &'a dyn Before,
    left: Keyspace,
    /// Databases that have changed places: what each one was before.
    swapped: HashMap<u32, u32>,
}

impl Inside<'_> {
    fn apply(&mut self, effect: &Effect, moment: Moment) {
        match effect {
            Effect::Key(effect) if self.left.find(effect.database, &effect.key).is_none() => {
                let image = self.image(effect.database, &effect.key).into_owned();
                self.left.learn(effect.database, &effect.key, image);
            }
            Effect::Swapped(one, other) => {
                let (first, second) = (self.below(*one), self.below(*other));
                self.swapped.extend([(*one, second), (*other, first)]);
            }
            _ => {}
        }
        self.left.apply(effect, moment);
    }

    /// Returns which database that was before the transaction.
    fn below(&self, database: u32) -> u32 {
        self.swapped.get(&database).copied().unwrap_or(database)
    }
}

impl Before for Inside<'_> {
    fn image(&self, database: u32, key: &[u8]) -> Cow<'_, Image> {
        match self.left.find(database, key) {
            Some(image) => Cow::Borrowed(image),
            None => self.before.image(self.below(database), key),
        }
    }
}
