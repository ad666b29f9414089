//! Running a test body in many seeded worlds: what [`orloj_sim::test`](macro@crate::test) expands
//! to.

use std::{future::Future, ops::Range, pin::Pin};

use orloj_kernel::Context;

use crate::{
    choice::{Choices, Stream},
    scheduler::Scheduler,
    simulation::{Config, Simulation},
    trace::Detail,
    verdict::{Failure, Report},
};

type Body = fn(Context) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// The configuration that a seed draws for a test: its scheduler, and whether rare paths are taken.
pub fn config(seed: u64) -> Config {
    let mut choices = Choices::from_seed(seed);
    let schedulers = [Scheduler::Fifo, Scheduler::Random, Scheduler::Pct { depth: 3 }];
    let mut config = Config::seed(seed);
    config.scheduler = *choices.pick(Stream::Swarm, "scheduler", &schedulers);
    config.buggify = choices.draw(Stream::Swarm, "buggify", 2) == 1;
    config
}

/// Runs `f` on a thread of its own, so that no thread-local of an earlier run leaks into it.
#[expect(
    clippy::disallowed_methods,
    reason = "a thread per seed is what isolates runs from each other"
)]
pub fn on_fresh_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(f).join() {
        Ok(out) => out,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Runs one seed of `body` and returns what came of it.
pub fn run_seed(seed: u64, detail: Detail, body: Body) -> (Result<(), Failure>, Report) {
    run_one(seed, detail, None, body)
}

/// The first of `seeds` that fails with the planted defect `mutant` active, and how it fails.
///
/// A test of the test: what no seed can tell from the right code, no seed would have found.
pub fn find_mutant(
    mutant: &'static str,
    mut seeds: Range<u64>,
    body: Body,
) -> Option<(u64, Failure)> {
    seeds.find_map(|seed| {
        let (outcome, _) = run_one(seed, Detail::Hash, Some(mutant), body);
        outcome.err().map(|failure| (seed, failure))
    })
}

fn run_one(
    seed: u64,
    detail: Detail,
    mutant: Option<&'static str>,
    body: Body,
) -> (Result<(), Failure>, Report) {
    on_fresh_thread(move || {
        let mut config = config(seed);
        config.detail = detail;
        config.mutant = mutant;
        let mut sim = Simulation::new(config);
        let context = sim.idle_host("test");
        let outcome = sim.run(context, body(context));
        (outcome, sim.finish())
    })
}

/// Runs the seeds of one test of `package`: those to `keep` first, then `0..seeds`.
///
/// # Panics
/// At the first seed that fails, with its evidence, the end of its story, and how to replay it.
pub fn run(package: &str, name: &str, keep: &[u64], seeds: u64, body: Body) {
    for seed in Asked::of_environment().seeds(keep, seeds) {
        let (outcome, _) = run_seed(seed, Detail::Hash, body);
        if let Err(failure) = outcome {
            let (_, report) = run_seed(seed, Detail::Story, body);
            panic!("{}", tell(package, name, seed, &failure, &report));
        }
    }
}

/// Lines of the story that a failure shows.
const SHOWN: usize = 40;

fn tell(package: &str, name: &str, seed: u64, failure: &Failure, report: &Report) -> String {
    let mut text = format!("BROKEN  {name}  seed {seed}\n\n  evidence  {failure}\n");
    let skipped = report.story.len().saturating_sub(SHOWN);
    text += &format!("\n  the last events ({skipped} before them)\n");
    for line in &report.story[skipped..] {
        text += &format!("    {line}\n");
    }
    text + &format!("\n  replay    ORLOJ_SEED={seed} cargo test -p {package} {name}\n")
}

/// Which seeds the environment asks for.
enum Asked {
    Nothing,
    Seeds(Range<u64>),
}

impl Asked {
    #[expect(clippy::disallowed_methods, reason = "how a test is told which seeds to replay")]
    fn of_environment() -> Asked {
        let number = |s: &str| {
            s.parse::<u64>()
                .unwrap_or_else(|_| panic!("`{s}` is not a seed: an unsigned 64-bit integer"))
        };
        if let Ok(seed) = std::env::var("ORLOJ_SEED") {
            let seed = number(&seed);
            return Asked::Seeds(seed..seed.saturating_add(1));
        }
        if let Ok(seeds) = std::env::var("ORLOJ_SEEDS") {
            let (from, to) = seeds.split_once("..").expect("ORLOJ_SEEDS is a range, as 0..100");
            return Asked::Seeds(number(from)..number(to));
        }
        Asked::Nothing
    }

    fn seeds(self, keep: &[u64], usual: u64) -> impl Iterator<Item = u64> {
        let (keep, seeds) = match self {
            Asked::Nothing => (keep, 0..usual),
            Asked::Seeds(seeds) => (&[][..], seeds),
        };
        keep.iter().copied().chain(seeds)
    }
}
