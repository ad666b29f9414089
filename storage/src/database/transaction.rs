//! Transactions whose pauses are waited for.

use orloj_kernel::mutant;

use super::{Assigned, Database, KeyRange, Keyspace, Value};
use crate::{
    Durability, Error, Lsn,
    locks::Mode,
    tree::{Attempt, LongValueMiss},
    txn::{
        self, Entry, Isolation, Scan, Seen,
        single::{Execution, Outcome, Progress, SingleShot},
    },
};

impl Database {
    /// Begins a transaction that waits for nobody and may lose to others: see [`txn::Transaction`].
    ///
    /// ```
    /// # use orloj_storage::{Database, Error, database::Keyspace, txn::{Isolation, Retry}};
    /// # use orloj_kernel::Context;
    /// # async fn example(cx: Context, db: Database, accounts: Keyspace) -> Result<(), Error> {
    /// let transfer = || async {
    ///     let mut transaction = db.begin(Isolation::Serializable)?;
    ///     let mut balance = Vec::new();
    ///     transaction.get(&accounts, b"alice", &mut balance).await?;
    ///     transaction.put(&accounts, b"bob", (&balance).into())?;
    ///     transaction.delete(&accounts, b"alice")?;
    ///     transaction.commit().await
    /// };
    /// let version = Retry::default().run(&cx, transfer).await?;
    /// # let _ = version; Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn begin(&self, isolation: Isolation) -> Result<Transaction, Error> {
        self.check_open()?;
        let isolation = match mutant!(self.0.cx, "txn.reads_are_not_checked") {
            true => Isolation::Snapshot,
            false => isolation,
        };
        let taken_back = self.times_taken_back();
        let inner = txn::Transaction::begin(self.tree(), isolation, self.terms());
        Ok(Transaction { db: self.clone(), inner, taken_back })
    }

    /// Begins a transaction that locks what it reads and writes, and waits for others'. See
    /// [`txn::Locked`]; [`Options::lock_wait`](crate::Options::lock_wait) from now on it gives up.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn begin_locked(&self) -> Result<Locked, Error> {
        self.check_open()?;
        let taken_back = self.times_taken_back();
        let inner = txn::Locked::begin(self.tree(), self.terms());
        Ok(Locked { db: self.clone(), inner, taken_back })
    }

    /// Executes a single shot: all of it or nothing.
    ///
    /// # Errors
    /// [`Error::NoKeyspace`]. That an assert failed is an [`Outcome`], not an error.
    pub async fn execute(&self, shot: &SingleShot<'_>) -> Result<Outcome, Error> {
        self.check_open()?;
        let mut execution = Execution::new(shot, self.tree(), self.terms());
        loop {
            let taken_back = self.times_taken_back();
            let run = || self.room().and_then(|()| execution.run(&self.0.aborts));
            match self.ask(run).await? {
                Progress::Done(outcome) => {
                    self.settle(self.assigned(outcome.version, taken_back)).await?;
                    return Ok(outcome);
                }
                Progress::Load(miss) => {
                    let mut value = Vec::new();
                    self.load_value(&miss, &mut value).await?;
                    execution.supply(miss.at, value);
                }
            }
        }
    }

    /// Adds the value that a transaction has found, if it lies in the value log.
    async fn load_seen(
        &self,
        seen: Option<Seen>,
        of: &Keyspace,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Seen>, Error> {
        if let Some(Seen { version: Some(version), pointer: Some(at), .. }) = seen {
            let miss = LongValueMiss { at, keyspace: of.id(), key: key.into(), version };
            self.load_value(&miss, out).await?;
        }
        Ok(seen)
    }

    /// Moves a walk on, and adds the value of the key that it came to in the same way.
    async fn step<'s>(
        &self,
        scan: &'s mut Scan,
        mut advance: impl FnMut(&mut Scan) -> Attempt<bool>,
    ) -> Result<Option<Entry<'s>>, Error> {
        self.check_open()?;
        if !self.ask(|| advance(scan)).await? {
            return Ok(None);
        }
        let entry = scan.shown();
        if let Entry { key, version: Some(version), pointer: Some(at), .. } = entry {
            let miss = LongValueMiss { at, keyspace: scan.keyspace(), key: key.into(), version };
            let mut value = Vec::new();
            self.load_value(&miss, &mut value).await?;
            scan.supply(&value);
        }
        Ok(Some(scan.shown()))
    }
}

/// An optimistic transaction. Dropped, it never was.
#[derive(Debug)]
pub struct Transaction {
    db: Database,
    inner: txn::Transaction,
    taken_back: usize,
}

impl Transaction {
    /// The version it reads.
    pub fn version(&self) -> Lsn {
        self.inner.version()
    }

    /// Reads `key` into `out`, which is cleared before.
    ///
    /// # Errors
    /// [`Error::HistoryTrimmed`], [`Error::RolledBack`].
    pub async fn get(
        &mut self,
        of: &Keyspace,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Seen>, Error> {
        let Transaction { db, inner, .. } = self;
        db.check_open()?;
        let seen = db.ask(|| inner.get(&of.0, key, out)).await?;
        db.load_seen(seen, of, key, out).await
    }

    /// Begins to walk the keys of `range`.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub async fn scan(&mut self, of: &Keyspace, range: KeyRange<'_>) -> Result<Scan, Error> {
        self.db.check_open()?;
        let mut scan = self.db.ask(|| self.inner.scan(&of.0, range.from, range.to)).await?;
        if mutant!(self.db.0.cx, "txn.scans_are_not_checked") {
            scan.forget_reader();
        }
        Ok(scan)
    }

    /// The next key of a walk from its front; `None` when its ends have met.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub async fn next<'s>(&mut self, scan: &'s mut Scan) -> Result<Option<Entry<'s>>, Error> {
        self.db.step(scan, |scan| self.inner.advance(scan, true)).await
    }

    /// The next key of a walk from its back; `None` when its ends have met.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub async fn back<'s>(&mut self, scan: &'s mut Scan) -> Result<Option<Entry<'s>>, Error> {
        self.db.step(scan, |scan| self.inner.advance(scan, false)).await
    }

    /// Will give `key` a value.
    ///
    /// # Errors
    /// Lengths out of bounds.
    pub fn put(&mut self, to: &Keyspace, key: &[u8], value: Value<'_>) -> Result<(), Error> {
        self.db.check_own(to)?;
        self.inner.put(&to.0, key, value.bytes, value.deadline)
    }

    /// Will delete `key`, which need not be there.
    ///
    /// # Errors
    /// Its length is out of bounds.
    pub fn delete(&mut self, from: &Keyspace, key: &[u8]) -> Result<(), Error> {
        self.db.check_own(from)?;
        self.inner.delete(&from.0, key)
    }

    /// Will commit only if `key` then has this version; 0 if it must not be there.
    pub fn expect(&mut self, of: &Keyspace, key: &[u8], version: Lsn) {
        self.inner.expect(&of.0, key, version);
    }

    /// Does all of it, or nothing. Returns the version it made, or the one it read if it wrote
    /// nothing, when that is as safe as [`Durability`] promises.
    ///
    /// # Errors
    /// [`Error::Conflict`] names a key that somebody else has changed.
    pub async fn commit(mut self) -> Result<Lsn, Error> {
        self.db.check_open()?;
        let db = &self.db;
        let version = db.ask(|| db.room().and_then(|()| self.inner.commit())).await?;
        db.settle(db.assigned(version, self.taken_back)).await
    }
}

/// A transaction under locks, all of which go when it commits or is dropped.
#[derive(Debug)]
pub struct Locked {
    db: Database,
    inner: txn::Locked,
    taken_back: usize,
}

impl Locked {
    /// Locks all of a set, in the one order in which everybody locks sets. Whoever does so first
    /// of all, and locks nothing else, never dies of waiting.
    ///
    /// # Errors
    /// [`Error::Deadlock`], [`Error::LockTimeout`], [`Error::Upgrade`].
    pub async fn lock(&mut self, set: &[(&Keyspace, &[u8], Mode)]) -> Result<(), Error> {
        self.db.check_open()?;
        let set = set.iter().map(|(keyspace, key, mode)| (&*keyspace.0, *key, *mode));
        self.db.ask(|| self.inner.lock(set.clone())).await
    }

    /// Reads `key` into `out`, which is cleared before, under a lock of at least `mode`. Who may
    /// write the key later must say so by [`Mode::Update`]. In strict mode it is answered when
    /// what it says is durable.
    ///
    /// # Errors
    /// As [`Locked::lock`].
    pub async fn get(
        &mut self,
        from: &Keyspace,
        key: &[u8],
        mode: Mode,
        out: &mut Vec<u8>,
    ) -> Result<Option<Seen>, Error> {
        self.db.check_open()?;
        let seen = self.db.ask(|| self.inner.get(&from.0, key, mode, out)).await?;
        self.settle_reads().await?;
        self.db.load_seen(seen, from, key, out).await
    }

    /// Waits until what it has read is durable, where that is promised.
    async fn settle_reads(&self) -> Result<(), Error> {
        if self.db.0.options.durability == Durability::Strict {
            let Locked { inner, taken_back, .. } = self;
            let read = Assigned { version: inner.rests_on(), taken_back: *taken_back };
            self.db.durable(read).await?;
        }
        Ok(())
    }

    /// Begins to walk the keys of `range`. A key that somebody else changes there is a conflict at
    /// commit.
    ///
    /// # Errors
    /// As [`Locked::lock`].
    pub async fn scan(&mut self, of: &Keyspace, range: KeyRange<'_>) -> Result<Scan, Error> {
        self.db.check_open()?;
        self.db.ask(|| self.inner.scan(&of.0, range.from, range.to)).await
    }

    /// The next key of a walk from its front; `None` when its ends have met.
    ///
    /// # Errors
    /// As [`Locked::lock`].
    pub async fn next<'s>(&mut self, scan: &'s mut Scan) -> Result<Option<Entry<'s>>, Error> {
        self.db.step(scan, |scan| self.inner.advance(scan, true)).await
    }

    /// The next key of a walk from its back; `None` when its ends have met.
    ///
    /// # Errors
    /// As [`Locked::lock`].
    pub async fn back<'s>(&mut self, scan: &'s mut Scan) -> Result<Option<Entry<'s>>, Error> {
        self.db.step(scan, |scan| self.inner.advance(scan, false)).await
    }

    /// Locks `key` and will give it a value.
    ///
    /// # Errors
    /// As [`Locked::lock`]; lengths out of bounds.
    pub async fn put(&mut self, to: &Keyspace, key: &[u8], value: Value<'_>) -> Result<(), Error> {
        self.db.check_own(to)?;
        self.db.ask(|| self.inner.put(&to.0, key, value.bytes, value.deadline)).await
    }

    /// Locks `key` and will delete it. It need not be there.
    ///
    /// # Errors
    /// As [`Locked::put`].
    pub async fn delete(&mut self, from: &Keyspace, key: &[u8]) -> Result<(), Error> {
        self.db.check_own(from)?;
        self.db.ask(|| self.inner.delete(&from.0, key)).await
    }

    /// Does all of it, or nothing, and lets go of all locks. Returns the version it made, or one
    /// at which all it read was so.
    ///
    /// # Errors
    /// [`Error::Conflict`] names a key that somebody has changed within a range it scanned.
    pub async fn commit(mut self) -> Result<Lsn, Error> {
        self.db.check_open()?;
        let db = &self.db;
        let version = db.ask(|| db.room().and_then(|()| self.inner.commit())).await?;
        db.settle(db.assigned(version, self.taken_back)).await
    }
}
