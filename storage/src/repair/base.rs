//! What a repair builds upon: the generation from which least is lost.

use std::collections::BTreeSet;

use super::{
    Loss,
    loads::{Tools, mend},
    page_file,
    tree::{Mender, pages},
};
use crate::{
    Corrupt, Error, Fault, Lsn,
    catalogue::Catalogue,
    journal::{Salvage, salvage},
    page::{PageHeader, PagePtr, PageType, UNIT},
    record::ops,
    recover::{WAL, read_catalogue, read_space},
    superblock::{Superblock, SuperblockError},
    verify::Offline,
};

/// A generation, and the journal behind it.
pub(super) struct Base {
    /// `None` for generation 0, which is nothing.
    pub(super) block: Option<Superblock>,
    pub(super) catalogue: Catalogue,
    pub(super) journal: Salvage,
    pub(super) losses: Vec<Loss>,
}

impl Base {
    /// Notes what is lost if the journal ends before the newest generation does, the records up to
    /// which are no more than known to have been.
    fn cut_before(&mut self, newest: Lsn) {
        let last = self.journal.last;
        if last >= newest || self.block.is_some_and(|block| block.lsn == newest) {
            return;
        }
        self.losses.retain(|loss| !matches!(loss, Loss::Records { .. }));
        let seen = self.journal.lost.and_then(|(_, to)| to);
        self.losses.push(Loss::Records { from: last.next(), to: seen.max(Some(newest)) });
    }
}

/// The first generation from which nothing is lost, newest first; else the newest.
pub(super) async fn choose(offline: &Offline, bad: &BTreeSet<u32>) -> Result<Base, Error> {
    let found = &offline.found;
    let mut blocks: Vec<Superblock> = found.newest.iter().chain(&found.other).copied().collect();
    let is_rebuilt = blocks.is_empty();
    if is_rebuilt {
        blocks = rebuilt(offline).await?;
    }
    let newest = blocks.iter().map(|block| block.lsn).max().unwrap_or_default();
    let mut best: Option<Base> = None;
    for block in &blocks {
        let Some(mut base) = survey(offline, *block, bad).await? else { continue };
        if is_rebuilt {
            base.losses.push(Loss::Superblocks);
        }
        base.cut_before(newest);
        if base.losses.is_empty() {
            return Ok(base);
        }
        // Of generations that nothing vouches for, the one that is most whole.
        match &best {
            Some(best) if !is_rebuilt || best.losses.len() <= base.losses.len() => {}
            _ => best = Some(base),
        }
    }
    let mut journal = read_journal(offline, Lsn(0)).await?;
    let lost_loads = lost_loads(offline, &mut journal, 0).await?;
    let has_beginning = journal.last > Lsn(0);
    let is_whole =
        journal.lost.is_none() && lost_loads.is_empty() && has_beginning && journal.last >= newest;
    let is_empty = blocks.is_empty() && found.damaged.is_empty();
    let no_pages = || {
        let (file, what) = (page_file(&offline.dir), Fault::Missing);
        Error::Corrupt(Box::new(Corrupt { file, offset: 0, what, keys: None }))
    };
    match best {
        Some(best) if !is_whole => Ok(best),
        _ if is_whole || is_empty || has_beginning => {
            let losses = lost_loads.into_iter().chain(lost_records(&journal)).collect();
            let mut base = Base { block: None, catalogue: Catalogue::default(), journal, losses };
            base.cut_before(newest);
            Ok(base)
        }
        _ if blocks.is_empty() => {
            let (dir, cause) = (offline.dir.clone(), SuperblockError::Damaged);
            Err(Error::Superblock { dir, cause })
        }
        _ => match &offline.pager {
            Some(pager) => {
                Err(read_catalogue(pager, &blocks[0]).await.err().unwrap_or_else(no_pages))
            }
            None => Err(no_pages()),
        },
    }
}

/// What would be lost with `block`; `None` if not even its catalogue can be read.
async fn survey(
    offline: &Offline,
    block: Superblock,
    bad: &BTreeSet<u32>,
) -> Result<Option<Base>, Error> {
    let Some(pager) = &offline.pager else { return Ok(None) };
    let catalogue = match read_catalogue(pager, &block).await {
        Ok(catalogue) => catalogue,
        Err(Error::Corrupt(_) | Error::Disk(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut mender = Mender::new(pager, &offline.values, offline.manifest.database);
    (mender.generation, mender.lsn) = (block.generation, block.lsn);
    mender.next = block.generation + 1;
    mender.marked = read_space(pager, &block).await.ok();
    mender.bad_segments.clone_from(bad);
    let size = pager.file().size().await?.div_ceil(UNIT as u64);
    mender.end = block.units.max(size);
    for keyspace in &catalogue.keyspaces {
        for (_, root) in &keyspace.roots {
            mender.root(keyspace.id, *root).await?;
        }
    }
    let (mut losses, end) = (mender.losses, mender.end);
    let mut journal = read_journal(offline, block.lsn).await?;
    losses.append(&mut lost_loads(offline, &mut journal, end).await?);
    losses.extend(lost_records(&journal));
    Ok(Some(Base { block: Some(block), catalogue, journal, losses }))
}

/// What would be lost of what the journal loads.
async fn lost_loads(
    offline: &Offline,
    journal: &mut Salvage,
    end: u64,
) -> Result<Vec<Loss>, Error> {
    let (pager, values) = (offline.pager.as_ref(), &offline.values);
    let (database, appender, next) = (offline.manifest.database, None, 0);
    mend(&mut Tools { pager, values, database, appender, next, end }, journal).await
}

fn lost_records(journal: &Salvage) -> Option<Loss> {
    journal.lost.map(|(from, to)| Loss::Records { from, to })
}

async fn read_journal(offline: &Offline, lsn: Lsn) -> Result<Salvage, Error> {
    let dir = format!("{}/{WAL}", offline.dir);
    let mut makes_sense = |record: &[u8]| ops(record).all(|op| op.is_ok());
    let database = offline.manifest.database;
    Ok(salvage(offline.cx, &dir, database, lsn.next(), &mut makes_sense).await?)
}

/// Superblocks as catalogues tell of them that lie in the file of pages, newest first.
async fn rebuilt(offline: &Offline) -> Result<Vec<Superblock>, Error> {
    let Some(pager) = &offline.pager else { return Ok(Vec::new()) };
    let database = offline.manifest.database;
    let spaces = pages(pager, database, PageType::Space).await?;
    let mut found: Vec<(PagePtr, PageHeader, Catalogue)> = Vec::new();
    for (ptr, header, image) in pages(pager, database, PageType::Catalogue).await? {
        if let Some(catalogue) = Catalogue::decode(&image) {
            found.push((ptr, header, catalogue));
        }
    }
    found.sort_by_key(|(_, header, _)| std::cmp::Reverse(header.generation));
    let units = pager.file().size().await?.div_ceil(UNIT as u64);
    let block = |(ptr, header, catalogue): &(PagePtr, PageHeader, Catalogue)| {
        let space = spaces.iter().find(|(_, of, _)| of.generation == header.generation);
        let last = catalogue.segments.last();
        Superblock {
            database,
            generation: header.generation,
            lsn: header.lsn,
            previous_lsn: header.lsn,
            applied: 0,
            wall_base: 0,
            mono_base: 0,
            clock: catalogue.moments.last().map_or(0, |(time, _)| *time),
            catalogue: *ptr,
            // It is looked at, and no more believed than any.
            space: space.map_or(*ptr, |(space, ..)| *space),
            units,
            value_segment: last.map_or(0, |segment| segment.number),
            value_end: last.map_or(0, |segment| segment.bytes),
        }
    };
    Ok(found.iter().map(block).collect())
}
