//! Writing without a transaction.

use orloj_kernel::mutant;

use super::{Database, Keyspace};
use crate::{
    Durability, Error, Lsn,
    tree::{Attempt, Pause},
    txn::{self, Isolation, Transaction},
};

/// A value to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// Its bytes, 1 GiB at most.
    pub bytes: &'a [u8],
    /// From then on (Unix ms, the database's time) its key is gone.
    pub deadline: Option<u64>,
}

impl<'a> Value<'a> {
    /// Bytes that are there until `deadline` (Unix ms, the database's time).
    pub fn until(bytes: &'a [u8], deadline: u64) -> Value<'a> {
        Value { bytes, deadline: Some(deadline) }
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Value<'a> {
        Value { bytes, deadline: None }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(bytes: &'a [u8; N]) -> Value<'a> {
        Value { bytes, deadline: None }
    }
}

impl<'a> From<&'a Vec<u8>> for Value<'a> {
    fn from(bytes: &'a Vec<u8>) -> Value<'a> {
        Value { bytes, deadline: None }
    }
}

/// A write that is in memory and on its way to the journal. A full disk may still take it back, and
/// then its version is given to another: [`Database::durable`] tells the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it is not durable yet"]
pub struct Assigned {
    /// Its version, if it stays.
    pub(super) version: Lsn,
    /// How often history had been taken back before it was given.
    pub(super) taken_back: usize,
}

impl Assigned {
    /// Its version, if it stays.
    pub fn version(self) -> Lsn {
        self.version
    }
}

impl Database {
    /// Gives `key` a value. A plain call: it is assigned, not durable.
    ///
    /// # Errors
    /// [`Pause`]: nothing happened, [`Database::resolve`] it and try again. [`Error::KeyLength`],
    /// [`Error::ValueLength`], [`Error::DeadlineKeyLength`], [`Error::NoKeyspace`].
    #[inline]
    pub fn try_put(&self, to: &Keyspace, key: &[u8], value: Value<'_>) -> Attempt<Assigned> {
        self.check_write(to)?;
        let taken_back = self.times_taken_back();
        let version = match value.deadline {
            None => self.tree().put(&to.0, key, value.bytes, None)?,
            // It must not wait for locks here: it would lose its place with every attempt.
            Some(_) => txn::put_at_once(self.tree(), &to.0, key, value.bytes, value.deadline)?,
        };
        Ok(self.assigned(version, taken_back))
    }

    /// Deletes `key`, which need not be there. A plain call: it is assigned, not durable.
    ///
    /// # Errors
    /// As [`Database::try_put`].
    #[inline]
    pub fn try_delete(&self, from: &Keyspace, key: &[u8]) -> Attempt<Assigned> {
        self.check_write(from)?;
        let taken_back = self.times_taken_back();
        let version = self.tree().delete(&from.0, key)?;
        Ok(self.assigned(version, taken_back))
    }

    /// Gives `key` a value, and returns its version when it is as safe as [`Durability`] promises.
    ///
    /// # Errors
    /// As [`Database::try_put`], and [`Error::LockTimeout`] if a transaction has locked the key.
    pub async fn put(&self, to: &Keyspace, key: &[u8], value: Value<'_>) -> Result<Lsn, Error> {
        let assigned = self
            .ask(|| match self.try_put(to, key, value) {
                Err(Pause::Locked(_)) => Ok(None),
                assigned => assigned.map(Some),
            })
            .await?;
        match assigned {
            Some(assigned) => self.settle(assigned).await,
            None => {
                let mut write = self.blind();
                write.put(&to.0, key, value.bytes, value.deadline)?;
                self.finish(write).await
            }
        }
    }

    /// Deletes `key`, which need not be there.
    ///
    /// # Errors
    /// As [`Database::put`].
    pub async fn delete(&self, from: &Keyspace, key: &[u8]) -> Result<Lsn, Error> {
        let assigned = self
            .ask(|| match self.try_delete(from, key) {
                Err(Pause::Locked(_)) => Ok(None),
                assigned => assigned.map(Some),
            })
            .await?;
        match assigned {
            Some(assigned) => self.settle(assigned).await,
            None => {
                let mut write = self.blind();
                write.delete(&from.0, key)?;
                self.finish(write).await
            }
        }
    }

    /// Gives `key` a value, or deletes it, if it still has the version `expected`; 0 says that it
    /// is not there.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it has another. Otherwise as [`Database::put`].
    pub async fn compare_and_set(
        &self,
        of: &Keyspace,
        key: &[u8],
        expected: Lsn,
        to: Option<Value<'_>>,
    ) -> Result<Lsn, Error> {
        self.check_open()?;
        self.check_own(of)?;
        let mut write = self.blind();
        if !mutant!(self.0.cx, "txn.expected_version_is_ignored") {
            write.expect(&of.0, key, expected);
        }
        match to {
            Some(value) => write.put(&of.0, key, value.bytes, value.deadline)?,
            None => write.delete(&of.0, key)?,
        }
        self.finish(write).await
    }

    /// A transaction that reads nothing, so that nobody can stand in its way but by a lock.
    fn blind(&self) -> Transaction {
        Transaction::begin(self.tree(), Isolation::Serializable, self.terms())
    }

    async fn finish(&self, mut write: Transaction) -> Result<Lsn, Error> {
        let taken_back = self.times_taken_back();
        let version = self.ask(|| self.room().and_then(|()| write.commit())).await?;
        self.settle(self.assigned(version, taken_back)).await
    }

    /// Whether `to` can be written to now.
    #[inline]
    fn check_write(&self, to: &Keyspace) -> Attempt<()> {
        self.check_open()?;
        self.check_own(to)?;
        self.room()
    }

    /// Whether there is room for changes in memory.
    #[inline]
    pub(super) fn room(&self) -> Attempt<()> {
        match &self.0.files {
            Some(files) if files.is_full() => Err(Pause::Room),
            _ => Ok(()),
        }
    }

    /// How often history has been taken back. To be asked before a version is given.
    #[inline]
    pub(super) fn times_taken_back(&self) -> usize {
        self.tree().snapshots().times_taken_back()
    }

    /// Something was assigned, and nobody waits for it.
    #[inline]
    pub(super) fn arm(&self) {
        if let Some(files) = &self.0.files {
            files.writer.arm();
        }
    }

    /// What was given `version`, after history had been taken back so often.
    #[inline]
    pub(super) fn assigned(&self, version: Lsn, taken_back: usize) -> Assigned {
        self.arm();
        Assigned { version, taken_back }
    }

    /// Waits for as long as the database's durability asks for.
    #[inline]
    pub(super) async fn settle(&self, assigned: Assigned) -> Result<Lsn, Error> {
        match self.0.options.durability {
            Durability::Strict => self.durable(assigned).await,
            Durability::Buffered | Durability::InMemory => Ok(assigned.version),
        }
    }
}
