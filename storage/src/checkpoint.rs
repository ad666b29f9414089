//! Checkpoints: the state at exactly one version, written while writers go on.
//!
//! Everything goes to free places and is synced before the superblock that refers to it is written.
//! Until then the generation before is what a recovery finds, and whatever fails, it still is.

use orloj_kernel::{DiskError, DiskErrorKind, mutant, sometimes};

use crate::{
    Error, Lsn,
    catalogue::{Catalogue, encode_space},
    engine::Engine,
    page::{PAGE_HEAD, PagePtr, UNIT},
    pager::Run,
    superblock::{self, FlipError, Superblock},
    tree::{Capture, Pause},
    vlog::{Appender, LogEnd, Record, record_size},
};

/// Units by which `data.pages` may grow while the page that counts them is given its place.
const SLACK: u64 = 2048;

/// A checkpoint that has begun. One at a time; dropped, it is abandoned.
#[derive(Debug)]
pub struct Checkpoint<'a> {
    engine: &'a Engine,
    /// `None` once it is over.
    capture: Option<Capture>,
    previous: Option<Superblock>,
    generation: u64,
}

/// A checkpoint that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointed {
    /// Its number.
    pub generation: u64,
    /// The version whose state it holds.
    pub lsn: Lsn,
    /// Both generations can do without the journal before this.
    pub keep: Lsn,
    /// Bytes of pages that were written.
    pub page_bytes: u64,
    /// Where the value log ends.
    pub values: LogEnd,
    /// Value segments that were removed.
    pub segments_removed: usize,
}

impl<'a> Checkpoint<'a> {
    /// Begins one of all that has been assigned so far.
    ///
    /// # Panics
    /// If another one runs.
    pub fn begin(engine: &'a Engine) -> Checkpoint<'a> {
        let (previous, generation) = {
            let roots = engine.roots();
            (roots.newest, roots.next)
        };
        engine.pager.space.begin();
        engine.segments.begin();
        let mut capture = Capture::begin(&engine.tree);
        if mutant!(engine.cx, "checkpoint.prune_above_floor") {
            capture.forget_readers();
        }
        if mutant!(engine.cx, "cache.dropped_trees_stay") {
            capture.forget_dropped();
        }
        capture.adopted().for_each(|claim| engine.pager.space.adopt(claim));
        let capture = Some(capture);
        Checkpoint { engine, capture, previous, generation }
    }

    /// The version whose state it is.
    pub fn version(&self) -> Lsn {
        self.capture.as_ref().expect("it is not over").version()
    }

    /// Writes it. To be called once the journal is durable up to [`Checkpoint::version`].
    ///
    /// # Errors
    /// It is abandoned, the generation before is what it was, and it may be tried again:
    /// [`Error::ReadOnly`] if the disk is full. If the error's verdict is to halt, a sync failed,
    /// and nothing may be built on what the disk holds.
    ///
    /// # Panics
    /// If the journal is not durable that far (invariant 6).
    pub async fn write(mut self, values: &mut Appender) -> Result<Checkpointed, Error> {
        let engine = self.engine;
        engine.know_loads().await;
        let mut run = Run::new(&engine.pager, self.generation);
        self.walk(&mut run, values).await?;
        self.retire().await?;

        let capture = self.capture.as_ref().expect("it is not over");
        let roots = *engine.roots();
        for page in capture.outdated().into_iter().chain(roots.pages()) {
            engine.pager.space.release(page);
        }
        let (lsn, applied) = (capture.version(), capture.applied());
        // What pruning these leaves dropped is dead from this generation on.
        engine.watch();
        let segments = engine.segments.listed();
        let catalogue = Catalogue {
            highest: capture.highest_keyspace(),
            moments: capture.moments().to_vec(),
            keyspaces: capture.catalogue(),
            segments,
        };
        let catalogue = catalogue.encode(lsn);
        let catalogue = run.add(catalogue).await.map_err(refused)?;
        let (space, units) = self.write_space(&mut run, lsn).await.map_err(refused)?;
        let page_bytes = run.finish().await.map_err(refused)?;

        let values = values.sync().await.map_err(refused)?;
        if !mutant!(engine.cx, "checkpoint.flip_before_sync") {
            engine.pager.sync().await?;
        }
        let (durable, block) = (
            engine.tree.tail().last_durable(),
            self.superblock(lsn, applied, catalogue, space, units, values),
        );
        assert!(durable >= lsn, "the journal is durable up to {durable} only, not {lsn}");
        self.capture.as_ref().expect("it is not over").check()?;
        match superblock::write(engine.cx, &engine.options.dir, &block).await {
            Ok(()) => {}
            Err(FlipError::Refused(e)) => return Err(refused(e)),
            Err(FlipError::Fatal(e)) => {
                let fatal = DiskError { op: "sync", ..e };
                return Err(Error::Disk(fatal));
            }
        }
        let segments_removed = self.settle(block).await;
        let (generation, keep) = (block.generation, block.previous_lsn.next());
        Ok(Checkpointed { generation, lsn, keep, page_bytes, values, segments_removed })
    }

    /// Writes every node that differs from its page.
    async fn walk(&mut self, run: &mut Run<'_>, values: &mut Appender) -> Result<(), Error> {
        let engine = self.engine;
        let capture = self.capture.as_mut().expect("it is not over");
        while let Some(mut dirty) = capture.next() {
            let mut placed = Vec::new();
            let keyspace = dirty.keyspace();
            for long in dirty.long_values() {
                let (version, key, value) = (long.version, &long.key[..], &long.bytes[..]);
                let record = Record { keyspace, version, key, value };
                let at = values.append(&record).await.map_err(refused)?;
                let size = record_size(key.len(), value.len()) as u64;
                placed.push((long.number, at, size));
            }
            if !placed.is_empty() && !mutant!(engine.cx, "checkpoint.values_are_not_flushed") {
                // The leaf in memory is about to learn where its values lie: they must be there,
                // even if this checkpoint comes to nothing.
                values.flush().await.map_err(refused)?;
            }
            for &(number, at, size) in &placed {
                // Not before they are: what was refused is no part of the segment.
                engine.segments.grow(at.segment, at.offset + size);
                dirty.place(number, at);
            }
            let image = dirty.image();
            let units = image.units();
            match run.add_with(units, |place| image.write(place)).await {
                Ok(page) => dirty.saved(page),
                Err(cause) => {
                    // They are there, and nobody was told.
                    for (_, at, size) in placed {
                        engine.segments.die(at.segment, size);
                    }
                    return Err(refused(cause));
                }
            }
        }
        Ok(())
    }

    /// Finds the places of trees that were cleared away. Where that fails they stay in use, for no
    /// checkpoint shall depend on pages that nobody needs.
    async fn retire(&mut self) -> Result<(), Error> {
        let capture = self.capture.as_mut().expect("it is not over");
        loop {
            match capture.retire() {
                Ok(()) => return Ok(()),
                // A leaf is asked for its long values only, and nobody will again.
                Err(Pause::Miss(miss)) if miss.is_leaf() => {
                    let found = match self.engine.segments.totals() {
                        (0, _) => None,
                        _ => self.engine.pager.load(&miss).await.ok(),
                    };
                    capture.retire_leaf(miss.ptr(), found);
                }
                Err(Pause::Miss(miss)) => match self.engine.load(miss).await {
                    Ok(_) => {}
                    Err(Error::Corrupt(_) | Error::Disk(_)) => return Ok(()),
                    Err(error) => return Err(error),
                },
                Err(_) => return Ok(()),
            }
        }
    }

    /// Writes the page of used units, itself among them.
    async fn write_space(&self, run: &mut Run<'_>, lsn: Lsn) -> Result<(PagePtr, u64), DiskError> {
        let own = |units| {
            let size = PAGE_HEAD + ((units + SLACK) / 8) as usize;
            u16::try_from(size.div_ceil(UNIT)).expect("a page is below 65,536 units")
        };
        let mut size = 0;
        let (unit, used, units) = self.engine.pager.space.allocate_for_itself(|units| {
            size = own(units);
            size
        });
        let image = encode_space(&used, units, usize::from(size) * UNIT, lsn);
        Ok((run.add_at(unit, image).await?, units))
    }

    fn superblock(
        &self,
        lsn: Lsn,
        applied: u64,
        catalogue: PagePtr,
        space: PagePtr,
        units: u64,
        values: LogEnd,
    ) -> Superblock {
        let (cx, tree) = (self.engine.cx, &self.engine.tree);
        let clock = self.previous.map_or(0, |block| block.clock).max(tree.moments().now());
        Superblock {
            database: self.engine.manifest.database,
            generation: self.generation,
            lsn,
            previous_lsn: self.previous.map_or(Lsn(0), |block| block.lsn),
            applied,
            wall_base: cx.wall().millis(),
            mono_base: cx.now().0,
            clock,
            catalogue,
            space,
            units,
            value_segment: values.segment,
            value_end: values.bytes,
        }
    }

    /// It is what a recovery will find: frees what nobody needs any more.
    async fn settle(&mut self, block: Superblock) -> usize {
        let engine = self.engine;
        self.capture.take().expect("it is not over").finish();
        let gone = {
            // Whoever takes a hold meanwhile shall not get one generation's superblock and the
            // units of another.
            let mut roots = engine.roots();
            engine.pager.space.settle();
            let (newest, next) = (Some(block), block.generation + 1);
            *roots = crate::engine::Roots { newest, next };
            engine.segments.settle()
        };
        sometimes!(engine.cx, !gone.is_empty(), "checkpoint: value segments were removed");
        let mut removed = 0;
        for number in gone {
            engine.cache.forget_segment(number);
            // One that cannot be removed is tried again by the next checkpoint.
            if engine.values.remove(number).await.is_ok() {
                engine.segments.gone(number);
                removed += 1;
            }
        }
        removed
    }
}

impl Drop for Checkpoint<'_> {
    fn drop(&mut self) {
        if let Some(capture) = self.capture.take() {
            sometimes!(self.engine.cx, true, "checkpoint: one was abandoned");
            capture.abandon();
            self.engine.pager.space.abandon();
            self.engine.segments.abandon();
        }
    }
}

/// The disk took no write.
pub(crate) fn refused(cause: DiskError) -> Error {
    match cause.kind {
        DiskErrorKind::Full | DiskErrorKind::ReadOnly if cause.op != "sync" => {
            Error::ReadOnly { cause }
        }
        _ => Error::Disk(cause),
    }
}

#[cfg(test)]
mod tests;
