//! Value-log segments and records as bytes.

use crc32c::{crc32c, crc32c_append};

use crate::{
    KeyspaceId, Lsn,
    encoding::Reader,
    journal::{DatabaseId, SECTOR},
    page::ValuePointer,
    superblock::FORMAT,
};

/// Bytes of a record before its key.
pub const RECORD_HEAD: usize = 24;
/// Where a segment's first record stands: behind two copies of its head.
pub(crate) const FIRST_RECORD: u64 = 2 * SECTOR as u64;

const MAGIC: &[u8; 8] = b"orlojval";
const SUM: usize = SECTOR - 4;

/// What a segment says about itself, in its first sector and again in its second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// The database it belongs to.
    pub database: DatabaseId,
    /// Its number; later ones have higher ones.
    pub number: u32,
    /// Random; part of every checksum in the segment.
    pub salt: u64,
}

impl SegmentHead {
    /// Both copies, as they stand at the file's beginning.
    pub fn encode(&self) -> Vec<u8> {
        let mut sector = Vec::with_capacity(2 * SECTOR);
        sector.extend_from_slice(MAGIC);
        sector.extend_from_slice(&FORMAT.0.to_le_bytes());
        sector.extend_from_slice(&FORMAT.1.to_le_bytes());
        sector.extend_from_slice(&(SECTOR as u32).to_le_bytes());
        sector.extend_from_slice(&self.database.0.to_le_bytes());
        sector.extend_from_slice(&u64::from(self.number).to_le_bytes());
        sector.extend_from_slice(&self.salt.to_le_bytes());
        sector.resize(SUM, 0);
        let sum = crc32c(&sector);
        sector.extend_from_slice(&sum.to_le_bytes());
        sector.extend_from_within(..);
        sector
    }

    /// Reads the head off the beginning of a segment, from whichever copy is intact; `None` if
    /// there is none of a format this release reads.
    pub fn decode(image: &[u8]) -> Option<SegmentHead> {
        let intact =
            |s: &&[u8]| s.starts_with(MAGIC) && Reader(&s[SUM..]).u32() == Some(crc32c(&s[..SUM]));
        let copy = image.chunks_exact(SECTOR).take(2).find(intact)?;
        let mut from = Reader(&copy[MAGIC.len()..]);
        let (major, _minor, sector) = (from.u16()?, from.u16()?, from.u32()?);
        let database = DatabaseId(from.u128()?);
        let (number, salt) = (u32::try_from(from.u64()?).ok()?, from.u64()?);
        let known = major == FORMAT.0 && sector as usize == SECTOR && number > 0;
        known.then_some(SegmentHead { database, number, salt })
    }
}

/// The file name of segment `number`.
pub(super) fn file_name(number: u32) -> String {
    format!("vlog-{number:06}.seg")
}

/// The number in a segment's file name.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_prefix("vlog-")?.strip_suffix(".seg")?.parse().ok()?;
    (number > 0 && file_name(number) == name).then_some(number)
}

/// A value, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The keyspace of its key.
    pub keyspace: KeyspaceId,
    /// The version of its key.
    pub version: Lsn,
    /// Its key.
    pub key: &'a [u8],
    /// The value itself.
    pub value: &'a [u8],
}

/// Why bytes are not the record that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// The file ends within it.
    #[error("the file ends within it")]
    Short,
    /// The checksum over its bytes fails.
    #[error("its checksum fails")]
    Sum,
    /// It is intact, and another one.
    #[error("it is another record")]
    Other,
}

/// Bytes of a record.
pub fn record_size(key: usize, value: usize) -> usize {
    RECORD_HEAD + key + value
}

fn seed(salt: u64, offset: u64) -> u32 {
    crc32c_append(crc32c(&salt.to_le_bytes()), &offset.to_le_bytes())
}

/// Appends `record` to `out`, to stand at byte `offset` of the segment of `head`. Returns what
/// refers to it.
pub fn encode(
    out: &mut Vec<u8>,
    head: &SegmentHead,
    offset: u64,
    record: &Record<'_>,
) -> ValuePointer {
    let start = out.len();
    let key_len = u16::try_from(record.key.len()).expect("a key is below 64 KiB");
    let len = u32::try_from(record.value.len()).expect("a value is below 4 GiB");
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&record.keyspace.0.to_le_bytes());
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&record.version.0.to_le_bytes());
    out.extend_from_slice(record.key);
    out.extend_from_slice(record.value);
    let sum = crc32c_append(seed(head.salt, offset), &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    ValuePointer { segment: head.number, key_len, offset, len, sum }
}

/// The record at the beginning of `bytes`, which stand at byte `offset` of the segment of `head`,
/// and its checksum.
///
/// # Errors
/// [`RecordFault::Short`] and [`RecordFault::Sum`].
pub fn decode<'a>(
    bytes: &'a [u8],
    head: &SegmentHead,
    offset: u64,
) -> Result<(Record<'a>, u32), RecordFault> {
    let read = || -> Option<(u32, u16, Record<'a>)> {
        let mut from = Reader(bytes);
        let (sum, len) = (from.u32()?, from.u32()?);
        let (keyspace, key_len) = (KeyspaceId(from.u32()?), from.u16()?);
        let (zero, version) = (from.u16()?, Lsn(from.u64()?));
        let key = from.take(usize::from(key_len))?;
        let value = from.take(len as usize)?;
        Some((sum, zero, Record { keyspace, version, key, value }))
    };
    let (sum, zero, record) = read().ok_or(RecordFault::Short)?;
    let size = record_size(record.key.len(), record.value.len());
    let is_right = sum == crc32c_append(seed(head.salt, offset), &bytes[4..size]) && zero == 0;
    is_right.then_some((record, sum)).ok_or(RecordFault::Sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: SegmentHead =
        SegmentHead { database: DatabaseId(0x0100), number: 0x0302, salt: 0x0504 };
    const RECORD: Record<'_> =
        Record { keyspace: KeyspaceId(16), version: Lsn(0x0102), key: b"key", value: b"value" };

    #[test]
    fn a_segment_head_is_golden() {
        let bytes = HEAD.encode();
        assert_eq!(bytes.len(), 2 * SECTOR);
        let golden = b"orlojval\x01\0\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
            \x02\x03\0\0\0\0\0\0\x04\x05\0\0\0\0\0\0";
        assert_eq!(&bytes[..golden.len()], golden);
        assert!(bytes[golden.len()..SUM].iter().all(|b| *b == 0));
        assert_eq!(bytes[..SECTOR], bytes[SECTOR..]);
        assert_eq!(SegmentHead::decode(&bytes), Some(HEAD));
        for at in 0..SECTOR {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(SegmentHead::decode(&damaged), Some(HEAD), "byte {at}");
            damaged[SECTOR + at] ^= 1;
            assert_eq!(SegmentHead::decode(&damaged), None, "byte {at}");
        }
    }

    #[test]
    fn a_record_is_golden_and_every_flipped_bit_is_found() {
        let mut bytes = vec![9];
        let pointer = encode(&mut bytes, &HEAD, 1024, &RECORD);
        bytes.remove(0);
        let golden = b"\x05\0\0\0\x10\0\0\0\x03\0\0\0\x02\x01\0\0\0\0\0\0keyvalue";
        assert_eq!(&bytes[4..], golden);
        assert_eq!(bytes.len(), record_size(3, 5));
        let expected =
            ValuePointer { segment: 0x0302, key_len: 3, offset: 1024, len: 5, sum: GOLDEN_SUM };
        assert_eq!(pointer, expected);
        assert_eq!(decode(&bytes, &HEAD, 1024), Ok((RECORD, pointer.sum)));
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes, &HEAD, 1024).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(decode(&bytes, &HEAD, 1025), Err(RecordFault::Sum), "another place");
        let salted = SegmentHead { salt: 1, ..HEAD };
        assert_eq!(decode(&bytes, &salted, 1024), Err(RecordFault::Sum), "another segment");
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end], &HEAD, 1024), Err(RecordFault::Short));
        }
    }

    /// Computed by another program.
    const GOLDEN_SUM: u32 = 0xa4d0_1692;

    #[test]
    fn file_names_are_exact() {
        assert_eq!(file_name(7), "vlog-000007.seg");
        for number in [1, 999_999, 1_000_000, u32::MAX] {
            assert_eq!(number_of(&file_name(number)), Some(number));
        }
        for name in ["vlog-1.seg", "vlog-000000.seg", "vlog-000001.new", "wal-000001.seg"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
