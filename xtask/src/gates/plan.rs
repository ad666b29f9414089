//! `ci/gates.toml`: which gates there are, to which tier each belongs and what it must measure.

use super::slo::Slo;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// In order: a tier runs the gates of those before it too.
    #[serde(rename = "tier")]
    pub(super) tiers: Vec<Tier>,
    #[serde(rename = "gate")]
    pub(super) gates: Vec<Gate>,
}

/// How often gates are run, and how long that may take.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tier {
    pub(super) name: String,
    /// The words behind `cargo xtask` that run it.
    pub(super) command: String,
    pub(super) why: String,
    /// Seconds for its own gates together, those left out that mostly compile.
    pub(super) budget_s: u64,
    /// Whether the later gates are run after one has failed.
    #[serde(default)]
    pub(super) goes_on: bool,
}

/// One command that must succeed, and come to what it is meant to come to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gate {
    pub(super) name: String,
    pub(super) tier: String,
    /// What a failure of it would mean for a reader who did not write it.
    pub(super) why: String,
    /// Program and arguments. `{commit}` is a number made of the commit's hash, `{seeds:N}` the N
    /// seeds from that number on, `{seconds}` nine tenths of the gate's time.
    pub(super) run: Vec<String>,
    /// Seconds of real time after which it is ended and has failed.
    pub(super) budget_s: Option<u64>,
    /// In its place: the share of its tier's time that it takes.
    pub(super) share: Option<f64>,
    /// Whether its time is mostly the compiler's, and is not the tier's.
    #[serde(default)]
    pub(super) compiles: bool,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// What it measures and must reach. Rows are the JSON objects that it prints, a line each.
    #[serde(default)]
    pub(super) slo: Vec<Slo>,
    /// The file that has the rows instead.
    pub(super) rows: Option<String>,
    /// Of a gate that states no least amount of work: why it cannot pass over nothing.
    pub(super) never_empty: Option<String>,
}

/// What stands for something in the arguments of gates.
#[derive(Debug)]
pub(super) struct Terms {
    /// Made of the commit's hash.
    pub(super) commit: u64,
    /// The time of shares, as a part of what the file says.
    pub(super) scale: f64,
}

impl Plan {
    pub(super) fn parse(text: &str) -> Result<Plan> {
        let plan: Plan = toml::from_str(text)?;
        let mut names = BTreeSet::new();
        for Tier { name, budget_s, .. } in &plan.tiers {
            ensure!(names.insert(name.clone()), "tier {name} is listed twice");
            ensure!(*budget_s > 0, "tier {name} has no time");
            let own = || plan.gates.iter().filter(|gate| gate.tier == *name);
            ensure!(own().next().is_some(), "tier {name} has no gate");
            let shares: f64 = own().filter_map(|gate| gate.share).sum();
            ensure!(shares <= 1.0, "the shares of tier {name} are more than its time");
        }
        let mut names = BTreeSet::new();
        for gate in &plan.gates {
            let name = &gate.name;
            ensure!(names.insert(name.clone()), "gate {name} is listed twice");
            ensure!(plan.rank(&gate.tier).is_some(), "gate {name} has no tier of the file");
            ensure!(!gate.run.is_empty(), "gate {name} runs nothing");
            let has_time = match (gate.budget_s, gate.share) {
                (Some(seconds), None) => seconds > 0,
                (None, Some(share)) => share > 0.0,
                _ => false,
            };
            ensure!(has_time, "gate {name} needs either budget_s or share, above 0");
            gate.slo.iter().try_for_each(Slo::check).with_context(|| format!("gate {name}"))?;
            ensure!(
                gate.slo.iter().any(Slo::demands) != gate.never_empty.is_some(),
                "gate {name} could pass over nothing: it needs an slo with `least`, or else \
                 never_empty"
            );
        }
        Ok(plan)
    }

    fn rank(&self, tier: &str) -> Option<usize> {
        self.tiers.iter().position(|known| known.name == tier)
    }

    /// The tier that `cargo xtask COMMAND` runs.
    pub(super) fn tier(&self, command: &str) -> Result<&Tier> {
        let found = self.tiers.iter().find(|tier| tier.command == command);
        found.with_context(|| format!("no tier is run by `cargo xtask {command}`"))
    }

    /// The gates of a tier and of those before it that `only` and `skip` leave; a name that none of
    /// them has is refused, and so is a choice of nothing.
    pub(super) fn choose(
        &self,
        tier: &Tier,
        only: &[String],
        skip: &[String],
    ) -> Result<Vec<&Gate>> {
        let rank = self.rank(&tier.name);
        let own: Vec<&Gate> =
            self.gates.iter().filter(|gate| self.rank(&gate.tier) <= rank).collect();
        for name in only.iter().chain(skip) {
            let known = own.iter().any(|gate| gate.name == *name);
            let command = &tier.command;
            ensure!(known, "no gate is called {name}; `cargo xtask {command} --list` names them");
        }
        let wanted = |gate: &&Gate| only.is_empty() || only.contains(&gate.name);
        let left = own.into_iter().filter(wanted).filter(|gate| !skip.contains(&gate.name));
        let chosen: Vec<&Gate> = left.collect();
        ensure!(!chosen.is_empty(), "nothing is left to run: a tier without gates passes nothing");
        Ok(chosen)
    }

    /// How long a gate may take.
    pub(super) fn budget(&self, gate: &Gate, terms: &Terms) -> Duration {
        let share = || {
            let tier = self.tiers.iter().find(|tier| tier.name == gate.tier);
            let whole = tier.map_or(0, |tier| tier.budget_s) as f64;
            Duration::from_secs_f64((gate.share.unwrap_or(0.0) * whole * terms.scale).max(1.0))
        };
        gate.budget_s.map_or_else(share, Duration::from_secs)
    }

    /// A gate's program and arguments with everything said.
    pub(super) fn command(&self, gate: &Gate, terms: &Terms) -> Result<Vec<String>> {
        let seconds = self.budget(gate, terms).as_secs_f64() * 0.9;
        let mut words = Vec::new();
        for word in &gate.run {
            let mut said = word.replace("{commit}", &terms.commit.to_string());
            said = said.replace("{seconds}", &format!("{}", seconds.ceil() as u64));
            if let Some((before, rest)) = said.split_once("{seeds:") {
                let (count, after) = rest.split_once('}').context("{seeds:N} has no end")?;
                let count: u64 = count.parse().with_context(|| format!("{word}: no number"))?;
                ensure!(count > 0, "gate {} has no seeds", gate.name);
                let until = terms.commit + count;
                said = format!("{before}{}..{until}{after}", terms.commit);
            }
            words.push(said);
        }
        Ok(words)
    }
}

/// A time such as 90s, 10m or 8h.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a time such as 90s, 10m or 8h");
    let units = [("s", 1), ("m", 60), ("h", 3_600)];
    let unit = units.iter().find_map(|(unit, of)| Some((text.strip_suffix(unit)?, of)));
    let (number, seconds) = unit.ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number {
        0 => Err(wrong()),
        _ => Ok(Duration::from_secs(number.saturating_mul(*seconds))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const TIERS: &str = "
        [[tier]]
        name = \"change\"
        command = \"ci\"
        why = \"w\"
        budget_s = 600
        [[tier]]
        name = \"nightly\"
        command = \"nightly\"
        why = \"w\"
        budget_s = 1000
    ";

    pub(crate) fn gate(name: &str, tier: &str, rest: &str) -> String {
        format!("[[gate]]\nname = \"{name}\"\ntier = \"{tier}\"\nwhy = \"w\"\n{rest}\n")
    }

    const RUNS: &str = "run = [\"true\"]\nnever_empty = \"w\"\n";

    fn two() -> String {
        let day = gate("day", "change", &format!("{RUNS}budget_s = 1"));
        let night = gate("night", "nightly", &format!("{RUNS}share = 0.5"));
        format!("{TIERS}{day}{night}")
    }

    fn refusal(rest: &str) -> String {
        let error = Plan::parse(&format!("{}{}", two(), gate("g", "change", rest)));
        format!("{:#}", error.err().expect("it is refused"))
    }

    #[test]
    fn gates_without_time_work_or_a_name_of_their_own_are_refused() {
        assert!(Plan::parse(&two()).is_ok());
        assert!(refusal("run = []\nnever_empty = \"w\"\nbudget_s = 1").contains("runs nothing"));
        assert!(refusal(&format!("{RUNS}budget_s = 0")).contains("budget_s or share"));
        assert!(refusal(RUNS).contains("budget_s or share"));
        assert!(refusal(&format!("{RUNS}budget_s = 1\nextra = 1")).contains("extra"));
        let twice = format!("{}{}", two(), gate("day", "change", &format!("{RUNS}budget_s = 1")));
        assert!(Plan::parse(&twice).is_err());
        let lost = format!("{}{}", two(), gate("g", "yearly", &format!("{RUNS}budget_s = 1")));
        assert!(Plan::parse(&lost).is_err());
        let greedy = format!("{}{}", two(), gate("g", "nightly", &format!("{RUNS}share = 0.6")));
        assert!(Plan::parse(&greedy).is_err());
    }

    #[test]
    fn a_gate_that_could_pass_over_nothing_is_refused() {
        let nothing = "run = [\"true\"]\nbudget_s = 1\n";
        assert!(refusal(nothing).contains("pass over nothing"));
        let at_most = format!("{nothing}slo = [{{ measure = \"failed\", most = 0 }}]");
        assert!(refusal(&at_most).contains("pass over nothing"));
        let zero = format!("{nothing}slo = [{{ measure = \"rows\", least = 0 }}]");
        assert!(refusal(&zero).contains("pass over nothing"));
        let neither = format!("{nothing}slo = [{{ measure = \"rows\" }}]");
        assert!(refusal(&neither).contains("neither"));
        let some = format!("{nothing}slo = [{{ measure = \"rows\", least = 1 }}]");
        assert!(Plan::parse(&format!("{}{}", two(), gate("g", "change", &some))).is_ok());
    }

    #[test]
    fn a_tier_runs_those_before_it_too() {
        let plan = Plan::parse(&two()).expect("it is well formed");
        let names = |command: &str, only: &[&str], skip: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
            let tier = plan.tier(command).expect("there is one");
            let chosen = plan.choose(tier, &owned(only), &owned(skip));
            chosen.map(|gates| gates.iter().map(|gate| gate.name.clone()).collect::<Vec<_>>())
        };
        assert_eq!(names("ci", &[], &[]).expect("some"), ["day"]);
        assert_eq!(names("nightly", &[], &[]).expect("some"), ["day", "night"]);
        assert_eq!(names("nightly", &["night"], &[]).expect("some"), ["night"]);
        assert!(names("ci", &["night"], &[]).is_err(), "it is none of the tier's");
        let nothing = names("ci", &[], &["day"]).expect_err("nothing is left").to_string();
        assert!(nothing.contains("nothing is left to run"), "{nothing}");
    }

    #[test]
    fn seeds_follow_the_commit_and_time_the_share() {
        let args = "run = [\"sim\", \"{seeds:3}\", \"--from={commit}\", \"{seconds}s\"]";
        let rest = format!("{args}\nnever_empty = \"w\"\nshare = 0.1");
        let plan = format!("{}{}", two(), gate("g", "nightly", &rest));
        let plan = Plan::parse(&plan).expect("it is well formed");
        let gate = &plan.gates[2];
        let said = |commit, scale| plan.command(gate, &Terms { commit, scale }).expect("said");
        assert_eq!(said(7, 1.0), ["sim", "7..10", "--from=7", "90s"]);
        assert_eq!(said(8, 0.5), ["sim", "8..11", "--from=8", "45s"]);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("8h"), Ok(Duration::from_secs(8 * 3_600)));
        assert!(["", "8", "h", "0s", "-1m", "soon"].iter().all(|text| time(text).is_err()));
    }

    #[test]
    fn the_gates_of_this_tree_are_well_formed() {
        let path = crate::process::root().join("ci/gates.toml");
        let text = std::fs::read_to_string(path).expect("ci/gates.toml is there");
        let plan = Plan::parse(&text).expect("ci/gates.toml is well formed");
        let terms = Terms { commit: 1, scale: 1.0 };
        for gate in &plan.gates {
            let words = plan.command(gate, &terms).expect("every word can be said");
            assert!(!words.iter().any(|word| word.contains('{')), "{words:?}");
        }
    }
}
