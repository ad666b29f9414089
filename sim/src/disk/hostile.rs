//! What goes wrong with a disk, and how often.

use crate::fault::{FaultClass, Faults};

/// How a file system behaves when writing back dirty pages fails (Rebello et al., "Can Applications
/// Recover from fsync Failures?", ATC 2020). In each case some of the pages may have arrived, and the
/// rest are marked clean: a later sync succeeds and writes none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncFailure {
    /// ext4 in ordered mode, XFS: the cache goes on showing the new content until it is evicted or
    /// the machine restarts.
    KeepsNew,
    /// Btrfs: the cache goes back to what the media holds.
    Reverts,
    /// A journal that cannot be written: as [`SyncFailure::KeepsNew`], and the file system is
    /// read-only until the machine restarts.
    ReadOnly,
    /// ext4 with journaled data: this sync answers success, and the next one of the file fails, after
    /// which the media holds what it held before this one. Takes back what was acknowledged.
    Late,
}

/// Which classes may touch what a successful sync has covered. Of a class that may not, only the
/// bytes that were never synced are touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnSynced {
    /// Noise where a sector with synced content was being rewritten as the power was cut.
    pub garbage: bool,
    /// Flipped bits.
    pub bit_rot: bool,
    /// Misdirected writes and reads.
    pub misdirected: bool,
    /// Sectors whose sync silently did nothing.
    pub stale: bool,
    /// Sectors of zeros.
    pub zeroed: bool,
    /// Sectors that can no longer be read.
    pub unreadable: bool,
}

impl OnSynced {
    /// Every class may.
    pub const ALL: OnSynced = OnSynced {
        garbage: true,
        bit_rot: true,
        misdirected: true,
        stale: true,
        zeroed: true,
        unreadable: true,
    };
}

/// How often a disk goes wrong, by class. Rates are in parts per million; 0 is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFaults {
    /// At a power cut, for each unsynced sector (or, in an ordered cut, for the cut): it goes back to
    /// an older content.
    pub lost_write: u32,
    /// At a power cut, for each sector in flight: part of it is older than the rest.
    pub torn: u32,
    /// At a power cut, for the cut: what is lost is drawn one by one, in no order. Otherwise nothing is
    /// lost unless everything after it is.
    pub reorder: u32,
    /// At a power cut, for each sector in flight: it holds noise.
    pub garbage: u32,
    /// At a power cut, for each unsynced creation or removal.
    pub lost_name: u32,
    /// At a power cut, for each unsynced rename.
    pub lost_rename: u32,
    /// For each sync.
    pub sync_failed: u32,
    /// The ways in which a sync may fail, evenly drawn; must not be empty.
    pub sync_failures: &'static [SyncFailure],
    /// For each read: it fails, and the next one may not.
    pub read_error: u32,
    /// For each read: one of its sectors is unreadable until it is written again.
    pub unreadable: u32,
    /// For each write: it fails, perhaps in the middle.
    pub write_error: u32,
    /// For each read: a bit flips in one of its sectors, for good.
    pub bit_rot: u32,
    /// For each read: a bit flips on the way, once.
    pub read_flip: u32,
    /// For each sync, and for each unsynced sector a power cut leaves: a sector lands elsewhere.
    pub misdirected_write: u32,
    /// For each read: one of its sectors comes from elsewhere.
    pub misdirected_read: u32,
    /// For each sync: one of its sectors stays as it was.
    pub stale: u32,
    /// For each sync, and for each unsynced sector a power cut leaves: it holds zeros.
    pub zeroed: u32,
    /// For each write and creation: there is no room, though there was and will be.
    pub full: u32,
    /// For each operation: it takes longer.
    pub slow: u32,
    /// How many times as long: least and most.
    pub slow_factor: (u32, u32),
    /// For each operation: the disk answers nothing for a while.
    pub stall: u32,
    /// How long, in nanoseconds: least and most.
    pub stall_ns: (u64, u64),
    /// Which classes may touch what was synced.
    pub on_synced: OnSynced,
}

impl DiskFaults {
    /// A disk that does what it says, even when its power is cut.
    pub const NONE: DiskFaults = DiskFaults {
        lost_write: 0,
        torn: 0,
        reorder: 0,
        garbage: 0,
        lost_name: 0,
        lost_rename: 0,
        sync_failed: 0,
        sync_failures: &[SyncFailure::KeepsNew, SyncFailure::Reverts, SyncFailure::ReadOnly],
        read_error: 0,
        unreadable: 0,
        write_error: 0,
        bit_rot: 0,
        read_flip: 0,
        misdirected_write: 0,
        misdirected_read: 0,
        stale: 0,
        zeroed: 0,
        full: 0,
        slow: 0,
        slow_factor: (2, 100),
        stall: 0,
        stall_ns: (1_000_000, 5_000_000_000),
        on_synced: OnSynced {
            garbage: false,
            bit_rot: false,
            misdirected: false,
            stale: false,
            zeroed: false,
            unreadable: false,
        },
    };

    /// What an honest disk may do to unsynced data when its power is cut, and no more.
    pub const HONEST: DiskFaults = DiskFaults {
        lost_write: 500_000,
        torn: 100_000,
        reorder: 500_000,
        garbage: 20_000,
        lost_name: 500_000,
        lost_rename: 500_000,
        ..DiskFaults::NONE
    };

    /// Each class with its rate; a class with two rates comes twice.
    pub fn rates(&self) -> [(FaultClass, u32); 19] {
        use FaultClass as C;
        [
            (C::DiskLostWrite, self.lost_write),
            (C::DiskTorn, self.torn),
            (C::DiskReorder, self.reorder),
            (C::DiskGarbage, self.garbage),
            (C::DiskLostName, self.lost_name),
            (C::DiskLostRename, self.lost_rename),
            (C::DiskSyncFailed, self.sync_failed),
            (C::DiskReadError, self.read_error),
            (C::DiskReadError, self.unreadable),
            (C::DiskWriteError, self.write_error),
            (C::DiskBitRot, self.bit_rot),
            (C::DiskBitRot, self.read_flip),
            (C::DiskMisdirectedWrite, self.misdirected_write),
            (C::DiskMisdirectedRead, self.misdirected_read),
            (C::DiskStale, self.stale),
            (C::DiskZeroed, self.zeroed),
            (C::DiskFull, self.full),
            (C::DiskSlow, self.slow),
            (C::DiskStall, self.stall),
        ]
    }

    /// Says in `faults` which classes are meant to be injected.
    pub fn enable(&self, faults: &mut Faults) {
        for (class, _) in self.rates().into_iter().filter(|(_, rate)| *rate > 0) {
            faults.enable(class);
        }
    }
}

impl Default for DiskFaults {
    fn default() -> DiskFaults {
        DiskFaults::NONE
    }
}

/// A fault that waits for the next operation of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambush {
    /// The sync fails in this way.
    Sync(SyncFailure),
    /// The read fails.
    Read,
    /// The write fails.
    Write,
    /// The write finds no room.
    Full,
    /// A bit of what is read flips on the way.
    Flip,
    /// A sector of what is read comes from elsewhere.
    MisdirectedRead,
    /// A sector of what is synced lands elsewhere.
    MisdirectedWrite,
    /// A sector of what is synced stays as it was.
    Stale,
    /// A sector of what is synced becomes zeros.
    Zeroed,
}

/// The trouble one disk is in. A disk without any has none of this.
#[derive(Clone, Debug, Default)]
pub(super) struct Hostile {
    pub(super) faults: DiskFaults,
    pub(super) ambushes: Vec<(Ambush, String)>,
    /// Room in pages.
    pub(super) capacity: Option<u64>,
    pub(super) read_only: bool,
    /// Operations take this many times as long; 0 is as 1.
    pub(super) slow: u32,
    /// Nothing is answered before this time.
    pub(super) stall_until: u64,
}

/// Whether `path` is what `pattern` says; `*` stands for anything, also for nothing and for slashes.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(path) = path.strip_prefix(head) else { return false };
    let ends = (0..=path.len()).filter(|i| path.is_char_boundary(*i));
    ends.into_iter().any(|i| matches(rest, &path[i..]))
}
