//! What a simulation replaces: sockets, randomness and the clocks that tokio does not have.
//!
//! Everything that waits or measures uses `tokio::time`, which a test can pause and step (`std::time::Instant` is banned by
//! lint). Deadlines of sessions need a clock that also counts while the machine is suspended, and the wall clock: both come
//! from a [`Clock`]. Sockets come from a [`Dial`] or an [`Accept`], random numbers from an [`Entropy`]; all are handed in
//! by [`crate::app`], and nothing else in the crate opens a socket, asks for chance or reads those clocks.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A byte stream in both directions: TCP, Unix socket, later TLS, in tests a pipe in memory.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Has nothing of what was written go out any more once it is dropped: the kernel would go on sending it for as long as the
    /// other end can't be reached.
    fn abort(&mut self) {}
}

impl Stream for TcpStream {
    fn abort(&mut self) {
        // It fails on a socket that is gone, which sends nothing.
        let _ = self.set_zero_linger();
    }
}

impl Stream for UnixStream {}

impl Stream for DuplexStream {}

/// A stream whose kind is known only at run time.
pub type BoxStream = Box<dyn Stream>;

/// A dial under way.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<BoxStream>> + Send>>;

/// A host and a port as they stand in the configuration; the name is resolved anew at each dial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Name or address, an IPv6 address without its brackets.
    pub host: String,
    /// TCP port, 1 to 65535.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Opens connections to Redis and to Sentinels.
pub trait Dial: Send + Sync {
    /// Starts to connect to `address`; dropping the returned future abandons the attempt.
    fn dial(&self, address: &HostPort) -> Dialing;
}

/// Takes connections from applications.
pub trait Accept: Send {
    /// Takes the next connection, or registers the task to be woken when there is one.
    ///
    /// # Errors
    /// Whatever `accept` reports; a lack of descriptors or memory is worth another try later.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BoxStream>>;

    /// Says where it listens, for logs.
    fn name(&self) -> String;
}

/// Dials over the kernel's TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpDial;

impl Dial for TcpDial {
    fn dial(&self, address: &HostPort) -> Dialing {
        let target = (address.host.clone(), address.port);
        Box::pin(async move {
            let stream = TcpStream::connect(target).await?;
            stream.set_nodelay(true)?;
            give_up_soon(&stream);
            spare_congestion_control(&stream, stream.peer_addr()?.ip());
            Ok(Box::new(stream) as BoxStream)
        })
    }
}

/// How long a server's host may acknowledge nothing, and be silent on an idle connection, before the kernel gives up: its own
/// patience is a quarter of an hour.
const UNACKNOWLEDGED_MAX: u32 = 5_000;
const IDLE_BEFORE_PROBES: Duration = Duration::from_secs(15);
const BETWEEN_PROBES: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// Has the kernel give up a connection whose other end is gone without a word. A system that forbids it keeps its own
/// patience; requests do not depend on it.
fn give_up_soon(stream: &TcpStream) {
    use rustix::net::sockopt;
    let _ = sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MAX);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, IDLE_BEFORE_PROBES);
    let _ = sockopt::set_tcp_keepintvl(stream, BETWEEN_PROBES);
    let _ = sockopt::set_tcp_keepcnt(stream, PROBES);
}

/// Gives a socket whose other end is this very machine the cheapest congestion control.
///
/// Nothing is congested on loopback, but where the system's default is BBR each segment is paced and timed: 7% of the
/// data thread's CPU in pipelines. What a listener has, its connections inherit. A system that forbids it keeps its own.
pub fn spare_congestion_control(socket: impl AsFd, other_end: IpAddr) {
    if other_end.to_canonical().is_loopback() {
        let _ = rustix::net::sockopt::set_tcp_congestion(socket, "reno");
    }
}

impl Accept for TcpListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BoxStream>> {
        TcpListener::poll_accept(self, cx).map_ok(|(stream, _)| Box::new(stream) as BoxStream)
    }

    fn name(&self) -> String {
        self.local_addr()
            .map_or_else(|_| "tcp".into(), |address| address.to_string())
    }
}

/// A Unix socket and where it lies.
#[derive(Debug)]
pub struct UnixAccept {
    /// The listening socket.
    pub listener: UnixListener,
    /// Its path in the file system.
    pub path: PathBuf,
}

impl Accept for UnixAccept {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BoxStream>> {
        self.listener
            .poll_accept(cx)
            .map_ok(|(stream, _)| Box::new(stream) as BoxStream)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// A seeded source of chance, for jitter: not for secrets (SplitMix64).
#[derive(Clone, Debug)]
pub struct Entropy(u64);

impl Entropy {
    /// Starts the sequence that belongs to `seed`.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Starts a sequence of its own for this process.
    pub fn from_system() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self(RandomState::new().hash_one(std::process::id()))
    }

    /// Returns the next number of the sequence.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Tells the times that tokio's clock does not.
pub trait Clock: Send {
    /// Microseconds since some fixed instant, cut to whole ones; also counts suspend, and never goes back.
    fn boot_micros(&self) -> u64;

    /// The same in milliseconds.
    fn boot(&self) -> u64 {
        self.boot_micros() / 1_000
    }

    /// Milliseconds since 1970 as this machine's wall clock shows them, which may jump.
    fn wall(&self) -> u64;
}

/// The kernel's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn boot_micros(&self) -> u64 {
        microseconds(rustix::time::ClockId::Boottime)
    }

    fn wall(&self) -> u64 {
        microseconds(rustix::time::ClockId::Realtime) / 1_000
    }
}

fn microseconds(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}

/// tokio's clock in the place of both others: for tests, which pause and step it.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: tokio::time::Instant,
}

impl TokioClock {
    /// Starts at 1,000 seconds after boot and 1970, so that nothing that is reckoned back from there is below zero.
    pub fn new() -> Self {
        Self {
            start: tokio::time::Instant::now(),
        }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn boot_micros(&self) -> u64 {
        1_000_000_000 + self.start.elapsed().as_micros() as u64
    }

    fn wall(&self) -> u64 {
        self.boot()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Writes more than the kernels of both ends take, ends the stream, and reads what arrives.
    async fn arrives(aborts: bool) -> io::Result<usize> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = HostPort {
            host: "127.0.0.1".into(),
            port: listener.local_addr()?.port(),
        };
        let mut stream = TcpDial.dial(&address).await?;
        let (mut server, _) = listener.accept().await?;
        let chunk = vec![0; 1 << 20];
        let full = Duration::from_millis(50);
        while tokio::time::timeout(full, stream.write(&chunk))
            .await
            .is_ok()
        {}
        if aborts {
            stream.abort();
        }
        drop(stream);
        let mut received = Vec::new();
        server.read_to_end(&mut received).await
    }

    #[tokio::test]
    async fn what_was_written_to_a_stream_that_is_aborted_goes_out_no_more() {
        assert!(arrives(false).await.is_ok(), "the kernel sends on");
        let error = arrives(true).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
