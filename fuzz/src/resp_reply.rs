//! Goal: no bytes make the reply decoder panic, or mean something else when they are cut
//! differently.
//! Method: the first three bytes choose limits and cuts; the rest is decoded whole and in pieces.

use bytes::BytesMut;
use orloj_net::resp::{Reply, ReplyDecoder, ReplyError, ReplyLimits};

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    let Some(([tight, first, step], wire)) = data.split_first_chunk() else { return };
    let limits = match tight % 2 {
        0 => ReplyLimits::default(),
        _ => ReplyLimits { bytes: 60, depth: 3, line: 20 },
    };
    let whole = decode(wire, limits, wire.len().max(1), wire.len().max(1));
    let pieces = decode(wire, limits, usize::from(*first).max(1), usize::from(*step).max(1));
    assert!(whole == pieces, "{whole:?} is not {pieces:?}");
}

/// Decodes `wire` in a first piece of `first` bytes and more of `step` bytes.
fn decode(
    wire: &[u8],
    limits: ReplyLimits,
    first: usize,
    step: usize,
) -> (Vec<Reply>, Option<ReplyError>) {
    let (head, tail) = wire.split_at(first.min(wire.len()));
    let mut decoder = ReplyDecoder::new(limits);
    let (mut input, mut replies) = (BytesMut::new(), Vec::new());
    for piece in [head].into_iter().chain(tail.chunks(step)) {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => {
                    assert!(input.len() <= limits.bytes, "{} bytes wait", input.len());
                    break;
                }
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}
