//! Making room: pruning, splitting, and telling the inner nodes.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{
    Keyspace, Tree,
    descend::{Passed, path},
    load::Resident,
    node::{Child, Inner},
    slot::{Content, InnerSlot, LeafSlot, LeafState},
};
use crate::{
    Lsn,
    page::{Entry, Fence, FenceBuf, Held, Leaf, Slot, ValuePointer},
    retention::Keep,
    tail::Ticket,
    vlog::record_size,
};

/// What is written to one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'a> {
    pub(crate) key: &'a [u8],
    /// `None` deletes it.
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) deadline: Option<u64>,
}

impl Write<'_> {
    /// Bytes of its entry in `leaf`.
    #[inline]
    pub(crate) fn size(&self, leaf: &Leaf, inline: usize) -> usize {
        let held = match self.value {
            None => Held::Tombstone,
            Some(long) if long.len() > inline => Held::Memory(0),
            Some(value) => Held::Value(value),
        };
        let suffix = &self.key[leaf.prefix_len()..];
        Entry { suffix, version: Lsn(0), deadline: self.deadline, held }.size()
    }
}

impl Content {
    /// Puts `write` into a leaf where it fits. A version that is there already stays as it is.
    #[inline]
    pub(crate) fn insert(&mut self, write: &Write<'_>, version: Lsn, inline: usize) {
        let (at, is_key) = self.leaf.seek(write.key, version);
        if is_key && self.leaf.version(at) == version {
            return;
        }
        let held = match write.value {
            None => Held::Tombstone,
            Some(long) if long.len() > inline => Held::Memory(self.keep_long(long)),
            Some(value) => Held::Value(value),
        };
        let suffix = &write.key[self.leaf.prefix_len()..];
        let entry = Entry { suffix, version, deadline: write.deadline, held };
        self.leaf.insert(at, &entry);
    }

    /// Splits it where `write` shall go next, so that there is more room for it, and returns the
    /// right part. It holds an entry at least.
    fn split_for(
        &mut self,
        write: &Write<'_>,
        version: Lsn,
        page: usize,
        spare: &mut Vec<u8>,
    ) -> Content {
        let leaf = &self.leaf;
        let (goes, count) = (leaf.seek(write.key, version).0, leaf.count());
        let at = match goes {
            // In order so far: the left part stays full.
            goes if goes == count && leaf.is_appended_to() => count,
            goes if count == 1 => goes,
            _ => leaf.split_point(),
        };
        let place = |at: usize| FenceBuf {
            key: [leaf.prefix(), leaf.suffix(at)].concat().into(),
            version: leaf.version(at),
        };
        let here = Fence { key: write.key, version };
        let fence = match at {
            0 => place(0).get().shortest_after(here).to_buf(),
            at if at == count => here.shortest_after(place(count - 1).get()).to_buf(),
            at => place(at).get().shortest_after(place(at - 1).get()).to_buf(),
        };
        let right = self.leaf.split(at, fence.get(), page, spare);
        let mut right = Content { leaf: right, longs: self.longs.clone() };
        right.sweep_longs();
        self.sweep_longs();
        right
    }
}

impl Tree {
    /// Gives a leaf as it came from the disk the size it has in memory; if that is not enough,
    /// drops what nobody can ask for any more. Returns whether there is room enough then that it
    /// pays to leave the leaf whole.
    pub(crate) fn make_room(&self, of: &Keyspace, content: &mut Content, need: usize) -> bool {
        let page = self.sizes.page;
        if content.leaf.size() < page {
            content.leaf.grow(page);
            if content.leaf.fits(0, need) {
                return true;
            }
        }
        self.prune(of, content);
        // A leaf that is nearly full of live entries would be pruned again at once.
        content.leaf.used() + need <= page / 4 * 3
    }

    /// Drops what nobody can ask for any more.
    pub(crate) fn prune(&self, of: &Keyspace, content: &mut Content) {
        self.prune_to(self.keep(of), content);
    }

    /// Drops all that `keep` does not name.
    pub(super) fn prune_to(&self, keep: Keep, content: &mut Content) {
        let Content { leaf, longs } = content;
        let mut dead = Vec::new();
        let mut gone = 0;
        let mut spare = self.spare();
        leaf.prune(keep.floor, keep.last, self.sizes.page, &mut spare, &mut |entry| {
            gone += 1;
            match entry.held {
                Held::Memory(number) => {
                    dead.extend(longs[number as usize].take().and_then(|long| long.at));
                }
                Held::Pointer(at) => dead.push(at),
                Held::Value(_) | Held::Tombstone => {}
            }
        });
        self.keep_spare(spare);
        if gone > 0 {
            self.pruned.fetch_add(gone, Relaxed);
            self.count_dead(&dead);
        }
    }

    /// Memory in which a leaf may be rebuilt: that of the one which was rebuilt last, most often.
    fn spare(&self) -> Vec<u8> {
        self.spare.try_lock().map(|mut spare| std::mem::take(&mut *spare)).unwrap_or_default()
    }

    /// Keeps the memory of a leaf that was rebuilt, if it is that of a leaf as most are.
    fn keep_spare(&self, memory: Vec<u8>) {
        if memory.capacity() == self.sizes.page
            && let Ok(mut spare) = self.spare.try_lock()
        {
            *spare = memory;
        }
    }

    /// Notes that nothing refers to these values any more.
    pub(super) fn count_dead(&self, values: &[ValuePointer]) {
        if values.is_empty() {
            return;
        }
        let mut counts = self.dead_values.lock().expect("nobody panics while counting");
        for at in values {
            let size = record_size(at.key_len.into(), at.len as usize) as u64;
            *counts.entry(at.segment).or_default() += size;
        }
    }

    /// Puts `writes`, in order, into a leaf, splitting it as often as it takes. Returns the leaves
    /// that came into being to its right.
    pub(crate) fn spread(
        &self,
        state: &mut LeafState,
        writes: &[Write<'_>],
        version: impl Fn(usize) -> Lsn,
    ) -> Vec<Content> {
        let (page, inline) = (self.sizes.page, self.sizes.inline);
        let mut more: Vec<Content> = Vec::new();
        for (number, write) in writes.iter().enumerate() {
            let version = version(number);
            let here = Fence { key: write.key, version };
            loop {
                let at = more.partition_point(|part| part.leaf.lower_fence() <= here);
                let part = match at.checked_sub(1) {
                    None => state.resident(),
                    Some(at) => &mut more[at],
                };
                let need = write.size(&part.leaf, inline);
                if part.leaf.size() < page {
                    part.leaf.grow(page);
                }
                if part.leaf.fits(1, need) {
                    part.insert(write, version, inline);
                    break;
                }
                if part.leaf.is_empty() {
                    let fences = part.leaf.used();
                    part.leaf.grow(fences + Slot::SIZE + need);
                    continue;
                }
                let mut spare = self.spare();
                let right = part.split_for(write, version, page, &mut spare);
                self.keep_spare(spare);
                more.insert(at, right);
            }
        }
        more
    }

    /// Tells the inner nodes of the leaves `more` that came into being to the right of the one in
    /// `slot`, the latch of which is held. The caller holds the structure mutex.
    pub(crate) fn publish(
        &self,
        root: &Arc<InnerSlot>,
        slot: &Arc<LeafSlot>,
        state: &mut LeafState,
        more: Vec<Content>,
        ticket: Ticket,
    ) {
        if more.is_empty() {
            return;
        }
        let lower = state.resident().leaf.lower_fence().to_buf();
        let (path, found) = path(root, lower.get());
        assert!(Arc::ptr_eq(&found, slot), "the structure changes under its mutex only");
        state.turn += 1;
        let mut parts = vec![(lower, Child::Leaf(slot.clone(), state.turn))];
        for content in more {
            let lower = content.leaf.lower_fence().to_buf();
            let leaf = Arc::new(LeafSlot::new(content, ticket.epoch));
            self.note_born(Resident::leaf(&leaf));
            parts.push((lower, Child::Leaf(leaf, 0)));
        }
        self.replace_child(path, parts, ticket);
    }

    /// Puts `parts` in the place of the child that `path` ends at, splitting nodes upwards.
    fn replace_child(&self, mut path: Vec<Passed>, parts: Vec<(FenceBuf, Child)>, ticket: Ticket) {
        let Passed { slot, node, at } = path.pop().expect("a way has a beginning");
        let mut children = node.entries();
        let parts_of = parts.iter().map(|(lower, child)| (lower.get(), child.clone()));
        children.splice(at..at + 1, parts_of);
        let make = |turn, children: &[_], upper| {
            Inner::new(node.keyspace, node.level, turn, children, upper)
        };
        let whole = make(node.turn, &children, node.upper_fence());
        if whole.count() <= self.sizes.fanout && whole.image_size() <= self.sizes.page.max(4096) {
            slot.publish(whole, ticket);
            return;
        }
        // A node that grew at its end grows there again.
        let at_end = at + 1 == node.count();
        let middle =
            if at_end { children.len() - children.len() / 8 - 1 } else { children.len() / 2 };
        let middle = middle.max(1);
        let border = children[middle].0;
        let right = make(0, &children[middle..], node.upper_fence());
        let right = Arc::new(InnerSlot::new(right, ticket.epoch));
        self.note_born(Resident::inner(&right));
        let right = (border.to_buf(), Child::Inner(right, 0));
        if path.is_empty() {
            // The root keeps its place, so its two halves go to new ones below it.
            let left = make(0, &children[..middle], Some(border));
            let left = Arc::new(InnerSlot::new(left, ticket.epoch));
            self.note_born(Resident::inner(&left));
            let left = (children[0].0, Child::Inner(left, 0));
            let halves = [left, (right.0.get(), right.1.clone())];
            slot.publish(Inner::new(node.keyspace, node.level + 1, 0, &halves, None), ticket);
            return;
        }
        let turn = node.turn + 1;
        let left = make(turn, &children[..middle], Some(border));
        let lower = children[0].0.to_buf();
        slot.publish(left, ticket);
        self.replace_child(path, vec![(lower, Child::Inner(slot, turn)), right], ticket);
    }
}
