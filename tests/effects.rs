//! What is said of acknowledged writes is true of the server: requests by chance are run on a real server, their effects are
//! read off the replies and folded, and each key that a request concerns is then compared with what the server holds.
//!
//! Five runs:
//! - *Plain*: from an empty server, nothing ends by itself and every effect can be worked out: everything must be known, and
//!   be as the server has it.
//! - *Rough*: deadlines pass meanwhile, and some effects are opaque: whatever is stated must be true.
//! - *Unknown*: as rough, from a server of which nothing is known.
//! - *Looks*: as plain, from an empty server of which nothing is known, and what a reply leaves open is asked behind it: then everything
//!   that was written must be known.
//! - *Strangers*: as plain, and others write unseen: what a reply proves by itself must be true.
//!
//! `GRIPFAST_TEST_EFFECTS` sets how many requests each run has for each server version.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells by printing"
)]

#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "effects/actual.rs"]
mod actual;
#[path = "effects/commands.rs"]
mod commands;
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its part of the harness"
)]
mod harness;

use std::collections::BTreeSet;
use std::time::Duration;

use commands::{Maker, Mix};
use gripfast::command::leaves::{Look, keys_to_look_at, look};
use gripfast::command::table::Table;
use gripfast::command::written::Written;
use gripfast::journal::{
    Before, Change, Deadline, Effect, Image, Keyspace, Moment, ScoreChange, Seen, Was, Write,
    block_effects, effects,
};
use gripfast::resp::{Parsed, Words, parse, value};
use harness::{Client, Random, Server, encode, escape};

/// Requests of each run when nothing else is asked for.
const REQUESTS: usize = 1600;

/// Requests after which the server is emptied.
const SEQUENCE: usize = 60;

/// Lines of a story that are shown.
const SHOWN_MAX: usize = 40;

/// Keys of all kinds.
const KEYS: [&str; 8] = ["s0", "s1", "h0", "h1", "t0", "t1", "z0", "z1"];

/// What is done to effects before they are folded: nothing, unless the test is to fail.
type Spoil = fn(&mut Vec<Effect>);

/// A run.
#[derive(Clone, Copy)]
struct Run {
    mix: Mix,
    is_known: bool,
    /// Others write, too, unseen.
    has_strangers: bool,
    /// What replies leave open is asked for.
    has_looks: bool,
    spoil: Spoil,
}

impl Run {
    const PLAIN: Self = Self {
        mix: Mix::Plain,
        is_known: true,
        has_strangers: false,
        has_looks: false,
        spoil: |_| (),
    };

    /// Nothing is open from the start, and nothing gets so.
    fn must_know_all(self) -> bool {
        (self.is_known || self.has_looks) && self.mix == Mix::Plain && !self.has_strangers
    }
}

/// The first key of a request, before it.
#[derive(Clone, Copy, Debug)]
struct First {
    existed: bool,
    /// How many fields it had; `None` if it was no hash.
    length: Option<i64>,
}

struct Stage {
    client: Client,
    /// One for each database, over RESP2.
    watchers: [Client; 2],
    has_field_deadlines: bool,
    table: Table,
    random: Random,
    dump: Vec<u8>,
    database: u32,
    known: Keyspace,
    /// Keys of which everything was known once, or asked.
    made: BTreeSet<(u32, String)>,
    /// The largest doubt so far: deadlines were counted with it.
    doubt: i64,
    wall: i64,
    /// What was asked, to be shown.
    story: Vec<String>,
    statements: [usize; 2],
}

impl Stage {
    fn new(server: &Server, is_resp3: bool, random: Random) -> Self {
        let mut client = server.client();
        let mut watchers = [server.client(), server.client()];
        watchers[1].ask("SELECT 1");
        if is_resp3 {
            client.ask("HELLO 3");
        }
        client.ask("RPUSH list a b");
        let dump = harness::parse(&client.call(&["DUMP", "list"]));
        let harness::Value::Blob(_, dump) = dump else {
            panic!("DUMP gives a string");
        };
        let hexpire = client.ask("HPEXPIRETIME list FIELDS 1 a");
        Self {
            client,
            watchers,
            has_field_deadlines: hexpire.starts_with("-WRONGTYPE"),
            table: Table::default(),
            random,
            dump,
            database: 0,
            known: Keyspace::empty(),
            made: BTreeSet::new(),
            doubt: 1,
            wall: 0,
            story: Vec::new(),
            statements: [0; 2],
        }
    }

    fn maker(&mut self, mix: Mix) -> Maker<'_> {
        Maker {
            random: &mut self.random,
            mix,
            wall: self.wall,
            dump: &self.dump,
        }
    }

    /// Starts anew; from a server of which nothing is known it is filled unseen.
    fn reset(&mut self, run: Run) {
        self.client.ask("FLUSHALL");
        self.client.ask("SELECT 0");
        self.database = 0;
        self.story.clear();
        self.made.clear();
        self.wall = actual::millis(&self.watchers[0].call(&["TIME"]));
        self.known = Keyspace::empty();
        if run.has_looks {
            self.known = Keyspace::unknown();
        } else if !run.is_known {
            for _ in 0..30 {
                let request = self.maker(run.mix).request();
                self.client.call(&request);
            }
            self.client.ask("SELECT 0");
            self.known = Keyspace::unknown();
        }
    }

    /// Sends requests between two looks at the server's clock; returns their replies and when they ran.
    fn send(&mut self, requests: &[Vec<Vec<u8>>]) -> (Vec<Vec<u8>>, Moment) {
        let time = [b"TIME".to_vec()];
        let mut bytes = encode(&time);
        for request in requests {
            bytes.extend(encode(request));
            let words: Vec<String> = request.iter().map(|word| escape(word)).collect();
            self.story.push(words.join(" "));
        }
        bytes.extend(encode(&time));
        self.client.send(&bytes);
        let start = actual::millis(&self.client.frame());
        let replies = requests.iter().map(|_| self.client.frame()).collect();
        let end = actual::millis(&self.client.frame());
        (replies, self.moment(start, end))
    }

    fn moment(&mut self, start: i64, end: i64) -> Moment {
        self.doubt = self.doubt.max(2 * (end - start) + 3);
        self.wall = end;
        Moment {
            at: end,
            doubt: self.doubt,
        }
    }

    /// Runs one request, or a transaction; says what is wrong, if something is.
    fn step(&mut self, run: Run) -> Result<(), String> {
        if run.has_strangers && self.random.chance(20) {
            let request = self.maker(run.mix).request();
            let index = self.random.below(2);
            if request[0] != b"SELECT" {
                self.watchers[index].call(&request);
            }
        }
        if run.mix == Mix::Rough && self.random.chance(6) {
            harness::pause(Duration::from_millis(self.random.below(25) as u64));
        }
        let is_block = self.random.chance(15);
        let count = if is_block {
            1 + self.random.below(4)
        } else {
            1
        };
        let mut requests: Vec<_> = (0..count).map(|_| self.request(run)).collect();
        if is_block {
            requests.insert(0, vec![b"MULTI".to_vec()]);
            requests.push(vec![b"EXEC".to_vec()]);
        }
        let before = self.look_at(&requests[0]);
        let (replies, moment) = self.send(&requests);
        let request: Vec<u8> = requests
            .iter()
            .flat_map(|request| encode(request))
            .collect();
        let reply = replies.last().unwrap();
        self.story.push(format!("  -> {}", escape(reply)));
        let write = Write {
            table: &self.table,
            database: self.database,
            request: &request,
            reply,
            moment,
            fields_last: false,
        };
        let mut found = match is_block {
            true => block_effects(&write, &self.known),
            false => effects(&write, &self.known),
        };
        if run.mix == Mix::Plain && !is_block {
            self.check_presence(run, &requests[0], before.existed, &found)?;
        }
        (run.spoil)(&mut found);
        if run.mix == Mix::Plain && !is_block {
            self.check_growth(&requests[0], before, &found)?;
        }
        let mut concerned = BTreeSet::new();
        for effect in &found {
            self.story.push(format!("  {effect:?}"));
            self.known.apply(effect, moment);
            match effect {
                Effect::Key(effect) => {
                    if run.must_know_all() && effect.refutes {
                        return Err("nobody else has written".into());
                    }
                    let key = String::from_utf8(effect.key.clone()).unwrap();
                    concerned.insert((effect.database, key));
                }
                _ => concerned.extend(everything()),
            }
        }
        self.follow(&requests, reply);
        if run.has_strangers {
            return Ok(());
        }
        if run.has_looks {
            self.look_behind(&requests);
        } else {
            // A key about which nothing was said has not changed.
            concerned.insert((
                self.random.below(2) as u32,
                (*self.random.pick(&KEYS)).into(),
            ));
        }
        let mut faults = concerned
            .into_iter()
            .filter_map(|(database, key)| self.compare(run, database, &key));
        faults.next().map_or(Ok(()), Err)
    }

    /// Makes a request; where looks are asked for one that stays in its database, since they can't be asked of others.
    fn request(&mut self, run: Run) -> Vec<Vec<u8>> {
        const LEAVING: [&[u8]; 4] = [b"SELECT", b"MOVE", b"SWAPDB", b"COPY"];
        loop {
            let request = self.maker(run.mix).request();
            if !run.has_looks || !LEAVING.contains(&request[0].as_slice()) {
                return request;
            }
        }
    }

    /// Asks behind requests what their replies leave open, and folds it in; what a payload would tell is read by other means.
    fn look_behind(&mut self, requests: &[Vec<Vec<u8>>]) {
        for request in requests {
            let bytes = encode(request);
            let mut words = Words::default();
            assert!(matches!(parse(&bytes, &mut words), Parsed::Whole(_)));
            let command = self.table.find(&request[0]);
            let Some(asked) = look(&command, &bytes, &words) else {
                continue;
            };
            let Written::Words(keys) = keys_to_look_at(&command, &bytes, &words) else {
                continue;
            };
            for key in keys {
                let name = String::from_utf8(request[key].clone()).unwrap();
                self.made.insert((self.database, name));
                match asked {
                    Look::Payload => self.read_payload(&request[key]),
                    Look::Fields => self.read_open(&["HLEN", "PTTL"], &request[key]),
                    Look::Deadline => self.read_open(&["PTTL"], &request[key]),
                }
            }
        }
    }

    fn read_open(&mut self, names: &[&str], key: &[u8]) {
        for name in names {
            let look = vec![name.as_bytes().to_vec(), key.to_vec()];
            let (replies, moment) = self.send(std::slice::from_ref(&look));
            let write = Write {
                table: &self.table,
                database: self.database,
                request: &encode(&look),
                reply: &replies[0],
                moment,
                fields_last: false,
            };
            for effect in effects(&write, &self.known) {
                self.story.push(format!("  {effect:?}"));
                self.known.apply(&effect, moment);
            }
        }
    }

    fn read_payload(&mut self, key: &[u8]) {
        let watcher = &mut self.watchers[self.database as usize];
        let name = std::str::from_utf8(key).unwrap();
        let (actual, ..) = actual::read(watcher, name, self.has_field_deadlines);
        let image = actual::image(actual.as_ref());
        self.known.learn(self.database, key, image);
    }

    /// Looks at the first key of a request.
    fn look_at(&mut self, request: &[Vec<u8>]) -> First {
        let key = request.get(1).map_or(&b""[..], Vec::as_slice);
        let length = self.client.call(&[b"HLEN", key]);
        First {
            existed: self.client.call(&[b"EXISTS", key]) == b":1\r\n",
            length: value::integer(&length),
        }
    }

    /// Compares by how much a hash is said to have grown with what is counted.
    fn check_growth(
        &mut self,
        request: &[Vec<u8>],
        before: First,
        found: &[Effect],
    ) -> Result<(), String> {
        for effect in found {
            let Effect::Key(effect) = effect else {
                continue;
            };
            let Some(growth) = effect.growth else {
                continue;
            };
            let after = self.look_at(request).length;
            if before.length.map(|length| length + growth) != after {
                return Err(format!("{before:?}, then {after:?} fields; {effect:?}"));
            }
        }
        Ok(())
    }

    /// Compares what is said of the time before a request with what was there then.
    fn check_presence(
        &self,
        run: Run,
        request: &[Vec<u8>],
        existed: bool,
        found: &[Effect],
    ) -> Result<(), String> {
        let of_first = found.iter().filter_map(|effect| match effect {
            Effect::Key(effect) if Some(&effect.key) == request.get(1) => Some(effect),
            _ => None,
        });
        for effect in of_first.filter(|effect| effect.database == self.database) {
            let is_wrong = |said: Was| said == if existed { Was::Absent } else { Was::There };
            if is_wrong(effect.proven) || !run.has_strangers && is_wrong(effect.was) {
                return Err(format!("it existed: {existed}; {effect:?}"));
            }
        }
        Ok(())
    }

    /// Follows SELECT.
    fn follow(&mut self, requests: &[Vec<Vec<u8>>], reply: &[u8]) {
        if reply.starts_with(b"-") {
            return;
        }
        for request in requests {
            if request[0] == b"SELECT" {
                self.database = u32::from(request[1] == b"1");
            }
        }
    }

    fn compare(&mut self, run: Run, database: u32, key: &str) -> Option<String> {
        let watcher = &mut self.watchers[database as usize];
        let (actual, start, end) = actual::read(watcher, key, self.has_field_deadlines);
        let moment = self.moment(start, end);
        let image = self.known.image(database, key.as_bytes()).into_owned();
        let is_all = image.whole().is_some() || image == Image::Absent;
        self.statements[usize::from(is_all)] += 1;
        if is_all {
            self.made.insert((database, key.into()));
        }
        let was_made = self.made.contains(&(database, key.into()));
        let is_due = run.must_know_all() && (!run.has_looks || was_made);
        let fault = match actual::fault(&image, actual.as_ref(), moment) {
            None if is_due && !is_all => "not everything is known".into(),
            fault => fault?,
        };
        Some(format!(
            "{database}:{key}: {fault}\nsaid: {image:?}\nis: {actual:?}\nat: {moment:?}"
        ))
    }

    /// Runs sequences of requests; the first fault comes with what led to it.
    fn run(&mut self, run: Run, requests: usize) -> Result<(), String> {
        for count in 0..requests {
            if count % SEQUENCE == 0 {
                self.reset(run);
            }
            if let Err(fault) = self.step(run) {
                let told = self.story.len().saturating_sub(SHOWN_MAX);
                return Err(format!("{}\n{fault}", self.story[told..].join("\n")));
            }
        }
        if run.has_strangers || run.has_looks {
            return Ok(());
        }
        let mut all = everything();
        let fault = all.find_map(|(database, key)| self.compare(run, database, &key));
        fault.map_or(Ok(()), Err)
    }
}

fn everything() -> impl Iterator<Item = (u32, String)> {
    let of = |database| KEYS.iter().map(move |key| (database, (*key).to_owned()));
    let mut all = of(0).chain(of(1));
    std::iter::from_fn(move || all.next())
}

fn requests() -> usize {
    std::env::var("GRIPFAST_TEST_EFFECTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(REQUESTS)
}

fn on(name: &str) {
    let Some(version) = harness::version(name) else {
        return;
    };
    let server = Server::start(&version);
    let seed = harness::seed(&version.name);
    let rough = Run {
        mix: Mix::Rough,
        ..Run::PLAIN
    };
    let runs = [
        ("plain", Run::PLAIN),
        ("rough", rough),
        (
            "unknown",
            Run {
                is_known: false,
                ..rough
            },
        ),
        (
            "looks",
            Run {
                is_known: false,
                has_looks: true,
                ..Run::PLAIN
            },
        ),
        (
            "strangers",
            Run {
                has_strangers: true,
                ..Run::PLAIN
            },
        ),
    ];
    for ((what, run), is_resp3) in runs.into_iter().flat_map(|run| [(run, false), (run, true)]) {
        let mut stage = Stage::new(&server, is_resp3, Random::new(seed));
        if let Err(fault) = stage.run(run, requests() / 2) {
            panic!("{name}, {what}, RESP3: {is_resp3}\n{fault}");
        }
        let [some, all] = stage.statements;
        if run.has_strangers {
            continue;
        }
        eprintln!("{name}, {what}: all known {all}, not all {some}");
        assert!(all * 3 > some, "hardly anything is known");
    }
}

#[test]
fn effects_are_what_redis_6_2_does() {
    on("redis-6.2");
}

#[test]
fn effects_are_what_redis_7_0_does() {
    on("redis-7.0");
}

#[test]
fn effects_are_what_redis_8_2_does() {
    on("redis-8.2");
}

#[test]
fn effects_are_what_valkey_9_1_does() {
    on("valkey-9.1");
}

/// The nth wrong way to read effects.
const SPOILS: &[(&str, Spoil)] = &[
    ("the last effect is missed", |effects| {
        effects.pop();
    }),
    ("SET KEEPTTL takes the deadline away", |effects| {
        for change in changes(effects) {
            if let Change::Value { deadline, .. } = change {
                deadline.get_or_insert(Deadline::Never);
            }
        }
    }),
    ("nothing is deleted", |effects| {
        for change in changes(effects) {
            if *change == Change::Deleted {
                *change = Change::Seen(Seen::default());
            }
        }
    }),
    ("deadlines are half a second late", |effects| {
        for change in changes(effects) {
            if let Change::Deadline(Deadline::At(at)) = change {
                *at += 500;
            }
        }
    }),
    ("of several fields one is missed", |effects| {
        for change in changes(effects) {
            if let Change::Fields(fields) = change
                && fields.len() > 1
            {
                fields.pop();
            }
        }
    }),
    ("every field that was set was new", |effects| {
        for effect in effects {
            if let Effect::Key(effect) = effect
                && let Change::Fields(fields) = &effect.change
            {
                effect.growth = effect.growth.map(|_| fields.len() as i64);
            }
        }
    }),
    ("members of a sorted set keep their scores", |effects| {
        for change in changes(effects) {
            if let Change::Scores(scores) = change {
                scores.retain(|(_, change)| *change == ScoreChange::Removed);
            }
        }
    }),
    ("a flush is missed", |effects| {
        effects.retain(|effect| !matches!(effect, Effect::Flushed { .. }));
    }),
];

fn changes(effects: &mut [Effect]) -> impl Iterator<Item = &mut Change> {
    effects.iter_mut().filter_map(|effect| match effect {
        Effect::Key(effect) => Some(&mut effect.change),
        _ => None,
    })
}

/// The comparison finds what it is for: each wrong way to read effects is noticed.
#[test]
fn can_fail() {
    let server = Server::start(&harness::any_version());
    let seed = harness::seed("can_fail");
    for (what, spoil) in SPOILS {
        let run = Run {
            spoil: *spoil,
            ..Run::PLAIN
        };
        let mut stage = Stage::new(&server, false, Random::new(seed));
        assert!(stage.run(run, 4000).is_err(), "not noticed: {what}");
    }
}
