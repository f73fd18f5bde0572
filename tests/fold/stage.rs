//! Two servers, what is remembered of the first, and the repair of the second.

use std::collections::BTreeMap;
use std::time::Duration;

use gripfast::command::table::Table;
use gripfast::journal::ring::{Bounds, REPLY_BYTES_MAX, Record, Ring};
use gripfast::repair::fold::{Dispatch, Fold, Folded, Own};
use gripfast::repair::key::DEADLINE_TOLERANCE_MS;
use gripfast::repair::record::Verdict;
use gripfast::repair::script::{Cause, Names, reply};
use gripfast::repair::stamp::Stamp;

use crate::actual::{self, Actual};
use crate::commands::{Maker, Mix};
use crate::harness::{Client, Random, Server, encode, escape, pause, until};
use crate::looks::{self, Words};
use crate::server;

/// Requests of a sequence, at most.
const REQUESTS_MAX: usize = 70;

/// How far a moment may be off: TIME and the requests behind it are one packet.
const DOUBT_MS: i64 = 10;

/// Deadlines that pass meanwhile are not further away.
const SOON_MS: i64 = 40;

/// A remembered write on its way to the fold.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    request: Vec<u8>,
    reply: Vec<u8>,
    count: u32,
    whole: bool,
    sent: Stamp,
    is_inherited: bool,
}

/// What is done to records before they are folded: nothing, unless the test is to fail.
type Spoil = fn(&mut Vec<Remembered>);

/// The nth wrong way to remember.
pub(crate) const SPOILS: &[(&str, Spoil)] = &[
    ("the last write is forgotten", |all| {
        all.pop();
    }),
    ("every write is taken as inherited", |all| {
        all.iter_mut().for_each(|one| one.is_inherited = true);
    }),
    ("the newest write is folded first", |all| {
        all.rotate_right(1);
    }),
    ("deadlines are counted from five seconds later", |all| {
        all.iter_mut().for_each(|one| one.sent.0 += 5_000_000);
    }),
];

/// A run.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) mix: Mix,
    /// Others write, too, unseen.
    pub(crate) has_strangers: bool,
    /// How often looks are sent.
    pub(crate) look_percent: usize,
    /// Of the newest writes that the second server has it is not known.
    pub(crate) is_in_doubt: bool,
    pub(crate) spoil: Spoil,
}

/// What became of keys.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Both servers hold the same.
    pub(crate) same: usize,
    /// Of those, such as were not the same before the repair.
    pub(crate) repaired: usize,
    /// Nobody knew what they held.
    pub(crate) blind: usize,
    /// Something of them was told to be lost.
    pub(crate) lost: usize,
    /// Others have written after the last whole value.
    pub(crate) strange: usize,
}

pub(crate) struct Stage {
    /// The primary, and the one that was cut off.
    primary: Client,
    replica: Client,
    /// One for each database.
    watchers: [[Client; 2]; 2],
    stranger: [Client; 2],
    has_field_deadlines: bool,
    names: Names,
    table: Table,
    random: Random,
    dump: Vec<u8>,
    wall: i64,
    is_cut: bool,
    /// When others wrote a key that the second server did not get.
    strange: BTreeMap<Vec<u8>, Stamp>,
    remembered: Vec<Remembered>,
    story: Vec<String>,
    pub(crate) tally: Tally,
}

impl Stage {
    pub(crate) fn new(servers: &[Server; 2], random: Random) -> Self {
        let [first, second] = servers;
        let mut primary = first.client();
        primary.ask("RPUSH list a b");
        let hexpire = primary.ask("HPEXPIRETIME list FIELDS 1 a");
        let dump = server::blob(&primary.call(&["DUMP", "list"])).to_vec();
        let watch = |server: &Server| {
            let mut clients = [server.client(), server.client()];
            clients[1].ask("SELECT 1");
            clients
        };
        Self {
            replica: second.client(),
            watchers: [watch(first), watch(second)],
            stranger: [first.client(), second.client()],
            has_field_deadlines: hexpire.starts_with("-WRONGTYPE"),
            names: Names::new("gripfast:", 5000),
            table: Table::default(),
            primary,
            random,
            dump,
            wall: 0,
            is_cut: false,
            strange: BTreeMap::new(),
            remembered: Vec::new(),
            story: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Runs sequences; the first fault comes with what led to it.
    pub(crate) fn run(&mut self, run: Run, sequences: usize) -> Result<(), String> {
        for number in 0..sequences {
            self.sequence(run, number)
                .map_err(|fault| format!("{}\n{fault}", self.story.join("\n")))?;
        }
        Ok(())
    }

    fn sequence(&mut self, run: Run, number: usize) -> Result<(), String> {
        for client in [&mut self.primary, &mut self.replica] {
            client.ask("FLUSHALL");
        }
        if number % 2 == 1 {
            self.primary.ask("HELLO 3");
        }
        self.strange.clear();
        self.remembered.clear();
        self.story.clear();
        self.is_cut = false;
        let requests = 5 + self.random.below(REQUESTS_MAX);
        let cut = self.random.below(requests);
        let known = match run.is_in_doubt {
            true => self.random.below(cut + 1),
            false => cut,
        };
        for place in 0..requests {
            if place == cut {
                self.is_cut = true;
                self.story.push("--- cut".into());
            }
            if run.mix == Mix::Rough && self.random.chance(5) {
                pause(Duration::from_millis(self.random.below(25) as u64));
            }
            if run.has_strangers && self.random.chance(10) {
                self.write_unseen(run);
            }
            self.step(run, place < known);
        }
        self.pass_deadlines();
        let mut remembered = self.remembered.clone();
        (run.spoil)(&mut remembered);
        let folded = self.fold(&remembered);
        self.repair(run, folded)
    }

    /// Makes a request that does the same to both servers, as long as both get it.
    fn request(&mut self, run: Run) -> Words {
        loop {
            let mut maker = Maker {
                random: &mut self.random,
                mix: run.mix,
                wall: self.wall,
                dump: &self.dump,
            };
            let request = maker.request();
            let is = |names: &[&str]| names.iter().any(|name| name.as_bytes() == request[0]);
            let is_fit = match self.is_cut {
                false => !is(&["SPOP"]) && !self.ends_soon(&request),
                // A flush that is lost is not the fold's to repeat.
                true => !is(&["FLUSHDB", "FLUSHALL", "SWAPDB"]),
            };
            if is_fit && !is(&["SELECT"]) {
                return request;
            }
        }
    }

    fn ends_soon(&self, request: &Words) -> bool {
        let number = |word: &Vec<u8>| std::str::from_utf8(word).ok()?.parse::<i64>().ok();
        let mut numbers = request[1..].iter().filter_map(number);
        let in_millis = |word: &Vec<u8>| word.starts_with(b"P") || word.starts_with(b"HP");
        let is_relative = request.iter().any(in_millis) || request[0] == b"RESTORE";
        numbers.any(|number| {
            is_relative && (1..=SOON_MS).contains(&number) || (number - self.wall).abs() < 5000
        })
    }

    /// Somebody else writes.
    fn write_unseen(&mut self, run: Run) {
        let request = self.request(run);
        self.tell("stranger", &request);
        let [first, second] = &mut self.stranger;
        first.call(&request);
        if !self.is_cut {
            second.call(&request);
            return;
        }
        self.mark_strange(&request);
    }

    fn mark_strange(&mut self, request: &Words) {
        let now = server::now(&mut self.watchers[0][0]);
        for key in looks::keys(request) {
            self.strange.insert(key.clone(), now);
        }
    }

    fn tell(&mut self, who: &str, request: &Words) {
        let words: Vec<String> = request.iter().map(|word| escape(word)).collect();
        self.story.push(format!("{who} {}", words.join(" ")));
    }

    /// Runs one request or some, or a transaction, with looks behind them, and remembers what was acknowledged.
    fn step(&mut self, run: Run, is_inherited: bool) {
        let count = 1 + self.random.below(3);
        let requests: Vec<Words> = (0..count).map(|_| self.request(run)).collect();
        let sends_looks = self.random.chance(run.look_percent);
        let looks_behind = |request: &Words, table: &Table| match sends_looks {
            true => looks::behind(table, request),
            false => Vec::new(),
        };
        let looks: Vec<Vec<Words>> = requests
            .iter()
            .map(|request| looks_behind(request, &self.table))
            .collect();
        let is_block = self.random.chance(20);
        // Each has one reply that counts: a transaction that to EXEC.
        let mut all: Vec<Vec<Words>> = Vec::new();
        if is_block {
            let word = |text: &str| vec![text.as_bytes().to_vec()];
            let block = [vec![word("MULTI")], requests, vec![word("EXEC")]].concat();
            all.push(block);
            all.extend(looks.into_iter().flatten().map(|look| vec![look]));
        } else {
            for (request, looks) in requests.into_iter().zip(looks) {
                all.push(vec![request]);
                all.extend(looks.into_iter().map(|look| vec![look]));
            }
        }
        let (sent, replies) = self.send(&all);
        self.remember(&all, replies, sent, is_inherited);
    }

    /// Sends requests behind a look at the clock; returns that, and the last reply of each.
    fn send(&mut self, all: &[Vec<Words>]) -> (Stamp, Vec<Vec<u8>>) {
        let mut bytes = encode(&["TIME"]);
        for request in all.iter().flatten() {
            bytes.extend(encode(request));
        }
        self.primary.send(&bytes);
        let sent = server::stamp(&self.primary.frame());
        self.wall = sent.millis();
        let mut replies = Vec::new();
        for requests in all {
            let frames = requests.iter().map(|_| self.primary.frame());
            let last = frames.last().unwrap();
            for request in requests {
                self.tell("own", request);
            }
            self.story.push(format!("  -> {}", escape(&last)));
            replies.push(last);
        }
        if !self.is_cut {
            for request in all.iter().flatten() {
                self.replica.call(request);
            }
        }
        (sent, replies)
    }

    /// Remembers as the data path does: several together if their replies are short and no errors, else one by one.
    fn remember(
        &mut self,
        all: &[Vec<Words>],
        replies: Vec<Vec<u8>>,
        sent: Stamp,
        is_inherited: bool,
    ) {
        let is_error = |reply: &Vec<u8>| reply.starts_with(b"-");
        let bytes = |requests: &Vec<Words>| -> Vec<u8> {
            requests
                .iter()
                .flat_map(|request| encode(request))
                .collect()
        };
        let length: usize = replies.iter().map(Vec::len).sum();
        let is_plain = all.iter().all(|requests| requests.len() == 1)
            && !replies.iter().any(is_error)
            && length <= REPLY_BYTES_MAX;
        if is_plain && self.random.chance(50) {
            self.remembered.push(Remembered {
                request: all.iter().flat_map(bytes).collect(),
                reply: replies.concat(),
                count: all.len() as u32,
                whole: true,
                sent,
                is_inherited,
            });
            return;
        }
        for (requests, reply) in all.iter().zip(replies) {
            if is_error(&reply) {
                // A script that failed half-way was not acknowledged.
                requests.iter().for_each(|request| {
                    if request[0] == b"EVAL" {
                        self.mark_strange(request);
                    }
                });
                continue;
            }
            let kept = reply.len().min(REPLY_BYTES_MAX);
            self.remembered.push(Remembered {
                request: bytes(requests),
                reply: reply[..kept].to_vec(),
                count: 1,
                whole: kept == reply.len(),
                sent,
                is_inherited,
            });
        }
    }

    /// Waits until what was to end soon has ended on both servers.
    fn pass_deadlines(&mut self) {
        let end = server::now(&mut self.primary).millis() + SOON_MS;
        until("deadlines to pass", Duration::from_secs(5), || {
            (server::now(&mut self.primary).millis() > end).then_some(())
        });
    }

    fn fold(&self, remembered: &[Remembered]) -> Folded {
        let mut ring = Ring::new(Bounds {
            bytes: 64 << 20,
            records: 1 << 20,
        });
        for one in remembered {
            let record = Record {
                sent_at: one.sent.0 as u64,
                database: 0,
                count: one.count,
                request: &one.request,
                reply: &one.reply,
                whole: one.whole,
                is_look: false,
                fields_last: false,
            };
            ring.add(&record, 0);
        }
        let mut fold = Fold::new();
        for ((_, record), one) in ring.from(0).zip(remembered) {
            let dispatch = Dispatch {
                stamp: Stamp(record.sent_at as i64),
                doubt_ms: DOUBT_MS,
                is_inherited: one.is_inherited,
                is_at_risk: true,
            };
            fold.add(&self.table, &record, dispatch);
        }
        fold.finish()
    }

    fn repair(&mut self, run: Run, folded: Folded) -> Result<(), String> {
        let open = self
            .names
            .open("replid", Cause::Switched, 30_000, Stamp(0), &[0, 1]);
        let seen = server::call(&mut self.watchers[1][0], &open);
        assert!(reply::seen(&seen).is_some_and(|seen| seen.is_open));
        for own in &folded.owns {
            self.repair_one(run, own)?;
        }
        Ok(())
    }

    fn repair_one(&mut self, run: Run, own: &Own) -> Result<(), String> {
        let place = own.database as usize;
        let [primary, replica] = &mut self.watchers;
        let (primary, replica) = (&mut primary[place], &mut replica[place]);
        let key = std::str::from_utf8(&own.key).unwrap();
        let has_field_deadlines = self.has_field_deadlines;
        let read = |client: &mut Client| actual::read(client, key, has_field_deadlines).0;
        let before = read(replica);
        if !own.is_known {
            self.tally.blind += 1;
            return Ok(());
        }
        let call = self.names.repair(own.database, &own.key, &own.record);
        let frame = server::call(replica, &call);
        let told = reply::repaired(&frame, &own.record);
        let (is_open, verdicts) = told.ok_or_else(|| escape(&frame))?;
        assert!(is_open);
        let all = verdicts.base.iter().chain(&verdicts.touch);
        let all: Vec<Verdict> = all.chain(verdicts.fields.values()).copied().collect();
        if all.contains(&Verdict::Refused) || all.contains(&Verdict::Late) {
            return Err(format!("{own:#?}\n{all:?}"));
        }
        let base = own.record.base.as_ref().map(|base| base.stamp);
        if self.strange.get(&own.key[..]).copied() > base {
            self.tally.strange += 1;
            return Ok(());
        }
        if all.iter().any(|verdict| verdict.is_loss(true)) {
            self.tally.lost += 1;
            return Ok(());
        }
        let (mut wanted, after) = (read(primary), read(replica));
        if !own.record.fields.is_empty() {
            // HSET takes a field's deadline away; its repair does not, where the value is the same.
            wanted = wanted.map(Actual::without_field_deadlines);
            if run.look_percent < 100 {
                // It may have been made anew, and nobody looked.
                wanted = wanted.map(Actual::without_deadline);
            }
        }
        if !is_same(wanted.as_ref(), after.as_ref()) {
            return Err(fault(own, &all, [&before, &after, &wanted]));
        }
        self.tally.same += 1;
        self.tally.repaired += usize::from(!is_same(before.as_ref(), wanted.as_ref()));
        Ok(())
    }
}

/// Fields that have ended may keep an empty hash there, for a while (Valkey 9.1).
fn is_same(one: Option<&Actual>, other: Option<&Actual>) -> bool {
    let there = |actual: &&Actual| !actual.is_empty_hash();
    match (one.filter(there), other.filter(there)) {
        (Some(one), Some(other)) => one.is_like(other, DEADLINE_TOLERANCE_MS),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn fault(own: &Own, verdicts: &[Verdict], states: [&Option<Actual>; 3]) -> String {
    let [before, after, wanted] = states;
    format!("{own:#?}\n{verdicts:?}\nbefore: {before:?}\nafter: {after:?}\nwanted: {wanted:?}")
}
