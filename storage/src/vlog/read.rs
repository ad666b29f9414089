//! Reading values, one by one as a leaf refers to them, or a segment as a whole.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use orloj_kernel::{Context, DiskError, DiskErrorKind, File, OpenMode, sometimes};

use super::{
    VLOG,
    format::{
        FIRST_RECORD, RECORD_HEAD, Record, RecordFault, SegmentHead, decode, file_name, number_of,
        record_size,
    },
};
use crate::{
    Corrupt, Error, KeyspaceId, Lsn,
    disk::{READS, read_stubbornly, remove_if_there},
    encoding::Reader,
    error::Fault,
    journal::DatabaseId,
    page::ValuePointer,
};

/// Bytes that a scan reads at once.
const WINDOW: usize = 1 << 20;

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) head: SegmentHead,
    pub(super) file: File,
}

/// Why a segment cannot be opened.
#[derive(Debug)]
enum OpenError {
    Disk(DiskError),
    /// It is none of this database.
    Head,
}

impl From<DiskError> for OpenError {
    fn from(e: DiskError) -> OpenError {
        OpenError::Disk(e)
    }
}

impl Segment {
    async fn open(cx: Context, path: &str, database: DatabaseId) -> Result<Segment, OpenError> {
        let file = cx.open(path, OpenMode::Read).await?;
        for _ in 0..READS {
            let image = read_stubbornly(&file, 0, FIRST_RECORD as usize).await?;
            match SegmentHead::decode(&image) {
                Some(head) if head.database == database => return Ok(Segment { head, file }),
                Some(_) => break,
                None => {}
            }
        }
        Err(OpenError::Head)
    }
}

/// The reading end of the value log. Everything may be called concurrently.
#[derive(Debug)]
pub struct ValueLog {
    cx: Context,
    dir: String,
    database: DatabaseId,
    open: Mutex<BTreeMap<u32, Arc<Segment>>>,
}

impl ValueLog {
    /// The log of `database` in `dir`.
    pub fn new(cx: Context, dir: &str, database: DatabaseId) -> ValueLog {
        ValueLog { cx, dir: format!("{dir}/{VLOG}"), database, open: Mutex::default() }
    }

    pub(crate) fn path(&self, number: u32) -> String {
        format!("{}/{}", self.dir, file_name(number))
    }

    async fn segment(&self, number: u32) -> Result<Arc<Segment>, Error> {
        let open = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = open().get(&number) {
            return Ok(segment.clone());
        }
        let path = self.path(number);
        match Segment::open(self.cx, &path, self.database).await {
            Ok(segment) if segment.head.number == number => {
                let segment = Arc::new(segment);
                open().insert(number, segment.clone());
                Ok(segment)
            }
            Ok(_) | Err(OpenError::Head) => Err(corrupt(path, 0, Fault::ValueSegment)),
            Err(OpenError::Disk(e)) if e.kind == DiskErrorKind::NotFound => {
                Err(corrupt(path, 0, Fault::Missing))
            }
            Err(OpenError::Disk(e)) => Err(e.into()),
        }
    }

    /// The value that `at` refers to, of this version of this key.
    ///
    /// # Errors
    /// [`Error::Disk`] if the device fails, [`Error::Corrupt`] if it gives something else, both
    /// after three attempts. No other value is concerned.
    pub async fn read(
        &self,
        at: ValuePointer,
        keyspace: KeyspaceId,
        key: &[u8],
        version: Lsn,
    ) -> Result<Vec<u8>, Error> {
        let segment = self.segment(at.segment).await?;
        let size = record_size(at.key_len.into(), at.len as usize);
        let mut fault = RecordFault::Short;
        for attempt in 0..READS {
            let mut bytes = read_stubbornly(&segment.file, at.offset, size).await?;
            fault = match decode(&bytes, &segment.head, at.offset) {
                Ok((record, sum)) => {
                    let is_it = sum == at.sum
                        && record_size(record.key.len(), record.value.len()) == size
                        && (record.keyspace, record.key, record.version)
                            == (keyspace, key, version);
                    if is_it {
                        sometimes!(self.cx, attempt > 0, "vlog: a second reading was right");
                        let start = RECORD_HEAD + record.key.len();
                        return Ok(bytes.split_off(start));
                    }
                    RecordFault::Other
                }
                Err(fault) => fault,
            };
        }
        sometimes!(self.cx, true, "vlog: a damaged value was refused");
        let keys = Some((keyspace, key.to_vec(), Some([key, &[0]].concat())));
        let (file, what) = (self.path(at.segment), Fault::Value(fault));
        Err(Error::Corrupt(Box::new(Corrupt { file, offset: at.offset, what, keys })))
    }

    /// Reads a segment through, up to byte `end`.
    ///
    /// # Errors
    /// As [`ValueLog::read`].
    pub async fn scan(&self, number: u32, end: u64) -> Result<Scan, Error> {
        let segment = self.segment(number).await?;
        let (path, offset) = (self.path(number), FIRST_RECORD);
        Ok(Scan { segment, path, end, offset, window: Vec::new(), taken: 0 })
    }

    /// The numbers of the segments that are there.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn list(&self) -> Result<Vec<u32>, DiskError> {
        let entries = self.cx.list(&self.dir).await?;
        Ok(entries.iter().filter_map(|entry| number_of(&entry.name)).collect())
    }

    /// Removes a segment to which nobody refers.
    ///
    /// # Errors
    /// It is still there, and can be removed later.
    pub async fn remove(&self, number: u32) -> Result<(), DiskError> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        remove_if_there(self.cx, &self.path(number)).await
    }
}

/// Bytes of the record that begins with `head`.
fn size_of(head: &[u8]) -> Option<usize> {
    let mut from = Reader(head);
    let (_sum, len, _keyspace) = (from.u32()?, from.u32()?, from.u32()?);
    Some(record_size(from.u16()?.into(), len as usize))
}

fn corrupt(file: String, offset: u64, what: Fault) -> Error {
    Error::Corrupt(Box::new(Corrupt { file, offset, what, keys: None }))
}

/// A segment being read from its first record to its end.
#[derive(Debug)]
pub struct Scan {
    segment: Arc<Segment>,
    path: String,
    end: u64,
    /// Where `window` begins.
    offset: u64,
    window: Vec<u8>,
    /// Bytes of the window that were read.
    taken: usize,
}

impl Scan {
    /// The next record, and what refers to it; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: nothing behind that byte can be read. [`Error::Disk`].
    pub async fn next(&mut self) -> Result<Option<(Record<'_>, ValuePointer)>, Error> {
        let at = self.offset + self.taken as u64;
        if at == self.end {
            return Ok(None);
        }
        let head = self.fill(RECORD_HEAD).await?;
        let size = size_of(head).filter(|size| at + *size as u64 <= self.end);
        let short = || corrupt(self.path.clone(), at, Fault::Value(RecordFault::Short));
        let size = size.ok_or_else(short)?;
        self.fill(size).await?;
        if decode(&self.window[self.taken..], &self.segment.head, at).is_err() {
            // Once more, for a device may misread in passing.
            (self.offset, self.taken) = (at, 0);
            self.window.clear();
            self.fill(size).await?;
        }
        let bytes = &self.window[self.taken..];
        let (record, sum) = decode(bytes, &self.segment.head, at)
            .map_err(|fault| corrupt(self.path.clone(), at, Fault::Value(fault)))?;
        self.taken += size;
        let (key_len, len) = (record.key.len() as u16, record.value.len() as u32);
        let segment = self.segment.head.number;
        Ok(Some((record, ValuePointer { segment, key_len, offset: at, len, sum })))
    }

    /// The first byte of the record that is next.
    pub(crate) fn at(&self) -> u64 {
        self.offset + self.taken as u64
    }

    /// Goes on at byte `offset`, where a record is known to begin.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        (self.offset, self.taken) = (offset, 0);
        self.window.clear();
    }

    /// The next `len` bytes, or as many as there are.
    async fn fill(&mut self, len: usize) -> Result<&[u8], DiskError> {
        if self.window.len() - self.taken < len {
            self.skip_to(self.at());
            let most = (self.end - self.offset).min(len.max(WINDOW) as u64) as usize;
            self.window = read_stubbornly(&self.segment.file, self.offset, most).await?;
        }
        let have = self.window.len() - self.taken;
        Ok(&self.window[self.taken..self.taken + have.min(len)])
    }
}
