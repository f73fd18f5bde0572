//! How long finding the ends of frames takes: replies as a link sees them, requests as a client sends them.
//!
//! Each input is one read's worth of traffic, so a figure divided by the frames in it is what the scanner adds to an
//! operation; the printed throughput is in bytes. The three functions below are all that knows the API.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gripfast::resp::encode::request_bytes;
use gripfast::resp::frame::Scanner;
use gripfast::resp::request::{Parsed, Words, parse};
use std::hint::black_box;

/// Requests that a client sends at once, as in `redis-benchmark -P 16`.
const PIPELINE: usize = 16;
/// A session's size, as in `redis-benchmark -d 512`.
const VALUE_BYTES: usize = 512;
/// What a read may bring at most when a stream arrives in pieces: less than a value, so that most cuts are inside one.
const PIECE_BYTES: usize = 300;

/// Passes over all frames of `input` and returns their number.
fn scan(input: &[u8]) -> u32 {
    whole(
        Scanner::default()
            .run(input, u32::MAX)
            .map(|run| run.frames),
    )
}

/// As [`scan`], writing the frames as RESP2 to `out`.
fn scan_as_resp2(input: &[u8], out: &mut Vec<u8>) -> u32 {
    out.clear();
    whole(
        Scanner::default()
            .run_as_resp2(input, u32::MAX, out)
            .map(|run| run.frames),
    )
}

/// Splits all requests of `input` into words and returns the number of requests.
fn split_requests(mut input: &[u8], words: &mut Words) -> u32 {
    let mut requests = 0;
    while !input.is_empty() {
        let Parsed::Whole(length) = parse(input, words) else {
            panic!("the input holds whole requests only");
        };
        input = &input[length..];
        requests += 1;
    }
    requests
}

fn whole<E: std::fmt::Debug>(frames: Result<u32, E>) -> u32 {
    frames.expect("the inputs are well-formed")
}

/// As [`scan`], in pieces that end anywhere; what was not consumed stands in front of the next piece, as in a link's
/// buffer, but nothing is moved.
fn scan_in_pieces(input: &[u8]) -> u32 {
    let mut scanner = Scanner::default();
    let (mut start, mut end, mut frames) = (0, 0, 0);
    while end < input.len() {
        end = (end + PIECE_BYTES).min(input.len());
        let run = scanner
            .run(&input[start..end], u32::MAX)
            .expect("the inputs are well-formed");
        start += run.consumed;
        frames += run.frames;
    }
    frames
}

fn bulk(body: &[u8]) -> Vec<u8> {
    let mut frame = format!("${}\r\n", body.len()).into_bytes();
    frame.extend_from_slice(body);
    frame.extend_from_slice(b"\r\n");
    frame
}

fn aggregate(kind: char, count: usize, elements: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = format!("{kind}{count}\r\n").into_bytes();
    frame.extend(elements.concat());
    frame
}

/// A session kept as a hash: eight fields of some ten bytes and one of a value's size.
fn fields() -> Vec<Vec<u8>> {
    (0..9)
        .flat_map(|number| {
            let size = if number == 8 { VALUE_BYTES } else { 12 };
            [
                bulk(format!("sessionAttr:{number}").as_bytes()),
                bulk(&vec![b'v'; size]),
            ]
        })
        .collect()
}

/// Name and one reply; a stream is [`PIPELINE`] of them.
fn replies() -> Vec<(&'static str, Vec<u8>)> {
    let fields = fields();
    // HMGET of a session of which half the fields are missing, as RESP3 says it.
    let half_missing: Vec<Vec<u8>> = fields
        .iter()
        .flat_map(|field| [field.clone(), b"_\r\n".to_vec()])
        .collect();
    let exec = [
        b"+OK\r\n".to_vec(),
        b":1\r\n".to_vec(),
        aggregate('*', fields.len(), &fields),
    ];
    vec![
        ("ok", b"+OK\r\n".to_vec()),
        ("null", b"_\r\n".to_vec()),
        ("bulk_512", bulk(&[b'x'; VALUE_BYTES])),
        ("hash_as_array", aggregate('*', fields.len(), &fields)),
        ("hash_as_map", aggregate('%', fields.len() / 2, &fields)),
        (
            "array_half_null",
            aggregate('*', half_missing.len(), &half_missing),
        ),
        ("exec_nested", aggregate('*', exec.len(), &exec)),
    ]
}

/// Name and one request; a pipeline is [`PIPELINE`] of them.
fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let value = [b'x'; VALUE_BYTES];
    vec![
        ("get", request_bytes(&[&b"GET"[..], b"key:000000004711"])),
        (
            "set_512",
            request_bytes(&[&b"SET"[..], b"key:000000004711", &value]),
        ),
        (
            "setex_512",
            request_bytes(&[
                &b"SETEX"[..],
                b"PHPREDIS_SESSION:0123456789abcdef",
                b"1440",
                &value,
            ]),
        ),
        (
            "expire",
            request_bytes(&[&b"EXPIRE"[..], b"sess:0123456789abcdef", b"86400"]),
        ),
    ]
}

fn bench_replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replies");
    for (name, frame) in replies() {
        let input = frame.repeat(PIPELINE);
        assert_eq!(scan(&input) as usize, PIPELINE, "{name}");
        assert_eq!(
            scan_in_pieces(&input) as usize,
            PIPELINE,
            "{name} in pieces"
        );
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_with_input(BenchmarkId::new("whole", name), &input, |bencher, input| {
            bencher.iter(|| scan(black_box(input)));
        });
        group.bench_with_input(
            BenchmarkId::new("pieces", name),
            &input,
            |bencher, input| {
                bencher.iter(|| scan_in_pieces(black_box(input)));
            },
        );
        group.bench_with_input(
            BenchmarkId::new("as_resp2", name),
            &input,
            |bencher, input| {
                let mut out = Vec::with_capacity(2 * input.len());
                bencher.iter(|| scan_as_resp2(black_box(input), &mut out));
            },
        );
        // The floor of the rewrite: a frame without nulls and maps needs a copy and nothing else.
        group.bench_with_input(BenchmarkId::new("copy", name), &input, |bencher, input| {
            let mut out = Vec::with_capacity(2 * input.len());
            bencher.iter(|| {
                out.clear();
                out.extend_from_slice(black_box(input));
                out.len()
            });
        });
    }
    group.finish();
}

fn bench_requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("requests");
    for (name, frame) in requests() {
        let input = frame.repeat(PIPELINE);
        let mut words = Words::default();
        assert_eq!(
            split_requests(&input, &mut words) as usize,
            PIPELINE,
            "{name}"
        );
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_with_input(BenchmarkId::new("parse", name), &input, |bencher, input| {
            bencher.iter(|| split_requests(black_box(input), &mut words));
        });
    }
    group.finish();
}

criterion_group!(benches, bench_replies, bench_requests);
criterion_main!(benches);
