//! Real session libraries, each in a small web app that runs as two processes on one store, driven over HTTP through a
//! session's life: in front of one Redis, and through a planned failover in front of a primary that Sentinels name.
//!
//! `tests/libraries/README.md` tells what each app does and how to add one. `GRIPFAST_LIBRARIES` names the folder of
//! what `tests/libraries/install.sh` installed; without it these tests say so and have nothing to run.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells by printing"
)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its part of the harness"
)]
mod harness;

#[path = "libraries"]
mod libraries {
    mod app;
    mod browser;
    mod crowd;
    mod every;
    mod failover;
    mod faults;
    mod impatient;
    mod life;
    mod store;
}
