//! Replies in short, for tests.

use super::encode;

/// `+OK`, `:1`, `,1.5`, `nil` (RESP2), `_`; `$v` a bulk string; `* :1 $v` an array; `9~v` how a bulk string of that length
/// begins; `5 * :1 9~v` how an array of that length begins; `` nothing at all.
pub(crate) fn reply(short: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if short == "nil" {
        out.extend_from_slice(b"$-1\r\n");
    } else if let Some(body) = short.strip_prefix('$') {
        encode::bulk(&mut out, body.as_bytes());
    } else if short == "*" || short.starts_with("* ") {
        let elements: Vec<&str> = short.split(' ').skip(1).collect();
        encode::header(&mut out, b'*', elements.len() as i64);
        for element in elements {
            out.extend(reply(element));
        }
    } else if let Some((length, begin)) = short.split_once(" *") {
        out.extend(format!("*{length}\r\n").into_bytes());
        out.extend(begin.split(' ').skip(1).flat_map(reply));
    } else if let Some((length, begin)) = short.split_once('~') {
        out.extend(format!("${length}\r\n{begin}").into_bytes());
    } else if !short.is_empty() {
        out.extend_from_slice(short.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out
}
