//! The disk port: files with positioned reads and writes, names, and two kinds of sync.
//!
//! Completed does not mean durable. A write survives a power cut after [`File::sync`]; a creation,
//! rename or removal after [`Context::sync_dir`](crate::Context::sync_dir) of its directory.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{HostKey, Io};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; reading only.
    Read,
    /// It must exist; reading and writing.
    Write,
    /// Reading and writing; made empty if absent, kept if present.
    Create,
    /// Reading and writing; it must not exist.
    CreateNew,
}

/// What a disk operation can find wrong, by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskErrorKind {
    /// No such file or directory.
    #[error("not found")]
    NotFound,
    /// It exists already.
    #[error("already exists")]
    AlreadyExists,
    /// No room left; nothing of this write is promised to be there.
    #[error("no space left")]
    Full,
    /// The file system or the file may not be written.
    #[error("read-only")]
    ReadOnly,
    /// The process may not do this.
    #[error("permission denied")]
    Denied,
    /// Another process holds the lock.
    #[error("locked by another process")]
    Locked,
    /// The path is no file, or no directory, or not a path.
    #[error("not a usable path")]
    BadPath,
    /// An earlier sync of this file failed: what it holds is unknown, and it must not be used
    /// again.
    #[error("dead after a failed sync")]
    Dead,
    /// The device failed, with the error number of the operating system.
    #[error("i/o error {0}")]
    Io(i32),
}

/// A disk operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op} {path}: {kind}")]
pub struct DiskError {
    /// The operation: `open`, `read`, `write`, `sync`, ...
    pub op: &'static str,
    /// The path as the caller gave it.
    pub path: String,
    /// What went wrong.
    pub kind: DiskErrorKind,
}

impl DiskError {
    /// An error of `op` on `path`.
    pub fn new(op: &'static str, path: &str, kind: DiskErrorKind) -> DiskError {
        DiskError { op, path: path.to_owned(), kind }
    }
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The last component of the path.
    pub name: String,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// The disk of a host, as its runtime offers it.
pub trait Disk {
    /// See [`Context::open`](crate::Context::open).
    fn open(
        &self,
        host: HostKey,
        path: &str,
        mode: OpenMode,
    ) -> Io<'static, Result<Box<dyn RawFile>, DiskError>>;
    /// See [`Context::remove`](crate::Context::remove).
    fn remove(&self, host: HostKey, path: &str) -> Io<'static, Result<(), DiskError>>;
    /// See [`Context::rename`](crate::Context::rename).
    fn rename(&self, host: HostKey, from: &str, to: &str) -> Io<'static, Result<(), DiskError>>;
    /// See [`Context::list`](crate::Context::list).
    fn list(&self, host: HostKey, dir: &str) -> Io<'static, Result<Vec<Entry>, DiskError>>;
    /// See [`Context::create_dir`](crate::Context::create_dir).
    fn create_dir(&self, host: HostKey, dir: &str) -> Io<'static, Result<(), DiskError>>;
    /// See [`Context::sync_dir`](crate::Context::sync_dir).
    fn sync_dir(&self, host: HostKey, dir: &str) -> Io<'static, Result<(), DiskError>>;
    /// See [`Context::lock`](crate::Context::lock).
    fn lock(&self, host: HostKey, path: &str) -> Io<'static, Result<Box<dyn RawLock>, DiskError>>;
}

/// An open file, as its runtime offers it. Everything may be called concurrently.
///
/// A future that is dropped does not take its operation back: a write may still happen.
pub trait RawFile: Send + Sync {
    /// Fills `buf` from `offset` and returns it with the count read; short only at the file's end.
    fn read_at(&self, offset: u64, buf: Vec<u8>)
    -> Io<'_, (Vec<u8>, Result<usize, DiskErrorKind>)>;
    /// Writes all of `buf` at `offset`, growing the file with zeros if need be, and returns it.
    fn write_at(&self, offset: u64, buf: Vec<u8>) -> Io<'_, (Vec<u8>, Result<(), DiskErrorKind>)>;
    /// Makes every write completed before this call, and the file's length, survive a power cut.
    fn sync(&self) -> Io<'_, Result<(), DiskErrorKind>>;
    /// [`RawFile::write_at`], then [`RawFile::sync`]. A runtime for which each wait has a price may
    /// do both for one; what can be observed must stay the same.
    fn write_sync(
        &self,
        offset: u64,
        buf: Vec<u8>,
    ) -> Io<'_, (Vec<u8>, Result<(), WriteSyncError>)> {
        Box::pin(async move {
            let (buf, written) = self.write_at(offset, buf).await;
            if let Err(kind) = written {
                return (buf, Err(WriteSyncError::Write(kind)));
            }
            (buf, self.sync().await.map_err(WriteSyncError::Sync))
        })
    }
    /// Length in bytes.
    fn size(&self) -> Io<'_, Result<u64, DiskErrorKind>>;
    /// Cuts or grows (with zeros) the file. Durable after [`RawFile::sync`].
    fn set_len(&self, len: u64) -> Io<'_, Result<(), DiskErrorKind>>;
}

/// Which half of a [`RawFile::write_sync`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteSyncError {
    /// The write, and nothing was synced.
    Write(DiskErrorKind),
    /// The sync, after the write had succeeded.
    Sync(DiskErrorKind),
}

/// Holds a lock until dropped.
pub trait RawLock: Send + Sync {}

/// An open file.
///
/// After one failed [`File::sync`] every operation answers [`DiskErrorKind::Dead`]: the operating
/// system may have dropped the dirty pages and would report success the next time (Rebello et al.,
/// "Can Applications Recover from fsync Failures?", ATC 2020).
pub struct File {
    raw: Box<dyn RawFile>,
    path: Box<str>,
    dead: AtomicBool,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.path).finish()
    }
}

impl File {
    pub(crate) fn new(path: &str, raw: Box<dyn RawFile>) -> File {
        File { raw, path: path.into(), dead: AtomicBool::new(false) }
    }

    /// The path it was opened with.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Reads up to `len` bytes from `offset`; fewer only at the end of the file.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        self.alive("read")?;
        let (mut buf, read) = self.raw.read_at(offset, vec![0; len]).await;
        buf.truncate(read.map_err(|kind| self.error("read", kind))?);
        Ok(buf)
    }

    /// Writes all of `buf` at `offset` and hands the buffer back for reuse. Not durable yet.
    pub async fn write_at(&self, offset: u64, buf: Vec<u8>) -> Result<Vec<u8>, DiskError> {
        self.alive("write")?;
        let (buf, written) = self.raw.write_at(offset, buf).await;
        written.map_err(|kind| self.error("write", kind))?;
        Ok(buf)
    }

    /// Makes every write completed before this call survive a power cut.
    ///
    /// # Errors
    /// After any failure the file is dead for good.
    pub async fn sync(&self) -> Result<(), DiskError> {
        self.alive("sync")?;
        self.raw.sync().await.map_err(|kind| self.dies(kind))
    }

    /// [`File::write_at`], then [`File::sync`], for the price of one wait.
    ///
    /// # Errors
    /// As the two. A failed write leaves the file usable, a failed sync does not; the error's `op`
    /// is `write` or `sync`.
    pub async fn write_sync(&self, offset: u64, buf: Vec<u8>) -> Result<Vec<u8>, DiskError> {
        self.alive("write")?;
        match self.raw.write_sync(offset, buf).await {
            (buf, Ok(())) => Ok(buf),
            (_, Err(WriteSyncError::Write(kind))) => Err(self.error("write", kind)),
            (_, Err(WriteSyncError::Sync(kind))) => Err(self.dies(kind)),
        }
    }

    /// Length in bytes.
    pub async fn size(&self) -> Result<u64, DiskError> {
        self.alive("size")?;
        self.raw.size().await.map_err(|kind| self.error("size", kind))
    }

    /// Cuts the file, or grows it with zeros. Durable after [`File::sync`].
    pub async fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.alive("set_len")?;
        self.raw.set_len(len).await.map_err(|kind| self.error("set_len", kind))
    }

    fn alive(&self, op: &'static str) -> Result<(), DiskError> {
        match self.dead.load(Ordering::Acquire) {
            true => Err(self.error(op, DiskErrorKind::Dead)),
            false => Ok(()),
        }
    }

    fn dies(&self, kind: DiskErrorKind) -> DiskError {
        self.dead.store(true, Ordering::Release);
        self.error("sync", kind)
    }

    fn error(&self, op: &'static str, kind: DiskErrorKind) -> DiskError {
        DiskError::new(op, &self.path, kind)
    }
}
