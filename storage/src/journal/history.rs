//! Reading a journal again that was judged when it was opened: piece by piece, by whoever must wait
//! between two pieces.

use orloj_kernel::{Context, OpenMode};

use super::{
    Damage, FIRST_FRAME, JournalError, Lsn, Scan, SegmentHeader, recover::Span, segment::file_name,
};
use crate::disk::{READS, read_small, read_stubbornly};

/// The records of an open journal from one position to another. One segment at a time is in memory.
#[derive(Debug)]
pub struct History {
    cx: Context,
    dir: String,
    /// The segments that are left, newest first; the last is the one that is read.
    segments: Vec<Span>,
    scan: Option<Scan>,
    /// How often that one was read.
    reads: usize,
    /// From where to where the frame reaches that was read last.
    frame: (Lsn, Lsn),
    /// Behind the last record.
    end: Lsn,
}

impl History {
    /// What `segments`, oldest first, hold from `from` on and before `end`.
    pub(super) fn new(cx: Context, dir: &str, segments: &[Span], from: Lsn, end: Lsn) -> History {
        let first = segments.iter().rposition(|span| span.base <= from).unwrap_or(0);
        let segments = segments[first..].iter().rev().copied().collect();
        let (dir, frame) = (dir.to_owned(), (from, from));
        History { cx, dir, segments, scan: None, reads: 0, frame, end }
    }

    /// No records at all.
    pub(crate) fn none(cx: Context, dir: &str, end: Lsn) -> History {
        History::new(cx, dir, &[], end, end)
    }

    /// Reads the next frame, whose records [`History::records`] then gives; whether there is one.
    ///
    /// # Errors
    /// [`JournalError`]: what was there when the journal was opened cannot be read any more.
    pub async fn frame(&mut self) -> Result<bool, JournalError> {
        let from = self.frame.1;
        while from < self.end {
            let Some(scan) = &mut self.scan else {
                self.scan = Some(self.open().await?);
                self.reads += 1;
                continue;
            };
            match scan.frame() {
                Some(head) if head.count > 0 && head.next() > from => {
                    self.frame = (from, head.next());
                    return Ok(true);
                }
                Some(_) => {}
                None => {
                    let offset = scan.offset();
                    self.scan = None;
                    self.leave(offset)?;
                }
            }
        }
        Ok(false)
    }

    /// The records of that frame, with their positions.
    pub fn records(&self) -> impl Iterator<Item = (Lsn, &[u8])> {
        let wanted = self.frame.0..self.frame.1.min(self.end);
        let records = self.scan.iter().flat_map(Scan::records);
        records.filter(move |(lsn, _)| wanted.contains(lsn))
    }

    /// Goes on to the next segment, if this one, which gives nothing from `offset` on, has given
    /// all that it held when it was judged.
    fn leave(&mut self, offset: u64) -> Result<(), JournalError> {
        let lsn = self.frame.1;
        match self.segments[..] {
            [.., after, _] if after.base <= lsn => {
                self.segments.pop();
                self.reads = 0;
                Ok(())
            }
            // A disk may misread in passing.
            _ if self.reads < READS => Ok(()),
            _ => {
                let damage = Damage::Lost { durable: self.end.previous() };
                Err(JournalError::Damaged { file: self.path(), offset, lsn, damage })
            }
        }
    }

    async fn open(&self) -> Result<Scan, JournalError> {
        let path = self.path();
        let head = read_small(self.cx, &path, FIRST_FRAME as usize, SegmentHeader::decode);
        let Some(Ok(header)) = head.await? else {
            let (lsn, damage) = (self.frame.1, Damage::Header);
            return Err(JournalError::Damaged { file: path, offset: 0, lsn, damage });
        };
        let limit = match self.segments[..] {
            [.., after, _] => Some(after.previous_end),
            _ => None,
        };
        let file = self.cx.open(&path, OpenMode::Read).await?;
        let size = file.size().await? as usize;
        let image = read_stubbornly(&file, 0, size).await?;
        Ok(Scan::new(image, header, limit, Lsn(0)))
    }

    fn path(&self) -> String {
        let number = self.segments.last().expect("the newest is never left").number;
        format!("{}/{}", self.dir, file_name(number))
    }
}
