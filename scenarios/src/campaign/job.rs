//! One run of a campaign, as it can be made again.

use orloj_sim::{
    Fork, Scheduler,
    choice::{Choices, Stream},
};
use serde::{Deserialize, Serialize};

use super::text;
use crate::Setup;

/// One run: everything that decides what happens in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Job {
    /// The scenario.
    pub scenario: String,
    /// Which run of its scenario it is, from 1.
    pub number: u64,
    /// The seed.
    pub seed: u64,
    /// Where it gets other futures: `NANOSECONDS:SEED` each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
}

impl Job {
    /// How the next task is chosen.
    pub fn scheduler(&self) -> Scheduler {
        scheduler(self.seed)
    }

    /// The run's setup.
    pub fn setup(&self, mutant: Option<&'static str>) -> Setup {
        // What is not a branch was never written by a campaign.
        let forks = self.branches.iter().filter_map(|text| text.parse().ok()).collect();
        Setup { scheduler: self.scheduler(), forks, mutant, ..Setup::seed(self.seed) }
    }

    /// The words behind `cargo xtask sim` that run it again.
    pub fn flags(&self, mutant: Option<&str>) -> String {
        let mut flags = format!("--scenario {} --seed {}", self.scenario, self.seed);
        if self.scheduler() != Scheduler::default() {
            flags += &format!(" --scheduler {}", self.scheduler());
        }
        for branch in &self.branches {
            flags += &format!(" --branch {branch}");
        }
        if let Some(mutant) = mutant {
            flags += &format!(" --mutant {mutant}");
        }
        flags
    }

    /// This run until `at`, and another future from there on.
    pub fn branch(&self, at: u64, seed: u64) -> Job {
        let is_kept = |text: &String| text.parse().is_ok_and(|fork: Fork| fork.at < at);
        let mut branches: Vec<String> =
            self.branches.iter().filter(|b| is_kept(b)).cloned().collect();
        branches.push(Fork { at, seed }.to_string());
        Job { branches, ..self.clone() }
    }
}

/// The scheduler that a campaign runs `seed` with: random in four of ten seeds, PCT with a depth of
/// 1 to 5 in three, partial order sampling in two, the oldest first in one.
///
/// It comes from the stream of configurations of the seed's complement: drawn from that of the seed
/// it would go hand in hand with the first draw of the scenario's own configuration.
pub fn scheduler(seed: u64) -> Scheduler {
    let mut choices = Choices::from_seed(!seed);
    match choices.draw(Stream::Swarm, "scheduler", 10) {
        0..4 => Scheduler::Random,
        4..7 => Scheduler::Pct { depth: 1 + choices.draw(Stream::Swarm, "depth", 5) as u32 },
        7..9 => Scheduler::Pos,
        _ => Scheduler::Fifo,
    }
}

/// Where in the order of things a run stands that first met something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct First {
    /// Runs of the scenario until then, that one included.
    pub after: u64,
    /// Which run.
    #[serde(flatten)]
    pub job: Job,
}

/// The scheduler of a run in reports; depths of PCT are one row.
pub fn scheduler_name(job: &Job) -> String {
    text::before(&job.scheduler().to_string(), ':').to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn schedulers_are_drawn_in_their_shares() {
        let mut shares: BTreeMap<String, u64> = BTreeMap::new();
        for seed in 0..10_000 {
            *shares.entry(scheduler(seed).to_string()).or_default() += 1;
            assert_eq!(scheduler(seed), scheduler(seed));
        }
        let near = |name: &str, want: u64| {
            let got = shares[name];
            assert!(got.abs_diff(want) < want / 5, "{name}: {got} of 10,000, not about {want}");
        };
        near("random", 4_000);
        near("pos", 2_000);
        near("fifo", 1_000);
        (1..=5).for_each(|depth| near(&format!("pct:{depth}"), 600));
        assert_eq!(shares.len(), 8);
    }

    #[test]
    fn a_branch_keeps_what_was_before_it() {
        let job = Job { scenario: "engine".into(), number: 1, seed: 7, branches: Vec::new() };
        let deep = job.branch(1_000, 1).branch(2_000, 2);
        assert_eq!(deep.branches, ["1000:1", "2000:2"]);
        assert_eq!(deep.branch(1_500, 3).branches, ["1000:1", "1500:3"]);
        assert!(deep.flags(None).ends_with("--branch 1000:1 --branch 2000:2"));
        assert_eq!(deep.setup(None).forks.len(), 2);
    }
}
