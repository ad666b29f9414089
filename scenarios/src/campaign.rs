//! What a campaign has seen: sums over runs that do not depend on the order in which they came.
//!
//! The whole of it is one value that is written to a file every so many runs, so that a campaign
//! that was stopped goes on where it was; the same value, with what follows from it, is the report.

mod job;
mod page;
mod share;
mod signature;
mod steer;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use orloj_kernel::{Site, SiteKind, sites};
use orloj_sim::fault::FaultClass;
use serde::{Deserialize, Serialize};

use crate::{Breach, Outcome, Run};

pub use job::{First, Job, scheduler, scheduler_name};
pub use page::page;
pub use share::{Part, Workload};
pub use signature::{id, signature};
pub use steer::Steering;
pub(crate) use text::number;

/// The version of the file. A file of another version is not gone on with.
pub const FORMAT: u32 = 1;

/// What was asked for. A campaign goes on only with the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The first seed.
    pub from: u64,
    /// The seed after the last; absent, there is none.
    pub until: Option<u64>,
    /// Whether half of the runs are branches of others.
    pub steered: bool,
    /// The planted defect that is active.
    pub mutant: Option<String>,
    /// Seeds of a workload after which a shape that was never made fails the campaign; 0 is never.
    pub audit: u64,
}

/// How often something was met, and where first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Times that it was passed or asked.
    pub passed: u64,
    /// Times that it was met.
    pub times: u64,
    /// Runs in which it was met.
    pub runs: u64,
    /// Runs in which it was meant to be met; of faults.
    #[serde(default)]
    pub enabled: u64,
    /// The run that met it first.
    pub first: Option<First>,
}

impl Seen {
    fn met(&mut self, times: u64, first: &First) {
        if times > 0 {
            self.times += times;
            self.runs += 1;
            if self.first.as_ref().is_none_or(|known| first < known) {
                self.first = Some(first.clone());
            }
        }
    }
}

/// Runs of one scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Runs.
    pub runs: u64,
    /// Of them, failed.
    pub failed: u64,
    /// Polls and events.
    pub events: u64,
}

/// Failures with one signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Eight digits that stand for the signature.
    pub id: String,
    /// What they have in common.
    pub signature: String,
    /// The law they break.
    pub law: String,
    /// What it promises.
    pub promise: String,
    /// How many there are.
    pub count: u64,
    /// By scenario.
    pub scenarios: BTreeMap<String, u64>,
    /// The commit at which it was seen first.
    pub first_commit: String,
    /// The run that showed it first.
    pub first: First,
    /// The shortest of them.
    pub example: Example,
}

/// One failed run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Example {
    /// Polls and events: what is short is easier to understand.
    pub events: u64,
    /// The run.
    pub job: Job,
    /// How its next task was chosen.
    pub scheduler: String,
    /// Simulated milliseconds.
    pub virtual_ms: u64,
    /// Simulated microseconds at which it was complete.
    pub when_us: u64,
    /// What contradicts the law.
    pub evidence: String,
    /// Other laws that it breaks.
    pub also: Vec<String>,
    /// Its trace hash.
    pub trace_hash: String,
    /// What runs it again.
    pub replay: String,
}

/// A campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// [`FORMAT`].
    pub format: u32,
    /// What was asked for.
    pub order: Order,
    /// The commit of the last session.
    pub commit: String,
    /// Real time.
    pub real_ms: u64,
    /// Processor time, of the campaign's own work too.
    pub cpu_ms: u64,
    /// Runs side by side.
    pub jobs: u64,
    /// By scenario, in the order in which they were named.
    pub parts: Vec<Part>,
    /// Runs that were begun and whose end is not in the sums.
    pub pending: Vec<Job>,
    /// By scheduler.
    pub schedulers: BTreeMap<String, Share>,
    /// By kind and name of place.
    pub places: BTreeMap<String, BTreeMap<String, Seen>>,
    /// By class of fault.
    pub faults: BTreeMap<String, Seen>,
    /// What failed, by signature.
    pub failures: Vec<Group>,
    /// Runs that were run again in another process, and were the same.
    pub rerun: u64,
    /// What steers it.
    pub steering: Steering,
}

impl Campaign {
    /// A campaign that has seen nothing.
    pub fn new(order: Order, parts: Vec<Part>) -> Campaign {
        Campaign {
            format: FORMAT,
            order,
            commit: String::new(),
            real_ms: 0,
            cpu_ms: 0,
            jobs: 0,
            parts,
            pending: Vec::new(),
            schedulers: BTreeMap::new(),
            places: BTreeMap::new(),
            faults: FaultClass::ALL
                .iter()
                .map(|c| (c.name().to_owned(), Seen::default()))
                .collect(),
            failures: Vec::new(),
            rerun: 0,
            steering: Steering::default(),
        }
        .with_places()
    }

    /// Counts every place that it may meet, met or not.
    fn with_places(mut self) -> Campaign {
        let parts = &self.parts;
        let may_meet = |site: &Site| match site.kind {
            SiteKind::Shape => parts.iter().any(|part| part.workload.has_shape(site.name)),
            kind => is_counted(kind),
        };
        for site in sites().iter().filter(|site| may_meet(site)) {
            let names = self.places.entry(kind(site.kind).to_owned()).or_default();
            names.entry(site.name.to_owned()).or_default();
        }
        self
    }

    /// Runs whose end is in the sums.
    pub fn runs(&self) -> u64 {
        self.parts.iter().map(|part| part.runs).sum()
    }

    /// Runs that failed.
    pub fn failed(&self) -> u64 {
        self.parts.iter().map(|part| part.failed).sum()
    }

    /// The next run: of the scenario that has had the least of the processor so far. `None` when
    /// every seed was begun.
    pub fn begin(&mut self) -> Option<Job> {
        let until = self.order.until.unwrap_or(u64::MAX);
        let open = self.parts.iter_mut().filter(|part| part.next < until);
        // The first of equals, so that the order of a calm machine is always the same.
        let part = open.min_by_key(|part| part.virtual_runtime())?;
        part.begun += 1;
        let steered = self.order.steered && part.begun.is_multiple_of(2);
        let branch = if steered { self.steering.branch(&part.name, part.begun) } else { None };
        let job = branch.unwrap_or_else(|| {
            part.next += 1;
            Job {
                scenario: part.name.clone(),
                number: part.begun,
                seed: part.next - 1,
                branches: Vec::new(),
            }
        });
        self.pending.push(job.clone());
        Some(job)
    }

    /// Adds what came of a run.
    pub fn add(&mut self, job: &Job, run: &Run, cpu: Duration) {
        let first = self.done(job, cpu);
        let name = scheduler_name(job);
        let share = self.schedulers.entry(name).or_default();
        share.runs += 1;
        share.events += run.events;
        if let Some(part) = self.parts.iter_mut().find(|part| part.name == job.scenario) {
            part.events += run.events;
            part.virtual_ms += run.virtual_ns / 1_000_000;
            part.requests += run.tally.requests;
            part.answered += run.tally.answered;
        }
        for met in &run.met {
            let kind = self.places.entry(kind(met.site.kind).to_owned()).or_default();
            let seen = match kind.get_mut(met.site.name) {
                Some(seen) => seen,
                None => kind.entry(met.site.name.to_owned()).or_default(),
            };
            seen.passed += met.passed;
            seen.met(met.hit, &first);
        }
        let injected = run.faults.iter().map(|(class, times)| (*class, *times));
        for (class, times) in injected.chain(run.unfired.iter().map(|class| (*class, 0))) {
            let seen = self.faults.entry(class.name().to_owned()).or_default();
            seen.enabled += 1;
            seen.met(times, &first);
        }
        let mut failed = None;
        if let Outcome::Broken(breach) = &run.outcome {
            failed = Some(self.fail(job, run, breach));
        }
        if self.order.steered {
            self.steering.learn(job, run, failed.as_deref());
        }
    }

    /// Adds a run that was given up because it took too long in real time.
    pub fn gave_up(&mut self, job: &Job, longest: Duration) {
        self.done(job, longest);
        let breach = Breach {
            law: "timeout".to_owned(),
            promise: "A run comes to its end in real time, too.".to_owned(),
            evidence: format!("it was given up after {} s", longest.as_secs()),
            when: 0,
            also: Vec::new(),
            story: Vec::new(),
            events: Vec::new(),
            backtrace: None,
        };
        self.fail(job, &Run::unended(job.seed), &breach);
    }

    /// Adds that a run was run again in another process.
    pub fn ran_again(&mut self, job: &Job, run: &Run, hash: &str) {
        self.rerun += 1;
        let own = format!("{:016x}", run.trace_hash);
        if own == hash {
            return;
        }
        if let Some(part) = self.parts.iter_mut().find(|part| part.name == job.scenario) {
            part.failed += 1;
        }
        let breach = Breach {
            law: "determinism".to_owned(),
            promise: "A run depends on its seed and on nothing else.".to_owned(),
            evidence: format!("another process came to digest {hash}, this one to {own}"),
            when: 0,
            also: Vec::new(),
            story: Vec::new(),
            events: Vec::new(),
            backtrace: None,
        };
        self.group(job, run, &breach);
    }

    fn done(&mut self, job: &Job, cpu: Duration) -> First {
        self.pending.retain(|pending| pending != job);
        if let Some(part) = self.parts.iter_mut().find(|part| part.name == job.scenario) {
            part.runs += 1;
            part.cpu_us += u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
            part.branches += u64::from(!job.branches.is_empty());
        }
        First { after: job.number, job: job.clone() }
    }

    fn fail(&mut self, job: &Job, run: &Run, breach: &Breach) -> String {
        if let Some(part) = self.parts.iter_mut().find(|part| part.name == job.scenario) {
            part.failed += 1;
        }
        self.schedulers.entry(scheduler_name(job)).or_default().failed += 1;
        self.group(job, run, breach)
    }

    fn group(&mut self, job: &Job, run: &Run, breach: &Breach) -> String {
        let signature = signature(breach);
        let example = Example {
            events: run.events,
            job: job.clone(),
            scheduler: job.scheduler().to_string(),
            virtual_ms: run.virtual_ns / 1_000_000,
            when_us: breach.when / 1_000,
            evidence: breach.evidence.clone(),
            also: breach.also.iter().map(|law| (*law).to_owned()).collect(),
            trace_hash: format!("{:016x}", run.trace_hash),
            replay: format!("cargo xtask sim {}", job.flags(self.order.mutant.as_deref())),
        };
        let first = First { after: job.number, job: job.clone() };
        match self.failures.iter_mut().find(|group| group.signature == signature) {
            Some(group) => {
                group.count += 1;
                *group.scenarios.entry(job.scenario.clone()).or_default() += 1;
                group.first = group.first.clone().min(first);
                group.example = group.example.clone().min(example);
            }
            None => self.failures.push(Group {
                id: id(&signature),
                law: breach.law.clone(),
                promise: breach.promise.clone(),
                count: 1,
                scenarios: BTreeMap::from([(job.scenario.clone(), 1)]),
                first_commit: self.commit.clone(),
                first,
                example,
                signature: signature.clone(),
            }),
        }
        self.failures.sort_by(|a, b| (b.count, &a.signature).cmp(&(a.count, &b.signature)));
        signature
    }

    /// Shapes of data that the workloads of this campaign mean to make and never made, though they
    /// had their number of runs.
    pub fn starved(&self) -> Vec<&str> {
        let full = |workload: &Workload| {
            let of = self.parts.iter().filter(|part| part.workload == *workload);
            let runs: u64 = of.map(|part| part.runs).sum();
            self.order.audit > 0 && runs >= self.order.audit
        };
        let full: BTreeSet<Workload> = Workload::ALL.iter().copied().filter(full).collect();
        let shapes = self.places.get(kind(SiteKind::Shape)).into_iter().flatten();
        let starved = shapes.filter(|(name, seen)| {
            seen.runs == 0 && full.iter().any(|workload| workload.has_shape(name))
        });
        starved.map(|(name, _)| name.as_str()).collect()
    }

    /// Whether nothing failed and nothing starved.
    pub fn is_well(&self) -> bool {
        self.failures.is_empty() && self.starved().is_empty()
    }

    /// All of it, with what follows from it, for machines.
    pub fn report(&self) -> serde_json::Value {
        let mut report = serde_json::to_value(self).unwrap_or_default();
        let simulated: u64 = self.parts.iter().map(|part| part.virtual_ms).sum();
        let cpu: u64 = self.parts.iter().map(|part| part.cpu_us).sum();
        let per = |n: u64, d: u64| if d == 0 { 0.0 } else { n as f64 / d as f64 };
        let never = self.places.values().flat_map(BTreeMap::values).filter(|seen| seen.runs == 0);
        let idle = self.faults.values().filter(|seen| seen.enabled > 0 && seen.runs == 0);
        let summary = serde_json::json!({
            "never_met": never.count(),
            "faults_never_fired": idle.count(),
            "is_well": self.is_well(),
            "runs": self.runs(),
            "failed": self.failed(),
            "signatures": self.failures.len(),
            "starved_shapes": self.starved(),
            "seeds_per_second": round(per(self.runs() * 1_000, self.real_ms)),
            "seeds_per_cpu_second": round(per(self.runs() * 1_000, self.cpu_ms)),
            "simulated_ms": simulated,
            "simulated_per_cpu": round(per(simulated * 1_000, cpu)),
        });
        if let Some(object) = report.as_object_mut() {
            object.insert("summary".to_owned(), summary);
            // What steers is of use to nobody but the campaign itself.
            object.remove("steering");
            object.remove("pending");
        }
        report
    }
}

fn round(n: f64) -> f64 {
    (n * 100.0).round() / 100.0
}

/// Whether runs tell of places of this kind.
pub(crate) fn is_counted(kind: SiteKind) -> bool {
    use SiteKind::{Buggify, Reachable, Shape, Sometimes};
    matches!(kind, Sometimes | Reachable | Buggify | Shape)
}

/// The name of a kind of place.
pub(crate) fn kind(kind: SiteKind) -> &'static str {
    match kind {
        SiteKind::Always => "always",
        SiteKind::Sometimes => "sometimes",
        SiteKind::Reachable => "reachable",
        SiteKind::Unreachable => "unreachable",
        SiteKind::Buggify => "buggify",
        SiteKind::ClockBound(_) => "clock-bound",
        SiteKind::Mutant => "mutant",
        SiteKind::Shape => "shape",
    }
}

#[cfg(test)]
mod tests;
