//! Goal: power may go at every point of what openraft asks of a node's storage, and nothing that
//! was told to be safe is lost, and what is left is a beginning of all that was asked.
//! Method: lives of a program whose process loses power one poll later each time; what is found is
//! held against every state that there was. Between two polls at most one operation of a task
//! begins or ends, so polls are a finer measure than writes and syncs.

use std::collections::BTreeSet;

use orloj_kernel::{Context, SiteKind};
use orloj_sim::{Config, Crash, Simulation, disk::DiskFaults};

use super::program::{Model, Node};

const NODE: &str = "node";
/// Processes of one world: what one leaves, the next goes on with.
const LIVES: u32 = 3;

/// What a power cut does: more than most do.
const POWER_CUT: DiskFaults = DiskFaults {
    lost_write: 500_000,
    torn: 300_000,
    reorder: 500_000,
    garbage: 100_000,
    lost_name: 500_000,
    lost_rename: 500_000,
    ..DiskFaults::NONE
};

/// What came of a world.
#[derive(Debug, Default)]
struct Came {
    /// Lives that a power cut ended.
    cuts: u32,
    /// Lives that came to their end.
    whole: u32,
    /// Places of the code that were passed with what makes them rare.
    passed: BTreeSet<&'static str>,
}

/// Runs `life` in a new process; `None` if power ends it.
fn live<F>(
    sim: &mut Simulation,
    life: impl FnOnce(Context) -> F,
) -> Result<Option<F::Output>, String>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let cx = sim.control(|w| {
        w.restart(NODE);
        w.context(NODE)
    });
    match sim.run(cx, life(cx)) {
        Ok(out) => Ok(Some(out)),
        Err(_) if !sim.control(|w| w.is_up(NODE)) => Ok(None),
        Err(failure) => Err(failure.to_string()),
    }
}

/// A world in which each process but those that look loses power after so many polls.
fn world(seed: u64, polls: u64, mutant: Option<&'static str>) -> Result<Came, String> {
    let mut sim = Simulation::new(Config { mutant, ..Config::seed(seed) });
    sim.idle_host(NODE);
    sim.control(|w| {
        w.exit(NODE);
        w.set_disk_faults(NODE, POWER_CUT);
    });
    let (model, mut came) = (Model::new(), Came::default());
    for _ in 0..LIVES {
        sim.control(|w| w.kill_after_polls(NODE, polls, Crash::Power));
        let its = model.clone();
        let ended = live(&mut sim, |cx| async move { Node::open(cx).await.run(its).await })?;
        came.cuts += u32::from(ended.is_none());
        sim.control(|w| {
            w.restart(NODE);
            w.crash(NODE, Crash::Power);
        });
        let found = live(&mut sim, |cx| async move { Node::open(cx).await.find().await })?;
        model.settle(found.expect("power stays on"))?;
        sim.control(|w| w.exit(NODE));
    }
    came.whole = model.told().whole;
    let report = sim.finish();
    let places = report.coverage.places(|kind| kind == SiteKind::Sometimes);
    came.passed =
        places.into_iter().filter(|place| place.2 > 0).map(|place| place.0.name).collect();
    Ok(came)
}

/// Whether every poll is tried, and more programs, which takes some minutes.
const EVERY: bool = option_env!("ORLOJ_EVERY_WRITE").is_some();

/// Worlds in which power goes at one poll after the other, until programs come to their ends. What
/// is broken in one is given to whoever asks.
fn worlds(mutant: Option<&'static str>) -> Result<Came, String> {
    let (seeds, stride) = if EVERY { (40, 1) } else { (8, 5) };
    let mut all = Came::default();
    for seed in 0..seeds {
        for polls in (5 + seed % stride..).step_by(stride as usize) {
            let came = world(seed, polls, mutant)
                .map_err(|broken| format!("seed {seed}, power after {polls} polls: {broken}"))?;
            (all.cuts, all.whole) = (all.cuts + came.cuts, all.whole + came.whole);
            all.passed.extend(came.passed);
            if came.cuts == 0 {
                break;
            }
        }
    }
    Ok(all)
}

#[test]
fn power_may_go_at_any_point() {
    let came = worlds(None).unwrap_or_else(|broken| panic!("{broken}"));
    println!("{came:#?}");
    assert!(came.cuts > 200 && came.whole > 20, "{came:?}");
    for place in ["raft: another life finished a purge", "recovery: a torn tail was cut"] {
        assert!(came.passed.contains(place), "never: {place}");
    }
}

/// How `mutant` is told from the right code.
fn found(mutant: &'static str) -> String {
    let broken = worlds(Some(mutant));
    broken.expect_err("something tells it from the right code")
}

#[test]
fn a_vote_that_is_not_synced_is_found() {
    let broken = found("cluster.vote_not_synced");
    assert!(broken.contains("was safe"), "{broken}");
}

#[test]
fn an_append_that_is_told_before_its_sync_is_found() {
    let broken = found("cluster.append_done_before_sync");
    assert!(broken.contains("was safe"), "{broken}");
}

#[test]
fn entries_that_are_cut_off_and_stay_are_found() {
    let broken = found("cluster.truncate_forgotten");
    // What was cut off and came back is of an older term than what was done.
    assert!(broken.contains("it never was so") || broken.contains("the log ends at"), "{broken}");
}
