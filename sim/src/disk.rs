//! The disk of a simulated host.
use orloj_kernel::{
    Disk, DiskError, DiskErrorKind, Entry, HostKey, Io, OpenMode, RawFile, RawLock,
};

use crate::{choice::Choices, fault::Faults, runtime::Sim};

pub(crate) struct SimDisk;

impl SimDisk {
    pub(crate) fn new() -> SimDisk {
        SimDisk
    }
    pub(crate) fn process_crash(&mut self) {}
    pub(crate) fn power_cut(&mut self, _: &mut Choices, _: &mut Faults) {}
    pub(crate) fn replace(&mut self) {}
}

fn no<T: Send + 'static>(op: &'static str, path: &str) -> Io<'static, Result<T, DiskError>> {
    Box::pin(std::future::ready(Err(DiskError::new(op, path, DiskErrorKind::ReadOnly))))
}

impl Disk for Sim {
    fn open(
        &self,
        _: HostKey,
        p: &str,
        _: OpenMode,
    ) -> Io<'static, Result<Box<dyn RawFile>, DiskError>> {
        no("open", p)
    }
    fn remove(&self, _: HostKey, p: &str) -> Io<'static, Result<(), DiskError>> {
        no("remove", p)
    }
    fn rename(&self, _: HostKey, p: &str, _: &str) -> Io<'static, Result<(), DiskError>> {
        no("rename", p)
    }
    fn list(&self, _: HostKey, p: &str) -> Io<'static, Result<Vec<Entry>, DiskError>> {
        no("list", p)
    }
    fn create_dir(&self, _: HostKey, p: &str) -> Io<'static, Result<(), DiskError>> {
        no("create_dir", p)
    }
    fn sync_dir(&self, _: HostKey, p: &str) -> Io<'static, Result<(), DiskError>> {
        no("sync_dir", p)
    }
    fn lock(&self, _: HostKey, p: &str) -> Io<'static, Result<Box<dyn RawLock>, DiskError>> {
        no("lock", p)
    }
}
