//! ZADD with all its options, ZINCRBY, ZREM.

use std::collections::{BTreeMap, BTreeSet};

use super::hashes::{empties, may_add, may_remove};
use super::{Change, Reader, ScoreChange};
use crate::journal::collection::Element;
use crate::journal::image::{Parts, Value, View};
use crate::resp::value;

/// A member as it is: there with a score, which may be unknown; absent; or nobody knows.
type Score = Element<Option<f64>>;

/// Returns what is known of a sorted set; `None` if the key holds something else.
fn sorted_set(was: Option<&Parts>) -> Option<View<'_, Option<f64>>> {
    Some(match was.map(|parts| &parts.value) {
        None => View::Empty,
        Some(Value::Unknown) => View::Unknown,
        Some(Value::SortedSet(members)) => View::Known(members),
        Some(_) => return None,
    })
}

/// Reads a score; `None` where Rust and C may read it differently.
fn score(word: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(word).ok()?;
    let score: f64 = text.parse().ok()?;
    let is_spelled = text.to_ascii_lowercase().contains("inf");
    (score.is_finite() || is_spelled && score.is_infinite()).then_some(score)
}

/// Reads the score that was answered: a bulk string, or a double of RESP3. `Some(None)` = null.
fn answered(reply: &[u8]) -> Option<Option<f64>> {
    if value::is_null(reply) {
        return Some(None);
    }
    let double = || reply.strip_prefix(b",")?.strip_suffix(b"\r\n");
    score(value::body(reply).or_else(double)?).map(Some)
}

#[derive(Clone, Copy, Debug, Default)]
struct Options {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    ch: bool,
    incr: bool,
}

impl Options {
    /// Reads the options in front; returns them with their number.
    fn read(words: &[&[u8]]) -> (Self, usize) {
        let mut options = Self::default();
        for (index, word) in words.iter().enumerate() {
            match word.to_ascii_uppercase().as_slice() {
                b"NX" => options.nx = true,
                b"XX" => options.xx = true,
                b"GT" => options.gt = true,
                b"LT" => options.lt = true,
                b"CH" => options.ch = true,
                b"INCR" => options.incr = true,
                _ => return (options, index),
            }
        }
        (options, words.len())
    }

    /// Returns what a member is after it was given a score; `new` is `None` where that can't be read.
    fn give(self, was: Score, new: Option<f64>) -> Score {
        match was {
            Element::Absent if self.xx => Element::Absent,
            Element::Absent => Element::There(new),
            Element::There(_) if self.nx => was,
            Element::There(old) => Element::There(self.better(old, new)),
            Element::Unknown if self.xx => Element::Unknown,
            Element::Unknown if self.nx || self.gt || self.lt => Element::There(None),
            Element::Unknown => Element::There(new),
        }
    }

    fn better(self, old: Option<f64>, new: Option<f64>) -> Option<f64> {
        if !self.gt && !self.lt {
            return new;
        }
        let (old, new) = (old?, new?);
        let is_taken = (self.gt && new > old) || (self.lt && new < old);
        Some(if is_taken { new } else { old })
    }
}

pub(super) fn zadd(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let words = reader.words_from(2)?;
    let (options, count) = Options::read(&words);
    let pairs = words.get(count..)?.chunks_exact(2);
    if options.incr {
        return match answered(reader.reply)? {
            // An option was in its way.
            None => Some(()),
            new => counted(reader, key, pairs.clone().next()?[1], new),
        };
    }
    let names: BTreeSet<&[u8]> = pairs.clone().map(|pair| pair[1]).collect();
    let number = reader.number()?;
    reader.weigh(key, |was| {
        let view = sorted_set(was)?;
        let can_be = match options.xx || options.ch {
            true => was.is_some() || !options.xx || number == 0,
            false => may_add(view, &names, number),
        };
        // Each of them was added: what was unknown was not there.
        let all_added = !options.ch && usize::try_from(number) == Ok(names.len());
        let mut now: BTreeMap<&[u8], Score> = BTreeMap::new();
        for pair in pairs.clone() {
            let before = now.get(pair[1]).copied().unwrap_or_else(|| {
                match (view.find(pair[1]).cloned(), all_added) {
                    (Element::Unknown, true) => Element::Absent,
                    (element, _) => element,
                }
            });
            now.insert(pair[1], options.give(before, score(pair[0])));
        }
        can_be.then(|| scores(view, now))
    });
    Some(())
}

/// Says what members are now, where that is another thing than they were.
fn scores(view: View<'_, Option<f64>>, now: BTreeMap<&[u8], Score>) -> Change {
    let changed = now.into_iter().filter(|(name, now)| {
        let was = view.find(name).cloned();
        was != *now || matches!(now, Element::Unknown | Element::There(None))
    });
    let changes: Vec<_> = changed
        .map(|(name, now)| {
            let change = match now {
                Element::There(score) => ScoreChange::Score(score),
                Element::Absent => ScoreChange::Removed,
                Element::Unknown => ScoreChange::Unknown,
            };
            (name.to_vec(), change)
        })
        .collect();
    match changes.is_empty() {
        true => Change::NOTHING,
        false => Change::Scores(changes),
    }
}

pub(super) fn zincrby(reader: &mut Reader<'_>) -> Option<()> {
    let (key, name) = (reader.word(1)?, reader.word(3)?);
    let new = answered(reader.reply)??;
    counted(reader, key, name, Some(new))
}

fn counted(reader: &mut Reader<'_>, key: &[u8], name: &[u8], new: Option<f64>) -> Option<()> {
    let change = Change::Scores(vec![(name.to_vec(), ScoreChange::Score(new))]);
    reader.weigh(key, |was| {
        sorted_set(was)?;
        Some(change.clone())
    });
    Some(())
}

pub(super) fn zrem(reader: &mut Reader<'_>) -> Option<()> {
    let key = reader.word(1)?;
    let names: BTreeSet<&[u8]> = reader.words_from(2)?.into_iter().collect();
    let removed = reader.number()?;
    reader.weigh(key, |was| {
        let view = sorted_set(was)?;
        may_remove(view, &names, removed).then(|| match empties(view, &names) {
            true => Change::Deleted,
            false => {
                let removed = names
                    .iter()
                    .map(|name| (name.to_vec(), ScoreChange::Removed));
                Change::Scores(removed.collect())
            }
        })
    });
    Some(())
}
