//! What the server said of itself when it greeted us: enough to answer a client's handshake in its words.

use crate::resp::Scanner;
use crate::resp::encode::{self, Protocol};
use crate::resp::frame::Header;

/// What we know of the server from its greeting, enough to answer a handshake as it would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// `redis`, `valkey` …
    pub server: String,
    /// The version as HELLO gave it.
    pub version: String,
    /// HELLO's reply around the connection's id, by protocol (2, 3).
    hello: [(Vec<u8>, Vec<u8>); 2],
}

impl ServerFacts {
    /// Learns from a reply to HELLO 3; `None` when it is not such a reply.
    pub fn from_hello(reply: &[u8]) -> Option<Self> {
        let entries = hello_entries(reply)?;
        let text = |wanted: &[u8]| {
            entries
                .iter()
                .find(|(key, _)| bulk_body(key) == wanted)
                .map(|(_, value)| String::from_utf8_lossy(bulk_body(value)).into_owned())
        };
        Some(Self {
            server: text(b"server")?,
            version: text(b"version")?,
            hello: [Protocol::Resp2, Protocol::Resp3]
                .map(|protocol| hello_template(&entries, protocol)),
        })
    }

    /// Appends the reply to HELLO for a connection with that id, which now speaks `protocol`.
    pub fn write_hello(&self, out: &mut Vec<u8>, protocol: Protocol, id: u64) {
        let (before, after) = &self.hello[usize::from(protocol == Protocol::Resp3)];
        out.extend_from_slice(before);
        encode::header(out, b':', id as i64);
        out.extend_from_slice(after);
    }

    /// Tells whether the server knows CLIENT SETINFO (Redis 7.2, every Valkey).
    pub fn has_setinfo(&self) -> bool {
        self.version_number() >= (7, 2)
    }

    /// Appends the refusal of an unknown CLIENT subcommand, in this server's words.
    ///
    /// Source: redis `src/server.c`, `getFullCommandName` users; 6.2: `src/networking.c`, `addReplySubcommandSyntaxError`.
    pub fn write_unknown_client_word(&self, out: &mut Vec<u8>, word: &[u8]) {
        // The server prints at most 128 bytes of the word, up to a NUL, and line ends as blanks.
        let end = word
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(word.len());
        let shown: Vec<u8> = word[..end.min(128)]
            .iter()
            .map(|&byte| {
                if matches!(byte, b'\r' | b'\n') {
                    b' '
                } else {
                    byte
                }
            })
            .collect();
        out.extend_from_slice(match self.version_number() < (7, 0) {
            true => b"-ERR Unknown subcommand or wrong number of arguments for '",
            false => b"-ERR unknown subcommand '",
        });
        out.extend_from_slice(&shown);
        out.extend_from_slice(b"'. Try CLIENT HELP.\r\n");
    }

    /// Appends the refusal of a HELLO without credentials that should have some.
    ///
    /// Source: redis `src/networking.c`, `helloCommand`.
    pub fn write_hello_refusal(&self, out: &mut Vec<u8>) {
        let option = match self.version_number() < (7, 2) {
            true => "AUTH <user> <pass>",
            false => "<proto> AUTH <user> <pass>",
        };
        out.extend_from_slice(
            format!(
                "-NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                 HELLO {option} option can be used to authenticate the client and select the RESP \
                 protocol version at the same time\r\n"
            )
            .as_bytes(),
        );
    }

    /// Tells whether the server takes the name of a HELLO that it refuses for want of credentials (before 7.2).
    pub fn names_strangers(&self) -> bool {
        self.version_number() < (7, 2)
    }

    /// Tells whether the server takes RESET from a client that has not authenticated (Redis 7.0, every Valkey).
    pub fn resets_strangers(&self) -> bool {
        self.version_number() >= (7, 0)
    }

    /// Tells whether the server has sharded pub/sub (Redis 7.0, every Valkey).
    pub fn has_spublish(&self) -> bool {
        self.version_number() >= (7, 0)
    }

    fn version_number(&self) -> (u32, u32) {
        let mut parts = self
            .version
            .split('.')
            .map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

/// Cuts the map that HELLO 3 answers into its keys and values, each as the bytes that came.
fn hello_entries(reply: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut count = 0;
    let first = |header: Header, count: &mut i64| {
        if header.start == 0 && header.kind == b'%' {
            *count = header.length;
        }
    };
    let mut start = 0;
    Scanner::default()
        .visit(reply, 1, |header| {
            first(header, &mut count);
            if header.start == 0 {
                start = header.end;
            }
        })
        .ok()?;
    let mut rest = reply.get(start..)?;
    let mut next = || {
        let run = Scanner::default().run(rest, 1).ok()?;
        let (frame, tail) = rest.split_at(run.consumed);
        rest = tail;
        (run.frames == 1).then_some(frame)
    };
    (0..count).map(|_| Some((next()?, next()?))).collect()
}

fn hello_template(entries: &[(&[u8], &[u8])], protocol: Protocol) -> (Vec<u8>, Vec<u8>) {
    let mut parts = (Vec::new(), Vec::new());
    match protocol {
        Protocol::Resp2 => encode::header(&mut parts.0, b'*', entries.len() as i64 * 2),
        Protocol::Resp3 => encode::header(&mut parts.0, b'%', entries.len() as i64),
    }
    let mut past_id = false;
    for (key, value) in entries {
        let out = if past_id { &mut parts.1 } else { &mut parts.0 };
        out.extend_from_slice(key);
        match (bulk_body(key), protocol) {
            (b"id", _) => past_id = true,
            (b"proto", _) => encode::header(out, b':', protocol.number().into()),
            (_, Protocol::Resp3) => out.extend_from_slice(value),
            (_, Protocol::Resp2) => {
                // Scanned whole before, so it scans again.
                let _ = Scanner::default().run_as_resp2(value, 1, out);
            }
        }
    }
    parts
}

fn bulk_body(frame: &[u8]) -> &[u8] {
    let start = frame
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    frame
        .get(start..frame.len().saturating_sub(2))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &[u8] = b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n\
        $5\r\nproto\r\n:3\r\n$2\r\nid\r\n:12\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n\
        $4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*1\r\n%1\r\n$4\r\nname\r\n$1\r\nx\r\n";

    #[test]
    fn hello_is_answered_as_the_server_did() {
        let facts = ServerFacts::from_hello(HELLO).unwrap();
        let mut out = Vec::new();
        facts.write_hello(&mut out, Protocol::Resp3, 12);
        assert_eq!(out, HELLO);
        out.clear();
        facts.write_hello(&mut out, Protocol::Resp2, 9);
        let expected = String::from_utf8(HELLO.to_vec())
            .unwrap()
            .replace("%7", "*14")
            .replace("%1", "*2")
            .replace(":3\r\n", ":2\r\n")
            .replace(":12", ":9");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(
            (facts.server.as_str(), facts.version.as_str()),
            ("redis", "7.0.15")
        );
        assert!(!facts.has_setinfo() && facts.has_spublish());
    }
}
