//! Inner nodes in memory: immutable, swapped as a whole, searched by eight bytes at a time.

use std::{cmp::Ordering, sync::Arc};

use super::slot::{InnerSlot, LeafSlot};
use crate::{
    KeyspaceId, Lsn,
    page::{
        Fence, FenceBuf, InnerPage, PagePtr,
        fence::{common, prefix_between},
    },
};

/// What an inner node refers to: nodes of one kind, each with the turn of its fences that the
/// node knows. Whoever finds another turn below was overtaken and starts again.
#[derive(Clone, Debug)]
pub(crate) enum Child {
    Inner(Arc<InnerSlot>, u32),
    Leaf(Arc<LeafSlot>, u32),
}

/// An inner node.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) keyspace: KeyspaceId,
    pub(crate) level: u8,
    /// How many times its fences have moved.
    pub(crate) turn: u32,
    /// How many bytes all separators but the first share. The first one is never looked at: what
    /// is before the second belongs to the first child.
    prefix: usize,
    /// The eight bytes of each separator behind the prefix, as numbers; the first is 0.
    heads: Box<[u64]>,
    children: Box<[Child]>,
    /// Whole keys of the separators in a row, where each ends, and their versions.
    keys: Box<[u8]>,
    ends: Box<[u32]>,
    versions: Box<[Lsn]>,
    upper: Option<FenceBuf>,
}

/// The eight bytes behind the common prefix as a number that is ordered as they are.
#[inline]
fn head_of(suffix: &[u8]) -> u64 {
    match suffix.first_chunk() {
        Some(eight) => u64::from_be_bytes(*eight),
        None => {
            let mut eight = [0; 8];
            eight[..suffix.len()].copy_from_slice(suffix);
            u64::from_be_bytes(eight)
        }
    }
}

impl Inner {
    /// A node of these children, each with the place where it begins.
    pub(crate) fn new(
        keyspace: KeyspaceId,
        level: u8,
        turn: u32,
        children: &[(Fence<'_>, Child)],
        upper: Option<Fence<'_>>,
    ) -> Inner {
        let key = |at: usize| children[at].0.key;
        let prefix = match children.len() {
            1 => 0,
            count => common(key(1), key(count - 1)),
        };
        let heads = children.iter().enumerate().map(|(at, (fence, _))| match at {
            0 => 0,
            _ => head_of(&fence.key[prefix..]),
        });
        let mut keys = Vec::with_capacity(children.iter().map(|(at, _)| at.key.len()).sum());
        let mut ends = Vec::with_capacity(children.len());
        for (at, _) in children {
            keys.extend_from_slice(at.key);
            ends.push(keys.len() as u32);
        }
        Inner {
            keyspace,
            level,
            turn,
            prefix,
            heads: heads.collect(),
            children: children.iter().map(|(_, child)| child.clone()).collect(),
            keys: keys.into(),
            ends: ends.into(),
            versions: children.iter().map(|(at, _)| at.version).collect(),
            upper: upper.map(Fence::to_buf),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.children.len()
    }

    pub(crate) fn child(&self, at: usize) -> &Child {
        &self.children[at]
    }

    /// Where the child at `at` begins.
    #[inline]
    pub(crate) fn lower(&self, at: usize) -> Fence<'_> {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        Fence { key: &self.keys[start..self.ends[at] as usize], version: self.versions[at] }
    }

    /// Where the child at `at` ends; `None` if nothing is behind it.
    pub(crate) fn upper(&self, at: usize) -> Option<Fence<'_>> {
        match at + 1 < self.count() {
            true => Some(self.lower(at + 1)),
            false => self.upper.as_ref().map(FenceBuf::get),
        }
    }

    /// Where the node ends; `None` if nothing is behind it.
    pub(crate) fn upper_fence(&self) -> Option<Fence<'_>> {
        self.upper.as_ref().map(FenceBuf::get)
    }

    /// All children with the places where they begin.
    pub(crate) fn entries(&self) -> Vec<(Fence<'_>, Child)> {
        (0..self.count()).map(|at| (self.lower(at), self.children[at].clone())).collect()
    }

    /// Bytes of its image on disk.
    pub(crate) fn image_size(&self) -> usize {
        let prefix = prefix_between(self.lower(0), self.upper_fence());
        let separators = (0..self.count()).map(|at| self.lower(at).key.len() - prefix);
        let upper = self.upper.as_ref().map_or(0, |upper| upper.key.len());
        InnerPage::size(separators, self.lower(0).key.len() + upper)
    }

    /// Bytes it takes in memory, its children's slots included.
    pub(crate) fn size(&self) -> usize {
        let slot = match &self.children[0] {
            Child::Inner(..) => size_of::<InnerSlot>(),
            Child::Leaf(..) => size_of::<LeafSlot>(),
        };
        size_of::<Inner>()
            + self.keys.len()
            + self.count() * (slot + size_of::<Child>() + size_of::<u64>() * 2 + size_of::<u32>())
    }

    /// Which child `target` belongs to.
    #[inline]
    pub(crate) fn find(&self, target: Fence<'_>) -> usize {
        self.search(target, Ordering::Greater)
    }

    /// Which child the place right before `target` belongs to.
    pub(crate) fn find_before(&self, target: Fence<'_>) -> usize {
        self.search(target, Ordering::Less)
    }

    /// The last child that begins before `target`, or at it if equal counts as `Greater`.
    #[inline]
    fn search(&self, target: Fence<'_>, equal: Ordering) -> usize {
        if self.count() == 1 {
            return 0;
        }
        let prefix = &self.lower(1).key[..self.prefix];
        let Some(suffix) = target.key.strip_prefix(prefix) else {
            return if target.key < prefix { 0 } else { self.count() - 1 };
        };
        let head = head_of(suffix);
        let mut at = 1 + heads_below(&self.heads[1..], head);
        while at < self.heads.len()
            && self.heads[at] == head
            && self.behind_head(target, at).then(equal).is_gt()
        {
            at += 1;
        }
        at - 1
    }

    /// How `target` compares to the separator at `at`, the head of which is the same.
    fn behind_head(&self, target: Fence<'_>, at: usize) -> Ordering {
        let same = self.prefix + size_of::<u64>();
        let separator = self.lower(at);
        let (a, b) = (target.key.len().min(same), separator.key.len().min(same));
        let by_key = target.key[a..].cmp(&separator.key[b..]).then(a.cmp(&b));
        by_key.then(separator.version.cmp(&target.version))
    }

    /// What it is on disk if its children are where `refs` says.
    pub(crate) fn image(&self, refs: &[PagePtr], lsn: Lsn) -> Vec<u8> {
        let children = refs.iter().enumerate().map(|(at, ptr)| (self.lower(at), *ptr)).collect();
        let (keyspace, level, upper) = (self.keyspace, self.level, self.upper_fence());
        InnerPage { keyspace, level, lsn, children, upper }.encode()
    }
}

/// How many of the sorted `heads` are below `head`.
#[inline]
fn heads_below(heads: &[u64], head: u64) -> usize {
    let (mut base, mut size) = (0, heads.len());
    if size == 0 {
        return 0;
    }
    while size > 1 {
        let half = size / 2;
        let below = heads[base + half] < head;
        base = std::hint::select_unpredictable(below, base + half, base);
        size -= half;
    }
    base + usize::from(heads[base] < head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::NEWEST;

    #[test]
    fn a_node_leads_to_the_last_child_that_begins_in_time() {
        let keys: [&[u8]; 6] = [b"", b"ab", b"abcdefghi", b"abcdefghij", b"abcdefghij", b"b"];
        let versions = [NEWEST, NEWEST, NEWEST, NEWEST, Lsn(5), NEWEST];
        let children: Vec<_> = keys
            .iter()
            .zip(versions)
            .map(|(key, version)| {
                let leaf = Child::Leaf(Arc::new(LeafSlot::gone()), 0);
                (Fence { key, version }, leaf)
            })
            .collect();
        let node = Inner::new(KeyspaceId(20), 1, 0, &children, None);
        let at = |key, version| Fence { key, version: Lsn(version) };
        for (target, expected) in [
            (at(b"a", 1), 0),
            (at(b"ab", u64::MAX), 1),
            (at(b"ab\0", 1), 1),
            (at(b"abcdefgh", 1), 1),
            (at(b"abcdefghi", 1), 2),
            (at(b"abcdefghij", 6), 3),
            (at(b"abcdefghij", 5), 4),
            (at(b"abcdefghij", 4), 4),
            (at(b"az", 1), 4),
            (at(b"b", 1), 5),
            (at(b"\0", 1), 0),
            (at(b"zz", 1), 5),
        ] {
            assert_eq!(node.find(target), expected, "{target:?}");
            let is_border = node.lower(expected) == target;
            assert_eq!(node.find_before(target), expected - usize::from(is_border), "{target:?}");
        }
        assert_eq!(node.upper(3), Some(at(b"abcdefghij", 5)));
        assert_eq!((node.upper(5), node.count()), (None, 6));
    }
}
