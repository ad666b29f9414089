//! What a sole writer is promised: the newest at once, batches that are whole, and the same after a
//! crash.

use super::disk::World;
use super::{Context, Database, Durability, Error, Keyspace, Options, Retention, memory};
use crate::{
    KeyspaceId, Lsn,
    database::Due,
    record::{Op, Senseless},
};

async fn open(cx: Context) -> (Database, Keyspace) {
    let options = Options { sweeps: false, ..Options::new("db", Durability::Strict) };
    let (db, _) = Database::open(cx, options).await.expect("the disk works");
    let data = match db.keyspace("data") {
        Err(_) => db.create_keyspace("data", Retention::default()).await.expect("it is new"),
        found => found.expect("it is there"),
    };
    (db, data)
}

/// What `key` holds, and until when.
async fn newest(db: &Database, of: &Keyspace, key: &[u8]) -> Option<(Vec<u8>, Option<u64>)> {
    let mut value = Vec::new();
    let found = db.get_newest(of, key, &mut value).await.expect("the disk works");
    found.map(|found| (value, found.deadline))
}

#[test]
fn of_several_writes_to_a_key_the_last_counts_and_does_after_a_crash() {
    let mut world = World::new(1);
    world.live(|cx| async move {
        let (db, data) = open(cx).await;
        db.put(&data, b"old", b"1".into()).await.expect("the disk works");
        let mut batch = db.batch(db.last_assigned());
        batch.put(&data, b"a", b"first", None);
        batch.delete(&data, b"b");
        batch.put(&data, b"a", b"second", Some(9));
        batch.put(&data, b"b", b"there", None);
        batch.put(&data, b"c", b"gone", None);
        batch.delete(&data, b"c");
        batch.applied(7);
        let done = db.commit(&batch).await.expect("there is room");
        assert_eq!(newest(&db, &data, b"a").await, Some((b"second".to_vec(), Some(9))));
        db.durable(done).await.expect("the disk works");
        assert!(db.is_durable(done) && db.is_written(done));
    });
    world.live(|cx| async move {
        let (db, data) = open(cx).await;
        assert_eq!(newest(&db, &data, b"a").await, Some((b"second".to_vec(), Some(9))));
        assert_eq!(newest(&db, &data, b"b").await, Some((b"there".to_vec(), None)));
        assert_eq!(newest(&db, &data, b"c").await, None);
        assert_eq!(newest(&db, &data, b"old").await, Some((b"1".to_vec(), None)));
        assert_eq!(db.applied(), 7);
        let due = db.due(None, u64::MAX, 10).await.expect("the disk works");
        assert_eq!(due, [Due::of(&data, b"a", 9)]);
        assert_eq!(db.next_deadline(8).await.expect("the disk works"), Some(9));

        let mut batch = db.batch(db.last_assigned());
        batch.put(&data, b"before", b"", None);
        batch.clear(&data);
        batch.put(&data, b"after", b"", None);
        let _ = db.commit(&batch).await.expect("there is room");
        assert_eq!(newest(&db, &data, b"before").await, None);
        assert_eq!(newest(&db, &data, b"old").await, None);
        assert!(newest(&db, &data, b"after").await.is_some());
    });
}

#[orloj_sim::test(seeds = 2)]
async fn the_newest_is_read_before_it_is_durable_and_the_cache_can_be_resized(cx: Context) {
    let (db, data) = open(cx).await;
    let mut batch = db.batch(db.last_assigned());
    batch.put(&data, b"k", b"v", None);
    let done = db.commit(&batch).await.expect("there is room");
    assert!(!db.is_durable(done), "nobody has synced it");
    assert!(newest(&db, &data, b"k").await.is_some());
    let mut value = Vec::new();
    assert_eq!(db.get(&data, b"k", &mut value).await, Ok(None), "others see what is durable");
    assert_eq!(db.written(done).await, Ok(()));
    assert!(db.is_written(done) && !db.is_durable(done));

    let page = u64::from(db.options().page_bytes);
    assert_eq!(db.set_cache_bytes(128 * page), Ok(()));
    assert_eq!(db.cache().expect("it has files").budget, 128 * page);
    let refused = db.set_cache_bytes(63 * page);
    assert!(matches!(refused, Err(Error::Options(_))), "{refused:?}");
    assert!(done.version() > Lsn(0));
}

#[orloj_sim::test(seeds = 2)]
async fn what_one_database_did_another_does_with_what_is_its_own(cx: Context) {
    let ((one, of), (two, to)) = (memory(cx).await, memory(cx).await);
    let (_, state) = two.replication().await.expect("it has none");
    let mut batch = one.batch(one.last_assigned());
    batch.put(&of, b"a", b"1", Some(7));
    batch.delete(&of, b"b");
    batch.tell(one.now() + 5);
    batch.applied(3);
    let record = batch.record();
    let _ = one.commit(&batch).await.expect("it is in memory");
    two.put(&to, b"b", b"2".into()).await.expect("it is in memory");
    let before = two.last_assigned();
    let mut own = two.batch(before);
    own.put(&state, b"applied", b"9", None);
    let done = two.redo_with(&record, &own).await.expect("it makes sense");
    assert_eq!(done.version(), before.version().plus(1), "as one");
    assert_eq!(newest(&two, &to, b"a").await, Some((b"1".to_vec(), Some(7))));
    assert_eq!(newest(&two, &to, b"b").await, None);
    assert_eq!(newest(&two, &state, b"applied").await, Some((b"9".to_vec(), None)));
    assert_eq!((two.applied(), two.told()), (3, one.told()));
    let due = two.due(None, u64::MAX, 9).await.expect("it is in memory");
    assert_eq!(due, [Due::of(&to, b"a", 7)]);
    assert_eq!(one.batch(one.last_assigned()).record(), b"");
}

#[orloj_sim::test(seeds = 2)]
async fn a_record_from_elsewhere_is_not_believed(cx: Context) {
    let (db, data) = memory(cx).await;
    db.replication().await.expect("it has none");
    let own = [KeyspaceId::META, KeyspaceId::DEADLINES, KeyspaceId::RAFT_LOG, KeyspaceId(4)];
    let keep = Retention::default();
    let mut refused: Vec<Op<'_>> = own
        .iter()
        .flat_map(|&keyspace| {
            [Op::Clear(keyspace), Op::Drop(keyspace), Op::Create { keyspace, name: "x", keep }]
        })
        .collect();
    for keyspace in [KeyspaceId::RAFT_LOG, KeyspaceId::RAFT_STATE] {
        refused.push(Op::Put { keyspace, key: b"vote", value: b"", deadline: None });
        refused.push(Op::Delete { keyspace, key: b"vote" });
    }
    let put = Op::Put { keyspace: data.id(), key: b"a", value: b"1", deadline: None };
    let before = db.last_assigned();
    let none = db.batch(before);
    let mut whole = Vec::new();
    put.write(&mut whole, true);
    for op in refused {
        let mut record = whole.clone();
        op.write(&mut record, false);
        let done = db.redo_with(&record, &none).await;
        assert_eq!(done, Err(Error::Record(Senseless { at: whole.len() })), "{op:?}");
    }
    for len in 0..whole.len() {
        let done = db.redo_with(&whole[..len], &none).await;
        assert!(len == 1 && done.is_ok() || matches!(done, Err(Error::Record(_))), "{len}");
    }
    let gone = Op::Put { keyspace: KeyspaceId(99), key: b"a", value: b"1", deadline: None };
    let mut record = Vec::new();
    gone.write(&mut record, true);
    let done = db.redo_with(&record, &none).await;
    assert!(matches!(done, Err(Error::NoKeyspace { .. })), "{done:?}");
    assert_eq!(newest(&db, &data, b"a").await, None);
    assert!(db.redo_with(&whole, &none).await.is_ok());
}

#[test]
fn keyspaces_of_replication_are_made_once_and_hidden() {
    let mut world = World::new(1);
    world.live(|cx| async move {
        let (db, data) = open(cx).await;
        let (log, state) = db.replication().await.expect("the disk works");
        assert_eq!((log.id(), state.id()), (KeyspaceId::RAFT_LOG, KeyspaceId::RAFT_STATE));
        let content = db.content(&db.snapshot().expect("it is open")).await.expect("it is kept");
        let mut batch = db.batch(db.last_assigned());
        batch.put(&log, b"1", b"entry", None);
        let done = db.commit(&batch).await.expect("there is room");
        db.durable(done).await.expect("the disk works");
        let after = db.content(&db.snapshot().expect("it is open")).await.expect("it is kept");
        assert_eq!(after.hash, content.hash);
        let other = db.create_keyspace("other", Retention::default()).await.expect("it is new");
        assert_eq!(other.id().0, data.id().0 + 1, "users' numbers go on");
    });
    world.live(|cx| async move {
        let (db, _) = open(cx).await;
        for name in ["orloj.raft.log", "orloj.raft.state"] {
            assert!(matches!(db.keyspace(name), Err(Error::NoKeyspace { .. })), "{name}");
        }
        let before = db.last_assigned();
        let (log, _) = db.replication().await.expect("the disk works");
        assert_eq!(db.last_assigned(), before, "they were there");
        assert_eq!(newest(&db, &log, b"1").await, Some((b"entry".to_vec(), None)));
    });
}
