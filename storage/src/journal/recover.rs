//! Finding out what a directory holds: its history, where that ends, and whether it is whole.
//!
//! Reading is a pure function of the directory. What follows from it is one new segment; until that
//! is durable nothing else is touched, so a crash during recovery changes nothing that a second
//! recovery would find.

use std::{collections::BTreeMap, future::poll_fn, pin::Pin, task::Poll};

use orloj_kernel::{Context, DiskError, File, OpenMode, mutant, sometimes};

use super::{
    Damage, DatabaseId, End, FIRST_FRAME, HeaderError, History, JournalError, Kind, Lsn, Records,
    Scan, SegmentHeader,
    segment::{file_name, number_of},
};
use crate::disk::{READS, read_small, read_stubbornly};

/// What recovery found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments that make up the history.
    pub segments: u64,
    /// Bytes read of them.
    pub bytes: u64,
    /// Records read.
    pub records: u64,
    /// The position of the last one.
    pub last: Lsn,
    /// Records at the end that nothing proved to be synced, and that were written anew.
    pub rewritten: u64,
    /// What was cut off the end.
    pub cut: Option<Cut>,
    /// Whether the journal was closed in order.
    pub closed: bool,
    /// Whether there was no journal, and one was made.
    pub created: bool,
}

/// The end of a journal that was written in part when power failed, and never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub file: String,
    /// The first byte cut off.
    pub offset: u64,
    /// How many of them were not zero, to the last that was not.
    pub bytes: u64,
}

/// What is known about a journal before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The database it must belong to; `None` for any.
    pub database: Option<DatabaseId>,
    /// The first record that is needed. Everything before it was synced once, and is known from
    /// elsewhere; the segments that held it may be gone.
    pub from: Lsn,
}

impl Origin {
    /// Nothing is known: every record is needed.
    pub const START: Origin = Origin { database: None, from: Lsn(1) };
}

/// What is told every record, in order; false if it makes no sense to it.
pub(super) type OnRecord<'a> = &'a mut (dyn FnMut(Lsn, &[u8]) -> bool + Send);

/// Where the history goes on.
pub(super) struct Plan {
    /// The head of the next segment, but for its salt and capacity.
    pub(super) header: SegmentHeader,
    /// The frames it begins with.
    pub(super) carried: Vec<(Lsn, Records)>,
    /// Segments and leftovers that are no part of the history.
    pub(super) rubbish: Vec<String>,
    /// The last segment and its end, to be cut there once it has a successor.
    pub(super) cut: Option<(String, u64)>,
    /// The segments read, oldest first.
    pub(super) segments: Vec<Span>,
    pub(super) report: Recovery,
}

/// A segment, and where its records begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) number: u64,
    pub(super) base: Lsn,
    /// Where the records of the segment before end.
    pub(super) previous_end: u64,
}

impl Span {
    pub(super) fn of(header: &SegmentHeader) -> Span {
        let SegmentHeader { number, base, previous_end, .. } = *header;
        Span { number, base, previous_end }
    }
}

/// The segments that hold what is needed of one history, oldest first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) live: Vec<SegmentHeader>,
    /// Numbers of segments that a later one has replaced.
    pub(super) replaced: Vec<u64>,
}

/// Follows the heads from the newest segment back to the one with the record `origin.from`. What
/// is older is not needed, and not judged.
pub(super) fn chain(heads: &Heads, origin: Origin) -> Result<Chain, JournalError> {
    let mut live: Vec<SegmentHeader> = Vec::new();
    let mut number = heads.last_key_value().map_or(0, |(n, _)| *n);
    loop {
        let has_all = live.last().is_some_and(|s| s.base <= origin.from);
        let has_none = heads.is_empty() && origin.from == Lsn(1);
        if has_all || has_none {
            break;
        }
        let file = file_name(number);
        let head = match heads.get(&number) {
            None => {
                let lsn = live.last().map_or(origin.from, |s| s.base.previous());
                return Err(JournalError::Missing { file, lsn });
            }
            Some(Err(HeaderError::Newer { major })) => {
                return Err(JournalError::Newer { file, major: *major });
            }
            Some(Err(HeaderError::Damaged)) => {
                let damage = Damage::Header;
                return Err(JournalError::Damaged { file, offset: 0, lsn: Lsn(0), damage });
            }
            Some(Ok(head)) => *head,
        };
        if head.number != number {
            let what = format!("is segment {} under another name", head.number);
            return Err(JournalError::Foreign { file, what });
        }
        let database = live.last().map(|s| s.database).or(origin.database);
        if let Some(database) = database.filter(|d| *d != head.database) {
            let what = format!("belongs to database {}, not {database}", head.database);
            return Err(JournalError::Foreign { file, what });
        }
        if live.last().is_some_and(|after| head.base > after.base) {
            let what = "has no place in the order of this database's segments".to_owned();
            return Err(JournalError::Foreign { file, what });
        }
        if head.previous >= number || (head.previous > 0 && head.base == Lsn(1)) {
            let what = "names a predecessor it cannot have".to_owned();
            return Err(JournalError::Foreign { file, what });
        }
        live.push(head);
        number = head.previous;
    }
    live.reverse();
    let first = live.first().map_or(u64::MAX, |s| s.number);
    let replaced = heads.keys().filter(|n| **n > first && !live.iter().any(|s| s.number == **n));
    Ok(Chain { replaced: replaced.copied().collect(), live })
}

/// Reads the journal in `dir`, telling `on_record` every record from `origin.from` on, in order.
pub(super) async fn read(
    cx: Context,
    dir: &str,
    origin: Origin,
    on_record: OnRecord<'_>,
) -> Result<Option<Plan>, JournalError> {
    let (heads, mut rubbish) = heads(cx, dir).await?;
    let Chain { live, replaced } = chain(&heads, origin)?;
    sometimes!(cx, !replaced.is_empty(), "recovery: a replaced segment was still there");
    rubbish.extend(replaced.into_iter().map(file_name));
    let Some(last) = live.last().copied() else { return Ok(None) };

    let mut report = Recovery { segments: live.len() as u64, ..Recovery::default() };
    let known = origin.from.previous();
    let mut applied = known;
    let mut end = None;
    let path = |header: &SegmentHeader| format!("{dir}/{}", file_name(header.number));
    let mut ahead = Some(Image::begin(cx, &path(&live[0])).await);
    for (index, header) in live.iter().enumerate() {
        let after = live.get(index + 1);
        let image = ahead.take().expect("one is read for each segment").done().await?;
        // The disk reads it while this one is judged.
        if let Some(after) = after {
            ahead = Some(Image::begin(cx, &path(after)).await);
        }
        let path = path(header);
        let mut segment = Reading { cx, path, known, applied, after, report: &mut report };
        let scan = segment.replay(*header, image, on_record).await?;
        applied = segment.applied;
        end = Some(scan);
    }
    let scan = end.expect("a chain that is not empty was read to its end");
    report.last = applied;
    let segments = live.iter().map(Span::of).collect();
    Ok(Some(Plan { segments, ..plan(last, &scan, report, rubbish) }))
}

type Heads = BTreeMap<u64, Result<SegmentHeader, HeaderError>>;

/// The heads of the segments in `dir`, and names of leftovers.
async fn heads(cx: Context, dir: &str) -> Result<(Heads, Vec<String>), JournalError> {
    let (mut heads, mut rubbish) = (BTreeMap::new(), Vec::new());
    for entry in cx.list(dir).await? {
        match number_of(&entry.name) {
            Some(number) if number > 0 && !entry.is_dir => {
                let (path, most) = (format!("{dir}/{}", entry.name), FIRST_FRAME as usize);
                let head = read_small(cx, &path, most, SegmentHeader::decode).await?;
                // One that has gone meanwhile was trimmed.
                heads.extend(head.map(|head| (number, head)));
            }
            _ if entry.name.ends_with(".new") => rubbish.push(entry.name),
            // Not ours, so not ours to judge or remove.
            _ => {}
        }
    }
    Ok((heads, rubbish))
}

/// The records from `origin.from` on and before `end` of a journal that is written to meanwhile,
/// by whoever sees to it that none of them is trimmed, and that all of them were written.
///
/// # Errors
/// [`JournalError`]; `Missing` if it begins after `origin.from`.
pub(crate) async fn follow(
    cx: Context,
    dir: &str,
    origin: Origin,
    end: Lsn,
) -> Result<History, JournalError> {
    let (heads, _) = heads(cx, dir).await?;
    let live = chain(&heads, origin)?.live;
    let spans: Vec<Span> = live.iter().map(Span::of).collect();
    Ok(History::new(cx, dir, &spans, origin.from, end))
}

/// As [`Log::open_from`](super::Log::open_from), without opening: nothing is made or changed.
///
/// # Errors
/// [`JournalError`]: the first reason for which it would not open.
pub async fn inspect(
    cx: Context,
    dir: &str,
    origin: Origin,
    on_record: OnRecord<'_>,
) -> Result<Recovery, JournalError> {
    let plan = read(cx, dir, origin, on_record).await?;
    Ok(plan.map(|plan| plan.report).unwrap_or_default())
}

type Read = Result<(File, Vec<u8>), DiskError>;

/// The bytes of a segment on their way from the disk.
struct Image {
    reading: Pin<Box<dyn Future<Output = Read> + Send>>,
    /// What came of it, if that is known already.
    read: Option<Read>,
}

impl Image {
    /// Has the disk begin with the segment at `path`. What fails is told by [`Image::done`].
    async fn begin(cx: Context, path: &str) -> Image {
        let open = async {
            let file = cx.open(path, OpenMode::Read).await?;
            let size = file.size().await?;
            Ok((file, size))
        };
        let opened = open.await;
        let mut reading: Pin<Box<dyn Future<Output = Read> + Send>> = Box::pin(async move {
            let (file, size) = opened?;
            let image = read_stubbornly(&file, 0, size as usize).await?;
            Ok((file, image))
        });
        // Nothing is asked of a disk before it is polled.
        let read = poll_fn(|task| match reading.as_mut().poll(task) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending => Poll::Ready(None),
        });
        let read = read.await;
        Image { reading, read }
    }

    /// The file and all that is in it.
    async fn done(self) -> Read {
        match self.read {
            Some(read) => read,
            None => self.reading.await,
        }
    }
}

/// One segment being read.
struct Reading<'a> {
    cx: Context,
    path: String,
    /// Everything up to here was synced: whoever asks knows.
    known: Lsn,
    applied: Lsn,
    after: Option<&'a SegmentHeader>,
    report: &'a mut Recovery,
}

impl Reading<'_> {
    async fn replay(
        &mut self,
        header: SegmentHeader,
        (file, image): (File, Vec<u8>),
        on_record: OnRecord<'_>,
    ) -> Result<Scan, JournalError> {
        let (cx, size) = (self.cx, image.len() as u64);
        self.report.bytes += image.len() as u64;
        let limit = self.after.map(|s| s.previous_end);
        let mut scan = Scan::new(image, header, limit, self.known);
        let mut last = None;
        let mut reads = 1;
        loop {
            while let Some(head) = scan.frame() {
                last = Some(head.kind);
                for (lsn, record) in scan.records() {
                    // What a successor repeats counts once; what nobody needs is not told.
                    if lsn <= self.applied {
                        continue;
                    }
                    if !on_record(lsn, record) {
                        return Err(self.damaged(&scan, lsn, Damage::Record));
                    }
                    self.applied = lsn;
                    self.report.records += 1;
                }
            }
            if scan.end() != Some(End::Clean)
                && mutant!(cx, "recovery.skip_bad_record")
                && scan.skip_bad()
            {
                continue;
            }
            let settled = limit.is_some() && scan.end() == Some(End::Clean);
            if settled || reads == READS {
                break;
            }
            // Before an end is believed it is looked at twice.
            reads += 1;
            let left = (size.saturating_sub(scan.offset())) as usize;
            if !scan.reread(&read_stubbornly(&file, scan.offset(), left).await?) {
                break;
            }
            sometimes!(cx, true, "recovery: a second reading differed");
        }
        self.judge(&scan, last)?;
        Ok(scan)
    }

    fn judge(&mut self, scan: &Scan, last: Option<Kind>) -> Result<(), JournalError> {
        let file = || self.path.rsplit('/').next().unwrap_or_default().to_owned();
        match (scan.end(), self.after) {
            (Some(End::Corrupt(damage)), _) => {
                sometimes!(self.cx, true, "recovery: damaged history refused");
                Err(self.damaged(scan, scan.next(), damage))
            }
            (_, Some(after)) if scan.next() != after.base => {
                Err(self.damaged(scan, scan.next(), Damage::Order))
            }
            (_, None) if last == Some(Kind::Seal) => {
                let number = number_of(&file()).unwrap_or_default() + 1;
                Err(JournalError::Missing { file: file_name(number), lsn: scan.next() })
            }
            (Some(End::Torn { bytes }), None) => {
                sometimes!(self.cx, true, "recovery: a torn tail was cut");
                self.report.cut = Some(Cut { file: file(), offset: scan.offset(), bytes });
                Ok(())
            }
            _ => {
                self.report.closed = self.after.is_none() && last == Some(Kind::Close);
                Ok(())
            }
        }
    }

    fn damaged(&self, scan: &Scan, lsn: Lsn, damage: Damage) -> JournalError {
        let file = self.path.clone();
        JournalError::Damaged { file, offset: scan.offset(), lsn, damage }
    }
}

/// Decides how the history goes on after `scan` of its last segment.
fn plan(last: SegmentHeader, scan: &Scan, mut report: Recovery, mut rubbish: Vec<String>) -> Plan {
    let carried: Vec<_> = scan
        .tail()
        .iter()
        .filter(|t| t.head.kind == Kind::Records)
        .map(|tail| {
            let mut records = Records::new();
            records.extend(&scan.read_tail(tail), tail.head.count);
            (tail.head.first, records)
        })
        .collect();
    report.rewritten = carried.iter().map(|(_, r)| u64::from(r.count())).sum();
    let base = carried.first().map_or(scan.next(), |(first, _)| *first);
    let number = last.number + 1;
    let name = file_name(last.number);
    if base == last.base {
        // Nothing in it is needed any more: its successor takes its place.
        rubbish.push(name);
        let header = SegmentHeader { number, ..last };
        return Plan { header, carried, rubbish, cut: None, segments: Vec::new(), report };
    }
    let previous_end = scan.proven_end();
    let header = SegmentHeader { number, base, previous: last.number, previous_end, ..last };
    let cut = Some((name, previous_end));
    Plan { header, carried, rubbish, cut, segments: Vec::new(), report }
}
