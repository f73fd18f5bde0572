//! The data thread: one future that owns listeners, clients and links, and is polled when any of them is ready.
//!
//! A turn: take what became ready, read links and clients, handle every request and reply at hand, then write: one call a
//! socket for everything that the turn produced. It wakes for a ready socket, a message of the control plane, or the
//! earliest of the data path's own deadlines. `turn.rs` has the loop, `sockets.rs` what is done with a ready socket, this
//! file what the control plane sees.

mod sockets;
#[cfg(test)]
mod tests;
mod turn;

use std::sync::Arc;

use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::command::table::ServerCommands;
use crate::failover::machine::Event;
use crate::journal::progress::Progress;
use crate::journal::samples::{Inheritance, Sample};
use crate::seam::HostPort;
use crate::sentinel::topology::SwitchReason;

pub use turn::{Parts, run};

/// Messages that may wait for the data thread at once; the control plane sends a handful a second.
const MESSAGES_MAX: usize = 64;

/// What the control plane may ask of the data thread.
#[derive(Debug)]
pub enum Message {
    /// Report what is going on.
    Report(oneshot::Sender<Report>),
    /// The server's own command table (`COMMAND`), newly learned.
    ServerCommands(Arc<ServerCommands>),
    /// The primary is another one.
    Primary(Primary),
    /// Something that the failover machine has to know.
    Failover(Event),
    /// After which time the Sentinels take a primary for down.
    DownAfter(Duration),
    /// Another replica is furthest, or none is there any more.
    Replica(Option<HostPort>),
    /// How far the replicas are.
    Sampled(Sample),
    /// Show what the journal remembers, for tests.
    #[cfg(test)]
    Remembered(oneshot::Sender<Vec<(bool, String, String)>>),
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
    /// Which process it is, where that is known.
    pub run_id: Option<Arc<str>>,
    /// What it says to have of the one before; `None` where it says nothing, or has nothing.
    pub inheritance: Option<Inheritance>,
    /// Why it is another one.
    pub reason: SwitchReason,
}

/// The control plane's end of the data thread.
#[derive(Clone, Debug)]
pub struct Handle {
    messages: mpsc::Sender<Message>,
    holding: watch::Receiver<bool>,
    journal: Arc<Progress>,
}

/// The data thread's end of it.
#[derive(Debug)]
pub struct Inbox {
    messages: mpsc::Receiver<Message>,
    holding: watch::Sender<bool>,
    journal: Arc<Progress>,
}

impl Inbox {
    /// Waits for the next message; `None` when nobody can send any more.
    pub async fn recv(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// Takes the next message if there is one.
    pub fn try_recv(&mut self) -> Option<Message> {
        self.messages.try_recv().ok()
    }

    /// Takes the next message, or registers the task to be woken.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.messages.poll_recv(cx)
    }

    /// Where the data thread publishes how far the journal has come.
    fn journal(&self) -> Arc<Progress> {
        Arc::clone(&self.journal)
    }

    /// Tells the control plane whether requests are held: then each moment counts.
    pub fn set_holding(&self, holding: bool) {
        self.holding
            .send_if_modified(|known| std::mem::replace(known, holding) != holding);
    }
}

impl Handle {
    /// Makes both ends.
    pub fn channel() -> (Self, Inbox) {
        let (messages, received) = mpsc::channel(MESSAGES_MAX);
        let (holds, holding) = watch::channel(false);
        let inbox = Inbox {
            messages: received,
            holding: holds,
            journal: Arc::default(),
        };
        let handle = Self {
            messages,
            holding,
            journal: Arc::clone(&inbox.journal),
        };
        (handle, inbox)
    }

    /// Whether the data thread holds requests, and when that changes.
    pub fn holding(&self) -> watch::Receiver<bool> {
        self.holding.clone()
    }

    /// How far the journal has come.
    pub fn journal(&self) -> &Progress {
        &self.journal
    }

    /// Tells how far the replicas are.
    pub async fn sampled(&self, sample: Sample) {
        let _ = self.messages.send(Message::Sampled(sample)).await;
    }

    /// Returns the writes that the journal remembers: requests, words between blanks, and how their replies begin.
    #[cfg(test)]
    pub async fn remembered(&self) -> Vec<(String, String)> {
        let all = self.journalled().await.into_iter();
        let writes = all.filter(|(is_look, ..)| !is_look);
        writes.map(|(_, request, reply)| (request, reply)).collect()
    }

    /// Returns all that the journal remembers, in order, and of each whether it is a look.
    #[cfg(test)]
    pub async fn journalled(&self) -> Vec<(bool, String, String)> {
        let (answer, remembered) = oneshot::channel();
        let _ = self.messages.send(Message::Remembered(answer)).await;
        remembered.await.expect("the data thread lives")
    }

    /// Says which replica is furthest.
    pub async fn replica(&self, address: Option<HostPort>) {
        let _ = self.messages.send(Message::Replica(address)).await;
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

    /// Tells the failover machine what happened.
    pub async fn failover(&self, event: Event) {
        let _ = self.messages.send(Message::Failover(event)).await;
    }

    /// Says after which time the Sentinels take a primary for down.
    pub async fn down_after(&self, time: Duration) {
        let _ = self.messages.send(Message::DownAfter(time)).await;
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
