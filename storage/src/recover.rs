//! Opening a database: what the directory is, which generation to believe, and what the journal has
//! to add.
//!
//! A directory is a database as soon as its manifest is there. Its state is that of a generation,
//! and the journal behind it. Before the first checkpoint that is generation 0: nothing, and the
//! whole journal. So there is never less than two ways to the same state: the newest generation, or
//! the one before it with more of the journal.

mod batch;
mod replay;

use std::sync::Arc;

use orloj_kernel::{Context, DiskErrorKind, RawLock, clock_bound, mutant, sometimes};

use crate::{
    Durability, Error, JournalError, Lsn, Options,
    cache::Cache,
    catalogue::{Catalogue, decode_space},
    engine::{Engine, Roots},
    journal::{DatabaseId, JournalConfig, Log, Origin, Recovery},
    manifest::{self, MANIFEST, Manifest, ManifestError, SchemaHash, Schemas},
    page::{PageFault, PagePtr, PageType},
    pager::{Bits, Pager, Space},
    superblock::{self, FORMAT, Found, Side, Superblock, SuperblockError},
    tree::Tree,
    unfinished::{self, UNFINISHED},
    vlog::{Appender, Segments, VLOG, ValueLog},
};

use replay::Replay;

/// The file that is locked while a database is open.
pub const LOCK: &str = "LOCK";
/// The directory of the journal.
pub const WAL: &str = "wal";
/// Bytes of the first segment of the journal after an opening, if segments may grow that far.
pub(crate) const FIRST_SEGMENT: u64 = 4 << 20;

/// An open database, and what belongs to one owner each.
pub struct Opened {
    /// Everything that can be shared.
    pub engine: Arc<Engine>,
    /// The journal.
    pub log: Log,
    /// The writing end of the value log.
    pub values: Appender,
    /// Held as long as the database is open.
    pub lock: Box<dyn RawLock>,
    /// What was found and done.
    pub report: Report,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("report", &self.report).finish_non_exhaustive()
    }
}

/// What opening a database found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether there was no database, and one was made.
    pub created: bool,
    /// The generation it was opened from; 0 is none.
    pub generation: u64,
    /// The version of that.
    pub lsn: Lsn,
    /// Superblocks that are damaged. One may be what a power cut left of a checkpoint.
    pub superblocks_damaged: Vec<Side>,
    /// Generations that are damaged, and what about them: the one before gave the same state.
    pub passed_over: Vec<(u64, Error)>,
    /// What the journal said.
    pub journal: Recovery,
    /// Operations applied from it.
    pub operations: u64,
    /// Checkpoints made while they were, since memory was full.
    pub checkpoints: u64,
    /// The database's time is at least this, Unix ms.
    pub clock: u64,
}

/// Opens the database in `options.dir`, or makes one there. `wire` is the schema of the protocol
/// above, if there is one.
///
/// # Errors
/// [`Error`]; the directory is then as it was, but for files that hold nothing.
///
/// # Panics
/// For a database in memory, which has no files.
pub async fn open(
    cx: Context,
    options: &Options,
    wire: Option<SchemaHash>,
) -> Result<Opened, Error> {
    check(options)?;
    let dir = &options.dir;
    cx.create_dir(dir).await?;
    // A directory that nobody finds any more holds nothing.
    cx.sync_dir(parent(dir)).await?;
    let lock = match cx.lock(&format!("{dir}/{LOCK}")).await {
        Err(e) if e.kind == DiskErrorKind::Locked => {
            return Err(Error::Locked { dir: dir.clone() });
        }
        locked => locked?,
    };
    let mut report = Report::default();
    let manifest = identify(cx, options, wire, &mut report).await?;
    read(cx, options, manifest, lock, report).await
}

/// Makes a database in `options.dir`, which is empty or holds what an earlier attempt left. No
/// opening takes it for one before [`unfinished::finish`].
///
/// # Errors
/// [`Error`]; the directory then has what the next attempt removes.
pub(crate) async fn make(cx: Context, options: &Options) -> Result<Opened, Error> {
    check(options)?;
    let lock = unfinished::begin(cx, &options.dir).await?;
    let manifest = new_manifest(cx, options, Schemas::of_this_release(None));
    read(cx, options, manifest, lock, Report { created: true, ..Report::default() }).await
}

fn check(options: &Options) -> Result<(), Error> {
    assert!(options.durability != Durability::InMemory, "a database in memory has no files");
    Ok(options.check()?)
}

/// Reads what is in the directory of `manifest`.
async fn read(
    cx: Context,
    options: &Options,
    manifest: Manifest,
    lock: Box<dyn RawLock>,
    mut report: Report,
) -> Result<Opened, Error> {
    let dir = &options.dir;
    let (page_bytes, inline_bytes) = (manifest.page_bytes, manifest.inline_bytes);
    let options = Options { page_bytes, inline_bytes, ..options.clone() };
    // Bounds may have been wider for the release that made it.
    options.check()?;
    for part in [WAL, VLOG] {
        cx.create_dir(&format!("{dir}/{part}")).await?;
    }
    let database = manifest.database;
    let files = Files { cx, dir, database, options: &options };
    loop {
        let found = superblock::read(cx, dir, database).await?;
        report.superblocks_damaged.clone_from(&found.damaged);
        let (base, pager) = files.choose(&found, &mut report).await?;
        let lsn = base.block.map_or(Lsn(0), |block| block.lsn);
        let generation = base.block.map_or(0, |block| block.generation);
        (report.generation, report.lsn) = (generation, lsn);
        let next = next_generation(&found, base.block);
        let (engine, mut values) = files.assemble(&manifest, base, pager, next).await?;
        let mut replay = Replay::new(&engine, lsn);
        let (log, journal) = match files.open_journal(lsn, &mut replay).await {
            // The journal cannot make up for a generation that is damaged: that is the news.
            Err(Error::Journal(JournalError::Missing { .. })) if !report.passed_over.is_empty() => {
                return Err(report.passed_over.swap_remove(0).1);
            }
            Err(Error::Journal(JournalError::Missing { .. }))
                if generation == 0 && !found.damaged.is_empty() =>
            {
                let cause = SuperblockError::Damaged;
                return Err(Error::Superblock { dir: dir.clone(), cause });
            }
            opened => opened?,
        };
        report.journal = journal;
        let history = replay.stalled().map(|from| log.history(from));
        match replay.finish(history, &mut values, &mut report).await {
            Ok(()) => {}
            // The generation before does not need that page, or has another one.
            Err(error @ Error::Corrupt(_)) if generation > 0 => {
                report.passed_over.push((generation, error));
                continue;
            }
            Err(error) => return Err(error),
        }
        engine.tree.claims().iter().for_each(|claim| engine.pager.space.keep(claim));
        let told = engine.tree.moments().now();
        let known = engine.newest().map_or(0, |block| block.clock);
        report.clock = match mutant!(cx, "recovery.history_tells_no_time") {
            true => wall(cx),
            false => told.max(known).max(wall(cx)),
        };
        return Ok(Opened { engine, log, values, lock, report });
    }
}

/// The directory in which `dir` is.
pub(crate) fn parent(dir: &str) -> &str {
    match dir.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/",
        Some((parent, _)) => parent,
        None => ".",
    }
}

/// The manifest of the directory, which is made if nothing is there.
async fn identify(
    cx: Context,
    options: &Options,
    wire: Option<SchemaHash>,
    report: &mut Report,
) -> Result<Manifest, Error> {
    let dir = &options.dir;
    let own = Schemas::of_this_release(wire);
    let refused = |cause: ManifestError| Error::Manifest { dir: dir.clone(), cause };
    let manifest = match manifest::read(cx, dir).await? {
        Some(manifest) => manifest,
        None => {
            // A disk of its own has `lost+found`.
            let ours = |name: &str| {
                let new = name.strip_prefix(MANIFEST) == Some(".new");
                new || matches!(name, LOCK | "lost+found")
            };
            let entries = cx.list(dir).await?;
            if entries.iter().any(|entry| entry.name == UNFINISHED) {
                return Err(Error::Unfinished { dir: dir.clone() });
            }
            if let Some(other) = entries.into_iter().find(|entry| !ours(&entry.name)) {
                return Err(Error::NotOurs { dir: dir.clone(), found: other.name });
            }
            report.created = true;
            let manifest = new_manifest(cx, options, own);
            manifest::write(cx, dir, &manifest).await?;
            manifest
        }
    };
    manifest.check_schemas(&own).map_err(refused)?;
    Ok(manifest)
}

/// That of a database which is made now.
fn new_manifest(cx: Context, options: &Options, schemas: Schemas) -> Manifest {
    Manifest {
        generation: 1,
        minor: FORMAT.1,
        database: DatabaseId(u128::from(cx.entropy()) << 64 | u128::from(cx.entropy())),
        created_at: wall(cx),
        page_bytes: options.page_bytes,
        inline_bytes: options.inline_bytes,
        schemas,
    }
}

/// The time of the host in Unix ms. It counts only where history has told none that is later.
fn wall(cx: Context) -> u64 {
    let _tolerated = clock_bound!(cx, "recover: the wall clock", 1_000_000_000);
    cx.wall().millis()
}

/// A generation that is whole.
struct Base {
    block: Option<Superblock>,
    catalogue: Catalogue,
}

/// The files of a database that is being opened.
struct Files<'a> {
    cx: Context,
    dir: &'a str,
    database: DatabaseId,
    options: &'a Options,
}

impl Files<'_> {
    /// The newest generation that was not passed over and whose catalogue and space are whole, down
    /// to generation 0.
    async fn choose(&self, found: &Found, report: &mut Report) -> Result<(Base, Pager), Error> {
        // The names of the file of pages and of the directories count from here on.
        let pager = Pager::open(self.cx, self.dir, self.database).await?;
        self.cx.sync_dir(self.dir).await?;
        for block in found.newest.iter().chain(&found.other) {
            if report.passed_over.iter().any(|(passed, _)| *passed == block.generation) {
                continue;
            }
            let (catalogue, used) = match read_generation(&pager, block).await {
                Ok(whole) => whole,
                Err(error @ Error::Corrupt(_)) => {
                    sometimes!(self.cx, true, "recovery: a damaged generation was passed over");
                    report.passed_over.push((block.generation, error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            // What the generation before uses stays, if it is there to be fallen back upon.
            let before = match found.other.filter(|other| other.generation < block.generation) {
                Some(other) => read_space(&pager, &other).await.unwrap_or_default(),
                None => Bits::default(),
            };
            let pager = pager.with_space(Space::new(used, before, block.units));
            return Ok((Base { block: Some(*block), catalogue }, pager));
        }
        Ok((Base { block: None, catalogue: Catalogue::default() }, pager))
    }

    /// Opens the journal behind `lsn`, and judges all of it.
    async fn open_journal(
        &self,
        lsn: Lsn,
        replay: &mut Replay<'_>,
    ) -> Result<(Log, Recovery), Error> {
        let segment_bytes = self.options.segment_bytes;
        let config = JournalConfig {
            first_bytes: FIRST_SEGMENT.min(segment_bytes),
            segment_bytes,
            ..JournalConfig::new(format!("{}/{WAL}", self.dir))
        };
        let origin = Origin { database: Some(self.database), from: lsn.next() };
        let mut judge = |lsn: Lsn, record: &[u8]| {
            let is_skipped = mutant!(self.cx, "recovery.begins_one_late") && lsn == origin.from;
            is_skipped || replay.judge(lsn, record)
        };
        Ok(Log::open_from(self.cx, config, origin, &mut judge).await?)
    }

    /// The engine of a generation, without what the journal has to add.
    async fn assemble(
        &self,
        manifest: &Manifest,
        base: Base,
        pager: Pager,
        next: u64,
    ) -> Result<(Arc<Engine>, Appender), Error> {
        let Base { block, catalogue } = base;
        let values = ValueLog::new(self.cx, self.dir, self.database);
        let there = values.list().await?;
        let newest = there.iter().copied().max().unwrap_or(0);
        let newest = newest.max(block.map_or(0, |block| block.value_segment));
        let segment_bytes = self.options.segment_bytes;
        let appender = Appender::new(self.cx, self.dir, self.database, segment_bytes, newest);
        let lsn = block.map_or(Lsn(0), |block| block.lsn);
        let Catalogue { highest, moments, keyspaces, .. } = &catalogue;
        let tree: Arc<Tree> = Tree::open(self.options, lsn, keyspaces).into();
        tree.recall(lsn, *highest, moments, block.map_or(0, |block| block.applied));
        let engine = Engine {
            cx: self.cx,
            cache: Cache::new(self.options.cache_bytes, tree.clone()),
            tree,
            pager,
            values,
            segments: Segments::new(&catalogue.segments, &there),
            roots: Roots { newest: block, next }.into(),
            manifest: manifest.clone(),
            options: self.options.clone(),
        };
        Ok((engine.into(), appender))
    }
}

/// The catalogue and the used units of a generation.
pub(crate) async fn read_generation(
    pager: &Pager,
    block: &Superblock,
) -> Result<(Catalogue, Bits), Error> {
    Ok((read_catalogue(pager, block).await?, read_space(pager, block).await?))
}

/// The catalogue of a generation.
pub(crate) async fn read_catalogue(pager: &Pager, block: &Superblock) -> Result<Catalogue, Error> {
    let image = read_as(pager, block.catalogue, PageType::Catalogue).await?;
    let senseless = || pager.corrupt(block.catalogue, PageFault::Senseless, None);
    Catalogue::decode(&image).ok_or_else(senseless)
}

/// The used units of a generation.
pub(crate) async fn read_space(pager: &Pager, block: &Superblock) -> Result<Bits, Error> {
    let image = read_as(pager, block.space, PageType::Space).await?;
    let senseless = || pager.corrupt(block.space, PageFault::Senseless, None);
    decode_space(&image, block.units).ok_or_else(senseless)
}

async fn read_as(pager: &Pager, page: PagePtr, kind: PageType) -> Result<Vec<u8>, Error> {
    match pager.read(page).await? {
        (header, image) if header.kind == kind => Ok(image),
        _ => Err(pager.corrupt(page, PageFault::Senseless, None)),
    }
}

/// The number of the next generation: higher than any that is there, and one that does not go to
/// the side of the one that was opened.
fn next_generation(found: &Found, opened: Option<Superblock>) -> u64 {
    let newest = found.newest.map_or(0, |block| block.generation);
    match opened {
        Some(opened) if opened.generation < newest => newest + 2,
        _ => newest + 1,
    }
}

#[cfg(test)]
mod tests;
