//! Merging what has become small, between checkpoints.

use std::sync::Arc;

use super::{
    Keyspace, Tree,
    descend::path,
    node::{Child, Inner},
    slot::{Body, Content, InnerSlot, LeafSlot},
};
use crate::{
    Lsn,
    page::{Fence, Held},
    tail::Ticket,
};

impl Tree {
    /// Merges resident leaves below a quarter of a page, and inner nodes as small, with their right
    /// neighbours under the same parent. Returns how many nodes are gone.
    ///
    /// It does nothing while a capture is going on, which would miss what is merged away.
    pub fn merge_small(&self) -> usize {
        let spaces = self.keyspaces();
        spaces.iter().map(|keyspace| self.merge_below(keyspace, &keyspace.roots().top)).sum()
    }

    fn merge_below(&self, of: &Keyspace, slot: &Arc<InnerSlot>) -> usize {
        let mut gone = 0;
        let mut at = 0;
        loop {
            // It changes while it is walked, by merges too.
            let Some(node) = slot.node.load_full().filter(|node| at < node.count()) else { break };
            if let Child::Inner(below, _) = node.child(at) {
                gone += self.merge_below(of, below);
            }
            let merged = at + 1 < node.count()
                && match (node.child(at), node.child(at + 1)) {
                    (Child::Leaf(left, _), Child::Leaf(right, _)) => {
                        self.merge_leaves(of, left, right)
                    }
                    (Child::Inner(left, _), Child::Inner(right, _)) => {
                        self.merge_inner(slot, left, right)
                    }
                    _ => unreachable!("children of a node are of one kind"),
                };
            // What has grown may take its next neighbour in too.
            match merged {
                true => gone += 1,
                false => at += 1,
            }
        }
        gone + usize::from(self.flatten(of, slot))
    }

    /// What a merge is published with, unless a capture is going on. The caller holds the structure
    /// mutex, so none can begin.
    pub(super) fn between_captures(&self) -> Option<Ticket> {
        Some(self.tail.replayed(Lsn(0))).filter(|now| !now.capturing)
    }

    fn merge_leaves(&self, of: &Keyspace, left: &Arc<LeafSlot>, right: &Arc<LeafSlot>) -> bool {
        let page = self.sizes.page;
        let used = |slot: &LeafSlot| match &slot.read().body {
            Body::Resident(content) => Some(content.leaf.used()),
            Body::OnDisk | Body::Gone => None,
        };
        let (Some(a), Some(b)) = (used(left), used(right)) else { return false };
        if a.min(b) > page / 4 || a + b > page / 4 * 3 {
            return false;
        }
        let (mut state, mut taken) = (left.write(), right.write());
        let _structure = self.structure();
        let Some(ticket) = self.between_captures() else { return false };
        let (Body::Resident(content), Body::Resident(more)) = (&state.body, &taken.body) else {
            return false;
        };
        let lower = content.leaf.lower_fence().to_buf();
        let (mut way, found) = path(&of.roots().top, lower.get());
        let parent = way.pop().expect("a way has a beginning");
        let next = (parent.at + 1 < parent.node.count()).then(|| parent.node.child(parent.at + 1));
        let are_neighbours = Arc::ptr_eq(&found, left)
            && matches!(next, Some(Child::Leaf(next, _)) if Arc::ptr_eq(next, right));
        if !are_neighbours {
            return false;
        }
        let mut merged = content.merged(more, page);
        // Of a key whose versions were cut here, what the left part had made superfluous goes.
        self.prune(of, &mut merged);
        if merged.leaf.used() > page {
            return false;
        }
        state.turn += 1;
        let newest = state.lsn.max(taken.lsn);
        state.body = Body::Resident(merged);
        state.changed(newest);
        taken.body = Body::Gone;
        self.release(&mut taken.ptr.take().into_iter().collect());
        let mut children = parent.node.entries();
        children.remove(parent.at + 1);
        children[parent.at].1 = Child::Leaf(left.clone(), state.turn);
        parent.slot.publish(parent.node.with(&children, parent.node.turn), ticket);
        true
    }

    /// Merges two children of the node in `parent`.
    fn merge_inner(
        &self,
        parent: &InnerSlot,
        left: &Arc<InnerSlot>,
        right: &Arc<InnerSlot>,
    ) -> bool {
        let _structure = self.structure();
        let Some(ticket) = self.between_captures() else { return false };
        let all = (parent.node.load_full(), left.node.load_full(), right.node.load_full());
        let (Some(node), Some(a), Some(b)) = all else { return false };
        let is = |at: usize, slot: &Arc<InnerSlot>| match node.child(at) {
            Child::Inner(child, _) => Arc::ptr_eq(child, slot),
            Child::Leaf(..) => false,
        };
        let Some(at) = (1..node.count()).find(|at| is(at - 1, left) && is(*at, right)) else {
            return false;
        };
        if a.count() + b.count() > self.sizes.fanout / 2 {
            return false;
        }
        let mut children = a.entries();
        children.extend(b.entries());
        let turn = a.turn + 1;
        let whole = Inner::new(a.keyspace, a.level, turn, &children, b.upper_fence());
        if whole.image_size() > self.sizes.page {
            return false;
        }
        left.publish(whole, ticket);
        let mut book = right.book();
        book.gone = true;
        self.release(&mut book.ptr.take().into_iter().collect());
        let mut children = node.entries();
        children.remove(at);
        children[at - 1].1 = Child::Inner(left.clone(), turn);
        parent.publish(node.with(&children, node.turn), ticket);
        true
    }

    /// Puts the only child of a root in its place, if that is an inner node.
    fn flatten(&self, of: &Keyspace, root: &Arc<InnerSlot>) -> bool {
        if !Arc::ptr_eq(&of.roots().top, root) {
            return false;
        }
        let _structure = self.structure();
        let Some(ticket) = self.between_captures() else { return false };
        let Some(node) = root.node.load_full().filter(|node| node.count() == 1) else {
            return false;
        };
        let Child::Inner(only, _) = node.child(0) else { return false };
        let Some(below) = only.node.load_full() else { return false };
        root.publish(Inner::new(below.keyspace, below.level, 0, &below.entries(), None), ticket);
        let mut book = only.book();
        book.gone = true;
        self.release(&mut book.ptr.take().into_iter().collect());
        true
    }
}

impl Inner {
    /// The same node with other children.
    pub(super) fn with(&self, children: &[(Fence<'_>, Child)], turn: u32) -> Inner {
        Inner::new(self.keyspace, self.level, turn, children, self.upper_fence())
    }
}

impl Content {
    /// This leaf and its right neighbour in one.
    fn merged(&self, right: &Content, page: usize) -> Content {
        let shift = self.longs.len() as u32;
        let leaf = self.leaf.merged(&right.leaf, page, |mut entry| {
            if let Held::Memory(number) = &mut entry.held {
                *number += shift;
            }
            entry
        });
        let longs = self.longs.iter().chain(&right.longs).cloned().collect();
        Content { leaf, longs }
    }
}
