//! The data thread's frame: its runtime, its listeners, and the news that it has ended.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::StartError;
use super::bind;
use crate::config::Config;
use crate::data_plane::{self, Handle, Inbox, Parts};
use crate::metrics::Recorder;
use crate::seam::{Entropy, SystemClock, TcpDial};

/// The data thread, seen from the control thread.
pub(super) struct DataThread {
    pub(super) handle: Handle,
    /// What it listens on, for logs and for people.
    pub(super) listens_on: Vec<String>,
    /// Resolves when the thread has ended: with an error when it panicked.
    pub(super) ended: oneshot::Receiver<()>,
}

impl DataThread {
    /// Starts the thread, and waits until its listeners are bound.
    ///
    /// # Errors
    /// Why the thread, its runtime or a listener is not there.
    pub(super) async fn start(config: Arc<Config>, metrics: &Recorder) -> Result<Self, StartError> {
        let (handle, inbox) = Handle::channel();
        let (bound, listens_on) = oneshot::channel();
        let (alive, ended) = oneshot::channel();
        let metrics = metrics.data();
        thread::Builder::new()
            .name("data".into())
            .spawn(move || {
                live(config, inbox, metrics, bound);
                // A panic drops the sender instead, and so tells the two ends apart.
                let _ = alive.send(());
            })
            .map_err(StartError::DataThread)?;
        let listens_on = listens_on.await.map_err(|_| StartError::DataThreadLost)??;
        Ok(Self {
            handle,
            listens_on,
            ended,
        })
    }
}

type BoundSender = oneshot::Sender<Result<Vec<String>, StartError>>;

fn live(
    config: Arc<Config>,
    inbox: Inbox,
    metrics: crate::metrics::DataMetrics,
    bound: BoundSender,
) {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = bound.send(Err(StartError::Runtime(error)));
            return;
        }
    };
    runtime.block_on(async move {
        let sockets = match bind::clients(&config.listen) {
            Ok(sockets) => sockets,
            Err(error) => {
                let _ = bound.send(Err(error.into()));
                return;
            }
        };
        let names = sockets.listeners.iter().map(|one| one.name()).collect();
        // Held until the data plane has ended: the socket file goes when nobody listens any more.
        let _unix_file = sockets.unix_file;
        let _ = bound.send(Ok(names));
        data_plane::run(Parts {
            config,
            listeners: sockets.listeners,
            dial: Box::new(TcpDial),
            entropy: Entropy::from_system(),
            clock: Box::new(SystemClock),
            inbox,
            metrics,
        })
        .await;
    });
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    Builder::new_current_thread()
        .enable_all()
        // Look for new bytes after every task: a client must not wait for 60 others to be polled first.
        .event_interval(1)
        .build()
}
