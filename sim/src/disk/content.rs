//! The bytes of one file: what processes see, what the media holds, and what lies between.
//!
//! Processes see the cache: the pages in `slots`. Where the media may hold something else, a
//! [`Rift`] keeps the durable sectors and every content that was written since and replaced
//! unsynced, so that a power cut can choose among them. A clean page costs no more than its bytes,
//! a page of zeros nothing.

use super::rift::{
    PAGE, Page, Rift, SECTOR, SECTORS, Sector, Spare, Version, ZEROS, bits, mask, range, sector_of,
};

/// Lengths kept between the durable and the current one.
const KEPT_LENS: usize = 64;

/// A page as processes see it.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// `None` reads as zeros.
    data: Option<Box<Page>>,
    /// One more than the index of its rift; 0 if it has none.
    rift: u32,
    /// Whether it takes room on the media.
    allocated: bool,
    /// The sectors that a successful sync has covered: what somebody may have promised to keep.
    synced: u8,
    /// The sectors that a write of nothing but zeros filled last: room, and nobody's data.
    blank: u8,
    /// Those that were so when a sync last covered them.
    synced_blank: u8,
}

impl Slot {
    /// Notes that a sync covered `sectors`; of a page that a truncation took, nothing is left to
    /// keep.
    fn sync(&mut self, sectors: u8) {
        self.synced_blank = self.synced_blank & !sectors | self.blank & sectors;
        if self.allocated {
            self.synced |= sectors;
        } else {
            self.synced &= !sectors;
        }
    }
}

/// A length of the file that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Len {
    pub(super) seq: u64,
    pub(super) len: u64,
}

/// One of the contents of a sector, in the order of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// 0 for the durable content.
    pub(super) seq: u64,
    /// See [`Version::cut`].
    pub(super) cut: bool,
    pub(super) data: Sector,
}

/// The bytes of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// Length in bytes, as processes see it. The cache holds zeros behind it.
    pub(super) len: u64,
    pub(super) durable_len: u64,
    /// Oldest first; the last is `len`.
    pub(super) lens: Vec<Len>,
    slots: Vec<Slot>,
    pub(super) rifts: Vec<Rift>,
    /// Pages that take room.
    pub(super) pages: u64,
    /// Sectors that cannot be read until they are written again.
    pub(super) bad: Vec<u64>,
    /// When the syncs in flight began.
    pub(super) syncs: Vec<u64>,
    /// Sectors whose last sync will turn out to have failed, with their durable content before it.
    pub(super) late: Vec<(u64, Sector)>,
}

impl Content {
    /// Copies from `offset` into `buf`; the count is short only at the end of the file.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let n = self.len.saturating_sub(offset).min(buf.len() as u64) as usize;
        let (mut at, mut rest) = (offset as usize, &mut buf[..n]);
        while !rest.is_empty() {
            let start = at % PAGE;
            let mid = rest.len().min(PAGE - start);
            let (now, later) = rest.split_at_mut(mid);
            match self.slots.get(at / PAGE).and_then(|slot| slot.data.as_deref()) {
                Some(page) => now.copy_from_slice(&page[start..start + mid]),
                None => now.fill(0),
            }
            at += mid;
            rest = later;
        }
        n
    }

    /// Writes `bytes`, which are not empty, at `offset`.
    pub(super) fn write(&mut self, seq: u64, offset: u64, bytes: &[u8], spare: &mut Spare) {
        let end = offset as usize + bytes.len();
        self.reach(end);
        let is_blank = bytes.chunks(PAGE).all(|part| *part == ZEROS[..part.len()])
            && offset.is_multiple_of(SECTOR as u64)
            && bytes.len().is_multiple_of(SECTOR);
        let (mut at, mut rest) = (offset as usize, bytes);
        while !rest.is_empty() {
            let start = at % PAGE;
            let (now, later) = rest.split_at(rest.len().min(PAGE - start));
            let whole = now.len() == PAGE;
            let sectors = mask(start, start + now.len());
            self.supersede(at / PAGE, sectors, seq, whole, spare);
            let slot = &mut self.slots[at / PAGE];
            slot.blank = if is_blank { slot.blank | sectors } else { slot.blank & !sectors };
            self.pages += u64::from(!slot.allocated);
            slot.allocated = true;
            match &mut slot.data {
                Some(page) => page[start..start + now.len()].copy_from_slice(now),
                None if *now == ZEROS[..now.len()] => {}
                None => {
                    let mut page = if whole { spare.any() } else { spare.zeroed() };
                    page[start..start + now.len()].copy_from_slice(now);
                    slot.data = Some(page);
                }
            }
            at += now.len();
            rest = later;
        }
        if end as u64 > self.len {
            self.grow(seq, end as u64);
        }
    }

    /// Sets the length. What lies between a smaller one and the old one becomes zeros.
    pub(super) fn set_len(&mut self, seq: u64, len: u64, spare: &mut Spare) {
        if len > self.len {
            self.grow(seq, len);
        }
        if len >= self.len {
            return;
        }
        for page in len as usize / PAGE..self.slots.len() {
            let start = (len as usize).saturating_sub(page * PAGE);
            let slot = &mut self.slots[page];
            if slot.data.is_some() || slot.rift != 0 {
                let sectors = mask(start, PAGE);
                self.supersede(page, sectors, seq, start == 0, spare);
                let slot = &mut self.slots[page];
                self.rifts[slot.rift as usize - 1].cut |= sectors;
            }
            self.clear(page, start, spare);
        }
        self.len = len;
        self.lens.push(Len { seq, len });
    }

    /// Makes the cache of a page zeros from `start` on.
    fn clear(&mut self, page: usize, start: usize, spare: &mut Spare) {
        let slot = &mut self.slots[page];
        if start > 0 {
            if let Some(data) = &mut slot.data {
                data[start..].fill(0);
            }
            return;
        }
        spare.give(slot.data.take());
        self.pages -= u64::from(slot.allocated);
        slot.allocated = false;
    }

    fn grow(&mut self, seq: u64, len: u64) {
        let n = self.lens.len();
        let before = if n >= 2 { self.lens[n - 2].len } else { self.durable_len };
        match self.lens.last_mut() {
            // Growths in a row may become one: a cut can stop at any sector within it.
            Some(last)
                if n >= KEPT_LENS
                    && last.len > before
                    && !self.syncs.iter().any(|begin| last.seq < *begin) =>
            {
                *last = Len { seq, len };
            }
            _ => self.lens.push(Len { seq, len }),
        }
        self.len = len;
    }

    fn reach(&mut self, end: usize) {
        if self.slots.len() * PAGE < end {
            self.slots.resize_with(end.div_ceil(PAGE), Slot::default);
        }
    }

    #[inline]
    fn supersede(&mut self, page: usize, sectors: u8, seq: u64, whole: bool, spare: &mut Spare) {
        let i = self.open_rift(page);
        let data = &mut self.slots[page].data;
        self.rifts[i].supersede(sectors, seq, whole, data, &self.syncs, spare);
    }

    fn open_rift(&mut self, page: usize) -> usize {
        let slot = &mut self.slots[page];
        if slot.rift == 0 {
            self.rifts.push(Rift::new(page as u32));
            slot.rift = self.rifts.len() as u32;
        }
        slot.rift as usize - 1
    }

    fn rift_of(&self, page: usize) -> Option<&Rift> {
        let slot = self.slots.get(page)?;
        self.rifts.get((slot.rift as usize).checked_sub(1)?)
    }

    /// Makes everything written before `begin` durable, and the length it gave the file.
    pub(super) fn settle(&mut self, begin: u64, spare: &mut Spare) {
        let mut i = 0;
        while i < self.rifts.len() {
            let rift = &self.rifts[i];
            let slot = &mut self.slots[rift.page as usize];
            if rift.newest < begin && rift.apart == rift.dirty {
                slot.sync(rift.dirty);
                self.remove_rift(i, spare);
                continue;
            }
            for s in bits(rift.dirty) {
                self.promote(i, s, begin, spare);
            }
            i += usize::from(!self.close_rift(i, spare));
        }
        self.settle_len(begin);
    }

    pub(super) fn settle_len(&mut self, begin: u64) {
        let covered = self.lens.iter().take_while(|l| l.seq < begin).count();
        if covered > 0 {
            self.durable_len = self.lens[covered - 1].len;
            self.lens.drain(..covered);
        }
    }

    /// The newest content of a dirty sector that was written before `begin`.
    pub(super) fn covered(&self, rift: usize, s: usize, begin: u64) -> Option<Sector> {
        let r = &self.rifts[rift];
        if r.dirty & (1 << s) == 0 {
            return None;
        }
        if r.seq[s] < begin {
            return Some(*self.cached(r.page as usize, s));
        }
        let mut newest = r.between.iter().rev();
        newest.find(|v| v.sector as usize == s && v.seq < begin).map(Version::sector)
    }

    /// Makes the newest content of a dirty sector from before `begin` durable.
    pub(super) fn promote(&mut self, rift: usize, s: usize, begin: u64, spare: &mut Spare) {
        let Some(data) = self.covered(rift, s, begin) else { return };
        let r = &mut self.rifts[rift];
        if r.seq[s] < begin {
            r.apart &= !(1 << s);
        } else {
            r.set_old(s, &data, spare);
        }
        self.slots[r.page as usize].sync(1 << s);
        self.forget(rift, s, begin);
    }

    /// Stops holding contents of a sector from before `begin` for a sync: they are durable, or
    /// lost.
    pub(super) fn forget(&mut self, rift: usize, s: usize, begin: u64) {
        let r = &mut self.rifts[rift];
        r.between.retain(|v| v.sector as usize != s || v.seq >= begin);
        if r.seq[s] < begin {
            r.dirty &= !(1 << s);
            r.cut &= !(1 << s);
        }
    }

    /// Removes a rift in which nothing differs; the last one takes its index.
    pub(super) fn close_rift(&mut self, i: usize, spare: &mut Spare) -> bool {
        let r = &self.rifts[i];
        let same = |s: &usize| r.old(*s) == self.cached(r.page as usize, *s);
        let healed = bits(r.apart & !r.dirty).filter(same).fold(0, |mask, s| mask | 1 << s);
        self.rifts[i].apart &= !healed;
        if self.rifts[i].apart != 0 {
            return false;
        }
        self.remove_rift(i, spare);
        true
    }

    fn remove_rift(&mut self, i: usize, spare: &mut Spare) {
        let mut rift = self.rifts.swap_remove(i);
        self.slots[rift.page as usize].rift = 0;
        if let Some(moved) = self.rifts.get(i) {
            self.slots[moved.page as usize].rift = i as u32 + 1;
        }
        spare.give(rift.take_old());
    }

    /// Every content the media may hold for a sector that is apart: durable first, current last.
    pub(super) fn candidates(&self, rift: usize, s: usize) -> Vec<Candidate> {
        let r = &self.rifts[rift];
        let mut all = vec![Candidate { seq: 0, cut: false, data: *r.old(s) }];
        for v in r.between.iter().filter(|v| v.sector as usize == s) {
            all.push(Candidate { seq: v.seq, cut: v.cut, data: v.sector() });
        }
        if r.dirty & (1 << s) != 0 {
            let data = *self.cached(r.page as usize, s);
            all.push(Candidate { seq: r.seq[s], cut: r.cut & (1 << s) != 0, data });
        }
        all
    }

    /// When each unsynced content of a sector was written, oldest first.
    pub(super) fn moments(&self, rift: usize, s: usize) -> impl Iterator<Item = u64> {
        let r = &self.rifts[rift];
        let between = r.between.iter().filter(move |v| v.sector as usize == s).map(|v| v.seq);
        between.chain((r.dirty & (1 << s) != 0).then_some(r.seq[s]))
    }

    pub(super) fn cached(&self, page: usize, sector: usize) -> &Sector {
        sector_of(self.slots.get(page).and_then(|slot| slot.data.as_deref()), sector)
    }

    /// Changes what processes see without a write.
    pub(super) fn set_cached(&mut self, page: usize, s: usize, data: &Sector, spare: &mut Spare) {
        self.reach((page + 1) * PAGE);
        let slot = &mut self.slots[page];
        if slot.data.is_some() || *data != ZEROS[..SECTOR] {
            slot.data.get_or_insert_with(|| spare.zeroed())[range(s)].copy_from_slice(data);
        }
    }

    /// What the media holds for a sector, counted from the start of the file.
    pub(super) fn durable(&self, sector: u64) -> &Sector {
        let (page, s) = split(sector);
        match self.rift_of(page) {
            Some(rift) if rift.apart & (1 << s) != 0 => rift.old(s),
            _ => self.cached(page, s),
        }
    }

    /// Changes what the media holds. Processes see it at once if the cache has `evicted` the
    /// sector, and otherwise after a power cut, unless they write it again.
    pub(super) fn set_durable(
        &mut self,
        sector: u64,
        data: &Sector,
        evicted: bool,
        spare: &mut Spare,
    ) {
        let (page, s) = split(sector);
        self.reach((page + 1) * PAGE);
        let i = self.open_rift(page);
        let rift = &mut self.rifts[i];
        rift.set_old(s, data, spare);
        rift.apart |= 1 << s;
        if evicted && rift.dirty & (1 << s) == 0 {
            self.set_cached(page, s, data, spare);
        }
        self.close_rift(i, spare);
    }

    /// Whether a successful sync has covered the sector.
    pub(super) fn synced(&self, sector: u64) -> bool {
        let (page, s) = split(sector);
        self.slots.get(page).is_some_and(|slot| slot.synced & (1 << s) != 0)
    }

    /// Whether the sector was room without data when a sync last covered it.
    pub(super) fn synced_blank(&self, sector: u64) -> bool {
        let (page, s) = split(sector);
        self.slots.get(page).is_some_and(|slot| slot.synced_blank & (1 << s) != 0)
    }

    /// Whether a sync would write the sector.
    pub(super) fn is_dirty(&self, sector: u64) -> bool {
        let (page, s) = split(sector);
        self.rift_of(page).is_some_and(|rift| rift.dirty & (1 << s) != 0)
    }

    /// The pages that a write there would have to find room for.
    pub(super) fn unallocated(&self, offset: u64, len: usize) -> impl Iterator<Item = u64> {
        let first = offset / PAGE as u64;
        let last = (offset + len as u64).div_ceil(PAGE as u64);
        (first..last).filter(|p| !self.slots.get(*p as usize).is_some_and(|s| s.allocated))
    }

    /// The end of the last durable sector that is not all zeros, in sectors.
    pub(super) fn durable_end(&self) -> u64 {
        let last = self.durable_len.div_ceil(SECTOR as u64);
        let pages = (last as usize).div_ceil(SECTORS).min(self.slots.len());
        let held = |p: &usize| self.slots[*p].data.is_some() || self.slots[*p].rift != 0;
        let sectors = (0..pages).rev().filter(held);
        let mut sectors = sectors.flat_map(|p| (0..SECTORS).rev().map(move |s| join(p as u32, s)));
        let filled = |s: &u64| *s < last && *self.durable(*s) != ZEROS[..SECTOR];
        sectors.find(filled).map_or(0, |s| s + 1)
    }

    /// Begins a new life after a power cut: the cache, in which every sector was set to what
    /// survived, is what the media holds, and `len` its length.
    pub(super) fn restart(&mut self, len: u64, spare: &mut Spare) {
        while let Some(mut rift) = self.rifts.pop() {
            self.slots[rift.page as usize].rift = 0;
            spare.give(rift.take_old());
        }
        for page in len as usize / PAGE..self.slots.len() {
            let start = (len as usize).saturating_sub(page * PAGE);
            self.clear(page, start, spare);
            self.slots[page].synced &= ((1_u16 << start.div_ceil(SECTOR)) - 1) as u8;
        }
        // A truncation that was lost gives its pages back to the file.
        for slot in self.slots.iter_mut().filter(|slot| slot.data.is_some() && !slot.allocated) {
            slot.allocated = true;
            self.pages += 1;
        }
        self.bad.retain(|sector| sector * (SECTOR as u64) < len);
        self.lens.clear();
        self.syncs.clear();
        self.late.clear();
        (self.len, self.durable_len) = (len, len);
    }
}

/// Page, and sector within it.
pub(super) fn split(sector: u64) -> (usize, usize) {
    (sector as usize / SECTORS, sector as usize % SECTORS)
}

/// The index within the file of a sector of a page.
pub(super) fn join(page: u32, s: usize) -> u64 {
    u64::from(page) * SECTORS as u64 + s as u64
}
