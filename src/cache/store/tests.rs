use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// A bound that these tests never reach.
const AMPLE: Limits = Limits {
    bytes: 64 << 20,
    entry_bytes_max: 64 << 10,
    ttl: Duration::from_secs(600),
};

fn kept(database: u32, shape: &str, reply: &[u8], sent_at: u64) -> Kept {
    Kept {
        database,
        shape: Bytes::copy_from_slice(shape.as_bytes()),
        reply: Bytes::copy_from_slice(reply),
        deadline: Some(sent_at + 1000),
        sent_at,
        answered_at: sent_at,
        link: 7,
    }
}

#[test]
fn reply_is_found_by_key_database_and_shape() {
    let mut store = MokaStore::new(AMPLE);
    let first = kept(0, "get", b"$1\r\na\r\n", 1);
    let second = kept(5, "get", b"$1\r\nb\r\n", 2);
    store.keep(b"key", first.clone());
    store.keep(b"key", second.clone());
    assert_eq!(store.get(b"key", 0, b"get"), Some(first));
    assert_eq!(store.get(b"key", 5, b"get"), Some(second));
    assert_eq!(store.get(b"key", 0, b"strlen"), None);
    assert_eq!(store.get(b"other", 0, b"get"), None);
    store.remove(b"key");
    assert_eq!(store.get(b"key", 0, b"get"), None);
    assert_eq!(store.get(b"key", 5, b"get"), None);
}

#[test]
fn newer_reply_takes_the_place_of_the_older() {
    let mut store = MokaStore::new(AMPLE);
    let empty = store.statistics().bytes;
    for number in 0..100 {
        let reply = kept(0, "get", format!(":{number}\r\n").as_bytes(), number);
        store.keep(b"key", reply.clone());
        assert_eq!(store.get(b"key", 0, b"get"), Some(reply));
    }
    store.tick();
    assert_eq!(store.statistics().entries, 1);
    let grown = store.statistics().bytes - empty;
    assert!(grown < 2 * (KEY_OVERHEAD_BYTES + REPLY_OVERHEAD_BYTES) as u64);
}

#[test]
fn too_large_reply_is_counted_and_takes_its_predecessor_away() {
    let limits = Limits {
        entry_bytes_max: 100,
        ..AMPLE
    };
    let mut store = MokaStore::new(limits);
    store.keep(b"key", kept(0, "get", b"small", 1));
    store.keep(b"key", kept(0, "strlen", b":5\r\n", 1));
    let large = kept(0, "get", &[b'x'; 95], 2);
    assert!(!store.fits(b"key", &large));
    store.keep(b"key", large.clone());
    assert_eq!(store.get(b"key", 0, b"get"), None);
    assert!(store.get(b"key", 0, b"strlen").is_some());
    store.keep(b"alone", kept(0, "get", b"small", 3));
    store.keep(b"alone", large);
    assert_eq!(store.get(b"alone", 0, b"get"), None);
    assert_eq!(store.statistics().oversized, 2);
    assert!(store.fits(b"key", &kept(0, "get", &[b'x'; 94], 2)));
}

#[test]
fn oldest_of_too_many_shapes_goes() {
    let mut store = MokaStore::new(AMPLE);
    for number in 0..=REPLIES_MAX as u64 {
        store.keep(b"key", kept(0, &format!("hget {number}"), b"_\r\n", number));
    }
    assert_eq!(store.get(b"key", 0, b"hget 0"), None);
    for number in 1..=REPLIES_MAX {
        let shape = format!("hget {number}");
        assert!(store.get(b"key", 0, shape.as_bytes()).is_some(), "{shape}");
    }
    // One that is there already pushes nobody out.
    store.keep(b"key", kept(0, "hget 1", b"+new\r\n", 99));
    assert!(store.get(b"key", 0, b"hget 2").is_some());
}

#[test]
fn nothing_survives_a_clear_in_the_same_instant() {
    let mut store = MokaStore::new(AMPLE);
    for number in 0..1000 {
        store.keep(b"key", kept(0, "get", b"before", number));
        store.clear();
        assert_eq!(store.get(b"key", 0, b"get"), None);
        store.keep(b"key", kept(1, "get", b"after", number));
        assert_eq!(store.get(b"key", 0, b"get"), None);
        assert!(store.get(b"key", 1, b"get").is_some());
    }
}

#[test]
fn reply_does_not_hold_the_buffer_that_it_came_in() {
    let mut store = MokaStore::new(AMPLE);
    let buffer = Bytes::from(vec![b'x'; 64 << 10]);
    let mut slice = kept(0, "get", b"", 1);
    slice.reply = buffer.slice(100..110);
    store.keep(b"key", slice);
    assert!(buffer.is_unique());
    let found = store.get(b"key", 0, b"get").expect("it was kept");
    assert_eq!(found.reply, [b'x'; 10][..]);
}

#[test]
fn evictions_are_counted_by_cause() {
    let limits = Limits {
        bytes: 100_000,
        ..AMPLE
    };
    let mut store = MokaStore::new(limits);
    for number in 0..1000 {
        let key = format!("key:{number}");
        store.keep(key.as_bytes(), kept(0, "get", &[b'x'; 500], number));
    }
    store.tick();
    let statistics = store.statistics();
    assert!(statistics.bytes <= limits.bytes);
    assert_eq!(statistics.evicted_for_size + statistics.entries, 1000);
    assert_eq!(statistics.evicted_expired, 0);

    let ttl = Duration::ZERO;
    let mut store = MokaStore::new(Limits { ttl, ..AMPLE });
    store.keep(b"key", kept(0, "get", b"x", 1));
    store.tick();
    let statistics = store.statistics();
    assert_eq!((statistics.entries, statistics.evicted_expired), (0, 1));
}

#[test]
fn what_is_held_stays_bounded_between_ticks() {
    let limits = Limits {
        bytes: 4 << 20,
        ..AMPLE
    };
    let mut store = MokaStore::new(limits);
    // The largest that is kept: 64 of them, moka's own measure, would be the whole bound again.
    let reply = vec![b'x'; limits.entry_bytes_max - 20];
    let share = limits.bytes / PENDING_SHARE + u64::from(u16::MAX) + 2048;
    for number in 0..2000 {
        let key = format!("key:{number}");
        store.keep(key.as_bytes(), kept(0, "get", &reply, number));
        // Looking at all of it is slow; 7 shares no factor with moka's 64.
        if number % 7 != 0 {
            continue;
        }
        let entries = store.cache.iter();
        let held: u64 = entries
            .map(|(key, replies)| u64::from(weight(&key, &replies.list)))
            .sum();
        assert!(held <= limits.bytes + share, "{held} bytes at {number}");
    }
}

/// What is done to the store and to the model.
#[derive(Clone, Debug)]
enum Step {
    Keep(u8, u32, u8, usize),
    Find(u8, u32, u8),
    Remove(u8),
    Clear,
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..12u8, 0..2u32, 0..6u8, 0..300usize).prop_map(|(k, d, s, n)| Step::Keep(k, d, s, n)),
        8 => (0..12u8, 0..2u32, 0..6u8).prop_map(|(k, d, s)| Step::Find(k, d, s)),
        2 => (0..12u8).prop_map(Step::Remove),
        1 => Just(Step::Clear),
        1 => Just(Step::Tick),
    ];
    prop::collection::vec(step, 1..400)
}

/// Runs the steps on a store and on a map that forgets nothing. A find may miss if `may_lose`; it never tells what the map
/// does not. A reply too large to be kept still ends the one before.
fn compare(limits: Limits, steps: Vec<Step>, may_lose: bool) -> Result<(), TestCaseError> {
    let mut store = MokaStore::new(limits);
    let mut model: HashMap<(u8, u32, u8), Kept> = HashMap::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Keep(key, database, shape, length) => {
                let reply = vec![number as u8; length];
                let reply = kept(database, &shape.to_string(), &reply, number as u64);
                if store.fits(&[key], &reply) {
                    model.insert((key, database, shape), reply.clone());
                } else {
                    model.remove(&(key, database, shape));
                }
                store.keep(&[key], reply);
            }
            Step::Find(key, database, shape) => {
                let found = store.get(&[key], database, shape.to_string().as_bytes());
                if found.is_some() || !may_lose {
                    prop_assert_eq!(found.as_ref(), model.get(&(key, database, shape)));
                }
            }
            Step::Remove(key) => {
                model.retain(|(of, _, _), _| *of != key);
                store.remove(&[key]);
            }
            Step::Clear => {
                model.clear();
                store.clear();
            }
            Step::Tick => store.tick(),
        }
    }
    for ((key, database, shape), reply) in &model {
        let found = store.get(&[*key], *database, shape.to_string().as_bytes());
        prop_assert!(found.as_ref() == Some(reply) || found.is_none() && may_lose);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn full_store_loses_but_never_makes_up_an_answer(steps in steps()) {
        let limits = Limits { bytes: 4096, entry_bytes_max: 250, ..AMPLE };
        compare(limits, steps, true)?;
    }

    #[test]
    fn store_with_room_answers_as_a_map_does(steps in steps()) {
        compare(Limits { entry_bytes_max: 250, ..AMPLE }, steps, false)?;
    }
}
