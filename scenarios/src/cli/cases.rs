//! `cases`: what once failed, replayed for ever.
//!
//! A case holds as the code is, and breaks its law as soon as its defect is put back. The second
//! half keeps it from rotting: a seed whose run no longer passes the place where the bug was would
//! hold for ever and mean nothing.

use serde::Deserialize;
use serde_json::json;

use super::{
    BROKEN, HELD,
    args::CasesArgs,
    machine::{self, say},
    program::{self, Program},
};
use crate::{Outcome, Setup};

/// One file of the directory.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    scenario: String,
    seed: u64,
    /// The defect, to be put back.
    mutant: String,
    /// What it breaks then.
    law: String,
}

/// Runs the task.
pub(super) fn run(json: bool, task: &CasesArgs) -> Result<u8, String> {
    let files = machine::files(&task.dir, "toml")?;
    if files.is_empty() {
        return Err(format!("{} holds no case", task.dir.display()));
    }
    let mut rotten = 0;
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let case: Case = toml::from_str(&machine::read(file)?)
            .map_err(|error| format!("{}: {}", file.display(), error.to_string().trim_end()))?;
        let verdict = judge(&case)?;
        rotten += u64::from(verdict.is_some());
        if json {
            let held = verdict.is_none();
            say(&json!({ "case": name, "held": held, "why": verdict }).to_string());
        } else {
            let (seed, scenario) = (case.seed, &case.scenario);
            let verdict = verdict.as_deref().unwrap_or("holds, and breaks with its defect");
            say(&format!("{name:<28} seed {seed} of {scenario}: {verdict}"));
        }
    }
    Ok(if rotten == 0 { HELD } else { BROKEN })
}

/// What is wrong with a case.
fn judge(case: &Case) -> Result<Option<String>, String> {
    let scenario = Program::named(&case.scenario)?;
    let law = |mutant| match scenario.run(Setup { mutant, ..Setup::seed(case.seed) }).outcome {
        Outcome::Held => Ok(None),
        Outcome::Broken(breach) => Ok(Some(breach.law)),
        Outcome::DidNotStart(why) => Err(why),
    };
    if let Some(broken) = law(None)? {
        return Ok(Some(format!("BROKEN AGAIN: {broken}")));
    }
    Ok(match law(program::mutant(Some(&case.mutant))?)? {
        Some(broken) if broken == case.law => None,
        Some(broken) => Some(format!("ROTTEN: {} breaks {broken} by now", case.mutant)),
        None => Some(format!("ROTTEN: it holds with {} put back", case.mutant)),
    })
}
