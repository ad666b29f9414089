//! What whoever takes commands has to do.

use std::time::Duration;

use orloj_net::{
    Answer, Blob, Command, Commands, Condition, Deadline, Events, Expiry, Key, TimeForm,
    envelope::{
        Call, Code, End, Envelope, Failure, Filter, Finding, HistoryPage, Outcome, Question, Stage,
    },
};

fn set(key: &str, value: &str) -> Envelope {
    Envelope::new(Command::Set {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        expiry: Expiry::None,
        condition: None,
        get: false,
    })
}

fn get(key: &str) -> Envelope {
    Envelope::new(Command::Get { key: key.to_owned().into() })
}

fn incr(key: &str) -> Envelope {
    Envelope::new(Command::Incr { key: key.to_owned().into(), by: 1 })
}

fn bulk(text: &str) -> Answer {
    Answer::Bulk(Blob::new(text.as_bytes()))
}

async fn outcome(commands: &impl Commands, envelope: Envelope) -> Outcome {
    commands.send(envelope).await.expect("it is accepted")
}

async fn answer(commands: &impl Commands, envelope: impl Into<Call>) -> Answer {
    match outcome(commands, Envelope::new(envelope)).await.end {
        End::Ok(answer) => answer,
        end => panic!("{end:?}"),
    }
}

async fn failure(commands: &impl Commands, envelope: Envelope) -> Failure {
    match outcome(commands, envelope).await.end {
        End::Failed(failure) => failure,
        end => panic!("{end:?}"),
    }
}

async fn create(commands: &impl Commands, session: &str) {
    let created = outcome(commands, Envelope::new(Call::CreateSession).session(session)).await;
    assert_eq!((created.end, created.session_version), (End::Ok(Answer::Int(0)), Some(0)));
}

async fn history(commands: &impl Commands, filter: Filter) -> HistoryPage {
    match commands.ask(Question::History(filter)).await {
        Ok(Finding::History(page)) => page,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn every_command_answers(commands: impl Commands) {
    let c = &commands;
    let key = || Key::from("k");
    let first = Command::Set {
        key: key(),
        value: "v".into(),
        expiry: Expiry::By(Deadline::In(Duration::from_secs(100))),
        condition: Some(Condition::Absent),
        get: true,
    };
    assert_eq!(answer(c, first).await, Answer::Nil);
    assert_eq!(answer(c, Command::Get { key: key() }).await, bulk("v"));
    assert_eq!(answer(c, Command::Append { key: key(), value: "w".into() }).await, Answer::Int(2));
    assert_eq!(answer(c, Command::StrLen { key: key() }).await, Answer::Int(2));
    let ttl = Command::Ttl { key: key(), form: TimeForm::SecondsLeft };
    assert_eq!(answer(c, ttl).await, Answer::Int(100));
    assert_eq!(answer(c, Command::Persist { key: key() }).await, Answer::Int(1));
    let deadline = Deadline::In(Duration::from_secs(50));
    let expire = Command::Expire { key: key(), deadline, condition: None };
    assert_eq!(answer(c, expire).await, Answer::Int(1));
    assert_eq!(answer(c, Command::Type { key: key() }).await, Answer::Simple("string"));
    let pairs = vec![("a".into(), "1".into()), ("b".into(), "2".into())];
    assert_eq!(answer(c, Command::MSet { pairs }).await, Answer::Ok);
    let keys = vec!["a".into(), "none".into()];
    let both = Answer::List(vec![bulk("1"), Answer::Nil]);
    assert_eq!(answer(c, Command::MGet { keys }).await, both);
    assert_eq!(answer(c, Command::Incr { key: "a".into(), by: 4 }).await, Answer::Int(5));
    let keys = vec!["a".into(), "a".into(), "none".into()];
    assert_eq!(answer(c, Command::Exists { keys }).await, Answer::Int(2));
    let page = Answer::Page { next: None, keys: vec!["a".into(), "b".into(), key()] };
    let scan = Command::Scan { after: None, pattern: None, count: 10 };
    assert_eq!(answer(c, scan).await, page);
    assert_eq!(answer(c, Command::GetDel { key: key() }).await, bulk("vw"));
    assert_eq!(answer(c, Command::Del { keys: vec!["a".into()] }).await, Answer::Int(1));
    assert_eq!(answer(c, Command::DbSize).await, Answer::Int(1));
    assert_eq!(answer(c, Command::FlushAll).await, Answer::Ok);
    assert_eq!(answer(c, Command::DbSize).await, Answer::Int(0));
}

pub(crate) async fn refusals_leave_no_trace(commands: impl Commands) {
    let c = &commands;
    let refused = c.send(set("k", "v").id("anon:1")).await.expect_err("a reserved id");
    assert_eq!((refused.code, refused.detail("field")), (Code::Invalid, Some("id")));
    let refused = c.send(set("k", "v").id("a").after("a")).await.expect_err("on itself");
    assert_eq!(refused.detail("field"), Some("depends_on"));
    let refused = c.send(Envelope::new(Call::CreateSession)).await.expect_err("no session");
    assert_eq!(refused.detail("field"), Some("session"));
    let large = "x".repeat(70_000);
    assert_eq!(c.send(get(&large)).await.expect_err("a long key").code, Code::TooLarge);
    assert_eq!(answer(c, Command::DbSize).await, Answer::Int(0));
    let page = history(c, Filter::default()).await;
    assert_eq!(page.commands.len(), 1, "none but the reading just now");
    // Refused by the store, which leaves one.
    assert_eq!(outcome(c, set("k", "v").id("one")).await.end, End::Ok(Answer::Ok));
    let failed = failure(c, incr("k").id("two")).await;
    assert_eq!((failed.code, failed.detail("reason")), (Code::Invalid, Some("not_an_integer")));
}

pub(crate) async fn outcomes_are_replayed(commands: impl Commands) {
    let c = &commands;
    let first = outcome(c, incr("k").id("one")).await;
    assert_eq!((first.end.clone(), first.replayed), (End::Ok(Answer::Int(1)), false));
    let again = outcome(c, incr("k").id("one")).await;
    assert_eq!(again, Outcome { replayed: true, ..first.clone() });
    let conflict = c.send(incr("other").id("one")).await.expect_err("another command");
    assert_eq!(conflict.code, Code::Conflict);
    let keyed = outcome(c, incr("k").id("two").idempotency_key("key")).await;
    assert_eq!(keyed.end, End::Ok(Answer::Int(2)));
    let again = outcome(c, incr("k").id("three").idempotency_key("key")).await;
    assert_eq!(again, Outcome { replayed: true, ..keyed });
    assert_eq!(outcome(c, get("k")).await.end, End::Ok(bulk("2")));
}

pub(crate) async fn sessions_have_versions(commands: impl Commands) {
    let c = &commands;
    create(c, "s").await;
    let twice = failure(c, Envelope::new(Call::CreateSession).session("s").id("twice")).await;
    assert_eq!((twice.code, twice.detail("reason")), (Code::Conflict, Some("session_exists")));
    assert_eq!(outcome(c, set("k", "v").session("s")).await.session_version, Some(1));
    let ahead = failure(c, set("k", "x").session("s").if_session_version(7)).await;
    assert_eq!((ahead.code, ahead.detail("actual")), (Code::VersionMismatch, Some("1")));
    let right = outcome(c, set("k", "w").session("s").if_session_version(1)).await;
    assert_eq!(right.session_version, Some(2));
    assert_eq!(outcome(c, get("k").session("s")).await.session_version, Some(2), "reads add none");
    let load = outcome(c, Envelope::new(Call::LoadSession).session("s")).await;
    assert_eq!(load.end, End::Ok(Answer::Int(2)));
    let deleted = outcome(c, Envelope::new(Call::DeleteSession).session("s")).await;
    assert_eq!((deleted.end, deleted.session_version), (End::Ok(Answer::Ok), None));
    assert_eq!(failure(c, set("k", "v").session("s")).await.code, Code::Invalid);
    let gone = failure(c, set("k", "v").session("s").if_session_version(2)).await;
    assert_eq!((gone.code, gone.detail("actual")), (Code::VersionMismatch, Some("absent")));
}

pub(crate) async fn dependencies_are_kept(commands: impl Commands) {
    let c = &commands;
    outcome(c, set("k", "v").id("good")).await;
    failure(c, incr("k").id("bad")).await;
    let end = outcome(c, set("k", "1").id("next").after("good")).await.end;
    assert_eq!(end, End::Ok(Answer::Ok));
    let failed = failure(c, incr("k").id("on-bad").after("good").after("bad")).await;
    assert_eq!((failed.code, failed.detail("on")), (Code::DependencyFailed, Some("bad")));
    let unknown = failure(c, incr("k").id("on-none").after("none")).await;
    assert_eq!((unknown.code, unknown.detail("on")), (Code::DependencyUnknown, Some("none")));
    assert_eq!(outcome(c, get("k")).await.end, End::Ok(bulk("1")), "and have no effect");
}

pub(crate) async fn history_tells_what_was(commands: impl Commands) {
    let c = &commands;
    create(c, "s").await;
    for at in 0..5 {
        outcome(c, incr("k").session("s").id(format!("c{at}"))).await;
    }
    failure(c, set("k", "v").session("s").id("late").if_session_version(0)).await;
    let session = Some("s".into());
    let first =
        history(c, Filter { session: session.clone(), limit: 3, ..Filter::default() }).await;
    let ids = |page: &HistoryPage| -> Vec<String> {
        page.commands.iter().map(|state| state.causes.id.to_string()).collect()
    };
    assert_eq!(
        (ids(&first), first.truncated),
        (vec!["late".into(), "c4".into(), "c3".into()], true)
    );
    let cursor = first.cursor;
    let rest = history(c, Filter { session: session.clone(), cursor, ..Filter::default() }).await;
    assert_eq!(ids(&rest)[..3], ["c2", "c1", "c0"]);
    assert!(!rest.truncated);
    let outcome = Some("failed".to_owned());
    let failed = history(c, Filter { session, outcome, ..Filter::default() }).await;
    assert_eq!(ids(&failed), ["late"]);
    let sequences: Vec<u64> = first.commands.iter().map(|state| state.lane_sequence).collect();
    assert_eq!(sequences, [19, 16, 13], "three steps for each command");
}

pub(crate) async fn events_tell_lives(commands: impl Commands) {
    let c = &commands;
    let mut events = c.subscribe(Some("s".into())).await.expect("it stands");
    create(c, "s").await;
    outcome(c, set("k", "v")).await;
    outcome(c, set("k", "v").session("s").id("one")).await;
    outcome(c, set("k", "v").session("s").id("one")).await;
    let mut told = Vec::new();
    for _ in 0..7 {
        let event = events.next().await.expect("its life");
        told.push((event.lane_sequence, event.stage.name()));
        if let Stage::Finished(outcome) = &event.stage {
            assert!(outcome.end.is_ok());
        }
    }
    let life = |from: u64| {
        [(from, "command_accepted"), (from + 1, "command_started"), (from + 2, "command_finished")]
    };
    assert_eq!(told[..6], [life(1), life(4)].concat());
    assert_eq!(told[6], (6, "command_finished"), "a replay tells the end alone");
}

pub(crate) async fn questions_are_answered(commands: impl Commands) {
    let c = &commands;
    let done = outcome(c, set("k", "v").id("one")).await;
    match c.ask(Question::Health).await {
        Ok(Finding::Health(health)) => assert!(health.is_ready && !health.is_stopping),
        other => panic!("{other:?}"),
    }
    match c.ask(Question::RecoverySummary).await {
        Ok(Finding::Recovery(summary)) => assert!(summary.failed.is_empty()),
        other => panic!("{other:?}"),
    }
    match c.ask(Question::Outcome("one".into())).await {
        Ok(Finding::Outcome(Some(known))) => assert_eq!(known.end, done.end),
        other => panic!("{other:?}"),
    }
    let unknown = c.ask(Question::Outcome("none".into())).await.expect_err("it never was");
    assert_eq!(unknown.code, Code::DependencyUnknown);
    for name in ["a", "b", "c"] {
        create(c, name).await;
    }
    match c.ask(Question::Sessions { after: Some("a".into()), limit: 1 }).await {
        Ok(Finding::Sessions(sessions, true)) => assert_eq!(&*sessions[0].name, "b"),
        other => panic!("{other:?}"),
    }
    let cancelled = c.ask(Question::Cancel("one".into())).await;
    assert_eq!(cancelled, Ok(Finding::Cancelled(false)), "it has had its turn");
}
