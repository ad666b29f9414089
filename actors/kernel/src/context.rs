//! The one handle through which code sees the world.

use std::{fmt, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use crate::{
    Actor, Addr, Datagram, Directory, DiskError, Elapsed, Entry, File, HostKey, Instant, Interval,
    JoinHandle, Listener, Mail, OpenMode, RawLock, Runtime, Site, Sleep, Stream, WallTime, actor,
    task,
};

/// An actor's view of the world: clock, tasks, randomness, network, disk of one host.
///
/// It is two words, copied freely. The runtime behind it lives as long as the process.
#[derive(Clone, Copy)]
pub struct Context {
    pub(crate) runtime: &'static dyn Runtime,
    pub(crate) host: HostKey,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The high half is the runtime's bookkeeping and differs between equal runs.
        write!(f, "Context({})", self.host.0 as u32)
    }
}

impl Context {
    /// The view of `host` on `runtime`. Only runtimes make contexts; everybody else is handed one.
    pub const fn new(runtime: &'static dyn Runtime, host: HostKey) -> Context {
        Context { runtime, host }
    }

    /// The host this context speaks for, for the runtime that made it.
    pub fn host_key(&self) -> HostKey {
        self.host
    }

    /// Monotonic time. Never goes back, not even across a pause.
    pub fn now(&self) -> Instant {
        self.runtime.now(self.host)
    }

    /// Wall-clock time. It may be wrong and may jump; no safety may rest on it.
    pub fn wall(&self) -> WallTime {
        self.runtime.wall(self.host)
    }

    /// Waits for `duration` of this host's monotonic time.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Waits until this host's monotonic clock reaches `deadline`.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::new(*self, deadline)
    }

    /// Ticks every `period`, first after one period. A late tick does not cause a burst.
    pub fn interval(&self, period: Duration) -> Interval {
        Interval::new(*self, period)
    }

    /// Runs `future` for at most `limit`.
    ///
    /// # Errors
    /// [`Elapsed`] when `limit` passed first; the future is dropped then.
    pub async fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        crate::time::timeout(self.sleep(limit), future).await
    }

    /// Lets every other ready task run first.
    pub async fn yield_now(&self) {
        task::yield_now().await;
    }

    /// Starts a task. Dropping the handle lets the task run on; [`JoinHandle::abort`] drops it.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        task::spawn(*self, name, future)
    }

    /// Starts `actor` without a supervisor. It lives until it stops or its last address is dropped.
    pub fn start<A: Actor>(&self, actor: A) -> Addr<A::Msg> {
        actor::start(*self, actor)
    }

    /// Runs `future` to its end on this thread, from outside of any task. For `main` and tests.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut output = None;
        {
            let run: Pin<&mut dyn Future<Output = ()>> =
                std::pin::pin!(async { output = Some(future.await) });
            self.runtime.block_on(self.host, run);
        }
        output.expect("block_on returns only after the future has")
    }

    /// 64 random bits.
    pub fn entropy(&self) -> u64 {
        self.runtime.entropy(self.host)
    }

    /// A random number in `0..bound`, unbiased to within 2^-64 of `bound`; 0 when `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.entropy()) * u128::from(bound)) >> 64) as u64
    }

    /// Opens a byte stream to `addr`, given as `host:port`.
    ///
    /// # Errors
    /// As TCP: refused, timed out, unreachable, name not found.
    pub async fn connect(&self, addr: &str) -> io::Result<Stream> {
        self.runtime.connect(self.host, addr).await
    }

    /// Accepts byte streams at `addr`. Port 0 asks for any free port.
    ///
    /// # Errors
    /// `AddrInUse` when another listener holds the port; `AddrNotAvailable` for a foreign address.
    pub async fn listen(&self, addr: &str) -> io::Result<Listener> {
        self.runtime.listen(self.host, addr).await
    }

    /// Opens a datagram socket at `addr`. Port 0 asks for any free port.
    ///
    /// # Errors
    /// As [`Context::listen`].
    pub async fn bind(&self, addr: &str) -> io::Result<Datagram> {
        self.runtime.bind(self.host, addr).await
    }

    /// Opens a file. Paths are relative to the host's root unless absolute; `/` separates.
    ///
    /// # Errors
    /// [`DiskError`] naming operation, path and kind.
    pub async fn open(&self, path: &str, mode: OpenMode) -> Result<File, DiskError> {
        Ok(File::new(path, self.runtime.open(self.host, path, mode).await?))
    }

    /// Removes a file. The removal is durable only after [`Context::sync_dir`] of its directory.
    pub async fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.runtime.remove(self.host, path).await
    }

    /// Renames a file, replacing `to`. Atomic; durable only after [`Context::sync_dir`].
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.runtime.rename(self.host, from, to).await
    }

    /// What a directory holds, sorted by name.
    pub async fn list(&self, dir: &str) -> Result<Vec<Entry>, DiskError> {
        self.runtime.list(self.host, dir).await
    }

    /// Makes a directory and its parents; succeeds when it exists.
    pub async fn create_dir(&self, dir: &str) -> Result<(), DiskError> {
        self.runtime.create_dir(self.host, dir).await
    }

    /// Makes every creation, rename and removal in `dir` so far survive a power cut.
    pub async fn sync_dir(&self, dir: &str) -> Result<(), DiskError> {
        self.runtime.sync_dir(self.host, dir).await
    }

    /// Takes the exclusive lock on `path`, creating the file. Dropping the guard, or the death of
    /// the process, releases it.
    ///
    /// # Errors
    /// [`DiskErrorKind::Locked`](crate::DiskErrorKind::Locked) when another process holds it.
    pub async fn lock(&self, path: &str) -> Result<Box<dyn RawLock>, DiskError> {
        self.runtime.lock(self.host, path).await
    }

    /// The actors of this host.
    pub fn directory(&self) -> Arc<Directory> {
        self.runtime.directory(self.host)
    }

    /// Tells the runtime what happens to a mailbox.
    pub(crate) fn mail(&self, mailbox: u64, what: Mail) {
        self.runtime.mail(self.host, mailbox, what);
    }

    /// Whether anybody reads [`Context::trace`]. Ask before building something costly to print.
    pub fn traces(&self) -> bool {
        self.runtime.traces(self.host)
    }

    /// Says in one line what `target` did: a log line at debug level on a machine, an event of the
    /// run in a simulation. Never put a user's key or value into it.
    pub fn trace(&self, target: &'static str, line: fmt::Arguments<'_>) {
        if self.traces() {
            self.runtime.trace(self.host, target, line);
        }
    }

    #[doc(hidden)]
    pub fn buggify_at(&self, site: &'static Site) -> bool {
        self.runtime.buggify(self.host, site)
    }

    #[doc(hidden)]
    pub fn observe_at(&self, site: &'static Site, hit: bool) {
        self.runtime.observe(self.host, site, hit);
    }

    #[doc(hidden)]
    pub fn violated_at(&self, site: &'static Site, evidence: fmt::Arguments<'_>) {
        self.runtime.violated(self.host, site, evidence);
    }

    #[doc(hidden)]
    #[inline(always)]
    pub fn mutant_named(&self, name: &'static str) -> bool {
        #[cfg(feature = "mutants")]
        return self.runtime.mutant(self.host, name);
        #[cfg(not(feature = "mutants"))]
        {
            let _ = name;
            false
        }
    }
}
