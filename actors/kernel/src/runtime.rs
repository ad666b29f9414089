//! The ports as a runtime offers them: one dyn-compatible trait per concern.
//!
//! A runtime serves many hosts (a simulation) or one (a machine); every call names the host it
//! speaks for. Code does not call these traits; it calls [`Context`](crate::Context).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use crate::{Directory, Disk, Instant, Mail, Network, Site, WallTime};

/// A type-erased unit of work, boxed once at spawn, so that actor code is compiled in the crate
/// that owns it and not again in every binary that starts it.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One port operation that may wait.
pub type Io<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Which host of its runtime a context speaks for. Opaque to everybody but the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostKey(pub u64);

/// Names a spawned task to its runtime, so that it can be aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskKey(pub u64);

/// Where a runtime keeps one waiting timer.
#[derive(Default)]
pub enum Timer {
    /// Not armed yet.
    #[default]
    Unset,
    /// An index into the runtime's own table.
    Index(u64),
    /// A future of the runtime.
    Future(Task),
}

/// Time as one host sees it. Hosts of a simulation disagree about it.
pub trait Clock {
    /// Monotonic time of `host`.
    fn now(&self, host: HostKey) -> Instant;
    /// Wall-clock time of `host`; it may jump in either direction.
    fn wall(&self, host: HostKey) -> WallTime;
    /// Ready once `now(host) >= deadline`. `timer` is the caller's storage for this one wait.
    fn poll_timer(
        &self,
        host: HostKey,
        deadline: Instant,
        timer: &mut Timer,
        cx: &mut task::Context<'_>,
    ) -> Poll<()>;
    /// Forgets a [`Timer::Index`] whose owner was dropped before it fired.
    fn drop_timer(&self, index: u64);
}

/// Concurrent tasks.
pub trait Spawner {
    /// Starts `task` on `host`. `name` appears in traces.
    fn spawn(&self, host: HostKey, name: &'static str, task: Task) -> TaskKey;
    /// Drops the task at its current await point. Does nothing if it has ended.
    fn abort(&self, task: TaskKey);
    /// Runs `future` to its end from outside of any task. Only tests and `main` call it.
    fn block_on(&self, host: HostKey, future: Pin<&mut dyn Future<Output = ()>>);
}

/// Randomness.
pub trait Entropy {
    /// 64 random bits, of the operating system or of the host's seeded stream.
    fn entropy(&self, host: HostKey) -> u64;
}

/// What code tells its runtime about itself, and the questions it asks to be disturbed by.
pub trait Probe {
    /// Whether the rare path at `site` shall be taken now. A machine always says no.
    fn buggify(&self, host: HostKey, site: &'static Site) -> bool;
    /// `site` was passed; `hit` is whether its condition held.
    fn observe(&self, host: HostKey, site: &'static Site, hit: bool);
    /// The property at `site` does not hold. A machine panics; a simulation ends with this verdict.
    fn violated(&self, host: HostKey, site: &'static Site, evidence: fmt::Arguments<'_>);
    /// Whether [`Probe::trace`] has a reader now.
    fn traces(&self, host: HostKey) -> bool;
    /// One line about what `target` did.
    fn trace(&self, host: HostKey, target: &'static str, line: fmt::Arguments<'_>);
    /// Something happens to mailbox number `mailbox`. Called once somebody has asked for it with
    /// [`watch_mail`](crate::watch_mail).
    fn mail(&self, _host: HostKey, _mailbox: u64, _what: Mail) {}
    /// Whether the planted defect `name` is active. Asked only in builds with `mutants`.
    fn mutant(&self, host: HostKey, name: &'static str) -> bool;
    /// The actors of this host.
    fn directory(&self, host: HostKey) -> Arc<Directory>;
}

/// Everything outside an actor. `orloj-host` and `orloj-sim` are the only two implementations, and
/// both pass the same conformance suite in `tests/ports.rs`.
pub trait Runtime: Clock + Spawner + Entropy + Network + Disk + Probe + Send + Sync {}

impl<T: Clock + Spawner + Entropy + Network + Disk + Probe + Send + Sync> Runtime for T {}
