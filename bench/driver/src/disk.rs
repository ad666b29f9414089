//! What one durable append costs on this disk, by the state of the file it goes to.
//!
//! A journal chooses its file layout by these numbers: an append that grows the file makes
//! `fdatasync` commit metadata as well, an append into blocks that were allocated but never written
//! converts extents, and an append over blocks already written touches data alone.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// Bytes laid out in advance for each file that is not allowed to grow.
const FILE_LEN: u64 = 64 << 20;
/// The sector-aligned unit of a prepared write.
const BLOCK: usize = 4096;

/// What to measure and where.
#[derive(Args)]
pub(crate) struct Options {
    /// Directory to write in; it decides which disk is measured.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/disk"))]
    dir: PathBuf,
    /// Seconds spent on each line.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Less time on each line.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// The state of the blocks an append goes to.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Layout {
    /// Every append moves the end of the file.
    Growing,
    /// `fallocate` set the length; the blocks were never written.
    Preallocated,
    /// Zeros were written and synced over the whole length.
    Prewritten,
}

/// How an append is made durable.
#[derive(Clone, Copy, PartialEq)]
enum Sync {
    /// `pwrite`, then `fdatasync`.
    Fdatasync,
    /// `pwrite` to a file opened with `O_DSYNC`.
    Dsync,
    /// An aligned `pwrite` to a file opened with `O_DIRECT | O_DSYNC`.
    DirectDsync,
    /// `pwrite` alone: what the page cache costs, for scale.
    None,
}

pub(crate) struct Case {
    pub(crate) layout: Layout,
    sync: Sync,
    pub(crate) len: usize,
    pub(crate) threads: usize,
    /// All threads append to one file, or each to its own.
    shared: bool,
}

pub(crate) struct Latencies {
    /// Of each append; at least one.
    sorted: Vec<Duration>,
    elapsed: Duration,
    /// CPU time of the process, kernel included, over the same span.
    cpu: Duration,
}

impl Latencies {
    /// The latency that `percent` in a hundred appends do not exceed, in microseconds.
    pub(crate) fn percentile_us(&self, percent: usize) -> f64 {
        let at = (self.sorted.len() * percent / 100).min(self.sorted.len() - 1);
        self.sorted[at].as_secs_f64() * 1e6
    }

    /// Appends a second of all threads together.
    pub(crate) fn per_second(&self) -> f64 {
        self.sorted.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Prints one line for each layout, way of syncing, size and number of concurrent appenders.
///
/// # Errors
///
/// Whatever the file system refuses, with the path.
pub(crate) fn run(options: &Options) -> Result<()> {
    std::fs::create_dir_all(&options.dir)
        .with_context(|| format!("cannot create {}", options.dir.display()))?;
    let seconds = if options.quick { 0.3 } else { options.seconds };
    if !options.json {
        print_header();
    }
    for case in cases() {
        let measured = measure(&case, &options.dir, Duration::from_secs_f64(seconds))?;
        report(&case, &measured, options.json);
    }
    Ok(())
}

/// Names the columns of [`report`].
pub(crate) fn print_header() {
    println!(
        "{:<13} {:<10} {:>7} {:>7} {:<6} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7}",
        "layout",
        "sync",
        "bytes",
        "threads",
        "files",
        "p50_us",
        "p99_us",
        "mean_us",
        "syncs/s",
        "MB/s",
        "cpu_us"
    );
}

impl Case {
    /// `pwrite` and `fdatasync` of `len` bytes by `threads` appenders to one file.
    pub(crate) fn append(layout: Layout, len: usize, threads: usize) -> Case {
        Case { layout, sync: Sync::Fdatasync, len, threads, shared: true }
    }
}

fn cases() -> Vec<Case> {
    use Layout::*;
    let mut cases = Vec::new();
    let mut push = |layout, sync, len, threads, shared| {
        cases.push(Case { layout, sync, len, threads, shared });
    };
    for layout in [Growing, Preallocated, Prewritten] {
        for len in [128, 4096, 65536] {
            push(layout, Sync::Fdatasync, len, 1, true);
        }
    }
    for layout in [Growing, Preallocated, Prewritten] {
        push(layout, Sync::Dsync, 4096, 1, true);
    }
    for layout in [Preallocated, Prewritten] {
        push(layout, Sync::DirectDsync, 4096, 1, true);
        push(layout, Sync::DirectDsync, 65536, 1, true);
    }
    push(Prewritten, Sync::None, 4096, 1, true);
    for shared in [true, false] {
        for layout in [Growing, Preallocated, Prewritten] {
            for threads in [2, 4, 8] {
                push(layout, Sync::Fdatasync, 4096, threads, shared);
            }
        }
    }
    for threads in [2, 4, 8] {
        push(Prewritten, Sync::DirectDsync, 4096, threads, true);
    }
    cases
}

/// Appends for `time` in a file of `dir`, which exists.
///
/// # Errors
///
/// Whatever the file system refuses, and no append that finishes in time.
pub(crate) fn measure(case: &Case, dir: &Path, time: Duration) -> Result<Latencies> {
    let names = if case.shared { 1 } else { case.threads };
    let paths: Vec<PathBuf> = (0..names).map(|i| dir.join(format!("append-{i}"))).collect();
    let files = paths.iter().map(|path| open(path, case)).collect::<Result<Vec<File>>>()?;
    // A shared file hands out offsets by this counter; a private file uses its own thread's.
    let tails: Vec<AtomicU64> = files.iter().map(|_| AtomicU64::new(0)).collect();
    let barrier = Barrier::new(case.threads);
    let (started, cpu_started) = (Instant::now(), cpu_time());
    let mut all = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        let handles: Vec<_> = (0..case.threads)
            .map(|thread| {
                let index = thread % names;
                let (file, tail, barrier) = (&files[index], &tails[index], &barrier);
                scope.spawn(move || append_until(case, file, tail, barrier, time))
            })
            .collect();
        for handle in handles {
            all.extend(handle.join().expect("an appender returns its errors")?);
        }
        Ok(())
    })?;
    let (elapsed, cpu) = (started.elapsed(), cpu_time() - cpu_started);
    for path in &paths {
        std::fs::remove_file(path)?;
    }
    ensure!(!all.is_empty(), "no append finished in {time:?}");
    all.sort_unstable();
    Ok(Latencies { sorted: all, elapsed, cpu })
}

/// CPU time this process has used, in user and kernel mode.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn open(path: &Path, case: &Case) -> Result<File> {
    let flags = match case.sync {
        Sync::Fdatasync | Sync::None => OFlags::empty(),
        Sync::Dsync => OFlags::DSYNC,
        Sync::DirectDsync => OFlags::DSYNC | OFlags::DIRECT,
    };
    let prepared = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    match case.layout {
        Layout::Growing => {}
        Layout::Preallocated => fallocate(&prepared, FallocateFlags::empty(), 0, FILE_LEN)
            .with_context(|| format!("cannot allocate {}", path.display()))?,
        Layout::Prewritten => {
            let zeros = vec![0; 1 << 20];
            for offset in (0..FILE_LEN).step_by(zeros.len()) {
                prepared.write_all_at(&zeros, offset)?;
            }
        }
    }
    prepared.sync_all()?;
    File::open(path.parent().expect("the path lies in a directory"))?.sync_all()?;
    let file = OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(path)?;
    Ok(file)
}

fn append_until(
    case: &Case,
    file: &File,
    tail: &AtomicU64,
    barrier: &Barrier,
    time: Duration,
) -> Result<Vec<Duration>> {
    let mut memory = vec![0u8; case.len + BLOCK];
    // O_DIRECT wants memory aligned to the block.
    let start = memory.as_ptr().align_offset(BLOCK);
    let record = &mut memory[start..start + case.len];
    record.fill(0xa5);
    let mut latencies = Vec::new();
    barrier.wait();
    let deadline = Instant::now() + time;
    loop {
        let begin = Instant::now();
        if begin >= deadline {
            return Ok(latencies);
        }
        let mut offset = tail.fetch_add(case.len as u64, Ordering::Relaxed);
        if case.layout != Layout::Growing {
            // A prepared file is a ring, except that an allocated block is new only once.
            if case.layout == Layout::Preallocated && offset + case.len as u64 > FILE_LEN {
                return Ok(latencies);
            }
            offset %= FILE_LEN - FILE_LEN % case.len as u64;
        }
        file.write_all_at(record, offset)?;
        if case.sync == Sync::Fdatasync {
            file.sync_data()?;
        }
        latencies.push(begin.elapsed());
    }
}

/// Prints what `case` showed.
pub(crate) fn report(case: &Case, measured: &Latencies, json: bool) {
    let layout = match case.layout {
        Layout::Growing => "growing",
        Layout::Preallocated => "preallocated",
        Layout::Prewritten => "prewritten",
    };
    let sync = match case.sync {
        Sync::Fdatasync => "fdatasync",
        Sync::Dsync => "dsync",
        Sync::DirectDsync => "direct",
        Sync::None => "none",
    };
    let files = if case.shared { "one" } else { "each" };
    let us = |duration: Duration| duration.as_secs_f64() * 1e6;
    let count = measured.sorted.len();
    let (p50, p99) = (measured.percentile_us(50), measured.percentile_us(99));
    let mean = us(measured.sorted.iter().sum::<Duration>()) / count as f64;
    let cpu = us(measured.cpu) / count as f64;
    let rate = measured.per_second();
    let megabytes = rate * case.len as f64 / 1e6;
    if json {
        let line = json!({
            "bench": "disk", "layout": layout, "sync": sync, "bytes": case.len,
            "threads": case.threads, "files": files, "p50_us": p50, "p99_us": p99,
            "mean_us": mean, "syncs_per_s": rate, "mb_per_s": megabytes, "cpu_us": cpu,
        });
        println!("{line}");
    } else {
        println!(
            "{layout:<13} {sync:<10} {:>7} {:>7} {files:<6} {p50:>9.1} {p99:>9.1} {mean:>9.1} \
             {rate:>9.0} {megabytes:>7.1} {cpu:>7.1}",
            case.len, case.threads,
        );
    }
}
