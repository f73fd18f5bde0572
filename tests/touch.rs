//! A touch that is answered without the server is answered as the server would: each one is then sent after all, and the
//! bytes and the deadline that it leaves are compared.
//!
//! `GRIPFAST_TEST_TOUCHES` sets how many requests are generated for each server version.
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

use bytes::Bytes;
use gripfast::cache::entry::Millis;
use gripfast::cache::touch::{Clock, Decision, Live, Rules, WORDS_MAX, Wall, Window};
use gripfast::command::table::{ServerCommand, ServerCommands};
use gripfast::command::time::Abilities;
use harness::{Client, Random, Server, Stopwatch, Value, Version, escape, parse};

/// Requests for each server version when nothing else is asked for.
const REQUESTS: usize = 2000;

const FRACTION: f64 = 0.01;
const CAP: Millis = 30_000;

/// First major version that a form is answered for, when it moves the deadline a little.
const ALWAYS: u32 = 0;
const SINCE_7: u32 = 7;
const NEVER: u32 = u32::MAX;

/// Every form: `{s}` and `{ms}` stand for a TTL, `{sat}` and `{msat}` for its deadline, in seconds and milliseconds.
const FORMS: &[(&str, u32)] = &[
    ("EXPIRE k {s}", ALWAYS),
    ("EXPIRE k {s} XX", SINCE_7),
    ("EXPIRE k {s} GT", SINCE_7),
    ("EXPIRE k {s} NX", NEVER),
    ("EXPIRE k {s} LT", NEVER),
    ("EXPIRE k {s} XX GT", NEVER),
    ("PEXPIRE k {ms}", ALWAYS),
    ("PEXPIRE k {ms} XX", SINCE_7),
    ("PEXPIRE k {ms} GT", SINCE_7),
    ("EXPIREAT k {sat}", ALWAYS),
    ("EXPIREAT k {sat} XX", SINCE_7),
    ("EXPIREAT k {sat} GT", SINCE_7),
    ("PEXPIREAT k {msat}", ALWAYS),
    ("PEXPIREAT k {msat} GT", SINCE_7),
    ("PEXPIREAT k {msat} LT", NEVER),
    ("TOUCH k", ALWAYS),
    ("TOUCH k k", NEVER),
    ("GETEX k", ALWAYS),
    ("GETEX k PERSIST", NEVER),
    ("GETEX k EX {s}", ALWAYS),
    ("GETEX k PX {ms}", ALWAYS),
    ("GETEX k EXAT {sat}", ALWAYS),
    ("GETEX k PXAT {msat}", ALWAYS),
    ("SET k {value} EX {s}", ALWAYS),
    ("SET k {value} PX {ms}", ALWAYS),
    ("SET k {value} EXAT {sat}", ALWAYS),
    ("SET k {value} PXAT {msat}", ALWAYS),
    ("SET k {value} EX {s} XX", NEVER),
    ("SET k {value} KEEPTTL", NEVER),
    ("SET k other EX {s}", NEVER),
    ("SETEX k {s} {value}", ALWAYS),
    ("PSETEX k {ms} {value}", ALWAYS),
];

/// What the second request of `MULTI SET … EXEC` may be.
const SECONDS: &[(&str, u32)] = &[
    ("EXPIREAT k {sat}", ALWAYS),
    ("PEXPIREAT k {msat}", ALWAYS),
    ("EXPIRE k {s}", ALWAYS),
    ("PEXPIRE k {ms}", ALWAYS),
    ("EXPIRE k {s} XX", NEVER),
    ("PEXPIREAT k {msat} GT", NEVER),
    ("TOUCH k", NEVER),
];

/// The server as the test sees it, with all times.
struct Stage {
    client: Client,
    watch: Stopwatch,
    rules: Rules,
    has_expiretime: bool,
}

/// Names and arities from a reply to COMMAND INFO.
fn commands(reply: &[u8]) -> ServerCommands {
    let Value::Many(_, rows) = parse(reply) else {
        panic!("COMMAND INFO gives an array: {}", escape(reply));
    };
    let mut commands = ServerCommands::default();
    for row in rows {
        if let Value::Many(_, fields) = row
            && let [Value::Blob(_, name), Value::Line(b':', arity), ..] = fields.as_slice()
        {
            let command = ServerCommand {
                arity: number(std::str::from_utf8(arity).unwrap()),
                ..ServerCommand::default()
            };
            commands.by_name.insert(name.clone(), command);
        }
    }
    commands
}

/// The key as it was read, and the moment of the touch.
struct Scene {
    value: Vec<u8>,
    reply: Bytes,
    deadline: Millis,
    sent_at: Millis,
    answered_at: Millis,
    clock: Clock,
}

impl Scene {
    fn live(&self) -> Live<'_> {
        Live {
            deadline: Some(self.deadline),
            sent_at: self.sent_at,
            answered_at: self.answered_at,
            value: Some(&self.reply),
        }
    }
}

impl Stage {
    fn new(server: &Server, is_resp3: bool) -> Self {
        let mut client = server.client();
        if is_resp3 {
            client.ask("HELLO 3");
        }
        let commands = commands(&client.call(&["COMMAND", "INFO", "expire", "getex"]));
        Self {
            client,
            watch: Stopwatch::start(),
            rules: Rules {
                window: Window::new(FRACTION, CAP),
                unchanged_set: true,
                abilities: Abilities::of(&commands),
            },
            has_expiretime: server.version.major() >= 7,
        }
    }

    /// By a clock that starts at ten seconds, as if the machine had just booted.
    fn now(&self) -> Millis {
        10_000 + self.watch.elapsed().as_millis() as Millis
    }

    /// The server's wall clock in milliseconds.
    fn server_time(&mut self) -> Millis {
        let time = self.client.ask("TIME");
        let mut lines = time
            .split("\\r\\n")
            .filter(|line| !line.starts_with(['*', '$']));
        let mut number = || lines.next().unwrap().parse::<u64>().unwrap();
        number() * 1000 + number() / 1000
    }

    /// The key's deadline by the server's wall clock, and how far it may be off.
    fn deadline(&mut self) -> (i64, i64) {
        if self.has_expiretime {
            return (number(&self.client.ask("PEXPIRETIME k")), 0);
        }
        let (before, pttl, after) = (
            self.server_time() as i64,
            number(&self.client.ask("PTTL k")),
            self.server_time() as i64,
        );
        (before + pttl, after - before + 1)
    }

    /// Writes the key and reads it as a fill does.
    fn set(&mut self, value: &[u8], ttl: u64) -> Scene {
        let ttl_word = ttl.to_string();
        let written = self
            .client
            .call(&[b"SET", &b"k"[..], value, b"PX", ttl_word.as_bytes()]);
        assert_eq!(written, b"+OK\r\n");
        let sent_at = self.now();
        let reply = Bytes::from(self.client.call(&["GET", "k"]));
        let pttl = number(&self.client.ask("PTTL k"));
        let answered_at = self.now();
        let asked_at = self.now();
        let time = self.server_time();
        let told_at = self.now();
        let now = self.now();
        Scene {
            value: value.to_vec(),
            reply,
            deadline: sent_at + pttl as u64,
            sent_at,
            answered_at,
            clock: Clock {
                now,
                wall: Some(Wall::from_time(time, asked_at, told_at, now)),
            },
        }
    }

    /// Decides about a request, and where it would be answered sends it and compares; tells whether it was.
    fn check(&mut self, request: &[Vec<u8>], scene: &Scene, asked: Asked) -> bool {
        let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        let cut = &words[..words.len().min(WORDS_MAX + 1)];
        let candidate = self.rules.read(cut);
        let decision = candidate
            .filter(|candidate| candidate.key == b"k")
            .map(|candidate| self.rules.decide(&candidate, &scene.live(), &scene.clock));
        let Some(Decision::Answer(reply)) = decision else {
            return false;
        };
        let before = self.deadline();
        let answered = self.client.call(request);
        let shown = escape(&words.join(&b' '));
        assert_eq!(escape(&answered), escape(&reply), "{shown}");
        self.compare(before, scene, asked, &shown);
        true
    }

    /// The same for `MULTI`, two requests, `EXEC`.
    fn check_pair(&mut self, pair: [&[Vec<u8>]; 2], scene: &Scene, asked: Asked) -> bool {
        let [first, second] =
            pair.map(|request| request.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let decision = self
            .rules
            .decide_pair(&first, &second, &scene.live(), &scene.clock);
        let Decision::Answer(reply) = decision else {
            return false;
        };
        let before = self.deadline();
        assert_eq!(self.client.ask("MULTI"), "+OK");
        for request in pair {
            assert_eq!(self.client.call(request), b"+QUEUED\r\n");
        }
        let answered = self.client.call(&["EXEC"]);
        let shown = escape(&second.join(&b' '));
        assert_eq!(escape(&answered), escape(&reply), "{shown}");
        self.compare(before, scene, asked, &shown);
        true
    }

    /// Compares the deadline that the server has after the touch with what was asked for and with the one before.
    fn compare(&mut self, before: (i64, i64), scene: &Scene, asked: Asked, shown: &str) {
        let after = self.deadline();
        let wall = scene.clock.wall.unwrap();
        // From the moment of the decision to that of the answer; the server ran it between the two.
        let passed = (self.now() - scene.clock.now) as i64;
        let doubt = before.1 + after.1;
        let (new, tolerance) = match asked {
            Asked::Nothing => {
                assert!((after.0 - before.0).abs() <= doubt, "{shown} moves it");
                return;
            }
            Asked::After(ttl) => (wall.at as i64 + ttl, passed + wall.error as i64 + 1 + doubt),
            Asked::At(at) => (at, doubt),
        };
        let off = (after.0 - new).abs();
        assert!(
            off <= tolerance,
            "{shown}: {off} ms from what was asked for"
        );
        let gain = after.0 - before.0;
        assert!(gain >= -doubt, "{shown} shortened by {gain} ms");
        let ttl = new - wall.at as i64;
        let window = ((ttl as f64 * FRACTION) as i64).min(CAP as i64);
        let late = match asked {
            // Sent later than it was decided about, it asks for a later deadline.
            Asked::After(_) => passed,
            _ => 0,
        };
        assert!(gain - late - doubt <= window, "{shown} lagged by {gain} ms");
    }
}

/// The deadline that a request asks for, in milliseconds.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Nothing,
    After(i64),
    At(i64),
}

fn number(reply: &str) -> i64 {
    reply.trim_start_matches(':').parse().unwrap()
}

/// Fills a form's words in: the TTL in milliseconds is made one that the form's unit can say.
fn fill(form: &str, scene: &Scene, ttl: i64) -> (Vec<Vec<u8>>, Asked) {
    let at = scene.clock.wall.unwrap().at as i64 + ttl;
    let mut asked = Asked::Nothing;
    let mut words = Vec::new();
    for word in form.split(' ') {
        let number = match word {
            "{s}" => {
                asked = Asked::After(ttl.div_euclid(1000) * 1000);
                ttl.div_euclid(1000)
            }
            "{ms}" => {
                asked = Asked::After(ttl);
                ttl
            }
            "{sat}" => {
                asked = Asked::At(at.div_euclid(1000) * 1000);
                at.div_euclid(1000)
            }
            "{msat}" => {
                asked = Asked::At(at);
                at
            }
            "{value}" => {
                words.push(scene.value.clone());
                continue;
            }
            _ => {
                words.push(word.into());
                continue;
            }
        };
        words.push(number.to_string().into_bytes());
    }
    (words, asked)
}

/// What a client may make of a request: another case, an odd number, a word too many or too few.
fn distort(words: &mut Vec<Vec<u8>>, random: &mut Random) {
    for word in words.iter_mut().filter(|word| word.len() > 1) {
        for letter in word.iter_mut() {
            if random.chance(30) && *letter != b'k' {
                *letter = if random.chance(50) {
                    letter.to_ascii_lowercase()
                } else {
                    letter.to_ascii_uppercase()
                };
            }
        }
    }
    if random.chance(15) {
        let at = 1 + random.below(words.len() - 1);
        let prefix = *random.pick(&["+", "0", "-", " ", "00"]);
        let suffix = *random.pick(&["", "", " ", "\0", ".0", "x"]);
        let old = String::from_utf8_lossy(&words[at]).into_owned();
        let odd = match random.below(4) {
            0 => format!("{prefix}{old}"),
            1 => format!("{old}{suffix}"),
            2 => (*random.pick(&["0", "-1", "", "9223372036854775807", "9223372036854775808"]))
                .into(),
            _ => format!("{old}{old}"),
        };
        words[at] = odd.into_bytes();
    }
    if random.chance(5) {
        words.pop();
    }
    if random.chance(5) {
        let extra = *random.pick(&["XX", "NX", "GT", "EX", "100", "KEEPTTL", "GET", ""]);
        words.push(extra.into());
    }
}

fn some_value(random: &mut Random) -> Vec<u8> {
    let choices: [&[u8]; 6] = [
        b"hello",
        b"12345",
        b"\r\n$-1\r\n\0\xff",
        b"{\"a\":1}",
        b"007",
        b"x",
    ];
    let mut value = random.pick(&choices).to_vec();
    if random.chance(10) {
        value = value.repeat(2000);
    }
    value
}

/// A TTL that lies a little or much longer or shorter than the one that the key has.
fn ttl_near(had: u64, random: &mut Random) -> i64 {
    let had = had as i64;
    let near = |width: i64, random: &mut Random| random.below(2 * width as usize) as i64 - width;
    match random.below(4) {
        0 => had + near(10, random),
        1 => had + near((had / 50).max(2), random),
        2 => had + random.below((had / 100).max(1) as usize) as i64,
        _ => had + near((had / 2).max(2), random),
    }
}

fn run(version: &Version) {
    let server = Server::start(version);
    let requests = std::env::var("GRIPFAST_TEST_TOUCHES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(REQUESTS);
    let mut random = Random::new(harness::seed(&version.name));
    for is_resp3 in [false, true] {
        let mut stage = Stage::new(&server, is_resp3);
        every_form(&mut stage, version);
        let mut answered = 0;
        for _ in 0..requests / 2 {
            answered += usize::from(one_at_random(&mut stage, &mut random));
        }
        eprintln!("{}: {answered} of {} answered", version.name, requests / 2);
        assert!(answered * 20 >= requests / 2, "hardly any was answered");
    }
}

/// Each form once with a TTL inside the window: the plain ones are answered, whatever else is not.
fn every_form(stage: &mut Stage, version: &Version) {
    for (form, since) in FORMS {
        let scene = stage.set(b"hello", 1_795_000);
        let (words, asked) = fill(form, &scene, 1_801_000);
        let is_answered = stage.check(&words, &scene, asked);
        assert_eq!(is_answered, version.major() >= *since, "{form}");
    }
    for (form, since) in SECONDS {
        let scene = stage.set(b"hello", 1_795_000);
        let (second, asked) = fill(form, &scene, 1_801_000);
        let is_answered = stage.check_pair([&plain_set(&scene), &second], &scene, asked);
        assert_eq!(is_answered, version.major() >= *since, "SET, {form}");
    }
}

fn plain_set(scene: &Scene) -> Vec<Vec<u8>> {
    vec![b"SET".to_vec(), b"k".to_vec(), scene.value.clone()]
}

fn one_at_random(stage: &mut Stage, random: &mut Random) -> bool {
    let value = some_value(random);
    let most = *random.pick(&[10_000, 2_000_000, 90_000_000]);
    let had = 2_000 + random.below(most) as u64;
    let scene = stage.set(&value, had);
    let ttl = ttl_near(had, random);
    if random.chance(15) {
        let (mut second, asked) = fill(random.pick(SECONDS).0, &scene, ttl);
        if random.chance(30) {
            distort(&mut second, random);
        }
        return stage.check_pair([&plain_set(&scene), &second], &scene, asked);
    }
    let (mut words, asked) = fill(random.pick(FORMS).0, &scene, ttl);
    distort(&mut words, random);
    stage.check(&words, &scene, asked)
}

fn on(name: &str) {
    if let Some(version) = harness::version(name) {
        run(&version);
    }
}

#[test]
fn touches_are_answered_as_redis_6_2_does() {
    on("redis-6.2");
}

#[test]
fn touches_are_answered_as_redis_7_0_does() {
    on("redis-7.0");
}

#[test]
fn touches_are_answered_as_redis_8_2_does() {
    on("redis-8.2");
}

#[test]
fn touches_are_answered_as_valkey_9_1_does() {
    on("valkey-9.1");
}
