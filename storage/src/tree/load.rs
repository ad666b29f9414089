//! How nodes come into memory and leave it.

use std::sync::{Arc, Weak};

use super::{
    Tree,
    node::{Child, Inner},
    slot::{Body, Content, InnerSlot, LeafSlot},
};
use crate::{
    KeyspaceId, Lsn, Range,
    page::{Fence, InnerPage, Leaf, PageFault, PagePtr},
};

/// A node that is needed and on disk.
#[derive(Debug)]
pub struct Miss {
    ptr: PagePtr,
    keyspace: Option<KeyspaceId>,
    into: Into,
    lower: Vec<u8>,
    upper: Option<Vec<u8>>,
    /// Whether the fences are known.
    is_placed: bool,
}

#[derive(Debug)]
enum Into {
    Leaf(Arc<LeafSlot>),
    Inner(Arc<InnerSlot>),
}

impl Miss {
    /// The leaf in `slot`, unless it is no longer on disk only.
    pub(crate) fn of_leaf(
        slot: &Arc<LeafSlot>,
        keyspace: KeyspaceId,
        lower: Fence<'_>,
        upper: Option<Fence<'_>>,
    ) -> Option<Miss> {
        let state = slot.read();
        let Body::OnDisk = state.body else { return None };
        Some(Miss {
            ptr: state.ptr.expect("what is on disk has a place"),
            keyspace: Some(keyspace),
            into: Into::Leaf(slot.clone()),
            lower: lower.key.to_vec(),
            upper: upper.map(|upper| upper.key.to_vec()),
            is_placed: true,
        })
    }

    /// The inner node in `slot`, unless it is no longer on disk only.
    pub(crate) fn of_inner(
        slot: &Arc<InnerSlot>,
        keyspace: Option<KeyspaceId>,
        lower: Fence<'_>,
        upper: Option<Fence<'_>>,
    ) -> Option<Miss> {
        let book = slot.book();
        if book.gone || slot.node.load().is_some() {
            return None;
        }
        Some(Miss {
            ptr: book.ptr.expect("what is on disk has a place"),
            keyspace,
            into: Into::Inner(slot.clone()),
            lower: lower.key.to_vec(),
            upper: upper.map(|upper| upper.key.to_vec()),
            is_placed: true,
        })
    }

    /// The same, of a node of which nobody knows which keys are in it.
    pub(super) fn of_any_keys(self) -> Miss {
        Miss { is_placed: false, ..self }
    }

    /// Whether the page is still needed. If not, its place may have been used again: an image that
    /// is damaged then means nothing but that the same is to be asked again.
    pub fn is_current(&self) -> bool {
        match &self.into {
            Into::Leaf(slot) => {
                let state = slot.read();
                matches!(state.body, Body::OnDisk) && state.ptr == Some(self.ptr)
            }
            Into::Inner(slot) => {
                let book = slot.book();
                !book.gone && book.ptr == Some(self.ptr) && slot.node.load().is_none()
            }
        }
    }

    /// Whether it is a leaf.
    pub(crate) fn is_leaf(&self) -> bool {
        matches!(self.into, Into::Leaf(_))
    }

    /// Which page is needed.
    pub fn ptr(&self) -> PagePtr {
        self.ptr
    }

    /// The keys in it: from the first on, up to the second if there is one. They cannot be served
    /// if the page is damaged.
    pub fn keys(&self) -> (&[u8], Option<&[u8]>) {
        (&self.lower, self.upper.as_deref())
    }

    /// As [`Miss::keys`], with the keyspace; `None` if that is not known before the page is read.
    pub(crate) fn range(&self) -> Option<Range> {
        Some((self.keyspace?, self.lower.clone(), self.upper.clone()))
    }

    /// Puts the page into its place. `image` is what [`crate::page::open`] has vouched for.
    ///
    /// Returns what the cache needs to know of it, or `None` if somebody else was faster.
    ///
    /// # Errors
    /// [`PageFault::Senseless`] if it is not what the tree expects there.
    pub fn install(self, image: Vec<u8>) -> Result<Option<Resident>, PageFault> {
        let fits = |lower: Fence<'_>, upper: Option<Fence<'_>>| {
            let fits =
                lower.key == self.lower && upper.map(|upper| upper.key) == self.upper.as_deref();
            fits || !self.is_placed
        };
        match &self.into {
            Into::Leaf(slot) => {
                let leaf = Leaf::read(image).ok_or(PageFault::Senseless)?;
                let right_place = self.keyspace == Some(leaf.keyspace())
                    && fits(leaf.lower_fence(), leaf.upper_fence());
                let mut state = slot.write();
                let Body::OnDisk = state.body else { return Ok(None) };
                if state.ptr != Some(self.ptr) {
                    return Ok(None);
                }
                if !right_place {
                    return Err(PageFault::Senseless);
                }
                state.lsn = leaf.lsn();
                state.body = Body::Resident(Content::new(leaf));
                Ok(Some(Resident(Place::Leaf(Arc::downgrade(slot)))))
            }
            Into::Inner(slot) => {
                let mut book = slot.book();
                if book.gone || book.ptr != Some(self.ptr) || slot.node.load().is_some() {
                    return Ok(None);
                }
                let turn = book.turn;
                let node = InnerPage::read(&image, |page| {
                    fits(page.children[0].0, page.upper).then(|| inner(page, turn))
                });
                let (node, refs) = node.flatten().ok_or(PageFault::Senseless)?;
                book.refs = refs;
                slot.node.store(Some(Arc::new(node)));
                Ok(Some(Resident(Place::Inner(Arc::downgrade(slot)))))
            }
        }
    }
}

fn inner(page: &InnerPage<'_>, turn: u32) -> (Inner, u32) {
    let child = |ptr: PagePtr| match page.level {
        1 => Child::Leaf(Arc::new(LeafSlot::on_disk(ptr, page.lsn)), 0),
        _ => Child::Inner(Arc::new(InnerSlot::on_disk(ptr)), 0),
    };
    let children: Vec<_> = page.children.iter().map(|(at, ptr)| (*at, child(*ptr))).collect();
    let refs: Vec<PagePtr> = page.children.iter().map(|(_, ptr)| *ptr).collect();
    (Inner::new(page.keyspace, page.level, turn, &children, page.upper), sum_of(&refs))
}

/// A checksum over references, to tell whether any of them has changed.
pub(crate) fn sum_of(refs: &[PagePtr]) -> u32 {
    refs.iter().fold(0, |sum, ptr| crc32c::crc32c_append(sum, &ptr.encode()))
}

/// A node in memory, as the cache sees it.
#[derive(Clone, Debug)]
pub struct Resident(Place);

#[derive(Clone, Debug)]
enum Place {
    Leaf(Weak<LeafSlot>),
    Inner(Weak<InnerSlot>),
}

/// What became of a node that was to leave memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// It has left, and this many bytes are free.
    Yes(usize),
    /// It is not there any more.
    Gone,
    /// It is in use, or children of it are in memory.
    Busy,
    /// It differs from the page on disk, or is needed by a capture.
    Dirty,
}

impl Resident {
    pub(crate) fn leaf(slot: &Arc<LeafSlot>) -> Resident {
        Resident(Place::Leaf(Arc::downgrade(slot)))
    }

    pub(crate) fn inner(slot: &Arc<InnerSlot>) -> Resident {
        Resident(Place::Inner(Arc::downgrade(slot)))
    }

    /// Whether it is a leaf.
    pub fn is_leaf(&self) -> bool {
        matches!(self.0, Place::Leaf(_))
    }

    /// Whether it was asked for since the last time this was called.
    pub fn take_heat(&self) -> bool {
        match &self.0 {
            Place::Leaf(slot) => slot.upgrade().is_some_and(|slot| slot.take_heat()),
            Place::Inner(slot) => slot.upgrade().is_some_and(|slot| slot.take_heat()),
        }
    }

    /// When it last left memory, by the cache's count; 0 for never, and for one that is no more.
    pub(crate) fn left(&self) -> u32 {
        match &self.0 {
            Place::Leaf(slot) => slot.upgrade().map_or(0, |slot| slot.left()),
            Place::Inner(slot) => slot.upgrade().map_or(0, |slot| slot.left()),
        }
    }

    /// Notes that it leaves memory at `moment`.
    pub(crate) fn leave(&self, moment: u32) {
        match &self.0 {
            Place::Leaf(slot) => slot.upgrade().iter().for_each(|slot| slot.leave(moment)),
            Place::Inner(slot) => slot.upgrade().iter().for_each(|slot| slot.leave(moment)),
        }
    }

    /// Bytes it takes in memory now.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Place::Leaf(slot) => slot.upgrade().map_or(0, |slot| match &slot.read().body {
                Body::Resident(content) => content.size(),
                Body::OnDisk | Body::Gone => 0,
            }),
            Place::Inner(slot) => {
                let node = slot.upgrade().and_then(|slot| slot.node.load_full());
                node.map_or(0, |node| node.size())
            }
        }
    }
}

impl Tree {
    /// Drops a node from memory if it is clean and nobody uses it.
    pub fn evict(&self, node: &Resident) -> Evicted {
        match &node.0 {
            Place::Leaf(slot) => {
                slot.upgrade().map_or(Evicted::Gone, |slot| self.evict_leaf(&slot))
            }
            Place::Inner(slot) => {
                slot.upgrade().map_or(Evicted::Gone, |slot| self.evict_inner(&slot))
            }
        }
    }

    fn evict_leaf(&self, slot: &LeafSlot) -> Evicted {
        let Some(mut state) = slot.try_write() else { return Evicted::Busy };
        if state.frozen.is_some() && !self.tail.replayed(Lsn(0)).capturing {
            // Put aside for a capture that is over.
            state.frozen = None;
        }
        let Body::Resident(content) = &state.body else { return Evicted::Gone };
        // A clean leaf is what its page says; what is newer than the durable version never is.
        if state.dirty || state.pending || state.frozen.is_some() {
            return Evicted::Dirty;
        }
        let size = content.size();
        state.body = Body::OnDisk;
        Evicted::Yes(size)
    }

    fn evict_inner(&self, slot: &InnerSlot) -> Evicted {
        let Some(node) = slot.node.load_full() else { return Evicted::Gone };
        // Leaf latches, then structure, then books: as everybody does.
        let mut latches = Vec::new();
        for at in 0..node.count() {
            if let Child::Leaf(leaf, _) = node.child(at) {
                match leaf.try_write() {
                    Some(state) if matches!(state.body, Body::OnDisk) => latches.push(state),
                    _ => return Evicted::Busy,
                }
            }
        }
        let _structure = self.structure();
        let mut books = Vec::new();
        for at in 0..node.count() {
            if let Child::Inner(below, _) = node.child(at) {
                if below.node.load().is_some() {
                    return Evicted::Busy;
                }
                books.push(below.book());
            }
        }
        let mut book = slot.book();
        let is_same = slot.node.load().as_ref().is_some_and(|now| Arc::ptr_eq(now, &node));
        if !is_same || book.gone {
            return Evicted::Gone;
        }
        // Put aside for a capture that is over.
        let capturing = self.tail.replayed(Lsn(0)).capturing;
        let frozen = capturing
            && (book.frozen.is_some()
                || latches.iter().any(|state| state.frozen.is_some())
                || books.iter().any(|book| book.frozen.is_some()));
        if book.dirty || frozen || book.ptr.is_none() {
            return Evicted::Dirty;
        }
        let refs: Vec<PagePtr> = latches
            .iter()
            .map(|state| state.ptr)
            .chain(books.iter().map(|book| book.ptr))
            .map(|ptr| ptr.expect("what is on disk has a place"))
            .collect();
        // A capture is ending: children have new places, and this page refers to the old ones.
        if sum_of(&refs) != book.refs {
            return Evicted::Dirty;
        }
        latches.iter_mut().for_each(|state| state.body = Body::Gone);
        books.iter_mut().for_each(|book| book.gone = true);
        book.frozen = None;
        slot.node.store(None);
        Evicted::Yes(node.size())
    }
}
