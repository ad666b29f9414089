//! What the handle promises, one thing at a time. What all of it does together under faults is in
//! `storage/tests`.

mod compact;
mod disk;
mod load;
mod make;
mod sole;
mod verify;

use std::{num::NonZeroU32, time::Duration};

use orloj_kernel::Context;

use super::{Database, Keyspace, Value};
use crate::{
    Durability, Error, Lsn, Options, Retention,
    locks::Mode,
    txn::{
        Isolation,
        single::{Access, Action, Row, SingleShot, Test},
    },
};

async fn memory(cx: Context) -> (Database, Keyspace) {
    let options = Options::new("", Durability::InMemory);
    let db = Database::in_memory(cx, options).expect("the options are within bounds");
    let keyspace = db.create_keyspace("data", Retention::default()).await.expect("it is new");
    (db, keyspace)
}

async fn read(db: &Database, of: &Keyspace, key: &[u8]) -> Option<(Lsn, Vec<u8>)> {
    let mut value = Vec::new();
    let found = db.get(of, key, &mut value).await.expect("nothing fails");
    found.map(|version| (version, value))
}

#[orloj_sim::test(seeds = 2)]
async fn keys_come_and_go(cx: Context) {
    let (db, data) = memory(cx).await;
    let first = db.put(&data, b"a", b"1".into()).await.expect("it is written");
    assert_eq!(read(&db, &data, b"a").await, Some((first, b"1".to_vec())));
    let second = db.put(&data, b"a", b"2".into()).await.expect("it is written");
    assert!(second > first);
    let stale = db.compare_and_set(&data, b"a", first, None).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
    db.compare_and_set(&data, b"a", second, None).await.expect("it has that version");
    assert_eq!(read(&db, &data, b"a").await, None);
    db.compare_and_set(&data, b"a", Lsn(0), Some(b"3".into())).await.expect("it is not there");
    db.delete(&data, b"a").await.expect("it is deleted");
    assert_eq!(read(&db, &data, b"a").await, None);
}

#[orloj_sim::test(seeds = 2)]
async fn snapshots_and_cursors_show_one_version_from_either_end(cx: Context) {
    let (db, data) = memory(cx).await;
    for key in 0..200_u8 {
        db.put(&data, &[key], (&[key; 9]).into()).await.expect("it is written");
    }
    let snapshot = db.snapshot().expect("it is open");
    db.clear_keyspace(&data).await.expect("it is there");
    assert_eq!(read(&db, &data, &[7]).await, None);
    let mut cursor =
        db.cursor(&data, (&[10][..]..&[190][..]).into(), &snapshot).expect("it is kept");
    let (mut front, mut back) = (10, 190);
    for step in 0.. {
        let from_front = step % 3 == 0;
        let item = if from_front { cursor.next().await } else { cursor.back().await };
        let Some(item) = item.expect("nothing fails") else { break };
        let expected = if from_front { front } else { back - 1 };
        if from_front {
            front += 1
        } else {
            back -= 1
        }
        assert_eq!((item.key, item.value), (&[expected][..], &[expected; 9][..]));
    }
    assert_eq!(front, back, "every key was shown once");
    let mut value = Vec::new();
    let found = db.get_at(&data, &[7], &snapshot, &mut value).await.expect("it is kept");
    assert!(found.is_some() && value == [7; 9]);
}

#[orloj_sim::test(seeds = 2)]
async fn a_deadline_ends_a_key_and_sweeping_gives_its_space_back(cx: Context) {
    let (db, data) = memory(cx).await;
    let soon = db.now() + 1_500;
    db.put(&data, b"a", Value::until(b"1", soon)).await.expect("it is written");
    db.put(&data, b"b", Value::until(b"1", soon)).await.expect("it is written");
    db.put(&data, b"b", b"2".into()).await.expect("it is written");
    assert!(read(&db, &data, b"a").await.is_some());
    cx.sleep(Duration::from_millis(1_501)).await;
    assert_eq!(read(&db, &data, b"a").await, None, "it is gone to the millisecond");
    let snapshot = db.snapshot().expect("it is open");
    let mut cursor = db.cursor(&data, (..).into(), &snapshot).expect("it is kept");
    let first = cursor.next().await.expect("nothing fails").expect("one is left");
    assert_eq!((first.key, first.value), (&b"b"[..], &b"2"[..]));
    assert_eq!(cursor.next().await, Ok(None));
    drop((cursor, snapshot));
    cx.sleep(Duration::from_secs(3)).await;
    // The tree itself, which knows no clock, has it no more.
    let at = crate::At::Assigned;
    let found = db.tree().get(&data.0, b"a", at, &mut Vec::new()).expect("it is in memory");
    assert_eq!(found, None);
    assert!(read(&db, &data, b"b").await.is_some());
}

#[orloj_sim::test(seeds = 2)]
async fn keyspaces_are_made_once_and_their_numbers_never_come_back(cx: Context) {
    let (db, data) = memory(cx).await;
    let exists = db.create_keyspace("data", Retention::All).await;
    assert!(matches!(exists, Err(Error::KeyspaceExists { .. })), "{exists:?}");
    let unnamed = db.create_keyspace("", Retention::All).await;
    assert!(matches!(unnamed, Err(Error::KeyspaceName { .. })), "{unnamed:?}");
    let internal = db.keyspace("orloj.meta");
    assert!(matches!(internal, Err(Error::NoKeyspace { .. })), "{internal:?}");
    let two = NonZeroU32::new(2).expect("not zero");
    let other = db.create_keyspace("other", Retention::Last(two)).await.expect("it is new");
    assert_eq!(other.retention(), Retention::Last(two));
    db.drop_keyspace(&other).await.expect("it is there");
    let again = db.create_keyspace("other", Retention::All).await.expect("it is new again");
    assert!(again.id() > other.id() && other.id() > data.id());
    let names = db.keyspaces().expect("it is open");
    let names: Vec<&str> = names.iter().map(Keyspace::name).collect();
    assert_eq!(names, ["data", "other"]);
    let dropped = db.put(&other, b"a", b"1".into()).await;
    assert!(matches!(dropped, Err(Error::NoKeyspace { .. })), "{dropped:?}");
}

#[orloj_sim::test(seeds = 2)]
async fn bad_input_is_a_typed_error_and_changes_nothing(cx: Context) {
    let (db, data) = memory(cx).await;
    let (_, foreign) = memory(cx).await;
    let before = db.snapshot().expect("it is open").version();
    let long = vec![0; 65_536];
    for key in [&b""[..], &long] {
        let refused = db.put(&data, key, b"1".into()).await;
        assert_eq!(refused, Err(Error::KeyLength { len: key.len() }));
    }
    let refused = db.put(&data, &long[..65_530], Value::until(b"1", 1)).await;
    assert_eq!(refused, Err(Error::DeadlineKeyLength { len: 65_530 }));
    let refused = db.put(&foreign, b"a", b"1".into()).await;
    assert!(matches!(refused, Err(Error::NoKeyspace { .. })), "{refused:?}");
    let asked = before.plus(9);
    let early = db.snapshot_at(asked).map(|snapshot| snapshot.version());
    assert_eq!(early, Err(Error::StillToCome { asked, newest: before }));
    assert_eq!(db.snapshot().expect("it is open").version(), before);
    let other = db.clone();
    db.close().await.expect("nothing is in the way");
    assert_eq!(other.put(&data, b"a", b"1".into()).await, Err(Error::Closed));
    assert_eq!(other.get(&data, b"a", &mut Vec::new()).await, Err(Error::Closed));
    assert_eq!(other.close().await, Err(Error::Closed));
}

#[orloj_sim::test(seeds = 5)]
async fn transactions_wait_for_locks_and_lose_to_others(cx: Context) {
    let (db, data) = memory(cx).await;
    db.put(&data, b"a", b"1".into()).await.expect("it is written");
    let mut loser = db.begin(Isolation::Serializable).expect("it is open");
    loser.get(&data, b"a", &mut Vec::new()).await.expect("it is there");
    loser.put(&data, b"b", b"2".into()).expect("within bounds");
    let mut locked = db.begin_locked().expect("it is open");
    let mut value = Vec::new();
    locked.get(&data, b"a", Mode::Update, &mut value).await.expect("nobody else has it");
    let writer = cx.spawn("writer", {
        let (db, data) = (db.clone(), data.clone());
        async move { db.put(&data, b"a", b"3".into()).await }
    });
    cx.sleep(Duration::from_millis(10)).await;
    locked.put(&data, b"a", b"2".into()).await.expect("it is locked");
    let version = locked.commit().await.expect("it is alive");
    let after = writer.await.expect("it goes on").expect("the lock was let go");
    assert!(after > version);
    assert_eq!(read(&db, &data, b"a").await, Some((after, b"3".to_vec())));
    let lost = loser.commit().await;
    assert!(matches!(&lost, Err(Error::Conflict { key, .. }) if key == b"a"), "{lost:?}");
    let row = Row { id: 1, access: Access::Write, keyspace: data.id(), key: b"a" };
    let put = Action::Put { value: b"4", deadline: None };
    let actions = [(1, Action::Get), (1, put)];
    let shot = SingleShot::new(vec![row], &[(1, Test::Exists)], &actions).expect("it makes sense");
    let outcome = db.execute(&shot).await.expect("nothing is in the way");
    assert_eq!(outcome.result, Ok(vec![Some(b"3".to_vec())]));
    assert_eq!(read(&db, &data, b"a").await, Some((outcome.version, b"4".to_vec())));
}

#[orloj_sim::test(seeds = 10)]
async fn who_tries_at_a_locked_key_waits_with_and_without_a_deadline(cx: Context) {
    let (db, data) = memory(cx).await;
    let mut locked = db.begin_locked().expect("it is open");
    locked.put(&data, b"a", b"0".into()).await.expect("nobody is in the way");
    let mut tasks = Vec::new();
    for number in 0..4_u64 {
        let (db, data) = (db.clone(), data.clone());
        tasks.push(cx.spawn("writer", async move {
            let value = match number % 2 {
                0 => Value::from(b"1"),
                _ => Value::until(b"1", u64::MAX),
            };
            if number < 2 {
                return db.put(&data, b"a", value).await.map(|_| ());
            }
            while let Err(pause) = db.try_put(&data, b"a", value) {
                db.resolve(pause).await?;
            }
            Ok(())
        }));
    }
    cx.sleep(Duration::from_millis(20)).await;
    assert_eq!(read(&db, &data, b"a").await, None);
    locked.commit().await.expect("it has the lock");
    for task in tasks {
        task.await.expect("it goes on").expect("the lock comes in time");
    }
    assert_eq!(read(&db, &data, b"a").await.map(|(_, value)| value), Some(b"1".to_vec()));
}
