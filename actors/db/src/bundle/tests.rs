//! The format of bundles.

use orloj_storage::KeyspaceId;

use super::*;

fn record() -> Vec<u8> {
    let mut record = Vec::new();
    Op::Clear(KeyspaceId(16)).write(&mut record, true);
    record
}

fn bundle() -> Vec<u8> {
    let mut bytes = b"ORLOJHST\x01\x00\x01".to_vec();
    bytes.extend_from_slice(&[7; 16]);
    bytes.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0, 1, 0, b's']);
    bytes.extend_from_slice(&[1, 8, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
    bytes.extend_from_slice(&record());
    bytes.extend_from_slice(&[2, 9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
    bytes.extend_from_slice(&record());
    seal(bytes)
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.push(0);
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

#[test]
fn golden() {
    assert_eq!(record(), [2, 4, 16]);
    let mut reader = BundleReader::new(bundle()).expect("a bundle");
    let what = Bundle {
        origin: DatabaseId(u128::from_le_bytes([7; 16])),
        are_values_hashed: true,
        is_data_withheld: false,
        session: Some("s".into()),
        end: Lsn(9),
    };
    assert_eq!(*reader.bundle(), what);
    let first = Past { lsn: Lsn(8), is_base: true, record: &record() };
    assert_eq!(reader.next(), Some(first));
    let second = Past { lsn: Lsn(9), is_base: false, record: &record() };
    assert_eq!(reader.next(), Some(second));
    assert_eq!(reader.next(), None);
}

#[test]
fn every_cut_and_every_other_byte_is_refused() {
    let whole = bundle();
    for end in 0..whole.len() {
        assert!(BundleReader::new(whole[..end].to_vec()).is_err(), "cut at {end}");
        let mut other = whole.clone();
        other[end] ^= 0x10;
        assert!(BundleReader::new(other).is_err(), "changed at {end}");
    }
    let newer = BundleReader::new([&MAGIC[..], &[2, 0]].concat()).map(|_| ());
    assert_eq!(newer, Err(BundleError::Newer { version: 2 }));
    assert_eq!(BundleReader::new(b"PK".to_vec()).map(|_| ()), Err(BundleError::Other));
    let backwards = seal([&whole[..whole.len() - 33], &[2, 3], &[0; 11][..]].concat());
    assert_eq!(BundleReader::new(backwards).map(|_| ()), Err(BundleError::Damaged));
}
