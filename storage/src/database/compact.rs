//! Compaction of an open database. The one who writes checkpoints does it, between two of them.

use orloj_kernel::{DiskErrorKind, Reply};

use super::{Database, files::Files};
use crate::{
    Error,
    compact::{self, Bytes, Compacted, Compaction, DEAD_PERCENT, Place, Progress, Stage},
    recover::WAL,
    vlog::{self, Appender, VLOG},
    writer::Round,
};

/// How often leaves are repacked, and pages moved: once most often, and again as long as it pays.
const PASSES: usize = 4;

/// A compaction that somebody asked for.
pub(super) type Asked = (Compaction, Reply<Result<Compacted, Error>>);

impl Database {
    /// Gives back the space that nobody needs; writers and readers go on and see nothing of it. It
    /// needs as much room again as what is in use, for a while. `None` in memory.
    ///
    /// It writes everything once or twice where it pays, and stops at the first error: what was
    /// done until then is done, and the rest can be asked for again.
    ///
    /// # Errors
    /// As [`Database::checkpoint`]; [`Error::Corrupt`] if a page that has to be moved is damaged.
    pub async fn compact(&self, what: Compaction) -> Result<Option<Compacted>, Error> {
        self.check_open()?;
        let Some(files) = &self.0.files else { return Ok(None) };
        let (reply, answer) = Reply::new();
        files.ask_compaction((what, reply))?;
        answer.await.unwrap_or(Err(Error::Closed)).map(Some)
    }

    /// How far the compaction got that is going on; `None` if none is.
    pub fn compaction(&self) -> Option<Progress> {
        self.0.files.as_ref().and_then(Files::compaction)
    }
}

impl Files {
    /// Compacts. There is one writer of checkpoints, who has `values`.
    pub(super) async fn compact(
        &self,
        what: Compaction,
        values: &mut Appender,
    ) -> Result<Compacted, Error> {
        self.compacting(true);
        let done = self.try_compact(what, values).await;
        self.engine.pager.space.prefer_below(0);
        self.compacting(false);
        done
    }

    async fn try_compact(
        &self,
        what: Compaction,
        values: &mut Appender,
    ) -> Result<Compacted, Error> {
        let (before, journal) = self.bytes().await?;
        let pruned = self.engine.tree().pruned();
        let mut done = Compacted { before, ..Compacted::default() };
        if what == Compaction::Full {
            self.step(values, &mut done).await?;
            self.repack(values, &mut done).await?;
            self.collect_dead(values, &mut done).await?;
            self.move_pages(values, &mut done).await?;
        }
        self.tell(Some(Progress { stage: Stage::Journal, done: 0, total: before.journal }));
        self.writer.act(Round::Shorten).await?;
        // The second leaves nothing of the old segments to the generation before.
        self.step(values, &mut done).await?;
        self.step(values, &mut done).await?;
        self.engine.pager.shrink().await?;
        let (after, left) = self.bytes().await?;
        done.after = after;
        done.journal_segments = (journal + 1).saturating_sub(left);
        done.versions = self.engine.tree().pruned() - pruned;
        Ok(done)
    }

    /// A checkpoint, for whoever waits for one too.
    async fn step(&self, values: &mut Appender, done: &mut Compacted) -> Result<(), Error> {
        if self.is_closing() {
            return Err(Error::Closed);
        }
        let asked = self.take_asked();
        let written = self.write_checkpoint(values).await;
        for reply in asked {
            reply.send(written.clone());
        }
        let written = written?;
        done.checkpoints += 1;
        done.lsn = written.lsn;
        done.value_segments += written.segments_removed as u64;
        Ok(())
    }

    async fn repack(&self, values: &mut Appender, done: &mut Compacted) -> Result<(), Error> {
        let engine = &self.engine;
        for _ in 0..PASSES {
            let (mut at, mut gone) = (Place::first(), 0);
            let total = compact::used_bytes(engine);
            loop {
                let (fewer, is_over) = compact::repack(engine, &mut at).await?;
                gone += fewer;
                let passed = at.passed.min(total);
                self.tell(Some(Progress { stage: Stage::Repacking, done: passed, total }));
                if is_over {
                    break;
                }
                self.step(values, done).await?;
            }
            gone += engine.tree().merge_small() as u64;
            done.leaves += gone;
            self.step(values, done).await?;
            if gone == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Moves what is live out of every segment of which enough is dead.
    async fn collect_dead(&self, values: &mut Appender, done: &mut Compacted) -> Result<(), Error> {
        values.end_segment().await?;
        let (total, _) = self.engine.segments().totals();
        let mut moved = 0;
        while let Some(collected) = self.collect_above(values, DEAD_PERCENT).await? {
            moved += collected.bytes;
            done.values_moved += collected.moved;
            self.tell(Some(Progress { stage: Stage::Values, done: moved.min(total), total }));
            self.step(values, done).await?;
        }
        Ok(())
    }

    async fn collect_above(
        &self,
        values: &mut Appender,
        percent: u8,
    ) -> Result<Option<vlog::Collected>, Error> {
        let collected = vlog::collect_above(&self.engine, values, percent).await;
        self.halt_on(&collected);
        collected
    }

    /// Moves pages to the front of their file.
    async fn move_pages(&self, values: &mut Appender, done: &mut Compacted) -> Result<(), Error> {
        let engine = &self.engine;
        for _ in 0..PASSES {
            // What only the generation before uses is no hole yet.
            self.step(values, done).await?;
            self.step(values, done).await?;
            let Some(limit) = compact::limit(engine) else { return Ok(()) };
            engine.pager.space.prefer_below(limit);
            let mut at = Place::first();
            let total = compact::used_bytes(engine);
            loop {
                let is_over = compact::displace(engine, &mut at, limit).await?;
                let passed = at.passed.min(total);
                self.tell(Some(Progress { stage: Stage::Moving, done: passed, total }));
                self.step(values, done).await?;
                if is_over {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Bytes of all files, and how many segments the journal has.
    async fn bytes(&self) -> Result<(Bytes, u64), Error> {
        let (cx, dir) = (self.engine.cx, &self.engine.options.dir);
        let mut bytes = Bytes::default();
        let all = cx.list(dir).await?;
        let pages = all.iter().find(|entry| entry.name == crate::pager::DATA_PAGES);
        bytes.pages = pages.map_or(0, |entry| entry.len);
        let mut segments = 0;
        for (part, sum) in [(WAL, &mut bytes.journal), (VLOG, &mut bytes.values)] {
            let entries = match cx.list(&format!("{dir}/{part}")).await {
                Err(e) if e.kind == DiskErrorKind::NotFound => Vec::new(),
                listed => listed?,
            };
            *sum = entries.iter().map(|entry| entry.len).sum();
            if part == WAL {
                segments = entries.len() as u64;
            }
        }
        Ok((bytes, segments))
    }
}
