//! What clients asked and got, and when.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::Stopwatch;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A session is written whole: log in, or update.
    Write { key: String, value: String },
    /// The same in a transaction behind a WATCH: it may have been executed or not, and can't be asked again.
    WriteWatched { key: String, value: String },
    /// A session is read.
    Read { key: String },
    /// A session's expiry is moved.
    Touch { key: String },
    /// A session is deleted.
    Logout { key: String },
    /// A counter is raised: never twice for one request.
    Count { key: String },
    /// An element is pushed.
    Push { value: String },
    /// An element is waited for.
    Pop,
    /// A message is published.
    Publish { value: String },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// Done; for a touch and a log-out, whether there was something.
    Done,
    /// The session's value; none when it is not there.
    Value(Option<String>),
    /// A number.
    Number(i64),
    /// An error, in the words that came.
    Error(String),
    /// The connection was closed, or nothing came for too long.
    Closed,
    /// A reply that does not belong to the request.
    Odd(String),
}

/// One request and its reply.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Which connection.
    pub(crate) client: usize,
    pub(crate) asked: Asked,
    pub(crate) got: Got,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

/// How much later than asked for a thread was woken, and when: what the machine itself adds to every time.
pub(crate) type Stalls = Arc<Mutex<Vec<(Duration, Duration)>>>;

/// Where all of them are written down.
#[derive(Clone)]
pub(crate) struct History {
    clock: Stopwatch,
    events: Arc<Mutex<Vec<Event>>>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            clock: Stopwatch::start(),
            events: Arc::default(),
        }
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Asks, and writes down what came; returns it.
    pub(crate) fn note(&self, client: usize, asked: Asked, ask: impl FnOnce() -> Got) -> Got {
        let from = self.now();
        let got = ask();
        let event = Event {
            client,
            asked,
            got: got.clone(),
            from,
            until: self.now(),
        };
        self.events.lock().expect("no panic inside").push(event);
        got
    }

    /// All events, each client's in order.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().expect("no panic inside").clone()
    }
}
