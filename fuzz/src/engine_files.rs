//! Whatever stands in a file of the engine, reading it neither panics nor takes it for more than it
//! is: what is read back as something is that, byte for byte.
//! Method: the input is a file, and it is what stands between a right magic and a right checksum,
//! or else little behind the first look would be reached.

use crc32c::crc32c;
use orloj_storage::{
    Lsn,
    catalogue::{Catalogue, decode_space, encode_space},
    journal::{DatabaseId, SECTOR, SegmentHeader},
    manifest::Manifest,
    page::{PAGE_HEAD, PageHeader, UNIT},
    superblock::Superblock,
    vlog::{SegmentHead, decode, encode},
};

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    look(data);
    let mut manifest = (data.len() as u32).to_le_bytes().to_vec();
    manifest.extend_from_slice(data);
    let sum = crc32c(&manifest);
    manifest.extend_from_slice(&sum.to_le_bytes());
    look(&manifest);
    for magic in [b"orlojsup", b"orlojval", b"orlojwal"] {
        let mut head = magic.to_vec();
        head.extend_from_slice(&data[..data.len().min(SECTOR - 12)]);
        head.resize(SECTOR - 4, 0);
        let sum = crc32c(&head);
        head.extend_from_slice(&sum.to_le_bytes());
        look(&head);
    }
}

fn look(data: &[u8]) {
    let _ = SegmentHeader::decode(data);
    if let Ok(manifest) = Manifest::decode(data) {
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }
    if let Ok(block) = Superblock::decode(data) {
        assert_eq!(Superblock::decode(&block.encode()), Ok(block));
    }
    if let Some(header) = PageHeader::read(data) {
        let mut again = [0; PAGE_HEAD];
        header.write(&mut again);
        assert_eq!(again[4..], data[4..PAGE_HEAD]);
    }
    // Bodies stand behind a head that was judged before them.
    let page = [&[0; PAGE_HEAD], data].concat();
    if let Some(catalogue) = Catalogue::decode(&page) {
        assert_eq!(Catalogue::decode(&catalogue.encode(Lsn(0))), Some(catalogue));
    }
    let units = data.len() as u64 * 5;
    if let Some(used) = decode_space(&page, units) {
        let size = page.len().next_multiple_of(UNIT);
        assert_eq!(decode_space(&encode_space(&used, units, size, Lsn(0)), units), Some(used));
    }
    let head = SegmentHead { database: DatabaseId(1), number: 1, salt: 2 };
    let _ = SegmentHead::decode(data);
    if let Ok((record, sum)) = decode(data, &head, 1024) {
        let mut again = Vec::new();
        let pointer = encode(&mut again, &head, 1024, &record);
        assert!(data.starts_with(&again) && pointer.sum == sum);
    }
}
