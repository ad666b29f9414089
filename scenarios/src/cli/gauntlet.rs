//! `gauntlet`: how soon planted defects are found, by uniform seeds and by steered ones.
//!
//! Both look in the same scenarios, from the same seeds, one run at a time, until the first
//! failure. What counts is processor time.

use std::time::Duration;

use serde_json::json;

use super::{
    HELD,
    args::RunArgs,
    campaigns::{CampaignArgs, Session},
    machine::say,
    places::places,
};
use crate::mutants;

/// What `gauntlet` takes.
#[derive(Debug, clap::Args)]
pub(super) struct GauntletArgs {
    /// Only the defects whose name contains one of these.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    only: Vec<String>,
    /// Times that each is looked for, each time from other seeds.
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeats: u64,
    /// Runs after which it has not been found.
    #[arg(long, value_name = "N", default_value_t = 400)]
    runs_max: u64,
}

/// Seeds between two repeats.
const APART: u64 = 1_000_000;

/// One way of looking, summed up.
#[derive(Default)]
struct Way {
    found: u64,
    cpu_ms: Vec<u64>,
    runs: u64,
}

impl Way {
    fn cpu_ms(&self) -> u64 {
        self.cpu_ms.iter().sum()
    }

    /// Of the repeats; what was never found counts with all it took.
    fn median(&self) -> f64 {
        let mut sorted = self.cpu_ms.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0) as f64 / 1_000.0
    }
}

/// Runs the task.
pub(super) fn run(args: &RunArgs, task: &GauntletArgs) -> Result<u8, String> {
    let wanted =
        |name: &&str| task.only.is_empty() || task.only.iter().any(|o| name.contains(&**o));
    let names = mutants().into_iter().filter(|name| !name.starts_with("leak.")).filter(wanted);
    if !args.json {
        say("                                      uniform                 steered");
        say("mutant                             found  cpu_s  runs      found  cpu_s  runs");
    }
    let mut all = [Way::default(), Way::default()];
    let mut medians = [Vec::new(), Vec::new()];
    for name in names {
        let mut ways = [Way::default(), Way::default()];
        for repeat in 0..task.repeats {
            for (way, steered) in ways.iter_mut().zip([false, true]) {
                look(args, task, (name, repeat, steered), way)?;
            }
        }
        tell(args, name, task.repeats, &ways);
        for (number, way) in ways.into_iter().enumerate() {
            medians[number].push(way.cpu_ms() / task.repeats.max(1));
            all[number].found += way.found;
            all[number].runs += way.runs;
            all[number].cpu_ms.extend(way.cpu_ms);
        }
    }
    if !args.json {
        for (name, (way, medians)) in
            ["uniform", "steered"].iter().zip(all.iter().zip(&mut medians))
        {
            medians.sort_unstable();
            say(&format!(
                "{name}: {} of {} found in {:.1} s of processor time; median of the defects \
                 {:.2} s",
                way.found,
                way.cpu_ms.len(),
                way.cpu_ms() as f64 / 1_000.0,
                medians.get(medians.len() / 2).copied().unwrap_or(0) as f64 / 1_000.0
            ));
        }
    }
    Ok(HELD)
}

fn look(
    args: &RunArgs,
    task: &GauntletArgs,
    (name, repeat, steered): (&str, u64, bool),
    way: &mut Way,
) -> Result<(), String> {
    let order = CampaignArgs {
        budget: None,
        scenarios: places(name).iter().map(|place| (*place).to_owned()).collect(),
        resume: None,
        report: None,
        without: Vec::new(),
        times: 1,
        steered,
        timeout: Duration::from_secs(120),
        audit: 0,
        rerun: 0,
        save_every: u64::MAX,
        mutant: Some(name.to_owned()),
        first: true,
        runs_max: Some(task.runs_max),
    };
    let from = (1 + repeat) * APART;
    let seeds = Some(from..from + task.runs_max);
    let args = RunArgs { seeds, jobs: Some(1), json: true, scenario: None, ..args.clone() };
    let mut session = Session::new(&args, &order)?;
    session.work()?;
    let campaign = &session.campaign;
    way.found += u64::from(campaign.failed() > 0);
    way.runs += campaign.runs();
    way.cpu_ms.push(campaign.cpu_ms);
    Ok(())
}

fn tell(args: &RunArgs, name: &str, repeats: u64, [uniform, steered]: &[Way; 2]) {
    if args.json {
        let row = |way: &Way| {
            json!({
                "found": way.found, "median_cpu_s": way.median(),
                "runs": way.runs, "cpu_ms": way.cpu_ms,
            })
        };
        let row = json!({
            "mutant": name, "repeats": repeats, "uniform": row(uniform), "steered": row(steered),
        });
        return say(&row.to_string());
    }
    let show = |way: &Way| {
        format!("{:>3}/{repeats} {:>6.2} {:>5}", way.found, way.median(), way.runs / repeats.max(1))
    };
    say(&format!("{name:<34} {}      {}", show(uniform), show(steered)));
}
