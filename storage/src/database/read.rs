//! Reading one key.

use super::{Database, Keyspace};
use crate::{
    Error, Lsn,
    snapshots::Snapshot,
    tree::{At, Attempt, Found, LongValueMiss, Pause},
};

impl Database {
    /// Reads the value of `key` into `out`, which is cleared before, and returns the version that
    /// wrote it. A plain call without an allocation, if `out` has room.
    ///
    /// In strict mode only what is durable is seen.
    ///
    /// # Errors
    /// [`Pause`]: [`Database::resolve`] it and try again.
    #[inline]
    pub fn try_get(&self, of: &Keyspace, key: &[u8], out: &mut Vec<u8>) -> Attempt<Option<Lsn>> {
        let found = self.look(of, key, At::Visible, out)?;
        self.complete(found, of, key, out)
    }

    /// As [`Database::try_get`], at a snapshot.
    ///
    /// # Errors
    /// As [`Database::try_get`]; [`Error::HistoryTrimmed`], [`Error::RolledBack`].
    #[inline]
    pub fn try_get_at(
        &self,
        of: &Keyspace,
        key: &[u8],
        at: &Snapshot,
        out: &mut Vec<u8>,
    ) -> Attempt<Option<Lsn>> {
        let found = self.look_at(of, key, at, out)?;
        self.complete(found, of, key, out)
    }

    /// As [`Database::try_get`], waiting where that would pause.
    ///
    /// # Errors
    /// See [the module](super).
    pub async fn get(
        &self,
        of: &Keyspace,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Lsn>, Error> {
        let found = self.ask(|| self.look(of, key, At::Visible, out)).await?;
        self.load(found, of, key, out).await
    }

    /// As [`Database::try_get_at`], waiting where that would pause.
    ///
    /// # Errors
    /// [`Error::HistoryTrimmed`], [`Error::RolledBack`].
    pub async fn get_at(
        &self,
        of: &Keyspace,
        key: &[u8],
        at: &Snapshot,
        out: &mut Vec<u8>,
    ) -> Result<Option<Lsn>, Error> {
        let found = self.ask(|| self.look_at(of, key, at, out)).await?;
        self.load(found, of, key, out).await
    }

    #[inline]
    fn look(&self, of: &Keyspace, key: &[u8], at: At, out: &mut Vec<u8>) -> Attempt<Option<Found>> {
        self.check_open()?;
        let found = self.tree().get(&of.0, key, at, out)?;
        if let Some(Found { deadline: Some(deadline), .. }) = found
            && deadline <= self.now()
        {
            out.clear();
            return Ok(None);
        }
        Ok(found)
    }

    #[inline]
    fn look_at(
        &self,
        of: &Keyspace,
        key: &[u8],
        at: &Snapshot,
        out: &mut Vec<u8>,
    ) -> Attempt<Option<Found>> {
        let found = self.look(of, key, At::Version(at.version()), out);
        // Afterwards: what was read before the check cannot have been taken back unnoticed.
        at.check()?;
        found
    }

    /// Adds the value of what was found, if it lies in the value log and is in memory.
    #[inline]
    fn complete(
        &self,
        found: Option<Found>,
        of: &Keyspace,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Attempt<Option<Lsn>> {
        if let Some(miss) = found.and_then(|found| missing(&found, of, key)) {
            match self.0.files.as_ref().and_then(|files| files.block(&miss)) {
                Some(value) => out.extend_from_slice(&value),
                None => return Err(Pause::Value(miss)),
            }
        }
        Ok(found.map(|found| found.version))
    }

    /// As [`Database::complete`], wherever the value is.
    pub(super) async fn load(
        &self,
        found: Option<Found>,
        of: &Keyspace,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Lsn>, Error> {
        if let Some(miss) = found.and_then(|found| missing(&found, of, key)) {
            self.load_value(&miss, out).await?;
        }
        Ok(found.map(|found| found.version))
    }
}

/// What has to be loaded of what was found.
#[inline]
fn missing(found: &Found, of: &Keyspace, key: &[u8]) -> Option<LongValueMiss> {
    let at = found.pointer?;
    Some(LongValueMiss { at, keyspace: of.id(), key: key.into(), version: found.version })
}
