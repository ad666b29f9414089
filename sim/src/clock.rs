//! One host's idea of time, and the timers that wait for it.

use crate::task::Wake;

/// A monotonic clock that may run fast or slow, and a wall clock that may be wrong and may jump.
#[derive(Clone, Debug)]
pub(crate) struct HostClock {
    /// The pair at which `drift_ppb` was last set: world time, and this host's monotonic time.
    base: (u64, u64),
    /// Nanoseconds gained in a second of world time.
    drift_ppb: i64,
    /// Microseconds by which the wall clock is ahead of the truth.
    wall_offset_us: i64,
}

/// 2026-01-01 00:00:00 UTC in microseconds: when every simulation begins.
const EPOCH_US: u64 = 1_767_225_600_000_000;
const GIGA: i128 = 1_000_000_000;

impl HostClock {
    pub(crate) fn new() -> HostClock {
        HostClock { base: (0, 0), drift_ppb: 0, wall_offset_us: 0 }
    }

    /// Monotonic nanoseconds of the host at world time `world`.
    #[inline]
    pub(crate) fn now(&self, world: u64) -> u64 {
        let passed = world - self.base.0;
        if self.drift_ppb == 0 {
            return self.base.1 + passed;
        }
        self.base.1 + (i128::from(passed) * (GIGA + i128::from(self.drift_ppb)) / GIGA) as u64
    }

    /// The world time at which the host's clock will show `deadline`, if it goes on as it does now.
    #[inline]
    pub(crate) fn world_at(&self, deadline: u64) -> u64 {
        let ahead = deadline.saturating_sub(self.base.1);
        if self.drift_ppb == 0 {
            return self.base.0.saturating_add(ahead);
        }
        let rate = GIGA + i128::from(self.drift_ppb);
        let world = (i128::from(ahead) * GIGA + rate - 1) / rate;
        self.base.0.saturating_add(u64::try_from(world).unwrap_or(u64::MAX))
    }

    /// Microseconds since 1970 by the host's wall clock.
    pub(crate) fn wall(&self, world: u64) -> u64 {
        (EPOCH_US + self.now(world) / 1_000).saturating_add_signed(self.wall_offset_us)
    }

    pub(crate) fn set_drift(&mut self, world: u64, ppb: i64) {
        assert!(ppb > -900_000_000, "a clock that stands or runs backwards is not monotonic");
        self.base = (world, self.now(world));
        self.drift_ppb = ppb;
    }

    pub(crate) fn jump(&mut self, by_us: i64) {
        self.wall_offset_us = self.wall_offset_us.saturating_add(by_us);
    }
}

/// Waits that have been armed.
#[derive(Default)]
pub(crate) struct Timers {
    slots: Vec<TimerSlot>,
    free: Vec<u32>,
}

struct TimerSlot {
    life: u32,
    host: u32,
    deadline: u64,
    wake: Wake,
}

/// What to do when a timer's event comes up.
pub(crate) enum Fired {
    /// Its owner forgot it.
    Forgotten,
    /// The host's clock is not there yet: ask again then.
    Early(u32, u64),
    /// Wake its owner.
    Wake(Wake),
}

impl Timers {
    #[inline]
    pub(crate) fn arm(&mut self, host: u32, deadline: u64) -> (u32, u32) {
        if let Some(slot) = self.free.pop() {
            let s = &mut self.slots[slot as usize];
            (s.host, s.deadline) = (host, deadline);
            return (slot, s.life);
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 timers");
        self.slots.push(TimerSlot { life: 0, host, deadline, wake: Wake::Nobody });
        (slot, 0)
    }

    #[inline]
    pub(crate) fn waker(&mut self, slot: u32) -> &mut Wake {
        &mut self.slots[slot as usize].wake
    }

    /// Forgets a timer, unless it is another one by now.
    #[inline]
    pub(crate) fn forget(&mut self, slot: u32, life: u32) -> Wake {
        let s = &mut self.slots[slot as usize];
        if s.life != life {
            return Wake::Nobody;
        }
        s.life = s.life.wrapping_add(1);
        self.free.push(slot);
        s.wake.take()
    }

    /// `now` tells the clock of a host.
    #[inline]
    pub(crate) fn fire(&mut self, slot: u32, life: u32, now: impl Fn(u32) -> u64) -> Fired {
        let s = &mut self.slots[slot as usize];
        if s.life != life {
            Fired::Forgotten
        } else if now(s.host) < s.deadline {
            Fired::Early(s.host, s.deadline)
        } else {
            Fired::Wake(s.wake.take())
        }
    }
}
