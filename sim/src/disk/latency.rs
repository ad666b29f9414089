//! How long operations take.

use super::{Luck, SimDisk};
use crate::{choice::Stream, fault::FaultClass};

/// The kinds of operation that differ in how long they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Reading bytes.
    Read,
    /// Writing bytes to the cache.
    Write,
    /// Making bytes or names durable.
    Sync,
    /// Opening, creating, removing, renaming, listing, locking.
    Name,
}

/// How long operations take, in nanoseconds: least and most of each kind, evenly drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyProfile {
    /// Of [`DiskOp::Read`].
    pub read: (u64, u64),
    /// Of [`DiskOp::Write`].
    pub write: (u64, u64),
    /// Of [`DiskOp::Sync`].
    pub sync: (u64, u64),
    /// Of [`DiskOp::Name`].
    pub name: (u64, u64),
    /// What every KiB read or written adds.
    pub per_kib: u64,
}

impl LatencyProfile {
    /// A solid-state disk: reads of 10 to 100 us, cached writes of 2 to 10 us, syncs of 50 to 400 us.
    pub const SOLID_STATE: LatencyProfile = LatencyProfile {
        read: (10_000, 100_000),
        write: (2_000, 10_000),
        sync: (50_000, 400_000),
        name: (5_000, 50_000),
        per_kib: 500,
    };

    /// Everything happens at once.
    pub const INSTANT: LatencyProfile =
        LatencyProfile { read: (0, 0), write: (0, 0), sync: (0, 0), name: (0, 0), per_kib: 0 };
}

impl SimDisk {
    /// Sets how long operations take. At first they take as long as on a solid-state disk.
    pub fn set_latency(&mut self, profile: LatencyProfile) {
        self.latency = Some(Box::new(profile));
    }

    /// How long an operation over `bytes` bytes that is issued at `now` takes, in nanoseconds.
    pub fn latency(&mut self, op: DiskOp, bytes: usize, now: u64, luck: &mut Luck<'_>) -> u64 {
        let profile = self.latency.as_deref().unwrap_or(&LatencyProfile::SOLID_STATE);
        let (low, high) = match op {
            DiskOp::Read => profile.read,
            DiskOp::Write => profile.write,
            DiskOp::Sync => profile.sync,
            DiskOp::Name => profile.name,
        };
        let taken = luck.choices.between(Stream::Disk, "disk.latency", low, high.max(low))
            + profile.per_kib * (bytes as u64 / 1024);
        match self.hostile.is_some() {
            false => taken,
            true => self.delay(taken, now, luck),
        }
    }

    #[cold]
    fn delay(&mut self, taken: u64, now: u64, luck: &mut Luck<'_>) -> u64 {
        let Some(hostile) = &mut self.hostile else { return taken };
        let faults = &hostile.faults;
        let mut factor = u64::from(hostile.slow.max(1));
        if luck.chance("disk.slow", faults.slow) {
            let (least, most) = faults.slow_factor;
            factor *= luck.between("disk.slow.factor", least.into(), most.into()).max(1);
        }
        if factor > 1 {
            luck.faults.count(FaultClass::DiskSlow);
        }
        if luck.chance("disk.stall", faults.stall) {
            let (least, most) = faults.stall_ns;
            let end = now.saturating_add(luck.between("disk.stall.ns", least, most));
            hostile.stall_until = hostile.stall_until.max(end);
        }
        let stalled = hostile.stall_until.saturating_sub(now);
        if stalled > 0 {
            luck.faults.count(FaultClass::DiskStall);
        }
        stalled.saturating_add(taken.saturating_mul(factor))
    }

    /// Makes every operation from now on take `factor` times as long; 1 ends it.
    pub fn slow(&mut self, factor: u32) {
        self.hostile().slow = factor;
    }

    /// Lets no operation end before `until`, in nanoseconds of the time given to
    /// [`SimDisk::latency`].
    pub fn stall(&mut self, until: u64) {
        self.hostile().stall_until = until;
    }
}
