//! Session hygiene changes expiries and nothing else: each request is run as it came in one database and as the verdict
//! says in another one, from the same state; replies and values are the same bytes, expiries are as promised.
//!
//! `GRIPFAST_TEST_TTLS` sets how many requests are generated for each server version.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells by printing"
)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its part of the harness"
)]
mod harness;

use std::time::Duration;

use gripfast::command::time::Abilities;
use gripfast::command::ttl::exec::{self, Outcome};
use gripfast::command::ttl::{Context, Finding, Found, MULTI, Rules, Verdict};
use gripfast::config::{RequireTtl, Sessions};
use harness::{Client, Random, Server, Version, encode, escape};

/// Requests for each server version when nothing else is asked for.
const REQUESTS: usize = 3000;

/// In milliseconds.
const DEFAULT: i64 = 100_000;
const MAX: i64 = 500_000;

/// How far two expiries given by one request in two databases may be from each other, in milliseconds: a turn of the
/// test, on a machine with other work.
const TOLERANCE: i64 = 5_000;

/// PTTL's answers for a key without expiry, and for none.
const NONE: i64 = -1;
const GONE: i64 = -2;

/// All that a request may name; those with `s:` are sessions.
const KEYS: [&str; 4] = ["s:a", "s:b", "x:a", "x:b"];

/// What a request is looked at for; `{k}` and `{l}` are keys, `{s}`, `{ms}`, `{sat}`, `{msat}` times, `{v}` a value.
/// SET's and EXPIRE's options are added by chance.
const FORMS: &[&str] = &[
    "SET {k} {v}",
    "SET {k} {v}",
    "SET {k} {v} EX {s}",
    "SET {k} {v} PX {ms}",
    "SET {k} {v} EXAT {sat}",
    "SET {k} {v} PXAT {msat}",
    "SET {k} {v} KEEPTTL",
    "SETEX {k} {s} {v}",
    "PSETEX {k} {ms} {v}",
    "SETNX {k} {v}",
    "GETSET {k} {v}",
    "MSET {k} {v} {l} {v}",
    "MSETNX {k} {v} {l} {v}",
    "APPEND {k} {v}",
    "SETRANGE {k} 2 {v}",
    "SETBIT {k} 3 1",
    "INCR {k}",
    "DECRBY {k} 3",
    "INCRBYFLOAT {k} 0.5",
    "HSET {k} f {v} g {v}",
    "HMSET {k} f {v}",
    "HSETNX {k} f {v}",
    "HINCRBY {k} n 2",
    "HINCRBYFLOAT {k} n 0.5",
    "HSETEX {k} FNX FIELDS 1 f {v}",
    "SADD {k} {v} m",
    "ZADD {k} 1 {v}",
    "ZINCRBY {k} 1 m",
    "LPUSH {k} {v}",
    "RPUSHX {k} {v}",
    "LSET {k} 0 {v}",
    "LINSERT {k} BEFORE e {v}",
    "LMOVE {l} {k} LEFT RIGHT",
    "RPOPLPUSH {l} {k}",
    "SMOVE {l} {k} m",
    "PFADD {k} {v}",
    "GEOADD {k} 13 38 {v}",
    "EXPIRE {k} {s}",
    "PEXPIRE {k} {ms}",
    "EXPIREAT {k} {sat}",
    "PEXPIREAT {k} {msat}",
    "GETEX {k}",
    "GETEX {k} EX {s}",
    "GETEX {k} PX {ms}",
    "GETEX {k} EXAT {sat}",
    "GETEX {k} PXAT {msat}",
    "GETEX {k} PERSIST",
    "PERSIST {k}",
    "RENAME {l} {k}",
    "RENAMENX {l} {k}",
    "COPY {l} {k}",
    "COPY {l} {k} REPLACE",
    "RESTORE {k} 0 {dump}",
    "RESTORE {k} {ms} {dump} REPLACE",
    "RESTORE {k} {msat} {dump} REPLACE ABSTTL",
    "RESTORE {k} 0 {dump} ABSTTL REPLACE",
    "HDEL {k} f",
    "DEL {k}",
    "GET {k}",
];

/// What the blocks are made of: nothing that shows an expiry in its reply.
const QUEUED: &[&str] = &[
    "SET {k} {v}",
    "SET {k} {v}",
    "SET {k} {v} NX",
    "SET {k} {v} EX {s}",
    "MSET {k} {v} {l} {v}",
    "HSET {k} f {v}",
    "INCR {k}",
    "EXPIRE {k} {s}",
    "PEXPIRE {k} {ms}",
    "EXPIREAT {k} {sat}",
    "SETEX {k} {s} {v}",
    "DEL {k}",
];

/// Blocks for servers with options of EXPIRE.
const STORIES: &[&str] = &[
    "SETEX s:a 500 v; EXPIRE s:a 501 GT",
    "SETEX s:a 500 v; PEXPIRE s:a 500001 XX GT",
    "SETEX s:a 500 v; EXPIRE s:a 501 LT",
    "HSET s:a f v; EXPIRE s:a 9 XX",
    "HSET s:a f v; EXPIRE s:a 9 GT",
    "HSET s:a f v; EXPIRE s:a 9 LT",
    "SET s:a v; EXPIRE s:a 9 NX",
    "SET s:a v; PERSIST s:a",
    "SET s:a v; EXPIRE s:a 9; SET s:a w KEEPTTL",
];

type Words = Vec<Vec<u8>>;

/// One server with two databases of the same content: 0, where requests run as they came, and 1, where they are judged.
struct Stage {
    plain: Client,
    judged: Client,
    rules: Rules,
    is_enforced: bool,
    /// A payload for RESTORE.
    dump: Vec<u8>,
}

/// One key as the server has it.
#[derive(Clone, Debug)]
struct Seen {
    dump: Vec<u8>,
    /// PTTL's answer.
    ttl: i64,
}

/// The client's reply, and what was found.
#[derive(Debug, Default)]
struct Report {
    reply: Vec<u8>,
    no_expiry: u32,
    too_long: u32,
}

impl Report {
    fn add(&mut self, finding: Finding, count: u32) {
        match finding {
            Finding::NoExpiry => self.no_expiry += count,
            Finding::TooLong => self.too_long += count,
        }
    }

    fn count(&mut self, found: &Found, reply: &[u8]) {
        self.add(found.finding, found.count(reply));
    }
}

impl Stage {
    fn new(server: &Server, require: RequireTtl, is_resp3: bool) -> Self {
        let (mut plain, mut judged) = (server.client(), server.client());
        for client in [&mut plain, &mut judged] {
            if is_resp3 {
                client.ask("HELLO 3");
            }
        }
        assert_eq!(judged.ask("SELECT 1"), "+OK");
        plain.ask("SET d dumped");
        let dump = plain.call(&["DUMP", "d"]);
        let start = dump.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let dump = dump[start..dump.len() - 2].to_vec();
        let sessions = Sessions {
            prefixes: vec![b"s:".to_vec()],
            require_ttl: require,
            default_ttl: Duration::from_millis(DEFAULT as u64),
            max_ttl: Some(Duration::from_millis(MAX as u64)),
        };
        let abilities = Abilities {
            getex: true,
            expire_options: server.version.major() >= 7,
        };
        Self {
            plain,
            judged,
            rules: Rules::new(&sessions, abilities),
            is_enforced: require == RequireTtl::Enforce,
            dump,
        }
    }

    /// Empties both databases and writes the same keys with the same expiries into them; returns what they are.
    fn reset(&mut self, random: &mut Random) -> Vec<Seen> {
        self.plain.ask("FLUSHDB");
        self.judged.ask("FLUSHDB");
        for key in KEYS {
            let values = [
                "SET {} 12",
                "SET {} text",
                "SET {} dumped",
                "HSET {} f 1 n 5",
                "SADD {} m o",
                "ZADD {} 2 m",
                "RPUSH {} e m",
            ];
            let value = random.pick(&values).replace("{}", key);
            let ttl = match random.below(4) {
                0 | 1 => NONE,
                2 => 10_000 + random.below(300_000) as i64,
                // An expiry past the limit is from before there was one.
                _ => *random.pick(&[MAX, MAX - 1, MAX + 9_000, 2 * MAX, 100 * MAX]),
            };
            if random.chance(25) {
                continue;
            }
            for client in [&mut self.plain, &mut self.judged] {
                client.ask(&value);
                if ttl != NONE {
                    client.ask(&format!("PEXPIRE {key} {ttl}"));
                }
            }
        }
        see(&mut self.plain)
    }

    fn wall(&mut self) -> i64 {
        let time = self.plain.ask("TIME");
        let mut lines = time
            .split("\\r\\n")
            .filter(|line| !line.starts_with(['*', '$']));
        let mut number = || lines.next().unwrap().parse::<i64>().unwrap();
        number() * 1000 + number() / 1000
    }

    /// Runs a request in database 1 as the verdict says.
    fn obey(&mut self, request: &Words, wall: Option<u64>) -> Report {
        let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        let mut report = Report::default();
        match self.rules.judge(&words, Context::Free, wall) {
            Verdict::Fine => report.reply = self.judged.call(request),
            Verdict::Counted(found) => {
                report.reply = self.judged.call(request);
                let reply = report.reply.clone();
                report.count(&found, &reply);
            }
            Verdict::Ask { key } => {
                report.reply = self.judged.call(request);
                self.ask(words[key], &mut report);
            }
            Verdict::Replaced { request, found } => {
                self.judged.send(&request);
                report.reply = self.judged.frame();
                let reply = report.reply.clone();
                report.count(&found, &reply);
            }
            Verdict::Transaction { behind, replies } => {
                self.judged
                    .send(&[MULTI, &encode(request), &behind].concat());
                let frames: Vec<_> = (0..replies).map(|_| self.judged.frame()).collect();
                match exec::read(&frames.concat(), 0) {
                    Some(Outcome::Answered { reply, given, .. }) => {
                        report.reply = reply.to_vec();
                        report.no_expiry += given;
                    }
                    other => panic!("{other:?} for {}", show(request)),
                }
            }
        }
        report
    }

    fn ask(&mut self, key: &[u8], report: &mut Report) {
        if self.judged.call(&[b"PTTL", key]) == b":-1\r\n" {
            report.no_expiry += 1;
        }
    }

    /// Runs a block in database 1 as the verdicts say; the reply is EXEC's.
    fn obey_block(&mut self, requests: &[Words], wall: Option<u64>) -> Report {
        let words: Vec<Vec<&[u8]>> = requests
            .iter()
            .map(|request| request.iter().map(Vec::as_slice).collect())
            .collect();
        let mut report = Report::default();
        let verdicts = self.rules.judge_block(&words, wall);
        assert_eq!(self.judged.ask("MULTI"), "+OK");
        for (request, verdict) in requests.iter().zip(&verdicts) {
            match verdict {
                Verdict::Replaced { request, .. } => self.judged.send(request),
                _ => self.judged.send(&encode(request)),
            }
            let queued = self.judged.frame();
            assert_eq!(escape(&queued), "+QUEUED\\r\\n", "{}", show(request));
        }
        report.reply = self.judged.call(&["EXEC"]);
        let mut rest = &report.reply.clone()[4..];
        for (words, verdict) in words.iter().zip(&verdicts) {
            let (reply, tail) = rest.split_at(frame_length(rest));
            rest = tail;
            match verdict {
                Verdict::Counted(found) | Verdict::Replaced { found, .. } => {
                    report.count(found, reply);
                }
                Verdict::Ask { key } => self.ask(words[*key], &mut report),
                Verdict::Fine => {}
                Verdict::Transaction { .. } => panic!("a transaction in a transaction"),
            }
        }
        report
    }
}

/// Looks at all keys.
fn see(client: &mut Client) -> Vec<Seen> {
    let look = |key| Seen {
        dump: client.call(&["DUMP", key]),
        ttl: number(&client.call(&["PTTL", key])),
    };
    KEYS.map(look).into()
}

fn frame_length(bytes: &[u8]) -> usize {
    harness::frame_end(bytes, 0).expect("a whole frame")
}

fn number(reply: &[u8]) -> i64 {
    let text = std::str::from_utf8(&reply[1..reply.len() - 2]).unwrap();
    text.parse().unwrap()
}

fn show(request: &Words) -> String {
    escape(&request.join(&b' '))
}

fn is_session(key: &str) -> bool {
    key.starts_with("s:")
}

/// Makes a request of a form.
fn fill(form: &str, stage: &Stage, wall: i64, random: &mut Random) -> Words {
    let ttl = match random.below(3) {
        0 => 20_000 + random.below(400_000) as i64,
        1 => MAX + 10_000 * (1 + random.below(100) as i64),
        _ => *random.pick(&[MAX, 1000 * MAX, MAX / 2, 9_000_000_000_000_000]),
    };
    let values = ["v", "12", "", "text", "\r\n*1\0", "f"];
    form.split(' ')
        .map(|word| match word {
            "{k}" | "{l}" => random.pick(&KEYS).as_bytes().to_vec(),
            "{v}" => random.pick(&values).as_bytes().to_vec(),
            "{dump}" => stage.dump.clone(),
            "{s}" => (ttl / 1000).to_string().into_bytes(),
            "{ms}" => ttl.to_string().into_bytes(),
            "{sat}" => ((wall + ttl) / 1000).to_string().into_bytes(),
            "{msat}" => (wall + ttl).to_string().into_bytes(),
            _ => word.as_bytes().to_vec(),
        })
        .collect()
}

/// Adds options of SET and EXPIRE.
fn add_options(words: &mut Words, random: &mut Random) {
    let options: &[&str] = match words[0].as_slice() {
        b"SET" => &["NX", "XX", "GET", "nx", "get", "KEEPTTL", "IFEQ"],
        b"EXPIRE" | b"PEXPIRE" | b"EXPIREAT" | b"PEXPIREAT" => &["NX", "XX", "GT", "lt"],
        _ => return,
    };
    while random.chance(35) {
        let option = *random.pick(options);
        words.push(option.into());
        if option == "IFEQ" {
            words.push(b"text".to_vec());
        }
    }
}

/// What a client may make of a request: another case, an odd number, a word too many or too few.
fn distort(words: &mut Words, random: &mut Random) {
    if random.chance(30) {
        words[0].make_ascii_lowercase();
    }
    if random.chance(8) {
        let at = 1 + random.below(words.len() - 1);
        let odd = [
            "0",
            "-1",
            "+5",
            "05",
            "5.0",
            "x",
            "",
            "9223372036854775807",
            "9223372036854775808",
            "9223363000000000",
            "NX",
        ];
        words[at] = random.pick(&odd).as_bytes().to_vec();
    }
    if random.chance(4) {
        words.pop();
    }
    if random.chance(4) {
        let more = ["XX", "GT", "EX", "100", "KEEPTTL", "DB", "REPLACE", ""];
        words.push(random.pick(&more).as_bytes().to_vec());
    }
}

/// The keys that a request writes, if it does.
fn targets(request: &Words) -> Vec<&[u8]> {
    let name = request[0].to_ascii_uppercase();
    let targets: Vec<usize> = match name.as_slice() {
        b"MSET" | b"MSETNX" => (1..request.len()).step_by(2).collect(),
        b"RENAME" | b"RENAMENX" | b"COPY" | b"LMOVE" | b"RPOPLPUSH" | b"SMOVE" => vec![2],
        b"HDEL" => vec![],
        _ => vec![1],
    };
    let targets = targets.into_iter().filter_map(|at| request.get(at));
    targets.map(Vec::as_slice).collect()
}

/// What is to be checked of a request or block.
#[derive(Clone, Copy, Debug)]
struct Promise {
    is_enforced: bool,
    /// A key that is written has an expiry.
    gives: bool,
    /// Too long an expiry is known for one.
    cuts: bool,
}

/// One key before and after, in the database of requests as they came and in the other one.
struct Change {
    key: &'static str,
    before: Seen,
    plain: Seen,
    judged: Seen,
    /// It is a session, and a request wrote it.
    is_written: bool,
}

impl Change {
    /// The request gave it that expiry, or took it away.
    fn is_given(&self) -> bool {
        !is_same(self.before.ttl, self.plain.ttl)
    }

    fn is_long_given(&self) -> bool {
        self.plain.ttl > MAX && self.is_given()
    }

    fn check(&self, promise: Promise, shown: &str) {
        let (plain, judged) = (self.plain.ttl, self.judged.ttl);
        let told = format!(
            "{shown}: {} had {}, has {plain} or {judged}",
            self.key, self.before.ttl
        );
        let has_same_value = self.plain.dump == self.judged.dump;
        assert!(has_same_value, "{told}: another value");
        if !promise.is_enforced || !is_session(self.key) || plain == GONE {
            assert!(is_same(plain, judged), "{told}");
            return;
        }
        let expected = if plain < 0 { DEFAULT } else { plain.min(MAX) };
        let is_promised = is_same(expected, judged) && judged <= MAX;
        let may_be_same = !self.is_written
            || (plain == NONE && !promise.gives)
            || (plain > MAX && (!self.is_given() || !promise.cuts));
        assert!(
            is_promised || (may_be_same && is_same(plain, judged)),
            "{told}"
        );
    }
}

fn is_same(one: i64, other: i64) -> bool {
    one == other || (one >= 0 && other >= 0 && (one - other).abs() <= TOLERANCE)
}

/// Compares all keys after requests and what was found with what is there.
fn check(
    stage: &mut Stage,
    before: Vec<Seen>,
    requests: &[Words],
    report: &Report,
    promise: Promise,
    tally: &mut Tally,
) {
    let shown: Vec<String> = requests.iter().map(show).collect();
    let shown = shown.join("; ");
    let (plain, judged) = (see(&mut stage.plain), see(&mut stage.judged));
    let seen = before.into_iter().zip(plain).zip(judged);
    let changes: Vec<Change> = KEYS
        .into_iter()
        .zip(seen)
        .map(|(key, ((before, plain), judged))| Change {
            key,
            is_written: is_session(key)
                && requests
                    .iter()
                    .flat_map(targets)
                    .any(|name| name == key.as_bytes())
                && (before.dump != plain.dump || !is_same(before.ttl, plain.ttl)),
            before,
            plain,
            judged,
        })
        .collect();
    for change in &changes {
        change.check(promise, &shown);
        if is_session(change.key) && stage.is_enforced {
            tally.given += usize::from(change.plain.ttl == NONE && change.judged.ttl >= 0);
            tally.cut += usize::from(change.plain.ttl > MAX && change.judged.ttl <= MAX);
        }
    }
    let any = |test: &dyn Fn(&Change) -> bool| changes.iter().any(test);
    let told = format!("{shown}: {report:?}");
    if any(&|change| change.is_written && change.plain.ttl == NONE) {
        assert!(report.no_expiry > 0, "{told}: not found");
    }
    if report.no_expiry > 0 {
        let is_there = |change: &Change| is_session(change.key) && change.plain.ttl == NONE;
        assert!(any(&is_there), "{told}: found in vain");
    }
    if promise.cuts && any(&|change| change.is_written && change.is_long_given()) {
        assert!(report.too_long > 0, "{told}: not found");
    }
}

fn one_request(stage: &mut Stage, random: &mut Random, tally: &mut Tally) {
    let before = stage.reset(random);
    let wall = stage.wall();
    let mut request = fill(random.pick::<&str>(FORMS), stage, wall, random);
    add_options(&mut request, random);
    distort(&mut request, random);
    let wall = random.chance(80).then_some(wall as u64);
    let plain = stage.plain.call(&request);
    let report = stage.obey(&request, wall);
    let has = |name: &[u8]| request.iter().any(|word| word.eq_ignore_ascii_case(name));
    let was_long = before.iter().any(|seen| seen.ttl > MAX);
    // A key with an expiry from before there was a limit; and one that is moved with it.
    let is_old = was_long && (has(b"GT") || has(b"LT"));
    let is_moved = has(b"RENAME") || has(b"RENAMENX") || has(b"COPY");
    if !is_old || !stage.is_enforced {
        let (plain, judged) = (escape(&plain), escape(&report.reply));
        assert_eq!(plain, judged, "{}", show(&request));
        let promise = Promise {
            is_enforced: stage.is_enforced,
            gives: true,
            cuts: wall.is_some() && !is_moved,
        };
        check(stage, before, &[request], &report, promise, tally);
    }
}

fn one_block(stage: &mut Stage, random: &mut Random, tally: &mut Tally) {
    let before = stage.reset(random);
    let wall = stage.wall();
    let requests: Vec<Words> = (0..1 + random.below(4))
        .map(|_| fill(random.pick::<&str>(QUEUED), stage, wall, random))
        .collect();
    run_block(stage, before, &requests, wall, tally);
}

/// Blocks that chance hardly makes: at one instant, and of one key.
fn every_story(stage: &mut Stage, tally: &mut Tally) {
    for story in STORIES {
        stage.plain.ask("FLUSHDB");
        stage.judged.ask("FLUSHDB");
        let (before, wall) = (see(&mut stage.plain), stage.wall());
        let cut = |request: &str| request.split(' ').map(|word| word.into()).collect();
        let requests: Vec<Words> = story.split("; ").map(cut).collect();
        run_block(stage, before, &requests, wall, tally);
    }
}

fn run_block(
    stage: &mut Stage,
    before: Vec<Seen>,
    requests: &[Words],
    wall: i64,
    tally: &mut Tally,
) {
    assert_eq!(stage.plain.ask("MULTI"), "+OK");
    for request in requests {
        stage.plain.call(request);
    }
    let plain = stage.plain.call(&["EXEC"]);
    let report = stage.obey_block(requests, Some(wall as u64));
    let shown: Vec<String> = requests.iter().map(show).collect();
    assert_eq!(
        escape(&plain),
        escape(&report.reply),
        "{}",
        shown.join("; ")
    );
    // What would need a transaction is only asked about: of such a block the promise is that it is found.
    let asked = [&b"HSET"[..], b"INCR", b"MSET", b"PERSIST"];
    let is_asked = |request: &Words| asked.contains(&&request[0][..]);
    let promise = Promise {
        is_enforced: stage.is_enforced,
        gives: !requests.iter().any(is_asked),
        cuts: true,
    };
    check(stage, before, requests, &report, promise, tally);
}

fn run(version: &Version) {
    let server = Server::start(version);
    let requests = std::env::var("GRIPFAST_TEST_TTLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(REQUESTS);
    let mut random = Random::new(harness::seed(&version.name));
    let mut tally = Tally::default();
    for require in [RequireTtl::Warn, RequireTtl::Enforce] {
        for is_resp3 in [false, true] {
            let mut stage = Stage::new(&server, require, is_resp3);
            if version.major() >= 7 {
                every_story(&mut stage, &mut tally);
            }
            for _ in 0..requests / 5 {
                one_request(&mut stage, &mut random, &mut tally);
            }
            for _ in 0..requests / 20 {
                one_block(&mut stage, &mut random, &mut tally);
            }
        }
    }
    refusals(&server);
    eprintln!("{}: {tally:?}", version.name);
    assert!(tally.given * 25 > requests, "hardly any was given one");
    assert!(tally.cut * 75 > requests, "hardly any was cut");
}

/// Sends INCR in a transaction and tells what became of it; the connection must be outside MULTI afterwards.
fn incr(client: &mut Client, rules: &Rules) -> String {
    let request = [&b"INCR"[..], b"s:n"];
    let Verdict::Transaction { behind, replies } = rules.judge(&request, Context::Free, None)
    else {
        panic!("INCR keeps an expiry");
    };
    client.send(&[MULTI, &encode(&request), &behind].concat());
    let frames: Vec<_> = (0..replies).map(|_| client.frame()).collect();
    assert!(client.ask("GET s:n") != "+QUEUED");
    match exec::read(&frames.concat(), 0) {
        Some(Outcome::Answered { reply, given, .. }) => {
            format!("{} {given}", escape(&reply[..reply.len().min(7)]))
        }
        Some(Outcome::NotRun) => "not run".into(),
        None => panic!("no replies of a transaction: {}", escape(&frames.concat())),
    }
}

/// What the server refuses of a transaction.
fn refusals(server: &Server) {
    let stage = Stage::new(server, RequireTtl::Enforce, false);
    let (rules, mut admin) = (stage.rules, stage.plain);
    let giving = if server.version.major() < 7 {
        "EVAL"
    } else {
        "EXPIRE"
    };
    admin.ask("FLUSHALL");
    for (denied, expected) in [
        ("MULTI", ":1\\r\\n 1"),
        ("INCR", "-NOPERM 0"),
        (giving, "not run"),
        ("EXEC", "not run"),
        ("SCAN", ":2\\r\\n 0"),
    ] {
        let user = format!("ACL SETUSER u reset on nopass ~* +@all -{denied}");
        assert_eq!(admin.ask(&user.to_lowercase()), "+OK");
        let mut client = server.client();
        assert_eq!(client.ask("AUTH u any"), "+OK");
        assert_eq!(incr(&mut client, &rules), expected, "without {denied}");
    }
    let mut client = server.client();
    admin.ask("CONFIG SET maxmemory 1");
    assert_eq!(incr(&mut client, &rules), "-OOM co 0");
    admin.ask("CONFIG SET maxmemory 0");
    admin.ask("REPLICAOF 127.0.0.1 1");
    assert_eq!(incr(&mut client, &rules), "-READON 0");
    admin.ask("REPLICAOF NO ONE");
    admin.ask("PERSIST s:n");
    assert_eq!(incr(&mut client, &rules), ":3\\r\\n 1");
}

/// What the run met, so that it can't pass by meeting nothing.
#[derive(Debug, Default)]
struct Tally {
    given: usize,
    cut: usize,
}

fn on(name: &str) {
    if let Some(version) = harness::version(name) {
        run(&version);
    }
}

#[test]
fn expiries_are_given_and_cut_on_redis_6_2() {
    on("redis-6.2");
}

#[test]
fn expiries_are_given_and_cut_on_redis_7_0() {
    on("redis-7.0");
}

#[test]
fn expiries_are_given_and_cut_on_redis_8_2() {
    on("redis-8.2");
}

#[test]
fn expiries_are_given_and_cut_on_valkey_9_1() {
    on("valkey-9.1");
}
