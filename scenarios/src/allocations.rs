//! How much memory a thread has asked for: one of the costs of an operation that are counted.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    /// Times and bytes. Neither lazy nor dropped, so that it never allocates and is always there.
    static ASKED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// How often this thread has asked for memory and for how many bytes, growing included; nothing
/// where the program's allocator is not [`Counting`].
pub fn asked() -> (u64, u64) {
    ASKED.get()
}

fn count(bytes: usize) {
    let (times, sum) = ASKED.get();
    ASKED.set((times + 1, sum + bytes as u64));
}

/// The system's allocator, and a count of what is asked of it. It is the `sim` program's.
#[derive(Debug)]
pub struct Counting;

// SAFETY: every call goes to `System`, which keeps the contract of the trait, with the arguments
// that were given; counting changes two numbers of this thread, allocates nothing and cannot panic
// before 2^64 bytes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise about `layout` is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.saturating_sub(layout.size()));
        // SAFETY: `block` came from `System` through this allocator, as all of its blocks do, and
        // the caller's promises about the three are those that `System` asks for.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(block, layout) }
    }
}
