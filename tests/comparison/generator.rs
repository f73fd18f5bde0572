//! A seeded generator of commands, in units that leave the connection as neutral as they found it.

use crate::harness::Random;

use super::templates::{FAMILIES, GLOBAL};
use super::verdict::{Verdict, verdict};
use super::words::ODD;

/// Databases of its own that each connection may use.
pub(super) const DATABASES: usize = 4;
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
    pub(super) random: Random,
    pub(super) connection: usize,
    pub(super) database: usize,
    pub(super) protocol: u8,
    pub(super) sequence: u64,
    pub(super) dumps: Vec<Vec<u8>>,
    pub(super) major: u32,
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
                vec![self.fill_template(family)]
            }
        }
    }

    /// The next unit that touches the whole server.
    pub fn global_unit(&mut self) -> Vec<Step> {
        if self.random.chance(20) {
            self.tracking()
        } else {
            vec![self.fill_template(GLOBAL)]
        }
    }

    pub(super) fn step(&mut self, words: &[&str]) -> Step {
        self.finish(
            words.iter().map(|word| word.as_bytes().to_vec()).collect(),
            false,
        )
    }

    pub(super) fn fill_template(&mut self, templates: &[&str]) -> Step {
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
        // `*` makes the server's clock the id, and two servers do not read it at the same instant.
        if words[0].eq_ignore_ascii_case(b"XADD") {
            for word in words.iter_mut().skip(2).filter(|word| *word == b"*") {
                *word = b"7-7".to_vec();
            }
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
