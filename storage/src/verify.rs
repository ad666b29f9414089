//! Looking at a database without opening it: whether every byte of it is what it must be, and what
//! is in it.
//!
//! [`Offline`] takes the directory's lock and changes nothing. [`Offline::verify`] walks everything
//! that either generation refers to, the value log, the journal and what it loads, and goes on
//! behind whatever it finds damaged, so one run tells all. It uses the decoders that the database
//! itself uses, and besides compares what they do not need to: both ways of each reference, and
//! both copies of what stands twice. `docs/src/engine.md` has the invariants.

mod copies;
mod finding;
mod journal;
mod offline;
mod online;
mod pages;
mod values;

use std::collections::{BTreeMap, BTreeSet};

pub use finding::{Defect, Finding, Grade, Report, Totals};
pub use offline::{KeyspaceStats, Offline, Stats};

use orloj_kernel::Context;

use crate::{
    Error, KeyspaceId, Lsn,
    engine::Engine,
    manifest::Manifest,
    page::{Claim, PagePtr, ValuePointer},
    pager::{Bits, Pager},
    superblock::Found,
    vlog::{SegmentUse, ValueLog},
};

/// What is being walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The pages of both generations.
    Pages,
    /// The segments of the value log.
    Values,
    /// The journal.
    Journal,
}

/// How far a walk got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being walked.
    pub stage: Stage,
    /// Bytes of it that are done.
    pub done: u64,
    /// Bytes of it in all.
    pub total: u64,
}

/// Who is told how far a walk got.
pub type OnProgress<'a> = &'a mut (dyn FnMut(Progress) + Send);

impl Offline {
    /// Walks everything, telling `progress` how far it got.
    ///
    /// References to long values are kept in memory while it runs, about a hundred bytes each.
    ///
    /// # Errors
    /// [`Error::Disk`] where a directory cannot be listed or a file not be opened. A device that
    /// fails at some place within a file is a finding.
    pub async fn verify(&self, progress: OnProgress<'_>) -> Result<Report, Error> {
        let source = Source {
            cx: self.cx,
            dir: self.dir.clone(),
            manifest: &self.manifest,
            found: self.found.clone(),
            pager: self.pager.as_ref(),
            values: &self.values,
            online: None,
        };
        source.verify(progress).await
    }
}

/// What is walked: a database that nobody has open, or one generation of an open one.
struct Source<'a> {
    cx: Context,
    dir: String,
    manifest: &'a Manifest,
    found: Found,
    pager: Option<&'a Pager>,
    values: &'a ValueLog,
    /// If it is open.
    online: Option<&'a Engine>,
}

impl Source<'_> {
    async fn verify(self, progress: OnProgress<'_>) -> Result<Report, Error> {
        let newest = self.found.newest;
        let mut walk = Walk {
            source: self,
            report: Report::default(),
            known: BTreeSet::new(),
            references: BTreeMap::new(),
            segments: BTreeMap::new(),
            used: Bits::default(),
            loads: Vec::new(),
            is_complete: true,
            progress,
        };
        walk.copies().await?;
        walk.pages().await?;
        walk.values().await?;
        walk.journal().await?;
        walk.loads().await?;
        walk.report.generation = newest.map_or(0, |block| block.generation);
        walk.report.lsn = newest.map_or(Lsn(0), |block| block.lsn);
        Ok(walk.report)
    }

    /// The error of a file of pages that is not there.
    fn no_pages(&self) -> Error {
        let file = format!("{}/{}", self.dir, crate::pager::DATA_PAGES);
        let what = crate::Fault::Missing;
        Error::Corrupt(Box::new(crate::Corrupt { file, offset: 0, what, keys: None }))
    }

    /// Whether checkpoints have gone on since the generation that is walked.
    fn has_moved_on(&self) -> bool {
        let known = self.found.newest.map_or(0, |block| block.generation);
        let newest = self.online.and_then(Engine::newest);
        newest.is_some_and(|block| block.generation > known)
    }
}

/// A walk that is under way.
struct Walk<'a> {
    source: Source<'a>,
    report: Report,
    /// Places of findings. Two generations share most of their pages, and one finding is enough.
    known: BTreeSet<(String, u64)>,
    /// Every long value that a page refers to, by segment and offset.
    references: BTreeMap<(u32, u64), Reference>,
    /// Value segments that a catalogue lists: how much of each counts, and what the newest
    /// generation says of it.
    segments: BTreeMap<u32, Listed>,
    /// Units in which pages of the newest generation lie, and of what was loaded since.
    used: Bits,
    /// What the journal loads, as far as it was read.
    loads: Vec<Load>,
    /// Whether every reference could be followed. If not, what seems to have none may have one.
    is_complete: bool,
    progress: OnProgress<'a>,
}

/// An entry whose value is in the value log.
struct Reference {
    grade: Grade,
    keyspace: KeyspaceId,
    key: Vec<u8>,
    version: Lsn,
    pointer: ValuePointer,
}

/// A record of the journal that gives a keyspace another tree.
struct Load {
    lsn: Lsn,
    keyspace: KeyspaceId,
    root: PagePtr,
    claim: Claim,
}

/// A value segment as catalogues know it.
#[derive(Default)]
struct Listed {
    bytes: u64,
    newest: Option<SegmentUse>,
}

impl Walk<'_> {
    /// Notes a finding, unless there is one of that place already.
    fn note(&mut self, finding: Finding) {
        if self.known.insert((finding.file.clone(), finding.offset)) {
            self.report.findings.push(finding);
        }
    }

    /// Notes what an error says about a place; errors that concern no place are returned.
    fn note_error(&mut self, grade: Grade, error: Error, at: (String, u64)) -> Result<(), Error> {
        let finding = match error {
            Error::Corrupt(corrupt) => {
                let (file, offset, keys) = (corrupt.file, corrupt.offset, corrupt.keys);
                Finding { grade, file, offset, keys, what: corrupt.what.into() }
            }
            Error::Disk(e) => {
                let what = Defect::Unreadable(e.kind);
                Finding { grade, file: at.0, offset: at.1, keys: None, what }
            }
            error => return Err(error),
        };
        self.note(finding);
        Ok(())
    }

    fn tell(&mut self, stage: Stage, done: u64, total: u64) {
        (self.progress)(Progress { stage, done, total });
    }
}

#[cfg(test)]
mod tests;
