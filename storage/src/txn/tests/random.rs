//! Random scripts, interleaved at random, against a serial order and the checker of histories.

use std::collections::BTreeSet;

use super::{
    history::Anomaly,
    script::{Actor, End, Level, Step, World},
};
use crate::{Durability, locks::tests::Chance};

const KEYS: [&str; 12] = ["a", "b", "c", "d", "e", "ea", "eb", "ec", "f", "g", "h", "i"];
const MODES: [Durability; 3] = [Durability::InMemory, Durability::Buffered, Durability::Strict];

/// What a seed showed.
#[derive(Debug, Default, PartialEq)]
struct Met {
    anomalies: BTreeSet<Anomaly>,
    committed: usize,
    failed: usize,
    waits: usize,
}

fn script(chance: &mut Chance, level: Level) -> Vec<Step> {
    let keys = |chance: &mut Chance| {
        // A few keys are hot.
        let among = if chance.below(2) == 0 { 4 } else { KEYS.len() };
        KEYS[chance.below(among)]
    };
    if level >= Level::Serializable && chance.below(4) == 0 {
        let (key, other) = (keys(chance), keys(chance));
        return match chance.below(3) {
            0 => vec![Step::Shot(key, other)],
            1 => vec![Step::Blind(key)],
            _ => vec![Step::Look(key), Step::Swap(key)],
        };
    }
    let mut steps = Vec::new();
    for _ in 0..1 + chance.below(5) {
        let (key, other) = (keys(chance), keys(chance));
        let (from, to) = (key.min(other), key.max(other));
        steps.push(match chance.below(12) {
            0..=3 => Step::Get(key),
            4..=6 => Step::Put(key),
            7 => Step::Delete(key),
            8 => Step::Scan(from, to),
            9 => Step::ScanBack(from, to),
            10 => Step::ScanSome("a", "z", 1 + chance.below(3)),
            _ => Step::Scan("e", "f"),
        });
    }
    steps.push(if chance.below(10) == 0 { Step::Abort } else { Step::Commit });
    steps
}

/// Runs one seed with transactions of these levels.
fn run(seed: u64, levels: &[Level]) -> Met {
    let mut chance = Chance(seed);
    let mode = MODES[chance.below(MODES.len())];
    let mut world = World::new(mode);
    let mut met = Met::default();
    let mut actors: Vec<Actor> = Vec::new();
    let mut begun = 0;
    while begun < 40 || !actors.is_empty() {
        if begun < 40 && actors.len() < 5 && chance.below(3) == 0 {
            let level = levels[chance.below(levels.len())];
            let steps = script(&mut chance, level);
            actors.push(world.begin(level, &steps));
            begun += 1;
            continue;
        }
        if chance.below(4) == 0 {
            world.sync();
        }
        if actors.is_empty() {
            continue;
        }
        let at = chance.below(actors.len());
        if !world.step(&mut actors[at]) {
            let waits = |actor: &mut Actor| !world.step(actor);
            assert!(!actors.iter_mut().all(waits), "seed {seed}: everybody waits");
        }
        actors.retain(|actor| {
            match actor.end {
                Some(End::Committed) => met.committed += 1,
                Some(End::Failed(_)) => met.failed += 1,
                _ => {}
            }
            actor.end.is_none()
        });
    }
    world.history.assert_reads();
    if levels.iter().all(|level| *level >= Level::Serializable) {
        world.history.assert_serial();
    }
    assert!(world.tree.locks().is_empty(), "seed {seed}: a lock is left");
    assert_eq!(world.tree.snapshots().count(), 0, "seed {seed}: a snapshot is left");
    met.anomalies = world.history.anomalies();
    met.waits = world.waits;
    met
}

/// Runs many seeds and puts together what they showed.
fn run_all(levels: &[Level]) -> Met {
    let mut all = Met::default();
    for seed in 0..150 {
        let met = run(seed, levels);
        assert_eq!(run(seed, levels), met, "seed {seed}: the same every time");
        all.anomalies.extend(met.anomalies);
        all.committed += met.committed;
        all.failed += met.failed;
        all.waits += met.waits;
    }
    all
}

#[test]
fn serializable_transactions_are_serial() {
    let met = run_all(&[Level::Serializable]);
    assert_eq!(met.anomalies, BTreeSet::new());
    assert!(met.committed > 3_000 && met.failed > 500, "{met:?}");
}

#[test]
fn transactions_under_locks_are_serial() {
    let met = run_all(&[Level::Locked]);
    assert_eq!(met.anomalies, BTreeSet::new());
    assert!(met.committed > 3_000 && met.failed > 200 && met.waits > 1_000, "{met:?}");
}

#[test]
fn all_kinds_together_are_serial() {
    let met = run_all(&[Level::Serializable, Level::Locked]);
    assert_eq!(met.anomalies, BTreeSet::new());
    assert!(met.committed > 3_000 && met.failed > 300 && met.waits > 500, "{met:?}");
}

#[test]
fn snapshots_show_write_skew_and_phantoms_and_nothing_worse() {
    let met = run_all(&[Level::Snapshot]);
    assert_eq!(met.anomalies, [Anomaly::G2Item, Anomaly::Phantom].into());
}

#[test]
fn without_transactions_everything_happens() {
    use Anomaly::{G0, G1a, G1b, G1c, G2Item, GSingle, Phantom};
    let met = run_all(&[Level::Alone]);
    assert_eq!(met.anomalies, [G0, G1a, G1b, G1c, GSingle, G2Item, Phantom].into());
}
