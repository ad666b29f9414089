//! Pessimistic transactions: lock, read the latest, and be sure that it stays so.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Scan, Seen, Terms,
    check::Reads,
    overlay::{Overlay, Own},
    ranges::Scanned,
    write::{self, check_put},
};
use crate::{
    Error, KeyspaceId, Lsn,
    locks::{Holder, Mode},
    snapshots::Snapshot,
    tree::{At, Attempt, Check, Keyspace, Pause, Tree},
};

/// A transaction under strict two-phase locks, all of which go when it commits or is dropped.
///
/// Keys that it read or writes cannot change before it commits. Ranges are not locked: a key that
/// somebody else put into a range which was scanned is a conflict at commit. The outcome is that
/// of some order of the transactions, one after the other, namely the order of their versions.
///
/// What it reads may not be durable yet; before anybody is shown it, [`Locked::rests_on`] must be.
#[derive(Debug)]
pub struct Locked {
    tree: Arc<Tree>,
    terms: Terms,
    /// `None` once it is over.
    holder: Option<Holder>,
    /// How often history had been taken back before it began.
    taken_back: usize,
    rests_on: Lsn,
    reads: Reads,
    own: Overlay,
    /// Of its scans: what they rest on stays to be told at commit.
    snapshots: Vec<Snapshot>,
    /// A version before the first read of each keyspace.
    since: BTreeMap<KeyspaceId, Lsn>,
}

impl Locked {
    /// Begins one without locks. Of several that wait in a circle the one begun last dies.
    pub fn begin(tree: &Arc<Tree>, terms: Terms) -> Locked {
        Locked {
            tree: Arc::clone(tree),
            terms,
            holder: Some(Holder::new(tree.locks(), terms.deadline)),
            taken_back: tree.snapshots().times_taken_back(),
            rests_on: Lsn(0),
            reads: Reads::default(),
            own: Overlay::default(),
            snapshots: Vec::new(),
            since: BTreeMap::new(),
        }
    }

    /// The newest version that what it has read may come from.
    pub fn rests_on(&self) -> Lsn {
        self.rests_on
    }

    /// Locks all of a set, in the one order in which everybody locks sets. Whoever does so first
    /// of all, and locks nothing else, never dies of waiting.
    ///
    /// # Errors
    /// [`Pause::Wait`]; wait, then ask again for the same set. [`Error::Deadlock`] when it had to
    /// die; then it is over. [`Error::Upgrade`] when a key is held as shared only.
    pub fn lock<'a>(
        &mut self,
        set: impl IntoIterator<Item = (&'a Keyspace, &'a [u8], Mode)>,
    ) -> Attempt<()> {
        let set = set.into_iter().map(|(keyspace, key, mode)| (keyspace.id(), key, mode));
        match self.holder()?.lock_all(set)? {
            Some(wait) => Err(Pause::Wait(wait)),
            None => Ok(()),
        }
    }

    /// Reads `key` into `out`, which is cleared before, under a lock of at least `mode`. Who may
    /// write the key later must say so by [`Mode::Update`].
    ///
    /// # Errors
    /// As [`Locked::lock`].
    pub fn get(
        &mut self,
        from: &Keyspace,
        key: &[u8],
        mode: Mode,
        out: &mut Vec<u8>,
    ) -> Attempt<Option<Seen>> {
        self.lock_one(from.id(), key, mode)?;
        if let Some(own) = self.own.get(from.id(), key) {
            return Ok(own.read(self.terms.now, out));
        }
        let assigned = self.tree.tail().assigned();
        self.since.entry(from.id()).or_insert(assigned);
        let found = self.tree.get(from, key, At::Assigned, out)?;
        // A key that is not there was perhaps deleted a moment ago.
        let newest = found.map_or_else(|| self.tree.tail().assigned(), |found| found.version);
        self.rests_on = self.rests_on.max(newest);
        Ok(Seen::of(found, self.terms.now, out))
    }

    /// Begins to walk the keys from `from` on and before `to`, or to the last, as they are visible
    /// now.
    ///
    /// # Errors
    /// [`Pause`]; ask again.
    pub fn scan(&mut self, of: &Arc<Keyspace>, from: &[u8], to: Option<&[u8]>) -> Attempt<Scan> {
        self.holder()?;
        let snapshot = self.tree.snapshot();
        let since = snapshot.version();
        let mut scan = Scan::new(of, from, to, since)?;
        self.rests_on = self.rests_on.max(since);
        self.snapshots.push(snapshot);
        scan.id = Some(self.reads.begin_scan(Scanned { keyspace: of.id(), from, to, since }));
        Ok(scan)
    }

    /// Moves a walk on from its front or its back. What it came to is in [`Scan::shown`]; `false`
    /// when its ends have met.
    ///
    /// # Errors
    /// [`Pause`](crate::tree::Pause); ask again.
    pub fn advance(&mut self, scan: &mut Scan, is_front: bool) -> Attempt<bool> {
        scan.advance(&mut self.own, &mut self.reads, self.terms.now, is_front)
    }

    /// Locks `key` and will give it a value, until `deadline` (Unix ms) if there is one.
    ///
    /// # Errors
    /// As [`Locked::lock`]; lengths out of bounds.
    pub fn put(
        &mut self,
        to: &Keyspace,
        key: &[u8],
        value: &[u8],
        deadline: Option<u64>,
    ) -> Attempt<()> {
        check_put(key, value, deadline)?;
        self.lock_one(to.id(), key, Mode::Exclusive)?;
        self.own.set(to.id(), key, Own::Put { value, deadline });
        Ok(())
    }

    /// Locks `key` and will delete it. It need not be there.
    ///
    /// # Errors
    /// As [`Locked::lock`]; its length is out of bounds.
    pub fn delete(&mut self, from: &Keyspace, key: &[u8]) -> Attempt<()> {
        check_put(key, &[], None)?;
        self.lock_one(from.id(), key, Mode::Exclusive)?;
        self.own.set(from.id(), key, Own::Delete);
        Ok(())
    }

    /// Does all of it, or nothing, and lets go of all locks. To be called again after a pause;
    /// afterwards it is over.
    ///
    /// Returns the version it made, or one at which all it read was so. What it made is assigned,
    /// not durable.
    ///
    /// # Errors
    /// [`Error::Conflict`] names a key that somebody has changed within a range it scanned.
    pub fn commit(&mut self) -> Attempt<Lsn> {
        self.holder()?.settle()?;
        self.own.sort();
        let ranges = self.reads.ranges();
        let mut checks = self.reads.unchanged(&ranges, Lsn(0));
        // No key that it locked can have changed, but a whole keyspace can have been cleared: so
        // much is told of an empty range.
        checks.extend(self.since.iter().map(|(keyspace, since)| {
            let (from, to): (&[u8], _) = (&[], Some(&[][..]));
            Check::RangeUnchanged { keyspace: *keyspace, from, to, since: *since }
        }));
        checks.push(Check::Intact { at: self.rests_on, times: self.taken_back });
        write::commit(&self.tree, self.terms, &mut self.holder, checks, &self.own)
    }

    fn lock_one(&mut self, keyspace: KeyspaceId, key: &[u8], mode: Mode) -> Attempt<()> {
        match self.holder()?.lock(keyspace, key, mode)? {
            Some(wait) => Err(Pause::Wait(wait)),
            None => Ok(()),
        }
    }

    fn holder(&mut self) -> Result<&mut Holder, Error> {
        self.holder.as_mut().ok_or(Error::Over)
    }
}
