//! Tasks and wakers by index.
//!
//! A waker is the number of its task: no reference count, no atomic, no allocation. Whoever stores
//! one stores eight bytes of meaning; waking looks the task up in the world that runs on this
//! thread.

use std::task::{RawWaker, RawWakerVTable, Waker};

use orloj_kernel::Task;

use crate::world;

/// A slot and its generation, packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId(pub(crate) u64);

impl TaskId {
    pub(crate) fn new(slot: u32, life: u32) -> TaskId {
        TaskId(u64::from(life) << 32 | u64::from(slot))
    }
    pub(crate) fn slot(self) -> u32 {
        self.0 as u32
    }
    pub(crate) fn life(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// One task, or room for one.
pub(crate) struct Slot {
    /// `None` while it is being polled, and when the slot is free.
    pub(crate) task: Option<Task>,
    /// Counts the tasks that were here, so that a late waker of one does not wake the next.
    pub(crate) life: u32,
    pub(crate) host: u32,
    pub(crate) used: bool,
    /// Whether it is in the ready queue.
    pub(crate) queued: bool,
}

// Two of them share a line of the cache.
const _: () = assert!(size_of::<Slot>() == 32);

impl Slot {
    pub(crate) fn free() -> Slot {
        Slot { task: None, life: 0, host: 0, used: false, queued: false }
    }
}

const _: () = assert!(size_of::<usize>() == 8, "a task's number travels in a pointer's 64 bits");

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &VTABLE),
    |data| world::wake(TaskId(data.addr() as u64)),
    |data| world::wake(TaskId(data.addr() as u64)),
    |_| {},
);

/// A waker of `task`.
pub(crate) fn waker(task: TaskId) -> Waker {
    let data = std::ptr::without_provenance(task.0 as usize);
    // SAFETY: `data` is a number that is never dereferenced, owned or freed: `clone` copies it,
    // `drop` does nothing, and both `wake`s look it up in a table that checks slot and generation.
    // The functions touch only thread-local state, so the contract of `RawWaker` (thread-safe, and
    // valid for as long as the waker lives) holds on every thread; on a thread without a world
    // `wake` panics.
    unsafe { Waker::new(data, &VTABLE) }
}

/// Something to wake: one of our tasks by number, or a foreign waker around one.
#[derive(Debug, Default)]
pub(crate) enum Wake {
    #[default]
    Nobody,
    Task(TaskId),
    /// Boxed, since it is rare and would double the size of everything that waits.
    Foreign(Box<Waker>),
}

impl Wake {
    #[inline]
    pub(crate) fn set(&mut self, waker: &Waker) {
        *self = if std::ptr::eq(waker.vtable(), &raw const VTABLE) {
            Wake::Task(TaskId(waker.data().addr() as u64))
        } else {
            Wake::Foreign(Box::new(waker.clone()))
        };
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Wake {
        std::mem::take(self)
    }
}
