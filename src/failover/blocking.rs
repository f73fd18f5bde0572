//! Commands that wait in the server for another client, asked again on another link for the rest of their time.
//!
//! Those that take something off (BLPOP, XREADGROUP …) are asked again although they may have run: an element whose reply was
//! lost is lost either way, and an error would not bring it back, but would end a wait that nothing has ended. What a lost
//! reply of XREADGROUP had is with its consumer as pending, for XAUTOCLAIM, like after any lost connection. Those that
//! move something (BLMOVE, BRPOPLPUSH) are not: the client would be told of the second element only, and one more would be
//! moved than it knows of. Nor is WAIT: it counts replicas that have what its own link wrote, and that link is gone.
//!
//! `XREAD BLOCK … $` means what is last when it is asked: what came between the two askings is not told, as it would not be
//! to a client that asks again by itself.
//!
//! Source: redis `src/blocked.c`, `src/timeout.c`, `getTimeoutFromObjectOrReply`; `src/t_stream.c`, `xreadCommand`.

use std::time::Duration;

use crate::resp::encode;

/// The least time-out in seconds: servers before 7.0.8 (and 6.2) take 0.001 for 0, which is for ever (redis#11687).
const SECONDS_MIN: f64 = 0.002;

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
/// as with a time-out of 0, which is for ever. What is left is a millisecond or two at least, since 0 would be for ever.
pub fn with_time_left(words: &[&[u8]], waited: Duration) -> Option<Vec<u8>> {
    let name = words.first()?;
    let (index, seconds) = match place(name)? {
        Place::Last => (words.len().checked_sub(1)?, true),
        Place::First => (1, true),
        Place::Block => (block(words)?, false),
    };
    let text = std::str::from_utf8(words.get(index)?).ok()?;
    let left = match seconds {
        true => {
            let time: f64 = text.parse().ok()?;
            if !time.is_finite() || time <= 0.0 {
                return None;
            }
            format!("{:.3}", (time - waited.as_secs_f64()).max(SECONDS_MIN))
        }
        false => {
            let time: u64 = text.parse().ok().filter(|time| *time > 0)?;
            let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            time.saturating_sub(waited).max(1).to_string()
        }
    };
    let mut shortened = words.to_vec();
    shortened[index] = left.as_bytes();
    Some(encode::request_bytes(&shortened))
}

/// Finds the time-out of XREAD and XREADGROUP among their options: the last one holds. `None` also where the server will
/// refuse the request.
fn block(words: &[&[u8]]) -> Option<usize> {
    let mut found = None;
    let mut at = 1;
    while let Some(word) = words.get(at) {
        let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
        if is("streams") {
            return found;
        }
        if is("block") {
            found = Some(at + 1);
        }
        at += match () {
            () if is("block") || is("count") || is("claim") => 2,
            () if is("group") => 3,
            () if is("noack") => 1,
            () => return None,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            ("BZPOPMIN a 1", "BZPOPMIN a 0.002"),
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
            // Names that look like options, an option twice.
            (
                "xreadgroup group block 7 noack block 5000 streams a >",
                "xreadgroup group block 7 noack block 3500 streams a >",
            ),
            (
                "XREADGROUP GROUP streams c COUNT 1 BLOCK 5000 STREAMS a >",
                "XREADGROUP GROUP streams c COUNT 1 BLOCK 3500 STREAMS a >",
            ),
            (
                "XREAD BLOCK 9 BLOCK 5000 STREAMS a $",
                "XREAD BLOCK 9 BLOCK 3500 STREAMS a $",
            ),
            (
                "XREAD BLOCK 5000 STREAMS block 0",
                "XREAD BLOCK 3500 STREAMS block 0",
            ),
            ("BLPOP 9 4", "BLPOP 9 2.500"),
            ("BLPOP a 1e1", "BLPOP a 8.500"),
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
            "BLPOP a -1",
            "BLPOP a inf",
            "BLPOP a nan",
            "BLMPOP 0 1 a LEFT",
            "BLMPOP",
            "XREAD BLOCK -1 STREAMS a $",
            "XREAD BLOCK 1.5 STREAMS a $",
            "XREAD BLOCK",
            "XREAD BLOCK 5000",
            "XREAD BLOCK 5000 NO STREAMS a $",
            "XREADGROUP GROUP block 5000 STREAMS a >",
            "BRPOPLPUSH a b 5",
            "WAIT 1 5000",
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

    proptest! {
        /// Less by what was waited, and never for ever.
        #[test]
        fn time_only_gets_less(time in 1u64..10_000_000, waited in 0u64..20_000_000, unit in 0usize..4) {
            let seconds = format!("{}.{:03}", time / 1000, time % 1000);
            let (line, index) = match unit {
                0 => (format!("BLPOP a {seconds}"), 2),
                1 => (format!("BZMPOP {seconds} 1 a MIN"), 1),
                2 => (format!("XREAD BLOCK {time} STREAMS a $"), 2),
                _ => (format!("XREADGROUP GROUP g c BLOCK {time} STREAMS a >"), 5),
            };
            let left = with_time_left(&words(&line), Duration::from_millis(waited)).unwrap();
            let least = if unit < 2 { 2 } else { 1 };
            let expected = time.saturating_sub(waited).max(least);
            let shown = match unit {
                0 | 1 => format!("{}.{:03}", expected / 1000, expected % 1000),
                _ => expected.to_string(),
            };
            let mut line = words(&line);
            line[index] = shown.as_bytes();
            prop_assert_eq!(left, encode::request_bytes(&line));
        }
    }
}
