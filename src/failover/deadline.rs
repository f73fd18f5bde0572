//! Deadlines some time from now, as instants: a request that is sent again must not give its key more time than was asked for.

use crate::command::time::{COMMANDS, OPTIONS, Time, find};
use crate::resp::encode;

/// Commands that set a deadline some time from now, and those that set one.
pub(super) const RELATIVE: [(&str, &[u8]); 4] = [
    ("expire", b"PEXPIREAT"),
    ("pexpire", b"PEXPIREAT"),
    ("hexpire", b"HPEXPIREAT"),
    ("hpexpire", b"HPEXPIREAT"),
];

/// Reads the time of one of [`RELATIVE`].
pub(super) fn read_time(name: &[u8], time: &[u8]) -> Option<Time> {
    let is_of_fields = matches!(name.first(), Some(b'h' | b'H'));
    let name = if is_of_fields { &name[1..] } else { name };
    find(&COMMANDS, name)?(time)
}

/// Commands whose deadline is one of their options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Set,
    GetEx,
    HSetEx,
    HGetEx,
}

impl Form {
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        const NAMES: [(&str, Form); 4] = [
            ("set", Form::Set),
            ("getex", Form::GetEx),
            ("hsetex", Form::HSetEx),
            ("hgetex", Form::HGetEx),
        ];
        let is = |(known, _): &&(&str, Form)| name.eq_ignore_ascii_case(known.as_bytes());
        NAMES.iter().find(is).map(|(_, form)| *form)
    }

    /// Without options it only reads.
    pub(super) fn reads(self) -> bool {
        matches!(self, Self::GetEx | Self::HGetEx)
    }

    /// Its first option.
    fn start(self) -> usize {
        match self {
            Self::Set => 3,
            Self::GetEx | Self::HSetEx | Self::HGetEx => 2,
        }
    }

    /// Its options without a value that are as good a second time.
    fn plain(self) -> &'static [&'static str] {
        match self {
            Self::Set => &["keepttl", "xx"],
            Self::HSetEx => &["keepttl", "xx", "fxx"],
            Self::GetEx | Self::HGetEx => &["persist"],
        }
    }

    /// Fields follow its options.
    fn has_fields(self) -> bool {
        matches!(self, Self::HSetEx | Self::HGetEx)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) time: Option<AskedTime>,
    /// How many others there are.
    pub(super) others: usize,
    /// It is only done where there is no such key.
    pub(super) claims: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct AskedTime {
    /// The word of its unit.
    unit: usize,
    pub(super) asked: Time,
}

/// Reads a request's options; `None` where one of them makes a second run another thing, or is not understood.
pub(super) fn read_options(form: Form, words: &[&[u8]]) -> Option<Options> {
    let mut options = Options {
        time: None,
        others: 0,
        claims: false,
    };
    let mut at = form.start();
    if words.len() < at {
        return None;
    }
    while let Some(&word) = words.get(at) {
        if form.has_fields() && word.eq_ignore_ascii_case(b"fields") {
            return Some(options);
        }
        if let Some(read) = find(&OPTIONS, word) {
            let asked = read(words.get(at + 1)?)?;
            let before = options.time.replace(AskedTime { unit: at, asked });
            if before.is_some() {
                return None;
            }
            at += 1;
        } else if form == Form::Set && word.eq_ignore_ascii_case(b"nx") {
            options.claims = true;
        } else {
            let mut plain = form.plain().iter();
            plain.find(|known| word.eq_ignore_ascii_case(known.as_bytes()))?;
            options.others += 1;
        }
        at += 1;
    }
    (!form.has_fields()).then_some(options)
}

/// Writes a request with a relative deadline with the one that it asked for when it came, `wall` milliseconds since 1970
/// by the server's clock; `None` for any other.
pub fn with_absolute_deadline(words: &[&[u8]], wall: u64) -> Option<Vec<u8>> {
    let (&name, arguments) = words.split_first()?;
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let at = |time: Time| match time {
        Time::After(milliseconds) => {
            let at = i64::try_from(wall).ok()?.checked_add(milliseconds)?;
            Some(at.to_string().into_bytes())
        }
        Time::At(_) => None,
    };
    if let Some(form) = Form::of(name) {
        let time = read_options(form, words)?.time?;
        let at = at(time.asked)?;
        let mut words = words.to_vec();
        words[time.unit] = b"PXAT";
        words[time.unit + 1] = &at;
        return Some(encode::request_bytes(&words));
    }
    match *arguments {
        [key, time, value] if is("setex") || is("psetex") => {
            let unit: &[u8] = if is("setex") { b"ex" } else { b"px" };
            let at = at(find(&OPTIONS, unit)?(time)?)?;
            Some(encode::request_bytes(&[b"SET", key, value, b"PXAT", &at]))
        }
        [key, time, ref options @ ..] => {
            let (_, absolute) = RELATIVE.iter().find(|(relative, _)| is(relative))?;
            let at = at(read_time(name, time)?)?;
            let mut words: Vec<&[u8]> = vec![absolute, key, &at];
            words.extend(options);
            Some(encode::request_bytes(&words))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request_bytes;

    #[test]
    fn relative_deadlines_become_absolute_and_nothing_else_is_written_anew() {
        for (line, expected) in [
            ("EXPIRE a 9", "PEXPIREAT a 10000"),
            ("pexpire a 9 GT", "PEXPIREAT a 1009 GT"),
            ("SETEX a 9 v", "SET a v PXAT 10000"),
            ("PSETEX a 9 v", "SET a v PXAT 1009"),
            ("SET a v EX 9", "SET a v PXAT 10000"),
            ("SET a v px 9", "SET a v PXAT 1009"),
            ("GETEX a EX 9", "GETEX a PXAT 10000"),
            ("SET a v XX EX 9", "SET a v XX PXAT 10000"),
            ("SET a v PX 9 xx", "SET a v PXAT 1009 xx"),
            ("EXPIRE a 9 NX", "PEXPIREAT a 10000 NX"),
            ("SET a v EX 9 NX", "SET a v PXAT 10000 NX"),
            ("SET a v nx PX 9", "SET a v nx PXAT 1009"),
            ("HEXPIRE a 9 FIELDS 1 f", "HPEXPIREAT a 10000 FIELDS 1 f"),
            (
                "hpexpire a 9 GT FIELDS 1 f",
                "HPEXPIREAT a 1009 GT FIELDS 1 f",
            ),
            (
                "HGETEX a EX 9 FIELDS 1 px",
                "HGETEX a PXAT 10000 FIELDS 1 px",
            ),
            (
                "HSETEX a FXX PX 9 FIELDS 1 ex 7",
                "HSETEX a FXX PXAT 1009 FIELDS 1 ex 7",
            ),
        ] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let expected: Vec<&str> = expected.split(' ').collect();
            assert_eq!(
                with_absolute_deadline(&words, 1000),
                Some(request_bytes(&expected)),
                "{line}"
            );
        }
        for line in [
            "SET a v",
            "SET a v PXAT 9",
            "EXPIRE a 9223372036854775807",
            "EXPIRE a -1",
            "EXPIRE a",
            "EXPIREAT a 9",
            "SET a v GET EX 9",
            "SETEX a x v",
            "HGETEX a FIELDS 2 ex 9",
            "HSETEX a FNX EX 9 FIELDS 1 f v",
            "HEXPIREAT a 9 FIELDS 1 f",
            "PERSIST a",
            "GET a",
        ] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_eq!(with_absolute_deadline(&words, 1000), None, "{line}");
        }
    }
}
