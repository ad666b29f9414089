//! Collecting a value segment: what is live in it moves to the newest one.
//!
//! Nothing is logged. The pages of both generations go on referring to the old segment, which stays
//! until neither is left; the leaves in memory refer to the new one, and are dirty.

use std::sync::Arc;

use orloj_kernel::{mutant, sometimes};

use super::{Appender, Record, record_size};
use crate::{
    Error, Lsn,
    engine::Engine,
    page::ValuePointer,
    tree::{Attempt, Keyspace, Pause},
};

/// Bytes of values that are moved together.
const BATCH: usize = 1 << 20;

/// What collecting a segment came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Its number.
    pub segment: u32,
    /// Its bytes, which will be free two checkpoints on.
    pub bytes: u64,
    /// Values that were live, and moved.
    pub moved: u64,
}

/// A value that has moved, and the entry that is to be told.
struct Move {
    keyspace: Arc<Keyspace>,
    key: Vec<u8>,
    version: Lsn,
    from: ValuePointer,
    to: ValuePointer,
}

/// Collects the segment that is most worth it; `None` if none is, or while a checkpoint runs, whose
/// leaves are about to be told where their values lie.
///
/// # Errors
/// What was moved is moved and the rest is where it was; trying again does no harm.
/// [`Error::Corrupt`] says where the segment cannot be read.
pub async fn collect(engine: &Engine, values: &mut Appender) -> Result<Option<Collected>, Error> {
    collect_above(engine, values, engine.options.collect_percent).await
}

/// As [`collect`], of the segments of which at least `percent` is dead.
///
/// # Errors
/// As [`collect`].
pub async fn collect_above(
    engine: &Engine,
    values: &mut Appender,
    percent: u8,
) -> Result<Option<Collected>, Error> {
    if engine.pager.space.is_running() {
        return Ok(None);
    }
    engine.watch();
    let Some(worst) = engine.segments.worst(percent, values.current()) else { return Ok(None) };
    let mut done = Collected { segment: worst.number, bytes: worst.bytes, moved: 0 };
    let mut scan = engine.values.scan(worst.number, worst.bytes).await?;
    let (mut moves, mut waiting) = (Vec::new(), 0);
    while let Some((record, from)) = scan.next().await? {
        let Record { keyspace, version, key, .. } = record;
        // One that was dropped needs its values until nobody can read it.
        let Ok(space) = engine.tree.keyspace_ever(keyspace) else { continue };
        if ask(engine, || engine.tree.pointer(&space, key, version)).await? != Some(from) {
            continue;
        }
        let to = values.append(&record).await?;
        waiting += record.value.len();
        moves.push(Move { keyspace: space, key: key.to_vec(), version, from, to });
        if waiting >= BATCH {
            done.moved += tell(engine, values, std::mem::take(&mut moves)).await?;
            waiting = 0;
        }
    }
    if !mutant!(engine.cx, "vlog.last_moves_are_not_told") {
        done.moved += tell(engine, values, moves).await?;
    }
    engine.segments.collected(worst.number);
    if mutant!(engine.cx, "vlog.removed_too_early") {
        engine.values.remove(worst.number).await?;
    }
    sometimes!(engine.cx, done.moved > 0, "vlog: live values were moved");
    Ok(Some(done))
}

/// Tells the entries of `moves` where their values lie now; how many still wanted to know.
async fn tell(engine: &Engine, values: &mut Appender, moves: Vec<Move>) -> Result<u64, Error> {
    values.flush().await?;
    for Move { key, to, .. } in &moves {
        engine
            .segments
            .grow(to.segment, to.offset + record_size(key.len(), to.len as usize) as u64);
    }
    let mut told = 0;
    for Move { keyspace, key, version, from, to } in moves {
        let tree = &engine.tree;
        if ask(engine, || tree.repoint(&keyspace, &key, version, from, to)).await? {
            told += 1;
        } else {
            engine.segments.die(to.segment, record_size(key.len(), to.len as usize) as u64);
        }
    }
    Ok(told)
}

async fn ask<T>(engine: &Engine, ask: impl FnMut() -> Attempt<T>) -> Result<T, Error> {
    match engine.answer(ask).await {
        Ok(answer) => Ok(answer),
        Err(Pause::Failed(error)) => Err(error),
        Err(pause) => unreachable!("looking at an entry waits for pages only: {pause:?}"),
    }
}
