//! A server as repair sees it: its clock, a key, a script's answer.

use bytes::Bytes;
use gripfast::repair::key::{Content, Whole};
use gripfast::repair::script::Call;
use gripfast::repair::stamp::Stamp;

use crate::harness::{Client, Value, escape, parse};

/// Reads its clock.
pub(crate) fn now(client: &mut Client) -> Stamp {
    stamp(&client.call(&["TIME"]))
}

/// Reads an answer to TIME.
pub(crate) fn stamp(frame: &[u8]) -> Stamp {
    let words = texts(frame);
    let [seconds, micros] = [0, 1].map(|place| number(&words[place]));
    Stamp(seconds * 1_000_000 + micros)
}

/// Reads a key of the client's database.
pub(crate) fn whole(client: &mut Client, key: &[u8]) -> Option<Whole<Bytes>> {
    let left = number(&blob(&client.call(&[&b"PTTL"[..], key])));
    let content = match &client.call(&[&b"TYPE"[..], key])[..] {
        b"+none\r\n" => return None,
        b"+string\r\n" => Content::String(blob(&client.call(&[&b"GET"[..], key]))),
        b"+hash\r\n" => {
            let flat = texts(&client.call(&[&b"HGETALL"[..], key]));
            let pairs = flat
                .chunks(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()));
            Content::Hash(pairs.collect())
        }
        _ => Content::Opaque(blob(&client.call(&[&b"DUMP"[..], key]))),
    };
    let deadline = (left >= 0).then(|| now(client).millis() + left);
    Some(Whole { content, deadline })
}

/// Runs a script, and returns its answer.
pub(crate) fn call(client: &mut Client, call: &Call<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    call.by_sha(&mut bytes, &call.script().sha());
    client.send(&bytes);
    let frame = client.frame();
    if !frame.starts_with(b"-NOSCRIPT") {
        return frame;
    }
    bytes.clear();
    call.by_body(&mut bytes);
    client.send(&bytes);
    client.frame()
}

pub(crate) fn blob(frame: &[u8]) -> Bytes {
    match parse(frame) {
        Value::Blob(_, bytes) | Value::Line(_, bytes) => bytes.into(),
        other => panic!("a string: {other:?}"),
    }
}

pub(crate) fn texts(frame: &[u8]) -> Vec<Bytes> {
    let Value::Many(_, values) = parse(frame) else {
        panic!("an array: {}", escape(frame))
    };
    let bytes = values.into_iter().map(|value| match value {
        Value::Blob(_, bytes) | Value::Line(_, bytes) => bytes.into(),
        other => panic!("a string: {other:?}"),
    });
    bytes.collect()
}

pub(crate) fn number(text: &Bytes) -> i64 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}
