//! What the fold costs: ten thousand writes of 1 KB.

use gripfast::command::table::Table;
use gripfast::journal::ring::{Bounds, Record, Ring};
use gripfast::repair::fold::{Dispatch, Fold};
use gripfast::repair::stamp::Stamp;

use crate::harness::{Stopwatch, encode};

const WRITES: usize = 10_000;

pub(crate) fn measure() {
    let value = "v".repeat(1024);
    let sets = |key: &str| format!("SET {key} {value} EX 900");
    let hashes = |key: &str| format!("HSET {key} a {value} b 1");
    let touches = |key: &str| format!("EXPIRE {key} 900");
    each("SET", b"+OK\r\n", sets);
    each("HSET", b":2\r\n", hashes);
    each("EXPIRE", b":1\r\n", touches);
}

fn each(what: &str, reply: &[u8], request: impl Fn(&str) -> String) {
    let mut ring = Ring::new(Bounds {
        bytes: 64 << 20,
        records: WRITES,
    });
    for index in 0..WRITES {
        let text = request(&format!("session:{index}"));
        let words: Vec<&str> = text.split(' ').collect();
        let record = Record {
            sent_at: index as u64,
            database: 0,
            count: 1,
            request: &encode(&words),
            reply,
            whole: true,
            is_look: false,
            fields_last: false,
        };
        ring.add(&record, 0);
    }
    let table = Table::default();
    let watch = Stopwatch::start();
    let mut fold = Fold::new();
    for (seq, record) in ring.from(0) {
        let dispatch = Dispatch {
            stamp: Stamp(1_700_000_000_000_000 + seq as i64),
            doubt_ms: 1,
            is_inherited: false,
            is_at_risk: true,
        };
        fold.add(&table, &record, dispatch);
    }
    let added = watch.elapsed();
    let owns = fold.finish().owns.len();
    let all = watch.elapsed();
    eprintln!("{what}: {WRITES} folded in {added:?}, {owns} keys after {all:?}");
}
