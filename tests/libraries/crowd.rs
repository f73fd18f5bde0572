//! Users who go on while something happens to Redis, and what they may notice of it: later answers.
//!
//! Each user updates, reads and touches in turn, over both processes of an app, and knows what each answer has to say: the
//! number of the last update. Anything else, an error page above all, ends the test. Newcomers log in meanwhile, and every
//! other one out again. What a fault may cost a newcomer is for its test to say: a log-in that fails is kept, and the second
//! one has to work.

use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::harness::{Stopwatch, pause, until};

use super::browser::{Browser, Held};
use super::life::{holds, nobody};

/// Users who are logged in before; each is a thread.
const USERS: usize = 4;

/// Threads that let newcomers in, one after the other.
const DOORS: usize = 4;

/// Between two rounds of a user, and between two newcomers.
const REST: Duration = Duration::from_millis(50);

/// How long each user may take for the next round: as long as the hold and then some.
const PATIENCE: Duration = Duration::from_secs(60);

/// Users at work.
#[derive(Debug)]
pub(super) struct Crowd {
    two: [u16; 2],
    shared: Arc<Shared>,
    users: Vec<JoinHandle<(User, Seen)>>,
    doors: Vec<JoinHandle<(Newcomers, Seen)>>,
}

#[derive(Debug, Default)]
struct Shared {
    stops: AtomicBool,
    /// Rounds that each user, and then each door, is through with.
    rounds: [AtomicUsize; USERS + DOORS],
}

/// What the crowd saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Requests, all told.
    pub(super) requests: usize,
    /// The longest that one of them took.
    pub(super) worst: Duration,
    /// Newcomers who were logged in.
    pub(super) log_ins: usize,
    /// What those were answered who had to try twice.
    pub(super) failed: Vec<String>,
}

/// One who is logged in all the time.
#[derive(Debug)]
struct User {
    name: String,
    browser: Browser,
    /// The last update, which was answered for.
    updates: usize,
}

/// Who came through a door.
#[derive(Debug, Default)]
struct Newcomers {
    stayed: Vec<(Browser, Held)>,
    left: Vec<Browser>,
}

impl Crowd {
    /// Logs users in at the `two` processes of an app, and lets them go on. `name` is for messages.
    pub(super) fn gather(two: [u16; 2], name: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let users = (0..USERS).map(|number| {
            let (mut user, shared) = (User::log_in(two, number), Arc::clone(&shared));
            spawn(name, move || {
                let mut seen = Seen::default();
                shared.repeat(number, || user.go_round(two, &mut seen));
                (user, seen)
            })
        });
        let users = users.collect();
        let doors = (0..DOORS).map(|door| {
            let shared = Arc::clone(&shared);
            spawn(name, move || {
                let (mut newcomers, mut seen) = (Newcomers::default(), Seen::default());
                let [here, there] = [two[door % 2], two[(door + 1) % 2]];
                shared.repeat(USERS + door, || newcomers.admit([here, there], &mut seen));
                (newcomers, seen)
            })
        });
        let doors = doors.collect();
        Self {
            two,
            shared,
            users,
            doors,
        }
    }

    /// Waits until each user has begun and ended a round, and somebody came through each door.
    pub(super) fn wait_for_a_round(&self) {
        let rounds = || -> Vec<usize> {
            let rounds = self.shared.rounds.iter();
            rounds.map(|count| count.load(Ordering::Relaxed)).collect()
        };
        let before = rounds();
        until("a round of each user", PATIENCE, || {
            let ended = self.users.iter().any(JoinHandle::is_finished)
                || self.doors.iter().any(JoinHandle::is_finished);
            assert!(!ended, "a user saw what no user may see: told above");
            // The one under way may have begun before.
            let mut pairs = before.iter().zip(rounds());
            pairs.all(|(before, now)| now >= before + 2).then_some(())
        });
    }

    /// Ends the work, and looks for everybody once more at both processes: who is logged in, with what, and who is not.
    pub(super) fn disperse(mut self) -> Seen {
        self.shared.stops.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for user in self.users.drain(..) {
            let (mut user, seen) = user.join().expect("each user is served well");
            for port in self.two {
                assert_eq!(user.browser.read(port), user.expects());
            }
            all += seen;
        }
        for door in self.doors.drain(..) {
            let (newcomers, seen) = door.join().expect("each newcomer is served well");
            for (index, (mut browser, expected)) in newcomers.stayed.into_iter().enumerate() {
                assert_eq!(browser.read(self.two[index % 2]), expected);
            }
            for (index, mut browser) in newcomers.left.into_iter().enumerate() {
                assert_eq!(browser.read(self.two[index % 2]), nobody());
            }
            all += seen;
        }
        all
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn repeat(&self, place: usize, mut round: impl FnMut()) {
        while !self.stops.load(Ordering::Relaxed) {
            round();
            self.rounds[place].fetch_add(1, Ordering::Relaxed);
            pause(REST);
        }
    }
}

impl User {
    /// Logs one in; every other one goes on under an id that was changed.
    fn log_in([one, other]: [u16; 2], number: usize) -> Self {
        let name = format!("early-{number}");
        let mut browser = Browser::default();
        assert_eq!(browser.post(one, "/login", &name), holds(&name, None));
        if number.is_multiple_of(2) {
            let held = browser.post(other, "/change-id", "");
            assert_eq!(held, holds(&name, None));
        }
        let held = browser.post(other, "/update", "0");
        assert_eq!(held, holds(&name, Some("0")));
        Self {
            name,
            browser,
            updates: 0,
        }
    }

    fn expects(&self) -> Held {
        holds(&self.name, Some(&self.updates.to_string()))
    }

    /// Each process updates, and the other one reads and touches.
    fn go_round(&mut self, [one, other]: [u16; 2], seen: &mut Seen) {
        for (here, there) in [(one, other), (other, one)] {
            self.updates += 1;
            let (update, expected) = (self.updates.to_string(), self.expects());
            let mut browser = self.browser.clone();
            let held = seen.timed(|| browser.post(here, "/update", &update));
            assert_eq!(held, expected);
            assert_eq!(seen.timed(|| browser.read(there)), expected);
            assert_eq!(seen.timed(|| browser.post(there, "/touch", "")), expected);
            assert_eq!(seen.timed(|| browser.read(here)), expected);
            self.browser = browser;
        }
    }
}

impl Newcomers {
    /// Lets one log in, and every other one out again.
    fn admit(&mut self, [here, there]: [u16; 2], seen: &mut Seen) {
        let number = self.stayed.len() + self.left.len();
        let name = format!("late-{number}");
        let expected = holds(&name, None);
        let mut browser = Browser::default();
        match seen.timed(|| browser.try_post(here, "/login", &name)) {
            Ok(held) => assert_eq!(held, expected),
            Err(answer) => {
                seen.failed.push(answer);
                assert_eq!(browser.post(here, "/login", &name), expected);
            }
        }
        seen.log_ins += 1;
        assert_eq!(seen.timed(|| browser.read(there)), expected);
        if number.is_multiple_of(2) {
            return self.stayed.push((browser, expected));
        }
        let old = browser.clone();
        let held = seen.timed(|| browser.post(there, "/logout", ""));
        assert_eq!(held, nobody());
        self.left.push(old);
    }
}

impl Seen {
    fn timed<T>(&mut self, request: impl FnOnce() -> T) -> T {
        let watch = Stopwatch::start();
        let answer = request();
        self.worst = self.worst.max(watch.elapsed());
        self.requests += 1;
        answer
    }
}

impl AddAssign for Seen {
    fn add_assign(&mut self, mut other: Self) {
        self.requests += other.requests;
        self.worst = self.worst.max(other.worst);
        self.log_ins += other.log_ins;
        self.failed.append(&mut other.failed);
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, the slowest {:.2} s, {} log-ins, {} at the second try",
            self.requests,
            self.worst.as_secs_f32(),
            self.log_ins,
            self.failed.len()
        )
    }
}

/// Spawns a thread whose panic names the set-up.
fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(work).expect("a thread starts")
}
