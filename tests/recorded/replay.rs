//! The life of two users' sessions, as one set-up serves it.

use super::notation::{Command, Filler, Packet, Turn};
use super::pair::{Pair, Sides, exchange, scan};
use super::scripts::body;
use super::setup::{Connections, Setup, Unscripted};

/// Seconds that a session lives; every second process is told the shorter time.
const SECONDS: [u64; 2] = [600, 300];
/// All users, and each of them.
const BOTH: &[usize] = &[0, 1];
const ALICE: &[usize] = &[0];
const BOB: &[usize] = &[1];

/// Lives two sessions from the log in to the end, and compares replies and data all the way.
pub fn run(pair: &mut Pair, setup: &'static Setup) {
    if pair.secured && setup.opening.is_empty() {
        return;
    }
    let mut replay = Replay::start(pair, setup);
    let Setup {
        log_in,
        read,
        update,
        change_id,
        log_out,
        others,
        clear,
        ..
    } = *setup;
    replay.request("log in", BOTH, log_in);
    let keys = replay.pair.compare_data(setup.name);
    assert!(keys >= BOTH.len(), "{}: sessions are stored", setup.name);
    for _ in SECONDS {
        replay.request("read", BOTH, read);
        replay.change();
        replay.request("update", BOTH, update);
    }
    if !change_id.is_empty() {
        for browser in &mut replay.filler.browsers {
            browser.session += 1;
        }
    }
    replay.request("change id", BOTH, change_id);
    replay.request("read", BOTH, read);
    replay.request("others", ALICE, others);
    replay.request("log out", ALICE, log_out);
    replay.request("read after the log out", ALICE, read);
    replay.request("update after the log out", ALICE, update);
    replay.request("read of the other user", BOB, read);
    replay.request("clear", BOB, clear);
    replay.finish();
}

struct Replay<'a> {
    pair: &'a mut Pair,
    setup: &'static Setup,
    filler: Filler,
    /// Those of the first process, then those of the next.
    connections: Vec<Sides>,
    processes: usize,
    opened: usize,
    requests: usize,
    taken: usize,
}

impl<'a> Replay<'a> {
    fn start(pair: &'a mut Pair, setup: &'static Setup) -> Self {
        let hashes = pair.begin();
        let filler = Filler::new(setup, pair.now(), hashes);
        let each = match setup.connections {
            Connections::Shared(each) | Connections::Pool(each) => each,
            Connections::PerRequest => 0,
        };
        // As many processes as it takes for every form of the opening.
        let processes = setup.opening.len().div_ceil(each.max(1)).max(2);
        let mut replay = Self {
            pair,
            setup,
            filler,
            connections: Vec::new(),
            processes,
            opened: 0,
            requests: 0,
            taken: 0,
        };
        for _ in 0..processes * each {
            let sides = replay.open();
            replay.connections.push(sides);
        }
        replay
    }

    fn change(&mut self) {
        for browser in &mut self.filler.browsers {
            browser.changes += 1;
        }
    }

    fn open(&mut self) -> Sides {
        let context = format!("{}, {}, opening", self.setup.name, self.pair.name());
        let mut sides = self.pair.connect();
        let forms = self.setup.opening;
        let form = forms.get(self.opened % forms.len().max(1)).unwrap_or(&"");
        self.opened += 1;
        for packet in self.filler.opening(form, self.pair.secured) {
            exchange(&context, &mut sides, &packet);
        }
        sides
    }

    /// One web request of each of these users, at the same time, to the next process.
    fn request(&mut self, operation: &str, browsers: &[usize], text: &str) {
        if text.is_empty() {
            return;
        }
        let context = format!("{}, {}, {operation}", self.setup.name, self.pair.name());
        let process = self.requests % self.processes;
        self.requests += 1;
        self.filler.seconds = SECONDS[process % SECONDS.len()];
        let plans: Vec<Vec<Turn>> = browsers
            .iter()
            .map(|browser| self.filler.turns(*browser, text))
            .collect();
        let mut own: Vec<Sides> = match self.setup.connections {
            Connections::PerRequest => browsers.iter().map(|_| self.open()).collect(),
            _ => Vec::new(),
        };
        for step in 0..plans[0].len() {
            let turns = plans.iter().map(|turns| &turns[step]);
            match self.setup.connections {
                Connections::Shared(each) => {
                    let sides = &mut self.connections[process * each + step % each];
                    for packet in joined(turns) {
                        self.setup.send(&context, sides, &packet);
                    }
                }
                Connections::Pool(each) => {
                    for turn in turns {
                        let sides = &mut self.connections[process * each + self.taken % each];
                        self.taken += 1;
                        for packet in turn {
                            self.setup.send(&context, sides, packet);
                        }
                    }
                }
                Connections::PerRequest => {
                    for (turn, sides) in turns.zip(&mut own) {
                        for packet in turn {
                            self.setup.send(&context, sides, packet);
                        }
                    }
                }
            }
        }
        self.pair.compare_data(&context);
    }

    fn finish(self) {
        if !self.setup.quits {
            return;
        }
        for mut sides in self.connections {
            for side in &mut sides {
                let quit = if self.setup.lower { "quit" } else { "QUIT" };
                side.send_words(quit);
            }
            let [through, direct] = sides.each_mut().map(|side| side.rest());
            assert_eq!(through, direct, "{}: QUIT", self.setup.name);
        }
    }
}

/// What two users' requests send at the same moment is one packet.
fn joined<'a>(turns: impl Iterator<Item = &'a Turn>) -> Vec<Packet> {
    let mut packets = Vec::<Packet>::new();
    for turn in turns {
        packets.resize(turn.len(), Packet::new());
        for (packet, more) in packets.iter_mut().zip(turn) {
            packet.extend_from_slice(more);
        }
    }
    packets
}

impl Setup {
    /// Sends a packet to both sides, and what the library sends next when a cursor or an unknown script is the answer.
    fn send(&self, context: &str, sides: &mut Sides, packet: &Packet) {
        if let [command] = &packet[..]
            && command.text.starts_with("SCAN c")
        {
            return scan(context, sides, command);
        }
        let replies = exchange(context, sides, packet);
        if !replies[0].starts_with(b"-NOSCRIPT") {
            return;
        }
        let command = &packet[0];
        let name = command.text.split([' ', ':']).nth(2).expect("sha:NAME");
        let text = body(name).as_bytes().to_vec();
        let rest = command.words[2..].iter().cloned();
        let words = match self.unscripted {
            Unscripted::Eval => [b"EVAL".to_vec(), text].into_iter().chain(rest).collect(),
            Unscripted::Load => vec![b"SCRIPT".to_vec(), b"LOAD".to_vec(), text],
        };
        let text = format!("after NOSCRIPT, {name}");
        let mut next = vec![Command { text, words }];
        if let Unscripted::Load = self.unscripted {
            next.push(command.clone());
        }
        for command in next {
            let replies = exchange(context, sides, std::slice::from_ref(&command));
            assert!(replies[0][0] != b'-', "{context}: {} runs", command.text);
        }
    }
}
