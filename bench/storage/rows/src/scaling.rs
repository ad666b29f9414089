//! What a second thread adds.
//!
//! Two threads need two cores, and on a shared machine they have both for moments only. So the work
//! is cut into windows as short as a slice of the scheduler; in every other window the second
//! thread rests, and the best window of either kind counts.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::data::{check, key, numbers, value};
use crate::{Engine, Reader, Session};

/// Windows of either kind.
const WINDOWS: usize = 64;
/// How long each is.
const WINDOW: Duration = Duration::from_millis(3);
/// From the moment both threads are called to the moment they begin.
const NOTICE: Duration = Duration::from_micros(200);

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
    let windows =
        Windows { barrier: Barrier::new(2), epoch: Instant::now(), begin: AtomicU64::new(0) };
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| work(1, &windows));
        (work(0, &windows), second.join().expect("errors are returned"))
    });
    let totals: Vec<u64> = first?.iter().zip(second?).map(|(a, b)| a + b).collect();
    let best = |kind: usize| totals.iter().skip(kind).step_by(2).max().copied().unwrap_or(0);
    let (alone, both) = (best(0), best(1));
    ensure!(alone > 0 && both > 0, "a window of {WINDOW:?} is too short for one operation");
    Ok(both as f64 / alone as f64)
}

/// The windows two threads share.
struct Windows {
    barrier: Barrier,
    epoch: Instant,
    /// When the next window begins, in nanoseconds after `epoch`.
    begin: AtomicU64,
}

impl Windows {
    /// Repeats `operation` in the windows of `thread`, and returns how often each had it done. Both
    /// threads go through all windows, or neither could; so the first error is kept to the end.
    fn work(&self, thread: usize, mut operation: impl FnMut() -> Result<()>) -> Result<Vec<u64>> {
        let mut counts = Vec::new();
        let mut result = Ok(());
        for window in 0..2 * WINDOWS {
            if thread == 0 {
                let begin = self.epoch.elapsed() + NOTICE;
                self.begin.store(begin.as_nanos() as u64, Ordering::Relaxed);
            }
            self.barrier.wait();
            let begin = self.epoch + Duration::from_nanos(self.begin.load(Ordering::Relaxed));
            let end = begin + WINDOW;
            while Instant::now() < begin {
                std::hint::spin_loop();
            }
            let mut count = 0;
            let rests = thread == 1 && window % 2 == 0;
            while !rests && result.is_ok() && Instant::now() < end {
                result = operation();
                count += 1;
            }
            counts.push(count);
            // Nobody announces the next window while another still reads when this one began.
            self.barrier.wait();
        }
        result.map(|()| counts)
    }
}
