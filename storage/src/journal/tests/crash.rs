//! Goal: whatever fails and whenever, an acknowledged record is never lost, none appears from
//! nowhere, and recovery that is itself interrupted finds the same.
//! Method: several lives of one journal per seed; in each, power fails at a random disk operation,
//! or a write, a sync or the room on the disk does; what is recovered is compared with a model.

use std::sync::{Arc, Mutex, MutexGuard};

use orloj_kernel::{Context, DiskErrorKind};
use orloj_sim::{Control, Crash, disk::DiskFaults, fault::FaultClass};

use super::{History, Log, NODE, World, append, batch, open};
use crate::journal::{AppendError, JournalError};

/// What a power cut does: more than most do.
const POWER_CUT: DiskFaults = DiskFaults { torn: 300_000, garbage: 100_000, ..DiskFaults::HONEST };

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

/// The model outlives every process that feeds it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Model>>);

impl Shared {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().expect("a broken promise ends the run")
    }
}

#[test]
fn acknowledged_records_survive_everything() {
    let mut injected = [0; FaultClass::ALL.len()];
    let mut cut_short = 0;
    for seed in 0..400 {
        let mut world = World::new(seed);
        cut_short += lives(&mut world, seed);
        let report = world.0.finish();
        for (sum, class) in injected.iter_mut().zip(FaultClass::ALL) {
            *sum += report.faults.injected(*class);
        }
    }
    // Green without the fault would prove nothing about it.
    assert!(cut_short > 1_000, "{cut_short} lives were cut short");
    for (sum, class) in injected.iter().zip(FaultClass::ALL) {
        use FaultClass as C;
        let wanted = [
            C::DiskLostWrite,
            C::DiskTorn,
            C::DiskReorder,
            C::DiskGarbage,
            C::DiskLostName,
            C::DiskLostRename,
            C::DiskSyncFailed,
            C::DiskWriteError,
            C::DiskFull,
            C::HostPowerLoss,
        ];
        assert!(*sum > 10 || !wanted.contains(class), "{}: {sum} times", class.name());
    }
}

/// Several lives of one journal; how many of them were cut short by a power cut.
fn lives(world: &mut World, seed: u64) -> u64 {
    let shared = Shared::default();
    let mut cut_short = 0;
    for life in 0..8 {
        // Half of the lives begin with an opening that is cut short.
        let cx = world.start();
        if world.control(|w| w.between("opening", 0, 1)) == 1 {
            world.control(|w| {
                healthy(w);
                w.kill_after_polls(NODE, w.between("polls", 1, 40), Crash::Power);
            });
            match world.run(cx, open(cx)) {
                None => cut_short += 1,
                // Read-only since a sync failed, until the machine starts again.
                Some(Err(JournalError::Disk(e))) if e.kind == DiskErrorKind::ReadOnly => {}
                Some(opened) => {
                    let (_, _, history) = opened.expect("power was the only fault");
                    shared.model().recovered(history, seed, life);
                }
            }
            world.control(|w| w.crash(NODE, Crash::Power));
        }
        let cx = world.start();
        world.control(|w| {
            healthy(w);
            w.kill_after_polls(NODE, w.between("polls", 40, 600), Crash::Power);
            match w.between("trouble", 0, 5) {
                0 => w.limit_disk(NODE, Some(w.between("room", 0, 60_000))),
                1 => w.set_disk_faults(NODE, DiskFaults { write_error: 25_000, ..POWER_CUT }),
                2 => w.set_disk_faults(NODE, DiskFaults { sync_failed: 25_000, ..POWER_CUT }),
                _ => {}
            }
        });
        match world.run(cx, one_life(cx, shared.clone(), seed, life)) {
            None => cut_short += 1,
            // Only the process ends sometimes; what it wrote is still there.
            Some(()) if world.control(|w| w.between("process", 0, 3)) == 0 => {}
            Some(()) => world.control(|w| w.crash(NODE, Crash::Power)),
        }
    }
    let last = |world: &mut World| {
        world.control(|w| {
            healthy(w);
            w.crash(NODE, Crash::Power);
        });
        let (_, _, history) = world.live(open).expect("nothing is damaged");
        history
    };
    let (first, second) = (last(world), last(world));
    assert_eq!(first, second, "seed {seed}: recovery twice");
    shared.model().recovered(second, seed, 99);
    cut_short
}

/// Nothing goes wrong until power fails.
fn healthy(world: Control) {
    world.limit_disk(NODE, None);
    world.set_disk_faults(NODE, POWER_CUT);
}

async fn one_life(cx: Context, shared: Shared, seed: u64, life: u64) {
    let (mut log, _, history) = match open(cx).await {
        Ok(opened) => opened,
        // No room, or a failed write or sync: but never "damaged".
        Err(JournalError::Disk(_)) => return,
        Err(e) => panic!("seed {seed}, life {life}: {e}"),
    };
    shared.model().recovered(history, seed, life);
    for n in 0..60 {
        let len = if cx.below(8) == 0 { cx.below(9000) } else { cx.below(300) };
        let mut record = format!("{seed}/{life}/{n}/").into_bytes();
        let noise = cx.entropy();
        record.extend((0..len).map(|n| (noise >> (n % 57)) as u8));
        match cx.below(10) {
            0..6 => {
                shared.model().maybe.push(record.clone());
                let done = append(&mut log, &record).await;
                if outcome(done, 1, &mut log, &shared).await {
                    return;
                }
            }
            6..8 => {
                let two = [record.clone(), b"and another".to_vec()];
                shared.model().maybe.extend(two.clone());
                let done = log.append(&batch(two.iter().map(Vec::as_slice)), false).await;
                match done {
                    Ok(()) => {}
                    done => {
                        if outcome(done, 2, &mut log, &shared).await {
                            return;
                        }
                    }
                }
            }
            8 => match log.sync().await {
                Ok(()) => shared.model().acknowledge(),
                Err(_) => return,
            },
            _ => {
                let closing = cx.below(2) == 0;
                match log.mark(closing).await {
                    Ok(()) if !log.needs_room() => shared.model().acknowledge(),
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
    shared: &Shared,
) -> bool {
    match done {
        Ok(()) => shared.model().acknowledge(),
        Err(AppendError::Fatal(_)) => return true,
        // Of an unknown fate: no way to go on and tell it apart from its successor.
        Err(AppendError::Refused { definite: false, .. }) => return true,
        Err(AppendError::Refused { definite: true, .. }) => {
            {
                let mut model = shared.model();
                let kept = model.maybe.len() - count;
                model.maybe.truncate(kept);
            }
            match log.make_room().await {
                Err(AppendError::Fatal(_)) => return true,
                Ok(()) => assert!(!log.needs_room()),
                Err(AppendError::Refused { .. }) => assert!(log.needs_room()),
            }
        }
    }
    false
}
