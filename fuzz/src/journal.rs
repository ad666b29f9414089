//! Goal: no bytes in a segment make its decoder panic, loop, or give a record out of order or one
//! that no frame with a right checksum holds; and what ends a scan is always said.
//! Method: the input is a segment's frames. Where its flags say so, the checksums of the frames
//! that lie in it are put right first, or else nothing behind the first check would be reached.

use crc32c::{crc32c, crc32c_append};
use orloj_storage::Lsn;
use orloj_storage::journal::{DatabaseId, End, FIRST_FRAME, SECTOR, Scan, SegmentHeader};

/// Sectors of one segment; enough for frames of several sectors and several frames.
const SECTORS_MAX: usize = 12;
/// Bytes of a frame's head, behind its first guard.
const HEAD: usize = 40;

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    // Any bytes may stand where a segment's head should.
    let _ = SegmentHeader::decode(data);
    let Some(([flags, base, limit], frames)) = data.split_first_chunk() else { return };
    let header = SegmentHeader {
        database: DatabaseId(7),
        number: 2,
        salt: 0x0123_4567_89ab_cdef,
        base: Lsn(1 + u64::from(*base)),
        previous: 1,
        previous_end: 4096,
        capacity: FIRST_FRAME,
    };
    let mut image = header.encode();
    assert_eq!(SegmentHeader::decode(&image), Ok(header));
    image.extend_from_slice(&frames[..frames.len().min(SECTORS_MAX * SECTOR)]);
    if flags & 1 == 1 {
        for at in (FIRST_FRAME as usize..image.len()).step_by(SECTOR) {
            put_right(&mut image, at, header.salt, flags & 2 == 2);
        }
    }
    let limit = (flags & 4 == 4).then(|| FIRST_FRAME + u64::from(*limit) * SECTOR as u64);
    scan(&image, header, limit);
}

/// Makes a frame out of the sector at `at`: guards, body checksum if it fits, head checksum.
fn put_right(image: &mut [u8], at: usize, salt: u64, sane: bool) {
    let Some(sector) = image.get_mut(at..at + SECTOR) else { return };
    // A sector that begins like the second of a frame is left to its frame.
    if sector[0] == 0xa5 {
        sector[SECTOR - 1] = 0xc3;
        return;
    }
    (sector[0], sector[SECTOR - 1]) = (0x5a, 0xc3);
    if sane {
        // Small numbers where chance would write huge ones.
        sector[1 + 4] = 1 + sector[1 + 4] % 4;
        for (from, to) in [(9, 16), (17, 24), (26, 28), (29, 32)] {
            sector[1 + from..1 + to].fill(0);
        }
    }
    let body = u32::from_le_bytes(sector[25..29].try_into().expect("four bytes")) as usize;
    let size = (HEAD + body).div_ceil(SECTOR - 2) * SECTOR;
    let seed = crc32c_append(crc32c(&salt.to_le_bytes()), &(at as u64).to_le_bytes());
    if let Some(frame) = image.get_mut(at..at + size) {
        let sum = crc32c_append(seed, &frame[1 + HEAD..]);
        frame[33..37].copy_from_slice(&sum.to_le_bytes());
    }
    let sum = crc32c_append(seed, &image[at + 5..at + 1 + HEAD]);
    image[at + 1..at + 5].copy_from_slice(&sum.to_le_bytes());
}

/// What a scan gave: every record with its position, and why it ended.
fn scan(image: &[u8], header: SegmentHeader, limit: Option<u64>) {
    let mut scan = Scan::new(image.to_vec(), header, limit, Lsn(0));
    let (mut next, mut offset) = (header.base, FIRST_FRAME);
    while let Some(head) = scan.frame() {
        assert_eq!(head.first, next, "a frame out of order");
        assert!(head.durable < head.first);
        let mut records = 0;
        for (lsn, record) in scan.records() {
            assert_eq!(lsn, next, "a record out of order");
            assert!(record.len() < head.body as usize);
            next = next.next();
            records += 1;
        }
        assert_eq!(records, head.count, "a frame has the records it speaks of");
        offset += head.size() as u64;
        assert_eq!((scan.offset(), scan.next()), (offset, next));
        assert!(offset <= image.len() as u64);
        assert!(scan.proven_end() <= offset);
    }
    let end = scan.end().expect("what ended it is known");
    assert_eq!(scan.frame(), None);
    if let End::Torn { bytes } = end {
        assert!(bytes > 0 && offset + bytes <= image.len() as u64);
    }
    // To read the same again is no news; other bytes are, and may not bring what was read away.
    let rest = image[offset as usize..].to_vec();
    assert!(!scan.reread(&rest), "the same bytes are no second reading");
    if scan.reread(&vec![0; rest.len() + SECTOR]) {
        assert_eq!(scan.frame(), None, "zeros are no frame");
        assert!(scan.end().is_some());
    }
}
