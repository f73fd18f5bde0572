//! What the scripts answer.

use bytes::Bytes;

use crate::repair::record::{Record, Verdict, Verdicts};
use crate::repair::stamp::Stamp;
use crate::resp::value;

/// The round and the peers, as they were told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The server's clock.
    pub now: Stamp,
    /// Which round it is; 0 if there never was one.
    pub number: i64,
    /// Whether it is open.
    pub is_open: bool,
    /// When it was opened.
    pub opened: Stamp,
    /// When it ends.
    pub until: Stamp,
    /// No earlier dispatch is looked at.
    pub horizon: Stamp,
    /// The replid that it is for.
    pub replid: String,
    /// Live peers that have not reported.
    pub missing: Vec<String>,
    /// Those of them that have not even compared what they have.
    pub unchecked: Vec<String>,
}

/// Reads the answer of the repair of a record: whether the round was open, and the verdicts. `None` for anything else.
pub fn repaired(frame: &[u8], record: &Record<Bytes>) -> Option<(bool, Verdicts<Bytes>)> {
    let numbers = integers(frame)?;
    let [open, base, touch, fields @ ..] = &numbers[..] else {
        return None;
    };
    if fields.len() != record.fields.len() {
        return None;
    }
    let names = record.fields.keys().cloned();
    let fields = names
        .zip(fields)
        .map(|(name, number)| Some((name, verdict(*number)?)));
    let verdicts = Verdicts {
        base: verdict(*base),
        touch: verdict(*touch),
        fields: fields.collect::<Option<_>>()?,
    };
    Some((*open == 1, verdicts))
}

fn verdict(number: i64) -> Option<Verdict> {
    let place = usize::try_from(number).ok()?;
    Verdict::ALL.get(place).copied()
}

/// Reads the answer of a mark: the stamp that the write to each key has now, none if the round is closed. `None` for anything
/// else.
pub fn marked(frame: &[u8]) -> Option<Vec<Stamp>> {
    let numbers = integers(frame)?;
    let (_, stamps) = numbers.split_first()?;
    Some(stamps.iter().copied().map(Stamp).collect())
}

/// Reads what round and peers are. `None` for anything else.
pub fn seen(frame: &[u8]) -> Option<Seen> {
    let mut elements = value::elements(frame)?;
    let mut number = || value::integer(elements.next()?);
    let (now, round, open) = (number()?, number()?, number()?);
    let (opened, until, horizon) = (number()?, number()?, number()?);
    let mut texts = elements.map(|element| {
        let text = value::body(element)?;
        Some(String::from_utf8_lossy(text).into_owned())
    });
    let replid = texts.next()??;
    let all: Vec<String> = texts.collect::<Option<_>>()?;
    let unchecked = all.iter().filter(|id| !id.starts_with('+')).cloned();
    let missing = all.iter().map(|id| id.trim_start_matches('+').to_owned());
    Some(Seen {
        now: Stamp(now),
        number: round,
        is_open: open == 1,
        opened: Stamp(opened),
        until: Stamp(until),
        horizon: Stamp(horizon),
        replid,
        unchecked: unchecked.collect(),
        missing: missing.collect(),
    })
}

/// Reads an answer to TIME. `None` for anything else.
pub fn time(frame: &[u8]) -> Option<Stamp> {
    let mut parts = value::elements(frame)?.map(|part| {
        let digits = std::str::from_utf8(value::body(part)?).ok()?;
        digits.parse::<i64>().ok()
    });
    let (seconds, micros) = (parts.next()??, parts.next()??);
    Some(Stamp(seconds.checked_mul(1_000_000)?.checked_add(micros)?))
}

fn integers(frame: &[u8]) -> Option<Vec<i64>> {
    value::elements(frame)?.map(value::integer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_answer_of_ours_is_none() {
        for frame in [
            &b"-NOSCRIPT no\r\n"[..],
            b"+OK\r\n",
            b"*1\r\n$1\r\na\r\n",
            b"*0\r\n",
        ] {
            assert_eq!(repaired(frame, &Record::default()), None);
            assert_eq!(marked(frame), None);
            assert_eq!(seen(frame), None);
        }
    }

    #[test]
    fn answers_are_read() {
        let now = time(b"*2\r\n$2\r\n12\r\n$3\r\n345\r\n");
        assert_eq!(now, Some(Stamp(12_000_345)));
        assert_eq!(time(b"-NOPERM x\r\n"), None);
        let (is_open, verdicts) =
            repaired(b"*3\r\n:1\r\n:2\r\n:-1\r\n", &Record::default()).unwrap();
        assert!(is_open);
        assert_eq!(verdicts.base, Some(Verdict::DeletedAgain));
        assert_eq!(verdicts.touch, None);
        assert_eq!(marked(b"*1\r\n:0\r\n"), Some(vec![]));
        assert_eq!(marked(b"*2\r\n:1\r\n:77\r\n"), Some(vec![Stamp(77)]));
        let frame = b"*8\r\n:9\r\n:1\r\n:1\r\n:2\r\n:3\r\n:4\r\n$1\r\nr\r\n$1\r\nb\r\n";
        let seen = seen(frame).unwrap();
        assert_eq!(
            (seen.now, seen.is_open, seen.horizon),
            (Stamp(9), true, Stamp(4))
        );
        assert_eq!(
            (&seen.replid[..], &seen.missing[..]),
            ("r", &["b".to_owned()][..])
        );
    }
}
