//! `shrink`: a failing seed, made a case and the case made small.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    BROKEN, HELD,
    args::{RunArgs, ShrinkArgs},
    machine::{self, Stopwatch, say},
    program::{self, Program},
    report,
};
use crate::{
    Outcome, Run, Setup,
    case::{Case, Ledger, Origin},
    shrink::{self, Trials},
};

/// Schedules under which a case is tried, besides that of the seed it comes from.
pub(super) const SCHEDULES: u64 = 20;
/// Schedules under which a large case is tried of which one failure is enough,
const ASKED: usize = 6;
/// and up to how many operations a case is small. Small ones run fast and race rarely.
const SMALL: usize = 40;
/// Schedules under which one is looked for that fails, when none of those does.
const SEARCHED: u64 = 1_000;

/// A case that was made small.
pub(super) struct Shrunk {
    pub(super) case: Case,
    /// Schedules under which it fails, of those it was tried under.
    pub(super) failures: usize,
    pub(super) schedules: usize,
    /// Operations and strikes before.
    pub(super) before: (usize, usize),
    pub(super) took: Duration,
    pub(super) tried: u64,
    /// Whether it holds under all of them without its defect; `None` if it has none.
    pub(super) holds_without: Option<bool>,
}

/// What is to be shrunk, and for how long.
pub(super) struct Order {
    pub(super) title: String,
    /// The seed with its scheduler, faults and defect.
    pub(super) setup: Setup,
    pub(super) budget: Duration,
    pub(super) jobs: u64,
    pub(super) shows_progress: bool,
}

/// Runs the task.
pub(super) fn run(args: &RunArgs, task: &ShrinkArgs) -> Result<u8, String> {
    let program = Program::find(args)?;
    let Some(seed) = task.seed.or(args.seed) else {
        return Err("give the seed that fails: shrink --seed N".to_owned());
    };
    let mutant = program::mutant(task.mutant.as_deref().or(args.mutant.as_deref()))?;
    let title = match &task.output {
        Some(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        None => format!("{}-{seed}", program.title()),
    };
    let (faults, scheduler) = (!args.no_faults, args.scheduler);
    let order = Order {
        title,
        setup: Setup { faults, scheduler, mutant, ..Setup::seed(seed) },
        budget: task.budget,
        jobs: args.jobs.unwrap_or_else(machine::cores),
        shows_progress: true,
    };
    let Some(mut shrunk) = shrunk(&program, order)? else {
        say(&format!("seed {seed} of {} holds: there is nothing to shrink", program.title()));
        return Ok(HELD);
    };
    if let Some(about) = &task.about {
        shrunk.case.about = about.lines().map(str::to_owned).collect();
    }
    match &task.output {
        Some(path) => {
            machine::write(path, &shrunk.case.write())?;
            report::shrunk(&shrunk);
        }
        None => say(shrunk.case.write().trim_end()),
    }
    Ok(BROKEN)
}

/// Runs a seed and makes what it did small. `None` if it holds.
///
/// # Errors
/// That it did not start, or that what was written down of it holds under every schedule.
pub(super) fn shrunk(program: &Program, order: Order) -> Result<Option<Shrunk>, String> {
    let watch = Stopwatch::start();
    let Order { title, setup, budget, jobs, shows_progress } = order;
    let (seed, mutant) = (setup.seed, setup.mutant);
    let notes = Ledger::recording();
    let run = program.run(Setup { notes: Some(notes.clone()), ..setup });
    let law = match run.outcome {
        Outcome::Held => return Ok(None),
        Outcome::Broken(breach) => breach.law,
        Outcome::DidNotStart(why) => return Err(why),
    };
    let commit = machine::commit().unwrap_or_else(|| "unknown".to_owned());
    let history = Origin { scenario: program.title().to_owned(), seed, commit };
    let case = notes.case(&title, &law, history, mutant);
    // What spins for ever takes as long as it is allowed to, and without its defect it does not.
    let events = match law == SPINS && mutant.is_some() {
        true => Program::case(case.clone())?.run(Setup::seed(seed)).events,
        false => run.events,
    };
    let bench = Bench {
        law,
        mutant,
        schedules: Mutex::new(schedules(&case).collect()),
        jobs,
        watch,
        budget,
        bar: bar(shows_progress),
        tried: AtomicU64::new(0),
        polls: Some((events * PATIENCE).max(LEAST)),
    };
    bench.find_schedules(&case)?;
    let before = (case.ops(), case.strikes.len());
    let case = shrink::shrink(case, &bench);
    let bench = Bench { polls: None, ..bench };
    let failures = bench.failures(&case);
    bench.bar.finish_and_clear();
    let schedules = bench.schedules().len();
    let took = bench.watch.elapsed();
    let healthy = Bench { mutant: None, ..bench };
    let holds_without = mutant.map(|_| healthy.failures(&case) == 0);
    let tried = healthy.tried.into_inner();
    Ok(Some(Shrunk { case, failures, schedules, before, took, tried, holds_without }))
}

/// The schedules under which a case is tried: that of its seed, and the first.
pub(super) fn schedules(case: &Case) -> impl Iterator<Item = u64> {
    let own = case.history.seed;
    std::iter::once(own).chain((0..SCHEDULES).filter(move |seed| *seed != own))
}

/// Runs cases under some schedules, side by side.
struct Bench {
    law: String,
    mutant: Option<&'static str>,
    /// Those under which cases have failed lately first.
    schedules: Mutex<Vec<u64>>,
    jobs: u64,
    watch: Stopwatch,
    budget: Duration,
    bar: ProgressBar,
    tried: AtomicU64,
    /// A candidate that takes more than this is stuck, whatever it breaks: it cannot become what
    /// is looked for.
    polls: Option<u64>,
}

/// The law of a run that goes on and gets nowhere.
const SPINS: &str = "out-of-time";
/// How many times as many polls a candidate may take as what it comes from,
const PATIENCE: u64 = 4;
/// and how many in any case.
const LEAST: u64 = 100_000;

impl Bench {
    fn schedules(&self) -> Vec<u64> {
        self.schedules.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The schedules under which a case of so many operations is tried when one failure is enough.
    fn asked(&self, ops: usize) -> Vec<u64> {
        let mut schedules = self.schedules();
        if ops > SMALL {
            schedules.truncate(ASKED);
        }
        schedules
    }

    /// Asks for this schedule first from now on.
    fn prefer(&self, seed: u64) {
        let mut order = self.schedules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = order.iter().position(|other| *other == seed) {
            order[..=at].rotate_right(1);
        }
    }

    fn fails(&self, program: &Program, seed: u64) -> bool {
        self.tried.fetch_add(1, Relaxed);
        // What fails without the defect too shows something else.
        breaks(program, &self.law, (self.mutant, self.polls), seed)
            && (self.mutant.is_none() || !breaks(program, &self.law, (None, self.polls), seed))
    }

    /// Sees to it that the case fails under one schedule at least.
    fn find_schedules(&self, case: &Case) -> Result<(), String> {
        if self.is_enough(case, 1) {
            return Ok(());
        }
        let program = Program::case(case.clone())?;
        let found = Mutex::new(None);
        machine::side_by_side(
            self.jobs,
            SCHEDULES..SEARCHED,
            |seed| self.fails(&program, seed).then_some(seed),
            |seed| {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                *found = found.or(seed);
                found.is_none()
            },
        );
        match found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(seed) => {
                self.schedules.lock().unwrap_or_else(PoisonError::into_inner).insert(0, seed);
                Ok(())
            }
            None => Err(format!(
                "what was written down of the run holds under {SEARCHED} schedules: it cannot be \
                 shrunk"
            )),
        }
    }

    /// Whether a case fails often enough, and under which schedule first.
    fn is_enough(&self, case: &Case, need: usize) -> bool {
        let Ok(program) = Program::case(case.clone()) else { return false };
        let schedules = self.schedules();
        let mut failures = 0;
        for (place, seed) in schedules.iter().enumerate() {
            if failures + (schedules.len() - place) < need || self.is_over() {
                return false;
            }
            if self.fails(&program, *seed) {
                failures += 1;
            }
            if failures >= need {
                return true;
            }
        }
        false
    }
}

impl Trials for Bench {
    fn first(&self, cases: &[Case], need: usize) -> Option<usize> {
        if self.is_over() {
            return None;
        }
        let best = AtomicUsize::new(usize::MAX);
        // What comes behind one that fails is not asked for.
        let is_open = |place: usize| place < best.load(Relaxed) && !self.is_over();
        if need == 1 {
            let asked = |case: &Case| self.asked(case.ops());
            let runs = cases.iter().enumerate().flat_map(|(place, case)| {
                asked(case).into_iter().map(move |seed| (place, case, seed))
            });
            machine::side_by_side(
                self.jobs,
                runs,
                |(place, case, seed)| {
                    if is_open(place)
                        && Program::case(case.clone())
                            .is_ok_and(|program| self.fails(&program, seed))
                    {
                        best.fetch_min(place, Relaxed);
                        self.prefer(seed);
                    }
                },
                |()| true,
            );
        } else {
            machine::side_by_side(
                self.jobs,
                cases.iter().enumerate(),
                |(place, case)| {
                    if is_open(place) && self.is_enough(case, need) {
                        best.fetch_min(place, Relaxed);
                    }
                },
                |()| true,
            );
        }
        let found = Some(best.into_inner()).filter(|place| *place < cases.len());
        if let Some(case) = found.map(|place| &cases[place]) {
            let (ops, strikes) = (case.ops(), case.strikes.len());
            self.bar.set_message(format!("{ops} operations, {strikes} strikes"));
        }
        self.bar.set_position(self.watch.elapsed().as_secs());
        found
    }

    fn failures(&self, case: &Case) -> usize {
        let Ok(program) = Program::case(case.clone()) else { return 0 };
        let failures = AtomicUsize::new(0);
        machine::side_by_side(
            self.jobs,
            self.schedules(),
            |seed| {
                if self.fails(&program, seed) {
                    failures.fetch_add(1, Relaxed);
                }
            },
            |()| true,
        );
        failures.into_inner()
    }

    fn left(&self) -> f64 {
        let spent = self.watch.elapsed().as_secs_f64() / self.budget.as_secs_f64().max(1e-3);
        (1.0 - spent).max(0.0)
    }
}

/// Whether a case breaks this law under a schedule: with a defect, and within so many polls, if
/// they are given.
pub(super) fn breaks(
    program: &Program,
    law: &str,
    (mutant, poll_limit): (Option<&'static str>, Option<u64>),
    seed: u64,
) -> bool {
    is_broken(&program.run(Setup { mutant, poll_limit, ..Setup::seed(seed) }), law)
}

fn is_broken(run: &Run, law: &str) -> bool {
    match &run.outcome {
        Outcome::Broken(breach) => breach.law == law || breach.also.contains(&law),
        Outcome::Held | Outcome::DidNotStart(_) => false,
    }
}

fn bar(shows: bool) -> ProgressBar {
    if !shows {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    match ProgressStyle::with_template("{spinner} shrinking, {elapsed}: {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what a planted defect broke is found again in a case of few operations, and the text
    /// of that case is all that is needed.
    #[test]
    fn the_failing_seed_of_a_mutant_becomes_a_small_case() {
        let program = Program::named("commands").unwrap_or_else(|why| panic!("{why}"));
        let mutant = program::mutant(Some("lanes.version_gap"));
        let mutant = mutant.unwrap_or_else(|why| panic!("{why}"));
        let order = Order {
            title: "gap".to_owned(),
            setup: Setup { mutant, ..Setup::seed(0) },
            // It ends when nothing can be taken away; a busy machine takes longer.
            budget: Duration::from_secs(180),
            jobs: 2,
            shows_progress: false,
        };
        let shrunk = shrunk(&program, order).unwrap_or_else(|why| panic!("{why}"));
        let shrunk = shrunk.unwrap_or_else(|| panic!("the seed holds"));
        assert_eq!(shrunk.case.law, "session-version");
        assert!(shrunk.case.ops() <= 24, "{}", shrunk.case.write());
        assert!(shrunk.before.0 > 100 && shrunk.failures > 0);
        let read = Case::parse("gap", &shrunk.case.write()).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(read.write(), shrunk.case.write());
        let again = Program::case(read.clone()).unwrap_or_else(|why| panic!("{why}"));
        let mut seeds = schedules(&read);
        assert!(seeds.any(|seed| breaks(&again, "session-version", (mutant, None), seed)));
        assert!(!breaks(&again, "session-version", (None, None), 0));
    }
}
