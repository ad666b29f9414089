//! Envelopes, outcomes and steps as a person would read them, for evidence.

use orloj_net::envelope::{Call, End, Envelope, Failure, Outcome};

use super::{Told, What};
use crate::{show_answer, show_command};

/// An envelope in one line.
pub fn show_envelope(envelope: &Envelope) -> String {
    let mut line = match &envelope.call {
        Call::Data(command) => show_command(command),
        other => other.name().to_owned(),
    };
    let words = [("id", &envelope.id), ("key", &envelope.idempotency_key)];
    for (name, word) in words {
        line += &word.as_ref().map_or(String::new(), |word| format!(" {name}={word}"));
    }
    line += &envelope.session.as_ref().map_or(String::new(), |name| format!(" session={name}"));
    if !envelope.depends_on.is_empty() {
        line += &format!(" after={}", envelope.depends_on.join(","));
    }
    let numbers = [("if-version", envelope.if_session_version), ("ms", envelope.timeout_ms)];
    for (name, number) in numbers {
        line += &number.map_or(String::new(), |number| format!(" {name}={number}"));
    }
    line += &envelope.durability.map_or(String::new(), |safety| format!(" {}", safety.name()));
    line
}

/// An outcome in one line.
pub fn show_outcome(outcome: &Outcome) -> String {
    let end = match &outcome.end {
        End::Ok(answer) => format!("ok {}", show_answer(answer)),
        other => {
            let why = other.failure().map_or(String::new(), show_failure);
            format!("{} {why}", other.name())
        }
    };
    let version = outcome.session_version.map_or(String::new(), |v| format!(", version {v}"));
    let replayed = if outcome.replayed { ", replayed" } else { "" };
    format!("{end}{version}{replayed}")
}

/// A failure with its details, which `Debug` and `Display` keep to themselves.
pub(super) fn show_failure(failure: &Failure) -> String {
    let details: Vec<String> =
        failure.details.iter().map(|(name, value)| format!(", {name}={value}")).collect();
    format!("{}{}", failure.code.name(), details.concat())
}

/// One step in one line.
pub fn show_step(told: &Told) -> String {
    let what = match &told.what {
        What::Refused { envelope, failure } => {
            format!("refused {}: {}", show_envelope(envelope), show_failure(failure))
        }
        What::Repeated { envelope, row } => {
            format!("{} repeats row {row}", show_envelope(envelope))
        }
        What::Accepted { row, id, envelope } => {
            format!("accepted {} as {id}, row {row}", show_envelope(envelope))
        }
        What::Started { row } => format!("started row {row}"),
        What::Finished { row, outcome } => format!("finished row {row}: {}", show_outcome(outcome)),
        What::Plain { command, answer } => {
            format!("{} -> {}", show_command(command), show_answer(answer))
        }
        What::Forgotten { session } => format!("forgot session {session}"),
        What::Undone => "undone".to_owned(),
    };
    let lane = if told.lane_sequence > 0 {
        format!(", lane sequence {}", told.lane_sequence)
    } else {
        String::new()
    };
    format!("{what}; turn {}{lane}", told.turn)
}
