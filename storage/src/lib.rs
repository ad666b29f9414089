//! Bytes that survive a crash: journal records, segments, recovery.
//!
//! [`journal`] is the one log of the database. Its format and every judgement about damage are pure
//! functions over bytes; around them stands a thin writer over the disk port.
//!
//! Invariant: nothing that a sync has covered is ever dropped silently. Recovery gives it back or
//! refuses to open.

pub mod journal;

pub use journal::{JournalError, Lsn};
