//! Goal: no bytes of a client make the stream of JSON texts panic, hold more than its limit, or
//! mean something else when they are cut differently: lines, WebSocket's handshake, its frames.
//! Method: the first two bytes choose the cuts and whether a right handshake stands before the
//! rest.

use orloj_net::wire::{Next, Wire};

/// Most bytes of a text.
const MAX: usize = 500;

const HELLO: &[u8] =
    b"GET / HTTP/1.1\r\nHost: h:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    let Some(([piece, hello], rest)) = data.split_first_chunk() else { return };
    let hello: &[u8] = if hello % 2 == 0 { HELLO } else { b"" };
    let bytes = [hello, rest].concat();
    let whole = run(&bytes, usize::MAX);
    let pieces = run(&bytes, usize::from(*piece).max(1));
    assert!(whole == pieces, "{whole:?} is not {pieces:?}");
}

/// Everything that comes of `bytes` in pieces, and what the wire had to say.
fn run(bytes: &[u8], piece: usize) -> (Vec<Next>, Vec<u8>) {
    let (mut wire, mut found, mut out) = (Wire::new(MAX), Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        wire.feed(piece);
        loop {
            match wire.next(&mut out) {
                Next::Wait => break,
                Next::Text(text) => {
                    assert!(text.len() <= MAX, "{} bytes", text.len());
                    wire.write("{}", &mut out);
                    found.push(Next::Text(text));
                }
                Next::Broken(failure, why) => {
                    wire.close(why, "reason", &mut out);
                    found.push(Next::Broken(failure, why));
                    return (found, out);
                }
                last @ (Next::Closed | Next::Refused) => {
                    found.push(last);
                    return (found, out);
                }
            }
        }
    }
    found.extend(wire.rest().map(Next::Text));
    (found, out)
}
