//! What a sole writer is promised: the newest at once, batches that are whole, and the same after a
//! crash.

use super::disk::World;
use super::{Context, Database, Durability, Error, Keyspace, Options, Retention};
use crate::{Lsn, database::Due};

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
