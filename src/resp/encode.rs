//! The few frames that we write ourselves, by protocol version.

/// The version of RESP that one side of a connection has negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// What a connection speaks until HELLO 3.
    #[default]
    Resp2,
    /// Maps, sets, nulls, pushes.
    Resp3,
}

impl Protocol {
    /// Returns the number that HELLO takes.
    pub fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }

    /// Returns the null of this protocol in the place of an array.
    pub fn null_array(self) -> &'static [u8] {
        match self {
            Self::Resp2 => b"*-1\r\n",
            Self::Resp3 => b"_\r\n",
        }
    }

    /// Returns the null of this protocol.
    pub fn null(self) -> &'static [u8] {
        match self {
            Self::Resp2 => b"$-1\r\n",
            Self::Resp3 => b"_\r\n",
        }
    }
}

/// Appends `kind number CR LF`.
pub fn header(out: &mut Vec<u8>, kind: u8, number: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push(kind);
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Appends a bulk string.
pub fn bulk(out: &mut Vec<u8>, body: &[u8]) {
    header(out, b'$', body.len() as i64);
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

/// Appends a request: an array of bulk strings.
pub fn request<W: AsRef<[u8]>>(out: &mut Vec<u8>, words: &[W]) {
    header(out, b'*', words.len() as i64);
    for word in words {
        bulk(out, word.as_ref());
    }
}

/// Returns a request as bytes.
pub fn request_bytes<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut out = Vec::new();
    request(&mut out, words);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_any_number() {
        for number in [0, 7, -1, 10, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            header(&mut out, b':', number);
            assert_eq!(out, format!(":{number}\r\n").into_bytes());
        }
    }

    #[test]
    fn requests_are_arrays_of_bulk_strings() {
        assert_eq!(
            request_bytes(&["GET", "k"]),
            b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
        );
    }
}
