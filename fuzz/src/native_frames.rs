//! Goal: no bytes make the native decoder panic, or mean something else when they are cut
//! differently; what it understands can be said again, and is the same then.
//! Method: the first two bytes choose the cuts. The rest is decoded whole and in pieces, as it is
//! and, so that tables are reached sooner, as the table of one frame of the kind that the third
//! byte chooses.

use bytes::BytesMut;
use orloj_net::native::{Decoder, Encoder, Frame, HEAD, Malformed, Message, VERSION};

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    let Some(([first, step], wire)) = data.split_first_chunk() else { return };
    compare(wire, usize::from(*first), usize::from(*step));
    if let Some((kind, table)) = wire.split_first() {
        let mut framed = ((HEAD - 4 + table.len()) as u32).to_le_bytes().to_vec();
        framed.extend([*kind, VERSION, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        framed.extend(table);
        compare(&framed, usize::from(*first), usize::from(*step));
    }
}

fn compare(wire: &[u8], first: usize, step: usize) {
    let whole = decode(wire, wire.len(), 1);
    assert!(whole == decode(wire, first, step.max(1)), "cut differently, it is something else");
    let (mut again, mut encoder) = (Vec::new(), Encoder::default());
    let understood: Vec<(u64, Message)> = whole
        .0
        .into_iter()
        .filter_map(|frame| Some((frame.tag, frame.message.ok()?)))
        // Parts that are named twice are written twice, and may fit no frame then.
        .filter(|(tag, message)| encoder.encode(*tag, message, &mut again).is_ok())
        .collect();
    let (frames, malformed) = decode(&again, again.len(), 1);
    assert_eq!(malformed, None);
    let same = frames.into_iter().map(|frame| (frame.tag, frame.message));
    assert!(same.eq(understood.into_iter().map(|(tag, message)| (tag, Ok(message)))));
}

/// Decodes `wire` in a first piece of `first` bytes and more of `step` bytes.
fn decode(wire: &[u8], first: usize, step: usize) -> (Vec<Frame>, Option<Malformed>) {
    let (head, tail) = wire.split_at(first.min(wire.len()));
    let (mut decoder, mut input) = (Decoder::default(), BytesMut::new());
    let mut frames = Vec::new();
    for piece in [head].into_iter().chain(tail.chunks(step)) {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(malformed) => return (frames, Some(malformed)),
            }
        }
        assert!(decoder.missing(&input) > 0, "what is whole is taken");
    }
    (frames, None)
}
