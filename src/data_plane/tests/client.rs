//! A client as the tests write it: lines out, frames in.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::resp::{Scanner, request_bytes};

/// Longer than anything here may last; on a paused clock it passes at once when nobody is going to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client connection.
pub(super) struct Client {
    pub(super) stream: DuplexStream,
    /// What came and was not looked at.
    pub(super) input: Vec<u8>,
}

impl Client {
    pub(super) fn new(stream: DuplexStream) -> Self {
        Self {
            stream,
            input: Vec::new(),
        }
    }

    /// Sends requests, one a line, words between blanks, in one packet.
    pub(super) async fn send(&mut self, lines: &str) {
        self.send_bytes(&packet(lines)).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("still open");
    }

    /// Sends requests and returns the reply to the last one, or to the only one.
    pub(super) async fn ask(&mut self, lines: &str) -> String {
        self.send(lines).await;
        let mut reply = String::new();
        for _ in lines.lines() {
            reply = self.reply().await;
        }
        reply
    }

    /// Returns the next frame; fails when the connection closes or nothing comes.
    pub(super) async fn reply(&mut self) -> String {
        self.next().await.expect("a reply, not a close")
    }

    /// Returns the next frame, which must be on its way already.
    pub(super) async fn next_now(&mut self) -> String {
        let reply = tokio::time::timeout(Duration::from_millis(5), self.reply());
        reply.await.expect("nothing comes")
    }

    /// Returns the next replies.
    pub(super) async fn replies(&mut self, count: usize) -> Vec<String> {
        let mut replies = Vec::new();
        for _ in 0..count {
            replies.push(self.reply().await);
        }
        replies
    }

    /// Returns the next frame, or nothing where the connection closed; what was cut off stays in `input`.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            let run = Scanner::default().run(&self.input, 1).expect("RESP");
            if run.frames == 1 {
                let frame: Vec<u8> = self.input.drain(..run.consumed).collect();
                return Some(String::from_utf8(frame).expect("text"));
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// Reads some bytes; `false` where the connection is closed.
    async fn read(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.input);
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(count)) => count > 0,
            Ok(Err(_)) => false,
            Err(_) => panic!("neither a reply nor a close; so far {:?}", self.input),
        }
    }

    /// Returns what comes until the connection closes.
    pub(super) async fn until_close(&mut self) -> String {
        while self.read().await {}
        String::from_utf8(std::mem::take(&mut self.input)).expect("text")
    }

    /// Fails unless the connection is closed now, with nothing said before.
    pub(super) async fn is_closed(&mut self) {
        self.input.clear();
        let read = tokio::time::timeout(Duration::from_millis(5), self.until_close());
        assert_eq!(read.await.expect("not closed"), "");
    }

    /// Fails if something comes, or the connection closes, although everybody has had the time to.
    pub(super) async fn is_silent(&mut self) {
        let read = self.stream.read_buf(&mut self.input);
        if let Ok(read) = tokio::time::timeout(Duration::from_millis(5), read).await {
            panic!("{read:?} came: {}", String::from_utf8_lossy(&self.input));
        }
    }

    /// Says that nothing more will be sent.
    pub(super) async fn finish(&mut self) {
        self.stream.shutdown().await.expect("still open");
    }
}

/// Requests, one a line, words between blanks, as arrays.
pub(super) fn packet(lines: &str) -> Vec<u8> {
    let words = |line: &str| request_bytes(&line.split_whitespace().collect::<Vec<_>>());
    lines.lines().flat_map(words).collect()
}
