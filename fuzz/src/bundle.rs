//! Goal: no bytes make the reader of exported histories panic, and it gives nothing that cannot be
//! applied. Method: bytes as they are, and the same between a right head and a right end.

use orloj_db::BundleReader;
use orloj_net::envelope::canonical::{decode_row, encode_row};
use orloj_storage::record::{Op, ops};

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    read(data.to_vec());
    let mut sealed = b"ORLOJHST\x01\x00".to_vec();
    sealed.extend_from_slice(data);
    sealed.push(0);
    let hash = blake3::hash(&sealed);
    sealed.extend_from_slice(hash.as_bytes());
    read(sealed);
    if let Ok(row) = decode_row(data) {
        let mut again = Vec::new();
        encode_row(&row, &mut again);
        assert_eq!(again, data, "one row has one form");
    }
}

fn read(bytes: Vec<u8>) {
    let Ok(mut reader) = BundleReader::new(bytes) else { return };
    let (end, mut last) = (reader.bundle().end, reader.bundle().end);
    last.0 = 0;
    while let Some(past) = reader.next() {
        assert!(past.lsn >= last && past.lsn <= end);
        last = past.lsn;
        assert!(ops(past.record).all(|op| !matches!(op, Err(_) | Ok(Op::Load { .. }))));
    }
}
