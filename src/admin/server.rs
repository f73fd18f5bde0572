//! The admin port. Stub until its branch is merged.

use std::sync::Arc;

use tokio::net::TcpListener;

use crate::config::Config;
use crate::data_plane::Handle;
use crate::metrics::Recorder;

/// What the pages are made from.
#[derive(Debug)]
pub struct State;

impl State {
    /// Gathers the sources.
    pub fn new(_config: Arc<Config>, _data: Handle, _metrics: Arc<Recorder>) -> Self {
        Self
    }
}

/// Serves until `shutdown` completes.
pub async fn serve(
    _listener: TcpListener,
    _state: State,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    shutdown.await;
}
