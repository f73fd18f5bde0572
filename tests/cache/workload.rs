//! Clients that read and write a few keys at random, in packets of random length, and write down what they were told.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::history::{Key, NEVER, Nanos, Program, Read, Seen, Step, Way, What, Write, version_of};
use super::requests::Request;
use crate::harness::{Client, Random, Stopwatch, encode, pause};

/// Keys that are fought for: texts mostly, and hashes mostly.
const TEXTS: u8 = 3;
const HASHES: u8 = 2;
const FIELDS: usize = 3;

/// Milliseconds to live of a version that is saved again; each time some more, within the window of a touch.
const LASTING: u64 = 1_800_000;

/// Requests in one packet, at most.
const PACKET_MAX: usize = 8;

/// What a load is made of, in percent.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub writes: usize,
    /// Whether there are also writes without a version, transactions and scripts; without them each write that the server
    /// ran can be recognised, so that links may be lost.
    pub is_rich: bool,
    /// The longest rest after a packet, in microseconds.
    pub rest_max: usize,
}

/// What all clients of a load share.
#[derive(Debug)]
pub struct Arena {
    watch: Stopwatch,
    versions: AtomicU64,
    /// Writes without a version that are under way: no two equal ones at once, so that they can be told apart.
    claimed: Mutex<HashSet<Write>>,
    over: AtomicBool,
}

impl Arena {
    pub fn new() -> Self {
        Self {
            watch: Stopwatch::start(),
            versions: AtomicU64::new(1),
            claimed: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    pub fn now(&self) -> Nanos {
        self.watch.elapsed().as_nanos() as Nanos
    }

    /// Ends the load: each client finishes its packet.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed)
    }

    /// Claims writes that only one client may have under way; tells whether it got them all.
    fn claim(&self, writes: &[Write], mine: &mut HashSet<Write>) -> bool {
        let mut claimed = self.claimed.lock().unwrap();
        let wanted = writes.iter().filter(|write| !write.is_unique());
        let wanted: Vec<Write> = wanted
            .filter(|write| !mine.contains(write))
            .copied()
            .collect();
        if wanted.iter().any(|write| claimed.contains(write)) {
            return false;
        }
        claimed.extend(&wanted);
        mine.extend(&wanted);
        true
    }

    fn release(&self, mine: HashSet<Write>) {
        let mut claimed = self.claimed.lock().unwrap();
        for write in mine {
            claimed.remove(&write);
        }
    }
}

/// One client of a load.
pub struct Player<'a> {
    arena: &'a Arena,
    /// Opens its connection; again when one ends.
    dial: &'a (dyn Fn() -> Client + Sync),
    name: String,
    way: Way,
    database: u32,
    is_resp3: bool,
    mix: Mix,
    random: Random,
    /// The version that it was shown last of a key, if it was one.
    shown: HashMap<Key, u64>,
}

/// Lets them all play until `meanwhile` returns; gives what they did and saw.
pub fn play(players: Vec<Player<'_>>, arena: &Arena, meanwhile: impl FnOnce()) -> Vec<Program> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = players
            .into_iter()
            .map(|player| scope.spawn(move || player.play()))
            .collect();
        meanwhile();
        arena.end();
        let programs = threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a client plays to the end"));
        programs.collect()
    })
}

impl<'a> Player<'a> {
    /// Each place has its own sort of client: every second one speaks RESP3, one is in another database.
    pub fn at(
        place: u32,
        arena: &'a Arena,
        dial: &'a (dyn Fn() -> Client + Sync),
        way: Way,
        mix: Mix,
    ) -> Self {
        Self {
            arena,
            dial,
            name: format!("client {place}"),
            way,
            database: if place == 2 { 5 } else { 0 },
            is_resp3: place % 2 == 1,
            mix,
            random: Random::new(0),
            shown: HashMap::new(),
        }
    }

    /// Gives it its chance.
    pub fn seeded(mut self, random: &mut Random) -> Self {
        self.random = Random::new(random.next());
        self
    }
}

impl Player<'_> {
    /// Plays until the load is over. Each connection is a program of its own: there is one unless links are lost.
    fn play(mut self) -> Vec<Program> {
        let protocol = if self.is_resp3 { 3 } else { 2 };
        let name = format!("{}, RESP{protocol}, database {}", self.name, self.database);
        let mut programs = Vec::new();
        while !self.arena.is_over() {
            let mut steps = Vec::new();
            self.play_on((self.dial)(), &mut steps);
            programs.push(Program {
                name: name.clone(),
                way: self.way,
                steps,
            });
        }
        programs
    }

    fn play_on(&mut self, mut client: Client, steps: &mut Vec<Step>) {
        // Where links are lost, these two may fail, too: then the next connection has to do.
        client.send(&encode(&["SELECT", &self.database.to_string()]));
        if client.try_frame().as_deref() != Some(b"+OK\r\n") {
            return;
        }
        if self.is_resp3 {
            client.send(&encode(&["HELLO", "3"]));
            if client
                .try_frame()
                .is_none_or(|reply| reply.starts_with(b"-"))
            {
                return;
            }
        }
        while !self.arena.is_over() {
            if self.packet(&mut client, steps).is_none() {
                return;
            }
            if self.mix.rest_max > 0 && self.random.chance(50) {
                let rest = self.random.below(self.mix.rest_max) as u64;
                pause(Duration::from_micros(rest));
            }
        }
    }

    /// Sends some requests and takes their replies; none when the connection ended before the last of them.
    fn packet(&mut self, client: &mut Client, steps: &mut Vec<Step>) -> Option<()> {
        let length = match self.random.chance(75) {
            true => 1,
            false => 1 + self.random.below(PACKET_MAX),
        };
        let mut mine = HashSet::new();
        let mut requests = Vec::new();
        for _ in 0..length {
            let request = self.request();
            if self.arena.claim(&request.shape.writes(), &mut mine) {
                requests.push(request);
            }
        }
        let begin = self.arena.now();
        self.send(client, &requests);
        let mut has_ended = false;
        for request in &requests {
            let reply = (0..request.replies()).try_fold(Vec::new(), |_, _| client.try_frame());
            match reply {
                Some(reply) if !has_ended => {
                    let end = self.arena.now();
                    let new = request.shape.steps(&reply, self.is_resp3, begin, end);
                    new.iter().for_each(|step| self.note(step));
                    steps.extend(new);
                }
                _ => {
                    has_ended = true;
                    let open = |write| Step {
                        begin,
                        end: NEVER,
                        what: What::Write(write),
                    };
                    steps.extend(request.shape.writes().into_iter().map(open));
                }
            }
        }
        self.arena.release(mine);
        (!has_ended).then_some(())
    }

    fn note(&mut self, step: &Step) {
        if let What::Read(Read::Get(key), seen) = &step.what {
            match seen {
                Seen::Text(text) => self
                    .shown
                    .insert(*key, version_of(text).expect("a value of ours")),
                _ => self.shown.remove(key),
            };
        }
    }

    fn send(&mut self, client: &mut Client, requests: &[Request]) {
        let bytes: Vec<u8> = requests
            .iter()
            .flat_map(|request| &request.bytes)
            .copied()
            .collect();
        let cut = match self.random.chance(10) {
            true => self.random.below(bytes.len() + 1),
            false => bytes.len(),
        };
        // If the connection has ended, its replies are missing, which says enough.
        let (first, second) = bytes.split_at(cut);
        let _ = client.try_send(first);
        let _ = client.try_send(second);
    }

    fn request(&mut self) -> Request {
        match self.random.chance(self.mix.writes) {
            true if self.mix.is_rich => self.some_write(),
            true => self.plain_write(),
            false if self.mix.is_rich && self.random.chance(15) => self.refresh(),
            false if self.mix.is_rich && self.random.chance(10) => self.uncached_read(),
            false => self.read(),
        }
    }

    fn key(&mut self, first: u8, count: u8) -> Key {
        let number = first + self.random.below(usize::from(count)) as u8;
        Key {
            database: self.database,
            number,
        }
    }

    fn text_key(&mut self) -> Key {
        // Now and then a key of the other kind: its type changes.
        match self.random.chance(95) {
            true => self.key(0, TEXTS),
            false => self.key(0, TEXTS + HASHES),
        }
    }

    fn hash_key(&mut self) -> Key {
        match self.random.chance(95) {
            true => self.key(TEXTS, HASHES),
            false => self.key(0, TEXTS + HASHES),
        }
    }

    fn field(&mut self) -> u8 {
        self.random.below(FIELDS) as u8
    }

    fn read(&mut self) -> Request {
        let read = match self.random.below(15) {
            0..4 => Read::Get(self.text_key()),
            4 => Read::Length(self.text_key()),
            5 => Read::Exists(self.text_key()),
            6 => {
                let keys = [self.text_key(), self.text_key(), self.hash_key()];
                return Request::read_many(&keys[..1 + self.random.below(3)]);
            }
            7 => Read::Field(self.hash_key(), self.field()),
            8 | 9 => Read::Fields(self.hash_key()),
            _ => Read::Get(self.text_key()),
        };
        Request::read(read)
    }

    /// As libraries refresh a session: by a touch, or by saving what was read.
    fn refresh(&mut self) -> Request {
        let key = self.text_key();
        match self.shown.get(&key) {
            Some(version) if self.random.chance(40) => {
                let ttl = LASTING + self.arena.version();
                match self.random.chance(50) {
                    true => Request::write(Write::Again(key, *version, ttl), &mut self.random),
                    false => Request::again_in_transaction(key, *version, ttl),
                }
            }
            _ => Request::touch(key, &mut self.random),
        }
    }

    fn uncached_read(&mut self) -> Request {
        let key = self.text_key();
        match self.random.below(3) {
            0 => Request::read(Read::Range(key)),
            1 => Request::read(Read::Script(key)),
            _ => Request::transaction(vec![self.read(), self.read()]),
        }
    }

    fn plain_write(&mut self) -> Request {
        let version = self.arena.version();
        let write = match self.random.chance(65) {
            true => Write::Set(self.text_key(), version),
            false => Write::SetField(self.hash_key(), self.field(), version),
        };
        Request::write(write, &mut self.random)
    }

    fn some_write(&mut self) -> Request {
        let any = self.key(0, TEXTS + HASHES);
        match self.random.below(200) {
            0 => Request::write(Write::Flush(self.database), &mut self.random),
            1..20 => Request::write(Write::Delete(any), &mut self.random),
            20..25 => Request::write(Write::Expire(any), &mut self.random),
            25..45 => self.read(),
            45..55 => {
                // Among keys of one kind, so that texts stay texts.
                let rename = match self.random.chance(60) {
                    true => Write::Rename(self.key(0, TEXTS), self.key(0, TEXTS)),
                    false => Write::Rename(self.key(TEXTS, HASHES), self.key(TEXTS, HASHES)),
                };
                Request::write(rename, &mut self.random)
            }
            55..75 => {
                let (key, decoy, version) =
                    (self.text_key(), self.text_key(), self.arena.version());
                Request::script(key, version, decoy, &mut self.random)
            }
            75..90 => {
                let touch = Request::touch(any, &mut self.random);
                let parts = [self.plain_write(), self.read(), self.plain_write(), touch];
                let count = 1 + self.random.below(parts.len());
                Request::transaction(parts.into_iter().take(count).collect())
            }
            _ => self.plain_write(),
        }
    }
}
