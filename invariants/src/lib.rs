//! What Orloj promises, stated apart from how it keeps it: a reference model and one file per law.
//!
//! A simulation records a [`History`]: what every client asked and heard, and what the node says it
//! executed, life by life. [`judge`] replays it through the [`Model`] and holds it to every law of
//! [`LAWS`]. A law that does not hold yields a [`Violation`]: the promise, and what contradicts it.
//!
//! [`engine`] does the same for the storage engine by itself, [`commands`] for causal commands.
//!
//! Invariant: of the other crates this one knows the protocol's words alone. It shares no code with
//! the database, so that the two cannot be wrong in the same way for the same reason.

pub mod checkers;
pub mod commands;
pub mod engine;
mod history;
mod laws;
mod model;
mod show;
mod timeline;

#[cfg(test)]
mod testing;

pub use history::{
    Dump, Durability, End, Ending, Entry, Executed, Halt, History, Life, Loss, Moment, OpId,
    Operation, Quiet, Request, Surplus,
};
pub use laws::{About, LAWS, Law, Violation, judge};
pub use model::Model;
pub use show::{show_answer, show_bytes, show_command};
pub use timeline::{Fate, Place, Step, Timeline};
