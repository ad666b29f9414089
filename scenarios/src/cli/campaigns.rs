//! `campaign`: seeds of all scenarios within a budget.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    BROKEN, HELD,
    args::{RunArgs, time},
    crew::{Crew, Done},
    machine::{self, Stopwatch, Surroundings, say},
    program::{self, Program},
};
use crate::{
    Outcome, Run,
    campaign::{Campaign, FORMAT, Job, Order, Part, Workload, number, page},
    scenario,
};

/// What `campaign` takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct CampaignArgs {
    /// Begin no further run after this much real time, such as 90s or 10m. With --resume: in all.
    /// Without --seeds the first seed is a fresh one, and there is no last.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub(super) budget: Option<Duration>,
    /// Only these scenarios. Default: all.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(super) scenarios: Vec<String>,
    /// Not these scenarios.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(super) without: Vec<String>,
    /// Let each scenario have so many times as much time and as many requests: NAME@N is run.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) times: u64,
    /// Keep the campaign in this file, and go on with what is there.
    #[arg(long, value_name = "FILE")]
    pub(super) resume: Option<PathBuf>,
    /// Write report.json and index.html into this directory.
    #[arg(long, value_name = "DIR")]
    pub(super) report: Option<PathBuf>,
    /// Let half of the runs be branches of runs that met something new.
    #[arg(long)]
    pub(super) steered: bool,
    /// A run that takes longer than this in real time has failed.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "120s")]
    pub(super) timeout: Duration,
    /// Fail if a workload never made a shape that it means to make, after so many runs of it; 0 is
    /// never.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(super) audit: u64,
    /// Run every so many runs again in another process, and compare; 0 is never.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(super) rerun: u64,
    /// Write the file of --resume after so many runs.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) save_every: u64,
    /// Activate one planted defect.
    #[arg(long, value_name = "NAME")]
    pub(super) mutant: Option<String>,
    /// Begin no more runs than so many.
    #[arg(long, value_name = "N")]
    pub(super) runs_max: Option<u64>,
    /// Stop at the first failure.
    #[arg(long)]
    pub(super) first: bool,
}

/// Runs the task.
pub(super) fn run(args: &RunArgs, task: &CampaignArgs) -> Result<u8, String> {
    let mut session = Session::new(args, task)?;
    session.work()?;
    let campaign = &session.campaign;
    if let Some(directory) = &task.report {
        let report = serde_json::to_string_pretty(&campaign.report());
        let report = report.map_err(|error| format!("the report is no JSON: {error}"))?;
        machine::make_directory(directory)?;
        machine::replace(&directory.join("report.json"), &report)?;
        machine::replace(&directory.join("index.html"), &page(campaign))?;
    }
    if args.json {
        say(&campaign.report().to_string());
    } else {
        tell(campaign);
        if let Some(directory) = &task.report {
            say(&format!("  report    {}", directory.join("index.html").display()));
        }
    }
    Ok(if campaign.is_well() { HELD } else { BROKEN })
}

/// A campaign between its beginning, or going on, and its end.
pub(super) struct Session<'a> {
    pub(super) campaign: Campaign,
    task: &'a CampaignArgs,
    budget: Option<Duration>,
    programs: BTreeMap<String, Arc<Program>>,
    mutant: Option<&'static str>,
    jobs: u64,
    shows_progress: bool,
}

/// What one run came to, and the digest that another process came to.
struct Ended {
    run: Run,
    again: Option<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(args: &RunArgs, task: &'a CampaignArgs) -> Result<Session<'a>, String> {
        let mutant = task.mutant.as_deref().or(args.mutant.as_deref());
        let budget = task.budget.or(args.time_budget);
        if budget.is_none() && task.runs_max.is_none() && args.seeds.is_none() {
            return Err(
                "a campaign needs an end: --seeds A..B, --for TIME or --runs-max N".to_owned()
            );
        }
        let mut names: Vec<String> = task.scenarios.clone();
        names.extend(args.scenario.clone());
        if names.is_empty() {
            names.extend(scenario::list().iter().map(|listing| listing.name.to_owned()));
        }
        if let Some(unknown) = task.without.iter().find(|name| !names.contains(name)) {
            return Err(format!("\"{unknown}\" is none of the scenarios that would be run"));
        }
        names.retain(|name| !task.without.contains(name));
        if task.times != 1 {
            names.iter_mut().for_each(|name| *name = format!("{name}@{}", task.times));
        }
        let mut programs = BTreeMap::new();
        let mut workloads = BTreeMap::new();
        for name in &names {
            let program = Program::named(name)?;
            let Program::Scenario(scenario) = &program else {
                return Err(format!("\"{name}\" is no scenario of the database"));
            };
            workloads.insert(name.clone(), Workload::of(scenario));
            programs.insert(name.clone(), Arc::new(program));
        }
        let known = match &task.resume {
            Some(file) if machine::exists(file) => Some(machine::read(file)?),
            _ => None,
        };
        let known: Option<Campaign> = known
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| format!("the campaign of --resume cannot be read: {error}"))?;
        let from = match (&args.seeds, &known) {
            (Some(seeds), _) => seeds.start,
            (None, Some(known)) => known.order.from,
            (None, None) => machine::fresh_seed(),
        };
        let order = Order {
            from,
            until: args.seeds.as_ref().map(|seeds| seeds.end),
            steered: task.steered,
            mutant: mutant.map(str::to_owned),
            audit: task.audit,
        };
        names.dedup();
        let parts = names.iter().map(|name| Part::new(name, workloads[name], from)).collect();
        let fresh = Campaign::new(order, parts);
        let mut campaign = known.unwrap_or_else(|| fresh.clone());
        let same = |c: &Campaign| c.parts.iter().map(|part| part.name.clone()).collect::<Vec<_>>();
        if campaign.format != FORMAT {
            return Err(format!("the campaign of --resume has format {}", campaign.format));
        }
        if campaign.order != fresh.order || same(&campaign) != same(&fresh) {
            return Err("the campaign of --resume was asked for something else".to_owned());
        }
        campaign.commit = machine::commit().unwrap_or_else(|| "unknown".to_owned());
        let jobs = args.jobs.unwrap_or_else(machine::cores);
        campaign.jobs = jobs;
        Ok(Session {
            campaign,
            task,
            budget,
            programs,
            mutant: program::mutant(mutant)?,
            jobs,
            shows_progress: !args.json,
        })
    }

    /// Runs until the budget is spent, and keeps what was seen.
    pub(super) fn work(&mut self) -> Result<(), String> {
        let (real_before, cpu_before) = (self.campaign.real_ms, self.campaign.cpu_ms);
        let (watch, cpu) = (Stopwatch::start(), machine::processor_time().unwrap_or_default());
        let mut again = std::mem::take(&mut self.campaign.pending);
        self.campaign.pending = again.clone();
        again.reverse();
        let bar = self.bar();
        let mut crew: Crew<Ended> = Crew::new(self.task.timeout);
        let mut under_way: BTreeMap<u64, Job> = BTreeMap::new();
        let (mut begun, mut unsaved, mut is_over) = (0_u64, 0, false);
        loop {
            while !is_over && crew.len() < self.jobs {
                let Some(job) = again.pop().or_else(|| self.campaign.begin()) else { break };
                begun += 1;
                crew.begin(begun, self.work_of(&job, begun)?)?;
                under_way.insert(begun, job);
            }
            if crew.len() == 0 {
                break;
            }
            let Some(done) = crew.next() else {
                self.show(&bar);
                continue;
            };
            match done {
                Done::Ended(id, result, used) => {
                    let Some(job) = under_way.remove(&id) else { continue };
                    let ended = result?;
                    if let Outcome::DidNotStart(why) = &ended.run.outcome {
                        return Err(format!("{}: {why}", job.flags(None)));
                    }
                    self.campaign.add(&job, &ended.run, used);
                    if let Some(hash) = ended.again {
                        self.campaign.ran_again(&job, &ended.run, &hash);
                    }
                }
                Done::Late(id) => {
                    let Some(job) = under_way.remove(&id) else { continue };
                    self.campaign.gave_up(&job, self.task.timeout);
                }
            }
            unsaved += 1;
            let milliseconds = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
            self.campaign.real_ms = real_before + milliseconds(watch.elapsed());
            let used = machine::processor_time().unwrap_or_default().saturating_sub(cpu);
            self.campaign.cpu_ms = cpu_before + milliseconds(used);
            is_over = self.is_over() || crew.left_behind() as u64 >= 4 * self.jobs;
            if unsaved >= self.task.save_every {
                unsaved = 0;
                self.save()?;
            }
            self.show(&bar);
        }
        bar.finish_and_clear();
        self.save()
    }

    fn work_of(
        &self,
        job: &Job,
        begun: u64,
    ) -> Result<impl FnOnce() -> Ended + Send + 'static, String> {
        let program = self.programs.get(&job.scenario).cloned();
        let program = program.ok_or_else(|| format!("{} is not run here", job.scenario))?;
        let again = self.task.rerun > 0 && begun.is_multiple_of(self.task.rerun);
        let (job, mutant) = (job.clone(), self.mutant);
        Ok(move || {
            let run = program.run_here(job.setup(mutant));
            let again = again.then(|| elsewhere(&job, mutant)).transpose();
            let again = again.unwrap_or_else(Some);
            Ended { run, again }
        })
    }

    fn is_over(&self) -> bool {
        let spent = |budget: Duration| u128::from(self.campaign.real_ms) >= budget.as_millis();
        let enough = self.task.runs_max.is_some_and(|most| self.campaign.runs() >= most);
        self.budget.is_some_and(spent) || enough || self.task.first && self.campaign.failed() > 0
    }

    fn save(&self) -> Result<(), String> {
        let Some(file) = &self.task.resume else { return Ok(()) };
        let text = serde_json::to_string(&self.campaign);
        let text = text.map_err(|error| format!("the campaign is no JSON: {error}"))?;
        machine::replace(file, &text)
    }

    /// A bar of seeds, or of time where there is no last seed.
    fn bar(&self) -> ProgressBar {
        if !self.shows_progress {
            return ProgressBar::hidden();
        }
        let style = match self.length() {
            (_, true) => "{bar:32} {msg}, {eta} left",
            (_, false) => "{bar:32} {msg}",
        };
        // Indicatif hides the bar by itself when standard error is not a terminal.
        let target = ProgressDrawTarget::stderr_with_hz(4);
        let bar = ProgressBar::with_draw_target(Some(self.length().0), target);
        match ProgressStyle::with_template(style) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }

    /// How long the bar is, and whether it is of seeds.
    fn length(&self) -> (u64, bool) {
        let seeds = self.campaign.order.until.map(|until| until - self.campaign.order.from);
        match (seeds, self.budget) {
            (Some(seeds), _) => {
                let each = if self.task.steered { 2 * seeds } else { seeds };
                (each * self.campaign.parts.len() as u64, true)
            }
            (None, budget) => (budget.unwrap_or_default().as_secs(), false),
        }
    }

    fn show(&self, bar: &ProgressBar) {
        let campaign = &self.campaign;
        let is_of_seeds = self.length().1;
        bar.set_position(if is_of_seeds { campaign.runs() } else { campaign.real_ms / 1_000 });
        let rate = campaign.runs() * 1_000 / campaign.real_ms.max(1);
        let left = match (is_of_seeds, self.budget) {
            (false, Some(budget)) => {
                format!(", {} s left", budget.as_secs().saturating_sub(campaign.real_ms / 1_000))
            }
            _ => String::new(),
        };
        bar.set_message(format!(
            "{} runs, {rate}/s, {} failed in {} ways{left}",
            number(campaign.runs()),
            campaign.failed(),
            campaign.failures.len()
        ));
    }
}

/// Runs a run again in another process and says its digest.
fn elsewhere(job: &Job, mutant: Option<&str>) -> Result<String, String> {
    let mut args: Vec<String> = job.flags(mutant).split(' ').map(str::to_owned).collect();
    args.push("--json".to_owned());
    let binary = machine::own_binary()?;
    let (output, _) = machine::child(&binary, &args, &Surroundings::Own)?;
    let row: serde_json::Value =
        serde_json::from_str(output.trim()).map_err(|_| format!("no JSON: {output}"))?;
    let hash = row.get("trace_hash").and_then(serde_json::Value::as_str);
    hash.map(str::to_owned).ok_or_else(|| format!("no hash: {output}"))
}

/// The campaign in some lines.
fn tell(campaign: &Campaign) {
    let seconds = |ms: u64| ms as f64 / 1_000.0;
    let simulated: u64 = campaign.parts.iter().map(|part| part.virtual_ms).sum();
    let runs = campaign.runs();
    say(&format!(
        "{} runs of {} scenarios from seed {}: {} failed, in {} ways",
        number(runs),
        campaign.parts.len(),
        campaign.order.from,
        number(campaign.failed()),
        campaign.failures.len()
    ));
    say(&format!(
        "  {:.1} s simulated in {:.1} s of {} jobs and {:.1} s of processor time; {:.1} runs/s",
        seconds(simulated),
        seconds(campaign.real_ms),
        campaign.jobs,
        seconds(campaign.cpu_ms),
        runs as f64 / seconds(campaign.real_ms).max(0.001)
    ));
    if campaign.rerun > 0 {
        say(&format!("  {} of them run again in another process", number(campaign.rerun)));
    }
    for group in &campaign.failures {
        let Job { scenario, seed, .. } = &group.example.job;
        say(&format!("\nFAILED  {} times  {}", number(group.count), group.signature));
        say(&format!("  id        {}, first seen at {}", group.id, group.first_commit));
        say(&format!("  shortest  seed {seed} of {scenario}: {}", group.example.evidence));
        say(&format!("  replay    {}", group.example.replay));
    }
    say("");
    for (kind, places) in &campaign.places {
        let met = places.values().filter(|seen| seen.runs > 0).count();
        let never: Vec<&str> =
            places.iter().filter(|(_, seen)| seen.runs == 0).map(|(name, _)| &**name).collect();
        say(&format!("  {kind:<9} {met} of {} met", places.len()));
        if !never.is_empty() {
            say(&format!("            never: {}", never.join("; ")));
        }
    }
    let met = campaign.faults.values().filter(|seen| seen.runs > 0).count();
    say(&format!("  {:<9} {met} of {} classes injected", "faults", campaign.faults.len()));
    let idle = |seen: &crate::campaign::Seen| seen.enabled > 0 && seen.runs == 0;
    let idle: Vec<&str> =
        campaign.faults.iter().filter(|(_, seen)| idle(seen)).map(|(name, _)| &**name).collect();
    if !idle.is_empty() {
        say(&format!("            enabled and never fired: {}", idle.join(", ")));
    }
    let starved = campaign.starved();
    if !starved.is_empty() {
        say(&format!(
            "\nSTARVED  never made, after {} runs: {}",
            campaign.order.audit,
            starved.join("; ")
        ));
    }
}
