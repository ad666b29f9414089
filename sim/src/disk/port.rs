//! The disk port of a simulated host.

use orloj_kernel::{
    Disk, DiskError, DiskErrorKind, Entry, HostKey, Io, OpenMode, RawFile, RawLock,
};

use super::{
    FileKey, LockKey,
    ops::{Answer, Pending, Work, issue},
};
use crate::{
    runtime::{Sim, here},
    world::{World, try_with, with},
};

/// Begins `work` on `host`; `take` receives its answer, and where it came from.
fn at<T>(
    host: HostKey,
    op: &'static str,
    path: &str,
    work: impl FnOnce(&mut World, u32) -> Work,
    take: impl FnOnce(Answer, Origin) -> T + Send + 'static,
) -> Io<'static, Result<T, DiskError>> {
    let path = path.to_owned();
    let (pending, origin) = with(|w| {
        let host = here(w, host);
        let work = work(w, host);
        (issue(w, host, work), Origin { world: w.id, host })
    });
    Box::pin(async move {
        match pending.await.answer {
            Ok(answer) => Ok(take(answer, origin)),
            Err(kind) => Err(DiskError { op, path, kind }),
        }
    })
}

/// The host of a handle, and its world.
#[derive(Clone, Copy, Debug)]
struct Origin {
    world: u32,
    host: u32,
}

impl Origin {
    fn begin(self, work: impl FnOnce(&mut World) -> Work) -> Pending {
        with(|w| {
            assert!(self.world == w.id, "a file was used outside of its own world");
            let work = work(w);
            issue(w, self.host, work)
        })
    }
}

impl Disk for Sim {
    fn open(
        &self,
        host: HostKey,
        path: &str,
        mode: OpenMode,
    ) -> Io<'static, Result<Box<dyn RawFile>, DiskError>> {
        at(
            host,
            "open",
            path,
            |_, _| Work::Open(path.to_owned(), mode),
            |answer, origin| match answer {
                Answer::File(key) => Box::new(SimFile { origin, key }) as Box<dyn RawFile>,
                other => unreachable!("open brought {other:?}"),
            },
        )
    }

    fn remove(&self, host: HostKey, path: &str) -> Io<'static, Result<(), DiskError>> {
        at(host, "remove", path, |_, _| Work::Remove(path.to_owned()), |_, _| ())
    }

    fn rename(&self, host: HostKey, from: &str, to: &str) -> Io<'static, Result<(), DiskError>> {
        let work = |_: &mut World, _| Work::Rename(from.to_owned(), to.to_owned());
        at(host, "rename", from, work, |_, _| ())
    }

    fn list(&self, host: HostKey, dir: &str) -> Io<'static, Result<Vec<Entry>, DiskError>> {
        at(
            host,
            "list",
            dir,
            |_, _| Work::List(dir.to_owned()),
            |answer, _| match answer {
                Answer::Entries(entries) => entries,
                other => unreachable!("list brought {other:?}"),
            },
        )
    }

    fn create_dir(&self, host: HostKey, dir: &str) -> Io<'static, Result<(), DiskError>> {
        at(host, "create_dir", dir, |_, _| Work::CreateDir(dir.to_owned()), |_, _| ())
    }

    fn sync_dir(&self, host: HostKey, dir: &str) -> Io<'static, Result<(), DiskError>> {
        let work = |w: &mut World, host: u32| {
            Work::SyncDir(w.hosts[host as usize].disk.begin_sync_dir(dir))
        };
        at(host, "sync_dir", dir, work, |_, _| ())
    }

    fn lock(&self, host: HostKey, path: &str) -> Io<'static, Result<Box<dyn RawLock>, DiskError>> {
        at(
            host,
            "lock",
            path,
            |_, _| Work::Lock(path.to_owned()),
            |answer, origin| match answer {
                Answer::Lock(key) => Box::new(SimLock { origin, key }) as Box<dyn RawLock>,
                other => unreachable!("lock brought {other:?}"),
            },
        )
    }
}

/// An open file. It answers `Io` for ever once its process or its machine has died.
#[derive(Debug)]
struct SimFile {
    origin: Origin,
    key: FileKey,
}

impl SimFile {
    fn done(&self, work: Work) -> Io<'_, Result<(), DiskErrorKind>> {
        let pending = self.origin.begin(|_| work);
        Box::pin(async move { pending.await.answer.map(|_| ()) })
    }
}

impl RawFile for SimFile {
    fn read_at(
        &self,
        offset: u64,
        buf: Vec<u8>,
    ) -> Io<'_, (Vec<u8>, Result<usize, DiskErrorKind>)> {
        let pending = self.origin.begin(|_| Work::Read(self.key, offset, buf));
        Box::pin(async move {
            let outcome = pending.await;
            (outcome.buf, outcome.answer.map(|answer| answer.number() as usize))
        })
    }

    fn write_at(&self, offset: u64, buf: Vec<u8>) -> Io<'_, (Vec<u8>, Result<(), DiskErrorKind>)> {
        let pending = self.origin.begin(|_| Work::Write(self.key, offset, buf));
        Box::pin(async move {
            let outcome = pending.await;
            (outcome.buf, outcome.answer.map(|_| ()))
        })
    }

    fn sync(&self) -> Io<'_, Result<(), DiskErrorKind>> {
        let host = self.origin.host as usize;
        let work = |w: &mut World| Work::Sync(w.hosts[host].disk.begin_sync(self.key));
        let pending = self.origin.begin(work);
        Box::pin(async move { pending.await.answer.map(|_| ()) })
    }

    fn size(&self) -> Io<'_, Result<u64, DiskErrorKind>> {
        let pending = self.origin.begin(|_| Work::Size(self.key));
        Box::pin(async move { pending.await.answer.map(Answer::number) })
    }

    fn set_len(&self, len: u64) -> Io<'_, Result<(), DiskErrorKind>> {
        self.done(Work::SetLen(self.key, len))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let Origin { world, host } = self.origin;
        try_with(world, |w| w.hosts[host as usize].disk.close(self.key));
    }
}

/// A lock that is held.
#[derive(Debug)]
struct SimLock {
    origin: Origin,
    key: LockKey,
}

impl RawLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let Origin { world, host } = self.origin;
        try_with(world, |w| w.hosts[host as usize].disk.unlock(self.key));
    }
}
