//! The database as actors: sessions, sequencer, journal, node.
//!
//! [`Node::start`] makes one node out of a configuration and a context. Bytes come in through a
//! connection's session, which turns every complete command it has read into one batch for the
//! sequencer; the sequencer alone executes them, and commits what a turn of them changed to the
//! storage engine; the journal sees to it that this is durable and only then lets the answers go;
//! the session writes them in one go.
//!
//! Invariant: nothing here can tell whether it is simulated, and in strict mode no answer leaves
//! that a crash could take back.

mod board;
mod bundle;
mod clock;
mod commands;
mod config;
mod door;
mod embedded;
mod hub;
mod journal;
mod json;
mod leased;
mod listener;
mod native;
mod node;
mod observer;
mod older;
mod outbox;
mod replay;
mod sequencer;
mod session;
mod slot;
mod socket;
mod start;
mod store;

pub use bundle::{Bundle, BundleError, BundleReader, Exported, Span, Survey, export};
pub use config::{
    AppendFailure, CommandLimits, Durability, HistoryRetention, NodeConfig, UnknownAppendFailure,
    UnknownDurability,
};
pub use embedded::{Embedded, Subscription};
pub use node::{Node, Summary};
pub use observer::{Lived, Observer, Seen, Step};
pub use older::{MigrateError, Migrated, migrate};
pub use replay::{Divergence, ReplayError, Replayed, Source, Until, replay};
pub use start::StartError;
