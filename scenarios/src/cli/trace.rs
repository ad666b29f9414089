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
    Outcome, Run, Setup,
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
    /// Where the page goes. Default: run-SEED.html.
    #[arg(short, long, value_name = "FILE")]
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
    let picked = task.pick.find(args)?;
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
    machine::write(file, html.as_bytes())?;
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
        machine::write(file, perfetto::render(&record.graph).as_bytes())?;
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
    let held = |run: &Run| run.outcome == Outcome::Held;
    if let Some(mutant) = picked.mutant {
        let without = Picked { mutant: None, ..picked.clone() };
        let run = without.recorded()?;
        if held(&run) {
            return Ok(Passing {
                rule: format!("The same seed without the planted defect {mutant}."),
                command: format!("cargo xtask sim {}", without.flags()),
                run: Some(run),
            });
        }
    }
    for part in FORKS {
        let at = (u128::from(when) * u128::from(*part) / 64) as u64;
        for seed in FUTURES {
            let forked = Picked { fork: Some(Fork { at, seed }), ..picked.clone() };
            if !held(&forked.judged()) {
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
