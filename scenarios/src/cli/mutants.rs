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
    places::places,
    program::Program,
    scoreboard, shrink,
};
use crate::{Outcome, Setup, leaks, mutants};

/// Leaks that differ between builds and not between processes.
const BETWEEN_BUILDS: &[&str] = &["leak.float_printing"];

/// What became of one defect.
pub(super) struct Fate {
    pub(super) name: &'static str,
    pub(super) killed_by: Option<String>,
    pub(super) scenario: String,
    /// The seed that noticed it.
    pub(super) seed: u64,
    pub(super) seeds: u64,
    pub(super) cpu: Duration,
    /// What is left of that seed; or why it is not smaller.
    pub(super) small: Option<Result<Small, String>>,
}

/// The size of a case.
pub(super) struct Small {
    pub(super) ops: usize,
    pub(super) faults: usize,
    pub(super) hosts: usize,
    pub(super) took: Duration,
    /// Schedules under which it fails, of how many.
    pub(super) failures: (usize, usize),
}

impl Fate {
    fn new(name: &'static str, scenario: String) -> Fate {
        let cpu = Duration::ZERO;
        Fate { name, killed_by: None, scenario, seed: 0, seeds: 0, cpu, small: None }
    }
}

/// Runs the task.
pub(super) fn run(args: &RunArgs, task: &MutantsArgs) -> Result<u8, String> {
    let wanted = |name: &&str| task.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let mut names: Vec<&'static str> = mutants().into_iter().filter(wanted).collect();
    if let Some(count) = task.sample {
        names = sample(&names, count, task.from);
    }
    if names.is_empty() {
        let only = task.only.as_deref().unwrap_or_default();
        return Err(format!("no defect is called \"{only}\"; there are {}", mutants().join(", ")));
    }
    if !args.json {
        say(
            "mutant                           killed    seeds    cpu_s  ops faults hosts  in_s  by",
        );
    }
    let (mut survivors, mut fates) = (0, Vec::new());
    for name in names {
        let before = machine::processor_time().unwrap_or_default();
        let mut fate = match name.starts_with("leak.") {
            true => leak(name, task)?,
            false => defect(name, args, task)?,
        };
        fate.cpu = machine::processor_time().unwrap_or_default().saturating_sub(before);
        survivors += u64::from(fate.killed_by.is_none());
        if fate.killed_by.is_some() && !args.no_shrink && !name.starts_with("leak.") {
            fate.small = Some(small(&fate, args, task));
        }
        tell(args, &fate);
        fates.push(fate);
    }
    if let Some(path) = &task.scoreboard {
        machine::write(path, &scoreboard::page(&fates))?;
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

/// So many defects that are no leaks, from a number on, round and round.
fn sample(names: &[&'static str], count: usize, from: u64) -> Vec<&'static str> {
    let defects = || names.iter().copied().filter(|name| !name.starts_with("leak."));
    let all = defects().count();
    let skipped = usize::try_from(from % all.max(1) as u64).unwrap_or_default();
    defects().cycle().skip(skipped).take(count.min(all)).collect()
}

fn tell(args: &RunArgs, fate: &Fate) {
    let cpu = fate.cpu.as_secs_f64();
    if args.json {
        let small = fate.small.as_ref().and_then(|small| small.as_ref().ok());
        let row = json!({
            "mutant": fate.name,
            "killed": fate.killed_by.is_some(),
            "seeds": fate.seeds,
            "cpu_s": (cpu * 100.0).round() / 100.0,
            "law": fate.killed_by,
            "scenario": fate.scenario,
            "seed": fate.seed,
            "shrunk_ops": small.map(|small| small.ops),
            "shrunk_faults": small.map(|small| small.faults),
            "shrunk_hosts": small.map(|small| small.hosts),
            "shrink_s": small.map(|small| (small.took.as_secs_f64() * 10.0).round() / 10.0),
            "shrunk_bites": small.map(|small| small.failures.0),
        });
        return say(&row.to_string());
    }
    let (killed, by) = match &fate.killed_by {
        Some(by) => ("yes", format!("{by} in {}", fate.scenario)),
        None => ("NO", format!("survived {}", fate.scenario)),
    };
    let (small, why) = match &fate.small {
        None => (format!("{:>3} {:>6} {:>5} {:>5}", "", "", "", ""), String::new()),
        Some(Err(why)) => {
            (format!("{:>3} {:>6} {:>5} {:>5}", "-", "-", "-", "-"), format!("; {why}"))
        }
        Some(Ok(s)) => {
            let took = s.took.as_secs_f64();
            (format!("{:>3} {:>6} {:>5} {took:>5.1}", s.ops, s.faults, s.hosts), String::new())
        }
    };
    let (name, seeds) = (fate.name, fate.seeds);
    say(&format!("{name:<32} {killed:<6} {seeds:>8} {cpu:>8.2}  {small}  {by}{why}"));
}

/// What noticed a defect, made small.
fn small(fate: &Fate, args: &RunArgs, task: &MutantsArgs) -> Result<Small, String> {
    let order = shrink::Order {
        title: fate.name.to_owned(),
        setup: Setup { mutant: Some(fate.name), ..Setup::seed(fate.seed) },
        budget: task.shrink_budget,
        jobs: args.jobs.unwrap_or_else(machine::cores),
        shows_progress: !args.json,
    };
    let shrunk = shrink::shrunk(&Program::named(&fate.scenario)?, order)?;
    let shrunk = shrunk.ok_or("the seed holds when it is run again")?;
    Ok(Small {
        ops: shrunk.case.ops(),
        faults: shrunk.case.faults(),
        hosts: shrunk.case.hosts(),
        took: shrunk.took,
        failures: (shrunk.failures, shrunk.schedules),
    })
}

/// Runs seeds of each place in turn until one is broken.
fn defect(name: &'static str, args: &RunArgs, task: &MutantsArgs) -> Result<Fate, String> {
    let places = places(name);
    let programs: Result<Vec<Program>, String> =
        places.iter().map(|place| Program::named(place)).collect();
    let programs = programs?;
    let scenario = places.join(", ");
    let mut fate = Fate::new(name, scenario);
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
            let seed = setup.seed;
            Some((program.title(), seed, program.run(setup).outcome))
        },
        |run| {
            let Some((title, seed, outcome)) = run else { return false };
            fate.seeds += 1;
            match outcome {
                Outcome::Held => {}
                Outcome::Broken(breach) => {
                    over.store(true, Ordering::Relaxed);
                    if fate.killed_by.is_none() {
                        (fate.killed_by, fate.scenario) = (Some(breach.law), title.to_owned());
                        fate.seed = seed;
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
    let mut fate = Fate::new(name, scenario);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_goes_round_and_leaves_leaks_out() {
        let names = ["a", "b", "leak.x", "c"];
        assert_eq!(sample(&names, 2, 0), ["a", "b"]);
        assert_eq!(sample(&names, 2, 2), ["c", "a"]);
        assert_eq!(sample(&names, 9, 7), ["b", "c", "a"], "no defect comes twice");
        assert!(sample(&["leak.x"], 2, 5).is_empty());
    }
}
