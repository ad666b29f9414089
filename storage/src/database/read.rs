//! Reading one key.

use super::{Database, Keyspace};
use crate::{
    Error, Lsn,
    snapshots::Snapshot,
    tree::{At, Attempt, Found},
};

impl Database {
    /// Reads the value of `key` into `out`, which is cleared before, and returns the version that
    /// wrote it. A plain call without an allocation, if `out` has room.
    ///
    /// In strict mode only what is durable is seen.
    ///
    /// # Errors
    /// [`Pause`](crate::Pause): [`Database::resolve`] it and try again.
    #[inline]
    pub fn try_get(&self, of: &Keyspace, key: &[u8], out: &mut Vec<u8>) -> Attempt<Option<Lsn>> {
        self.look(of, key, At::Visible, out)
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
        let found = self.look(of, key, At::Version(at.version()), out);
        // Afterwards: what was read before the check cannot have been taken back unnoticed.
        at.check()?;
        found
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
        loop {
            match self.try_get(of, key, out) {
                Ok(found) => return Ok(found),
                Err(pause) => self.resolve(pause).await?,
            }
        }
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
        loop {
            match self.try_get_at(of, key, at, out) {
                Ok(found) => return Ok(found),
                Err(pause) => self.resolve(pause).await?,
            }
        }
    }

    #[inline]
    fn look(&self, of: &Keyspace, key: &[u8], at: At, out: &mut Vec<u8>) -> Attempt<Option<Lsn>> {
        self.check_open()?;
        let found = self.tree().get(&of.0, key, at, out)?;
        let Some(Found { version, deadline, .. }) = found else { return Ok(None) };
        if deadline.is_some_and(|deadline| deadline <= self.now()) {
            out.clear();
            return Ok(None);
        }
        Ok(Some(version))
    }
}
