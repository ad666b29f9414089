//! What a cursor has copied of one leaf, and which of it can be seen.

use std::ops::Range;

use super::Item;
use crate::{
    Lsn,
    page::{Entry, Held, Leaf, Plain, Run},
    tree::slot::{Content, Long},
};

/// Entries of one leaf, all versions of each key or none.
///
/// What can be seen is found as it is asked for. Either end of `left` is always a border between
/// keys, or lies within the versions of a key at the one that is seen.
#[derive(Debug, Default)]
pub(super) struct Batch {
    run: Run,
    /// Those of the leaf, if it has any.
    longs: Vec<Option<Long>>,
    /// What all keys begin with, and the rest of the one that was asked for last.
    key: Vec<u8>,
    prefix: usize,
    /// Those that were not handed out.
    left: Range<usize>,
    /// Whether the leaf before may have the version of the first key that counts.
    pub(super) in_doubt: bool,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.run.clear();
        self.longs.clear();
        self.left = 0..0;
        self.in_doubt = false;
    }

    /// Copies the entries in `range` of a leaf.
    pub(super) fn copy(&mut self, content: &Content, range: Range<usize>) {
        self.left = 0..range.len();
        self.run.take(&content.leaf, range);
        if !content.longs.is_empty() {
            self.longs.clone_from(&content.longs);
        }
        self.key.clear();
        self.key.extend_from_slice(content.leaf.prefix());
        self.prefix = content.leaf.prefix_len();
    }

    /// The first key, if nothing has to be known to show it: see [`Run::plain`]. It is handed out.
    #[inline]
    pub(super) fn take_plain(&mut self, at: Lsn) -> Option<Plain> {
        if self.left.is_empty() {
            return None;
        }
        let plain = self.run.plain(self.left.start, at)?;
        self.left.start += 1;
        Some(plain)
    }

    /// What was found there.
    #[inline]
    pub(super) fn plain(&mut self, found: Plain) -> Item<'_> {
        let (suffix, value) = self.run.parts(found);
        self.key.truncate(self.prefix);
        self.key.extend_from_slice(suffix);
        Item { key: &self.key, value, version: found.version, deadline: None, pointer: None }
    }

    /// Where the first key is that has something to be seen as of `at`.
    #[inline]
    pub(super) fn front(&mut self, at: Lsn) -> Option<usize> {
        while !self.left.is_empty() {
            let here = self.left.start;
            let (version, is_tombstone) = self.run.seen(here);
            if version > at {
                self.left.start += 1;
            } else if is_tombstone {
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
            let last = self.left.end - 1;
            let mut first = last;
            while first > self.left.start && self.run.is_same_key(first) {
                first -= 1;
            }
            match (first..=last).find(|here| self.run.seen(*here).0 <= at) {
                Some(here) if !self.run.seen(here).1 => {
                    self.left.end = here + 1;
                    return Some(here);
                }
                _ => self.left.end = first,
            }
        }
        None
    }

    /// Leaves the key at `here`, which is at that end, behind.
    #[inline]
    pub(super) fn pass(&mut self, here: usize, is_front: bool) {
        if is_front {
            self.left.start = here + 1;
            while !self.left.is_empty() && self.run.is_same_key(self.left.start) {
                self.left.start += 1;
            }
        } else {
            self.left.end = here;
            while !self.left.is_empty() && self.run.is_same_key(self.left.end) {
                self.left.end -= 1;
            }
        }
    }

    /// What is at `here`.
    #[inline]
    pub(super) fn item(&mut self, here: usize) -> Item<'_> {
        let Entry { suffix, version, deadline, held } = self.run.entry(here);
        self.key.truncate(self.prefix);
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
        while self.run.seen(here).0 > at {
            here += 1;
            if here == self.left.end || !self.run.is_same_key(here) {
                return;
            }
        }
        if self.run.seen(here).0 != counts {
            self.pass(here, true);
        }
    }
}

/// Whether the leaf before, or a place before `start`, has versions of the key at `start`, as of
/// before `at`.
pub(super) fn may_be_decided_before(leaf: &Leaf, start: usize, at: Lsn) -> bool {
    if start > 0 {
        return leaf.is_same_key(start);
    }
    let lower = leaf.lower_fence();
    lower.version < at && start < leaf.count() && leaf.is_of(start, lower.key)
}
