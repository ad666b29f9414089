//! That what is written is read, and what may not be written is refused by its name.

use core::time::Duration;

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;
use crate::{
    Answer, Blob, Command, Condition, Deadline, ExpireCondition, Expiry, TimeForm, UnixMs,
    envelope::*,
};

fn message(text: &str) -> Message {
    decode(text.as_bytes()).unwrap_or_else(|refused| panic!("{text}: {}", refused.failure))
}

fn command(text: &str) -> Envelope {
    match message(text).ask {
        Ask::Command(envelope) => envelope,
        ask => panic!("{text}: {ask:?}"),
    }
}

/// Code and field, or reason.
fn refused(text: &str) -> (Code, String) {
    let failure = decode(text.as_bytes()).expect_err(text).failure;
    let about = ["field", "type", "reason"].iter().find_map(|name| failure.detail(name));
    (failure.code, about.unwrap_or_default().to_owned())
}

#[test]
fn golden_requests() {
    let text = r#"{"type":"set","request":7,"id":"a","session":"s","depends_on":["b","c"],
        "if_session_version":3,"idempotency_key":"k","timeout":"5s","durability":"strict",
        "key":"key","value":{"base64":"AP8="},"expiry":{"at":99},"condition":"absent","get":true}"#;
    let read = message(text);
    assert_eq!(read.request, Some(json!(7)));
    let set = Command::Set {
        key: "key".into(),
        value: Bytes::from_static(b"\0\xff"),
        expiry: Expiry::By(Deadline::At(UnixMs(99))),
        condition: Some(Condition::Absent),
        get: true,
    };
    let envelope = Envelope {
        durability: Some(Safety::Strict),
        ..Envelope::new(set)
            .id("a")
            .session("s")
            .after("b")
            .after("c")
            .if_session_version(3)
            .idempotency_key("k")
            .timeout(Duration::from_secs(5))
    };
    assert_eq!(read.ask, Ask::Command(envelope));
    assert_eq!(
        encode(&read),
        concat!(
            r#"{"condition":"absent","depends_on":["b","c"],"durability":"strict","#,
            r#""expiry":{"at":99},"get":true,"id":"a","idempotency_key":"k","#,
            r#""if_session_version":3,"key":"key","request":7,"session":"s","timeout":5000,"#,
            r#""type":"set","value":{"base64":"AP8="}}"#
        )
    );
    let one = Command::Incr { key: "n".into(), by: 1 };
    assert_eq!(command(r#" {"type":"incr","key":"n","id":null} "#), Envelope::new(one));
    let left = Command::Ttl { key: "n".into(), form: TimeForm::SecondsLeft };
    assert_eq!(command(r#"{"type":"ttl","key":"n"}"#), Envelope::new(left));
    let page = Command::Scan { after: None, pattern: None, count: 10 };
    assert_eq!(command(r#"{"type":"scan"}"#), Envelope::new(page));
    let soon = Command::Expire {
        key: "k".into(),
        deadline: Deadline::In(Duration::from_millis(250)),
        condition: None,
    };
    assert_eq!(command(r#"{"type":"expire","key":"k","deadline":250}"#), Envelope::new(soon));
    let history = Filter { outcome: Some("failed".into()), cursor: Some(9), ..Filter::default() };
    assert_eq!(
        message(r#"{"type":"get_command_history","outcome":"failed","cursor":9}"#).ask,
        Ask::Question(Question::History(history))
    );
    assert_eq!(
        message(r#"{"type":"subscribe","request":null}"#),
        Message { request: Some(Value::Null), ask: Ask::Subscribe { session: None } }
    );
}

#[test]
fn each_rule_is_refused_by_its_field() {
    let invalid = |field: &str| (Code::Invalid, field.to_owned());
    for (text, field) in [
        (r#"{"key":"k"}"#, "type"),
        (r#"{"type":1}"#, "type"),
        (r#"{"type":"get"}"#, "key"),
        (r#"{"type":"get","key":null}"#, "key"),
        (r#"{"type":"get","key":5}"#, "key"),
        (r#"{"type":"get","kye":"k"}"#, "kye"),
        (r#"{"type":"get","key":"k","value":"v"}"#, "value"),
        (r#"{"type":"get","key":"k","key":"k"}"#, "key"),
        (r#"{"type":"get","key":"k","request":1,"request":1}"#, "request"),
        (r#"{"type":"get","key":{"base64":"AA=="},"x":{"y":1,"y":2}}"#, "y"),
        (r#"{"type":"get","key":{"base64":"AA"}}"#, "key"),
        (r#"{"type":"get","key":{"base64":"AB=="}}"#, "key"),
        (r#"{"type":"get","key":{"base64":"AA==","more":1}}"#, "key"),
        (r#"{"type":"get","key":{"Base64":"AA=="}}"#, "key"),
        (r#"{"type":"get","key":"k","request":[1]}"#, "request"),
        (r#"{"type":"get","key":"k","request":1.5}"#, "request"),
        (r#"{"type":"get","key":"k","timeout":"5"}"#, "timeout"),
        (r#"{"type":"get","key":"k","timeout":-1}"#, "timeout"),
        (r#"{"type":"get","key":"k","timeout":"99999999999999999999d"}"#, "timeout"),
        (r#"{"type":"get","key":"k","durability":"Strict"}"#, "durability"),
        (r#"{"type":"get","key":"k","depends_on":"a"}"#, "depends_on"),
        (r#"{"type":"get","key":"k","if_session_version":1.0}"#, "if_session_version"),
        (r#"{"type":"set","key":"k","value":"v","expiry":"kept"}"#, "expiry"),
        (r#"{"type":"set","key":"k","value":"v","condition":"nx"}"#, "condition"),
        (r#"{"type":"expire","key":"k","deadline":"keep"}"#, "deadline"),
        (r#"{"type":"incr","key":"k","by":9223372036854775808}"#, "by"),
        (r#"{"type":"mset","pairs":[["k"]]}"#, "pairs"),
        (r#"{"type":"mset","pairs":{"k":"v"}}"#, "pairs"),
        (r#"{"type":"health","id":"a"}"#, "id"),
        (r#"{"type":"get_command_history","limit":501}"#, "limit"),
        (r#"{"type":"get_command_history","outcome":"fine"}"#, "outcome"),
        (r#"{"type":"get_command_history","session":"s","server_only":true}"#, "server_only"),
        (r#"{"type":"list_sessions","limit":0}"#, "limit"),
        (r#"{"type":"get_outcome"}"#, "id"),
        (r#"{"type":"unsubscribe"}"#, "subscription"),
    ] {
        assert_eq!(refused(text), invalid(field), "{text}");
    }
    let unknown = (Code::UnknownCommand, "SET".to_owned());
    assert_eq!(refused(r#"{"type":"SET","key":"k","value":"v"}"#), unknown);
}

#[test]
fn a_refusal_repeats_what_its_request_said_of_itself() {
    let refused = decode(br#"{"request":"r","id":"a","type":"gett"}"#).expect_err("no such type");
    assert_eq!((refused.request, refused.id.as_deref()), (Some(json!("r")), Some("a")));
    assert!(!refused.is_malformed);
    let long = format!(r#"{{"type":"{}"}}"#, "x\u{e9}\\n".repeat(1000));
    let refused = decode(long.as_bytes()).expect_err("no such type");
    let echo = refused.failure.detail("type").expect("it is named");
    assert!(echo.len() <= 128 && !echo.contains('\n'), "{echo}");
}

#[test]
fn what_is_no_object_is_malformed() {
    let deep = format!(r#"{{"type":{}1{}}}"#, "[".repeat(16), "]".repeat(16));
    let many = format!("[{}0]", "0,".repeat(VALUES_MAX));
    let endless = "[".repeat(1_000_000);
    for text in ["", " ", "7", "[]", "null", "{", "{}}", "{\"type\":}", "{'a':1}", "\u{feff}{}"]
        .into_iter()
        .chain([&*deep, &*many, &*endless])
    {
        let refused = decode(text.as_bytes()).expect_err("malformed");
        assert!(refused.is_malformed, "{:.20}", text);
        assert_eq!(refused.failure.detail("reason"), Some("malformed"), "{:.20}", text);
    }
    assert!(decode(b"{\"type\":\"\xff\"}").expect_err("no UTF-8").is_malformed);
    let long = vec![b' '; MESSAGE_MAX + 1];
    assert_eq!(decode(&long).expect_err("too long").failure.code, Code::TooLarge);
}

#[test]
fn golden_answers() {
    let ok = |answer| End::Ok(answer);
    let outcome = |end| Outcome { end, session_version: Some(4), replayed: false };
    let (request, id) = (json!("r"), Id::from("a"));
    let text = |outcome| answer(Some(&request), Some(&id), &Ok(outcome)).to_string();
    for (end, result) in [
        (Answer::Ok, r#""OK""#),
        (Answer::Nil, "null"),
        (Answer::Int(i64::MIN), "-9223372036854775808"),
        (Answer::Bulk(Blob::new(b"v")), r#""v""#),
        (Answer::Bulk(Blob::new(b"\xff")), r#"{"base64":"/w=="}"#),
        (Answer::List(vec![Answer::Nil, Answer::Bulk(Blob::new(b"v"))]), r#"[null,"v"]"#),
        (Answer::Page { next: None, keys: vec!["k".into()] }, r#"{"keys":["k"]}"#),
        (Answer::Page { next: Some("k".into()), keys: vec![] }, r#"{"keys":[],"next":"k"}"#),
        (Answer::Simple("string"), r#""string""#),
    ] {
        let golden = format!(
            concat!(
                r#"{{"id":"a","outcome":"ok","replayed":false,"request":"r","result":{},"#,
                r#""session_version":4}}"#
            ),
            result
        );
        assert_eq!(text(outcome(ok(end))), golden);
    }
    let why = Failure::new(Code::Timeout, "its time is over").with("waited_ms", "30000");
    let golden = concat!(
        r#"{"error":{"code":"Timeout","details":{"waited_ms":"30000"},"#,
        r#""message":"its time is over"},"#,
        r#""id":"a","outcome":"timed_out","replayed":false,"request":"r","session_version":4}"#
    );
    assert_eq!(text(outcome(End::TimedOut(why))), golden);
    assert_eq!(
        refusal(None, None, &Failure::invalid("key", "is required")).to_string(),
        r#"{"error":{"code":"Invalid","details":{"field":"key"},"message":"key is required"}}"#
    );
    let causes = Causes::of(id.clone(), &command(r#"{"type":"get","key":"k","session":"s"}"#));
    let told = Event {
        causes: causes.clone(),
        lane_sequence: 3,
        at: UnixMs(5),
        stage: Stage::Finished(outcome(ok(Answer::Nil))),
    };
    assert_eq!(
        event(Some(2), &told).to_string(),
        concat!(
            r#"{"at":5,"event":"command_finished","id":"a","lane":"session:s","lane_sequence":3,"#,
            r#""outcome":"ok","replayed":false,"result":null,"session":"s","session_version":4,"#,
            r#""subscription":2,"timed_out":false,"type":"get"}"#
        )
    );
    let state = State {
        row: 1,
        causes,
        lane_sequence: 1,
        accepted: UnixMs(2),
        finished: None,
        outcome: None,
    };
    let page = HistoryPage { commands: vec![state], truncated: true, cursor: Some(1) };
    assert_eq!(
        finding(Some(&json!(true)), &Finding::History(page)).to_string(),
        concat!(
            r#"{"request":true,"result":{"commands":[{"accepted":2,"id":"a","lane":"session:s","#,
            r#""lane_sequence":1,"outcome":"in_flight","row":1,"session":"s","type":"get"}],"#,
            r#""cursor":1,"truncated":true}}"#
        )
    );
    assert_eq!(
        finding(None, &Finding::Cancelled(false)).to_string(),
        r#"{"result":{"cancelled":false}}"#
    );
    let summary = RecoverySummary { failed: vec![(id, "x".into())], ..Default::default() };
    assert_eq!(
        finding(None, &Finding::Recovery(summary)).to_string(),
        concat!(
            r#"{"result":{"cut_bytes":0,"failed":[{"id":"a","reason":"x"}],"outcomes":0,"#,
            r#""records":0,"rerun":[],"segments":0,"unsupported":0}}"#
        )
    );
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), "\\PC{0,8}", any::<String>()]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![name().prop_map(Bytes::from), vec(any::<u8>(), 0..40).prop_map(Bytes::from)]
}

fn deadline() -> impl Strategy<Value = Deadline> {
    prop_oneof![
        any::<u64>().prop_map(|ms| Deadline::In(Duration::from_millis(ms))),
        any::<u64>().prop_map(|ms| Deadline::At(UnixMs(ms))),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let expiry =
        prop_oneof![Just(Expiry::None), Just(Expiry::Keep), deadline().prop_map(Expiry::By)];
    let condition = option::of(select(vec![Condition::Absent, Condition::Present]));
    let expire_condition = option::of(select(vec![
        ExpireCondition::Absent,
        ExpireCondition::Present,
        ExpireCondition::Later,
        ExpireCondition::Earlier,
        ExpireCondition::PresentEarlier,
    ]));
    let form = select(vec![
        TimeForm::SecondsLeft,
        TimeForm::MillisLeft,
        TimeForm::UnixSeconds,
        TimeForm::UnixMillis,
    ]);
    prop_oneof![
        bytes().prop_map(|key| Command::Get { key }),
        (bytes(), bytes(), expiry, condition, any::<bool>()).prop_map(
            |(key, value, expiry, condition, get)| Command::Set {
                key,
                value,
                expiry,
                condition,
                get
            }
        ),
        bytes().prop_map(|key| Command::GetDel { key }),
        (bytes(), bytes()).prop_map(|(key, value)| Command::Append { key, value }),
        bytes().prop_map(|key| Command::StrLen { key }),
        (bytes(), any::<i64>()).prop_map(|(key, by)| Command::Incr { key, by }),
        vec(bytes(), 0..4).prop_map(|keys| Command::MGet { keys }),
        vec((bytes(), bytes()), 0..4).prop_map(|pairs| Command::MSet { pairs }),
        vec(bytes(), 0..4).prop_map(|keys| Command::Del { keys }),
        vec(bytes(), 0..4).prop_map(|keys| Command::Exists { keys }),
        bytes().prop_map(|key| Command::Type { key }),
        (bytes(), form).prop_map(|(key, form)| Command::Ttl { key, form }),
        (bytes(), deadline(), expire_condition)
            .prop_map(|(key, deadline, condition)| Command::Expire { key, deadline, condition }),
        bytes().prop_map(|key| Command::Persist { key }),
        (option::of(bytes()), option::of(bytes()), any::<u32>())
            .prop_map(|(after, pattern, count)| Command::Scan { after, pattern, count }),
        Just(Command::DbSize),
        Just(Command::FlushAll),
    ]
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    let call = prop_oneof![
        8 => any_command().prop_map(Call::Data),
        1 => Just(Call::CreateSession),
        1 => Just(Call::LoadSession),
        1 => Just(Call::DeleteSession),
    ];
    let id = || option::of(name().prop_map(Id::from));
    let rest = (option::of(any::<u64>()), option::of(select(Safety::ALL.to_vec())));
    (id(), id(), vec(name(), 0..3), option::of(any::<u64>()), id(), rest, call).prop_map(
        |(id, session, on, if_session_version, idempotency_key, (timeout_ms, durability), call)| {
            Envelope {
                id,
                session,
                depends_on: on.into_iter().map(Into::into).collect(),
                if_session_version,
                idempotency_key,
                timeout_ms,
                durability,
                call,
            }
        },
    )
}

fn any_ask() -> impl Strategy<Value = Ask> {
    let id = || name().prop_map(Id::from);
    let at = || option::of(any::<u64>().prop_map(UnixMs));
    let outcome = option::of(select(vec!["ok".to_owned(), "in_flight".to_owned()]));
    let paging = (0..=PAGE_MAX, option::of(any::<u64>()));
    let filter = (option::of(id()), any::<bool>(), option::of(id()), at(), at(), outcome, paging);
    let history =
        filter.prop_map(|(session, server_only, id, from, to, outcome, (limit, cursor))| {
            let server_only = server_only && session.is_none();
            Question::History(Filter { session, server_only, id, from, to, outcome, limit, cursor })
        });
    prop_oneof![
        8 => any_envelope().prop_map(Ask::Command),
        1 => Just(Ask::Question(Question::Health)),
        1 => Just(Ask::Question(Question::RecoverySummary)),
        1 => history.prop_map(Ask::Question),
        1 => id().prop_map(|id| Ask::Question(Question::Outcome(id))),
        1 => id().prop_map(|id| Ask::Question(Question::Cancel(id))),
        1 => (option::of(id()), 1..=PAGE_MAX)
            .prop_map(|(after, limit)| Ask::Question(Question::Sessions { after, limit })),
        1 => option::of(id()).prop_map(|session| Ask::Subscribe { session }),
        1 => bytes().prop_map(|password| Ask::Authenticate { password: password.into() }),
        1 => any::<u64>().prop_map(|subscription| Ask::Unsubscribe { subscription }),
    ]
}

fn any_request() -> impl Strategy<Value = Option<Value>> {
    let text = name().prop_filter("short", |text| text.len() <= REQUEST_MAX);
    option::of(prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ])
}

proptest! {
    #[test]
    fn what_is_written_is_read(request in any_request(), ask in any_ask()) {
        let message = Message { request, ask };
        let text = encode(&message);
        prop_assert!(!text.contains('\n'), "a request is one line");
        let read = decode(text.as_bytes()).map_err(|refused| {
            TestCaseError::fail(format!("{text}: {}", refused.failure))
        })?;
        prop_assert_eq!(&read, &message);
        prop_assert_eq!(encode(&read), text);
    }

    /// Whatever is misspelt is named.
    #[test]
    fn no_field_is_dropped(ask in any_ask(), field in "[a-z_]{1,12}") {
        let text = encode(&Message { request: None, ask });
        let mut tree: Value = serde_json::from_str(&text).expect("it is JSON");
        let kind = tree["type"].as_str().expect("it has a type").to_owned();
        let known = fields_of(&kind).expect("the type is known");
        let known: Vec<&str> = known.map(|field| field.name).collect();
        prop_assume!(!known.contains(&&*field) && field != "type" && field != "request");
        tree[&field] = json!(1);
        let refused = decode(tree.to_string().as_bytes()).expect_err("it is no field");
        prop_assert_eq!(refused.failure.code, Code::Invalid);
        prop_assert_eq!(refused.failure.detail("field"), Some(&*field));
    }

    #[test]
    fn no_text_panics(text in "[ \\PC{}\\[\\]:,\"0-9a-z]{0,60}") {
        let _ = decode(text.as_bytes());
    }
}

#[test]
fn every_type_stands_in_the_table_once() {
    let mut names: Vec<&str> = TYPES.iter().map(|(name, ..)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TYPES.len());
    for (name, is_command, _) in TYPES {
        let text = json!({
            "type": name, "key": "k", "value": "v", "keys": ["k"], "pairs": [["k", "v"]],
            "deadline": "1s", "id": "a", "subscription": 1, "password": "p",
        });
        let mut text = text;
        let known: Vec<&str> = fields_of(name).expect("known").map(|field| field.name).collect();
        let members = text.as_object_mut().expect("an object");
        members.retain(|field, _| field == "type" || known.contains(&&**field));
        let read = message(&text.to_string());
        assert_eq!(matches!(read.ask, Ask::Command(_)), *is_command, "{name}");
        if let Ask::Command(envelope) = read.ask {
            assert_eq!(envelope.call.name(), *name);
        }
    }
}

#[test]
fn lengths_of_time() {
    for (text, ms) in
        [("250ms", 250), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("7d", 604_800_000)]
    {
        assert_eq!(milliseconds(text), Some(ms));
    }
    for text in ["", "5", "s", "-5s", "5 s", "5S", "1.5s", "5sec"] {
        assert_eq!(milliseconds(text), None, "{text}");
    }
}
