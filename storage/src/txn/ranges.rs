//! The ranges of keys that a transaction has scanned.

use std::{collections::BTreeMap, ops::Bound};

use crate::{KeyspaceId, Lsn};

/// Disjoint half-open ranges of keys per keyspace, each with the version at which it was read.
///
/// A range is what was really scanned: a scan that stopped at a key ends right behind that key.
/// Ranges that touch become one, read at the older of the two versions; that may find a change
/// which nobody would mind, but misses none.
#[derive(Debug, Default)]
pub(super) struct Ranges(BTreeMap<KeyspaceId, BTreeMap<Vec<u8>, End>>);

/// Where a range ends and when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    /// The first key behind it; `None` if it reaches to the last key.
    to: Option<Vec<u8>>,
    since: Lsn,
}

/// One range, as it is to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scanned<'a> {
    pub(super) keyspace: KeyspaceId,
    pub(super) from: &'a [u8],
    pub(super) to: Option<&'a [u8]>,
    pub(super) since: Lsn,
}

impl Ranges {
    /// Notes that the keys from `from` to before `to` were read at `since`.
    pub(super) fn add(&mut self, scanned: Scanned<'_>) {
        let Scanned { keyspace, from, to, since } = scanned;
        if to.is_some_and(|to| to <= from) {
            return;
        }
        let ranges = self.0.entry(keyspace).or_default();
        let (mut from, mut end) = (from.to_vec(), End { to: to.map(<[u8]>::to_vec), since });
        // Those that touch it begin at or before its end and end at or behind its beginning. They
        // lie side by side, so the search goes back from the last until one does not touch.
        loop {
            let upper = match &end.to {
                Some(to) => Bound::Included(to.as_slice()),
                None => Bound::Unbounded,
            };
            let last = ranges.range::<[u8], _>((Bound::Unbounded, upper)).next_back();
            let touching = last.filter(|(_, last)| last.to.as_ref().is_none_or(|to| *to >= from));
            let Some((start, _)) = touching else { break };
            let start = start.clone();
            let old = ranges.remove(&start).expect("just found");
            end.to = match (end.to, old.to) {
                (Some(one), Some(other)) => Some(one.max(other)),
                _ => None,
            };
            end.since = end.since.min(old.since);
            from = from.min(start);
        }
        ranges.insert(from, end);
    }

    /// Whether a key lies in a range read at `since` or before.
    pub(super) fn covers(&self, keyspace: KeyspaceId, key: &[u8], since: Lsn) -> bool {
        let before = (Bound::Unbounded, Bound::Included(key));
        let ranges = self.0.get(&keyspace);
        let last = ranges.and_then(|ranges| ranges.range::<[u8], _>(before).next_back());
        last.is_some_and(|(_, end)| {
            end.since <= since && end.to.as_deref().is_none_or(|to| key < to)
        })
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Scanned<'_>> {
        self.0.iter().flat_map(|(keyspace, ranges)| {
            ranges.iter().map(|(from, end)| Scanned {
                keyspace: *keyspace,
                from,
                to: end.to.as_deref(),
                since: end.since,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const KS: KeyspaceId = KeyspaceId(16);

    fn scanned<'a>(from: &'a [u8], to: Option<&'a [u8]>, since: u64) -> Scanned<'a> {
        Scanned { keyspace: KS, from, to, since: Lsn(since) }
    }

    fn shown(ranges: &Ranges) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let end = |to: Option<&[u8]>| to.map_or("".into(), text);
        ranges.iter().map(|r| format!("{}-{}@{}", text(r.from), end(r.to), r.since)).collect()
    }

    #[test]
    fn ranges_that_touch_become_one_read_at_the_older_version() {
        let mut ranges = Ranges::default();
        ranges.add(scanned(b"b", Some(b"d"), 7));
        ranges.add(scanned(b"f", Some(b"h"), 7));
        assert_eq!(shown(&ranges), ["b-d@7", "f-h@7"]);
        ranges.add(scanned(b"d", Some(b"e"), 9));
        assert_eq!(shown(&ranges), ["b-e@7", "f-h@7"], "end to end");
        ranges.add(scanned(b"c", Some(b"g"), 3));
        assert_eq!(shown(&ranges), ["b-h@3"], "over a gap");
        ranges.add(scanned(b"c", Some(b"d"), 9));
        assert_eq!(shown(&ranges), ["b-h@3"], "inside");
        ranges.add(scanned(b"k", None, 9));
        ranges.add(scanned(b"m", None, 8));
        assert_eq!(shown(&ranges), ["b-h@3", "k-@8"], "without end");
        ranges.add(scanned(b"a", None, 9));
        assert_eq!(shown(&ranges), ["a-@3"], "over everything");
    }

    #[test]
    fn an_empty_range_is_none_and_keyspaces_stand_apart() {
        let mut ranges = Ranges::default();
        ranges.add(scanned(b"b", Some(b"b"), 1));
        ranges.add(scanned(b"c", Some(b"b"), 1));
        assert_eq!(ranges.iter().count(), 0);
        ranges.add(scanned(b"", Some(b"b"), 1));
        ranges.add(Scanned { keyspace: KeyspaceId(17), ..scanned(b"a", None, 1) });
        assert_eq!(ranges.iter().count(), 2);
        assert!(ranges.covers(KS, b"a", Lsn(1)) && !ranges.covers(KS, b"b", Lsn(1)));
        assert!(!ranges.covers(KS, b"a", Lsn(0)), "read later than that");
        assert!(!ranges.covers(KeyspaceId(18), b"a", Lsn(1)));
    }

    #[test]
    fn they_hold_exactly_the_keys_that_were_added() {
        let mut state = 1_u64;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % bound
        };
        for _ in 0..500 {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for _ in 0..8 {
                let (from, len) = (below(30) as u8, below(8) as u8);
                let to = (below(12) > 0).then(|| from + len);
                ranges.add(scanned(&[from], to.as_ref().map(std::slice::from_ref), 1));
                model.extend(from..to.unwrap_or(50));
                let held = |key: &u8| ranges.covers(KS, &[*key], Lsn(1));
                assert_eq!((0..50).filter(held).collect::<BTreeSet<u8>>(), model);
                let all: Vec<_> = ranges.iter().collect();
                for pair in all.windows(2) {
                    assert!(pair[0].to.is_some_and(|to| to < pair[1].from), "they touch: {all:?}");
                }
            }
        }
    }
}
