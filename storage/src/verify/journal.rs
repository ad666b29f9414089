//! The journal, as a recovery from either generation would read it.

use orloj_kernel::DiskErrorKind;

use super::{Defect, Finding, Grade, Stage, Walk};
use crate::{
    Error, JournalError, Lsn,
    journal::{Origin, Recovery, inspect},
    record::ops,
    recover::WAL,
};

impl Walk<'_> {
    pub(super) async fn journal(&mut self) -> Result<(), Error> {
        let (newest, other) = (self.offline.found.newest, self.offline.found.other);
        let checkpoint = newest.map_or(Lsn(0), |block| block.lsn);
        // What the older generation needs was kept; if its superblock is gone, nobody knows it.
        let oldest = match (newest, other) {
            (_, Some(other)) => other.lsn,
            (Some(newest), None) if newest.generation > 1 => newest.lsn,
            _ => Lsn(0),
        };
        let (_, total) = self.offline.journal_files().await?;
        self.tell(Stage::Journal, 0, total);
        let mut read = self.read(oldest).await;
        if let Err(first) = read {
            let behind = match oldest < checkpoint {
                true => self.read(checkpoint).await,
                false => Err(first.clone()),
            };
            // What only the older generation needs is no loss as long as the newest is whole.
            let grade = if behind.is_ok() { Grade::Reserve } else { Grade::Damage };
            self.note_journal(grade, first);
            read = behind;
        }
        match read {
            Ok(recovery) => {
                let totals = &mut self.report.totals;
                (totals.records, totals.journal_bytes) = (recovery.records, recovery.bytes);
                totals.cut_bytes = recovery.cut.map_or(0, |cut| cut.bytes);
                let last = recovery.last;
                if last < checkpoint {
                    let what = Defect::Ends { last, checkpoint };
                    let file = format!("{}/{WAL}", self.offline.dir);
                    self.note(Finding { grade: Grade::Damage, file, offset: 0, keys: None, what });
                }
            }
            Err(second) => self.note_journal(Grade::Damage, second),
        }
        self.tell(Stage::Journal, total, total);
        Ok(())
    }

    async fn read(&mut self, after: Lsn) -> Result<Recovery, JournalError> {
        let offline = self.offline;
        let origin = Origin { database: Some(offline.manifest.database), from: after.next() };
        let mut operations = 0;
        let mut count = |_: Lsn, record: &[u8]| {
            ops(record).all(|op| {
                operations += 1;
                op.is_ok()
            })
        };
        let dir = format!("{}/{WAL}", offline.dir);
        let read = inspect(offline.cx, &dir, origin, &mut count).await;
        self.report.totals.operations = operations;
        read
    }

    fn note_journal(&mut self, grade: Grade, error: JournalError) {
        let dir = format!("{}/{WAL}", self.offline.dir);
        let (file, offset, what) = match error {
            JournalError::Damaged { file, offset, lsn, damage } => {
                (file, offset, Defect::Record { lsn, damage })
            }
            JournalError::Missing { file, lsn } => (file, 0, Defect::NoRecords(lsn)),
            JournalError::Foreign { file, what } => {
                (file, 0, Defect::Journal(format!("it {what}")))
            }
            JournalError::Newer { ref file, .. } => {
                (file.clone(), 0, Defect::Journal(error.to_string()))
            }
            JournalError::Disk(e) if e.kind == DiskErrorKind::NotFound && e.path == dir => {
                (dir.clone(), 0, Defect::NoRecords(Lsn(0)))
            }
            JournalError::Disk(e) => (e.path, 0, Defect::Unreadable(e.kind)),
        };
        let file = if file.contains('/') { file } else { format!("{dir}/{file}") };
        self.note(Finding { grade, file, offset, keys: None, what });
    }
}
