use core::time::Duration;

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::Cursors;
use crate::resp::{Decoder, Limits, ReplyDecoder, ReplyLimits, Request, Version, encode_answer};
use crate::words::UnixMs;

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

fn deadlines() -> impl Strategy<Value = Deadline> {
    prop_oneof![
        (1..1u64 << 40).prop_map(|ms| Deadline::In(Duration::from_millis(ms))),
        (1..1u64 << 45).prop_map(|ms| Deadline::At(UnixMs(ms))),
    ]
}

/// Any command of the store.
fn commands() -> impl Strategy<Value = Command> {
    let keys = || prop::collection::vec(bytes(), 1..5);
    let expiry =
        prop_oneof![Just(Expiry::None), Just(Expiry::Keep), deadlines().prop_map(Expiry::By)];
    let condition =
        prop::option::of(prop_oneof![Just(Condition::Absent), Just(Condition::Present)]);
    let when = prop::option::of(prop::sample::select(vec![
        ExpireCondition::Absent,
        ExpireCondition::Present,
        ExpireCondition::Later,
        ExpireCondition::Earlier,
        ExpireCondition::PresentEarlier,
    ]));
    let forms = prop::sample::select(vec![
        TimeForm::SecondsLeft,
        TimeForm::MillisLeft,
        TimeForm::UnixSeconds,
        TimeForm::UnixMillis,
    ]);
    let set = (bytes(), bytes(), expiry, condition, any::<bool>());
    let pattern = prop::option::of(bytes().prop_filter("not all", |glob| **glob != b"*"[..]));
    prop_oneof![
        bytes().prop_map(|key| Command::Get { key }),
        set.prop_map(|(key, value, expiry, condition, get)| {
            Command::Set { key, value, expiry, condition, get }
        }),
        bytes().prop_map(|key| Command::GetDel { key }),
        (bytes(), bytes()).prop_map(|(key, value)| Command::Append { key, value }),
        bytes().prop_map(|key| Command::StrLen { key }),
        (bytes(), any::<i64>()).prop_map(|(key, by)| Command::Incr { key, by }),
        keys().prop_map(|keys| Command::MGet { keys }),
        prop::collection::vec((bytes(), bytes()), 1..4).prop_map(|pairs| Command::MSet { pairs }),
        keys().prop_map(|keys| Command::Del { keys }),
        keys().prop_map(|keys| Command::Exists { keys }),
        bytes().prop_map(|key| Command::Type { key }),
        (bytes(), forms).prop_map(|(key, form)| Command::Ttl { key, form }),
        (bytes(), deadlines(), when).prop_map(|(key, deadline, condition)| {
            Command::Expire { key, deadline, condition }
        }),
        bytes().prop_map(|key| Command::Persist { key }),
        (prop::option::of(bytes()), pattern, 1..u32::MAX)
            .prop_map(|(after, pattern, count)| Command::Scan { after, pattern, count }),
        Just(Command::DbSize),
        Just(Command::FlushAll),
    ]
}

/// Answers as the store gives them, with every refusal that has no words of the client in it.
fn answers() -> Vec<Answer> {
    let mut answers: Vec<Answer> =
        Refusal::FIXED.iter().map(|refusal| Answer::Error(refusal.clone())).collect();
    let some =
        [Answer::Ok, Answer::Nil, Answer::Int(-3), Answer::text("v"), Answer::Simple("none")];
    answers.extend(some);
    answers.push(Answer::List(vec![Answer::Nil, Answer::text("")]));
    answers
}

fn reply(answer: &Answer, version: Version) -> Reply {
    let mut out = Vec::new();
    encode_answer(answer, version, &mut out);
    let mut input = BytesMut::from(&out[..]);
    let reply = ReplyDecoder::new(ReplyLimits::default()).decode(&mut input);
    reply.expect("well formed").expect("whole")
}

proptest! {
    /// What a client says is what the server hears.
    #[test]
    fn commands_round_trip(command in commands()) {
        let mut cursors = Cursors::default();
        let cursor = match &command {
            Command::Scan { after: Some(key), .. } => cursors.park(key),
            _ => 0,
        };
        let (mut out, mut heard) = (Vec::new(), Vec::new());
        encode_command(&command, cursor, &mut out);
        let mut input = BytesMut::from(&out[..]);
        Decoder::new(Limits::default()).decode(&mut input, &mut heard).expect("well formed");
        let heard = heard.pop().expect("one command");
        let heard = heard.and_then(|request| cursors.resolve(request));
        prop_assert!(heard == Ok(Request::Data(command.clone())), "{}", command.reveal());
    }
}

/// What the store answers is what the client understands.
#[test]
fn answers_round_trip() {
    for answer in answers() {
        for version in [Version::Resp2, Version::Resp3] {
            let understood = reply(&answer, version).answer();
            assert!(understood == Some(answer.clone()), "{}", answer.reveal());
        }
    }
    let line = Answer::Error(Refusal::unknown_command(b"a", &[]));
    assert_eq!(reply(&line, Version::Resp2).answer(), None);
    assert_eq!(reply(&Answer::Simple("PONG"), Version::Resp2).answer(), None);
}

#[test]
fn a_page_is_understood() {
    let key = Bytes::from_static(b"k");
    let (mut cursors, mut out) = (Cursors::default(), Vec::new());
    cursors.encode_page(Some(&key), std::slice::from_ref(&key), &mut out);
    let mut input = BytesMut::from(&out[..]);
    let page = ReplyDecoder::new(ReplyLimits::default()).decode(&mut input);
    let page = page.expect("well formed").expect("whole").page();
    assert_eq!(page, Some((cursors.park(&key), vec![key])));
    assert_eq!(Reply::Nil.page(), None);
    assert_eq!(Reply::Array(vec![Reply::Bulk(Bytes::new()), Reply::Array(vec![])]).page(), None);
}
