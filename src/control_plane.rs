//! The control thread. Stub until its branch is merged.

use std::sync::Arc;

use crate::config::Config;
use crate::data_plane::Handle;
use crate::metrics::Recorder;
use crate::seam::Dial;

/// Runs until it is dropped.
pub async fn run(
    _config: Arc<Config>,
    _data: Handle,
    _dial: Arc<dyn Dial>,
    _metrics: Arc<Recorder>,
) {
    std::future::pending().await
}
