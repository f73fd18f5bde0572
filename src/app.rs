//! Builds every part in order, starts the two threads, and drains them.
//!
//! Order of the start: limit on open files, data thread with its listeners, admin listener, control plane, systemd's READY.
//! Whatever fails before READY fails the start. That Redis cannot be reached does not: links are dialled for as long as it
//! takes, and clients are told. Order of the end: STOPPING, data thread drained within the grace, admin port closed.

mod bind;
mod data_thread;
pub mod files;
pub mod log;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::data_thread::DataThread;
use crate::admin;
use crate::config::Config;
use crate::control_plane;
use crate::metrics::Recorder;
use crate::seam::TcpDial;
use crate::shutdown::Signals;

pub use self::bind::Error as BindError;

/// Why the sidecar did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The signals could not be caught.
    #[error("cannot catch SIGTERM and SIGINT")]
    Signals(#[source] io::Error),
    /// A runtime could not be built.
    #[error("cannot build the runtime: is the limit on open files very low (`ulimit -n`)?")]
    Runtime(#[source] io::Error),
    /// The data thread could not be started.
    #[error("cannot start the data thread: is the limit on processes reached (`ulimit -u`)?")]
    DataThread(#[source] io::Error),
    /// The data thread ended before it listened.
    #[error("the data thread ended while it started; the lines above say why")]
    DataThreadLost,
}

/// Asks the Sentinels after which time they take the primary for down, and says what that means for applications; `None` where none
/// of them answers.
pub fn ask_down_after(config: &Config) -> Option<(Duration, Option<String>)> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().ok()?;
    runtime.block_on(control_plane::ask_down_after(config, &TcpDial))
}

/// Why the sidecar ended without having been drained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// The data thread ended by itself.
    #[error("the data thread has ended, the lines above say why; clients are not served any more")]
    DataThread,
    /// The control plane ended by itself.
    #[error("the control plane has ended, the lines above say why")]
    ControlPlane,
    /// A second signal came during the drain.
    #[error(
        "a second signal came: connections were cut, requests under way may or may not have run"
    )]
    SecondSignal,
}

/// Builds the control thread's runtime, the caller's thread being that thread.
///
/// # Errors
/// Whatever the system reports.
pub fn runtime() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)
}

/// A sidecar that serves.
pub struct Running {
    data: DataThread,
    control: JoinHandle<()>,
    admin: JoinHandle<()>,
    admin_address: SocketAddr,
    admin_stop: oneshot::Sender<()>,
    signals: Signals,
    grace: Duration,
}

impl Running {
    /// Starts all parts; when this returns, clients can connect.
    ///
    /// # Errors
    /// What is missing, where, and what to do about it.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let signals = Signals::catch().map_err(StartError::Signals)?;
        raise_files(&config);
        let metrics = Arc::new(Recorder::new());
        let admin_listener = bind::tcp("admin.listen", config.admin.listen)?;
        let admin_address = admin_listener.local_addr().unwrap_or(config.admin.listen);
        let data = DataThread::start(config.clone(), &metrics).await?;
        let handle = data.handle.clone();
        let (snapshot, topology) = admin::topology();
        let control = tokio::spawn(control_plane::run(
            config.clone(),
            handle.clone(),
            Arc::new(TcpDial),
            metrics.clone(),
            snapshot,
        ));
        let (admin_stop, stopped) = oneshot::channel();
        let state = admin::State::new(config.clone(), handle, metrics).with_topology(topology);
        let stop = async move {
            let _ = stopped.await;
        };
        let admin = tokio::spawn(admin::serve(admin_listener, state, stop));
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            listen = data.listens_on.join(" "),
            admin = %admin_address,
            upstream = %config.upstream.source,
            "serving"
        );
        notify(&NotifyState::Ready);
        Ok(Self {
            data,
            control,
            admin,
            admin_address,
            admin_stop,
            signals,
            grace: config.shutdown_grace,
        })
    }

    /// What clients can connect to, with the ports that the kernel chose.
    pub fn listens_on(&self) -> &[String] {
        &self.data.listens_on
    }

    /// Where the admin port is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until a signal comes, then drains: answers what is in flight, closes, ends.
    ///
    /// # Errors
    /// What ended without having been asked to.
    pub async fn until_stopped(mut self) -> Result<(), Lost> {
        // Biased: a part that is lost is worth more attention than a signal that came with it.
        let signal = tokio::select! {
            biased;
            _ = &mut self.data.ended => return Err(Lost::DataThread),
            _ = &mut self.control => return Err(Lost::ControlPlane),
            signal = self.signals.next() => signal,
        };
        self.drain(signal).await
    }

    /// Stops as a signal would, for a caller that has a reason of its own.
    ///
    /// # Errors
    /// See [`Running::until_stopped`].
    pub async fn drain(mut self, reason: &'static str) -> Result<(), Lost> {
        tracing::info!(reason, grace_s = self.grace.as_secs(), "draining");
        notify(&NotifyState::Stopping);
        let drained = timeout(self.grace, async {
            self.data.handle.drain().await;
            (&mut self.data.ended).await
        });
        // Biased: who sends a second signal does not want to wait for an answer.
        tokio::select! {
            biased;
            _ = self.signals.next() => return Err(Lost::SecondSignal),
            drained = drained => match drained {
                Ok(Ok(())) => tracing::info!("drained"),
                Ok(Err(_)) => return Err(Lost::DataThread),
                Err(_) => tracing::warn!("grace period over, connections are cut"),
            },
        }
        let _ = self.admin_stop.send(());
        let _ = self.admin.await;
        Ok(())
    }
}

fn raise_files(config: &Config) {
    let files = files::raise(config);
    if !files.suffice() {
        tracing::warn!(
            needed = files.needed,
            limit = files.limit,
            "fewer open files are allowed than listen.clients_max and upstream.pinned_max need: raise LimitNOFILE or `ulimit -n`"
        );
    }
}

/// Tells systemd, when it asked to be told.
fn notify(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
