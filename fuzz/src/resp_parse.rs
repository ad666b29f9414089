//! Goal: no bytes make the request decoder panic, hold more than its limits, or mean something else
//! when they are cut differently.
//! Method: the first three bytes choose limits and cuts; the rest is decoded whole and in pieces.

use bytes::BytesMut;
use orloj_net::Refusal;
use orloj_net::resp::{Decoder, Limits, Progress, ProtocolError, Request};

type Outcome = (Vec<Result<Request, Refusal>>, Option<ProtocolError>);

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    let Some(([tight, first, step], wire)) = data.split_first_chunk() else { return };
    let limits = match tight % 4 {
        0 => Limits::default(),
        1 => Limits { bulk: 40, key: 9, args: 12, inline: 30, query: 90, batch: 3 },
        2 => Limits { bulk: 300, key: 20, args: 40, inline: 200, query: 1000, batch: 1 },
        _ => Limits::default().unauthenticated(),
    };
    let whole = decode(wire, limits, wire.len().max(1), wire.len().max(1));
    let pieces = decode(wire, limits, usize::from(*first).max(1), usize::from(*step).max(1));
    assert!(whole == pieces, "{whole:?} is not {pieces:?}");
}

/// Decodes `wire` in a first piece of `first` bytes and more of `step` bytes.
fn decode(wire: &[u8], limits: Limits, first: usize, step: usize) -> Outcome {
    let (head, tail) = wire.split_at(first.min(wire.len()));
    let mut decoder = Decoder::new(limits);
    let (mut input, mut out) = (BytesMut::new(), Vec::new());
    for piece in [head].into_iter().chain(tail.chunks(step)) {
        input.extend_from_slice(piece);
        loop {
            let waiting = out.len();
            match decoder.decode(&mut input, &mut out) {
                Ok(Progress::Full) => assert_eq!(out.len() - waiting, limits.batch),
                Ok(Progress::Wait { missing }) => {
                    assert_eq!(missing == 0, input.is_empty());
                    let most = limits.query.max(limits.inline) + limits.bulk.min(4) + 64;
                    assert!(input.len() <= most, "{} bytes wait", input.len());
                    break;
                }
                Err(error) => return (out, Some(error)),
            }
        }
    }
    (out, None)
}
