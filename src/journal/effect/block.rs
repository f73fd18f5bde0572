//! MULTI … EXEC: the requests, with the elements of EXEC's reply.

use std::borrow::Cow;
use std::collections::HashMap;

use super::words::{Request, all};
use super::{Effect, Reader, Write};
use crate::command::table::{Kind, Table};
use crate::journal::image::{Image, Moment};
use crate::journal::keyspace::{Before, Keyspace};
use crate::resp::value;

/// Reads the effects of a transaction: `write.request` holds all of its requests, MULTI and EXEC may be among them, and
/// `write.reply` is that to EXEC. Each request is read with what those in front of it left.
pub fn block_effects(write: &Write<'_>, before: &dyn Before) -> Vec<Effect> {
    // EXECABORT, or a watched key was changed: nothing has run.
    if value::is_error(write.reply) || value::is_null(write.reply) {
        return Vec::new();
    }
    let requests = all(write.request).map(|requests| queued(write.table, requests));
    let replies = value::elements(write.reply).map(Iterator::collect::<Vec<_>>);
    match (requests, replies) {
        (Some(requests), Some(replies)) if requests.len() == replies.len() => {
            run(write, &requests, &replies, before)
        }
        _ => vec![Effect::Anything],
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

fn run(
    write: &Write<'_>,
    requests: &[Request<'_>],
    replies: &[&[u8]],
    before: &dyn Before,
) -> Vec<Effect> {
    let mut database = write.database;
    let mut inside = Inside {
        before,
        left: Keyspace::above(),
        swapped: HashMap::new(),
    };
    let mut found = Vec::new();
    for (request, reply) in requests.iter().zip(replies) {
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

/// Returns the database that a request has switched to.
fn selected(table: &Table, request: &Request<'_>, reply: &[u8]) -> Option<u32> {
    let is_select = table.find(request.word(0)?).kind == Kind::Select;
    let index = std::str::from_utf8(request.word(1)?).ok()?;
    (is_select && reply == b"+OK\r\n").then(|| index.parse().ok())?
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
