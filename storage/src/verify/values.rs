//! The value log, in both directions: every record a page refers to is there, and every record that
//! is there is referred to or known to be dead.

use super::{Defect, Finding, Grade, Listed, Reference, Stage, Walk};
use crate::{
    Error, Fault,
    page::ValuePointer,
    vlog::{Record, Scan, record_size},
};

impl Walk<'_> {
    pub(super) async fn values(&mut self) -> Result<(), Error> {
        let total: u64 = self.segments.values().map(|listed| listed.bytes).sum();
        let mut done = 0;
        let segments = std::mem::take(&mut self.segments);
        for (&number, listed) in &segments {
            self.tell(Stage::Values, done, total);
            done += listed.bytes;
            match self.source.values.scan(number, listed.bytes).await {
                Ok(scan) => self.segment(number, listed, scan).await?,
                Err(error) => self.lost_segment(number, error)?,
            }
        }
        self.tell(Stage::Values, total, total);
        for number in self.value_segments().await? {
            let is_known = self.source.online.is_some() || segments.contains_key(&number);
            if self.is_complete && !is_known {
                self.waste(number, Defect::Unlisted);
            }
        }
        // What is left was met by no scan.
        for (at, reference) in std::mem::take(&mut self.references) {
            self.dangling(at, reference);
        }
        Ok(())
    }

    async fn segment(&mut self, number: u32, listed: &Listed, mut scan: Scan) -> Result<(), Error> {
        let mut dead = 0;
        loop {
            let error = match scan.next().await {
                Ok(None) => break,
                Ok(Some((record, pointer))) => {
                    let size = record_size(record.key.len(), record.value.len()) as u64;
                    match self.references.remove(&(number, pointer.offset)) {
                        Some(reference) if reference.is_to(&record, pointer) => {
                            self.report.totals.values += 1;
                            self.report.totals.value_bytes += size;
                        }
                        Some(reference) => self.dangling((number, pointer.offset), reference),
                        None => dead += size,
                    }
                    continue;
                }
                Err(error) => error,
            };
            // A length that is damaged says nothing of where the next record begins, but pages do.
            let at = match &error {
                Error::Corrupt(corrupt) => corrupt.offset,
                _ => scan.at(),
            };
            match self.references.remove(&(number, at)) {
                Some(reference) => self.damaged(error, (number, at), reference)?,
                None => {
                    let file = self.source.values.path(number);
                    self.note_error(Grade::Waste, error, (file, at))?;
                }
            }
            let next = self.references.range((number, at)..=(number, u64::MAX)).next();
            match next.map(|((_, offset), _)| *offset).filter(|next| *next < listed.bytes) {
                Some(next) => scan.skip_to(next),
                None => break,
            }
        }
        self.report.totals.dead_bytes += dead;
        match listed.newest {
            Some(known) if known.dead < dead && self.is_complete => {
                self.waste(number, Defect::Unreferenced { bytes: dead, dead: known.dead });
            }
            _ => {}
        }
        Ok(())
    }

    /// A record that is needed and damaged.
    fn damaged(&mut self, error: Error, at: (u32, u64), of: Reference) -> Result<(), Error> {
        let error = match error {
            Error::Corrupt(mut corrupt) => {
                let behind = [&of.key[..], &[0]].concat();
                corrupt.keys = Some((of.keyspace, of.key, Some(behind)));
                Error::Corrupt(corrupt)
            }
            error => error,
        };
        self.note_error(of.grade, error, (self.source.values.path(at.0), at.1))
    }

    /// One finding for all that was in it.
    fn lost_segment(&mut self, number: u32, error: Error) -> Result<(), Error> {
        let fault = match error {
            Error::Corrupt(corrupt) => corrupt.what,
            Error::Disk(_) => Fault::ValueSegment,
            error => return Err(error),
        };
        let in_it: Vec<u64> = self
            .references
            .range((number, 0)..=(number, u64::MAX))
            .map(|((_, offset), _)| *offset)
            .collect();
        let mut grade = Grade::Waste;
        for offset in &in_it {
            if let Some(reference) = self.references.remove(&(number, *offset)) {
                grade = grade.min(reference.grade);
            }
        }
        let (file, values) = (self.source.values.path(number), in_it.len() as u64);
        let what = Defect::Segment { fault, values };
        self.note(Finding { grade, file, offset: 0, keys: None, what });
        Ok(())
    }

    fn dangling(&mut self, (segment, offset): (u32, u64), of: Reference) {
        let behind = [&of.key[..], &[0]].concat();
        let keys = Some((of.keyspace, of.key, Some(behind)));
        let (file, what) = (self.source.values.path(segment), Defect::Dangling(of.version));
        self.note(Finding { grade: of.grade, file, offset, keys, what });
    }

    fn waste(&mut self, segment: u32, what: Defect) {
        let file = self.source.values.path(segment);
        self.note(Finding { grade: Grade::Waste, file, offset: 0, keys: None, what });
    }
}

impl Reference {
    fn is_to(&self, record: &Record<'_>, pointer: ValuePointer) -> bool {
        self.pointer == pointer
            && (self.keyspace, &self.key[..], self.version)
                == (record.keyspace, record.key, record.version)
    }
}
