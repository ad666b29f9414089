//! What a transaction would write: seen by its own reads, and by nobody else until it commits.

use std::{collections::BTreeMap, ops::Bound};

use crate::{KeyspaceId, record::Op};

/// What a key is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// A value, until the deadline (Unix ms) if there is one.
    Put { value: Vec<u8>, deadline: Option<u64> },
    /// Nothing.
    Delete,
}

/// The last write of each key.
#[derive(Debug, Default)]
pub(super) struct Overlay(BTreeMap<KeyspaceId, BTreeMap<Vec<u8>, Own>>);

impl Overlay {
    pub(super) fn set(&mut self, keyspace: KeyspaceId, key: &[u8], own: Own) {
        self.0.entry(keyspace).or_default().insert(key.to_vec(), own);
    }

    pub(super) fn get(&self, keyspace: KeyspaceId, key: &[u8]) -> Option<&Own> {
        self.0.get(&keyspace)?.get(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first write between two bounds; none if the bounds have crossed.
    pub(super) fn first(
        &self,
        keyspace: KeyspaceId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Option<(&[u8], &Own)> {
        self.range(keyspace, from, to)?.next().map(|(key, own)| (key.as_slice(), own))
    }

    /// The last write between two bounds; none if the bounds have crossed.
    pub(super) fn last(
        &self,
        keyspace: KeyspaceId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Option<(&[u8], &Own)> {
        self.range(keyspace, from, to)?.next_back().map(|(key, own)| (key.as_slice(), own))
    }

    fn range(
        &self,
        keyspace: KeyspaceId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Option<impl DoubleEndedIterator<Item = (&Vec<u8>, &Own)>> {
        let have_crossed = match (from, to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
            | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        };
        let writes = self.0.get(&keyspace).filter(|_| !have_crossed)?;
        Some(writes.range::<[u8], _>((from, to)))
    }

    /// All writes in the order in which leaves are latched: keyspace, key.
    pub(super) fn ops(&self) -> impl Iterator<Item = Op<'_>> {
        self.0.iter().flat_map(|(keyspace, writes)| {
            writes.iter().map(|(key, own)| {
                let keyspace = *keyspace;
                match own {
                    Own::Put { value, deadline } => {
                        Op::Put { keyspace, key, value, deadline: *deadline }
                    }
                    Own::Delete => Op::Delete { keyspace, key },
                }
            })
        })
    }

    /// The written keys, in the same order.
    pub(super) fn keys(&self) -> impl Iterator<Item = (KeyspaceId, &[u8])> {
        let of = |(keyspace, writes): (&KeyspaceId, _)| (*keyspace, writes);
        self.0.iter().map(of).flat_map(|(keyspace, writes): (_, &BTreeMap<Vec<u8>, Own>)| {
            writes.keys().map(move |key| (keyspace, key.as_slice()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KS: KeyspaceId = KeyspaceId(16);

    #[test]
    fn the_last_write_counts_and_all_come_in_order() {
        let mut overlay = Overlay::default();
        let put = |value: &[u8]| Own::Put { value: value.to_vec(), deadline: None };
        assert!(overlay.is_empty());
        overlay.set(KeyspaceId(17), b"a", put(b"1"));
        overlay.set(KS, b"c", put(b"2"));
        overlay.set(KS, b"a", put(b"3"));
        overlay.set(KS, b"c", Own::Delete);
        assert_eq!(overlay.get(KS, b"c"), Some(&Own::Delete));
        assert_eq!(overlay.get(KS, b"b"), None);
        let (a, b): (&[u8], &[u8]) = (b"a", b"c");
        assert_eq!(overlay.keys().collect::<Vec<_>>(), [(KS, a), (KS, b), (KeyspaceId(17), a)]);
        let value: &[u8] = b"3";
        let first = Op::Put { keyspace: KS, key: a, value, deadline: None };
        assert_eq!(overlay.ops().next(), Some(first));
        assert_eq!(overlay.ops().nth(1), Some(Op::Delete { keyspace: KS, key: b }));
    }

    #[test]
    fn bounds_that_have_crossed_hold_nothing() {
        use Bound::{Excluded, Included, Unbounded};
        let mut overlay = Overlay::default();
        overlay.set(KS, b"k", Own::Delete);
        let (j, k, l): (&[u8], &[u8], &[u8]) = (b"j", b"k", b"l");
        let bounds = [
            (Unbounded, Unbounded, true),
            (Included(k), Included(k), true),
            (Excluded(j), Excluded(l), true),
            (Excluded(k), Included(k), false),
            (Included(k), Excluded(k), false),
            (Excluded(k), Excluded(k), false),
            (Included(l), Included(j), false),
            (Excluded(k), Unbounded, false),
            (Unbounded, Excluded(k), false),
        ];
        for (from, to, found) in bounds {
            let ends = [overlay.first(KS, from, to), overlay.last(KS, from, to)];
            let expected = found.then_some((k, &Own::Delete));
            assert_eq!(ends, [expected; 2], "{from:?} {to:?}");
        }
        assert_eq!(overlay.first(KeyspaceId(17), Unbounded, Unbounded), None);
    }
}
