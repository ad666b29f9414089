//! The head of every page, and the seal under which a page goes to disk.

use crc32c::crc32c_append;

use super::{PagePtr, UNIT, UNITS_MAX};
use crate::{KeyspaceId, Lsn, encoding::Reader, journal::DatabaseId};

/// Bytes of a page's head.
pub const PAGE_HEAD: usize = 80;

/// The flag of a page whose keys have no upper bound.
const NO_UPPER: u16 = 1;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageType {
    /// Entries of a tree.
    Leaf,
    /// References to the nodes below.
    Inner,
    /// Every keyspace and every value segment.
    Catalogue,
    /// Which units are in use.
    Space,
}

impl PageType {
    fn byte(self) -> u8 {
        match self {
            PageType::Leaf => 1,
            PageType::Inner => 2,
            PageType::Catalogue => 3,
            PageType::Space => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<PageType> {
        Some(match byte {
            1 => PageType::Leaf,
            2 => PageType::Inner,
            3 => PageType::Catalogue,
            4 => PageType::Space,
            _ => return None,
        })
    }
}

/// What a page says about itself. The checksum is no part of it; [`seal`] and [`open`] see to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHeader {
    /// What it is.
    pub kind: PageType,
    /// 0 for a leaf, 1 for the nodes above leaves, and so on.
    pub level: u8,
    /// Whether its keys have no upper fence.
    pub no_upper: bool,
    /// Where it lies.
    pub unit: u64,
    /// The checkpoint that wrote it, or for which it was written.
    pub generation: u64,
    /// The newest version in it.
    pub lsn: Lsn,
    /// The keyspace it belongs to.
    pub keyspace: KeyspaceId,
    /// Bytes of its image: whole units on disk, any number in memory.
    pub len: u32,
    /// How many slots it has.
    pub count: u32,
    /// Bytes of its heap, counted from the end: fences, entries and dead bytes.
    pub heap: u32,
    /// Bytes that the keys between its fences have in common.
    pub prefix: u16,
    /// Bytes of its lower fence.
    pub lower: u16,
    /// Bytes of its upper fence.
    pub upper: u16,
    /// The newest version at its lower fence that belongs to it.
    pub lower_version: Lsn,
    /// The newest version at its upper fence that no longer belongs to it.
    pub upper_version: Lsn,
    /// Bytes of the heap to which no slot refers.
    pub dead: u32,
}

/// Why bytes are not the page that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// The checksum over its bytes fails.
    #[error("its checksum fails")]
    Sum,
    /// It is intact, and not the one its parent refers to: a write was lost or went astray.
    #[error("it is an older page, or another one")]
    Stale,
    /// It is the right one and makes no sense: a defect of the release that wrote it.
    #[error("its head makes no sense")]
    Senseless,
    /// The file ends before the page does.
    #[error("the file ends within it")]
    Short,
}

impl PageHeader {
    /// Writes it to the beginning of `image`, whose checksum becomes void.
    pub fn write(&self, image: &mut [u8]) {
        let mut at = 4;
        let mut put = |bytes: &[u8]| {
            image[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&[self.kind.byte(), self.level]);
        put(&(if self.no_upper { NO_UPPER } else { 0 }).to_le_bytes());
        put(&self.unit.to_le_bytes());
        put(&self.generation.to_le_bytes());
        put(&self.lsn.0.to_le_bytes());
        for half in [self.keyspace.0, self.len, self.count, self.heap] {
            put(&half.to_le_bytes());
        }
        for short in [self.prefix, self.lower, self.upper, 0] {
            put(&short.to_le_bytes());
        }
        put(&self.lower_version.0.to_le_bytes());
        put(&self.upper_version.0.to_le_bytes());
        put(&self.dead.to_le_bytes());
        put(&[0; 4]);
        assert_eq!(at, PAGE_HEAD);
    }

    /// Reads it off the beginning of `image`; `None` if it makes no sense.
    pub fn read(image: &[u8]) -> Option<PageHeader> {
        let mut from = Reader(image.get(4..PAGE_HEAD)?);
        let (kind, level, flags) = (PageType::from_byte(from.byte()?)?, from.byte()?, from.u16()?);
        let (unit, generation, lsn) = (from.u64()?, from.u64()?, Lsn(from.u64()?));
        let (keyspace, len) = (KeyspaceId(from.u32()?), from.u32()?);
        let (count, heap) = (from.u32()?, from.u32()?);
        let (prefix, lower, upper, zero) = (from.u16()?, from.u16()?, from.u16()?, from.u16()?);
        let (lower_version, upper_version) = (Lsn(from.u64()?), Lsn(from.u64()?));
        let (dead, end) = (from.u32()?, from.u32()?);
        let header = PageHeader {
            kind,
            level,
            no_upper: flags == NO_UPPER,
            unit,
            generation,
            lsn,
            keyspace,
            len,
            count,
            heap,
            prefix,
            lower,
            upper,
            lower_version,
            upper_version,
            dead,
        };
        let sane = flags & !NO_UPPER == 0 && zero == 0 && end == 0 && header.is_sane();
        sane.then_some(header)
    }

    fn is_sane(&self) -> bool {
        let fences = u32::from(self.lower) + u32::from(self.upper);
        let is_tree = matches!(self.kind, PageType::Leaf | PageType::Inner);
        let used = PAGE_HEAD as u64
            + if is_tree { u64::from(self.count) * 8 } else { 0 }
            + u64::from(self.heap);
        let prefix_ok = self.prefix <= self.lower && (self.no_upper || self.prefix <= self.upper);
        used <= u64::from(self.len)
            && u64::from(fences) + u64::from(self.dead) <= u64::from(self.heap)
            && prefix_ok
            && !(self.no_upper && (self.upper > 0 || self.prefix > 0))
            && (self.kind == PageType::Inner) == (self.level > 0)
    }
}

fn checksum(image: &[u8], database: DatabaseId, unit: u64) -> u32 {
    let seed = crc32c_append(0, &database.0.to_le_bytes());
    crc32c_append(crc32c_append(seed, &unit.to_le_bytes()), &image[4..])
}

/// Makes `image` ready for its place on disk: address, generation, length and checksum.
///
/// `image` is whole units and begins with a head. What it returns goes to the parent.
pub fn seal(image: &mut [u8], database: DatabaseId, unit: u64, generation: u64) -> PagePtr {
    assert!(image.len().is_multiple_of(UNIT), "a page of {} bytes", image.len());
    let units = (image.len() / UNIT) as u32;
    assert!((1..=UNITS_MAX).contains(&units) && unit > 0, "{units} units at {unit}");
    let mut header = PageHeader::read(image).expect("a page to be sealed begins with a head");
    header.len = image.len() as u32;
    (header.unit, header.generation) = (unit, generation);
    header.write(image);
    let sum = checksum(image, database, unit);
    image[..4].copy_from_slice(&sum.to_le_bytes());
    PagePtr { unit, units: units as u16, sum, generation: generation as u32 }
}

/// The head of the page that `ptr` refers to, if `image` is that page.
///
/// # Errors
/// [`PageFault`]: nothing in `image` may be believed.
pub fn open(image: &[u8], database: DatabaseId, ptr: PagePtr) -> Result<PageHeader, PageFault> {
    if image.len() < ptr.size() {
        return Err(PageFault::Short);
    }
    let sum = checksum(image, database, ptr.unit);
    if Reader(image).u32() != Some(sum) {
        return Err(PageFault::Sum);
    }
    if sum != ptr.sum {
        return Err(PageFault::Stale);
    }
    let header = PageHeader::read(image).ok_or(PageFault::Senseless)?;
    let is_it = header.unit == ptr.unit
        && header.len as usize == image.len()
        && image.len() == ptr.size()
        && header.generation as u32 == ptr.generation;
    if is_it { Ok(header) } else { Err(PageFault::Senseless) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: DatabaseId = DatabaseId(7);

    fn header() -> PageHeader {
        PageHeader {
            kind: PageType::Leaf,
            level: 0,
            no_upper: false,
            unit: 0x11,
            generation: 0x22,
            lsn: Lsn(0x33),
            keyspace: KeyspaceId(0x44),
            len: 4096,
            count: 2,
            heap: 100,
            prefix: 3,
            lower: 5,
            upper: 6,
            lower_version: Lsn(u64::MAX),
            upper_version: Lsn(8),
            dead: 9,
        }
    }

    fn image(units: usize) -> Vec<u8> {
        let mut image = vec![0; units * UNIT];
        header().write(&mut image);
        image
    }

    #[test]
    fn golden() {
        #[rustfmt::skip]
        let golden: [u8; PAGE_HEAD] = [
            0, 0, 0, 0, 1, 0, 0, 0,
            0x11, 0, 0, 0, 0, 0, 0, 0, 0x22, 0, 0, 0, 0, 0, 0, 0, 0x33, 0, 0, 0, 0, 0, 0, 0,
            0x44, 0, 0, 0, 0, 16, 0, 0, 2, 0, 0, 0, 100, 0, 0, 0,
            3, 0, 5, 0, 6, 0, 0, 0,
            255, 255, 255, 255, 255, 255, 255, 255, 8, 0, 0, 0, 0, 0, 0, 0,
            9, 0, 0, 0, 0, 0, 0, 0,
        ];
        let mut bytes = [0; PAGE_HEAD];
        header().write(&mut bytes);
        assert_eq!(bytes, golden);
        assert_eq!(PageHeader::read(&golden), Some(header()));
        let ptr = seal(&mut image(1), ME, 3, 4);
        assert_eq!(ptr.sum, GOLDEN_SUM);
    }

    /// Of the image above, sealed for unit 3 of database 7; computed by another program.
    const GOLDEN_SUM: u32 = 0xcec1_48da;

    #[test]
    fn every_flipped_bit_is_found() {
        let mut image = image(1);
        let ptr = seal(&mut image, ME, 3, 4);
        let sealed = PageHeader { unit: 3, generation: 4, ..header() };
        assert_eq!(open(&image, ME, ptr), Ok(sealed));
        for at in 0..image.len() {
            image[at] ^= 0x10;
            assert_eq!(open(&image, ME, ptr), Err(PageFault::Sum), "byte {at}");
            image[at] ^= 0x10;
        }
    }

    #[test]
    fn a_page_that_is_not_the_one_meant_is_refused() {
        let mut old = image(1);
        let before = seal(&mut old, ME, 3, 4);
        let mut new = image(1);
        new[UNIT - 1] = 1;
        let after = seal(&mut new, ME, 3, 4);
        assert_eq!(open(&old, ME, after), Err(PageFault::Stale), "the newer write was lost");
        let elsewhere = PagePtr { unit: 5, ..before };
        assert_eq!(open(&old, ME, elsewhere), Err(PageFault::Sum), "it lies at another place");
        assert_eq!(open(&old, DatabaseId(8), before), Err(PageFault::Sum), "another database's");
        assert_eq!(open(&old[..512], ME, before), Err(PageFault::Short));
        let longer = PagePtr { units: 2, ..before };
        assert_eq!(open(&old, ME, longer), Err(PageFault::Short));
    }

    #[test]
    fn a_head_that_claims_more_than_there_is_makes_no_sense() {
        let senseless = [
            PageHeader { count: 600, ..header() },
            PageHeader { heap: 4096, ..header() },
            PageHeader { dead: 90, ..header() },
            PageHeader { prefix: 6, ..header() },
            PageHeader { no_upper: true, ..header() },
            PageHeader { level: 1, ..header() },
        ];
        for header in senseless {
            let mut bytes = [0; PAGE_HEAD];
            header.write(&mut bytes);
            assert_eq!(PageHeader::read(&bytes), None, "{header:?}");
        }
    }
}
