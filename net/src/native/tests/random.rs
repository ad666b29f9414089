//! Messages of any content.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::samples;
use crate::{
    Answer, Blob, Command, Condition, Deadline, ExpireCondition, Expiry, TimeForm, UnixMs,
    envelope::*, native::Message,
};

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn name() -> impl Strategy<Value = Id> {
    "\\PC{0,20}".prop_map(Id::from)
}

fn deadline() -> impl Strategy<Value = Deadline> {
    prop_oneof![
        any::<u64>().prop_map(|ms| Deadline::In(Duration::from_millis(ms))),
        any::<u64>().prop_map(|at| Deadline::At(UnixMs(at))),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let expiry =
        prop_oneof![Just(Expiry::None), Just(Expiry::Keep), deadline().prop_map(Expiry::By),];
    let conditions = select(vec![None, Some(Condition::Absent), Some(Condition::Present)]);
    let expire_conditions = select(vec![
        None,
        Some(ExpireCondition::Absent),
        Some(ExpireCondition::Present),
        Some(ExpireCondition::Later),
        Some(ExpireCondition::Earlier),
        Some(ExpireCondition::PresentEarlier),
    ]);
    let forms = select(vec![
        TimeForm::SecondsLeft,
        TimeForm::MillisLeft,
        TimeForm::UnixSeconds,
        TimeForm::UnixMillis,
    ]);
    prop_oneof![
        select(samples::commands()),
        (bytes(), bytes(), expiry, conditions, any::<bool>()).prop_map(
            |(key, value, expiry, condition, get)| Command::Set {
                key,
                value,
                expiry,
                condition,
                get
            }
        ),
        (bytes(), any::<i64>()).prop_map(|(key, by)| Command::Incr { key, by }),
        vec(bytes(), 0..5).prop_map(|keys| Command::MGet { keys }),
        vec((bytes(), bytes()), 0..5).prop_map(|pairs| Command::MSet { pairs }),
        (bytes(), forms).prop_map(|(key, form)| Command::Ttl { key, form }),
        (bytes(), deadline(), expire_conditions).prop_map(|(key, deadline, condition)| {
            Command::Expire { key, deadline, condition }
        }),
        (option::of(bytes()), option::of(bytes()), any::<u32>())
            .prop_map(|(after, pattern, count)| Command::Scan { after, pattern, count }),
    ]
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let call = prop_oneof![
        5 => command().prop_map(Call::Data),
        1 => select(vec![Call::CreateSession, Call::LoadSession, Call::DeleteSession]),
    ];
    let durability =
        select(vec![None, Some(Safety::InMemory), Some(Safety::Buffered), Some(Safety::Strict)]);
    (
        option::of(name()),
        option::of(name()),
        vec(name(), 0..4),
        option::of(any::<u64>()),
        option::of(name()),
        option::of(any::<u64>()),
        durability,
        call,
    )
        .prop_map(|(id, session, depends_on, version, key, timeout_ms, durability, call)| {
            Envelope {
                id,
                session,
                depends_on,
                if_session_version: version,
                idempotency_key: key,
                timeout_ms,
                durability,
                call,
            }
        })
}

fn failure() -> impl Strategy<Value = Failure> {
    (select(Code::ALL.to_vec()), "\\PC{0,20}", vec(("[a-z]{1,8}", "\\PC{0,8}"), 0..3))
        .prop_map(|(code, message, details)| Failure { code, message, details })
}

fn answer() -> impl Strategy<Value = Answer> {
    let leaf = prop_oneof![
        Just(Answer::Ok),
        Just(Answer::Nil),
        any::<i64>().prop_map(Answer::Int),
        bytes().prop_map(|bytes| Answer::Bulk(Blob::from(bytes))),
        (option::of(bytes()), vec(bytes(), 0..4))
            .prop_map(|(next, keys)| Answer::Page { next, keys }),
        select(vec!["string", "none"]).prop_map(Answer::Simple),
    ];
    leaf.prop_recursive(4, 20, 5, |inner| vec(inner, 0..5).prop_map(Answer::List))
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let end = prop_oneof![
        answer().prop_map(End::Ok),
        failure().prop_map(End::Failed),
        failure().prop_map(End::TimedOut),
        failure().prop_map(End::Cancelled),
    ];
    (end, option::of(any::<u64>()), any::<bool>())
        .prop_map(|(end, session_version, replayed)| Outcome { end, session_version, replayed })
}

fn event() -> impl Strategy<Value = Event> {
    let stage = prop_oneof![
        Just(Stage::Accepted),
        Just(Stage::Started),
        outcome().prop_map(Stage::Finished),
    ];
    (envelope(), name(), any::<u64>(), any::<u64>(), stage).prop_map(
        |(envelope, id, lane_sequence, at, stage)| Event {
            causes: Causes::of(id, &envelope),
            lane_sequence,
            at: UnixMs(at),
            stage,
        },
    )
}

/// Any message.
pub(super) fn message() -> impl Strategy<Value = Message> {
    let answered = prop_oneof![outcome().prop_map(Ok), failure().prop_map(Err)];
    let fixed: Vec<Message> = samples::messages().into_iter().map(|(_, it)| it).collect();
    prop_oneof![
        4 => envelope().prop_map(Message::Request),
        4 => (answered, any::<u32>())
            .prop_map(|(answer, credits)| Message::Answer { answer, credits }),
        2 => event().prop_map(|event| Message::Event(Arc::new(event))),
        2 => select(fixed),
    ]
}
