//! What the tokens of a template become: keys, values, numbers, scripts.

use super::generator::{DATABASES, Generator};

/// Odd arguments. No small positive number: as a time to live it would make the test depend on time.
pub(super) const ODD: &[&[u8]] = &[
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

impl Generator {
    pub(super) fn word(&mut self, token: &str) -> Vec<u8> {
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

    pub(super) fn key(&mut self, kind: &str) -> String {
        format!("c{}:{kind}{}", self.connection, self.random.below(3))
    }

    pub(super) fn channel(&mut self) -> String {
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
