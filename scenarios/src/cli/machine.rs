//! What this program needs of the machine: threads, its clock, files, other processes.
//!
//! Nothing simulated is called from here. A seed runs on a thread of its own, so that what a
//! dependency keeps per thread is fresh for each.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "seeds are run side by side, timed, and compared across processes"
)]

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Stack of a thread that runs a seed: unoptimised builds need several megabytes at their worst.
const STACK: usize = 16 << 20;

/// The arguments of this process, its name first.
pub(super) fn arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os()
}

/// How many seeds run side by side when nobody says.
pub(super) fn cores() -> u64 {
    thread::available_parallelism().map_or(1, |n| n.get() as u64)
}

/// A seed nobody chose, short enough to be typed.
pub(super) fn fresh_seed() -> u64 {
    RandomState::new().hash_one(0) % 10_000_000_000
}

/// Real time since a beginning.
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Runs `f` on a thread of its own. What it says on a panic that nobody caught is the error.
pub(super) fn on_fresh_thread<T: Send>(f: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let started = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, f);
        let handle = started.map_err(|error| format!("no thread could be started: {error}"))?;
        handle.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("the simulator itself panicked: {}", text.unwrap_or("no message"))
        })
    })
}

/// Does `work` with each of `items`, at most `jobs` at a time, and hands every result to `done`, in
/// whatever order they come. `done` says whether to go on.
pub(super) fn side_by_side<I: Send, T: Send>(
    jobs: u64,
    items: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> T + Sync,
    done: impl FnMut(T) -> bool + Send,
) {
    let queue: Mutex<VecDeque<I>> = Mutex::new(items.into_iter().collect());
    let done = Mutex::new(done);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let worker = || {
        while let Some(item) = next() {
            let result = work(item);
            let more = (done.lock().unwrap_or_else(PoisonError::into_inner))(result);
            if !more {
                queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(worker);
        }
    });
}

/// Opens a file to write a trace to.
pub(super) fn create(path: &Path) -> Result<Box<dyn Write + Send>, String> {
    let file = File::create(path);
    let file = file.map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    Ok(Box::new(BufWriter::with_capacity(1 << 20, file)))
}

/// Writes a whole file.
pub(super) fn write(path: &Path, bytes: &(impl AsRef<[u8]> + ?Sized)) -> Result<(), String> {
    std::fs::write(path, bytes)
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// Asks whoever sits at the terminal for a line; none at the end of input.
pub(super) fn ask(prompt: &str) -> Option<String> {
    let mut out = io::stdout().lock();
    // Nobody can be told that standard output is closed.
    let _ = write!(out, "{prompt}").and_then(|()| out.flush());
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line),
    }
}

/// Runs a program to its end in a directory: what it printed, errors included, and its status.
pub(super) fn run_in(
    dir: &Path,
    program: &str,
    args: &[&str],
) -> Result<(String, Option<i32>), String> {
    let mut command = Command::new(program);
    command.current_dir(dir).args(args).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("{program} does not start: {error}"))?;
    let both = [output.stdout, output.stderr].concat();
    Ok((String::from_utf8_lossy(&both).into_owned(), output.status.code()))
}

/// Writes a file whole or not at all: a reader sees what was there or what is.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), String> {
    let wrong = |error| format!("{} cannot be written: {error}", path.display());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside).map_err(wrong)?;
    file.write_all(text.as_bytes()).map_err(wrong)?;
    file.sync_all().map_err(wrong)?;
    std::fs::rename(&beside, path).map_err(wrong)
}

/// Makes a directory, and those above it.
pub(super) fn make_directory(path: &Path) -> Result<(), String> {
    std::fs::create_dir_all(path)
        .map_err(|error| format!("{} cannot be made: {error}", path.display()))
}

/// Whether there is a file.
pub(super) fn exists(path: &Path) -> bool {
    path.exists()
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// The files of a directory whose names end in `.extension`, sorted.
pub(super) fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    let wrong = |error| format!("{} cannot be listed: {error}", dir.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|e| e == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Opens a file to read it line by line.
pub(super) fn lines(path: &Path) -> Result<BufReader<File>, String> {
    let file = File::open(path);
    file.map(BufReader::new).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// This program's own file.
pub(super) fn own_binary() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("this program cannot find itself: {error}"))
}

/// A path that means the same in every working directory.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The commit of the checkout one stands in, if it is one.
pub(super) fn commit() -> Option<String> {
    let git = Command::new("git").args(["describe", "--always", "--dirty"]).output().ok()?;
    let text = String::from_utf8(git.stdout).ok().filter(|_| git.status.success())?;
    Some(text.trim().to_owned())
}

/// A directory of this process, removed when dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Scratch, String> {
        let name = format!("orloj-sim-{}-{:x}", std::process::id(), RandomState::new().hash_one(0));
        let path = std::env::temp_dir().join(name);
        let made = std::fs::create_dir_all(&path);
        made.map_err(|error| format!("{} cannot be made: {error}", path.display()))?;
        Ok(Scratch(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a child process is given that must make no difference.
pub(super) enum Surroundings<'a> {
    /// This process's own.
    Own,
    /// Another working directory and other variables.
    Other(&'a Path),
}

/// Runs `binary` to its end and returns its standard output and exit status.
pub(super) fn child(
    binary: &Path,
    args: &[String],
    surroundings: &Surroundings<'_>,
) -> Result<(String, Option<i32>), String> {
    let mut command = Command::new(binary);
    command.args(args).stdin(Stdio::null()).stderr(Stdio::piped());
    if let Surroundings::Other(directory) = surroundings {
        command.current_dir(directory);
        command.env("HOME", directory).env("TZ", "Asia/Kathmandu").env("LC_ALL", "C");
        command.env("RUST_LOG", "trace").env("ORLOJ_UNRELATED", "x".repeat(4_099));
    }
    let output = command.output();
    let output = output.map_err(|e| format!("{} does not start: {e}", binary.display()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0 | 1) => {
            Ok((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code()))
        }
        _ => Err(format!("{} {}: {}", binary.display(), args.join(" "), errors.trim())),
    }
}

/// Writes one line to standard output. A reader that went away ends the program quietly.
pub(super) fn say(line: &str) {
    if let Err(error) = writeln!(io::stdout().lock(), "{line}")
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}

/// Says on standard error why nothing was run.
pub(super) fn complain(why: &str) {
    // Nobody can be told that standard error is closed.
    let _ = writeln!(io::stderr().lock(), "error: {why}");
}

/// Processor time used by this process and its finished children.
pub(super) fn processor_time() -> Option<Duration> {
    // Fields 14 to 17 of /proc/self/stat, counted behind the command's closing parenthesis, in
    // ticks of a hundredth of a second on every Linux we run on.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 10))
}
