//! An open file: an operation is one visit of a disk thread, unless it takes no longer than that
//! visit.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use orloj_kernel::{DiskErrorKind, Io, RawFile, WriteSyncError};

use super::{
    errors::of_file,
    threads::{Done, Threads},
};

/// A write of at most so many bytes to a file on which nothing else is under way is made by whoever
/// asks for it. It ends in the system's memory, and copying it there costs less than waking a
/// thread and being woken by it. While a sync runs a write may have to wait for the device, so then
/// it goes to a thread.
const COPIED: usize = 256 << 10;
/// A write that is synced as well is made by whoever asks for it if the sync of the last one was
/// quicker than this: two visits to the scheduler cost as much, and a task that does nothing for so
/// long finds more to do afterwards in one go. A device that stalls is waited for once, and from
/// then on by a thread, until it is quick again.
const QUICK: Duration = Duration::from_micros(200);

pub(super) struct HostFile {
    /// Taken only at the drop. Each operation under way on a thread holds it as well.
    file: Option<Arc<Open>>,
    writable: bool,
    threads: Arc<Threads>,
}

/// Most bytes written at once.
const PIECE: usize = 16 << 10;

struct Open {
    file: File,
    /// What the last synced write took to sync, in nanoseconds.
    sync: AtomicU64,
}

impl Open {
    fn write_sync(&self, offset: u64, buf: &[u8]) -> Result<(), WriteSyncError> {
        let written = self.file.write_all_at(buf, offset);
        written.map_err(|e| WriteSyncError::Write(of_file(e)))?;
        let begun = Instant::now();
        let synced = self.file.sync_data();
        // Only who runs alone looks at it, so its order among other memory does not matter.
        self.sync.store(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        synced.map_err(|e| WriteSyncError::Sync(of_file(e)))
    }

    fn is_quick(&self) -> bool {
        self.sync.load(Ordering::Relaxed) < QUICK.as_nanos() as u64
    }
}

impl HostFile {
    pub(super) fn new(file: File, writable: bool, threads: Arc<Threads>) -> HostFile {
        let open = Open { file, sync: AtomicU64::new(u64::MAX) };
        HostFile { file: Some(Arc::new(open)), writable, threads }
    }

    fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Open) -> T + Send + 'static,
    ) -> Done<T> {
        let open = self.file.clone().expect("present until the drop");
        self.threads.run(move || work(&open))
    }

    /// The file, if no thread works on it.
    fn idle(&self) -> Option<&Open> {
        let open = self.file.as_ref().expect("present until the drop");
        (Arc::strong_count(open) == 1).then_some(&**open)
    }

    fn may_write(&self) -> Result<(), DiskErrorKind> {
        if self.writable { Ok(()) } else { Err(DiskErrorKind::ReadOnly) }
    }
}

impl Drop for HostFile {
    /// Closing a removed file frees its blocks, which can take long.
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.threads.submit(Box::new(move || drop(file)));
        }
    }
}

impl RawFile for HostFile {
    fn read_at(
        &self,
        offset: u64,
        mut buf: Vec<u8>,
    ) -> Io<'_, (Vec<u8>, Result<usize, DiskErrorKind>)> {
        Box::pin(self.on_thread(move |open| {
            let read = read_full(&open.file, offset, &mut buf).map_err(of_file);
            (buf, read)
        }))
    }

    fn write_at(&self, offset: u64, buf: Vec<u8>) -> Io<'_, (Vec<u8>, Result<(), DiskErrorKind>)> {
        if let Err(kind) = self.may_write() {
            return Box::pin(std::future::ready((buf, Err(kind))));
        }
        let len = buf.len();
        let write = move |open: &Open| {
            let written = write_pieces(&open.file, offset, &buf).map_err(of_file);
            (buf, written)
        };
        match self.idle().filter(|_| len <= COPIED) {
            Some(open) => Box::pin(std::future::ready(write(open))),
            None => Box::pin(self.on_thread(write)),
        }
    }

    fn sync(&self) -> Io<'_, Result<(), DiskErrorKind>> {
        Box::pin(self.on_thread(|open| open.file.sync_data().map_err(of_file)))
    }

    fn write_sync(
        &self,
        offset: u64,
        buf: Vec<u8>,
    ) -> Io<'_, (Vec<u8>, Result<(), WriteSyncError>)> {
        if let Err(kind) = self.may_write() {
            return Box::pin(std::future::ready((buf, Err(WriteSyncError::Write(kind)))));
        }
        let len = buf.len();
        let write = move |open: &Open| {
            let synced = open.write_sync(offset, &buf);
            (buf, synced)
        };
        match self.idle().filter(|open| len <= COPIED && open.is_quick()) {
            Some(open) => Box::pin(std::future::ready(write(open))),
            None => Box::pin(self.on_thread(write)),
        }
    }

    fn size(&self) -> Io<'_, Result<u64, DiskErrorKind>> {
        Box::pin(self.on_thread(|open| open.file.metadata().map(|m| m.len()).map_err(of_file)))
    }

    fn set_len(&self, len: u64) -> Io<'_, Result<(), DiskErrorKind>> {
        if let Err(kind) = self.may_write() {
            return Box::pin(std::future::ready(Err(kind)));
        }
        Box::pin(self.on_thread(move |open| open.file.set_len(len).map_err(of_file)))
    }
}

/// Writes all of `buf`. What is written at once the system keeps as one block of memory, if it
/// likes, and then each small write within it walks over all its pages.
fn write_pieces(file: &File, mut offset: u64, buf: &[u8]) -> io::Result<()> {
    for piece in buf.chunks(PIECE) {
        file.write_all_at(piece, offset)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

/// Reads until `buf` is full or the file ends.
fn read_full(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buf.len() {
        match file.read_at(&mut buf[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}
