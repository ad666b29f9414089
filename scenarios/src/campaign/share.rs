//! What each scenario has had of a campaign.

use serde::{Deserialize, Serialize};

use crate::Scenario;

/// Who works in a scenario. Each means to make shapes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Clients that speak RESP to a node.
    Node,
    /// Clients that ask in envelopes.
    Commands,
    /// Users of a database by itself.
    Engine,
}

impl Workload {
    /// All of them.
    pub const ALL: &[Workload] = &[Workload::Node, Workload::Commands, Workload::Engine];

    /// The workload of a scenario.
    pub fn of(scenario: &Scenario) -> Workload {
        match (&scenario.engine, &scenario.commands) {
            (Some(_), _) => Workload::Engine,
            (None, Some(_)) => Workload::Commands,
            (None, None) => Workload::Node,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Node => "node",
            Workload::Commands => "commands",
            Workload::Engine => "engine",
        }
    }

    /// Whether a shape of this name is one of its own: `node: a hot key`.
    pub fn has_shape(self, shape: &str) -> bool {
        shape.strip_prefix(self.name()).is_some_and(|rest| rest.starts_with(": "))
    }
}

/// One scenario of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The scenario, as it was named.
    pub name: String,
    /// Who works in it.
    pub workload: Workload,
    /// The next seed.
    pub next: u64,
    /// Runs begun.
    pub begun: u64,
    /// Runs whose end is in the sums.
    pub runs: u64,
    /// Of them, branches of others.
    pub branches: u64,
    /// Of them, failed.
    pub failed: u64,
    /// Processor time.
    pub cpu_us: u64,
    /// Simulated time.
    pub virtual_ms: u64,
    /// Polls and events.
    pub events: u64,
    /// Requests sent.
    pub requests: u64,
    /// Of them, answered.
    pub answered: u64,
}

impl Part {
    /// A scenario of which nothing was run.
    pub fn new(name: &str, workload: Workload, from: u64) -> Part {
        Part {
            name: name.to_owned(),
            workload,
            next: from,
            begun: 0,
            runs: 0,
            branches: 0,
            failed: 0,
            cpu_us: 0,
            virtual_ms: 0,
            events: 0,
            requests: 0,
            answered: 0,
        }
    }

    /// The processor time it has had, with what runs under way are going to take if they are like
    /// those before. Whoever has the least is next, so that a scenario of slow runs gets as much
    /// time as one of fast runs, and not as many seeds.
    pub(super) fn virtual_runtime(&self) -> u64 {
        let under_way = self.begun - self.runs.min(self.begun);
        // A first guess of 20 ms, so that all scenarios begin before any goes on.
        let mean = self.cpu_us.checked_div(self.runs).unwrap_or(20_000);
        self.cpu_us + under_way * mean
    }
}
