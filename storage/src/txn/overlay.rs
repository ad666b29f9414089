//! What a transaction would write: seen by its own reads, and by nobody else until it commits.

use std::ops::{Bound, Range};

use crate::{KeyspaceId, record::Op};

/// What a key is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own<'a> {
    /// A value, until the deadline (Unix ms) if there is one.
    Put { value: &'a [u8], deadline: Option<u64> },
    /// Nothing.
    Delete,
}

/// Writes that are looked through one by one rather than sorted for a read.
const FEW: usize = 32;
/// Writes after which those that were overwritten are dropped, at least.
const MANY: usize = 1 << 14;

/// The last write of each key.
///
/// Writes are noted as they come and sorted when somebody asks for their order, most often at the
/// commit: a transaction that only writes pays for neither a map nor an allocation for each key.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// Keys and values, each value behind its key.
    bytes: Vec<u8>,
    writes: Vec<Write>,
    /// So many of the writes are in order, one for each key.
    sorted: usize,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    keyspace: KeyspaceId,
    /// Whether it deletes the key.
    deletes: bool,
    key_len: u16,
    value_len: u32,
    start: usize,
    deadline: Option<u64>,
}

impl Write {
    fn end(&self) -> usize {
        self.start + usize::from(self.key_len) + self.value_len as usize
    }
}

impl Overlay {
    /// Notes a write. Lengths have been checked.
    pub(super) fn set(&mut self, keyspace: KeyspaceId, key: &[u8], own: Own<'_>) {
        let (value, deadline, deletes) = match own {
            Own::Put { value, deadline } => (value, deadline, false),
            Own::Delete => (&[][..], None, true),
        };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        let key_len = u16::try_from(key.len()).expect("a key is below 64 KiB");
        let value_len = u32::try_from(value.len()).expect("a value is at most 1 GiB");
        self.writes.push(Write { keyspace, deletes, key_len, value_len, start, deadline });
        if self.writes.len() - self.sorted >= self.sorted.max(MANY) {
            self.sort();
        }
    }

    /// Puts all writes in order. To be called before anything is asked that depends on it.
    pub(super) fn sort(&mut self) {
        if self.sorted == self.writes.len() {
            return;
        }
        // By eight bytes of the key first: numbers in a row. What came later comes later.
        let head = |(number, write): (usize, &Write)| {
            let (mut head, key) = ([0; 8], self.key(write));
            let len = key.len().min(8);
            head[..len].copy_from_slice(&key[..len]);
            u128::from(write.keyspace.0) << 96
                | u128::from(u64::from_be_bytes(head)) << 32
                | number as u128
        };
        let mut order: Vec<u128> = self.writes.iter().enumerate().map(head).collect();
        let key = |at: u128| self.key(&self.writes[at as u32 as usize]);
        match self.sorted {
            0 => order.sort_unstable(),
            // Two rows in order, most often.
            _ => order.sort(),
        }
        for same in order.chunk_by_mut(|a, b| *a >> 32 == *b >> 32) {
            if same.len() > 1 {
                same.sort_by(|a, b| key(*a).cmp(key(*b)));
            }
        }
        let is_last = |two: &[u128]| two[0] >> 32 != two[1] >> 32 || key(two[0]) != key(two[1]);
        let mut kept: Vec<Write> = Vec::with_capacity(order.len());
        for (at, number) in order.iter().enumerate() {
            if order.get(at..at + 2).is_none_or(is_last) {
                kept.push(self.writes[*number as u32 as usize]);
            }
        }
        let live: usize = kept.iter().map(|write| write.end() - write.start).sum();
        if self.bytes.len() / 2 > live {
            let mut bytes = Vec::with_capacity(live);
            for write in &mut kept {
                let start = bytes.len();
                bytes.extend_from_slice(&self.bytes[write.start..write.end()]);
                write.start = start;
            }
            self.bytes = bytes;
        }
        self.sorted = kept.len();
        self.writes = kept;
    }

    fn key(&self, write: &Write) -> &[u8] {
        &self.bytes[write.start..write.start + usize::from(write.key_len)]
    }

    fn own(&self, write: &Write) -> Own<'_> {
        let value = &self.bytes[write.start + usize::from(write.key_len)..write.end()];
        match write.deletes {
            true => Own::Delete,
            false => Own::Put { value, deadline: write.deadline },
        }
    }

    pub(super) fn get(&mut self, keyspace: KeyspaceId, key: &[u8]) -> Option<Own<'_>> {
        if self.writes.len() - self.sorted > FEW {
            self.sort();
        }
        let (sorted, lately) = self.writes.split_at(self.sorted);
        let is_it = |write: &&Write| write.keyspace == keyspace && self.key(write) == key;
        let found = lately.iter().rev().find(is_it).or_else(|| {
            let place = |write: &Write| (write.keyspace, self.key(write)).cmp(&(keyspace, key));
            sorted.binary_search_by(place).ok().map(|at| &sorted[at])
        });
        found.map(|write| self.own(write))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The first write between two bounds; none if the bounds have crossed.
    pub(super) fn first(
        &mut self,
        keyspace: KeyspaceId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Option<(&[u8], Own<'_>)> {
        let range = self.range(keyspace, from, to);
        self.writes[range].first().map(|write| (self.key(write), self.own(write)))
    }

    /// The last write between two bounds; none if the bounds have crossed.
    pub(super) fn last(
        &mut self,
        keyspace: KeyspaceId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Option<(&[u8], Own<'_>)> {
        let range = self.range(keyspace, from, to);
        self.writes[range].last().map(|write| (self.key(write), self.own(write)))
    }

    fn range(
        &mut self,
        keyspace: KeyspaceId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Range<usize> {
        self.sort();
        // How many are before it, or up to it.
        let before = |key: &[u8]| {
            self.writes.partition_point(|write| (write.keyspace, self.key(write)) < (keyspace, key))
        };
        let up_to = |key: &[u8]| {
            self.writes
                .partition_point(|write| (write.keyspace, self.key(write)) <= (keyspace, key))
        };
        let start = match from {
            Bound::Included(key) => before(key),
            Bound::Excluded(key) => up_to(key),
            Bound::Unbounded => self.writes.partition_point(|write| write.keyspace < keyspace),
        };
        let end = match to {
            Bound::Included(key) => up_to(key),
            Bound::Excluded(key) => before(key),
            Bound::Unbounded => self.writes.partition_point(|write| write.keyspace <= keyspace),
        };
        start..end.max(start)
    }

    /// All writes in the order in which leaves are latched: keyspace, key. They have been sorted.
    pub(super) fn ops(&self) -> impl Iterator<Item = Op<'_>> {
        debug_assert_eq!(self.sorted, self.writes.len(), "they have been sorted");
        self.writes.iter().map(|write| {
            let (keyspace, key) = (write.keyspace, self.key(write));
            match self.own(write) {
                Own::Put { value, deadline } => Op::Put { keyspace, key, value, deadline },
                Own::Delete => Op::Delete { keyspace, key },
            }
        })
    }

    /// The written keys, in the same order.
    pub(super) fn keys(&self) -> impl Iterator<Item = (KeyspaceId, &[u8])> {
        debug_assert_eq!(self.sorted, self.writes.len(), "they have been sorted");
        self.writes.iter().map(|write| (write.keyspace, self.key(write)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KS: KeyspaceId = KeyspaceId(16);

    #[test]
    fn the_last_write_counts_and_all_come_in_order() {
        let mut overlay = Overlay::default();
        let put = |value| Own::Put { value, deadline: None };
        assert!(overlay.is_empty());
        overlay.set(KeyspaceId(17), b"a", put(&b"1"[..]));
        overlay.set(KS, b"c", put(b"2"));
        overlay.set(KS, b"a", put(b"3"));
        overlay.set(KS, b"c", Own::Delete);
        assert_eq!(overlay.get(KS, b"c"), Some(Own::Delete));
        assert_eq!(overlay.get(KS, b"b"), None);
        let (a, b): (&[u8], &[u8]) = (b"a", b"c");
        overlay.sort();
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
            let expected = found.then_some((k, Own::Delete));
            assert_eq!(overlay.first(KS, from, to), expected, "{from:?} {to:?}");
            assert_eq!(overlay.last(KS, from, to), expected, "{from:?} {to:?}");
        }
        assert_eq!(overlay.first(KeyspaceId(17), Unbounded, Unbounded), None);
    }

    #[test]
    fn it_is_a_map_whatever_the_order_of_writes_and_reads() {
        let (mut overlay, mut chance) = (Overlay::default(), 7_u64);
        let mut model = std::collections::BTreeMap::<Vec<u8>, Vec<u8>>::new();
        for step in 0..40_000_u64 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
            let key = format!("a key of more than a head {}", chance >> 53).into_bytes();
            if chance >> 20 & 0xff < 2 {
                let value = overlay.get(KS, &key);
                let expected = model.get(&key).map(|value| Own::Put { value, deadline: None });
                assert_eq!(value, expected, "step {step}");
                let (from, to) = (Bound::Excluded(&key[..]), Bound::Unbounded);
                let next = overlay.first(KS, from, to).map(|(key, _)| key.to_vec());
                let expected = model.range::<[u8], _>((from, to)).next();
                assert_eq!(next.as_ref(), expected.map(|(key, _)| key), "step {step}");
            } else {
                let value = vec![step as u8; step as usize % 90];
                overlay.set(KS, &key, Own::Put { value: &value, deadline: None });
                model.insert(key, value);
            }
        }
        overlay.sort();
        let all = model.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let put = |(key, value)| Op::Put { keyspace: KS, key, value, deadline: None };
        assert!(overlay.ops().eq(all.map(put)));
        assert!(overlay.bytes.len() < 4 << 20, "what was overwritten is forgotten");
    }
}
