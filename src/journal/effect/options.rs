//! Options as requests spell them.

use crate::command::time::{OPTIONS, Time, find};
use crate::journal::image::{Deadline, Moment};

/// What a request asks for as a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing: SET and HSETEX then take it away, GETEX and HGETEX leave it.
    None,
    /// `KEEPTTL`
    Keep,
    /// `PERSIST`
    Persist,
    At(Time),
}

/// When the key or the field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    Always,
    /// `NX`
    Absent,
    /// `XX`
    There,
    /// `IFEQ`
    Equal(&'a [u8]),
}

/// Options of SET, GETEX, MSETEX, HSETEX, HGETEX: as many as the command knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'a> {
    pub wish: Wish,
    pub condition: Condition<'a>,
    /// `FNX`, `FXX`: of the fields.
    pub of_fields: Condition<'a>,
    /// `GET`
    pub gets: bool,
}

impl<'a> Options<'a> {
    /// Reads all of `words`; `None` if there is one that is not known, or a time that can't be read.
    pub(super) fn read(words: &[&'a [u8]]) -> Option<Self> {
        let mut options = Self {
            wish: Wish::None,
            condition: Condition::Always,
            of_fields: Condition::Always,
            gets: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let upper = word.to_ascii_uppercase();
            match upper.as_slice() {
                b"NX" => options.condition = Condition::Absent,
                b"XX" => options.condition = Condition::There,
                b"FNX" => options.of_fields = Condition::Absent,
                b"FXX" => options.of_fields = Condition::There,
                b"IFEQ" => options.condition = Condition::Equal(words.next()?),
                b"GET" => options.gets = true,
                b"KEEPTTL" => options.wish = Wish::Keep,
                b"PERSIST" => options.wish = Wish::Persist,
                _ => options.wish = Wish::At(find(&OPTIONS, word)?(words.next()?)?),
            }
        }
        Some(options)
    }
}

impl Wish {
    /// Returns the deadline of what was *set* with this wish: `Some(None)` = the one it had, `None` = passed already.
    pub(super) fn of_set(self, moment: Moment) -> Option<Option<Deadline>> {
        match self {
            Self::None | Self::Persist => Some(Some(Deadline::Never)),
            Self::Keep => Some(None),
            Self::At(time) => moment.deadline(time).map(Some),
        }
    }
}
