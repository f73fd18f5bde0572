//! The table of forms, and properties against a modelled server with a clock of its own.

mod held;
mod stories;

use super::*;
use crate::command::table::{ServerCommand, ServerCommands};
use crate::command::time::{TTL_MAX, positive};

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
        value: value.map(|value| &value[..]),
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
