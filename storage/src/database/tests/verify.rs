//! Goal: a walk beside writers finds nothing in a database that is whole, and damage where it is.

use orloj_kernel::OpenMode;
use orloj_sim::{Config, Simulation, disk::DiskFaults};

use super::*;
use crate::{
    compact::Compaction,
    page::UNIT,
    trial::{Chance, options},
    verify::Grade,
};

async fn write(db: &Database, of: &Keyspace, chance: &mut Chance, count: u64) {
    for _ in 0..count {
        let key = format!("key {:05}", chance.below(400)).into_bytes();
        let len = if chance.below(10) == 0 { 2000 } else { chance.below(100) };
        let value = vec![chance.below(256) as u8; len as usize];
        db.put(of, &key, (&value).into()).await.expect("a disk that works");
    }
}

/// Loads a keyspace, a page of which is damaged before any generation has it, and again.
async fn damaged_load(cx: Context, db: &Database, data: &Keyspace) {
    let entries = || (0..300_u32).map(|n| (n.to_be_bytes(), [0; 90]));
    db.load_keyspace(data, entries()).await.expect("they ascend");
    let claims = db.engine().expect("it has files").tree().claims();
    let (unit, _) = claims.last().expect("no checkpoint has it").rows()[0];
    let file = cx.open("db/data.pages", OpenMode::Write).await.expect("it is there");
    let at = unit * UNIT as u64 + 100;
    let byte = file.read_at(at, 1).await.expect("a disk that works")[0];
    file.write_sync(at, vec![byte ^ 1]).await.expect("a disk that works");
    let report = db.verify(&mut |_| {}).await.expect("a disk that works");
    let found = &report.findings;
    let is_it = |f: &crate::verify::Finding| {
        (f.grade, f.offset) == (Grade::Damage, unit * UNIT as u64) && f.keys.is_some()
    };
    assert!(found.iter().any(is_it), "{found:#?}");
    file.write_sync(at, vec![byte]).await.expect("a disk that works");
    let report = db.verify(&mut |_| {}).await.expect("a disk that works");
    assert!(report.is_sound(), "{:#?}", report.findings);
}

#[test]
fn a_walk_beside_writers_finds_what_is_damaged_and_nothing_else() {
    for seed in 0..4 {
        let mut sim = Simulation::new(Config::seed(seed));
        let cx = sim.idle_host("node");
        sim.control(|c| c.set_disk_faults("node", DiskFaults::HONEST));
        let ended = sim.run(cx, async move {
            let (db, _) = Database::open(cx, options()).await.expect("it can be opened");
            let data = db.create_keyspace("data", Retention::default()).await.expect("it is new");
            let report = db.verify(&mut |_| {}).await.expect("a disk that works");
            assert!(report.is_sound(), "{:#?}", report.findings);
            let writer = {
                let (db, data) = (db.clone(), data.clone());
                cx.spawn("writer", async move {
                    let mut chance = Chance(seed);
                    for round in 0..12_u8 {
                        write(&db, &data, &mut chance, 40).await;
                        if round % 3 == 0 {
                            db.checkpoint().await.expect("a disk that works");
                        }
                        if round % 2 == 0 {
                            let entries = (0..300_u32).map(|n| (n.to_be_bytes(), [round; 90]));
                            db.load_keyspace(&data, entries).await.expect("they ascend");
                        }
                        if round == 7 {
                            db.compact(Compaction::Full).await.expect("a disk that works");
                        }
                    }
                })
            };
            let mut walked = 0;
            while walked < 40 {
                let report = db.verify(&mut |_| {}).await.expect("a disk that works");
                assert!(report.is_sound(), "walk {walked}: {:#?}", report.findings);
                walked += 1;
                cx.sleep(Duration::from_millis(3)).await;
            }
            writer.await.expect("it ends");
            assert!(walked > 5, "{walked}");
            damaged_load(cx, &db, &data).await;
            db.checkpoint().await.expect("a disk that works");
            let engine = db.engine().expect("it has files");
            let hold = engine.hold().expect("there is a generation");
            let units = hold.units().clone();
            let unit = (1..hold.superblock().units).find(|unit| units.has(*unit));
            let at = unit.expect("there is a page") * UNIT as u64 + 100;
            let file = cx.open("db/data.pages", OpenMode::Write).await.expect("it is there");
            let byte = file.read_at(at, 1).await.expect("a disk that works")[0];
            file.write_sync(at, vec![byte ^ 1]).await.expect("a disk that works");
            let report = db.verify(&mut |_| {}).await.expect("a disk that works");
            let found = &report.findings;
            assert!(found.iter().any(|finding| finding.file == "db/data.pages"), "{found:#?}");
            assert!(found.iter().any(|finding| finding.grade == Grade::Damage), "{found:#?}");
        });
        ended.unwrap_or_else(|e| panic!("seed {seed}: {} {}", e.law, e.evidence));
    }
}
