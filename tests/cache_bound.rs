//! The session cache stays within `cache.bytes`: what it counts, and what the process really grows by.
//!
//! One test, so that nothing else allocates in this process. Two million keys, with the default bound;
//! `GRIPFAST_TEST_LARGE=1` makes it ten times as many.

use std::time::Duration;

use bytes::Bytes;
use gripfast::cache::entry::{Kept, Store};
use gripfast::cache::store::{Limits, MokaStore};

/// How much more than counted the process may grow by: the allocator's holes between blocks of all sizes, and entries
/// that wait to be freed.
const GROWTH_MAX: f64 = 1.3;

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).expect("the resident pages");
    pages.parse::<u64>().expect("a number") * rustix::param::page_size() as u64
}

fn kept(length: usize) -> Kept {
    Kept {
        database: 0,
        shape: Bytes::from_static(b"get"),
        reply: Bytes::from(vec![b'x'; length]),
        deadline: None,
        sent_at: 0,
        answered_at: 0,
        link: 1,
    }
}

/// Keeps and finds replies of 100 to 2000 bytes under ever new names; returns the most bytes counted, and grown by.
fn fill(limits: Limits, inserts: u64) -> (u64, u64) {
    let before = resident();
    let mut store = MokaStore::new(limits);
    let (mut counted, mut grown) = (0, 0);
    let mut state = 0x853C_49E6_748F_EA9B_u64;
    for number in 0..inserts {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let key = format!("session:{number:024x}");
        store.keep(key.as_bytes(), kept(100 + (state % 1901) as usize));
        // A second read of a recent one, whose first find also makes its bytes shared.
        let recent = format!("session:{:024x}", number.saturating_sub(state % 1000));
        store.get(recent.as_bytes(), 0, b"get");
        if number % 1000 == 0 {
            counted = counted.max(store.statistics().bytes);
            grown = grown.max(resident().saturating_sub(before));
        }
    }
    let statistics = store.statistics();
    assert!(statistics.evicted_for_size > 0, "the bound was not reached");
    (counted, grown)
}

#[test]
fn cache_stays_within_its_bytes_whatever_comes() {
    let large = std::env::var("GRIPFAST_TEST_LARGE").is_ok_and(|value| value == "1");
    let (bytes, inserts) = match large {
        true => (256 << 20, 20_000_000),
        false => (64 << 20, 2_000_000),
    };
    let limits = Limits {
        bytes,
        entry_bytes_max: 64 << 10,
        ttl: Duration::from_secs(3600),
    };
    let (counted, grown) = fill(limits, inserts);
    println!("{inserts} inserts: {counted} bytes counted, grown by {grown}");
    assert!(counted <= bytes, "{counted} bytes counted");
    assert!(grown as f64 <= bytes as f64 * GROWTH_MAX, "{grown} bytes");
    // And the count is no fiction: small entries are where overhead tells.
    assert!(grown as f64 >= counted as f64 * 0.7, "{grown} bytes");
}
