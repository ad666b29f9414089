//! The disk of the machine: names below a root, and files worked on by threads of their own.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use orloj_kernel::{
    Disk, DiskError, DiskErrorKind, Entry, HostKey, Io, OpenMode, RawFile, RawLock,
};

use crate::machine::Machine;

mod errors;
mod file;
mod threads;

use errors::of_path;
use file::HostFile;
pub(crate) use threads::Threads;

impl Machine {
    /// Runs one operation on the place that `path` names, on a disk thread.
    fn at<T: Send + 'static>(
        &self,
        host: HostKey,
        op: &'static str,
        path: &str,
        work: impl FnOnce(&Path) -> Result<T, DiskErrorKind> + Send + 'static,
    ) -> Io<'static, Result<T, DiskError>> {
        let root = self.root(host);
        let path = path.to_owned();
        let threads = self.threads.clone();
        Box::pin(async move {
            let place = resolve(&root, &path);
            let done = threads.run(move || work(&place)).await;
            done.map_err(|kind| DiskError { op, path, kind })
        })
    }
}

/// Where `path` is. The empty path is the root itself.
fn resolve(root: &Path, path: &str) -> PathBuf {
    match path {
        "" => root.to_owned(),
        path => root.join(path),
    }
}

impl Disk for Machine {
    fn open(
        &self,
        host: HostKey,
        path: &str,
        mode: OpenMode,
    ) -> Io<'static, Result<Box<dyn RawFile>, DiskError>> {
        let threads = self.threads.clone();
        self.at(host, "open", path, move |place| {
            let file = open(place, mode).map_err(of_path)?;
            let file: Box<dyn RawFile> =
                Box::new(HostFile::new(file, mode != OpenMode::Read, threads));
            Ok(file)
        })
    }

    fn remove(&self, host: HostKey, path: &str) -> Io<'static, Result<(), DiskError>> {
        self.at(host, "remove", path, |place| fs::remove_file(place).map_err(of_path))
    }

    fn rename(&self, host: HostKey, from: &str, to: &str) -> Io<'static, Result<(), DiskError>> {
        let to = resolve(&self.root(host), to);
        self.at(host, "rename", from, move |from| fs::rename(from, to).map_err(of_path))
    }

    fn list(&self, host: HostKey, dir: &str) -> Io<'static, Result<Vec<Entry>, DiskError>> {
        self.at(host, "list", dir, |dir| list(dir).map_err(of_path))
    }

    fn create_dir(&self, host: HostKey, dir: &str) -> Io<'static, Result<(), DiskError>> {
        let root = self.root(host);
        self.at(host, "create_dir", dir, move |dir| create_dir(&root, dir).map_err(of_path))
    }

    fn sync_dir(&self, host: HostKey, dir: &str) -> Io<'static, Result<(), DiskError>> {
        self.at(host, "sync_dir", dir, |dir| sync_dir(dir).map_err(of_path))
    }

    fn lock(&self, host: HostKey, path: &str) -> Io<'static, Result<Box<dyn RawLock>, DiskError>> {
        self.at(host, "lock", path, |place| {
            let file = open(place, OpenMode::Create).map_err(of_path)?;
            match file.try_lock() {
                Ok(()) => Ok(Box::new(Held(file)) as Box<dyn RawLock>),
                Err(fs::TryLockError::WouldBlock) => Err(DiskErrorKind::Locked),
                Err(fs::TryLockError::Error(e)) => Err(of_path(e)),
            }
        })
    }
}

/// A locked file. The end of the process releases the lock as well.
struct Held(fs::File);

impl RawLock for Held {}

impl Drop for Held {
    /// Closing alone would not release it while a child process is being started and shares the
    /// file.
    fn drop(&mut self) {
        if let Err(cause) = self.0.unlock() {
            tracing::warn!(%cause, "a lock is released only by the end of the process");
        }
    }
}

fn open(path: &Path, mode: OpenMode) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(mode != OpenMode::Read);
    match mode {
        OpenMode::Read | OpenMode::Write => &mut options,
        OpenMode::Create => options.create(true).truncate(false),
        OpenMode::CreateNew => options.create_new(true),
    };
    let file = options.open(path)?;
    // Linux opens a directory for reading, and fails only at the first read.
    if mode == OpenMode::Read && file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

fn list(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = match fs::metadata(entry.path()) {
            Ok(metadata) => metadata,
            // Removed meanwhile, or a link to nowhere.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        let is_dir = metadata.is_dir();
        entries.push(Entry {
            name: entry.file_name().to_string_lossy().into_owned(),
            len: if is_dir { 0 } else { metadata.len() },
            is_dir,
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Makes `dir` and its parents. Those that no path of this host can name, the root's parents, are
/// made durable here, because nobody else could.
fn create_dir(root: &Path, dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    for dir in missing.into_iter().rev() {
        match fs::create_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        if let Some(parent) = dir.parent().filter(|_| root.starts_with(dir)) {
            sync_dir(parent)?;
        }
    }
    if dir.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = fs::File::open(dir)?;
    if !dir.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    dir.sync_all()
}
