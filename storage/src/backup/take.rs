//! Taking backups.

use std::sync::Arc;

use orloj_kernel::{OpenMode, clock_bound, sometimes};

use super::{
    BackupError, Inventory, Moment, Object, PART, Part, Target,
    inventory::{numbers, read},
    pages::PageWalk,
    pieces::{has_load, put, time_of},
};
use crate::{
    Corrupt, Database, Error, Fault, JournalError, Lsn,
    database::Copied,
    disk::read_stubbornly,
    engine::Hold,
    journal::{History, Origin, Records, follow},
    page::UNIT,
    recover::WAL,
    superblock::Superblock,
    verify::{OnProgress, Progress, Stage},
    vlog::{RecordFault, SegmentUse},
    writer::Kept,
};

/// How a backup begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With the newest in the target, if the database still has the journal behind it; else as
    /// [`How::Full`].
    Continue,
    /// With a base of its own.
    Full,
}

/// A backup that goes on: the journal behind it is kept until it has been copied.
pub struct Backup {
    pub(super) db: Database,
    target: Arc<dyn Target>,
    /// What is complete so far; its number and end are of the newest.
    inventory: Inventory,
    kept: Kept,
    /// Whether the base was copied by this one.
    is_full: bool,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup").field("inventory", &self.inventory).finish_non_exhaustive()
    }
}

impl Database {
    /// Takes a backup while writers go on. On return it is complete and reaches at least to the
    /// newest version there was when it was asked for.
    ///
    /// One backup of a database at a time goes to a target.
    ///
    /// # Errors
    /// [`BackupError`]. What was put by then does not count, and is replaced by the next one. If
    /// the database is damaged, [`Error::Corrupt`] says where.
    pub async fn backup(
        &self,
        target: Arc<dyn Target>,
        how: How,
        progress: OnProgress<'_>,
    ) -> Result<Backup, BackupError> {
        let Some(engine) = self.engine() else { return Err(BackupError::InMemory) };
        let wanted = engine.manifest().database;
        let newest = numbers(&*target).await?.first().copied();
        let latest = match newest {
            None => None,
            Some(number) => match read(&*target, number).await {
                Ok(inventory) if inventory.database() != wanted => {
                    return Err(BackupError::Foreign { found: inventory.database(), wanted });
                }
                Ok(inventory) => Some(inventory),
                // A damaged one is not gone on with.
                Err(BackupError::Damaged { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        let goes_on = match latest {
            Some(latest) if how == How::Continue => self.go_on(latest, &target).await?,
            _ => None,
        };
        if let Some(mut backup) = goes_on {
            // Behind a load there is no going on: its pages are in no journal.
            if backup.copy_journal(false, progress).await? {
                return Ok(backup);
            }
        }
        let number = newest.unwrap_or(0) + 1;
        self.full(target, number, progress).await
    }

    /// A backup with a base of its own. It ends before the first load behind that.
    async fn full(
        &self,
        target: Arc<dyn Target>,
        number: u64,
        progress: OnProgress<'_>,
    ) -> Result<Backup, BackupError> {
        let mut backup = self.base(target, number, progress).await?;
        let is_all = backup.copy_journal(true, progress).await?;
        sometimes!(self.cx(), !is_all, "backup: something was loaded while its base was copied");
        Ok(backup)
    }

    /// Goes on behind `latest`, if the journal is still there.
    async fn go_on(
        &self,
        latest: Inventory,
        target: &Arc<dyn Target>,
    ) -> Result<Option<Backup>, BackupError> {
        let next = latest.to.version.next();
        let kept = self.keep_journal(next).await;
        // One that ends before the backup does has lost its end, and has another by now.
        if self.newest() < latest.to.version {
            return Ok(None);
        }
        match journal(self, next, next).await {
            Ok(_) => {}
            Err(JournalError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        sometimes!(self.cx(), true, "backup: one went on with another");
        let (db, target) = (self.clone(), Arc::clone(target));
        Ok(Some(Backup { db, target, inventory: latest, kept, is_full: false }))
    }

    /// Copies a generation.
    async fn base(
        &self,
        target: Arc<dyn Target>,
        number: u64,
        progress: OnProgress<'_>,
    ) -> Result<Backup, BackupError> {
        // The base has a moment of its own, if nobody writes in between.
        let told = self.tell_time().await?;
        let Copied { hold, kept } = self.hold().await?;
        let block = *hold.superblock();
        let mut copy = Copy { db: self, target: &*target, number, objects: Vec::new() };
        let segments = copy.pages(&hold, progress).await?;
        copy.values(&segments, progress).await?;
        let objects = copy.objects;
        drop(hold);
        let manifest = self.engine().expect("it has files").manifest().clone();
        let base = Moment { version: block.lsn, time: told.time };
        // Else the first time is that of the first record that tells one.
        let time = if told.version == block.lsn { told.time } else { 0 };
        let inventory = Inventory {
            number: number - 1,
            taken_at: 0,
            manifest,
            superblock: block,
            from: Moment { time, ..base },
            to: base,
            objects,
        };
        Ok(Backup { db: self.clone(), target, inventory, kept, is_full: true })
    }
}

impl Backup {
    /// Copies what was written since, as a further backup with the same base; if a keyspace was
    /// loaded since ([`Database::load_keyspace`]), with a new one. Returns where it reaches now.
    ///
    /// # Errors
    /// As [`Database::backup`]; the backup reaches to where it did, and this can be tried again.
    pub async fn advance(&mut self, progress: OnProgress<'_>) -> Result<Moment, BackupError> {
        let is_new = self.db.newest() > self.inventory.to.version;
        if is_new && !self.copy_journal(false, progress).await? {
            let (target, number) = (Arc::clone(&self.target), self.inventory.number + 1);
            *self = self.db.full(target, number, progress).await?;
        }
        Ok(self.inventory.to)
    }

    /// What it consists of.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Whether it copied a base, and did not go on with an earlier one.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Copies the journal up to now, and makes it count. Whether that is all: behind a new base it
    /// ends before the first load. Elsewhere a load means that nothing of it counts.
    async fn copy_journal(
        &mut self,
        is_base: bool,
        progress: OnProgress<'_>,
    ) -> Result<bool, BackupError> {
        let mut next = self.inventory.clone();
        next.number += 1;
        next.to = self.db.tell_time().await?;
        let first = self.inventory.to.version.next();
        let mut history = journal(&self.db, first, next.to.version.next()).await?;
        let mut part = Piece { first, ..Piece::default() };
        let mut time = self.inventory.to.time;
        let mut load = None;
        'all: while history.frame().await.map_err(Error::from)? {
            for (lsn, record) in history.records() {
                if has_load(record) {
                    load = Some(lsn);
                    break 'all;
                }
                if let Some(told) = time_of(record) {
                    time = time.max(told);
                    if next.from.time == 0 {
                        next.from = Moment { version: lsn, time: told };
                    }
                }
                part.records.push(|out| out.extend_from_slice(record));
            }
            if part.records.len() >= PART {
                self.put_journal(&mut part, &mut next, progress).await?;
            }
        }
        if let Some(load) = load {
            if !is_base {
                return Ok(false);
            }
            next.to = Moment { version: load.previous(), time };
        }
        self.put_journal(&mut part, &mut next, progress).await?;
        let (copied, wanted) = (part.first, next.to.version.next());
        assert_eq!(copied, wanted, "the journal was copied to its end");
        let _tolerated = clock_bound!(self.db.cx(), "backup: when it was taken", 1_000_000_000);
        next.taken_at = self.db.cx().wall().millis();
        self.target.put(&next.name(), next.encode()).await?;
        self.inventory = next;
        self.kept.move_to(wanted);
        Ok(load.is_none())
    }

    async fn put_journal(
        &self,
        part: &mut Piece,
        to: &mut Inventory,
        progress: OnProgress<'_>,
    ) -> Result<(), BackupError> {
        let records = std::mem::take(&mut part.records);
        if records.is_empty() {
            return Ok(());
        }
        let first = part.first;
        let last = first.plus(u64::from(records.count())).previous();
        part.first = last.next();
        let name = format!("{:06}-journal-{:020}", to.number, first.0);
        let kind = Part::Journal { first, last };
        to.objects.push(put(&*self.target, name, kind, records.bytes().to_vec()).await?);
        part.done += records.len() as u64;
        progress(Progress { stage: Stage::Journal, done: part.done, total: part.done });
        Ok(())
    }
}

/// Records that are not put yet.
#[derive(Default)]
struct Piece {
    first: Lsn,
    records: Records,
    /// Bytes that are put.
    done: u64,
}

/// The journal of an open database from `first` on and before `end`.
async fn journal(db: &Database, first: Lsn, end: Lsn) -> Result<History, JournalError> {
    let engine = db.engine().expect("it has files");
    let dir = format!("{}/{WAL}", engine.options.dir);
    let origin = Origin { database: Some(engine.manifest().database), from: first };
    follow(db.cx(), &dir, origin, end).await
}

/// A base being copied.
struct Copy<'a> {
    db: &'a Database,
    target: &'a dyn Target,
    number: u64,
    objects: Vec<Object>,
}

impl Copy<'_> {
    /// Copies the pages of a generation. Returns its value segments.
    async fn pages(
        &mut self,
        hold: &Hold,
        progress: OnProgress<'_>,
    ) -> Result<Vec<SegmentUse>, BackupError> {
        let engine = Arc::clone(self.db.engine().expect("it has files"));
        let block: &Superblock = hold.superblock();
        let total = hold.units().count().saturating_sub(1) * UNIT as u64;
        let (mut walk, catalogue) = PageWalk::begin(engine.pager(), engine.values(), block).await?;
        let (mut buffer, mut count, mut done) = (Vec::new(), 0, 0);
        loop {
            let page = walk.next().await?;
            let is_last = page.is_none();
            buffer.extend(page.into_iter().flatten());
            if buffer.len() >= PART || is_last && !buffer.is_empty() {
                count += 1;
                done += buffer.len() as u64;
                let name = format!("{:06}-pages-{count:06}", self.number);
                let bytes = std::mem::take(&mut buffer);
                self.objects.push(put(self.target, name, Part::Pages, bytes).await?);
                progress(Progress { stage: Stage::Pages, done, total: total.max(done) });
            }
            if is_last {
                return Ok(catalogue.segments);
            }
        }
    }

    /// Copies value segments, as far as they count.
    async fn values(
        &mut self,
        segments: &[SegmentUse],
        progress: OnProgress<'_>,
    ) -> Result<(), BackupError> {
        let engine = Arc::clone(self.db.engine().expect("it has files"));
        let total = segments.iter().map(|segment| segment.bytes).sum();
        let mut done = 0;
        for SegmentUse { number, bytes, .. } in segments {
            let path = engine.values().path(*number);
            let file = self.db.cx().open(&path, OpenMode::Read).await?;
            let mut offset = 0;
            while offset < *bytes {
                let len = (bytes - offset).min(PART as u64);
                let read = read_stubbornly(&file, offset, len as usize).await?;
                if (read.len() as u64) < len {
                    let (file, offset) = (path, offset + read.len() as u64);
                    let what = Fault::Value(RecordFault::Short);
                    let corrupt = Corrupt { file, offset, what, keys: None };
                    return Err(Error::Corrupt(Box::new(corrupt)).into());
                }
                let name = format!("{:06}-values-{number:06}-{offset:012}", self.number);
                let part = Part::Values { segment: *number, offset };
                self.objects.push(put(self.target, name, part, read).await?);
                offset += len;
                done += len;
                progress(Progress { stage: Stage::Values, done, total });
            }
        }
        Ok(())
    }
}
