//! One of each message, and of each form that a part of it has.

use core::time::Duration;
use std::sync::Arc;

use crate::{
    Answer, Blob, Command, Condition, Deadline, ExpireCondition, Expiry, TimeForm, UnixMs,
    envelope::*,
    native::{Hello, Message, Welcome},
};

pub(super) fn commands() -> Vec<Command> {
    let key = || "k".into();
    vec![
        Command::Get { key: key() },
        Command::Set {
            key: key(),
            value: "v".into(),
            expiry: Expiry::By(Deadline::In(Duration::from_millis(1500))),
            condition: Some(Condition::Absent),
            get: true,
        },
        Command::GetDel { key: key() },
        Command::Append { key: key(), value: "v".into() },
        Command::StrLen { key: key() },
        Command::Incr { key: key(), by: -7 },
        Command::MGet { keys: vec!["a".into(), "b".into()] },
        Command::MSet { pairs: vec![("a".into(), "1".into()), ("b".into(), "2".into())] },
        Command::Del { keys: vec![key()] },
        Command::Exists { keys: vec![key(), key()] },
        Command::Type { key: key() },
        Command::Ttl { key: key(), form: TimeForm::UnixMillis },
        Command::Expire {
            key: key(),
            deadline: Deadline::At(UnixMs(1_700_000_000_000)),
            condition: Some(ExpireCondition::Later),
        },
        Command::Persist { key: key() },
        Command::Scan { after: Some(key()), pattern: Some("a*".into()), count: 10 },
        Command::DbSize,
        Command::FlushAll,
    ]
}

pub(super) fn causes() -> Causes {
    Causes {
        id: "c2".into(),
        name: "set".into(),
        session: Some("s".into()),
        depends_on: vec!["c1".into()],
        if_session_version: Some(3),
        idempotency_key: Some("key".into()),
    }
}

fn failure() -> Failure {
    Failure::new(Code::VersionMismatch, "another version").with("actual", "4")
}

pub(super) fn outcomes() -> Vec<Outcome> {
    let ends = [
        End::Ok(Answer::Ok),
        End::Ok(Answer::Nil),
        End::Ok(Answer::Int(-1)),
        End::Ok(Answer::Bulk(Blob::new(b"v"))),
        End::Ok(Answer::List(vec![Answer::Bulk(Blob::new(b"v")), Answer::Nil])),
        End::Ok(Answer::Page { next: Some("b".into()), keys: vec!["a".into(), "b".into()] }),
        End::Ok(Answer::Simple("string")),
        End::Failed(failure()),
        End::TimedOut(Failure::new(Code::Timeout, "too late")),
        End::Cancelled(Failure::new(Code::Cancelled, "as asked")),
    ];
    let whole = |end| Outcome { end, session_version: Some(4), replayed: false };
    let mut outcomes: Vec<Outcome> = ends.into_iter().map(whole).collect();
    outcomes.push(Outcome { end: End::Ok(Answer::Ok), session_version: None, replayed: true });
    outcomes
}

fn requests() -> Vec<Envelope> {
    let mut requests: Vec<Envelope> = commands().into_iter().map(Envelope::new).collect();
    requests.extend(
        [Call::CreateSession, Call::LoadSession, Call::DeleteSession]
            .map(|call| Envelope::new(call).session("s")),
    );
    let get = || Envelope::new(Command::Get { key: "k".into() });
    requests.push(Envelope {
        durability: Some(Safety::Buffered),
        ..get()
            .id("c2")
            .session("s")
            .after("c1")
            .after("c0")
            .if_session_version(3)
            .idempotency_key("key")
            .timeout(Duration::from_millis(250))
    });
    requests
}

fn questions() -> Vec<Question> {
    vec![
        Question::Health,
        Question::RecoverySummary,
        Question::History(Filter {
            session: Some("s".into()),
            server_only: false,
            id: Some("c1".into()),
            from: Some(UnixMs(1)),
            to: Some(UnixMs(2)),
            outcome: Some("failed".into()),
            limit: 50,
            cursor: Some(9),
        }),
        Question::Outcome("c1".into()),
        Question::Sessions { after: Some("r".into()), limit: 3 },
        Question::Cancel("c1".into()),
    ]
}

fn findings() -> Vec<Finding> {
    vec![
        Finding::Health(Health {
            is_ready: true,
            is_stopping: false,
            is_read_only: true,
            durability: "strict".into(),
            append_failure: "fail_closed".into(),
            version: "0.1.0".into(),
            in_flight: 2,
            connections: 3,
            now: UnixMs(1_700_000_000_000),
        }),
        Finding::Recovery(RecoverySummary {
            segments: 1,
            records: 2,
            cut_bytes: 3,
            unsupported: 4,
            outcomes: 5,
            rerun: vec!["c1".into()],
            failed: vec![("c2".into(), "restart_in_flight".into())],
        }),
        Finding::History(HistoryPage {
            commands: vec![State {
                row: 7,
                causes: causes(),
                lane_sequence: 4,
                accepted: UnixMs(1000),
                finished: Some(UnixMs(1001)),
                outcome: Some(outcomes().remove(2)),
            }],
            truncated: true,
            cursor: Some(7),
        }),
        Finding::Outcome(Some(outcomes().remove(7))),
        Finding::Sessions(
            vec![SessionState {
                name: "s".into(),
                version: 4,
                lane_sequence: 12,
                created: UnixMs(900),
            }],
            true,
        ),
        Finding::Cancelled(true),
    ]
}

/// Every kind of message, with names.
pub(super) fn messages() -> Vec<(String, Message)> {
    let mut all: Vec<(String, Message)> = Vec::new();
    let mut add = |name: &str, message: Message| all.push((name.to_owned(), message));
    add(
        "hello",
        Message::Hello(Hello {
            capabilities: vec!["events".into()],
            password: Some("secret".into()),
            ..Hello::new("example 1.0")
        }),
    );
    add(
        "welcome",
        Message::Welcome(Welcome {
            version: 1,
            server: "orloj 0.1.0".into(),
            capabilities: vec!["events".into()],
            credits: 256,
            message_max: 10 << 20,
            key_max: 65_520,
            value_max: 8 << 20,
            event_credits_max: 1024,
            durability: Some(Safety::Strict),
            connection: 5,
        }),
    );
    for request in requests() {
        let name = match request.id {
            Some(_) => "request-envelope".to_owned(),
            None => format!("request-{}", request.call.name()),
        };
        add(&name, Message::Request(request));
    }
    for (at, outcome) in outcomes().into_iter().enumerate() {
        add(&format!("answer-{at}"), Message::Answer { answer: Ok(outcome), credits: 1 });
    }
    let busy = Failure::new(Code::Busy, "no credit").with("reason", "credits");
    add("answer-refused", Message::Answer { answer: Err(busy.clone()), credits: 0 });
    for (at, question) in questions().into_iter().enumerate() {
        add(&format!("question-{at}"), Message::Question(question));
    }
    for (at, finding) in findings().into_iter().enumerate() {
        add(&format!("finding-{at}"), Message::Finding(Ok(finding)));
    }
    add("finding-refused", Message::Finding(Err(failure())));
    add("subscribe", Message::Subscribe { session: Some("s".into()), credits: 64 });
    add("subscribe-all", Message::Subscribe { session: None, credits: 64 });
    add("subscribed", Message::Subscribed);
    let stages = [Stage::Accepted, Stage::Started, Stage::Finished(outcomes().remove(3))];
    for stage in stages {
        let name = stage.name();
        let event = Event { causes: causes(), lane_sequence: 4, at: UnixMs(1000), stage };
        add(name, Message::Event(Arc::new(event)));
    }
    add("event-credits", Message::EventCredits(32));
    add("unsubscribe", Message::Unsubscribe);
    add("subscription-ended", Message::SubscriptionEnded(Some(busy)));
    add("subscription-ended-as-asked", Message::SubscriptionEnded(None));
    add("ping", Message::Ping);
    add("pong", Message::Pong);
    add("goodbye", Message::Goodbye(Some(failure())));
    all
}
