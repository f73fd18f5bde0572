//! Every metric of the sidecar: name, unit, help, labels.
