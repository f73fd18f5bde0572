//! A planned failover while users are logged in: they stay so, those who logged out stay out, and life goes on.
//!
//! While the primary changes a library gets errors, and what it makes of them is its own affair: Django takes one for the
//! session's absence. So the users whose sessions count are quiet meanwhile, and others come and may fail.

use std::thread;
use std::time::Duration;

use crate::harness::pause;

use super::browser::{Browser, Held};
use super::life::{changes_its_id, holds, lives, logs_out, named, nobody};
use super::store::Store;

/// Users who are logged in before.
const USERS: usize = 8;

/// Between two who come meanwhile.
const NEXT_USER: Duration = Duration::from_millis(20);

/// Drives `two` processes of an app, which have lived through all else, through a planned failover.
pub(super) fn outlive_a_planned_failover(store: &Store, two: [u16; 2], name: &str) {
    let users: Vec<_> = (0..USERS).map(|number| logged_in(two, number)).collect();
    let mut left = Browser::default();
    left.post(two[0], "/login", "gone");
    let old = left.clone();
    left.post(two[1], "/logout", "");
    store.wait_until_replicated();
    let (served, failed) = thread::scope(|scope| {
        let switch = named(scope, name.to_owned(), || store.switch_over());
        let mut counts = (0, 0);
        while !switch.is_finished() {
            for port in two {
                match Browser::default().try_post(port, "/login", "early") {
                    Ok(held) => {
                        assert_eq!(held, holds("early", None));
                        counts.0 += 1;
                    }
                    Err(_) => counts.1 += 1,
                }
                pause(NEXT_USER);
            }
        }
        switch.join().expect("the sidecar follows the primary");
        counts
    });
    eprintln!("{name}: failover, {served} log-ins meanwhile, {failed} failed");
    for (mut browser, expected) in users {
        for port in two {
            assert_eq!(browser.read(port), expected, "still logged in");
        }
        let expected = holds(&expected.user.unwrap_or_default(), Some("after"));
        assert_eq!(browser.post(two[0], "/update", "after"), expected);
        assert_eq!(browser.post(two[1], "/touch", ""), expected);
        assert_eq!(browser.read(two[1]), expected);
    }
    for port in two {
        assert_eq!(old.clone().read(port), nobody(), "still logged out");
    }
    lives(two);
    changes_its_id(two);
    logs_out(two);
}

/// A user with a session that both processes wrote, some under an id that was changed.
fn logged_in([one, other]: [u16; 2], number: usize) -> (Browser, Held) {
    let user = format!("early-{number}");
    let mut browser = Browser::default();
    browser.post(one, "/login", &user);
    let expected = holds(&user, Some("before"));
    assert_eq!(browser.post(other, "/update", "before"), expected);
    if number.is_multiple_of(2) {
        assert_eq!(browser.post(one, "/change-id", ""), expected);
    }
    (browser, expected)
}
