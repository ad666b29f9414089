//! How a command must end.

use orloj_net::{
    Answer, Refusal, UnixMs,
    envelope::{Call, Code, End, Envelope, Failure, Outcome, SessionName},
};

use super::{Command, Expected, Model, Progress, turn::Doom};
use crate::commands::{
    Told,
    show::{show_failure, show_outcome},
};
use crate::show_answer;

impl Model {
    pub(super) fn finish(
        &mut self,
        row: u64,
        outcome: &Outcome,
        told: &Told,
    ) -> Result<(), Expected> {
        let Some(command) = self.commands.get(&row).cloned() else {
            return Err(format!("the acceptance of row {row} first"));
        };
        if let Progress::Done { outcome, .. } = &command.progress {
            return Err(format!("nothing: {} had ended {}", command.id, show_outcome(outcome)));
        }
        if outcome.replayed {
            return Err("an outcome of its own, not a replayed one".to_owned());
        }
        let session = &command.envelope.session;
        self.count(session, told)?;
        if self.interrupted.remove(&row) {
            restarted(outcome)?;
        } else {
            self.ends(&command, &outcome.end, told.at)?;
        }
        let version = self.version(session);
        if outcome.session_version != version {
            return Err(format!("session version {}", show_version(version)));
        }
        self.finished += 1;
        let progress =
            Progress::Done { outcome: outcome.clone(), at: told.at, ordinal: self.finished };
        self.commands.insert(row, Command { progress, ..command.clone() });
        self.in_flight.remove(&row);
        if let Some(lane) = self.lanes.get_mut(session) {
            lane.queue.retain(|queued| *queued != row);
        }
        self.wake(row);
        Ok(())
    }

    /// Whether a command may end so now; if it ends well, its effects are there behind it.
    fn ends(&mut self, command: &Command, end: &End, now: UnixMs) -> Result<(), Expected> {
        let deadline = deadline(command);
        match end {
            End::TimedOut(failure) => {
                let is_over = deadline.is_some_and(|deadline| now >= deadline);
                return match (failure.code, is_over) {
                    (Code::Timeout, true) => Ok(()),
                    (Code::Timeout, false) => Err(format!("no timeout at {}", now.0)),
                    _ => Err(format!("the code Timeout, not {}", show_failure(failure))),
                };
            }
            End::Cancelled(failure) => {
                let may = command.envelope.call.class().is_abortable;
                return match (failure.code, may) {
                    (Code::Cancelled, true) => Ok(()),
                    (Code::Cancelled, false) => Err("no cancellation of this type".to_owned()),
                    _ => Err(format!("the code Cancelled, not {}", show_failure(failure))),
                };
            }
            End::Failed(failure) if failure.code == Code::DependencyCycle => {
                return self.is_victim(command, failure);
            }
            End::Failed(failure) if self.misses_a_forgotten_one(command, failure) => return Ok(()),
            End::Failed(_) | End::Ok(_) => {}
        }
        match &command.progress {
            Progress::Queued => Err("its start, or its timeout".to_owned()),
            Progress::Waiting { on, since } => {
                let doom = Doom::new(
                    Code::DependencyTimeout,
                    vec![("on", command.envelope.depends_on[*on].to_string())],
                );
                match end.failure() {
                    Some(failure) if doom.is(failure) => {
                        let ends = since.after(self.limits.dependency_wait);
                        if now >= ends { Ok(()) } else { Err(format!("it to wait to {}", ends.0)) }
                    }
                    _ => Err(format!("it to wait for {}", command.envelope.depends_on[*on])),
                }
            }
            Progress::Doomed { doom, again } => match (end.failure(), again) {
                (Some(failure), _) if doom.is(failure) => Ok(()),
                (_, Some((from, since))) => {
                    self.look(command.row, *from, *since, false);
                    let again = self.commands[&command.row].clone();
                    self.ends(&again, end, now)
                }
                _ => Err(doom.show()),
            },
            Progress::Ready => {
                if let Some(deadline) = deadline.filter(|deadline| now > *deadline) {
                    return Err(format!("its timeout, which was at {}", deadline.0));
                }
                self.execute(&command.envelope, end, now)
            }
            Progress::Done { .. } => Err("nothing".to_owned()),
        }
    }

    /// Whether a started command fails for one that need not be known any more.
    fn misses_a_forgotten_one(&self, command: &Command, failure: &Failure) -> bool {
        let on = failure.detail("on").filter(|_| failure.code == Code::DependencyUnknown);
        let on = command.envelope.depends_on.iter().find(|id| on == Some(id));
        let row = on.and_then(|id| self.ids.get(id));
        !matches!(command.progress, Progress::Queued) && row.is_some_and(|row| !self.is_kept(*row))
    }

    /// Whether a command must be known by its id.
    pub(super) fn is_kept(&self, row: u64) -> bool {
        match self.commands[&row].progress {
            Progress::Done { ordinal, .. } => self.finished - ordinal <= self.limits.outcomes,
            _ => true,
        }
    }

    /// Has a command its turn, and nothing stands in its way but the session's version.
    fn execute(&mut self, envelope: &Envelope, end: &End, now: UnixMs) -> Result<(), Expected> {
        let session = &envelope.session;
        let version = self.version(session);
        if let Some(doom) = precondition(envelope, version) {
            return match end.failure() {
                Some(failure) if doom.is(failure) => Ok(()),
                _ => Err(doom.show()),
            };
        }
        match &envelope.call {
            Call::Data(command) => {
                // What the disk does not give, or memory has no room for, nobody can foretell.
                let is_gate =
                    |failure: &Failure| matches!(failure.code, Code::StorageFailure | Code::Busy);
                if end.failure().is_some_and(is_gate) {
                    return Ok(());
                }
                match end {
                    End::Ok(given) => {
                        if let Err(right) = self.store.judge(command, now, given) {
                            return Err(match right {
                                Answer::Error(refusal) => refusal_doom(&refusal).show(),
                                right => format!("ok {}", show_answer(&right)),
                            });
                        }
                    }
                    _ => match (self.store.clone().apply(command, now), end.failure()) {
                        (Answer::Error(refusal), given) => {
                            let doom = refusal_doom(&refusal);
                            let is_right = given.is_some_and(|given| doom.is(given));
                            return if is_right { Ok(()) } else { Err(doom.show()) };
                        }
                        (answer, _) => return Err(format!("ok {}", show_answer(&answer))),
                    },
                }
                if command.is_write() {
                    self.advance(session);
                }
                Ok(())
            }
            Call::CreateSession if version.is_some() => {
                let why = vec![("reason", "session_exists".to_owned())];
                match end.failure() {
                    Some(failure) if Doom::new(Code::Conflict, why.clone()).is(failure) => Ok(()),
                    _ => Err(Doom::new(Code::Conflict, why).show()),
                }
            }
            Call::CreateSession => self.set_version(session, Some(0), end, Answer::Int(0)),
            Call::LoadSession => {
                let number = version.unwrap_or_default() as i64;
                self.set_version(session, version, end, Answer::Int(number))
            }
            Call::DeleteSession => self.set_version(session, None, end, Answer::Ok),
        }
    }

    fn advance(&mut self, session: &Option<SessionName>) {
        if let (Some(_), Some(lane)) = (session, self.lanes.get_mut(session))
            && let Some(version) = &mut lane.version
        {
            *version += 1;
        }
    }

    fn set_version(
        &mut self,
        session: &Option<SessionName>,
        version: Option<u64>,
        end: &End,
        answer: Answer,
    ) -> Result<(), Expected> {
        if *end != End::Ok(answer.clone()) {
            return Err(format!("ok {}", show_answer(&answer)));
        }
        self.lanes.entry(session.clone()).or_default().version = version;
        Ok(())
    }
}

/// When a command times out. The clock starts at its acceptance.
fn deadline(command: &Command) -> Option<UnixMs> {
    let class = command.envelope.call.class();
    let patience = class.patience.duration().map(|patience| patience.as_millis() as u64);
    let timeout = command.envelope.timeout_ms.or(patience)?;
    Some(UnixMs(command.accepted.0.saturating_add(timeout)))
}

/// How a command fails for the session that it finds.
fn precondition(envelope: &Envelope, version: Option<u64>) -> Option<Doom> {
    envelope.session.as_ref()?;
    if envelope.if_session_version.is_some_and(|wanted| version != Some(wanted)) {
        let actual = version.map_or("absent".to_owned(), |version| version.to_string());
        return Some(Doom::new(Code::VersionMismatch, vec![("actual", actual)]));
    }
    if version.is_none() && envelope.call != Call::CreateSession {
        let why = ("reason", "unknown_session".to_owned());
        return Some(Doom::new(Code::Invalid, vec![why]));
    }
    None
}

fn refusal_doom(refusal: &Refusal) -> Doom {
    let reason = |reason: &str| vec![("reason", reason.to_owned())];
    match refusal {
        Refusal::WrongType => Doom::new(Code::Invalid, reason("wrong_type")),
        Refusal::NotAnInteger => Doom::new(Code::Invalid, reason("not_an_integer")),
        Refusal::Overflow => Doom::new(Code::Invalid, reason("overflow")),
        Refusal::InvalidExpire { .. } => Doom::new(Code::Invalid, reason("invalid_expire")),
        Refusal::ValueTooLong => Doom::new(Code::TooLarge, Vec::new()),
        _ => Doom::new(Code::Invalid, Vec::new()),
    }
}

fn restarted(outcome: &Outcome) -> Result<(), Expected> {
    let reason = |failure: &Failure| failure.detail("reason") == Some("restart_in_flight");
    match &outcome.end {
        End::Failed(failure) if reason(failure) => Ok(()),
        _ => Err("failed, reason=restart_in_flight".to_owned()),
    }
}

fn show_version(version: Option<u64>) -> String {
    version.map_or("none".to_owned(), |version| version.to_string())
}
