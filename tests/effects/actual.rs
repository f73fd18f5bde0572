//! What the server really holds, and whether what is said of it is true.

use std::collections::BTreeMap;

use gripfast::journal::collection::Held;
use gripfast::journal::{Collection, Deadline, Element, Field, Image, Moment, Parts, Value};

use crate::harness::{self, Client};

/// A key as the server holds it.
#[derive(Clone, Debug)]
pub(crate) struct Actual {
    kind: String,
    /// All of a string; the elements of a list, one a line.
    string: Vec<u8>,
    /// Fields with values, members with scores, members with nothing.
    elements: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of the fields, where the server has such a thing.
    field_deadlines: BTreeMap<Vec<u8>, Deadline>,
    deadline: Deadline,
}

impl Actual {
    pub(crate) fn is_empty_hash(&self) -> bool {
        self.kind == "hash" && self.elements.is_empty()
    }

    /// Forgets when fields end by themselves.
    pub(crate) fn without_field_deadlines(mut self) -> Self {
        self.field_deadlines.clear();
        self
    }

    /// Forgets when the key ends by itself.
    pub(crate) fn without_deadline(mut self) -> Self {
        self.deadline = Deadline::Unknown;
        self
    }

    /// Tells whether both are alike, with deadlines no further apart than so many milliseconds.
    pub(crate) fn is_like(&self, other: &Self, tolerance: i64) -> bool {
        let mut fields = self.field_deadlines.iter();
        self.kind == other.kind
            && self.string == other.string
            && self.elements == other.elements
            && agrees(self.deadline, other.deadline, tolerance)
            && fields.all(|(name, deadline)| {
                let other = other.field_deadlines.get(name);
                agrees(*deadline, *other.unwrap_or(&Deadline::Unknown), tolerance)
            })
    }
}

fn line(value: &harness::Value) -> Vec<u8> {
    match value {
        harness::Value::Line(_, bytes) | harness::Value::Blob(_, bytes) => bytes.clone(),
        harness::Value::Many(..) => panic!("an aggregate where a line was expected"),
    }
}

fn many(value: &harness::Value) -> &[harness::Value] {
    match value {
        harness::Value::Many(_, values) => values,
        _ => &[],
    }
}

fn number(value: &harness::Value) -> i64 {
    String::from_utf8(line(value)).unwrap().parse().unwrap()
}

/// Reads TIME's reply as Unix milliseconds.
pub(crate) fn millis(reply: &[u8]) -> i64 {
    let parts: Vec<i64> = many(&harness::parse(reply)).iter().map(number).collect();
    parts[0] * 1000 + parts[1] / 1000
}

/// The commands that show a value, by type.
fn reading(kind: &str) -> &'static str {
    match kind {
        "hash" => "HGETALL",
        "set" => "SMEMBERS",
        "zset" => "ZRANGE",
        "list" => "LRANGE",
        "string" => "GET",
        _ => "EXISTS",
    }
}

/// Reads a key in one transaction, over RESP2; returns it with the instants around.
pub(crate) fn read(
    client: &mut Client,
    key: &str,
    has_field_deadlines: bool,
) -> (Option<Actual>, i64, i64) {
    loop {
        let kind = client.ask(&format!("TYPE {key}"))[1..].to_owned();
        let mut requests = vec!["TIME".into(), "MULTI".into(), format!("TYPE {key}")];
        requests.push(match reading(&kind) {
            "ZRANGE" => format!("ZRANGE {key} 0 -1 WITHSCORES"),
            "LRANGE" => format!("LRANGE {key} 0 -1"),
            command => format!("{command} {key}"),
        });
        requests.push(format!("PTTL {key}"));
        if kind == "hash" && has_field_deadlines {
            requests.push(format!("HPEXPIRETIME {key} FIELDS 4 a b c d"));
        }
        requests.extend(["EXEC".into(), "TIME".into()]);
        for request in &requests {
            client.send_words(request);
        }
        let mut replies: Vec<Vec<u8>> = requests.iter().map(|_| client.frame()).collect();
        let end = millis(&replies.pop().unwrap());
        let exec = harness::parse(&replies.pop().unwrap());
        let start = millis(&replies[0]);
        let replies = many(&exec);
        let now = String::from_utf8(line(&replies[0])).unwrap();
        if now == "none" {
            return (None, start, end);
        }
        if now == kind {
            return (Some(taken(kind, replies, start)), start, end);
        }
    }
}

fn taken(kind: String, replies: &[harness::Value], wall: i64) -> Actual {
    let values = many(&replies[1]);
    let width = match kind.as_str() {
        "set" | "list" => 1,
        _ => 2,
    };
    let elements = values.chunks(width).map(|element| {
        let held = element.get(1).map(line).unwrap_or_default();
        (line(&element[0]), held)
    });
    let deadline = |number: i64, from: i64| match number {
        -1 => Deadline::Never,
        ms => Deadline::At(ms + from),
    };
    let fields = replies.get(3).map(many).unwrap_or_default();
    let names = [b"a", b"b", b"c", b"d"].into_iter();
    Actual {
        string: match kind.as_str() {
            "string" => line(&replies[1]),
            "list" => many(&replies[1])
                .iter()
                .map(line)
                .collect::<Vec<_>>()
                .join(&b'\n'),
            _ => Vec::new(),
        },
        elements: elements.collect(),
        field_deadlines: names
            .zip(fields)
            .map(|(name, reply)| (name.to_vec(), deadline(number(reply), 0)))
            .collect(),
        deadline: deadline(number(&replies[2]), wall),
        kind,
    }
}

/// Says what a look that shows everything would have shown.
pub(crate) fn image(actual: Option<&Actual>) -> Image {
    let Some(actual) = actual else {
        return Image::Absent;
    };
    let names = actual.elements.iter();
    let value = match actual.kind.as_str() {
        "string" => Value::String(actual.string.clone()),
        "hash" => Value::Hash(collected(names.map(|(name, value)| {
            let deadline = actual.field_deadlines.get(name);
            let field = Field {
                value: Some(value.clone()),
                deadline: deadline.copied().unwrap_or(Deadline::Never),
            };
            (name, field)
        }))),
        "set" => Value::Set(collected(names.map(|(name, _)| (name, ())))),
        "zset" => Value::SortedSet(collected(names.map(|(name, score)| {
            let score = std::str::from_utf8(score).unwrap().parse().unwrap();
            (name, Some(score))
        }))),
        _ => Value::Unknown,
    };
    Image::There(Parts {
        value,
        deadline: actual.deadline,
    })
}

fn collected<'a, T: Held>(elements: impl Iterator<Item = (&'a Vec<u8>, T)>) -> Collection<T> {
    let mut all = Collection::empty();
    for (name, held) in elements {
        all.set(name, Element::There(held));
    }
    all
}

/// Says what is wrong with an image, if something is. `moment` is that of the reading.
pub(crate) fn fault(image: &Image, actual: Option<&Actual>, moment: Moment) -> Option<String> {
    let image = image.at(moment);
    match (image.as_ref(), actual) {
        (Image::Absent, Some(_)) => Some("it is there".into()),
        (Image::There(_), None) => Some("it is not there".into()),
        (Image::Absent | Image::Maybe(_), None) => None,
        (Image::Maybe(parts) | Image::There(parts), Some(actual)) => {
            fault_in(parts, actual, moment.doubt)
        }
    }
}

fn fault_in(parts: &Parts, actual: &Actual, doubt: i64) -> Option<String> {
    if !agrees(parts.deadline, actual.deadline, doubt) {
        return Some(format!("the deadline is {:?}", actual.deadline));
    }
    let kind = match &parts.value {
        Value::Unknown => return None,
        Value::String(_) => "string",
        Value::Hash(_) => "hash",
        Value::Set(_) => "set",
        Value::SortedSet(_) => "zset",
    };
    if actual.kind != kind {
        return Some(format!("it is a {}", actual.kind));
    }
    match &parts.value {
        Value::String(value) if *value != actual.string => Some("another string".into()),
        Value::Hash(fields) => elements(fields, actual, |name, field| {
            let has = actual.field_deadlines.get(name);
            let held = &actual.elements[name];
            field.value.as_ref().is_none_or(|value| value == held)
                && agrees(
                    field.deadline,
                    has.copied().unwrap_or(Deadline::Never),
                    doubt,
                )
        }),
        Value::Set(members) => elements(members, actual, |_, ()| true),
        Value::SortedSet(members) => elements(members, actual, |name, score| {
            let text = std::str::from_utf8(&actual.elements[name]).unwrap();
            let has: f64 = text.parse().unwrap();
            score.is_none_or(|score| score == has)
        }),
        _ => None,
    }
}

fn agrees(said: Deadline, has: Deadline, doubt: i64) -> bool {
    match (said, has) {
        (Deadline::Unknown, _) | (_, Deadline::Unknown) => true,
        (Deadline::At(said), Deadline::At(has)) => (said - has).abs() <= doubt,
        (said, has) => said == has,
    }
}

fn elements<T: Held>(
    said: &Collection<T>,
    actual: &Actual,
    agrees: impl Fn(&[u8], &T) -> bool,
) -> Option<String> {
    for (name, held) in said.there() {
        let shown = harness::escape(name);
        if !actual.elements.contains_key(name) {
            return Some(format!("{shown} is not there"));
        }
        if !agrees(name, held) {
            return Some(format!("{shown} is another"));
        }
    }
    let absent = |name: &&Vec<u8>| said.find(name) == Element::Absent;
    let found = actual.elements.keys().find(absent)?;
    Some(format!("{} is there", harness::escape(found)))
}
