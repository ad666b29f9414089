//! Goal: the bytes stay what `docs/src/format.md` says, for ever.
//! Method: golden bytes, written out by hand, against the encoder, and through the decoder back.

use super::super::{
    DatabaseId, FIRST_FRAME, Kind, Lsn, Records, SECTOR, Scan, SegmentHeader,
    frame::{Place, encode, frame_size},
    scan::End,
    segment::{HeaderError, file_name, number_of},
};

fn header() -> SegmentHeader {
    SegmentHeader {
        database: DatabaseId(0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978),
        number: 7,
        salt: 0x1122_3344_5566_7788,
        base: Lsn(41),
        previous: 6,
        previous_end: 4096,
        capacity: 8192,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_segment_head_is_golden() {
    let bytes = header().encode();
    assert_eq!(bytes.len() as u64, FIRST_FRAME);
    assert_eq!(bytes[..SECTOR], bytes[SECTOR..], "two copies");
    let golden = "6f726c6f6a77616c010000000002000078695a4b3c2d1e0fefcdab8967452301\
                  070000000000000088776655443322112900000000000000060000000000000\
                  000100000000000000020000000000000";
    assert_eq!(hex(&bytes[..80]), golden);
    assert!(bytes[80..508].iter().all(|b| *b == 0));
    assert_eq!(hex(&bytes[508..512]), "881b0510");
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
}

#[test]
fn one_copy_of_the_head_is_enough_and_none_is_not() {
    let good = header().encode();
    for at in 0..SECTOR {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()), "byte {at}");
        bytes[SECTOR + at] ^= 1;
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Damaged), "byte {at}");
    }
    assert_eq!(SegmentHeader::decode(&good[..100]), Err(HeaderError::Damaged));
}

#[test]
fn a_newer_major_is_recognised_and_a_newer_minor_read() {
    let mut bytes = header().encode();
    let resum = |bytes: &mut [u8]| {
        let sum = crc32c::crc32c(&bytes[..508]);
        bytes[508..512].copy_from_slice(&sum.to_le_bytes());
    };
    bytes[10] = 9;
    resum(&mut bytes);
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
    bytes[8] = 2;
    resum(&mut bytes);
    assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Newer { major: 2 }));
}

fn records(records: &[&[u8]]) -> Records {
    let mut all = Records::new();
    for record in records {
        all.push(|out| out.extend_from_slice(record));
    }
    all
}

#[test]
fn frames_are_golden() {
    let place = Place { salt: header().salt, offset: FIRST_FRAME };
    let mut bytes = Vec::new();
    let batches = [records(&[b"one", b""]), records(&[b"three"])];
    encode(&mut bytes, place, Kind::Records, Lsn(41), Lsn(40), &batches);
    assert_eq!(bytes.len(), SECTOR);
    let golden = "5a3666474b010000002900000000000000280000000000000014000000030000\
                  001822d7a700000000030000006f6e6500000000050000007468726565";
    assert_eq!(hex(&bytes[..61]), golden);
    assert!(bytes[61..511].iter().all(|b| *b == 0));
    assert_eq!(bytes[511], 0xc3);

    for (kind, byte) in [(Kind::Mark, 2), (Kind::Close, 3), (Kind::Seal, 4)] {
        let mut bytes = Vec::new();
        let head = encode(&mut bytes, place, kind, Lsn(44), Lsn(43), &[]);
        assert_eq!((bytes.len(), bytes[5], head.next()), (SECTOR, byte, Lsn(44)));
    }
}

/// A segment image whose frames have the given records.
fn image(frames: &[&[&[u8]]]) -> Vec<u8> {
    let mut image = header().encode();
    let mut next = header().base;
    for frame in frames {
        let place = Place { salt: header().salt, offset: image.len() as u64 };
        let batches = [records(frame)];
        next = encode(&mut image, place, Kind::Records, next, next.previous(), &batches).next();
    }
    image.resize(image.len().max(8192), 0);
    image
}

fn read(image: Vec<u8>) -> (Vec<(Lsn, Vec<u8>)>, Option<End>) {
    let mut scan = Scan::new(image, header(), None, Lsn(0));
    let mut all = Vec::new();
    while scan.frame().is_some() {
        all.extend(scan.records().map(|(lsn, record)| (lsn, record.to_vec())));
    }
    (all, scan.end())
}

#[test]
fn records_of_every_length_come_back() {
    let long = vec![7; 2000];
    for len in (0..1100).chain([1990, 2000]) {
        let frames: &[&[&[u8]]] = &[&[&long[..len]], &[b"a", &long[..len / 2], b"b"]];
        let (read, end) = read(image(frames));
        let lens: Vec<_> = read.iter().map(|(lsn, r)| (lsn.0, r.len())).collect();
        assert_eq!(lens, [(41, len), (42, 1), (43, len / 2), (44, 1)]);
        assert_eq!(end, Some(End::Clean));
    }
    assert_eq!(frame_size(470), SECTOR);
    assert_eq!(frame_size(471), 2 * SECTOR);
}

/// Bytes of another segment, or of another place in this one, never pass for a frame.
#[test]
fn what_was_not_written_here_is_not_read_here() {
    let good = image(&[&[b"one"], &[b"two"], &[b"three"]]);
    let mut moved = good.clone();
    moved.copy_within(1536..2048, 1024);
    let (records, _) = read(moved);
    assert_eq!(records, [], "a frame of another place");

    let mut other = SegmentHeader { salt: 1, ..header() }.encode();
    let place = Place { salt: 1, offset: FIRST_FRAME };
    encode(&mut other, place, Kind::Records, Lsn(41), Lsn(40), &[self::records(&[b"stale"])]);
    let mut mixed = good;
    mixed[1024..1536].copy_from_slice(&other[1024..1536]);
    let (records, _) = read(mixed);
    assert_eq!(records, [], "a frame of another segment");
}

#[test]
fn file_names_are_exact() {
    assert_eq!(file_name(12), "wal-000012.seg");
    assert_eq!(number_of("wal-000012.seg"), Some(12));
    assert_eq!(number_of("wal-1234567.seg"), Some(1_234_567));
    for wrong in ["wal-12.seg", "wal-000012.new", "wal-000012.seg~", "xal-000012.seg", "wal-.seg"] {
        assert_eq!(number_of(wrong), None, "{wrong}");
    }
}
