//! What every integration test stands on: real servers and the real sidecar on free ports, a client that sees bytes.
//!
//! `GRIPFAST_SERVERS="redis-7.0=PATH,valkey-9.1=PATH"` names the servers, `GRIPFAST_TEST_AGAINST=redis` puts the plain
//! server in the sidecar's place (a test that then fails has a wrong expectation), `GRIPFAST_TEST_SEED` repeats a run.

mod background;
mod chaos;
mod client;
mod cluster;
mod frame;
mod hosts;
mod random;
mod scratch;
mod server;
mod sidecar;
mod versions;
mod wait;

pub use background::{Stops, saw_promotion};
pub use chaos::{chaos, signal};
pub use client::{Client, encode};
pub use cluster::{Cluster, Plan, SWITCH_SAYS, Turn};
pub use frame::{Value, escape, frame_end, parse};
pub use hosts::{Host, Hosts};
pub use random::{Random, seed};
pub use scratch::Scratch;
pub use server::{Server, free_port};
pub use sidecar::{Sidecar, Wishes, against_redis};
pub use versions::{Version, any_version, on, on_each, python, version, versions};
pub use wait::{Stopwatch, pause, until};
