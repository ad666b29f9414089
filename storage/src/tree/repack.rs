//! Repacking: neighbouring leaves made as few and as full as they can be, and pages marked to be
//! written to other places. Done by compaction, between checkpoints, while writers go on.

use std::sync::Arc;

use super::{
    Attempt, Keyspace, Tree,
    descend::{FoundLeaf, Step, To, descend, find_leaf, path},
    load::{Miss, Resident},
    node::Child,
    slot::{Body, Content, InnerSlot, LeafSlot, LeafState},
};
use crate::{
    page::{Fence, FenceBuf, Held, Leaf, PagePtr, UNIT},
    tail::Ticket,
};

/// Leaves are repacked together until they fill so many pages,
const PAGES: usize = 16;
/// and so many leaves at most.
const LEAVES: usize = 128;

/// What repacking some neighbours came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repacked {
    /// Where to go on; `None` at the keyspace's end.
    pub next: Option<FenceBuf>,
    /// Leaves that were made anew; 0 if nothing was to be had by it.
    pub written: usize,
    /// By how many the leaves have become fewer.
    pub gone: usize,
}

impl Tree {
    /// Prunes the leaves from `from` on and fills them as well as it goes, as far as they have one
    /// parent. Leaves of which that would make no fewer units on disk stay as they are.
    ///
    /// It does nothing while a capture is going on, which would miss what is gone.
    ///
    /// # Errors
    /// [`super::Pause::Miss`].
    pub fn repack(&self, of: &Keyspace, from: Fence<'_>) -> Attempt<Repacked> {
        loop {
            let roots = of.roots();
            if roots.dropped {
                return Ok(Repacked::default());
            }
            match self.try_repack(of, &roots.top, from) {
                Ok(done) => return Ok(done),
                Err(Step::Structure) => of.await_structure(),
                Err(Step::Restart | Step::Load | Step::Further(_)) => {}
                Err(Step::Pause(pause)) => return Err(pause),
            }
        }
    }

    fn try_repack(
        &self,
        of: &Keyspace,
        root: &Arc<InnerSlot>,
        from: Fence<'_>,
    ) -> Result<Repacked, Step> {
        let found = self.neighbours(root, from)?;
        let mut states: Vec<_> = found.iter().map(|leaf| leaf.slot.write()).collect();
        let is_there = |(state, leaf): (&_, &FoundLeaf)| is_current(state, leaf);
        if !states.iter().map(|state| &**state).zip(&found).all(is_there) {
            return Err(Step::Restart);
        }
        let _structure = self.structure();
        if !Arc::ptr_eq(&of.roots().top, root) {
            return Err(Step::Restart);
        }
        let (mut way, first) = path(root, found[0].lower.get());
        let parent = way.pop().expect("a way has a beginning");
        if !Arc::ptr_eq(&first, &found[0].slot) {
            return Err(Step::Restart);
        }
        // Only what has the same parent.
        let room = parent.node.count() - parent.at;
        let same = found.iter().take(room).enumerate().take_while(|(at, leaf)| {
            let child = parent.node.child(parent.at + at);
            matches!(child, Child::Leaf(slot, _) if Arc::ptr_eq(slot, &leaf.slot))
        });
        let count = same.count();
        states.truncate(count);
        let found = &found[..count];
        let next = found[count - 1].upper.clone();
        let Some(ticket) = self.between_captures() else {
            return Ok(Repacked { next, ..Repacked::default() });
        };

        let mut whole = Content::joined(states.iter_mut().map(|state| &*state.resident()));
        let versions = whole.leaf.count();
        self.prune(of, &mut whole);
        let parts = whole.cut(self.sizes.page);
        let before: usize = states.iter_mut().map(|state| units_of(state)).sum();
        let after: usize = parts.iter().map(|part| part.leaf.used().div_ceil(UNIT)).sum();
        // Cut anew, leaves that were too full may become more than they were, and the node above
        // has room for no more.
        let is_fewer = parts.len() <= count;
        let pays = is_fewer && (after < before || whole.leaf.count() < versions);
        if !pays {
            return Ok(Repacked { next, ..Repacked::default() });
        }
        let written = parts.len();
        let children = self.take_parts(found, &mut states, parts, ticket);
        let mut all = parent.node.entries();
        let new = children.iter().map(|(lower, child)| (lower.get(), child.clone()));
        all.splice(parent.at..parent.at + count, new);
        parent.slot.publish(parent.node.with(&all, parent.node.turn), ticket);
        Ok(Repacked { next, written, gone: count - written })
    }

    /// Gives the first leaf the first of `parts` and the others places of their own.
    fn take_parts(
        &self,
        found: &[FoundLeaf],
        states: &mut [std::sync::RwLockWriteGuard<'_, LeafState>],
        parts: Vec<Content>,
        ticket: Ticket,
    ) -> Vec<(FenceBuf, Child)> {
        let newest = states.iter().map(|state| state.lsn).max().expect("there is a leaf");
        let mut parts = parts.into_iter();
        let (first, others) = states.split_first_mut().expect("there is a leaf");
        first.turn += 1;
        first.body = Body::Resident(parts.next().expect("there is a part"));
        first.changed(newest);
        let mut released: Vec<PagePtr> = Vec::new();
        for state in others {
            state.body = Body::Gone;
            released.extend(state.ptr.take());
        }
        self.release(&mut released);
        let leaf = &found[0];
        let mut children = vec![(leaf.lower.clone(), Child::Leaf(leaf.slot.clone(), first.turn))];
        for part in parts {
            let lower = part.leaf.lower_fence().to_buf();
            let slot = Arc::new(LeafSlot::new(part, ticket.epoch));
            self.note_born(Resident::leaf(&slot));
            children.push((lower, Child::Leaf(slot, 0)));
        }
        children
    }

    /// Resident leaves from `from` on, until they fill some pages.
    fn neighbours(&self, root: &Arc<InnerSlot>, from: Fence<'_>) -> Result<Vec<FoundLeaf>, Step> {
        let (mut found, mut used) = (Vec::new(), 0);
        let mut at = from.to_buf();
        loop {
            let leaf = find_leaf(root, To::At(at.get()))?;
            let state = leaf.slot.read();
            match state.content(leaf.turn) {
                Ok(content) => used += content.leaf.used(),
                Err(Step::Load) => {
                    drop(state);
                    return Err(miss(root, &leaf));
                }
                Err(step) => return Err(step),
            }
            drop(state);
            let next = leaf.upper.clone();
            found.push(leaf);
            match next {
                Some(next) if used < PAGES * self.sizes.page && found.len() < LEAVES => at = next,
                _ => return Ok(found),
            }
        }
    }

    /// Has the leaf at `from`, and the nodes above it, written to another place by the next
    /// capture if any of it lies at or behind unit `limit`. Returns where the next leaf begins.
    /// `older` counts the roots that were cleared away, newest first; 0 is the one that counts.
    ///
    /// It does nothing while a capture is going on.
    ///
    /// # Errors
    /// [`super::Pause::Miss`].
    pub fn displace(
        &self,
        of: &Keyspace,
        older: usize,
        from: Fence<'_>,
        limit: u64,
    ) -> Attempt<Displaced> {
        loop {
            let roots = of.roots();
            let root = match older.checked_sub(1) {
                None => Some(&roots.top),
                Some(at) => roots.older.get(at).map(|(_, root)| root),
            };
            let Some(root) = root.filter(|_| !roots.dropped) else {
                return Ok(Displaced { next: None, is_moved: false, is_root: false });
            };
            match self.try_displace(root, from, limit) {
                Ok(done) => return Ok(done),
                Err(Step::Structure) => of.await_structure(),
                Err(Step::Restart | Step::Load | Step::Further(_)) => {}
                Err(Step::Pause(pause)) => return Err(pause),
            }
        }
    }

    fn try_displace(
        &self,
        root: &Arc<InnerSlot>,
        from: Fence<'_>,
        limit: u64,
    ) -> Result<Displaced, Step> {
        let is_behind =
            |ptr: Option<PagePtr>| ptr.is_some_and(|ptr| ptr.unit + u64::from(ptr.units) > limit);
        let (next, is_moved) = descend(root, To::At(from), |arrival| {
            let next = arrival.upper().map(Fence::to_buf);
            let mut state = arrival.slot.write();
            if state.dirty || !is_behind(state.ptr) {
                return Ok((next, false));
            }
            state.content(arrival.turn)?;
            // No version is given, so a capture that has begun is asked for here.
            let newest = state.lsn;
            state.freeze(self.tail.replayed(newest));
            state.changed(newest);
            Ok((next, true))
        })?;
        let _structure = self.structure();
        if self.between_captures().is_some() {
            let mut slot = root.clone();
            while let Some(node) = slot.node.load_full() {
                let mut book = slot.book();
                if is_behind(book.ptr) {
                    (book.dirty, book.touched) = (true, true);
                }
                drop(book);
                match node.child(node.find(from)) {
                    Child::Inner(below, _) => slot = below.clone(),
                    Child::Leaf(..) => break,
                }
            }
        }
        Ok(Displaced { next, is_moved, is_root: true })
    }
}

/// What [`Tree::displace`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Displaced {
    /// Where the next leaf begins; `None` behind the last.
    pub next: Option<FenceBuf>,
    /// Whether the leaf will be written again.
    pub is_moved: bool,
    /// Whether there is such a root.
    pub is_root: bool,
}

fn is_current(state: &LeafState, leaf: &FoundLeaf) -> bool {
    state.turn == leaf.turn && matches!(state.body, Body::Resident(_))
}

/// Units that a resident leaf takes on disk, or would.
fn units_of(state: &mut LeafState) -> usize {
    match state.ptr {
        Some(ptr) if !state.dirty => usize::from(ptr.units),
        _ => state.resident().leaf.used().div_ceil(UNIT),
    }
}

fn miss(root: &Arc<InnerSlot>, leaf: &FoundLeaf) -> Step {
    let keyspace = root.node.load().as_ref().map(|node| node.keyspace);
    let upper = leaf.upper.as_ref().map(FenceBuf::get);
    let miss =
        keyspace.and_then(|keyspace| Miss::of_leaf(&leaf.slot, keyspace, leaf.lower.get(), upper));
    miss.map_or(Step::Restart, |miss| Step::Pause(super::Pause::Miss(miss)))
}

impl Content {
    /// Neighbours in one, whatever it takes.
    fn joined<'a>(contents: impl Iterator<Item = &'a Content>) -> Content {
        let (mut leaves, mut shifts, mut longs) = (Vec::new(), Vec::new(), Vec::new());
        for content in contents {
            leaves.push(&content.leaf);
            shifts.push(longs.len() as u32);
            longs.extend(content.longs.iter().cloned());
        }
        let leaf = Leaf::joined(&leaves, |number, mut entry| {
            if let Held::Memory(long) = &mut entry.held {
                *long += shifts[number];
            }
            entry
        });
        Content { leaf, longs }
    }

    /// It in parts that fill pages of `page` bytes.
    fn cut(&self, page: usize) -> Vec<Content> {
        let leaf = &self.leaf;
        let place = |at: usize| FenceBuf {
            key: [leaf.prefix(), leaf.suffix(at)].concat().into(),
            version: leaf.version(at),
        };
        let cuts = leaf.cuts(page);
        let fences: Vec<FenceBuf> = cuts
            .iter()
            .map(|at| place(*at).get().shortest_after(place(at - 1).get()).to_buf())
            .collect();
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([leaf.count()]);
        let lowers = [leaf.lower_fence()].into_iter().chain(fences.iter().map(FenceBuf::get));
        let uppers = fences.iter().map(|fence| Some(fence.get())).chain([leaf.upper_fence()]);
        let part = |((start, end), (lower, upper))| {
            let mut longs = Vec::new();
            let leaf = leaf.rebuilt(lower, upper, start..end, page, |_, mut entry| {
                if let Held::Memory(number) = &mut entry.held {
                    longs.push(self.longs[*number as usize].clone());
                    *number = longs.len() as u32 - 1;
                }
                Some(entry)
            });
            Content { leaf, longs }
        };
        starts.zip(ends).zip(lowers.zip(uppers)).map(part).collect()
    }
}
