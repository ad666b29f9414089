//! Goal: no bytes make the decoder of peers' frames panic, hold more than it may, or mean something
//! else when they are cut differently; what it understands can be said again, and is the same then.
//! Method: the first two bytes choose the cuts. The rest is received whole and in pieces, as it is
//! and, since no fuzzer guesses a checksum, as the payload of one frame whose head's bytes it
//! chooses; and it is read as each of the greetings.

use bytes::{Bytes, BytesMut};
use orloj_net::peer::{
    Channel, Hello, Inbox, MESSAGE_MAX, Malformed, Message, Outbox, Refusal, Welcome,
};

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    let Some(([first, step], wire)) = data.split_first_chunk() else { return };
    hear(wire, usize::from(*first), usize::from(*step));
    hear(&framed(wire), usize::from(*first), usize::from(*step));
    if let Ok(hello) = Hello::decode(wire) {
        assert_eq!(hello.encode(), wire);
    }
    if let Ok(welcome) = Welcome::decode(wire) {
        assert_eq!(welcome.encode(), wire);
    }
    if let Ok(refusal) = Refusal::decode(wire) {
        assert_eq!(refusal.encode(), wire);
    }
}

/// Frames out of parts: a byte of length, four of the head, a payload of so many bytes. A length of
/// 255 is a full frame.
fn framed(mut parts: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    while let Some(([len, form, channel, kind, flags], rest)) = parts.split_first_chunk() {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        let mut frame = vec![*form, *channel, *kind, *flags, *len & 3, 0, 0, 0, 0, 0, 0, 0];
        frame.extend(payload);
        if *len == 255 {
            frame.resize(12 + (64 << 10), 0);
        }
        wire.extend((frame.len() as u32).to_le_bytes());
        wire.extend(crc32c::crc32c(&frame).to_le_bytes());
        wire.extend(frame);
        parts = rest;
    }
    wire
}

fn hear(wire: &[u8], first: usize, step: usize) {
    let (messages, malformed) = receive(wire, wire.len(), 1);
    let step = step.max(1).max(wire.len() / 1_000);
    let cut = receive(wire, first, step);
    assert!(cut == (messages.clone(), malformed), "cut differently, it is something else");
    let mut outbox = Outbox::default();
    for message in &messages {
        assert!(message.payload.len() <= MESSAGE_MAX);
        outbox.push(message.clone());
    }
    let mut again = BytesMut::new();
    while outbox.next(&mut again).is_some() {}
    let (same, malformed) = receive(&again, again.len(), 1);
    assert_eq!(malformed, None);
    for channel in Channel::ALL {
        let of = |all: &[Message]| -> Vec<(u64, Bytes)> {
            let of = all.iter().filter(|message| message.channel == channel);
            of.map(|message| (message.tag, message.payload.clone())).collect()
        };
        assert!(of(&same) == of(&messages), "said again, it is something else");
    }
}

/// Receives `wire` in a first piece of `first` bytes and more of `step` bytes.
fn receive(wire: &[u8], first: usize, step: usize) -> (Vec<Message>, Option<Malformed>) {
    let (head, tail) = wire.split_at(first.min(wire.len()));
    let (mut inbox, mut input, mut messages) = (Inbox::default(), BytesMut::new(), Vec::new());
    for piece in [head].into_iter().chain(tail.chunks(step)) {
        input.extend_from_slice(piece);
        loop {
            match inbox.next(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(malformed) => return (messages, Some(malformed)),
            }
        }
        assert!(inbox.missing(&input) > 0, "what is whole is taken");
    }
    (messages, None)
}
