//! What a second thread adds.
//!
//! Two threads need two cores, and on a shared machine they have both for moments only. So time is
//! cut into windows as short as a slice of the scheduler; in every other window the second thread
//! rests, and the best window of either kind counts. Nobody ever sleeps: a thread that wakes up
//! waits for its neighbour's slice to end, often on the core of the one that woke it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::data::{check, key, numbers, value};
use crate::{Engine, Reader, Session};

/// Windows of either kind.
const WINDOWS: u32 = 128;
/// How long each is.
const WINDOW: Duration = Duration::from_millis(3);
/// Between the beginnings of two windows: an operation may end late.
const STRIDE: Duration = Duration::from_micros(3500);
/// What the threads have to get ready.
const NOTICE: Duration = Duration::from_millis(20);

/// How many times the gets a second of one thread two threads reach.
pub(crate) fn get<E: Engine>(engine: &E, keys: u64, seed: u64) -> Result<f64> {
    scaling(|thread, windows| {
        let mut numbers = half(thread, keys, seed);
        engine.session(|session| {
            session.read(|reader| {
                windows.work(thread, || {
                    let number = numbers.next().expect("they never end");
                    let found = reader.get(&key(number), |value| check(number, value))?;
                    ensure!(found, "key {number} is lost");
                    Ok(())
                })
            })
        })
    })
}

/// How many times the puts a second of one thread two threads reach.
pub(crate) fn put<E: Engine>(engine: &E, keys: u64, seed: u64) -> Result<f64> {
    scaling(|thread, windows| {
        let mut numbers = half(thread, keys, seed);
        engine.session(|session| {
            windows.work(thread, || {
                let number = numbers.next().expect("they never end");
                session.put(&key(number), &value(number, seed))
            })
        })
    })
}

/// Numbers of the keys that belong to `thread` alone.
fn half(thread: usize, keys: u64, seed: u64) -> impl Iterator<Item = u64> {
    numbers(seed + thread as u64, keys / 2).map(move |number| number * 2 + thread as u64)
}

/// Runs `work` on two threads and compares their best window with the best of one.
fn scaling(work: impl Fn(usize, &Windows) -> Result<Vec<u64>> + Sync) -> Result<f64> {
    let windows = Windows { first: Instant::now() + NOTICE };
    let cores = two_cores()?;
    let (first, second) = std::thread::scope(|scope| {
        let threads = [0, 1].map(|thread| {
            let (work, windows, core) = (&work, &windows, &cores[thread]);
            scope.spawn(move || {
                sched_setaffinity(None, core)?;
                work(thread, windows)
            })
        });
        let [first, second] = threads.map(|thread| thread.join().expect("errors are returned"));
        (first, second)
    });
    let totals: Vec<u64> = first?.iter().zip(second?).map(|(a, b)| a + b).collect();
    let best = |kind: usize| totals.iter().skip(kind).step_by(2).max().copied().unwrap_or(0);
    let (alone, both) = (best(0), best(1));
    ensure!(alone > 0 && both > 0, "a window of {WINDOW:?} is too short for one operation");
    Ok(both as f64 / alone as f64)
}

/// The first two cores that this process may run on, one for each thread: the scheduler is slow to
/// part two threads that began on one core.
fn two_cores() -> Result<[CpuSet; 2]> {
    let all = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).map(|core| {
        let mut set = CpuSet::new();
        set.set(core);
        set
    });
    let two = (cores.next(), cores.next());
    let (Some(first), Some(second)) = two else { bail!("two threads need two cores") };
    Ok([first, second])
}

/// The windows two threads share.
struct Windows {
    /// When the first begins.
    first: Instant,
}

impl Windows {
    /// Repeats `operation` in the windows of `thread`, and returns how often each had it done.
    fn work(&self, thread: usize, mut operation: impl FnMut() -> Result<()>) -> Result<Vec<u64>> {
        let mut counts = Vec::new();
        for window in 0..2 * WINDOWS {
            let begin = self.first + STRIDE * window;
            while Instant::now() < begin {
                std::hint::spin_loop();
            }
            let mut count = 0;
            let rests = thread == 1 && window % 2 == 0;
            while !rests && Instant::now() < begin + WINDOW {
                operation()?;
                count += 1;
            }
            counts.push(count);
        }
        Ok(counts)
    }
}
