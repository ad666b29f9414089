//! What the store, and a session, can say back.

use std::fmt;

use bytes::Bytes;

use super::{Blob, HiddenKey, HiddenValue, Key, Refusal};

/// A double on the wire. Equal when the bits are, so that answers have equality and NaN equals
/// itself.
#[derive(Clone, Copy, Debug)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Real) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Real {}

/// One answer to one command.
///
/// What a client sees depends on its protocol version: a `Map` is a flat list in RESP2, a `Bool` an
/// integer, and so on. That is the codec's business, not the answer's.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Ok,
    /// No such value.
    Nil,
    /// A number.
    Int(i64),
    /// A byte string.
    Bulk(Blob),
    /// Answers in order.
    List(Vec<Answer>),
    /// One page of a scan: the keys found, and where the next page starts; `next` absent means the
    /// walk is complete. A page may be empty and not the last.
    Page {
        /// The `after` of the next page.
        next: Option<Key>,
        /// The keys of this page, in byte order.
        keys: Vec<Key>,
    },
    /// No, and the store is as it was.
    Error(Refusal),
    /// A fixed word, such as `PONG`.
    Simple(&'static str),
    /// Human-readable text, shown as it is.
    Text(Bytes),
    /// Pairs in a fixed order.
    Map(Vec<(Answer, Answer)>),
    /// Distinct answers whose order carries no meaning.
    Set(Vec<Answer>),
    /// A double.
    Double(Real),
    /// Yes or no.
    Bool(bool),
}

impl Answer {
    /// A byte string from text known at compile time, without copying it.
    pub const fn text(text: &'static str) -> Answer {
        Answer::Bulk(Blob::from_static(text.as_bytes()))
    }

    /// Whether the command was refused.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Answer::Error(_))
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Answer {
        Answer::Error(refusal)
    }
}

impl From<Result<Answer, Refusal>> for Answer {
    fn from(result: Result<Answer, Refusal>) -> Answer {
        result.unwrap_or_else(Answer::Error)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Ok => f.write_str("Ok"),
            Answer::Nil => f.write_str("Nil"),
            // An integer answer is a count, a length or a counter: it may be a user's value.
            Answer::Int(_) => f.write_str("Int"),
            Answer::Bulk(bytes) => write!(f, "Bulk({:?})", HiddenValue(bytes)),
            Answer::List(items) => write!(f, "List({})", items.len()),
            Answer::Page { next, keys } => f
                .debug_struct("Page")
                .field("next", &next.as_deref().map(HiddenKey))
                .field("keys", &keys.len())
                .finish(),
            Answer::Error(refusal) => f.debug_tuple("Error").field(refusal).finish(),
            Answer::Simple(word) => f.debug_tuple("Simple").field(word).finish(),
            Answer::Text(text) => write!(f, "Text({:?})", HiddenValue(text)),
            Answer::Map(pairs) => write!(f, "Map({})", pairs.len()),
            Answer::Set(items) => write!(f, "Set({})", items.len()),
            Answer::Double(_) => f.write_str("Double"),
            Answer::Bool(yes) => f.debug_tuple("Bool").field(yes).finish(),
        }
    }
}
