//! What can be asked inside an envelope, and what class of command it is.

use core::time::Duration;

use super::Failure;
use crate::{Command, Deadline, Expiry, UnixMs, resp::Limits};

/// What a command is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Something with keys and values.
    Data(Command),
    /// Makes the session that the envelope names, with version 0. Answers `Int` 0; fails with
    /// [`Code::Conflict`](super::Code::Conflict) if there is one.
    CreateSession,
    /// Answers `Int`, the version of the session. Fails if there is none.
    LoadSession,
    /// Removes the session. Answers `Ok`; fails if there is none. Its history stays.
    DeleteSession,
}

impl From<Command> for Call {
    fn from(command: Command) -> Call {
        Call::Data(command)
    }
}

/// What commands are counted against, so that a session that asks too much can still be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plane {
    /// Sessions and questions.
    Control,
    /// Keys and values.
    Data,
}

/// How long a command may take, from admission on, if its envelope does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// 30 seconds.
    Short,
    /// 5 minutes.
    Long,
    /// As long as it takes.
    None,
}

impl Patience {
    /// As a time.
    pub fn duration(self) -> Option<Duration> {
        match self {
            Patience::Short => Some(Duration::from_secs(30)),
            Patience::Long => Some(Duration::from_secs(300)),
            Patience::None => None,
        }
    }
}

/// What a type of command declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Whether it changes nothing, the session version included.
    pub is_read_only: bool,
    /// How long it may take.
    pub patience: Patience,
    /// Whether it can be cancelled before its turn.
    pub is_abortable: bool,
    /// What it is counted against.
    pub plane: Plane,
}

impl Call {
    /// The command's type on every wire, lower case.
    pub fn name(&self) -> &'static str {
        match self {
            Call::Data(command) => command.name(),
            Call::CreateSession => "create_session",
            Call::LoadSession => "load_session",
            Call::DeleteSession => "delete_session",
        }
    }

    /// What it declares.
    pub fn class(&self) -> Class {
        let (is_read_only, patience, is_abortable, plane) = match self {
            Call::Data(command) => {
                let patience = match command {
                    Command::Scan { .. } | Command::FlushAll | Command::DbSize => Patience::Long,
                    _ => Patience::Short,
                };
                (!command.is_write(), patience, true, Plane::Data)
            }
            Call::CreateSession => (false, Patience::Short, true, Plane::Control),
            Call::LoadSession => (true, Patience::Short, true, Plane::Control),
            // Who deletes a session shall not be stopped by who uses it.
            Call::DeleteSession => (false, Patience::None, false, Plane::Control),
        };
        Class { is_read_only, patience, is_abortable, plane }
    }

    /// Whether its envelope has to name a session.
    pub fn needs_session(&self) -> bool {
        !matches!(self, Call::Data(_))
    }

    /// Bytes of user data that it carries.
    pub fn payload_len(&self) -> usize {
        match self {
            Call::Data(command) => command.payload_len(),
            _ => 0,
        }
    }

    pub(super) fn validate(&self, limits: &Limits) -> Result<(), Failure> {
        let Call::Data(command) = self else { return Ok(()) };
        if let Some(key) = command.keys().find(|key| key.len() > limits.key) {
            let about = [("field", "key".into()), ("bytes", key.len().to_string())];
            return Err(Failure::too_large(limits.key, about));
        }
        let most = match command {
            Command::Set { value, .. } | Command::Append { value, .. } => value.len(),
            Command::MSet { pairs } => pairs.iter().map(|(_, v)| v.len()).max().unwrap_or(0),
            _ => 0,
        };
        if most > limits.bulk {
            let about = [("field", "value".into()), ("bytes", most.to_string())];
            return Err(Failure::too_large(limits.bulk, about));
        }
        match command {
            Command::MGet { keys } | Command::Del { keys } | Command::Exists { keys }
                if keys.is_empty() =>
            {
                Err(Failure::invalid("keys", "is empty"))
            }
            Command::MSet { pairs } if pairs.is_empty() => {
                Err(Failure::invalid("pairs", "is empty"))
            }
            Command::Scan { count: 0, .. } => Err(Failure::invalid("count", "is zero")),
            Command::Set { expiry: Expiry::By(deadline), .. } => {
                check_deadline("expiry", *deadline)?;
                match deadline {
                    Deadline::In(Duration::ZERO) | Deadline::At(UnixMs(0)) => {
                        Err(Failure::invalid("expiry", "is zero"))
                    }
                    _ => Ok(()),
                }
            }
            Command::Expire { deadline, .. } => check_deadline("deadline", *deadline),
            _ => Ok(()),
        }
    }
}

/// Most milliseconds of a deadline: what is left of it, and when it is, fit 64 bits with a sign.
const DEADLINE_MAX: u64 = i64::MAX.unsigned_abs() / 2;

fn check_deadline(field: &'static str, deadline: Deadline) -> Result<(), Failure> {
    let ms = match deadline {
        Deadline::In(duration) => duration.as_millis(),
        Deadline::At(at) => at.0.into(),
    };
    match ms > DEADLINE_MAX.into() {
        true => Err(Failure::invalid(field, "is beyond the clock's range")),
        false => Ok(()),
    }
}
