//! The head of a segment: which database, which place in its order, where its predecessor ends.

use std::fmt;

use crc32c::crc32c;

use super::{Lsn, frame::SECTOR, frame::half};

/// The format this release writes: major, minor. It reads every minor of its major.
pub const FORMAT: (u16, u16) = (1, 0);
/// Where a segment's first frame stands: behind two copies of its head.
pub const FIRST_FRAME: u64 = 2 * SECTOR as u64;

const MAGIC: &[u8; 8] = b"orlojwal";
/// The checksum takes the last four bytes of the sector.
const SUM: usize = SECTOR - 4;

/// Names one database for ever, drawn at random when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseId(pub u128);

impl fmt::Display for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a segment says about itself, in its first sector and again in its second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The database it belongs to.
    pub database: DatabaseId,
    /// Its number; later segments have higher ones.
    pub number: u64,
    /// Random; part of every checksum in the segment.
    pub salt: u64,
    /// The position of its first record.
    pub base: Lsn,
    /// The number of the segment before it; 0 for the first.
    pub previous: u64,
    /// Where that one ends, in bytes. Whatever stands there from here on does not count.
    pub previous_end: u64,
    /// Bytes that were written and synced before the segment was first used.
    pub capacity: u64,
}

/// Why a file's first two sectors are no segment head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Neither copy passes its checksum.
    Damaged,
    /// It is one, of a format that this release does not read.
    Newer {
        /// Its major version.
        major: u16,
    },
}

impl SegmentHeader {
    /// Both copies, as they stand at the file's beginning.
    pub fn encode(&self) -> Vec<u8> {
        let mut sector = [0; SECTOR];
        sector[..8].copy_from_slice(MAGIC);
        sector[8..10].copy_from_slice(&FORMAT.0.to_le_bytes());
        sector[10..12].copy_from_slice(&FORMAT.1.to_le_bytes());
        sector[12..16].copy_from_slice(&(SECTOR as u32).to_le_bytes());
        sector[16..32].copy_from_slice(&self.database.0.to_le_bytes());
        let words =
            [self.number, self.salt, self.base.0, self.previous, self.previous_end, self.capacity];
        for (index, word) in words.into_iter().enumerate() {
            sector[32 + 8 * index..40 + 8 * index].copy_from_slice(&word.to_le_bytes());
        }
        let sum = crc32c(&sector[..SUM]);
        sector[SUM..].copy_from_slice(&sum.to_le_bytes());
        [sector, sector].concat()
    }

    /// Reads the head off the beginning of a segment, from whichever copy is intact.
    pub fn decode(image: &[u8]) -> Result<SegmentHeader, HeaderError> {
        let copy = image
            .chunks_exact(SECTOR)
            .take(2)
            .find(|s| s.starts_with(MAGIC) && crc32c(&s[..SUM]) == half(s, SUM))
            .ok_or(HeaderError::Damaged)?;
        // Magic, major and checksum stay where they are in every format to come.
        let major = u16::from_le_bytes([copy[8], copy[9]]);
        if major != FORMAT.0 {
            return Err(HeaderError::Newer { major });
        }
        Ok(SegmentHeader {
            database: DatabaseId(u128::from_le_bytes(copy[16..32].try_into().expect("16 bytes"))),
            number: word(copy, 32),
            salt: word(copy, 40),
            base: Lsn(word(copy, 48)),
            previous: word(copy, 56),
            previous_end: word(copy, 64),
            capacity: word(copy, 72),
        })
    }
}

/// The file name of segment `number`.
pub(super) fn file_name(number: u64) -> String {
    format!("wal-{number:06}.seg")
}

/// The name under which segment `number` is made ready.
pub(super) fn new_name(number: u64) -> String {
    format!("wal-{number:06}.new")
}

/// The number in a segment's file name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("wal-")?.strip_suffix(".seg")?;
    let number = digits.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// The little-endian u64 at `bytes[at..]`.
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
