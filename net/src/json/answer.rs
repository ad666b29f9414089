//! Answers and events, written.

use serde_json::{Map, Value, json};

use super::fields::byte_string;
use crate::{
    Answer,
    envelope::{
        Causes, End, Event, Failure, Finding, Health, HistoryPage, Id, Outcome, RecoverySummary,
        SessionState, Stage, State,
    },
};

/// The answer to a command that was accepted, or was not.
pub fn answer(
    request: Option<&Value>,
    id: Option<&Id>,
    answer: &Result<Outcome, Failure>,
) -> Value {
    match answer {
        Ok(outcome) => {
            let mut out = about(request, id);
            put_outcome(&mut out, outcome);
            out.into()
        }
        Err(failure) => refusal(request, id, failure),
    }
}

/// The answer to a request that was refused.
pub fn refusal(request: Option<&Value>, id: Option<&Id>, why: &Failure) -> Value {
    let mut out = about(request, id);
    put(&mut out, "error", failure(why));
    out.into()
}

/// The answer to a question, or to a subscription's beginning or end.
pub fn finding(request: Option<&Value>, found: &Finding) -> Value {
    let mut out = about(request, None);
    let result = match found {
        Finding::Health(health) => of_health(health),
        Finding::Recovery(summary) => of_recovery(summary),
        Finding::History(page) => of_history(page),
        Finding::Outcome(None) => json!({ "outcome": IN_FLIGHT }),
        Finding::Outcome(Some(outcome)) => {
            let mut out = Map::new();
            put_outcome(&mut out, outcome);
            out.into()
        }
        Finding::Sessions(sessions, truncated) => {
            let sessions: Value = sessions.iter().map(of_session).collect();
            json!({ "sessions": sessions, "truncated": truncated })
        }
        Finding::Cancelled(did) => json!({ "cancelled": did }),
    };
    put(&mut out, "result", result);
    out.into()
}

/// What those are told who have subscribed, with the number of the subscription if it has one.
pub fn event(subscription: Option<u64>, event: &Event) -> Value {
    let Event { causes, lane_sequence, at, stage } = event;
    let mut out = Map::new();
    put(&mut out, "event", stage.name());
    option(&mut out, "subscription", subscription);
    put_causes(&mut out, causes);
    put(&mut out, "lane_sequence", *lane_sequence);
    put(&mut out, "at", at.0);
    if let Stage::Finished(outcome) = stage {
        put_outcome(&mut out, outcome);
        put(&mut out, "timed_out", matches!(outcome.end, End::TimedOut(_)));
    }
    out.into()
}

/// A structured error.
pub fn failure(failure: &Failure) -> Value {
    let details: Map<String, Value> =
        failure.details.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    json!({ "code": failure.code.name(), "message": failure.message, "details": details })
}

/// What is known of one command.
pub fn state(state: &State) -> Value {
    let State { row, causes, lane_sequence, accepted, finished, outcome } = state;
    let mut out = Map::new();
    put(&mut out, "row", *row);
    put_causes(&mut out, causes);
    put(&mut out, "lane_sequence", *lane_sequence);
    put(&mut out, "accepted", accepted.0);
    option(&mut out, "finished", finished.map(|at| at.0));
    match outcome {
        Some(outcome) => put_outcome(&mut out, outcome),
        None => put(&mut out, "outcome", IN_FLIGHT),
    }
    out.into()
}

/// The outcome of a command that has none yet.
const IN_FLIGHT: &str = "in_flight";

fn about(request: Option<&Value>, id: Option<&Id>) -> Map<String, Value> {
    let mut out = Map::new();
    option(&mut out, "request", request.cloned());
    option(&mut out, "id", id.map(|id| &**id));
    out
}

fn put(out: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    out.insert(name.to_owned(), value.into());
}

fn option(out: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        put(out, name, value);
    }
}

fn put_outcome(out: &mut Map<String, Value>, outcome: &Outcome) {
    let Outcome { end, session_version, replayed } = outcome;
    put(out, "outcome", end.name());
    match end {
        End::Ok(answer) => put(out, "result", of_answer(answer)),
        End::Failed(why) | End::TimedOut(why) | End::Cancelled(why) => {
            put(out, "error", failure(why));
        }
    }
    option(out, "session_version", *session_version);
    put(out, "replayed", *replayed);
}

fn put_causes(out: &mut Map<String, Value>, causes: &Causes) {
    let Causes { id, name, session, depends_on, if_session_version, idempotency_key } = causes;
    put(out, "id", &**id);
    put(out, "type", &**name);
    option(out, "session", session.as_deref());
    let lane = session.as_ref().map_or("server".to_owned(), |session| format!("session:{session}"));
    put(out, "lane", lane);
    if !depends_on.is_empty() {
        put(out, "depends_on", depends_on.iter().map(|id| &**id).collect::<Vec<&str>>());
    }
    option(out, "if_session_version", *if_session_version);
    option(out, "idempotency_key", idempotency_key.as_deref());
}

fn of_answer(answer: &Answer) -> Value {
    match answer {
        Answer::Ok => "OK".into(),
        Answer::Nil => Value::Null,
        Answer::Int(number) => (*number).into(),
        Answer::Bulk(bytes) => byte_string(bytes),
        Answer::Text(bytes) => byte_string(bytes),
        Answer::List(items) | Answer::Set(items) => items.iter().map(of_answer).collect(),
        Answer::Page { next, keys } => {
            let mut out = Map::new();
            put(&mut out, "keys", keys.iter().map(|key| byte_string(key)).collect::<Value>());
            option(&mut out, "next", next.as_deref().map(byte_string));
            out.into()
        }
        Answer::Simple(word) => (*word).into(),
        Answer::Bool(yes) => (*yes).into(),
        Answer::Double(real) => real.0.into(),
        Answer::Map(pairs) => {
            pairs.iter().map(|(name, value)| json!([of_answer(name), of_answer(value)])).collect()
        }
        Answer::Error(refusal) => failure(&Failure::from(refusal)),
    }
}

fn of_health(health: &Health) -> Value {
    json!({
        "ready": health.is_ready,
        "stopping": health.is_stopping,
        "read_only": health.is_read_only,
        "durability": health.durability,
        "append_failure": health.append_failure,
        "version": health.version,
        "in_flight": health.in_flight,
        "connections": health.connections,
        "now": health.now.0,
    })
}

fn of_recovery(summary: &RecoverySummary) -> Value {
    let failed = summary.failed.iter().map(|(id, reason)| json!({ "id": **id, "reason": reason }));
    json!({
        "segments": summary.segments,
        "records": summary.records,
        "cut_bytes": summary.cut_bytes,
        "unsupported": summary.unsupported,
        "outcomes": summary.outcomes,
        "rerun": summary.rerun.iter().map(|id| &**id).collect::<Vec<&str>>(),
        "failed": failed.collect::<Value>(),
    })
}

fn of_history(page: &HistoryPage) -> Value {
    let mut out = Map::new();
    put(&mut out, "commands", page.commands.iter().map(state).collect::<Value>());
    put(&mut out, "truncated", page.truncated);
    option(&mut out, "cursor", page.cursor);
    out.into()
}

fn of_session(session: &SessionState) -> Value {
    json!({
        "name": *session.name,
        "version": session.version,
        "lane_sequence": session.lane_sequence,
        "created": session.created.0,
    })
}
