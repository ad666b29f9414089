//! The writing end of the value log. One owner.

use std::sync::Arc;

use orloj_kernel::{Context, DiskError, OpenMode, mutant, sometimes};

use super::{
    VLOG,
    format::{FIRST_RECORD, Record, SegmentHead, encode, file_name, record_size},
    read::Segment,
};
use crate::{journal::DatabaseId, page::ValuePointer};

/// Most bytes of records that are written at once.
const RUN: usize = 1 << 20;

/// Where the log ends, as a superblock says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// The newest segment; 0 if there is none.
    pub segment: u32,
    /// Bytes of it that count.
    pub bytes: u64,
}

/// Appends records. What it was given counts once [`Appender::sync`] returned and a superblock says
/// so; what was not is cut off by the next opening.
#[derive(Debug)]
pub struct Appender {
    cx: Context,
    dir: String,
    database: DatabaseId,
    segment_bytes: u64,
    /// The segment written to.
    current: Option<Arc<Segment>>,
    /// Where the next record goes, and records before it that are not written yet.
    offset: u64,
    buffer: Vec<u8>,
    /// The newest number ever given.
    number: u32,
    /// Segments with something that is not synced.
    unsynced: Vec<Arc<Segment>>,
    /// Whether a segment was made since the directory was synced.
    made: bool,
}

impl Appender {
    /// Goes on behind segment `newest`, 0 for none. Every opening begins a segment of its own, once
    /// there is something to write: what a power cut left of the one before is never touched.
    pub fn new(
        cx: Context,
        dir: &str,
        database: DatabaseId,
        segment_bytes: u64,
        newest: u32,
    ) -> Appender {
        Appender {
            cx,
            dir: format!("{dir}/{VLOG}"),
            database,
            segment_bytes,
            current: None,
            offset: 0,
            buffer: Vec::new(),
            number: newest,
            unsynced: Vec::new(),
            made: false,
        }
    }

    /// Appends `record`, which may be read once [`Appender::flush`] returned.
    ///
    /// # Errors
    /// Records that were not flushed are lost, and what refers to them leads nowhere.
    pub async fn append(&mut self, record: &Record<'_>) -> Result<ValuePointer, DiskError> {
        let size = record_size(record.key.len(), record.value.len()) as u64;
        let full = self.offset + size > self.segment_bytes && self.offset > FIRST_RECORD;
        if self.current.is_none() || full {
            self.roll().await?;
        }
        let segment = self.current.as_ref().expect("there is one now");
        let pointer = encode(&mut self.buffer, &segment.head, self.offset, record);
        self.offset += size;
        if self.buffer.len() >= RUN {
            self.flush().await?;
        }
        Ok(pointer)
    }

    /// Writes what waits, so that it can be read.
    ///
    /// # Errors
    /// As [`Appender::append`].
    pub async fn flush(&mut self) -> Result<(), DiskError> {
        let Some(segment) = self.current.clone().filter(|_| !self.buffer.is_empty()) else {
            return Ok(());
        };
        let buffer = std::mem::take(&mut self.buffer);
        let start = self.offset - buffer.len() as u64;
        if !self.unsynced.iter().any(|s| s.head.number == segment.head.number) {
            self.unsynced.push(segment.clone());
        }
        match segment.file.write_at(start, buffer).await {
            Ok(buffer) => self.buffer = buffer,
            Err(e) => {
                // The bytes there are anything now: nothing shall refer to them.
                (self.current, self.offset) = (None, start);
                return Err(e);
            }
        }
        self.buffer.clear();
        Ok(())
    }

    /// Makes everything appended survive a power cut. Returns where the log ends.
    ///
    /// # Errors
    /// As [`Appender::append`]; if a sync failed, no checkpoint may rest on the log any more.
    pub async fn sync(&mut self) -> Result<LogEnd, DiskError> {
        self.flush().await?;
        for segment in &self.unsynced {
            if !mutant!(self.cx, "vlog.segments_are_not_synced") {
                segment.file.sync().await?;
            }
        }
        self.unsynced.clear();
        if self.made && !mutant!(self.cx, "vlog.name_is_not_synced") {
            self.cx.sync_dir(&self.dir).await?;
            self.made = false;
        }
        Ok(LogEnd { segment: self.number, bytes: self.offset })
    }

    /// Bytes of the segment that is written to.
    pub fn end(&self) -> u64 {
        self.offset
    }

    /// The segment that is written to, if any: it is not closed, and not to be collected.
    pub fn current(&self) -> Option<u32> {
        self.current.as_ref().map(|segment| segment.head.number)
    }

    /// The next record begins a segment, so that this one can be collected.
    ///
    /// # Errors
    /// As [`Appender::append`].
    pub async fn end_segment(&mut self) -> Result<(), DiskError> {
        self.flush().await?;
        if self.current.is_some() && self.offset > FIRST_RECORD {
            self.current = None;
        }
        Ok(())
    }

    async fn roll(&mut self) -> Result<(), DiskError> {
        self.flush().await?;
        self.number += 1;
        let head =
            SegmentHead { database: self.database, number: self.number, salt: self.cx.entropy() };
        let path = format!("{}/{}", self.dir, file_name(self.number));
        let file = self.cx.open(&path, OpenMode::CreateNew).await?;
        self.made = true;
        let segment = Arc::new(Segment { head, file });
        let written = segment.file.write_at(0, head.encode()).await;
        if let Err(e) = written {
            (self.current, self.offset) = (None, 0);
            let _ = self.cx.remove(&path).await;
            return Err(e);
        }
        sometimes!(self.cx, self.number > 1, "vlog: a segment followed another");
        self.unsynced.push(segment.clone());
        (self.current, self.offset) = (Some(segment), FIRST_RECORD);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
