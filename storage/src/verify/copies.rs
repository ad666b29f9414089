//! What stands twice: manifest, superblocks, heads of segments.
//!
//! One intact copy is enough for the database, so nobody else would notice that the other is gone.

use orloj_kernel::{Context, DiskError, DiskErrorKind, OpenMode};

use super::{Defect, Finding, Grade, Walk};
use crate::{
    Error, Fault,
    disk::read_stubbornly,
    journal::{FIRST_FRAME, SegmentHeader, number_of},
    manifest::MANIFEST,
    recover::WAL,
    superblock::{FORMAT, SECOND_COPY, SUPERBLOCK, Side, Superblock, SuperblockError},
    vlog::SegmentHead,
};

/// Most bytes of the files and heads that are compared; the longest has fewer.
const MOST: usize = 2 * SECOND_COPY + SUPERBLOCK;

/// The beginning of a file; `None` if it is not there.
async fn beginning(cx: Context, path: &str, most: usize) -> Result<Option<Vec<u8>>, DiskError> {
    match cx.open(path, OpenMode::Read).await {
        Err(e) if e.kind == DiskErrorKind::NotFound => Ok(None),
        file => read_stubbornly(&file?, 0, most).await.map(Some),
    }
}

/// Where `found` and `expected` begin to differ.
fn difference(found: &[u8], expected: &[u8]) -> Option<u64> {
    let same = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
    (same < found.len().max(expected.len())).then_some(same as u64)
}

impl Walk<'_> {
    pub(super) async fn copies(&mut self) -> Result<(), Error> {
        let (cx, dir) = (self.source.cx, self.source.dir.clone());
        // A later minor version may say more than this release would.
        let is_own = self.source.manifest.minor == FORMAT.1;
        let path = format!("{dir}/{MANIFEST}");
        if let Some(bytes) = beginning(cx, &path, MOST).await?.filter(|_| is_own) {
            self.compare(path, &bytes, &self.source.manifest.encode());
        }
        self.is_complete = self.source.found.damaged.is_empty();
        for side in [Side::A, Side::B] {
            // The other one is about to be written, and this one when there is a newer one.
            let newest = self.source.found.newest;
            let is_held = newest.is_some_and(|block| Side::of(block.generation) == side);
            if self.source.online.is_some() && !is_held {
                continue;
            }
            let path = format!("{dir}/{}", side.file_name());
            let Some(bytes) = beginning(cx, &path, MOST).await? else {
                // Every checkpoint but the first leaves two.
                if self.source.found.newest.is_some_and(|block| block.generation > 1) {
                    self.is_complete = false;
                    self.reserve(path, 0, Defect::Fault(Fault::Missing));
                }
                continue;
            };
            if self.source.has_moved_on() {
                continue;
            }
            match Superblock::decode(&bytes) {
                Ok(block) if self.source.found.damaged.contains(&side) => {
                    let is_ours = block.database == self.source.manifest.database;
                    let damaged = Defect::Superblock(SuperblockError::Damaged);
                    let is_here = is_ours && Side::of(block.generation) == side;
                    self.reserve(path, 0, if is_here { damaged } else { Defect::Foreign });
                }
                Ok(block) if is_own => self.compare(path, &bytes, &block.encode()),
                Ok(_) => {}
                Err(cause) => self.reserve(path, 0, Defect::Superblock(cause)),
            }
        }
        self.heads().await
    }

    /// Heads of segments of which neither copy is intact are found by whoever needs them.
    async fn heads(&mut self) -> Result<(), Error> {
        let (cx, dir) = (self.source.cx, self.source.dir.clone());
        for number in self.value_segments().await? {
            let path = self.source.values.path(number);
            let bytes = self.head(cx, &path).await?;
            if let Some(head) = SegmentHead::decode(&bytes) {
                self.compare(path, &bytes, &head.encode());
            }
        }
        let wal = format!("{dir}/{WAL}");
        let entries = match cx.list(&wal).await {
            Err(e) if e.kind == DiskErrorKind::NotFound => return Ok(()),
            listed => listed?,
        };
        for entry in entries.iter().filter(|entry| number_of(&entry.name).is_some()) {
            let path = format!("{wal}/{}", entry.name);
            let bytes = self.head(cx, &path).await?;
            if let Ok(head) = SegmentHeader::decode(&bytes) {
                self.compare(path, &bytes, &head.encode());
            }
        }
        Ok(())
    }

    /// The numbers of the value segments that are there.
    pub(super) async fn value_segments(&mut self) -> Result<Vec<u32>, Error> {
        match self.source.values.list().await {
            Err(e) if e.kind == DiskErrorKind::NotFound => Ok(Vec::new()),
            listed => Ok(listed?),
        }
    }

    /// The head of a segment; nothing if it cannot be read.
    async fn head(&mut self, cx: Context, path: &str) -> Result<Vec<u8>, Error> {
        match beginning(cx, path, FIRST_FRAME as usize).await {
            Ok(bytes) => Ok(bytes.unwrap_or_default()),
            Err(e) => {
                self.note_error(Grade::Reserve, e.into(), (path.to_owned(), 0))?;
                Ok(Vec::new())
            }
        }
    }

    fn compare(&mut self, file: String, found: &[u8], expected: &[u8]) {
        if let Some(offset) = difference(found, expected) {
            self.reserve(file, offset, Defect::Copy);
        }
    }

    fn reserve(&mut self, file: String, offset: u64, what: Defect) {
        self.note(Finding { grade: Grade::Reserve, file, offset, keys: None, what });
    }
}
