//! The journal, as a recovery from either generation would read it.

use std::time::Duration;

use orloj_kernel::DiskErrorKind;

use super::{Defect, Finding, Grade, Load, Stage, Walk, offline::journal_files};
use crate::{
    Error, JournalError, Lsn,
    journal::{Origin, Recovery, inspect},
    page::Claim,
    record::{Op, ops},
    recover::WAL,
};

/// How often the journal of an open database is read before damage is believed, and the rest
/// between.
const ONLINE_READS: usize = 5;
const ONLINE_REST: Duration = Duration::from_millis(20);

impl Walk<'_> {
    pub(super) async fn journal(&mut self) -> Result<(), Error> {
        let (newest, other) = (self.source.found.newest, self.source.found.other);
        let checkpoint = newest.map_or(Lsn(0), |block| block.lsn);
        // What the older generation needs was kept; if its superblock is gone, nobody knows it.
        let oldest = match (newest, other) {
            (_, Some(other)) => other.lsn,
            (Some(newest), None) if newest.generation > 1 => newest.lsn,
            _ => Lsn(0),
        };
        let (_, total) = journal_files(self.source.cx, &self.source.dir).await?;
        self.tell(Stage::Journal, 0, total);
        let mut read = self.read(oldest).await;
        if self.source.online.is_some() {
            // It is written to meanwhile: what was half there is whole a moment later. What the
            // generation needs may be trimmed as soon as there are two newer ones.
            for _ in 0..ONLINE_READS {
                let Err(before) = read else { break };
                if self.source.has_moved_on() {
                    return Ok(());
                }
                self.source.cx.sleep(ONLINE_REST).await;
                read = self.read(oldest).await;
                if read.as_ref().is_err_and(|now| *now == before) {
                    break;
                }
            }
            if read.is_err() && self.source.has_moved_on() {
                return Ok(());
            }
        }
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
                    let file = format!("{}/{WAL}", self.source.dir);
                    self.note(Finding { grade: Grade::Damage, file, offset: 0, keys: None, what });
                }
            }
            Err(second) => self.note_journal(Grade::Damage, second),
        }
        self.tell(Stage::Journal, total, total);
        Ok(())
    }

    /// Walks what the journal loads. In an open database what it does not know to be durable may
    /// be taken back, and what a checkpoint has taken over meanwhile may be gone.
    pub(super) async fn loads(&mut self) -> Result<(), Error> {
        let found = self.report.findings.len();
        for load in std::mem::take(&mut self.loads) {
            self.load(&load).await?;
        }
        if self.source.has_moved_on() {
            self.report.findings.truncate(found);
        }
        Ok(())
    }

    async fn read(&mut self, after: Lsn) -> Result<Recovery, JournalError> {
        let source = &self.source;
        let origin = Origin { database: Some(source.manifest.database), from: after.next() };
        let durable = source.online.map_or(Lsn(u64::MAX), |of| of.tree.tail().last_durable());
        let mut operations = 0;
        self.loads.clear();
        let loads = &mut self.loads;
        let mut count = |lsn: Lsn, record: &[u8]| {
            ops(record).all(|op| {
                operations += 1;
                if let Ok(Op::Load { keyspace, root, units }) = op
                    && lsn <= durable
                {
                    let claim = Claim::decode(units).expect("the operation makes sense");
                    loads.push(Load { lsn, keyspace, root, claim });
                }
                op.is_ok()
            })
        };
        let dir = format!("{}/{WAL}", source.dir);
        let read = inspect(source.cx, &dir, origin, &mut count).await;
        self.report.totals.operations = operations;
        read
    }

    fn note_journal(&mut self, grade: Grade, error: JournalError) {
        let dir = format!("{}/{WAL}", self.source.dir);
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
