//! Questions and findings.

use planus::{Builder, UnionOffset};

use super::{
    event::{read_causes, write_causes},
    outcome::{read_failure, read_outcome, write_failure, write_outcome},
    source::{Fault, Source},
    table,
};
use crate::{
    UnixMs,
    envelope::{
        Failure, Filter, Finding, Health, HistoryPage, Id, Question, RecoverySummary, SessionState,
        State,
    },
};

pub(super) fn write_question<'a>(question: &Question, to: &'a mut Builder) -> &'a [u8] {
    type Union = table::Asked;
    let asked = match question {
        Question::Health => {
            let it = table::HealthQuestion::create(to);
            Union::create_health_question(to, it)
        }
        Question::RecoverySummary => {
            let it = table::RecoveryQuestion::create(to);
            Union::create_recovery_question(to, it)
        }
        Question::History(filter) => {
            let it = table::HistoryQuestion::create(
                to,
                filter.session.as_deref(),
                filter.server_only,
                filter.id.as_deref(),
                filter.from.map(|at| at.0),
                filter.to.map(|at| at.0),
                filter.outcome.as_deref(),
                filter.limit,
                filter.cursor,
            );
            Union::create_history_question(to, it)
        }
        Question::Outcome(id) => {
            let it = table::OutcomeQuestion::create(to, &**id);
            Union::create_outcome_question(to, it)
        }
        Question::Sessions { after, limit } => {
            let it = table::SessionsQuestion::create(to, after.as_deref(), *limit);
            Union::create_sessions_question(to, it)
        }
        Question::Cancel(id) => {
            let it = table::CancelQuestion::create(to, &**id);
            Union::create_cancel_question(to, it)
        }
    };
    let root = table::Question::create(to, asked);
    to.finish(root, None)
}

pub(super) fn read_question(from: &mut Source<'_>) -> Result<Question, Fault> {
    use table::AskedRef as Union;
    let root: table::QuestionRef<'_> = from.root()?;
    let asked = root.asked()?.ok_or_else(|| Failure::invalid("asked", "is required"))?;
    Ok(match asked {
        Union::HealthQuestion(_) => Question::Health,
        Union::RecoveryQuestion(_) => Question::RecoverySummary,
        Union::HistoryQuestion(it) => Question::History(Filter {
            session: from.name(it.session()?)?,
            server_only: it.server_only()?,
            id: from.name(it.id()?)?,
            from: it.from_unix_ms()?.map(UnixMs),
            to: it.to_unix_ms()?.map(UnixMs),
            outcome: it.outcome()?.map(|outcome| from.string(Some(outcome))).transpose()?,
            limit: it.limit()?,
            cursor: it.cursor()?,
        }),
        Union::OutcomeQuestion(it) => Question::Outcome(read_id(it.id()?, from)?),
        Union::SessionsQuestion(it) => {
            Question::Sessions { after: from.name(it.after()?)?, limit: it.limit()? }
        }
        Union::CancelQuestion(it) => Question::Cancel(read_id(it.id()?, from)?),
    })
}

fn read_id(id: Option<&str>, from: &mut Source<'_>) -> Result<Id, Fault> {
    Ok(from.name(id)?.ok_or_else(|| Failure::invalid("id", "is required"))?)
}

pub(super) fn write_finding<'a>(
    finding: &Result<Finding, Failure>,
    to: &'a mut Builder,
) -> &'a [u8] {
    let found = finding.as_ref().ok().map(|finding| write_found(finding, to));
    let failure = finding.as_ref().err().map(|failure| write_failure(failure, to));
    let root = table::Finding::create(to, found, failure);
    to.finish(root, None)
}

fn write_found(finding: &Finding, to: &mut Builder) -> UnionOffset<table::Found> {
    type Union = table::Found;
    match finding {
        Finding::Health(health) => {
            let it = table::HealthFinding::create(
                to,
                health.is_ready,
                health.is_stopping,
                health.is_read_only,
                health.durability.as_str(),
                health.append_failure.as_str(),
                health.version.as_str(),
                health.in_flight,
                health.connections,
                health.now.0,
            );
            Union::create_health_finding(to, it)
        }
        Finding::Recovery(summary) => {
            let failed = summary.failed.iter();
            let failed: Vec<_> = failed
                .map(|(id, reason)| table::RecoveryFailure::create(to, &**id, reason.as_str()))
                .collect();
            let rerun: Vec<_> = summary.rerun.iter().map(|id| to.create_string(&**id)).collect();
            let it = table::RecoveryFinding::create(
                to,
                summary.segments,
                summary.records,
                summary.cut_bytes,
                summary.unsupported,
                summary.outcomes,
                rerun,
                failed,
            );
            Union::create_recovery_finding(to, it)
        }
        Finding::History(page) => {
            let commands: Vec<_> = page.commands.iter().map(|it| write_state(it, to)).collect();
            let it = table::HistoryFinding::create(to, commands, page.truncated, page.cursor);
            Union::create_history_finding(to, it)
        }
        Finding::Outcome(outcome) => {
            let outcome = outcome.as_ref().map(|outcome| write_outcome(outcome, to));
            let it = table::OutcomeFinding::create(to, outcome);
            Union::create_outcome_finding(to, it)
        }
        Finding::Sessions(sessions, more) => {
            let sessions: Vec<_> = sessions
                .iter()
                .map(|it| {
                    let SessionState { name, version, lane_sequence, created } = it;
                    table::SessionState::create(to, &**name, *version, *lane_sequence, created.0)
                })
                .collect();
            let it = table::SessionsFinding::create(to, sessions, *more);
            Union::create_sessions_finding(to, it)
        }
        Finding::Cancelled(cancelled) => {
            let it = table::CancelFinding::create(to, *cancelled);
            Union::create_cancel_finding(to, it)
        }
    }
}

fn write_state(state: &State, to: &mut Builder) -> planus::Offset<table::CommandState> {
    let outcome = state.outcome.as_ref().map(|outcome| write_outcome(outcome, to));
    let causes = write_causes(&state.causes, to);
    table::CommandState::create(
        to,
        state.row,
        causes,
        state.lane_sequence,
        state.accepted.0,
        state.finished.map(|at| at.0),
        outcome,
    )
}

pub(super) fn read_finding(from: &mut Source<'_>) -> Result<Result<Finding, Failure>, Fault> {
    let root: table::FindingRef<'_> = from.root()?;
    match (root.found()?, root.failure()?) {
        (Some(found), None) => Ok(Ok(read_found(found, from)?)),
        (None, Some(failure)) => Ok(Err(read_failure(failure, from)?)),
        _ => Err(Fault::Table),
    }
}

fn read_found(found: table::FoundRef<'_>, from: &mut Source<'_>) -> Result<Finding, Fault> {
    use table::FoundRef as Union;
    Ok(match found {
        Union::HealthFinding(it) => Finding::Health(Health {
            is_ready: it.is_ready()?,
            is_stopping: it.is_stopping()?,
            is_read_only: it.is_read_only()?,
            durability: from.string(it.durability()?)?,
            append_failure: from.string(it.append_failure()?)?,
            version: from.string(it.version()?)?,
            in_flight: it.in_flight()?,
            connections: it.connections()?,
            now: UnixMs(it.now_unix_ms()?),
        }),
        Union::RecoveryFinding(it) => Finding::Recovery(RecoverySummary {
            segments: it.segments()?,
            records: it.records()?,
            cut_bytes: it.cut_bytes()?,
            unsupported: it.unsupported()?,
            outcomes: it.outcomes()?,
            rerun: from.names(it.rerun()?)?,
            failed: from.list(it.failed()?, |from, failed| {
                let failed = failed?;
                let id = from.name(failed.id()?)?.ok_or(Fault::Table)?;
                Ok((id, from.string(failed.reason()?)?))
            })?,
        }),
        Union::HistoryFinding(it) => Finding::History(HistoryPage {
            commands: from.list(it.commands()?, |from, state| read_state(state?, from))?,
            truncated: it.truncated()?,
            cursor: it.cursor()?,
        }),
        Union::OutcomeFinding(it) => {
            let outcome = it.outcome()?.map(|outcome| read_outcome(outcome, from));
            Finding::Outcome(outcome.transpose()?)
        }
        Union::SessionsFinding(it) => {
            let sessions = from.list(it.sessions()?, |from, state| {
                let state = state?;
                Ok(SessionState {
                    name: from.name(state.name()?)?.ok_or(Fault::Table)?,
                    version: state.version()?,
                    lane_sequence: state.lane_sequence()?,
                    created: UnixMs(state.created_unix_ms()?),
                })
            })?;
            Finding::Sessions(sessions, it.more()?)
        }
        Union::CancelFinding(it) => Finding::Cancelled(it.cancelled()?),
    })
}

fn read_state(state: table::CommandStateRef<'_>, from: &mut Source<'_>) -> Result<State, Fault> {
    let outcome = state.outcome()?.map(|outcome| read_outcome(outcome, from));
    Ok(State {
        row: state.row()?,
        causes: read_causes(state.causes()?.ok_or(Fault::Table)?, from)?,
        lane_sequence: state.lane_sequence()?,
        accepted: UnixMs(state.accepted_unix_ms()?),
        finished: state.finished_unix_ms()?.map(UnixMs),
        outcome: outcome.transpose()?,
    })
}
