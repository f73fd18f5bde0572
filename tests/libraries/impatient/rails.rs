//! Rails' cache sessions as they come: a second for each reply, no second try, and an error of Redis is a session that is not there.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Stopwatch, against_redis, pause};
use crate::libraries::app::{App, Library, installed};
use crate::libraries::browser::{Browser, Held};
use crate::libraries::life::{LONG_TTL, holds, nobody};

use super::{Fault, Office, Seen, Shared, live_through_an_election};

/// How long the cache store waits for a reply; a page needs several.
const TIME_OUT: Duration = Duration::from_secs(1);

/// What an application with such sessions wants: to log in and out it deletes keys that are not there, too.
const WISHES: &[&str] = &["writes: acknowledge", "ask_replica: true"];

/// Users of each sidecar: as many as the app has threads.
const USERS: usize = 4;

/// Updates of a session between log-in and log-out.
const UPDATES: usize = 2;

/// Between two pages of a user.
const REST: Duration = Duration::from_millis(20);

/// Who is logged in, or whose session has ended, and what the session has to hold.
type Left = (Browser, Held);

#[test]
fn rails_keeps_everybody_logged_in_where_writes_are_acknowledged() {
    // Redis itself does not follow a primary.
    if installed().is_none() || against_redis() {
        return;
    }
    let (_turn, outcome) = live_through_an_election(Fault::Kill, WISHES, TIME_OUT, |sidecar| {
        let (_, port) = sidecar.address.rsplit_once(':').expect("host:port");
        let environment = [
            ("SESSION_TTL", LONG_TTL.to_string()),
            ("REDIS_PORT", port.to_owned()),
        ];
        let app = Arc::new(App::start(Library::Rails, &environment));
        let live = move |number, shared: &Shared| live(app.port, number, shared);
        Office::open(sidecar, USERS, live)
    });
    // Each was looked for at the end, through the sidecar.
    assert!(!outcome.seen.left.is_empty());
}

/// Goes through sessions, one after the other; in the end looks for each once more.
fn live(port: u16, number: usize, shared: &Shared) -> Seen<Left> {
    let mut seen = Seen::new();
    let mut life = 0;
    while shared.goes_on() {
        // What is known of it is void where a page has failed.
        if let Some(left) = one_life(port, &format!("{number}-{life}"), life, &mut seen) {
            seen.left.push(left);
        }
        shared.note_life(number);
        life += 1;
    }
    for (mut browser, expected) in seen.left.clone() {
        seen.page(&expected, || browser.try_read(port));
    }
    seen
}

/// Comes as a visitor or anew, logs in, goes on, and logs out every other time.
fn one_life(port: u16, name: &str, life: usize, seen: &mut Seen<Left>) -> Option<Left> {
    let mut browser = Browser::default();
    if life.is_multiple_of(3) {
        let expected = Held {
            value: Some("visitor".to_owned()),
            ..Held::default()
        };
        seen.page(&expected, || browser.try_post(port, "/update", "visitor"))?;
    }
    let mut expected = holds(name, None);
    seen.page(&expected, || browser.try_post(port, "/login", name))?;
    for update in 0..UPDATES {
        seen.page(&expected, || browser.try_read(port))?;
        let update = update.to_string();
        expected = holds(name, Some(&update));
        seen.page(&expected, || browser.try_post(port, "/update", &update))?;
    }
    if life.is_multiple_of(2) {
        return Some((browser, expected));
    }
    let old = browser.clone();
    seen.page(&nobody(), || browser.try_post(port, "/logout", ""))?;
    seen.page(&nobody(), || old.clone().try_read(port))?;
    Some((old, nobody()))
}

impl Seen<Left> {
    /// Notes a page; `None` where it has failed, or shows something else than expected.
    fn page(&mut self, expected: &Held, page: impl FnOnce() -> Result<Held, String>) -> Option<()> {
        let watch = Stopwatch::start();
        let held = page();
        let held = self.note(watch.elapsed(), held);
        pause(REST);
        let is_right = held.as_ref()? == expected;
        self.wrong += usize::from(!is_right);
        is_right.then_some(())
    }
}
