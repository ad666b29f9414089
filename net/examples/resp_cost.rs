//! What the codec costs: nanoseconds per pipelined command, decoded into words and dropped, and per
//! answer encoded. Run it with `cargo run --release -p orloj-net --example resp_cost`.
//!
//! Each row is the best of many rounds over one read's worth of pipelined commands, so that other
//! work on the machine shows up in the rounds that are thrown away.

#![allow(clippy::disallowed_types, reason = "a measurement needs a clock")]
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use orloj_net::Answer;
use orloj_net::resp::{
    Decoder, Limits, Progress, ReplyDecoder, ReplyLimits, Version, encode_answer, encode_request,
};

const ROUNDS: usize = 200_000;

fn main() {
    let value = vec![b'v'; 32];
    let large = vec![b'v'; 4096];
    for pipeline in [1, 16, 64] {
        decode("SET 32 B", pipeline, |i| vec![b"SET".to_vec(), key(i), value.clone()]);
        decode("GET", pipeline, |i| vec![b"GET".to_vec(), key(i)]);
    }
    decode("SET 4 KiB", 16, |i| vec![b"SET".to_vec(), key(i), large.clone()]);
    decode("INCR", 64, |i| vec![b"INCR".to_vec(), key(i)]);
    decode("MGET 10", 16, |i| {
        std::iter::once(b"MGET".to_vec()).chain((0..10).map(|k| key(i + k))).collect()
    });
    decode("PING", 64, |_| vec![b"PING".to_vec()]);
    encode("+OK", Answer::Ok);
    encode("bulk 32 B", Answer::Bulk(Bytes::from(value.clone()).into()));
    encode("integer", Answer::Int(1_234_567));
    reply(Answer::Bulk(Bytes::from(value).into()));
}

fn key(i: usize) -> Vec<u8> {
    format!("key:{i:012}").into_bytes()
}

/// Times a read's worth of commands through one decoder and one reused buffer, the way a
/// connection uses them.
fn decode(name: &str, pipeline: usize, request: impl Fn(usize) -> Vec<Vec<u8>>) {
    let mut wire = Vec::new();
    (0..pipeline).for_each(|i| encode_request(&request(i), &mut wire));
    let mut decoder = Decoder::new(Limits::default());
    let mut input = BytesMut::with_capacity(64 << 10);
    let mut out = Vec::new();
    let best = best(|| {
        input.reserve(wire.len());
        input.extend_from_slice(&wire);
        let started = Instant::now();
        let progress = decoder.decode(&mut input, &mut out);
        assert_eq!(progress, Ok(Progress::Wait { missing: 0 }));
        assert_eq!(black_box(&out).len(), pipeline);
        out.clear();
        started.elapsed().as_nanos() as f64
    });
    println!("decode {name:<10} P={pipeline:<3} {:>7.1} ns per command", best / pipeline as f64);
}

fn encode(name: &str, answer: Answer) {
    let mut out = Vec::with_capacity(64 << 10);
    let best = best(|| {
        out.clear();
        let started = Instant::now();
        for _ in 0..64 {
            encode_answer(black_box(&answer), Version::Resp2, &mut out);
        }
        black_box(&out);
        started.elapsed().as_nanos() as f64
    });
    println!("encode {name:<16} {:>7.1} ns per answer", best / 64.0);
}

fn reply(answer: Answer) {
    let mut wire = Vec::new();
    (0..64).for_each(|_| encode_answer(&answer, Version::Resp2, &mut wire));
    let mut decoder = ReplyDecoder::new(ReplyLimits::default());
    let mut input = BytesMut::with_capacity(64 << 10);
    let best = best(|| {
        input.reserve(wire.len());
        input.extend_from_slice(&wire);
        let started = Instant::now();
        while let Ok(Some(reply)) = decoder.decode(&mut input) {
            black_box(reply);
        }
        started.elapsed().as_nanos() as f64
    });
    println!("reply  bulk 32 B        {:>7.1} ns per reply", best / 64.0);
}

/// The shortest of many rounds.
fn best(mut round: impl FnMut() -> f64) -> f64 {
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}
