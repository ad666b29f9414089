use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

mod greetings;

fn frame(channel: Channel, kind: Kind, tag: u64, payload: &'static [u8]) -> Frame {
    Frame { channel, kind, is_last: true, tag, payload: Bytes::from_static(payload) }
}

fn bytes(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    out
}

/// The frame with one byte of its head changed and the checksum put right again.
fn forged(frame: &Frame, at: usize, byte: u8) -> BytesMut {
    let mut out = bytes(frame);
    out[at] = byte;
    let checksum = crc32c::crc32c(&out[8..]);
    out[4..8].copy_from_slice(&checksum.to_le_bytes());
    out
}

fn drain(outbox: &mut Outbox) -> (BytesMut, Vec<Sent>) {
    let mut out = BytesMut::new();
    let sent = std::iter::from_fn(|| outbox.next(&mut out)).collect();
    (out, sent)
}

/// All messages in `wire`, fed in pieces of `step` bytes, and why there are no more.
fn receive(wire: &[u8], step: usize) -> (Vec<Message>, Option<Malformed>) {
    let (mut inbox, mut input, mut messages) = (Inbox::default(), BytesMut::new(), Vec::new());
    for piece in wire.chunks(step.max(1)) {
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

#[test]
fn the_bytes_are_these_for_ever() {
    let request = frame(Channel::Append, Kind::Request, 0x0102, b"entries");
    let golden = b"\x13\0\0\0\x9d\xeb\xbe\x38\x01\x01\x06\0\x02\x01\0\0\0\0\0\0entries";
    assert_eq!(&bytes(&request)[..], golden);
    let ping = frame(Channel::Control, Kind::Ping, 7, b"");
    let golden = b"\x0c\0\0\0\xee\x11\x25\xc3\x01\0\x04\0\x07\0\0\0\0\0\0\0";
    assert_eq!(&bytes(&ping)[..], golden);
    for (at, kind) in Kind::ALL.iter().enumerate() {
        assert_eq!((*kind as usize, Kind::from_number(*kind as u8)), (at + 1, Some(*kind)));
    }
    for (at, channel) in Channel::ALL.iter().enumerate() {
        assert_eq!((*channel as usize, Channel::from_number(at as u8)), (at, Some(*channel)));
    }
    assert_eq!(
        (Kind::from_number(0), Kind::from_number(9), Channel::from_number(4)),
        (None, None, None)
    );
}

#[test]
fn what_is_malformed_has_a_name() {
    let request = frame(Channel::Append, Kind::Request, 1, b"x");
    let refused = |wire: &[u8]| receive(wire, usize::MAX).1.expect("it is malformed");
    assert_eq!(
        refused(b"GET / HTTP/1.1"),
        Malformed::Length { bytes: u32::from_le_bytes(*b"GET ") }
    );
    assert_eq!(refused(&11_u32.to_le_bytes()), Malformed::Length { bytes: 11 });
    let long = (12 + CHUNK + 1) as u32;
    assert_eq!(refused(&long.to_le_bytes()), Malformed::Length { bytes: long });
    for at in 4..HEAD + 1 {
        let mut flipped = bytes(&request);
        flipped[at] ^= 0x10;
        assert_eq!(refused(&flipped), Malformed::Checksum, "byte {at}");
    }
    assert_eq!(refused(&forged(&request, 8, 2)), Malformed::Form { form: 2 });
    assert_eq!(refused(&forged(&request, 9, 4)), Malformed::Channel { channel: 4 });
    assert_eq!(refused(&forged(&request, 10, 9)), Malformed::Kind { kind: 9 });
    assert_eq!(refused(&forged(&request, 11, 2)), Malformed::Flags { flags: 2 });
    // More is said to follow, and this frame had room.
    assert_eq!(refused(&forged(&request, 11, 1)), Malformed::Flags { flags: 1 });
    let ping = frame(Channel::Control, Kind::Ping, 1, b"");
    assert_eq!(refused(&forged(&ping, 9, 1)), Malformed::Channel { channel: 1 });
    let part = Frame { is_last: false, payload: vec![0; CHUNK].into(), ..request.clone() };
    let other = Frame { tag: 2, ..request };
    let wire = [&bytes(&part)[..], &bytes(&other)[..]].concat();
    assert_eq!(refused(&wire), Malformed::Interleaved { channel: Channel::Append });
}

#[test]
fn a_message_cannot_grow_beyond_its_bound() {
    let mut wire = BytesMut::new();
    let part = Frame {
        channel: Channel::Append,
        kind: Kind::Request,
        is_last: false,
        tag: 1,
        payload: vec![0; CHUNK].into(),
    };
    let (mut inbox, mut frames) = (Inbox::default(), 0);
    let malformed = loop {
        part.encode(&mut wire);
        match inbox.next(&mut wire) {
            Ok(message) => assert_eq!(message, None),
            Err(malformed) => break malformed,
        }
        frames += 1;
    };
    assert_eq!((malformed, frames), (Malformed::TooLong, MESSAGE_MAX / CHUNK));
}

#[test]
fn before_the_hello_little_is_held() {
    let (mut inbox, long) = (Inbox::default(), (12 + HELLO_MAX + 1) as u32);
    inbox.set_most(HELLO_MAX);
    let mut input = BytesMut::from(&long.to_le_bytes()[..]);
    assert_eq!(inbox.next(&mut input), Err(Malformed::Length { bytes: long }));
}

#[test]
fn nothing_waits_long_for_what_is_less_urgent() {
    let mut outbox = Outbox::default();
    let of = |channel, tag, len: usize| Message {
        channel,
        kind: Kind::Request,
        tag,
        payload: vec![0; len].into(),
    };
    for channel in [Channel::Append, Channel::Forward, Channel::Snapshot] {
        outbox.push(of(channel, 1, 10 << 20));
    }
    let mut out = BytesMut::new();
    for round in 0..50 {
        // A few of the others have gone, so that they may all be due.
        for _ in 0..round {
            let _ = outbox.next(&mut out);
        }
        outbox.push(of(Channel::Control, round, 10));
        let ahead = std::iter::from_fn(|| outbox.next(&mut out))
            .take_while(|sent| sent.channel != Channel::Control)
            .count();
        assert!(ahead <= 3, "{ahead} frames in round {round}");
        out.clear();
    }
}

#[test]
fn nothing_starves() {
    let mut outbox = Outbox::default();
    for channel in Channel::ALL {
        let payload = Bytes::from(vec![0; 100 * CHUNK]);
        outbox.push(Message { channel, kind: Kind::Request, tag: 1, payload });
    }
    let (_, sent) = drain(&mut outbox);
    for channel in Channel::ALL {
        let at: Vec<usize> = (0..sent.len()).filter(|at| sent[*at].channel == channel).collect();
        let longest = at.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(at[0] <= 12 && longest <= Some(12), "{channel:?}: {:?} {longest:?}", at[0]);
    }
}

#[test]
fn a_window_counts_requests_and_bytes() {
    let mut window = Window::default();
    let channel = Channel::Snapshot;
    (0..8).for_each(|tag| window.open(channel, tag, 1).unwrap());
    assert_eq!(window.open(channel, 9, 1), Err(Malformed::Window { channel }));
    assert!(window.close(3) && !window.close(3));
    assert_eq!(window.open(channel, 4, 1), Err(Malformed::Tag { tag: 4 }));

    let (mut window, channel) = (Window::default(), Channel::Append);
    // One alone may be as long as a message.
    window.open(channel, 1, MESSAGE_MAX).unwrap();
    assert!(!window.has_room(channel, 0));
    assert!(window.close(1) && window.has_room(channel, MESSAGE_MAX));
    window.open(channel, 2, WINDOW - 1).unwrap();
    assert!(window.has_room(channel, 1) && !window.has_room(channel, 2));
}

fn message() -> impl Strategy<Value = Message> {
    let len = prop_oneof![4 => 0..200_usize, 1 => CHUNK - 1..CHUNK + 2, 1 => 0..4 * CHUNK];
    let kind = prop::sample::select(Kind::ALL.to_vec());
    (prop::sample::select(Channel::ALL.to_vec()), kind, any::<u64>(), len, any::<u8>()).prop_map(
        |(channel, kind, tag, len, byte)| match kind.is_free() {
            true => Message { channel, kind, tag, payload: vec![byte; len].into() },
            false => Message::short(kind, tag, vec![byte; len.min(CHUNK)].into()),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Each channel's messages arrive whole and in order, however they and the bytes are cut.
    #[test]
    fn what_was_sent_arrives(
        messages in prop::collection::vec(message(), 0..20), step in 1..70_000_usize,
    ) {
        let mut outbox = Outbox::default();
        messages.iter().for_each(|message| outbox.push(message.clone()));
        let (wire, sent) = drain(&mut outbox);
        prop_assert!(outbox.is_empty());
        prop_assert_eq!(sent.iter().filter(|sent| sent.is_last).count(), messages.len());
        let (arrived, malformed) = receive(&wire, step);
        prop_assert_eq!(malformed, None);
        for channel in Channel::ALL {
            let of = |all: &[Message]| -> Vec<Message> {
                all.iter().filter(|message| message.channel == channel).cloned().collect()
            };
            prop_assert!(of(&arrived) == of(&messages), "{:?}", channel);
        }
    }

    /// A flipped bit never makes another message of a message.
    #[test]
    fn a_flipped_bit_is_noticed(
        messages in prop::collection::vec(message(), 1..6),
        at in any::<prop::sample::Index>(), bit in 0..8_u32,
    ) {
        let mut outbox = Outbox::default();
        messages.iter().for_each(|message| outbox.push(message.clone()));
        let (mut wire, _) = drain(&mut outbox);
        let whole = receive(&wire, usize::MAX).0;
        let at = at.index(wire.len());
        wire[at] ^= 1_u8 << bit;
        // It is malformed, or a length says that more is to come.
        let (arrived, _) = receive(&wire, usize::MAX);
        prop_assert!(arrived.len() < whole.len() && whole.starts_with(&arrived));
    }

    #[test]
    fn no_bytes_cause_harm(
        wire in prop::collection::vec(any::<u8>(), 0..400), step in 1..50_usize,
    ) {
        prop_assert_eq!(receive(&wire, step), receive(&wire, usize::MAX));
    }
}
