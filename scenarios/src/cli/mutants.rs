//! `mutants`: a gate on the power of the tester.
//!
//! Each planted defect is activated alone. The seeds of the scenarios in which it should show are
//! run until a law, a property, a trap or the comparison of two processes notices it. One that
//! survives its budget fails the gate.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::json;

use super::{
    BROKEN, HELD,
    args::{MutantsArgs, RunArgs},
    determinism::{Pair, Verdict},
    machine::{self, say},
    program::Program,
};
use crate::{Outcome, Setup, leaks, mutants};

/// Scenarios in which a defect should show, where the default is not the best place to look.
const WHERE: &[(&str, &[&str])] = &[
    ("cache.dropped_trees_stay", &["engine-crowded"]),
    ("checkpoint.flip_before_sync", &["engine-power-loss"]),
    ("checkpoint.prune_above_floor", &["engine-crowded", "engine-power-loss"]),
    ("history.sequence_gap", &["commands"]),
    ("journal.ack_before_sync", &["crash-anywhere", "default"]),
    ("journal.lost_dir_sync", &["torn-and-lost-writes", "crash-anywhere"]),
    ("journal.lost_wakeup", &["pipelining", "default"]),
    ("lanes.effect_without_ok", &["commands"]),
    ("lanes.overtakes", &["commands", "commands-cycles"]),
    ("lanes.skips_dependency", &["commands", "commands-cycles"]),
    ("lanes.version_gap", &["commands"]),
    ("load.record_before_sync", &["engine-power-loss"]),
    ("locks.turn_is_held", &["engine-crowded"]),
    ("outcomes.answer_before_sync", &["commands-crash", "commands"]),
    ("outcomes.forgets_id", &["commands"]),
    ("outcomes.keys_for_ever", &["commands", "commands-clocks"]),
    ("outcomes.second_outcome", &["commands"]),
    ("pager.sum_is_not_looked_at", &["engine-misread", "engine-damage"]),
    ("recovery.reruns_started", &["commands-crash", "commands-cycles"]),
    ("recovery.skip_bad_record", &["bit-rot-middle", "torn-and-lost-writes"]),
    ("sequencer.dropped_reply", &["pipelining", "default"]),
    ("sequencer.unsynced_read", &["torn-and-lost-writes", "crash-anywhere"]),
    ("session.reorder_replies", &["pipelining", "default"]),
    ("session.unbounded_output", &["slow-clients", "default"]),
    ("state.hidden_wall_clock", &["skewed-clocks", "default"]),
    ("txn.reads_are_not_checked", &["engine-crowded"]),
    ("vlog.removed_too_early", &["engine-power-loss", "engine"]),
    ("writer.ack_before_sync", &["engine-power-loss"]),
    ("writer.kept_is_trimmed", &["engine-crowded"]),
];

/// The scenarios in which this defect should show.
pub(super) fn places(name: &str) -> &'static [&'static str] {
    let known = WHERE.iter().find(|(known, _)| *known == name);
    known.map_or(&["default"], |(_, places)| places)
}

/// Leaks that differ between builds and not between processes.
const BETWEEN_BUILDS: &[&str] = &["leak.float_printing"];

/// What became of one defect.
struct Fate {
    name: &'static str,
    killed_by: Option<String>,
    scenario: String,
    seeds: u64,
    cpu: Duration,
}

/// Runs the task.
pub(super) fn run(args: &RunArgs, task: &MutantsArgs) -> Result<u8, String> {
    let wanted = |name: &&str| task.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let names: Vec<&'static str> = mutants().into_iter().filter(wanted).collect();
    if names.is_empty() {
        let only = task.only.as_deref().unwrap_or_default();
        return Err(format!("no defect is called \"{only}\"; there are {}", mutants().join(", ")));
    }
    if !args.json {
        say("mutant                           killed    seeds    cpu_s  by");
    }
    let mut survivors = 0;
    for name in names {
        let before = machine::processor_time().unwrap_or_default();
        let mut fate = match name.starts_with("leak.") {
            true => leak(name, task)?,
            false => defect(name, args, task)?,
        };
        fate.cpu = machine::processor_time().unwrap_or_default().saturating_sub(before);
        survivors += u64::from(fate.killed_by.is_none());
        tell(args, &fate);
    }
    if !args.json {
        let verdict = if survivors == 0 {
            "none survived".to_owned()
        } else {
            format!("{survivors} SURVIVED")
        };
        say(&verdict);
    }
    Ok(if survivors == 0 { HELD } else { BROKEN })
}

fn tell(args: &RunArgs, fate: &Fate) {
    let cpu = fate.cpu.as_secs_f64();
    if args.json {
        let row = json!({
            "mutant": fate.name,
            "killed": fate.killed_by.is_some(),
            "seeds": fate.seeds,
            "cpu_s": (cpu * 100.0).round() / 100.0,
            "law": fate.killed_by,
            "scenario": fate.scenario,
        });
        return say(&row.to_string());
    }
    let (killed, by) = match &fate.killed_by {
        Some(by) => ("yes", format!("{by} in {}", fate.scenario)),
        None => ("NO", format!("survived {}", fate.scenario)),
    };
    say(&format!("{:<32} {killed:<6} {:>8} {cpu:>8.2}  {by}", fate.name, fate.seeds));
}

/// Runs seeds of each place in turn until one is broken.
fn defect(name: &'static str, args: &RunArgs, task: &MutantsArgs) -> Result<Fate, String> {
    let places = places(name);
    let programs: Result<Vec<Program>, String> =
        places.iter().map(|place| Program::named(place)).collect();
    let programs = programs?;
    let scenario = places.join(", ");
    let mut fate = Fate { name, killed_by: None, scenario, seeds: 0, cpu: Duration::ZERO };
    let mut failed = None;
    let over = AtomicBool::new(false);
    machine::side_by_side(
        args.jobs.unwrap_or_else(machine::cores),
        0..task.seeds_max,
        |number| {
            if over.load(Ordering::Relaxed) {
                return None;
            }
            let places = programs.len() as u64;
            let program = &programs[(number % places) as usize];
            let setup = Setup { mutant: Some(name), ..Setup::seed(number / places) };
            Some((program.title(), program.run(setup).outcome))
        },
        |run| {
            let Some((title, outcome)) = run else { return false };
            fate.seeds += 1;
            match outcome {
                Outcome::Held => {}
                Outcome::Broken(breach) => {
                    over.store(true, Ordering::Relaxed);
                    if fate.killed_by.is_none() {
                        (fate.killed_by, fate.scenario) = (Some(breach.law), title.to_owned());
                    }
                }
                Outcome::DidNotStart(why) => failed = Some(why),
            }
            fate.killed_by.is_none() && failed.is_none()
        },
    );
    match failed {
        Some(why) => Err(why),
        None => Ok(fate),
    }
}

/// Runs seeds of the leaks in two processes until they differ or the world traps one.
fn leak(name: &'static str, task: &MutantsArgs) -> Result<Fate, String> {
    /// A leak that shows at all shows soon.
    const SEEDS: u64 = 8;
    let between_builds = BETWEEN_BUILDS.contains(&name);
    let other = task.other_binary.as_deref().filter(|_| between_builds);
    let pair = Pair::new(leaks::NAME, Some(name), other)?;
    let scenario = leaks::NAME.to_owned();
    let mut fate = Fate { name, killed_by: None, scenario, seeds: 0, cpu: Duration::ZERO };
    for seed in 0..SEEDS {
        fate.seeds += 1;
        fate.killed_by = match pair.check(seed)? {
            Verdict::Same => continue,
            Verdict::Trapped(_) => Some("trap".to_owned()),
            Verdict::Differs(_) if other.is_some() => Some("two builds differ".to_owned()),
            Verdict::Differs(_) => Some("two processes differ".to_owned()),
        };
        break;
    }
    if fate.killed_by.is_none() && between_builds && other.is_none() {
        fate.scenario += "; it shows between two builds, see --other-binary";
    }
    Ok(fate)
}
