//! The rows every storage engine is measured by: what an engine is, how much of each row is run, on
//! which keys and in which order, and the clocks.
//!
//! A peer is one small program that implements [`Engine`] in its library's own idiom and hands it
//! to [`main`]. Everything else lives here, so that no peer runs an easier version of a row. The
//! unit is CPU time of the process, user and kernel, of all its threads: wall time on a shared
//! machine measures the neighbours. Rows about syncing, threads and opening are the exceptions.

mod cost;
mod data;
mod engine;
mod program;
mod reopen;
mod scaling;
mod sizes;
mod space;
mod strict;

pub use cost::wait_until_idle;
pub use data::{Key, Value};
pub use engine::{Durability, Engine, Reader, Session, Setup};
pub use program::main;
