//! Rows whose figure is CPU time: what one operation costs the process, all its threads included.

use std::hint::black_box;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::time::{ClockId, clock_gettime};

use crate::data::{check, coins, distinct, key, uniform, value, zipfian};
use crate::sizes::{BATCH, SCAN};
use crate::{Engine, Key, Reader, Session};

/// Loads `keys` entries in no order, [`BATCH`] a commit.
pub(crate) fn load_random<E: Engine>(engine: &E, keys: u64, round: u64) -> Result<f64> {
    cost(keys, || write_all(engine, 0..keys, round))
}

/// Loads `keys` entries in ascending order, by the engine's own road.
pub(crate) fn load_sorted<E: Engine>(engine: &E, keys: u64, round: u64) -> Result<f64> {
    let mut sorted: Vec<(Key, u64)> = (0..keys).map(|number| (key(number), number)).collect();
    sorted.sort_unstable();
    cost(keys, || {
        let entries = sorted.iter().map(|(key, number)| (*key, value(*number, round)));
        engine.load_sorted(entries)
    })
}

/// Reads everything once, so that every cache is as warm as it gets.
///
/// # Errors
///
/// The engine's own, and another number of entries than `keys`.
pub(crate) fn warm<E: Engine>(engine: &E, keys: u64) -> Result<()> {
    let count = engine.session(|session| {
        session.read(|reader| reader.scan(&[0; 16], usize::MAX, |_, value| touch(value)))
    })?;
    ensure!(count as u64 == keys, "{count} entries in a database of {keys}");
    Ok(())
}

/// Gets of keys that are there, while nobody writes.
pub(crate) fn get<E: Engine>(engine: &E, keys: u64, gets: u64, seed: u64) -> Result<f64> {
    let numbers = uniform(seed, keys, gets);
    engine.session(|session| {
        session.read(|reader| {
            cost(gets, || {
                for &number in &numbers {
                    let found = reader.get(&key(number), |value| check(number, value))?;
                    ensure!(found, "key {number} is lost");
                }
                Ok(())
            })
        })
    })
}

/// Gets of keys that are there, each under a snapshot of its own.
pub(crate) fn get_snapshot<E: Engine>(engine: &E, keys: u64, gets: u64, seed: u64) -> Result<f64> {
    let numbers = uniform(seed, keys, gets);
    engine.session(|session| {
        cost(gets, || {
            for &number in &numbers {
                let found = session.get_snapshot(&key(number), |value| check(number, value))?;
                ensure!(found, "key {number} is lost");
            }
            Ok(())
        })
    })
}

/// Scans of [`SCAN`] entries from a key that is there; one operation is one scan.
pub(crate) fn scan<E: Engine>(engine: &E, keys: u64, scans: u64, seed: u64) -> Result<f64> {
    let numbers = uniform(seed, keys, scans);
    engine.session(|session| {
        session.read(|reader| {
            let mut seen = 0;
            let cost = cost(scans, || {
                for &number in &numbers {
                    seen += reader.scan(&key(number), SCAN, |_, value| touch(value))?;
                }
                Ok(())
            });
            // Only scans that begin near the last key find less.
            let most = scans as usize * SCAN;
            ensure!(seen > most - most / 100, "{seen} of {most} entries were scanned");
            cost
        })
    })
}

/// Puts over keys that are there, one a commit.
pub(crate) fn put_update<E: Engine>(engine: &E, keys: u64, puts: u64, seed: u64) -> Result<f64> {
    put_each(engine, &uniform(seed, keys, puts), seed)
}

/// Puts of keys that are not there, one a commit. They are taken out first.
pub(crate) fn put_insert<E: Engine>(engine: &E, keys: u64, puts: u64, seed: u64) -> Result<f64> {
    let numbers = distinct(seed, keys, puts);
    delete_each(engine, &numbers)?;
    engine.settle()?;
    put_each(engine, &numbers, seed)
}

/// Deletes of keys that are there, one a commit. They are put back afterwards.
pub(crate) fn delete<E: Engine>(engine: &E, keys: u64, deletes: u64, seed: u64) -> Result<f64> {
    let numbers = distinct(seed, keys, deletes);
    let cost = delete_each(engine, &numbers)?;
    write_all(engine, numbers.iter().copied(), seed)?;
    Ok(cost)
}

/// A YCSB mix: zipfian gets of the newest value, `updates` in a hundred operations a put.
pub(crate) fn mixed<E: Engine>(
    engine: &E,
    keys: u64,
    operations: u64,
    updates: u64,
    seed: u64,
) -> Result<f64> {
    let numbers = zipfian(seed, keys, operations);
    let coins = coins(seed + 1, updates, operations);
    engine.session(|session| {
        cost(operations, || {
            for (&number, &update) in numbers.iter().zip(&coins) {
                if update {
                    session.put(&key(number), &value(number, seed))?;
                } else {
                    let found = session.get(&key(number), |value| check(number, value))?;
                    ensure!(found, "key {number} is lost");
                }
            }
            Ok(())
        })
    })
}

/// Writes entries in the order of `numbers`, [`BATCH`] a commit.
pub(crate) fn write_all<E: Engine>(
    engine: &E,
    numbers: impl IntoIterator<Item = u64>,
    round: u64,
) -> Result<()> {
    engine.session(|session| {
        let mut batch = Vec::with_capacity(BATCH);
        for number in numbers {
            batch.push((key(number), value(number, round)));
            if batch.len() == BATCH {
                session.write(&batch)?;
                batch.clear();
            }
        }
        if batch.is_empty() { Ok(()) } else { session.write(&batch) }
    })
}

/// Waits until this process has used next to no CPU for a tenth of a second, which is how one sees
/// from outside that an engine's own threads have nothing left to do.
pub fn wait_until_idle() {
    let mut idle = 0;
    while idle < 4 {
        let before = cpu_time();
        sleep(Duration::from_millis(25));
        idle = if cpu_time() - before < Duration::from_millis(1) { idle + 1 } else { 0 };
    }
}

fn put_each<E: Engine>(engine: &E, numbers: &[u64], round: u64) -> Result<f64> {
    engine.session(|session| {
        cost(numbers.len() as u64, || {
            numbers.iter().try_for_each(|&number| session.put(&key(number), &value(number, round)))
        })
    })
}

fn delete_each<E: Engine>(engine: &E, numbers: &[u64]) -> Result<f64> {
    engine.session(|session| {
        cost(numbers.len() as u64, || {
            numbers.iter().try_for_each(|&number| session.delete(&key(number)))
        })
    })
}

/// Runs `work` and returns CPU microseconds for each of `operations`.
fn cost(operations: u64, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = cpu_time();
    work()?;
    Ok((cpu_time() - start).as_secs_f64() * 1e6 / operations as f64)
}

/// Reads the first and the last byte, so that nobody gets away with a promise.
fn touch(value: &[u8]) {
    black_box(value.first());
    black_box(value.last());
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
