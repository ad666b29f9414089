//! Loads: all or nothing, whenever power fails, and a tree like any other afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use orloj_kernel::{Context, OpenMode};
use orloj_sim::{Crash, disk::Ambush};

use super::{
    Database, Durability, Error, Keyspace, Lsn, Options, Retention,
    disk::{NODE, World},
    memory, read,
};
use crate::{
    manifest,
    superblock::{self, Side},
    verify::Offline,
};

type Entry = (Vec<u8>, Vec<u8>);

/// Entries whose keys share beginnings, and values of all lengths.
fn entries(count: u32, round: u8) -> impl Iterator<Item = Entry> {
    (0..count).map(move |n| {
        let key = format!("{}/{n:06}", if n % 7 == 6 { "user" } else { "item" });
        (key.into_bytes(), vec![round; n as usize * 37 % 400])
    })
}

fn sorted(count: u32, round: u8) -> Vec<Entry> {
    let mut all: Vec<Entry> = entries(count, round).collect();
    all.sort();
    all
}

fn options() -> Options {
    Options {
        page_bytes: 4096,
        inline_bytes: 300,
        cache_bytes: 64 * 4096,
        segment_bytes: 64 << 10,
        ..Options::new("db", Durability::Strict)
    }
}

async fn open(cx: Context) -> (Database, Keyspace) {
    open_with(cx, options()).await
}

/// With so much memory that nothing but a test writes checkpoints.
async fn open_large(cx: Context) -> (Database, Keyspace) {
    open_with(cx, Options { cache_bytes: 8 << 20, ..options() }).await
}

async fn open_with(cx: Context, options: Options) -> (Database, Keyspace) {
    let (db, _) = Database::open(cx, options).await.expect("it can be opened");
    let keyspace = match db.keyspace("data") {
        Ok(keyspace) => keyspace,
        Err(_) => db.create_keyspace("data", Retention::default()).await.expect("it is new"),
    };
    (db, keyspace)
}

async fn all(db: &Database, of: &Keyspace) -> Vec<Entry> {
    let snapshot = db.snapshot().expect("it is open");
    let mut cursor = db.cursor(of, (..).into(), &snapshot).expect("it is kept");
    let mut all = Vec::new();
    while let Some(item) = cursor.next().await.expect("nothing fails") {
        all.push((item.key.to_vec(), item.value.to_vec()));
    }
    all
}

/// A walk over the database, which nobody has open, has nothing to say.
async fn is_sound(cx: Context) {
    let offline = Offline::open(cx, "db").await.expect("nobody has it open");
    let report = offline.verify(&mut |_| {}).await.expect("a disk that works");
    assert!(report.is_sound(), "{:#?}", report.findings);
}

/// What holds with files and without.
async fn takes_the_place_of_what_was_there(db: Database, data: Keyspace) {
    db.put(&data, b"before", b"1".into()).await.expect("it is written");
    let snapshot = db.snapshot().expect("it is open");
    let loaded = sorted(3_000, 1);
    let version = db.load_keyspace(&data, loaded.clone()).await.expect("they ascend");
    assert!(version > snapshot.version());
    assert_eq!(all(&db, &data).await, loaded);
    assert_eq!(read(&db, &data, b"before").await, None);
    let mut value = Vec::new();
    let old = db.get_at(&data, b"before", &snapshot, &mut value).await.expect("it is kept");
    assert!(old.is_some() && value == b"1");

    let (key, _) = &loaded[1_000];
    let (since, _) = read(&db, &data, key).await.expect("it was loaded");
    assert!(Lsn(0) < since && since <= version);
    db.compare_and_set(&data, key, Lsn(0), None).await.expect_err("it is there");
    db.compare_and_set(&data, key, since, Some(b"new".into())).await.expect("it has that version");
    assert_eq!(read(&db, &data, key).await.map(|(_, value)| value), Some(b"new".to_vec()));

    let wrong = [(b"b", b"1"), (b"a", b"2")];
    let refused = db.load_keyspace(&data, wrong).await;
    assert_eq!(refused, Err(Error::LoadOrder { key: b"a".to_vec() }));
    assert_eq!(all(&db, &data).await.len(), loaded.len(), "nothing happened");
    db.load_keyspace(&data, Vec::<Entry>::new()).await.expect("nothing ascends");
    assert_eq!(all(&db, &data).await, []);
    db.put(&data, b"after", b"2".into()).await.expect("it is written");
    assert_eq!(all(&db, &data).await, [(b"after".to_vec(), b"2".to_vec())]);
}

#[orloj_sim::test(seeds = 1)]
async fn in_memory_it_takes_the_place_of_what_was_there(cx: Context) {
    let (db, data) = memory(cx).await;
    takes_the_place_of_what_was_there(db, data).await;
}

#[orloj_sim::test(seeds = 2)]
async fn on_disk_it_takes_the_place_of_what_was_there(cx: Context) {
    let (db, data) = open(cx).await;
    takes_the_place_of_what_was_there(db.clone(), data).await;
    db.close().await.expect("nothing is in the way");
}

#[orloj_sim::test(seeds = 1)]
async fn a_loaded_tree_is_like_any_other(cx: Context) {
    let (db, data) = open(cx).await;
    let mut expected = sorted(2_000, 1);
    db.load_keyspace(&data, expected.clone()).await.expect("they ascend");
    for round in 0..6 {
        for (n, (key, value)) in expected.iter_mut().enumerate() {
            if n % 5 == round % 5 {
                *value = vec![round as u8; 300];
                db.put(&data, key, (&*value).into()).await.expect("it is written");
            }
        }
        db.checkpoint().await.expect("nothing is in the way");
    }
    assert_eq!(all(&db, &data).await, expected);
    db.load_keyspace(&data, sorted(900, 2)).await.expect("they ascend");
    db.checkpoint().await.expect("nothing is in the way");
    db.close().await.expect("nothing is in the way");
    is_sound(cx).await;
    let (db, data) = open(cx).await;
    assert_eq!(all(&db, &data).await, sorted(900, 2));
}

#[test]
fn whenever_power_fails_all_of_it_is_there_or_nothing() {
    let (mut early, mut late) = (0, 0);
    for seed in 0..60 {
        let mut world = World::new(seed);
        world.live(|cx| async move {
            let (db, data) = open(cx).await;
            db.load_keyspace(&data, sorted(300, 1)).await.expect("they ascend");
            db.close().await.expect("nothing is in the way");
        });
        let done = Arc::new(AtomicU32::new(0));
        let told = done.clone();
        world.live(|cx| async move {
            let (db, data) = open(cx).await;
            cx.spawn("loader", async move {
                let other = db.create_keyspace("other", Retention::All).await.expect("it is new");
                for round in 2..6_u8 {
                    db.put(&other, &[round], b"1".into()).await.expect("it is written");
                    db.load_keyspace(&data, sorted(400, round)).await.expect("they ascend");
                    told.store(round.into(), SeqCst);
                    if round % 2 == 0 {
                        db.put(&data, b"item/000000", b"x".into()).await.expect("it is written");
                        db.delete(&data, b"item/000000").await.expect("it is written");
                        db.checkpoint().await.expect("nothing is in the way");
                    }
                }
            });
            cx.sleep(Duration::from_micros(500 * (seed + 1))).await;
        });
        world.control(|world| world.crash(NODE, Crash::Power));
        let told = done.load(SeqCst);
        (early, late) = (early + u32::from(told < 3), late + u32::from(told > 3));
        world.live(|cx| async move {
            is_sound(cx).await;
            let (db, data) = open(cx).await;
            let found = all(&db, &data).await;
            let round = found.last().expect("something was loaded").1[0];
            assert!(u32::from(round) >= told.max(1), "seed {seed}: {round} after {told}");
            let mut expected = sorted(if round == 1 { 300 } else { 400 }, round);
            let touched = |entry: &Entry| entry.0 == b"item/000000";
            if !found.iter().any(touched) {
                expected.retain(|entry| !touched(entry));
            } else if let Some(entry) = found.iter().find(|entry| touched(entry)) {
                expected[0].1.clone_from(&entry.1);
            }
            assert_eq!(found, expected, "seed {seed}");
            for (key, _) in &found {
                db.put(&data, key, b"y".into()).await.expect("it is written");
            }
            db.checkpoint().await.expect("nothing is in the way");
            db.close().await.expect("nothing is in the way");
        });
    }
    assert!(early > 5 && late > 5, "{early} early, {late} late");
}

/// Damages both copies in the newest superblock.
async fn lose_newest(cx: Context) {
    let manifest = manifest::read(cx, "db").await.expect("it is whole").expect("it is there");
    let found = superblock::read(cx, "db", manifest.database).await.expect("one is whole");
    let side = Side::of(found.newest.expect("there is one").generation);
    let path = format!("db/{}", side.file_name());
    let file = cx.open(&path, OpenMode::Write).await.expect("it is there");
    file.write_sync(0, vec![7; 2 * 4096]).await.expect("a disk that works");
}

#[test]
fn the_generation_before_gives_what_was_loaded_since_whatever_became_of_its_pages() {
    let mut cut = 0;
    for seed in 0..48 {
        let (again, reopened) = (seed % 4 > 1, seed % 2 > 0);
        let mut world = World::new(seed);
        let prepare = move |cx: Context| async move {
            let (db, data) = open_large(cx).await;
            db.checkpoint().await.expect("nothing is in the way");
            db.load_keyspace(&data, sorted(400, 1)).await.expect("they ascend");
            if again {
                db.load_keyspace(&data, sorted(400, 2)).await.expect("they ascend");
            }
            for (key, _) in sorted(400, 1).iter().step_by(3) {
                db.put(&data, key, b"since".into()).await.expect("it is written");
            }
            db.checkpoint().await.expect("nothing is in the way");
            (db, data)
        };
        let go_on = move |cx: Context, db: Database, data: Keyspace| async move {
            for (key, _) in sorted(400, 1) {
                db.put(&data, &key, (&[9; 200][..]).into()).await.expect("it is written");
            }
            cx.spawn("checkpoint", async move { drop(db.checkpoint().await) });
            cx.sleep(Duration::from_micros(30 * (seed + 1))).await;
        };
        if reopened {
            world.live(|cx| async move { drop(prepare(cx).await) });
            world.live(move |cx| async move {
                let (db, data) = open_large(cx).await;
                go_on(cx, db, data).await;
            });
        } else {
            world.live(move |cx| async move {
                let (db, data) = prepare(cx).await;
                go_on(cx, db, data).await;
            });
        }
        world.control(|world| world.crash(NODE, Crash::Power));
        let generation = world.live(|cx| async move {
            let offline = Offline::open(cx, "db").await.expect("nobody has it open");
            let report = offline.verify(&mut |_| {}).await.expect("a disk that works");
            drop(offline);
            if report.findings.iter().any(|finding| finding.file.contains("SUPERBLOCK")) {
                // It was being written over, and there is nothing before the newest.
                return None;
            }
            assert!(report.is_sound(), "seed {seed}: {:#?}", report.findings);
            lose_newest(cx).await;
            let (db, data) = open_large(cx).await;
            let expected = sorted(400, 1).into_iter().map(|(key, _)| (key, vec![9; 200]));
            assert_eq!(all(&db, &data).await, expected.collect::<Vec<_>>(), "seed {seed}");
            db.engine().and_then(|engine| engine.newest()).map(|block| block.generation)
        });
        cut += u32::from(generation == Some(1));
    }
    assert!((8..40).contains(&cut), "{cut} of the last checkpoints came to nothing");
}

#[test]
fn what_the_disk_refuses_never_was() {
    let mut world = World::new(1);
    world.live(|cx| async move {
        let (db, data) = open(cx).await;
        db.load_keyspace(&data, sorted(300, 1)).await.expect("they ascend");
        for file in ["*data.pages", "*wal*"] {
            world_full(file);
            let refused = db.load_keyspace(&data, sorted(300, 2)).await;
            let is_refused =
                matches!(refused, Err(Error::ReadOnly { .. } | Error::RolledBack { .. }));
            assert!(is_refused, "{file}: {refused:?}");
            assert_eq!(all(&db, &data).await, sorted(300, 1), "{file}");
            cx.sleep(Duration::from_secs(1)).await;
        }
        db.load_keyspace(&data, sorted(300, 3)).await.expect("there is room again");
        db.checkpoint().await.expect("nothing is in the way");
        db.checkpoint().await.expect("nothing is in the way");
        db.close().await.expect("nothing is in the way");
        is_sound(cx).await;
    });
}

/// The next write to such a file finds the disk full.
fn world_full(file: &str) {
    orloj_sim::Control.ambush_disk(NODE, Ambush::Full, file);
}
