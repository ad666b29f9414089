//! What transactions saw and did, and which anomalies that shows.
//!
//! After Adya (*Weak consistency*, 1999): transactions are nodes, and an edge leads from whoever
//! must come first in a serial order. *ww*: it wrote the version before. *wr*: it wrote what was
//! read. *rw*: it read what was then replaced, as an item or within a range. A circle is an anomaly
//! and its edges say which.

use std::collections::{BTreeMap, BTreeSet};

use crate::Lsn;

/// A phenomenon that no serial order explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Anomaly {
    /// Dirty write: two transactions overwrote each other.
    G0,
    /// Aborted read: somebody saw what was never committed.
    G1a,
    /// Intermediate read: somebody saw what its writer then replaced itself.
    G1b,
    /// Circular information flow.
    G1c,
    /// Single anti-dependency: read skew, lost update.
    GSingle,
    /// More than one anti-dependency on items: write skew, read-only anomaly.
    G2Item,
    /// An anti-dependency on a range.
    Phantom,
}

/// A transaction's number in its history.
pub(super) type Id = usize;

#[derive(Debug, Default)]
struct Txn {
    /// The first version at which all that it did counts, if it committed.
    committed: Option<Lsn>,
    /// The state that everything it read should be of, if it is to be serial.
    serial: Lsn,
    reads: Vec<Read>,
    scans: Vec<Scan>,
}

#[derive(Debug)]
struct Read {
    key: Vec<u8>,
    saw: Option<Vec<u8>>,
    /// The state it was read from.
    at: Lsn,
}

/// Keys from one on and before another.
#[derive(Debug)]
struct Scan {
    from: Vec<u8>,
    to: Vec<u8>,
    at: Lsn,
    /// Keys that its own writes hid.
    own: BTreeSet<Vec<u8>>,
    saw: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A version of a key.
#[derive(Debug)]
struct Version {
    at: Lsn,
    by: Id,
    value: Option<Vec<u8>>,
}

/// Transactions over keys that are absent at the beginning. No two writes have the same value.
#[derive(Debug, Default)]
pub(super) struct History {
    txns: BTreeMap<Id, Txn>,
    /// Oldest first.
    versions: BTreeMap<Vec<u8>, Vec<Version>>,
    /// Values that a transaction replaced itself, or never committed.
    intermediate: BTreeMap<Vec<u8>, Id>,
}

impl History {
    /// `id` read `key` from the state at `at`, and saw `saw`, which it had not written itself.
    pub(super) fn read(&mut self, id: Id, key: &[u8], saw: Option<&[u8]>, at: Lsn) {
        let read = Read { key: key.to_vec(), saw: saw.map(<[u8]>::to_vec), at };
        self.txns.entry(id).or_default().reads.push(read);
    }

    /// `id` scanned from `from` to before `to` in the state at `at`, and saw `saw` besides `own`,
    /// the keys that it had written itself.
    pub(super) fn scan(
        &mut self,
        id: Id,
        (from, to): (&[u8], &[u8]),
        at: Lsn,
        own: BTreeSet<Vec<u8>>,
        saw: BTreeMap<Vec<u8>, Vec<u8>>,
    ) {
        for (key, value) in &saw {
            self.read(id, key, Some(value), at);
        }
        let scan = Scan { from: from.to_vec(), to: to.to_vec(), at, own, saw };
        self.txns.entry(id).or_default().scans.push(scan);
    }

    /// `id` wrote `value`, and replaced it before anybody was to see it.
    pub(super) fn intermediate(&mut self, id: Id, value: &[u8]) {
        self.intermediate.insert(value.to_vec(), id);
    }

    /// What `id` wrote to `key` became the version `at`.
    pub(super) fn installed(&mut self, id: Id, key: &[u8], value: Option<&[u8]>, at: Lsn) {
        let version = Version { at, by: id, value: value.map(<[u8]>::to_vec) };
        let versions = self.versions.entry(key.to_vec()).or_default();
        versions.push(version);
        versions.sort_by_key(|version| version.at);
    }

    /// `id` is told that all of it happened, at `version`, which it made itself if it wrote.
    pub(super) fn committed(&mut self, id: Id, version: Lsn, wrote: bool) {
        let txn = self.txns.entry(id).or_default();
        txn.committed = Some(version);
        txn.serial = if wrote { version.previous() } else { version };
    }

    /// The version at which it committed.
    pub(super) fn version_of(&self, id: Id) -> Lsn {
        self.txns[&id].committed.expect("it has committed")
    }

    fn is_committed(&self, id: Id) -> bool {
        self.txns.get(&id).is_some_and(|txn| txn.committed.is_some())
    }

    /// What a key held in the state at `at`.
    fn held(&self, key: &[u8], at: Lsn) -> Option<&Vec<u8>> {
        let versions = self.versions.get(key)?;
        let later = versions.partition_point(|version| version.at <= at);
        versions[later.checked_sub(1)?].value.as_ref()
    }

    fn is_of(&self, read: &Read, at: Lsn) -> bool {
        self.held(&read.key, at) == read.saw.as_ref()
    }

    fn is_scan_of(&self, scan: &Scan, at: Lsn) -> bool {
        let keys = self.versions.range(scan.from.clone()..scan.to.clone()).map(|(key, _)| key);
        let others = keys.filter(|key| !scan.own.contains(*key));
        others.filter_map(|key| Some((key, self.held(key, at)?))).eq(&scan.saw)
    }

    /// Asserts that every transaction, committed or not, read what the states it named held.
    pub(super) fn assert_reads(&self) {
        for (id, txn) in &self.txns {
            for read in &txn.reads {
                let held = self.held(&read.key, read.at);
                assert!(self.is_of(read, read.at), "{id} read {read:?}, it held {held:?}");
            }
            for scan in &txn.scans {
                assert!(self.is_scan_of(scan, scan.at), "{id} scanned {scan:?}");
            }
        }
    }

    /// Asserts that one after the other, in the order of their versions, the committed transactions
    /// would have read the same.
    pub(super) fn assert_serial(&self) {
        for (id, txn) in self.txns.iter().filter(|(_, txn)| txn.committed.is_some()) {
            let at = txn.serial;
            for read in &txn.reads {
                let held = self.held(&read.key, at);
                assert!(self.is_of(read, at), "{id} at {at} read {read:?}, serially {held:?}");
            }
            for scan in &txn.scans {
                assert!(
                    self.is_scan_of(scan, at),
                    "{id} at {at} scanned {scan:?}, not so serially"
                );
            }
        }
    }

    /// Every anomaly among the committed transactions.
    pub(super) fn anomalies(&self) -> BTreeSet<Anomaly> {
        let mut found = self.dirty_reads();
        let edges = self.edges();
        let item = |edge: &Edge| edge.kind != Kind::RangeRw;
        let flow = |edge: &Edge| matches!(edge.kind, Kind::Ww | Kind::Wr);
        for edge in &edges {
            let back = |over: &dyn Fn(&Edge) -> bool| leads(&edges, edge.to, edge.from, over);
            match edge.kind {
                Kind::Ww if back(&|other| other.kind == Kind::Ww) => found.insert(Anomaly::G0),
                Kind::Wr if back(&flow) => found.insert(Anomaly::G1c),
                Kind::Rw if back(&flow) => found.insert(Anomaly::GSingle),
                Kind::Rw if back(&item) => found.insert(Anomaly::G2Item),
                Kind::RangeRw if back(&|_| true) => found.insert(Anomaly::Phantom),
                _ => false,
            };
        }
        found
    }

    /// Who came first of two, for every pair that tells.
    fn edges(&self) -> BTreeSet<Edge> {
        let mut edges = BTreeSet::new();
        let mut add = |from: Id, to: Id, kind: Kind| {
            if from != to && self.is_committed(from) && self.is_committed(to) {
                edges.insert(Edge { from, to, kind });
            }
        };
        for versions in self.versions.values() {
            for pair in versions.windows(2) {
                add(pair[0].by, pair[1].by, Kind::Ww);
            }
        }
        for (id, txn) in &self.txns {
            for read in &txn.reads {
                let versions = self.versions.get(&read.key).map_or(&[][..], Vec::as_slice);
                let (seen, next) = around(versions, read);
                seen.iter().for_each(|version| add(version.by, *id, Kind::Wr));
                next.iter().for_each(|version| add(*id, version.by, Kind::Rw));
            }
            for scan in &txn.scans {
                for (_, versions) in self.versions.range(scan.from.clone()..scan.to.clone()) {
                    // What was there is among the reads; what was not has nobody to tell of it.
                    let later = versions.partition_point(|version| version.at <= scan.at);
                    let seen = later.checked_sub(1).and_then(|at| versions[at].value.as_ref());
                    let next = versions.get(later).filter(|_| seen.is_none());
                    next.iter().for_each(|version| add(*id, version.by, Kind::RangeRw));
                }
            }
        }
        edges
    }

    /// Reads of what nobody should have seen.
    fn dirty_reads(&self) -> BTreeSet<Anomaly> {
        let mut found = BTreeSet::new();
        for (id, txn) in self.txns.iter().filter(|(_, txn)| txn.committed.is_some()) {
            for value in txn.reads.iter().filter_map(|read| read.saw.as_ref()) {
                if let Some(by) = self.intermediate.get(value).filter(|by| *by != id) {
                    let committed = self.is_committed(*by);
                    found.insert(if committed { Anomaly::G1b } else { Anomaly::G1a });
                }
                let all = self.versions.values().flatten();
                let mut writers = all.filter(|version| version.value.as_ref() == Some(value));
                if writers.any(|version| !self.is_committed(version.by)) {
                    found.insert(Anomaly::G1a);
                }
            }
        }
        found
    }
}

/// The version that a read saw and the one that replaced it.
fn around<'a>(versions: &'a [Version], read: &Read) -> (Option<&'a Version>, Option<&'a Version>) {
    let later = versions.partition_point(|version| version.at <= read.at);
    (later.checked_sub(1).map(|at| &versions[at]), versions.get(later))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Ww,
    Wr,
    Rw,
    RangeRw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: Id,
    to: Id,
    kind: Kind,
}

/// Whether `from` leads to `to` over edges of some sort.
fn leads(edges: &BTreeSet<Edge>, from: Id, to: Id, over: &dyn Fn(&Edge) -> bool) -> bool {
    let (mut seen, mut open) = (BTreeSet::from([from]), vec![from]);
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        let next = edges.iter().filter(|edge| edge.from == at && over(edge)).map(|edge| edge.to);
        open.extend(next.filter(|next| seen.insert(*next)));
    }
    false
}

/// Who does what: reads, writes, scans from a to z that see nothing, writes and replaces it.
type Event = (Id, &'static str, &'static str, Option<&'static str>, u64);

fn by_hand(events: &[Event], committed: &[Id]) -> History {
    let mut history = History::default();
    for (id, what, key, value, at) in events {
        let (key, value, at) = (key.as_bytes(), value.map(str::as_bytes), Lsn(*at));
        match *what {
            "r" => history.read(*id, key, value, at),
            "w" => history.installed(*id, key, value, at),
            "scan" => history.scan(*id, (b"a", b"z"), at, BTreeSet::new(), BTreeMap::new()),
            _ => history.intermediate(*id, value.expect("a value")),
        }
    }
    for id in committed {
        let of = |event: &&Event| event.0 == *id;
        let at = events.iter().filter(of).map(|event| event.4).max().unwrap_or(0);
        let wrote = events.iter().filter(of).any(|event| event.1 == "w");
        history.committed(*id, Lsn(at), wrote);
    }
    history.assert_reads();
    history
}

const fn w(id: Id, key: &'static str, value: &'static str, at: u64) -> Event {
    (id, "w", key, Some(value), at)
}

const fn r(id: Id, key: &'static str, value: Option<&'static str>, at: u64) -> Event {
    (id, "r", key, value, at)
}

const fn scan(id: Id, at: u64) -> Event {
    (id, "scan", "", None, at)
}

#[test]
fn every_anomaly_is_found_in_a_history_that_shows_it() {
    use Anomaly::{G0, G1a, G1b, G1c, G2Item, GSingle, Phantom};
    let cases: &[(Anomaly, &[Event])] = &[
        (G0, &[w(1, "x", "1x", 1), w(2, "x", "2x", 2), w(2, "y", "2y", 3), w(1, "y", "1y", 4)]),
        (G1a, &[w(3, "x", "3x", 1), r(1, "x", Some("3x"), 1)]),
        (G1b, &[(2, "i", "", Some("a"), 0), w(2, "x", "a", 1), r(1, "x", Some("a"), 1)]),
        (
            G1c,
            &[
                w(1, "x", "1x", 1),
                r(2, "x", Some("1x"), 1),
                w(2, "y", "2y", 2),
                r(1, "y", Some("2y"), 2),
            ],
        ),
        // Read skew, lost update.
        (
            GSingle,
            &[r(1, "x", None, 0), w(2, "x", "2x", 1), w(2, "y", "2y", 1), r(1, "y", Some("2y"), 1)],
        ),
        (GSingle, &[r(1, "x", None, 0), w(2, "x", "2x", 1), w(1, "x", "1x", 2)]),
        // Write skew, on items and on ranges.
        (G2Item, &[r(1, "x", None, 0), r(2, "y", None, 0), w(1, "y", "1y", 1), w(2, "x", "2x", 2)]),
        (Phantom, &[scan(1, 0), scan(2, 0), w(1, "p", "1p", 1), w(2, "q", "2q", 2)]),
    ];
    for (anomaly, events) in cases {
        assert_eq!(by_hand(events, &[1, 2]).anomalies(), [*anomaly].into(), "{events:?}");
    }
}

#[test]
fn a_serial_history_shows_none() {
    let events = [
        scan(1, 0),
        w(1, "x", "1", 1),
        r(2, "x", Some("1"), 1),
        (2, "w", "x", None, 2),
        r(3, "x", None, 2),
        scan(3, 2),
        w(3, "y", "3", 3),
        r(4, "y", Some("3"), 3),
    ];
    let history = by_hand(&events, &[1, 2, 3, 4]);
    assert_eq!(history.anomalies(), BTreeSet::new());
    history.assert_serial();
}

#[test]
#[should_panic(expected = "1 read Read")]
fn a_read_of_another_state_is_a_bug() {
    by_hand(&[w(1, "x", "1", 1), r(1, "x", None, 1)], &[1]);
}

#[test]
#[should_panic(expected = "2 at 1 scanned")]
fn a_phantom_is_not_serial() {
    by_hand(&[scan(2, 0), w(1, "p", "1", 1), w(2, "q", "2", 2)], &[1, 2]).assert_serial();
}
