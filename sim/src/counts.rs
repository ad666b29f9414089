//! What a world has done so far: what an operation costs is the difference between two moments.

use crate::{control::Control, disk::DiskOp, world::with};

/// Sums since a world began, over all of its hosts. Equal worlds have equal counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pieces of streams that left a host, and datagrams.
    pub messages: u64,
    /// Their bytes.
    pub message_bytes: u64,
    /// Reads asked of disks.
    pub reads: u64,
    /// Writes asked of disks.
    pub writes: u64,
    /// Their bytes.
    pub write_bytes: u64,
    /// Syncs asked of disks, of files and of directories.
    pub syncs: u64,
    /// Everything else asked of disks: opening, listing, renaming, lengths.
    pub names: u64,
    /// Times that a task was polled.
    pub polls: u64,
}

impl Counts {
    #[inline]
    pub(crate) fn sends(&mut self, bytes: usize) {
        self.messages += 1;
        self.message_bytes += bytes as u64;
    }

    pub(crate) fn asks_disk(&mut self, op: DiskOp, bytes: usize) {
        match op {
            DiskOp::Read => self.reads += 1,
            DiskOp::Write => {
                self.writes += 1;
                self.write_bytes += bytes as u64;
            }
            DiskOp::Sync => self.syncs += 1,
            DiskOp::Name => self.names += 1,
        }
    }
}

impl Control {
    /// What the world has done so far.
    pub fn counts(&self) -> Counts {
        with(|w| Counts { polls: w.polls, ..w.counts })
    }
}
