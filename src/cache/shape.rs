//! Requests without their key, and what a reply to one says of others.

use bytes::Bytes;

use super::entry::View;
use crate::command::table::CachedRead;
use crate::resp::encode::{self, Protocol};
use crate::resp::{Scanner, value};

/// Writes a request without its key: the command, then each argument behind its length, so that no two are alike.
pub fn write<'a>(into: &mut Vec<u8>, read: CachedRead, arguments: impl Iterator<Item = &'a [u8]>) {
    into.clear();
    into.push(read as u8);
    for argument in arguments {
        into.extend_from_slice(&(argument.len() as u64).to_le_bytes());
        into.extend_from_slice(argument);
    }
}

/// Tells whether a request of so many words, its name included, is one that the server would take; another is its own to
/// refuse. EXISTS of several keys is no read of one.
pub fn has_right_length(read: CachedRead, words: usize) -> bool {
    match read {
        CachedRead::Get
        | CachedRead::StrLen
        | CachedRead::Exists
        | CachedRead::Type
        | CachedRead::HGetAll
        | CachedRead::HKeys
        | CachedRead::HVals
        | CachedRead::HLen => words == 2,
        CachedRead::HGet | CachedRead::HExists | CachedRead::HStrLen => words == 3,
        CachedRead::GetRange => words == 4,
        CachedRead::HMGet => words >= 3,
        CachedRead::MGet => words >= 2,
    }
}

/// Tells whether a read with so many words is one of one key, as the server wants it.
pub fn is_of_one_key(read: CachedRead, words: usize) -> bool {
    read != CachedRead::MGet && has_right_length(read, words)
}

/// Tells whether a reply (as it comes over RESP3) says that the key exists, if it says anything about that.
pub fn exists(read: u8, reply: &[u8]) -> Option<bool> {
    let is = |other: CachedRead| read == other as u8;
    if is(CachedRead::Get) {
        return Some(!value::is_null(reply));
    }
    if is(CachedRead::Type) {
        return Some(reply != b"+none\r\n");
    }
    if is(CachedRead::Exists) || is(CachedRead::HLen) {
        return Some(value::integer(reply)? != 0);
    }
    // There is no empty hash.
    if is(CachedRead::HGetAll) || is(CachedRead::HKeys) || is(CachedRead::HVals) {
        return Some(!matches!(reply, b"%0\r\n" | b"*0\r\n"));
    }
    if is(CachedRead::HExists) || is(CachedRead::StrLen) || is(CachedRead::HStrLen) {
        return (value::integer(reply)? != 0).then_some(true);
    }
    if is(CachedRead::HGet) {
        return (!value::is_null(reply)).then_some(true);
    }
    if is(CachedRead::GetRange) {
        return (reply != b"$0\r\n\r\n").then_some(true);
    }
    None
}

/// What a reply to another request says to this one: EXISTS is answered from whatever tells, STRLEN from a value.
pub fn derive(read: CachedRead, kept: &View<'_>) -> Option<Bytes> {
    let from = *kept.shape.first()?;
    let number = match read {
        CachedRead::Exists => i64::from(exists(from, kept.reply)?),
        CachedRead::StrLen if from == CachedRead::Get as u8 => {
            value::body(kept.reply).map_or(0, <[u8]>::len) as i64
        }
        _ => return None,
    };
    let mut reply = Vec::new();
    encode::header(&mut reply, b':', number);
    Some(reply.into())
}

/// Appends a reply as it came over RESP3 for a client of this protocol.
#[inline]
pub fn append(out: &mut Vec<u8>, reply: &[u8], protocol: Protocol) {
    let same = matches!(reply.first(), Some(b'$' | b':' | b'+'));
    if same || protocol == Protocol::Resp3 {
        out.extend_from_slice(reply);
        return;
    }
    // What is kept is a whole frame.
    let run = Scanner::default().run_as_resp2(reply, 1, out);
    debug_assert!(run.is_ok_and(|run| run.consumed == reply.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(read: CachedRead, arguments: &[&str]) -> Vec<u8> {
        let mut shape = vec![7];
        write(
            &mut shape,
            read,
            arguments.iter().map(|word| word.as_bytes()),
        );
        shape
    }

    #[test]
    fn no_two_requests_have_one_shape() {
        let shapes = [
            shape(CachedRead::Get, &[]),
            shape(CachedRead::Exists, &[]),
            shape(CachedRead::HGet, &["a"]),
            shape(CachedRead::HMGet, &["a"]),
            shape(CachedRead::HMGet, &["a", "b"]),
            shape(CachedRead::HMGet, &["ab"]),
            shape(CachedRead::HMGet, &["", "ab"]),
            shape(CachedRead::HMGet, &["ab", ""]),
        ];
        for (index, one) in shapes.iter().enumerate() {
            assert!(!shapes[..index].contains(one));
        }
    }

    #[test]
    fn what_a_reply_says_of_the_key() {
        use CachedRead::*;
        for (read, reply, expected) in [
            (Get, "$1\r\na\r\n", Some(true)),
            (Get, "_\r\n", Some(false)),
            (StrLen, ":0\r\n", None),
            (StrLen, ":1\r\n", Some(true)),
            (Exists, ":0\r\n", Some(false)),
            (Type, "+none\r\n", Some(false)),
            (Type, "+hash\r\n", Some(true)),
            (HGet, "_\r\n", None),
            (HGet, "$0\r\n\r\n", Some(true)),
            (HMGet, "*1\r\n_\r\n", None),
            (HGetAll, "%0\r\n", Some(false)),
            (HGetAll, "%1\r\n+a\r\n+b\r\n", Some(true)),
            (HKeys, "*0\r\n", Some(false)),
            (HLen, ":0\r\n", Some(false)),
            (HExists, ":0\r\n", None),
            (GetRange, "$0\r\n\r\n", None),
            (GetRange, "$1\r\na\r\n", Some(true)),
        ] {
            assert_eq!(
                exists(read as u8, reply.as_bytes()),
                expected,
                "{read:?} {reply:?}"
            );
        }
    }

    #[test]
    fn exists_and_strlen_follow_from_a_value() {
        const SHAPES: [[u8; 1]; 2] = [[CachedRead::Get as u8], [CachedRead::HGet as u8]];
        let kept = |read: CachedRead, reply: &'static str| View {
            database: 0,
            shape: &SHAPES[usize::from(read.is_of_hash())],
            reply: reply.as_bytes(),
            deadline: None,
            sent_at: 0,
            answered_at: 0,
            link: 1,
        };
        let value = kept(CachedRead::Get, "$11\r\nhello world\r\n");
        let absent = kept(CachedRead::Get, "_\r\n");
        assert_eq!(derive(CachedRead::StrLen, &value).unwrap(), ":11\r\n");
        assert_eq!(derive(CachedRead::StrLen, &absent).unwrap(), ":0\r\n");
        assert_eq!(derive(CachedRead::Exists, &value).unwrap(), ":1\r\n");
        assert_eq!(derive(CachedRead::Exists, &absent).unwrap(), ":0\r\n");
        let field = kept(CachedRead::HGet, "_\r\n");
        assert_eq!(derive(CachedRead::Exists, &field), None);
        assert_eq!(derive(CachedRead::StrLen, &field), None);
        assert_eq!(derive(CachedRead::Get, &value), None);
    }

    #[test]
    fn replies_are_appended_in_the_clients_protocol() {
        for (reply, resp2) in [
            ("$1\r\na\r\n", "$1\r\na\r\n"),
            ("_\r\n", "$-1\r\n"),
            (
                "%1\r\n$1\r\na\r\n$1\r\nb\r\n",
                "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            ),
            ("*2\r\n_\r\n$1\r\nb\r\n", "*2\r\n$-1\r\n$1\r\nb\r\n"),
        ] {
            let mut out = Vec::new();
            append(&mut out, reply.as_bytes(), Protocol::Resp2);
            assert_eq!(out, resp2.as_bytes());
            out.clear();
            append(&mut out, reply.as_bytes(), Protocol::Resp3);
            assert_eq!(out, reply.as_bytes());
        }
    }
}
