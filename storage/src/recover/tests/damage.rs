//! Every byte of a small database, damaged.

use std::collections::BTreeMap;

use orloj_kernel::Context;
use orloj_sim::{Config, Control, Crash, Simulation, disk::Image};

use super::*;
use crate::{
    Error,
    recover::Report,
    trial::{files, overwrite},
};

/// What came of opening a damaged database and reading all of it.
#[derive(Debug)]
enum Outcome {
    /// All of it was there.
    Whole(Box<Report>),
    /// It was not opened.
    Refused(Error),
    /// It was, and some of it cannot be read.
    Partly(Error),
}

/// A database of three generations, with records behind the last; its disk and its model.
fn small(sim: &mut Simulation) -> (Image, Model, BTreeMap<String, Vec<u8>>) {
    let node = sim.idle_host("node");
    let made = sim.run(node, async move {
        let (mut model, mut chance) = (Model::default(), Chance(3));
        let mut trial = Trial::open(node).await.expect("a disk that works");
        for round in 0..4 {
            for _ in 0..10 {
                trial.commit(&mut model, chance.change(30)).await.expect("it fits");
            }
            match round {
                3 => trial.flush(&mut model).await.expect("a disk that works"),
                _ => {
                    trial.checkpoint(&mut model).await.expect("a disk that works");
                    drop(trial);
                    // Every opening begins a segment, so there is something to trim.
                    trial = Trial::open(node).await.expect("a disk that works");
                }
            }
        }
        trial.log.mark(true).await.expect("a disk that works");
        drop(trial);
        (model, files(node, "db").await)
    });
    let (model, files) = made.expect("no property is broken");
    let image = sim.control(|c| {
        c.crash("node", Crash::Power);
        c.snapshot_disk("node")
    });
    (image, model, files)
}

/// Opens `image` after `damage` and compares it with `model`.
fn look<F>(
    sim: &mut Simulation,
    calm: Context,
    image: &Image,
    model: &Model,
    damage: impl FnOnce(Context) -> F + Send + 'static,
) -> Outcome
where
    F: Future<Output = ()> + Send,
{
    sim.control(|c| {
        c.restore_disk("node", image);
        c.restart("node");
    });
    let mut model = model.clone();
    let outcome = sim.run(calm, async move {
        let node = Control.context("node");
        damage(node).await;
        let outcome = match Trial::open(node).await {
            Err(error) => Outcome::Refused(error),
            Ok(trial) => {
                trial.recovered(&mut model);
                match trial.compare(&model, 30).await {
                    Ok(()) => Outcome::Whole(Box::new(trial.report.clone())),
                    Err(error) => Outcome::Partly(error),
                }
            }
        };
        Control.crash("node", Crash::Power);
        outcome
    });
    outcome.unwrap_or_else(|e| panic!("{} {}", e.law, e.evidence))
}

#[test]
fn every_flipped_byte_is_found_or_harmless() {
    let mut sim = Simulation::new(Config::seed(1));
    let calm = sim.idle_host("calm");
    let (image, model, files) = small(&mut sim);
    let mut counts: BTreeMap<&str, [u32; 4]> = BTreeMap::new();
    for (path, bytes) in &files {
        let kind = path.trim_start_matches("db/").split(['-', '_', '/']).next().unwrap_or("");
        // Behind the last byte that was written there is nothing to damage.
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        let step = if bytes.len() > 8192 { 97 } else { 13 };
        for at in (0..used).step_by(step) {
            let (file, flipped) = (path.clone(), vec![bytes[at] ^ 1 << (at % 8)]);
            let outcome = look(&mut sim, calm, &image, &model, move |cx| async move {
                overwrite(cx, &file, at as u64, flipped).await;
            });
            let count = counts.entry(kind).or_default();
            match &outcome {
                Outcome::Whole(report) => {
                    let noticed = report.generation != 3 || !report.superblocks_damaged.is_empty();
                    count[usize::from(noticed)] += 1;
                }
                Outcome::Refused(error) => {
                    let damage = matches!(error, Error::Journal(_));
                    assert!(damage && path.contains("wal-"), "{path}, byte {at}: {error}");
                    count[2] += 1;
                }
                Outcome::Partly(error) => {
                    let Error::Corrupt(corrupt) = error else { panic!("{path}: {error}") };
                    assert_eq!(corrupt.file, *path, "byte {at}: {error}");
                    assert!(corrupt.offset <= at as u64, "byte {at}: {error}");
                    count[3] += 1;
                }
            }
        }
    }
    // Harmless, made good, refused, partly read.
    let of = |kind: &str| counts.get(kind).copied().unwrap_or_default();
    assert!(of("MANIFEST")[1..] == [0, 0, 0], "{counts:?}");
    assert!(of("SUPERBLOCK")[2..] == [0, 0], "{counts:?}");
    // What the journal has to change is read, and the generation before makes it good.
    assert!(of("data.pages")[1] > 150 && of("data.pages")[2] == 0, "{counts:?}");
    assert!(of("wal")[2] > 50 && of("vlog")[3] > 40, "{counts:?}");
}

#[test]
fn a_file_that_is_lost_is_missed_or_made_good() {
    let mut sim = Simulation::new(Config::seed(2));
    let calm = sim.idle_host("calm");
    let (image, model, files) = small(&mut sim);
    // Nothing tells of a segment that an opening began: see the journal's format.
    let newest = files.keys().rfind(|path| path.contains("wal-"));
    for path in files.keys().filter(|path| Some(*path) != newest) {
        let name = path.clone();
        let outcome = look(&mut sim, calm, &image, &model, move |cx| async move {
            cx.remove(&name).await.expect("a disk that works");
        });
        match (path.as_str(), outcome) {
            ("db/LOCK", Outcome::Whole(_)) => {}
            ("db/MANIFEST", Outcome::Refused(Error::NotOurs { .. })) => {}
            // The other generation gives the same state.
            ("db/SUPERBLOCK_A", Outcome::Whole(report)) => assert_eq!(report.generation, 2),
            ("db/SUPERBLOCK_B", Outcome::Whole(report)) => assert_eq!(report.generation, 3),
            ("db/data.pages", Outcome::Refused(Error::Corrupt(_))) => {}
            (path, Outcome::Refused(Error::Journal(_))) if path.contains("wal-") => {}
            // Only the generation before needs it.
            (path, Outcome::Whole(report)) if path.contains("wal-") => {
                assert_eq!(report.generation, 3);
            }
            (path, Outcome::Partly(Error::Corrupt(c))) if path.contains("vlog-") => {
                assert_eq!(c.file, path);
            }
            // Nothing refers to it any more.
            (path, Outcome::Whole(_)) if path.contains("vlog-") => {}
            (path, outcome) => panic!("{path}: {outcome:?}"),
        }
    }
}

#[test]
fn either_superblock_can_rot_away_as_a_whole_and_so_can_either_generation() {
    let mut sim = Simulation::new(Config::seed(4));
    let calm = sim.idle_host("calm");
    let (image, model, _) = small(&mut sim);
    for (rotten, generation) in [("A", 2), ("B", 3)] {
        let outcome = look(&mut sim, calm, &image, &model, move |cx| async move {
            overwrite(cx, &format!("db/SUPERBLOCK_{rotten}"), 0, vec![0x5a; 5000]).await;
        });
        let Outcome::Whole(report) = outcome else { panic!("{rotten}: {outcome:?}") };
        assert_eq!((report.generation, report.superblocks_damaged.len()), (generation, 1));
    }
    // Both: the journal has been trimmed, so nothing gives the state.
    let outcome = look(&mut sim, calm, &image, &model, |cx| async move {
        for side in ["A", "B"] {
            overwrite(cx, &format!("db/SUPERBLOCK_{side}"), 0, vec![0; 5000]).await;
        }
    });
    assert!(
        matches!(outcome, Outcome::Refused(Error::Superblock { .. }))
            || matches!(&outcome, Outcome::Whole(report) if report.generation == 0),
        "{outcome:?}"
    );
}

#[test]
fn a_database_that_fell_back_goes_on_from_there() {
    let mut sim = Simulation::new(Config::seed(6));
    let calm = sim.idle_host("calm");
    let (image, model, _) = small(&mut sim);
    sim.control(|c| {
        c.restore_disk("node", &image);
        c.restart("node");
    });
    let mut model = model.clone();
    let end = sim.run(calm, async move {
        let node = Control.context("node");
        let trial = Trial::open(node).await.expect("it is whole");
        let catalogue = trial.engine.newest().expect("it has checkpoints").catalogue;
        drop(trial);
        overwrite(node, "db/data.pages", catalogue.offset() + 100, vec![0xff; 8]).await;
        let mut chance = Chance(8);
        for (found, next) in [(2, 5), (5, 6), (6, 7)] {
            let mut trial = Trial::open(node).await.expect("one of two is whole");
            trial.recovered(&mut model);
            assert_eq!(trial.report.generation, found, "{:?}", trial.report);
            assert_eq!(trial.report.passed_over.len(), usize::from(found == 2));
            trial.compare(&model, 9).await.expect("it is whole");
            trial.commit(&mut model, chance.change(30)).await.expect("it fits");
            // To the side of the damaged one: the one that was opened stays until then.
            let done = trial.checkpoint(&mut model).await.expect("a disk that works");
            assert_eq!(done.generation, next);
        }
    });
    end.unwrap_or_else(|e| panic!("{} {}", e.law, e.evidence));
}
