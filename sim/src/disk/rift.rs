//! Where cache and media of one page differ, and what a power cut may choose from.

/// The unit that reaches the media whole or torn.
pub(super) const SECTOR: usize = 512;
/// The unit of memory and of the account of free space.
pub(super) const PAGE: usize = 4096;
pub(super) const SECTORS: usize = PAGE / SECTOR;
/// Contents kept of one sector between the durable and the current one. A power cut cannot bring back
/// those that were dropped; the oldest go first.
const KEPT: usize = 6;

pub(super) type Page = [u8; PAGE];
pub(super) type Sector = [u8; SECTOR];
pub(super) static ZEROS: Page = [0; PAGE];

/// The indices of the bits in `mask`.
#[inline]
pub(super) fn bits(mask: u8) -> impl Iterator<Item = usize> {
    (0..SECTORS).filter(move |s| mask & (1 << s) != 0)
}

/// The sectors of a page that `start..end` touches; `end > start`.
#[inline]
pub(super) fn mask(start: usize, end: usize) -> u8 {
    let (first, last) = (start / SECTOR, (end - 1) / SECTOR);
    ((0xff << first) & (0xff >> (SECTORS - 1 - last))) as u8
}

pub(super) fn range(sector: usize) -> std::ops::Range<usize> {
    sector * SECTOR..(sector + 1) * SECTOR
}

/// A sector of a page that reads as zeros if there is none.
pub(super) fn sector_of(page: Option<&Page>, sector: usize) -> &Sector {
    let page = page.unwrap_or(&ZEROS);
    (&page[range(sector)]).try_into().expect("a range of one sector")
}

/// Pages that were given back, so that a steady writer does not allocate.
#[derive(Clone, Debug, Default)]
pub(super) struct Spare(Vec<Box<Page>>);

impl Spare {
    const MAX: usize = 256;

    /// A page that holds anything.
    pub(super) fn any(&mut self) -> Box<Page> {
        self.0.pop().unwrap_or_else(|| Box::new([0; PAGE]))
    }

    pub(super) fn zeroed(&mut self) -> Box<Page> {
        match self.0.pop() {
            Some(mut page) => {
                page.fill(0);
                page
            }
            None => Box::new([0; PAGE]),
        }
    }

    pub(super) fn give(&mut self, page: Option<Box<Page>>) {
        if let Some(page) = page.filter(|_| self.0.len() < Self::MAX) {
            self.0.push(page);
        }
    }
}

/// One content of a sector that was replaced before it was synced.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) sector: u8,
    /// It is what a truncation left, and on the media only together with its length.
    pub(super) cut: bool,
    pub(super) seq: u64,
    /// `None` is zeros.
    pub(super) data: Option<Box<Sector>>,
}

impl Version {
    pub(super) fn sector(&self) -> Sector {
        self.data.as_deref().copied().unwrap_or([0; SECTOR])
    }
}

/// A page of which cache and media may differ.
#[derive(Clone, Debug)]
pub(super) struct Rift {
    pub(super) page: u32,
    /// The sectors that may differ.
    pub(super) apart: u8,
    /// Those of them that a sync would write. The others were given up by a failed sync, or damaged.
    pub(super) dirty: u8,
    /// Those whose cached content a truncation left.
    pub(super) cut: u8,
    /// The durable content of the sectors in `apart`; `None` is zeros.
    old: Option<Box<Page>>,
    /// When each sector in `dirty` was last written.
    pub(super) seq: [u64; SECTORS],
    pub(super) newest: u64,
    /// Oldest first.
    pub(super) between: Vec<Version>,
}

impl Rift {
    pub(super) fn new(page: u32) -> Rift {
        Rift {
            page,
            apart: 0,
            dirty: 0,
            cut: 0,
            old: None,
            seq: [0; SECTORS],
            newest: 0,
            between: Vec::new(),
        }
    }

    /// The durable content of a sector that is apart.
    pub(super) fn old(&self, sector: usize) -> &Sector {
        sector_of(self.old.as_deref(), sector)
    }

    pub(super) fn set_old(&mut self, sector: usize, data: &Sector, spare: &mut Spare) {
        if self.old.is_some() || *data != ZEROS[..SECTOR] {
            self.old.get_or_insert_with(|| spare.zeroed())[range(sector)].copy_from_slice(data);
        }
    }

    pub(super) fn take_old(&mut self) -> Option<Box<Page>> {
        self.old.take()
    }

    /// Notes that `sectors` change at `seq`, keeping what they hold on the media and in the cache.
    /// Leaves the `cached` page behind empty if it is going to be replaced as a `whole`.
    #[inline]
    pub(super) fn supersede(
        &mut self,
        sectors: u8,
        seq: u64,
        whole: bool,
        cached: &mut Option<Box<Page>>,
        syncs: &[u64],
        spare: &mut Spare,
    ) {
        let again = sectors & self.dirty;
        if again != 0 {
            self.keep(again, cached.as_deref(), syncs);
        }
        if whole && self.apart == 0 {
            self.old = cached.take();
        } else {
            self.save(sectors & !self.apart, cached.as_deref(), spare);
        }
        self.apart |= sectors;
        self.dirty |= sectors;
        self.cut &= !sectors;
        self.newest = seq;
        for s in bits(sectors) {
            self.seq[s] = seq;
        }
    }

    /// Copies `sectors`, which were not apart, to the durable side.
    fn save(&mut self, sectors: u8, cached: Option<&Page>, spare: &mut Spare) {
        if sectors == 0 || (cached.is_none() && self.old.is_none()) {
            return;
        }
        // Sectors apart already are zeros if no page is here; the others are not looked at.
        let fresh = self.apart == 0;
        let old = self.old.get_or_insert_with(|| if fresh { spare.any() } else { spare.zeroed() });
        for s in bits(sectors) {
            old[range(s)].copy_from_slice(sector_of(cached, s));
        }
    }

    /// Keeps the cached content of dirty `sectors`, within [`KEPT`] of each.
    fn keep(&mut self, sectors: u8, cached: Option<&Page>, syncs: &[u64]) {
        for s in bits(sectors) {
            if self.between.iter().filter(|v| v.sector as usize == s).count() >= KEPT {
                self.drop_oldest(s, syncs);
            }
            self.between.push(Version {
                sector: s as u8,
                cut: self.cut & (1 << s) != 0,
                seq: self.seq[s],
                data: cached.map(|page| Box::new(*sector_of(Some(page), s))),
            });
        }
    }

    fn drop_oldest(&mut self, sector: usize, syncs: &[u64]) {
        let kept = self.between.iter().enumerate().filter(|(_, v)| v.sector as usize == sector);
        let kept: Vec<(usize, u64, bool)> = kept.map(|(i, v)| (i, v.seq, v.cut)).collect();
        let needed = |n: usize| {
            let (_, seq, cut) = kept[n];
            let next = kept.get(n + 1).map_or(self.seq[sector], |(_, seq, _)| *seq);
            // A sync in flight makes the newest content from before its beginning durable.
            cut || syncs.iter().any(|begin| seq < *begin && *begin <= next)
        };
        if let Some(n) = (0..kept.len()).find(|n| !needed(*n)) {
            self.between.remove(kept[n].0);
        }
    }
}
