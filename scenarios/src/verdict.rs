//! What one seed is run with, and what came of it.

use std::{io::Write, sync::Arc};

use orloj_invariants::{About, Moment};
use orloj_kernel::{Site, SiteKind};
use orloj_sim::{Config, Detail, Failure, Fork, Report, Scheduler, Stop, fault::FaultClass};

use crate::{
    account::Account,
    campaign::is_counted,
    case::{Case, Ledger},
    record::Record,
};

/// How to run one seed.
pub struct Setup {
    /// The seed.
    pub seed: u64,
    /// Whether anything goes wrong.
    pub faults: bool,
    /// How the next task is chosen.
    pub scheduler: Scheduler,
    /// How much is kept of what happens.
    pub detail: Detail,
    /// Where the story goes line by line.
    pub sink: Option<Box<dyn Write + Send>>,
    /// Whether packets are kept too, where events are.
    pub packets: bool,
    /// Where the run is to be stopped, to look at it.
    pub stop: Option<Stop>,
    /// Where it gets another future, and where that gets another, in order.
    pub forks: Vec<Fork>,
    /// The planted defect that is active.
    pub mutant: Option<&'static str>,
    /// Polls after which the run has failed as stuck, if fewer than is usual.
    pub poll_limit: Option<u64>,
    /// What happens, if it is not to be drawn.
    pub case: Option<Arc<Case>>,
    /// Where it is written down what happens, if it is to become a case.
    pub notes: Option<Arc<Ledger>>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Setup {
    /// A seed with its faults, a random scheduler, nothing kept and no defect.
    pub fn seed(seed: u64) -> Setup {
        Setup {
            seed,
            faults: true,
            scheduler: Scheduler::Random,
            detail: Detail::Hash,
            sink: None,
            packets: false,
            stop: None,
            forks: Vec::new(),
            mutant: None,
            poll_limit: None,
            case: None,
            notes: None,
        }
    }

    /// Who writes down what happens, or gives it out.
    pub(crate) fn ledger(&self) -> Arc<Ledger> {
        match (&self.case, &self.notes) {
            (Some(case), _) => Ledger::playing(case),
            (None, Some(notes)) => notes.clone(),
            (None, None) => Ledger::off(),
        }
    }

    /// The world's configuration, in which a run is stuck after so many polls at most.
    pub(crate) fn config(self, poll_limit: u64) -> Config {
        Config {
            poll_limit: self.poll_limit.map_or(poll_limit, |limit| limit.min(poll_limit)),
            scheduler: self.scheduler,
            detail: self.detail,
            sink: self.sink,
            record: self.detail == Detail::Graph,
            packets: self.packets,
            stop: self.stop,
            forks: self.forks,
            mutant: self.mutant,
            ..Config::seed(self.seed)
        }
    }
}

/// How a seed ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every promise held.
    Held,
    /// One did not.
    Broken(Breach),
    /// The run could not begin, and why.
    DidNotStart(String),
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The law, or the property of the code, or `panic`, `trap`, `stalled`, `out-of-time`.
    pub law: String,
    /// What it promises.
    pub promise: String,
    /// What contradicts it.
    pub evidence: String,
    /// Simulated nanoseconds at which it was complete.
    pub when: u64,
    /// Other laws that the same run breaks.
    pub also: Vec<&'static str>,
    /// What it rests on, on one screen, if events were recorded.
    pub story: Vec<String>,
    /// The events that it touches, if they were recorded: their causal cone explains it.
    pub events: Vec<u32>,
    /// Where, for panics and traps.
    pub backtrace: Option<String>,
}

impl Breach {
    /// What the world itself found.
    pub(crate) fn of(failure: Failure, when: u64) -> Breach {
        let promise = match failure.law.as_str() {
            "panic" => "No code panics.",
            "trap" => "Simulated code reaches the world only through its context.",
            "stalled" | "out-of-time" => "The run comes to its end.",
            "driver" => "The scenario itself is not hit by its faults.",
            _ => "A property stated in the code holds whenever it is passed.",
        };
        Breach {
            law: failure.law,
            promise: promise.to_owned(),
            evidence: failure.evidence,
            when,
            also: Vec::new(),
            story: Vec::new(),
            events: Vec::new(),
            backtrace: failure.backtrace,
        }
    }
}

/// How often a stated property or rare path was met in one run.
#[derive(Clone, Copy, Debug)]
pub struct Met {
    /// The place.
    pub site: &'static Site,
    /// How often it was passed.
    pub passed: u64,
    /// How often its condition held.
    pub hit: u64,
    /// Simulated nanoseconds at which it first held.
    pub first: Option<u64>,
}

/// Sizes of what a run did, so that a green run can be seen to have done something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent.
    pub requests: u64,
    /// Of them, answered.
    pub answered: u64,
    /// Of them, lost with their connection.
    pub lost: u64,
    /// Commands the node executed.
    pub executed: u64,
    /// Times the node came up.
    pub lives: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: Tally) {
        self.requests += other.requests;
        self.answered += other.answered;
        self.lost += other.lost;
        self.executed += other.executed;
        self.lives += other.lives;
    }
}

/// One finished seed.
#[derive(Clone, Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Equal runs have equal hashes.
    pub trace_hash: u64,
    /// Polls and events.
    pub events: u64,
    /// Simulated nanoseconds.
    pub virtual_ns: u64,
    /// What was injected, how often.
    pub faults: Vec<(FaultClass, u64)>,
    /// What was meant to be injected and never was.
    pub unfired: Vec<FaultClass>,
    /// Every `sometimes!`, `reachable!` and `buggify!`.
    pub met: Vec<Met>,
    /// What the run did.
    pub tally: Tally,
    /// What happened and why, if it was recorded.
    pub record: Option<Arc<Record>>,
}

impl Run {
    /// A seed that never began.
    pub(crate) fn did_not_start(seed: u64, why: String) -> Run {
        Run {
            seed,
            outcome: Outcome::DidNotStart(why),
            trace_hash: 0,
            events: 0,
            virtual_ns: 0,
            faults: Vec::new(),
            unfired: Vec::new(),
            met: Vec::new(),
            tally: Tally::default(),
            record: None,
        }
    }

    /// A seed that was given up on its way.
    pub(crate) fn unended(seed: u64) -> Run {
        Run::did_not_start(seed, String::new())
    }

    /// A seed that ended with this report.
    pub(crate) fn of(seed: u64, mut report: Report, outcome: Outcome, tally: Tally) -> Run {
        let counted = |kind| is_counted(kind) && kind != SiteKind::Shape;
        let record = Record::taken(&mut report).map(Arc::new);
        let places = report.coverage.places(counted);
        let met =
            |(site, passed, hit)| Met { site, passed, hit, first: report.coverage.first(site) };
        Run {
            record,
            seed,
            outcome,
            trace_hash: report.trace_hash,
            events: report.events,
            virtual_ns: report.virtual_ns,
            faults: report.faults.injections().collect(),
            unfired: report.faults.unfired().collect(),
            met: places.map(met).collect(),
            tally,
        }
    }
}

impl Run {
    /// Adds the shapes of data that it produced.
    pub(crate) fn with_shapes(mut self, shapes: Vec<Met>) -> Run {
        self.met.extend(shapes);
        self
    }

    /// Adds what the keys of a broken law went through, if events were recorded.
    pub(crate) fn with_accounts(
        mut self,
        about: Option<(Moment, About)>,
        account: impl FnOnce(Moment, &About) -> Vec<Account>,
    ) -> Run {
        if let (Some(record), Some((when, about))) = (&mut self.record, about) {
            Arc::make_mut(record).accounts = account(when, &about);
        }
        self
    }
}

/// Every planted defect in this binary, by name.
pub fn mutants() -> Vec<&'static str> {
    let sites = orloj_kernel::sites();
    let mut names: Vec<&str> =
        sites.iter().filter(|site| site.kind == SiteKind::Mutant).map(|site| site.name).collect();
    names.dedup();
    names
}
