//! Why a command was not accepted, or did not succeed: a code that does not change, a sentence, and
//! details to program against.

use std::fmt;

use crate::Refusal;

/// The kinds of failure. Names and numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Code {
    /// The command breaks a rule: of the envelope, of its type, or of what its key holds.
    Invalid = 1,
    /// No such type.
    UnknownCommand = 2,
    /// The id or key was used for another command, or what is to be made exists.
    Conflict = 3,
    /// A command it depends on did not succeed, or waits on its own lane.
    DependencyFailed = 4,
    /// A command it depends on is not known, or no longer.
    DependencyUnknown = 5,
    /// A command it depends on took too long.
    DependencyTimeout = 6,
    /// Commands wait for each other in a circle.
    DependencyCycle = 7,
    /// The session has another version, or there is none.
    VersionMismatch = 8,
    /// Too many commands in too short a time.
    RateLimited = 9,
    /// Too many commands are in flight.
    Busy = 10,
    /// Longer than what is taken.
    TooLarge = 11,
    /// Its time is over.
    Timeout = 12,
    /// Another node leads.
    NotLeader = 13,
    /// Not now: recovery goes on, or nobody knows what became of the command; or a restart found it
    /// started, and it has no effects (reason `restart_in_flight`). A retry with the same
    /// id is safe.
    Unavailable = 14,
    /// The node is about to stop.
    ShuttingDown = 15,
    /// Who asks has not said who it is.
    Unauthorized = 16,
    /// Who asks may not.
    Forbidden = 17,
    /// The disk does not take, or does not give, what is needed.
    StorageFailure = 18,
    /// A defect.
    Internal = 19,
    /// It was cancelled before its turn.
    Cancelled = 20,
}

impl Code {
    /// All, in the order of their numbers.
    pub const ALL: [Code; 20] = [
        Code::Invalid,
        Code::UnknownCommand,
        Code::Conflict,
        Code::DependencyFailed,
        Code::DependencyUnknown,
        Code::DependencyTimeout,
        Code::DependencyCycle,
        Code::VersionMismatch,
        Code::RateLimited,
        Code::Busy,
        Code::TooLarge,
        Code::Timeout,
        Code::NotLeader,
        Code::Unavailable,
        Code::ShuttingDown,
        Code::Unauthorized,
        Code::Forbidden,
        Code::StorageFailure,
        Code::Internal,
        Code::Cancelled,
    ];

    /// Its name on every wire.
    pub fn name(self) -> &'static str {
        match self {
            Code::Invalid => "Invalid",
            Code::UnknownCommand => "UnknownCommand",
            Code::Conflict => "Conflict",
            Code::DependencyFailed => "DependencyFailed",
            Code::DependencyUnknown => "DependencyUnknown",
            Code::DependencyTimeout => "DependencyTimeout",
            Code::DependencyCycle => "DependencyCycle",
            Code::VersionMismatch => "VersionMismatch",
            Code::RateLimited => "RateLimited",
            Code::Busy => "Busy",
            Code::TooLarge => "TooLarge",
            Code::Timeout => "Timeout",
            Code::NotLeader => "NotLeader",
            Code::Unavailable => "Unavailable",
            Code::ShuttingDown => "ShuttingDown",
            Code::Unauthorized => "Unauthorized",
            Code::Forbidden => "Forbidden",
            Code::StorageFailure => "StorageFailure",
            Code::Internal => "Internal",
            Code::Cancelled => "Cancelled",
        }
    }

    /// The code with that number.
    pub fn from_number(number: u8) -> Option<Code> {
        Code::ALL.into_iter().find(|code| *code as u8 == number)
    }
}

/// A structured error.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub code: Code,
    /// One sentence for a person.
    pub message: String,
    /// Names and values for a program, in a fixed order. `reason`, if it is there, tells failures
    /// of one code apart and is as stable as the code.
    pub details: Vec<(String, String)>,
}

impl Failure {
    /// A failure without details.
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), details: Vec::new() }
    }

    /// With one more detail.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Failure {
        self.details.push((name.to_owned(), value.into()));
        self
    }

    /// A field that breaks a rule.
    pub fn invalid(field: &'static str, rule: &str) -> Failure {
        Failure::new(Code::Invalid, format!("{field} {rule}")).with("field", field)
    }

    pub(super) fn too_large<const N: usize>(max: usize, about: [(&str, String); N]) -> Failure {
        let mut failure = Failure::new(Code::TooLarge, "longer than what is taken")
            .with("max_bytes", max.to_string());
        for (name, value) in about {
            failure = failure.with(name, value);
        }
        failure
    }

    /// The value of a detail.
    pub fn detail(&self, name: &str) -> Option<&str> {
        self.details.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A refusal of the store as the failure of a command.
impl From<&Refusal> for Failure {
    fn from(refusal: &Refusal) -> Failure {
        let code = match refusal {
            Refusal::JournalFailed | Refusal::Unreadable | Refusal::ReadOnly => {
                Code::StorageFailure
            }
            Refusal::Loading => Code::Unavailable,
            Refusal::Overloaded | Refusal::OutOfMemory => Code::Busy,
            Refusal::ShuttingDown => Code::ShuttingDown,
            Refusal::KeyTooLong { .. } | Refusal::ValueTooLong => Code::TooLarge,
            Refusal::AuthRequired | Refusal::HelloAuthRequired | Refusal::WrongPassword => {
                Code::Unauthorized
            }
            _ => Code::Invalid,
        };
        let reason = match refusal {
            Refusal::WrongType => "wrong_type",
            Refusal::NotAnInteger => "not_an_integer",
            Refusal::Overflow => "overflow",
            Refusal::InvalidExpire { .. } => "invalid_expire",
            Refusal::JournalFailed => "journal_failed",
            Refusal::Unreadable => "unreadable",
            Refusal::ReadOnly => "read_only",
            _ => return Failure::new(code, refusal.to_string()),
        };
        Failure::new(code, refusal.to_string()).with("reason", reason)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

/// Details may repeat a client's own words, so a log line gets only the code.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.name())
    }
}

impl std::error::Error for Failure {}
