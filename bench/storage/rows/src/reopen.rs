//! How long an engine takes to open after its process was killed.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::cost::write_all;
use crate::data::{ENTRY_LEN, check, key};
use crate::{Engine, Reader, Session, Setup};

/// Writes `bytes` of entries and leaves the database open, for the process to be killed.
pub(crate) fn fill<E: Engine>(engine: &E, bytes: u64) -> Result<()> {
    write_all(engine, 0..bytes / ENTRY_LEN, 0)
}

/// Seconds from opening to the answer of the first get. Every entry that was written must be there:
/// an engine that lost some has not kept what it acknowledged as buffered.
pub(crate) fn open<E: Engine>(dir: &Path, setup: &Setup, bytes: u64) -> Result<f64> {
    let last = bytes / ENTRY_LEN - 1;
    let start = Instant::now();
    let engine = E::open(dir, setup)?.context("an engine without files")?;
    let get = |number| {
        engine.session(|session| {
            session.read(|reader| reader.get(&key(number), |value| check(number, value)))
        })
    };
    ensure!(get(last)?, "the last entry was acknowledged and is lost");
    let seconds = start.elapsed().as_secs_f64();
    for number in (0..last).step_by(97) {
        ensure!(get(number)?, "entry {number} of {last} was acknowledged and is lost");
    }
    Ok(seconds)
}
