//! Bytes that survive a crash: the journal, and the formats of the engine above it.
//!
//! [`journal`] is the one log of the database. Its format and every judgement about damage are pure
//! functions over bytes; around them stands a thin writer over the disk port. [`record`], [`page`]
//! and [`superblock`] are what the engine keeps in the journal and beside it, as bytes;
//! `docs/src/engine.md` is its design.
//!
//! Invariant: nothing that a sync has covered is ever dropped silently. Recovery gives it back or
//! refuses to open.

pub mod backup;
mod bulk;
pub mod cache;
pub mod catalogue;
pub mod checkpoint;
pub mod compact;
pub mod database;
mod disk;
mod encoding;
pub mod engine;
mod error;
pub mod export;
pub mod journal;
pub mod keyspace;
pub mod locks;
pub mod manifest;
pub mod options;
pub mod page;
pub mod pager;
pub mod past;
pub mod record;
pub mod recover;
pub mod repair;
pub mod retention;
pub mod snapshots;
pub mod superblock;
pub mod sweep;
pub mod tail;
pub mod tree;
#[cfg(test)]
mod trial;
pub mod txn;
pub mod unfinished;
pub mod verify;
pub mod vlog;
mod writer;

pub use database::Database;
pub use error::{Corrupt, Error, Fault, Range, Verdict};
pub use journal::{JournalError, Lsn};
pub use keyspace::{KeyspaceId, Retention};
pub use options::{Durability, Options};
pub use snapshots::Snapshot;
pub use tree::{At, Attempt, Pause};
