//! Any touch at any time, against a server with a clock of its own.

use proptest::prelude::*;

use super::*;

/// `string2ll` as the server has it.
fn string2ll(word: &[u8]) -> Option<i64> {
    if word.is_empty() || word.len() >= 21 {
        return None;
    }
    if word == b"0" {
        return Some(0);
    }
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    if !matches!(digits.first(), Some(b'1'..=b'9')) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// A server with a clock of its own, and what happened on it, in microseconds of our boot clock.
#[derive(Clone, Debug)]
struct Story {
    /// The server's wall clock at our boot clock's zero.
    offset: u64,
    /// Millionths by which the server's clock is faster, or slower.
    speed: i64,
    /// PTTL: sent, run, answered; then the touch.
    times: [u64; 4],
    /// What PTTL said.
    told: u64,
    /// The wall clock's error that we know of, in milliseconds, and the share of it that is real, in thousandths.
    error: u64,
    error_share: i64,
    window: Window,
}

impl Story {
    /// The server's clock at an instant, in whole milliseconds.
    fn server(&self, instant: u64) -> i64 {
        (self.server_exact(instant)).div_euclid(1000)
    }

    fn server_exact(&self, instant: u64) -> i64 {
        let skipped = instant as i64 * self.speed / 1_000_000;
        (self.offset + instant) as i64 + skipped
    }

    /// The deadline that the server has.
    fn deadline(&self) -> i64 {
        self.server(self.times[1]) + self.told as i64
    }

    fn live(&self) -> Live<'static> {
        Live {
            deadline: Some(self.times[0] / 1000 + self.told),
            sent_at: self.times[0] / 1000,
            answered_at: self.times[2] / 1000,
            value: None,
        }
    }

    fn clock(&self) -> Clock {
        let off = self.error as i64 * self.error_share / 1000;
        // The error covers the cut, too.
        let at = self.server_exact(self.times[3]).div_euclid(1000) + off;
        let error = self.error + 1;
        Clock {
            now: self.times[3] / 1000,
            wall: Some(Wall {
                at: at as u64,
                error,
            }),
        }
    }
}

fn stories() -> impl Strategy<Value = Story> {
    (
        (1_600_000_000_000_000..1_800_000_000_000_000u64),
        -500..=500i64,
        (
            0..10_000_000_000u64,
            prop_oneof![0..3_000u64, 0..2_000_000u64],
            prop_oneof![0..3_000u64, 0..2_000_000u64],
            prop_oneof![0..3_000u64, 0..20_000_000u64],
        ),
        prop_oneof![1..5_000u64, 1..4_000_000u64],
        0..50u64,
        -1000..=1000i64,
        (0.0..0.3f64, prop_oneof![1..50u64, 1..60_000u64]),
    )
        .prop_map(|(offset, speed, steps, told, error, error_share, window)| {
            let (start, to_run, to_answer, to_touch) = steps;
            let run = start + to_run;
            let answered = run + to_answer;
            Story {
                offset,
                speed,
                times: [start, run, answered, answered + to_touch],
                told,
                error,
                error_share,
                window: Window::new(window.0, window.1),
            }
        })
}

/// How far the asked deadline lies from the one there is, or from a window past it: near what decides, or anywhere.
fn distances() -> impl Strategy<Value = i64> {
    prop_oneof![-5..6i64, -100..200i64, -5_000..40_000i64]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn an_answered_touch_never_shortens_and_never_lags_a_window(
        story in stories(),
        distance in distances(),
        is_far in any::<bool>(),
        is_absolute in any::<bool>(),
        is_later in any::<bool>(),
        latency in prop_oneof![Just(0u64), 0..5_000_000u64],
    ) {
        let touched = story.times[3];
        let left = story.deadline() - story.server(touched);
        let mut distance = distance;
        if is_far {
            let mut window = 0;
            // The window is a share of the whole TTL that is asked for, itself included.
            for _ in 0..20 {
                window = story.window.of(i128::from(left) + window);
            }
            distance += window as i64;
        }
        let asked = story.deadline() + distance;
        let (name, number) = if is_absolute {
            ("PEXPIREAT", asked)
        } else {
            ("PEXPIRE", asked - story.server(touched))
        };
        let number = number.to_string();
        let mut request = vec![name.as_bytes(), b"k", number.as_bytes()];
        request.extend(is_later.then_some(&b"GT"[..]));
        let rules = Rules { window: story.window, ..rules() };
        if decide(&rules, &request, &story.live(), &story.clock()) != Decision::Send {
            // Had it been sent, it would have come a while later.
            let later = if is_absolute {
                asked
            } else {
                asked - story.server(touched) + story.server(touched + latency)
            };
            prop_assert!(later >= story.deadline(), "it would have shortened");
            prop_assert!(!is_later || later > story.deadline(), "GT would have said no");
            let ttl = (asked - story.server(touched)) as i128;
            prop_assert!(i128::from(distance) < story.window.of(ttl), "it lags too far");
        }
    }

    #[test]
    fn a_clear_case_is_answered(
        story in stories(),
        is_absolute in any::<bool>(),
        share in 0.0..1.0f64,
    ) {
        // Neither the doubt of a slow PTTL nor that of the wall clock may swallow the window.
        let [sent, _, answered, touched] = story.times;
        let doubt = (answered - sent) / 1000 + 2 * (touched - sent) / 1_000_000 + 2 * story.error + 10;
        let deadline = story.deadline();
        let ttl = deadline - story.server(touched);
        let window = story.window.of(i128::from(ttl - story.error as i64 - 1)) as i64;
        let room = window - 2 * doubt as i64;
        if room <= 0 || ttl <= doubt as i64 {
            return Ok(()); // about three of four stories; the others are enough
        }
        let distance = doubt as i64 + (room as f64 * share) as i64;
        let (name, number) = if is_absolute {
            ("PEXPIREAT", deadline + distance)
        } else {
            ("PEXPIRE", ttl + distance)
        };
        let number = number.to_string();
        let request = [name.as_bytes(), b"k", number.as_bytes()];
        let rules = Rules { window: story.window, ..rules() };
        prop_assert_eq!(decide(&rules, &request, &story.live(), &story.clock()), answer(ONE));
    }

    #[test]
    fn numbers_are_read_as_the_server_reads_them(
        word in prop_oneof![
            "[-+ 0]{0,2}[0-9]{0,22}[ .a\0]{0,1}",
            any::<i64>().prop_map(|number| number.to_string()),
            (0..=i64::MAX).prop_map(|number| number.to_string()),
        ],
        unit in prop_oneof![Just(1i64), Just(1000)],
        max in prop_oneof![Just(TTL_MAX), Just(i64::MAX)],
    ) {
        let servers = string2ll(word.as_bytes())
            .filter(|number| *number > 0)
            .and_then(|number| number.checked_mul(unit));
        let expected = servers.filter(|number| *number <= max);
        prop_assert_eq!(positive(word.as_bytes(), unit, max), expected);
    }

    #[test]
    fn any_words_are_read_without_panic(
        words in proptest::collection::vec(
            prop_oneof!["(?i)(set|setex|getex|touch|expire|pexpireat|gt|ex|exat)", "[0-9]{1,19}", ".{0,4}"],
            0..7,
        )
    ) {
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let value = Bytes::from_static(VALUE);
        let _ = decide_pair_and_each(&words, &live(Some(&value)));
    }
}

fn decide_pair_and_each(words: &[&[u8]], live: &Live<'_>) -> (Decision, Decision) {
    let half = words.len() / 2;
    let pair = rules().decide_pair(&words[..half], &words[half..], live, &clock());
    (decide(&rules(), words, live, &clock()), pair)
}
