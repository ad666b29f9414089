//! Consensus: openraft, seen through the ports, and the only crate that names it.
//!
//! openraft names its runtime as a type with functions that take no `self`. [`Ambient`] is that
//! type: it acts through the context of the task that is being polled, so one `Raft` serves the
//! machine and the simulator alike and nothing here has a type parameter for it.

mod ambient;
mod channel;
mod codec;
mod config;
mod entry;
mod flush;
mod kept;
#[cfg_attr(not(test), expect(dead_code, reason = "the replica, which is next, holds the links"))]
mod link;
mod log;
#[cfg_attr(not(test), expect(dead_code, reason = "the replica, which is next, opens it"))]
mod machine;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the replica, which is next, hands it to openraft")
)]
mod network;
#[cfg_attr(not(test), expect(dead_code, reason = "the replica, which is next, serves by it"))]
mod serve;
#[cfg(test)]
mod tests;
mod types;
mod watch;

pub use ambient::{Ambient, Limited, Mutex, Random, Tick};
pub use channel::{Channel, Once, OnceSender, Receiver, Sender, WeakSender};
pub use config::{Timing, TimingError};
pub use entry::{Entry, EntryError, Kind};
pub use types::{Applied, Peer, Types};
pub use watch::{Watched, WatchedRef, Watcher, Watching};
