//! What a transaction read, and what becomes of it at commit.

use std::collections::{BTreeMap, BTreeSet};

use super::ranges::{Ranges, Scanned};
use crate::{KeyspaceId, Lsn, locks::Place, tree::Check};

/// Everything a transaction rests on.
#[derive(Debug, Default)]
pub(super) struct Reads {
    points: BTreeSet<Place>,
    extents: Vec<Extent>,
    expected: BTreeMap<Place, Lsn>,
}

/// How far a scan has come from either end.
#[derive(Debug)]
struct Extent {
    keyspace: KeyspaceId,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    since: Lsn,
    /// The last key handed out from the front and from the back.
    front: Option<Vec<u8>>,
    back: Option<Vec<u8>>,
    /// Whether the ends have met.
    met: bool,
}

/// A scan's number among those of its transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScanId(usize);

impl Reads {
    /// A key was read.
    pub(super) fn point(&mut self, keyspace: KeyspaceId, key: &[u8]) {
        self.points.insert(Place::new(keyspace, key));
    }

    /// The key must have this version at commit; 0 if it must not be there.
    pub(super) fn expect(&mut self, keyspace: KeyspaceId, key: &[u8], version: Lsn) {
        self.expected.insert(Place::new(keyspace, key), version);
    }

    /// A scan begins that has not seen anything yet.
    pub(super) fn begin_scan(&mut self, of: Scanned<'_>) -> ScanId {
        self.extents.push(Extent {
            keyspace: of.keyspace,
            from: of.from.to_vec(),
            to: of.to.map(<[u8]>::to_vec),
            since: of.since,
            front: None,
            back: None,
            met: false,
        });
        ScanId(self.extents.len() - 1)
    }

    /// A scan came to `key` from the front or from the back; to the other end if there is none.
    pub(super) fn scanned(&mut self, scan: ScanId, is_front: bool, key: Option<&[u8]>) {
        let extent = &mut self.extents[scan.0];
        let end = if is_front { &mut extent.front } else { &mut extent.back };
        match (key, end) {
            (None, _) => extent.met = true,
            (Some(key), Some(end)) => {
                end.clear();
                end.extend_from_slice(key);
            }
            (Some(key), end) => *end = Some(key.to_vec()),
        }
    }

    /// Whether nothing but what was read stands in the way of a commit.
    pub(super) fn expects_nothing(&self) -> bool {
        self.expected.is_empty()
    }

    /// What was really scanned.
    pub(super) fn ranges(&self) -> Ranges {
        let mut ranges = Ranges::default();
        for extent in &self.extents {
            let Extent { keyspace, from, to, since, front, back, met } = extent;
            let mut add = |from: &[u8], to: Option<&[u8]>| {
                ranges.add(Scanned { keyspace: *keyspace, from, to, since: *since });
            };
            if *met {
                add(from, to.as_deref());
                continue;
            }
            if let Some(front) = front {
                // The key itself belongs to it: the range ends right behind.
                add(from, Some(&[front.as_slice(), &[0]].concat()));
            }
            if let Some(back) = back {
                add(back, to.as_deref());
            }
        }
        ranges
    }

    /// Checks that nothing which was read has changed since `since`.
    pub(super) fn unchanged<'a>(&'a self, ranges: &'a Ranges, since: Lsn) -> Vec<Check<'a>> {
        let point = |at: &&'a Place| !ranges.covers(at.keyspace, &at.key, since);
        let points = self.points.iter().filter(point);
        let points = points.map(|at| unchanged(at.keyspace, &at.key, since));
        let ranges = ranges.iter().map(|scanned| {
            let Scanned { keyspace, from, to, since } = scanned;
            Check::RangeUnchanged { keyspace, from, to, since }
        });
        points.chain(ranges).collect()
    }

    /// Checks that every key has the version that was expected of it.
    pub(super) fn versions(&self, now: u64) -> impl Iterator<Item = Check<'_>> {
        self.expected.iter().map(move |(at, expected)| Check::VersionIs {
            keyspace: at.keyspace,
            key: &at.key,
            expected: *expected,
            now,
        })
    }
}

/// A check that a key has not changed since `since`.
pub(super) fn unchanged(keyspace: KeyspaceId, key: &[u8], since: Lsn) -> Check<'_> {
    Check::Unchanged { keyspace, key, since }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KS: KeyspaceId = KeyspaceId(16);

    fn shown(reads: &Reads) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let ranges = reads.ranges();
        ranges.iter().map(|r| (r.from.to_vec(), r.to.map(<[u8]>::to_vec))).collect()
    }

    #[test]
    fn only_what_was_really_scanned_is_checked() {
        let mut reads = Reads::default();
        let of = Scanned { keyspace: KS, from: b"b", to: Some(b"p"), since: Lsn(3) };
        let scan = reads.begin_scan(of);
        assert_eq!(shown(&reads), [], "nothing yet");
        reads.scanned(scan, true, Some(b"c"));
        reads.scanned(scan, true, Some(b"d"));
        reads.scanned(scan, false, Some(b"m"));
        let (b, m, p) = (b"b".to_vec(), b"m".to_vec(), b"p".to_vec());
        let ends = [(b.clone(), Some(b"d\0".to_vec())), (m, Some(p.clone()))];
        assert_eq!(shown(&reads), ends);
        reads.scanned(scan, true, None);
        assert_eq!(shown(&reads), [(b, Some(p))]);
    }

    #[test]
    fn a_key_within_a_range_is_checked_once() {
        let mut reads = Reads::default();
        reads.point(KS, b"a");
        reads.point(KS, b"c");
        reads.expect(KS, b"e", Lsn(0));
        let of = Scanned { keyspace: KS, from: b"b", to: None, since: Lsn(3) };
        let scan = reads.begin_scan(of);
        reads.scanned(scan, false, None);
        let ranges = reads.ranges();
        let range = Check::RangeUnchanged { keyspace: KS, from: b"b", to: None, since: Lsn(3) };
        assert_eq!(reads.unchanged(&ranges, Lsn(3)), [unchanged(KS, b"a", Lsn(3)), range]);
        let absent = Check::VersionIs { keyspace: KS, key: b"e", expected: Lsn(0), now: 7 };
        assert!(reads.versions(7).eq([absent]) && !reads.expects_nothing());
    }
}
