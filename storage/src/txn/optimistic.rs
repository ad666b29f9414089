//! Optimistic transactions: read a snapshot, keep the writes back, and see at commit whether
//! anybody interfered.

use std::sync::Arc;

use super::{
    Scan, Seen, Terms,
    check::{Reads, unchanged},
    overlay::{Overlay, Own},
    ranges::Scanned,
    write::{self, check_put},
};
use crate::{
    Error, Lsn,
    locks::Holder,
    snapshots::Snapshot,
    tree::{At, Attempt, Check, Keyspace, Tree},
};

/// What a transaction is protected from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Everything: the outcome is that of some order of the transactions, one after the other,
    /// namely the order of their versions. All that was read is checked, ranges included.
    Serializable,
    /// Everything that a snapshot protects from, and lost updates: only what is written is checked.
    /// Write skew, phantoms and the read-only anomaly can happen.
    Snapshot,
}

/// A transaction that waits for nobody. It sees the state at its beginning and its own writes;
/// nobody sees those before it has committed.
#[derive(Debug)]
pub struct Transaction {
    tree: Arc<Tree>,
    isolation: Isolation,
    terms: Terms,
    snapshot: Snapshot,
    /// How often history had been taken back before it began.
    taken_back: usize,
    reads: Reads,
    own: Overlay,
    /// Locks that its commit came to need.
    holder: Option<Holder>,
}

impl Transaction {
    /// Begins one at all that is visible now.
    pub fn begin(tree: &Arc<Tree>, isolation: Isolation, terms: Terms) -> Transaction {
        Transaction {
            tree: Arc::clone(tree),
            isolation,
            terms,
            taken_back: tree.snapshots().times_taken_back(),
            snapshot: tree.snapshot(),
            reads: Reads::default(),
            own: Overlay::default(),
            holder: None,
        }
    }

    /// The version it reads.
    pub fn version(&self) -> Lsn {
        self.snapshot.version()
    }

    /// Reads `key` into `out`, which is cleared before.
    ///
    /// # Errors
    /// [`Pause`](crate::tree::Pause); ask again, or begin again if it is [`Error::RolledBack`].
    pub fn get(&mut self, from: &Keyspace, key: &[u8], out: &mut Vec<u8>) -> Attempt<Option<Seen>> {
        if let Some(own) = self.own.get(from.id(), key) {
            return Ok(own.read(self.terms.now, out));
        }
        self.snapshot.check()?;
        let found = self.tree.get(from, key, At::Version(self.version()), out)?;
        if self.isolation == Isolation::Serializable {
            self.reads.point(from.id(), key);
        }
        Ok(Seen::of(found, self.terms.now, out))
    }

    /// Begins to walk the keys from `from` on and before `to`, or to the last.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn scan(&mut self, of: &Arc<Keyspace>, from: &[u8], to: Option<&[u8]>) -> Attempt<Scan> {
        self.snapshot.check()?;
        let mut scan = Scan::new(of, from, to, self.version())?;
        if self.isolation == Isolation::Serializable {
            let scanned = Scanned { keyspace: of.id(), from, to, since: self.version() };
            scan.id = Some(self.reads.begin_scan(scanned));
        }
        Ok(scan)
    }

    /// Moves a walk on from its front or its back. What it came to is in [`Scan::shown`]; `false`
    /// when its ends have met.
    ///
    /// # Errors
    /// [`Pause`](crate::tree::Pause); ask again.
    pub fn advance(&mut self, scan: &mut Scan, is_front: bool) -> Attempt<bool> {
        self.snapshot.check()?;
        scan.advance(&mut self.own, &mut self.reads, self.terms.now, is_front)
    }

    /// Will give `key` a value, until `deadline` (Unix ms) if there is one.
    ///
    /// # Errors
    /// Lengths out of bounds.
    pub fn put(
        &mut self,
        to: &Keyspace,
        key: &[u8],
        value: &[u8],
        deadline: Option<u64>,
    ) -> Result<(), Error> {
        check_put(key, value, deadline)?;
        self.own.set(to.id(), key, Own::Put { value, deadline });
        Ok(())
    }

    /// Will delete `key`, which need not be there.
    ///
    /// # Errors
    /// Its length is out of bounds.
    pub fn delete(&mut self, from: &Keyspace, key: &[u8]) -> Result<(), Error> {
        check_put(key, &[], None)?;
        self.own.set(from.id(), key, Own::Delete);
        Ok(())
    }

    /// Will commit only if `key` then has this version; 0 if it must not be there.
    pub fn expect(&mut self, of: &Keyspace, key: &[u8], version: Lsn) {
        self.reads.expect(of.id(), key, version);
    }

    /// Does all of it, or nothing. To be called again after a pause; afterwards it is over.
    ///
    /// Returns the version it made, or the one it read if it wrote nothing. What it made is
    /// assigned, not durable.
    ///
    /// # Errors
    /// [`Error::Conflict`] names a key that somebody else has changed.
    pub fn commit(&mut self) -> Attempt<Lsn> {
        if self.own.is_empty() && self.reads.expects_nothing() {
            // A snapshot is the state after the commits up to its version: it comes right there.
            self.snapshot.check()?;
            return Ok(self.version());
        }
        self.own.sort();
        let since = self.version();
        let ranges = self.reads.ranges();
        let mut checks = match self.isolation {
            Isolation::Serializable => self.reads.unchanged(&ranges, since),
            Isolation::Snapshot => {
                self.own.keys().map(|(keyspace, key)| unchanged(keyspace, key, since)).collect()
            }
        };
        checks.extend(self.reads.versions(self.terms.now));
        checks.push(Check::Intact { at: since, times: self.taken_back });
        write::commit(&self.tree, self.terms, &mut self.holder, checks, &self.own)
    }
}
