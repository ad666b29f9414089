//! What can be read of a journal that would not open, and writing it anew.
//!
//! Only a repair does this. History is a chain: behind the first record that is lost nothing
//! counts, for no state that ever was has the one and not the other.

use std::collections::BTreeMap;

use orloj_kernel::{Context, DiskErrorKind, OpenMode};

use super::{
    DatabaseId, End, FIRST_FRAME, JournalError, Kind, Lsn, Records, Scan, SegmentHeader,
    frame::{Place, SECTOR, encode},
    prewrite::{CommitError, commit, prepare},
    segment::number_of,
};
use crate::{
    disk::{read_small, read_stubbornly},
    record::Op,
};

/// Bytes of zeros written at a time.
const STEP: usize = 1 << 20;

/// What is left of a journal from one record on.
#[derive(Debug, Default)]
pub(crate) struct Salvage {
    /// Records in a row, in the frames that carried them, each with the position of its first.
    frames: Vec<(Lsn, Records)>,
    /// The last record in a row; the one before the first that was asked for if there is none.
    pub(crate) last: Lsn,
    /// The first record that is lost, and the last as far as anything tells of it.
    pub(crate) lost: Option<(Lsn, Option<Lsn>)>,
    /// The names of its files, segments or not.
    pub(crate) files: Vec<String>,
    /// The highest number of a segment.
    newest: u64,
}

/// Reads what there is of the journal in `dir` from record `from` on. `makes_sense` is told every
/// record that counts.
pub(crate) async fn salvage(
    cx: Context,
    dir: &str,
    database: DatabaseId,
    from: Lsn,
    makes_sense: &mut (dyn FnMut(&[u8]) -> bool + Send),
) -> Result<Salvage, JournalError> {
    let mut found = Salvage { last: from.previous(), ..Salvage::default() };
    let entries = match cx.list(dir).await {
        Err(e) if e.kind == DiskErrorKind::NotFound => Vec::new(),
        listed => listed?,
    };
    let mut heads = BTreeMap::new();
    for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
        if let Some(number) = number_of(&entry.name) {
            found.newest = found.newest.max(number);
            let path = format!("{dir}/{}", entry.name);
            let head = read_small(cx, &path, FIRST_FRAME as usize, SegmentHeader::decode).await;
            if let Ok(Some(Ok(head))) = head
                && head.number == number
                && head.database == database
            {
                heads.insert(number, head);
            }
        }
        found.files.push(entry.name);
    }
    // The newest, and what each says is before it, as far as that is there.
    let mut chain: Vec<(SegmentHeader, Option<u64>)> = Vec::new();
    let mut below = u64::MAX;
    while let Some((_, head)) = heads.range(..below).next_back() {
        let after: Option<&SegmentHeader> = chain.last().map(|(after, _)| after);
        let limit = after.filter(|a| a.previous == head.number).map(|a| a.previous_end);
        chain.push((*head, limit));
        if head.base <= from || head.previous == 0 {
            break;
        }
        below = (head.previous + 1).min(head.number);
    }
    let mut seen = Lsn(0);
    let (mut is_whole, mut is_cut) = (true, heads.is_empty() && !found.files.is_empty());
    for (head, limit) in chain.into_iter().rev() {
        let path = format!("{dir}/{}", super::segment::file_name(head.number));
        let image = async {
            let file = cx.open(&path, OpenMode::Read).await?;
            let size = file.size().await?;
            read_stubbornly(&file, 0, size as usize).await
        };
        let Ok(image) = image.await else {
            is_whole = false;
            continue;
        };
        let mut scan = Scan::new(image, head, limit, Lsn(0));
        scan.take_as_it_is();
        loop {
            while let Some(frame) = scan.frame() {
                if frame.count == 0 {
                    continue;
                }
                seen = seen.max(frame.next().previous());
                let mut records = Records::new();
                let mut first = None;
                for (lsn, record) in scan.records() {
                    if lsn <= found.last || !is_whole {
                        continue;
                    }
                    if lsn != found.last.next() || !makes_sense(record) {
                        is_whole = false;
                        break;
                    }
                    first.get_or_insert(lsn);
                    records.push(|out| out.extend_from_slice(record));
                    found.last = lsn;
                }
                found.frames.extend(first.map(|first| (first, records)));
            }
            seen = seen.max(scan.durable());
            match scan.end() {
                Some(End::Corrupt(_)) => {
                    // What is lost here may not be needed; what is behind it is looked at.
                    seen = seen.max(scan.seen_behind());
                    is_cut = true;
                    if !scan.skip_bad() {
                        break;
                    }
                    is_cut = false;
                }
                _ => break,
            }
        }
    }
    if seen > found.last {
        found.lost = Some((found.last.next(), Some(seen)));
    } else if is_cut {
        found.lost = Some((found.last.next(), None));
    }
    Ok(found)
}

impl Salvage {
    /// The records in a row, with their positions.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Lsn, &[u8])> {
        self.frames.iter().flat_map(|(first, records)| (first.0..).map(Lsn).zip(records.iter()))
    }

    /// Puts another record in the place of the one at `at`.
    pub(crate) fn replace(&mut self, at: Lsn, ops: &[Op<'_>]) {
        let frame = self.frames.partition_point(|(first, _)| *first <= at) - 1;
        let (first, records) = &mut self.frames[frame];
        let mut others = Records::new();
        for (lsn, record) in (first.0..).zip(records.iter()) {
            others.push(|out| match lsn == at.0 {
                true => ops.iter().enumerate().for_each(|(n, op)| op.write(out, n == 0)),
                false => out.extend_from_slice(record),
            });
        }
        *records = others;
    }

    /// Writes what is left as one segment that takes the place of all others, beginning behind
    /// `lsn`. It survives a power cut on return; until then the journal is what it was.
    pub(crate) async fn write(
        &self,
        cx: Context,
        dir: &str,
        database: DatabaseId,
        lsn: Lsn,
    ) -> Result<String, JournalError> {
        let mut header = SegmentHeader {
            database,
            number: self.newest + 1,
            salt: cx.entropy(),
            base: lsn.next(),
            previous: 0,
            previous_end: 0,
            capacity: 0,
        };
        let mut frames = Vec::new();
        let mut next = header.base;
        for (first, records) in &self.frames {
            let place = Place { salt: header.salt, offset: FIRST_FRAME + frames.len() as u64 };
            let (durable, records) = (header.base.previous(), std::slice::from_ref(records));
            next = encode(&mut frames, place, Kind::Records, *first, durable, records).next();
        }
        // They are synced before anybody finds them.
        let place = Place { salt: header.salt, offset: FIRST_FRAME + frames.len() as u64 };
        encode(&mut frames, place, Kind::Mark, next, next.previous(), &[]);
        header.capacity = FIRST_FRAME + frames.len() as u64 + 8 * SECTOR as u64;
        let (number, size) = (header.number, header.capacity);
        let prepared = prepare(cx, dir.to_owned(), number, size, STEP, false).await?;
        match commit(cx, dir, prepared, &header, &frames).await {
            Ok(_) => Ok(super::segment::file_name(number)),
            Err(CommitError::Refused(e) | CommitError::Fatal(e)) => Err(e.into()),
        }
    }
}
