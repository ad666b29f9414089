//! The ports bound to a machine: tokio tasks, sockets, files, entropy of the operating system.
//!
//! [`Host::new`] starts a [`Context`](orloj_kernel::Context) on this machine and [`run`] is the
//! whole life of a daemon: signals, shutdown, exit code. Nothing here decides anything about the
//! database.
//!
//! Invariant: no call of a task blocks its thread. Files are touched by threads of their own, which
//! is the only place where a thread of this crate may wait.

mod disk;
mod machine;
mod network;
mod random;
mod run;
mod stdio;
mod tasks;

pub use machine::{Host, Options, StartError, Workers};
pub use run::run;
pub use stdio::stdio;
