//! Slots: the stable places of nodes, whatever they hold at the moment.

use std::sync::{
    Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use arc_swap::ArcSwapOption;

use super::{descend::Step, node::Inner};
use crate::{
    Lsn,
    page::{Entry, Held, Leaf, PagePtr, ValuePointer},
    tail::Ticket,
};

/// The place of a leaf.
///
/// What every visit needs, up to the number of entries, shares one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct LeafSlot {
    latch: RwLock<LeafState>,
    /// When it last left memory, in a count that the cache keeps; 0 for never.
    left: AtomicU32,
}

/// What a leaf's latch guards.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct LeafState {
    /// How many times its fences have moved. Its lower one never does.
    pub(crate) turn: u32,
    /// Whether it was asked for since the cache last looked.
    heat: AtomicBool,
    /// Whether it differs from the page at `ptr`.
    pub(crate) dirty: bool,
    /// Whether it was changed since it was last copied to be written.
    pub(crate) touched: bool,
    /// Whether a capture has taken it and is not over.
    pub(crate) pending: bool,
    pub(crate) body: Body,
    /// The newest capture for which its image is safe: taken, put aside, or not part of it.
    pub(crate) epoch: u32,
    /// The newest version that was ever in it, also while it is not resident.
    pub(crate) lsn: Lsn,
    /// Where it lies on disk as far as this tree is concerned.
    pub(crate) ptr: Option<PagePtr>,
    /// It as it was when the capture began that is going on, if it was changed since.
    pub(crate) frozen: Option<Box<Frozen>>,
}

/// What a leaf's slot holds.
#[derive(Debug)]
pub(crate) enum Body {
    Resident(Content),
    OnDisk,
    /// It was merged away, or its parent has left memory: nobody may use the slot any more.
    Gone,
}

/// A leaf in memory, with those of its long values that are not on disk yet or were not taken off
/// memory since.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Content {
    pub(crate) leaf: Leaf,
    /// By the numbers in [`Held::Memory`].
    pub(crate) longs: Vec<Option<Long>>,
}

/// A long value in memory.
#[derive(Clone, Debug)]
pub(crate) struct Long {
    pub(crate) bytes: Arc<[u8]>,
    /// Where it lies in the value log, once it does.
    pub(crate) at: Option<ValuePointer>,
}

/// A leaf as it was at the beginning of a capture.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) epoch: u32,
    /// `None` if it was as the page at `ptr` says.
    pub(crate) content: Option<Content>,
    pub(crate) ptr: Option<PagePtr>,
}

impl LeafSlot {
    pub(crate) fn new(content: Content, epoch: u32) -> LeafSlot {
        let lsn = content.leaf.lsn();
        LeafSlot::holding(LeafState {
            body: Body::Resident(content),
            turn: 0,
            heat: AtomicBool::new(true),
            epoch,
            dirty: true,
            touched: true,
            pending: false,
            lsn,
            ptr: None,
            frozen: None,
        })
    }

    /// A leaf on disk, the newest version of which is at most `lsn`.
    pub(crate) fn on_disk(ptr: PagePtr, lsn: Lsn) -> LeafSlot {
        LeafSlot::holding(LeafState {
            body: Body::OnDisk,
            turn: 0,
            heat: AtomicBool::new(true),
            epoch: 0,
            dirty: false,
            touched: false,
            pending: false,
            lsn,
            ptr: Some(ptr),
            frozen: None,
        })
    }

    #[cfg(test)]
    pub(crate) fn gone() -> LeafSlot {
        LeafSlot::holding(LeafState {
            body: Body::Gone,
            turn: 0,
            heat: AtomicBool::new(true),
            epoch: 0,
            dirty: false,
            touched: false,
            pending: false,
            lsn: Lsn(0),
            ptr: None,
            frozen: None,
        })
    }

    fn holding(state: LeafState) -> LeafSlot {
        LeafSlot { latch: RwLock::new(state), left: AtomicU32::new(0) }
    }

    #[inline]
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, LeafState> {
        self.latch.read().expect("nobody panics under a latch")
    }

    #[inline]
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, LeafState> {
        self.latch.write().expect("nobody panics under a latch")
    }

    /// Has the processor fetch the latch, which a locked instruction would wait for.
    #[inline]
    pub(crate) fn touch(&self) -> bool {
        self.latch.is_poisoned()
    }

    /// The latch if nobody has it.
    pub(crate) fn try_write(&self) -> Option<RwLockWriteGuard<'_, LeafState>> {
        self.latch.try_write().ok()
    }

    /// Whether it was asked for since the last time this was called.
    pub(crate) fn take_heat(&self) -> bool {
        self.read().heat.swap(false, Relaxed)
    }

    /// Notes that it leaves memory at `moment`.
    pub(crate) fn leave(&self, moment: u32) {
        self.left.store(moment, Relaxed);
    }

    /// When it last did.
    pub(crate) fn left(&self) -> u32 {
        self.left.load(Relaxed)
    }
}

impl LeafState {
    /// Notes that it was asked for. Writes only if that is news, so that readers share the line.
    #[inline]
    pub(crate) fn warm(&self) {
        if !self.heat.load(Relaxed) {
            self.heat.store(true, Relaxed);
        }
    }

    /// What is in it, if its fences are what the way here said.
    #[inline]
    pub(crate) fn content(&self, turn: u32) -> Result<&Content, Step> {
        match &self.body {
            Body::Resident(content) if self.turn == turn => Ok(content),
            Body::OnDisk if self.turn == turn => Err(Step::Load),
            _ => Err(Step::Restart),
        }
    }

    #[inline]
    pub(crate) fn content_mut(&mut self, turn: u32) -> Result<&mut Content, Step> {
        match &mut self.body {
            Body::Resident(content) if self.turn == turn => Ok(content),
            Body::OnDisk if self.turn == turn => Err(Step::Load),
            _ => Err(Step::Restart),
        }
    }

    /// What is in a leaf that is known to be resident.
    pub(crate) fn resident(&mut self) -> &mut Content {
        match &mut self.body {
            Body::Resident(content) => content,
            _ => unreachable!("a latched leaf stays resident"),
        }
    }

    /// Notes a change that `version` made.
    #[inline]
    pub(crate) fn changed(&mut self, version: Lsn) {
        (self.dirty, self.touched) = (true, true);
        self.lsn = self.lsn.max(version);
    }

    /// Puts aside what a capture still needs, before the change of `ticket` is made.
    #[inline]
    pub(crate) fn freeze(&mut self, ticket: Ticket) {
        if self.epoch < ticket.epoch {
            self.freeze_for(ticket);
        }
    }

    #[cold]
    fn freeze_for(&mut self, ticket: Ticket) {
        self.epoch = ticket.epoch;
        if !ticket.capturing {
            self.frozen = None;
            return;
        }
        let content = match &self.body {
            Body::Resident(content) if self.dirty => Some(content.compact()),
            _ => None,
        };
        self.frozen = Some(Box::new(Frozen { epoch: ticket.epoch, content, ptr: self.ptr }));
    }
}

impl Content {
    pub(crate) fn new(leaf: Leaf) -> Content {
        Content { leaf, longs: Vec::new() }
    }

    /// It without the gap of its leaf, to be written.
    pub(crate) fn compact(&self) -> Content {
        let mut leaf = Leaf::hollow();
        self.leaf.copy_to(&mut leaf);
        Content { leaf, longs: self.longs.clone() }
    }

    /// Bytes it takes.
    pub(crate) fn size(&self) -> usize {
        let longs = self.longs.iter().flatten().map(|long| long.bytes.len()).sum::<usize>();
        self.leaf.size() + longs
    }

    /// Keeps a long value and returns its number.
    pub(crate) fn keep_long(&mut self, bytes: &[u8]) -> u32 {
        let long = Some(Long { bytes: bytes.into(), at: None });
        match self.longs.iter().position(Option::is_none) {
            Some(free) => {
                self.longs[free] = long;
                free as u32
            }
            None => {
                self.longs.push(long);
                self.longs.len() as u32 - 1
            }
        }
    }

    /// Forgets long values to which no entry refers.
    pub(crate) fn sweep_longs(&mut self) {
        if self.longs.is_empty() {
            return;
        }
        let mut used = vec![false; self.longs.len()];
        for entry in self.leaf.entries(0..self.leaf.count()) {
            if let Held::Memory(number) = entry.held {
                used[number as usize] = true;
            }
        }
        for (long, used) in self.longs.iter_mut().zip(used) {
            if !used {
                *long = None;
            }
        }
    }

    /// Where those of its values lie that are in the value log.
    pub(crate) fn values(&self) -> Vec<ValuePointer> {
        let entries = self.leaf.entries(0..self.leaf.count());
        let pointer = |entry: Entry<'_>| match entry.held {
            Held::Pointer(at) => Some(at),
            Held::Memory(number) => self.long(number).at,
            Held::Value(_) | Held::Tombstone => None,
        };
        entries.filter_map(pointer).collect()
    }

    /// The long value that `entry` holds by number.
    pub(crate) fn long(&self, number: u32) -> &Long {
        self.longs[number as usize].as_ref().expect("an entry refers to it")
    }

    /// Writes what `entry` holds to `out`, unless it lies in the value log only.
    #[inline]
    pub(crate) fn copy_value(&self, entry: &Entry<'_>, out: &mut Vec<u8>) -> Option<ValuePointer> {
        match entry.held {
            Held::Value(value) => out.extend_from_slice(value),
            Held::Tombstone => {}
            Held::Memory(number) => out.extend_from_slice(&self.long(number).bytes),
            Held::Pointer(at) => return Some(at),
        }
        None
    }
}

/// The place of an inner node.
#[derive(Debug)]
pub(crate) struct InnerSlot {
    heat: AtomicBool,
    /// As that of a leaf.
    left: AtomicU32,
    /// `None` while it is on disk.
    pub(crate) node: ArcSwapOption<Inner>,
    book: Mutex<InnerBook>,
}

/// What is known of an inner node besides. Changed by those who hold the structure mutex.
#[derive(Debug)]
pub(crate) struct InnerBook {
    /// As that of its node, also while that is not resident.
    pub(crate) turn: u32,
    /// As that of a leaf.
    pub(crate) epoch: u32,
    /// Whether its separators or children differ from the page at `ptr`.
    pub(crate) dirty: bool,
    /// Whether it was changed since it was last taken by a capture.
    pub(crate) touched: bool,
    /// Where it lies on disk.
    pub(crate) ptr: Option<PagePtr>,
    /// A checksum of the references in the page at `ptr`.
    pub(crate) refs: u32,
    /// Its parent has left memory.
    pub(crate) gone: bool,
    /// It as it was when the capture began that is going on, if it was changed since.
    pub(crate) frozen: Option<FrozenInner>,
}

/// An inner node as it was at the beginning of a capture.
#[derive(Clone, Debug)]
pub(crate) struct FrozenInner {
    pub(crate) epoch: u32,
    pub(crate) node: Arc<Inner>,
    pub(crate) dirty: bool,
}

impl InnerSlot {
    pub(crate) fn new(node: Inner, epoch: u32) -> InnerSlot {
        let book = InnerBook {
            turn: node.turn,
            epoch,
            dirty: true,
            touched: true,
            ptr: None,
            refs: 0,
            gone: false,
            frozen: None,
        };
        InnerSlot {
            heat: AtomicBool::new(true),
            left: AtomicU32::new(0),
            node: ArcSwapOption::from_pointee(node),
            book: Mutex::new(book),
        }
    }

    pub(crate) fn on_disk(ptr: PagePtr) -> InnerSlot {
        let book = InnerBook {
            turn: 0,
            epoch: 0,
            dirty: false,
            touched: false,
            ptr: Some(ptr),
            refs: 0,
            gone: false,
            frozen: None,
        };
        InnerSlot {
            heat: AtomicBool::new(true),
            left: AtomicU32::new(0),
            node: ArcSwapOption::empty(),
            book: Mutex::new(book),
        }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, InnerBook> {
        self.book.lock().expect("nobody panics while holding a node's book")
    }

    /// Swaps in another node, putting the old one aside for a capture that needs it. The caller
    /// holds the structure mutex.
    pub(crate) fn publish(&self, new: Inner, ticket: Ticket) {
        let mut book = self.book();
        book.turn = new.turn;
        let old = self.node.swap(Some(Arc::new(new))).expect("a node that changes is resident");
        if book.epoch < ticket.epoch {
            book.epoch = ticket.epoch;
            let frozen = FrozenInner { epoch: ticket.epoch, node: old, dirty: book.dirty };
            book.frozen = ticket.capturing.then_some(frozen);
        }
        (book.dirty, book.touched) = (true, true);
    }

    /// Whether it was asked for since the last time this was called. Inner nodes are warmed by
    /// their loading alone: they leave memory after all that is below them.
    pub(crate) fn take_heat(&self) -> bool {
        self.heat.swap(false, Relaxed)
    }

    /// Notes that it leaves memory at `moment`.
    pub(crate) fn leave(&self, moment: u32) {
        self.left.store(moment, Relaxed);
    }

    /// When it last did.
    pub(crate) fn left(&self) -> u32 {
        self.left.load(Relaxed)
    }
}
