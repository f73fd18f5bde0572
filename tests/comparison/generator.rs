//! A seeded generator of commands, in units that leave the connection as neutral as they found it.

use crate::harness::Random;

use super::templates::{FAMILIES, GLOBAL};
use super::verdict::{Verdict, verdict};

/// Databases of its own that each connection may use.
const DATABASES: usize = 4;
/// Odd arguments. No small positive number: as a time to live it would make the test depend on time.
const ODD: &[&[u8]] = &[
    b"",
    b"0",
    b"-1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"1.5",
    b"abc",
    b" ",
    b"+1",
    b"nan",
    b"inf",
    b"-inf",
    b"\r\n",
    b"a\r\nb",
    b"\x00\xff\xfe",
    b"*",
    b"$5\r\nhello\r\n",
    b"'",
    b"\"",
    b"\\x41",
    b"LIMIT",
    b"count",
    b"{tag}",
];
const LUA: &[&str] = &[
    "return redis.call('GET', KEYS[1])",
    "return redis.call('SET', KEYS[1], ARGV[1])",
    "return {1, 2, {3, 'four', false, {}}, {ok='fine'}, 3.7, true}",
    "return {err='MYERR custom'}",
    "return redis.error_reply('nope')",
    "redis.setresp(3); return redis.call('HGETALL', KEYS[1])",
    "redis.setresp(3); return {double=3.25}",
    "return redis.pcall('NOSUCH')",
    "return redis.call('INCR', KEYS[1])",
    "this is not lua",
    "return redis.call('BLPOP', KEYS[1], 0)",
    "return string.rep('x', 20000)",
    "return {map={a=1}}",
    "#!lua flags=no-writes\nreturn redis.call('SET', KEYS[1], '1')",
    "return redis.call('SELECT', 'x')",
];
const LIBRARY: &str = "#!lua name=gflib\nredis.register_function('echo_key', function(k, a) return redis.call('SET', k[1], a[1] or 'x') end)\nredis.register_function{function_name='read_key', callback=function(k, a) return redis.call('GET', k[1]) end, flags={'no-writes'}}";

/// One command and what to expect of it.
#[derive(Clone, Debug)]
pub struct Step {
    /// The words.
    pub words: Vec<Vec<u8>>,
    /// The bytes on the wire.
    pub bytes: Vec<u8>,
    /// Replies and pushes that it brings.
    pub frames: usize,
    /// How they are compared.
    pub verdict: Verdict,
}

/// The generator of one connection.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    connection: usize,
    database: usize,
    protocol: u8,
    sequence: u64,
    dumps: Vec<Vec<u8>>,
    major: u32,
}

impl Generator {
    /// Makes the generator of the `connection`th connection; `dumps` are valid DUMP payloads of this server.
    pub fn new(seed: u64, connection: usize, dumps: Vec<Vec<u8>>, major: u32) -> Self {
        let random = Random::new(seed.wrapping_add(connection as u64 * 0x1234_5678_9abc));
        Self {
            random,
            connection,
            database: connection * DATABASES,
            protocol: 2,
            sequence: 0,
            dumps,
            major,
        }
    }

    /// The protocol that the connection speaks after what was generated.
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// What a new connection has to say first.
    pub fn opening(&mut self) -> Vec<Step> {
        vec![self.step(&["SELECT", &self.database.to_string()])]
    }

    /// The next unit.
    pub fn unit(&mut self) -> Vec<Step> {
        match self.random.below(100) {
            0..=2 => self.hello(),
            3..=8 => self.transaction(),
            9..=10 => self.subscription(),
            11 => self.muted(),
            12 => self.reset(),
            13 => self.popped_set(),
            14 => self.watched(),
            _ => {
                let family = *self.random.pick(FAMILIES);
                vec![self.from_template(family)]
            }
        }
    }

    /// The next unit that touches the whole server.
    pub fn global_unit(&mut self) -> Vec<Step> {
        if self.random.chance(20) {
            self.tracking()
        } else {
            vec![self.from_template(GLOBAL)]
        }
    }

    fn hello(&mut self) -> Vec<Step> {
        self.protocol = if self.random.chance(50) { 2 } else { 3 };
        let protocol = self.protocol.to_string();
        let words: &[&str] = match self.random.below(3) {
            0 => &["HELLO", &protocol],
            1 => &["hello", &protocol, "SETNAME", "some-name"],
            _ => &["HELLO", &protocol, "AUTH", "default", "anything"],
        };
        vec![self.step(words), self.step(&["CLIENT", "GETNAME"])]
    }

    fn transaction(&mut self) -> Vec<Step> {
        let mut steps = vec![self.step(&["MULTI"])];
        let mut loosest = Verdict::Bytes;
        for _ in 0..self.random.below(6) {
            let family = *self.random.pick(&FAMILIES[..9]);
            let mut step = self.from_template(family);
            let leaves = [&b"SELECT"[..], b"SWAPDB", b"MOVE", b"DEBUG"];
            if leaves.iter().any(|name| {
                step.words
                    .first()
                    .is_some_and(|word| word.eq_ignore_ascii_case(name))
            }) {
                continue;
            }
            loosest = if loosest == Verdict::Bytes {
                step.verdict
            } else if step.verdict == Verdict::Bytes {
                loosest
            } else {
                Verdict::Kind
            };
            step.verdict = Verdict::Bytes;
            steps.push(step);
        }
        if self.random.chance(20) {
            steps.push(self.step(&["MULTI"]));
        }
        if self.random.chance(20) {
            steps.push(self.step(&["WATCH", "x"]));
        }
        let mut end = if self.random.chance(85) {
            self.step(&["EXEC"])
        } else {
            self.step(&["DISCARD"])
        };
        end.verdict = if loosest == Verdict::Unordered {
            Verdict::Kind
        } else {
            loosest
        };
        steps.push(end);
        steps
    }

    fn watched(&mut self) -> Vec<Step> {
        let key = self.key("s");
        let mut steps = vec![self.step(&["WATCH", &key]), self.step(&["GET", &key])];
        if self.random.chance(50) {
            steps.push(self.step(&["SET", &key, "changed"]));
        }
        if self.random.chance(20) {
            steps.push(self.step(&["UNWATCH"]));
        }
        steps.extend([
            self.step(&["MULTI"]),
            self.step(&["SET", &key, "in-multi"]),
            self.step(&["EXEC"]),
        ]);
        steps
    }

    fn subscription(&mut self) -> Vec<Step> {
        let (one, two) = (self.channel(), format!("p{}*", self.connection));
        let mut steps = Vec::new();
        let both = one.clone() + "-b";
        let mut subscribe = self.step(&["SUBSCRIBE", &one, &both]);
        subscribe.frames = 2;
        steps.push(subscribe);
        steps.push(self.step(&["PSUBSCRIBE", &two]));
        steps.push(self.step(&["PING", "in-subscribed"]));
        steps.push(self.step(&["PING"]));
        steps.push(self.step(&["SUBSCRIBE"]));
        if self.protocol == 3 {
            let mut publish = self.step(&["PUBLISH", &one, "to myself"]);
            publish.frames = 2;
            steps.push(publish);
        }
        steps.push(self.step(&["GET", "x"]));
        if self.major >= 7 {
            steps.push(self.step(&["SSUBSCRIBE", "shard"]));
            steps.push(self.step(&["SUNSUBSCRIBE", "shard"]));
        }
        let mut unsubscribe = if self.random.chance(50) {
            self.step(&["UNSUBSCRIBE"])
        } else {
            self.step(&["UNSUBSCRIBE", &one, &both])
        };
        unsubscribe.frames = 2;
        unsubscribe.verdict = Verdict::Kind;
        steps.push(unsubscribe);
        steps.push(self.step(&["PUNSUBSCRIBE"]));
        steps.push(self.step(&["GET", "x"]));
        steps
    }

    fn muted(&mut self) -> Vec<Step> {
        let key = self.key("s");
        let mode = if self.random.chance(50) {
            "OFF"
        } else {
            "SKIP"
        };
        let mut steps = vec![
            self.step(&["CLIENT", "REPLY", mode]),
            self.step(&["SET", &key, "quietly"]),
        ];
        for step in &mut steps {
            step.frames = 0;
        }
        steps.push(self.step(&["CLIENT", "REPLY", "ON"]));
        steps.push(self.step(&["GET", &key]));
        steps
    }

    fn reset(&mut self) -> Vec<Step> {
        self.protocol = 2;
        let mut steps = Vec::new();
        if self.random.chance(50) {
            steps.push(self.step(&["MULTI"]));
        }
        steps.push(self.step(&["RESET"]));
        steps.extend(self.opening());
        steps.push(self.step(&["CLIENT", "GETNAME"]));
        steps
    }

    fn popped_set(&mut self) -> Vec<Step> {
        let key = format!("c{}:pop", self.connection);
        vec![
            self.step(&["SADD", &key, "a", "b", "c"]),
            self.step(&["SPOP", &key]),
            self.step(&["SPOP", &key, "1"]),
            self.step(&["SPOP", &key, "100"]),
            self.step(&["DEL", &key]),
        ]
    }

    fn tracking(&mut self) -> Vec<Step> {
        let key = format!("c{}:tracked", self.connection);
        let on = self.step(&["CLIENT", "TRACKING", "ON"]);
        let write = self.step(&["SET", &key, "1"]);
        let read = self.step(&["GET", &key]);
        let mut announced = self.step(&["SET", &key, "2"]);
        announced.frames = if self.protocol == 3 { 2 } else { 1 };
        let off = self.step(&["CLIENT", "TRACKING", "OFF"]);
        let info = self.step(&["CLIENT", "TRACKINGINFO"]);
        vec![
            write,
            on,
            info.clone(),
            read.clone(),
            read,
            announced,
            off,
            info,
        ]
    }

    fn step(&mut self, words: &[&str]) -> Step {
        self.finish(
            words.iter().map(|word| word.as_bytes().to_vec()).collect(),
            false,
        )
    }

    fn from_template(&mut self, templates: &[&str]) -> Step {
        let template = *self.random.pick(templates);
        let fixed = template.starts_with('!');
        let choice = choose(template.trim_start_matches('!'), &mut self.random);
        let mut words: Vec<Vec<u8>> = choice
            .split(' ')
            .filter(|token| !token.is_empty())
            .map(|token| self.word(token))
            .collect();
        if !fixed && self.random.chance(15) {
            self.spoil(&mut words);
        }
        self.finish(words, true)
    }

    fn finish(&mut self, mut words: Vec<Vec<u8>>, may_be_inline: bool) -> Step {
        if may_be_inline && self.random.chance(25) {
            self.change_case(&mut words[0]);
        }
        let pushes =
            words.len() == 3 && words[0].eq_ignore_ascii_case(b"DEBUG") && words[2] == b"push";
        if pushes && self.protocol == 2 {
            words[2] = b"set".to_vec();
        }
        let frames = if pushes && self.protocol == 3 { 2 } else { 1 };
        let verdict = verdict(&words);
        let plain = !words[0].starts_with(b"*")
            && words.iter().all(|word| {
                !word.is_empty()
                    && word
                        .iter()
                        .all(|byte| byte.is_ascii_alphanumeric() || b":-.*".contains(byte))
            });
        let bytes = if may_be_inline && plain && self.random.chance(10) {
            let mut line = words.join(&b' ');
            line.extend_from_slice(if self.random.chance(20) {
                b"\n"
            } else {
                b"\r\n"
            });
            line
        } else {
            crate::harness::encode(&words)
        };
        Step {
            words,
            bytes,
            frames,
            verdict,
        }
    }

    fn change_case(&mut self, word: &mut [u8]) {
        let style = self.random.below(2);
        for byte in word {
            if style == 0 || self.random.chance(50) {
                *byte = byte.to_ascii_lowercase();
            }
        }
    }

    fn spoil(&mut self, words: &mut Vec<Vec<u8>>) {
        let odd = self.random.pick(ODD).to_vec();
        match self.random.below(4) {
            0 if words.len() > 1 => {
                words.pop();
            }
            1 => words.push(odd),
            _ if words.len() > 1 => {
                let at = 1 + self.random.below(words.len() - 1);
                words[at] = odd;
            }
            _ => words.push(odd),
        }
    }

    fn word(&mut self, token: &str) -> Vec<u8> {
        let Some((before, rest)) = token.split_once('<') else {
            return token.as_bytes().to_vec();
        };
        let Some((name, after)) = rest.split_once('>') else {
            return token.as_bytes().to_vec();
        };
        let mut word = before.as_bytes().to_vec();
        word.extend(self.token(name));
        word.extend_from_slice(after.as_bytes());
        word
    }

    fn token(&mut self, name: &str) -> Vec<u8> {
        let kinds = ["s", "h", "l", "t", "z", "x", "g", "p", "b"];
        match name {
            "k" => {
                let kind = *self.random.pick(&kinds);
                self.key(kind).into_bytes()
            }
            "v" => self.value(),
            "n" => (self.random.below(14) as i64 - 3).to_string().into_bytes(),
            "o" => self.random.below(200).to_string().into_bytes(),
            "d" => self
                .random
                .pick(&["1", "-2.5", "3e2", "0.1", "12.25", "-inf", "80"])
                .as_bytes()
                .to_vec(),
            "f" | "m" => format!("{name}{}", self.random.below(9)).into_bytes(),
            "ttl" => (1_000_000 + self.random.below(9) * 1_000_000)
                .to_string()
                .into_bytes(),
            "at" => b"4102444800".to_vec(),
            "atms" => b"4102444800000".to_vec(),
            "id" => format!("{}-{}", self.random.below(30), self.random.below(3)).into_bytes(),
            "seq" => {
                self.sequence += 1;
                let star = self.random.chance(20);
                if star {
                    format!("{}-*", self.sequence)
                } else {
                    self.sequence.to_string()
                }
                .into_bytes()
            }
            "db" => (self.connection * DATABASES + self.random.below(DATABASES))
                .to_string()
                .into_bytes(),
            "ch" => self.channel().into_bytes(),
            "pat" => self
                .random
                .pick(&["*", "c?:s*", "[a-z]*:h1", "nothing", "\\", ""])
                .as_bytes()
                .to_vec(),
            "dump" => self.random.pick(&self.dumps).clone(),
            "lua" => {
                let script = *self.random.pick(LUA);
                if self.random.chance(50) {
                    script.as_bytes().to_vec()
                } else {
                    format!("{script} -- {}", self.connection).into_bytes()
                }
            }
            "lib" => LIBRARY.as_bytes().to_vec(),
            "lb" => b"[".to_vec(),
            "long" => vec![b'q'; 50 + self.random.below(20_000)],
            "empty" => Vec::new(),
            kind if kinds.contains(&kind) => {
                let kind = if self.random.chance(8) {
                    *self.random.pick(&kinds)
                } else {
                    kind
                };
                self.key(kind).into_bytes()
            }
            other => panic!("no token <{other}>"),
        }
    }

    fn key(&mut self, kind: &str) -> String {
        format!("c{}:{kind}{}", self.connection, self.random.below(3))
    }

    fn channel(&mut self) -> String {
        format!("ch{}", self.connection)
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(20) {
            0 => Vec::new(),
            1 => self.random.pick(ODD).to_vec(),
            2 => vec![b'v'; self.random.below(8000)],
            3 => (0..self.random.below(300))
                .map(|_| self.random.next() as u8)
                .collect(),
            4..=7 => self.random.below(50).to_string().into_bytes(),
            _ => format!("value-{}", self.random.below(20)).into_bytes(),
        }
    }
}

/// Decides the `[a|b]` of a template, which may be nested. A bracket that opens a word of its own only.
fn choose(template: &str, random: &mut Random) -> String {
    let Some(open) = template.find('[') else {
        return template.to_owned();
    };
    let (mut depth, mut cuts, mut close) = (0, vec![open], None);
    for (at, byte) in template.bytes().enumerate().skip(open) {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            b'|' if depth == 1 => cuts.push(at),
            _ => {}
        }
        if depth == 0 {
            close = Some(at);
            break;
        }
    }
    let Some(close) = close else {
        return template.to_owned();
    };
    cuts.push(close);
    let choice = random.below(cuts.len() - 1);
    let chosen = &template[cuts[choice] + 1..cuts[choice + 1]];
    let rest = choose(&template[close + 1..], random);
    format!("{}{}{rest}", &template[..open], choose(chosen, random))
}
