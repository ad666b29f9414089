//! Keyspaces as users see them.

use std::{fmt, sync::Arc};

use super::Database;
use crate::{
    Error, KeyspaceId, Lsn, Retention,
    keyspace::is_name,
    record::Op,
    tree::{At, Attempt, Check, Keyspace as Tree},
};

/// A keyspace of a database. Clones are the same one. After it was dropped from the database,
/// writing to it is [`Error::NoKeyspace`].
#[derive(Clone)]
pub struct Keyspace(pub(super) Arc<Tree>);

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace").field("id", &self.id()).field("name", &self.name()).finish()
    }
}

impl Keyspace {
    /// Its number in records and errors; never given twice.
    pub fn id(&self) -> KeyspaceId {
        self.0.id()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Which versions it keeps.
    pub fn retention(&self) -> Retention {
        self.0.retention()
    }

    /// The version from which on everything can be read.
    pub fn earliest(&self) -> Lsn {
        self.0.earliest()
    }
}

/// Those that belong to the engine.
const OWN: [(KeyspaceId, &str); 2] =
    [(KeyspaceId::META, "orloj.meta"), (KeyspaceId::DEADLINES, "orloj.deadlines")];

/// Those of a node that keeps a replicated log.
const REPLICATION: [(KeyspaceId, &str); 2] =
    [(KeyspaceId::RAFT_LOG, "orloj.raft.log"), (KeyspaceId::RAFT_STATE, "orloj.raft.state")];

/// The key in [`KeyspaceId::META`] whose value is the number of the next keyspace, little-endian.
const NEXT: &[u8] = b"next keyspace";

/// Makes the engine's own keyspaces where they are missing.
pub(super) async fn make_own(db: &Database) -> Result<(), Error> {
    make(db, &OWN).await
}

/// As [`make_own`]; the version that did it, if anything was missing.
pub(super) fn try_make_own(db: &Database) -> Attempt<Option<Lsn>> {
    try_make(db, &OWN)
}

async fn make(db: &Database, these: &[(KeyspaceId, &str)]) -> Result<(), Error> {
    let taken_back = db.times_taken_back();
    if let Some(version) = db.ask(|| try_make(db, these)).await? {
        db.durable(db.assigned(version, taken_back)).await?;
    }
    Ok(())
}

fn try_make(db: &Database, these: &[(KeyspaceId, &str)]) -> Attempt<Option<Lsn>> {
    let keep = Retention::default();
    let missing: Vec<Op<'_>> = these
        .iter()
        .filter(|(id, _)| db.tree().keyspace(*id).is_err())
        .map(|(keyspace, name)| Op::Create { keyspace: *keyspace, name, keep })
        .collect();
    match missing.is_empty() {
        true => Ok(None),
        false => db.tree().commit(&[], &missing).map(Some),
    }
}

impl Database {
    /// The keyspace of that name.
    ///
    /// # Errors
    /// [`Error::NoKeyspace`].
    pub fn keyspace(&self, name: &str) -> Result<Keyspace, Error> {
        self.check_open()?;
        let found = self.tree().named(name)?;
        match found.id().is_internal() {
            true => Err(Error::NoKeyspace { name: name.into() }),
            false => Ok(Keyspace(found)),
        }
    }

    /// The keyspaces of a replicated log and of what its node must not forget beside it. They are
    /// made when they are first asked for, and durable on return. Nobody finds them by name, and
    /// they are no part of what a database [holds](Database::content).
    ///
    /// # Errors
    /// See [the module](super); [`Error::KeyspaceExists`] if a user has given one of their names to
    /// a keyspace.
    pub async fn replication(&self) -> Result<(Keyspace, Keyspace), Error> {
        self.check_open()?;
        make(self, &REPLICATION).await?;
        let keyspace = |id| self.tree().keyspace(id).map(Keyspace);
        Ok((keyspace(KeyspaceId::RAFT_LOG)?, keyspace(KeyspaceId::RAFT_STATE)?))
    }

    /// Every keyspace, in the order in which they were made.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn keyspaces(&self) -> Result<Vec<Keyspace>, Error> {
        self.check_open()?;
        let all = self.tree().keyspaces();
        let users = all.iter().filter(|keyspace| !keyspace.id().is_internal());
        Ok(users.cloned().map(Keyspace).collect())
    }

    /// Makes a keyspace that keeps versions as `keep` says. It is durable on return, whatever the
    /// mode, as all that is done to whole keyspaces.
    ///
    /// # Errors
    /// [`Error::KeyspaceName`], [`Error::KeyspaceExists`].
    pub async fn create_keyspace(&self, name: &str, keep: Retention) -> Result<Keyspace, Error> {
        if !is_name(name) {
            return Err(Error::KeyspaceName { name: name.into() });
        }
        loop {
            let taken_back = self.times_taken_back();
            match self.ask(|| self.try_create(name, keep)).await {
                Ok(version) => {
                    let made = self.tree().named(name)?;
                    self.durable(self.assigned(version, taken_back)).await?;
                    return Ok(Keyspace(made));
                }
                // Somebody else took the number.
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn try_create(&self, name: &str, keep: Retention) -> Attempt<Lsn> {
        self.check_open()?;
        let meta = self.tree().keyspace(KeyspaceId::META)?;
        let mut value = Vec::new();
        let found = self.tree().get(&meta, NEXT, At::Assigned, &mut value)?;
        let next =
            <[u8; 4]>::try_from(&value[..]).map_or(KeyspaceId::FIRST_USER.0, u32::from_le_bytes);
        let keyspace = KeyspaceId(next);
        let value = (next + 1).to_le_bytes();
        let check = Check::VersionIs {
            keyspace: KeyspaceId::META,
            key: NEXT,
            expected: found.map_or(Lsn(0), |found| found.version),
            now: 0,
        };
        let writes = [
            Op::Create { keyspace, name, keep },
            Op::Put { keyspace: KeyspaceId::META, key: NEXT, value: &value, deadline: None },
        ];
        self.tree().commit(&[check], &writes)
    }

    /// Drops a keyspace with all that is in it. Snapshots taken before still read it.
    ///
    /// # Errors
    /// [`Error::NoKeyspace`] if it has been dropped.
    pub async fn drop_keyspace(&self, keyspace: &Keyspace) -> Result<Lsn, Error> {
        self.whole(keyspace, Op::Drop(keyspace.id())).await
    }

    /// Deletes every key of a keyspace at once. Snapshots taken before still read them.
    ///
    /// # Errors
    /// [`Error::NoKeyspace`] if it has been dropped.
    pub async fn clear_keyspace(&self, keyspace: &Keyspace) -> Result<Lsn, Error> {
        self.whole(keyspace, Op::Clear(keyspace.id())).await
    }

    async fn whole(&self, keyspace: &Keyspace, op: Op<'_>) -> Result<Lsn, Error> {
        self.check_open()?;
        self.check_own(keyspace)?;
        let taken_back = self.times_taken_back();
        let version = self.ask(|| self.tree().commit(&[], &[op])).await?;
        self.durable(self.assigned(version, taken_back)).await
    }

    /// A keyspace of another database would be written to with this one's versions.
    #[inline]
    pub(super) fn check_own(&self, keyspace: &Keyspace) -> Result<(), Error> {
        match self.0.tree.owns(&keyspace.0) {
            true => Ok(()),
            false => Err(Error::NoKeyspace { name: keyspace.name().into() }),
        }
    }
}
