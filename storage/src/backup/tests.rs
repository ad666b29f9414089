//! Goal: a restored database is the one that was copied, at every version that a backup reaches to,
//! whoever wrote meanwhile and whenever power failed; and a backup that is not whole is refused.
//! Method: databases of small pages and segments on a simulated disk, copied while writers write,
//! clear and set deadlines; content, versions and pages are compared. Every object of a backup is
//! damaged in turn.

mod crash;
mod damage;
mod format;
mod loads;
mod same;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orloj_kernel::{Context, JoinHandle};

use super::{Backup, BackupError, Directory, How, Point, Restored, Target, restore};
use crate::{
    Database, Durability, Lsn, Options, Retention,
    database::{Keyspace, Value},
};

/// Small pages, small segments: everything happens often.
fn options(dir: &str) -> Options {
    Options {
        page_bytes: 4096,
        inline_bytes: 300,
        cache_bytes: 64 * 4096,
        segment_bytes: 64 << 10,
        checkpoint_bytes: 64 << 10,
        checkpoint_every: Duration::from_millis(200),
        ..Options::new(dir, Durability::Strict)
    }
}

fn target(cx: Context) -> Arc<dyn Target> {
    Arc::new(Directory::new(cx, "target"))
}

async fn open(cx: Context, dir: &str) -> Database {
    Database::open(cx, options(dir)).await.expect("it can be opened").0
}

async fn made(cx: Context) -> (Database, Keyspace) {
    let db = open(cx, "db").await;
    let all = db.create_keyspace("all", Retention::All).await.expect("it is new");
    let still = db.create_keyspace("still", Retention::All).await.expect("it is new");
    for number in 0..400_u32 {
        let value = vec![number as u8; if number % 50 == 0 { 2_000 } else { 90 }];
        let put = db.try_put(&still, &number.to_be_bytes(), (&value).into());
        let _ = put.expect("memory takes it");
    }
    (db, all)
}

/// Writes, deletes, clears and lets keys expire, `count` times.
async fn work(cx: Context, db: Database, to: Keyspace, count: u64) {
    for _ in 0..count {
        let key = format!("key {:04}", cx.below(300));
        let len = if cx.below(8) == 0 { 400 + cx.below(9_000) } else { cx.below(200) };
        let value = vec![cx.below(256) as u8; len as usize];
        let done = match cx.below(60) {
            0 => db.clear_keyspace(&to).await,
            1..10 => db.delete(&to, key.as_bytes()).await,
            10..20 => {
                let until = db.now() + 1 + cx.below(5_000);
                db.put(&to, key.as_bytes(), Value::until(&value, until)).await
            }
            _ => db.put(&to, key.as_bytes(), (&value).into()).await,
        };
        done.expect("nothing is in the way");
        if cx.below(10) == 0 {
            cx.sleep(Duration::from_millis(cx.below(80))).await;
        }
    }
}

fn workers(cx: Context, db: &Database, to: &Keyspace, count: u64) -> Vec<JoinHandle<()>> {
    let work = || cx.spawn("worker", work(cx, db.clone(), to.clone(), count));
    (0..3).map(|_| work()).collect()
}

async fn join(workers: Vec<JoinHandle<()>>) {
    for worker in workers {
        worker.await.expect("workers end by themselves");
    }
}

async fn backup(db: &Database, how: How) -> Result<Backup, BackupError> {
    db.backup(target(db.cx()), how, &mut |_| {}).await
}

async fn restored(cx: Context, dir: &str, to: Point) -> Result<Restored, BackupError> {
    restore(cx, &*target(cx), &options(dir), to, false, &mut |_| {}).await
}

async fn planned(cx: Context, dir: &str, to: Point) -> Result<Restored, BackupError> {
    restore(cx, &*target(cx), &options(dir), to, true, &mut |_| {}).await
}

/// The hash of everything at `at`, and how much that is.
async fn content(db: &Database, at: Lsn) -> ([u8; 32], u64) {
    let snapshot = db.snapshot_at(at).expect("it has been written");
    let content = db.content(&snapshot).await.expect("it is kept");
    (content.hash, content.keys)
}

type Seen = BTreeMap<Vec<u8>, (Lsn, Option<u64>, Vec<u8>)>;

/// Every key at `at`, with the version that wrote it.
async fn everything(db: &Database, at: Lsn) -> Seen {
    let snapshot = db.snapshot_at(at).expect("it has been written");
    let of = db.keyspace("all").expect("it is there");
    let mut cursor = db.timeless_cursor(&of, &snapshot).expect("it is kept");
    let mut seen = Seen::new();
    while let Some(item) = cursor.next().await.expect("nothing fails") {
        seen.insert(item.key.to_vec(), (item.version, item.deadline, item.value.to_vec()));
    }
    seen
}
