//! A server that does what a test tells it to.
//!
//! It answers a handshake as Redis does; MULTI queues; every other command is answered with the database that the link
//! has selected, the command's name and its key, so that a reply says whose it is and where it came from.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::resp::{Parsed, Words, encode, parse};
use crate::seam::{BoxStream, Dial, Dialing, Entropy, HostPort};

/// What becomes of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    Refusing,
    /// Neither accepts nor refuses until that changes.
    Hanging,
}

/// What the server says to a command of a script.
#[derive(Clone, Debug)]
pub(super) enum Say {
    Bytes(Vec<u8>),
    /// And then it closes the link.
    Last(Vec<u8>),
}

/// One link, as the server sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// `tracked`, `general`, `pinned`.
    pub(super) lane: String,
    pub(super) open: bool,
    /// The server does not read it.
    pub(super) frozen: bool,
    /// The server closes it.
    closing: bool,
    /// The server closes it once it has written that many bytes more.
    pub(super) bytes_left: Option<usize>,
}

struct State {
    door: Door,
    dials: Vec<Instant>,
    links: Vec<Link>,
    arrivals: Vec<(usize, String)>,
    held: HashSet<String>,
    scripts: HashMap<String, VecDeque<Say>>,
    pipe: usize,
    /// Cuts what is written into pieces.
    chance: Option<Entropy>,
}

/// The server, in the hands of the test and of the data thread's dial.
#[derive(Clone)]
pub(super) struct Redis {
    state: Arc<Mutex<State>>,
    changes: Arc<watch::Sender<()>>,
}

impl Redis {
    pub(super) fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                door: Door::Open,
                dials: Vec::new(),
                links: Vec::new(),
                arrivals: Vec::new(),
                held: HashSet::new(),
                scripts: HashMap::new(),
                pipe: 64 * 1024,
                chance: None,
            })),
            changes: Arc::new(watch::Sender::new(())),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test has failed meanwhile")
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.state());
        self.changes.send_replace(());
    }

    /// Says what becomes of dials.
    pub(super) fn door(self, door: Door) -> Self {
        self.set_door(door);
        self
    }

    pub(super) fn set_door(&self, door: Door) {
        self.change(|state| state.door = door);
    }

    /// Pipes of links opened from now on take so many bytes each way.
    pub(super) fn set_pipe(&self, bytes: usize) {
        self.change(|state| state.pipe = bytes);
    }

    /// Cuts what it writes from now on into pieces.
    pub(super) fn cut(&self, seed: u64) {
        self.change(|state| state.chance = Some(Entropy::from_seed(seed)));
    }

    /// Answers this command, and what stands behind it, not yet.
    pub(super) fn hold(&self, name: &str) {
        self.change(|state| {
            state.held.insert(name.to_owned());
        });
    }

    /// Answers this command from now on, and what stands behind it.
    pub(super) fn release(&self, name: &str) {
        self.change(|state| {
            state.held.remove(name);
        });
    }

    /// Answers the next such command like this.
    pub(super) fn script(&self, name: &str, say: Say) {
        self.change(|state| {
            state
                .scripts
                .entry(name.to_owned())
                .or_default()
                .push_back(say);
        });
    }

    /// Changes what it does with a link.
    pub(super) fn with_link(&self, link: usize, how: impl FnOnce(&mut Link)) {
        self.change(|state| how(&mut state.links[link]));
    }

    pub(super) fn close(&self, link: usize) {
        self.with_link(link, |link| link.closing = true);
    }

    /// Closes all links and refuses new ones.
    pub(super) fn die(&self) {
        self.change(|state| {
            state.door = Door::Refusing;
            state.links.iter_mut().for_each(|link| link.closing = true);
        });
    }

    /// Returns when it was dialled.
    pub(super) fn dials(&self) -> Vec<Instant> {
        self.state().dials.clone()
    }

    /// Returns all links that there ever were.
    pub(super) fn links(&self) -> Vec<Link> {
        self.state().links.clone()
    }

    /// Returns the open link of a shared lane, in database 0 and RESP2.
    pub(super) fn link(&self, lane: &str) -> usize {
        let links = self.links();
        let mut found = (0..links.len()).filter(|&link| links[link].open);
        let found = found.find(|&link| links[link].lane == lane);
        found.expect("an open link of that lane")
    }

    /// Returns what arrived, handshakes left out, and the link that brought it.
    pub(super) fn arrivals(&self) -> Vec<(usize, String)> {
        self.state().arrivals.clone()
    }

    /// Returns the link that brought a request, which arrived once.
    pub(super) fn carrier(&self, request: &str) -> usize {
        let arrivals = self.arrivals();
        let mut carriers = arrivals.iter().filter(|(_, words)| words == request);
        let carrier = carriers
            .next()
            .unwrap_or_else(|| panic!("no {request} in {arrivals:?}"));
        assert!(carriers.next().is_none(), "{request} twice in {arrivals:?}");
        carrier.0
    }

    /// Tells whether a request arrived.
    pub(super) fn has(&self, request: &str) -> bool {
        self.arrivals().iter().any(|(_, words)| words == request)
    }

    async fn accept(self) -> io::Result<BoxStream> {
        let mut changes = self.changes.subscribe();
        while self.state().door == Door::Hanging {
            let _ = changes.changed().await;
        }
        let mut state = self.state();
        if state.door == Door::Refusing {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = tokio::io::duplex(state.pipe);
        let number = state.links.len();
        state.links.push(Link {
            lane: "pinned".into(),
            open: true,
            ..Link::default()
        });
        drop(state);
        tokio::spawn(Serving::new(self, number, far).run());
        Ok(Box::new(near))
    }
}

impl Dial for Redis {
    fn dial(&self, _: &HostPort) -> Dialing {
        self.state().dials.push(Instant::now());
        Box::pin(self.clone().accept())
    }
}

/// The server's end of one link.
struct Serving {
    redis: Redis,
    number: usize,
    stream: DuplexStream,
    input: Vec<u8>,
    queue: VecDeque<Vec<String>>,
    protocol: String,
    database: String,
    transaction: Option<Vec<Vec<u8>>>,
}

impl Serving {
    fn new(redis: Redis, number: usize, stream: DuplexStream) -> Self {
        Self {
            redis,
            number,
            stream,
            input: Vec::new(),
            queue: VecDeque::new(),
            protocol: "2".into(),
            database: "0".into(),
            transaction: None,
        }
    }

    async fn run(mut self) {
        // The data thread may have gone, and the test with it: that is no news.
        let _ = self.converse().await;
        self.redis
            .change(|state| state.links[self.number].open = false);
    }

    fn link(&self) -> Link {
        self.redis.state().links[self.number].clone()
    }

    /// Reads requests and answers them until one side closes.
    async fn converse(&mut self) -> io::Result<()> {
        let mut changes = self.redis.changes.subscribe();
        loop {
            while let Some(words) = self.queue.front()
                && !self.redis.state().held.contains(&words[0])
            {
                let words = self.queue.pop_front().unwrap_or_default();
                match self.answer(&words) {
                    Say::Bytes(bytes) => self.write(&bytes).await?,
                    Say::Last(bytes) => return self.write(&bytes).await,
                }
            }
            let Link {
                closing, frozen, ..
            } = self.link();
            if closing {
                return Ok(());
            }
            // Not biased: which of the two comes first does not matter, both are looked at again.
            tokio::select! {
                read = self.stream.read_buf(&mut self.input), if !frozen => {
                    if read? == 0 {
                        return Ok(());
                    }
                    self.take_requests();
                }
                _ = changes.changed() => {}
            }
        }
    }

    fn take_requests(&mut self) {
        let mut words = Words::default();
        while !self.input.is_empty() {
            let length = match parse(&self.input, &mut words) {
                Parsed::Whole(length) => length,
                Parsed::Partial(_) | Parsed::Large(_) => return,
                other => panic!("{other:?} instead of a request"),
            };
            let word =
                |index| String::from_utf8_lossy(words.get(&self.input, index).unwrap_or(b""));
            let request: Vec<String> = (0..words.len()).map(|i| word(i).into_owned()).collect();
            self.input.drain(..length);
            if request[0] != "HELLO" {
                let line = request.join(" ");
                self.redis
                    .change(|state| state.arrivals.push((self.number, line)));
            }
            self.queue.push_back(request);
        }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut changes = self.redis.changes.subscribe();
        while !bytes.is_empty() {
            let piece = match (&mut self.redis.state().chance, bytes.len()) {
                (Some(chance), length) => 1 + chance.next_u64() as usize % length,
                (None, length) => length,
            };
            let Link {
                closing,
                bytes_left,
                ..
            } = self.link();
            let piece = piece.min(bytes_left.unwrap_or(usize::MAX));
            if closing || piece == 0 {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            // Not biased: a change only means that the link is looked at again.
            let written = tokio::select! {
                written = self.stream.write(&bytes[..piece]) => written?,
                _ = changes.changed() => continue,
            };
            bytes = &bytes[written..];
            if let Some(left) = &mut self.redis.state().links[self.number].bytes_left {
                *left -= written;
            }
            if piece < bytes.len() {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn answer(&mut self, words: &[String]) -> Say {
        let scripted = |state: &mut State| state.scripts.get_mut(&words[0])?.pop_front();
        if let Some(say) = scripted(&mut self.redis.state()) {
            return say;
        }
        let name = words[0].as_str();
        let key = words.get(1).map_or("", String::as_str);
        let plain = match (name, &mut self.transaction) {
            ("EXEC", transaction) => match transaction.take() {
                Some(replies) => [format!("*{}\r\n", replies.len()).into_bytes()]
                    .into_iter()
                    .chain(replies)
                    .flatten()
                    .collect(),
                None => b"-ERR EXEC without MULTI\r\n".to_vec(),
            },
            ("DISCARD", transaction) => {
                *transaction = None;
                b"+OK\r\n".to_vec()
            }
            ("MULTI", transaction) => {
                *transaction = Some(Vec::new());
                b"+OK\r\n".to_vec()
            }
            ("HELLO", _) => self.greet(words),
            ("SELECT", _) if key.len() > 1 => b"-ERR DB index is out of range\r\n".to_vec(),
            ("SELECT", _) => {
                self.database = key.into();
                b"+OK\r\n".to_vec()
            }
            ("PING", _) => b"+PONG\r\n".to_vec(),
            ("ECHO", _) => {
                let mut reply = Vec::new();
                encode::bulk(&mut reply, key.as_bytes());
                reply
            }
            ("WATCH" | "UNWATCH" | "CLIENT", _) => b"+OK\r\n".to_vec(),
            (_, transaction) => {
                let mut reply = Vec::new();
                let text = format!("{}:{name}:{key}", self.database);
                encode::bulk(&mut reply, text.as_bytes());
                match transaction {
                    None => reply,
                    Some(queued) => {
                        queued.push(reply);
                        b"+QUEUED\r\n".to_vec()
                    }
                }
            }
        };
        Say::Bytes(plain)
    }

    fn greet(&mut self, words: &[String]) -> Vec<u8> {
        if let Some(protocol) = words.get(1) {
            self.protocol = protocol.clone();
        }
        let name = words
            .iter()
            .find_map(|word| word.strip_prefix("gripfast-"))
            .unwrap_or("pinned");
        self.redis
            .change(|state| state.links[self.number].lane = name.to_owned());
        let header = match self.protocol.as_str() {
            "3" => "%7",
            _ => "*14",
        };
        format!(
            "{header}\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$5\r\nproto\r\n:{}\r\n\
             $2\r\nid\r\n:{}\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
             $7\r\nmodules\r\n*0\r\n",
            self.protocol,
            self.number + 1,
        )
        .into_bytes()
    }
}
