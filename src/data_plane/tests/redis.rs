//! A server that does what a test tells it to.
//!
//! It answers a handshake as Redis does; MULTI queues; every other command is answered with the database that the link
//! has selected, the command's name and its key, so that a reply says whose it is and where it came from.

mod repair;
mod serving;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;
use tokio::time::Instant;

use self::repair::Round;
use self::serving::Serving;
use crate::seam::{BoxStream, Dial, Dialing, Entropy, HostPort};

/// What becomes of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    Refusing,
    /// Neither accepts nor refuses until that changes.
    Hanging,
}

/// What the server says to a command of a script.
#[derive(Clone, Debug)]
pub(super) enum Say {
    Bytes(Vec<u8>),
    /// And then it closes the link.
    Last(Vec<u8>),
}

/// One link, as the server sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// `tracked`, `general`, `pinned`.
    pub(super) lane: String,
    pub(super) open: bool,
    /// The server does not read it.
    pub(super) frozen: bool,
    /// The server closes it.
    closing: bool,
    /// The server closes it once it has written that many bytes more.
    pub(super) bytes_left: Option<usize>,
}

struct State {
    door: Door,
    dials: Vec<Instant>,
    links: Vec<Link>,
    arrivals: Vec<(usize, String)>,
    held: HashSet<String>,
    scripts: HashMap<String, VecDeque<Say>>,
    /// Whether a round of repair is open, and who has not reported.
    round: Round,
    pipe: usize,
    /// Cuts what is written into pieces.
    chance: Option<Entropy>,
}

/// The server, in the hands of the test and of the data thread's dial.
#[derive(Clone)]
pub(super) struct Redis {
    state: Arc<Mutex<State>>,
    changes: Arc<watch::Sender<()>>,
}

impl Redis {
    pub(super) fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                door: Door::Open,
                dials: Vec::new(),
                links: Vec::new(),
                arrivals: Vec::new(),
                held: HashSet::new(),
                scripts: HashMap::new(),
                round: Round::default(),
                pipe: 64 * 1024,
                chance: None,
            })),
            changes: Arc::new(watch::Sender::new(())),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test has failed meanwhile")
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.state());
        self.changes.send_replace(());
    }

    /// Says what becomes of dials.
    pub(super) fn door(self, door: Door) -> Self {
        self.set_door(door);
        self
    }

    pub(super) fn set_door(&self, door: Door) {
        self.change(|state| state.door = door);
    }

    /// Pipes of links opened from now on take so many bytes each way.
    pub(super) fn set_pipe(&self, bytes: usize) {
        self.change(|state| state.pipe = bytes);
    }

    /// Cuts what it writes from now on into pieces.
    pub(super) fn cut(&self, seed: u64) {
        self.change(|state| state.chance = Some(Entropy::from_seed(seed)));
    }

    /// Answers this command, and what stands behind it, not yet.
    pub(super) fn hold(&self, name: &str) {
        self.change(|state| {
            state.held.insert(name.to_owned());
        });
    }

    /// Answers this command from now on, and what stands behind it.
    pub(super) fn release(&self, name: &str) {
        self.change(|state| {
            state.held.remove(name);
        });
    }

    /// Answers the next such command like this.
    pub(super) fn script(&self, name: &str, say: Say) {
        self.change(|state| {
            state
                .scripts
                .entry(name.to_owned())
                .or_default()
                .push_back(say);
        });
    }

    /// Says whether a round of repair is open, and which other sidecars have not reported.
    pub(super) fn set_round(&self, is_open: bool, missing: &[&str]) {
        self.change(|state| {
            let round = &mut state.round;
            round.number += i64::from(is_open && !round.is_open);
            round.is_open = is_open;
            round.missing = missing.iter().map(|id| (*id).to_owned()).collect();
        });
    }

    /// Returns from when on it was wished to compare, the last time that a round was opened or joined, in microseconds.
    pub(super) fn horizon(&self) -> i64 {
        self.state().round.horizon
    }

    /// Changes what it does with a link.
    pub(super) fn with_link(&self, link: usize, how: impl FnOnce(&mut Link)) {
        self.change(|state| how(&mut state.links[link]));
    }

    pub(super) fn close(&self, link: usize) {
        self.with_link(link, |link| link.closing = true);
    }

    /// Closes all links and refuses new ones.
    pub(super) fn die(&self) {
        self.change(|state| {
            state.door = Door::Refusing;
            state.links.iter_mut().for_each(|link| link.closing = true);
        });
    }

    /// Returns when it was dialled.
    pub(super) fn dials(&self) -> Vec<Instant> {
        self.state().dials.clone()
    }

    /// Returns all links that there ever were.
    pub(super) fn links(&self) -> Vec<Link> {
        self.state().links.clone()
    }

    /// Returns the open link of a shared lane, in database 0 and RESP2.
    pub(super) fn link(&self, lane: &str) -> usize {
        let links = self.links();
        let mut found = (0..links.len()).filter(|&link| links[link].open);
        let found = found.find(|&link| links[link].lane == lane);
        found.expect("an open link of that lane")
    }

    /// Returns what arrived, handshakes left out, and the link that brought it.
    pub(super) fn arrivals(&self) -> Vec<(usize, String)> {
        self.state().arrivals.clone()
    }

    /// Returns the link that brought a request, which arrived once.
    pub(super) fn carrier(&self, request: &str) -> usize {
        let arrivals = self.arrivals();
        let mut carriers = arrivals.iter().filter(|(_, words)| words == request);
        let carrier = carriers
            .next()
            .unwrap_or_else(|| panic!("no {request} in {arrivals:?}"));
        assert!(carriers.next().is_none(), "{request} twice in {arrivals:?}");
        carrier.0
    }

    /// Tells whether a request arrived.
    pub(super) fn has(&self, request: &str) -> bool {
        self.arrivals().iter().any(|(_, words)| words == request)
    }

    async fn accept(self) -> io::Result<BoxStream> {
        let mut changes = self.changes.subscribe();
        while self.state().door == Door::Hanging {
            let _ = changes.changed().await;
        }
        let mut state = self.state();
        if state.door == Door::Refusing {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = tokio::io::duplex(state.pipe);
        let number = state.links.len();
        state.links.push(Link {
            lane: "pinned".into(),
            open: true,
            ..Link::default()
        });
        drop(state);
        tokio::spawn(Serving::new(self, number, far).run());
        Ok(Box::new(near))
    }
}

impl Dial for Redis {
    fn dial(&self, _: &HostPort) -> Dialing {
        self.state().dials.push(Instant::now());
        Box::pin(self.clone().accept())
    }
}
