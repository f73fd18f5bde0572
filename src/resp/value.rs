//! What a whole frame says, where we have to know.

use super::Scanner;

/// Returns the body of a bulk string; `None` for any other frame, a null included.
pub fn body(frame: &[u8]) -> Option<&[u8]> {
    let (length, rest) = header(frame, b'$')?;
    let body = rest.strip_suffix(b"\r\n")?;
    (usize::try_from(length) == Ok(body.len())).then_some(body)
}

/// Returns how a bulk string begins of which not all may be there, and its length; `None` for any other frame.
pub fn beginning(frame: &[u8]) -> Option<(&[u8], usize)> {
    let (length, rest) = header(frame, b'$')?;
    let length = usize::try_from(length).ok()?;
    Some((&rest[..length.min(rest.len())], length))
}

/// Splits the first frame off; `None` where there is no whole one.
pub fn first(frames: &[u8]) -> Option<(&[u8], &[u8])> {
    let run = Scanner::default().run(frames, 1).ok()?;
    (run.frames == 1).then(|| frames.split_at(run.consumed))
}

/// Returns the number of an integer frame.
pub fn integer(frame: &[u8]) -> Option<i64> {
    let (number, rest) = header(frame, b':')?;
    rest.is_empty().then_some(number)
}

/// Tells whether the frame is an error.
pub fn is_error(frame: &[u8]) -> bool {
    matches!(frame.first(), Some(b'-' | b'!'))
}

/// Tells whether the frame is a null, of either protocol.
pub fn is_null(frame: &[u8]) -> bool {
    matches!(frame, b"_\r\n" | b"$-1\r\n" | b"*-1\r\n")
}

/// Returns the frames in an array; `None` for any other frame.
pub fn elements(frame: &[u8]) -> Option<Elements<'_>> {
    let (count, rest) = header(frame, b'*')?;
    Some(Elements {
        left: usize::try_from(count).ok()?,
        rest,
    })
}

/// Returns the names and values in a map, in turn; `None` for any other frame.
pub fn map(frame: &[u8]) -> Option<Elements<'_>> {
    let (count, rest) = header(frame, b'%')?;
    Some(Elements {
        left: usize::try_from(count).ok()?.checked_mul(2)?,
        rest,
    })
}

/// Returns the frames in a push; `None` for any other frame.
pub fn push(frame: &[u8]) -> Option<Elements<'_>> {
    let (count, rest) = header(frame, b'>')?;
    Some(Elements {
        left: usize::try_from(count).ok()?,
        rest,
    })
}

/// The frames in an aggregate.
#[derive(Clone, Debug, Default)]
pub struct Elements<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Returns how many are still to come, if the frame is whole.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Returns the bytes behind those that have come: where there is no next one, how it begins.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let Some((element, rest)) = first(self.rest) else {
            self.left = 0;
            return None;
        };
        self.rest = rest;
        Some(element)
    }
}

/// Reads `kind number CR LF`; returns the number and what follows.
fn header(frame: &[u8], kind: u8) -> Option<(i64, &[u8])> {
    let rest = frame.strip_prefix(&[kind])?;
    let end = rest.iter().position(|&byte| byte == b'\r')?;
    let (digits, rest) = rest.split_at(end);
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest.strip_prefix(b"\r\n")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_numbers_and_nulls() {
        assert_eq!(body(b"$3\r\na\r\n\r\n"), Some(&b"a\r\n"[..]));
        assert_eq!(body(b"$0\r\n\r\n"), Some(&b""[..]));
        for frame in [&b"$-1\r\n"[..], b"_\r\n", b"$5\r\nabc\r\n", b"+OK\r\n", b""] {
            assert_eq!(body(frame), None);
        }
        assert_eq!(beginning(b"$3\r\nabc\r\n"), Some((&b"abc"[..], 3)));
        assert_eq!(beginning(b"$9\r\nab"), Some((&b"ab"[..], 9)));
        for frame in [&b"$-1\r\n"[..], b"_\r\n", b"$9", b"+ab\r\n", b""] {
            assert_eq!(beginning(frame), None);
        }
        assert_eq!(integer(b":-2\r\n"), Some(-2));
        assert_eq!(integer(b":x\r\n"), None);
        assert_eq!(integer(b"+1\r\n"), None);
        assert!(is_null(b"_\r\n") && is_null(b"$-1\r\n") && !is_null(b"$0\r\n\r\n"));
        assert!(is_error(b"-ERR\r\n") && !is_error(b":1\r\n"));
    }

    #[test]
    fn elements_are_whole_frames() {
        let frame = b"*4\r\n$1\r\na\r\n_\r\n*2\r\n:1\r\n:2\r\n%1\r\n+a\r\n+b\r\n";
        let found: Vec<&[u8]> = elements(frame).unwrap().collect();
        let expected: [&[u8]; 4] = [
            b"$1\r\na\r\n",
            b"_\r\n",
            b"*2\r\n:1\r\n:2\r\n",
            b"%1\r\n+a\r\n+b\r\n",
        ];
        assert_eq!(found, expected);
        // Two are announced, one has come.
        assert_eq!(elements(b"*2\r\n:1\r\n").unwrap().left(), 2);
        assert_eq!(elements(b"*2\r\n:1\r\n").unwrap().count(), 1);
        let mut cut = elements(b"*2\r\n:1\r\n$9\r\na").unwrap();
        assert_eq!(cut.by_ref().count(), 1);
        assert_eq!(cut.rest(), b"$9\r\na");
        assert!(elements(b"$1\r\na\r\n").is_none());
        assert_eq!(push(b">1\r\n+a\r\n").unwrap().next(), Some(&b"+a\r\n"[..]));
    }
}
