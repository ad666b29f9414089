//! Goal: of a small program nothing is left to chance: whenever power fails, and whatever of what
//! was not synced is then on the disk, what was acknowledged is recovered and nothing else appears.
//! Method: every crash point, times every way in which the choices of the power cut can fall.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use orloj_sim::{
    Config, Crash, Scheduler, Simulation, disk::DiskFaults, explore::Ways, fault::FaultClass,
};

use super::{History, NODE, World, batch, open};

/// Every sector, length and name is lost or kept, in order or in none.
const CUT: DiskFaults = DiskFaults { torn: 0, garbage: 0, ..DiskFaults::HONEST };

/// What the program had asked for when power failed, and how much of it was acknowledged.
type Told = Arc<Mutex<(History, usize)>>;

/// What a program does: each is one write, or one sync of all before it.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// A record within a sector.
    Small,
    /// One over several.
    Large,
    Sync,
}

async fn program(mut log: super::Log, ops: [Op; 3], told: Told) {
    let told = || told.lock().expect("nobody panics");
    for (number, op) in (1..).zip(ops) {
        let len = match op {
            Op::Sync => {
                log.sync().await.expect("power is the only fault");
                let mut told = told();
                told.1 = told.0.len();
                continue;
            }
            Op::Small => 5,
            Op::Large => 1_500,
        };
        let record = vec![number; len];
        told().0.push(record.clone());
        let done = log.append(&batch([&record[..]]), false).await;
        done.expect("power is the only fault");
    }
}

/// One run: the journal is opened, power fails after so many polls of the program, and the journal
/// is opened again, twice. What was recovered, unless the program ended before.
fn run(ways: &Ways, ops: [Op; 3], polls: u64, told: &Told) -> (Simulation, Option<History>) {
    let mut sim = Simulation::new(Config {
        source: Ways::source(),
        script: ways.script(),
        record: true,
        scheduler: Scheduler::Fifo,
        ..Config::seed(0)
    });
    sim.idle_host(NODE);
    let mut world = World(sim);
    let (log, _, _) = world.live(open).expect("the disk is well");
    world.control(|w| {
        w.set_disk_faults(NODE, CUT);
        w.kill_after_polls(NODE, polls, Crash::Power);
    });
    let cx = world.control(|w| w.context(NODE));
    let is_over = world.run(cx, program(log, ops, told.clone())).is_some();
    if is_over {
        return (world.0, None);
    }
    let (_, _, first) = world.live(open).expect("a cut is no damage");
    let (_, _, second) = world.live(open).expect("a cut is no damage");
    assert_eq!(first, second, "recovery twice");
    (world.0, Some(first))
}

#[test]
fn every_crash_point_and_every_subset_of_what_was_not_synced() {
    const OPS: [Op; 3] = [Op::Small, Op::Large, Op::Sync];
    let all = (0..27).map(|n| [OPS[n / 9], OPS[n / 3 % 3], OPS[n % 3]]);
    let step = if cfg!(debug_assertions) { 4 } else { 1 };
    let mut sum = Sum::default();
    all.step_by(step).for_each(|ops| every_cut(ops, &mut sum));
    // Green without a loss would prove nothing.
    assert!(
        sum.points > 20 && sum.runs > 1_000 && sum.lost > 1_000 && sum.left.len() == 4,
        "{sum:?}"
    );
}

#[derive(Debug, Default)]
struct Sum {
    points: u64,
    runs: u64,
    /// Sectors that a cut took.
    lost: u64,
    /// How many records were found.
    left: BTreeSet<usize>,
}

fn every_cut(ops: [Op; 3], sum: &mut Sum) {
    for polls in 1.. {
        let mut ways = Ways::of(|choice| choice.site.starts_with("disk.cut."));
        loop {
            let told = Told::default();
            let (sim, recovered) = run(&ways, ops, polls, &told);
            let report = sim.finish();
            let Some(recovered) = recovered else { return };
            sum.runs += 1;
            sum.lost += report.faults.injected(FaultClass::DiskLostWrite);
            sum.left.insert(recovered.len());
            let told = told.lock().expect("nobody panics");
            let (asked, acknowledged) = &*told;
            let lens = |all: &History| all.iter().map(Vec::len).collect::<Vec<_>>();
            let (is, was) = (lens(&recovered), lens(asked));
            assert!(asked.starts_with(&recovered), "{ops:?}: {is:?} of {was:?}");
            assert!(recovered.len() >= *acknowledged, "{ops:?}: {is:?}, due {acknowledged}");
            if !ways.go_on(report.recorded.as_deref().expect("it was asked for")) {
                break;
            }
        }
        sum.points += 1;
    }
}
