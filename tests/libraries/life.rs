//! A session's life, as it is driven against each app: what has to hold with any library.

use std::thread;
use std::time::Duration;

use crate::harness::{Random, Stopwatch, pause, seed, until};

use super::app::App;
use super::browser::{Browser, Held};
use super::failover::outlive_a_planned_failover;
use super::store::{Setup, Source, Store};

/// Lifetime of a session where its end is not waited for, in seconds.
pub(super) const LONG_TTL: u32 = 600;

/// Lifetime of a session whose end is waited for, in seconds: well above the pauses that a busy machine makes.
const SHORT_TTL: u32 = 4;

/// Touches before a short-lived session is left alone, and the pause before each: together more than `SHORT_TTL`.
const TOUCHES: u32 = 3;
const TOUCH_INTERVAL: Duration = Duration::from_millis(1500);

/// Users at once.
const USERS: usize = 20;

/// Requests of one session at once, where the library locks.
const COUNTERS: usize = 12;

/// Size of a large session.
const LARGE_BYTES: usize = 256 * 1024;

/// Drives one set-up through everything, and then, where there are Sentinels, through a planned failover.
pub(super) fn drive(setup: Setup) {
    let watch = Stopwatch::start();
    let store = Store::start(setup);
    let [one, other, short] = thread::scope(|scope| {
        [LONG_TTL, LONG_TTL, SHORT_TTL]
            .map(|ttl| {
                let store = &store;
                named(scope, setup.name(), move || store.app(ttl))
            })
            .map(|app| app.join().expect("the app starts"))
    });
    let started = watch.elapsed();
    let two = [one.port, other.port];
    thread::scope(|scope| {
        // Mostly waiting: the rest goes on meanwhile.
        named(scope, setup.name(), || expires(&store, &short, two));
        lives(two);
        changes_its_id(two);
        logs_out(two);
        carries_much(two);
        refuses_forged_ids(two);
        keeps_users_apart(two, &setup.name());
        if setup.library.locks() {
            counts_under_a_lock(two);
        }
    });
    store.check();
    if setup.source == Source::Sentinels {
        outlive_a_planned_failover(&store, two, &setup.name());
    }
    eprintln!(
        "{}: {:.1} s, start {:.1} s",
        setup.name(),
        watch.elapsed().as_secs_f32(),
        started.as_secs_f32()
    );
}

/// Log in, read, update, touch; what one process wrote the other reads.
pub(super) fn lives([one, other]: [u16; 2]) {
    let mut browser = Browser::default();
    assert_eq!(browser.read(one), nobody());
    assert_eq!(browser.post(one, "/login", "Zoë"), holds("Zoë", None));
    assert!(browser.has_cookie());
    for round in 0..5 {
        for (writer, reader) in [(one, other), (other, one)] {
            let value = format!("{round} von {writer} – ü");
            let expected = holds("Zoë", Some(&value));
            assert_eq!(browser.post(writer, "/update", &value), expected);
            assert_eq!(browser.read(reader), expected);
            assert_eq!(browser.post(reader, "/touch", ""), expected);
            assert_eq!(browser.read(writer), expected);
        }
    }
    // Another browser is nobody still.
    assert_eq!(Browser::default().read(other), nobody());
}

/// The new id has everything, the old one nothing, in either process.
pub(super) fn changes_its_id([one, other]: [u16; 2]) {
    let mut browser = Browser::default();
    browser.post(one, "/login", "ann");
    browser.post(other, "/update", "kept");
    let expected = holds("ann", Some("kept"));
    for (here, there) in [(one, other), (other, one)] {
        let mut old = browser.clone();
        assert_eq!(old.read(there), expected);
        assert_eq!(browser.post(here, "/change-id", ""), expected);
        assert_ne!(browser, old, "there is a new cookie");
        assert_eq!(old.clone().read(there), nobody());
        assert_eq!(old.read(here), nobody());
        assert_eq!(browser.read(there), expected);
        assert_eq!(browser.read(here), expected);
    }
    // A log-in changes the id too.
    let mut old = browser.clone();
    assert_eq!(
        browser.post(one, "/login", "eve").user.as_deref(),
        Some("eve")
    );
    assert_ne!(browser, old, "there is a new cookie");
    assert_eq!(old.read(other), nobody());
    assert_eq!(browser.read(other).user.as_deref(), Some("eve"));
}

/// A cookie that was logged out is nobody's in either process, however often it comes back.
pub(super) fn logs_out([one, other]: [u16; 2]) {
    for (here, there) in [(one, other), (other, one)] {
        let mut browser = Browser::default();
        browser.post(here, "/login", "bob");
        assert_eq!(browser.read(there), holds("bob", None));
        let old = browser.clone();
        assert_eq!(browser.post(there, "/logout", ""), nobody());
        assert_eq!(browser.read(here), nobody());
        for port in [here, there, here, there] {
            assert_eq!(old.clone().read(port), nobody());
        }
        // A late request with the old cookie does not revive it.
        assert_eq!(old.clone().post(here, "/touch", ""), nobody());
        assert_eq!(old.clone().read(there), nobody());
        // The same browser can log in again.
        assert_eq!(browser.post(here, "/login", "bob"), holds("bob", None));
        assert_eq!(browser.read(there), holds("bob", None));
    }
}

/// 256 KiB come back as they went, and stay when something small changes.
fn carries_much([one, other]: [u16; 2]) {
    let mut random = Random::new(LARGE_BYTES as u64);
    let alphabet: Vec<char> = ('a'..='z').chain('0'..='9').collect();
    let mut text = || -> String { (0..LARGE_BYTES).map(|_| random.pick(&alphabet)).collect() };
    let mut browser = Browser::default();
    browser.post(one, "/login", "carl");
    for (here, there) in [(one, other), (other, one)] {
        let large = text();
        let mut expected = holds("carl", browser.read(there).value.as_deref());
        expected.large = Some(large.clone());
        assert!(browser.post(here, "/large", &large) == expected);
        assert!(browser.read(there) == expected);
        expected.value = Some(format!("small from {there}"));
        let value = expected.value.clone().unwrap_or_default();
        assert!(browser.post(there, "/update", &value) == expected);
        assert!(browser.read(here) == expected);
        assert!(browser.post(here, "/touch", "") == expected);
        assert!(browser.read(there) == expected);
    }
    let old = browser.clone();
    browser.post(one, "/logout", "");
    assert!(old.clone().read(other) == nobody());
}

/// Ids that nobody was given are nobody's, and a live session nearby is not disturbed.
fn refuses_forged_ids([one, other]: [u16; 2]) {
    let mut browser = Browser::default();
    browser.post(one, "/login", "dora");
    let seed = seed("forged ids");
    let scrambled = |number: u64| {
        browser.forged(|cookie| {
            let mut random = Random::new(seed + number);
            let letters = ['a', 'b', 'c', 'd', 'e', 'f', '0', '1', '2', '3', '4', '5'];
            let change = |letter: char| match letter {
                letter if letter.is_ascii_alphanumeric() => *random.pick(&letters),
                letter => letter,
            };
            cookie.chars().map(change).collect()
        })
    };
    let mut forged: Vec<Browser> = (0..6).map(scrambled).collect();
    forged.push(browser.forged(|_| "unknown".to_owned()));
    forged.push(browser.forged(|cookie| cookie[..cookie.len() - 4].to_owned()));
    forged.push(browser.forged(|cookie| format!("{cookie}0")));
    for forged in forged {
        for port in [one, other, one] {
            assert_eq!(forged.clone().read(port), nobody(), "{forged:?}");
        }
        assert_eq!(forged.clone().post(other, "/touch", ""), nobody());
        assert_eq!(forged.clone().read(one), nobody(), "{forged:?}");
    }
    assert_eq!(browser.read(other), holds("dora", None));
}

/// Many users at once each find their own, at every step.
fn keeps_users_apart(two: [u16; 2], name: &str) {
    let journey = |number: usize| {
        let (here, there) = (two[number % 2], two[(number + 1) % 2]);
        let user = format!("user-{number}");
        let mut browser = Browser::default();
        assert_eq!(browser.post(here, "/login", &user), holds(&user, None));
        for step in 0..4 {
            let value = format!("{user} step {step}");
            let expected = holds(&user, Some(&value));
            assert_eq!(browser.post(there, "/update", &value), expected);
            assert_eq!(browser.read(here), expected);
            assert_eq!(browser.post(there, "/touch", ""), expected);
        }
        let old = browser.clone();
        if number.is_multiple_of(2) {
            browser.post(here, "/change-id", "");
        } else {
            browser.post(here, "/logout", "");
        }
        assert_eq!(old.clone().read(there), nobody());
        (browser, user)
    };
    let users: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..USERS)
            .map(|number| named(scope, name.to_owned(), move || journey(number)))
            .collect();
        let users = threads.into_iter().map(|thread| thread.join());
        users
            .map(|user| user.expect("each user's journey ends well"))
            .collect()
    });
    for (number, (mut browser, user)) in users.into_iter().enumerate() {
        let expected = match number % 2 {
            0 => holds(&user, Some(&format!("{user} step 3"))),
            _ => nobody(),
        };
        for port in two {
            assert_eq!(browser.read(port), expected);
        }
    }
}

/// No count is lost between requests of one session that the library's lock keeps apart.
fn counts_under_a_lock(two: [u16; 2]) {
    let mut browser = Browser::default();
    browser.post(two[0], "/login", "hugo");
    browser.post(two[1], "/update", "0");
    thread::scope(|scope| {
        for number in 0..COUNTERS {
            let mut browser = browser.clone();
            scope.spawn(move || browser.post(two[number % 2], "/count", ""));
        }
    });
    let expected = holds("hugo", Some(&COUNTERS.to_string()));
    assert_eq!(browser.read(two[0]), expected);
    assert_eq!(browser.read(two[1]), expected);
}

/// Touches carry a session past its first lifetime; left alone it ends, and no process has it any more.
fn expires(store: &Store, short: &App, two: [u16; 2]) {
    let mut browser = Browser::default();
    browser.post(short.port, "/login", "fred");
    browser.post(short.port, "/update", "mortal");
    for _ in 0..TOUCHES {
        pause(TOUCH_INTERVAL);
        let held = browser.post(short.port, "/touch", "");
        assert_eq!(held, holds("fred", Some("mortal")));
    }
    // Short-lived keys are of this app alone. Redis itself is asked, as a page might renew.
    let is_short = |lifetime: &i64| (0..=i64::from(SHORT_TTL) * 1000).contains(lifetime);
    assert!(store.lifetimes().iter().any(is_short), "it is stored");
    let patience = Duration::from_secs(u64::from(SHORT_TTL) * 3);
    until("the end of the short-lived sessions", patience, || {
        let left = store.lifetimes();
        (!left.iter().any(is_short)).then_some(())
    });
    for port in [short.port, two[0], two[1]] {
        assert_eq!(browser.clone().read(port), nobody());
    }
}

pub(super) fn nobody() -> Held {
    Held::default()
}

pub(super) fn holds(user: &str, value: Option<&str>) -> Held {
    Held {
        user: Some(user.to_owned()),
        value: value.map(str::to_owned),
        large: None,
    }
}

/// Spawns a thread whose panic names the set-up.
pub(super) fn named<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: String,
    work: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    let builder = thread::Builder::new().name(name);
    builder.spawn_scoped(scope, work).expect("a thread starts")
}
