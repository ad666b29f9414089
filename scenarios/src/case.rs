//! A case: a world with nothing left to draw but schedule, latency and the luck of its fault rates.
//!
//! A scenario whose every span is one value, and what happened in words: what each client did, with
//! the pauses before, and what struck, anchored to what somebody did. What a case leaves out is at
//! its calm value. Nothing in it names a virtual time or the number of a choice, so it goes on
//! meaning what it says when the code changes.

mod ledger;
mod text;
mod words;
mod world;

use std::collections::BTreeMap;

use orloj_sim::{
    Scheduler,
    choice::{Choices, Script as Overrides, Source},
};
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::{
    Scenario, ScenarioError,
    node::NODE,
    scenario::{ClientPlan, EnginePlan, Plan, Span, Time},
};

pub use crate::nemesis::Blow;
pub use ledger::Ledger;
pub(crate) use ledger::{Noted, chaos};
pub(crate) use text::single;
pub(crate) use words::{read, spell};
pub(crate) use world::{engine_world, node_world};

/// What once failed, as it is written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its name: the file's, without `.toml`.
    pub title: String,
    /// What happened, for readers: the comment at the head of the file.
    pub about: Vec<String>,
    /// The law, property or trap that is broken.
    pub law: String,
    /// The defect with which it is.
    pub mutant: Option<String>,
    /// The commit that mended it, where no mutant keeps the defect.
    pub fixed_by: Option<String>,
    /// How the next task is chosen.
    pub scheduler: Scheduler,
    /// Where it was seen first.
    pub history: Origin,
    /// The scenario, every span a single value; without title, promise and clients.
    pub world: Table,
    /// Clocks that are wrong from the beginning.
    pub clocks: Vec<Clock>,
    /// What each client does.
    pub clients: Vec<Script>,
    /// What goes wrong, and when.
    pub strikes: Vec<Strike>,
}

/// Where a case comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Origin {
    /// The scenario.
    pub scenario: String,
    /// Its seed, which means nothing once the code has changed.
    pub seed: u64,
    /// The commit at which the seed failed.
    pub commit: String,
}

/// A clock that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Clock {
    /// Whose: `node`, or `c0` and so on.
    pub host: String,
    /// Microseconds that the wall clock is ahead.
    #[serde(default)]
    pub offset_us: i64,
    /// Nanoseconds that it gains in a second.
    #[serde(default)]
    pub drift_ppb: i64,
}

/// What one client does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// How long it waits for a reply, in nanoseconds.
    pub patience: u64,
    /// Whether it reads late and little.
    pub slow: bool,
    /// Whether it speaks RESP3 or, natively, over several connections.
    pub resp3: bool,
    /// What it does, in order; what it does when all must work comes last.
    pub steps: Vec<Step>,
}

/// One operation of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Its place among the operations of all clients when they were recorded: by this strikes know
    /// it.
    pub id: u32,
    /// What is asked, in the workload's words.
    pub text: String,
    /// Pause before it, in nanoseconds.
    pub after: u64,
    /// Whether it goes out with the one before.
    pub with: bool,
    /// Whether it is handed over in one piece with others of its batch that are.
    pub together: bool,
    /// Replies of its batch that are not waited for before the next goes out.
    pub keep: u64,
    /// Whether the connection is left for a new one behind it.
    pub leave: bool,
    /// After so many nanoseconds the client goes and does not hear what came of it.
    pub walk_away: Option<u64>,
    /// Whether it is for the time when everything must work.
    pub closing: bool,
    /// Whether nothing fails without it.
    pub necessary: bool,
}

/// Something that goes wrong once.
#[derive(Clone, Debug, PartialEq)]
pub struct Strike {
    /// Behind what.
    pub after: Anchor,
    /// How long behind it, in nanoseconds.
    pub wait: u64,
    /// What.
    pub blow: Blow,
    /// Whether nothing fails without it.
    pub necessary: bool,
}

/// An event behind which something strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The beginning of the world.
    Start,
    /// A client has begun the step of this id.
    Sends(u32),
    /// A client has heard what came of it, or that nothing did.
    Hears(u32),
    /// The node's disk has completed so many writes.
    Writes(u64),
    /// The node's disk has completed so many syncs of files.
    Syncs(u64),
}

impl Case {
    /// The scenario it is a case of, whose spans are single values.
    ///
    /// # Errors
    /// What in it makes no sense.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut table = self.world.clone();
        table.insert("title".to_owned(), self.title.clone().into());
        table.insert("promise".to_owned(), self.law.clone().into());
        let count = self.clients.len().max(1).to_string();
        if let Some(engine) = table.get_mut("engine").and_then(toml::Value::as_table_mut) {
            engine.insert("clients".to_owned(), count.into());
        } else {
            let mut clients = Table::new();
            clients.insert("count".to_owned(), count.into());
            clients.insert("requests".to_owned(), "0".into());
            clients.insert("patience".to_owned(), "1s".into());
            table.insert("clients".to_owned(), clients.into());
        }
        // A calm engine makes no checkpoints of its own.
        let kind = if self.world.contains_key("engine") { "engine" } else { "node" };
        let kind = table.entry(kind).or_insert_with(|| toml::Value::Table(Table::new()));
        if let Some(kind) = kind.as_table_mut() {
            kind.entry("checkpoint-every").or_insert_with(|| "1m".into());
        }
        Scenario::parse(&self.title, &table.to_string())
    }

    /// Choices of which each is the calm one.
    fn calm() -> Choices {
        Choices::new(Source::Bytes(Vec::new()), Overrides::default(), false)
    }

    /// The plan of a world about a node.
    pub(crate) fn plan(&self, scenario: &Scenario) -> Plan {
        let mut plan = scenario.plan(&mut Case::calm(), true);
        if let Some(span) = scenario.network.latency {
            plan.latency = orloj_sim::Latency::Uniform(span.low, span.high);
        }
        plan.disk.on_synced.bit_rot |= self.rots();
        plan.clients = self.clients.iter().map(Script::habits).collect();
        let wrong = |host: &str| self.clocks.iter().find(|clock| clock.host == host);
        let hosts = std::iter::once(NODE.to_owned()).chain((0..).map(crate::client::host));
        let clocks = hosts.take(self.clients.len() + 1);
        let clock = |host: String| wrong(&host).map_or((0, 0), |c| (c.offset_us, c.drift_ppb));
        plan.clocks = clocks.map(clock).collect();
        plan
    }

    /// The plan of a world about a database by itself.
    pub(crate) fn engine_plan(&self, scenario: &Scenario) -> Option<EnginePlan> {
        let mut plan = scenario.engine_plan(&mut Case::calm(), true)?;
        plan.disk.on_synced.bit_rot |= self.rots();
        let wrong = self.clocks.iter().find(|clock| clock.host == NODE);
        plan.clock = wrong.map_or((0, 0), |clock| (clock.offset_us, clock.drift_ppb));
        plan.is_made_read_only =
            self.strikes.iter().any(|strike| matches!(strike.blow, Blow::DiskReadOnly { .. }));
        plan.clients = self.clients.len().max(1) as u64;
        Some(plan)
    }

    /// Whether a strike may touch what was synced.
    fn rots(&self) -> bool {
        self.strikes.iter().any(|strike| matches!(strike.blow, Blow::BitRot { .. }))
    }

    /// Steps of all clients.
    pub fn ops(&self) -> usize {
        self.clients.iter().map(|client| client.steps.len()).sum()
    }

    /// Strikes, rates of faults above zero, and clocks that are wrong.
    pub fn faults(&self) -> usize {
        let rates = ["network", "disk"].into_iter().filter_map(|name| self.world.get(name));
        let rates = rates.filter_map(toml::Value::as_table).flat_map(|table| table.keys());
        // How long is not how often, and being slow is not to fail.
        let quiet = ["latency", "stall-for", "slowness", "slow"];
        self.strikes.len()
            + self.clocks.len()
            + rates.filter(|name| !quiet.contains(&name.as_str())).count()
    }

    /// Machines that take part.
    pub fn hosts(&self) -> usize {
        match self.world.contains_key("engine") {
            true => 1,
            false => 1 + self.clients.len(),
        }
    }

    /// Which client's which step has this id.
    pub(crate) fn place_of(&self, id: u32) -> Option<(u32, u32)> {
        self.clients.iter().enumerate().find_map(|(client, script)| {
            let place = script.steps.iter().position(|step| step.id == id)?;
            Some((client as u32, place as u32))
        })
    }

    /// The same without the steps and strikes that are not to be kept. A client with nothing left
    /// to do goes too, and with it what struck it. What was anchored to a step that goes is
    /// anchored to the one before it.
    #[must_use]
    pub fn keeping(&self, keeps: impl Fn(&Step) -> bool, strikes: impl Fn(usize) -> bool) -> Case {
        let mut case = self.clone();
        let mut kept: BTreeMap<u32, bool> = BTreeMap::new();
        for client in &mut case.clients {
            let mut head: Option<u64> = None;
            let steps = std::mem::take(&mut client.steps);
            for mut step in steps {
                let keep = keeps(&step);
                kept.insert(step.id, keep);
                if !step.with {
                    head = None;
                }
                if !keep {
                    // The next of its batch leads it now.
                    if !step.with {
                        head = Some(step.after);
                    }
                    continue;
                }
                if let (true, Some(after)) = (step.with, head.take()) {
                    (step.with, step.after) = (false, after);
                }
                client.steps.push(step);
            }
        }
        let struck: Vec<Strike> = std::mem::take(&mut case.strikes);
        for (number, mut strike) in struck.into_iter().enumerate() {
            if !strikes(number) {
                continue;
            }
            if let Anchor::Sends(id) | Anchor::Hears(id) = strike.after
                && kept.get(&id) != Some(&true)
            {
                let before = kept.range(..id).rev().find(|(_, keep)| **keep);
                strike.after = before.map_or(Anchor::Start, |(id, _)| Anchor::Hears(*id));
            }
            case.strikes.push(strike);
        }
        // In a database by itself clients are tasks: one without work is nothing.
        let empty = |case: &Case| case.clients.iter().rposition(|client| client.steps.is_empty());
        while case.clients.len() > 1
            && let Some(gone) = empty(&case)
        {
            case.forget(gone);
        }
        case
    }

    fn forget(&mut self, gone: usize) {
        self.clients.remove(gone);
        let moved = |host: &str| -> Option<String> {
            match host.strip_prefix('c').and_then(|n| n.parse::<usize>().ok()) {
                Some(n) if n == gone => None,
                Some(n) if n > gone => Some(crate::client::host(n as u32 - 1)),
                _ => Some(host.to_owned()),
            }
        };
        self.clocks.retain_mut(|clock| match moved(&clock.host) {
            Some(host) => {
                clock.host = host;
                true
            }
            None => false,
        });
        self.strikes.retain_mut(|strike| match strike.blow.whom() {
            None => true,
            Some(whom) => match moved(whom) {
                Some(host) => {
                    *whom = host;
                    true
                }
                None => false,
            },
        });
    }
}

impl Script {
    fn habits(&self) -> ClientPlan {
        ClientPlan {
            requests: 0,
            pipeline: 1,
            think: Span::<Time>::new(0, 0),
            patience: std::time::Duration::from_nanos(self.patience),
            per_connection: 0,
            slow: self.slow,
            walk_away_ppm: 0,
            resp3: self.resp3,
        }
    }
}

#[cfg(test)]
mod tests;
