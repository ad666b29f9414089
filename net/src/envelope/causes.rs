//! The part of an envelope that says what a command is and what it rests on, without its payload.

use super::{Envelope, Id, SessionName};

/// Who asked for which command, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Causes {
    /// Its id, or the one that the server gave it.
    pub id: Id,
    /// Its type.
    pub name: std::borrow::Cow<'static, str>,
    /// Its session; `None` is the server.
    pub session: Option<SessionName>,
    /// What it depends on.
    pub depends_on: Vec<Id>,
    /// Which session version it must find.
    pub if_session_version: Option<u64>,
    /// Its idempotency key.
    pub idempotency_key: Option<Id>,
}

impl Causes {
    /// Of a command with that id.
    pub fn of(id: Id, envelope: &Envelope) -> Causes {
        Causes {
            id,
            name: envelope.call.name().into(),
            session: envelope.session.clone(),
            depends_on: envelope.depends_on.clone(),
            if_session_version: envelope.if_session_version,
            idempotency_key: envelope.idempotency_key.clone(),
        }
    }
}
