//! Goal: a walk has nothing to say about a database that is whole, whatever was done to it, and
//! names the right file and the right keys for everything that is not.
//! Method: lives of databases drawn from seeds, walked after every step; one small database, bytes
//! of every file of which are flipped in turn; and databases that were written wrongly on purpose.

mod damage;
mod written_wrong;

use orloj_kernel::{Context, OpenMode};
use orloj_sim::{Config, Control, Crash, Simulation, disk::DiskFaults};

use super::*;
use crate::{
    record::Op,
    trial::{ALL, Chance, End, Model, NEWEST, Trial, files, overwrite},
    vlog::collect,
};

/// What a walk finds; the database must not be open.
async fn walk(cx: Context) -> Report {
    let offline = Offline::open(cx, "db").await.expect("a database that nobody has open");
    offline.verify(&mut |_| {}).await.expect("a disk that works")
}

async fn is_sound(cx: Context, when: &str) -> Report {
    let report = walk(cx).await;
    assert!(report.is_sound(), "{when}: {:#?}", report.findings);
    report
}

/// A life of everything that changes files.
async fn life(cx: Context, seed: u64) -> Report {
    let (mut model, mut chance) = (Model::default(), Chance(seed));
    let mut last = Report::default();
    for round in 0..12 {
        let mut trial = Trial::open(cx).await.expect("a disk that works");
        for _ in 0..1 + chance.below(4) {
            for _ in 0..chance.below(60) {
                trial.commit(&mut model, chance.change(120)).await.expect("it fits");
            }
            match chance.below(4) {
                0 => trial.flush(&mut model).await.expect("a disk that works"),
                1 => {
                    collect(&trial.engine, &mut trial.values).await.expect("a disk that works");
                    // Until then, what it wrote is in no catalogue.
                    trial.checkpoint(&mut model).await.expect("a disk that works");
                }
                _ => {
                    trial.checkpoint(&mut model).await.expect("a disk that works");
                }
            }
        }
        trial.flush(&mut model).await.expect("a disk that works");
        drop(trial);
        last = is_sound(cx, &format!("seed {seed}, round {round}")).await;
        assert_eq!(last.totals.cut_bytes, 0);
    }
    last
}

#[test]
fn a_whole_database_has_no_finding() {
    let mut totals = Totals::default();
    for seed in 0..12 {
        let mut sim = Simulation::new(Config::seed(seed));
        let node = sim.idle_host("node");
        sim.control(|c| c.set_disk_faults("node", DiskFaults::HONEST));
        let report = sim.run(node, life(node, seed)).expect("no property is broken");
        assert!(report.generation > 0 && report.keyspaces.len() >= 2, "{report:?}");
        totals.entries += report.totals.entries;
        totals.pages += report.totals.pages;
        totals.values += report.totals.values;
        totals.dead_bytes += report.totals.dead_bytes;
        totals.records += report.totals.records;
    }
    assert!(totals.entries > 2_000 && totals.pages > 300, "{totals:?}");
    assert!(totals.values > 300 && totals.dead_bytes > 10_000, "{totals:?}");
    assert!(totals.records > 300, "{totals:?}");
}

#[test]
fn trees_that_are_cleared_and_dropped_leave_nothing_unknown_behind() {
    let mut sim = Simulation::new(Config::seed(3));
    let node = sim.idle_host("node");
    let end = sim.run(node, async move {
        let (mut model, mut chance) = (Model::default(), Chance(9));
        for (round, op) in [Op::Clear(NEWEST), Op::Clear(ALL), Op::Drop(ALL)].iter().enumerate() {
            let mut trial = Trial::open(node).await.expect("a disk that works");
            for _ in 0..80 {
                trial.commit(&mut model, chance.change(90)).await.expect("it fits");
            }
            trial.checkpoint(&mut model).await.expect("a disk that works");
            trial.resolve(|| trial.engine.tree().commit(&[], &[*op])).await.expect("it is there");
            // Its number counts, so the model needs one as well.
            model.history.push((NEWEST, Vec::new()));
            for _ in 0..2 {
                trial.checkpoint(&mut model).await.expect("a disk that works");
                drop(trial);
                is_sound(node, &format!("round {round}")).await;
                trial = Trial::open(node).await.expect("a disk that works");
            }
        }
    });
    end.unwrap_or_else(|e| panic!("{} {}", e.law, e.evidence));
}

#[test]
fn whenever_power_fails_nothing_but_leftovers_is_found() {
    let mut leftovers = 0;
    for polls in (20..1200).step_by(9) {
        let mut sim = Simulation::new(orloj_sim::testing::config(polls));
        let calm = sim.idle_host("calm");
        sim.host("node", |cx| async move {
            let (mut model, mut chance) = (Model::default(), Chance(5));
            let Ok(mut trial) = Trial::open(cx).await else { return };
            if trial.report.journal.records > 0 {
                return;
            }
            loop {
                for _ in 0..12 {
                    trial.commit(&mut model, chance.change(60)).await.expect("it fits");
                }
                match trial.checkpoint(&mut model).await {
                    Ok(_) => {}
                    Err(End::Engine(_) | End::Journal(_)) => return,
                }
            }
        });
        sim.control(|c| {
            c.set_disk_faults("node", DiskFaults::HONEST);
            c.kill_after_polls("node", polls, Crash::Power);
        });
        let report = sim.run(calm, async move {
            calm.sleep(std::time::Duration::from_secs(60)).await;
            Control.crash("node", Crash::Power);
            Control.restart("node");
            // The process goes first; it finds records and ends, or makes what is not there.
            Control.exit("node");
            Control.crash("node", Crash::Process);
            Control.restart("node");
            let node = Control.context("node");
            match Offline::open(node, "db").await {
                Ok(offline) => offline.verify(&mut |_| {}).await.ok(),
                Err(_) => None,
            }
        });
        let report = report.unwrap_or_else(|e| panic!("{polls} polls: {} {}", e.law, e.evidence));
        for finding in report.iter().flat_map(|report| &report.findings) {
            let torn = finding.file.contains("SUPERBLOCK") && finding.grade == Grade::Reserve;
            let unlisted = finding.what == Defect::Unlisted;
            assert!(torn || unlisted, "{polls} polls: {finding:?}");
            leftovers += 1;
        }
    }
    assert!(leftovers > 3, "{leftovers}");
}
