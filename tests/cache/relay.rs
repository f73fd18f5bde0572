//! A relay between the sidecar and Redis that spoils one direction of the tracked link: from the server to the sidecar.
//!
//! It knows that link by its name, which stands in the handshake (`HELLO … SETNAME gripfast-tracked`).

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::harness::Stopwatch;

const NAME: &[u8] = b"gripfast-tracked";
/// The beginning of the message that a key was changed.
const INVALIDATION: &[u8] = b">2\r\n$10\r\ninvalidate\r\n";

/// What becomes of bytes from the server on tracked links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// They are thrown away, and nobody is told.
    Drop,
    /// They come later by this, and keep coming.
    Delay(Duration),
    /// They are kept until the mode changes.
    Hold,
    /// Invalidations are thrown away, and these bytes come in the place of the first; everything else passes.
    Replace(Vec<u8>),
}

#[derive(Debug)]
struct State {
    mode: Mode,
    tracked: Vec<TrackedLink>,
    /// Bytes thrown away, or kept at some time.
    withheld: usize,
    over: bool,
}

/// A connection known for the tracked link.
#[derive(Debug)]
struct TrackedLink {
    sidecar: TcpStream,
    server: TcpStream,
    /// Something was thrown away on it: like a TCP connection that lost bytes, it can't go on.
    is_broken: bool,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// A running relay; its connections end on drop.
#[derive(Debug)]
pub struct Relay {
    pub port: u16,
    shared: Shared,
}

impl Relay {
    /// Starts one in front of the server at `address`.
    pub fn start(address: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let state = State {
            mode: Mode::Pass,
            tracked: Vec::new(),
            withheld: 0,
            over: false,
        };
        let shared: Shared = Arc::new((Mutex::new(state), Condvar::new()));
        let of_all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for sidecar in listener.incoming() {
                let (Ok(sidecar), false) = (sidecar, lock(&of_all).over) else {
                    return;
                };
                if let Ok(server) = TcpStream::connect(&address) {
                    connect(sidecar, server, &of_all);
                }
            }
        });
        Self { port, shared }
    }

    /// Changes what becomes of bytes from now on. Connections that lost bytes are closed, as TCP would do at last.
    pub fn set(&self, mode: Mode) {
        let mut state = lock(&self.shared);
        state.mode = mode;
        for link in state.tracked.iter().filter(|link| link.is_broken) {
            let _ = link.sidecar.shutdown(Shutdown::Both);
            let _ = link.server.shutdown(Shutdown::Both);
        }
        self.shared.1.notify_all();
    }

    /// Bytes that did not come, or came later: proof that there was a fault.
    pub fn withheld(&self) -> usize {
        lock(&self.shared).withheld
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        lock(&self.shared).over = true;
        self.set(Mode::Pass);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.0.lock().expect("the relay's threads do not panic")
}

fn connect(sidecar: TcpStream, server: TcpStream, shared: &Shared) {
    let _ = (sidecar.set_nodelay(true), server.set_nodelay(true));
    let clone = |stream: &TcpStream| stream.try_clone().expect("a handle can be cloned");
    let link = Arc::new(Mutex::new(None));
    let (from, to, upward) = (clone(&sidecar), clone(&server), Arc::clone(shared));
    let known = Arc::clone(&link);
    std::thread::spawn(move || pass_requests(from, to, &upward, &known));
    let downward = Arc::clone(shared);
    std::thread::spawn(move || pass_replies(server, sidecar, &downward, &link));
}

/// The link's place among the tracked ones, once it is known for one: before its first bytes reach the server, so before
/// anything comes back.
type Known = Mutex<Option<usize>>;

fn pass_requests(mut sidecar: TcpStream, mut server: TcpStream, shared: &Shared, known: &Known) {
    let mut buffer = vec![0; 1 << 16];
    let mut is_first = true;
    while let Ok(count @ 1..) = sidecar.read(&mut buffer) {
        let bytes = &buffer[..count];
        if std::mem::take(&mut is_first) && find(bytes, NAME).is_some() {
            let mut state = lock(shared);
            let handles = (sidecar.try_clone(), server.try_clone());
            if let (Ok(sidecar), Ok(server)) = handles {
                state.tracked.push(TrackedLink {
                    sidecar,
                    server,
                    is_broken: false,
                });
                *known.lock().unwrap() = Some(state.tracked.len() - 1);
            }
        }
        if server.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn pass_replies(mut server: TcpStream, sidecar: TcpStream, shared: &Shared, known: &Known) {
    let queue = Arc::new((Mutex::new(Queue::default()), Condvar::new()));
    let (taker, of_relay, writer) = (Arc::clone(&queue), Arc::clone(shared), sidecar.try_clone());
    if let Ok(mut writer) = writer {
        std::thread::spawn(move || deliver(&mut writer, &taker, &of_relay));
    }
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        let mut bytes = buffer[..count].to_vec();
        let place = *known.lock().unwrap();
        let mut delay = Duration::ZERO;
        let mut is_held = false;
        if let Some(place) = place {
            let mut state = lock(shared);
            match state.mode.clone() {
                Mode::Pass => {}
                Mode::Drop => bytes.clear(),
                Mode::Delay(time) => delay = time,
                Mode::Hold => is_held = true,
                Mode::Replace(with) => {
                    if replace(&mut bytes, &with) {
                        state.mode = Mode::Replace(Vec::new());
                    }
                }
            }
            let came = !is_held && delay == Duration::ZERO && bytes == buffer[..count];
            if !came {
                state.withheld += count;
            }
            state.tracked[place].is_broken |= bytes.is_empty();
        }
        let mut all = queue.0.lock().unwrap();
        all.waiting.push_back(Late {
            bytes,
            delay,
            since: Stopwatch::start(),
            is_held,
        });
        queue.1.notify_all();
    }
    queue.0.lock().unwrap().ended = true;
    queue.1.notify_all();
    let _ = server.shutdown(Shutdown::Both);
}

/// Puts `with` in the place of the first invalidation and takes out the others; tells whether there was one.
fn replace(bytes: &mut Vec<u8>, with: &[u8]) -> bool {
    let mut found = false;
    while let Some(start) = find(bytes, INVALIDATION) {
        let end = crate::harness::frame_end(bytes, start).unwrap_or(bytes.len());
        let instead = if found { &[] } else { with };
        bytes.splice(start..end, instead.iter().copied());
        found = true;
        if find(with, INVALIDATION).is_some() {
            break;
        }
    }
    found
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Bytes on their way to the sidecar.
#[derive(Debug)]
struct Late {
    bytes: Vec<u8>,
    delay: Duration,
    since: Stopwatch,
    is_held: bool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Late>,
    ended: bool,
}

/// Writes what is due, in the order it came. A healed relay delays and holds no more.
fn deliver(sidecar: &mut TcpStream, queue: &(Mutex<Queue>, Condvar), shared: &Shared) {
    /// The mode may change without a word to this queue.
    const LOOK_AGAIN: Duration = Duration::from_millis(5);
    loop {
        let mut all = queue.0.lock().unwrap();
        let Some(first) = all.waiting.front() else {
            if all.ended {
                break;
            }
            drop(queue.1.wait_timeout(all, Duration::from_millis(100)));
            continue;
        };
        let is_due = !first.is_held && first.since.elapsed() >= first.delay;
        if !is_due && lock(shared).mode != Mode::Pass {
            drop(queue.1.wait_timeout(all, LOOK_AGAIN));
            continue;
        }
        let first = all.waiting.pop_front().expect("it is there");
        drop(all);
        if sidecar.write_all(&first.bytes).is_err() {
            break;
        }
    }
    let _ = sidecar.shutdown(Shutdown::Both);
}
