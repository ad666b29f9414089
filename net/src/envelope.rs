//! Causal commands: what a client asks inside an envelope, and the one outcome it is told.
//!
//! An [`Envelope`] says who asks ([`session`](Envelope::session)), what has to have happened before
//! ([`depends_on`](Envelope::depends_on), [`if_session_version`](Envelope::if_session_version)) and
//! how a retry is known again ([`id`](Envelope::id),
//! [`idempotency_key`](Envelope::idempotency_key)). An accepted command reaches exactly one
//! [`Outcome`]. What happens to it on the way is told as an [`Event`], and kept as a [`Row`] of the
//! history.
//!
//! Every front end, the store, the model and the checkers use these words; [`canonical`] is the one
//! form in which they are hashed and stored.

mod call;
pub mod canonical;
mod causes;
mod event;
mod failure;
mod history;
mod outcome;
mod question;
pub mod redaction;

use core::time::Duration;

pub use call::{Call, Class, Patience, Plane};
pub use canonical::Fingerprint;
pub use causes::Causes;
pub use event::{Event, Stage};
pub use failure::{Code, Failure};
pub use history::{Filter, HistoryPage, Record, Row, State};
pub use outcome::{End, Outcome};
pub use question::{Finding, Health, PAGE_MAX, Question, RecoverySummary, SessionState};
pub use redaction::Withheld;

use crate::{UnixMs, resp::Limits};

/// The id of a command, which its client gave it or, if it starts with [`ANONYMOUS`], the server.
pub type Id = std::sync::Arc<str>;
/// The name of a session.
pub type SessionName = std::sync::Arc<str>;

/// What the ids begin with that the server gives.
pub const ANONYMOUS: &str = "anon:";
/// Most bytes of an id, of a session's name and of an idempotency key.
pub const NAME_MAX: usize = 256;
/// Most commands that one may depend on.
pub const DEPENDS_MAX: usize = 32;
/// Most bytes of one message.
pub const MESSAGE_MAX: usize = 10 << 20;

/// When a command's answer may be given, if not when the database says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Safety {
    /// At once.
    InMemory,
    /// When it would survive the end of the process.
    Buffered,
    /// When it would survive a power cut.
    Strict,
}

impl Safety {
    /// All, in order.
    pub const ALL: [Safety; 3] = [Safety::InMemory, Safety::Buffered, Safety::Strict];

    /// Its name in protocols: `in_memory`, `buffered`, `strict`.
    pub fn name(self) -> &'static str {
        match self {
            Safety::InMemory => "in_memory",
            Safety::Buffered => "buffered",
            Safety::Strict => "strict",
        }
    }
}

/// One request to change or read the database, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What a retry repeats and a dependent names; without one the outcome is not kept.
    pub id: Option<Id>,
    /// Whose lane it runs on; `None` is the server's.
    pub session: Option<SessionName>,
    /// Commands that must have ended `ok`, in the order in which they are looked at. Needs an id.
    pub depends_on: Vec<Id>,
    /// The session version it must find on its turn.
    pub if_session_version: Option<u64>,
    /// What a retry under another id repeats; its scope is the session, or the server.
    pub idempotency_key: Option<Id>,
    /// Milliseconds from admission to the end, queueing included; `None` is what its class says.
    pub timeout_ms: Option<u64>,
    /// When it is answered; `None` is when the database says.
    pub durability: Option<Safety>,
    /// What is asked.
    pub call: Call,
}

impl Envelope {
    /// A command without any condition.
    pub fn new(call: impl Into<Call>) -> Envelope {
        Envelope {
            id: None,
            session: None,
            depends_on: Vec::new(),
            if_session_version: None,
            idempotency_key: None,
            timeout_ms: None,
            durability: None,
            call: call.into(),
        }
    }

    /// With an id.
    pub fn id(mut self, id: impl Into<Id>) -> Envelope {
        self.id = Some(id.into());
        self
    }

    /// In a session.
    pub fn session(mut self, name: impl Into<SessionName>) -> Envelope {
        self.session = Some(name.into());
        self
    }

    /// After another command.
    pub fn after(mut self, id: impl Into<Id>) -> Envelope {
        self.depends_on.push(id.into());
        self
    }

    /// Only if the session has that version.
    pub fn if_session_version(mut self, version: u64) -> Envelope {
        self.if_session_version = Some(version);
        self
    }

    /// With an idempotency key.
    pub fn idempotency_key(mut self, key: impl Into<Id>) -> Envelope {
        self.idempotency_key = Some(key.into());
        self
    }

    /// With a timeout, in whole milliseconds.
    pub fn timeout(mut self, timeout: Duration) -> Envelope {
        self.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// When it times out if it is admitted at `now`.
    pub fn deadline(&self, now: UnixMs) -> Option<UnixMs> {
        let patience = self.call.class().patience.duration();
        let timeout = self.timeout_ms.map(Duration::from_millis).or(patience);
        timeout.map(|timeout| now.after(timeout))
    }

    /// Whether it keeps the rules of the envelope and of its command. Nothing but the envelope is
    /// looked at.
    ///
    /// # Errors
    /// [`Code::Invalid`] or [`Code::TooLarge`], naming the field.
    pub fn validate(&self, limits: &Limits) -> Result<(), Failure> {
        let names = [
            ("id", self.id.as_ref()),
            ("session", self.session.as_ref()),
            ("idempotency_key", self.idempotency_key.as_ref()),
        ];
        for (field, name) in names {
            name.map_or(Ok(()), |name| check_name(field, name))?;
        }
        if self.id.as_ref().is_some_and(|id| id.starts_with(ANONYMOUS)) {
            return Err(Failure::invalid("id", "starts with anon:, which the server's ids do"));
        }
        if self.depends_on.len() > DEPENDS_MAX {
            return Err(Failure::invalid("depends_on", "names more than 32 commands"));
        }
        if !self.depends_on.is_empty() && self.id.is_none() {
            return Err(Failure::invalid("depends_on", "needs an id"));
        }
        for on in &self.depends_on {
            check_name("depends_on", on)?;
            if Some(on) == self.id.as_ref() {
                return Err(Failure::invalid("depends_on", "names the command itself"));
            }
        }
        if self.if_session_version.is_some() && self.session.is_none() {
            return Err(Failure::invalid("if_session_version", "needs a session"));
        }
        if self.timeout_ms == Some(0) {
            return Err(Failure::invalid("timeout", "is zero"));
        }
        if self.call.needs_session() && self.session.is_none() {
            return Err(Failure::invalid("session", "is required by this command"));
        }
        self.call.validate(limits)
    }
}

fn check_name(field: &'static str, name: &str) -> Result<(), Failure> {
    match name.len() {
        0 => Err(Failure::invalid(field, "is empty")),
        _ if name.len() > NAME_MAX => Err(Failure::invalid(field, "is longer than 256 bytes")),
        _ if name.trim().is_empty() => Err(Failure::invalid(field, "is blank")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
