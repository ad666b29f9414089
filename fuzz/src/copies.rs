//! Goal: no bytes in an export or in the inventory of a backup make its decoder panic, and what is
//! read as an inventory is that, byte for byte.
//! Method: where the first byte says so, the checksums are put right first, or else nothing behind
//! the first check would be reached; an export comes in pieces of drawn size.

use crc32c::{crc32c, crc32c_append};
use orloj_storage::{
    backup::Inventory,
    export::{ExportFault, Line, Reading},
    journal::Records,
};

/// Bytes of the head of an export without its checksum.
const HEAD: usize = 44;

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    let Some(([flags, run], bytes)) = data.split_first_chunk() else { return };
    let mut bytes = bytes.to_vec();
    if flags & 1 == 1 {
        put_right(&mut bytes);
    }
    read(&bytes, usize::from(*run) + 1);
    if flags & 2 == 2 {
        let sum = crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
    }
    if let Ok(inventory) = Inventory::decode("object", &bytes) {
        assert_eq!(Inventory::decode("object", &inventory.encode()), Ok(inventory));
    }
    if let Some(records) = Records::decode(bytes) {
        assert_eq!(records.iter().count() as u32, records.count());
    }
}

/// Reads an export to its end, or to where it makes no sense.
fn read(bytes: &[u8], run: usize) {
    let mut reading = Reading::new();
    let mut left = bytes.chunks(run);
    let mut ended = false;
    loop {
        match reading.line() {
            Ok(Some(line)) => {
                assert!(!ended, "a line behind the end");
                ended = matches!(line, Line::End(_));
            }
            Ok(None) | Err(ExportFault::Short) => match left.next() {
                Some(piece) => reading.feed(piece),
                None => break,
            },
            Err(_) => break,
        }
    }
    assert!(reading.offset() <= bytes.len() as u64);
}

/// Gives the head and every line, as far as their lengths lead, the checksum they must have.
fn put_right(bytes: &mut [u8]) {
    if bytes.len() < HEAD + 4 {
        return;
    }
    let mut sum = crc32c(&bytes[..HEAD]);
    bytes[HEAD..HEAD + 4].copy_from_slice(&sum.to_le_bytes());
    let mut at = HEAD + 4;
    while let Some(len) = bytes.get(at + 4..at + 8) {
        let len = u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
        let Some(line) = bytes.get(at + 4..at + 8 + len) else { return };
        sum = crc32c_append(sum, line);
        bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        at += 8 + len;
    }
}
