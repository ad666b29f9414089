//! Goal: no bytes make the reader of envelopes, outcomes and rows of the history panic, and what is
//! read is written as bytes that are read as the same.
//! Method: the first byte chooses what the rest is read as.

use orloj_net::envelope::canonical::{
    decode_envelope, decode_outcome, decode_row, encode_envelope, encode_outcome, encode_row,
};

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let mut again = Vec::new();
    match kind % 3 {
        0 => {
            let Ok(envelope) = decode_envelope(bytes) else { return };
            encode_envelope(&envelope, &mut again);
            assert!(decode_envelope(&again).as_ref() == Ok(&envelope));
        }
        1 => {
            let Ok(outcome) = decode_outcome(bytes) else { return };
            encode_outcome(&outcome, &mut again);
            assert!(decode_outcome(&again).as_ref() == Ok(&outcome));
        }
        _ => {
            let Ok(row) = decode_row(bytes) else { return };
            encode_row(&row, &mut again);
            assert!(decode_row(&again).as_ref() == Ok(&row));
        }
    }
    assert_eq!(again, bytes, "one thing has one form");
}
