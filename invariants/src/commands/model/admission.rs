//! What becomes of a request at the door: refused, repeated or accepted.

use orloj_net::{
    Command as Words, UnixMs,
    envelope::{ANONYMOUS, Call, Code, DEPENDS_MAX, Envelope, Failure, Id, NAME_MAX, Plane},
};

use super::{Command, Expected, Model, Progress};
use crate::commands::{Told, show::show_failure};

/// More commands of the control plane that may be in flight, so that a full house can be tidied up.
const TIDYING: usize = 100;

/// What a request is to be taken for.
#[derive(Debug, PartialEq, Eq)]
enum Fit {
    /// A new command.
    New,
    /// A repetition of the command in this row.
    Repeats(u64),
    /// Its id or key belongs to another command.
    Conflicts(u64),
}

/// Why an envelope is not valid.
fn fault(envelope: &Envelope) -> Option<&'static str> {
    let is_bad = |name: &Id| name.is_empty() || name.len() > NAME_MAX || name.trim().is_empty();
    let is_own = |on: &Id| envelope.id.as_ref() == Some(on);
    if envelope.id.as_ref().is_some_and(|id| is_bad(id) || id.starts_with(ANONYMOUS)) {
        Some("id")
    } else if envelope.session.as_ref().is_some_and(is_bad) {
        Some("session")
    } else if envelope.idempotency_key.as_ref().is_some_and(is_bad) {
        Some("idempotency_key")
    } else if envelope.depends_on.len() > DEPENDS_MAX
        || (!envelope.depends_on.is_empty() && envelope.id.is_none())
        || envelope.depends_on.iter().any(|on| is_bad(on) || is_own(on))
    {
        Some("depends_on")
    } else if envelope.if_session_version.is_some() && envelope.session.is_none() {
        Some("if_session_version")
    } else if envelope.timeout_ms == Some(0) {
        Some("timeout")
    } else if !matches!(envelope.call, Call::Data(_)) && envelope.session.is_none() {
        Some("session")
    } else {
        empty(&envelope.call)
    }
}

/// The list of a command that may not be empty, and is.
fn empty(call: &Call) -> Option<&'static str> {
    match call {
        Call::Data(Words::MGet { keys } | Words::Del { keys } | Words::Exists { keys })
            if keys.is_empty() =>
        {
            Some("keys")
        }
        Call::Data(Words::MSet { pairs }) if pairs.is_empty() => Some("pairs"),
        Call::Data(Words::Scan { count: 0, .. }) => Some("count"),
        _ => None,
    }
}

/// Whether two commands ask for the same. Ids and keys are names, not part of what is asked.
fn asks_the_same(a: &Envelope, b: &Envelope) -> bool {
    let bare =
        |envelope: &Envelope| Envelope { id: None, idempotency_key: None, ..envelope.clone() };
    bare(a) == bare(b)
}

impl Model {
    /// What a request may be taken for at `now`. More than one thing only where the rules leave a
    /// choice: of outcomes by id that need not be kept any more, and of keys whose time was over
    /// once if the clock has gone back since.
    fn fits(&self, envelope: &Envelope, now: UnixMs) -> Vec<Fit> {
        let mut fits = Vec::new();
        let earlier = |row: u64| {
            let same = asks_the_same(&self.commands[&row].envelope, envelope);
            if same { Fit::Repeats(row) } else { Fit::Conflicts(row) }
        };
        if let Some(key) = &envelope.idempotency_key
            && let Some(row) = self.keys.get(&(envelope.session.clone(), key.clone()))
        {
            let ends = match &self.commands[row].progress {
                Progress::Done { at, .. } => at.after(self.limits.idempotency),
                _ => UnixMs(u64::MAX),
            };
            if now < ends {
                fits.push(earlier(*row));
                if self.latest < ends {
                    return fits;
                }
            }
        }
        if let Some(id) = &envelope.id
            && let Some(row) = self.ids.get(id)
        {
            fits.push(earlier(*row));
            if self.is_kept(*row) {
                return fits;
            }
        }
        fits.push(Fit::New);
        fits
    }

    fn is_full_for(&self, envelope: &Envelope) -> bool {
        let more = match envelope.call.class().plane {
            Plane::Data => 0,
            Plane::Control => TIDYING,
        };
        self.in_flight.len() >= self.limits.in_flight + more
    }

    fn say(&self, fits: &[Fit], envelope: &Envelope) -> Expected {
        let id = |row: &u64| format!("{}, row {row}", self.commands[row].id);
        match fits.first() {
            Some(Fit::Repeats(row)) => format!("a repetition of {}", id(row)),
            Some(Fit::Conflicts(row)) => format!("Conflict with {}", id(row)),
            _ => match fault(envelope) {
                Some(field) => format!("Invalid, for its {field}"),
                None if self.is_full_for(envelope) => "Busy".to_owned(),
                None => "its acceptance".to_owned(),
            },
        }
    }

    pub(super) fn refused(
        &self,
        envelope: &Envelope,
        failure: &Failure,
        now: UnixMs,
    ) -> Result<(), Expected> {
        let is_valid = fault(envelope).is_none();
        let fits = self.fits(envelope, now);
        let may = match failure.code {
            // Whoever cannot serve may say so before all else.
            Code::Unavailable | Code::ShuttingDown | Code::NotLeader => true,
            Code::Invalid => !is_valid,
            Code::Conflict => is_valid && fits.iter().any(|fit| matches!(fit, Fit::Conflicts(_))),
            Code::Busy => is_valid && self.is_full_for(envelope) && fits.contains(&Fit::New),
            // Replays are free, and need nothing of the disk.
            Code::RateLimited | Code::StorageFailure => is_valid && fits.contains(&Fit::New),
            // No workload carries what is too long.
            _ => false,
        };
        if may {
            return Ok(());
        }
        Err(format!("{}, not {}", self.say(&fits, envelope), show_failure(failure)))
    }

    pub(super) fn repeated(
        &self,
        envelope: &Envelope,
        row: u64,
        now: UnixMs,
    ) -> Result<(), Expected> {
        let fits = self.fits(envelope, now);
        if fault(envelope).is_none() && fits.contains(&Fit::Repeats(row)) {
            return Ok(());
        }
        Err(self.say(&fits, envelope))
    }

    pub(super) fn accepted(
        &mut self,
        row: u64,
        id: &Id,
        envelope: &Envelope,
        told: &Told,
    ) -> Result<(), Expected> {
        let fits = self.fits(envelope, told.at);
        let is_full = self.is_full_for(envelope);
        if fault(envelope).is_some() || !fits.contains(&Fit::New) || is_full {
            return Err(self.say(&fits, envelope));
        }
        if let Some((last, _)) = self.commands.last_key_value().filter(|(last, _)| **last >= row) {
            return Err(format!("a row behind {last}"));
        }
        let given = envelope.id.clone().unwrap_or_else(|| format!("{ANONYMOUS}{row}").into());
        if *id != given {
            return Err(format!("the id {given}"));
        }
        self.count(&envelope.session, told)?;
        if let Some(id) = &envelope.id {
            self.ids.insert(id.clone(), row);
        }
        if let Some(key) = &envelope.idempotency_key {
            self.keys.insert((envelope.session.clone(), key.clone()), row);
        }
        let lane = self.lanes.entry(envelope.session.clone()).or_default();
        lane.queue.push_back(row);
        self.in_flight.insert(row);
        let command = Command {
            row,
            id: given,
            envelope: envelope.clone(),
            accepted: told.at,
            progress: Progress::Queued,
        };
        self.commands.insert(row, command);
        Ok(())
    }
}
