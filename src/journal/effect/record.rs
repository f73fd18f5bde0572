//! A record of the ring: what each of its writes left.

use super::words::{self, Request};
use super::{Effect, Reader, Write, block_effects};
use crate::command::table::{Kind, Table};
use crate::journal::image::Moment;
use crate::journal::keyspace::Keyspace;
use crate::journal::ring::Record;
use crate::resp::value;

/// Gives the effects of each write of a record in turn, as its words and its reply alone prove them: whatever strangers,
/// other sidecars among them, have written before. A transaction is one write; what its first requests left is known to the
/// others.
pub fn proven_effects(
    table: &Table,
    record: &Record<'_>,
    moment: Moment,
    mut each: impl FnMut(Vec<Effect>),
) {
    let nothing = Keyspace::unknown();
    let (mut requests, mut replies) = (record.request, record.reply);
    for _ in 0..record.count {
        let Some(request) = next(&mut requests) else {
            each(vec![Effect::Anything]);
            continue;
        };
        let mut write = Write {
            table,
            database: record.database,
            request: &request.bytes,
            reply: replies,
            moment,
            fields_last: record.fields_last,
        };
        if is_multi(table, &request) {
            write.request = record.request;
            each(block_effects(&write, &nothing));
            return;
        }
        if record.count > 1 {
            (write.reply, replies) = value::first(replies).unwrap_or_default();
        }
        let mut reader = Reader::new(&write, &request, &nothing);
        reader.read();
        each(reader.found);
    }
}

/// Takes the next request.
fn next<'a>(requests: &mut &'a [u8]) -> Option<Request<'a>> {
    loop {
        let (request, rest) = words::take(requests)?;
        *requests = rest;
        if request.is_some() {
            return request;
        }
    }
}

fn is_multi(table: &Table, request: &Request<'_>) -> bool {
    let name = request.word(0).unwrap_or_default();
    table.find(name).kind == Kind::Multi
}
