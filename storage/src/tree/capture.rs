//! Captures: the tree as it was at one version, taken while writers go on.
//!
//! From its beginning on, every commit that changes a leaf or an inner node for the first time puts
//! aside what it was. The walk takes what was put aside, or what is there if nothing was; so each
//! node is copied once at most, and only if it is changed before the walk comes by.

use std::sync::Arc;

use super::{
    Attempt, Keyspace, Pause, Tree,
    dirty::{Dirty, Node},
    keyspace::Roots,
    load::{Miss, sum_of},
    node::{Child, Inner},
    slot::{Body, Content, InnerSlot, LeafSlot},
};
use crate::{
    Error, KeyspaceId, Lsn, Retention,
    page::{Claim, Fence, Leaf, PagePtr},
    retention::Keep,
};

/// A keyspace as a catalogue remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogued {
    /// Its number.
    pub id: KeyspaceId,
    /// Its name.
    pub name: String,
    /// Which versions it keeps.
    pub keep: Retention,
    /// The version from which on everything can be read.
    pub earliest: Lsn,
    /// Newest first: the version since which it counts, and the root. One at least.
    pub roots: Vec<(Lsn, PagePtr)>,
}

/// The tree at one version, on its way to the disk. One at a time.
#[derive(Debug)]
pub struct Capture {
    tree: Arc<Tree>,
    at: Lsn,
    epoch: u32,
    /// How many times versions had been taken back when it began.
    taken_back: usize,
    keyspaces: Vec<(Arc<Keyspace>, Arc<Roots>)>,
    /// The highest number that a keyspace had been given.
    highest: KeyspaceId,
    moments: Vec<(u64, Lsn)>,
    applied: u64,
    /// Where the roots that were walked lie, in the order of `root_slots`.
    roots: Vec<PagePtr>,
    root_slots: Vec<(Arc<Keyspace>, Arc<InnerSlot>)>,
    way: Vec<Frame>,
    saved: Vec<Saved>,
    /// Places that the tree had no use for any more when it began.
    released: Vec<PagePtr>,
    /// Units of trees that were loaded before it began, and that no checkpoint refers to yet.
    adopted: Vec<(Lsn, Claim)>,
    /// Nodes of trees that were cleared away or dropped, whose places join `released`.
    retiring: Vec<Child>,
    /// See [`Capture::forget_readers`].
    forgets_readers: bool,
    is_over: bool,
}

/// An inner node that is being walked.
#[derive(Debug)]
struct Frame {
    slot: Arc<InnerSlot>,
    node: Arc<Inner>,
    dirty: bool,
    /// Where the children lie that were walked.
    refs: Vec<PagePtr>,
}

/// A node that has a new place.
#[derive(Debug)]
enum Saved {
    Leaf(Arc<LeafSlot>, PagePtr),
    /// With the checksum of its references.
    Inner(Arc<InnerSlot>, PagePtr, u32),
}

/// What the walk found.
enum Taken {
    Clean(PagePtr),
    Dirty(Content),
}

impl Capture {
    /// Begins to capture all that has been assigned. Commits that come later are no part of it.
    ///
    /// # Panics
    /// If another one is going on.
    pub fn begin(tree: &Arc<Tree>) -> Capture {
        let structure = tree.structure();
        tree.retire();
        let told = || (tree.moments.list(), tree.applied());
        let (at, epoch, (moments, applied)) = tree.tail.begin_capture(told);
        let keyspaces: Vec<_> = tree
            .keyspaces()
            .iter()
            .map(|keyspace| (keyspace.clone(), keyspace.roots().clone()))
            .collect();
        // No catalogue has them, but who reads them still needs memory, and only what is on disk
        // can leave that.
        let dropped: Vec<_> = tree
            .dropped()
            .iter()
            .map(|(_, keyspace)| (keyspace.clone(), keyspace.roots().clone()))
            .collect();
        let highest = tree.highest_keyspace();
        drop(structure);
        let root_slots = keyspaces
            .iter()
            .chain(&dropped)
            .flat_map(|(keyspace, roots)| {
                let older = roots.older.iter().map(|(_, root)| root);
                [&roots.top].into_iter().chain(older).map(|root| (keyspace.clone(), root.clone()))
            })
            .collect();
        Capture {
            at,
            epoch,
            taken_back: tree.snapshots.times_taken_back(),
            keyspaces,
            highest,
            moments,
            applied,
            roots: Vec::new(),
            root_slots,
            way: Vec::new(),
            saved: Vec::new(),
            released: tree.take_released(),
            adopted: tree.adopted().clone(),
            retiring: tree.take_retired(),
            forgets_readers: false,
            is_over: false,
            tree: tree.clone(),
        }
    }

    /// Units that the tree came to use by loads, and that no checkpoint refers to yet.
    pub fn adopted(&self) -> impl Iterator<Item = &Claim> {
        self.adopted.iter().filter(|(version, _)| *version <= self.at).map(|(_, claim)| claim)
    }

    /// The version it is of.
    pub fn version(&self) -> Lsn {
        self.at
    }

    /// The highest number that a keyspace had been given until then.
    pub fn highest_keyspace(&self) -> KeyspaceId {
        self.highest
    }

    /// Which version was the newest at which time, as far as it had been told until then.
    pub fn moments(&self) -> &[(u64, Lsn)] {
        &self.moments
    }

    /// The newest position of a replicated log that had been applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Whether what it is of still is history. If not, it must be abandoned.
    ///
    /// # Errors
    /// [`Error::RolledBack`].
    pub fn check(&self) -> Result<(), Error> {
        self.tree.snapshots.check_since(self.taken_back, self.at)
    }

    /// The next node that must be written, children before parents; `None` when all are. To be
    /// called once the journal is durable up to [`Capture::version`].
    ///
    /// # Panics
    /// If the node before was not [`Dirty::saved`].
    #[expect(clippy::should_implement_trait, reason = "a node is saved before the next is taken")]
    pub fn next(&mut self) -> Option<Dirty<'_>> {
        let durable = self.tree.tail.last_durable();
        assert!(self.at <= durable, "pages of {} before a journal of {durable}", self.at);
        let node = self.walk()?;
        let keyspace = self.root_slots[self.roots.len()].0.id();
        Some(Dirty { capture: self, keyspace, node })
    }

    fn walk(&mut self) -> Option<Node> {
        loop {
            let Some(frame) = self.way.last_mut() else {
                let (_, root) = self.root_slots.get(self.roots.len())?;
                let root = root.clone();
                self.enter(root);
                continue;
            };
            if frame.refs.len() < frame.node.count() {
                match frame.node.child(frame.refs.len()).clone() {
                    Child::Inner(slot, _) => self.enter(slot),
                    Child::Leaf(slot, _) => match self.take(&slot) {
                        Taken::Clean(ptr) => self.arrived(ptr),
                        Taken::Dirty(content) => return Some(Node::Leaf(slot, content)),
                    },
                }
                continue;
            }
            let refs = sum_of(&frame.refs);
            let book = frame.slot.book();
            let place = book.ptr.filter(|_| !frame.dirty && book.refs == refs);
            drop(book);
            match place {
                Some(ptr) => {
                    self.way.pop();
                    self.arrived(ptr);
                }
                None => {
                    let image = frame.node.image(&frame.refs, self.at);
                    return Some(Node::Inner(image, refs));
                }
            }
        }
    }

    /// Goes down into an inner node as it was at the beginning, or notes where it lies.
    fn enter(&mut self, slot: Arc<InnerSlot>) {
        let structure = self.tree.structure();
        let mut book = slot.book();
        let found = match book.frozen.take().filter(|frozen| frozen.epoch == self.epoch) {
            Some(frozen) => Some((frozen.node, frozen.dirty)),
            None => {
                debug_assert!(book.epoch < self.epoch || slot.node.load().is_none());
                book.epoch = self.epoch;
                book.touched = false;
                slot.node.load_full().map(|node| (node, book.dirty))
            }
        };
        let ptr = book.ptr;
        drop(book);
        drop(structure);
        match found {
            Some((node, dirty)) => self.way.push(Frame { slot, node, dirty, refs: Vec::new() }),
            None => self.arrived(ptr.expect("what is not in memory is on disk")),
        }
    }

    /// Takes a leaf as it was at the beginning.
    fn take(&self, slot: &LeafSlot) -> Taken {
        let keyspace = &self.root_slots[self.roots.len()].0;
        let mut state = slot.write();
        if state.epoch < self.epoch {
            state.epoch = self.epoch;
            state.frozen = None;
            let (dirty, ptr) = (state.dirty, state.ptr);
            return match &mut state.body {
                Body::Resident(content) if dirty => {
                    self.prune(keyspace, content);
                    let content = content.compact();
                    (state.touched, state.pending) = (false, true);
                    Taken::Dirty(content)
                }
                _ => Taken::Clean(ptr.expect("a clean leaf is on disk")),
            };
        }
        let frozen = state.frozen.take().filter(|frozen| frozen.epoch == self.epoch);
        let frozen = frozen.expect("what was changed since the beginning was put aside");
        match frozen.content {
            Some(mut content) => {
                debug_assert!(state.dirty && state.touched, "it was changed since the beginning");
                state.pending = true;
                drop(state);
                self.prune(keyspace, &mut content);
                Taken::Dirty(content)
            }
            None => Taken::Clean(frozen.ptr.expect("a clean leaf is on disk")),
        }
    }

    fn prune(&self, of: &Keyspace, content: &mut Content) {
        match self.forgets_readers {
            true => self.tree.prune_to(Keep { floor: self.at, last: 1 }, content),
            false => self.tree.prune(of, content),
        }
    }

    /// A defect, for those who test the tests: versions go although somebody may ask for them.
    pub(crate) fn forget_readers(&mut self) {
        self.forgets_readers = true;
    }

    /// Another: what was dropped stays in memory for as long as somebody may read it.
    pub(crate) fn forget_dropped(&mut self) {
        let known = self.keyspaces.iter().map(|(_, roots)| 1 + roots.older.len()).sum();
        self.root_slots.truncate(known);
    }

    /// The node that was walked last lies at `ptr`.
    fn arrived(&mut self, ptr: PagePtr) {
        match self.way.last_mut() {
            Some(frame) => frame.refs.push(ptr),
            None => self.roots.push(ptr),
        }
    }

    /// Finds the places of trees that were cleared away or dropped, so that [`Capture::finish`]
    /// returns them. To be called until it succeeds, at any time before.
    ///
    /// # Errors
    /// [`Pause::Miss`]: the inner nodes of such a tree know where its leaves are; and a leaf, whose
    /// values nobody needs any more, which is to be answered by [`Capture::retire_leaf`].
    pub fn retire(&mut self) -> Attempt<()> {
        while let Some(child) = self.retiring.pop() {
            match &child {
                Child::Leaf(slot, _) => {
                    if let Some(miss) = Miss::of_leaf(slot, KeyspaceId(0), Fence::FIRST, None) {
                        self.retiring.push(child);
                        return Err(Pause::Miss(miss.of_any_keys()));
                    }
                    let mut state = slot.write();
                    if let Body::Resident(content) = &state.body {
                        self.tree.count_dead(&content.values());
                    }
                    state.body = Body::Gone;
                    self.released.extend(state.ptr.take());
                }
                Child::Inner(slot, _) => {
                    let Some(node) = slot.node.load_full() else {
                        if let Some(miss) = Miss::of_inner(slot, None, Fence::FIRST, None) {
                            self.retiring.push(child);
                            return Err(Pause::Miss(miss.of_any_keys()));
                        }
                        continue;
                    };
                    self.retiring.extend((0..node.count()).map(|at| node.child(at).clone()));
                    // Somebody may have a handle on what was dropped, and memory shall not.
                    let mut book = slot.book();
                    book.gone = true;
                    slot.node.store(None);
                    self.released.extend(book.ptr.take());
                }
            }
        }
        Ok(())
    }

    /// Gives up the leaf at `ptr` that [`Capture::retire`] asked for. `image` is its page, if it
    /// could be read: then its values count as dead.
    pub fn retire_leaf(&mut self, ptr: PagePtr, image: Option<Vec<u8>>) {
        let Some(Child::Leaf(slot, _)) = self.retiring.pop() else {
            unreachable!("retire asked for a leaf");
        };
        let mut state = slot.write();
        if let Some(leaf) = image.and_then(Leaf::read).filter(|_| state.ptr == Some(ptr)) {
            self.tree.count_dead(&Content::new(leaf).values());
        }
        state.body = Body::Gone;
        self.released.extend(state.ptr.take());
    }

    /// What the catalogue of this version says. To be called when nothing is left to write.
    pub fn catalogue(&self) -> Vec<Catalogued> {
        assert_eq!(self.roots.len(), self.root_slots.len(), "nodes are left to write");
        let mut places = self.roots.iter();
        let mut place = |since: &Lsn| (*since, *places.next().expect("a root has a place"));
        let catalogued = |(keyspace, roots): &(Arc<Keyspace>, Arc<Roots>)| Catalogued {
            id: keyspace.id(),
            name: keyspace.name().into(),
            keep: keyspace.retention(),
            // Of this version nothing was pruned that it alone would not allow.
            earliest: keyspace.earliest().min(self.at),
            roots: [&roots.since]
                .into_iter()
                .chain(roots.older.iter().map(|(since, _)| since))
                .map(&mut place)
                .collect(),
        };
        self.keyspaces.iter().map(catalogued).collect()
    }

    /// The places that [`Capture::finish`] will return. To be called when nothing is left to write.
    pub fn outdated(&self) -> Vec<PagePtr> {
        let old = self.saved.iter().filter_map(|saved| match saved {
            Saved::Leaf(slot, _) => slot.read().ptr,
            Saved::Inner(slot, ..) => slot.book().ptr,
        });
        self.released.iter().copied().chain(old).collect()
    }

    /// Everything was written and a superblock refers to it: what was not changed since is clean.
    /// Returns the places for which neither this version nor the tree in memory has any use.
    pub fn finish(mut self) -> Vec<PagePtr> {
        assert_eq!(self.roots.len(), self.root_slots.len(), "nodes are left to write");
        self.is_over = true;
        self.tree.tail.end_capture();
        self.tree.adopted().retain(|(version, _)| *version > self.at);
        self.tree.put_back_retired(std::mem::take(&mut self.retiring));
        let mut released = std::mem::take(&mut self.released);
        for saved in self.saved.drain(..) {
            match saved {
                Saved::Leaf(slot, ptr) => {
                    let mut state = slot.write();
                    state.pending = false;
                    state.dirty = state.touched;
                    released.extend(state.ptr.replace(ptr));
                }
                Saved::Inner(slot, ptr, refs) => {
                    let mut book = slot.book();
                    (book.dirty, book.refs) = (book.touched, refs);
                    released.extend(book.ptr.replace(ptr));
                }
            }
        }
        released
    }

    /// It came to nothing: all that it took is dirty still. Whoever gave it places has them back.
    pub fn abandon(self) {
        drop(self);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.tree.tail.end_capture();
        for saved in &self.saved {
            if let Saved::Leaf(slot, _) = saved {
                slot.write().pending = false;
            }
        }
        self.tree.release(&mut self.released);
        self.tree.put_back_retired(std::mem::take(&mut self.retiring));
    }
}

impl Dirty<'_> {
    /// It is to lie at `ptr`, and will be before [`Capture::finish`].
    pub fn saved(self, ptr: PagePtr) {
        let Dirty { capture, node, .. } = self;
        match node {
            Node::Leaf(slot, content) => {
                content.tell_places(&mut slot.write().body);
                capture.saved.push(Saved::Leaf(slot, ptr));
            }
            Node::Inner(_, refs) => {
                let frame = capture.way.pop().expect("it was walked");
                capture.saved.push(Saved::Inner(frame.slot, ptr, refs));
            }
        }
        capture.arrived(ptr);
    }
}
