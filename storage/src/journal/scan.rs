//! Reading one segment's bytes back: its records, and precisely why reading ended.

use super::{
    Damage, Lsn, SegmentHeader,
    frame::{Bad, FrameHead, GUARD_FIRST, Place, SECTOR, decode, decode_head, records},
    segment::FIRST_FRAME,
};

/// Why a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where it was told to, or where nothing but zeros follow.
    Clean,
    /// At a write that power cut short, which no sync had covered.
    Torn {
        /// From there to the last byte that is not zero.
        bytes: u64,
    },
    /// At damage to something that had been written completely, or is known to have been synced.
    Corrupt(Damage),
}

/// A frame at a segment's end that nothing after it proves to have been synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// What it says about itself.
    pub head: FrameHead,
    /// Its first byte in the segment.
    pub offset: u64,
}

/// Walks the frames of one segment image from its first to the first that is not intact.
///
/// It is a pure function of the bytes: no clock, no chance, no disk.
#[derive(Debug)]
pub struct Scan {
    image: Vec<u8>,
    header: SegmentHeader,
    limit: u64,
    offset: u64,
    next: Lsn,
    durable: Lsn,
    /// The end of the last frame of records known to be synced.
    proven_end: u64,
    tail: Vec<Tail>,
    body: Vec<u8>,
    last: Option<FrameHead>,
    end: Option<End>,
}

impl Scan {
    /// A scan of `image`, the whole file, whose head is `header`.
    ///
    /// `limit` is where the successor says that the segment ends; reaching it is a clean end, and
    /// stopping before it is corruption. Without a successor it is `None`. Everything up to
    /// `durable` is known to have been synced.
    pub fn new(image: Vec<u8>, header: SegmentHeader, limit: Option<u64>, durable: Lsn) -> Scan {
        let len = image.len() as u64;
        let mut scan = Scan {
            image,
            header,
            limit: limit.unwrap_or(u64::MAX),
            offset: FIRST_FRAME,
            next: header.base,
            durable: header.base.previous().max(durable),
            proven_end: FIRST_FRAME,
            tail: Vec::new(),
            body: Vec::new(),
            last: None,
            end: None,
        };
        let wanted = limit.unwrap_or(header.capacity);
        if len < wanted {
            scan.end = Some(End::Corrupt(Damage::Short { len, wanted }));
        }
        scan
    }

    /// The next frame, whose records [`Scan::records`] then gives; `None` when the scan has ended.
    pub fn frame(&mut self) -> Option<FrameHead> {
        self.last = None;
        if self.end.is_some() {
            return None;
        }
        if self.offset == self.limit {
            self.end = Some(End::Clean);
            return None;
        }
        let place = self.place(self.offset);
        match decode(&self.image, place, &mut self.body) {
            Ok(head) if head.first == self.next && self.offset < self.limit => {
                self.next = head.next();
                self.prove(head.durable);
                // That a frame says so does not prove that it is durable itself.
                self.offset += head.size() as u64;
                self.tail.push(Tail { head, offset: place.offset });
                self.last = Some(head);
            }
            Ok(_) => self.end = Some(End::Corrupt(Damage::Order)),
            Err(bad) => self.end = Some(self.judge(bad)),
        }
        self.last
    }

    /// The records of the frame that [`Scan::frame`] last gave, with their positions.
    pub fn records(&self) -> impl Iterator<Item = (Lsn, &[u8])> {
        let head = self.last.filter(|h| h.count > 0);
        let body = if head.is_some() { self.body.as_slice() } else { &[] };
        let first = head.map_or(Lsn(0), |h| h.first);
        (0..).map(move |n| first.plus(n)).zip(records(body).flatten())
    }

    /// Why it ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// The position after the last record read.
    pub fn next(&self) -> Lsn {
        self.next
    }

    /// The first byte not read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The last position that some intact frame head says was synced.
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// The end of the last frame of records read that is known to be synced.
    pub fn proven_end(&self) -> u64 {
        self.proven_end
    }

    /// The frames read that are not known to be synced, oldest first.
    pub fn tail(&self) -> &[Tail] {
        &self.tail
    }

    /// Goes on with `rest`, a second reading of the image from [`Scan::offset`] on, if it differs
    /// from the first; whether it does. A disk may misread in passing, and what passes a checksum
    /// was written.
    pub fn reread(&mut self, rest: &[u8]) -> bool {
        let from = self.offset as usize;
        if self.image.get(from..).unwrap_or_default() == rest {
            return false;
        }
        self.image.truncate(from);
        self.image.extend_from_slice(rest);
        self.end = None;
        true
    }

    /// The encoded records of a frame in the tail.
    pub(super) fn read_tail(&self, tail: &Tail) -> Vec<u8> {
        let mut body = Vec::new();
        let again = decode(&self.image, self.place(tail.offset), &mut body);
        assert_eq!(again, Ok(tail.head), "a frame changed in memory");
        body
    }

    /// Goes on behind a bad frame, at the next intact one. No recovery may do this; the planted
    /// defect that does is here to be caught.
    pub(super) fn skip_bad(&mut self) -> bool {
        let found = self.heads(self.offset + SECTOR as u64).find(|(_, h)| h.first >= self.next);
        let Some((offset, head)) = found else { return false };
        (self.offset, self.next, self.end) = (offset, head.first, None);
        true
    }

    /// The newest record that any frame head from here on speaks of.
    pub(super) fn seen_behind(&self) -> Lsn {
        let seen = |head: FrameHead| match head.count {
            0 => head.durable,
            _ => head.durable.max(head.next().previous()),
        };
        self.heads(self.offset).map(|(_, head)| seen(head)).max().unwrap_or_default()
    }

    /// Reads a file that has lost its end as far as it goes.
    pub(super) fn take_as_it_is(&mut self) {
        if let Some(End::Corrupt(Damage::Short { .. })) = self.end {
            self.end = None;
        }
    }

    fn place(&self, offset: u64) -> Place {
        Place { salt: self.header.salt, offset }
    }

    /// Notes that everything up to `durable` was synced, and which of the frames read that covers.
    fn prove(&mut self, durable: Lsn) {
        self.durable = self.durable.max(durable);
        let covers = |t: &Tail| t.head.count > 0 && t.head.next().previous() <= self.durable;
        if let Some(last) = self.tail.iter().rposition(covers) {
            let Tail { head, offset } = self.tail[last];
            self.proven_end = offset + head.size() as u64;
            self.tail.drain(..=last);
        }
    }

    fn judge(&mut self, bad: Bad) -> End {
        let behind = self.heads(self.offset + SECTOR as u64).map(|(_, h)| h.durable).max();
        // A torn body leaves a head that is evidence as good as any.
        let here = decode_head(&self.image, self.place(self.offset)).ok().map(|(h, _)| h.durable);
        self.prove(behind.max(here).unwrap_or_default());
        match bad {
            Bad::Senseless => End::Corrupt(Damage::Order),
            Bad::Head => End::Corrupt(Damage::Head),
            Bad::Body => End::Corrupt(Damage::Body),
            Bad::Unfinished if self.durable >= self.next || self.limit != u64::MAX => {
                End::Corrupt(Damage::Lost { durable: self.durable.max(self.next) })
            }
            Bad::Unfinished => {
                let rest = self.image.get(self.offset as usize..).unwrap_or_default();
                match rest.iter().rposition(|b| *b != 0) {
                    None => End::Clean,
                    Some(last) => End::Torn { bytes: last as u64 + 1 },
                }
            }
        }
    }

    /// Every intact frame head from `offset` on, wherever a frame may begin.
    fn heads(&self, offset: u64) -> impl Iterator<Item = (u64, FrameHead)> {
        (offset..self.image.len() as u64)
            .step_by(SECTOR)
            .filter(|at| self.image[*at as usize] == GUARD_FIRST)
            .filter_map(|at| Some((at, decode_head(&self.image, self.place(at)).ok()?.0)))
    }
}
