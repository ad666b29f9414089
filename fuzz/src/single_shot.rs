//! Goal: no bytes make the reader of single-shot transactions panic, and those that are read mean
//! one thing: the shot is written as bytes that are read as the same, and are no fewer or more.
//! Keys may come in any order, and are written by id.
//! Method: the input is a shot.

use orloj_storage::txn::single::SingleShot;

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(bytes: &[u8]) {
    let Ok(shot) = SingleShot::decode(bytes) else { return };
    let mut written = Vec::new();
    shot.encode(&mut written);
    assert_eq!(written.len(), bytes.len());
    assert_eq!(SingleShot::decode(&written).as_ref(), Ok(&shot));
}
