//! Rows whose figure is wall time, because they are about waiting: for the device, or for others.

use std::fs;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::data::{check, key, uniform, value};
use crate::sizes::WRITERS;
use crate::{Engine, Reader, Session};

/// How often one thread and two take turns; the best of each counts.
const TURNS: usize = 3;

/// The median latency of a synced put by one writer, in microseconds.
pub(crate) fn strict1<E: Engine>(engine: &E, keys: u64, time: Duration, seed: u64) -> Result<f64> {
    let mut latencies = puts_until(engine, keys, Instant::now() + time, seed)?;
    latencies.sort_unstable();
    let median = latencies.get(latencies.len() / 2).context("no put finished in the time given")?;
    Ok(median.as_secs_f64() * 1e6)
}

/// Synced puts a second by [`WRITERS`] writers together.
pub(crate) fn strict16<E: Engine>(engine: &E, keys: u64, time: Duration, seed: u64) -> Result<f64> {
    let start = Instant::now();
    let deadline = start + time;
    let puts = together(WRITERS, |writer| {
        Ok(puts_until(engine, keys, deadline, seed + writer)?.len() as f64)
    })?;
    Ok(puts.iter().sum::<f64>() / start.elapsed().as_secs_f64())
}

/// How many times the gets a second of one thread two threads reach.
pub(crate) fn get_scaling<E: Engine>(engine: &E, keys: u64, gets: u64, seed: u64) -> Result<f64> {
    scaling(gets, |thread, turn| {
        let numbers = half(thread, keys, gets, seed + turn);
        engine.session(|session| {
            session.read(|reader| {
                timed(|| {
                    for number in numbers {
                        reader.get(&key(number), |value| check(number, value))?;
                    }
                    Ok(())
                })
            })
        })
    })
}

/// How many times the puts a second of one thread two threads reach.
pub(crate) fn put_scaling<E: Engine>(engine: &E, keys: u64, puts: u64, seed: u64) -> Result<f64> {
    scaling(puts, |thread, turn| {
        let numbers = half(thread, keys, puts, seed + turn);
        engine.session(|session| {
            timed(|| {
                for number in numbers {
                    session.put(&key(number), &value(number, seed + turn))?;
                }
                Ok(())
            })
        })
    })
}

/// `count` numbers below `keys` of the half that belongs to `thread`.
fn half(thread: u64, keys: u64, count: u64, seed: u64) -> Vec<u64> {
    let numbers = uniform(seed * 2 + thread, keys / 2, count);
    numbers.into_iter().map(|number| number * 2 + thread).collect()
}

/// Runs `work(thread, turn)`, which takes `operations` and says how long they took, on one thread
/// and on two, and compares the operations a second.
fn scaling(operations: u64, work: impl Fn(u64, u64) -> Result<f64> + Sync) -> Result<f64> {
    let mut best = [0.0_f64; 2];
    for turn in 0..TURNS as u64 {
        for (best, threads) in best.iter_mut().zip([1, 2]) {
            let seconds = together(threads, |thread| work(thread, turn))?;
            let longest = seconds.into_iter().fold(0.0, f64::max);
            *best = best.max(operations as f64 * threads as f64 / longest);
        }
    }
    Ok(best[1] / best[0])
}

/// Seconds that `work` takes on this thread, less those it was ready to run and had no core: two
/// threads need two cores, and on a shared machine the neighbours often have one of them.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (start, delayed) = (Instant::now(), run_delay()?);
    work()?;
    let delayed = run_delay()? - delayed;
    Ok(start.elapsed().saturating_sub(delayed).as_secs_f64())
}

/// How long this thread has waited for a core so far: the second field of its `schedstat`.
fn run_delay() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let field = text.split_whitespace().nth(1).context("a schedstat of one field")?;
    Ok(Duration::from_nanos(field.parse()?))
}

/// Runs `work` on as many threads, all of which begin at once.
fn together(threads: usize, work: impl Fn(u64) -> Result<f64> + Sync) -> Result<Vec<f64>> {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let (barrier, work) = (&barrier, &work);
        let run = move |thread| {
            barrier.wait();
            work(thread)
        };
        let handles: Vec<_> =
            (0..threads as u64).map(|thread| scope.spawn(move || run(thread))).collect();
        handles.into_iter().map(|handle| handle.join().expect("errors are returned")).collect()
    })
}

fn puts_until<E: Engine>(
    engine: &E,
    keys: u64,
    deadline: Instant,
    seed: u64,
) -> Result<Vec<Duration>> {
    // More than any device syncs in the time a row is given.
    let numbers = uniform(seed, keys, 1 << 20);
    engine.session(|session| {
        let mut latencies = Vec::new();
        for number in numbers {
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
