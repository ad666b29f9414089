//! What an actor is, and the only ports through which it may see the world.
//!
//! An [`Actor`] owns its state and is handed whole batches of messages. It reaches the outside only
//! through its [`Context`]: time, randomness, tasks, network, disk. The crate `orloj-host` binds
//! those ports to a machine; the crate `orloj-sim` binds them to a seed. No code above this crate
//! can tell which of the two it runs on: there is no type parameter, feature or `cfg` by which it
//! could.
//!
//! Invariant: neither this crate nor any above it, `orloj-host` excepted, names tokio's runtime,
//! files, sockets, threads or the machine's clock. `cargo xtask lint` and clippy hold the line.

mod actor;
mod ambient;
mod context;
mod directory;
mod disk;
mod mailbox;
mod network;
mod property;
mod reply;
mod runtime;
mod shutdown;
mod supervisor;
mod task;
mod time;

pub use actor::{Actor, Stop};
pub use ambient::{Ambient, Mail, ambient, try_ambient, watch_mail, with_ambient};
pub use context::Context;
pub use directory::{Directory, Inspect, Status};
pub use disk::{
    Disk, DiskError, DiskErrorKind, Entry, File, OpenMode, RawFile, RawLock, WriteSyncError,
};
pub use mailbox::{Addr, Closed, Overflow, SendError};
pub use network::{Datagram, Listener, Network, RawDatagram, RawListener, RawStream, Stream};
pub use property::{SITES, Site, SiteKind, sites};
pub use reply::{Answer, Dropped, Reply};
pub use runtime::{Clock, Entropy, HostKey, Io, Probe, Runtime, Spawner, Task, TaskKey, Timer};
pub use shutdown::Shutdown;
pub use supervisor::{Backoff, Escalation, Intensity, Restart, Strategy, Supervisor};
pub use task::{JoinError, JoinHandle};
pub use time::{Elapsed, Instant, Interval, Sleep, WallTime};

#[doc(hidden)]
pub use linkme;
