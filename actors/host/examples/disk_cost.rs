//! What one durable 4 KiB append costs a task, by the way it reaches the disk.
//!
//! `cargo run --release -p orloj-host --example disk_cost -- [DIR]`. Each line is a fresh process
//! state: a way, the number of tasks that append at once (each waits for its own append), and
//! whether the file grows or was written before. Latency is what a task sees; CPU is that of the
//! whole process per append. `docs/decisions/disk-port.md` holds the figures that decided.

#![allow(clippy::print_stdout, reason = "an example that prints a table")]

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    cell::RefCell,
    collections::VecDeque,
    fs::{File, OpenOptions},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use io_uring::{IoUring, opcode, squeue, types};
use orloj_host::{Host, Options, Workers};
use orloj_kernel::OpenMode;
use tokio::io::unix::AsyncFd;

const BLOCK: usize = 4096;
const AREA: u64 = 64 << 20;
/// The machine is shared: many short rounds, of which the best says what a way costs.
const TIME: Duration = Duration::from_millis(150);
const ROUNDS: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// No task at all: as many plain threads as appends at once. The floor.
    Plain,
    /// The disk port, write then sync.
    OwnTwo,
    /// The disk port, `write_sync`.
    OwnOne,
    /// `spawn_blocking` for each of write and sync.
    TokioTwo,
    /// `spawn_blocking` for both together.
    TokioOne,
    /// io_uring on the task's own thread, write and sync submitted one after the other.
    RingTwo,
    /// io_uring, sync linked to its write.
    RingOne,
    /// `spawn_blocking`, one write with O_DIRECT and O_DSYNC.
    Direct,
}

const WAYS: [Way; 8] = [
    Way::Plain,
    Way::OwnTwo,
    Way::OwnOne,
    Way::TokioTwo,
    Way::TokioOne,
    Way::RingTwo,
    Way::RingOne,
    Way::Direct,
];

struct Sample {
    latencies: Vec<Duration>,
    cpu: Duration,
    wall: Duration,
}

fn main() {
    let dir = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("disk-cost-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the directory can be made");
    println!(
        "{:<10} {:<8} {:>8} {:>9} {:>9} {:>10} {:>8}",
        "file", "way", "at once", "p50 us", "p99 us", "appends/s", "cpu us"
    );
    let path = dir.join("file");
    for prewritten in [false, true] {
        for at_once in [1, 2, 4, 16] {
            let mut best: [(Way, Option<Sample>); 8] = WAYS.map(|way| (way, None));
            prepare(&path, prewritten);
            for _ in 0..ROUNDS {
                for (way, best) in &mut best {
                    if !prewritten {
                        prepare(&path, false);
                    }
                    let sample = sample(&dir, *way, at_once);
                    if best.as_ref().is_none_or(|b| sample.latencies.len() > b.latencies.len()) {
                        *best = Some(sample);
                    }
                }
            }
            for (way, best) in best {
                print(prewritten, at_once, way, best.expect("there was a round"));
            }
        }
    }
    std::fs::remove_dir_all(&dir).expect("the directory can be removed");
}

fn sample(dir: &Path, way: Way, at_once: usize) -> Sample {
    let path = dir.join("file");
    match way {
        Way::Plain => plain(&path, at_once),
        Way::OwnTwo | Way::OwnOne => own(dir, at_once, way == Way::OwnOne),
        Way::TokioTwo | Way::TokioOne | Way::Direct => tokio_blocking(&path, at_once, way),
        Way::RingTwo | Way::RingOne => ring(&path, at_once, way == Way::RingOne),
    }
}

fn print(prewritten: bool, at_once: usize, way: Way, mut s: Sample) {
    s.latencies.sort_unstable();
    let n = s.latencies.len();
    let us = |d: Duration| d.as_secs_f64() * 1e6;
    println!(
        "{:<10} {:<8} {:>8} {:>9.1} {:>9.1} {:>10.0} {:>8.1}",
        if prewritten { "prewritten" } else { "growing" },
        format!("{way:?}"),
        at_once,
        us(s.latencies[n / 2]),
        us(s.latencies[n * 99 / 100]),
        n as f64 / s.wall.as_secs_f64(),
        us(s.cpu) / n as f64,
    );
}

fn prepare(path: &Path, prewritten: bool) {
    let file = File::create(path).expect("the file can be made");
    if prewritten {
        let block = vec![0; 1 << 20];
        for at in (0..AREA).step_by(block.len()) {
            file.write_all_at(&block, at).expect("there is room");
        }
    }
    file.sync_all().expect("the file can be synced");
}

fn cpu() -> Duration {
    // SAFETY: an all-zero rusage is a valid value, and the call only writes into it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let of = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// The offsets that one of `at_once` appenders uses, in turn.
fn offsets(appender: usize, at_once: usize) -> impl Iterator<Item = u64> {
    let blocks = AREA / BLOCK as u64;
    (0..).map(move |n: u64| (n * at_once as u64 + appender as u64) % blocks * BLOCK as u64)
}

fn measure(run: impl FnOnce(Instant) -> Vec<Duration>) -> Sample {
    let (cpu_before, begun) = (cpu(), Instant::now());
    let latencies = run(begun + TIME);
    Sample { latencies, cpu: cpu() - cpu_before, wall: begun.elapsed() }
}

fn plain(path: &Path, at_once: usize) -> Sample {
    let file = OpenOptions::new().write(true).open(path).expect("the file exists");
    let file = &file;
    measure(|end| {
        std::thread::scope(|threads| {
            let handles: Vec<_> = (0..at_once)
                .map(|appender| {
                    threads.spawn(move || {
                        let buf = vec![7; BLOCK];
                        let mut latencies = Vec::new();
                        for offset in offsets(appender, at_once) {
                            let begun = Instant::now();
                            if begun >= end {
                                break;
                            }
                            file.write_all_at(&buf, offset).expect("there is room");
                            file.sync_data().expect("the file can be synced");
                            latencies.push(begun.elapsed());
                        }
                        latencies
                    })
                })
                .collect();
            handles.into_iter().flat_map(|h| h.join().expect("no panic")).collect()
        })
    })
}

fn own(dir: &Path, at_once: usize, one: bool) -> Sample {
    thread_local! {
        static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
    }
    let host = HOST.with_borrow_mut(|host| {
        *host.get_or_insert_with(|| {
            Host::new(Options { workers: Workers::One, ..Options::new(dir) }).expect("starts")
        })
    });
    let cx = host.context();
    measure(|end| {
        cx.block_on(async {
            let file = Arc::new(cx.open("file", OpenMode::Write).await.expect("the file exists"));
            let mut tasks = Vec::new();
            for appender in 0..at_once {
                let file = file.clone();
                tasks.push(cx.spawn("appender", async move {
                    let mut buf = vec![7; BLOCK];
                    let mut latencies = Vec::new();
                    for offset in offsets(appender, at_once) {
                        let begun = Instant::now();
                        if begun >= end {
                            break;
                        }
                        if one {
                            buf = file.write_sync(offset, buf).await.expect("there is room");
                        } else {
                            buf = file.write_at(offset, buf).await.expect("there is room");
                            file.sync().await.expect("the file can be synced");
                        }
                        latencies.push(begun.elapsed());
                    }
                    latencies
                }));
            }
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.expect("no panic"));
            }
            all
        })
    })
}

/// A block at an address that the device can read directly.
struct Aligned(*mut u8);

// SAFETY: the block is owned by this value alone, as a Box would own it.
unsafe impl Send for Aligned {}

impl Aligned {
    const LAYOUT: Layout = match Layout::from_size_align(BLOCK, BLOCK) {
        Ok(layout) => layout,
        Err(_) => panic!("a block is a power of two"),
    };

    fn new() -> Aligned {
        // SAFETY: the layout is not of size zero.
        let block = unsafe { alloc_zeroed(Aligned::LAYOUT) };
        assert!(!block.is_null());
        Aligned(block)
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: allocated with this length, initialised with zeros, and never written through.
        unsafe { std::slice::from_raw_parts(self.0, BLOCK) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout, and freed only here.
        unsafe { dealloc(self.0, Aligned::LAYOUT) }
    }
}

fn tokio_blocking(path: &Path, at_once: usize, way: Way) -> Sample {
    let tokio = tokio::runtime::Builder::new_current_thread().build().expect("starts");
    let mut options = OpenOptions::new();
    options.write(true);
    if way == Way::Direct {
        options.custom_flags(libc::O_DIRECT | libc::O_DSYNC);
    }
    let file = Arc::new(options.open(path).expect("the file exists"));
    measure(|end| {
        tokio.block_on(async {
            let mut tasks = Vec::new();
            for appender in 0..at_once {
                let file = file.clone();
                tasks.push(tokio::spawn(async move {
                    let mut buf = Aligned::new();
                    let mut latencies = Vec::new();
                    for offset in offsets(appender, at_once) {
                        let begun = Instant::now();
                        if begun >= end {
                            break;
                        }
                        let writer = file.clone();
                        let both = way == Way::TokioOne;
                        buf = tokio::task::spawn_blocking(move || {
                            writer.write_all_at(buf.bytes(), offset).expect("there is room");
                            if both {
                                writer.sync_data().expect("the file can be synced");
                            }
                            buf
                        })
                        .await
                        .expect("no panic");
                        if way == Way::TokioTwo {
                            let syncer = file.clone();
                            tokio::task::spawn_blocking(move || syncer.sync_data())
                                .await
                                .expect("no panic")
                                .expect("the file can be synced");
                        }
                        latencies.push(begun.elapsed());
                    }
                    latencies
                }));
            }
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.expect("no panic"));
            }
            all
        })
    })
}

/// A ring whose completions an eventfd announces to the task's own event loop.
struct Ring {
    ring: IoUring,
    /// By user data: the waker, and the result once it is there.
    waits: Vec<(Option<Waker>, Option<i32>)>,
    free: VecDeque<usize>,
}

type SharedRing = Rc<RefCell<Ring>>;

impl Ring {
    fn submit(&mut self, entries: &[squeue::Entry]) -> usize {
        let slot = self.free.pop_front().unwrap_or_else(|| {
            self.waits.push((None, None));
            self.waits.len() - 1
        });
        let last = entries.len() - 1;
        for (i, entry) in entries.iter().enumerate() {
            // Only the last of a chain is waited for; the others complete before it.
            let data = if i == last { slot as u64 } else { u64::MAX };
            // SAFETY: the buffer belongs to a task that keeps it until its slot has completed.
            unsafe { self.ring.submission().push(&entry.clone().user_data(data)) }
                .expect("the ring has more room than there are appenders");
        }
        self.ring.submit().expect("the ring accepts");
        slot
    }

    fn reap(&mut self) {
        let done: Vec<(u64, i32)> =
            self.ring.completion().map(|e| (e.user_data(), e.result())).collect();
        for (data, result) in done {
            assert!(result >= 0, "error {result}");
            if data != u64::MAX {
                let wait = &mut self.waits[data as usize];
                wait.1 = Some(result);
                if let Some(waker) = wait.0.take() {
                    waker.wake();
                }
            }
        }
    }
}

async fn complete(ring: &SharedRing, entries: &[squeue::Entry]) {
    let slot = ring.borrow_mut().submit(entries);
    std::future::poll_fn(|cx| {
        let mut ring = ring.borrow_mut();
        let wait = &mut ring.waits[slot];
        if wait.1.take().is_some() {
            ring.free.push_back(slot);
            return Poll::Ready(());
        }
        wait.0 = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

fn ring(path: &Path, at_once: usize, one: bool) -> Sample {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("starts");
    let file = OpenOptions::new().write(true).open(path).expect("the file exists");
    let fd = types::Fd(file.as_raw_fd());
    let inner = IoUring::new(64).expect("the system has io_uring");
    // SAFETY: a plain call without pointers; its result is checked.
    let event = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    assert!(event >= 0);
    inner.submitter().register_eventfd(event).expect("the ring takes the eventfd");
    let ring = Rc::new(RefCell::new(Ring { ring: inner, waits: vec![], free: VecDeque::new() }));
    let local = tokio::task::LocalSet::new();
    measure(|end| {
        local.block_on(&tokio, async {
            // SAFETY: the descriptor was just made and nobody else closes it.
            let event = unsafe { OwnedFd::from_raw_fd(event) };
            // SAFETY: the descriptor stays the one it is for as long as the AsyncFd lives.
            let event = unsafe { AsyncFd::register(event) }.expect("registers");
            let reaped = ring.clone();
            let reaper = tokio::task::spawn_local(async move {
                loop {
                    let mut ready = event.readable().await.expect("the event loop runs");
                    let mut count = [0_u8; 8];
                    // SAFETY: reads at most the eight bytes of `count`.
                    unsafe { libc::read(event.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
                    ready.clear_ready();
                    reaped.borrow_mut().reap();
                }
            });
            let mut tasks = Vec::new();
            for appender in 0..at_once {
                let ring = ring.clone();
                tasks.push(tokio::task::spawn_local(async move {
                    let buf = vec![7_u8; BLOCK];
                    let mut latencies = Vec::new();
                    for offset in offsets(appender, at_once) {
                        let begun = Instant::now();
                        if begun >= end {
                            break;
                        }
                        let write = opcode::Write::new(fd, buf.as_ptr(), BLOCK as u32)
                            .offset(offset)
                            .build();
                        let sync =
                            opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
                        if one {
                            complete(&ring, &[write.flags(squeue::Flags::IO_LINK), sync]).await;
                        } else {
                            complete(&ring, &[write]).await;
                            complete(&ring, &[sync]).await;
                        }
                        latencies.push(begun.elapsed());
                    }
                    latencies
                }));
            }
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.expect("no panic"));
            }
            reaper.abort();
            all
        })
    })
}
