//! One host's disk: files and names, the cache and the media, and all that can go wrong between
//! them.
//!
//! A [`SimDisk`] is plain and synchronous; it knows no time but what it is given. Completed does
//! not mean durable: processes see the cache, and [`SimDisk::power_cut`] decides what of it the
//! media got. Sectors of 512 bytes are the unit of atomicity. Every undetermined decision is a
//! choice of [`Stream::Disk`], with calm value 0: nothing is lost, nothing breaks.
//!
//! The hosts of a world reach theirs through the port, where operations take time.
//!
//! Paths are relative to the root of the disk, with or without a leading slash.

use orloj_kernel::{DiskErrorKind, Entry, OpenMode};

use crate::{
    choice::{Choices, Stream},
    fault::{FaultClass, Faults},
};

mod content;
mod control;
mod cut;
mod damage;
mod hostile;
mod latency;
mod obstacle;
mod ops;
mod port;
mod rift;
mod sync;
mod tree;

#[cfg(test)]
mod tests;

use content::Content;
use hostile::Hostile;
use rift::{PAGE, Spare};
use tree::{Body, NodeId, ROOT, Tree};

pub use damage::{Damage, Place, Struck};
pub use hostile::{Ambush, DiskFaults, OnSynced, SyncFailure};
pub use latency::{DiskOp, LatencyProfile};
pub(crate) use ops::Ops;
pub use sync::SyncToken;

/// The unit that reaches the media whole or torn, in bytes.
pub const SECTOR: u64 = rift::SECTOR as u64;
/// Files cannot grow beyond this, in bytes.
pub const FILE_MAX: u64 = 16 << 30;

/// The error number of a device that failed.
pub const EIO: i32 = 5;
/// The error number of a file that would be too large.
pub const EFBIG: i32 = 27;

/// Chance and its account, lent to one operation.
#[derive(Debug)]
pub struct Luck<'a> {
    /// Decides.
    pub choices: &'a mut Choices,
    /// Counts each fault that took effect.
    pub faults: &'a mut Faults,
}

impl Luck<'_> {
    fn chance(&mut self, site: &'static str, ppm: u32) -> bool {
        self.choices.chance(Stream::Disk, site, ppm)
    }

    fn draw(&mut self, site: &'static str, bound: u64) -> u64 {
        self.choices.draw(Stream::Disk, site, bound)
    }

    fn between(&mut self, site: &'static str, low: u64, high: u64) -> u64 {
        self.choices.between(Stream::Disk, site, low, high.max(low))
    }
}

/// All that a file holds.
fn bytes(content: &Content) -> Vec<u8> {
    let mut bytes = vec![0; content.len as usize];
    content.read(0, &mut bytes);
    bytes
}

/// An open file. It dies with the process, and with the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKey {
    node: NodeId,
    boot: u32,
    writable: bool,
}

/// A lock that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockKey {
    node: NodeId,
    boot: u32,
}

/// What the media of a disk held at some time.
#[derive(Clone, Debug)]
pub struct Image(Tree);

/// The disk of one host. An empty one allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    tree: Tree,
    /// Operations so far that changed anything, and syncs begun.
    seq: u64,
    /// Which life of the process this is; handles of another one are dead.
    boot: u32,
    spare: Spare,
    latency: Option<Box<LatencyProfile>>,
    hostile: Option<Box<Hostile>>,
    /// A copy that somebody has made of it.
    copy: Option<Box<Image>>,
    done: Done,
}

/// What a disk has done since the world began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Writes that were completed.
    pub writes: u64,
    /// Syncs of files that were completed.
    pub syncs: u64,
}

impl SimDisk {
    /// An empty disk, without faults but those of [`DiskFaults::HONEST`].
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    fn tick(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Opens a file. See [`OpenMode`].
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `BadPath`; `ReadOnly` for more than reading on a read-only
    /// disk; `Full` for a creation.
    pub fn open(
        &mut self,
        path: &str,
        mode: OpenMode,
        luck: &mut Luck<'_>,
    ) -> Result<FileKey, DiskErrorKind> {
        if mode == OpenMode::CreateNew && self.tree.exists(path) {
            return Err(DiskErrorKind::AlreadyExists);
        }
        let (spot, node) = self.tree.find_file(path)?;
        let writable = mode != OpenMode::Read;
        if writable {
            self.check_writable()?;
        }
        let node = match (node, mode) {
            (Some(node), _) => node,
            (None, OpenMode::Read | OpenMode::Write) => return Err(DiskErrorKind::NotFound),
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                self.check_room(path, luck)?;
                let seq = self.tick();
                self.tree.create(seq, spot, Body::File(Content::default()))?
            }
        };
        self.tree.nodes[node as usize].handles += 1;
        Ok(FileKey { node, boot: self.boot, writable })
    }

    /// Closes a file; one that has no name is gone with its last handle.
    pub fn close(&mut self, file: FileKey) {
        if file.boot == self.boot {
            self.let_go(file.node);
        }
    }

    fn let_go(&mut self, node: NodeId) {
        if node != ROOT {
            self.tree.nodes[node as usize].handles -= 1;
            self.tree.release(node);
        }
    }

    /// Whether a handle is of this life of the process.
    pub fn alive(&self, file: FileKey) -> bool {
        file.boot == self.boot
    }

    /// Keeps a file open once more.
    fn share(&mut self, file: FileKey) {
        if file.boot == self.boot {
            self.tree.nodes[file.node as usize].handles += 1;
        }
    }

    /// The present path of an open file, unless it was removed.
    fn path(&self, file: FileKey) -> Option<String> {
        (file.boot == self.boot).then(|| self.tree.path(file.node))?
    }

    fn content(&self, file: FileKey) -> Result<&Content, DiskErrorKind> {
        if file.boot != self.boot {
            return Err(DiskErrorKind::Io(EIO));
        }
        Ok(self.tree.file(file.node).expect("an open file is kept"))
    }

    /// Length of the file in bytes.
    ///
    /// # Errors
    /// `Io` for a dead handle.
    pub fn size(&self, file: FileKey) -> Result<u64, DiskErrorKind> {
        Ok(self.content(file)?.len)
    }

    /// Fills `buf` from `offset`; the count is short only at the file's end.
    ///
    /// # Errors
    /// `Io` for a dead handle, a passing error, a sector that cannot be read.
    pub fn read_at(
        &mut self,
        file: FileKey,
        offset: u64,
        buf: &mut [u8],
        luck: &mut Luck<'_>,
    ) -> Result<usize, DiskErrorKind> {
        let n = self.content(file)?.read(offset, buf);
        match self.hostile.is_some() {
            false => Ok(n),
            true => self.disturb_read(file, offset, &mut buf[..n], luck),
        }
    }

    /// Writes all of `bytes` at `offset`, growing the file with zeros if need be.
    ///
    /// # Errors
    /// `Io` for a dead handle, a device error, or a file beyond [`FILE_MAX`]; `ReadOnly`; `Full`.
    /// Part of the write may have happened.
    pub fn write_at(
        &mut self,
        file: FileKey,
        offset: u64,
        bytes: &[u8],
        luck: &mut Luck<'_>,
    ) -> Result<(), DiskErrorKind> {
        self.may_write(file, offset.saturating_add(bytes.len() as u64))?;
        let (written, result) = match self.hostile.is_some() {
            false => (bytes, Ok(())),
            true => self.obstruct_write(file, offset, bytes, luck),
        };
        if !written.is_empty() {
            let seq = self.tick();
            let content = self.tree.file_mut(file.node).expect("an open file is kept");
            content.write(seq, offset, written, &mut self.spare);
        }
        result
    }

    /// Cuts the file, or grows it with zeros that take no room.
    ///
    /// # Errors
    /// `Io` for a dead handle or a length beyond [`FILE_MAX`]; `ReadOnly`.
    pub fn set_len(&mut self, file: FileKey, len: u64) -> Result<(), DiskErrorKind> {
        self.may_write(file, len)?;
        let seq = self.tick();
        let content = self.tree.file_mut(file.node).expect("an open file is kept");
        content.set_len(seq, len, &mut self.spare);
        Ok(())
    }

    fn may_write(&self, file: FileKey, end: u64) -> Result<(), DiskErrorKind> {
        self.content(file)?;
        if !file.writable {
            return Err(DiskErrorKind::ReadOnly);
        }
        self.check_writable()?;
        if end > FILE_MAX {
            return Err(DiskErrorKind::Io(EFBIG));
        }
        Ok(())
    }

    /// Removes a file. Its open handles go on working.
    ///
    /// # Errors
    /// `NotFound`, `BadPath`, `ReadOnly`.
    pub fn remove(&mut self, path: &str) -> Result<(), DiskErrorKind> {
        self.check_writable()?;
        let seq = self.tick();
        self.tree.remove(seq, path)
    }

    /// Renames a file or a directory, replacing a file, or an empty directory, of that name.
    ///
    /// # Errors
    /// `NotFound`, `BadPath`, `ReadOnly`; `Io` for the root.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskErrorKind> {
        self.check_writable()?;
        let seq = self.tick();
        self.tree.rename(seq, from, to)
    }

    /// What a directory holds, sorted by name.
    ///
    /// # Errors
    /// `NotFound`, `BadPath`.
    pub fn list(&self, dir: &str) -> Result<Vec<Entry>, DiskErrorKind> {
        self.tree.list(dir)
    }

    /// Makes a directory and its parents; succeeds when it exists.
    ///
    /// # Errors
    /// `BadPath` if there is a file in the way, `ReadOnly`, `Full`.
    pub fn create_dir(&mut self, dir: &str, luck: &mut Luck<'_>) -> Result<(), DiskErrorKind> {
        if self.tree.find_dir(dir).is_ok() {
            return Ok(());
        }
        self.check_writable()?;
        self.check_room(dir, luck)?;
        let seq = self.tick();
        self.tree.create_dir(seq, dir)
    }

    /// Takes the exclusive lock on the file at `path`, creating it.
    ///
    /// # Errors
    /// `Locked` if it is held, and as [`SimDisk::open`].
    pub fn lock(&mut self, path: &str, luck: &mut Luck<'_>) -> Result<LockKey, DiskErrorKind> {
        let file = self.open(path, OpenMode::Create, luck)?;
        let node = &mut self.tree.nodes[file.node as usize];
        if std::mem::replace(&mut node.locked, true) {
            self.close(file);
            return Err(DiskErrorKind::Locked);
        }
        Ok(LockKey { node: file.node, boot: file.boot })
    }

    /// Releases a lock.
    pub fn unlock(&mut self, lock: LockKey) {
        if lock.boot == self.boot {
            self.tree.nodes[lock.node as usize].locked = false;
            self.let_go(lock.node);
        }
    }

    /// The process dies and the machine lives: handles, locks and syncs in flight end, and the
    /// cache stays.
    pub fn process_crash(&mut self) {
        self.boot += 1;
        for id in 0..self.tree.nodes.len() {
            let node = &mut self.tree.nodes[id];
            node.locked = false;
            node.handles = 0;
            if let Body::File(content) = &mut node.body {
                content.syncs.clear();
            }
            self.tree.release(id as NodeId);
        }
    }

    /// A new, empty disk takes the place of this one. Its trouble is that of the old one.
    pub fn replace(&mut self) {
        self.restore(&Image(Tree::default()));
    }

    /// What the media holds now.
    pub fn snapshot(&self) -> Image {
        let mut copy = SimDisk { copy: None, ..self.clone() };
        copy.lose_everything();
        Image(copy.tree)
    }

    /// The media holds what `image` says, and the machine starts from it: an older copy of this
    /// disk, or the disk of another host.
    pub fn restore(&mut self, image: &Image) {
        self.boot += 1;
        self.tree = image.0.clone();
        self.remount();
    }

    /// Makes a copy of what the media holds, in the place of an earlier one.
    pub fn keep_copy(&mut self) {
        self.copy = Some(Box::new(self.snapshot()));
    }

    /// The copy that was made last.
    pub fn copy(&self) -> Option<Image> {
        self.copy.as_deref().cloned()
    }

    /// One file of `image`, drawn, comes back as it was there: its length and its bytes; `None` if
    /// no file that both know differs. The machine starts anew, as in [`SimDisk::restore`].
    pub fn restore_file(&mut self, image: &Image, luck: &mut Luck<'_>) -> Option<String> {
        self.restore(&self.snapshot());
        let mut files = Vec::new();
        for (path, node) in self.tree.files() {
            let Ok((_, Some(old))) = image.0.find_file(&path) else { continue };
            let (Some(now), Some(then)) = (self.tree.file(node), image.0.file(old)) else {
                continue;
            };
            if bytes(now) != bytes(then) {
                files.push((path, node, old));
            }
        }
        if files.is_empty() {
            return None;
        }
        let drawn = luck.draw("disk.old-copy", files.len() as u64) as usize;
        let (path, node, old) = files.swap_remove(drawn);
        self.tree.nodes[node as usize].body = image.0.nodes[old as usize].body.clone();
        luck.faults.count(FaultClass::DiskOldCopy);
        Some(path)
    }

    fn remount(&mut self) {
        if let Some(hostile) = &mut self.hostile {
            hostile.read_only = false;
        }
    }

    /// Bytes that the files take, in whole pages.
    pub fn used(&self) -> u64 {
        let held = self.tree.nodes.iter().filter(|node| node.names + node.handles > 0);
        let pages = held.map(|node| match &node.body {
            Body::File(content) => content.pages,
            _ => 0,
        });
        pages.sum::<u64>() * PAGE as u64
    }
}
