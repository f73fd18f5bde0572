//! Sends the same steps to the sidecar and to Redis and compares what comes back.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use crate::harness::{Client, Random, Server, Sidecar, Value, Version, escape, parse, pause, seed};

use super::generator::{Generator, Step};
use super::verdict::alike;

/// Connections at work at once.
const CONNECTIONS: usize = 4;
/// Commands shown when a difference is found.
const HISTORY_MAX: usize = 30;
/// Bytes of each earlier reply that are shown then.
const SHOWN_MAX: usize = 100;
/// Pause between some writes: long enough for the reader to see a request in two parts.
const CUT_PAUSE: Duration = Duration::from_micros(300);

/// Both sides of the comparison.
#[derive(Debug)]
pub struct Pair {
    /// The sidecar: dropped first, so that it does not see its server go.
    pub sidecar: Sidecar,
    /// Redis, asked directly.
    pub direct: Server,
    /// Redis behind the sidecar.
    pub behind: Server,
}

impl Pair {
    /// Starts two fresh servers and a sidecar before one of them.
    pub fn start(version: &Version) -> Self {
        let behind = Server::start(version);
        // With it the sidecar knows a command that Redis does not.
        let sidecar = Sidecar::before(&behind)
            .listen("maint_notifications: false")
            .start();
        Self {
            direct: Server::start(version),
            behind,
            sidecar,
        }
    }

    /// Opens a connection to each side: the sidecar's first.
    pub fn clients(&self) -> [Client; 2] {
        [self.sidecar.client(), self.direct.client()]
    }
}

struct Connection {
    generator: Generator,
    sides: [Client; 2],
    history: VecDeque<String>,
    batch: Vec<Step>,
    marks: u64,
}

/// Runs about `commands` generated commands of all families.
pub fn run(version: &Version, commands: usize) {
    let seed = seed(&format!("comparison with {}", version.name));
    let pair = Pair::start(version);
    let dumps = dumps(&mut pair.direct.client());
    let mut random = Random::new(seed);
    let mut connections: Vec<Connection> = (0..CONNECTIONS)
        .map(|number| {
            let mut generator = Generator::new(seed, number, dumps.clone(), version.major());
            let batch = generator.opening();
            Connection {
                generator,
                sides: pair.clients(),
                history: VecDeque::new(),
                batch,
                marks: 0,
            }
        })
        .collect();
    let (mut done, mut round) = (0, 0);
    while done < commands {
        for connection in &mut connections {
            let size = 1 + random.below(50);
            while connection.batch.len() < size {
                connection.batch.extend(connection.generator.unit());
            }
            done += connection.batch.len();
        }
        send_interleaved(&mut connections, &mut random);
        for connection in &mut connections {
            connection.settle(seed);
        }
        round += 1;
        if round % 3 == 0 {
            let connection = &mut connections[random.below(CONNECTIONS)];
            for _ in 0..6 {
                connection.batch.extend(connection.generator.global_unit());
            }
            done += connection.batch.len();
            connection.send_all();
            connection.settle(seed);
        }
    }
    drop(connections);
    same_data(&pair);
    eprintln!("{}: {done} commands compared", version.name);
}

/// Compares the data of both servers, past the sidecar.
fn same_data(pair: &Pair) {
    let mut sides = [pair.behind.client(), pair.direct.client()];
    let [one, other] = sides.each_mut().map(|side| side.ask("DEBUG DIGEST"));
    assert_eq!(one, other, "the data behind the sidecar is what Redis has");
}

/// Valid DUMP payloads of this server.
fn dumps(client: &mut Client) -> Vec<Vec<u8>> {
    client.ask("RPUSH d:l a b c");
    client.ask("SET d:s some-string");
    client.ask("SET d:n 12345");
    client.ask("HSET d:h f v g w");
    client.ask("ZADD d:z 1 a 2 b");
    client.ask("XADD d:x 1-1 f v");
    let dumps = ["d:l", "d:s", "d:n", "d:h", "d:z", "d:x"].map(|key| {
        match parse(&client.call(&["DUMP", key])) {
            Value::Blob(_, bytes) => bytes,
            other => panic!("a payload, not {other:?}"),
        }
    });
    client.ask("FLUSHALL");
    dumps.to_vec()
}

/// Sends all batches, cut at random points, in a random order of connections, to each side alike.
fn send_interleaved(connections: &mut [Connection], random: &mut Random) {
    let mut queues: Vec<Vec<u8>> = connections.iter_mut().map(Connection::bytes).collect();
    while queues.iter().any(|queue| !queue.is_empty()) {
        let at = random.below(queues.len());
        let length = queues[at].len();
        if length == 0 {
            continue;
        }
        let cut = match random.below(4) {
            0 => length,
            1 => 1 + random.below(8),
            _ => 1 + random.below(3000),
        };
        let piece: Vec<u8> = queues[at].drain(..cut.min(length)).collect();
        for side in &mut connections[at].sides {
            side.send(&piece);
        }
        if random.chance(20) {
            pause(CUT_PAUSE);
        }
    }
}

impl Connection {
    fn mark(&self) -> String {
        format!("mark-{}", self.marks)
    }

    fn bytes(&mut self) -> Vec<u8> {
        self.marks += 1;
        let mut bytes: Vec<u8> = self
            .batch
            .iter()
            .flat_map(|step| step.bytes.clone())
            .collect();
        bytes.extend(crate::harness::encode(&["ECHO", &self.mark()]));
        bytes
    }

    fn send_all(&mut self) {
        let bytes = self.bytes();
        for side in &mut self.sides {
            side.send(&bytes);
        }
    }

    /// Reads the replies of the batch and compares them.
    fn settle(&mut self, seed: u64) {
        let mark = crate::harness::encode(&[self.mark()])[4..].to_vec();
        let protocol = self.generator.protocol();
        let batch = std::mem::take(&mut self.batch);
        for step in batch {
            let mut told = format!("   {}", show(&step));
            for _ in 0..step.frames {
                let [sidecar, direct] = &mut self.sides;
                let right = direct.try_frame();
                let left = sidecar.try_frame();
                let fine = match (&left, &right) {
                    (Some(left), Some(right)) => {
                        let in_step = *right != mark;
                        assert!(
                            in_step,
                            "seed {seed}: the test expects more frames than Redis sends: {}\n{}",
                            show(&step),
                            self.shown_history()
                        );
                        alike(step.verdict, left, right)
                    }
                    _ => false,
                };
                if !fine {
                    let shown = |frame: &Option<Vec<u8>>| {
                        frame
                            .as_deref()
                            .map_or("(nothing: closed or silent)".into(), escape)
                    };
                    panic!(
                        "seed {seed}: replies differ (around RESP{protocol}, {:?})\n{}request: {}\nsidecar: {}\nRedis:   {}\n",
                        step.verdict,
                        self.shown_history(),
                        show(&step),
                        shown(&left),
                        shown(&right)
                    );
                }
                if let Some(frame) = right {
                    let _ = write!(
                        told,
                        "  -> {}",
                        escape(&frame[..frame.len().min(SHOWN_MAX)])
                    );
                }
            }
            if self.history.len() == HISTORY_MAX {
                self.history.pop_front();
            }
            self.history.push_back(told);
        }
        let [sidecar, direct] = &mut self.sides;
        let right = direct.frame();
        assert!(
            right == mark,
            "seed {seed}: the test expects fewer frames than Redis sends: {}\n{}",
            escape(&right),
            self.shown_history()
        );
        let left = sidecar.frame();
        assert!(
            left == mark,
            "seed {seed}: the sidecar sends more frames: {}\n{}",
            escape(&left),
            self.shown_history()
        );
    }

    fn shown_history(&self) -> String {
        let mut text = String::new();
        for told in &self.history {
            let _ = writeln!(text, "{told}");
        }
        text
    }
}

fn show(step: &Step) -> String {
    const WORD_MAX: usize = 120;
    let words: Vec<String> = step
        .words
        .iter()
        .map(|word| escape(&word[..word.len().min(WORD_MAX)]))
        .collect();
    let style = if step.bytes.starts_with(b"*") {
        ""
    } else {
        " (inline)"
    };
    format!("{}{style}", words.join(" | "))
}
