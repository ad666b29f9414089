//! `trace`: the picture of a run.
//!
//! Beside a run that broke something stands the nearest one that did not. With a planted defect
//! that is the same seed without it. Otherwise it is the same past with another future: the run is
//! forked (choices come from another seed) as late before the violation as is found to help, at
//! the times of [`FORKS`] with each of [`FUTURES`] seeds. If no future holds, none is shown.

use std::path::PathBuf;

use orloj_sim::{Detail, Fork};

use super::{
    BROKEN, HELD,
    args::RunArgs,
    machine::{self, say},
    pick::{self, Pick, Picked, checked, law},
};
use crate::{
    Outcome, Setup,
    page::{self, Page, Passing, pcap, perfetto},
};

/// Of the time until the violation, how much of the past is kept, in 64ths, the most first.
const FORKS: &[u64] = &[63, 62, 60, 56, 48, 32, 16, 0];
/// The seeds of the futures tried at each.
const FUTURES: std::ops::RangeInclusive<u64> = 1..=4;

/// What `trace` takes.
#[derive(Debug, clap::Args)]
pub(super) struct TraceArgs {
    #[command(flatten)]
    pub(super) pick: Pick,
    /// A case, in the place of a --scenario.
    #[arg(value_name = "FILE")]
    pub(super) file: Option<String>,
    /// Where the page goes. Default: run-SEED.html.
    #[arg(short, long, value_name = "PAGE")]
    pub(super) output: Option<PathBuf>,
    /// Also write a trace that ui.perfetto.dev opens.
    #[arg(long, value_name = "FILE")]
    pub(super) perfetto: Option<PathBuf>,
    /// Also write the network traffic as a capture (pcapng).
    #[arg(long, value_name = "FILE")]
    pub(super) pcap: Option<PathBuf>,
    /// Look for no passing run to hold beside a failing one.
    #[arg(long)]
    pub(super) alone: bool,
}

/// Runs one seed and writes what was asked for.
pub(super) fn run(args: &RunArgs, task: &TraceArgs) -> Result<u8, String> {
    let scenario = task.file.clone().or_else(|| args.scenario.clone());
    let picked = task.pick.find(&RunArgs { scenario, ..args.clone() })?;
    let setup = Setup { packets: task.pcap.is_some(), ..picked.setup(Detail::Graph) };
    let run = checked(picked.program.run(setup))?;
    let record = pick::record(&run)?;
    let broken = law(&run);
    let passing = match (&run.outcome, task.alone) {
        (Outcome::Broken(breach), false) => Some(nearest(&picked, breach.when)?),
        _ => None,
    };
    let default = PathBuf::from(format!("run-{}.html", picked.seed));
    let file = task.output.as_ref().unwrap_or(&default);
    let flags = picked.flags();
    let page = Page {
        title: format!("{} seed {}", picked.scenario, picked.seed),
        command: format!("cargo xtask sim trace {flags} -o {}", file.display()),
        inspect: Some(format!("cargo xtask sim inspect {flags}")),
        commit: machine::commit().unwrap_or_else(|| "unknown".to_owned()),
        run: &run,
        passing,
    };
    let html = page::render(&page).ok_or("the page could not be written")?;
    machine::write(file, &html)?;
    say(&format!(
        "{}: {} events, {} KiB; {}",
        file.display(),
        record.graph.events.len(),
        html.len() >> 10,
        broken.map_or("every promise held".to_owned(), |law| format!("BROKEN {law}"))
    ));
    if let Some(Passing { rule, run: Some(_), .. }) = &page.passing {
        say(&format!("beside it: {rule}"));
    }
    if let Some(file) = &task.perfetto {
        machine::write(file, &perfetto::render(&record.graph))?;
        say(&format!("{}: open it in ui.perfetto.dev", file.display()));
    }
    if let Some(file) = &task.pcap {
        machine::write(file, &pcap::render(&record.graph.packets))?;
        say(&format!("{}: {} packets", file.display(), record.graph.packets.len()));
    }
    Ok(if broken.is_some() { BROKEN } else { HELD })
}

/// The nearest run that breaks nothing.
fn nearest(picked: &Picked, when: u64) -> Result<Passing, String> {
    if let Some(mutant) = picked.mutant {
        let without = Picked { mutant: None, ..picked.clone() };
        let run = without.recorded()?;
        if run.outcome == Outcome::Held {
            return Ok(Passing {
                rule: format!("The same seed without the planted defect {mutant}."),
                command: format!("cargo xtask sim {}", without.flags()),
                run: Some(run),
            });
        }
    }
    forked(picked, when)
}

/// The run with the longest past in common with this one that breaks nothing.
fn forked(picked: &Picked, when: u64) -> Result<Passing, String> {
    for part in FORKS {
        let at = (u128::from(when) * u128::from(*part) / 64) as u64;
        for seed in FUTURES {
            let forked = Picked { fork: Some(Fork { at, seed }), ..picked.clone() };
            if forked.judged().outcome != Outcome::Held {
                continue;
            }
            let command =
                format!("cargo xtask sim fork {} --at {at}ns --future {seed}", picked.flags());
            let rule = format!(
                "The same run until {} s, and from there on choices of seed {seed}: the longest \
                 common past that was found to help.",
                orloj_invariants::Moment(at)
            );
            return Ok(Passing { rule, command, run: Some(forked.recorded()?) });
        }
    }
    Ok(Passing {
        rule: "None was found: whatever is chosen differently, the run breaks something."
            .to_owned(),
        command: String::new(),
        run: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::program::Program, compare};

    #[test]
    fn another_future_that_holds_is_found_and_has_the_past_that_it_says() {
        let program = Program::named("default").expect("a built-in scenario");
        let picked = |seed| Picked {
            program: program.clone(),
            scenario: "default".to_owned(),
            seed,
            faults: true,
            scheduler: orloj_sim::Scheduler::default(),
            mutant: Some("journal.ack_before_sync"),
            fork: None,
        };
        let broken = |seed| law(&picked(seed).judged()).is_some();
        let picked = picked((0..60).find(|seed| broken(*seed)).expect("the defect is found"));
        let run = picked.recorded().expect("it runs");
        let Outcome::Broken(breach) = &run.outcome else { unreachable!("it is the same run") };
        let passing = forked(&picked, breach.when).expect("it runs");
        let other = passing.run.expect("some future holds");
        assert_eq!(other.outcome, Outcome::Held);
        let [mine, theirs] = [&run, &other].map(|run| pick::record(run).expect("recorded"));
        let parting = compare::parting(mine, theirs).expect("they differ");
        let at = passing.command.split(" --at ").nth(1).and_then(|rest| rest.split("ns").next());
        let at: u64 = at.and_then(|at| at.parse().ok()).expect("the command names the time");
        assert!(parting.at >= at && parting.event > 0);
    }
}
