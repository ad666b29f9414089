//! The files of a database that is being made. It is one as soon as its manifest is there, which
//! is written last; until then nobody takes it for one, and a second attempt begins anew.

use orloj_kernel::{Context, DiskErrorKind, File, OpenMode, RawLock, sometimes};

use super::BackupError;
use crate::{
    Error, Lsn, Options,
    disk::remove_if_there,
    journal::{AppendError, DatabaseId, JournalConfig, Log, Records},
    manifest::{self, MANIFEST, Manifest},
    page::PagePtr,
    pager::DATA_PAGES,
    recover::{FIRST_SEGMENT, LOCK, WAL, parent},
    superblock::{self, FlipError, Side, Superblock},
    vlog::{VLOG, ValueLog},
};

/// Says that what is in a directory is an unfinished database, and nobody's.
const UNFINISHED: &str = "UNFINISHED";

/// A directory in which a database is being made.
pub(super) struct Place<'a> {
    cx: Context,
    options: &'a Options,
    database: DatabaseId,
    pages: File,
    /// The value segment that is written to.
    values: Option<(u32, File)>,
    log: Option<Log>,
    _lock: Box<dyn RawLock>,
}

/// Makes sure that nothing is in `dir` that is not left of an attempt to make a database.
pub(super) async fn check_empty(cx: Context, dir: &str) -> Result<(), BackupError> {
    let entries = match cx.list(dir).await {
        Err(e) if e.kind == DiskErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    let is_ours = has(UNFINISHED) && !has(MANIFEST);
    let mut found = entries.iter().map(|entry| &entry.name[..]).filter(|name| match *name {
        LOCK | UNFINISHED => false,
        WAL | VLOG | DATA_PAGES | "SUPERBLOCK_A" | "SUPERBLOCK_B" | "MANIFEST.new" => !is_ours,
        _ => true,
    });
    match found.next() {
        None => Ok(()),
        Some(found) => Err(BackupError::NotEmpty { dir: dir.to_owned(), found: found.to_owned() }),
    }
}

impl<'a> Place<'a> {
    /// Begins in `options.dir`, which is empty, or holds what an earlier attempt left.
    pub(super) async fn begin(
        cx: Context,
        options: &'a Options,
        database: DatabaseId,
    ) -> Result<Place<'a>, BackupError> {
        let dir = &options.dir;
        check_empty(cx, dir).await?;
        cx.create_dir(dir).await?;
        cx.sync_dir(parent(dir)).await?;
        let lock = match cx.lock(&format!("{dir}/{LOCK}")).await {
            Err(e) if e.kind == DiskErrorKind::Locked => {
                return Err(Error::Locked { dir: dir.clone() }.into());
            }
            locked => locked?,
        };
        // Somebody else may have had it meanwhile.
        check_empty(cx, dir).await?;
        let marker = cx.open(&format!("{dir}/{UNFINISHED}"), OpenMode::Create).await?;
        marker.sync().await?;
        cx.sync_dir(dir).await?;
        clean(cx, dir).await?;
        for part in [WAL, VLOG] {
            cx.create_dir(&format!("{dir}/{part}")).await?;
        }
        let pages = cx.open(&format!("{dir}/{DATA_PAGES}"), OpenMode::CreateNew).await?;
        let (values, log) = (None, None);
        Ok(Place { cx, options, database, pages, values, log, _lock: lock })
    }

    pub(super) async fn page(&self, at: PagePtr, image: Vec<u8>) -> Result<(), BackupError> {
        self.pages.write_at(at.offset(), image).await?;
        Ok(())
    }

    pub(super) async fn values(
        &mut self,
        segment: u32,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Result<(), BackupError> {
        let is_open = self.values.as_ref().is_some_and(|(number, _)| *number == segment);
        if !is_open {
            self.end_values().await?;
            let path = ValueLog::new(self.cx, &self.options.dir, self.database).path(segment);
            self.values = Some((segment, self.cx.open(&path, OpenMode::CreateNew).await?));
        }
        let (_, file) = self.values.as_ref().expect("it is open now");
        file.write_at(offset, bytes).await?;
        Ok(())
    }

    async fn end_values(&mut self) -> Result<(), BackupError> {
        if let Some((_, file)) = self.values.take() {
            file.sync().await?;
        }
        Ok(())
    }

    /// Begins the journal, whose first record will be `first`.
    pub(super) async fn journal(&mut self, first: Lsn) -> Result<(), BackupError> {
        let segment_bytes = self.options.segment_bytes;
        let config = JournalConfig {
            first_bytes: FIRST_SEGMENT.min(segment_bytes),
            segment_bytes,
            ..JournalConfig::new(format!("{}/{WAL}", self.options.dir))
        };
        self.log = Some(Log::create(self.cx, config, self.database, first).await?);
        Ok(())
    }

    pub(super) fn has_journal(&self) -> bool {
        self.log.is_some()
    }

    pub(super) async fn records(&mut self, records: Records) -> Result<(), BackupError> {
        let log = self.log.as_mut().expect("the journal has begun");
        Ok(log.append(&[records], true).await.map_err(refused)?)
    }

    /// It is a database from here on.
    pub(super) async fn finish(
        mut self,
        block: &Superblock,
        manifest: &Manifest,
    ) -> Result<(), BackupError> {
        let (cx, dir) = (self.cx, &self.options.dir.clone());
        let log = self.log.as_mut().expect("the journal has begun");
        log.mark(true).await.map_err(refused)?;
        self.end_values().await?;
        self.pages.sync().await?;
        for part in [WAL, VLOG] {
            cx.sync_dir(&format!("{dir}/{part}")).await?;
        }
        // Two of the same state: should one of the files rot, the other is as good.
        for generation in [block.generation, block.generation + 1] {
            match superblock::write(cx, dir, &Superblock { generation, ..*block }).await {
                Ok(()) => {}
                Err(FlipError::Refused(e) | FlipError::Fatal(e)) => return Err(e.into()),
            }
        }
        manifest::write(cx, dir, manifest).await?;
        // It means nothing beside a manifest.
        let _ = remove_if_there(cx, &format!("{dir}/{UNFINISHED}")).await;
        Ok(())
    }

    /// Gives up: the directory is empty again, as far as that can be had.
    pub(super) async fn abandon(self) {
        let (cx, dir) = (self.cx, self.options.dir.clone());
        drop((self.pages, self.values, self.log));
        let _ = clean(cx, &dir).await;
    }
}

/// Removes what an unfinished attempt left, but for its mark.
async fn clean(cx: Context, dir: &str) -> Result<(), BackupError> {
    let files = [DATA_PAGES, Side::A.file_name(), Side::B.file_name()];
    for name in files {
        remove_if_there(cx, &format!("{dir}/{name}")).await?;
    }
    for part in [WAL, VLOG] {
        let part = format!("{dir}/{part}");
        let entries = match cx.list(&part).await {
            Err(e) if e.kind == DiskErrorKind::NotFound => continue,
            listed => listed?,
        };
        sometimes!(cx, !entries.is_empty(), "restore: an earlier attempt had left something");
        for entry in entries {
            remove_if_there(cx, &format!("{part}/{}", entry.name)).await?;
        }
    }
    Ok(())
}

fn refused(error: AppendError) -> Error {
    match error {
        AppendError::Refused { cause, .. } | AppendError::Fatal(cause) => Error::Disk(cause),
    }
}
