//! `cases`: what once failed, replayed for ever.
//!
//! A case holds as the code is, and breaks its law as soon as its defect is put back. The second
//! half keeps it from rotting: a case whose run no longer passes the place where the bug was would
//! hold for ever and mean nothing. It is played under a few schedules each time.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::{
    BROKEN, HELD,
    args::CasesArgs,
    checkout::Checkout,
    machine::{self, say},
    program::{self, Program},
    shrink::{breaks, schedules},
};
use crate::{Case, Outcome, Setup};

/// What became of a case.
struct Verdict {
    /// Schedules it was played under.
    schedules: usize,
    /// Of them, how many broke its law with its defect put back; `None` if that was not tried.
    bites: Option<usize>,
    /// What is wrong with it.
    wrong: Option<String>,
}

/// What was not made a case yet: a seed, which lasts only as long as it passes the place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seed {
    scenario: String,
    seed: u64,
    mutant: String,
    law: String,
}

impl Seed {
    fn judge(&self) -> Result<Verdict, String> {
        let program = Program::named(&self.scenario)?;
        let mut verdict = Verdict { schedules: 1, bites: None, wrong: None };
        match program.run(Setup::seed(self.seed)).outcome {
            Outcome::Held => {}
            Outcome::Broken(breach) => {
                verdict.wrong = Some(format!("BROKEN AGAIN: {}", breach.law));
                return Ok(verdict);
            }
            Outcome::DidNotStart(why) => return Err(why),
        }
        let mutant = program::mutant(Some(&self.mutant))?;
        let bites = breaks(&program, &self.law, (mutant, None), self.seed);
        verdict.bites = Some(usize::from(bites));
        if !bites {
            verdict.wrong = Some(format!("ROTTEN: {} put back, {} holds", self.mutant, self.law));
        }
        Ok(verdict)
    }
}

/// Runs the task.
pub(super) fn run(json: bool, task: &CasesArgs) -> Result<u8, String> {
    let files = machine::files(&task.dir, "toml")?;
    if files.is_empty() {
        return Err(format!("{} holds no case", task.dir.display()));
    }
    let mut rotten = 0;
    for file in &files {
        let title = file.file_stem().unwrap_or_default().to_string_lossy();
        let text = machine::read(file)?;
        let (verdict, law, size) = if Case::is_one(&text) {
            let case = Case::parse(&title, &text);
            let case = case.map_err(|error| format!("{}: {error}", file.display()))?;
            let mut verdict = judge(&case)?;
            if task.reverted && verdict.wrong.is_none() && case.fixed_by.is_some() {
                verdict.wrong = reverted(&case, file)?;
            }
            (verdict, case.law.clone(), Some((case.ops(), case.faults())))
        } else {
            let seed: Seed = toml::from_str(&text)
                .map_err(|error| format!("{}: {}", file.display(), error.to_string().trim_end()))?;
            (seed.judge()?, seed.law, None)
        };
        rotten += u64::from(verdict.wrong.is_some());
        let (of, bites) = (verdict.schedules, verdict.bites);
        if json {
            let held = verdict.wrong.is_none();
            say(&json!({
                "case": title, "held": held, "why": verdict.wrong, "law": law,
                "schedules": of, "bites": bites, "ops": size.map(|(ops, _)| ops),
                "faults": size.map(|(_, faults)| faults),
            })
            .to_string());
        } else {
            let verdict = verdict.wrong.unwrap_or_else(|| match bites {
                Some(bites) => {
                    format!("holds; with its defect {bites} of {of} schedules break {law}")
                }
                None => "holds; what fixed it is reverted with --reverted".to_owned(),
            });
            say(&format!("{title:<28} {verdict}"));
        }
    }
    Ok(if rotten == 0 { HELD } else { BROKEN })
}

/// Plays a case as the code is, and with its mutant.
fn judge(case: &Case) -> Result<Verdict, String> {
    let program = Program::case(case.clone())?;
    let seeds: Vec<u64> = schedules(case).collect();
    let mut verdict = Verdict { schedules: seeds.len(), bites: None, wrong: None };
    for seed in &seeds {
        match program.run(Setup::seed(*seed)).outcome {
            Outcome::Held => {}
            Outcome::Broken(breach) => {
                verdict.wrong = Some(format!("BROKEN AGAIN: {} by schedule {seed}", breach.law));
                return Ok(verdict);
            }
            Outcome::DidNotStart(why) => return Err(why),
        }
    }
    let Some(mutant) = program::mutant(case.mutant.as_deref())? else {
        if case.fixed_by.is_none() {
            verdict.wrong = Some("names neither a mutant nor what fixed it".to_owned());
        }
        return Ok(verdict);
    };
    let bites =
        seeds.iter().filter(|seed| breaks(&program, &case.law, (Some(mutant), None), **seed));
    verdict.bites = Some(bites.count());
    if verdict.bites == Some(0) {
        verdict.wrong = Some(format!("ROTTEN: {} put back, {} holds", mutant, case.law));
    }
    Ok(verdict)
}

/// Takes back what fixed a case, in a checkout of its own, and plays it with what is built there.
fn reverted(case: &Case, file: &Path) -> Result<Option<String>, String> {
    let Some(commit) = &case.fixed_by else { return Ok(None) };
    let file = machine::absolute(file)?.display().to_string();
    let checkout = Checkout::of("HEAD")?;
    let played = checkout
        .git(&["revert", "--no-commit", commit])
        .and_then(|_| checkout.build("sim"))
        .and_then(|binary| checkout.run(&binary, &["replay", &file]));
    Ok(match played {
        Ok(Some(1)) => None,
        Ok(Some(0)) => Some(format!("ROTTEN: without {commit} it holds")),
        Ok(_) => Some(format!("without {commit} it cannot be played")),
        Err(why) => Some(format!("{commit} cannot be taken back: {why}")),
    })
}
