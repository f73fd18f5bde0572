//! A browser as far as sessions need one: requests, cookies, and what an app says that its session holds.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde::Deserialize;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a session holds, by the app's word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Held {
    /// Who is logged in.
    pub(super) user: Option<String>,
    /// What the last update left.
    pub(super) value: Option<String>,
    /// Something big.
    pub(super) large: Option<String>,
}

/// One user's cookies; a clone keeps those that the original gives up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Reads a page that only looks.
    pub(super) fn read(&mut self, port: u16) -> Held {
        self.ask(port, "GET", "/read", "")
    }

    /// Reads where the app may not be up: the error is that of the connection, or what it answered instead.
    pub(super) fn try_read(&mut self, port: u16) -> Result<Held, String> {
        self.try_ask(port, "GET", "/read", "")
    }

    /// Posts to a page that does something.
    pub(super) fn post(&mut self, port: u16, path: &str, body: &str) -> Held {
        self.ask(port, "POST", path, body)
    }

    /// Returns the same cookies with every value changed.
    pub(super) fn forged(&self, change: impl Fn(&str) -> String) -> Self {
        let cookies = self.cookies.iter();
        Self {
            cookies: cookies
                .map(|(name, value)| (name.clone(), change(value)))
                .collect(),
        }
    }

    /// Whether it has a cookie at all.
    pub(super) fn has_cookie(&self) -> bool {
        !self.cookies.is_empty()
    }

    /// Posts where the app may fail: the error is what it answered instead.
    pub(super) fn try_post(&mut self, port: u16, path: &str, body: &str) -> Result<Held, String> {
        self.try_ask(port, "POST", path, body)
    }

    fn ask(&mut self, port: u16, method: &str, path: &str, body: &str) -> Held {
        self.try_ask(port, method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_ask(&mut self, port: u16, method: &str, path: &str, body: &str) -> Result<Held, String> {
        let answer = self
            .exchange(port, method, path, body)
            .map_err(|error| error.to_string())?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| format!("no head ends in {answer:?}"))?;
        if head.split(' ').nth(1) != Some("200") {
            return Err(format!("{head}\n{body:.2000}"));
        }
        for line in head.lines() {
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("set-cookie")
            {
                self.keep(value);
            }
        }
        serde_json::from_str(body).map_err(|error| format!("{error} in {head}\n{body:.2000}"))
    }

    /// HTTP/1.0, so that the answer ends where the connection ends, in no chunks.
    fn exchange(&self, port: u16, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n");
        if method == "POST" {
            let length = body.len();
            request += &format!("Content-Type: text/plain\r\nContent-Length: {length}\r\n");
        }
        if self.has_cookie() {
            let pairs = self.cookies.iter();
            let pairs: Vec<_> = pairs
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request += &format!("Cookie: {}\r\n", pairs.join("; "));
        }
        stream.write_all(format!("{request}\r\n{body}").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Takes a cookie, or drops it where the app wants it gone.
    fn keep(&mut self, header: &str) {
        let (pair, attributes) = header.split_once(';').unwrap_or((header, ""));
        let Some((name, value)) = pair.split_once('=') else {
            panic!("no cookie: {header}");
        };
        let attributes = attributes.to_ascii_lowercase();
        let gone = ["max-age=0", "max-age=-", "expires=thu, 01 jan 1970"]
            .iter()
            .any(|mark| attributes.contains(mark));
        if gone || matches!(value, "" | "deleted") {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}
