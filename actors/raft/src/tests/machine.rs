//! What doing entries promises, and what it refuses.

use bytes::Bytes;
use futures_util::stream;
use openraft::{
    EntryPayload, RaftSnapshotBuilder,
    storage::{RaftStateMachine, Snapshot},
};
use orloj_kernel::Context;
use orloj_storage::{Database, Retention, database::Keyspace};

use super::open;
use crate::{
    Entry, Kind,
    codec::{LogEntry, LogId},
    machine::Machine,
};

fn entry(index: u64, ours: Entry) -> LogEntry {
    LogEntry { log_id: LogId::new_term_index(1, index), payload: EntryPayload::Normal(ours) }
}

/// An entry that makes `turn` by putting its number.
fn put(db: &Database, data: &Keyspace, turn: u64) -> Entry {
    let value = [turn as u8];
    let mut batch = db.batch(db.last_assigned());
    batch.put(data, b"turn", &value, None);
    batch.applied(turn);
    Entry::data(turn, Bytes::from(batch.record()))
}

async fn apply(machine: &mut Machine, entries: Vec<LogEntry>) -> Result<(), std::io::Error> {
    machine.apply(stream::iter(entries.into_iter().map(|entry| Ok((entry, None))))).await
}

async fn turn(db: &Database, data: &Keyspace) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    let found = db.get_newest(data, b"turn", &mut value).await.expect("the disk works");
    found.map(|_| value)
}

#[orloj_sim::test(seeds = 2)]
async fn what_changes_nothing_goes_with_the_next_commit(cx: Context) {
    let (db, _log, mut machine) = open(cx, "db").await;
    let data = db.create_keyspace("data", Retention::default()).await.expect("it is new");
    let before = db.last_assigned().version();
    let entries = vec![
        entry(0, Entry::bare(Kind::Epoch)),
        entry(1, put(&db, &data, 1)),
        entry(2, Entry::bare(Kind::Check)),
        entry(3, Entry::bare(Kind::Epoch)),
    ];
    apply(&mut machine, entries).await.expect("it makes sense");
    assert_eq!(db.last_assigned().version(), before.plus(2), "two commits for four entries");
    let applied = machine.applied_state().await.expect("it is known").0;
    assert_eq!(applied, Some(LogId::new_term_index(1, 3)));
    assert_eq!((db.applied(), turn(&db, &data).await), (1, Some(vec![1])));
}

#[orloj_sim::test(seeds = 2)]
async fn a_record_that_makes_no_sense_is_not_done_in_part(cx: Context) {
    let (db, _log, mut machine) = open(cx, "db").await;
    let data = db.create_keyspace("data", Retention::default()).await.expect("it is new");
    let good = put(&db, &data, 1);
    let bad = Entry::data(1, Bytes::from([&good.record[..], b"\xff"].concat()));
    let refused = apply(&mut machine, vec![entry(0, Entry::bare(Kind::Epoch)), entry(1, bad)]);
    let refused = refused.await.expect_err("nobody can do that").to_string();
    assert!(refused.contains("the record makes no sense"), "{refused}");
    assert_eq!(machine.applied_state().await.expect("it is known").0, None);
    assert_eq!((db.applied(), turn(&db, &data).await), (0, None));
}

#[test]
fn an_entry_on_another_state_ends_the_node() {
    for (turn, says) in [(2, 2), (1, 9)] {
        let mut sim = orloj_sim::Simulation::new(orloj_sim::Config::seed(1));
        let cx = sim.idle_host("node");
        let ended = sim.run(cx, async move {
            let (db, _log, mut machine) = open(cx, "db").await;
            let data = db.create_keyspace("data", Retention::default()).await.expect("it is new");
            let record = put(&db, &data, says).record;
            apply(&mut machine, vec![entry(0, Entry::data(turn, record))]).await
        });
        let broken = ended.expect_err("it is done nowhere").to_string();
        assert!(broken.contains("on the state it was computed on"), "{broken}");
    }
}

#[orloj_sim::test(seeds = 2)]
async fn an_image_is_the_state_behind_the_entry_that_it_names(cx: Context) {
    let (db, _log, mut machine) = open(cx, "db").await;
    let data = db.create_keyspace("data", Retention::default()).await.expect("it is new");
    assert!(machine.get_current_snapshot().await.expect("it is known").is_none());
    let first = entry(0, put(&db, &data, 1));
    apply(&mut machine, vec![first]).await.expect("it makes sense");
    let mut builder = machine.get_snapshot_builder().await;
    let second = entry(1, put(&db, &data, 2));
    apply(&mut machine, vec![second]).await.expect("it makes sense");
    let Snapshot { meta, snapshot } = builder.build_snapshot().await.expect("it is pinned");
    assert_eq!(meta.last_log_id, Some(LogId::new_term_index(1, 0)));
    let mut value = Vec::new();
    let found = db.get_at(&data, b"turn", &snapshot.state, &mut value).await;
    assert!(found.expect("it is pinned").is_some() && value == [1]);
    let now = machine.get_current_snapshot().await.expect("it is pinned").expect("there is one");
    assert_eq!(now.meta.last_log_id, Some(LogId::new_term_index(1, 1)));
}
