//! Goal: a checkpoint holds exactly one version, whatever is written meanwhile; a reopened database
//! is what it was; space and memory stay bounded.

use orloj_kernel::Context;
use orloj_sim::{Config, Control, Simulation, disk::Ambush};

use super::*;
use crate::{
    page::UNIT,
    trial::{Chance, End, Model, Trial, options},
};

fn in_sim<F: Future<Output = ()> + Send + 'static>(seed: u64, body: impl FnOnce(Context) -> F) {
    let mut sim = Simulation::new(Config::seed(seed));
    let cx = sim.idle_host("node");
    sim.run(cx, body(cx)).expect("no property is broken");
}

#[test]
fn a_reopened_database_is_what_it_was() {
    for seed in 0..12 {
        in_sim(seed, move |cx| async move {
            let (mut model, mut chance) = (Model::default(), Chance(seed));
            for life in 0..4 {
                let mut trial = Trial::open(cx).await.expect("a disk that works");
                trial.recovered(&mut model);
                assert_eq!(trial.report.created, life == 0);
                trial.compare(&model, chance.below(400) as usize).await.expect("it is whole");
                for n in 0..150 {
                    trial.commit(&mut model, chance.change(400)).await.expect("there is room");
                    if n % 50 == 49 && life != 2 {
                        let done = trial.checkpoint(&mut model).await.expect("there is room");
                        assert_eq!(done.lsn.0 as usize, model.history.len());
                    }
                }
                trial.flush(&mut model).await.expect("there is room");
                let older = chance.below(model.history.len() as u64) as usize;
                trial.compare(&model, older).await.expect("it is whole");
            }
            let trial = Trial::open(cx).await.expect("a disk that works");
            trial.recovered(&mut model);
            assert_eq!(trial.report.generation, 9, "two lives with three, one with none");
            assert!(trial.report.journal.records < 20, "{:?}", trial.report);
        });
    }
}

#[test]
fn what_is_written_while_it_runs_is_no_part_of_it() {
    for seed in 0..12 {
        in_sim(seed, move |cx| async move {
            let (mut model, mut chance) = (Model::default(), Chance(seed));
            let mut trial = Trial::open(cx).await.expect("a disk that works");
            for round in 0..5 {
                for _ in 0..80 {
                    trial.commit(&mut model, chance.change(300)).await.expect("there is room");
                }
                trial.flush(&mut model).await.expect("there is room");
                let begun = Checkpoint::begin(&trial.engine);
                let at = begun.version();
                // Every node of it is met by a change before it is captured, or after.
                for _ in 0..60 {
                    trial.commit(&mut model, chance.change(300)).await.expect("there is room");
                }
                if round == 3 {
                    drop(begun);
                    continue;
                }
                let done = begun.write(&mut trial.values).await.expect("there is room");
                assert_eq!((done.lsn, at.0 as usize + 60), (at, model.history.len()));
                // As a crash would: what is not in the journal is gone.
                let crashed =
                    Model { history: model.history[..at.0 as usize].to_vec(), durable: 0 };
                drop(trial);
                trial = Trial::open(cx).await.expect("a disk that works");
                model = crashed;
                assert_eq!((trial.report.lsn, trial.report.journal.records), (at, 0));
                trial.compare(&model, chance.below(at.0) as usize).await.expect("it is whole");
            }
        });
    }
}

#[test]
fn space_is_used_again_and_memory_stays_within_its_budget() {
    in_sim(5, |cx| async move {
        let (mut model, mut chance) = (Model::default(), Chance(5));
        let mut trial = Trial::open(cx).await.expect("a disk that works");
        let mut units = Vec::new();
        for round in 0..16 {
            for n in 0..200 {
                let mut change = chance.change(3000);
                change.0 = crate::trial::NEWEST;
                trial.commit(&mut model, change).await.expect("there is room");
                if n % 20 == 0 && !trial.engine.has_room() {
                    trial.checkpoint(&mut model).await.expect("there is room");
                    assert!(trial.engine.has_room(), "round {round}: what is clean can leave");
                }
            }
            trial.checkpoint(&mut model).await.expect("there is room");
            assert!(trial.engine.has_room(), "round {round}");
            if round % 5 == 0 {
                trial.compare(&model, 0).await.expect("it is whole");
            }
            units.push(trial.engine.pager().space.counts());
        }
        let counters = trial.engine.cache().counters();
        assert!(counters.leaves.evictions > 100 && counters.leaves.misses > 100, "{counters:?}");
        let (early, late) = (units[6], units[15]);
        assert!(late.0 < early.0 * 2, "the file grows without bound: {early:?} {late:?}");
        // What three generations of a database of this size take.
        assert!(late.1 * (UNIT as u64) < 4 << 20, "{late:?}");
    });
}

#[test]
fn a_full_disk_or_a_refused_write_abandons_it_and_it_can_be_tried_again() {
    for (seed, pattern) in
        (0..10).flat_map(|seed| ["*data.pages", "*vlog*", "*SUPERBLOCK*"].map(|p| (seed, p)))
    {
        in_sim(seed, move |cx| async move {
            let (mut model, mut chance) = (Model::default(), Chance(seed));
            let mut trial = Trial::open(cx).await.expect("a disk that works");
            for round in 0..6 {
                for _ in 0..60 {
                    trial.commit(&mut model, chance.change(300)).await.expect("there is room");
                }
                trial.flush(&mut model).await.expect("there is room");
                let ambush = if round % 2 == 0 { Ambush::Full } else { Ambush::Write };
                Control.ambush_disk("node", ambush, pattern);
                let before = trial.engine.newest();
                let refused = trial.checkpoint(&mut model).await.expect_err("an ambush");
                match &refused {
                    End::Engine(Error::ReadOnly { .. }) if round % 2 == 0 => {}
                    End::Engine(Error::Disk(e)) if round % 2 == 1 && e.op != "sync" => {}
                    other => panic!("{other:?}"),
                }
                assert_eq!(trial.engine.newest(), before);
                trial.compare(&model, chance.below(60) as usize).await.expect("it is whole");
                if round == 4 {
                    drop(trial);
                    trial = Trial::open(cx).await.expect("a disk that works");
                    trial.recovered(&mut model);
                    continue;
                }
                trial.checkpoint(&mut model).await.expect("the ambush is over");
            }
            drop(trial);
            let trial = Trial::open(cx).await.expect("a disk that works");
            trial.recovered(&mut model);
            trial.compare(&model, chance.below(300) as usize).await.expect("it is whole");
        });
    }
}

#[test]
fn a_long_replay_makes_room_as_it_goes() {
    in_sim(8, |cx| async move {
        let (mut model, mut chance) = (Model::default(), Chance(8));
        let mut trial = Trial::open(cx).await.expect("a disk that works");
        for n in 0..3000 {
            trial.commit(&mut model, chance.change(6000)).await.expect("there is room");
            if n % 20 == 0 {
                trial.flush(&mut model).await.expect("there is room");
            }
        }
        trial.flush(&mut model).await.expect("there is room");
        drop(trial);
        let trial = Trial::open_with(cx, options()).await.expect("a disk that works");
        trial.recovered(&mut model);
        assert!(trial.report.checkpoints > 0, "{:?}", trial.report);
        assert!(trial.engine.has_room());
        trial.compare(&model, 1500).await.expect("it is whole");
    });
}

#[test]
fn the_places_of_a_dropped_keyspace_are_free_again() {
    in_sim(9, |cx| async move {
        let (mut model, mut chance) = (Model::default(), Chance(9));
        let mut trial = Trial::open(cx).await.expect("a disk that works");
        for _ in 0..300 {
            trial.commit(&mut model, chance.change(2000)).await.expect("there is room");
        }
        trial.checkpoint(&mut model).await.expect("there is room");
        let used = |trial: &Trial| trial.engine.pager().space.counts().1;
        // Most of it is on disk only when it goes.
        drop(trial);
        let mut trial = Trial::open(cx).await.expect("a disk that works");
        let before = used(&trial);
        for keyspace in [crate::trial::NEWEST, crate::trial::ALL] {
            let drop = [crate::record::Op::Drop(keyspace)];
            trial.resolve(|| trial.engine.tree().commit(&[], &drop)).await.expect("it is there");
        }
        for _ in 0..5 {
            trial.checkpoint(&mut model).await.expect("there is room");
        }
        assert!(before > 20 && used(&trial) < 8, "{before} units before, {} after", used(&trial));
        let bytes = trial.engine.pager().shrink().await.expect("a disk that works");
        assert!(bytes > 15 * UNIT as u64, "{bytes} bytes cut off");
        drop(trial);
        let trial = Trial::open(cx).await.expect("a disk that works");
        assert!(trial.engine.tree().keyspaces().is_empty());
    });
}

#[test]
fn a_hold_keeps_its_pages_until_it_is_let_go() {
    in_sim(10, |cx| async move {
        let (mut model, mut chance) = (Model::default(), Chance(10));
        let mut trial = Trial::open(cx).await.expect("a disk that works");
        assert!(trial.engine.hold().is_none(), "there is no generation");
        for _ in 0..100 {
            trial.commit(&mut model, chance.change(300)).await.expect("there is room");
        }
        trial.checkpoint(&mut model).await.expect("there is room");
        let hold = trial.engine.hold().expect("there is one");
        let (block, units) = (*hold.superblock(), hold.units().clone());
        for _ in 0..4 {
            for _ in 0..100 {
                trial.commit(&mut model, chance.change(300)).await.expect("there is room");
            }
            // As `Trial::checkpoint`, with the journal kept.
            trial.flush(&mut model).await.expect("there is room");
            let begun = Checkpoint::begin(&trial.engine);
            begun.write(&mut trial.values).await.expect("there is room");
        }
        let pager = trial.engine.pager();
        let read = crate::recover::read_generation(pager, &block).await;
        let (catalogue, used) = read.expect("nothing was written over it");
        assert_eq!(used, units);
        for root in catalogue.keyspaces.iter().flat_map(|keyspace| &keyspace.roots) {
            pager.read(root.1).await.expect("nothing was written over it");
        }
        let free = pager.space.counts().2;
        drop(hold);
        assert!(pager.space.counts().2 > free, "what only the hold used is free");
    });
}

#[test]
fn segments_are_collected_and_nothing_is_lost_by_it() {
    in_sim(11, |cx| async move {
        let (mut model, mut chance) = (Model::default(), Chance(11));
        let mut trial = Trial::open(cx).await.expect("a disk that works");
        let (mut collected, mut moved, mut removed) = (0, 0, 0);
        for round in 0..40 {
            for _ in 0..60 {
                trial.commit(&mut model, chance.change(60)).await.expect("there is room");
            }
            if let Some(done) =
                crate::vlog::collect(&trial.engine, &mut trial.values).await.expect("it is whole")
            {
                collected += 1;
                moved += done.moved;
            }
            if round % 3 == 0 {
                trial.compare(&model, round * 50).await.expect("it is whole");
            }
            let done = trial.checkpoint(&mut model).await.expect("there is room");
            removed += done.segments_removed;
            if round % 10 == 9 {
                drop(trial);
                trial = Trial::open(cx).await.expect("a disk that works");
                trial.recovered(&mut model);
                trial.compare(&model, round * 40).await.expect("it is whole");
            }
        }
        assert!(collected > 2 && moved > 20 && removed > 2, "{collected} {moved} {removed}");
        let there = trial.engine.values().list().await.expect("a disk that works");
        let (bytes, dead) = trial.engine.segments().totals();
        assert!(dead < bytes, "{dead} of {bytes} in {there:?}");
    });
}

#[test]
fn values_that_the_disk_refused_are_in_no_segment() {
    in_sim(9, |cx| async move {
        let (mut model, mut chance) = (Model::default(), Chance(9));
        let mut trial = Trial::open(cx).await.expect("a disk that works");
        let mut refused = 0;
        for round in 0..6 {
            for _ in 0..60 {
                trial.commit(&mut model, chance.change(100)).await.expect("there is room");
            }
            trial.flush(&mut model).await.expect("there is room");
            let before = trial.engine.segments().totals();
            // The first bytes of it, or of a segment that is begun.
            Control.ambush_disk("node", Ambush::Full, "*vlog*");
            match trial.checkpoint(&mut model).await {
                Err(End::Engine(Error::ReadOnly { .. })) => refused += 1,
                other => panic!("round {round}: {other:?}"),
            }
            let (bytes, _) = trial.engine.segments().totals();
            assert_eq!(bytes, before.0, "round {round}: nothing was written");
            let done = trial.checkpoint(&mut model).await.expect("there is room");
            let listed = trial.engine.segments().listed();
            let newest = listed.iter().find(|segment| segment.number == done.values.segment);
            assert_eq!(newest.map(|segment| segment.bytes), Some(done.values.bytes));
            for segment in listed {
                let path = trial.engine.values().path(segment.number);
                let file = cx.open(&path, orloj_kernel::OpenMode::Read).await.expect("it is there");
                let size = file.size().await.expect("a disk that works");
                assert!(segment.bytes <= size, "round {round}: {segment:?} of {size} bytes");
            }
            trial.compare(&model, model.history.len()).await.expect("it is whole");
        }
        assert_eq!(refused, 6);
        drop(trial);
        let offline = crate::verify::Offline::open(cx, "db").await.expect("nobody has it open");
        let report = offline.verify(&mut |_| {}).await.expect("a disk that works");
        assert!(report.is_sound(), "{:#?}", report.findings);
    });
}
