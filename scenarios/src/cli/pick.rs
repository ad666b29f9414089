//! Which run a task is about, and running it with its events recorded.

use std::sync::Arc;

use orloj_sim::{Detail, Fork, Scheduler, Stop};

use super::{
    args::RunArgs,
    machine,
    program::{self, Program},
    shrink::{breaks, schedules},
};
use crate::{Case, Outcome, Record, Run, Setup};

/// The flags that name one run.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Pick {
    /// The seed. Default: of a case the first schedule that breaks its law, else a fresh one.
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Activate one planted defect.
    #[arg(long, value_name = "NAME")]
    pub(super) mutant: Option<String>,
    /// The same workload with nothing going wrong.
    #[arg(long)]
    pub(super) no_faults: bool,
    /// How the next task is chosen: fifo, random, pct, pct:DEPTH, pos. Default: random.
    #[arg(long, value_name = "X", default_value_t, hide_default_value = true)]
    pub(super) scheduler: Scheduler,
}

/// One run that can be made again and again.
#[derive(Clone, Debug)]
pub(super) struct Picked {
    pub(super) program: Program,
    /// The scenario as it was named.
    pub(super) scenario: String,
    pub(super) seed: u64,
    pub(super) faults: bool,
    pub(super) scheduler: Scheduler,
    pub(super) mutant: Option<&'static str>,
    pub(super) fork: Option<Fork>,
}

impl Pick {
    /// The run that these flags and those before the task name.
    pub(super) fn find(&self, args: &RunArgs) -> Result<Picked, String> {
        let program = Program::find(args)?;
        let case = match &program {
            Program::Case(case, _) => Some(case.clone()),
            Program::Scenario(_) | Program::Leaks => None,
        };
        let mutant = self.mutant.as_deref().or(args.mutant.as_deref());
        let mutant = mutant.or(case.as_deref().and_then(|case| case.mutant.as_deref()));
        let known = program::mutant(mutant)?;
        let fails = |case: &Arc<Case>| {
            schedules(case).find(|seed| breaks(&program, &case.law, (known, None), *seed))
        };
        let given = self.seed.or(args.seed).or_else(|| case.as_ref().and_then(fails));
        let seed = given.unwrap_or_else(|| {
            let seed = machine::fresh_seed();
            machine::say(&format!("seed {seed}"));
            seed
        });
        let given = self.scheduler != Scheduler::default();
        Ok(Picked {
            scenario: args.scenario.clone().unwrap_or_else(|| program.title().to_owned()),
            program,
            seed,
            faults: !(self.no_faults || args.no_faults),
            scheduler: if given { self.scheduler } else { args.scheduler },
            mutant: known,
            fork: None,
        })
    }
}

impl Picked {
    /// The run that `[SCENARIO:]SEED[+MUTANT]` names.
    pub(super) fn parse(text: &str, args: &RunArgs) -> Result<Picked, String> {
        let (rest, mutant) = match text.split_once('+') {
            Some((rest, mutant)) => (rest, Some(mutant)),
            None => (text, None),
        };
        let (scenario, seed) = match rest.rsplit_once(':') {
            Some((scenario, seed)) => (Some(scenario.to_owned()), seed),
            None => (args.scenario.clone(), rest),
        };
        let seed = seed.parse().map_err(|_| {
            format!("\"{text}\" names no run; write [SCENARIO:]SEED[+MUTANT], such as default:7")
        })?;
        let pick = Pick { seed: Some(seed), mutant: mutant.map(str::to_owned), ..Pick::default() };
        pick.find(&RunArgs { scenario, ..args.clone() })
    }

    /// The words behind `cargo xtask sim` that name this run.
    pub(super) fn flags(&self) -> String {
        let mut flags = format!("--scenario {} --seed {}", self.scenario, self.seed);
        if let Some(mutant) = self.mutant {
            flags += &format!(" --mutant {mutant}");
        }
        if !self.faults {
            flags += " --no-faults";
        }
        if self.scheduler != Scheduler::default() {
            flags += &format!(" --scheduler {}", self.scheduler);
        }
        flags
    }

    pub(super) fn setup(&self, detail: Detail) -> Setup {
        Setup {
            faults: self.faults,
            scheduler: self.scheduler,
            mutant: self.mutant,
            forks: self.fork.into_iter().collect(),
            detail,
            ..Setup::seed(self.seed)
        }
    }

    /// Runs it for its verdict alone.
    pub(super) fn judged(&self) -> Run {
        self.program.run(self.setup(Detail::Hash))
    }

    /// Runs it with its events recorded.
    pub(super) fn recorded(&self) -> Result<Run, String> {
        checked(self.program.run(self.setup(Detail::Graph)))
    }

    /// Runs it as far as `stop`, and looks at it there.
    pub(super) fn stopped(&self, stop: Stop) -> Result<Run, String> {
        checked(self.program.run(Setup { stop: Some(stop), ..self.setup(Detail::Graph) }))
    }
}

/// A run that began.
pub(super) fn checked(run: Run) -> Result<Run, String> {
    match &run.outcome {
        Outcome::DidNotStart(why) => Err(why.clone()),
        _ => Ok(run),
    }
}

/// What was recorded of a run.
pub(super) fn record(run: &Run) -> Result<&Record, String> {
    run.record.as_deref().ok_or_else(|| "of this run nothing is recorded".to_owned())
}

/// The law that a run broke.
pub(super) fn law(run: &Run) -> Option<&str> {
    match &run.outcome {
        Outcome::Broken(breach) => Some(&breach.law),
        _ => None,
    }
}

/// Simulated nanoseconds: `1.5s`, `300ms`, `12us`, `250ns`.
pub(super) fn instant(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a simulated time such as 1.25s, 300ms, 12us");
    let units = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    let unit = units.iter().find_map(|(unit, ns)| Some((text.strip_suffix(unit)?, ns)));
    let (number, ns) = unit.ok_or_else(wrong)?;
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    if !(0.0..=1e9).contains(&number) {
        return Err(wrong());
    }
    Ok((number * ns).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(instant("1.25s"), Ok(1_250_000_000));
        assert_eq!(instant("300ms"), Ok(300_000_000));
        assert_eq!((instant("12us"), instant("7ns")), (Ok(12_000), Ok(7)));
        for wrong in ["", "7", "s", "-1s", "1h", "NaNs"] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }
}
