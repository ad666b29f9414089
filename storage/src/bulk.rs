//! Bulk loads: a tree built from its leaves up, of entries that come in order, and written straight
//! to `data.pages`. The journal learns of it by one record when all of it is synced.

use std::time::Duration;

use orloj_kernel::{mutant, sometimes};

use crate::{
    Error, KeyspaceId, Lsn,
    checkpoint::refused,
    engine::Engine,
    page::{Claim, Fence, Filling, InnerPage, PagePtr, UNIT},
    pager::Run,
    record::KEY_MAX,
};

/// Leaves and inner nodes are filled to this part of their size, so that what is written to them
/// later finds room.
const FULL: (usize, usize) = (3, 4);
/// How long it waits while the end of the file is being cut off.
const CUT: Duration = Duration::from_millis(5);

/// A tree on its way to the disk.
pub(crate) struct Load<'a> {
    engine: &'a Engine,
    keyspace: KeyspaceId,
    version: Lsn,
    fanout: usize,
    filling: Filling,
    /// The inner nodes that are not full yet, from the level above the leaves up.
    levels: Vec<Vec<Placed>>,
    run: Run<'a>,
    claim: Claim,
}

/// A node that has its place, and the first key that belongs to it.
type Placed = (Box<[u8]>, PagePtr);

impl<'a> Load<'a> {
    /// A tree for `keyspace`, all entries of which are of `version`.
    pub(crate) fn new(engine: &'a Engine, keyspace: KeyspaceId, version: Lsn) -> Load<'a> {
        let page = engine.options.page_bytes as usize;
        let part = |whole: usize| whole * FULL.0 / FULL.1;
        let most = part(page).next_multiple_of(UNIT);
        Load {
            engine,
            keyspace,
            version,
            fanout: part(page / 64).max(2),
            filling: Filling::new(keyspace, version, most),
            levels: Vec::new(),
            run: Run::new(&engine.pager, engine.roots().next),
            claim: Claim::default(),
        }
    }

    /// Adds an entry behind all others.
    ///
    /// # Errors
    /// [`Error::KeyLength`], [`Error::ValueLength`], [`Error::LoadOrder`]; [`Error::ReadOnly`] if
    /// the disk is full.
    #[inline]
    pub(crate) async fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if key.is_empty() || key.len() > KEY_MAX {
            return Err(Error::KeyLength { len: key.len() });
        }
        if value.len() > usize::from(u16::MAX) {
            return Err(Error::ValueLength { len: value.len() });
        }
        if !self.filling.is_behind(key) {
            return Err(Error::LoadOrder { key: key.into() });
        }
        if !self.filling.fits(key.len(), value.len()) {
            let border: Box<[u8]> = self.filling.border(key).into();
            self.leaf(Some(&border)).await?;
        }
        self.filling.push(key, value);
        Ok(())
    }

    /// Writes and syncs what is left. Returns the root, and the units that the tree takes.
    ///
    /// # Errors
    /// As [`Load::push`]. If the verdict is to halt a sync failed.
    pub(crate) async fn finish(mut self) -> Result<(PagePtr, Claim), Error> {
        self.leaf(None).await?;
        let mut level = 0;
        while level + 1 < self.levels.len() || self.levels[level].len() > 1 || level == 0 {
            self.inner(level, None).await?;
            level += 1;
        }
        let (_, root) = self.levels[level].pop().expect("the last node written is the root");
        self.run.finish().await.map_err(refused)?;
        if !mutant!(self.engine.cx, "load.record_before_sync") {
            self.engine.pager.sync().await?;
        }
        Ok((root, self.claim))
    }

    /// Writes the leaf, which ends at `upper`.
    async fn leaf(&mut self, upper: Option<&[u8]>) -> Result<(), Error> {
        let units = self.filling.units(upper);
        let lower = self.filling.lower().into();
        let unit = self.room(units).await;
        let fill = |image: &mut [u8]| self.filling.finish(upper, image);
        let page = self.run.place(unit, units, fill).await.map_err(refused)?;
        self.placed((lower, page)).await
    }

    /// Adds a node to the level above it, and whatever that takes further up.
    async fn placed(&mut self, mut node: Placed) -> Result<(), Error> {
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            if self.levels[level].len() < self.fanout {
                self.levels[level].push(node);
                break;
            }
            let above = self.write_inner(level, Some(&node.0)).await?;
            self.levels[level].push(node);
            node = above;
        }
        Ok(())
    }

    /// Writes the inner node of a level, behind which nothing comes, and adds it to the next.
    async fn inner(&mut self, level: usize, upper: Option<&[u8]>) -> Result<(), Error> {
        let node = self.write_inner(level, upper).await?;
        if self.levels.len() == level + 1 {
            self.levels.push(Vec::new());
        }
        self.levels[level + 1].push(node);
        Ok(())
    }

    async fn write_inner(&mut self, level: usize, upper: Option<&[u8]>) -> Result<Placed, Error> {
        let mut below = std::mem::take(&mut self.levels[level]);
        let children = below.iter().map(|(lower, page)| (Fence::before(lower), *page)).collect();
        let (keyspace, lsn, upper) = (self.keyspace, self.version, upper.map(Fence::before));
        let image = InnerPage { keyspace, level: level as u8 + 1, lsn, children, upper }.encode();
        let unit = self.room(image.len() / UNIT).await;
        let page = self.run.add_at(unit, image).await.map_err(refused)?;
        let lower = std::mem::take(&mut below[0].0);
        below.clear();
        self.levels[level] = below;
        Ok((lower, page))
    }

    /// Units for a page.
    async fn room(&mut self, units: usize) -> u64 {
        loop {
            match self.engine.pager.space.extend(&mut self.claim, units as u64) {
                Some(unit) => return unit,
                None => {
                    sometimes!(self.engine.cx, true, "load: the file was being cut");
                    self.engine.cx.sleep(CUT).await;
                }
            }
        }
    }
}
