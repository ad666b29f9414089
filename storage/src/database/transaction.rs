//! Transactions whose pauses are waited for.

use super::{Assigned, Database, KeyRange, Keyspace, Value};
use crate::{
    Durability, Error, Lsn,
    locks::Mode,
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
        let taken_back = self.tree().snapshots().times_taken_back();
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
        let taken_back = self.tree().snapshots().times_taken_back();
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
            let taken_back = self.tree().snapshots().times_taken_back();
            match execution.run(&self.0.aborts) {
                Ok(Progress::Done(outcome)) => {
                    self.settle(self.assigned(outcome.version, taken_back)).await?;
                    return Ok(outcome);
                }
                Ok(Progress::Load(pointer)) => unreachable!("no value log yet: {pointer:?}"),
                Err(pause) => self.resolve(pause).await?,
            }
        }
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
        self.db.check_open()?;
        loop {
            match self.inner.get(&of.0, key, out) {
                Ok(seen) => return Ok(seen),
                Err(pause) => self.db.resolve(pause).await?,
            }
        }
    }

    /// Begins to walk the keys of `range`.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub async fn scan(&mut self, of: &Keyspace, range: KeyRange<'_>) -> Result<Scan, Error> {
        self.db.check_open()?;
        loop {
            match self.inner.scan(&of.0, range.from, range.to) {
                Ok(scan) => return Ok(scan),
                Err(pause) => self.db.resolve(pause).await?,
            }
        }
    }

    /// The next key of a walk from its front; `None` when its ends have met.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub async fn next<'s>(&mut self, scan: &'s mut Scan) -> Result<Option<Entry<'s>>, Error> {
        self.step(scan, true).await
    }

    /// The next key of a walk from its back; `None` when its ends have met.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub async fn back<'s>(&mut self, scan: &'s mut Scan) -> Result<Option<Entry<'s>>, Error> {
        self.step(scan, false).await
    }

    async fn step<'s>(
        &mut self,
        scan: &'s mut Scan,
        is_front: bool,
    ) -> Result<Option<Entry<'s>>, Error> {
        self.db.check_open()?;
        loop {
            match self.inner.advance(scan, is_front) {
                Ok(true) => return Ok(Some(scan.shown())),
                Ok(false) => return Ok(None),
                Err(pause) => self.db.resolve(pause).await?,
            }
        }
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
        loop {
            match self.inner.commit() {
                Ok(version) => {
                    let assigned = self.db.assigned(version, self.taken_back);
                    return self.db.settle(assigned).await;
                }
                Err(pause) => self.db.resolve(pause).await?,
            }
        }
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
        loop {
            let set = set.iter().map(|(keyspace, key, mode)| (&*keyspace.0, *key, *mode));
            match self.inner.lock(set) {
                Ok(()) => return Ok(()),
                Err(pause) => self.db.resolve(pause).await?,
            }
        }
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
        loop {
            match self.inner.get(&from.0, key, mode, out) {
                Ok(seen) => {
                    self.settle_reads().await?;
                    return Ok(seen);
                }
                Err(pause) => self.db.resolve(pause).await?,
            }
        }
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
        loop {
            match self.inner.scan(&of.0, range.from, range.to) {
                Ok(scan) => return Ok(scan),
                Err(pause) => self.db.resolve(pause).await?,
            }
        }
    }

    /// The next key of a walk from its front; `None` when its ends have met.
    ///
    /// # Errors
    /// As [`Locked::lock`].
    pub async fn next<'s>(&mut self, scan: &'s mut Scan) -> Result<Option<Entry<'s>>, Error> {
        self.step(scan, true).await
    }

    /// The next key of a walk from its back; `None` when its ends have met.
    ///
    /// # Errors
    /// As [`Locked::lock`].
    pub async fn back<'s>(&mut self, scan: &'s mut Scan) -> Result<Option<Entry<'s>>, Error> {
        self.step(scan, false).await
    }

    async fn step<'s>(
        &mut self,
        scan: &'s mut Scan,
        is_front: bool,
    ) -> Result<Option<Entry<'s>>, Error> {
        self.db.check_open()?;
        loop {
            match self.inner.advance(scan, is_front) {
                Ok(true) => return Ok(Some(scan.shown())),
                Ok(false) => return Ok(None),
                Err(pause) => self.db.resolve(pause).await?,
            }
        }
    }

    /// Locks `key` and will give it a value.
    ///
    /// # Errors
    /// As [`Locked::lock`]; lengths out of bounds.
    pub async fn put(&mut self, to: &Keyspace, key: &[u8], value: Value<'_>) -> Result<(), Error> {
        self.db.check_own(to)?;
        while let Err(pause) = self.inner.put(&to.0, key, value.bytes, value.deadline) {
            self.db.resolve(pause).await?;
        }
        Ok(())
    }

    /// Locks `key` and will delete it. It need not be there.
    ///
    /// # Errors
    /// As [`Locked::put`].
    pub async fn delete(&mut self, from: &Keyspace, key: &[u8]) -> Result<(), Error> {
        self.db.check_own(from)?;
        while let Err(pause) = self.inner.delete(&from.0, key) {
            self.db.resolve(pause).await?;
        }
        Ok(())
    }

    /// Does all of it, or nothing, and lets go of all locks. Returns the version it made, or one
    /// at which all it read was so.
    ///
    /// # Errors
    /// [`Error::Conflict`] names a key that somebody has changed within a range it scanned.
    pub async fn commit(mut self) -> Result<Lsn, Error> {
        self.db.check_open()?;
        loop {
            match self.inner.commit() {
                Ok(version) => {
                    let assigned = self.db.assigned(version, self.taken_back);
                    return self.db.settle(assigned).await;
                }
                Err(pause) => self.db.resolve(pause).await?,
            }
        }
    }
}
