//! Goal: every transport, and the history, carries every code as it is.
//! Method: one table of all codes, through each real codec: as a refusal, as an outcome's failure,
//! and wherever else a failure stands. Some have no producer on a single node, and so no other way.

use std::sync::Arc;

use bytes::BytesMut;
use orloj_net::{
    Answer, Command, Refusal, UnixMs,
    envelope::{
        Causes, Code, End, Envelope, Event, Failure, Finding, Outcome, Record, Row, Stage,
        canonical::{decode_row, encode_row},
    },
    json,
    native::{Decoder, Encoder, Message},
    resp::{Reply, ReplyDecoder, ReplyLimits, Version, encode_answer},
    wire::{Next, Wire},
};
use serde_json::{Value, json};

fn failures() -> impl Iterator<Item = Failure> {
    Code::ALL.into_iter().map(|code| {
        let text = format!("why: {} \"ü\" \n", code.name());
        Failure::new(code, text).with("reason", "some_reason").with("on", "ü")
    })
}

/// The outcomes that a failure may be of.
fn outcomes(failure: &Failure) -> impl Iterator<Item = Outcome> {
    let ends: [fn(Failure) -> End; 3] = [End::Failed, End::TimedOut, End::Cancelled];
    let failure = failure.clone();
    ends.into_iter().map(move |end| Outcome {
        end: end(failure.clone()),
        session_version: Some(7),
        replayed: true,
    })
}

fn envelope() -> Envelope {
    Envelope::new(Command::DbSize).id("a").session("s")
}

fn finished(outcome: Outcome) -> Event {
    let causes = Causes::of("a".into(), &envelope());
    Event { causes, lane_sequence: 3, at: UnixMs(5), stage: Stage::Finished(outcome) }
}

#[test]
fn names_and_numbers_are_one_to_one() {
    for (at, code) in (1..).zip(Code::ALL) {
        assert_eq!((code as u8, Code::from_number(at)), (at, Some(code)));
        assert_eq!(code.name(), format!("{code:?}"));
    }
    assert_eq!(Code::from_number(Code::ALL.len() as u8 + 1), None);
}

#[test]
fn native_frames_carry_every_code() {
    for failure in failures() {
        let mut messages = vec![
            Message::Answer { answer: Err(failure.clone()), credits: 1 },
            Message::Finding(Err(failure.clone())),
            Message::SubscriptionEnded(Some(failure.clone())),
            Message::Goodbye(Some(failure.clone())),
        ];
        for outcome in outcomes(&failure) {
            messages.push(Message::Finding(Ok(Finding::Outcome(Some(outcome.clone())))));
            messages.push(Message::Event(Arc::new(finished(outcome.clone()))));
            messages.push(Message::Answer { answer: Ok(outcome), credits: 1 });
        }
        let (mut encoder, mut bytes) = (Encoder::default(), Vec::new());
        for message in &messages {
            encoder.encode(9, message, &mut bytes).expect("it is short");
        }
        let (mut decoder, mut input) = (Decoder::default(), BytesMut::from(&*bytes));
        for message in messages {
            let frame = decoder.decode(&mut input).expect("it is ours").expect("it is whole");
            assert_eq!(frame.message, Ok(message));
        }
    }
}

/// What comes of a text on a line.
fn line(text: &str) -> Value {
    let (mut bytes, mut wire) = (Vec::new(), Wire::lines(1 << 20));
    wire.write(text, &mut bytes);
    wire.feed(&bytes);
    match wire.next(&mut Vec::new()) {
        Next::Text(text) => serde_json::from_slice(&text).expect("it is JSON"),
        other => panic!("{other:?}"),
    }
}

/// What comes of a text in a frame that a server sends.
fn frame(text: &str) -> Value {
    let mut wire = Wire::new(1 << 20);
    wire.feed(
        b"GET / HTTP/1.1\r\nHost: n\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let mut bytes = Vec::new();
    assert_eq!(wire.next(&mut bytes), Next::Wait);
    assert!(bytes.starts_with(b"HTTP/1.1 101 "));
    bytes.clear();
    wire.write(text, &mut bytes);
    let text = match &bytes[..] {
        [0x81, 126, high, low, text @ ..] => {
            assert_eq!(usize::from(u16::from_be_bytes([*high, *low])), text.len());
            text
        }
        [0x81, length, text @ ..] => {
            assert_eq!(usize::from(*length), text.len());
            text
        }
        other => panic!("{other:?}"),
    };
    serde_json::from_slice(text).expect("it is JSON")
}

fn has(value: &Value, failure: &Failure) {
    let error = &value["error"];
    assert_eq!(error["code"], failure.code.name());
    assert_eq!(error["message"], failure.message);
    assert_eq!(error["details"], json!({"reason": "some_reason", "on": "ü"}));
}

#[test]
fn json_carries_every_code_on_lines_and_in_frames() {
    for failure in failures() {
        let request = json!(7);
        let mut texts = vec![json::refusal(Some(&request), None, &failure)];
        for outcome in outcomes(&failure) {
            texts.push(json::event(Some(7), &finished(outcome.clone())));
            texts.push(json::answer(Some(&request), Some(&"a".into()), &Ok(outcome)));
        }
        texts.push(json::answer(Some(&request), Some(&"a".into()), &Err(failure.clone())));
        for value in texts {
            let text = value.to_string();
            for came in [line(&text), frame(&text)] {
                assert_eq!(came, value);
                has(&came, &failure);
            }
        }
    }
}

/// What the history has of it decides for ever.
#[test]
fn rows_of_the_history_keep_every_code() {
    for outcome in failures().flat_map(|failure| outcomes(&failure).collect::<Vec<_>>()) {
        let outcome = Outcome { replayed: false, ..outcome };
        let record = Record::Whole { id: "a".into(), envelope: Box::new(envelope()), outcome };
        let (session, at) = (Some("s".into()), UnixMs(5));
        let row = Row { session, lane_sequence: 1, before: 0, at, record, withheld: None };
        let mut bytes = Vec::new();
        encode_row(&row, &mut bytes);
        assert_eq!(decode_row(&bytes).ok(), Some(row));
    }
}

/// RESP has words of its own, in Redis' way; a refusal by the store is the same code elsewhere.
#[test]
fn what_resp_refuses_comes_back_and_has_its_code() {
    let mut codes = Vec::new();
    for refusal in Refusal::FIXED {
        codes.push(Failure::from(&refusal).code);
        let mut bytes = Vec::new();
        encode_answer(&Answer::Error(refusal.clone()), Version::Resp2, &mut bytes);
        let mut input = BytesMut::from(&*bytes);
        match ReplyDecoder::new(ReplyLimits::default()).decode(&mut input) {
            Ok(Some(Reply::Error(line))) => assert_eq!(Refusal::from_line(&line), Some(refusal)),
            other => panic!("{other:?}"),
        }
    }
    codes.sort_unstable();
    codes.dedup();
    use Code::{Busy, Invalid, ShuttingDown, StorageFailure, TooLarge, Unauthorized, Unavailable};
    let all = [Invalid, Busy, TooLarge, Unavailable, ShuttingDown, Unauthorized, StorageFailure];
    assert_eq!(codes, all);
}
