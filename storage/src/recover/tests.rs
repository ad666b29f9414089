//! Goal: whenever power fails, the next start finds every durable change, none that was not asked
//! for, and the same when it is itself cut short; damage is found, or harmless.
//! Method: lives of one database per seed, each cut at a drawn poll, in which changes, flushes and
//! checkpoints alternate on a disk that tears, loses and reorders; and one small database, every
//! byte of every file of which is damaged in turn.

mod damage;
mod whole;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use orloj_kernel::Context;
use orloj_sim::{
    Config, Control, Crash, Simulation,
    disk::{Ambush, DiskFaults, SyncFailure},
};

use crate::trial::{Chance, End, Model, Trial};

/// What survives the machine; `None` when the node shall do nothing.
type Notes = Arc<Mutex<Option<(Model, Chance)>>>;

fn note<T>(notes: &Notes, act: impl FnOnce(&mut (Model, Chance)) -> T) -> Option<T> {
    notes.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(act)
}

/// One life: opens, compares, and works until power fails or the disk does.
async fn live(cx: Context, notes: Notes) {
    let begun = note(&notes, |(model, chance)| (model.clone(), chance.below(u64::MAX)));
    let Some((mut model, seed)) = begun else { return };
    let mut chance = Chance(seed);
    let mut trial = match Trial::open(cx).await {
        Ok(trial) => trial,
        Err(error) => {
            assert!(error.to_string().contains("i/o error") || is_full(&error), "{error}");
            return;
        }
    };
    trial.recovered(&mut model);
    // Both are durable: what recovery tells is.
    note(&notes, |n| n.0 = model.clone());
    let older = chance.below(300) as usize;
    match trial.compare(&model, older).await {
        Ok(()) => {}
        Err(error) => panic!("{error}"),
    }
    for _ in 0..120 {
        let done = match chance.below(20) {
            0 => trial.checkpoint(&mut model).await.map(|_| ()),
            1 => crate::vlog::collect(&trial.engine, &mut trial.values)
                .await
                .map(|_| ())
                .map_err(End::Engine),
            2..6 => trial.flush(&mut model).await,
            _ => {
                let change = chance.change(150);
                // It may be found from the moment on in which the journal has it.
                trial.commit(&mut model, change).await.expect("it fits into memory");
                note(&notes, |n| n.0.history.clone_from(&model.history));
                Ok(())
            }
        };
        note(&notes, |n| n.0.durable = model.durable);
        match done {
            Ok(()) => {}
            Err(End::Engine(error)) if error.verdict() != crate::Verdict::Halt => {}
            Err(_) => return,
        }
    }
}

fn is_full(error: &crate::Error) -> bool {
    error.to_string().contains("no space left")
}

/// Runs lives of `seed`, each cut after a drawn number of polls, and looks at what is left.
fn lives(seed: u64, faults: bool) -> (usize, u64) {
    let mut sim = Simulation::new(orloj_sim::testing::config(seed));
    let calm = sim.idle_host("calm");
    let notes: Notes = Arc::new(Mutex::new(Some((Model::default(), Chance(seed)))));
    let for_node = notes.clone();
    sim.host("node", move |cx| live(cx, for_node.clone()));
    sim.control(|c| c.set_disk_faults("node", DiskFaults::HONEST));
    let end = sim.run(calm, async move {
        let mut chance = Chance(seed ^ 0xc0ffee);
        for _ in 0..8 {
            let most = if chance.below(3) == 0 { 60 } else { 1500 };
            let polls = 1 + chance.below(most);
            Control.kill_after_polls("node", polls, Crash::Power);
            if faults {
                let ambush = match chance.below(6) {
                    0 => Some(Ambush::Sync(SyncFailure::Reverts)),
                    1 => Some(Ambush::Sync(SyncFailure::KeepsNew)),
                    2 => Some(Ambush::Write),
                    3 => Some(Ambush::Full),
                    4 => Some(Ambush::Read),
                    _ => None,
                };
                let files = ["*data.pages", "*.seg", "*SUPERBLOCK*", "*MANIFEST*", "*.new"];
                let file = files[chance.below(5) as usize];
                ambush.iter().for_each(|ambush| Control.ambush_disk("node", *ambush, file));
            }
            calm.sleep(Duration::from_secs(600)).await;
            let how = if chance.below(4) == 0 { Crash::Process } else { Crash::Power };
            Control.crash("node", how);
            if faults {
                Control.quiet();
                Control.set_disk_faults("node", DiskFaults::HONEST);
            }
            Control.restart("node");
        }
        Control.crash("node", Crash::Power);
        let last = notes.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (mut model, _) = last.expect("it is taken once");
        // Twice, for recovery changes nothing that a second one would find.
        let mut generation = 0;
        for _ in 0..2 {
            Control.restart("node");
            let trial = Trial::open(Control.context("node")).await.expect("nothing is damaged");
            trial.recovered(&mut model);
            trial.compare(&model, 40).await.expect("nothing is damaged");
            generation = trial.report.generation;
            drop(trial);
            Control.crash("node", Crash::Power);
        }
        (model.history.len(), generation)
    });
    end.unwrap_or_else(|failure| panic!("seed {seed}: {} {}", failure.law, failure.evidence))
}

#[test]
fn whenever_power_fails_what_is_durable_is_found() {
    let (mut changes, mut generations) = (0, 0);
    for seed in 0..20 {
        let (found, generation) = lives(seed, false);
        (changes, generations) = (changes + found, generations + generation);
    }
    assert!(changes > 5_000 && generations > 300, "{changes} changes, {generations} generations");
}

#[test]
fn whatever_the_disk_refuses_what_is_durable_is_found() {
    let (mut changes, mut generations) = (0, 0);
    for seed in 1000..1020 {
        let (found, generation) = lives(seed, true);
        (changes, generations) = (changes + found, generations + generation);
    }
    assert!(changes > 3_000 && generations > 200, "{changes} changes, {generations} generations");
}

#[test]
fn every_poll_of_a_creation_and_a_checkpoint_is_a_crash_point() {
    for polls in 1..400 {
        let mut sim = Simulation::new(Config::seed(polls));
        let calm = sim.idle_host("calm");
        let notes: Notes = Arc::new(Mutex::new(Some((Model::default(), Chance(7)))));
        let shared = notes.clone();
        sim.host("node", move |cx| {
            let notes = shared.clone();
            async move {
                let (mut model, mut chance) = (Model::default(), Chance(7));
                let Ok(mut trial) = Trial::open(cx).await else { return };
                if trial.engine.tree().tail().assigned().0 > 0 {
                    return;
                }
                for _ in 0..3 {
                    for _ in 0..12 {
                        trial.commit(&mut model, chance.change(40)).await.expect("it fits");
                    }
                    note(&notes, |n| n.0 = model.clone());
                    trial.checkpoint(&mut model).await.expect("an honest disk");
                    note(&notes, |n| n.0 = model.clone());
                }
            }
        });
        sim.control(|c| {
            c.set_disk_faults("node", DiskFaults::HONEST);
            c.kill_after_polls("node", polls, Crash::Power);
        });
        let end = sim.run(calm, async move {
            calm.sleep(Duration::from_secs(60)).await;
            Control.crash("node", Crash::Power);
            Control.restart("node");
            // The process may open it as well: it goes first, and holds the lock until it is done.
            calm.sleep(Duration::from_secs(60)).await;
            Control.exit("node");
            Control.crash("node", Crash::Process);
            let mut model = note(&notes, |n| n.0.clone()).expect("it is not taken");
            Control.restart("node");
            calm.sleep(Duration::from_secs(60)).await;
            let trial = Trial::open(Control.context("node")).await.expect("nothing is damaged");
            trial.recovered(&mut model);
            trial.compare(&model, 20).await.expect("nothing is damaged");
        });
        end.unwrap_or_else(|e| panic!("after {polls} polls: {} {}", e.law, e.evidence));
    }
}
