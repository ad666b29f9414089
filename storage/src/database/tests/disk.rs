//! What the handle promises of files, and what a disk that fails does to it.

use std::time::Duration;

use orloj_kernel::{Context, DiskErrorKind};
use orloj_sim::{
    Config, Control, Crash, Simulation,
    disk::{Ambush, SyncFailure},
};

use super::{Database, Durability, Error, Keyspace, Options, Retention, read};
use crate::Verdict;

pub(super) const NODE: &str = "node";

/// A world of one host, the processes of which end and start as a test says.
pub(super) struct World(Simulation);

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut sim = Simulation::new(Config::seed(seed));
        sim.idle_host(NODE);
        World(sim)
    }

    pub(super) fn control<T>(&mut self, act: impl FnOnce(Control) -> T) -> T {
        self.0.control(act)
    }

    /// Runs `life` in a new process.
    pub(super) fn live<F>(&mut self, life: impl FnOnce(Context) -> F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cx = self.control(|world| {
            world.exit(NODE);
            world.restart(NODE);
            world.context(NODE)
        });
        self.0.run(cx, life(cx)).expect("power stays on")
    }
}

async fn open(cx: Context, durability: Durability) -> (Database, Keyspace) {
    let options = Options::new("db", durability);
    let (db, _) = Database::open(cx, options).await.expect("it can be opened");
    let keyspace = match db.keyspace("data") {
        Ok(keyspace) => keyspace,
        Err(_) => db.create_keyspace("data", Retention::All).await.expect("it is new"),
    };
    (db, keyspace)
}

#[test]
fn what_was_acknowledged_is_there_after_a_power_cut() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let version = world.live(|cx| async move {
            let (db, data) = open(cx, Durability::Strict).await;
            db.put(&data, b"a", b"1".into()).await.expect("it is written");
            db.put(&data, b"b", b"2".into()).await.expect("it is written");
            db.delete(&data, b"b").await.expect("it is written")
        });
        world.control(|world| world.crash(NODE, Crash::Power));
        world.live(|cx| async move {
            let (db, data) = open(cx, Durability::Strict).await;
            assert!(read(&db, &data, b"a").await.is_some_and(|(_, value)| value == b"1"));
            assert_eq!(read(&db, &data, b"b").await, None);
            let next = db.put(&data, b"c", b"3".into()).await.expect("it is written");
            assert!(next > version);
            db.close().await.expect("nothing is in the way");
        });
    }
}

#[test]
fn many_who_wait_share_a_sync_and_one_who_goes_away_costs_nobody_anything() {
    let mut world = World::new(1);
    world.live(|cx| async move {
        let (db, data) = open(cx, Durability::Strict).await;
        let put = |number: u32| {
            let (db, data) = (db.clone(), data.clone());
            async move { db.put(&data, &number.to_be_bytes(), b"1".into()).await }
        };
        let before = cx.now();
        db.put(&data, b"alone", b"1".into()).await.expect("it is written");
        let alone = cx.now().since(before);
        // The first of them leads and is dropped while it does.
        let leader = cx.spawn("leader", put(0));
        cx.yield_now().await;
        let others: Vec<_> = (1..100).map(|number| cx.spawn("writer", put(number))).collect();
        cx.yield_now().await;
        leader.abort();
        let before = cx.now();
        for other in others {
            other.await.expect("it goes on").expect("it is written");
        }
        let together = cx.now().since(before);
        assert!(together < 20 * alone, "{together:?} for 99, {alone:?} for one");
        db.close().await.expect("nothing is in the way");
    });
}

#[test]
fn a_buffered_write_is_answered_at_once_and_synced_in_time() {
    let mut world = World::new(1);
    world.live(|cx| async move {
        let (db, data) = open(cx, Durability::Buffered).await;
        let before = cx.now();
        db.put(&data, b"a", b"1".into()).await.expect("it is written");
        assert_eq!(cx.now().since(before), Duration::ZERO);
        cx.sleep(Duration::from_millis(150)).await;
    });
    world.control(|world| world.crash(NODE, Crash::Power));
    world.live(|cx| async move {
        let (db, data) = open(cx, Durability::Buffered).await;
        assert!(read(&db, &data, b"a").await.is_some(), "150 ms later it is durable");
        db.put(&data, b"b", b"2".into()).await.expect("it is written");
        db.close().await.expect("nothing is in the way");
    });
    world.control(|world| world.crash(NODE, Crash::Power));
    world.live(|cx| async move {
        let (db, data) = open(cx, Durability::Buffered).await;
        assert!(read(&db, &data, b"b").await.is_some(), "closing made it durable");
    });
}

#[test]
fn a_full_disk_takes_nothing_until_there_is_room() {
    for durability in [Durability::Strict, Durability::Buffered] {
        let mut world = World::new(1);
        world.live(move |cx| async move {
            let (db, data) = open(cx, durability).await;
            let version = db.put(&data, b"a", b"1".into()).await.expect("it is written");
            cx.sleep(Duration::from_millis(150)).await;
            Control.ambush_disk(NODE, Ambush::Full, "*wal*");
            Control.limit_disk(NODE, Some(0));
            let assigned = db.try_put(&data, b"a", b"2".into()).expect("memory takes it");
            let refused = db.durable(assigned).await;
            assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
            let refused = db.put(&data, b"b", b"2".into()).await;
            assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
            assert_eq!(read(&db, &data, b"a").await, Some((version, b"1".to_vec())));
            Control.limit_disk(NODE, None);
            cx.sleep(Duration::from_secs(1)).await;
            let again = db.put(&data, b"a", b"3".into()).await.expect("there is room");
            assert_eq!(read(&db, &data, b"a").await, Some((again, b"3".to_vec())));
            assert!(db.durable(assigned).await.is_err(), "its version was given to another");
            db.close().await.expect("nothing is in the way");
        });
        world.live(move |cx| async move {
            let (db, data) = open(cx, durability).await;
            assert_eq!(read(&db, &data, b"b").await, None);
            assert!(read(&db, &data, b"a").await.is_some_and(|(_, value)| value == b"3"));
        });
    }
}

#[test]
fn a_failed_sync_ends_all_writing() {
    let mut world = World::new(1);
    world.live(|cx| async move {
        let (db, data) = open(cx, Durability::Strict).await;
        db.put(&data, b"a", b"1".into()).await.expect("it is written");
        let failure = Ambush::Sync(SyncFailure::KeepsNew);
        Control.ambush_disk(NODE, failure, "*wal*");
        let halted = db.put(&data, b"a", b"2".into()).await.expect_err("the sync fails");
        assert_eq!(halted.verdict(), Verdict::Halt, "{halted}");
        let halted = db.put(&data, b"b", b"2".into()).await.expect_err("nothing is written now");
        assert_eq!(halted.verdict(), Verdict::Halt, "{halted}");
        let shown = read(&db, &data, b"a").await.expect("reads go on");
        assert_eq!(shown.1, b"1", "nobody is shown what may not be there tomorrow");
        db.close().await.expect_err("the sync failed");
    });
    world.control(|world| world.crash(NODE, Crash::Power));
    world.live(|cx| async move {
        let (db, data) = open(cx, Durability::Strict).await;
        assert!(read(&db, &data, b"a").await.is_some());
    });
}

#[test]
fn a_directory_is_open_once() {
    let mut world = World::new(1);
    world.live(|cx| async move {
        let (db, _) = open(cx, Durability::Strict).await;
        let second = Database::open(cx, Options::new("db", Durability::Strict)).await;
        assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
        db.close().await.expect("nothing is in the way");
        let (db, _) = open(cx, Durability::Strict).await;
        drop(db);
        cx.sleep(Duration::from_millis(100)).await;
        open(cx, Durability::Strict).await;
    });
}

#[test]
fn a_read_only_disk_is_told_at_opening() {
    let mut world = World::new(1);
    world.live(|cx| async move {
        Control.set_disk_read_only(NODE, true);
        let refused = Database::open(cx, Options::new("db", Durability::Strict)).await;
        let Err(Error::Disk(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.kind, DiskErrorKind::ReadOnly);
    });
}

#[test]
fn a_dropped_keyspace_is_read_for_as_long_as_a_snapshot_is_held_and_then_is_not_there() {
    let mut world = World::new(1);
    world.live(|cx| async move {
        let (db, data) = open(cx, Durability::Strict).await;
        db.put(&data, b"a", (&[1; 3000]).into()).await.expect("it is written");
        let snapshot = db.snapshot().expect("it is open");
        db.drop_keyspace(&data).await.expect("it is there");
        for _ in 0..3 {
            db.checkpoint().await.expect("there is room");
        }
        let mut cursor = db.cursor(&data, (..).into(), &snapshot).expect("it is kept");
        let item = cursor.next().await.expect("it can be read").expect("it is there");
        assert_eq!((item.key, item.value), (&b"a"[..], &[1; 3000][..]));
        drop((cursor, snapshot));
        for _ in 0..3 {
            db.checkpoint().await.expect("there is room");
        }
        let read = db.get(&data, b"a", &mut Vec::new()).await;
        assert!(matches!(read, Err(Error::NoKeyspace { .. })), "{read:?}");
        let snapshot = db.snapshot().expect("it is open");
        let mut cursor = db.cursor(&data, (..).into(), &snapshot).expect("it is kept");
        assert!(matches!(cursor.next().await, Err(Error::NoKeyspace { .. })));
        drop(cursor);
        db.close().await.expect("nothing is in the way");
    });
}
