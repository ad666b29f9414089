//! Damage to what the journal loads, before any generation has it.

use super::*;
use crate::{Database, Retention, database::Keyspace, page::UNIT, verify::Offline};

fn entries() -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    (0..400_u32).map(|n| (format!("load {n:05}").into_bytes(), vec![n as u8; 90]))
}

fn of_load() -> Options {
    Options { cache_bytes: 8 << 20, ..crate::trial::options() }
}

async fn open(cx: Context) -> (Database, Keyspace) {
    let (db, _) = Database::open(cx, of_load()).await.expect("it can be opened");
    let keyspace = match db.keyspace("data") {
        Ok(keyspace) => keyspace,
        Err(_) => db.create_keyspace("data", Retention::default()).await.expect("it is new"),
    };
    (db, keyspace)
}

/// A database whose last generation is older than what was loaded, or is none; and the units in
/// which that lies.
async fn made(cx: Context, has_generation: bool) -> Vec<u64> {
    let (db, data) = open(cx).await;
    db.put(&data, b"before", b"1".into()).await.expect("it is written");
    if has_generation {
        db.checkpoint().await.expect("nothing is in the way");
    }
    db.load_keyspace(&data, entries()).await.expect("they ascend");
    for (key, _) in entries().step_by(50) {
        db.put(&data, &key, b"behind".into()).await.expect("it is written");
    }
    let claims = db.engine().expect("it has files").tree().claims();
    claims[0].rows().iter().flat_map(|(first, count)| *first..first + count).collect()
}

fn is_lost(losses: &[Loss], of: KeyspaceId, key: &[u8]) -> bool {
    losses.iter().any(|loss| concerns(loss, of, key))
}

/// Walks, repairs, walks, and reads everything. Returns how many keys are lost.
async fn survived(cx: Context, when: &str) -> usize {
    let offline = Offline::open(cx, "db").await.expect("nobody has it open");
    let report = offline.verify(&mut |_| {}).await.expect("a disk that works");
    assert!(report.findings.iter().any(|f| f.grade == Grade::Damage), "{when}: {report:?}");
    drop(offline);
    let dry = repair(cx, "db", true, &mut |_| {}).await.expect("something is left");
    let done = repair(cx, "db", false, &mut |_| {}).await.expect("something is left");
    assert_eq!(dry.losses, done.losses, "{when}");
    assert!(done.needed, "{when}");
    let again = repair(cx, "db", true, &mut |_| {}).await.expect("it is whole");
    assert!(!again.needed, "{when}: {:#?}", again.report.findings);

    let (db, data) = open(cx).await;
    let mut missing = 0;
    for (n, (key, value)) in entries().enumerate() {
        let mut found = Vec::new();
        let is_there = db.get(&data, &key, &mut found).await.expect("it was repaired").is_some();
        match (is_there, n % 50 == 0) {
            (true, true) => assert_eq!(found, b"behind", "{when}: {n}"),
            (true, false) => assert!(found == value, "{when}: {n}"),
            (false, is_behind) => {
                assert!(!is_behind, "{when}: {n} was written afterwards");
                assert!(is_lost(&done.losses, data.id(), &key), "{when}: {n} is not told");
                missing += 1;
            }
        }
    }
    let before = db.get(&data, b"before", &mut Vec::new()).await.expect("it was repaired");
    assert_eq!(before, None, "{when}: the load took its place");
    db.put(&data, b"new", b"1".into()).await.expect("it is open");
    db.checkpoint().await.expect("nothing is in the way");
    db.checkpoint().await.expect("nothing is in the way");
    db.close().await.expect("nothing is in the way");
    let offline = Offline::open(cx, "db").await.expect("nobody has it open");
    let report = offline.verify(&mut |_| {}).await.expect("a disk that works");
    assert!(report.is_sound(), "{when}: {:#?}", report.findings);
    missing
}

#[test]
fn of_a_load_that_is_damaged_the_rest_is_there() {
    for has_generation in [false, true] {
        let mut sim = Simulation::new(Config::seed(4));
        let node = sim.idle_host("node");
        sim.control(|c| c.set_disk_faults("node", DiskFaults::HONEST));
        let units = sim.run(node, made(node, has_generation)).expect("no property is broken");
        let image = sim.control(|c| {
            c.crash("node", Crash::Power);
            c.snapshot_disk("node")
        });
        assert!(units.len() > 8, "{units:?}");
        // As it is there is nothing to say, and nothing to repair.
        let mut lost = Vec::new();
        for hit in std::iter::once(None).chain(units.iter().map(Some)) {
            let node = sim.control(|c| {
                c.restore_disk("node", &image);
                c.restart("node");
                c.set_disk_faults("node", DiskFaults::HONEST);
                c.context("node")
            });
            let hit = hit.copied();
            let ran = sim.run(node, async move {
                let Some(unit) = hit else {
                    let whole = repair(node, "db", false, &mut |_| {}).await.expect("it is whole");
                    assert!(!whole.needed, "{:#?}", whole.report.findings);
                    return 0;
                };
                overwrite(node, "db/data.pages", unit * UNIT as u64 + 100, vec![0x55; 9]).await;
                survived(node, &format!("unit {unit}, generation {has_generation}")).await
            });
            lost.push(ran.unwrap_or_else(|e| panic!("{} {}", e.law, e.evidence)));
            sim.control(|c| c.crash("node", Crash::Power));
        }
        // A leaf costs what was in it; an inner node or the root nothing, as its leaves are found.
        assert!(lost.iter().all(|lost| *lost < 80), "{lost:?}");
        assert!(lost.iter().filter(|lost| **lost > 0).count() > 5, "{lost:?}");
    }
}

#[test]
fn without_its_pages_a_load_is_lost_and_what_was_written_behind_it_is_not() {
    let mut sim = Simulation::new(Config::seed(5));
    let node = sim.idle_host("node");
    sim.control(|c| c.set_disk_faults("node", DiskFaults::HONEST));
    sim.run(node, async move { drop(made(node, false).await) }).expect("no property is broken");
    let node = sim.control(|c| {
        c.crash("node", Crash::Power);
        c.restart("node");
        c.context("node")
    });
    let ran = sim.run(node, async move {
        node.remove("db/data.pages").await.expect("a disk that works");
        let refused = Database::open(node, of_load()).await.expect_err("its pages are gone");
        assert!(matches!(refused, Error::Corrupt(_)), "{refused}");
        survived(node, "no pages").await
    });
    assert_eq!(ran.unwrap_or_else(|e| panic!("{} {}", e.law, e.evidence)), 392);
}

/// What a repair says, and every key of the load that is there afterwards.
type After = (Vec<Loss>, Vec<Option<Vec<u8>>>);

/// Repairs, opens, reads and writes.
async fn after(cx: Context) -> After {
    let done = repair(cx, "db", false, &mut |_| {}).await.expect("something is left");
    let (db, data) = open(cx).await;
    let mut found = Vec::new();
    for (key, _) in entries() {
        let mut value = Vec::new();
        let is_there = db.get(&data, &key, &mut value).await.expect("it was repaired").is_some();
        found.push(is_there.then_some(value));
    }
    db.put(&data, b"new", b"1".into()).await.expect("it is open");
    db.close().await.expect("nothing is in the way");
    (done.losses, found)
}

/// Damages the load's pages from a unit on, and every superblock if that is asked for.
async fn damage(cx: Context, unit: u64, superblocks: bool) {
    overwrite(cx, "db/data.pages", unit * UNIT as u64 + 100, vec![0x55; 9]).await;
    // There is one generation, so one superblock.
    let names = cx.list("db").await.expect("a disk that works").into_iter().map(|e| e.name);
    for name in names.filter(|name| superblocks && name.starts_with("SUPERBLOCK")) {
        overwrite(cx, &format!("db/{name}"), 0, vec![0; 8192]).await;
    }
}

#[test]
fn a_repair_of_a_load_that_is_cut_short_is_repeated_and_loses_no_more() {
    for (has_generation, superblocks, step) in
        [(false, false, 1), (true, false, 3), (true, true, 5)]
    {
        let mut sim = Simulation::new(Config::seed(8));
        let calm = sim.idle_host("calm");
        let node = sim.idle_host("node");
        sim.control(|c| c.set_disk_faults("node", DiskFaults::HONEST));
        let units = sim.run(node, made(node, has_generation)).expect("no property is broken");
        let image = sim.control(|c| {
            c.crash("node", Crash::Power);
            c.snapshot_disk("node")
        });
        let begin = |sim: &mut Simulation| {
            let node = sim.control(|c| {
                c.crash("node", Crash::Power);
                c.restore_disk("node", &image);
                c.restart("node");
                c.set_disk_faults("node", DiskFaults::HONEST);
                c.context("node")
            });
            let hit = units[units.len() / 2];
            let made = sim.run(node, async move { damage(node, hit, superblocks).await });
            made.unwrap_or_else(|e| panic!("{} {}", e.law, e.evidence));
            node
        };
        let node = begin(&mut sim);
        let at_once = sim.run(node, after(node));
        let (losses, expected) = at_once.unwrap_or_else(|e| panic!("{} {}", e.law, e.evidence));
        let missing = expected.iter().filter(|value| value.is_none()).count();
        assert!((1..80).contains(&missing), "{missing}: {losses:?}");
        let mut cuts = 0;
        for polls in (1..).step_by(step) {
            begin(&mut sim);
            sim.control(|c| c.kill_after_polls("node", polls, Crash::Power));
            let ran = sim.run(calm, async move {
                let node = Control.context("node");
                let repair = node.spawn("repair", async move {
                    repair(node, "db", false, &mut |_| {}).await.expect("something is left")
                });
                let is_done = repair.await.is_ok();
                Control.crash("node", Crash::Power);
                Control.restart("node");
                let node = Control.context("node");
                let again = node.spawn("again", after(node));
                (is_done, again.await.expect("power stays on"))
            });
            let when = format!("generation {has_generation}, {superblocks}, {polls} polls");
            let ran = ran.unwrap_or_else(|e| panic!("{when}: {} {}", e.law, e.evidence));
            let (is_done, (losses, found)) = ran;
            assert!(found == expected, "{when}: {losses:?}");
            if is_done {
                break;
            }
            cuts += 1;
        }
        assert!(cuts > 12, "{cuts} cuts");
    }
}
