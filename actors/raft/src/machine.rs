//! The state machine: doing what the cluster has agreed on, in the engine.
//!
//! An entry is the effects of one commit, so whoever does it decides nothing. Each commit says how
//! far the log has been done, in the same record: after a crash the engine holds what the first so
//! many entries made of it, and never half of one. Nothing here waits for a sync; whatever a crash
//! takes back of it is done again out of the log.

use std::io;

use futures_util::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, StoredMembership,
    storage::{ApplyResponder, EntryResponder, RaftStateMachine},
    type_config::alias::{SnapshotMetaOf, SnapshotOf},
};
use orloj_kernel::{Context, always};
use orloj_storage::{
    Database, Error, Snapshot,
    database::{Assigned, Batch},
};

use crate::{
    Applied, Entry, Kind,
    codec::{LogId, StoredMembers, encode_log_id, encode_stored},
    kept::{Found, Kept, KeptError, Name},
    log::LogStore,
    types::Types,
};

/// Does entries. There is one.
#[derive(Debug)]
pub(crate) struct Machine {
    cx: Context,
    kept: Kept,
    /// What everything that is written rests on.
    since: Assigned,
    applied: Option<LogId>,
    members: StoredMembers,
}

/// The state behind some entry, which stays readable for as long as this lives.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    #[cfg_attr(not(test), expect(dead_code, reason = "who sends it to a peer is to come"))]
    pub(crate) state: Snapshot,
}

/// An image, and behind which entry it is.
#[derive(Debug)]
pub(crate) struct Pinned {
    meta: SnapshotMetaOf<Types>,
    state: Result<Snapshot, Error>,
}

/// Opens the log and the state machine over it.
///
/// # Errors
/// [`KeptError`] if what a node kept makes no sense.
pub(crate) async fn open(cx: Context, db: Database) -> Result<(LogStore, Machine), KeptError> {
    let (kept, found) = Kept::open(cx, db).await?;
    let log = LogStore::new(cx, kept.clone(), &found);
    let Found { since, applied, members, .. } = found;
    Ok((log, Machine { cx, kept, since, applied, members }))
}

/// Entries that came and are not in the engine yet, because the next commit has room for them: they
/// change nothing but how far the log has been done.
#[derive(Default)]
struct Pending {
    answers: Vec<ApplyResponder<Types>>,
    members: Option<StoredMembers>,
    applied: Option<LogId>,
}

impl Machine {
    /// Does `pending`, and what `record` says, as one.
    async fn commit(&mut self, pending: Pending, record: Option<&Entry>) -> Result<(), Error> {
        let Some(applied) = pending.applied else { return Ok(()) };
        let Kept { db, state, .. } = &self.kept;
        let (key, value) = (Name::Applied.key(), encode_log_id(&applied));
        let (members_key, members) =
            (Name::Members.key(), pending.members.as_ref().map(encode_stored));
        let mut own: Batch<'_> = db.batch(self.since);
        own.put(state, &key, &value, None);
        if let Some(members) = &members {
            own.put(state, &members_key, members, None);
        }
        let _ = match record {
            Some(entry) => db.redo_with(&entry.record, &own).await?,
            None => db.commit(&own).await?,
        };
        self.applied = Some(applied);
        if let Some(members) = pending.members {
            self.members = members;
        }
        let turn = db.applied();
        pending.answers.into_iter().for_each(|answer| answer.send(Applied { turn }));
        Ok(())
    }

    /// An entry of data was computed on the state that the turn before it made. On any other it
    /// would mean something else.
    fn check_base(&self, entry: &Entry, is_before: bool) {
        let Kind::Data { turn } = entry.kind else { return };
        let made = self.kept.db.applied() + u64::from(is_before);
        always!(
            self.cx,
            turn == made,
            "raft: an entry is done on the state it was computed on",
            "it makes turn {turn}, and here it is {made}"
        );
    }

    fn pin(&self) -> Pinned {
        let (last_log_id, last_membership) = (self.applied, self.members.clone());
        let meta = SnapshotMetaOf::<Types> { last_log_id, last_membership };
        Pinned { meta, state: self.kept.db.newest_snapshot() }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Image;
    type SnapshotBuilder = Pinned;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembers), io::Error> {
        Ok((self.applied, self.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut pending = Pending::default();
        while let Some(next) = entries.next().await {
            let (entry, answer) = next?;
            let before = pending.applied.or(self.applied);
            always!(
                self.cx,
                Some(entry.log_id) > before,
                "raft: every entry is done once and in order",
                "{} after {before:?}",
                entry.log_id
            );
            pending.applied = Some(entry.log_id);
            pending.answers.extend(answer);
            match entry.payload {
                EntryPayload::Membership(members) => {
                    pending.members = Some(StoredMembership::new(Some(entry.log_id), members));
                }
                EntryPayload::Normal(ours) if matches!(ours.kind, Kind::Data { .. }) => {
                    self.check_base(&ours, true);
                    let done = self.commit(std::mem::take(&mut pending), Some(&ours)).await;
                    done.map_err(io::Error::other)?;
                    self.check_base(&ours, false);
                }
                EntryPayload::Normal(_) | EntryPayload::Blank => {}
            }
        }
        self.commit(pending, None).await.map_err(io::Error::other)
    }

    async fn get_snapshot_builder(&mut self) -> Pinned {
        self.pin()
    }

    /// Never: a node takes the state of another while its raft does not run, or entries of a new
    /// leader would be done on half of it.
    async fn install_snapshot(
        &mut self,
        _: &SnapshotMetaOf<Types>,
        _: Image,
    ) -> Result<(), io::Error> {
        Err(io::Error::other("a state is not installed while raft runs"))
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Types, Image>>, io::Error> {
        match self.applied {
            None => Ok(None),
            Some(_) => self.pin().build_snapshot().await.map(Some),
        }
    }
}

impl RaftSnapshotBuilder<Types> for Pinned {
    type SnapshotData = Image;

    /// Costs nothing: the state was pinned when the builder was asked for.
    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, Image>, io::Error> {
        let state = self.state.clone().map_err(io::Error::other)?;
        Ok(SnapshotOf::<Types, Image> { meta: self.meta.clone(), snapshot: Image { state } })
    }
}
