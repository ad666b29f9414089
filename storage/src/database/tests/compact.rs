//! Goal: a compaction gives back what nobody needs, and nobody sees anything of it.
//! Method: databases written from a seed, dumped before and after, at the newest version and at
//! older ones; writers that go on meanwhile; power cuts at drawn polls.

use std::collections::BTreeMap;

use super::*;
use crate::{
    compact::{Compacted, Compaction},
    snapshots::Snapshot,
    trial::Chance,
    verify::Offline,
};
use orloj_sim::{Config, Control, Crash, Simulation, disk::DiskFaults};

type Dump = BTreeMap<(String, Vec<u8>), (Lsn, Vec<u8>)>;

fn options() -> Options {
    Options { dir: "db".into(), ..crate::trial::options() }
}

async fn open(cx: Context) -> (Database, Keyspace, Keyspace) {
    let (db, _) = Database::open(cx, options()).await.expect("it can be opened");
    let mut all = Vec::new();
    for (name, keep) in [("newest", Retention::default()), ("all", Retention::All)] {
        all.push(match db.keyspace(name) {
            Ok(keyspace) => keyspace,
            Err(_) => db.create_keyspace(name, keep).await.expect("it is new"),
        });
    }
    let all = <[Keyspace; 2]>::try_from(all).expect("two of them");
    let [newest, all] = all;
    (db, newest, all)
}

async fn dump(db: &Database, at: &Snapshot) -> Dump {
    let mut found = Dump::new();
    for keyspace in db.keyspaces().expect("it is open") {
        let mut cursor = db.cursor(&keyspace, (..).into(), at).expect("it is kept");
        while let Some(item) = cursor.next().await.expect("a disk that works") {
            let key = (keyspace.name().to_owned(), item.key.to_vec());
            found.insert(key, (item.version, item.value.to_vec()));
        }
    }
    found
}

/// Puts and deletes of `keys` keys, some values of which are long.
async fn churn(db: &Database, of: &Keyspace, chance: &mut Chance, keys: u64, count: u64) {
    for n in 0..count {
        let key = format!("key {:05}", chance.below(keys)).into_bytes();
        let len = if chance.below(12) == 0 { 300 + chance.below(3000) } else { chance.below(120) };
        let value = vec![chance.below(256) as u8; len as usize];
        let assigned = loop {
            let written = match chance.below(5) {
                0 => db.try_delete(of, &key),
                _ => db.try_put(of, &key, (&value).into()),
            };
            match written {
                Ok(assigned) => break assigned,
                Err(pause) => db.resolve(pause).await.expect("a disk that works"),
            }
        };
        if n + 1 == count || chance.below(20) == 0 {
            db.durable(assigned).await.expect("a disk that works");
        }
    }
}

async fn full(db: &Database) -> Compacted {
    db.compact(Compaction::Full).await.expect("a disk that works").expect("there are files")
}

async fn is_sound(cx: Context) {
    let offline = Offline::open(cx, "db").await.expect("nobody has it open");
    let report = offline.verify(&mut |_| {}).await.expect("a disk that works");
    assert!(report.is_sound(), "{:#?}", report.findings);
}

fn in_sim<F>(seed: u64, body: impl FnOnce(Context) -> F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let mut sim = Simulation::new(Config::seed(seed));
    let cx = sim.idle_host("node");
    sim.control(|c| c.set_disk_faults("node", DiskFaults::HONEST));
    sim.run(cx, body(cx)).unwrap_or_else(|e| panic!("seed {seed}: {} {}", e.law, e.evidence))
}

#[test]
fn nobody_sees_anything_of_it() {
    let mut sum = Compacted::default();
    for seed in 0..4 {
        let done: Compacted = in_sim(seed, move |cx| async move {
            let mut chance = Chance(seed);
            let (db, newest, all) = open(cx).await;
            churn(&db, &newest, &mut chance, 700, 1500).await;
            churn(&db, &all, &mut chance, 200, 600).await;
            db.checkpoint().await.expect("a disk that works");
            let older = db.snapshot().expect("it is open");
            churn(&db, &newest, &mut chance, 700, 500).await;
            churn(&db, &all, &mut chance, 200, 300).await;
            let now = db.snapshot().expect("it is open");
            let before = (dump(&db, &older).await, dump(&db, &now).await);
            // Somebody writes while it runs, to other keys and to the same.
            let writer = {
                let (db, newest) = (db.clone(), newest.clone());
                cx.spawn("writer", async move {
                    let mut chance = Chance(seed + 1000);
                    for _ in 0..15 {
                        churn(&db, &newest, &mut chance, 900, 20).await;
                        cx.sleep(Duration::from_millis(chance.below(30))).await;
                    }
                })
            };
            let done = full(&db).await;
            assert!((dump(&db, &older).await, dump(&db, &now).await) == before, "seed {seed}");
            writer.await.expect("it ends");
            drop((older, now));
            let done = match chance.below(2) {
                0 => done,
                _ => full(&db).await,
            };
            assert!(db.compaction().is_none());
            let last = db.snapshot().expect("it is open");
            let before = dump(&db, &last).await;
            drop(last);
            db.close().await.expect("nothing is in the way");
            is_sound(cx).await;
            let (db, ..) = open(cx).await;
            assert!(dump(&db, &db.snapshot().expect("it is open")).await == before);
            done
        });
        sum.versions += done.versions;
        sum.leaves += done.leaves;
        sum.values_moved += done.values_moved;
        sum.value_segments += done.value_segments;
        sum.journal_segments += done.journal_segments;
        assert!(done.after.total() <= done.before.total(), "{done:?}");
    }
    assert!(sum.versions > 100 && sum.leaves > 40, "{sum:?}");
    assert!(sum.values_moved > 10 && sum.value_segments > 2, "{sum:?}");
    assert!(sum.journal_segments > 10, "{sum:?}");
}

#[test]
fn an_emptied_database_shrinks() {
    for way in 0..3 {
        in_sim(way, move |cx| async move {
            let mut chance = Chance(way);
            let (db, newest, all) = open(cx).await;
            churn(&db, &newest, &mut chance, 3000, 4000).await;
            churn(&db, &all, &mut chance, 100, 400).await;
            db.checkpoint().await.expect("a disk that works");
            match way {
                0 => {
                    for key in 0..3000 {
                        let key = format!("key {key:05}").into_bytes();
                        db.delete(&newest, &key).await.expect("a disk that works");
                    }
                }
                1 => drop(db.clear_keyspace(&newest).await.expect("it is there")),
                _ => drop(db.drop_keyspace(&newest).await.expect("it is there")),
            }
            db.drop_keyspace(&all).await.expect("it is there");
            let done = full(&db).await;
            assert!(done.before.pages > 200_000, "{done:?}");
            assert!(done.after.pages < 60_000, "{done:?}");
            assert_eq!(done.after.values, 0, "{done:?}");
            assert!(done.after.journal < 140_000, "{done:?}");
            db.close().await.expect("nothing is in the way");
            is_sound(cx).await;
        });
    }
}

#[test]
fn the_journal_alone_is_cut_off_what_the_pages_have() {
    in_sim(4, |cx| async move {
        let (db, newest, _) = open(cx).await;
        churn(&db, &newest, &mut Chance(4), 300, 3000).await;
        let before = dump(&db, &db.snapshot().expect("it is open")).await;
        let done = db.compact(Compaction::WalOnly).await.expect("a disk that works");
        let done = done.expect("there are files");
        assert!(done.before.journal > 2 * done.after.journal, "{done:?}");
        assert!(done.journal_segments > 1 && done.leaves == 0, "{done:?}");
        assert!(dump(&db, &db.snapshot().expect("it is open")).await == before);
        db.close().await.expect("nothing is in the way");
        is_sound(cx).await;
    });
}

#[test]
fn a_database_that_is_closed_ends_it() {
    for delay in 0..6 {
        in_sim(delay, move |cx| async move {
            let (db, newest, _) = open(cx).await;
            churn(&db, &newest, &mut Chance(5), 2000, 3000).await;
            let before = dump(&db, &db.snapshot().expect("it is open")).await;
            let compacting = {
                let db = db.clone();
                cx.spawn("compaction", async move { db.compact(Compaction::Full).await })
            };
            cx.sleep(Duration::from_millis(delay * 7)).await;
            db.close().await.expect("nothing is in the way");
            let ended = compacting.await.expect("it ends");
            assert!(matches!(ended, Ok(Some(_)) | Err(Error::Closed)), "{ended:?}");
            is_sound(cx).await;
            let (db, ..) = open(cx).await;
            assert!(dump(&db, &db.snapshot().expect("it is open")).await == before);
        });
    }
}

#[test]
fn whenever_power_fails_the_database_is_what_it_was() {
    let mut cut = 0;
    for polls in (1..400).step_by(19) {
        let mut sim = Simulation::new(orloj_sim::testing::config(polls));
        let calm = sim.idle_host("calm");
        sim.idle_host("node");
        let ended = sim.run(calm, async move {
            Control.set_disk_faults("node", DiskFaults::HONEST);
            let node = Control.context("node");
            let made = node.spawn("life", async move {
                let (db, newest, all) = open(node).await;
                let mut chance = Chance(polls);
                churn(&db, &newest, &mut chance, 500, 800).await;
                churn(&db, &all, &mut chance, 100, 200).await;
                db.checkpoint().await.expect("a disk that works");
                let before = dump(&db, &db.snapshot().expect("it is open")).await;
                (db, before)
            });
            let (db, before) = made.await.expect("it ends");
            Control.kill_after_polls("node", polls, Crash::Power);
            let compacting = node.spawn("compaction", async move {
                full(&db).await;
                db
            });
            let done = compacting.await;
            let was_cut = done.is_err();
            drop(done);
            Control.crash("node", Crash::Power);
            Control.restart("node");
            let node = Control.context("node");
            let after = node.spawn("after", async move {
                let (db, ..) = open(node).await;
                dump(&db, &db.snapshot().expect("it is open")).await
            });
            let after = after.await.expect("it ends");
            (was_cut, after == before)
        });
        let (was_cut, same) =
            ended.unwrap_or_else(|e| panic!("{polls} polls: {} {}", e.law, e.evidence));
        assert!(same, "{polls} polls");
        cut += u32::from(was_cut);
    }
    assert!(cut > 3, "{cut} of them cut it");
}
