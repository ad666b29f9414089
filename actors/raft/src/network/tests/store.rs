//! A log and a state in memory, which outlive their host: openraft's other half, for tests of the
//! way between nodes.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::RangeBounds,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{
        EntryResponder, IOFlushed, LogState, RaftLogReader, RaftLogStorage, RaftStateMachine,
    },
    type_config::alias::{SnapshotMetaOf, SnapshotOf},
};
use orloj_kernel::Context;
use orloj_net::peer::Position;

use crate::{
    Applied,
    codec::{LogEntry, LogId, StoredMembers, Vote, encode_place},
    machine::Image,
    types::Types,
};

/// What was done at every index, by whoever did it first: the same on all nodes.
pub(super) type Chain = Arc<Mutex<BTreeMap<u64, (u64, Vec<u8>)>>>;

#[derive(Default)]
pub(super) struct Disk {
    pub(super) vote: Option<Vote>,
    log: BTreeMap<u64, LogEntry>,
    pub(super) applied: Option<LogId>,
    members: StoredMembers,
    turn: u64,
}

/// A node's disk, from one life to the next.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) cx: Context,
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) chain: Chain,
}

impl Store {
    pub(super) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    /// What a hello says.
    pub(super) fn standing(&self) -> (u64, Option<Position>) {
        let disk = self.disk();
        let last = disk.log.last_key_value().map(|(index, entry)| {
            let term = entry.log_id.committed_leader_id().term;
            Position { term, index: *index }
        });
        (disk.vote.map_or(0, |vote| vote.leader_id.term), last)
    }

    async fn write(&self) {
        self.cx.sleep(Duration::from_micros(50 + self.cx.below(800))).await;
    }
}

impl RaftLogReader<Types> for Store {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<LogEntry>, io::Error> {
        Ok(self.disk().log.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.disk().vote)
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Store;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let last_log_id = self.disk().log.last_key_value().map(|(_, entry)| entry.log_id);
        Ok(LogState { last_purged_log_id: None, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Store {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.write().await;
        self.disk().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().collect();
        self.write().await;
        self.disk().log.extend(entries.into_iter().map(|entry| (entry.log_id.index(), entry)));
        done.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.write().await;
        let first = last.map_or(0, |last| last.index() + 1);
        self.disk().log.split_off(&first);
        Ok(())
    }

    async fn purge(&mut self, _: LogId) -> Result<(), io::Error> {
        unreachable!("nothing is purged")
    }
}

impl RaftStateMachine<Types> for Store {
    type SnapshotData = Image;
    type SnapshotBuilder = Store;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembers), io::Error> {
        let disk = self.disk();
        Ok((disk.applied, disk.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let id = entry.log_id;
            let done = (id.committed_leader_id().term, encode_place(&entry).to_vec());
            let first =
                self.chain.lock().unwrap().entry(id.index()).or_insert(done.clone()).clone();
            assert!(first == done, "another entry at {id} than elsewhere");
            let turn = {
                let mut disk = self.disk();
                assert_eq!(disk.applied.map_or(0, |last| last.index() + 1), id.index());
                disk.applied = Some(id);
                match entry.payload {
                    EntryPayload::Blank => {}
                    EntryPayload::Normal(_) => disk.turn += 1,
                    EntryPayload::Membership(members) => {
                        disk.members = StoredMembers::new(Some(id), members);
                    }
                }
                disk.turn
            };
            responder.into_iter().for_each(|responder| responder.send(Applied { turn }));
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Store {
        unreachable!("no snapshot is asked for")
    }

    async fn install_snapshot(
        &mut self,
        _: &SnapshotMetaOf<Types>,
        _: Image,
    ) -> Result<(), io::Error> {
        unreachable!("no snapshot is sent")
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Types, Image>>, io::Error> {
        Ok(None)
    }
}

impl RaftSnapshotBuilder<Types> for Store {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, Image>, io::Error> {
        unreachable!("no snapshot is asked for")
    }
}
