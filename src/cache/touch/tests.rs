//! The table of forms, and properties against a modelled server with a clock of its own.

use proptest::prelude::*;

use super::time::{TIME_MAX, positive};
use super::*;
use crate::command::table::ServerCommand;

const NOW: Millis = 1_000_000;
const WALL: Millis = 1_700_000_000_000;
/// PTTL's answer, 100 ms ago: a TTL of 1,800 s has a window of 18 s, and the key 1,794.9 s to live.
const TOLD: Millis = 1_795_000;
const VALUE: &[u8] = b"$5\r\nhello\r\n";

fn rules() -> Rules {
    Rules {
        window: Window::default(),
        unchanged_set: true,
        abilities: Abilities {
            getex: true,
            expire_options: true,
        },
    }
}

fn clock() -> Clock {
    let wall = Wall { at: WALL, error: 5 };
    Clock {
        now: NOW,
        wall: Some(wall),
    }
}

fn live(value: Option<&Bytes>) -> Live<'_> {
    Live {
        deadline: Some(NOW - 100 + TOLD),
        sent_at: NOW - 100,
        answered_at: NOW - 99,
        value,
    }
}

fn words(text: &str) -> Vec<&[u8]> {
    text.split(' ').map(str::as_bytes).collect()
}

fn decide(rules: &Rules, words: &[&[u8]], live: &Live<'_>, clock: &Clock) -> Decision {
    let candidate = rules.read(words);
    candidate.map_or(Decision::Send, |candidate| {
        assert_eq!(candidate.key, words[1]);
        rules.decide(&candidate, live, clock)
    })
}

fn decide_text(rules: &Rules, text: &str) -> Decision {
    let value = Bytes::from_static(VALUE);
    decide(rules, &words(text), &live(Some(&value)), &clock())
}

fn answer(reply: &'static [u8]) -> Decision {
    Decision::Answer(Bytes::from_static(reply))
}

#[test]
fn small_moves_are_answered_in_the_server_s_words() {
    for (request, reply) in [
        ("EXPIRE k 1800", ONE),
        ("expire k 1800", ONE),
        ("EXPIRE k 1800 XX", ONE),
        ("Expire k 1800 gT", ONE),
        ("PEXPIRE k 1800000", ONE),
        ("PEXPIRE k 1800000 xx", ONE),
        ("EXPIREAT k 1700001800", ONE),
        ("EXPIREAT k 1700001800 GT", ONE),
        ("PEXPIREAT k 1700001799999", ONE),
        ("TOUCH k", ONE),
        ("GETEX k", VALUE),
        ("GETEX k EX 1800", VALUE),
        ("GETEX k px 1800000", VALUE),
        ("GETEX k EXAT 1700001800", VALUE),
        ("GETEX k PXAT 1700001800000", VALUE),
        ("SET k hello EX 1800", OK),
        ("set k hello px 1800000", OK),
        ("SET k hello EXAT 1700001800", OK),
        ("SET k hello PXAT 1700001800000", OK),
        ("SETEX k 1800 hello", OK),
        ("PSETEX k 1800000 hello", OK),
    ] {
        assert_eq!(decide_text(&rules(), request), answer(reply), "{request}");
    }
}

#[test]
fn what_is_no_plain_touch_is_sent() {
    for request in [
        // Other options, several of them, a wrong number of words.
        "EXPIRE k 1800 NX",
        "EXPIRE k 1800 LT",
        "EXPIRE k 1800 XX GT",
        "EXPIRE k 1800 GT GT",
        "EXPIRE k 1800 ",
        "EXPIRE k",
        "EXPIRE",
        "TOUCH",
        "TOUCH k k",
        "GETEX k PERSIST",
        "GETEX k EX",
        "GETEX k EX 1800 EX 1800",
        "GETEX k KEEPTTL",
        "SETEX k 1800",
        "SETEX k 1800 hello EX",
        "SET k hello",
        "SET k hello EX",
        "SET k hello EX 1800 NX",
        "SET k hello XX EX 1800",
        "SET k hello GET EX 1800",
        "SET k hello KEEPTTL",
        "SET k other EX 1800",
        "SET k hell EX 1800",
        "SET k  EX 1800",
        "SETNX k hello",
        "GET k",
        "PERSIST k",
        // Numbers that Redis refuses or that delete the key.
        "EXPIRE k +1800",
        "EXPIRE k 01800",
        "EXPIRE k 1800.0",
        "EXPIRE k 1e3",
        "EXPIRE k 0",
        "EXPIRE k -1",
        "EXPIRE k -1800",
        "EXPIRE k ",
        "EXPIRE k 9223372036854775807",
        "PEXPIRE k 9223372036854775807",
        "PEXPIREAT k 9223372036854775808",
        "EXPIRE k 1800\0",
        // Shorter, or longer by a window and more.
        "EXPIRE k 1794",
        "PEXPIRE k 1794898",
        "PEXPIRE k 1794900",
        "EXPIRE k 1814",
        "EXPIREAT k 1700001794",
        "PEXPIREAT k 1700001794900",
        "PEXPIREAT k 1700001813100",
        "GETEX k EX 1794",
        "GETEX k EX 3600",
        "SET k hello EX 1794",
        "SETEX k 3600 hello",
    ] {
        assert_eq!(decide_text(&rules(), request), Decision::Send, "{request}");
    }
}

#[test]
fn an_unknown_millisecond_is_decided_for_sending() {
    let told = TOLD as i64;
    // 99 to 100 ms have passed by our clock. At least 97 of them surely passed by the server's, one for the cut and one
    // for its speed; at most 102.
    for (request, is_answered) in [
        (format!("PEXPIRE k {}", told - 98), false),
        (format!("PEXPIRE k {}", told - 97), true),
        (format!("PEXPIRE k {} GT", told - 97), false),
        (format!("PEXPIRE k {} GT", told - 96), true),
        // 17,848 ms of gain and up to 102 of doubt, against a window of 1% of 1,813.
        (format!("PEXPIRE k {}", told + 18_027), true),
        (format!("PEXPIRE k {}", told + 18_028), false),
        // The same with five more of doubt for the wall clock.
        (format!("PEXPIREAT k {}", WALL as i64 + told - 93), false),
        (format!("PEXPIREAT k {}", WALL as i64 + told - 92), true),
        (format!("PEXPIREAT k {}", WALL as i64 + told + 18_022), true),
        (
            format!("PEXPIREAT k {}", WALL as i64 + told + 18_023),
            false,
        ),
    ] {
        let decision = decide_text(&rules(), &request);
        assert_eq!(decision != Decision::Send, is_answered, "{request}");
    }
    // The window, too, is that of the shortest TTL that may be meant.
    let half = Rules {
        window: Window::new(0.5, Millis::MAX),
        ..rules()
    };
    for (longer, is_answered) in [(1_794_779, true), (1_794_780, false)] {
        let request = format!("PEXPIREAT k {}", WALL as i64 + told + longer);
        let decision = decide_text(&half, &request);
        assert_eq!(decision != Decision::Send, is_answered, "{request}");
    }
    // A tight loop: nothing has passed by any clock, and the TTL asked for is the one that PTTL told.
    let mut live = live(None);
    (live.sent_at, live.answered_at) = (NOW, NOW);
    live.deadline = Some(NOW + 1_800_000);
    let decision = decide(&rules(), &words("EXPIRE k 1800"), &live, &clock());
    assert_eq!(decision, answer(ONE));
    let decision = decide(&rules(), &words("EXPIRE k 1800 GT"), &live, &clock());
    assert_eq!(
        decision,
        Decision::Send,
        "it may come in the same millisecond"
    );
}

#[test]
fn the_window_is_a_share_of_the_ttl_with_a_cap() {
    // (fraction, cap) and how much longer than PTTL's answer a TTL of 1,800 s may be.
    for (fraction, cap, longer, is_answered) in [
        (0.01, 30_000, 17_000, true),
        (0.01, 30_000, 19_000, false),
        (0.01, 5_000, 4_000, true),
        (0.01, 5_000, 6_000, false),
        (0.5, 30_000, 29_000, true),
        (0.5, 30_000, 31_000, false),
        (7.0, 10_000_000, 1_799_000, true),
        (0.0, 30_000, 0, false),
        (0.01, 0, 0, false),
        (-1.0, 30_000, 0, false),
        (f64::NAN, 0, 0, false),
    ] {
        let rules = Rules {
            window: Window::new(fraction, cap),
            ..rules()
        };
        let live = Live {
            deadline: Some(NOW + 1_800_000 - longer),
            sent_at: NOW,
            answered_at: NOW,
            value: None,
        };
        let decision = decide(&rules, &words("EXPIRE k 1800"), &live, &clock());
        let expected = if is_answered {
            answer(ONE)
        } else {
            Decision::Send
        };
        assert_eq!(decision, expected, "{fraction} {cap} {longer}");
    }
    let off = Rules {
        window: Window::new(0.0, 30_000),
        ..rules()
    };
    assert_eq!(decide_text(&off, "TOUCH k"), Decision::Send);
    assert_eq!(decide_text(&off, "GETEX k"), answer(VALUE), "a plain read");
}

#[test]
fn a_key_without_deadline_or_past_it_is_not_touched_here() {
    let value = Bytes::from_static(VALUE);
    let forever = Live {
        deadline: None,
        ..live(Some(&value))
    };
    let over = Live {
        deadline: Some(NOW),
        ..live(Some(&value))
    };
    for request in ["EXPIRE k 1800", "GETEX k EX 1800", "SET k hello EX 1800"] {
        for live in [&forever, &over] {
            let decision = decide(&rules(), &words(request), live, &clock());
            assert_eq!(decision, Decision::Send, "{request}");
        }
    }
    for (request, reply) in [("TOUCH k", ONE), ("GETEX k", VALUE)] {
        let request = words(request);
        assert_eq!(
            decide(&rules(), &request, &forever, &clock()),
            answer(reply)
        );
        assert_eq!(decide(&rules(), &request, &over, &clock()), Decision::Send);
    }
}

#[test]
fn getex_and_set_need_a_cached_string() {
    for reply in [
        &b"$-1\r\n"[..],
        b"_\r\n",
        b"-WRONGTYPE x\r\n",
        b"*1\r\n$1\r\na\r\n",
        b"$4\r\nhello\r\n",
        b"",
    ] {
        let reply = Bytes::from_static(reply);
        for request in ["GETEX k", "GETEX k EX 1800", "SET k hello EX 1800"] {
            for value in [Some(&reply), None] {
                let decision = decide(&rules(), &words(request), &live(value), &clock());
                assert_eq!(decision, Decision::Send, "{request} {reply:?}");
            }
        }
    }
    let empty = Bytes::from_static(b"$0\r\n\r\n");
    let decision = decide(
        &rules(),
        &words("SET k  EX 1800"),
        &live(Some(&empty)),
        &clock(),
    );
    assert_eq!(decision, answer(OK), "an empty value is a value");
}

#[test]
fn absolute_forms_need_the_wall_clock() {
    let value = Bytes::from_static(VALUE);
    let without = Clock {
        now: NOW,
        wall: None,
    };
    let vague = Clock {
        now: NOW,
        wall: Some(Wall {
            at: WALL,
            error: 60_000,
        }),
    };
    for request in [
        "EXPIREAT k 1700001800",
        "GETEX k EXAT 1700001800",
        "SET k hello EXAT 1700001800",
    ] {
        for clock in [&without, &vague] {
            let decision = decide(&rules(), &words(request), &live(Some(&value)), clock);
            assert_eq!(decision, Decision::Send, "{request}");
        }
    }
    let decision = decide(&rules(), &words("EXPIRE k 1800"), &live(None), &without);
    assert_eq!(decision, answer(ONE));
}

#[test]
fn unchanged_sets_are_answered_only_where_wanted() {
    let rules = Rules {
        unchanged_set: false,
        ..rules()
    };
    for request in ["SET k hello EX 1800", "SETEX k 1800 hello"] {
        assert_eq!(decide_text(&rules, request), Decision::Send, "{request}");
    }
    let value = Bytes::from_static(VALUE);
    let (set, expire) = (words("SET k hello"), words("EXPIRE k 1800"));
    let decision = rules.decide_pair(&set, &expire, &live(Some(&value)), &clock());
    assert_eq!(decision, Decision::Send);
}

#[test]
fn what_an_older_server_refuses_is_sent_to_it() {
    let mut server = ServerCommands::default();
    assert_eq!(Abilities::of(&server), Abilities::default());
    let expire = |arity| ServerCommand {
        arity,
        ..ServerCommand::default()
    };
    server.by_name.insert(b"expire".to_vec(), expire(3));
    let rules_6_0 = Rules {
        abilities: Abilities::of(&server),
        ..rules()
    };
    server.by_name.insert(b"getex".to_vec(), expire(-2));
    let rules_6_2 = Rules {
        abilities: Abilities::of(&server),
        ..rules()
    };
    server.by_name.insert(b"expire".to_vec(), expire(-3));
    assert_eq!(Abilities::of(&server), rules().abilities);

    for request in ["EXPIRE k 1800", "SET k hello EX 1800"] {
        assert_ne!(decide_text(&rules_6_0, request), Decision::Send);
        assert_ne!(decide_text(&rules_6_2, request), Decision::Send);
    }
    for request in ["GETEX k", "GETEX k EX 1800", "SET k hello EXAT 1700001800"] {
        assert_eq!(decide_text(&rules_6_0, request), Decision::Send);
        assert_ne!(decide_text(&rules_6_2, request), Decision::Send);
    }
    for request in ["EXPIRE k 1800 XX", "EXPIRE k 1800 GT"] {
        assert_eq!(decide_text(&rules_6_2, request), Decision::Send);
    }
}

#[test]
fn a_set_and_its_expire_are_one_touch() {
    let value = Bytes::from_static(VALUE);
    for (first, second, is_answered) in [
        ("SET k hello", "EXPIREAT k 1700001800", true),
        ("set k hello", "expire k 1800", true),
        ("SET k hello", "PEXPIRE k 1800000", true),
        ("SET k hello", "PEXPIREAT k 1700001800000", true),
        ("SET k hello", "EXPIREAT k 1700001794", false),
        ("SET k hello", "EXPIREAT k 1700003600", false),
        ("SET k hello", "EXPIRE k 1800 XX", false),
        ("SET k hello", "EXPIRE k 1800 GT", false),
        ("SET k other", "EXPIRE k 1800", false),
        ("SET k hello", "EXPIRE j 1800", false),
        ("SET k hello EX 1800", "EXPIRE k 1800", false),
        ("SET k hello", "GETEX k", false),
        ("SET k hello", "SETEX k 1800 hello", false),
        ("SET k hello", "TOUCH k", false),
        ("GET k", "EXPIRE k 1800", false),
        ("APPEND k hello", "EXPIRE k 1800", false),
        ("EXPIRE k 1800", "SET k hello", false),
    ] {
        let decision =
            rules().decide_pair(&words(first), &words(second), &live(Some(&value)), &clock());
        let expected = if is_answered {
            answer(PAIR)
        } else {
            Decision::Send
        };
        assert_eq!(decision, expected, "{first}, {second}");
    }
}

#[test]
fn the_server_s_clock_is_reckoned_from_time() {
    let wall = Wall::from_time(WALL, 1000, 1004, 3004);
    assert_eq!(wall.at, WALL + 2000);
    assert_eq!(wall.error, 4 + 2 + 3);
}

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
            (0..TIME_MAX * 2).prop_map(|number| number.to_string()),
        ],
        unit in prop_oneof![Just(1i64), Just(1000)],
    ) {
        let servers = string2ll(word.as_bytes())
            .filter(|number| *number > 0)
            .and_then(|number| number.checked_mul(unit));
        let expected = servers.filter(|number| *number <= TIME_MAX);
        prop_assert_eq!(positive(word.as_bytes(), unit), expected);
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
