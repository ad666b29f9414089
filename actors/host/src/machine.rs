//! One process on one machine, as a runtime of the kernel.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, PoisonError, RwLock},
    task::{self, Poll},
    time::{Duration, Instant as MachineInstant, SystemTime, UNIX_EPOCH},
};

use orloj_kernel::{
    Clock, Context, Directory, Entropy, HostKey, Instant, Probe, Site, Timer, WallTime,
};
use tokio::runtime::{Builder, Runtime};
use tracing::Level;

use crate::{disk::Threads, random::Random, tasks::Tasks};

/// On how many threads tasks run. Files have threads of their own in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// All on the thread inside [`Context::block_on`]: a message from one actor to another never
    /// crosses threads.
    One,
    /// On so many threads beside it.
    Many(usize),
}

/// How to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where relative paths of the disk port begin. It need not exist yet.
    pub root: PathBuf,
    /// On how many threads tasks run.
    pub workers: Workers,
    /// The most file operations under way at once, each on its own thread. Threads start on demand.
    pub disk_threads: usize,
}

impl Options {
    /// One worker, up to 16 disk threads, files below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Options {
        Options { root: root.into(), workers: Workers::One, disk_threads: 16 }
    }
}

/// The operating system refused what a runtime needs.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {what}: {cause}")]
pub struct StartError {
    /// What was refused: the event loop, a thread.
    pub what: &'static str,
    /// Why.
    #[source]
    pub cause: io::Error,
}

/// A started runtime. It lives as long as the process, so that a [`Context`] can be copied freely.
#[derive(Clone, Copy)]
pub struct Host {
    machine: &'static Machine,
    context: Context,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.context.fmt(f)
    }
}

impl Host {
    /// Starts a runtime. Tasks make progress while somebody is inside [`Context::block_on`], and
    /// with [`Workers::Many`] always.
    ///
    /// # Errors
    /// [`StartError`] when the process may not have another thread or event loop.
    pub fn new(options: Options) -> Result<Host, StartError> {
        let mut builder = match options.workers {
            Workers::One => Builder::new_current_thread(),
            Workers::Many(n) => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(n.max(1));
                builder
            }
        };
        let tokio = builder
            .enable_io()
            .enable_time()
            .thread_name("orloj-worker")
            .build()
            .map_err(|cause| StartError { what: "the event loop", cause })?;
        let threads = Threads::start(options.disk_threads)
            .map_err(|cause| StartError { what: "a disk thread", cause })?;
        let machine: &'static Machine = Box::leak(Box::new(Machine {
            leaked: OnceLock::new(),
            tokio,
            epoch: MachineInstant::now(),
            tasks: Tasks::default(),
            random: Random::default(),
            threads,
            places: RwLock::new(Vec::new()),
        }));
        machine.leaked.get_or_init(|| machine).host(&options.root)
    }

    /// The view of the world to hand to actors.
    pub fn context(&self) -> Context {
        self.context
    }

    /// Another host in this process: same threads and network, but its own root and its own actors.
    ///
    /// # Errors
    /// [`StartError`] when `root` is relative and the process has no current directory.
    pub fn neighbour(&self, root: impl AsRef<Path>) -> Result<Host, StartError> {
        self.machine.host(root.as_ref())
    }
}

/// What differs between hosts of one process.
struct Place {
    root: Arc<Path>,
    directory: Arc<Directory>,
}

/// The runtime behind every context of this process.
pub(crate) struct Machine {
    /// Itself: the ports are called on a borrow, but tasks carry a reference that outlives it.
    leaked: OnceLock<&'static Machine>,
    pub(crate) tokio: Runtime,
    pub(crate) tasks: Tasks,
    pub(crate) threads: Arc<Threads>,
    epoch: MachineInstant,
    random: Random,
    /// Indexed by [`HostKey`]; only grows.
    places: RwLock<Vec<Place>>,
}

impl Machine {
    fn host(&'static self, root: &Path) -> Result<Host, StartError> {
        let root = std::path::absolute(root)
            .map_err(|cause| StartError { what: "below its root directory", cause })?;
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let key = HostKey(places.len() as u64);
        places.push(Place { root: root.into(), directory: Arc::new(Directory::new()) });
        Ok(Host { machine: self, context: Context::new(self, key) })
    }

    /// Itself, for as long as the process lives.
    pub(crate) fn leaked(&self) -> &'static Machine {
        self.leaked.get().expect("set before the first context exists")
    }

    pub(crate) fn root(&self, host: HostKey) -> Arc<Path> {
        self.place(host, |place| place.root.clone())
    }

    fn place<T>(&self, host: HostKey, read: impl FnOnce(&Place) -> T) -> T {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let place = places.get(usize::try_from(host.0).unwrap_or(usize::MAX));
        read(place.expect("a context carries the key it was made with"))
    }
}

impl Clock for Machine {
    fn now(&self, _: HostKey) -> Instant {
        Instant(nanos(self.epoch.elapsed()))
    }

    fn wall(&self, _: HostKey) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn poll_timer(
        &self,
        host: HostKey,
        deadline: Instant,
        timer: &mut Timer,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        loop {
            if let Timer::Future(sleep) = timer {
                return sleep.as_mut().poll(cx);
            }
            if self.now(host) >= deadline {
                return Poll::Ready(());
            }
            // The timer belongs to this runtime even if another executor polls it.
            let _inside = self.tokio.enter();
            let at = self.epoch + Duration::from_nanos(deadline.0);
            *timer = Timer::Future(Box::pin(tokio::time::sleep_until(at.into())));
        }
    }

    fn drop_timer(&self, index: u64) {
        std::unreachable!("timer {index}: every timer of this runtime is a future");
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Entropy for Machine {
    fn entropy(&self, _: HostKey) -> u64 {
        self.random.next()
    }
}

impl Probe for Machine {
    fn buggify(&self, _: HostKey, _: &'static Site) -> bool {
        false
    }

    fn observe(&self, _: HostKey, _: &'static Site, _: bool) {}

    fn violated(&self, _: HostKey, site: &'static Site, evidence: fmt::Arguments<'_>) {
        tracing::error!(
            property = site.name,
            at = format_args!("{}:{}", site.file, site.line),
            "property broken: {evidence}"
        );
        panic!("{} broken at {}:{}: {evidence}", site.name, site.file, site.line);
    }

    fn traces(&self, _: HostKey) -> bool {
        tracing::enabled!(target: "orloj::trace", Level::DEBUG)
    }

    fn trace(&self, _: HostKey, target: &'static str, line: fmt::Arguments<'_>) {
        tracing::debug!(target: "orloj::trace", actor = target, "{line}");
    }

    fn mutant(&self, _: HostKey, _: &'static str) -> bool {
        false
    }

    fn directory(&self, host: HostKey) -> Arc<Directory> {
        self.place(host, |place| place.directory.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orloj_kernel::{OpenMode, ambient, try_ambient};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// The whole of a machine in one breath; `tests/ports.rs` holds it to every word of the ports.
    #[test]
    fn tasks_sockets_files_and_time_work_on_both_kinds_of_workers() {
        for workers in [Workers::One, Workers::Many(2)] {
            let root = std::env::temp_dir().join(format!("orloj-host-{}", std::process::id()));
            let host = Host::new(Options { workers, ..Options::new(&root) }).unwrap();
            let cx = host.context();
            cx.block_on(async {
                let before = cx.now();
                cx.sleep(Duration::from_millis(5)).await;
                assert!(cx.now() - before >= Duration::from_millis(5));

                let mut listener = cx.listen("127.0.0.1:0").await.unwrap();
                let at = listener.local_addr().unwrap();
                let server = cx.spawn("server", async move {
                    assert_eq!(ambient().host_key(), cx.host_key());
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut word = [0; 5];
                    stream.read_exact(&mut word).await.unwrap();
                    word
                });
                let mut stream = cx.connect(&at.to_string()).await.unwrap();
                stream.write_all(b"hello").await.unwrap();
                assert_eq!(server.await.unwrap(), *b"hello");

                cx.create_dir("").await.unwrap();
                let file = cx.open("a", OpenMode::Create).await.unwrap();
                file.write_at(3, b"abc".to_vec()).await.unwrap();
                file.sync().await.unwrap();
                assert_eq!(file.read_at(0, 99).await.unwrap(), b"\0\0\0abc");
                cx.remove("a").await.unwrap();
                cx.sync_dir("").await.unwrap();
            });
            assert!(try_ambient().is_none());
            std::fs::remove_dir_all(&root).unwrap();
        }
    }
}
