//! Places in the order of a tree: by key ascending, then by version descending.

use std::cmp::Ordering;

use crate::Lsn;

/// Newer than any version: the place before all versions of a key.
pub const NEWEST: Lsn = Lsn(u64::MAX);

/// A place in the order of a tree. A newer version of a key comes before an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence<'a> {
    /// The key; empty is before every key.
    pub key: &'a [u8],
    /// The newest version behind this place.
    pub version: Lsn,
}

impl<'a> Fence<'a> {
    /// Before every key.
    pub const FIRST: Fence<'static> = Fence { key: &[], version: NEWEST };

    /// Before all versions of `key`.
    pub fn before(key: &'a [u8]) -> Fence<'a> {
        Fence { key, version: NEWEST }
    }

    /// The shortest place behind `left` and not behind `self`, which comes after `left`.
    pub fn shortest_after(self, left: Fence<'_>) -> Fence<'a> {
        debug_assert!(left < self, "{left:?} is not before {self:?}");
        match common(left.key, self.key) {
            // The same key: a fence within its versions.
            same if same == self.key.len() => self,
            same => Fence::before(&self.key[..same + 1]),
        }
    }

    /// A copy that owns its key.
    pub fn to_buf(self) -> FenceBuf {
        FenceBuf { key: self.key.into(), version: self.version }
    }
}

impl PartialOrd for Fence<'_> {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Fence<'_> {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(other.key).then_with(|| other.version.cmp(&self.version))
    }
}

/// A [`Fence`] that owns its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceBuf {
    /// See [`Fence::key`].
    pub key: Box<[u8]>,
    /// See [`Fence::version`].
    pub version: Lsn,
}

impl FenceBuf {
    /// Makes it the same as `fence`.
    pub fn set(&mut self, fence: Fence<'_>) {
        match self.key.len() == fence.key.len() {
            true => self.key.copy_from_slice(fence.key),
            false => self.key = fence.key.into(),
        }
        self.version = fence.version;
    }

    /// The place itself.
    #[inline]
    pub fn get(&self) -> Fence<'_> {
        Fence { key: &self.key, version: self.version }
    }
}

/// How many bytes `a` and `b` begin with in common.
pub(crate) fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The length of the prefix that all keys between two fences share; nothing without an upper one.
pub(crate) fn prefix_between(lower: Fence<'_>, upper: Option<Fence<'_>>) -> usize {
    upper.map_or(0, |upper| common(lower.key, upper.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(key: &[u8], version: u64) -> Fence<'_> {
        Fence { key, version: Lsn(version) }
    }

    #[test]
    fn newer_versions_come_first_and_the_empty_key_before_all() {
        let order = [Fence::FIRST, Fence::before(b"a"), at(b"a", 2), at(b"a", 1), at(b"a\0", 9)];
        assert!(order.is_sorted() && order.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn the_shortest_fence_lies_between_its_neighbours() {
        let cases = [
            (at(b"abc", 1), at(b"abd", 9), Fence::before(b"abd")),
            (at(b"ab", 1), at(b"abdefg", 9), Fence::before(b"abd")),
            (at(b"axxx", 1), at(b"bxxx", 9), Fence::before(b"b")),
            (at(b"k", 9), at(b"k", 8), at(b"k", 8)),
        ];
        for (left, right, expected) in cases {
            let between = right.shortest_after(left);
            assert_eq!(between, expected);
            assert!(left < between && between <= right, "{left:?} {right:?}");
        }
    }
}
