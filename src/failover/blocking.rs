//! Commands that wait in the server for another client, asked again on another link for the rest of their time.
//!
//! Those that take something off (BLPOP, XREADGROUP …) are asked again although they may have run: an element whose reply was
//! lost is lost either way, and an error would not bring it back, but would end a wait that nothing has ended. Those that
//! move something (BLMOVE, BRPOPLPUSH) are not: the client would be told of the second element only, and one more would be
//! moved than it knows of.
//!
//! Source: redis `src/blocked.c`, `src/timeout.c`, `getTimeoutFromObjectOrReply`.

use std::time::Duration;

use crate::resp::encode;

/// Where a command's time-out stands, and in which unit.
enum Place {
    /// The last word, in seconds.
    Last,
    /// The first word behind the name, in seconds.
    First,
    /// Behind the word BLOCK, in milliseconds.
    Block,
}

fn place(name: &[u8]) -> Option<Place> {
    let is = |other: &&[u8]| name.eq_ignore_ascii_case(other);
    const LAST: [&[u8]; 4] = [b"blpop", b"brpop", b"bzpopmin", b"bzpopmax"];
    const FIRST: [&[u8]; 2] = [b"blmpop", b"bzmpop"];
    const BLOCK: [&[u8]; 2] = [b"xread", b"xreadgroup"];
    if LAST.iter().any(is) {
        Some(Place::Last)
    } else if FIRST.iter().any(is) {
        Some(Place::First)
    } else if BLOCK.iter().any(is) {
        Some(Place::Block)
    } else {
        None
    }
}

/// Tells whether a command may be asked again although its reply was lost.
pub fn may_be_asked_again(name: &[u8]) -> bool {
    place(name).is_some()
}

/// Writes a request with its time-out shortened by what was waited already; `None` where there is nothing to be shortened,
/// as with a time-out of 0, which is for ever. What is left is a millisecond at least, since 0 would be for ever.
pub fn with_time_left(words: &[&[u8]], waited: Duration) -> Option<Vec<u8>> {
    let (&name, arguments) = words.split_first()?;
    let (index, seconds) = match place(name)? {
        Place::Last => (words.len().checked_sub(1)?, true),
        Place::First => (1, true),
        Place::Block => {
            let block = arguments
                .iter()
                .take_while(|word| !word.eq_ignore_ascii_case(b"streams"))
                .position(|word| word.eq_ignore_ascii_case(b"block"))?;
            (block + 2, false)
        }
    };
    let text = std::str::from_utf8(words.get(index)?).ok()?;
    let left = match seconds {
        true => {
            let time: f64 = text.parse().ok().filter(|time| *time > 0.0)?;
            format!("{:.3}", (time - waited.as_secs_f64()).max(0.001))
        }
        false => {
            let time: u64 = text.parse().ok().filter(|time| *time > 0)?;
            let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            time.saturating_sub(waited).max(1).to_string()
        }
    };
    let mut shortened = words.to_vec();
    shortened[index] = left.as_bytes();
    let mut out = Vec::new();
    encode::request(&mut out, &shortened);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request_bytes;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn what_was_waited_is_taken_off_in_each_commands_own_place_and_unit() {
        for (line, expected) in [
            ("BLPOP a b 5", "BLPOP a b 3.500"),
            ("brpop a 2.5", "brpop a 1.000"),
            ("BZPOPMIN a 1", "BZPOPMIN a 0.001"),
            ("BLMPOP 5 1 a LEFT", "BLMPOP 3.500 1 a LEFT"),
            ("BZMPOP 2 1 a MIN", "BZMPOP 0.500 1 a MIN"),
            (
                "XREAD COUNT 1 BLOCK 5000 STREAMS a $",
                "XREAD COUNT 1 BLOCK 3500 STREAMS a $",
            ),
            (
                "XREADGROUP GROUP g c BLOCK 1000 STREAMS a >",
                "XREADGROUP GROUP g c BLOCK 1 STREAMS a >",
            ),
        ] {
            let expected: Vec<&str> = expected.split(' ').collect();
            assert_eq!(
                with_time_left(&words(line), Duration::from_millis(1_500)),
                Some(request_bytes(&expected)),
                "{line}"
            );
        }
    }

    #[test]
    fn for_ever_stays_for_ever_and_other_commands_stay_as_they_are() {
        for line in [
            "BLPOP a 0",
            "XREAD BLOCK 0 STREAMS a $",
            "XREAD STREAMS block $",
            "BLMOVE a b LEFT LEFT 5",
            "BLPOP a x",
            "GET a",
            "BLPOP",
        ] {
            assert_eq!(
                with_time_left(&words(line), Duration::from_secs(1)),
                None,
                "{line}"
            );
        }
    }

    #[test]
    fn what_moves_is_not_asked_again() {
        for name in [
            "BLPOP",
            "brpop",
            "BZPOPMAX",
            "BLMPOP",
            "XREAD",
            "XREADGROUP",
        ] {
            assert!(may_be_asked_again(name.as_bytes()), "{name}");
        }
        for name in ["BLMOVE", "BRPOPLPUSH", "WAIT", "WAITAOF", "GET"] {
            assert!(!may_be_asked_again(name.as_bytes()), "{name}");
        }
    }
}
