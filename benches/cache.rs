//! What the session cache costs a request: a hit, a miss, keeping a reply, removing one; and how much of it is moka.
//!
//! `store` is ours as the data path asks it, the front before moka included, and every hit, here and below, is copied to a
//! client's buffer. `core` is a hit with its checks of time, lease and link. `front` is the front alone, `moka` is moka
//! alone, without a listener, `moka_foldhash` the same with a faster hasher, `map` the standard map (SipHash) with values of
//! the same kind: the floor. Keys come in random order, all equally often, which is the worst for the processor's caches;
//! `500` stands for the sessions that are busy at one time. The front has room for some 16,000 replies.
//!
//! Time is the thread's own CPU time, since other work on the machine says nothing about the cache.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gripfast::cache::core::{Core, Question, Tracking};
use gripfast::cache::entry::{Kept, Store, View};
use gripfast::cache::fence::Fence;
use gripfast::cache::front::Front;
use gripfast::cache::store::{Limits, MokaStore};
use moka::sync::Cache;
use rustix::time::{ClockId, clock_gettime};

/// How many keys there are.
const KEYS: [usize; 3] = [500, 10_000, 100_000];
/// For how many of them the front has room, more or less.
const FRONT_KEYS: usize = 16_000;
/// A session's size, as in `redis-benchmark -d 512`.
const VALUE_BYTES: usize = 512;
/// Never reached: evictions have a test.
const BYTES_MAX: u64 = 1 << 30;
/// As little reached.
const TTL: Duration = Duration::from_secs(3600);

/// A key's name, owned.
type Key = Box<[u8]>;

/// CPU time of this thread.
struct ThreadTime;

impl ThreadTime {
    fn now() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        Self::now()
    }

    fn end(&self, start: Duration) -> Duration {
        Self::now() - start
    }

    fn add(&self, first: &Duration, second: &Duration) -> Duration {
        *first + *second
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// A key of 32 bytes, as session libraries make them.
fn key(number: usize) -> Key {
    let scattered = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let name = format!("session:{:08x}{scattered:016x}", number as u32);
    name.into_bytes().into()
}

fn kept() -> Kept {
    Kept {
        database: 0,
        shape: Bytes::from_static(b"get"),
        reply: Bytes::from(vec![b'x'; VALUE_BYTES]),
        deadline: Some(1),
        sent_at: 0,
        answered_at: 0,
        link: 1,
    }
}

/// Visits keys at random, each as often as any other.
struct Visits<'a> {
    keys: &'a [Key],
    state: u64,
}

impl<'a> Visits<'a> {
    fn new(keys: &'a [Key]) -> Self {
        let state = 0x853C_49E6_748F_EA9B;
        Self { keys, state }
    }

    fn next(&mut self) -> &'a [u8] {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        &self.keys[(self.state % self.keys.len() as u64) as usize]
    }
}

/// A store that has all of them; each was found once, so the front has what it has room for.
fn filled(keys: &[Key]) -> MokaStore {
    let mut store = MokaStore::new(Limits {
        bytes: BYTES_MAX,
        entry_bytes_max: 64 << 10,
        ttl: TTL,
    });
    for key in keys {
        store.keep(key, kept());
    }
    store.tick();
    for key in keys {
        store.find(key, |_| true, |_| ());
    }
    store
}

/// Answers a client as the data path does.
fn answer(out: &mut Vec<u8>, reply: &[u8]) {
    out.clear();
    out.extend_from_slice(reply);
}

fn bench_store(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("store");
    let shape = black_box(&b"get"[..]);
    let mut out = Vec::new();
    for count in KEYS {
        let (keys, absent) = names(count);
        let mut store = filled(&keys);
        let wanted = |view: &View<'_>| view.is_of(0, shape);
        let mut visits = Visits::new(&keys);
        group.bench_function(BenchmarkId::new("hit", count), |bencher| {
            bencher.iter(|| store.find(visits.next(), wanted, |view| answer(&mut out, view.reply)));
        });
        let mut visits = Visits::new(&absent);
        group.bench_function(BenchmarkId::new("miss", count), |bencher| {
            bencher.iter(|| store.find(visits.next(), wanted, |view| answer(&mut out, view.reply)));
        });
        group.bench_function(BenchmarkId::new("remove_absent", count), |bencher| {
            bencher.iter(|| store.remove(visits.next()));
        });
        let mut visits = Visits::new(&keys);
        let reply = kept();
        group.bench_function(BenchmarkId::new("keep_again", count), |bencher| {
            bencher.iter(|| store.keep(visits.next(), reply.clone()));
        });
        group.bench_function(BenchmarkId::new("remove_and_keep", count), |bencher| {
            bencher.iter(|| {
                let key = visits.next();
                store.remove(key);
                store.keep(key, reply.clone());
            });
        });
    }
    group.finish();
}

fn bench_core(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("core");
    let mut out = Vec::new();
    for count in KEYS {
        let (keys, _) = names(count);
        let mut core: Core<MokaStore> = Core::new(filled(&keys), Fence::default());
        let mut question = Question {
            key: b"",
            database: 0,
            shape: black_box(b"get"),
            link: Tracking {
                serial: 1,
                ttl: Some(1000),
                lease_until: 1000,
                ..Tracking::default()
            },
            now: 0,
            after: None,
        };
        let mut visits = Visits::new(&keys);
        group.bench_function(BenchmarkId::new("hit", count), |bencher| {
            bencher.iter(|| {
                question.key = visits.next();
                core.look_up(&question, |view| answer(&mut out, view.reply))
            });
        });
    }
    group.finish();
}

fn bench_front(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("front");
    let reply = kept();
    let mut out = Vec::new();
    for count in KEYS.into_iter().filter(|count| *count <= FRONT_KEYS) {
        let (keys, absent) = names(count);
        let hasher = foldhash::quality::RandomState::default();
        let mut front = Front::new(BYTES_MAX as usize, hasher);
        for key in &keys {
            front.keep(key, &reply.view());
        }
        let mut visits = Visits::new(&keys);
        group.bench_function(BenchmarkId::new("hit", count), |bencher| {
            bencher.iter(|| {
                let found = front.find(visits.next(), |_| true);
                found.map(|view| answer(&mut out, view.reply))
            });
        });
        let mut visits = Visits::new(&absent);
        group.bench_function(BenchmarkId::new("miss", count), |bencher| {
            bencher.iter(|| front.find(visits.next(), |_| true).is_some());
        });
    }
    group.finish();
}

/// Keys that are there, and as many that are not.
fn names(count: usize) -> (Vec<Key>, Vec<Key>) {
    let keys = (0..count).map(key).collect();
    (keys, (count..2 * count).map(key).collect())
}

fn bench_moka<H>(criterion: &mut Criterion<ThreadTime>, name: &str, hasher: H)
where
    H: BuildHasher + Clone + Send + Sync + 'static,
{
    let mut group = criterion.benchmark_group(name);
    for count in KEYS {
        let (keys, absent) = names(count);
        let mut out = Vec::new();
        let cache = Cache::<Key, Arc<[Kept]>>::builder()
            .max_capacity(BYTES_MAX)
            .weigher(|key, list| (key.len() + list.len()) as u32)
            .time_to_live(TTL)
            .build_with_hasher(hasher.clone());
        for key in &keys {
            cache.insert(key.clone(), Arc::from([kept()]));
        }
        cache.run_pending_tasks();
        let mut visits = Visits::new(&keys);
        group.bench_function(BenchmarkId::new("hit", count), |bencher| {
            bencher.iter(|| {
                let found = cache.get(visits.next());
                found.map(|list| answer(&mut out, &list[0].reply))
            });
        });
        let mut visits = Visits::new(&absent);
        group.bench_function(BenchmarkId::new("miss", count), |bencher| {
            bencher.iter(|| cache.get(visits.next()));
        });
        let mut visits = Visits::new(&keys);
        let list = Arc::from([kept()]);
        group.bench_function(BenchmarkId::new("insert", count), |bencher| {
            bencher.iter(|| cache.insert(visits.next().into(), Arc::clone(&list)));
        });
    }
    group.finish();
}

fn bench_map(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("map");
    for count in KEYS {
        let (keys, absent) = names(count);
        let mut out = Vec::new();
        let mut map: HashMap<Key, Arc<[Kept]>> = HashMap::new();
        for key in &keys {
            map.insert(key.clone(), Arc::from([kept()]));
        }
        let mut visits = Visits::new(&keys);
        group.bench_function(BenchmarkId::new("hit", count), |bencher| {
            bencher.iter(|| {
                let found = map.get(visits.next());
                found.map(|list| answer(&mut out, &list[0].reply))
            });
        });
        let mut visits = Visits::new(&absent);
        group.bench_function(BenchmarkId::new("miss", count), |bencher| {
            bencher.iter(|| map.get(visits.next()).cloned());
        });
        let mut visits = Visits::new(&keys);
        let list = Arc::from([kept()]);
        group.bench_function(BenchmarkId::new("insert", count), |bencher| {
            bencher.iter(|| map.insert(visits.next().into(), Arc::clone(&list)));
        });
    }
    group.finish();
}

fn bench_mokas(criterion: &mut Criterion<ThreadTime>) {
    bench_moka(criterion, "moka", RandomState::new());
    let faster = foldhash::quality::RandomState::default();
    bench_moka(criterion, "moka_foldhash", faster);
}

fn by_thread_time() -> Criterion<ThreadTime> {
    Criterion::default()
        .with_measurement(ThreadTime)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
}

criterion_group! {
    name = benches;
    config = by_thread_time();
    targets = bench_store, bench_core, bench_front, bench_mokas, bench_map
}
criterion_main!(benches);
