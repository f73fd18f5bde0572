//! Promise: with `durability.mode: replicated` no write is acknowledged before as many replicas have it as were asked for, on every
//! server version, whatever the server lets us ask; and then no failover loses it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells by printing"
)]

#[path = "durable/frozen.rs"]
mod frozen;
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its part of the harness"
)]
mod harness;
#[path = "durable/stage.rs"]
mod stage;
#[path = "durable/switch.rs"]
mod switch;
