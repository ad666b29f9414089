//! Rows whose figure is wall time, because they are about waiting for the device.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::data::{key, numbers, value};
use crate::sizes::WRITERS;
use crate::{Engine, Session};

/// The median latency of a synced put by one writer, in microseconds.
pub(crate) fn one<E: Engine>(engine: &E, keys: u64, time: Duration, seed: u64) -> Result<f64> {
    let mut latencies = puts_until(engine, keys, Instant::now() + time, seed)?;
    latencies.sort_unstable();
    let median = latencies.get(latencies.len() / 2).context("no put finished in the time given")?;
    Ok(median.as_secs_f64() * 1e6)
}

/// Synced puts a second by [`WRITERS`] writers together.
pub(crate) fn sixteen<E: Engine>(engine: &E, keys: u64, time: Duration, seed: u64) -> Result<f64> {
    let start = Instant::now();
    let deadline = start + time;
    let puts = std::thread::scope(|scope| -> Result<usize> {
        let write = |writer| puts_until(engine, keys, deadline, seed + writer);
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        let mut puts = 0;
        for writer in writers {
            puts += writer.join().expect("errors are returned")?.len();
        }
        Ok(puts)
    })?;
    Ok(puts as f64 / start.elapsed().as_secs_f64())
}

fn puts_until<E: Engine>(
    engine: &E,
    keys: u64,
    deadline: Instant,
    seed: u64,
) -> Result<Vec<Duration>> {
    engine.session(|session| {
        let mut latencies = Vec::new();
        for number in numbers(seed, keys) {
            let begin = Instant::now();
            if begin >= deadline {
                break;
            }
            session.put(&key(number), &value(number, seed))?;
            latencies.push(begin.elapsed());
        }
        Ok(latencies)
    })
}
