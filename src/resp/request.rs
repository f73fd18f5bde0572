//! Requests as clients send them: arrays of bulk strings, or one inline line.
//!
//! The parser takes a *subset* of what Redis takes and leaves everything else to Redis: a request that is not plainly
//! well formed is [`Parsed::Irregular`], and its bytes go to a link of the client's own, where the server itself finds
//! the words for what is wrong (and closes). So its limits and texts are the server's, whatever its version.
//! Source: redis `src/networking.c`, `processMultibulkBuffer` and `processInlineBuffer`.

use std::ops::Range;

/// A request that is longer than this goes to a link of its own as it arrives; shorter ones are waited for.
pub const WHOLE_BYTES_MAX: usize = 64 * 1024;

/// Redis's own limit for a bulk string (`proto-max-bulk-len`), 512 MB: longer ones are for the server to judge.
const BULK_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Words of a request that we count ourselves; more are for the server to judge (its limit differs by version).
const WORDS_MAX: u64 = 1024 * 1024;

/// The least that one more word costs: `$0 CR LF CR LF`.
const WORD_BYTES_MIN: usize = 6;

/// Where the words of the request last parsed lie in its bytes.
#[derive(Clone, Debug, Default)]
pub struct Words {
    ranges: Vec<Range<u32>>,
    /// An inline request, rewritten as an array.
    rewritten: Vec<u8>,
}

/// What stands at the front of a client's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole request of that many bytes, as an array.
    Whole(usize),
    /// A whole request of that many bytes that came inline; [`Words::rewritten`] has it as an array.
    Inline(usize),
    /// That many bytes mean nothing (an empty line, an empty array): Redis passes over them, too.
    Blank(usize),
    /// The request is not whole; it can't be before there are that many bytes.
    Partial(usize),
    /// The request is not whole and longer than [`WHOLE_BYTES_MAX`]; the words are the leading ones that have arrived,
    /// with the number of all words.
    Large(u64),
    /// Not plainly well formed: for the server to judge.
    Irregular,
}

impl Words {
    /// Returns the number of words.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Tells whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns word `index` of `request`, or nothing.
    pub fn get<'a>(&self, request: &'a [u8], index: usize) -> Option<&'a [u8]> {
        let range = self.ranges.get(index)?;
        request.get(range.start as usize..range.end as usize)
    }

    /// Returns the words of `request` from this one on.
    pub fn iter<'a>(
        &self,
        request: &'a [u8],
        from: usize,
    ) -> impl Iterator<Item = &'a [u8]> + Clone {
        (from..self.len()).filter_map(move |index| self.get(request, index))
    }

    /// Returns the last inline request as an array.
    pub fn rewritten(&self) -> &[u8] {
        &self.rewritten
    }

    /// Gives the rewritten inline request away, so that the words can be looked up in it while the parser's owner is
    /// borrowed; hand it back to [`Words::return_rewritten`].
    pub fn take_rewritten(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rewritten)
    }

    /// Takes the buffer back.
    pub fn return_rewritten(&mut self, buffer: Vec<u8>) {
        self.rewritten = buffer;
    }
}

/// Looks at the request at the front of `input`, which is not empty.
pub fn parse(input: &[u8], words: &mut Words) -> Parsed {
    words.ranges.clear();
    match input.first() {
        None => Parsed::Partial(1),
        Some(b'*') => parse_array(input, words),
        Some(_) => parse_inline(input, words),
    }
}

fn parse_array(input: &[u8], words: &mut Words) -> Parsed {
    let (count, mut at) = match number(input, 1) {
        Number::Read(count, at) => (count, at),
        Number::Negative(at) => return Parsed::Blank(at),
        Number::Partial => return partial_or_irregular(input, input.len() + 1),
        Number::Bad => return Parsed::Irregular,
    };
    if count == 0 {
        return Parsed::Blank(at);
    }
    if count > WORDS_MAX {
        return Parsed::Irregular;
    }
    let mut left = count as usize;
    while left > 0 {
        match input.get(at) {
            None => return incomplete(at + left * WORD_BYTES_MIN, input, count),
            Some(b'$') => {}
            Some(_) => return Parsed::Irregular,
        }
        let (length, body) = match number(input, at + 1) {
            Number::Read(length, body) => (length, body),
            Number::Partial if input.len() - at > WHOLE_BYTES_MAX => return Parsed::Irregular,
            Number::Partial => return incomplete(at + left * WORD_BYTES_MIN, input, count),
            Number::Negative(_) | Number::Bad => return Parsed::Irregular,
        };
        if length > BULK_BYTES_MAX {
            return Parsed::Irregular;
        }
        let end = body + length as usize;
        left -= 1;
        if end + 2 > input.len() {
            return incomplete(end + 2 + left * WORD_BYTES_MIN, input, count);
        }
        // Redis passes over these two bytes whatever they are, Valkey 9 does not.
        if &input[end..end + 2] != b"\r\n" {
            return Parsed::Irregular;
        }
        words.ranges.push(body as u32..end as u32);
        at = end + 2;
    }
    Parsed::Whole(at)
}

fn incomplete(need: usize, input: &[u8], count: u64) -> Parsed {
    let need = need.max(input.len() + 1);
    if need > WHOLE_BYTES_MAX {
        Parsed::Large(count)
    } else {
        Parsed::Partial(need)
    }
}

fn partial_or_irregular(input: &[u8], need: usize) -> Parsed {
    if input.len() > WHOLE_BYTES_MAX {
        Parsed::Irregular
    } else {
        Parsed::Partial(need)
    }
}

enum Number {
    Read(u64, usize),
    Negative(usize),
    Partial,
    Bad,
}

/// Reads `digits CR LF` as strictly as Redis's `string2ll`, so that both find the same end.
#[inline]
fn number(input: &[u8], at: usize) -> Number {
    let mut value: u64 = 0;
    let mut position = at;
    let negative = input.get(position) == Some(&b'-');
    if negative {
        position += 1;
    }
    let first = position;
    loop {
        match input.get(position) {
            None => return Number::Partial,
            Some(digit @ b'0'..=b'9') => {
                let leading_zero = position > first && input[first] == b'0';
                if leading_zero || position - first > 11 {
                    return Number::Bad;
                }
                value = value * 10 + u64::from(digit - b'0');
                position += 1;
            }
            Some(b'\r') if position > first => break,
            Some(_) => return Number::Bad,
        }
    }
    match input.get(position + 1) {
        None => Number::Partial,
        Some(b'\n') if negative && value > 0 => Number::Negative(position + 2),
        Some(b'\n') if !negative => Number::Read(value, position + 2),
        Some(_) => Number::Bad,
    }
}

fn parse_inline(input: &[u8], words: &mut Words) -> Parsed {
    let Some(line_feed) = input.iter().position(|&byte| byte == b'\n') else {
        return partial_or_irregular(input, input.len() + 1);
    };
    if line_feed > WHOLE_BYTES_MAX {
        return Parsed::Irregular;
    }
    let line = input[..line_feed]
        .strip_suffix(b"\r")
        .unwrap_or(&input[..line_feed]);
    // Redis looks for the line's end with C's string functions, and so not behind a NUL; what is a blank among bytes
    // above 127 hangs on how it was built.
    let plain = line.iter().all(|byte| (1..128).contains(byte));
    let Some(split) = plain.then(|| split_line(line)).flatten() else {
        return Parsed::Irregular;
    };
    if split.is_empty() {
        return Parsed::Blank(line_feed + 1);
    }
    words.rewritten.clear();
    super::encode::header(&mut words.rewritten, b'*', split.len() as i64);
    for word in split {
        super::encode::header(&mut words.rewritten, b'$', word.len() as i64);
        let start = words.rewritten.len() as u32;
        words.rewritten.extend_from_slice(&word);
        words.ranges.push(start..words.rewritten.len() as u32);
        words.rewritten.extend_from_slice(b"\r\n");
    }
    Parsed::Inline(line_feed + 1)
}

/// Splits an inline line at blanks, with quotes and escapes; `None` where quotes do not close.
///
/// Source: redis `src/sds.c`, `sdssplitargs`.
fn split_line(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = line;
    let mut words = Vec::new();
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Some(words);
        }
        let (word, tail) = split_word(rest)?;
        words.push(word);
        rest = tail;
    }
}

fn split_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Some((word, rest)),
            [byte, ..] if is_space(*byte) => return Some((word, rest)),
            [b'"', tail @ ..] => {
                rest = double_quoted(tail, &mut word)?;
                return ends_at_space(rest).then_some((word, rest));
            }
            [b'\'', tail @ ..] => {
                rest = single_quoted(tail, &mut word)?;
                return ends_at_space(rest).then_some((word, rest));
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\'', tail @ ..] => return Some(tail),
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn ends_at_space(rest: &[u8]) -> bool {
    rest.first().is_none_or(|&byte| is_space(byte))
}

/// C's `isspace` in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0B | 0x0C | b'\r')
}

fn hex(digit: u8) -> u8 {
    (digit as char).to_digit(16).unwrap_or(0) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encode::request_bytes;
    use super::*;

    fn words_of(input: &[u8]) -> (Parsed, Vec<Vec<u8>>) {
        let mut words = Words::default();
        let parsed = parse(input, &mut words);
        let source = match parsed {
            Parsed::Inline(_) => words.rewritten().to_vec(),
            _ => input.to_vec(),
        };
        let found = (0..words.len())
            .map(|index| words.get(&source, index).unwrap().to_vec())
            .collect();
        (parsed, found)
    }

    proptest! {
        #[test]
        fn every_prefix_of_a_request_is_partial(
            sent in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 1..8)
        ) {
            let bytes = request_bytes(&sent);
            for cut in 1..bytes.len() {
                match words_of(&bytes[..cut]).0 {
                    Parsed::Partial(need) => prop_assert!(need > cut && need <= bytes.len()),
                    other => prop_assert!(false, "{:?} at {}", other, cut),
                }
            }
            let (parsed, found) = words_of(&bytes);
            prop_assert_eq!(parsed, Parsed::Whole(bytes.len()));
            prop_assert_eq!(found, sent);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
            let _ = words_of(&bytes);
        }

        #[test]
        fn garbage_arrays_never_panic(bytes in "[*$0-9a\r\n-]{0,60}") {
            let mut input = b"*".to_vec();
            input.extend_from_slice(bytes.as_bytes());
            let _ = words_of(&input);
        }
    }

    #[test]
    fn inline_words_follow_sdssplitargs() {
        for (line, expected) in [
            (&b"PING\r\n"[..], vec![&b"PING"[..]]),
            (b"  set  a\tb \n", vec![b"set", b"a", b"b"]),
            (
                b"echo \"a\\x41\\n\\\"\" ''\n",
                vec![b"echo", b"aA\n\"", b""],
            ),
            (b"echo 'it\\'s'\n", vec![b"echo", b"it's"]),
            (b"echo a\"b c\"\n", vec![b"echo", b"ab c"]),
        ] {
            let (parsed, found) = words_of(line);
            assert_eq!(parsed, Parsed::Inline(line.len()), "{line:?}");
            assert_eq!(found, expected, "{line:?}");
        }
    }

    #[test]
    fn what_redis_passes_over_is_blank() {
        for (input, length) in [
            (&b"\r\n"[..], 2),
            (b"*0\r\n", 4),
            (b"*-1\r\nPING", 5),
            (b"  \n", 3),
        ] {
            assert_eq!(words_of(input).0, Parsed::Blank(length), "{input:?}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_server() {
        for input in [
            &b"*x\r\n"[..],
            b"*1\r\n+a\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$01\r\na\r\n",
            b"*3000000000\r\n",
            b"*1\r\n$536870913\r\n",
            b"*1\rX",
            b"echo \"unbalanced\n",
            b"echo a\0b\n",
            b"echo \xff\n",
            b"*1\r\n$4\r\nPINGxx",
            b"echo \"a\"b\n",
        ] {
            assert_eq!(words_of(input).0, Parsed::Irregular, "{input:?}");
        }
        assert_eq!(words_of(&[b'a'; WHOLE_BYTES_MAX + 1]).0, Parsed::Irregular);
    }

    #[test]
    fn a_long_request_is_large_as_soon_as_its_length_is_known() {
        let (parsed, found) = words_of(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$70000\r\nabc");
        assert_eq!(parsed, Parsed::Large(3));
        assert_eq!(found, [&b"SET"[..], b"k"]);
        assert_eq!(
            words_of(b"*20000\r\n$4\r\nMGET\r\n").0,
            Parsed::Large(20000)
        );
    }
}
