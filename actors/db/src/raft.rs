//! Consensus: openraft, seen through the ports.
//!
//! openraft names its runtime as a type with functions that take no `self`. [`Ambient`] is that
//! type: it acts through the context of the task that is being polled, so one `Raft` serves the
//! machine and the simulator alike and nothing here has a type parameter for it.

mod ambient;
mod channel;
mod watch;

pub use ambient::{Ambient, Limited, Mutex, Random, Tick};
pub use channel::{Channel, Once, OnceSender, Receiver, Sender, WeakSender};
pub use watch::{Watched, WatchedRef, Watcher, Watching};
