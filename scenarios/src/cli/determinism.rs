//! `check-determinism`: the same seed in two processes.
//!
//! The second process differs from the first in everything that must not matter: it has other
//! environment variables and another working directory, has run another seed before, tells its
//! story, and may be another build. Where the hashes differ, both run again with every event
//! written down, and the first event that differs is named.

use std::{
    io::BufRead,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    BROKEN, HELD,
    args::{DeterminismArgs, RunArgs},
    machine::{self, Scratch, Surroundings, say},
    program::{self, Program},
};

/// What two runs of one seed came to.
pub(super) enum Verdict {
    /// The same.
    Same,
    /// Not even the first may run: the world trapped it.
    Trapped(String),
    /// Something else.
    Differs(Difference),
}

/// Where two runs of one seed part.
pub(super) struct Difference {
    pub(super) hashes: [String; 2],
    /// What is known of the first event that differs.
    pub(super) first: Vec<String>,
}

/// The two processes.
pub(super) struct Pair {
    binaries: [PathBuf; 2],
    scratch: Scratch,
    common: Vec<String>,
}

impl Pair {
    pub(super) fn new(
        scenario: &str,
        mutant: Option<&str>,
        other: Option<&Path>,
    ) -> Result<Pair, String> {
        let own = machine::own_binary()?;
        // The second process stands elsewhere.
        let other = other.map(machine::absolute).transpose()?;
        let binaries = [own.clone(), other.unwrap_or(own)];
        let scenario = match scenario.ends_with(".toml") {
            true => machine::absolute(Path::new(scenario))?.display().to_string(),
            false => scenario.to_owned(),
        };
        let mut common = vec!["--scenario".to_owned(), scenario];
        common.extend(mutant.into_iter().flat_map(|m| ["--mutant".to_owned(), m.to_owned()]));
        Ok(Pair { binaries, scratch: Scratch::new()?, common })
    }

    /// Runs a seed in both.
    pub(super) fn check(&self, seed: u64) -> Result<Verdict, String> {
        let (first, second) = (self.hash(0, seed)?, self.hash(1, seed)?);
        if first.1.as_deref() == Some("trap") {
            return Ok(Verdict::Trapped(first.2));
        }
        if first.0 == second.0 {
            return Ok(Verdict::Same);
        }
        let first_event = self.first_difference(seed)?;
        Ok(Verdict::Differs(Difference { hashes: [first.0, second.0], first: first_event }))
    }

    /// The hash, broken law and evidence of one run.
    fn hash(&self, which: usize, seed: u64) -> Result<(String, Option<String>, String), String> {
        let mut args = self.args(which, seed);
        args.push("--json".to_owned());
        if which == 1 {
            args.push("--told".to_owned());
        }
        let (output, _) = machine::child(&self.binaries[which], &args, &self.surroundings(which))?;
        let wrong = |what: &str| format!("{} said no {what}: {output}", args.join(" "));
        let row: Value = serde_json::from_str(output.trim()).map_err(|_| wrong("JSON"))?;
        let text = |key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
        let hash = text("trace_hash").ok_or_else(|| wrong("hash"))?;
        Ok((hash, text("law"), text("evidence").unwrap_or_default()))
    }

    fn args(&self, which: usize, seed: u64) -> Vec<String> {
        let mut args = self.common.clone();
        args.extend(["--seed".to_owned(), seed.to_string()]);
        if which == 1 {
            args.extend(["--warm-up".to_owned(), seed.wrapping_add(1).to_string()]);
        }
        args
    }

    fn surroundings(&self, which: usize) -> Surroundings<'_> {
        if which == 0 { Surroundings::Own } else { Surroundings::Other(self.scratch.path()) }
    }

    /// Runs both again with every event written down, and compares.
    fn first_difference(&self, seed: u64) -> Result<Vec<String>, String> {
        let traces = [0, 1].map(|which| self.scratch.path().join(format!("{seed}-{which}.trace")));
        for (which, trace) in traces.iter().enumerate() {
            let mut args = self.args(which, seed);
            args.extend(["--json", "--events", "--trace"].map(str::to_owned));
            args.push(trace.display().to_string());
            machine::child(&self.binaries[which], &args, &self.surroundings(which))?;
        }
        parting(&traces)
    }
}

/// How many equal lines are shown before the first that differs.
const CONTEXT: usize = 4;

/// The first line in which two traces differ, with what led to it.
fn parting(traces: &[PathBuf; 2]) -> Result<Vec<String>, String> {
    let mut readers = [machine::lines(&traces[0])?.lines(), machine::lines(&traces[1])?.lines()];
    let mut before: Vec<String> = Vec::new();
    let mut number = 0_u64;
    loop {
        number += 1;
        let [a, b] = readers.each_mut().map(|lines| lines.next().and_then(Result::ok));
        match (a, b) {
            (None, None) => {
                return Ok(vec![format!(
                    "none: with every event written down both runs are equal ({} events). What \
                     differed is whether the run was told, so something draws while it is shown",
                    number - 1
                )]);
            }
            (Some(a), Some(b)) if a == b => {
                if before.len() == CONTEXT {
                    before.remove(0);
                }
                before.push(a);
            }
            (a, b) => {
                let end = || "(the run has ended)".to_owned();
                let mut shown = vec![format!("event {number}")];
                shown.extend(before.into_iter().map(|line| format!("  both    {line}")));
                shown.push(format!("  first   {}", a.unwrap_or_else(end)));
                shown.push(format!("  second  {}", b.unwrap_or_else(end)));
                return Ok(shown);
            }
        }
    }
}

/// Runs the task.
pub(super) fn run(args: &RunArgs, task: &DeterminismArgs) -> Result<u8, String> {
    let program = Program::find(args)?;
    program::mutant(task.mutant.as_deref())?;
    let name = args.scenario.as_deref().unwrap_or(program.title());
    let pair = Pair::new(name, task.mutant.as_deref(), task.other_binary.as_deref())?;
    let seeds = args.seeds.clone().unwrap_or(0..20);
    let (mut same, mut different, mut failed) = (0, 0, None);
    machine::side_by_side(
        args.jobs.unwrap_or_else(machine::cores),
        seeds,
        |seed| (seed, pair.check(seed)),
        |(seed, verdict)| {
            match verdict {
                Ok(Verdict::Same) => same += 1,
                Ok(Verdict::Trapped(_) | Verdict::Differs(_)) => different += 1,
                Err(ref why) => failed = Some(why.clone()),
            }
            if let Ok(verdict) = &verdict {
                tell(args, program.title(), seed, verdict);
            }
            failed.is_none()
        },
    );
    if let Some(why) = failed {
        return Err(why);
    }
    if !args.json {
        let builds = if task.other_binary.is_some() { "two builds" } else { "one build" };
        let seeds = same + different;
        say(&format!("{name}: {seeds} seeds in two processes of {builds}, {same} the same"));
    }
    Ok(if different == 0 { HELD } else { BROKEN })
}

fn tell(args: &RunArgs, scenario: &str, seed: u64, verdict: &Verdict) {
    if args.json {
        let row = match verdict {
            Verdict::Same => json!({ "seed": seed, "scenario": scenario, "same": true }),
            Verdict::Trapped(evidence) => {
                json!({ "seed": seed, "scenario": scenario, "same": false, "trap": evidence })
            }
            Verdict::Differs(difference) => json!({
                "seed": seed,
                "scenario": scenario,
                "same": false,
                "trace_hashes": difference.hashes,
                "first_difference": difference.first,
            }),
        };
        return say(&row.to_string());
    }
    match verdict {
        Verdict::Same => {}
        Verdict::Trapped(evidence) => say(&format!("TRAPPED  seed {seed}: {evidence}")),
        Verdict::Differs(difference) => {
            let [first, second] = &difference.hashes;
            say(&format!("DIFFERS  seed {seed}: {first} and {second}"));
            say("  first difference");
            difference.first.iter().for_each(|line| say(&format!("    {line}")));
        }
    }
}
