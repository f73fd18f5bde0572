//! What the scripts cost: ten thousand keys of 1 KB, pipelined.

use bytes::Bytes;
use gripfast::repair::key::{Content, Whole};
use gripfast::repair::marks::AppWrite;
use gripfast::repair::record::{Base, Component, Record};
use gripfast::repair::script::{Call, Cause, Names, Script};
use gripfast::repair::stamp::Stamp;

use crate::harness::{Client, Server, Stopwatch, Version, encode};

const KEYS: usize = 10_000;

fn record(stamp: i64, write: Base<Bytes>) -> Record<Bytes> {
    Record {
        base: Some(Component {
            stamp: Stamp(stamp),
            is_inherited: false,
            write,
        }),
        ..Record::default()
    }
}

fn value(content: Content<Bytes>) -> Base<Bytes> {
    Base::Value(Whole {
        content,
        deadline: Some(9_000_000_000_000),
    })
}

/// Sends the requests of all keys in packets; returns the milliseconds until the last answer, and the microseconds that the
/// server says it has spent in each call of a script.
fn time(client: &mut Client, request: impl Fn(&mut Vec<u8>, &[u8]) -> usize) -> (u128, String) {
    client.ask("CONFIG RESETSTAT");
    let watch = Stopwatch::start();
    for packet in 0..KEYS / 500 {
        let mut bytes = Vec::new();
        let mut answers = 0;
        for key in packet * 500..(packet + 1) * 500 {
            answers += request(&mut bytes, format!("k{key}").as_bytes());
        }
        client.send(&bytes);
        for _ in 0..answers {
            assert_ne!(client.frame()[0], b'-');
        }
    }
    let elapsed = watch.elapsed().as_millis();
    let told = client.ask("INFO commandstats");
    let script = told.split("cmdstat_evalsha:").nth(1).unwrap_or("");
    let each = script.split("usec_per_call=").nth(1).unwrap_or("");
    let each = each.split([',', '\\']).next().unwrap_or("");
    (elapsed, each.to_owned())
}

pub(crate) fn measure(version: &Version) {
    let server = Server::start(version);
    let mut client = server.client();
    let names = Names::new("gripfast:", 5000);
    let mut bytes = Vec::new();
    let open = names.open("r", Cause::Switched, 3_600_000, Stamp(0), &[0]);
    open.by_body(&mut bytes);
    client.send(&bytes);
    client.frame();
    let load = |client: &mut Client, script: Script| {
        client.call(&["SCRIPT", "LOAD", script.body()]);
        script.sha()
    };
    let (repair, mark) = (
        load(&mut client, Script::Repair),
        load(&mut client, Script::Mark),
    );
    let kilobyte = Bytes::from(vec![b'x'; 1024]);
    let string = record(10, value(Content::String(kilobyte.clone())));
    let fields = (0..5).map(|place| (Bytes::from(format!("f{place}")), kilobyte.slice(..200)));
    let hash = record(20, value(Content::Hash(fields.collect())));
    let delete = record(30, Base::Delete);
    let set = time(&mut client, |out, key| {
        out.extend(encode(&[b"SET", key, &kilobyte]));
        1
    });
    client.ask("FLUSHDB");
    client.send(&bytes);
    client.frame();
    let mut run = |record: &Record<Bytes>| {
        time(&mut client, |out, key| {
            names.repair(0, key, record).by_sha(out, &repair);
            1
        })
    };
    let steps = [
        ("SET", set),
        ("put back", run(&string)),
        ("superseded", run(&string)),
        ("hash of five over a string", run(&hash)),
        ("delete", run(&delete)),
    ];
    let write = AppWrite::Value;
    let unit = time(&mut client, |out, key| {
        let keys = [key];
        let call: Call<'_> = names.mark(0, &keys, &write, Stamp(40));
        out.extend(encode(&["MULTI"]));
        call.by_sha(out, &mark);
        out.extend(encode(&[b"SET", key, &kilobyte]));
        out.extend(encode(&["EXEC"]));
        4
    });
    let used = client.ask("MEMORY USAGE gripfast:marks SAMPLES 0");
    eprintln!(
        "{}: {steps:?}, SET with its mark in MULTI {unit:?}, in ms and us; marks {used} bytes",
        version.name
    );
}
