//! That frames carry every word there and back, that their bytes do not change, and that no bytes
//! do harm.

mod random;
mod samples;

use std::collections::BTreeMap;

use bytes::BytesMut;
use planus::Builder;
use proptest::prelude::*;

use super::*;
use crate::{Command, envelope::MESSAGE_MAX};

/// The frames of version 1, one a line: `name hex`.
const GOLDEN: &str = include_str!("../../tests/golden/native-1.txt");

fn encoded(tag: u64, message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().encode(tag, message, &mut out).expect("it is short");
    out
}

/// Everything that is in `bytes`, and how it ended.
fn decoded(bytes: &[u8]) -> (Vec<Frame>, Option<Malformed>) {
    let (mut input, mut decoder) = (BytesMut::from(bytes), Decoder::default());
    let mut frames = Vec::new();
    loop {
        match decoder.decode(&mut input) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(malformed) => {
                assert_eq!(decoder.decode(&mut input), Err(malformed), "it stays so");
                return (frames, Some(malformed));
            }
        }
    }
}

/// The frame that is `head` and `table`.
fn framed(kind: u8, table: &[u8]) -> Vec<u8> {
    let length = (HEAD - 4 + table.len()) as u32;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend([kind, VERSION, 0, 0]);
    bytes.extend(9_u64.to_le_bytes());
    bytes.extend(table);
    bytes
}

fn refused(bytes: &[u8]) -> Failure {
    let (mut frames, malformed) = decoded(bytes);
    assert_eq!((frames.len(), malformed), (1, None));
    frames.remove(0).message.expect_err("it is refused")
}

#[test]
fn golden_frames() {
    let golden: BTreeMap<&str, &str> =
        GOLDEN.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut lines = Vec::new();
    for (tag, (name, message)) in (1..).zip(samples::messages()) {
        let bytes = encoded(tag, &message);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let frame = Frame { tag, kind: message.kind() as u8, message: Ok(message) };
        assert_eq!(decoded(&bytes), (vec![frame], None), "{name}");
        if golden.get(name.as_str()) != Some(&hex.as_str()) {
            lines.push(format!("{name} {hex}"));
        }
    }
    assert!(lines.is_empty(), "not in the golden file:\n{}", lines.join("\n"));
    assert_eq!(golden.len(), samples::messages().len(), "and nothing else is in it");
}

/// The page of the protocol shows a request; it is the third of the golden frames.
#[test]
fn the_page_shows_these_bytes() {
    let page = include_str!("../../../docs/src/protocol.md");
    let dump = page.split("```").nth(1).expect("it has an example");
    let shown: String = dump.trim_start_matches("text").split_whitespace().collect();
    let golden = GOLDEN.lines().find_map(|line| line.strip_prefix("request-get "));
    assert_eq!(Some(&*shown), golden);
    for kind in Kind::ALL {
        let row = format!("| {} | `{kind:?}` |", kind as u8);
        assert!(page.contains(&row), "{row}");
    }
    for code in Code::ALL {
        let row = format!("| {} | `{}` |", code as u8, code.name());
        assert!(page.contains(&row), "{row}");
    }
    let calls = samples::messages().into_iter().filter_map(|(_, message)| match message {
        Message::Request(envelope) => Some(envelope.call.name().replace('_', "")),
        _ => None,
    });
    let lower = page.to_lowercase();
    for call in calls {
        assert!(lower.contains(&format!(" `{call}` |")), "{call}");
    }
}

#[test]
fn every_kind_is_among_the_samples() {
    let kinds: Vec<Kind> = samples::messages().iter().map(|(_, it)| it.kind()).collect();
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, at + 1);
        assert_eq!(Kind::from_number(kind as u8), Some(kind));
        assert!(kinds.contains(&kind), "{kind:?}");
    }
    assert_eq!((Kind::from_number(0), Kind::from_number(16)), (None, None));
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let mut stream = Vec::new();
    let mut encoder = Encoder::default();
    let messages = samples::messages();
    for (tag, (_, message)) in (1..).zip(&messages) {
        encoder.encode(tag, message, &mut stream).expect("it is short");
    }
    let (mut input, mut decoder, mut frames) = (BytesMut::new(), Decoder::default(), Vec::new());
    for byte in stream {
        assert!(decoder.missing(&input) > 0);
        input.extend_from_slice(&[byte]);
        frames.extend(decoder.decode(&mut input).expect("it is well formed"));
    }
    assert_eq!((frames.len(), input.len()), (messages.len(), 0));
    for (frame, (_, message)) in frames.into_iter().zip(messages) {
        assert_eq!(frame.message, Ok(message));
    }
}

#[test]
fn a_head_that_cannot_be_is_the_end() {
    let ping = encoded(1, &Message::Ping);
    let with = |at: usize, byte: u8| {
        let mut bytes = ping.clone();
        bytes[at] = byte;
        let (frames, malformed) = decoded(&bytes);
        assert_eq!(frames, []);
        malformed.expect("it is malformed")
    };
    assert_eq!(with(0, 11), Malformed::Length { bytes: 11 });
    assert_eq!(with(3, 1), Malformed::Length { bytes: (ping.len() as u32 - 4) | 1 << 24 });
    assert_eq!(with(5, 2), Malformed::Version { version: 2 });
    assert_eq!(with(7, 1), Malformed::Flags { flags: 0x100 });
    // Four bytes are enough to know: HTTP is not waited for.
    assert_eq!(decoded(b"GET ").1, Some(Malformed::Length { bytes: 0x2054_4547 }));
    let longest = ((HEAD - 4 + MESSAGE_MAX) as u32).to_le_bytes();
    assert_eq!(decoded(&longest), (vec![], None));
    let mut input = BytesMut::from(&longest[..]);
    assert_eq!(Decoder::default().missing(&input), HEAD + MESSAGE_MAX - 4);
    input[0] += 1;
    assert!(Decoder::default().decode(&mut input).is_err());
    let table = Malformed::Table { kind: 3 };
    assert_eq!(decoded(&framed(3, &[0xff; 8])).1, Some(table));
    assert_eq!(Failure::from(table).detail("reason"), Some("table"));
}

#[test]
fn what_a_later_version_adds_is_left_aside_or_refused_alone() {
    assert_eq!(refused(&framed(16, &[])).code, Code::UnknownCommand);
    assert_eq!(refused(&framed(0, &[])).detail("kind"), Some("0"));
    // A table with more fields than are known here.
    let (_, welcome) = samples::messages().remove(1);
    let mut more = encoded(9, &welcome);
    more[4] = Kind::Subscribed as u8;
    assert_eq!(decoded(&more).0[0].message, Ok(Message::Subscribed));
    // A member of a union that is not known here.
    let mut builder = Builder::new();
    let call = table::DbSize::create(&mut builder);
    let call = table::Call::create_db_size(&mut builder, call);
    let root = table::Request::create(&mut builder, (), (), (), (), (), (), 0_u8, call);
    let mut unknown = builder.finish(root, None).to_vec();
    let at = unknown.iter().rposition(|byte| *byte == 16).expect("the union's tag");
    unknown[at] = 200;
    let failure = refused(&framed(3, &unknown));
    assert_eq!((failure.code, failure.detail("tag")), (Code::UnknownCommand, Some("200")));
    // A failure with a later code.
    let mut builder = Builder::new();
    let failure = table::Failure::create(&mut builder, 99_u8, "new", ());
    let root = table::Goodbye::create(&mut builder, failure);
    let goodbye = framed(15, builder.finish(root, None));
    let failure = Failure::new(Code::Internal, "new");
    assert_eq!(decoded(&goodbye).0[0].message, Ok(Message::Goodbye(Some(failure))));
}

#[test]
fn what_is_missing_is_named() {
    let request = |key: Option<&[u8]>, form: u8| {
        let mut builder = Builder::new();
        let call = table::Ttl::create(&mut builder, key, form);
        let call = table::Call::create_ttl(&mut builder, call);
        let null = ();
        let root =
            table::Request::create(&mut builder, (), (), (), null, (), null, 9 * form / 4, call);
        framed(3, builder.finish(root, None))
    };
    let field = |failure: Failure| failure.detail("field").map(String::from);
    assert_eq!(field(refused(&request(None, 0))).as_deref(), Some("key"));
    assert_eq!(field(refused(&request(Some(b"k"), 4))).as_deref(), Some("durability"));
    assert!(decoded(&request(Some(b""), 1)).0[0].message.is_ok(), "an empty key is one");
    let mut builder = Builder::new();
    let question = table::Question::create(&mut builder, ());
    let failure = refused(&framed(5, builder.finish(question, None)));
    assert_eq!(field(failure).as_deref(), Some("asked"));
}

/// Named more than once, a part would cost more than it is worth on the wire.
#[test]
fn parts_count_as_often_as_they_are_named() {
    let request = |named: usize| {
        let mut builder = Builder::new();
        let key = table::Bytes::create(&mut builder, &[b'k'; 1024][..]);
        let keys = builder.create_vector(vec![key; named]);
        let call = table::MGet::create(&mut builder, keys);
        let call = table::Call::create_m_get(&mut builder, call);
        let null = ();
        let root = table::Request::create(&mut builder, (), (), (), null, (), null, 0_u8, call);
        framed(3, builder.finish(root, None))
    };
    let most = MESSAGE_MAX / (1024 + 8);
    assert!(decoded(&request(most)).0[0].message.is_ok());
    assert_eq!(refused(&request(most + 1)).code, Code::TooLarge);
    let mut builder = Builder::new();
    let call = table::DbSize::create(&mut builder);
    let call = table::Call::create_db_size(&mut builder, call);
    let name = builder.create_string("a");
    let names = builder.create_vector(vec![name; 33]);
    let null = ();
    let root = table::Request::create(&mut builder, (), (), names, null, (), null, 0_u8, call);
    let failure = refused(&framed(3, builder.finish(root, None)));
    assert_eq!(failure.detail("field"), Some("depends_on"));
}

#[test]
fn answers_stand_in_answers_only_so_deep() {
    let nested = |depth: usize| {
        let mut builder = Builder::new();
        let nil = table::Nil::create(&mut builder);
        let mut value = table::Value::create_nil(&mut builder, nil);
        for _ in 0..depth {
            let item = table::Item::create(&mut builder, value);
            let list = table::List::create(&mut builder, [item]);
            value = table::Value::create_list(&mut builder, list);
        }
        let outcome = table::Outcome::create(&mut builder, 0_u8, value, (), (), false);
        let root = table::Answer::create(&mut builder, outcome, (), 0_u32);
        decoded(&framed(4, builder.finish(root, None)))
    };
    assert_eq!(nested(4).0.len(), 1);
    assert_eq!(nested(5).1, Some(Malformed::Table { kind: 4 }));
    assert_eq!(nested(10_000).1, Some(Malformed::Table { kind: 4 }));
}

#[test]
fn what_fits_no_frame_is_not_written() {
    let set = |len: usize| {
        Message::Request(Envelope::new(Command::Append {
            key: "k".into(),
            value: vec![0; len].into(),
        }))
    };
    let mut out = b"before".to_vec();
    let mut encoder = Encoder::default();
    let long = encoder.encode(1, &set(MESSAGE_MAX), &mut out).expect_err("it is too long");
    assert!(long.bytes > MESSAGE_MAX);
    assert_eq!(Failure::from(long).code, Code::TooLarge);
    assert_eq!(out, b"before");
    out.clear();
    encoder.encode(1, &set(MESSAGE_MAX - 200), &mut out).expect("it fits");
    assert_eq!(decoded(&out).0[0].message, Ok(set(MESSAGE_MAX - 200)));
}

#[test]
fn a_log_shows_no_password() {
    let (_, hello) = samples::messages().remove(0);
    assert!(!format!("{hello:?}").contains("secret"));
}

proptest! {
    #[test]
    fn every_message_comes_back(messages in proptest::collection::vec(random::message(), 1..8)) {
        let (mut stream, mut encoder) = (Vec::new(), Encoder::default());
        for (tag, message) in (1..).zip(&messages) {
            encoder.encode(tag, message, &mut stream).expect("it is short");
        }
        let (frames, malformed) = decoded(&stream);
        prop_assert_eq!(malformed, None);
        let back: Vec<Message> = frames.into_iter().filter_map(|it| it.message.ok()).collect();
        prop_assert_eq!(back, messages);
    }

    #[test]
    fn no_table_panics(kind in 0..=16_u8, table in proptest::collection::vec(any::<u8>(), 0..200)) {
        decoded(&framed(kind, &table));
    }

    #[test]
    fn no_damage_panics(message in random::message(), at in any::<prop::sample::Index>(), to: u8) {
        let mut bytes = encoded(1, &message);
        let at = at.index(bytes.len());
        bytes[at] = to;
        let (frames, _) = decoded(&bytes);
        let mut out = Vec::new();
        for message in frames.into_iter().filter_map(|frame| frame.message.ok()) {
            // What is understood can be said again.
            Encoder::default().encode(1, &message, &mut out).expect("it is short");
        }
        prop_assert!(decoded(&out).1.is_none());
    }
}
