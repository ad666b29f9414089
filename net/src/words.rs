//! The protocol's words: what can be asked of the store, and what it can say back.
//!
//! The sets are closed: a new command does not compile until the store, the model, the journal and
//! every codec have judged it. Words carry no connection state, no clock and no position in a
//! stream, so they mean the same in a client's history, in a log entry and in the reference model.
//!
//! Invariant: `Debug` never shows a value, and a key only as length and fingerprint. A word may be
//! logged anywhere.

mod answer;
mod blob;
mod command;
mod glob;
mod integer;
mod redact;
mod refusal;
mod reveal;

pub use answer::{Answer, Real};
pub use blob::Blob;
pub use command::{
    Command, Condition, Deadline, ExpireCondition, Expiry, Key, TimeForm, UnixMs, Value,
};
pub use glob::glob_matches;
pub use integer::{parse_i64, write_i64, write_u64};
pub use redact::{HiddenKey, HiddenValue};
pub(crate) use refusal::ECHO_MAX;
pub use refusal::Refusal;
pub use reveal::Revealed;

#[cfg(test)]
mod tests;
