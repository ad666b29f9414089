//! An open file: an operation is one visit of a disk thread, unless all it does is to copy a little
//! into memory.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

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

pub(super) struct HostFile {
    /// Taken only at the drop. Each operation under way on a thread holds it as well.
    file: Option<Arc<File>>,
    writable: bool,
    threads: Arc<Threads>,
}

impl HostFile {
    pub(super) fn new(file: File, writable: bool, threads: Arc<Threads>) -> HostFile {
        HostFile { file: Some(Arc::new(file)), writable, threads }
    }

    fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&File) -> T + Send + 'static,
    ) -> Done<T> {
        let file = self.file.clone().expect("present until the drop");
        self.threads.run(move || work(&file))
    }

    /// The file, if no thread works on it.
    fn idle(&self) -> Option<&File> {
        let file = self.file.as_ref().expect("present until the drop");
        (Arc::strong_count(file) == 1).then_some(&**file)
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
        Box::pin(self.on_thread(move |file| {
            let read = read_full(file, offset, &mut buf).map_err(of_file);
            (buf, read)
        }))
    }

    fn write_at(&self, offset: u64, buf: Vec<u8>) -> Io<'_, (Vec<u8>, Result<(), DiskErrorKind>)> {
        if let Err(kind) = self.may_write() {
            return Box::pin(std::future::ready((buf, Err(kind))));
        }
        let len = buf.len();
        let write = move |file: &File| {
            let written = file.write_all_at(&buf, offset).map_err(of_file);
            (buf, written)
        };
        match self.idle().filter(|_| len <= COPIED) {
            Some(file) => Box::pin(std::future::ready(write(file))),
            None => Box::pin(self.on_thread(write)),
        }
    }

    fn sync(&self) -> Io<'_, Result<(), DiskErrorKind>> {
        Box::pin(self.on_thread(|file| file.sync_data().map_err(of_file)))
    }

    fn write_sync(
        &self,
        offset: u64,
        buf: Vec<u8>,
    ) -> Io<'_, (Vec<u8>, Result<(), WriteSyncError>)> {
        if let Err(kind) = self.may_write() {
            return Box::pin(std::future::ready((buf, Err(WriteSyncError::Write(kind)))));
        }
        Box::pin(self.on_thread(move |file| {
            let written =
                file.write_all_at(&buf, offset).map_err(|e| WriteSyncError::Write(of_file(e)));
            let synced = written
                .and_then(|()| file.sync_data().map_err(|e| WriteSyncError::Sync(of_file(e))));
            (buf, synced)
        }))
    }

    fn size(&self) -> Io<'_, Result<u64, DiskErrorKind>> {
        Box::pin(self.on_thread(|file| file.metadata().map(|m| m.len()).map_err(of_file)))
    }

    fn set_len(&self, len: u64) -> Io<'_, Result<(), DiskErrorKind>> {
        if let Err(kind) = self.may_write() {
            return Box::pin(std::future::ready(Err(kind)));
        }
        Box::pin(self.on_thread(move |file| file.set_len(len).map_err(of_file)))
    }
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
