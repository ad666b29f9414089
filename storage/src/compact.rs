//! Compaction: giving back the space that nobody needs, while writers go on.
//!
//! Nothing of it is seen by readers, and nothing is logged: leaves are changed as a merge changes
//! them, and every step ends in a checkpoint like any other. So a crash finds a generation that a
//! checkpoint left, more or less compact.

use crate::{
    Error, KeyspaceId, Lsn,
    engine::Engine,
    page::{Fence, FenceBuf, UNIT},
    tree::{Attempt, Pause},
};

/// How much is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compaction {
    /// The journal: what the pages have is cut off it.
    WalOnly,
    /// Everything: versions that nobody can ask for, half-empty pages, free room within the file
    /// of pages, dead values, the journal.
    Full,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of files before.
    pub before: Bytes,
    /// Bytes of files after.
    pub after: Bytes,
    /// Versions of keys, tombstones among them, that nobody could ask for.
    pub versions: u64,
    /// By how many the leaves have become fewer.
    pub leaves: u64,
    /// Value segments that were removed.
    pub value_segments: u64,
    /// Long values that moved to another segment.
    pub values_moved: u64,
    /// Segments of the journal that were removed.
    pub journal_segments: u64,
    /// Checkpoints that were written for it.
    pub checkpoints: u64,
    /// The version of the last of them.
    pub lsn: Lsn,
}

/// Bytes of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Of the file of pages.
    pub pages: u64,
    /// Of the value log.
    pub values: u64,
    /// Of the journal, with what was made ready in advance.
    pub journal: u64,
}

impl Bytes {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.pages + self.values + self.journal
    }
}

/// What a compaction is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Making leaves few and full.
    Repacking,
    /// Moving live values out of segments that are mostly dead.
    Values,
    /// Moving pages to the front of their file.
    Moving,
    /// Cutting the journal.
    Journal,
}

/// How far a compaction got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it is at.
    pub stage: Stage,
    /// Bytes of it that are done.
    pub done: u64,
    /// Bytes of it in all, as far as that is known.
    pub total: u64,
}

/// Segments of which so many percent are dead are collected.
pub(crate) const DEAD_PERCENT: u8 = 10;

/// A place in the walk over all leaves.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The keyspace, or the first one behind it.
    keyspace: KeyspaceId,
    /// Which root: 0 is the one that counts.
    root: usize,
    from: FenceBuf,
    /// Bytes of pages that were passed.
    pub(crate) passed: u64,
}

impl Place {
    pub(crate) fn first() -> Place {
        let from = Fence::FIRST.to_buf();
        Place { keyspace: KeyspaceId(0), root: 0, from, passed: 0 }
    }

    fn next_root(&mut self) {
        (self.root, self.from) = (self.root + 1, Fence::FIRST.to_buf());
    }

    fn next_keyspace(&mut self) {
        self.keyspace = KeyspaceId(self.keyspace.0 + 1);
        (self.root, self.from) = (0, Fence::FIRST.to_buf());
    }
}

/// Bytes of leaves that one step makes dirty at most.
fn budget(engine: &Engine) -> u64 {
    engine.cache.budget() / 4
}

/// Repacks leaves from `at` on until a checkpoint should write them. Returns by how many the leaves
/// have become fewer, and whether all are done.
pub(crate) async fn repack(engine: &Engine, at: &mut Place) -> Result<(u64, bool), Error> {
    let (mut gone, mut dirty) = (0, 0);
    loop {
        let all = engine.tree.keyspaces();
        let Some(of) = all.iter().find(|of| of.id() >= at.keyspace) else {
            return Ok((gone, true));
        };
        at.keyspace = of.id();
        let done = ask(engine, || engine.tree.repack(of, at.from.get())).await?;
        let page = u64::from(engine.options.page_bytes);
        gone += done.gone as u64;
        dirty += done.written as u64 * page;
        at.passed += (done.written + done.gone) as u64 * page;
        match done.next {
            Some(next) => at.from = next,
            None => at.next_keyspace(),
        }
        if dirty >= budget(engine) || !engine.has_room() {
            return Ok((gone, false));
        }
    }
}

/// Has pages from `at` on that lie at or behind unit `limit` written again by the next checkpoint,
/// until that should come. Returns whether all are done.
pub(crate) async fn displace(engine: &Engine, at: &mut Place, limit: u64) -> Result<bool, Error> {
    let mut dirty = 0;
    loop {
        let all = engine.tree.keyspaces();
        let Some(of) = all.iter().find(|of| of.id() >= at.keyspace) else { return Ok(true) };
        at.keyspace = of.id();
        let done = ask(engine, || engine.tree.displace(of, at.root, at.from.get(), limit)).await?;
        if done.is_moved {
            dirty += u64::from(engine.options.page_bytes);
            at.passed += u64::from(engine.options.page_bytes);
        }
        match done.next {
            _ if !done.is_root => at.next_keyspace(),
            Some(next) => at.from = next,
            None => at.next_root(),
        }
        if dirty >= budget(engine) || done.is_moved && !engine.has_room() {
            return Ok(false);
        }
    }
}

/// The unit behind which no page needs to lie, with a little room for pages that do not fit into
/// the holes; `None` if the file is as short as that already.
pub(crate) fn limit(engine: &Engine) -> Option<u64> {
    let space = &engine.pager.space;
    let (_, used, _) = space.counts();
    let limit = used + used / 64 + 4;
    (space.end() > limit).then_some(limit)
}

/// Bytes of the pages that are in use.
pub(crate) fn used_bytes(engine: &Engine) -> u64 {
    engine.pager.space.counts().1 * UNIT as u64
}

async fn ask<T>(engine: &Engine, ask: impl FnMut() -> Attempt<T>) -> Result<T, Error> {
    match engine.answer(ask).await {
        Ok(answer) => Ok(answer),
        Err(Pause::Failed(error)) => Err(error),
        Err(pause) => unreachable!("looking at leaves waits for pages only: {pause:?}"),
    }
}
