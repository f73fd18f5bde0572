//! The session cache, as clients see it: never wrong, and worth having. Each promise of COHERENCE.md on real servers.
//!
//! `GRIPFAST_TEST_CACHE_SECONDS` makes the loads run longer: a longer run finds rarer faults.
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

#[path = "cache"]
#[allow(
    unreachable_pub,
    reason = "its parts are each other's, and nobody else's"
)]
mod cache {
    mod checker;
    mod checker_can_fail;
    mod crowd;
    mod expiry;
    mod faults;
    mod half_dead;
    mod history;
    mod monitor;
    mod oddities;
    mod own_writes;
    mod patterns;
    mod relay;
    mod requests;
    mod sliding;
    mod statistics;
    mod two_sidecars;
    mod workload;
}

/// Runs `case` for each item in a thread of its own; fails when one of them fails.
fn side_by_side<T: Send>(items: Vec<T>, case: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        let threads: Vec<_> = items
            .into_iter()
            .map(|item| scope.spawn(|| case(item)))
            .collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let failed = results.iter().filter(|result| result.is_err()).count();
        assert_eq!(failed, 0, "cases failed, see above");
    });
}

/// How long a load runs, unless a longer run is asked for.
fn run_length(usual: std::time::Duration) -> std::time::Duration {
    let asked = std::env::var("GRIPFAST_TEST_CACHE_SECONDS").ok();
    let seconds = asked.and_then(|text| text.parse().ok());
    seconds.map_or(usual, std::time::Duration::from_secs)
}
