//! Real client libraries notice nothing: redis-py and redis-rs do the same through the sidecar and at Redis; redis-py and
//! node-redis, told of it, wait for a primary longer than their time-outs say.
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

#[path = "clients"]
mod clients {
    mod patience;
    mod python;
    mod rust;
}
