//! The pages of a generation, in an order in which each stands behind all that it refers to: read
//! from the file of pages, and made those of another database.

use std::collections::BTreeMap;

use super::{BackupError, Flaw};
use crate::{
    Error,
    catalogue::Catalogue,
    journal::DatabaseId,
    page::{Held, InnerPage, Leaf, PageFault, PageHeader, PagePtr, PageType, open, seal},
    pager::Pager,
    recover::read_catalogue,
    superblock::Superblock,
    vlog::ValueLog,
};

enum Step {
    Enter(PagePtr),
    Leave(Vec<u8>),
}

/// The pages of `block`, judged one by one as they are read; and every long value that one refers
/// to is read too, so that no damage gets into a backup unnoticed.
pub(super) struct PageWalk<'a> {
    pager: &'a Pager,
    values: &'a ValueLog,
    /// What is left, the next one last.
    left: Vec<Step>,
}

impl<'a> PageWalk<'a> {
    /// Begins a walk. The generation must be held meanwhile.
    ///
    /// # Errors
    /// As [`crate::pager::Pager::read`].
    pub(super) async fn begin(
        pager: &'a Pager,
        values: &'a ValueLog,
        block: &Superblock,
    ) -> Result<(PageWalk<'a>, Catalogue), Error> {
        let catalogue = read_catalogue(pager, block).await?;
        let roots = catalogue.keyspaces.iter().flat_map(|keyspace| &keyspace.roots);
        let last = [Step::Enter(block.space), Step::Enter(block.catalogue)];
        let left = last.into_iter().chain(roots.map(|(_, root)| Step::Enter(*root))).collect();
        Ok((PageWalk { pager, values, left }, catalogue))
    }

    /// The next page.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: the database is damaged there. [`Error::Disk`].
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            let ptr = match self.left.pop() {
                None => return Ok(None),
                Some(Step::Leave(image)) => return Ok(Some(image)),
                Some(Step::Enter(ptr)) => ptr,
            };
            let (header, image) = self.pager.read(ptr).await?;
            let senseless = || self.pager.corrupt(ptr, PageFault::Senseless, None);
            match header.kind {
                PageType::Catalogue | PageType::Space => return Ok(Some(image)),
                PageType::Leaf => {
                    self.values(&header, &image).await?.ok_or_else(senseless)?;
                    return Ok(Some(image));
                }
                PageType::Inner => {
                    let below = InnerPage::read(&image, |page| {
                        page.children.iter().map(|(_, ptr)| Step::Enter(*ptr)).collect::<Vec<_>>()
                    });
                    self.left.push(Step::Leave(image));
                    self.left.extend(below.ok_or_else(senseless)?.into_iter().rev());
                }
            }
        }
    }

    /// Reads the long values of a leaf; `None` if it makes no sense.
    async fn values(&self, header: &PageHeader, image: &[u8]) -> Result<Option<()>, Error> {
        let Some(leaf) = Leaf::read(image.to_vec()) else { return Ok(None) };
        for at in 0..leaf.count() {
            let (key, version, pointer) = {
                let entry = leaf.entry(at);
                let Held::Pointer(pointer) = entry.held else { continue };
                ([leaf.prefix(), entry.suffix].concat(), entry.version, pointer)
            };
            self.values.read(pointer, header.keyspace, &key, version).await?;
        }
        Ok(Some(()))
    }
}

/// Makes pages of one database those of another, in the order of [`PageWalk`]. A page is believed
/// if its own checksum is right, and counts in the end if the one behind it refers to it as it was.
pub(super) struct Reseal {
    from: DatabaseId,
    to: DatabaseId,
    /// Pages to which nothing referred yet, by unit: as they were, and as they are.
    pending: BTreeMap<u64, (PagePtr, PagePtr)>,
}

impl Reseal {
    pub(super) fn new(from: DatabaseId, to: DatabaseId) -> Reseal {
        Reseal { from, to, pending: BTreeMap::new() }
    }

    /// Takes the first page off `bytes`; what is left of them is what is behind it.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<(PagePtr, Vec<u8>), Flaw> {
        let header = PageHeader::read(bytes).ok_or(Flaw::Senseless)?;
        let len = header.len as usize;
        let (image, rest) = bytes.split_at_checked(len).ok_or(PageFault::Short)?;
        *bytes = rest;
        let units = len / crate::page::UNIT;
        let sum = u32::from_le_bytes(image[..4].try_into().expect("four bytes"));
        let generation = header.generation as u32;
        let units = u16::try_from(units).ok().filter(|units| *units > 0).ok_or(Flaw::Senseless)?;
        let old = PagePtr { unit: header.unit, units, sum, generation };
        if old.unit == 0 || old.unit >= 1 << 48 {
            return Err(Flaw::Senseless);
        }
        open(image, self.from, old)?;
        let mut image = match header.kind {
            PageType::Leaf | PageType::Space => image.to_vec(),
            PageType::Inner => InnerPage::read(image, |page| {
                let mut page = page.clone();
                for (_, child) in &mut page.children {
                    *child = self.refer(*child)?;
                }
                Ok::<_, Flaw>(page.encode())
            })
            .ok_or(Flaw::Senseless)??,
            PageType::Catalogue => {
                let mut catalogue = Catalogue::decode(image).ok_or(Flaw::Senseless)?;
                for (_, root) in catalogue.keyspaces.iter_mut().flat_map(|k| &mut k.roots) {
                    *root = self.refer(*root)?;
                }
                catalogue.encode(header.lsn)
            }
        };
        // References are replaced by others of the same size.
        if image.len() != len {
            return Err(Flaw::Senseless);
        }
        let new = seal(&mut image, self.to, header.unit, header.generation);
        match self.pending.insert(old.unit, (old, new)) {
            None => Ok((new, image)),
            Some(_) => Err(Flaw::Misfit),
        }
    }

    /// The reference to what was `old`.
    fn refer(&mut self, old: PagePtr) -> Result<PagePtr, Flaw> {
        match self.pending.remove(&old.unit) {
            Some((was, new)) if was == old => Ok(new),
            _ => Err(Flaw::Misfit),
        }
    }

    /// A superblock of the new database, if these were all pages of `block`.
    pub(super) fn finish(mut self, block: &Superblock) -> Result<Superblock, Flaw> {
        let (catalogue, space) = (self.refer(block.catalogue)?, self.refer(block.space)?);
        if !self.pending.is_empty() {
            return Err(Flaw::Misfit);
        }
        // A first generation is one that the whole journal can make up for: this one is not.
        let (database, generation, previous_lsn) = (self.to, block.generation + 1, block.lsn);
        Ok(Superblock { database, generation, previous_lsn, catalogue, space, ..*block })
    }
}

/// Whatever is wrong with the pages concerns the object they are in.
pub(super) fn damaged(object: &str) -> impl Fn(Flaw) -> BackupError {
    move |what| BackupError::damaged(object, what)
}
