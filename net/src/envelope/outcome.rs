//! The one terminal answer of a command.

use super::Failure;
use crate::Answer;

/// How a command ended. Its effects are there if, and only if, it is [`End::Ok`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was done.
    Ok(Answer),
    /// It could not be done.
    Failed(Failure),
    /// Its time was over before its turn.
    TimedOut(Failure),
    /// Somebody cancelled it before its turn.
    Cancelled(Failure),
}

impl End {
    /// Its name on every wire.
    pub fn name(&self) -> &'static str {
        match self {
            End::Ok(_) => "ok",
            End::Failed(_) => "failed",
            End::TimedOut(_) => "timed_out",
            End::Cancelled(_) => "cancelled",
        }
    }

    /// Whether it was done.
    pub fn is_ok(&self) -> bool {
        matches!(self, End::Ok(_))
    }

    /// Why it was not done.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            End::Ok(_) => None,
            End::Failed(failure) | End::TimedOut(failure) | End::Cancelled(failure) => {
                Some(failure)
            }
        }
    }
}

/// What a client is told of its command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The session's version behind it; `None` without a session.
    pub session_version: Option<u64>,
    /// Whether this is the answer to an earlier request for the same command.
    pub replayed: bool,
}
