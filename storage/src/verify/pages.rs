//! The pages of both generations, from their superblocks down.

use super::{Defect, Finding, Grade, Load, Reference, Stage, Walk};
use crate::{
    Error, KeyspaceId, Lsn,
    catalogue::Catalogue,
    page::{
        Fence, FenceBuf, Held, InnerPage, Leaf, PageFault, PageHeader, PagePtr, PageType, UNIT,
    },
    pager::{Bits, DATA_PAGES, Pager},
    recover::{read_catalogue, read_space},
    superblock::Superblock,
};

/// A generation being walked, or a tree that the journal loads.
struct Generation<'a> {
    number: u64,
    lsn: Lsn,
    /// Units of the file when it was written.
    units: u64,
    pager: &'a Pager,
    is_newest: bool,
    grade: Grade,
    /// Units in which pages lie.
    used: Bits,
    /// Whether every reference could be followed.
    is_complete: bool,
    total: u64,
}

/// A node that a parent refers to.
struct Node {
    ptr: PagePtr,
    keyspace: KeyspaceId,
    /// `None` for a root, which may have any but that of a leaf.
    level: Option<u8>,
    lower: FenceBuf,
    upper: Option<FenceBuf>,
}

impl Walk<'_> {
    pub(super) async fn pages(&mut self) -> Result<(), Error> {
        let found = self.source.found.clone();
        let blocks = found.newest.iter().map(|b| (b, true));
        for (block, is_newest) in blocks.chain(found.other.iter().map(|b| (b, false))) {
            let Some(pager) = self.source.pager else {
                let (file, error) = (self.page_file(), self.source.no_pages());
                self.is_complete = false;
                self.note_error(Grade::Damage, error, (file, 0))?;
                return Ok(());
            };
            let mut generation = Generation {
                number: block.generation,
                lsn: block.lsn,
                units: block.units,
                pager,
                is_newest,
                grade: if is_newest { Grade::Damage } else { Grade::Reserve },
                used: Bits::default(),
                is_complete: true,
                total: block.units * UNIT as u64,
            };
            generation.used.add(0, 1);
            self.generation(&mut generation, block).await?;
            self.is_complete &= generation.is_complete;
            if is_newest {
                self.used = generation.used;
            }
        }
        Ok(())
    }

    /// Walks what a record of the journal loads: its pages are in use from then on, and marked by
    /// no generation before the next.
    pub(super) async fn load(&mut self, load: &Load) -> Result<(), Error> {
        let newest = self.source.found.newest.map_or(Lsn(0), |block| block.lsn);
        let is_behind = load.lsn > newest;
        let grade = if is_behind { Grade::Damage } else { Grade::Reserve };
        let Some(pager) = self.source.pager else {
            let (file, error) = (self.page_file(), self.source.no_pages());
            return self.note_error(grade, error, (file, 0));
        };
        let mut marked = Bits::default();
        load.claim.rows().iter().for_each(|(first, count)| marked.add(*first, *count));
        let mut of = Generation {
            // Whatever was the next one when it was written.
            number: u64::MAX,
            lsn: load.lsn,
            units: marked.end(),
            pager,
            is_newest: false,
            grade,
            used: Bits::default(),
            is_complete: true,
            total: marked.count() * UNIT as u64,
        };
        let shared = (1..marked.end()).find(|unit| marked.has(*unit) && self.used.has(*unit));
        if let Some(unit) = shared.filter(|_| is_behind) {
            let (file, offset) = (self.page_file(), unit * UNIT as u64);
            self.note(Finding { grade, file, offset, keys: None, what: Defect::Shared });
        }
        if is_behind {
            self.used.join(&marked);
        }
        let (lower, upper) = (Fence::FIRST.to_buf(), None);
        let root = Node { ptr: load.root, keyspace: load.keyspace, level: None, lower, upper };
        self.tree(&mut of, root).await?;
        self.space(&of, &marked);
        Ok(())
    }

    fn page_file(&self) -> String {
        format!("{}/{DATA_PAGES}", self.source.dir)
    }

    async fn generation(
        &mut self,
        of: &mut Generation<'_>,
        block: &Superblock,
    ) -> Result<(), Error> {
        // If either of these is damaged, the other generation gives the same state.
        let grade = if self.source.found.other.is_some() { Grade::Reserve } else { of.grade };
        self.take(of, block.catalogue, None);
        self.take(of, block.space, None);
        match read_catalogue(of.pager, block).await {
            Ok(catalogue) => {
                self.count(of, block.catalogue);
                self.keyspaces(of, catalogue).await?;
            }
            Err(error) => {
                of.is_complete = false;
                let at = (self.page_file(), block.catalogue.offset());
                self.note_error(grade, error, at)?;
            }
        }
        match read_space(of.pager, block).await {
            Ok(marked) => {
                self.count(of, block.space);
                self.space(of, &marked);
            }
            Err(error) => {
                let at = (self.page_file(), block.space.offset());
                self.note_error(grade, error, at)?;
            }
        }
        self.tell(Stage::Pages, of.total, of.total);
        Ok(())
    }

    async fn keyspaces(
        &mut self,
        of: &mut Generation<'_>,
        catalogue: Catalogue,
    ) -> Result<(), Error> {
        for segment in catalogue.segments {
            let listed = self.segments.entry(segment.number).or_default();
            listed.bytes = listed.bytes.max(segment.bytes);
            if of.is_newest {
                listed.newest = Some(segment);
            }
        }
        for keyspace in catalogue.keyspaces {
            self.report.keyspaces.entry(keyspace.id).or_insert(keyspace.name);
            for (_, ptr) in keyspace.roots {
                let (lower, upper) = (Fence::FIRST.to_buf(), None);
                let root = Node { ptr, keyspace: keyspace.id, level: None, lower, upper };
                self.tree(of, root).await?;
            }
        }
        Ok(())
    }

    /// Walks a tree, its nodes in the order of their keys.
    async fn tree(&mut self, of: &mut Generation<'_>, root: Node) -> Result<(), Error> {
        let mut left = vec![root];
        while let Some(node) = left.pop() {
            if !self.take(of, node.ptr, Some(&node)) {
                continue;
            }
            let done = of.used.count() * UNIT as u64;
            self.tell(Stage::Pages, done.min(of.total), of.total);
            let (header, image) = match of.pager.read(node.ptr).await {
                Ok(page) => page,
                Err(error) => {
                    of.is_complete = false;
                    let at = (self.page_file(), node.ptr.offset());
                    let error = match error {
                        Error::Corrupt(mut corrupt) => {
                            corrupt.keys = Some(node.range());
                            Error::Corrupt(corrupt)
                        }
                        error => error,
                    };
                    self.note_error(of.grade, error, at)?;
                    continue;
                }
            };
            self.count(of, node.ptr);
            match self.node(of, &node, &header, image) {
                Ok(below) => left.extend(below.into_iter().rev()),
                Err(what) => {
                    of.is_complete = false;
                    self.note_page(of, node.ptr, Some(&node), what);
                }
            }
        }
        Ok(())
    }

    /// What is below a node, if it is what its parent says.
    fn node(
        &mut self,
        of: &Generation<'_>,
        node: &Node,
        header: &PageHeader,
        image: Vec<u8>,
    ) -> Result<Vec<Node>, Defect> {
        let expected = node.level.unwrap_or(header.level.max(1));
        let kind = if expected == 0 { PageType::Leaf } else { PageType::Inner };
        if header.level != expected || header.kind != kind {
            return Err(Defect::Level { found: header.level, expected });
        }
        if header.keyspace != node.keyspace {
            return Err(Defect::Keyspace(header.keyspace));
        }
        if header.generation > of.number {
            return Err(Defect::Generation(header.generation));
        }
        let checkpoint = of.lsn;
        if header.lsn > checkpoint {
            return Err(Defect::Version { found: header.lsn, checkpoint });
        }
        let senseless = || Defect::Fault(PageFault::Senseless.into());
        let upper = node.upper.as_ref().map(FenceBuf::get);
        if expected == 0 {
            let leaf = Leaf::read(image).ok_or_else(senseless)?;
            if (leaf.lower_fence(), leaf.upper_fence()) != (node.lower.get(), upper) {
                return Err(Defect::Fences);
            }
            return self.leaf(of, header, &leaf).map(|()| Vec::new());
        }
        let below = InnerPage::read(&image, |page| {
            let fits = page.children[0].0 == node.lower.get() && page.upper == upper;
            fits.then(|| {
                let ends = page.children.iter().skip(1).map(|(at, _)| Some(*at));
                let pairs = page.children.iter().zip(ends.chain([page.upper]));
                let child = |((lower, ptr), upper): (&(Fence<'_>, PagePtr), Option<Fence<'_>>)| {
                    let (lower, upper) = (lower.to_buf(), upper.map(Fence::to_buf));
                    let level = Some(expected - 1);
                    Node { ptr: *ptr, keyspace: node.keyspace, level, lower, upper }
                };
                pairs.map(child).collect()
            })
        });
        below.ok_or_else(senseless)?.ok_or(Defect::Fences)
    }

    fn leaf(
        &mut self,
        of: &Generation<'_>,
        header: &PageHeader,
        leaf: &Leaf,
    ) -> Result<(), Defect> {
        let mut heap = usize::from(header.lower) + usize::from(header.upper);
        let prefix = leaf.prefix();
        for entry in leaf.entries(0..leaf.count()) {
            heap += entry.size();
            let key_len = prefix.len() + entry.suffix.len();
            if entry.version > header.lsn {
                let (found, checkpoint) = (entry.version, header.lsn);
                return Err(Defect::Version { found, checkpoint });
            }
            if of.is_newest {
                self.report.totals.entries += 1;
                let is_tombstone = entry.held == Held::Tombstone;
                self.report.totals.tombstones += u64::from(is_tombstone);
            }
            let Held::Pointer(pointer) = entry.held else { continue };
            if usize::from(pointer.key_len) != key_len {
                return Err(Defect::Count);
            }
            let key = [prefix, entry.suffix].concat();
            let (grade, keyspace, version) = (of.grade, header.keyspace, entry.version);
            // Both generations have it, most often; the newest was first.
            let reference = Reference { grade, keyspace, key, version, pointer };
            self.references.entry((pointer.segment, pointer.offset)).or_insert(reference);
        }
        let live = (header.heap - header.dead) as usize;
        if heap == live { Ok(()) } else { Err(Defect::Count) }
    }

    /// Notes that a page lies where `ptr` says. Whether it may be read.
    fn take(&mut self, of: &mut Generation<'_>, ptr: PagePtr, node: Option<&Node>) -> bool {
        let units = ptr.unit..ptr.unit + u64::from(ptr.units);
        let what = if units.end > of.units {
            Defect::Beyond
        } else if units.clone().any(|unit| of.used.has(unit)) {
            Defect::Shared
        } else {
            of.used.add(ptr.unit, ptr.units.into());
            return true;
        };
        of.is_complete = false;
        self.note_page(of, ptr, node, what);
        false
    }

    fn count(&mut self, of: &Generation<'_>, ptr: PagePtr) {
        if of.is_newest {
            self.report.totals.pages += 1;
            self.report.totals.page_bytes += ptr.size() as u64;
        }
    }

    fn note_page(&mut self, of: &Generation<'_>, at: PagePtr, node: Option<&Node>, what: Defect) {
        let (file, keys) = (self.page_file(), node.map(Node::range));
        self.note(Finding { grade: of.grade, file, offset: at.offset(), keys, what });
    }

    /// Compares the units that are marked with those that pages lie in.
    fn space(&mut self, of: &Generation<'_>, marked: &Bits) {
        let mut unit = 0;
        while unit < of.units {
            let state = |unit: u64| (of.used.has(unit), marked.has(unit));
            let (first, here) = (unit, state(unit));
            while unit < of.units && state(unit) == here {
                unit += 1;
            }
            let (grade, what) = match here {
                (true, false) => (of.grade, Defect::Unmarked(unit - first)),
                // What could not be followed may lie there.
                (false, true) if of.is_complete => (Grade::Waste, Defect::Leaked(unit - first)),
                _ => continue,
            };
            let (file, offset) = (self.page_file(), first * UNIT as u64);
            self.note(Finding { grade, file, offset, keys: None, what });
        }
    }
}

impl Node {
    fn range(&self) -> crate::Range {
        let upper = self.upper.as_ref().map(|upper| upper.key.to_vec());
        (self.keyspace, self.lower.key.to_vec(), upper)
    }
}
