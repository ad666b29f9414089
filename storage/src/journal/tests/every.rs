//! Goal: of a small program nothing is left to chance: whenever power fails, and whatever of what
//! was not synced is then on the disk, what was acknowledged is recovered and nothing else appears.
//! Method: every crash point, times every way in which the choices of the power cut can fall. The
//! crash points of a program are those of its beginnings and those within its last operation, so
//! programs are walked as a tree.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use orloj_sim::{
    Config, Crash, Scheduler, Simulation, disk::DiskFaults, explore::Ways, fault::FaultClass,
};

use super::{History, NODE, World, batch, open};

/// Every sector, length and name is lost or kept, in order or in none.
const LOSES: DiskFaults = DiskFaults { torn: 0, garbage: 0, ..DiskFaults::HONEST };
/// A sector may also be torn, or noise.
const TEARS: DiskFaults = DiskFaults::HONEST;

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

async fn program(mut log: super::Log, ops: Vec<Op>, told: Told) {
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
fn run(
    ways: &Ways,
    cut: &DiskFaults,
    ops: &[Op],
    polls: u64,
    told: &Told,
) -> (Simulation, Option<History>) {
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
        w.set_disk_faults(NODE, *cut);
        w.kill_after_polls(NODE, polls, Crash::Power);
    });
    let cx = world.control(|w| w.context(NODE));
    let is_over = world.run(cx, program(log, ops.to_vec(), told.clone())).is_some();
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
    let mut all = Walk::of(LOSES, &[Op::Small, Op::Large, Op::Sync]);
    let depth = if cfg!(debug_assertions) { 2 } else { 3 };
    all.walk(depth);
    all.was_hard(depth + 1);
}

#[test]
fn every_crash_point_of_programs_of_eight_operations() {
    let depth = if cfg!(debug_assertions) { 5 } else { 8 };
    let mut all = Walk::of(LOSES, &[Op::Small, Op::Sync]);
    all.walk(depth);
    all.was_hard(depth + 1);
}

#[test]
fn every_crash_point_and_every_torn_sector() {
    let depth = if cfg!(debug_assertions) { 3 } else { 4 };
    let mut all = Walk::of(TEARS, &[Op::Small, Op::Sync]);
    all.walk(depth);
    all.was_hard(depth + 1);
    assert!(all.torn > 100 && all.garbage > 100, "{all:?}");
}

/// All programs of some operations up to a length.
#[derive(Debug)]
struct Walk {
    cut: DiskFaults,
    alphabet: &'static [Op],
    ops: Vec<Op>,
    points: u64,
    runs: u64,
    /// Sectors that a cut took, that it tore, and that it filled with noise.
    lost: u64,
    torn: u64,
    garbage: u64,
    /// How many records were found.
    left: BTreeSet<usize>,
}

impl Walk {
    fn of(cut: DiskFaults, alphabet: &'static [Op]) -> Walk {
        let (ops, left) = (Vec::new(), BTreeSet::new());
        Walk { cut, alphabet, ops, points: 0, runs: 0, lost: 0, torn: 0, garbage: 0, left }
    }

    fn walk(&mut self, depth: usize) {
        self.longer(1, depth);
    }

    /// Goes on with each operation behind those that have ended by the poll before `first`.
    fn longer(&mut self, first: u64, depth: usize) {
        for op in self.alphabet {
            self.ops.push(*op);
            let end = self.every_cut(first);
            if self.ops.len() < depth {
                self.longer(end, depth);
            }
            self.ops.pop();
        }
    }

    /// Every crash point from a poll on; that at which the program has ended.
    fn every_cut(&mut self, first: u64) -> u64 {
        let ops = self.ops.clone();
        for polls in first.. {
            // Where a sector is torn, and what noise is, has too many ways.
            let mut ways = Ways::of(|choice| {
                choice.site.starts_with("disk.cut.")
                    && !["disk.cut.torn.at", "disk.cut.garbage.seed"].contains(&choice.site)
            });
            loop {
                let told = Told::default();
                let (sim, recovered) = run(&ways, &self.cut, &ops, polls, &told);
                let report = sim.finish();
                let Some(recovered) = recovered else { return polls };
                self.runs += 1;
                self.lost += report.faults.injected(FaultClass::DiskLostWrite);
                self.torn += report.faults.injected(FaultClass::DiskTorn);
                self.garbage += report.faults.injected(FaultClass::DiskGarbage);
                self.left.insert(recovered.len());
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
            self.points += 1;
        }
        unreachable!("a program ends")
    }

    /// Green without a loss would prove nothing.
    fn was_hard(&self, left: usize) {
        let is_so = self.points > 10 && self.runs > 500 && self.lost > 200;
        assert!(is_so && self.left.len() == left, "{self:?}");
        println!("{} points, {} runs, {} sectors lost", self.points, self.runs, self.lost);
    }
}
