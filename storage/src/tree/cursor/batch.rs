//! What a cursor has copied of one leaf, and which of it can be seen.

use std::ops::Range;

use super::Item;
use crate::{
    Lsn,
    page::{Entry, Fence, Held, Leaf, Plain},
    tree::slot::{Content, Long},
};

/// A copy of a leaf, and what of it was not handed out.
///
/// What can be seen is found as it is asked for. Either end of `left` is always a border between
/// keys, or lies within the versions of a key at the one that is seen.
#[derive(Debug)]
pub(super) struct Batch {
    leaf: Leaf,
    longs: Vec<Option<Long>>,
    left: Range<usize>,
    /// What all keys begin with, and the rest of the one that was asked for last.
    key: Vec<u8>,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { leaf: Leaf::hollow(), longs: Vec::new(), left: 0..0, key: Vec::new() }
    }
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.left = 0..0;
    }

    /// Copies a leaf. Nothing of it is handed out before [`Batch::cut`].
    pub(super) fn copy(&mut self, content: &Content) {
        content.leaf.copy_to(&mut self.leaf);
        self.longs.clone_from(&content.longs);
    }

    /// Leaves what is not between `from` and `to`. Whether an older version of the first key may be
    /// there than the one that is seen as of `at`, which is behind `from` then.
    pub(super) fn cut(&mut self, from: Fence<'_>, to: Option<Fence<'_>>, at: Lsn) -> bool {
        let leaf = &self.leaf;
        let (lower, upper) = (leaf.lower_fence(), leaf.upper_fence());
        let first = match from > lower {
            true => leaf.seek(from.key, from.version).0,
            false => 0,
        };
        let last = match to {
            Some(to) if upper.is_none_or(|upper| to < upper) => leaf.seek(to.key, to.version).0,
            _ => leaf.count(),
        };
        self.left = first..last;
        self.key.clear();
        self.key.extend_from_slice(leaf.prefix());
        let is_cut = match first {
            0 => lower.version < at && leaf.is_of(0, lower.key),
            _ => first < last && leaf.is_same_key(first),
        };
        is_cut && first < last
    }

    /// The fences of the leaf.
    pub(super) fn fences(&self) -> (Fence<'_>, Option<Fence<'_>>) {
        (self.leaf.lower_fence(), self.leaf.upper_fence())
    }

    /// Takes the first key, if nothing has to be known to show it: see [`Leaf::plain`].
    #[inline]
    pub(super) fn take_plain(&mut self, at: Lsn) -> Option<Plain> {
        if self.left.is_empty() {
            return None;
        }
        let plain = self.leaf.plain(self.left.start, at)?;
        self.left.start += 1;
        Some(plain)
    }

    /// What was taken.
    #[inline]
    pub(super) fn plain(&mut self, found: Plain) -> Item<'_> {
        let (suffix, value) = self.leaf.parts(found);
        self.key.truncate(self.leaf.prefix_len());
        self.key.extend_from_slice(suffix);
        Item { key: &self.key, value, version: found.version, deadline: None, pointer: None }
    }

    /// Where the first key is that has something to be seen as of `at`.
    pub(super) fn front(&mut self, at: Lsn) -> Option<usize> {
        while !self.left.is_empty() {
            let here = self.left.start;
            if self.leaf.version(here) > at {
                self.left.start += 1;
            } else if self.leaf.is_tombstone(here) {
                self.pass(here, true);
            } else {
                return Some(here);
            }
        }
        None
    }

    /// Where the last key is that has something to be seen as of `at`.
    pub(super) fn back(&mut self, at: Lsn) -> Option<usize> {
        while !self.left.is_empty() {
            let mut first = self.left.end - 1;
            while first > self.left.start && self.leaf.is_same_key(first) {
                first -= 1;
            }
            match (first..self.left.end).find(|here| self.leaf.version(*here) <= at) {
                Some(here) if !self.leaf.is_tombstone(here) => {
                    self.left.end = here + 1;
                    return Some(here);
                }
                _ => self.left.end = first,
            }
        }
        None
    }

    /// Leaves the key at `here`, which is the first or the last one left, behind.
    pub(super) fn pass(&mut self, here: usize, is_front: bool) {
        if is_front {
            self.left.start = here + 1;
            while !self.left.is_empty() && self.leaf.is_same_key(self.left.start) {
                self.left.start += 1;
            }
        } else {
            self.left.end = here;
            while !self.left.is_empty() && self.leaf.is_same_key(self.left.end) {
                self.left.end -= 1;
            }
        }
    }

    /// What is at `here`.
    pub(super) fn item(&mut self, here: usize) -> Item<'_> {
        let Entry { suffix, version, deadline, held } = self.leaf.entry(here);
        self.key.truncate(self.leaf.prefix_len());
        self.key.extend_from_slice(suffix);
        let (value, pointer): (&[u8], _) = match held {
            Held::Value(value) => (value, None),
            Held::Tombstone => (&[], None),
            Held::Memory(number) => {
                let long = self.longs[number as usize].as_ref();
                (&long.expect("an entry refers to it").bytes, None)
            }
            Held::Pointer(at) => (&[], Some(at)),
        };
        Item { key: &self.key, value, version, deadline, pointer }
    }

    /// The first key, whatever there is of it.
    pub(super) fn first_key(&mut self) -> &[u8] {
        self.item(self.left.start).key
    }

    /// Leaves the first key behind if the version of it that is seen as of `at` is not `counts`.
    pub(super) fn decide(&mut self, at: Lsn, counts: Lsn) {
        let mut here = self.left.start;
        while self.leaf.version(here) > at {
            here += 1;
            if here == self.left.end || !self.leaf.is_same_key(here) {
                return;
            }
        }
        if self.leaf.version(here) != counts {
            self.pass(here, true);
        }
    }
}
