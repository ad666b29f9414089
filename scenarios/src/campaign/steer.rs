//! Which run to make another of.
//!
//! A run that met something new is worth keeping up to there: its prefix is kept and what is chosen
//! behind it is drawn from another seed. New is a place whose condition held for the first time in
//! its scenario, a place that held so many times as never before (times count in powers of two), or
//! a failure of a new kind. The same is done with what comes of that, so that prefixes grow.

use std::collections::BTreeSet;

use orloj_sim::choice::{Choices, Stream};
use serde::{Deserialize, Serialize};

use super::{Job, kind};
use crate::Run;

/// Runs of a scenario that are remembered: the most promising.
const KEPT: usize = 64;

/// What steers a campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steering {
    /// What was met, by scenario, place and power of two.
    known: BTreeSet<String>,
    /// Runs worth branching from.
    corpus: Vec<Prefix>,
}

/// A run that met something new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Prefix {
    job: Job,
    /// Simulated nanoseconds at which the last of it was met first.
    at: u64,
    /// How much was new.
    novelty: u64,
    /// Branches made of it.
    branches: u64,
}

impl Prefix {
    /// What is new counts less the more often it was gone on with.
    fn worth(&self) -> u64 {
        (self.novelty << 16) / (1 + self.branches * self.branches)
    }
}

impl Steering {
    /// Something new met by one run.
    fn novelty(&mut self, job: &Job, run: &Run, failed: Option<&str>) -> (u64, u64) {
        let (mut novelty, mut at) = (0, 0);
        for met in run.met.iter().filter(|met| met.hit > 0) {
            let (kind, name) = (kind(met.site.kind), met.site.name);
            let power = met.hit.ilog2();
            if self.known.insert(format!("{}/{kind}/{name}/{power}", job.scenario)) {
                // A place never met is worth more than one met more often.
                novelty += if power == 0 { 4 } else { 1 };
                at = at.max(met.first.unwrap_or_default());
            }
        }
        if let Some(signature) = failed
            && self.known.insert(format!("{}/{signature}", job.scenario))
        {
            novelty += 4;
        }
        (novelty, at)
    }

    /// Takes note of what a run met.
    pub fn learn(&mut self, job: &Job, run: &Run, failed: Option<&str>) {
        let (novelty, at) = self.novelty(job, run, failed);
        // Before anything happens there is nothing to keep.
        if novelty == 0 || at == 0 {
            return;
        }
        self.corpus.push(Prefix { job: job.clone(), at, novelty, branches: 0 });
        let of = |prefix: &Prefix| prefix.job.scenario == job.scenario;
        if self.corpus.iter().filter(|prefix| of(prefix)).count() > KEPT {
            let places = self.corpus.iter().enumerate().filter(|(_, prefix)| of(prefix));
            if let Some((least, _)) = places.min_by_key(|(_, prefix)| prefix.worth()) {
                self.corpus.remove(least);
            }
        }
    }

    /// The next branch of a run of `scenario`, its `number`th run; `None` if none is worth it yet.
    pub fn branch(&mut self, scenario: &str, number: u64) -> Option<Job> {
        let of = self.corpus.iter_mut().filter(|prefix| prefix.job.scenario == scenario);
        // The youngest of equals: it stands on the others.
        let prefix = of.max_by_key(|prefix| (prefix.worth(), prefix.job.number))?;
        prefix.branches += 1;
        let mut choices = Choices::from_seed(number);
        // From what was new on, or from somewhere before it: what led there may lead elsewhere.
        let at = match choices.draw(Stream::Swarm, "branch-from", 2) {
            0 => prefix.at + 1,
            _ => 1 + choices.draw(Stream::Swarm, "branch-at", prefix.at),
        };
        Some(Job { number, ..prefix.job.branch(at, number) })
    }
}
