//! Many seeds side by side, and the sum of what they met.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use orloj_sim::Detail;

use super::{
    BROKEN, HELD,
    args::RunArgs,
    machine::{self, Stopwatch, say},
    program::{self, Program},
    report, shrink,
};
use crate::{Outcome, Run, Setup, Tally, campaign::kind};

/// Failures that are told in full; of the others the seed and the law are named.
const TOLD: usize = 3;

/// A seed and how long it took.
pub(super) struct Timed {
    pub(super) run: Run,
    pub(super) took: Duration,
}

/// Runs the seeds that the flags name.
pub(super) fn run(args: &RunArgs) -> Result<u8, String> {
    let program = Program::find(args)?;
    let mutant = program::mutant(args.mutant.as_deref())?;
    let seeds = match (&args.seeds, args.seed) {
        (Some(seeds), _) => seeds.clone(),
        (None, Some(seed)) => seed..seed + 1,
        (None, None) => {
            let seed = machine::fresh_seed();
            if !args.json {
                say(&format!("seed {seed}"));
            }
            seed..seed + 1
        }
    };
    if args.trace.is_some() && seeds.end - seeds.start > 1 {
        return Err("--trace writes the story of one run; give it one --seed".to_owned());
    }
    if let Some(seed) = args.warm_up {
        program.run(Setup { mutant, ..Setup::seed(seed) });
    }
    let setup = |seed| {
        let detail = match (&args.trace, args.events, args.told) {
            (Some(_), true, _) => Detail::Events,
            (Some(_), false, _) => Detail::Story,
            (None, _, true) => Detail::Graph,
            (None, _, false) => Detail::Hash,
        };
        let sink = args.trace.as_deref().map(machine::create).transpose()?;
        let (faults, scheduler) = (!args.no_faults, args.scheduler_of(seed));
        let forks = args.branch.clone();
        let setup = Setup { faults, forks, scheduler, detail, sink, mutant, ..Setup::seed(seed) };
        Ok::<Setup, String>(setup)
    };
    let watch = Stopwatch::start();
    let bar = progress(seeds.end - seeds.start);
    let mut sum = Sum::default();
    machine::side_by_side(
        args.jobs.unwrap_or_else(machine::cores),
        seeds.clone(),
        |seed| {
            let watch = Stopwatch::start();
            let run = match setup(seed) {
                Ok(setup) => program.run(setup),
                Err(why) => Run::did_not_start(seed, why),
            };
            let run = told(&program, args, mutant, run);
            Timed { run, took: watch.elapsed() }
        },
        |timed| {
            bar.inc(1);
            if args.json {
                bar.suspend(|| say(&report::json(program.title(), &timed)));
            }
            sum.add(timed.run);
            if !sum.broken.is_empty() {
                bar.set_message(format!("{} broken", sum.broken.len()));
            }
            args.time_budget.is_none_or(|budget| watch.elapsed() < budget)
        },
    );
    bar.finish_and_clear();
    sum.broken.sort_by_key(|run| run.seed);
    if !args.json {
        for run in sum.broken.iter().take(TOLD) {
            report::broken(&program, args, run);
        }
        if let ([run], false, Program::Scenario(_)) = (&*sum.broken, args.no_shrink, &program)
            && seeds.end - seeds.start == 1
        {
            small(&program, args, mutant, run.seed);
        }
        for run in sum.broken.iter().skip(TOLD) {
            if let Outcome::Broken(breach) = &run.outcome {
                say(&format!("BROKEN  {:<40} seed {}", breach.law, run.seed));
            }
        }
        report::summary(program.title(), &sum, watch.elapsed());
    }
    if let Some(why) = &sum.did_not_start {
        return Err(why.clone());
    }
    Ok(if sum.broken.is_empty() { HELD } else { BROKEN })
}

/// How long the failure of a single seed is made smaller before its story is told.
const SHRINKING: Duration = Duration::from_secs(20);

/// Tells what is left of a failing seed when all is taken away that can be.
fn small(program: &Program, args: &RunArgs, mutant: Option<&'static str>, seed: u64) {
    let (faults, scheduler) = (!args.no_faults, args.scheduler);
    let order = shrink::Order {
        title: format!("{}-{seed}", program.title()),
        setup: Setup { faults, scheduler, mutant, ..Setup::seed(seed) },
        budget: SHRINKING,
        jobs: args.jobs.unwrap_or_else(machine::cores),
        shows_progress: true,
    };
    match shrink::shrunk(program, order) {
        Ok(Some(shrunk)) => report::shrunk(&shrunk),
        Ok(None) => {}
        Err(why) => say(&format!("  {why}\n")),
    }
}

/// A failure that was not told is run again, told. It is the same run, or determinism is broken
/// too.
fn told(program: &Program, args: &RunArgs, mutant: Option<&'static str>, run: Run) -> Run {
    let Outcome::Broken(breach) = &run.outcome else { return run };
    if args.json || !breach.story.is_empty() {
        return run;
    }
    let (faults, scheduler) = (!args.no_faults, args.scheduler_of(run.seed));
    let detail = Detail::Graph;
    let forks = args.branch.clone();
    let again = Setup { faults, scheduler, forks, detail, mutant, ..Setup::seed(run.seed) };
    let mut again = program.run(again);
    if again.trace_hash == run.trace_hash {
        return Run { record: None, ..again };
    }
    let mut first = run;
    if let (Outcome::Broken(first), Outcome::Broken(second)) =
        (&mut first.outcome, &mut again.outcome)
    {
        first.story = std::mem::take(&mut second.story);
        first.evidence += ". Told again, the run was another: this seed is not deterministic";
    }
    first
}

fn progress(seeds: u64) -> ProgressBar {
    if seeds < 2 {
        return ProgressBar::hidden();
    }
    // Indicatif hides the bar by itself when standard error is not a terminal.
    let bar = ProgressBar::with_draw_target(Some(seeds), ProgressDrawTarget::stderr_with_hz(5));
    let style = "{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left  {msg}";
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// How often one thing happened, and in how many seeds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Often {
    pub(super) times: u64,
    pub(super) seeds: u64,
}

/// The sum of many runs.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) held: u64,
    pub(super) broken: Vec<Run>,
    pub(super) did_not_start: Option<String>,
    pub(super) events: u64,
    pub(super) virtual_ns: u128,
    pub(super) tally: Tally,
    /// By class of fault.
    pub(super) faults: BTreeMap<&'static str, Often>,
    /// By class: seeds in which it was meant to strike and did not.
    pub(super) unfired: BTreeMap<&'static str, u64>,
    /// By kind and name of place: how often its condition held.
    pub(super) met: BTreeMap<(&'static str, &'static str), Often>,
}

impl Sum {
    pub(super) fn add(&mut self, run: Run) {
        self.events += run.events;
        self.virtual_ns += u128::from(run.virtual_ns);
        self.tally.add(run.tally);
        for (class, times) in &run.faults {
            let often = self.faults.entry(class.name()).or_default();
            *often = Often { times: often.times + times, seeds: often.seeds + 1 };
        }
        for class in &run.unfired {
            *self.unfired.entry(class.name()).or_default() += 1;
        }
        for met in &run.met {
            let often = self.met.entry((kind(met.site.kind), met.site.name)).or_default();
            often.times += met.hit;
            often.seeds += u64::from(met.hit > 0);
        }
        match &run.outcome {
            Outcome::Held => self.held += 1,
            Outcome::Broken(_) => self.broken.push(run),
            Outcome::DidNotStart(why) => self.did_not_start = Some(why.clone()),
        }
    }
}
