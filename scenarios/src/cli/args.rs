//! The command line.

use std::{ops::Range, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use orloj_sim::{Fork, Scheduler};

use super::{
    bisect::BisectArgs, campaigns::CampaignArgs, costs::CostsArgs, diff::DiffArgs, fork::ForkArgs,
    gauntlet::GauntletArgs, inspect::InspectArgs, trace::TraceArgs,
};

/// Run seeded simulations of a node and its clients, and check every promise after each.
///
///   cargo xtask sim                           one fresh seed of the default scenario
///   cargo xtask sim --seed 7                  this seed
///   cargo xtask sim --seeds 0..1000           many, side by side
///   cargo xtask sim --scenario disk-full      another kind of world
///   cargo xtask sim --seed 7 --trace run.txt  the story of the run, one line per event
///   cargo xtask sim trace --seed 7 -o run.html  the picture of a run
///   cargo xtask sim list                      the scenarios, explained
///
/// Exit status: 0 all promises held; 1 a promise was broken; 2 the run did not start.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim", bin_name = "cargo xtask sim", verbatim_doc_comment)]
#[command(disable_help_subcommand = true, args_conflicts_with_subcommands = false)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) run: RunArgs,
    #[command(subcommand)]
    pub(super) task: Option<Task>,
}

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Run this one seed. Default: a fresh one, printed before the run.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    pub(super) seed: Option<u64>,
    /// Run the seeds from A up to but not including B.
    #[arg(long, value_name = "A..B", value_parser = seeds, global = true)]
    pub(super) seeds: Option<Range<u64>>,
    /// A built-in scenario, or the path of a file ending in ".toml". Default: default.
    #[arg(long, value_name = "NAME", global = true)]
    pub(super) scenario: Option<String>,
    /// Seeds side by side. Default: one per core.
    #[arg(long, value_name = "J", global = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) jobs: Option<u64>,
    /// The same workload with nothing going wrong.
    #[arg(long)]
    pub(super) no_faults: bool,
    /// How the next task is chosen: fifo, random, pct, pct:DEPTH, pos. Default: random.
    #[arg(long, value_name = "X", default_value_t, hide_default_value = true)]
    pub(super) scheduler: Scheduler,
    /// Draw how the next task is chosen from the seed, as a campaign does.
    #[arg(long, conflicts_with = "scheduler")]
    pub(super) swarm: bool,
    /// At so many simulated nanoseconds go on as another seed would; a steered campaign prints it.
    #[arg(long, value_name = "AT:SEED")]
    pub(super) branch: Vec<Fork>,
    /// Write the story of the one run to this file, one line per event.
    #[arg(long, value_name = "FILE")]
    pub(super) trace: Option<PathBuf>,
    /// With --trace: also every poll, choice and timer.
    #[arg(long, requires = "trace")]
    pub(super) events: bool,
    /// One JSON object per seed on standard output, and nothing else there.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Start no further seed after this much real time, such as 90s or 10m. Default: none.
    #[arg(long, value_name = "TIME", value_parser = time, global = true)]
    pub(super) time_budget: Option<Duration>,
    /// Activate one planted defect; "mutants" runs them all.
    #[arg(long, value_name = "NAME")]
    pub(super) mutant: Option<String>,
    /// Do not make a failing seed small.
    #[arg(long, global = true)]
    pub(super) no_shrink: bool,
    /// Run this seed first, in the same process, and say nothing of it.
    #[arg(long, value_name = "N", hide = true)]
    pub(super) warm_up: Option<u64>,
    /// Tell the story to nobody and record who caused what, to see whether that changes the run.
    #[arg(long, hide = true)]
    pub(super) told: bool,
}

/// Other things to do.
#[derive(Debug, Subcommand)]
pub(super) enum Task {
    /// Run each seed in two processes and name the first event that differs.
    CheckDeterminism(DeterminismArgs),
    /// Activate each planted defect in turn, and fail if one survives its seeds.
    Mutants(MutantsArgs),
    /// Replay every case that once failed, and put its defect back to see it fail again.
    Cases(CasesArgs),
    /// Count what operations cost, and compare it with what was agreed to.
    Costs(CostsArgs),
    /// Write the picture of one run: a page that needs nothing else.
    Trace(TraceArgs),
    /// Show the first event in which two runs differ, and the choice before it.
    Diff(DiffArgs),
    /// Run one seed until an instant, and from there on into other futures.
    Fork(ForkArgs),
    /// Show the actors of a run at an instant, or go through it step by step.
    Inspect(InspectArgs),
    /// Find the first commit at which a seed fails.
    Bisect(BisectArgs),
    /// Make a failing seed a case, and the case small.
    Shrink(ShrinkArgs),
    /// Run a case again, with its defect put back.
    Replay(ReplayArgs),
    /// Run seeds of all scenarios within a budget, and report what was met and what failed.
    Campaign(CampaignArgs),
    /// Measure how soon planted defects are found by a campaign, steered and not.
    Gauntlet(GauntletArgs),
    /// Carry out one script in many legal configurations, and compare answers and states.
    Metamorphic(MetamorphicArgs),
    /// Explain every scenario.
    List,
}

impl RunArgs {
    /// How the next task is chosen in this seed.
    pub(super) fn scheduler_of(&self, seed: u64) -> Scheduler {
        if self.swarm { crate::campaign::scheduler(seed) } else { self.scheduler }
    }
}

/// What else `cases` takes.
#[derive(Debug, clap::Args)]
pub(super) struct CasesArgs {
    /// Where the cases lie, a file each.
    #[arg(long, value_name = "PATH", default_value = "seeds")]
    pub(super) dir: PathBuf,
    /// Of a case that names the commit that fixed it, take that commit back in a scratch checkout,
    /// build there, and see the case fail. Takes minutes.
    #[arg(long)]
    pub(super) reverted: bool,
}

/// What else `shrink` takes.
#[derive(Debug, clap::Args)]
pub(super) struct ShrinkArgs {
    /// The seed that fails.
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// The planted defect that is active.
    #[arg(long, value_name = "NAME")]
    pub(super) mutant: Option<String>,
    /// How long to go on making it smaller.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "2m")]
    pub(super) budget: Duration,
    /// Write the case to this file. Default: standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// What happened, for the head of the file.
    #[arg(long, value_name = "TEXT")]
    pub(super) about: Option<String>,
}

/// What else `replay` takes.
#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// The case.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Leave its defect out.
    #[arg(long)]
    pub(super) without_defect: bool,
}

/// What else `metamorphic` takes.
#[derive(Debug, clap::Args)]
pub(super) struct MetamorphicArgs {
    /// Configurations that each script is compared in with the plainest one.
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub(super) variants: u64,
    /// The planted defect that is active.
    #[arg(long, value_name = "NAME")]
    pub(super) mutant: Option<String>,
}

/// What else `check-determinism` takes.
#[derive(Debug, clap::Args)]
pub(super) struct DeterminismArgs {
    /// Let the second process run this binary: the same program, otherwise built.
    #[arg(long, value_name = "PATH")]
    pub(super) other_binary: Option<PathBuf>,
    /// Activate one planted leak or defect in both.
    #[arg(long, value_name = "NAME")]
    pub(super) mutant: Option<String>,
}

/// What else `mutants` takes.
#[derive(Debug, clap::Args)]
pub(super) struct MutantsArgs {
    /// Only the defects whose name contains this.
    #[arg(long, value_name = "NAME")]
    pub(super) only: Option<String>,
    /// Only so many of the defects, and none of the leaks: those from the place of --from on.
    #[arg(long, value_name = "N", conflicts_with = "only")]
    pub(super) sample: Option<usize>,
    /// With --sample: which of them is the first, counted round and round.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) from: u64,
    /// Seeds a defect may survive.
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub(super) seeds_max: u64,
    /// How long each defect's failing seed may be made smaller.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "60s")]
    pub(super) shrink_budget: Duration,
    /// Also write a table of all to this file, in Markdown.
    #[arg(long, value_name = "FILE")]
    pub(super) scoreboard: Option<PathBuf>,
    /// The binary with which leaks between builds show: the same program, otherwise built.
    #[arg(long, value_name = "PATH")]
    pub(super) other_binary: Option<PathBuf>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("\"{text}\" is not a range of seeds such as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let (from, to) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
    if from >= to {
        return Err(format!("the range \"{text}\" is empty; its end is not part of it"));
    }
    Ok(from..to)
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a time such as 90s or 10m");
    let (number, seconds) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("sim").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn flags_are_read_before_and_after_a_task() {
        let args = parse("--seeds 3..9 --scenario buffered --jobs 2").expect("these are flags");
        assert_eq!(args.run.seeds, Some(3..9));
        let args = parse("check-determinism --seeds 0..20 --json").expect("these are flags");
        assert_eq!((args.run.seeds, args.run.json), (Some(0..20), true));
        let args = parse("--json mutants --only journal").expect("these are flags");
        assert!(args.run.json);
        let args = parse("--seed 7 --scheduler pct:4").expect("these are flags");
        assert_eq!(args.run.scheduler, Scheduler::Pct { depth: 4 });
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--seeds 9..3",
            "--seeds 9",
            "--seed 1 --seeds 0..3",
            "--scheduler chance",
            "--jobs 0",
            "--time-budget soon",
            "--events",
            "--unknown",
            "frobnicate",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
