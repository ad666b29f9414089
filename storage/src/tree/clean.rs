//! Writing single leaves between checkpoints, so that they can leave memory.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use super::{
    Tree,
    load::Resident,
    outgoing::{Node, Outgoing},
    slot::{Body, LeafSlot},
};
use crate::page::PagePtr;

/// A dirty leaf that is written to make room.
#[derive(Debug)]
pub struct Cleaning {
    slot: Arc<LeafSlot>,
    page: Outgoing,
}

impl Deref for Cleaning {
    type Target = Outgoing;

    fn deref(&self) -> &Outgoing {
        &self.page
    }
}

impl DerefMut for Cleaning {
    fn deref_mut(&mut self) -> &mut Outgoing {
        &mut self.page
    }
}

impl Tree {
    /// Copies a leaf to be written, if it is dirty, durable in the journal, not in use, and no
    /// capture has to do with it.
    pub fn clean(&self, node: &Resident) -> Option<Cleaning> {
        let slot = node.leaf_slot()?;
        let mut state = slot.try_write()?;
        let now = self.tail.replayed(state.lsn);
        let is_free = !state.pending && (!now.capturing || state.epoch == now.epoch);
        if !state.dirty || !is_free || state.lsn > self.tail.last_durable() {
            return None;
        }
        if !now.capturing {
            // Put aside for a capture that is over.
            state.frozen = None;
        }
        let Body::Resident(content) = &mut state.body else { return None };
        let keyspace = content.leaf.keyspace();
        if let Ok(keyspace) = self.keyspace(keyspace) {
            self.prune(&keyspace, content);
        }
        let copy = content.clone();
        state.touched = false;
        drop(state);
        let node = Node::Leaf(slot.clone(), copy);
        Some(Cleaning { slot, page: Outgoing { keyspace, node } })
    }
}

impl Cleaning {
    /// It lies at `ptr`. Returns the place for which the tree has no use any more: the one before,
    /// or `ptr` itself if the leaf was changed or taken by a capture meanwhile.
    pub fn saved(self, ptr: PagePtr) -> Option<PagePtr> {
        let Node::Leaf(_, content) = &self.page.node else { unreachable!("only leaves are") };
        let mut state = self.slot.write();
        content.tell_places(&mut state.body);
        if state.touched || state.pending || !matches!(state.body, Body::Resident(_)) {
            return Some(ptr);
        }
        state.dirty = false;
        state.ptr.replace(ptr)
    }
}
