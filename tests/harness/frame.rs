//! RESP frames as bytes and as values; knows nothing of the crate's own scanner, which it tests.

/// Finds the end of the frame that begins at `start`; `None` when it is not complete. An attribute belongs to the
/// frame that follows it.
pub fn frame_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut position = start;
    let mut open: usize = 1;
    while open > 0 {
        let line_end = find_line_end(bytes, position)?;
        let kind = bytes[position];
        let line = &bytes[position + 1..line_end];
        position = line_end + 2;
        open -= 1;
        match kind {
            b'$' | b'=' | b'!' => {
                if let Some(length) = number(line).filter(|length| *length >= 0) {
                    position += length as usize + 2;
                    if position > bytes.len() {
                        return None;
                    }
                }
            }
            b'*' | b'~' | b'>' => open += number(line).unwrap_or(0).max(0) as usize,
            b'%' => open += 2 * number(line).unwrap_or(0).max(0) as usize,
            b'|' => open += 1 + 2 * number(line).unwrap_or(0).max(0) as usize,
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
            other => panic!(
                "no RESP type {:?} at {start}: {}",
                other as char,
                escape(&bytes[start..bytes.len().min(start + 200)])
            ),
        }
    }
    Some(position)
}

fn find_line_end(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?;
    (rest.len() >= 3).then_some(())?;
    rest.windows(2)
        .position(|pair| pair == b"\r\n")
        .map(|at| start + at)
}

fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// A frame taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Simple types: the type byte and the line.
    Line(u8, Vec<u8>),
    /// Types with a length: the type byte and the bytes.
    Blob(u8, Vec<u8>),
    /// Types with elements: the type byte and the elements (a map's keys and values in turn).
    Many(u8, Vec<Value>),
}

/// Takes a complete frame apart; an attribute becomes the first element of a `Many(b'|', …)`.
pub fn parse(bytes: &[u8]) -> Value {
    let (value, end) = parse_at(bytes, 0);
    assert_eq!(end, bytes.len(), "one frame: {}", escape(bytes));
    value
}

fn parse_at(bytes: &[u8], start: usize) -> (Value, usize) {
    let line_end = find_line_end(bytes, start).expect("the frame is complete");
    let kind = bytes[start];
    let line = &bytes[start + 1..line_end];
    let mut position = line_end + 2;
    let count = number(line).unwrap_or(0);
    let elements = match kind {
        b'$' | b'=' | b'!' if count >= 0 => {
            let end = position + count as usize;
            return (Value::Blob(kind, bytes[position..end].to_vec()), end + 2);
        }
        b'*' | b'~' | b'>' if count >= 0 => count as usize,
        b'%' => 2 * count as usize,
        b'|' => 2 * count as usize + 1,
        _ => return (Value::Line(kind, line.to_vec()), position),
    };
    let mut values = Vec::new();
    for _ in 0..elements {
        let (value, end) = parse_at(bytes, position);
        values.push(value);
        position = end;
    }
    (Value::Many(kind, values), position)
}

/// Shows bytes so that a person can read them and a test can be written from them.
pub fn escape(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 2000;
    let mut text = String::new();
    for byte in bytes.iter().take(SHOWN_MAX) {
        text.extend(std::ascii::escape_default(*byte).map(char::from));
    }
    if bytes.len() > SHOWN_MAX {
        text.push_str(&format!(" … ({} bytes)", bytes.len()));
    }
    text
}
