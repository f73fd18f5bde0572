//! The protocol's edges: malformed and slow input, limits, large values, many clients, each as Redis has it.
//!
//! `GRIPFAST_TEST_LARGE=1` adds values of 512 MB, `GRIPFAST_TEST_REQUESTS` sets the number of interleaved requests.
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

#[path = "resp"]
mod resp {
    mod clients;
    mod malformed;
    mod sizes;
}
