//! The files of a database that is being made of a backup, written one by one.

use orloj_kernel::{Context, File, OpenMode, RawLock};

use super::BackupError;
use crate::{
    Error, Lsn, Options,
    journal::{AppendError, DatabaseId, JournalConfig, Log, Records},
    manifest::Manifest,
    page::PagePtr,
    pager::DATA_PAGES,
    recover::{FIRST_SEGMENT, WAL},
    superblock::{self, FlipError, Superblock},
    unfinished,
    vlog::ValueLog,
};

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

impl<'a> Place<'a> {
    /// Begins in `options.dir`, which is empty, or holds what an earlier attempt left.
    pub(super) async fn begin(
        cx: Context,
        options: &'a Options,
        database: DatabaseId,
    ) -> Result<Place<'a>, BackupError> {
        let dir = &options.dir;
        let lock = unfinished::begin(cx, dir).await?;
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
        // Two of the same state: should one of the files rot, the other is as good.
        for generation in [block.generation, block.generation + 1] {
            match superblock::write(cx, dir, &Superblock { generation, ..*block }).await {
                Ok(()) => {}
                Err(FlipError::Refused(e) | FlipError::Fatal(e)) => return Err(e.into()),
            }
        }
        Ok(unfinished::finish(cx, dir, manifest).await?)
    }

    /// Gives up: the directory is empty again, as far as that can be had.
    pub(super) async fn abandon(self) {
        let (cx, dir) = (self.cx, self.options.dir.clone());
        drop((self.pages, self.values, self.log));
        let _ = unfinished::clean(cx, &dir).await;
    }
}

fn refused(error: AppendError) -> Error {
    match error {
        AppendError::Refused { cause, .. } | AppendError::Fatal(cause) => Error::Disk(cause),
    }
}
