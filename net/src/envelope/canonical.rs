//! The one form of envelopes, outcomes and history rows in bytes: what is hashed and stored.
//!
//! Little-endian; numbers and lengths as LEB128 in as few bytes as they need; fields in a fixed
//! order; an option as a byte 0 or 1 before its content. So equal words are equal bytes, whatever
//! order a client wrote its fields in, and golden bytes pin the form. What is stored begins with
//! [`VERSION`]. Decoding never panics and never reserves more than it was given.

mod bytes;
mod command;
mod row;

pub use bytes::Malformed;
use bytes::{Reader, Writer};

use super::{Call, Code, End, Envelope, Failure, Outcome, Row, Safety};
use crate::Answer;

/// The version of the form, in the first byte of whatever is stored.
pub const VERSION: u8 = 1;
/// That of a row of which something is withheld: what that is stands behind it.
pub const WITHHELD: u8 = 2;

/// Whether two commands ask for the same: BLAKE3 of the canonical form without id and idempotency
/// key.
pub type Fingerprint = [u8; 32];

/// The fingerprint of a command.
pub fn fingerprint(envelope: &Envelope) -> Fingerprint {
    let mut out = Writer::default();
    out.envelope(envelope, false);
    *blake3::hash(&out.0).as_bytes()
}

/// Appends a row of the history to `out`.
pub fn encode_row(row: &Row, out: &mut Vec<u8>) {
    let version = if row.withheld.is_some() { WITHHELD } else { VERSION };
    with(out, version, |out| {
        out.row(row);
        if let Some(withheld) = &row.withheld {
            out.withheld(withheld);
        }
    });
}

/// The row that `bytes` are.
///
/// # Errors
/// [`Malformed`]; nothing else comes of any bytes.
pub fn decode_row(bytes: &[u8]) -> Result<Row, Malformed> {
    let is_withheld = bytes.first() == Some(&WITHHELD);
    whole(bytes, if is_withheld { WITHHELD } else { VERSION }, |from| {
        let row = from.row()?;
        let withheld = if is_withheld { Some(Box::new(from.withheld()?)) } else { None };
        Ok(Row { withheld, ..row })
    })
}

/// Appends an envelope to `out`.
pub fn encode_envelope(envelope: &Envelope, out: &mut Vec<u8>) {
    with(out, VERSION, |out| out.envelope(envelope, true));
}

/// The envelope that `bytes` are.
///
/// # Errors
/// [`Malformed`].
pub fn decode_envelope(bytes: &[u8]) -> Result<Envelope, Malformed> {
    whole(bytes, VERSION, |from| from.envelope())
}

/// Appends an outcome to `out`.
pub fn encode_outcome(outcome: &Outcome, out: &mut Vec<u8>) {
    with(out, VERSION, |out| out.outcome(outcome));
}

/// The outcome that `bytes` are.
///
/// # Errors
/// [`Malformed`].
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, Malformed> {
    whole(bytes, VERSION, |from| from.outcome())
}

fn with(out: &mut Vec<u8>, version: u8, write: impl FnOnce(&mut Writer)) {
    let mut writer = Writer(std::mem::take(out));
    writer.0.push(version);
    write(&mut writer);
    *out = writer.0;
}

fn whole<T>(
    bytes: &[u8],
    wanted: u8,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let mut reader = Reader(bytes);
    match reader.byte()? {
        version if version == wanted => {}
        version => return Err(Malformed::Version { version }),
    }
    let read = read(&mut reader)?;
    match reader.0 {
        [] => Ok(read),
        _ => Err(Malformed::Surplus),
    }
}

impl Writer {
    fn envelope(&mut self, envelope: &Envelope, is_whole: bool) {
        let Envelope {
            id,
            session,
            depends_on,
            if_session_version,
            idempotency_key,
            timeout_ms,
            durability,
            call,
        } = envelope;
        self.option(id.as_ref().filter(|_| is_whole), |out, id| out.text(id));
        self.option(session.as_ref(), |out, session| out.text(session));
        self.list(depends_on, |out, id| out.text(id));
        self.option(if_session_version.as_ref(), |out, version| out.number(*version));
        self.option(idempotency_key.as_ref().filter(|_| is_whole), |out, key| out.text(key));
        self.option(timeout_ms.as_ref(), |out, timeout| out.number(*timeout));
        self.option(durability.as_ref(), |out, safety| out.byte(*safety as u8));
        match call {
            Call::Data(command) => {
                self.byte(0);
                self.command(command);
            }
            Call::CreateSession => self.byte(1),
            Call::LoadSession => self.byte(2),
            Call::DeleteSession => self.byte(3),
        }
    }

    fn outcome(&mut self, outcome: &Outcome) {
        let Outcome { end, session_version, replayed } = outcome;
        match end {
            End::Ok(answer) => {
                self.byte(0);
                self.answer(answer);
            }
            End::Failed(failure) => self.failure(1, failure),
            End::TimedOut(failure) => self.failure(2, failure),
            End::Cancelled(failure) => self.failure(3, failure),
        }
        self.option(session_version.as_ref(), |out, version| out.number(*version));
        self.byte(u8::from(*replayed));
    }

    fn failure(&mut self, kind: u8, failure: &Failure) {
        self.byte(kind);
        self.byte(failure.code as u8);
        self.text(&failure.message);
        self.list(&failure.details, |out, (name, value)| {
            out.text(name);
            out.text(value);
        });
    }

    fn answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Ok => self.byte(0),
            Answer::Nil => self.byte(1),
            Answer::Int(number) => {
                self.byte(2);
                self.integer(*number);
            }
            Answer::Bulk(bytes) => {
                self.byte(3);
                self.bytes(bytes);
            }
            Answer::List(items) => {
                self.byte(4);
                self.list(items, Writer::answer);
            }
            Answer::Page { next, keys } => {
                self.byte(5);
                self.option(next.as_ref(), |out, next| out.bytes(next));
                self.list(keys, |out, key| out.bytes(key));
            }
            Answer::Simple(word) => {
                self.byte(6);
                self.text(word);
            }
            // No command inside an envelope answers with what follows.
            Answer::Error(refusal) => {
                self.byte(6);
                self.text(&refusal.to_string());
            }
            Answer::Text(text) => {
                self.byte(3);
                self.bytes(text);
            }
            Answer::Map(pairs) => {
                self.byte(4);
                self.number(2 * pairs.len() as u64);
                for (name, value) in pairs {
                    self.answer(name);
                    self.answer(value);
                }
            }
            Answer::Set(items) => {
                self.byte(4);
                self.list(items, Writer::answer);
            }
            Answer::Double(real) => {
                self.byte(3);
                self.bytes(real.0.to_string().as_bytes());
            }
            Answer::Bool(yes) => {
                self.byte(2);
                self.integer(i64::from(*yes));
            }
        }
    }
}

/// Fixed words that answers are made of.
pub(crate) const WORDS: [&str; 2] = ["string", "none"];
/// How deep answers may stand in answers.
pub(crate) const DEPTH: usize = 4;

impl Reader<'_> {
    fn envelope(&mut self) -> Result<Envelope, Malformed> {
        Ok(Envelope {
            id: self.option(|from| Ok(from.text()?.into()))?,
            session: self.option(|from| Ok(from.text()?.into()))?,
            depends_on: self.list(|from| Ok(from.text()?.into()))?,
            if_session_version: self.option(Reader::number)?,
            idempotency_key: self.option(|from| Ok(from.text()?.into()))?,
            timeout_ms: self.option(Reader::number)?,
            durability: self.option(|from| {
                let number = from.byte()?;
                Safety::ALL.into_iter().find(|s| *s as u8 == number).ok_or(Malformed::Kind)
            })?,
            call: match self.byte()? {
                0 => Call::Data(self.command()?),
                1 => Call::CreateSession,
                2 => Call::LoadSession,
                3 => Call::DeleteSession,
                _ => return Err(Malformed::Kind),
            },
        })
    }

    fn outcome(&mut self) -> Result<Outcome, Malformed> {
        let end = match self.byte()? {
            0 => End::Ok(self.answer(DEPTH)?),
            1 => End::Failed(self.failure()?),
            2 => End::TimedOut(self.failure()?),
            3 => End::Cancelled(self.failure()?),
            _ => return Err(Malformed::Kind),
        };
        Ok(Outcome { end, session_version: self.option(Reader::number)?, replayed: self.flag()? })
    }

    fn failure(&mut self) -> Result<Failure, Malformed> {
        Ok(Failure {
            code: Code::from_number(self.byte()?).ok_or(Malformed::Kind)?,
            message: self.text()?.to_owned(),
            details: self.list(|from| Ok((from.text()?.to_owned(), from.text()?.to_owned())))?,
        })
    }

    fn answer(&mut self, depth: usize) -> Result<Answer, Malformed> {
        Ok(match self.byte()? {
            0 => Answer::Ok,
            1 => Answer::Nil,
            2 => Answer::Int(self.integer()?),
            3 => Answer::Bulk(crate::Blob::new(self.bytes()?)),
            4 if depth == 0 => return Err(Malformed::Kind),
            4 => Answer::List(self.list(|from| from.answer(depth - 1))?),
            5 => Answer::Page {
                next: self.option(|from| from.key())?,
                keys: self.list(Reader::key)?,
            },
            6 => {
                let word = self.text()?;
                Answer::Simple(WORDS.into_iter().find(|w| *w == word).ok_or(Malformed::Kind)?)
            }
            _ => return Err(Malformed::Kind),
        })
    }
}
