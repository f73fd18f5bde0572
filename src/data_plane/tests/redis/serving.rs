//! The server's end of a link: requests cut, answered, and written.

use std::collections::VecDeque;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{Link, Redis, Say, State, repair};
use crate::resp::{Parsed, Words, encode, parse};

/// The server's end of one link.
pub(super) struct Serving {
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
    pub(super) fn new(redis: Redis, number: usize, stream: DuplexStream) -> Self {
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

    pub(super) async fn run(mut self) {
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
            let request = repair::short(request);
            if request[0] != "HELLO" {
                let line = repair::shown(&request).join(" ");
                self.redis.change(|state| {
                    state.arrivals.push((self.number, line));
                    if request[0] == "OPEN" {
                        state.round.horizon = request[3].parse().expect("a stamp");
                    }
                });
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
            ("PTTL", None) => b":100000\r\n".to_vec(),
            ("TIME", None) => b"*2\r\n$4\r\n1000\r\n$1\r\n0\r\n".to_vec(),
            ("WATCH" | "UNWATCH" | "CLIENT", _) => b"+OK\r\n".to_vec(),
            (_, transaction) => {
                let round = self.redis.state().round.clone();
                let ours = repair::answer(words, &round);
                let mut reply = ours.map_or_else(Vec::new, String::into_bytes);
                let text = format!("{}:{name}:{key}", self.database);
                if reply.is_empty() {
                    encode::bulk(&mut reply, text.as_bytes());
                }
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
        let role = match name {
            "replica" => "$7\r\nreplica",
            _ => "$6\r\nmaster",
        };
        let header = match self.protocol.as_str() {
            "3" => "%7",
            _ => "*14",
        };
        format!(
            "{header}\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$5\r\nproto\r\n:{}\r\n\
             $2\r\nid\r\n:{}\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n{role}\r\n\
             $7\r\nmodules\r\n*0\r\n",
            self.protocol,
            self.number + 1,
        )
        .into_bytes()
    }
}
