//! Gripfast: a sidecar that keeps web sessions alive through Redis failovers.
pub mod admin;
pub mod app;
pub mod cli;
pub mod command;
pub mod config;
pub mod control_plane;
pub mod data_plane;
pub mod downstream;
pub mod id;
pub mod metrics;
pub mod outbox;
pub mod proxy;
pub mod reactor;
pub mod resp;
pub mod seam;
pub mod shutdown;
pub mod upstream;
