//! A client that sends bytes and reads whole frames as they came.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::frame::{escape, frame_end};

/// How long a read may take before the test fails.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection with a buffer of what came and was not yet taken.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    buffer: Vec<u8>,
    taken: usize,
}

impl Client {
    /// Connects over TCP.
    pub fn connect(address: &str) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// Connects over TCP, or says why not.
    pub fn try_connect(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        Ok(Self::over(Socket::Tcp(stream)))
    }

    /// Connects over a Unix socket.
    pub fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("connect to {}: {error}", path.display()));
        stream
            .set_read_timeout(Some(READ_TIMEOUT))
            .expect("a timeout can be set");
        Self::over(Socket::Unix(stream))
    }

    fn over(socket: Socket) -> Self {
        Self {
            socket,
            buffer: Vec::new(),
            taken: 0,
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the connection takes bytes");
    }

    /// Sends bytes as they are, or says why not.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(stream) => stream.write_all(bytes),
            Socket::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Sends a command of space-separated words.
    pub fn send_words(&mut self, words: &str) {
        self.send(&encode(&words.split(' ').collect::<Vec<_>>()));
    }

    /// Sends a command and returns the reply's bytes.
    pub fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Vec<u8> {
        self.send(&encode(arguments));
        self.frame()
    }

    /// Sends a command of space-separated words and returns the reply as text.
    pub fn ask(&mut self, words: &str) -> String {
        self.send_words(words);
        self.text()
    }

    /// Sends a command of space-separated words and returns the reply as text; `None` when the connection ends.
    pub fn try_ask(&mut self, words: &str) -> Option<String> {
        self.try_send(&encode(&words.split(' ').collect::<Vec<_>>()))
            .ok()?;
        let frame = self.try_frame()?;
        Some(escape(frame.strip_suffix(b"\r\n").unwrap_or(&frame)))
    }

    /// Reads one frame as escaped text, without the last CR LF.
    pub fn text(&mut self) -> String {
        let frame = self.frame();
        escape(frame.strip_suffix(b"\r\n").unwrap_or(&frame))
    }

    /// Reads exactly one frame, pushes included.
    pub fn frame(&mut self) -> Vec<u8> {
        self.next_frame().unwrap_or_else(|error| {
            panic!(
                "the connection ended or stalled ({error}) before a frame was whole; got: {}",
                escape(&self.buffer[self.taken..])
            )
        })
    }

    /// Reads exactly one frame; `None` when the connection ends or stays silent for too long.
    pub fn try_frame(&mut self) -> Option<Vec<u8>> {
        self.next_frame().ok()
    }

    fn next_frame(&mut self) -> std::io::Result<Vec<u8>> {
        loop {
            if let Some(end) = frame_end(&self.buffer, self.taken) {
                let frame = self.buffer[self.taken..end].to_vec();
                self.taken = end;
                if self.taken == self.buffer.len() {
                    self.buffer.clear();
                    self.taken = 0;
                }
                return Ok(frame);
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Says whether nothing comes within `patience`.
    pub fn is_silent_for(&mut self, patience: Duration) -> bool {
        if self.taken < self.buffer.len() {
            return false;
        }
        self.read_timeout(patience);
        let result = self.fill();
        self.read_timeout(READ_TIMEOUT);
        matches!(result, Err(error) if is_timeout(&error))
    }

    /// Reads until the other side closes and returns what came; `None` if it does not close in time.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(_) => return None,
            }
        }
        Some(self.buffer.split_off(self.taken))
    }

    /// Changes how long a read may take.
    pub fn read_timeout(&mut self, timeout: Duration) {
        match &self.socket {
            Socket::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Socket::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        }
        .expect("a timeout can be set");
    }

    /// Says that no more will be sent.
    pub fn finish(&mut self) {
        let _ = match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
        };
    }

    /// A second handle to the socket, to write from another thread.
    pub fn writer(&self) -> Box<dyn Write + Send> {
        match &self.socket {
            Socket::Tcp(stream) => Box::new(stream.try_clone().expect("a handle can be cloned")),
            Socket::Unix(stream) => Box::new(stream.try_clone().expect("a handle can be cloned")),
        }
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        if self.taken > 1 << 16 && self.taken * 2 > self.buffer.len() {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        let have = self.buffer.len();
        // A larger bite for a larger frame keeps the number of scans small.
        let bite = (have - self.taken).clamp(1 << 14, 1 << 22);
        self.buffer.resize(have + bite, 0);
        let result = match &mut self.socket {
            Socket::Tcp(stream) => stream.read(&mut self.buffer[have..]),
            Socket::Unix(stream) => stream.read(&mut self.buffer[have..]),
        };
        let count = *result.as_ref().unwrap_or(&0);
        self.buffer.truncate(have + count);
        result
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Encodes a command as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
