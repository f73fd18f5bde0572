//! The data thread: listeners, clients, links; messages from the control plane.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::command::table::ServerCommands;
use crate::config::Config;
use crate::metrics::DataMetrics;
use crate::seam::{Accept, Dial, Entropy};

/// Messages that may wait for the data thread at once; the control plane sends a handful a second.
const MESSAGES_MAX: usize = 64;

/// What the control plane may ask of the data thread.
#[derive(Debug)]
pub enum Message {
    /// Report what is going on.
    Report(oneshot::Sender<Report>),
    /// The server's own command table (`COMMAND`), newly learned.
    ServerCommands(Arc<ServerCommands>),
    /// Take no new clients or requests, answer what is in flight, close, and end the thread.
    Drain,
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
    /// Bounds and addresses.
    pub config: Arc<Config>,
    /// Where clients come from, already bound.
    pub listeners: Vec<Box<dyn Accept>>,
    /// How links are opened.
    pub dial: Box<dyn Dial>,
    /// Chance, for jitter.
    pub entropy: Entropy,
    /// What the control plane asks.
    pub inbox: mpsc::Receiver<Message>,
    /// Where the thread counts.
    pub metrics: DataMetrics,
}

/// Stub until the data path is merged: answers reports, and ends with the drain.
pub async fn run(mut parts: Parts) {
    while let Some(message) = parts.inbox.recv().await {
        match message {
            Message::Report(answer) => {
                let _ = answer.send(Report::default());
            }
            Message::ServerCommands(_) => {}
            Message::Drain => break,
        }
    }
}
