//! Where a frame ends: an incremental scanner over replies, RESP2 and RESP3.
//!
//! The scanner keeps two numbers, whatever the size and nesting of a reply: how many elements are still to come until
//! the frame is whole, and how many bytes of a bulk body are still to be passed over. So it never needs the whole frame
//! in memory, and a deeply nested reply costs it no stack.

/// The longest header or simple line that is waited for, in bytes. Redis writes error lines of a few hundred bytes;
/// module and script errors may be longer, but not unbounded.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Elements that one frame may still announce at once; past it the sender is not speaking RESP.
const ELEMENTS_MAX: u64 = 1 << 48;

/// The bytes are not RESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A type byte that RESP does not have.
    #[error("unknown type byte {0:#04x}")]
    UnknownType(u8),
    /// A length or count that is not a number, or out of range.
    #[error("a length is not a number or out of range")]
    BadLength,
    /// A line without an end.
    #[error("a line is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
}

/// How far a call to [`Scanner::run`] came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Frames that ended within the input.
    pub frames: u32,
    /// Bytes passed over; what follows is an unfinished line, or belongs to the next frame.
    pub consumed: usize,
    /// An error was among them, as a frame or in one.
    pub errors: bool,
    /// Something was among them that RESP2 writes otherwise: a null or a map.
    pub resp3: bool,
}

/// One header line as the scanner passed over it.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The type byte.
    pub kind: u8,
    /// Where the line starts in the input.
    pub start: usize,
    /// One past its line feed.
    pub end: usize,
    /// The count or length of types that have one, otherwise 0; -1 for the nulls of RESP2.
    pub length: i64,
}

/// Finds the ends of frames in a stream of bytes that arrives in pieces.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    /// Elements to come until the frame is whole; 0 = between two frames.
    elements: u64,
    /// Bytes of a bulk body, with its line end, still to be passed over.
    body: u64,
}

impl Scanner {
    /// Tells whether the next byte begins a frame.
    pub fn at_boundary(&self) -> bool {
        self.elements == 0 && self.body == 0
    }

    /// Passes over at most `frames_max` frames.
    ///
    /// Stops before a push (`>`) that stands between two frames, unless `frames_max` frames are wanted of exactly that:
    /// whoever asks looks at the byte at the boundary first.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes are not RESP; the scanner is then of no further use.
    pub fn run(&mut self, input: &[u8], frames_max: u32) -> Result<Run, FrameError> {
        self.visit(input, frames_max, |_| {})
    }

    /// Like [`Scanner::run`], but what has come of a last, unfinished frame is passed over only once it is more than
    /// `held_max` bytes, or was begun to be: so that nobody is given half a frame, unless it is a large one.
    ///
    /// # Errors
    /// As [`Scanner::run`].
    #[inline]
    pub fn run_whole(
        &mut self,
        input: &[u8],
        frames_max: u32,
        held_max: usize,
    ) -> Result<Run, FrameError> {
        let before = self.clone();
        let run = self.run(input, frames_max)?;
        match self.at_boundary() {
            true => Ok(run),
            false => self.step_back(before, input, run, held_max),
        }
    }

    #[cold]
    fn step_back(
        &mut self,
        before: Self,
        input: &[u8],
        run: Run,
        held_max: usize,
    ) -> Result<Run, FrameError> {
        if run.frames == 0 && !before.at_boundary() {
            return Ok(run);
        }
        let mut again = before;
        let whole = again.run(input, run.frames)?;
        if input.len() - whole.consumed > held_max {
            return Ok(run);
        }
        *self = again;
        Ok(whole)
    }

    /// Like [`Scanner::run`], and copies what it passes over to `out` as RESP2: `_` becomes `$-1`, `%n` becomes `*2n`.
    ///
    /// These two suffice for the commands of the tracked link, as a test shows against real servers.
    ///
    /// # Errors
    /// As [`Scanner::run`].
    pub fn run_as_resp2(
        &mut self,
        input: &[u8],
        frames_max: u32,
        out: &mut Vec<u8>,
    ) -> Result<Run, FrameError> {
        let mut copied = 0;
        let run = self.visit(input, frames_max, |header| {
            let count = match header.kind {
                b'_' => None,
                b'%' => Some(header.length * 2),
                _ => return,
            };
            out.extend_from_slice(&input[copied..header.start]);
            match count {
                None => out.extend_from_slice(b"$-1\r\n"),
                Some(count) => super::encode::header(out, b'*', count),
            }
            copied = header.end;
        })?;
        out.extend_from_slice(&input[copied..run.consumed]);
        Ok(run)
    }

    /// Passes over frames and shows each header line to `see`.
    ///
    /// # Errors
    /// As [`Scanner::run`].
    #[inline]
    pub fn visit(
        &mut self,
        input: &[u8],
        frames_max: u32,
        mut see: impl FnMut(Header),
    ) -> Result<Run, FrameError> {
        let mut at = 0;
        let mut frames = 0;
        let (mut errors, mut resp3) = (false, false);
        while frames < frames_max {
            if self.body > 0 {
                let step = self.body.min((input.len() - at) as u64);
                self.body -= step;
                at += step as usize;
                if self.body > 0 {
                    break;
                }
            } else {
                if self.elements == 0 {
                    if frames > 0 && input.get(at) == Some(&b'>') {
                        break;
                    }
                    // Set only once the header is whole, so that a bare boundary stays a boundary.
                    let Some(header) = read_header(input, at)? else {
                        break;
                    };
                    self.elements = 1;
                    at = header.end;
                    errors |= header.kind == b'-';
                    resp3 |= matches!(header.kind, b'_' | b'%');
                    self.enter(header, &mut see)?;
                } else {
                    let Some(header) = read_header(input, at)? else {
                        break;
                    };
                    at = header.end;
                    errors |= header.kind == b'-';
                    resp3 |= matches!(header.kind, b'_' | b'%');
                    self.enter(header, &mut see)?;
                }
                if self.body > 0 {
                    continue;
                }
            }
            if self.elements == 0 {
                frames += 1;
            }
        }
        Ok(Run {
            frames,
            consumed: at,
            errors,
            resp3,
        })
    }

    #[inline]
    fn enter(&mut self, header: Header, see: &mut impl FnMut(Header)) -> Result<(), FrameError> {
        let children = match header.kind {
            b'$' | b'=' | b'!' => {
                if header.length >= 0 {
                    self.body = header.length as u64 + 2;
                }
                0
            }
            b'*' | b'~' | b'>' => header.length.max(0) as u64,
            b'%' => header.length.max(0) as u64 * 2,
            // An attribute precedes the element that it describes, which is still to come.
            b'|' => header.length.max(0) as u64 * 2 + 1,
            _ => 0,
        };
        self.elements = self.elements - 1 + children;
        if self.elements > ELEMENTS_MAX {
            return Err(FrameError::BadLength);
        }
        see(header);
        Ok(())
    }
}

/// Reads the header line at `at`; `None` when it has not arrived whole.
#[inline]
fn read_header(input: &[u8], at: usize) -> Result<Option<Header>, FrameError> {
    let Some(&kind) = input.get(at) else {
        return Ok(None);
    };
    let (length, end) = match kind {
        b'$' | b'*' | b'%' | b'>' | b'~' | b'=' | b'!' | b'|' => {
            match read_length(input, at + 1)? {
                Some(read) => read,
                None => return Ok(None),
            }
        }
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => match line_end(input, at + 1)? {
            Some(end) => (0, end),
            None => return Ok(None),
        },
        other => return Err(FrameError::UnknownType(other)),
    };
    Ok(Some(Header {
        kind,
        start: at,
        end,
        length,
    }))
}

/// Reads `digits CR LF`; the number and one past the line feed.
#[inline]
fn read_length(input: &[u8], at: usize) -> Result<Option<(i64, usize)>, FrameError> {
    let mut value: i64 = 0;
    let mut position = at;
    let negative = input.get(position) == Some(&b'-');
    if negative {
        position += 1;
    }
    loop {
        match input.get(position) {
            None => return Ok(None),
            Some(digit @ b'0'..=b'9') => {
                if position - at > 14 {
                    return Err(FrameError::BadLength);
                }
                value = value * 10 + i64::from(digit - b'0');
                position += 1;
            }
            Some(b'\r') if position > at => break,
            Some(_) => return Err(FrameError::BadLength),
        }
    }
    match input.get(position + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some((if negative { -1 } else { value }, position + 2))),
        Some(_) => Err(FrameError::BadLength),
    }
}

/// Finds one past the line feed of a simple line.
#[inline]
fn line_end(input: &[u8], at: usize) -> Result<Option<usize>, FrameError> {
    match input[at..].iter().position(|&byte| byte == b'\n') {
        Some(offset) => Ok(Some(at + offset + 1)),
        None if input.len() - at > LINE_BYTES_MAX => Err(FrameError::LineTooLong),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame of any type and nesting, with the number of its bytes.
    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            "[a-z ]{0,20}".prop_map(|s| format!("+{s}\r\n").into_bytes()),
            "ERR [a-z ]{0,20}".prop_map(|s| format!("-{s}\r\n").into_bytes()),
            any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|body| {
                let mut frame = format!("${}\r\n", body.len()).into_bytes();
                frame.extend_from_slice(&body);
                frame.extend_from_slice(b"\r\n");
                frame
            }),
            Just(b"$-1\r\n".to_vec()),
            Just(b"*-1\r\n".to_vec()),
            Just(b"_\r\n".to_vec()),
            Just(b"#t\r\n".to_vec()),
            Just(b",3.14\r\n".to_vec()),
            Just(b"(12345678901234567890\r\n".to_vec()),
            Just(b"=15\r\ntxt:Some string\r\n".to_vec()),
            Just(b"!9\r\nERR oh no\r\n".to_vec()),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            (
                prop_oneof![Just(b'*'), Just(b'~'), Just(b'%'), Just(b'|')],
                proptest::collection::vec(inner, 0..6),
            )
                .prop_map(|(kind, mut children)| {
                    let count = match kind {
                        b'%' | b'|' => {
                            children.truncate(children.len() / 2 * 2);
                            children.len() / 2
                        }
                        _ => children.len(),
                    };
                    let mut frame = format!("{}{count}\r\n", kind as char).into_bytes();
                    frame.extend(children.concat());
                    if kind == b'|' {
                        frame.extend_from_slice(b"+described\r\n");
                    }
                    frame
                })
        })
    }

    /// Feeds `bytes` as a link does: what is not consumed stays in front of what comes next.
    fn feed(bytes: &[u8], cuts: &[usize]) -> (u32, Vec<u8>) {
        let mut scanner = Scanner::default();
        let (mut pending, mut frames, mut out) = (Vec::new(), 0, Vec::new());
        let mut previous = 0;
        for &cut in cuts.iter().chain([&bytes.len()]) {
            pending.extend_from_slice(&bytes[previous..cut]);
            previous = cut;
            let run = scanner.run(&pending, u32::MAX).unwrap();
            frames += run.frames;
            out.extend_from_slice(&pending[..run.consumed]);
            pending.drain(..run.consumed);
        }
        assert!(scanner.at_boundary());
        assert!(pending.is_empty());
        (frames, out)
    }

    proptest! {
        #[test]
        fn every_split_point_gives_the_same_frames(stream in proptest::collection::vec(frames(), 1..5)) {
            let bytes = stream.concat();
            for cut in 0..=bytes.len() {
                let (frames, out) = feed(&bytes, &[cut]);
                prop_assert_eq!(frames as usize, stream.len());
                prop_assert_eq!(&out, &bytes);
            }
            let every_byte: Vec<usize> = (0..bytes.len()).collect();
            prop_assert_eq!(feed(&bytes, &every_byte).0 as usize, stream.len());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Scanner::default().run(&bytes, u32::MAX);
        }
    }

    #[test]
    fn resp2_rewrite_reaches_nested_nulls_and_maps() {
        let mut out = Vec::new();
        let input = b"*3\r\n_\r\n%1\r\n+a\r\n_\r\n$3\r\n_%1\r\n";
        let run = Scanner::default().run_as_resp2(input, 1, &mut out).unwrap();
        assert_eq!((run.frames, run.consumed), (1, input.len()));
        assert_eq!(out, b"*3\r\n$-1\r\n*2\r\n+a\r\n$-1\r\n$3\r\n_%1\r\n");
    }

    #[test]
    fn an_unfinished_frame_is_held_back_unless_it_is_large_or_was_begun() {
        let input = b"+OK\r\n$10\r\n01234";
        let mut scanner = Scanner::default();
        let run = scanner.run_whole(input, 9, 100).unwrap();
        assert_eq!((run.frames, run.consumed), (1, 5));
        assert!(scanner.at_boundary());
        let run = scanner.run_whole(&input[5..], 9, 100).unwrap();
        assert_eq!((run.frames, run.consumed), (0, 0));
        let run = scanner.run_whole(&input[5..], 9, 9).unwrap();
        assert_eq!((run.frames, run.consumed), (0, 10));
        let run = scanner.run_whole(b"567", 9, 100).unwrap();
        assert_eq!((run.frames, run.consumed), (0, 3), "begun is begun");
        let run = scanner.run_whole(b"89\r\n*2\r\n", 9, 100).unwrap();
        assert_eq!((run.frames, run.consumed), (1, 4));
    }

    #[test]
    fn errors_are_seen_wherever_they_stand() {
        for (input, errors) in [
            (&b"+OK\r\n:1\r\n"[..], false),
            (b"$5\r\n-ERR \r\n", false),
            (b"-ERR x\r\n", true),
            (b"+OK\r\n*2\r\n:1\r\n-ERR x\r\n", true),
        ] {
            let run = Scanner::default().run(input, 9).unwrap();
            assert_eq!(run.errors, errors, "{input:?}");
        }
    }

    #[test]
    fn a_push_between_two_frames_stops_the_run() {
        let input = b"+OK\r\n>2\r\n$1\r\na\r\n*0\r\n+OK\r\n";
        let mut scanner = Scanner::default();
        assert_eq!(scanner.run(input, 9).unwrap().consumed, 5);
        assert_eq!(scanner.run(&input[5..], 1).unwrap().frames, 1);
    }

    #[test]
    fn lengths_that_are_no_numbers_are_refused() {
        for bad in [
            &b"$x\r\n"[..],
            b"*\r\n",
            b"$1x\r\n",
            b"$99999999999999999999\r\n",
            b"?\r\n",
        ] {
            assert!(Scanner::default().run(bad, 1).is_err(), "{bad:?}");
        }
    }
}
