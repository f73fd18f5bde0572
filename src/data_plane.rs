//! The data thread: one future that owns listeners, clients and links, and is polled when any of them is ready.
//!
//! A turn: take what became ready, read links and clients, handle every request and reply at hand, then write: one call a
//! socket for everything that the turn produced. It wakes for a ready socket, a message of the control plane, or the
//! earliest of the data path's own deadlines; idle, it does not wake at all.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};

use crate::command::table::ServerCommands;
use crate::config::Config;
use crate::downstream::client::Stall;
use crate::metrics::{CloseCause, DataMetrics, DialOutcome, RejectReason, Side};
use crate::proxy::{CLIENT_OUTPUT_SOFT, Proxy};
use crate::reactor::{Bell, Ready, Token};
use crate::seam::{Accept, BoxStream, Dial, Entropy, HostPort};
use crate::sentinel::topology::SwitchReason;
use crate::upstream::link::{Lane, Socket};
use crate::upstream::registry::Health;

/// Messages that may wait for the data thread at once; the control plane sends a handful a second.
const MESSAGES_MAX: usize = 64;

/// What one read call takes: enough for a deep pipeline, small enough to stay in the processor's cache.
const READ_BYTES: usize = 64 * 1024;

/// Reads of one socket in one turn, so that a busy one does not starve the others.
const READS_A_TURN: usize = 4;

/// Connections taken of one listener in one turn.
const ACCEPTS_A_TURN: usize = 64;

/// Requests of a stalled client that are read ahead; the kernel's buffer holds the rest.
const INPUT_BYTES_MAX: usize = 128 * 1024;

/// How often counts are published while there is traffic, and how soon a listener that failed is tried again.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// What the control plane may ask of the data thread.
#[derive(Debug)]
pub enum Message {
    /// Report what is going on.
    Report(oneshot::Sender<Report>),
    /// The server's own command table (`COMMAND`), newly learned.
    ServerCommands(Arc<ServerCommands>),
    /// The primary is another one.
    Primary(Primary),
    /// Take no new clients or requests, answer what is in flight, close, and end the thread.
    Drain,
}

/// The primary that links are to lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    /// Where it is.
    pub address: HostPort,
    /// Raised with each; 1 is the first.
    pub generation: u64,
    /// Why it is another one.
    pub reason: SwitchReason,
}

/// The control plane's end of the data thread.
#[derive(Clone, Debug)]
pub struct Handle {
    messages: mpsc::Sender<Message>,
}

impl Handle {
    /// Makes both ends.
    pub fn channel() -> (Self, mpsc::Receiver<Message>) {
        let (messages, inbox) = mpsc::channel(MESSAGES_MAX);
        (Self { messages }, inbox)
    }

    /// Asks for a report; `None` when the data thread has ended.
    pub async fn report(&self) -> Option<Report> {
        let (answer, report) = oneshot::channel();
        self.messages.send(Message::Report(answer)).await.ok()?;
        report.await.ok()
    }

    /// Hands over the server's command table.
    pub async fn server_commands(&self, commands: Arc<ServerCommands>) {
        let _ = self.messages.send(Message::ServerCommands(commands)).await;
    }

    /// Names another primary.
    pub async fn primary(&self, primary: Primary) {
        let _ = self.messages.send(Message::Primary(primary)).await;
    }

    /// Begins the drain.
    pub async fn drain(&self) {
        let _ = self.messages.send(Message::Drain).await;
    }
}

/// What the data thread is doing at the moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether a link to the primary is up and checked.
    pub upstream_ready: bool,
    /// Why not, when it is not; empty otherwise.
    pub upstream_trouble: String,
    /// The primary's version as HELLO gave it; empty until known.
    pub server_version: String,
    /// Raised each time that the primary became another one; 0 until the first was named, and in standalone mode.
    pub generation: u64,
    /// Client connections open.
    pub clients: usize,
    /// Links open or being dialled, by lane.
    pub links_tracked: usize,
    /// See `links_tracked`.
    pub links_general: usize,
    /// See `links_tracked`.
    pub links_pinned: usize,
    /// Pinned links that no client holds.
    pub links_pinned_idle: usize,
    /// Clients that wait for a pinned link.
    pub pinned_waiting: usize,
    /// Requests written or queued, not yet answered.
    pub requests_inflight: usize,
    /// Whether a drain is under way.
    pub draining: bool,
}

/// What the data thread is made of.
pub struct Parts {
    /// What the operator asked for.
    pub config: Arc<Config>,
    /// Where clients come in.
    pub listeners: Vec<Box<dyn Accept>>,
    /// How links are opened.
    pub dial: Box<dyn Dial>,
    /// Jitter.
    pub entropy: Entropy,
    /// Messages of the control plane.
    pub inbox: mpsc::Receiver<Message>,
    /// Where counts are published.
    pub metrics: DataMetrics,
}

/// Runs the data path until it is drained.
///
/// # Cancellation
/// Dropping the future closes every connection.
pub async fn run(parts: Parts) {
    // The loop limits what it does in one turn itself; tokio's budget would only cut turns short.
    tokio::task::coop::unconstrained(DataPlane::new(parts)).await;
}

struct Door {
    listener: Box<dyn Accept>,
    bell: Arc<Bell>,
    waker: Waker,
    failed: bool,
}

struct DataPlane {
    proxy: Proxy,
    ready: Arc<Ready>,
    doors: Vec<Door>,
    inbox: mpsc::Receiver<Message>,
    scratch: Vec<u8>,
    tokens: Vec<Token>,
    timer: Pin<Box<Sleep>>,
    output_bytes_max: usize,
    metrics: DataMetrics,
    published_at: Instant,
    /// Of the newest primary that was named; 0 before the first.
    generation: u64,
}

impl DataPlane {
    fn new(parts: Parts) -> Self {
        let ready = Arc::new(Ready::default());
        let doors = parts
            .listeners
            .into_iter()
            .enumerate()
            .map(|(index, listener)| {
                let bell = ready.bell(Token::Listener(index as u32));
                bell.ring();
                Door {
                    listener,
                    waker: Waker::from(Arc::clone(&bell)),
                    bell,
                    failed: false,
                }
            })
            .collect();
        let output_bytes_max = parts.config.listen.output_bytes_max;
        Self {
            proxy: Proxy::new(parts.config, parts.dial, parts.entropy, Arc::clone(&ready)),
            ready,
            doors,
            inbox: parts.inbox,
            scratch: vec![0; READ_BYTES],
            tokens: Vec::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            output_bytes_max,
            metrics: parts.metrics,
            published_at: Instant::now(),
            generation: 0,
        }
    }

    fn take_messages(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(message)) = self.inbox.poll_recv(cx) {
            match message {
                Message::Report(answer) => {
                    let _ = answer.send(self.report());
                }
                Message::ServerCommands(commands) => self.proxy.learn_commands(commands),
                Message::Primary(primary) => self.follow(primary),
                Message::Drain => {
                    self.doors.clear();
                    self.proxy.drain();
                }
            }
        }
    }

    fn follow(&mut self, primary: Primary) {
        let Primary {
            address,
            generation,
            reason,
        } = primary;
        if generation <= self.generation {
            return;
        }
        self.generation = generation;
        match reason {
            SwitchReason::Renamed => self.proxy.rename_primary(address),
            SwitchReason::Start
            | SwitchReason::Failover
            | SwitchReason::Switchover
            | SwitchReason::LineageBreak => self.proxy.switch_primary(address),
        }
    }

    fn report(&self) -> Report {
        let lane = |wanted: Lane| {
            self.proxy
                .links
                .iter()
                .filter(|(_, link)| link.lane == wanted)
                .count()
        };
        let registry = &self.proxy.registry;
        let facts = self.proxy.facts.as_deref();
        Report {
            upstream_ready: registry.health == Health::Up,
            upstream_trouble: match &registry.health {
                Health::Up => String::new(),
                Health::Starting => "not connected yet".into(),
                Health::Down { reason, .. } => reason.clone(),
            },
            server_version: facts.map(|facts| facts.version.clone()).unwrap_or_default(),
            generation: self.generation,
            clients: self.proxy.clients.len(),
            links_tracked: lane(Lane::Tracked),
            links_general: lane(Lane::General),
            links_pinned: registry.pinned,
            links_pinned_idle: registry.idle(),
            pinned_waiting: registry.waiting.len(),
            requests_inflight: self
                .proxy
                .clients
                .iter()
                .map(|(_, client)| client.inflight as usize)
                .sum(),
            draining: self.proxy.is_draining(),
        }
    }

    fn listener_ready(&mut self, index: u32) {
        for _ in 0..ACCEPTS_A_TURN {
            let Some(door) = self.doors.get_mut(index as usize) else {
                return;
            };
            door.bell.silence();
            let waker = door.waker.clone();
            match door.listener.poll_accept(&mut Context::from_waker(&waker)) {
                Poll::Pending => return,
                Poll::Ready(Ok(stream)) => {
                    door.failed = false;
                    if let Err(stream) = self.proxy.admit(stream) {
                        self.turn_away(stream);
                    }
                }
                Poll::Ready(Err(error)) => {
                    if !std::mem::replace(&mut door.failed, true) {
                        tracing::warn!(listener = door.listener.name(), %error, "cannot accept");
                    }
                    return;
                }
            }
        }
        if let Some(door) = self.doors.get(index as usize) {
            door.bell.ring();
        }
    }

    fn turn_away(&mut self, mut stream: BoxStream) {
        self.proxy.counters.clients_rejected[RejectReason::ClientsMax.index()] += 1;
        let text = b"-ERR max number of clients reached\r\n";
        // A fresh socket has room for one line; if not, there is nobody to tell.
        let cx = &mut Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut stream).poll_write(cx, text);
    }

    fn link_ready(&mut self, index: u32) {
        let Some(link) = self.proxy.links.get_mut(index as usize) else {
            return;
        };
        link.bell.silence();
        let waker = link.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        if let Socket::Dialing(establishing) = &mut link.socket {
            match establishing.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Err(error)) => return self.proxy.dial_failed(index, &error),
                Poll::Ready(Ok(established)) => {
                    link.socket = Socket::Up(established.stream);
                    self.proxy.counters.link_dials[DialOutcome::Ok.index()] += 1;
                    self.proxy.greeted(index, established.facts);
                }
            }
        }
        self.read_link(index, cx);
    }

    fn read_link(&mut self, index: u32, cx: &mut Context<'_>) {
        for _ in 0..READS_A_TURN {
            let Some(link) = self.proxy.links.get_mut(index as usize) else {
                return;
            };
            // Its owner reads slower than Redis writes: let the kernel, and then Redis, hold the rest.
            if let Some(owner) = link.owner
                && let Some(client) = self.proxy.clients.get(owner.index as usize)
                && client.output.len() > CLIENT_OUTPUT_SOFT
            {
                return;
            }
            if !link.output.is_empty() && !link.dirty {
                link.dirty = true;
                self.proxy.dirty_links.push(index);
            }
            let Socket::Up(stream) = &mut link.socket else {
                return;
            };
            let left = bring_left_over(&mut self.scratch, &mut link.input);
            let read = poll_read(stream, &mut self.scratch[left..], cx);
            let count = match read {
                Poll::Pending => {
                    link.input.extend_from_slice(&self.scratch[..left]);
                    return;
                }
                Poll::Ready(Ok(0)) => {
                    let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                    return self.proxy.link_lost(index, &error);
                }
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => return self.proxy.link_lost(index, &error),
            };
            self.proxy.counters.received_bytes[Side::Upstream.index()] += count as u64;
            let bytes = &self.scratch[..left + count];
            match self.proxy.deliver(index, bytes) {
                Err(error) => return self.proxy.link_lost(index, &error),
                Ok(consumed) => {
                    if let Some(link) = self.proxy.links.get_mut(index as usize) {
                        link.input.extend_from_slice(&bytes[consumed..]);
                    }
                }
            }
        }
        if let Some(link) = self.proxy.links.get(index as usize) {
            link.bell.ring();
        }
    }

    fn client_ready(&mut self, index: u32) {
        let Some(client) = self.proxy.clients.get_mut(index as usize) else {
            return;
        };
        client.bell.silence();
        if !client.output.is_empty() && !client.dirty {
            client.dirty = true;
            self.proxy.dirty_clients.push(index);
        }
        let waker = client.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        for _ in 0..READS_A_TURN {
            let draining = self.proxy.is_draining();
            let client = &mut self.proxy.clients[index as usize];
            if client.eof || client.closing.is_some() || draining {
                return;
            }
            client.unread = client.stall != Stall::None && client.input.len() >= INPUT_BYTES_MAX;
            if client.unread {
                return;
            }
            let left = bring_left_over(&mut self.scratch, &mut client.input);
            let read = poll_read(&mut client.stream, &mut self.scratch[left..], cx);
            let total = match read {
                Poll::Ready(Ok(count)) if count > 0 => left + count,
                other => {
                    client.input.extend_from_slice(&self.scratch[..left]);
                    match other {
                        Poll::Pending => {}
                        Poll::Ready(Ok(_)) => self.client_ended(index),
                        Poll::Ready(Err(_)) => self.proxy.remove_client(index, CloseCause::Client),
                    }
                    return;
                }
            };
            self.proxy.counters.received_bytes[Side::Downstream.index()] += (total - left) as u64;
            let consumed = self.proxy.serve(index, &self.scratch[..total]);
            if consumed < total {
                let input = &mut self.proxy.clients[index as usize].input;
                if input.capacity() == 0 {
                    *input = self.proxy.pool.take();
                }
                input.extend_from_slice(&self.scratch[consumed..total]);
            }
        }
        self.proxy.clients[index as usize].bell.ring();
    }

    /// The client will send nothing more; what it has sent is still answered, unless it waits for somebody else.
    fn client_ended(&mut self, index: u32) {
        let client = &mut self.proxy.clients[index as usize];
        client.eof = true;
        if client.raw || client.blocking || client.stall == Stall::Pinned {
            return self.proxy.remove_client(index, CloseCause::Client);
        }
        self.close_if_ended(index);
    }

    fn close_if_ended(&mut self, index: u32) {
        let client = &self.proxy.clients[index as usize];
        if client.eof && client.inflight == 0 && client.stall == Stall::None {
            self.proxy.close_after_flush(index, CloseCause::Client);
        }
    }

    /// Looks again at what stalled clients have sent.
    fn resume_clients(&mut self) {
        while let Some(id) = self.proxy.resume.pop() {
            let Some(client) = self.proxy.client(id) else {
                continue;
            };
            let mut input = std::mem::take(&mut client.input);
            let unread = std::mem::take(&mut client.unread);
            let consumed = self.proxy.serve(id.index, &input);
            let client = &mut self.proxy.clients[id.index as usize];
            if consumed == input.len() {
                self.proxy.pool.give(input);
            } else {
                input.drain(..consumed);
                client.input = input;
            }
            if unread {
                client.bell.ring();
            }
            self.close_if_ended(id.index);
        }
    }

    fn flush_links(&mut self) {
        let mut dirty = std::mem::take(&mut self.proxy.dirty_links);
        let mut drained = false;
        for index in dirty.drain(..) {
            let Some(link) = self.proxy.links.get_mut(index as usize) else {
                continue;
            };
            link.dirty = false;
            let Socket::Up(stream) = &mut link.socket else {
                continue;
            };
            let cx = &mut Context::from_waker(&link.waker);
            let (count, state) = link.output.poll_flush(stream, &mut self.proxy.pool, cx);
            link.written += count;
            self.proxy.counters.sent_bytes[Side::Upstream.index()] += count;
            drained |= count > 0;
            if let Poll::Ready(Err(error)) = state {
                self.proxy.link_lost(index, &error);
            }
        }
        dirty.append(&mut self.proxy.dirty_links);
        self.proxy.dirty_links = dirty;
        if drained {
            self.proxy.uncongest();
        }
    }

    fn flush_clients(&mut self) {
        let mut dirty = std::mem::take(&mut self.proxy.dirty_clients);
        for index in dirty.drain(..) {
            let Some(client) = self.proxy.clients.get_mut(index as usize) else {
                continue;
            };
            client.dirty = false;
            let cx = &mut Context::from_waker(&client.waker);
            let (count, state) =
                client
                    .output
                    .poll_flush(&mut client.stream, &mut self.proxy.pool, cx);
            self.proxy.counters.sent_bytes[Side::Downstream.index()] += count;
            match state {
                Poll::Ready(Err(_)) => {
                    self.proxy.remove_client(index, CloseCause::Client);
                    continue;
                }
                Poll::Ready(Ok(())) => {
                    if let Some(cause) = client.closing
                        && (client.inflight == 0 || cause != CloseCause::Drain)
                    {
                        self.proxy.remove_client(index, cause);
                        continue;
                    }
                }
                Poll::Pending if client.output.len() > self.output_bytes_max => {
                    tracing::warn!(
                        bytes = client.output.len(),
                        "client does not read its replies, closing it"
                    );
                    self.proxy.remove_client(index, CloseCause::OutputLimit);
                    continue;
                }
                Poll::Pending => {}
            }
            if count > 0 && client.output.len() <= CLIENT_OUTPUT_SOFT {
                self.read_on(index);
            }
        }
        dirty.append(&mut self.proxy.dirty_clients);
        self.proxy.dirty_clients = dirty;
    }

    /// A client has read enough: whatever waited for that goes on.
    fn read_on(&mut self, index: u32) {
        let client = &mut self.proxy.clients[index as usize];
        if let Some(own) = client.own {
            self.proxy.links[own.index as usize].bell.ring();
        }
        if client.stall == Stall::Output {
            client.stall = Stall::None;
            let id = client.id(index);
            self.proxy.resume.push(id);
        }
    }

    /// Sets the timer to the next deadline, and publishes counts when it is time.
    fn keep_time(&mut self, cx: &mut Context<'_>) {
        let mut next = self.proxy.next_deadline();
        if self.proxy.now >= self.published_at + PUBLISH_EVERY {
            self.publish();
        } else {
            let due = self.published_at + PUBLISH_EVERY;
            next = Some(next.map_or(due, |next| next.min(due)));
        }
        if self.doors.iter().any(|door| door.failed) {
            for door in &self.doors {
                door.bell.ring();
            }
            next = Some(self.proxy.now + PUBLISH_EVERY);
        }
        if let Some(next) = next {
            if self.timer.deadline() != next {
                self.timer.as_mut().reset(next);
            }
            if self.timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
    }

    fn publish(&mut self) {
        let report = self.report();
        let counters = &mut self.proxy.counters;
        counters.clients_open = report.clients as u64;
        counters.links_open = [
            report.links_tracked as u64,
            report.links_general as u64,
            report.links_pinned as u64,
            0,
        ];
        counters.pinned_waiting = report.pinned_waiting as u64;
        counters.upstream_up = report.upstream_ready;
        self.metrics.flush(counters);
        self.published_at = self.proxy.now;
    }
}

impl Future for DataPlane {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.proxy.now = Instant::now();
        this.proxy.counters.loop_turns += 1;
        this.take_messages(cx);
        let mut tokens = std::mem::take(&mut this.tokens);
        this.ready.take(&mut tokens, cx);
        for token in tokens.drain(..) {
            match token {
                Token::Listener(index) => this.listener_ready(index),
                Token::Client(index) => this.client_ready(index),
                Token::Link(index) => this.link_ready(index),
            }
        }
        this.tokens = tokens;
        this.proxy.tick();
        // To drain one side lets the other go on; both ends are finite, since nothing is read in here.
        loop {
            this.resume_clients();
            this.flush_links();
            this.flush_clients();
            if this.proxy.resume.is_empty()
                && this.proxy.dirty_links.is_empty()
                && this.proxy.dirty_clients.is_empty()
            {
                break;
            }
        }
        this.keep_time(cx);
        if this.proxy.is_draining() && this.proxy.clients.is_empty() {
            this.publish();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// Puts the unfinished rest of the last read in front of the next one; returns its length.
fn bring_left_over(scratch: &mut Vec<u8>, left: &mut Vec<u8>) -> usize {
    let length = left.len();
    if length > scratch.len() / 2 {
        scratch.resize((length * 2).next_power_of_two(), 0);
    }
    scratch[..length].copy_from_slice(left);
    left.clear();
    length
}

fn poll_read(
    stream: &mut BoxStream,
    into: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    let mut buffer = ReadBuf::new(into);
    match Pin::new(stream).poll_read(cx, &mut buffer) {
        Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().len())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}
