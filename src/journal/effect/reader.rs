//! One request and its reply, and what they leave open of a key.

use super::words::Request;
use super::{
    Change, Effect, KeyEffect, Was, Write, deadlines, field_deadlines, hashes, keys, looks,
    numbers, opaque, sets, sorted_sets, strings,
};
use crate::command::table::{Command, Kind};
use crate::journal::image::{Image, Moment, Parts};
use crate::journal::keyspace::Before;
use crate::resp::value;

/// Reads the effects of a command; `None` if that is more than it can.
type Family = fn(&mut Reader<'_>) -> Option<()>;

#[rustfmt::skip]
const FAMILIES: &[(&str, Family)] = &[
    ("append", strings::append),
    ("copy", keys::copy),
    ("decr", numbers::decr),
    ("decrby", numbers::decrby),
    ("del", keys::del),
    ("delifeq", keys::delifeq),
    ("dump", looks::dump),
    ("expire", deadlines::expire),
    ("expireat", deadlines::expire),
    ("flushall", keys::flushall),
    ("flushdb", keys::flushdb),
    ("get", looks::get),
    ("getdel", keys::getdel),
    ("getex", deadlines::getex),
    ("getset", strings::getset),
    ("hdel", hashes::hdel),
    ("hexpire", field_deadlines::hexpire),
    ("hexpireat", field_deadlines::hexpire),
    ("hgetdel", field_deadlines::hgetdel),
    ("hgetex", field_deadlines::hgetex),
    ("hincrby", hashes::hincrby),
    ("hincrbyfloat", hashes::hincrbyfloat),
    ("hlen", looks::hlen),
    ("hmset", hashes::hset),
    ("hpersist", field_deadlines::hpersist),
    ("hpexpire", field_deadlines::hexpire),
    ("hpexpireat", field_deadlines::hexpire),
    ("hset", hashes::hset),
    ("hsetex", field_deadlines::hsetex),
    ("hsetnx", hashes::hsetnx),
    ("incr", numbers::incr),
    ("incrby", numbers::incrby),
    ("incrbyfloat", numbers::incrbyfloat),
    ("move", keys::r#move),
    ("mset", strings::mset),
    ("msetex", strings::msetex),
    ("msetnx", strings::msetnx),
    ("persist", deadlines::persist),
    ("pexpire", deadlines::expire),
    ("pexpireat", deadlines::expire),
    ("pexpiretime", looks::deadline),
    ("psetex", strings::setex),
    ("pttl", looks::deadline),
    ("rename", keys::rename),
    ("renamenx", keys::rename),
    ("restore", keys::restore),
    ("restore-asking", keys::restore),
    ("sadd", sets::sadd),
    ("set", strings::set),
    ("setex", strings::setex),
    ("setnx", strings::setnx),
    ("setrange", strings::setrange),
    ("smove", sets::smove),
    ("srem", sets::srem),
    ("swapdb", keys::swapdb),
    ("unlink", keys::del),
    ("zadd", sorted_sets::zadd),
    ("zincrby", sorted_sets::zincrby),
    ("zrem", sorted_sets::zrem),
];

#[cfg(test)]
pub(super) fn names() -> Vec<&'static str> {
    FAMILIES.iter().map(|(name, _)| *name).collect()
}

/// A request, its reply, and the effects found so far.
pub(super) struct Reader<'a> {
    pub(super) words: Vec<&'a [u8]>,
    pub(super) reply: &'a [u8],
    pub(super) moment: Moment,
    pub(super) database: u32,
    pub(super) found: Vec<Effect>,
    /// Fields of hashes may have deadlines of their own.
    pub(super) fields_may_expire: bool,
    /// How many fields more the hash has by the reply, once that is read and if it tells it.
    pub(super) growth: Option<i64>,
    command: Command,
    request: &'a Request<'a>,
    before: &'a dyn Before,
}

impl<'a> Reader<'a> {
    pub(super) fn new(write: &Write<'a>, request: &'a Request<'a>, before: &'a dyn Before) -> Self {
        let words: Vec<&[u8]> = request.words.iter(&request.bytes, 0).collect();
        Self {
            command: write.table.find(words.first().unwrap_or(&&b""[..])),
            words,
            reply: write.reply,
            moment: write.moment,
            database: write.database,
            found: Vec::new(),
            fields_may_expire: !write.fields_last && write.table.fields_may_expire(),
            growth: None,
            request,
            before,
        }
    }

    /// Finds the effects.
    pub(super) fn read(&mut self) {
        let is_script = matches!(self.command.kind, Kind::Script | Kind::Unknown);
        if value::is_error(self.reply) && !is_script {
            return;
        }
        let name = self.words.first().copied().unwrap_or_default();
        let family = FAMILIES
            .iter()
            .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        let is_read = family.and_then(|(_, read)| read(self));
        if is_read.is_none() {
            self.found = opaque::effects(
                &self.command,
                &self.request.bytes,
                &self.request.words,
                self.database,
                self.reply,
            );
        }
    }

    /// Returns a word of the request.
    pub(super) fn word(&self, index: usize) -> Option<&'a [u8]> {
        self.words.get(index).copied()
    }

    /// Returns the words from one on; `None` if there are not so many.
    pub(super) fn words_from(&self, index: usize) -> Option<Vec<&'a [u8]>> {
        self.words.get(index..).map(<[_]>::to_vec)
    }

    /// Tells whether the command has this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.word(0)
            .is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Returns the number that was answered.
    pub(super) fn number(&self) -> Option<i64> {
        value::integer(self.reply)
    }

    pub(super) fn is_ok(&self) -> bool {
        self.reply == b"+OK\r\n"
    }

    /// Returns the string that was answered: `Some(None)` for a null, `None` for another frame.
    pub(super) fn string(&self) -> Option<Option<&'a [u8]>> {
        string(self.reply)
    }

    /// The same where not all of it may have been kept.
    pub(super) fn shown(&self) -> Option<Option<Shown<'a>>> {
        if value::is_null(self.reply) {
            return Some(None);
        }
        let (begin, length) = value::beginning(self.reply)?;
        Some(Some(Shown { begin, length }))
    }

    /// Returns what is known of a key at the moment of the request.
    pub(super) fn image(&self, database: u32, key: &[u8]) -> Image {
        let image = self.before.image(database, key);
        image.at(self.moment).into_owned()
    }

    /// Says what was done to a key, by what `read` answers for a key that was not there, and for one that was and was like
    /// that: `None` if the reply can't be.
    pub(super) fn weigh(&mut self, key: &[u8], read: impl Fn(Option<&Parts>) -> Option<Change>) {
        self.weigh_in(self.database, key, read);
    }

    /// As [`Reader::weigh`], for a key of some database.
    pub(super) fn weigh_in(
        &mut self,
        database: u32,
        key: &[u8],
        read: impl Fn(Option<&Parts>) -> Option<Change>,
    ) {
        let image = self.before.image(database, key);
        let believed = judge(&image.at(self.moment), &read);
        let refutes = believed.is_none();
        let alone = judge(&Image::UNKNOWN, &read);
        let proven = alone.as_ref().map_or(Was::Unknown, |(was, _)| *was);
        let (was, change) = believed.or(alone).unwrap_or((Was::Unknown, Change::Opaque));
        self.found.push(Effect::Key(KeyEffect {
            database,
            key: key.to_vec(),
            was,
            proven,
            refutes,
            change,
            growth: self.growth,
        }));
    }
}

/// A string that was answered, as far as it was kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    begin: &'a [u8],
    length: usize,
}

impl<'a> Shown<'a> {
    /// Returns it, if all of it was kept.
    pub(super) fn whole(self) -> Option<&'a [u8]> {
        (self.begin.len() == self.length).then_some(self.begin)
    }

    /// Tells whether it may be this string.
    pub(super) fn may_be(self, string: &[u8]) -> bool {
        string.len() == self.length && string.starts_with(self.begin)
    }
}

/// Asks for both possibilities that an image leaves; `None` if the reply can be in neither.
fn judge(image: &Image, read: &impl Fn(Option<&Parts>) -> Option<Change>) -> Option<(Was, Change)> {
    let absent = match image {
        Image::There(_) => None,
        Image::Absent | Image::Maybe(_) => read(None),
    };
    let there = image.parts().and_then(|parts| read(Some(parts)));
    match (absent, there) {
        (None, None) => None,
        (Some(change), None) => Some((Was::Absent, change)),
        (None, Some(change)) => Some((Was::There, change)),
        (Some(one), Some(other)) => Some((Was::Unknown, one.or(other))),
    }
}

/// Reads a string or a null; `None` for another frame.
pub(super) fn string(frame: &[u8]) -> Option<Option<&[u8]>> {
    match value::is_null(frame) {
        true => Some(None),
        false => value::body(frame).map(Some),
    }
}
