//! `replay`: a case, run again with its defect put back.

use super::{
    BROKEN, HELD,
    args::{ReplayArgs, RunArgs},
    campaign,
    machine::{self, say},
    program::{self, Program},
    report,
    shrink::{breaks, schedules},
};
use crate::Case;

/// Runs the task.
pub(super) fn run(args: &RunArgs, task: &ReplayArgs) -> Result<u8, String> {
    let name = task.file.to_string_lossy().into_owned();
    let Program::Case(case, _) = Program::named(&name)? else {
        return Err(format!("{name} is a scenario, not a case; run it with --scenario {name}"));
    };
    let case = Case::clone(&case);
    let mutant = case.mutant.clone().filter(|_| !task.without_defect);
    let known = program::mutant(mutant.as_deref())?;
    let program = Program::case(case.clone())?;
    let seeds: Vec<u64> = match args.seed {
        Some(seed) => vec![seed],
        None => schedules(&case).collect(),
    };
    let fails = |seed: &u64| breaks(&program, &case.law, (known, None), *seed);
    let failing: Vec<u64> = seeds.iter().copied().filter(fails).collect();
    let Some(seed) = failing.first() else {
        say(&format!("{}: holds under {} schedules", case.title, seeds.len()));
        return Ok(HELD);
    };
    if !args.json {
        say(&report::story(&case));
        say(&format!("  {} of {} schedules break {}\n", failing.len(), seeds.len(), case.law));
    }
    let args = RunArgs {
        seed: Some(*seed),
        scenario: Some(name),
        mutant,
        no_shrink: true,
        jobs: Some(args.jobs.unwrap_or_else(machine::cores)),
        ..args.clone()
    };
    campaign::run(&args).map(|_| BROKEN)
}
