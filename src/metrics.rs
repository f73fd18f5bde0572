//! Every metric of the sidecar: name, unit, help, labels.

/// Stub until the branch with the metrics is merged.
#[derive(Debug, Default)]
pub struct Recorder;

impl Recorder {
    /// Makes a recorder.
    pub fn new() -> Self {
        Self
    }

    /// Makes the handles that the data thread counts with.
    pub fn data(&self) -> DataMetrics {
        DataMetrics
    }
}

/// Stub until the branch with the metrics is merged.
#[derive(Debug)]
pub struct DataMetrics;
