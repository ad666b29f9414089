//! A database that is looked at and not opened.

use orloj_kernel::{Context, DiskErrorKind, RawLock};

use crate::{
    Error, KeyspaceId, Lsn, Retention,
    catalogue::Catalogue,
    manifest::{self, MANIFEST, Manifest, Schemas},
    page::UNIT,
    pager::{Bits, Pager},
    recover::{LOCK, WAL, read_generation},
    superblock::{self, Found, Superblock},
    vlog::{SegmentUse, ValueLog},
};

/// A database whose directory is locked, and not changed.
pub struct Offline {
    pub(crate) cx: Context,
    pub(crate) dir: String,
    pub(crate) manifest: Manifest,
    pub(crate) found: Found,
    /// `None` if the file is not there.
    pub(crate) pager: Option<Pager>,
    pub(crate) values: ValueLog,
    /// `None` where nobody may write, hence nobody has it open.
    _lock: Option<Box<dyn RawLock>>,
}

impl std::fmt::Debug for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offline").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A keyspace as the catalogue has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceStats {
    /// Its number.
    pub id: KeyspaceId,
    /// Its name.
    pub name: String,
    /// Which versions it keeps.
    pub keep: Retention,
    /// The version from which on everything can be read.
    pub earliest: Lsn,
}

/// What is known about a database without walking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The superblock of the generation that an opening would begin with; `None` before the first
    /// checkpoint.
    pub superblock: Option<Superblock>,
    /// Bytes of `data.pages`.
    pub page_file_bytes: u64,
    /// Bytes of it that this generation uses.
    pub page_bytes: u64,
    /// In the order of their numbers.
    pub keyspaces: Vec<KeyspaceStats>,
    /// In the order of their numbers.
    pub values: Vec<SegmentUse>,
    /// Segments of the journal, with those that are no longer needed.
    pub journal_segments: u64,
    /// Their bytes, with what was made ready in advance.
    pub journal_bytes: u64,
}

impl Offline {
    /// Locks the database in `dir` and reads what it is.
    ///
    /// # Errors
    /// [`Error::Locked`] while a process has it open, [`Error::NoDatabase`], [`Error::Manifest`]
    /// and [`Error::Superblock`] if it is damaged as a whole or a later release's, [`Error::Disk`].
    pub async fn open(cx: Context, dir: &str) -> Result<Offline, Error> {
        Offline::open_as(cx, dir, None).await
    }

    /// As [`Offline::open`], with another manifest if there is one to be believed more.
    pub(crate) async fn open_as(
        cx: Context,
        dir: &str,
        manifest: Option<Manifest>,
    ) -> Result<Offline, Error> {
        let entries = cx.list(dir).await?;
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        // A process that is making a database holds its lock before there is a manifest; but a
        // directory that is something else shall not be given a lock.
        if manifest.is_none() && !has(LOCK) && !has(MANIFEST) {
            return Err(Error::NoDatabase { dir: dir.to_owned() });
        }
        let lock = match cx.lock(&format!("{dir}/{LOCK}")).await {
            Ok(lock) => Some(lock),
            Err(e) if e.kind == DiskErrorKind::Locked => {
                return Err(Error::Locked { dir: dir.to_owned() });
            }
            Err(e) if e.kind == DiskErrorKind::ReadOnly => None,
            Err(e) => return Err(e.into()),
        };
        let manifest = match manifest {
            Some(manifest) => manifest,
            None => match manifest::read(cx, dir).await? {
                Some(manifest) => manifest,
                None => return Err(Error::NoDatabase { dir: dir.to_owned() }),
            },
        };
        let refused = |cause| Error::Manifest { dir: dir.to_owned(), cause };
        manifest.check_schemas(&Schemas::of_this_release(None)).map_err(refused)?;
        let found = superblock::read(cx, dir, manifest.database).await?;
        let pager = match Pager::open_to_read(cx, dir, manifest.database).await {
            Err(e) if e.kind == DiskErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        let values = ValueLog::new(cx, dir, manifest.database);
        let dir = dir.to_owned();
        Ok(Offline { cx, dir, manifest, found, pager, values, _lock: lock })
    }

    /// What the database is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What catalogue, units and directories say.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if no generation is whole, and [`Error::Disk`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        let (superblock, catalogue, used) = self.generation().await?;
        let known = |k: crate::tree::Catalogued| KeyspaceStats {
            id: k.id,
            name: k.name,
            keep: k.keep,
            earliest: k.earliest,
        };
        let (journal_segments, journal_bytes) = journal_files(self.cx, &self.dir).await?;
        let entries = self.cx.list(&self.dir).await?;
        let page_file = entries.iter().find(|entry| entry.name == crate::pager::DATA_PAGES);
        Ok(Stats {
            superblock,
            page_file_bytes: page_file.map_or(0, |entry| entry.len),
            // Unit 0 is marked in every generation, and is no page.
            page_bytes: used.count().saturating_sub(1) * UNIT as u64,
            keyspaces: catalogue.keyspaces.into_iter().map(known).collect(),
            values: catalogue.segments,
            journal_segments,
            journal_bytes,
        })
    }

    /// The newest generation that is whole; nothing before the first checkpoint.
    async fn generation(&self) -> Result<(Option<Superblock>, Catalogue, Bits), Error> {
        let mut first = None;
        for block in self.found.newest.iter().chain(&self.found.other) {
            let read = match &self.pager {
                Some(pager) => read_generation(pager, block).await,
                None => Err(self.no_pages()),
            };
            match read {
                Ok((catalogue, used)) => return Ok((Some(*block), catalogue, used)),
                Err(error @ Error::Corrupt(_)) => {
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        first.map_or_else(|| Ok((None, Catalogue::default(), Bits::default())), Err)
    }

    /// The error of a file of pages that is not there.
    pub(super) fn no_pages(&self) -> Error {
        let file = format!("{}/{}", self.dir, crate::pager::DATA_PAGES);
        let what = crate::Fault::Missing;
        Error::Corrupt(Box::new(crate::Corrupt { file, offset: 0, what, keys: None }))
    }
}

/// How many segments of the journal there are, and their bytes.
pub(super) async fn journal_files(cx: Context, dir: &str) -> Result<(u64, u64), Error> {
    let entries = match cx.list(&format!("{dir}/{WAL}")).await {
        Err(e) if e.kind == DiskErrorKind::NotFound => Vec::new(),
        listed => listed?,
    };
    let segments = entries.iter().filter(|e| crate::journal::number_of(&e.name).is_some());
    Ok(segments.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.len)))
}
