//! What a node keeps of consensus between two lives, in two keyspaces of the engine.
//!
//! `docs/src/engine-format.md` has the layout. Log, vote, what was done and what was purged go
//! through one journal, so a crash leaves a beginning of all of it: what was done was in the log
//! before, and what was purged was done before.

use std::io;

use bytes::Bytes;
use openraft::LogIdOptionExt;
use orloj_kernel::{Context, sometimes};
use orloj_storage::{
    Database, Error, Snapshot,
    database::{Assigned, KeyRange, Keyspace},
};

use crate::{
    EntryError,
    codec::{
        LogEntry, LogId, StoredMembers, Vote, decode_log_id, decode_place, decode_stored,
        decode_vote,
    },
};

/// The group that keys begin with. There is one, and room for more.
const GROUP: u32 = 0;
/// Keys of the log that one commit deletes at most.
const SWEEP: u64 = 1_000;

/// A value of the state keyspace.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    Vote,
    /// Up to which entry the log is gone.
    Purged,
    /// Up to which entry everything was done.
    Applied,
    /// Who belonged to the cluster then.
    Members,
}

impl Name {
    pub(crate) fn key(self) -> Vec<u8> {
        let name: &[u8] = match self {
            Name::Vote => b"vote",
            Name::Purged => b"purged",
            Name::Applied => b"applied",
            Name::Members => b"member",
        };
        [&GROUP.to_be_bytes(), name].concat()
    }
}

/// Where the entry of that index lies in the log.
pub(crate) fn place(index: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&GROUP.to_be_bytes());
    key[4..].copy_from_slice(&index.to_be_bytes());
    key
}

/// What a node kept makes no sense, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeptError {
    /// The engine says why.
    #[error(transparent)]
    Engine(#[from] Error),
    /// A value of the state, or an entry.
    #[error("{what}: {cause}")]
    Value {
        /// Which.
        what: String,
        /// Why.
        cause: EntryError,
    },
    /// An entry is missing between others, or between them and what was purged.
    #[error("the log has no entry {index}")]
    Hole {
        /// Its index.
        index: u64,
    },
    /// What was purged was never done, or what was done is not in the log.
    #[error("purged up to {purged:?}, done up to {applied:?}, and the log ends at {last:?}")]
    Order {
        /// Term and index up to which it was purged.
        purged: Option<(u64, u64)>,
        /// Those up to which it was done.
        applied: Option<(u64, u64)>,
        /// Those of its last entry.
        last: Option<(u64, u64)>,
    },
}

impl From<KeptError> for io::Error {
    fn from(error: KeptError) -> io::Error {
        io::Error::other(error)
    }
}

/// The keyspaces. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) db: Database,
    pub(crate) log: Keyspace,
    pub(crate) state: Keyspace,
}

/// What was in them.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<LogId>,
    pub(crate) applied: Option<LogId>,
    pub(crate) members: StoredMembers,
    /// The last entry there is, or was before it was purged.
    pub(crate) last: Option<LogId>,
    /// It was so then, and whatever rests on it fails if history is taken back.
    pub(crate) since: Assigned,
}

impl Kept {
    /// Opens them, makes them if there are none, and looks at all that is there.
    pub(crate) async fn open(cx: Context, db: Database) -> Result<(Kept, Found), KeptError> {
        let (log, state) = db.replication().await?;
        let kept = Kept { db, log, state };
        let since = kept.db.last_assigned();
        let purged = kept.read(Name::Purged, decode_log_id).await?;
        let applied = kept.read(Name::Applied, decode_log_id).await?;
        let vote = kept.read(Name::Vote, decode_vote).await?;
        let members = kept.read(Name::Members, decode_stored).await?.unwrap_or_default();
        let last = kept.walk(cx, purged.as_ref(), since).await?.or(purged);
        if purged > applied || applied > last {
            let plain = |id: LogId| (id.committed_leader_id().term, id.index());
            let (purged, applied, last) = (purged.map(plain), applied.map(plain), last.map(plain));
            return Err(KeptError::Order { purged, applied, last });
        }
        Ok((kept, Found { vote, purged, applied, members, last, since }))
    }

    async fn read<T>(
        &self,
        name: Name,
        decode: impl FnOnce(&Bytes) -> Result<T, EntryError>,
    ) -> Result<Option<T>, KeptError> {
        let mut value = Vec::new();
        let found = self.db.get_newest(&self.state, &name.key(), &mut value).await?;
        let senseless = |cause| KeptError::Value { what: format!("{name:?}"), cause };
        found.map(|_| decode(&value.into()).map_err(senseless)).transpose()
    }

    /// Looks whether the log is whole behind `purged`, and returns the id of its last entry. What a
    /// purge has left is deleted.
    async fn walk(
        &self,
        cx: Context,
        purged: Option<&LogId>,
        since: Assigned,
    ) -> Result<Option<LogId>, KeptError> {
        let at = self.db.newest_snapshot()?;
        let mut next = purged.next_index();
        let mut left = None;
        let (first, end) = (place(0), (GROUP + 1).to_be_bytes());
        let range = KeyRange { from: &first, to: Some(&end) };
        let mut keys = self.db.keys(&self.log, range, &at)?;
        while let Some(item) = keys.next().await? {
            let index = item.key.try_into().map(|key: [u8; 12]| key[4..].try_into());
            let Ok(Ok(index)) = index else { return Err(KeptError::Hole { index: next }) };
            let index = u64::from_be_bytes(index);
            if index < purged.next_index() {
                left.get_or_insert(index);
            } else if index == next {
                next += 1;
            } else {
                return Err(KeptError::Hole { index: next });
            }
        }
        sometimes!(cx, left.is_some(), "raft: another life finished a purge");
        if let Some(left) = left {
            self.sweep(left, purged.next_index(), since).await?;
        }
        if next == purged.next_index() {
            return Ok(None);
        }
        let last = self.entries(next - 1, next, usize::MAX, &at).await?;
        Ok(last.first().map(|(entry, _)| entry.log_id))
    }

    /// Deletes the entries from `from` on and before `to`, the oldest first.
    pub(crate) async fn sweep(&self, from: u64, to: u64, since: Assigned) -> Result<(), Error> {
        let mut from = from;
        while from < to {
            let until = to.min(from.saturating_add(SWEEP));
            let _ = self.delete(from, until, since).await?;
            from = until;
        }
        Ok(())
    }

    /// Deletes the entries from `from` on and before `to`, the newest first, so that none stays
    /// behind one that is gone.
    pub(crate) async fn cut(&self, from: u64, to: u64, since: Assigned) -> Result<(), Error> {
        let mut to = to;
        while from < to {
            let since_which = from.max(to.saturating_sub(SWEEP));
            let _ = self.delete(since_which, to, since).await?;
            to = since_which;
        }
        Ok(())
    }

    async fn delete(&self, from: u64, to: u64, since: Assigned) -> Result<Assigned, Error> {
        let keys: Vec<[u8; 12]> = (from..to).map(place).collect();
        let mut batch = self.db.batch(since);
        keys.iter().for_each(|key| batch.delete(&self.log, key));
        self.db.commit(&batch).await
    }

    /// Entries from `from` on and before `to` as of `at`, with their bytes; no more behind those
    /// that have `limit` bytes together.
    pub(crate) async fn entries(
        &self,
        from: u64,
        to: u64,
        limit: usize,
        at: &Snapshot,
    ) -> Result<Vec<(LogEntry, usize)>, KeptError> {
        let (first, end) = (place(from), place(to));
        let range = KeyRange { from: &first, to: Some(&end) };
        let mut cursor = self.db.cursor(&self.log, range, at)?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for index in from..to {
            let item = cursor.next().await?.filter(|item| item.key == place(index));
            let value = item.ok_or(KeptError::Hole { index })?.value;
            bytes += value.len();
            let entry = decode_place(index, &Bytes::copy_from_slice(value));
            let senseless = |cause| KeptError::Value { what: format!("entry {index}"), cause };
            entries.push((entry.map_err(senseless)?, value.len()));
            if bytes >= limit {
                break;
            }
        }
        Ok(entries)
    }
}
