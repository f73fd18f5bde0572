//! Session traffic: log-ins, updates, touches and log-outs of many sessions, by several clients of several sidecars.
//!
//! All sessions lie in one pool. A client takes some out, asks one thing or two of each in one write, notes the answers, and puts
//! them back: so a session wanders between clients and sidecars, and is never asked two things at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use crate::harness::{Client, Random, Stopwatch, parse, pause};

use super::checker::is_acknowledged;
use super::history::{Entry, Session, answer};
use super::model::{Command, How, Life, Span};
use super::stage::Scene;

/// Clients of each sidecar, at least, and of all of them.
const CLIENTS_EACH: usize = 4;
const CLIENTS: usize = 8;

/// Sessions that a client asks something of in one write, at most.
const BATCH: usize = 8;

/// Between two writes of a client.
const REST: Duration = Duration::from_millis(4);

/// Longer than any hold of these scenarios.
const PATIENCE: Duration = Duration::from_secs(90);

/// Parts of the sessions: one goes on to the end, the others may come to rest one after the other. What is lost of those that
/// rest stays lost, or comes back.
const PARTS: usize = 4;

const FIELDS: [&str; 3] = ["cart", "theme", "flash"];

/// What kind of session it is, which its number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    /// A text that is only ever written whole, or deleted.
    Whole,
    Hash,
    Counter,
}

/// A session in the pool.
#[derive(Debug)]
struct Live {
    session: Session,
    kind: Kind,
    /// Whether its client takes it for logged in, and knows so.
    is_in: bool,
    is_patient: bool,
    /// A log-out is only asked of a session that was just written: what it finds is known.
    is_known: bool,
    written: usize,
    /// Which part it belongs to, from 0, the one that goes on.
    part: usize,
}

#[derive(Debug, Default)]
struct Pool {
    waiting: VecDeque<Live>,
    resting: Vec<Live>,
    /// Sessions that a client has in hand.
    taken: usize,
}

/// The traffic, and where it stands.
#[derive(Debug)]
pub(crate) struct Workload {
    addresses: Vec<String>,
    clock: Stopwatch,
    seed: u64,
    /// Bytes that are added to each value.
    padding: String,
    pool: Mutex<Pool>,
    /// How many parts rest.
    resting_parts: AtomicUsize,
    stop: AtomicBool,
    acknowledged: AtomicUsize,
    /// Batches that each client has had answered.
    batches: Vec<AtomicUsize>,
}

impl Workload {
    /// Describes traffic over the sidecars at these addresses.
    pub(crate) fn new(addresses: &[String], scene: &Scene, seed: u64) -> Self {
        let live = |number| Live::new(number, scene);
        let waiting = (0..scene.sessions).map(live).collect();
        let clients = CLIENTS.max(CLIENTS_EACH * addresses.len());
        Self {
            addresses: addresses.to_vec(),
            clock: Stopwatch::start(),
            seed,
            padding: "x".repeat(scene.value_bytes),
            pool: Mutex::new(Pool {
                waiting,
                ..Pool::default()
            }),
            resting_parts: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            acknowledged: AtomicUsize::new(0),
            batches: (0..clients).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// Starts the clients.
    pub(crate) fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
    ) -> Vec<ScopedJoinHandle<'scope, ()>> {
        let client = |number| scope.spawn(move || self.client(number));
        (0..self.batches.len()).map(client).collect()
    }

    /// Writes each session once, in one order, by a client that nobody else is beside.
    pub(crate) fn each_once(&self) {
        let mut link = None;
        let count = self.pool().waiting.len();
        for _ in 0..count {
            let mut batch = self.take(1);
            let live = &mut batch[0];
            let value = format!("{}={}", live.session.key, self.padding);
            let asked = vec![(0, set(value, 600, How::Set))];
            self.exchange(&mut batch, asked, 0, &mut link);
            self.put_back(batch);
        }
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Lets another quarter of the sessions rest from now on, but for the last one.
    pub(crate) fn rest_more(&self) {
        self.resting_parts.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets three quarters of them rest.
    pub(crate) fn rest(&self) {
        self.resting_parts.store(PARTS, Ordering::Relaxed);
    }

    /// What ends the clients.
    pub(crate) fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// Writes that were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// How far each client is.
    pub(crate) fn batches(&self) -> Vec<usize> {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        self.batches.iter().map(count).collect()
    }

    /// All sessions, when the clients have ended.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        let mut pool = self.pool();
        assert_eq!(pool.taken, 0, "each session was put back");
        let waiting: Vec<Live> = pool.waiting.drain(..).collect();
        let resting = std::mem::take(&mut pool.resting);
        let all = waiting.into_iter().chain(resting);
        all.map(|live| live.session).collect()
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().expect("no panic inside")
    }

    fn client(&self, number: usize) {
        let sidecar = number % self.addresses.len();
        let mut random = Random::new(self.seed + number as u64);
        let mut link = None;
        while !self.stop.load(Ordering::Relaxed) {
            let batch = self.take(1 + random.below(BATCH));
            let batch = self.ask(batch, sidecar, &mut link, &mut random);
            self.put_back(batch);
            self.batches[number].fetch_add(1, Ordering::Relaxed);
            pause(REST);
        }
    }

    /// Takes sessions that don't rest; none if the others have them all.
    fn take(&self, count: usize) -> Vec<Live> {
        let mut pool = self.pool();
        let mut batch = Vec::new();
        while batch.len() < count {
            let Some(live) = pool.waiting.pop_front() else {
                break;
            };
            let resting = 1..=self.resting_parts.load(Ordering::Relaxed);
            match resting.contains(&live.part) {
                true => pool.resting.push(live),
                false => batch.push(live),
            }
        }
        pool.taken += batch.len();
        batch
    }

    fn put_back(&self, batch: Vec<Live>) {
        let mut pool = self.pool();
        pool.taken -= batch.len();
        pool.waiting.extend(batch);
    }

    /// Asks something of each session.
    fn ask(
        &self,
        mut batch: Vec<Live>,
        sidecar: usize,
        link: &mut Option<Client>,
        random: &mut Random,
    ) -> Vec<Live> {
        let mut asked = Vec::new();
        for (index, live) in batch.iter_mut().enumerate() {
            let commands = live.next(random, &self.padding);
            asked.extend(commands.into_iter().map(|command| (index, command)));
        }
        self.exchange(&mut batch, asked, sidecar, link);
        batch
    }

    /// Sends requests, each about one of the batch, in one write, and notes the answers.
    fn exchange(
        &self,
        batch: &mut [Live],
        asked: Vec<(usize, Command)>,
        sidecar: usize,
        link: &mut Option<Client>,
    ) {
        let encoded = asked
            .iter()
            .map(|(index, command)| command.encode(&batch[*index].session.key));
        let bytes: Vec<u8> = encoded.flatten().collect();
        let from = self.now();
        let client = link.get_or_insert_with(|| {
            let mut client = Client::connect(&self.addresses[sidecar]);
            client.read_timeout(PATIENCE);
            client
        });
        let mut is_open = client.try_send(&bytes).is_ok();
        for (index, command) in asked {
            let mut reply = None;
            for _ in 0..command.frames() {
                reply = is_open.then(|| client.try_frame()).flatten();
                is_open = reply.is_some();
            }
            let answer = answer(&command, reply.map(|frame| parse(&frame)).as_ref());
            let until = self.now();
            if command.is_write() && is_acknowledged(&answer) {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            batch[index].noted(Entry {
                command,
                answer,
                when: Span { from, until },
                sidecar,
            });
        }
        if !is_open {
            *link = None;
        }
    }
}

impl Live {
    fn new(number: usize, scene: &Scene) -> Self {
        let kind = match number % 10 {
            _ if scene.writes_whole => Kind::Whole,
            0..=4 => Kind::Text,
            5..=7 => Kind::Hash,
            _ => Kind::Counter,
        };
        Self {
            session: Session {
                key: format!("session:{number}"),
                entries: Vec::new(),
            },
            kind,
            is_in: false,
            is_patient: scene.is_patient,
            is_known: scene.acknowledges,
            written: 0,
            // Each part has sessions of every kind.
            part: number / 10 % PARTS,
        }
    }

    /// What an app asks next of it.
    fn next(&mut self, random: &mut Random, padding: &str) -> Vec<Command> {
        self.written += 1;
        let value = format!("{}={}{padding}", self.session.key, self.written);
        let commands = match (self.kind, self.is_in) {
            (Kind::Text, false) => login(value, random),
            (Kind::Text, true) => update(value, self.is_patient, random),
            (Kind::Whole, _) => write_whole(value, self.is_known, random),
            (Kind::Hash, false) => login_fields(value, self.is_patient, random),
            (Kind::Hash, true) => update_fields(value, random),
            (Kind::Counter, false) => start_count(random),
            (Kind::Counter, true) => count(random),
        };
        self.is_in = !commands.iter().any(|command| match command {
            Command::Delete | Command::Take => true,
            // It is written whole the next time.
            Command::Set { life, .. } => *life == Life::Seconds(BRIEF),
            _ => false,
        });
        commands
    }

    fn noted(&mut self, entry: Entry) {
        // An app that was told of an error reads the session again, and logs in where it has to.
        if !is_acknowledged(&entry.answer) {
            self.is_in = false;
        }
        self.session.entries.push(entry);
    }
}

/// Seconds of a session that expires during the run.
const BRIEF: u64 = 3;

/// Far enough apart for each touch to be sent.
fn seconds(random: &mut Random) -> u64 {
    *random.pick(&[300, 600, 1200, 2400])
}

fn set(value: String, seconds: u64, how: How) -> Command {
    Command::Set {
        value,
        life: Life::Seconds(seconds),
        how,
    }
}

fn login(value: String, random: &mut Random) -> Vec<Command> {
    let life = seconds(random);
    vec![match random.below(20) {
        0 => set(value, BRIEF, How::Setex),
        1 => set(value, life, How::Script),
        2..=4 => Command::Block(vec![
            Command::Set {
                value,
                life: Life::Unlimited,
                how: How::Set,
            },
            Command::Expire(life),
        ]),
        5..=9 => set(value, life, How::Setex),
        _ => set(value, life, How::Set),
    }]
}

fn update(value: String, is_patient: bool, random: &mut Random) -> Vec<Command> {
    let life = seconds(random);
    vec![match random.below(20) {
        0..=5 => set(value, life, How::Set),
        6 => set(value, life, How::Setex),
        7..=9 if is_patient => Command::Set {
            value,
            life: Life::Kept,
            how: How::Set,
        },
        7..=9 => set(value, life, How::Setex),
        10..=13 => Command::Expire(life),
        14 | 15 => Command::Read,
        16 | 17 => Command::Delete,
        18 => Command::Take,
        _ => Command::Block(vec![Command::Delete, set(value, life, How::Set)]),
    }]
}

fn write_whole(value: String, is_known: bool, random: &mut Random) -> Vec<Command> {
    let life = seconds(random);
    let last = match random.below(20) {
        0..=12 => return vec![set(value, life, How::Set)],
        13 | 14 => return vec![set(value, life, How::Setex)],
        15 => Command::Block(vec![Command::Delete, set(value.clone(), life, How::Set)]),
        _ => Command::Delete,
    };
    match is_known {
        true => vec![set(value, life, How::Set), last],
        false => vec![last],
    }
}

/// All fields but `user` may be dropped, so a hash never vanishes by that.
fn login_fields(value: String, is_patient: bool, random: &mut Random) -> Vec<Command> {
    let put = Command::Put(vec![("user", value.clone()), ("cart", value)]);
    let touch = Command::Expire(seconds(random));
    match random.chance(40) {
        _ if !is_patient => vec![Command::Block(vec![Command::Delete, put, touch])],
        true => vec![Command::Block(vec![put, touch])],
        false => vec![put, touch],
    }
}

fn update_fields(value: String, random: &mut Random) -> Vec<Command> {
    let field = *random.pick(&FIELDS);
    let touch = Command::Expire(seconds(random));
    match random.below(20) {
        0..=4 => vec![Command::Put(vec![(field, value)])],
        5..=7 => vec![Command::Put(vec![(field, value)]), touch],
        8 => vec![Command::Block(vec![
            Command::Put(vec![(field, value)]),
            Command::Drop("flash"),
            touch,
        ])],
        9 | 10 => vec![Command::Drop(field)],
        11 | 12 => vec![Command::Add("visits", 1 + random.below(3) as i64)],
        13..=15 => vec![touch],
        16 | 17 => vec![Command::ReadFields],
        _ => vec![Command::Delete],
    }
}

fn start_count(random: &mut Random) -> Vec<Command> {
    let touch = Command::Expire(seconds(random));
    match random.below(3) {
        0 => vec![Command::Block(vec![Command::Delete, Command::Count, touch])],
        1 => vec![Command::Delete, Command::Count, touch],
        _ => vec![set("0".into(), seconds(random), How::Set)],
    }
}

fn count(random: &mut Random) -> Vec<Command> {
    vec![match random.below(20) {
        0..=12 => Command::Count,
        13..=15 => Command::Expire(seconds(random)),
        16 | 17 => Command::Read,
        _ => Command::Delete,
    }]
}
