//! EXPIRE and its like, PERSIST, GETEX.

use super::looks::seen_value;
use super::options::Options;
use super::strings::{may_hold, of_read};
use super::{Change, Reader, Seen};
use crate::command::time::{COMMANDS, Reader as ReadTime, find};
use crate::journal::image::{Deadline, Moment, Parts};

/// Options of EXPIRE.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn read(words: &[&[u8]]) -> Option<Self> {
        let mut conditions = Self::default();
        for word in words {
            match word.to_ascii_uppercase().as_slice() {
                b"NX" => conditions.nx = true,
                b"XX" => conditions.xx = true,
                b"GT" => conditions.gt = true,
                b"LT" => conditions.lt = true,
                _ => return None,
            }
        }
        Some(conditions)
    }

    /// Tells whether they may all hold of a key with such a deadline.
    fn may_hold(self, had: Deadline) -> bool {
        match had {
            Deadline::Unknown => true,
            // No deadline is later than any.
            Deadline::Never => !self.xx && !self.gt,
            Deadline::At(_) => !self.nx,
        }
    }

    /// Tells whether one of them may not hold.
    fn may_fail(self, had: Deadline) -> bool {
        match had {
            Deadline::Unknown => self.nx || self.xx || self.gt || self.lt,
            Deadline::Never => self.xx || self.gt,
            Deadline::At(_) => self.nx || self.gt || self.lt,
        }
    }

    /// Returns the deadline of a key that is there, where the refusal proves it.
    fn proven_by_refusal(self) -> Option<Deadline> {
        (self.xx && !self.gt && !self.lt).then_some(Deadline::Never)
    }
}

/// Reads a time that may lie in the past: `Some(None)`.
pub(super) fn deadline(read: ReadTime, word: &[u8], moment: Moment) -> Option<Option<Deadline>> {
    if word == b"0" || word.starts_with(b"-") {
        return Some(None);
    }
    Some(moment.deadline(read(word)?))
}

/// EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT
pub(super) fn expire(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let read = find(&COMMANDS, reader.word(0)?)?;
    let conditions = Conditions::read(&reader.words_from(3)?)?;
    let is_done = reader.number()? == 1;
    let deadline = match is_done {
        true => deadline(read, reader.word(2)?, reader.moment)?,
        false => None,
    };
    let refused = Change::Seen(Seen {
        deadline: conditions.proven_by_refusal(),
        ..Seen::default()
    });
    reader.weigh(key, |was| match (was, is_done) {
        (None, true) => None,
        (None, false) => Some(refused.clone()),
        (Some(parts), true) => conditions
            .may_hold(parts.deadline)
            .then(|| Change::until(deadline)),
        (Some(parts), false) => conditions.may_fail(parts.deadline).then(|| refused.clone()),
    });
    Some(())
}

pub(super) fn persist(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let is_done = reader.number()? == 1;
    let never = Deadline::Never;
    let shown = Change::Seen(Seen {
        deadline: Some(never),
        ..Seen::default()
    });
    reader.weigh(key, |was| {
        match (was.map(|parts| parts.deadline), is_done) {
            (Some(Deadline::At(_) | Deadline::Unknown), true) => Some(Change::Deadline(never)),
            (None | Some(Deadline::Never | Deadline::Unknown), false) => Some(shown.clone()),
            _ => None,
        }
    });
    Some(())
}

pub(super) fn getex(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    // Where there is no key, the server does not look at the time.
    let Some(value) = reader.shown()? else {
        reader.weigh(key, |was| was.is_none().then_some(Change::NOTHING));
        return Some(());
    };
    let options = Options::read(&reader.words_from(2)?)?;
    let holds = |was: Option<&Parts>| was.is_some_and(|parts| may_hold(parts, value));
    // It is a read, too.
    reader.weigh(key, |was| holds(was).then(|| seen_value(value)));
    match of_read(options.wish, reader) {
        Some(None) => {}
        Some(Some(deadline)) => {
            reader.weigh(key, |was| holds(was).then_some(Change::Deadline(deadline)));
        }
        None => reader.weigh(key, |was| holds(was).then_some(Change::Deleted)),
    }
    Some(())
}
