//! Touches while nothing can be sent: the table of forms, and a property against a modelled server.

use proptest::prelude::*;

use super::*;

/// How long the key has to live: the longest hold and a margin.
const AT_LEAST: Millis = 20_000;

type Held = Option<(Bytes, Option<i64>)>;

fn decide_held(text: &str, live: &Live<'_>, clock: &Clock, at_least: Millis) -> Held {
    let candidate = rules().read(&words(text))?;
    rules().decide_held(&candidate, live, clock, at_least)
}

fn held(text: &str) -> Held {
    let value = Bytes::from_static(VALUE);
    decide_held(text, &live(Some(&value)), &clock(), AT_LEAST)
}

fn wall_after(milliseconds: i64) -> Option<i64> {
    Some(WALL as i64 + milliseconds)
}

#[test]
fn any_extension_is_answered_and_its_deadline_told() {
    for (request, reply, at) in [
        ("EXPIRE k 1800", ONE, wall_after(1_800_000)),
        // Far past any window.
        ("EXPIRE k 864000", ONE, wall_after(864_000_000)),
        ("expire k 1800 xx", ONE, wall_after(1_800_000)),
        ("EXPIRE k 1800 GT", ONE, wall_after(1_800_000)),
        ("PEXPIRE k 1800001", ONE, wall_after(1_800_001)),
        ("EXPIREAT k 1700003600", ONE, wall_after(3_600_000)),
        ("PEXPIREAT k 1700003600001 GT", ONE, wall_after(3_600_001)),
        ("GETEX k EX 1800", VALUE, wall_after(1_800_000)),
        ("GETEX k PX 1800001", VALUE, wall_after(1_800_001)),
        ("GETEX k EXAT 1700003600", VALUE, wall_after(3_600_000)),
        ("GETEX k PXAT 1700003600001", VALUE, wall_after(3_600_001)),
        ("SET k hello EX 1800", OK, wall_after(1_800_000)),
        ("SET k hello PX 1800001", OK, wall_after(1_800_001)),
        ("SET k hello EXAT 1700003600", OK, wall_after(3_600_000)),
        ("SETEX k 1800 hello", OK, wall_after(1_800_000)),
        ("PSETEX k 1800001 hello", OK, wall_after(1_800_001)),
        // Nothing to be applied.
        ("TOUCH k", ONE, None),
        ("GETEX k", VALUE, None),
    ] {
        let expected = Some((Bytes::from_static(reply), at));
        assert_eq!(held(request), expected, "{request}");
    }
}

#[test]
fn what_shortens_or_may_do_so_is_held() {
    for request in [
        "EXPIRE k 1794",
        "EXPIRE k 60 XX",
        "EXPIRE k 1794 GT",
        "PEXPIRE k 1794900",
        "EXPIREAT k 1700001794",
        "PEXPIREAT k 1700001794900 GT",
        "GETEX k EX 1794",
        "GETEX k PXAT 1700001794900",
        "SET k hello EX 1794",
        "SETEX k 1794 hello",
        // A deadline that is over or none.
        "EXPIRE k 0",
        "EXPIRE k -1",
        "EXPIREAT k 1",
        "PERSIST k",
        "GETEX k PERSIST",
        "SET k hello",
        "SET k hello KEEPTTL",
        // Other conditions and other bytes.
        "EXPIRE k 1800 NX",
        "EXPIRE k 1800 LT",
        "SET k other EX 1800",
        "SET k hello EX 1800 XX",
        "SET k hello EX 1800 NX",
        "SETEX k 1800 other",
        "TOUCH k j",
    ] {
        assert_eq!(held(request), None, "{request}");
    }
    let rules = Rules {
        unchanged_set: false,
        ..rules()
    };
    assert_eq!(rules.read(&words("SET k hello EX 1800")), None);
}

const FORMS: [&str; 6] = [
    "EXPIRE k 1800",
    "EXPIREAT k 1700003600",
    "GETEX k EX 1800",
    "SET k hello EX 1800",
    "TOUCH k",
    "GETEX k",
];

#[test]
fn the_key_has_to_outlive_the_hold() {
    let value = Bytes::from_static(VALUE);
    let live = |left: Option<Millis>| Live {
        deadline: left.map(|left| NOW + left),
        ..live(Some(&value))
    };
    for request in FORMS {
        for left in [None, Some(0), Some(1), Some(AT_LEAST)] {
            let held = decide_held(request, &live(left), &clock(), AT_LEAST);
            assert_eq!(held, None, "{request} {left:?}");
        }
        let held = decide_held(request, &live(Some(AT_LEAST + 1)), &clock(), AT_LEAST);
        assert!(held.is_some(), "{request}");
    }
}

#[test]
fn without_the_server_s_clock_no_deadline_is_known() {
    let value = Bytes::from_static(VALUE);
    let without = Clock {
        now: NOW,
        wall: None,
    };
    for request in FORMS {
        let held = decide_held(request, &live(Some(&value)), &without, AT_LEAST);
        assert_eq!(held.is_some(), ["TOUCH k", "GETEX k"].contains(&request));
    }
}

#[test]
fn a_value_that_is_not_known_is_neither_told_nor_compared() {
    for reply in [
        &b"$-1\r\n"[..],
        b"_\r\n",
        b"-WRONGTYPE x\r\n",
        b"$4\r\nhello\r\n",
    ] {
        let reply = Bytes::from_static(reply);
        for request in FORMS.iter().filter(|form| !form.contains("EXPIRE")) {
            for value in [Some(&reply), None] {
                let held = decide_held(request, &live(value), &clock(), AT_LEAST);
                assert_eq!(held.is_some(), *request == "TOUCH k", "{request}");
            }
        }
    }
}

/// How a request is written that asks for a deadline.
fn write(form: u8, ttl: i64, at: i64) -> String {
    match form {
        0 => format!("PEXPIRE k {ttl}"),
        1 => format!("PEXPIRE k {ttl} XX"),
        2 => format!("PEXPIRE k {ttl} GT"),
        3 => format!("PEXPIREAT k {at}"),
        4 => format!("PEXPIREAT k {at} GT"),
        5 => format!("GETEX k PX {ttl}"),
        6 => format!("GETEX k PXAT {at}"),
        7 => format!("SET k hello PX {ttl}"),
        _ => format!("PSETEX k {ttl} hello"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// A server with a clock of its own has the key for longer than was asked for, and would have answered the same; the
    /// deadline that is told is the one that it would have set, but for what is not known of its clock.
    #[test]
    fn what_is_answered_extends_at_the_server(
        form in 0u8..9,
        // Of the server's clock, when it ran PTTL; its clock in millionths of ours.
        started in 1_000_000_000_000i64..2_000_000_000_000,
        speed in 999_500i64..=1_000_500,
        left in 301i64..200_000,
        (out, back) in (0u64..20, 0u64..20),
        age in 0u64..100_000,
        wall_error in -50i64..50,
        error in 0u64..50,
        extra in -300i64..5_000,
        at_least in 0u64..60_000,
    ) {
        let (sent_at, answered_at) = (NOW, NOW + out + back);
        let now = answered_at + age;
        let since_pttl = (age + back) as i64;
        let server_now = started + since_pttl * speed / 1_000_000;
        let deadline = server_now + left;
        let told = deadline - started;
        let ttl = left + extra;
        let wall_error = wall_error.clamp(-(error as i64), error as i64);
        let clock = Clock {
            now,
            wall: Some(Wall { at: (server_now + wall_error) as u64, error }),
        };
        let value = Bytes::from_static(VALUE);
        let live = Live {
            deadline: Some(sent_at + told as u64),
            sent_at,
            answered_at,
            value: Some(&value),
        };
        let request = write(form, ttl, server_now + ttl);
        if let Some((reply, at)) = decide_held(&request, &live, &clock, at_least) {
            let drift = (since_pttl as u64).div_ceil(SPEED_DIFFERENCE) as i64 + 1;
            prop_assert!(left > at_least as i64 - drift, "it outlives the hold");
            prop_assert!(extra >= 0, "{}: it would shorten by {}", request, -extra);
            prop_assert!(!request.contains("GT") || extra > 0, "the server would say 0");
            let expected = match form {
                0..=4 => ONE,
                5 | 6 => VALUE,
                _ => OK,
            };
            prop_assert_eq!(&reply[..], expected);
            let apart = (at.unwrap() - (server_now + ttl)).unsigned_abs();
            let is_absolute = matches!(form, 3 | 4 | 6);
            let most = if is_absolute { 0 } else { error };
            prop_assert!(apart <= most, "{} is told {} ms away", request, apart);
        } else {
            // What plainly extends is answered: doubts are of a few milliseconds and of a thousandth.
            let doubt = 200 + error as i64 * 2 + (out + back) as i64 * 2;
            let left = live.deadline.unwrap() as i64 - now as i64;
            prop_assert!(extra < doubt || left <= at_least as i64, "{} was held", request);
        }
    }
}
