//! Goal: whatever fails and whenever, an acknowledged record is never lost, none appears from
//! nowhere, and recovery that is itself interrupted finds the same.
//! Method: several lives of one journal per seed; in each, power fails at a random disk operation,
//! or a write, a sync or the room on the disk does; what is recovered is compared with a model.

use super::{
    History, Log, append, batch, open,
    world::{Chance, Handle},
};
use crate::journal::AppendError;

/// What a journal without a disk would hold.
#[derive(Default)]
struct Model {
    /// Recovered once, or acknowledged.
    durable: History,
    /// Written since, in order: each may be found if those before it are.
    maybe: History,
}

impl Model {
    fn acknowledge(&mut self) {
        self.durable.append(&mut self.maybe);
    }

    fn recovered(&mut self, history: History, seed: u64, life: u64) {
        let all = [self.durable.clone(), self.maybe.clone()].concat();
        assert!(
            history.len() >= self.durable.len(),
            "seed {seed}, life {life}: {} of {} acknowledged records are left",
            history.len(),
            self.durable.len()
        );
        assert!(
            all.starts_with(&history),
            "seed {seed}, life {life}: {} records, not a beginning of the {} written",
            history.len(),
            all.len()
        );
        self.durable = history;
        self.maybe.clear();
    }
}

#[test]
fn acknowledged_records_survive_everything() {
    for seed in 0..400 {
        lives(seed);
    }
}

fn lives(seed: u64) {
    let world = Handle::new(seed);
    let mut chance = Chance(seed ^ 0x5eed);
    let mut model = Model::default();
    for life in 0..8 {
        // Half of the lives begin with an opening that is cut short.
        if chance.below(2) == 0 {
            world.state().fuse = chance.below(20);
            if let Some(opened) = world.run(open(world.context())) {
                let (log, _, history) = opened.expect("power was the only fault");
                drop(log);
                model.recovered(history, seed, life);
            }
            world.power_cut();
        }
        {
            let mut state = world.state();
            state.fuse = 20 + chance.below(200);
            match chance.below(6) {
                0 => state.room = chance.below(60_000),
                1 => state.write_fails = Some(chance.below(40)),
                2 => state.sync_fails = Some(chance.below(40)),
                _ => {}
            }
        }
        world.run(one_life(&world, &mut chance, &mut model, seed, life));
        match chance.below(4) {
            // Only the process ends; what it wrote is still there.
            0 => {
                let mut state = world.state();
                (state.fuse, state.room) = (u64::MAX, u64::MAX);
                (state.write_fails, state.sync_fails) = (None, None);
            }
            _ => world.power_cut(),
        }
    }
    let opened = world.run(open(world.context())).expect("power stays on");
    let (_, _, first) = opened.expect("nothing is damaged");
    world.power_cut();
    let opened = world.run(open(world.context())).expect("power stays on");
    let (_, _, second) = opened.expect("nothing is damaged");
    assert_eq!(first, second, "seed {seed}: recovery twice");
    model.recovered(second, seed, 99);
}

async fn one_life(world: &Handle, chance: &mut Chance, model: &mut Model, seed: u64, life: u64) {
    let (mut log, _, history) = match open(world.context()).await {
        Ok(opened) => opened,
        // No room, or a failed write or sync: but never "damaged".
        Err(super::JournalError::Disk(_)) => return,
        Err(e) => panic!("seed {seed}, life {life}: {e}"),
    };
    model.recovered(history, seed, life);
    for n in 0..60 {
        let len = if chance.below(8) == 0 { chance.below(9000) } else { chance.below(300) };
        let mut record = format!("{seed}/{life}/{n}/").into_bytes();
        record.extend((0..len).map(|_| chance.next() as u8));
        match chance.below(10) {
            0..6 => {
                model.maybe.push(record.clone());
                let done = append(&mut log, &record).await;
                if outcome(done, 1, &mut log, model).await {
                    return;
                }
            }
            6..8 => {
                let two = [record.clone(), b"and another".to_vec()];
                model.maybe.extend(two.clone());
                let done = log.append(&batch(two.iter().map(Vec::as_slice)), false).await;
                match done {
                    Ok(()) => {}
                    done => {
                        if outcome(done, 2, &mut log, model).await {
                            return;
                        }
                    }
                }
            }
            8 => match log.sync().await {
                Ok(()) => model.acknowledge(),
                Err(_) => return,
            },
            _ => {
                let closing = chance.below(2) == 0;
                match log.mark(closing).await {
                    Ok(()) if !log.needs_room() => model.acknowledge(),
                    Ok(()) | Err(AppendError::Refused { .. }) => {}
                    Err(AppendError::Fatal(_)) => return,
                }
            }
        }
    }
}

/// Tells the model how `count` records fared; whether this life is over.
async fn outcome(
    done: Result<(), AppendError>,
    count: usize,
    log: &mut Log,
    model: &mut Model,
) -> bool {
    match done {
        Ok(()) => model.acknowledge(),
        Err(AppendError::Fatal(_)) => return true,
        // Of an unknown fate: no way to go on and tell it apart from its successor.
        Err(AppendError::Refused { definite: false, .. }) => return true,
        Err(AppendError::Refused { definite: true, .. }) => {
            model.maybe.truncate(model.maybe.len() - count);
            match log.make_room().await {
                Err(AppendError::Fatal(_)) => return true,
                Ok(()) => assert!(!log.needs_room()),
                Err(AppendError::Refused { .. }) => assert!(log.needs_room()),
            }
        }
    }
    false
}
